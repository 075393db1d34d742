"""What cannot compute XOR: a perceptron, an integrate-and-fire and a passive point neuron.

They see the same trains as the neurons with dendrites, drawn anew every time, and are trained and
judged in the same way.

Why the conductance-based ones fail although they may excite and inhibit: with mean conductances
`a` (to a high potential) and `b` (total) above rest, the voltage passes a threshold θ where
`a - θ b > c > 0`; the left side adds up over inputs, so if X alone and Y alone pass, both pass.
"""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import LIF, Leak
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import single_compartment
from jaxdend.simulate import simulate
from jaxdend.synapses import AMPA, GABAA
from jaxdend.tasks.base import AbstractNeuron, Params
from jaxdend.tasks.logic import FUNCTIONS, Logic
from jaxdend.tasks.xor import T1, logic_of_trains

START, DT = 40.0, 0.2  # ms: start of the readout, time step
REST, VTH = -75.0, -55.0  # mV
BUSIEST = 8  # events of one input in one time step, at most


class Perceptron(AbstractNeuron):
    """The weighted sum of McCulloch & Pitts (1943) and Rosenblatt (1958), of the inputs' counts.

    An input is the number of its events, in hundreds. There is no bias: the threshold is found as
    for every neuron.
    """

    inputs: int = eqx.field(static=True)
    unit = ""

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace({"weight": Parameter(-5.0, 5.0, "linear", shape=(self.inputs,))})

    def respond(self, params: Params, pattern: Array) -> Array:
        counts = jnp.sum(jnp.isfinite(pattern), axis=-1) / 100.0
        return jnp.sum(counts * params["weight"])


class PointNeuron(AbstractNeuron):
    """One compartment under the inputs of `SpikingDendrite`, each free to excite and to inhibit.

    Trained are the strength of each input's excitation and of its inhibition. Passive, it answers
    with its mean voltage from 40 ms on; `spiking`, with its number of spikes (LIF).
    """

    cell: Cell
    inputs: int = eqx.field(static=True)
    spiking: bool = eqx.field(static=True)

    def __init__(self, inputs: int = 2, *, spiking: bool = False):
        cell = Cell(single_compartment(60.0, 60.0), max_length=100.0, cm=0.9)
        membrane = {"g": 1 / 20000.0, "e": REST}
        leak = LIF(vth=VTH, vreset=REST, surrogate=True, width=5.0, **membrane)
        self.cell = cell.insert(leak if spiking else Leak(**membrane))
        self.inputs, self.spiking = inputs, spiking

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The unit of a response: spikes where it spikes, else mV."""
        return "spikes" if self.spiking else "mV"

    @property
    def space(self) -> ParameterSpace:
        weight = Parameter(1e-6, 2e-2, unit="uS", shape=(self.inputs,))
        return ParameterSpace({"excitation": weight, "inhibition": weight})

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        site, bound = jnp.zeros(self.inputs, int), {"max_per_step": BUSIEST}
        synapses = (
            AMPA(site, params["excitation"], pattern, **bound),
            GABAA(site, params["inhibition"], pattern, e_rev=-85.0, **bound),
        )
        traces = simulate(self.cell, synapses, t1=T1, dt=DT, v0=REST, record=[0], throw=False)
        return traces.ts, jnp.asarray(traces.v)[:, 0]

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        if self.spiking:
            return unless_blown_up(count_spikes(v, VTH), v)
        return unless_blown_up(jnp.mean(v[int(START / DT) :]), v)


def count_spikes(v: Array, threshold: float, width: float = 5.0) -> Array:
    """How many samples lie above `threshold`: the spikes of a neuron that resets after each.

    The gradient is that of a steep sigmoid, `1 / (width (1 + |v - threshold| / width)²)`.
    """
    u = (v - threshold) / width
    soft = u / (1.0 + jnp.abs(u))
    return jnp.sum((u > 0) + soft - jax.lax.stop_gradient(soft))


def baseline(kind: str, function: str = "XOR") -> Logic:
    """The task of computing `function` with a neuron that has no dendrites.

    **Arguments:** `kind`, `"perceptron"`, `"lif"` or `"passive"`.
    """
    inputs = FUNCTIONS[function][0]
    neurons = {
        "perceptron": lambda: Perceptron(inputs),
        "lif": lambda: PointNeuron(inputs, spiking=True),
        "passive": lambda: PointNeuron(inputs),
    }
    if kind not in neurons:
        raise ValueError(f"baseline: expected one of {', '.join(neurons)}; got {kind!r}.")
    return logic_of_trains(function, neurons[kind]())


def xor_perceptron(seed: int = 0) -> Logic:
    """The task XOR for a perceptron, which cannot solve it."""
    del seed
    return baseline("perceptron")


def xor_lif(seed: int = 0) -> Logic:
    """The task XOR for a leaky integrate-and-fire neuron, which cannot solve it."""
    del seed
    return baseline("lif")


def xor_passive(seed: int = 0) -> Logic:
    """The task XOR for a passive point neuron, which cannot solve it."""
    del seed
    return baseline("passive")
