"""Stimulus selectivity: NMDA spikes sharpen the tuning that scattered inputs give the soma.

Inputs tuned to all orientations are scattered over thin branches. The branches answer more than in
proportion where many of their inputs are active together, so the soma is tuned more sharply than
the sum of its inputs. With NMDA receptors blocked, or the dendrites hyperpolarised, it is
not (Smith, Smith, Branco & Häusser 2013, Nature 503:115).
"""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

from collections.abc import Sequence
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import Leak
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.simulate import simulate
from jaxdend.synapses import AMPA, NMDA, poisson_events
from jaxdend.tasks.base import (
    AbstractNeuron,
    AbstractTask,
    Params,
    Placement,
    Score,
    Training,
    check_patterns,
)
from jaxdend.tasks.placement import along, fan, nearest
from jaxdend.tasks.trains import busiest
from jaxdend.traces import Traces

REST = -75.0  # mV
START, T1, DT = 10.0, 130.0, 0.2  # ms: start of the stimulus, end of a trial, time step
LUMP = 5.0  # membrane of the soma, which stands for the rest of the cell, per its area
WINDOW = 40.0  # ms, start of the readout
RATE, KAPPA = 60.0, 1.0  # Hz, of an input at its preferred orientation; width of its tuning
ORIENTATIONS = tuple(22.5 * i for i in range(8))  # degrees


class TunedBranches(AbstractNeuron):
    """A soma with thin branches, `k` tuned inputs on each, at random places.

    An input prefers an orientation drawn at random and fires a Poisson train of rate
    `RATE exp(KAPPA (cos 2(θ - preferred) - 1))` at orientation θ; the trains are frozen. Its
    synapse has AMPA and NMDA receptors. Trained are the `weight` of every synapse, its `position`
    along its branch, the ratio `nmda` of NMDA to AMPA, and `open`, see below.

    A pattern `(2,)` is the orientation in degrees and 1, or 0 for the control: the same synapses
    with NMDA receptors whose open fraction is `open` at every voltage. The same charge comes in,
    without amplification. The response is the mean depolarisation of the soma, mV.

    **Arguments:** `branches`; `k`; `seed` of preferred orientations and trains; `trains`, another
    seed for the trains alone.
    """

    cell: Cell
    paths: tuple[tuple[int, ...], ...] = eqx.field(static=True)  # compartments of each branch
    preferred: Array  # (branches, k) degrees
    times: Array  # (branches k, m) ms, events at the highest rate
    luck: Array  # (branches k, m) in [0, 1), an event happens where the tuning is higher
    width: int = eqx.field(static=True)  # most events of all synapses in one step

    def __init__(self, branches: int = 6, k: int = 8, seed: int = 0, trains: int | None = None):
        cell, self.paths = fan(branches, soma=25.0)
        area = np.where(cell.region("soma"), LUMP, 1.0)
        self.cell = cell.set(cm=area).insert(Leak(g=1e-4 * area, e=REST))
        tuned = jax.random.split(jax.random.key(seed))[0]
        drawn = jax.random.split(jax.random.key(seed if trains is None else trains), 3)
        self.preferred = 180.0 * jax.random.uniform(tuned, (branches, k))
        count = branches * k
        self.times = START + poisson_events(drawn[1], RATE, T1 - START, count, max_events=20)
        self.luck = jax.random.uniform(drawn[2], self.times.shape)
        self.width = 2 * busiest(self.times[None], 2 * DT)

    @property
    def space(self) -> ParameterSpace:
        shape = self.preferred.shape
        return ParameterSpace(
            {
                "weight": Parameter(1e-5, 4e-4, unit="uS", shape=shape),
                "position": Parameter(0.0, 1.0, "linear", shape=shape),
                "nmda": Parameter(2.0, 12.0),
                "open": Parameter(0.01, 0.5),
            }
        )

    def active(self, orientation: Array) -> Array:
        """Says which events happen, `(branches k, m)` of 0 and 1."""
        apart = jnp.deg2rad(orientation - self.preferred).reshape(-1, 1)
        return (self.luck < jnp.exp(KAPPA * (jnp.cos(2.0 * apart) - 1.0))).astype(float)

    def run(self, params: Params, pattern: Array) -> Traces:
        """The voltage of the soma and of the tips of all branches."""
        placed = [along(p, params["position"][b]) for b, p in enumerate(self.paths)]
        sites = jnp.stack([s for s, _ in placed]).reshape(-1)  # (branches k 2,)
        shares = jnp.stack([s for _, s in placed]).reshape(-1, 2)
        weight = params["weight"].reshape(-1, 1, 1) * shares[..., None]  # (branches k, 2, 1)
        weight = (weight * self.active(pattern[0])[:, None]).reshape(len(sites), -1)
        times = jnp.repeat(self.times, 2, axis=0)
        amplified = pattern[1]
        ratio = params["nmda"] * jnp.where(amplified > 0.5, 1.0, params["open"])
        synapses = (
            AMPA(sites, weight, times, max_per_step=self.width),
            NMDA(sites, ratio * weight, times, mg=amplified, max_per_step=self.width),
        )
        record = [0, *(p[-1] for p in self.paths)]
        return simulate(self.cell, synapses, t1=T1, dt=DT, v0=REST, record=record, throw=False)

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        return unless_blown_up(jnp.mean(v[round(WINDOW / DT) :]) - REST, v)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        traces = self.run(params, pattern)
        return traces.ts, cast(Array, traces.v)[:, 0]

    def placement(self, params: Params) -> Placement:
        """The sites of the synapses, grouped by the nearest of the `ORIENTATIONS`."""
        position = np.asarray(params["position"])
        sites = [nearest(p, row) for p, row in zip(self.paths, position, strict=True)]
        group = np.rint(np.asarray(self.preferred) / 22.5).astype(int) % len(ORIENTATIONS)
        weight = np.asarray(params["weight"])
        return Placement(self.cell, np.ravel(sites), np.ravel(group), np.ravel(weight))


