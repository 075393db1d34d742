"""Spikes: all-or-none thresholds, the refractory period, the f–I curve."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.protocols.measure import Numbers, known_sites, numbers, spike_count
from jaxdend.simulate import simulate
from jaxdend.stimuli import Step
from jaxdend.traces import spike_times


class Threshold(NamedTuple):
    """The stimulus at which an all-or-none response begins; batches stand in front."""

    value: Array  # () least stimulus that answers; inf if none within the range does
    failing: Array  # () largest stimulus tried that does not answer
    below: Array  # () response at `failing`; NaN if every stimulus tried answers
    above: Array  # () response at `value`; NaN if none answers


def threshold(
    response: Callable[[Array], Array],
    low: ArrayLike,
    high: ArrayLike,
    *,
    level: ArrayLike,
    rounds: int = 6,
    points: int = 3,
) -> Threshold:
    """The least stimulus between `low` and `high` whose response reaches `level`.

    Each round tries `points` stimuli at once, equally spaced within what is left of the range, and
    keeps the gap where responses begin, so that `value - failing = (high - low) / (points + 1) **
    rounds`. `points=1` is bisection. The range is taken to hold one threshold; the ends themselves
    are not tried. Where a response is NaN, as that of a run that blew up, nothing is known of the
    threshold, and all of the result is NaN. A pure function: `jit` and `vmap` it at will. It has no
    gradient, as a response has none where it jumps.

    **Arguments:** `response`, a pure function of the stimulus `()` with a scalar result, for
    example the peak of a simulation.
    """
    low, high = jnp.asarray(low, float), jnp.asarray(high, float)
    level = jnp.asarray(level, float)
    shares = jnp.arange(1, points + 1) / (points + 1)

    def narrow(carry: tuple, _: None) -> tuple[tuple, None]:
        low, high, below, above, known = carry
        tried = low + (high - low) * shares
        found = jax.vmap(response)(tried)
        j = jnp.argmax(jnp.append(found >= level, True))
        ends = jnp.concatenate([low[None], tried, high[None]])
        results = jnp.concatenate([below[None], found, above[None]])
        known &= ~jnp.any(jnp.isnan(found))
        return (ends[j], ends[j + 1], results[j], results[j + 1], known), None

    nothing = jnp.full((), jnp.nan, low.dtype)
    carry = *jax.lax.stop_gradient((low, high, nothing, nothing)), jnp.asarray(True)
    (low, high, below, above, known), _ = jax.lax.scan(narrow, carry, length=rounds)
    found = Threshold(jnp.where(jnp.isnan(above), jnp.inf, high), low, below, above)
    return jax.tree.map(lambda x: jnp.where(known, x, jnp.nan), found)


def spike_threshold(
    cell: Cell,
    site: ArrayLike,
    *,
    width: Numbers = 1.0,
    low: ArrayLike = 0.0,
    high: ArrayLike = 10.0,
    record: ArrayLike | None = None,
    level: ArrayLike = 0.0,
    onset: float = 1.0,
    t1: float = 20.0,
    rounds: int = 6,
    points: int = 3,
    **options: Any,
) -> Threshold:
    """The least current pulse (nA) at `site` that takes the voltage at `record` to `level` mV.

    `below` and `above` of the result are the peaks (mV) just below and just above threshold: how
    far apart they are says how much of an all-or-none event it is.

    **Arguments:** `width` ms of the pulse, a scalar or an array for a batch (a strength–duration
    curve); `record`, by default `site`; `onset` and `t1` ms; `low`, `high`, `rounds` and `points`
    as in `threshold`; `options` of `jd.simulate`.

    **Raises:** `ValueError` for sites outside the cell, and as `jd.simulate`.
    """
    site = known_sites(cell, site, "site")
    record = site if record is None else known_sites(cell, record, "record")
    limits = (jnp.asarray(low, float), jnp.asarray(high, float), jnp.asarray(level, float))
    width = jnp.asarray(width, float)
    return _spike_threshold(
        cell, site, record, width, limits, (onset, t1, rounds, points), numbers(options)
    )


@eqx.filter_jit
def _spike_threshold(
    cell: Cell, site: Array, record: Array, width: Array, limits: tuple, plan: tuple, options: dict
) -> Threshold:
    low, high, level = limits
    onset, t1, rounds, points = plan

    def one(width: Array) -> Threshold:
        def peak(amplitude: Array) -> Array:
            step = Step(site, onset, width, amplitude)
            traces = simulate(cell, step, t1=t1, record=record, **options)
            return unless_blown_up(jnp.max(traces.v), traces.v)  # type: ignore[arg-type]

        return threshold(peak, low, high, level=level, rounds=rounds, points=points)

    return jax.vmap(one)(width) if width.ndim else one(width)


class Refractoriness(NamedTuple):
    """How long a spike prevents or hinders the next one."""

    intervals: Array  # (i,) ms from pulse to pulse
    threshold: Threshold  # (i,) nA of the second pulse; inf while it cannot fire at all
    alone: Threshold  # () nA without a first pulse
    relative: Array  # (i,) threshold.value / alone.value; 1 once recovered
    absolute: Array  # () ms, shortest interval at which the strongest second pulse fires


def refractory_period(
    cell: Cell,
    site: ArrayLike,
    intervals: Numbers,
    *,
    first: ArrayLike,
    high: ArrayLike,
    width: float = 1.0,
    low: ArrayLike = 0.0,
    level: ArrayLike = 0.0,
    onset: float = 1.0,
    tail: float = 15.0,
    rounds: int = 6,
    points: int = 3,
    **options: Any,
) -> Refractoriness:
    """The threshold of a second pulse at various intervals after one that fires a spike.

    A second spike is a second upward crossing of `level` mV at `site`. `high` bounds the second
    pulse (nA): the absolute refractory period is where even that fails, sought between the shortest
    and the longest interval. `high` should not drag the membrane across `level` without a spike,
    and the shortest interval should outlast the first spike.

    **Arguments:** `intervals (i,)` ms from pulse to pulse; `first` nA, the first pulse; `width` ms
    of both; `tail` ms, how long to wait after the last pulse; the rest as in `spike_threshold`.

    **Raises:** `ValueError` for sites outside the cell, and as `jd.simulate`.
    """
    site = known_sites(cell, site, "site")
    intervals = jnp.asarray(intervals, float)
    t1 = onset + float(jnp.max(intervals)) + tail
    dt = options.get("dt", 0.025)
    plan = (onset, dt * round(t1 / dt), width, rounds, points)
    limits = tuple(jnp.asarray(x, float) for x in (low, high, level, first))
    return _refractory_period(cell, site, intervals, limits, plan, numbers(options))


@eqx.filter_jit
def _refractory_period(
    cell: Cell, site: Array, intervals: Array, limits: tuple, plan: tuple, options: dict
) -> Refractoriness:
    low, high, level, first = limits
    onset, t1, width, rounds, points = plan

    def second_spikes(first: Array, second: Array, interval: Array) -> Array:
        pulses = Step(
            jnp.stack([site, site]),
            onset + jnp.stack([jnp.zeros_like(interval), interval]),
            width,
            jnp.stack([first, second]),
        )
        v = simulate(cell, pulses, t1=t1, record=site, **options).v[:, 0]  # type: ignore[index]
        count = spike_count(v, level) - jnp.where(first > 0, 1.0, 0.0)
        return unless_blown_up(count, v)

    def at(first: Array, interval: Array) -> Threshold:
        return threshold(
            lambda second: second_spikes(first, second, interval),
            low, high, level=1.0, rounds=rounds, points=points,
        )  # fmt: skip

    least, last = jnp.min(intervals), jnp.max(intervals)
    firsts = jnp.append(jnp.broadcast_to(first, intervals.shape), 0.0)
    found = jax.vmap(at)(firsts, jnp.append(intervals, last))
    paired, alone = (jax.tree.map(lambda a, i=i: a[i], found) for i in (slice(None, -1), -1))
    shortest = threshold(
        lambda interval: second_spikes(first, high, interval),
        least, last, level=1.0, rounds=rounds, points=points,
    )  # fmt: skip
    return Refractoriness(intervals, paired, alone, paired.value / alone.value, shortest.value)


class FICurve(NamedTuple):
    """How the firing rate depends on the injected current."""

    amplitudes: Array  # (a,) nA
    count: Array  # (a,) spikes during the step
    rate: Array  # (a,) Hz, count / duration
    steady: Array  # (a,) Hz, one over the last interval between spikes; 0 below two spikes
    latency: Array  # (a,) ms from the onset to the first spike; inf without one


def fi_curve(
    cell: Cell,
    site: ArrayLike,
    amplitudes: Numbers,
    *,
    duration: float = 200.0,
    onset: float = 0.0,
    record: ArrayLike | None = None,
    level: ArrayLike = 0.0,
    max_spikes: int = 256,
    **options: Any,
) -> FICurve:
    """Spikes at `record` (by default `site`) during a step of current at `site`, in one batch.

    **Arguments:** `amplitudes (a,)` nA; `duration` and `onset` of the step, ms; `level` mV that a
    spike crosses; `max_spikes`, a bound for `steady` and `latency`, which have gradients.

    **Raises:** `ValueError` for sites outside the cell, and as `jd.simulate`.
    """
    site = known_sites(cell, site, "site")
    record = site if record is None else known_sites(cell, record, "record")
    amplitudes = jnp.asarray(amplitudes, float)
    plan = (onset, duration, max_spikes)
    return _fi_curve(cell, site, record, amplitudes, jnp.asarray(level), plan, numbers(options))


@eqx.filter_jit
def _fi_curve(
    cell: Cell,
    site: Array,
    record: Array,
    amplitudes: Array,
    level: Array,
    plan: tuple,
    options: dict,
) -> FICurve:
    onset, duration, max_spikes = plan

    def one(amplitude: Array) -> FICurve:
        step = Step(site, onset, duration, amplitude)
        traces = simulate(cell, step, t1=onset + duration, record=record, **options)
        times = spike_times(traces, level, max_spikes=max_spikes)  # type: ignore[arg-type]
        during = times >= onset
        count = jnp.sum(during & jnp.isfinite(times))
        last = jnp.sum(jnp.isfinite(times)) - 1
        twice = count > 1
        gap = jnp.where(twice, times[last] - jnp.where(twice, times[last - 1], 0.0), 1.0)
        latency = jnp.min(jnp.where(during, times, jnp.inf)) - onset
        rate, steady = 1e3 * count / duration, jnp.where(twice, 1e3 / gap, 0.0)
        found = unless_blown_up((count, rate, steady, latency), traces.v)  # type: ignore[arg-type]
        return FICurve(amplitude, *found)

    return jax.vmap(one)(amplitudes)
