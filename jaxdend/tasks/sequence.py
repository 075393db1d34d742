"""The order and the speed of inputs: which sequence a dendrite answers most (Branco 2010)."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

from collections.abc import Sequence
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import Leak
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import ball_and_stick
from jaxdend.simulate import simulate
from jaxdend.synapses import AlphaSynapse, NMDAKinetic
from jaxdend.tasks.base import (
    AbstractNeuron,
    AbstractTask,
    Params,
    Placement,
    Score,
    Training,
    check_patterns,
)
from jaxdend.tasks.placement import along, nearest, path
from jaxdend.units import DENSITY_TO_US

INDEX, LEAST = 0.25, 0.2  # selectivity that is asked for, and that of a draw that counts as right
LEAD = 0.05  # by which the response to the preferred velocity exceeds all others
REST, ONSET, DT = -75.0, 5.0, 0.2  # mV; ms, the first input of a sequence; ms
INTERVALS = (0.0, 1.0, 2.0, 4.0, 8.0, 12.0)  # ms between the inputs of a wave
SOMA, BRANCH, DIAMETER = 20.0, 99.0, 0.54  # µm
AREA, RESISTANCE = 11000.0, 63.6  # µm² and MΩ at the soma, of the cell whose branch it is


class SequenceBranch(AbstractNeuron):
    """A thin dendrite with `k` inputs, on a soma that stands for the rest of the cell.

    The branch is that of Branco et al. 2010, 99 µm long and 0.54 µm thick; the soma has the area
    and the input resistance of their cell. All membrane is passive. An input is an AMPA and an NMDA
    receptor (their alpha function and ten-state scheme) with one event. Input `i` comes at
    `pattern[i]`, so the inputs are told apart by when they come and by nothing else. All have the
    same weight, and none can be delayed: weights or delays of their own would be a delay line,
    with which a point neuron tells sequences apart. Trained are the weight (µS, AMPA), how many
    times stronger NMDA receptors are (with all pores open; published 16), the positions of the
    inputs from the soma (0) to the tip (1), and the radius of the branch (published 0.27 µm). The
    response is the peak of the EPSP at the soma, mV.

    **Arguments:** `k`; `last`, ms, the onset of the latest input; `nmda`, whether there are NMDA
    receptors; `point`, whether all inputs are on the soma (a control); `wave`, whether input 1 is
    the most distal, input 2 the next, and so on, so that a sequence is a wave that runs inwards and
    its interval a velocity (what is trained are the gaps between them, relative to each other);
    `length`, µm of the branch; `ncomp`, its compartments; `dt` ms.
    """

    cell: Cell
    path: tuple[int, ...] = eqx.field(static=True)  # compartments of the branch, soma side first
    k: int = eqx.field(static=True)
    t1: float = eqx.field(static=True)  # ms, end of a trial
    nmda: bool = eqx.field(static=True)
    point: bool = eqx.field(static=True)
    wave: bool = eqx.field(static=True)
    dt: float = eqx.field(static=True)

    def __init__(
        self,
        *,
        k: int = 9,
        last: float = 32.0,
        nmda: bool = True,
        point: bool = False,
        wave: bool = False,
        length: float = BRANCH,
        ncomp: int = 10,
        dt: float = DT,
    ):
        lump = AREA / (np.pi * SOMA**2)  # of the soma's membrane
        tree = ball_and_stick(SOMA, length, DIAMETER)
        cell = Cell(tree, ncomp=lambda long: ncomp if long > SOMA else 1, ra=150.0)
        soma = cell.region("soma")
        cell = cell.set(cm=np.where(soma, lump, 1.0), celsius=37.0)
        total = 1 / DENSITY_TO_US / (RESISTANCE * np.pi * SOMA**2)  # S/cm²
        self.cell = cell.insert(Leak(g=np.where(soma, total, 1e-4), e=REST))
        self.k, self.nmda, self.point, self.wave, self.dt = k, nmda, point, wave, float(dt)
        self.path = tuple(int(i) for i in path(cell, int(np.argmax(cell.distance)))[1:])
        self.t1 = float(np.ceil(ONSET + last + 35.0))

    @property
    def space(self) -> ParameterSpace:
        parameters = {
            "weight": Parameter(5e-5, 3e-3, unit="uS"),
            "radius": Parameter(0.1, 1.0, unit="um"),
        }
        if self.wave:
            parameters["gap"] = Parameter(0.02, 1.0, shape=(self.k + 1,))
        else:
            parameters["position"] = Parameter(0.0, 1.0, "linear", shape=(self.k,))
        if self.nmda:
            parameters["nmda"] = Parameter(4.0, 32.0)
        return ParameterSpace(parameters)

    def published(self) -> Params:
        """Nine equal inputs 1/8 of the branch apart, input 1 at the tip, as published."""
        return {
            "weight": jnp.asarray(5e-4),
            "nmda": jnp.asarray(16.0),
            "position": jnp.linspace(1.0, 0.0, self.k),
            "radius": jnp.asarray(DIAMETER / 2),
        }

    def position(self, params: Params) -> Array:
        """The place of every input on the branch, `(k,)`, from 0 at the soma to 1 at the tip."""
        if not self.wave:
            return params["position"]
        return 1.0 - jnp.cumsum(params["gap"][:-1]) / jnp.sum(params["gap"])

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        return unless_blown_up(jnp.max(v) - REST, v)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        sites, shares = along((0, 0) if self.point else self.path, self.position(params))
        sites, weight = sites.reshape(-1), (params["weight"] * shares).reshape(-1)
        onset = jnp.repeat(ONSET + pattern, 2)[:, None]  # (2 k, 1)
        synapses = [AlphaSynapse(sites, weight, onset, tau=2.0, cutoff=10.0)]
        if self.nmda:
            synapses.append(NMDAKinetic(sites, params["nmda"] * weight, onset))
        cell = self.cell.set(list(self.path), radius=params["radius"])
        options = {"dt": self.dt, "v0": REST, "record": [0], "throw": False}
        traces = simulate(cell, synapses, t1=self.t1, **options)
        return traces.ts, cast(Array, traces.v)[:, 0]

    def placement(self, params: Params) -> Placement:
        sites = nearest((0, 0) if self.point else self.path, self.position(params))
        weight = np.full(self.k, float(params["weight"]))
        return Placement(self.cell, sites, np.arange(self.k), weight)


class Order(AbstractTask):
    """Answer one of two sequences more than the other.

    **Arguments:** `name`; `neuron`; `patterns (2, ...)`, the sequence that should be preferred
    first; `labels`, their names; `index`, the selectivity `(first - second) / (first + second)` of
    the responses that counts as solved; `jitter`, ms, the standard deviation of the times of every
    draw, 0 for none; `least`, the selectivity with which a draw is right. The loss is a soft hinge
    that ends a quarter beyond `index`; the margin of the score is the selectivity less `index`, or
    less `least` where the times are drawn.

    **Raises:** `ValueError` for another number of patterns or labels, an index outside (0, 1), or a
    negative jitter.
    """

    name: str = eqx.field(static=True)
    neuron: AbstractNeuron
    patterns: Array  # (2, ...)
    index: Array  # ()
    least: Array  # ()
    jitter: float = eqx.field(static=True)
    labels: tuple[str, ...] = eqx.field(static=True)
    training: Training = eqx.field(static=True)

    def __init__(
        self,
        name: str,
        neuron: AbstractNeuron,
        patterns: ArrayLike,
        *,
        index: float = INDEX,
        least: float = LEAST,
        jitter: float = 0.0,
        labels: Sequence[str] = ("1 to k", "k to 1"),
        training: Training | None = None,
    ):
        self.name, self.neuron = name, neuron
        self.patterns, self.labels = jnp.asarray(patterns, float), tuple(labels)
        self.index, self.training = jnp.asarray(index, float), training or Training()
        self.least, self.jitter = jnp.asarray(least, float), float(jitter)
        check_patterns(name, self.patterns, self.labels)
        if len(self.patterns) != 2:
            raise ValueError(f"{name}: an order needs 2 patterns; got {len(self.patterns)}.")
        if not 0.0 < index < 1.0:
            raise ValueError(f"{name}: the selectivity index must be in (0, 1); got {index}.")
        if not jitter >= 0.0:
            raise ValueError(f"{name}: jitter must be 0 ms or more; got {jitter}.")

    @property
    def random(self) -> bool:
        return self.jitter > 0

    def draw(self, key: Array) -> Array:
        """The onsets of both sequences, each off by a normal jitter; none before 0."""
        off = self.jitter * jax.random.normal(key, self.patterns.shape)
        return jnp.maximum(self.patterns + off, -ONSET)

    @property
    def margin(self) -> Array:
        """How far beyond `least` the median of the draws should be when training stops."""
        return self.index - self.least

    def selectivity(self, responses: Array) -> Array:
        """`(first - second) / (first + second)` of `responses (2,)`, which are positive."""
        return (responses[0] - responses[1]) / jnp.maximum(responses[0] + responses[1], 1e-9)

    @property
    def margin_unit(self) -> str:
        return "selectivity"

    def loss(self, responses: Array) -> Array:
        scale = self.index / 4
        short = (1.25 * self.index - self.selectivity(responses)) / scale
        return scale * jax.nn.softplus(short)

    def score(self, responses: Array) -> Score:
        selectivity = self.selectivity(responses)
        if self.random:
            margin = selectivity - self.least
            return Score((margin >= 0).astype(float), margin, margin >= 0)
        margin = selectivity - self.index
        return Score((selectivity > 0).astype(float), margin, margin >= 0)


class Preference(AbstractTask):
    """Answer one of several patterns most.

    **Arguments:** `name`; `neuron`; `patterns (P, ...)` and their `labels`; `wanted`, the number of
    the pattern that should have the largest response; `lead`, by which fraction of it all others
    should be smaller. The loss is the mean over the others of a soft hinge that ends a quarter
    beyond `lead`; the margin of the score is the lead over the nearest other less `lead`.

    **Raises:** `ValueError` for labels or `wanted` that do not fit the patterns, or a lead outside
    (0, 1).
    """

    name: str = eqx.field(static=True)
    neuron: AbstractNeuron
    patterns: Array  # (P, ...)
    lead: Array  # ()
    wanted: int = eqx.field(static=True)
    labels: tuple[str, ...] = eqx.field(static=True)
    training: Training = eqx.field(static=True)

    def __init__(
        self,
        name: str,
        neuron: AbstractNeuron,
        patterns: ArrayLike,
        wanted: int,
        *,
        lead: float = 0.15,
        labels: Sequence[str],
        training: Training | None = None,
    ):
        self.name, self.neuron, self.wanted = name, neuron, int(wanted)
        self.patterns, self.labels = jnp.asarray(patterns, float), tuple(labels)
        self.lead, self.training = jnp.asarray(lead, float), training or Training()
        check_patterns(name, self.patterns, self.labels)
        if not 0 <= self.wanted < len(self.patterns):
            raise ValueError(
                f"{name}: wanted must be the number of one of {len(self.patterns)} patterns; "
                f"got {wanted}."
            )
        if not 0.0 < lead < 1.0:
            raise ValueError(f"{name}: lead must be in (0, 1); got {lead}.")

    @property
    def goal(self) -> np.ndarray:
        return np.arange(len(self.labels)) == self.wanted

    def leads(self, responses: Array) -> Array:
        """The fraction of the wanted response by which each other is smaller, `(P - 1,)`."""
        best = responses[self.wanted]
        others = responses[np.flatnonzero(~self.goal)]
        return (best - others) / jnp.maximum(best, 1e-9)

    @property
    def margin_unit(self) -> str:
        return "of lead"

    def loss(self, responses: Array) -> Array:
        scale = self.lead / 2
        return scale * jnp.mean(jax.nn.softplus((1.25 * self.lead - self.leads(responses)) / scale))

    def score(self, responses: Array) -> Score:
        leads = self.leads(responses)
        margin = jnp.min(leads) - self.lead
        return Score(jnp.mean(leads > 0), margin, margin >= 0)


def order(seed: int = 0, *, reverse: bool = False, **neuron: Any) -> Order:
    """Nine inputs to one thin dendrite, 4 ms apart: 1 to 9 should beat 9 to 1 at the soma.

    Inputs are known by their place in the sequence; all have one weight. Where they sit on the
    branch, its radius, the weight and the share of NMDA are learned from random values, on times
    that are off by 1 ms in every draw. A draw is right at a selectivity index of 0.2; 0.13 is the
    best of the passive cell of Branco et al. 2010, and a point neuron has exactly 0. `neuron` are
    options of `SequenceBranch`. `seed` has no part in the task.
    """
    del seed
    onset = 4.0 * np.arange(9.0)
    patterns, labels = [onset, onset[::-1]], ["1 to 9", "9 to 1"]
    if reverse:
        patterns, labels = patterns[::-1], labels[::-1]
    name = "order_reverse" if reverse else "order"
    training = Training(configs=64, starts=3, steps=60, screen=1, draws=4)
    branch = SequenceBranch(**neuron)
    return Order(name, branch, patterns, jitter=1.0, labels=labels, training=training)


def order_reverse(seed: int = 0) -> Order:
    """The task `order` the other way round: 9 to 1 should beat 1 to 9."""
    return order(seed, reverse=True)


def order_point(seed: int = 0) -> Order:
    """The task `order` with all inputs on the soma, where both sequences are the same."""
    return order(seed, point=True)


def order_without_nmda(seed: int = 0) -> Order:
    """The task `order` without NMDA receptors."""
    return order(seed, nmda=False)


def velocity(seed: int = 0, *, interval: float = 2.0, **neuron: Any) -> Preference:
    """A wave of inputs runs inwards along a dendrite; one of six velocities should be preferred.

    Nine inputs to a branch of 400 µm come one `INTERVALS` after the other, the most distal first.
    All have one weight and none can be delayed. How far apart they sit, the radius of the branch,
    the weight and the share of NMDA are learned. Solved when every other response is at least 5 %
    smaller than the preferred one. `neuron` are options of `SequenceBranch`. `seed` has no part in
    the task.

    **Raises:** `ValueError` for an `interval` that is not one of `INTERVALS`.
    """
    del seed
    if interval not in INTERVALS:
        raise ValueError(f"velocity: interval must be one of {INTERVALS} ms; got {interval}.")
    branch = SequenceBranch(last=8.0 * INTERVALS[-1], wave=True, **{"length": 400.0} | neuron)
    patterns = np.outer(INTERVALS, np.arange(9.0))
    labels = [f"{value:g} ms" for value in INTERVALS]
    training = Training(configs=128, starts=4, steps=150, rate=0.15)
    wanted = INTERVALS.index(interval)
    name = f"velocity_{interval:g}ms"
    return Preference(name, branch, patterns, wanted, lead=LEAD, labels=labels, training=training)


def velocity_1ms(seed: int = 0) -> Preference:
    """The task `velocity` for one input every millisecond."""
    return velocity(seed, interval=1.0)


def velocity_2ms(seed: int = 0) -> Preference:
    """The task `velocity` for one input every 2 ms."""
    return velocity(seed, interval=2.0)


def velocity_4ms(seed: int = 0) -> Preference:
    """The task `velocity` for one input every 4 ms."""
    return velocity(seed, interval=4.0)
