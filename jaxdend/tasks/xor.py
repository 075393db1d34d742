"""Logic by one dendrite whose calcium spike shrinks with its input, at a soma that spikes."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

import abc
from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import DCaAP, KAFast, Leak, Traub, dcaap_channels
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import ball_and_stick, single_compartment
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.synapses import AMPA, NMDA
from jaxdend.tasks.base import AbstractNeuron, Params, Placement, Training
from jaxdend.tasks.logic import Logic
from jaxdend.tasks.placement import along, nearest, path
from jaxdend.tasks.spikes import spike_count
from jaxdend.tasks.trains import Poisson

T1, DT = 1000.0, 0.1  # ms: end of a trial, time step
REST = -74.0  # mV
FAST = 1.349e-2  # S/cm², of fast potassium channels at `fast` 1
MOST_MEAN = -50.0  # mV, the mean voltage of the soma beyond which it is blocked, not silent
BUSIEST = 6  # events of one input in one time step, at most

_BOUNDS = {
    "weight": Parameter(1e-4, 2e-3, unit="uS", shape=(2,)),
    "nmda": Parameter(0.05, 2.0),
    "gl": Parameter(5e-5, 3e-4, unit="S/cm2"),
}
_PLACES = {"position": Parameter(0.0, 1.0, "linear"), "ra": Parameter(50.0, 400.0, unit="ohm cm")}


class AbstractTwoInputs(AbstractNeuron):
    """A neuron that two inputs excite, by AMPA and NMDA receptors, and that answers with spikes.

    An input is one train of events, those of all its fibres pooled, and has one weight: there is
    nothing with which a single draw could be learned. Trained are both weights, the ratio of NMDA
    to AMPA, the leak of the soma, and what a neuron adds. The response is the number of spikes of
    the soma in a trial of a second, from the beginning of the inputs, NaN (wrong) where the mean
    voltage of the soma is above -50 mV: a soma that is silent because it is blocked by
    depolarisation is no answer.
    """

    cell: eqx.AbstractVar[Cell]
    dt: eqx.AbstractVar[float]
    unit = "spikes"

    @abc.abstractmethod
    def build(self, params: Params) -> Cell:
        """The cell with its trained parameters."""

    @abc.abstractmethod
    def places(self, params: Params) -> tuple[Array, Array]:
        """Compartments `(s,)` on which an input acts, and its share on each."""

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        count = unless_blown_up(spike_count(v, self.dt), v)
        return jnp.where(jnp.mean(v) < MOST_MEAN, count, jnp.nan)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        """The voltage of the soma, from the event times of both inputs, `pattern (2, m)` ms."""
        sites, shares = self.places(params)
        count = sites.shape[0]
        where, times = jnp.tile(sites, 2), jnp.repeat(pattern, count, axis=0)
        weight = (params["weight"][:, None] * shares).reshape(-1)
        bound = {"max_per_step": BUSIEST}
        synapses = (
            AMPA.preset("gidon2020", where, weight, times, **bound),
            NMDA.preset("gidon2020", where, params["nmda"] * weight, times, **bound),
        )
        options = {"dt": self.dt, "v0": REST, "record": [0], "throw": False}
        traces = simulate(self.build(params), synapses, t1=T1, solver=BackwardEuler(), **options)
        return traces.ts, jnp.asarray(traces.v)[:, 0]


class SpikingDendrite(AbstractTwoInputs):
    """A spiking soma with one dendrite, whose last half has active channels or none.

    Soma, dendrite, dCaAP and synapses are those of Gidon et al. (2020): 500 µm of dendrite 2 µm
    thick, 37 kΩ cm², 0.45 µF/cm², 35 °C; the soma has the sodium and potassium channels of Traub &
    Miles. Besides what `AbstractTwoInputs` trains: where both inputs act on the dendrite, the axial
    resistivity, and the parameters of the dendrite's channels. The formula of the dCaAP is one
    event of the compartments that it sits in, so what it does depends on their size: a neuron
    trained with compartments of 100 µm gives other counts with smaller ones. Its time step may be
    halved.

    **Arguments:** `dendrite`, `"dcaap"` (the published formula, from 200 to 300 µm),
    `"channels"` (calcium, fast and slow potassium channels in the outer 300 µm) or `"passive"`;
    `ncomp`, compartments of the dendrite; `dt` ms.

    **Raises:** `ValueError` for another `dendrite`.
    """

    cell: Cell
    path: tuple[int, ...] = eqx.field(static=True)  # compartments of the dendrite, outwards
    soma: tuple[int, ...] = eqx.field(static=True)
    dendrite: str = eqx.field(static=True)
    dt: float = eqx.field(static=True)

    def __init__(self, dendrite: str = "dcaap", *, ncomp: int = 5, dt: float = DT):
        if dendrite not in DENDRITES:
            raise ValueError(
                f"SpikingDendrite: dendrite must be one of {list(DENDRITES)}; got {dendrite!r}."
            )
        cell = Cell(ball_and_stick(50.0, 500.0, 2.0), max_length=500.0 / ncomp, ra=100.0, cm=0.45)
        soma = np.asarray(cell.region("soma"))
        self.cell = cell.set(celsius=35.0).insert(Leak(g=1 / 37000.0, e=REST), ~soma)
        self.soma = tuple(int(i) for i in np.flatnonzero(soma))
        self.path = tuple(
            int(i) for i in path(cell, int(np.argmax(cell.distance)))[len(self.soma) :]
        )
        self.dendrite, self.dt = dendrite, float(dt)

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace({**_BOUNDS, **_PLACES, **DENDRITES[self.dendrite]})

    def build(self, params: Params) -> Cell:
        cell = self.cell.set(ra=params["ra"]).insert(Traub(gl=params["gl"]), list(self.soma))
        if self.dendrite == "dcaap":
            middle = self.path[(2 * len(self.path)) // 5 : (3 * len(self.path)) // 5]
            cell = cell.insert(DCaAP(w=params["w"]), list(middle))
        if self.dendrite == "channels":
            outer = list(self.path[(2 * len(self.path)) // 5 :])
            for channel in dcaap_channels("dendrite", params["density"]):
                cell = cell.insert(channel, outer)
            ratio = params["fast"] * params["density"]
            cell = cell.insert(KAFast(gbar=ratio * FAST), outer)
        return cell

    def places(self, params: Params) -> tuple[Array, Array]:
        return along(self.path, params["position"])

    def placement(self, params: Params) -> Placement:
        site = nearest(self.path, params["position"])
        return Placement(self.cell, np.repeat(site, 2), np.arange(2), np.asarray(params["weight"]))


# the channels of the dendrite -> their parameters
DENDRITES: Mapping[str, Mapping[str, Parameter]] = {
    "dcaap": {"w": Parameter(0.3, 3.0, unit="mA/cm2")},
    "channels": {"density": Parameter(0.4, 2.0), "fast": Parameter(0.3, 1.5)},
    "passive": {},
}


class SpikingPoint(AbstractTwoInputs):
    """The soma of `SpikingDendrite` alone, with the same inputs, as a control.

    Where its mean voltage may be anything, it computes XOR: two inputs together block it.
    """

    cell: Cell
    dt: float = eqx.field(static=True)

    def __init__(self, *, dt: float = DT):
        cell = Cell(single_compartment(50.0, 50.0), max_length=100.0, cm=0.45)
        self.cell, self.dt = cell.set(celsius=35.0), float(dt)

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace({**_BOUNDS, "weight": Parameter(1e-5, 0.3, unit="uS", shape=(2,))})

    def build(self, params: Params) -> Cell:
        return self.cell.insert(Traub(gl=params["gl"]))

    def places(self, params: Params) -> tuple[Array, Array]:
        del params
        return jnp.zeros(1, int), jnp.ones(1)


TRAINING = Training(configs=1024, starts=4, steps=20, rate=0.02, look=5)


def logic_of_trains(function: str, neuron: AbstractNeuron, *, rate: float = 20.0) -> Logic:
    """`function` of inputs that are 25 Poisson trains of `rate` Hz each, drawn anew every time."""
    trains = Poisson(rate=rate, afferents=25, onset=20.0, duration=T1 - 20.0)
    return Logic.of(function, neuron, margin=1.0, inputs=trains, training=TRAINING)


def xor_dcaap(seed: int = 0) -> Logic:
    """XOR at the soma of a neuron whose dendrite has a dCaAP, which shrinks with its input."""
    del seed
    return logic_of_trains("XOR", SpikingDendrite("dcaap"))


def xor_channels(seed: int = 0) -> Logic:
    """XOR at the soma of a neuron whose dendrite has the three channels of a dCaAP."""
    del seed
    return logic_of_trains("XOR", SpikingDendrite("channels"))


def xor_passive_dendrite(seed: int = 0) -> Logic:
    """The task XOR for a spiking soma with a passive dendrite, which cannot solve it."""
    del seed
    return logic_of_trains("XOR", SpikingDendrite("passive"))


def xor_point(seed: int = 0) -> Logic:
    """The task XOR for a spiking soma without a dendrite, which only solves it by being blocked."""
    del seed
    return logic_of_trains("XOR", SpikingPoint())
