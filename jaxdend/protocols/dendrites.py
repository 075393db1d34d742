"""Dendritic events: back-propagating, calcium, NMDA and dendritic calcium action potentials."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.inputs import AbstractInput
from jaxdend.protocols.excitability import Threshold, threshold
from jaxdend.protocols.measure import (
    Numbers,
    Response,
    known_sites,
    measured,
    numbers,
    response,
    spike_count,
    time_above,
)
from jaxdend.recorders import Gate
from jaxdend.simulate import simulate
from jaxdend.stimuli import DualExponential, Step
from jaxdend.synapses import AMPA, NMDA


class BackPropagation(NamedTuple):
    """A somatic spike on its way into the dendrites, at r sites."""

    distance: Array  # (r,) µm from the soma
    amplitude: Array  # (r,) mV above the voltage at the onset
    attenuation: Array  # (r,) amplitude over that at the soma
    delay: Array  # (r,) ms, peak after the peak at the soma
    half_width: Array  # (r,) ms


def back_propagation(
    cell: Cell,
    sites: Numbers,
    *,
    soma: int = 0,
    amplitude: ArrayLike = 2.0,
    width: ArrayLike = 5.0,
    onset: float = 0.0,
    t1: float = 40.0,
    **options: Any,
) -> BackPropagation:
    """How a spike from a pulse into the soma (nA, ms) attenuates with distance; differentiable.

    **Arguments:** `sites (r,)`; `onset` of the pulse and end `t1`, ms; give the resting state as
    `v0=` so that the base is one.

    **Raises:** `ValueError` for sites outside the cell, and as `jd.simulate`.
    """
    sites = jnp.atleast_1d(known_sites(cell, sites, "sites"))
    pulse = Step(soma, onset, width, amplitude)  # type: ignore[arg-type]
    both = jnp.append(sites, soma)
    found = response(cell, pulse, both, t1=t1, onset=onset, **options)
    there = jax.tree.map(lambda a: a[:-1], found)
    return BackPropagation(
        jnp.asarray(cell.distance)[sites],
        there.amplitude,
        there.amplitude / found.amplitude[-1],
        there.time - found.time[-1],
        there.half_width,
    )


class EPSP(NamedTuple):
    """A synaptic potential where it arises and at the soma."""

    local: Response  # () each
    soma: Response  # () each
    attenuation: Array  # () somatic amplitude over local amplitude


def epsp(
    cell: Cell,
    inputs: AbstractInput | Sequence[AbstractInput],
    site: int,
    *,
    soma: int = 0,
    onset: float = 0.0,
    t1: float = 100.0,
    **options: Any,
) -> EPSP:
    """Peak, time to peak and half-width of an EPSP at `site` and at the soma; differentiable.

    **Arguments:** `inputs`, what causes it, such as `jd.AMPA(site, 5e-4, [1.0])`, or a stimulus
    such as `jd.DualExponential`; `onset`, where the base is read, and end `t1`, ms.

    **Raises:** `ValueError` for sites outside the cell, and as `jd.simulate`.
    """
    found = response(cell, inputs, [site, soma], t1=t1, onset=onset, **options)
    local, far = (jax.tree.map(lambda a, i=i: a[i], found) for i in (0, 1))
    return EPSP(local, far, far.amplitude / local.amplitude)


class Pairing(NamedTuple):
    """A somatic pulse and a dendritic EPSP current, and what counts as a calcium plateau."""

    pulse: ArrayLike = 1.9  # nA, into the soma
    width: ArrayLike = 5.0  # ms
    tau_rise: ArrayLike = 0.5  # ms, of the dendritic current
    tau_decay: ArrayLike = 5.0  # ms
    spike: ArrayLike = -10.0  # mV that a somatic spike crosses
    plateau: ArrayLike = -40.0  # mV above which the dendrite is in a plateau
    onset: float = 20.0  # ms, the somatic pulse; dendritic onsets must lie after 0
    t1: float = 120.0  # ms


class BACFiring(NamedTuple):
    """Back-propagation activated calcium spikes against the interval between soma and dendrite."""

    intervals: Array  # (i,) ms from the onset at the soma to the onset in the dendrite
    spikes: Array  # (i,) somatic spikes
    plateau: Array  # (i,) ms for which the dendrite lies above `Pairing.plateau`
    spikes_alone: Array  # (2,) somatic spikes of the pulse alone, of the dendritic current alone
    plateau_alone: Array  # (2,) ms


def bac_firing(
    cell: Cell,
    dendrite: int,
    intervals: Numbers,
    *,
    current: ArrayLike = 0.5,
    soma: int = 0,
    pairing: Pairing | None = None,
    **options: Any,
) -> BACFiring:
    """The coincidence window of somatic and dendritic input (Larkum, Zhu & Sakmann 1999).

    A brief pulse fires one somatic spike, a dendritic EPSP current none; within the window both
    together fire a calcium spike and a burst. All intervals and both controls run as one batch.

    **Arguments:** `dendrite`, the site of the EPSP current, whose peak is `current` nA;
    `intervals (i,)` ms; `pairing`, everything else about the stimuli.

    **Raises:** `ValueError` for sites outside the cell, and as `jd.simulate`;
    and for an interval that puts the dendritic current before the start.
    **Source:** Larkum, Zhu & Sakmann 1999, Nature 398:338.
    """
    given = _known(pairing)
    sites = known_sites(cell, [soma, dendrite], "soma and dendrite")
    intervals = jnp.asarray(intervals, float)
    _check_intervals(intervals, given)
    return _bac_firing(cell, sites, intervals, jnp.asarray(current, float), given, numbers(options))


@eqx.filter_jit
def _bac_firing(
    cell: Cell, sites: Array, intervals: Array, current: Array, given: Pairing, options: dict
) -> BACFiring:
    def one(interval: Array, pulse: Array, current: Array) -> tuple[Array, Array]:
        ts, v = _paired(cell, sites, interval, pulse, current, given, options)
        found = spike_count(v[:, 0], given.spike), time_above(ts, v[:, 1], given.plateau)
        return unless_blown_up(found, v)

    alone = jnp.zeros(2)
    pulses = jnp.append(jnp.full_like(intervals, given.pulse), alone.at[0].set(given.pulse))
    currents = jnp.append(jnp.full_like(intervals, current), alone.at[1].set(current))
    spikes, plateau = jax.vmap(one)(jnp.append(intervals, alone), pulses, currents)
    return BACFiring(intervals, spikes[:-2], plateau[:-2], spikes[-2:], plateau[-2:])


class CalciumThreshold(NamedTuple):
    """The least current into the dendrite that fires a calcium spike."""

    alone: Threshold  # () nA; the responses are ms of plateau
    intervals: Array  # (i,) ms from the somatic pulse to the dendritic current
    paired: Threshold  # (i,) nA, together with a back-propagating spike


def calcium_threshold(
    cell: Cell,
    dendrite: int,
    intervals: Numbers = (),
    *,
    low: ArrayLike = 0.0,
    high: ArrayLike = 3.0,
    least: ArrayLike = 10.0,
    soma: int = 0,
    pairing: Pairing | None = None,
    rounds: int = 6,
    points: int = 3,
    **options: Any,
) -> CalciumThreshold:
    """The least dendritic EPSP current (nA) for a calcium spike, alone and after a somatic spike.

    A calcium spike is `least` ms of plateau in the dendrite, longer than a back-propagating spike
    lasts there. All intervals are searched at once, see `threshold`.

    **Arguments:** `intervals (i,)` ms; `low` and `high` nA; `pairing`, the stimuli.

    **Raises:** as `bac_firing`.
    **Source:** Larkum, Zhu & Sakmann 1999, Nature 398:338.
    """
    given = _known(pairing)
    sites = known_sites(cell, [soma, dendrite], "soma and dendrite")
    intervals = jnp.asarray(intervals, float)
    _check_intervals(intervals, given)
    limits = tuple(jnp.asarray(x, float) for x in (low, high, least))
    return _calcium_threshold(
        cell, sites, intervals, limits, given, (rounds, points), numbers(options)
    )


@eqx.filter_jit
def _calcium_threshold(
    cell: Cell,
    sites: Array,
    intervals: Array,
    limits: tuple,
    given: Pairing,
    plan: tuple,
    options: dict,
) -> CalciumThreshold:
    low, high, least = limits
    rounds, points = plan

    def one(interval: Array, pulse: Array) -> Threshold:
        def plateau(current: Array) -> Array:
            ts, v = _paired(cell, sites, interval, pulse, current, given, options)
            return unless_blown_up(time_above(ts, v[:, 1], given.plateau), v)

        return threshold(plateau, low, high, level=least, rounds=rounds, points=points)

    pulses = jnp.append(0.0, jnp.full_like(intervals, given.pulse))
    found = jax.vmap(one)(jnp.append(0.0, intervals), pulses)
    alone, paired = (jax.tree.map(lambda a, i=i: a[i], found) for i in (0, slice(1, None)))
    return CalciumThreshold(alone, intervals, paired)


def _paired(
    cell: Cell,
    sites: Array,
    interval: Array,
    pulse: Array,
    current: Array,
    given: Pairing,
    options: dict,
) -> tuple[Array, Array]:
    """`(t,)` ms and `(t, 2)` mV at soma and dendrite."""
    inputs = [
        Step(sites[0], given.onset, given.width, pulse),  # type: ignore[arg-type]
        DualExponential(
            sites[1],
            given.onset + interval,
            current,
            given.tau_rise,  # type: ignore[arg-type]
            given.tau_decay,  # type: ignore[arg-type]
        ),
    ]
    traces = simulate(cell, inputs, t1=given.t1, record=sites, **options)
    return traces.ts, traces.v  # type: ignore[return-value]


def _known(pairing: Pairing | None) -> Pairing:
    """Every number but the times of the run as an array."""
    given = pairing or Pairing()
    arrays = {name: jnp.asarray(x, float) for name, x in given._asdict().items()}
    return Pairing(**arrays | {"onset": given.onset, "t1": given.t1})  # type: ignore[arg-type]


def _check_intervals(intervals: Array, given: Pairing) -> None:
    if intervals.size and float(jnp.min(intervals)) < -given.onset:
        raise ValueError(
            f"intervals down to {float(jnp.min(intervals)):g} ms put the dendritic current before "
            f"the start: give Pairing(onset=...) of at least {-float(jnp.min(intervals)):g} ms."
        )


class NMDACurve(NamedTuple):
    """Input–output curve of synapses that are active together at one place."""

    counts: Array  # (c,) how many synapses
    local: Response  # (c,) each, at the synapses
    soma: Response  # (c,) each
    local_ampa: Response  # (c,) each, the same without NMDA
    soma_ampa: Response  # (c,) each


def nmda_curve(
    cell: Cell,
    site: int,
    counts: Numbers,
    *,
    weight: ArrayLike = 4e-4,
    nmda_weight: ArrayLike | None = None,
    preset: str = "beniaguev2021",
    soma: int = 0,
    onset: float = 0.0,
    t1: float = 250.0,
    **options: Any,
) -> NMDACurve:
    """Peaks and half-widths for N synchronous synapses at `site`, with and without NMDA.

    The mark of an NMDA spike is the width of the local plateau, and with it the depolarisation of
    the soma (`soma.amplitude`), rather than a jump of the local peak. All counts and their
    AMPA-only controls run as one batch; the results are differentiable.

    **Arguments:** `counts (c,)`; `weight` µS of AMPA per synapse and `nmda_weight` of NMDA (by
    default the same); `preset` of both, see `jd.NMDA.presets`; `onset` of the event and end `t1`,
    ms.

    **Raises:** `ValueError` for sites outside the cell or an unknown preset, and as `jd.simulate`.
    **Source:** the protocol of Schiller, Major, Koester & Schiller 2000, Nature 404:285.
    """
    sites = known_sites(cell, [site, soma], "site and soma")
    fast = jnp.asarray(weight, float)
    slow = fast if nmda_weight is None else jnp.asarray(nmda_weight, float)
    counts = jnp.asarray(counts, float)
    return _nmda_curve(cell, sites, counts, (fast, slow), (preset, onset, t1), numbers(options))


@eqx.filter_jit
def _nmda_curve(
    cell: Cell, sites: Array, counts: Array, weights: tuple, plan: tuple, options: dict
) -> NMDACurve:
    preset, onset, t1 = plan

    def one(fast: Array, slow: Array) -> Response:
        inputs = [
            kind.preset(preset, sites[0], weight, onset, max_per_step=1)
            for kind, weight in ((AMPA, fast), (NMDA, slow))
        ]
        traces = simulate(cell, inputs, t1=t1, record=sites, **options)
        return measured(traces.ts, traces.v, onset)  # type: ignore[arg-type]

    fast, slow = weights
    found = jax.vmap(one)(
        jnp.tile(counts * fast, 2), jnp.append(counts * slow, jnp.zeros_like(counts))
    )
    c = len(counts)
    parts = [
        jax.tree.map(lambda a, rows=rows, k=k: a[rows, k], found)
        for rows in (slice(None, c), slice(c, None))
        for k in (0, 1)
    ]
    return NMDACurve(counts, *parts)


class DCaAPCurve(NamedTuple):
    """Dendritic calcium action potentials against the strength of a steady current."""

    amplitudes: Array  # (a,) nA
    count: Array  # (a,) events during the step
    k: Array  # (a,) 1, the amplitude factor of the event; NaN where there is none
    trigger: Array  # (a,) mV, the voltage that triggered it
    peak: Array  # (a,) mV, until the next event
    amplitude: Array  # (a,) mV, peak - trigger
    soma_peak: Array  # (a,) mV, over the whole run


def dcaap_curve(
    cell: Cell,
    site: int,
    amplitudes: Numbers,
    *,
    event: int = 1,
    onset: float = 200.0,
    duration: float = 320.0,
    soma: int = 0,
    **options: Any,
) -> DCaAPCurve:
    """How dCaAPs shrink as the current that triggers them grows (Gidon et al. 2020).

    **Arguments:** `site` of the dCaAP, which is in the cell as `DCaAP`, and of the current;
    `amplitudes (a,)` nA; `event`, which one to measure: the first (0) of a step rises across
    the threshold slowly and is always of full size, the second (1) and later ones are not;
    `onset` and `duration` of the step, ms.

    **Raises:** `ValueError` for sites outside the cell or a `site` without `DCaAP`, and as
    `jd.simulate`.
    **Source:** Gidon et al. 2020, Science 367:83.
    """
    sites = known_sites(cell, [site, soma], "site and soma")
    gates = {name: Gate(mechanism="DCaAP", state=name, sites=site) for name in ("t_last", "K")}
    plan = (event, onset, duration)
    amplitudes = jnp.asarray(amplitudes, float)
    return _dcaap_curve(cell, sites, amplitudes, gates, plan, numbers(options))


@eqx.filter_jit
def _dcaap_curve(
    cell: Cell, sites: Array, amplitudes: Array, gates: dict, plan: tuple, options: dict
) -> DCaAPCurve:
    event, onset, duration = plan

    def one(amplitude: Array) -> DCaAPCurve:
        step = Step(sites[0], onset, duration, amplitude)
        record = {"v": lambda t, y, model: y.v[sites]} | gates
        traces = simulate(cell, step, t1=onset + duration, record=record, **options)
        v, k = traces["v"], traces["K"]
        fired = jnp.diff(traces["t_last"]) != 0  # between the sample i, at the trigger, and i + 1
        starts = jnp.nonzero(fired, size=event + 2, fill_value=len(k))[0]
        exists = starts[event] < len(k)
        i = jnp.where(exists, starts[event], 0)
        index = jnp.arange(len(k))
        peak = jnp.max(jnp.where((index > i) & (index <= starts[event + 1]), v[:, 0], -jnp.inf))
        k, trigger, peak = (jnp.where(exists, x, jnp.nan) for x in (k[i + 1], v[i, 0], peak))
        top = jnp.max(v[:, 1])
        found = jnp.sum(fired), k, trigger, peak, peak - trigger, top
        return DCaAPCurve(amplitude, *unless_blown_up(found, v))

    return jax.vmap(one)(amplitudes)