class Selectivity(AbstractTask):
    """Prefer one orientation, and owe it to the amplification by NMDA receptors.

    Selectivity is `Σ r cos 2(θ - preferred) / Σ r`, the length of the vector sum of the responses
    (`1 - circular variance`) where it points at the preferred orientation. Gain is how much larger
    it is than the control's. The comparison is fair where the control's mean response is within the
    fraction `match` of the neuron's, and the neuron's between `least` and `most` mV. The response
    to the preferred orientation should be 5 % above all others. What is `off` is taken from the
    gain.

    **Arguments:** `name`; `neuron`, which takes patterns as `TunedBranches` does; `orientations`
    in degrees, ascending, evenly spaced over 180; `preferred`, the number of one of them; `gain`
    that counts as solved; `match`; `least`; `most`. The loss is a soft hinge that ends a quarter
    beyond the gain, plus what is off; the margin of the score is the gain less what is off, less
    `gain`.

    **Raises:** `ValueError` for orientations that are not evenly spaced over 180 degrees or a gain
    outside (0, 1).
    """

    name: str = eqx.field(static=True)
    neuron: AbstractNeuron
    patterns: Array  # (2 P, 2), with amplification and then without
    gain: Array  # ()
    match: Array  # ()
    least: Array  # () mV
    most: Array  # () mV
    preferred: int = eqx.field(static=True)
    labels: tuple[str, ...] = eqx.field(static=True)
    training: Training = eqx.field(static=True)

    def __init__(
        self,
        name: str,
        neuron: AbstractNeuron,
        orientations: Sequence[float] = ORIENTATIONS,
        *,
        preferred: int = 4,
        gain: float = 0.2,
        match: float = 0.05,
        least: float = 3.0,
        most: float = 12.0,
        training: Training | None = None,
    ):
        count = len(orientations)
        steps = np.diff([*orientations, orientations[0] + 180.0])
        if count < 3 or not np.allclose(steps, 180.0 / count):
            raise ValueError(
                f"{name}: orientations must be evenly spaced over 180 degrees, three or more; "
                f"got {tuple(orientations)}."
            )
        if not 0 <= preferred < count:
            raise ValueError(
                f"{name}: preferred must be the number of one of {count} orientations; "
                f"got {preferred}."
            )
        if not 0.0 < gain < 1.0:
            raise ValueError(f"{name}: the gain in selectivity must be in (0, 1); got {gain}.")
        self.name, self.neuron, self.preferred = name, neuron, int(preferred)
        self.patterns = jnp.array([[x, on] for on in (1.0, 0.0) for x in orientations], float)
        self.labels = tuple(f"{x:g}°{mark}" for mark in ("", " control") for x in orientations)
        self.gain, self.match = jnp.asarray(gain, float), jnp.asarray(match, float)
        self.least, self.most = jnp.asarray(least, float), jnp.asarray(most, float)
        self.training = training or Training()
        check_patterns(name, self.patterns, self.labels)

    @property
    def goal(self) -> np.ndarray:
        return np.arange(len(self.labels)) == self.preferred

    def selectivities(self, responses: Array) -> Array:
        """The selectivity for the preferred orientation, `(2,)`: neuron and control."""
        pair = responses.reshape(2, -1)
        x = jnp.deg2rad(self.patterns[: pair.shape[1], 0])
        toward = jnp.cos(2.0 * (x - x[self.preferred]))
        return pair @ toward / jnp.maximum(jnp.sum(pair, axis=1), 1e-9)

    def off(self, responses: Array) -> Array:
        """How far the responses are from a fair comparison and the right peak, `()`; 0 is right."""
        mean, control = jnp.mean(responses.reshape(2, -1), axis=1)
        apart = jnp.abs(control / jnp.maximum(mean, 1e-9) - 1.0)
        outside = jnp.maximum(1.0 - mean / self.least, mean / self.most - 1.0)
        best = jnp.maximum(responses[self.preferred], 1e-9)
        behind = 1.05 * jnp.max(self.others(responses)) / best - 1.0
        wrong = jnp.stack([apart - self.match, outside, behind])
        return jnp.sum(jnp.maximum(wrong, 0.0))

    def others(self, responses: Array) -> Array:
        """The neuron's responses to the orientations that it should not prefer, `(P - 1,)`."""
        return responses[np.flatnonzero(~self.goal[: len(self.labels) // 2])]

    @property
    def margin_unit(self) -> str:
        return "selectivity"

    def loss(self, responses: Array) -> Array:
        neuron, control = self.selectivities(responses)
        scale = self.gain / 4
        short = (1.25 * self.gain - (neuron - control)) / scale
        return scale * jax.nn.softplus(short) + self.off(responses)

    def score(self, responses: Array) -> Score:
        neuron, control = self.selectivities(responses)
        margin = neuron - control - self.off(responses) - self.gain
        accuracy = jnp.mean(self.others(responses) < responses[self.preferred])
        return Score(accuracy, margin, (margin >= 0) & (accuracy == 1.0))


def selectivity_index(orientations: ArrayLike, responses: ArrayLike) -> np.ndarray:
    """`|Σ r exp(2 i θ)| / Σ r`, one less the circular variance: 0 for untuned, 1 for one response.

    **Arguments:** `orientations (P,)` degrees and `responses (..., P)`, not negative.

    **Returns:** `(...)`.
    """
    around = np.exp(2j * np.deg2rad(np.asarray(orientations, float)))
    r = np.asarray(responses, float)
    return np.abs(r @ around) / np.maximum(r.sum(axis=-1), 1e-9)


def orientation(seed: int = 0) -> Selectivity:
    """Inputs of all orientations scattered over six branches; the soma learns to prefer 90°.

    Solved where NMDA spikes make it more selective by 0.2 than the same neuron with NMDA receptors
    that do not depend on voltage, at the same mean depolarisation. `seed` draws the preferred
    orientations of the inputs and their trains.
    """
    training = Training(configs=16, starts=2, steps=80, rate=0.2)
    return Selectivity("orientation", TunedBranches(seed=seed), training=training)
