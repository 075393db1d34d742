"""What cannot compute XOR: a perceptron, an integrate-and-fire and a passive point neuron.

They see the same patterns and are trained in the same way as the neurons with dendrites.

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
from jaxdend.synapses import AMPA, GABAA, poisson_events
from jaxdend.tasks.base import AbstractNeuron, Params, Training
from jaxdend.tasks.logic import FUNCTIONS, Logic

T1, START, DT = 440.0, 40.0, 0.2  # ms: end of a trial, start of the readout, time step
REST, VTH = -75.0, -55.0  # mV


class Perceptron(AbstractNeuron):
    """The weighted sum of McCulloch & Pitts (1943) and Rosenblatt (1958): `w · x + bias`, in mV."""

    inputs: int = eqx.field(static=True)

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace(
            {
                "weight": Parameter(-50.0, 50.0, "linear", unit="mV", shape=(self.inputs,)),
                "bias": Parameter(-50.0, 50.0, "linear", unit="mV"),
            }
        )

    def respond(self, params: Params, pattern: Array) -> Array:
        return pattern @ params["weight"] + params["bias"]


class PointNeuron(AbstractNeuron):
    """One compartment under the inputs of `DCaAPNeuron`, each free to excite and to inhibit.

    Every input has `k` excitatory and `k` inhibitory synapses with frozen Poisson trains of 20 Hz.
    Trained are the strength of each input's excitation and of its inhibition, and the threshold of
    the answer. (With a weight for every synapse the spiking neuron can learn the frozen trains by
    heart: let X fire it when Y happens to be silent. That is a code in time, not XOR.) Passive, it
    answers with its mean voltage from 40 ms on, above a threshold (mV); `spiking`, with its number
    of spikes (LIF), above a threshold in spikes, times 5 so that a spike weighs like 5 mV.
    """

    cell: Cell
    times: Array  # (2, inputs, k, m) ms, of excitation and inhibition
    spiking: bool = eqx.field(static=True)

    def __init__(self, inputs: int = 2, k: int = 25, *, spiking: bool = False, seed: int = 0):
        cell = Cell(single_compartment(60.0, 60.0), max_length=100.0, cm=0.9)
        membrane = {"g": 1 / 20000.0, "e": REST}
        leak = LIF(vth=VTH, vreset=REST, surrogate=True, width=5.0, **membrane)
        self.cell = cell.insert(leak if spiking else Leak(**membrane))
        self.spiking = spiking
        keys = jax.random.split(jax.random.key(seed), 2 * inputs)
        trains = [20.0 + poisson_events(i, 20.0, T1 - 20.0, k, max_events=24) for i in keys]
        self.times = jnp.stack(trains).reshape(2, inputs, k, -1)

    @property
    def space(self) -> ParameterSpace:
        inputs = self.times.shape[1]
        threshold = Parameter(1.0, 30.0, "linear") if self.spiking else None
        return ParameterSpace(
            {
                "excitation": Parameter(1e-5, 2e-2, unit="uS", shape=(inputs,)),
                "inhibition": Parameter(1e-5, 2e-2, unit="uS", shape=(inputs,)),
                "threshold": threshold or Parameter(-74.0, -20.0, "linear", unit="mV"),
            }
        )

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        _, inputs, k, m = self.times.shape
        site = jnp.zeros(inputs * k, int)
        excitation, inhibition = (
            jnp.repeat(params[name] * pattern, k) for name in ("excitation", "inhibition")
        )
        trains = self.times.reshape(2, inputs * k, m)
        synapses = (
            AMPA(site, excitation, trains[0]),
            GABAA(site, inhibition, trains[1], e_rev=-85.0),
        )
        traces = simulate(self.cell, synapses, t1=T1, dt=DT, v0=REST, record=[0], throw=False)
        return traces.ts, jnp.asarray(traces.v)[:, 0]

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        if self.spiking:
            return unless_blown_up(5.0 * (count_spikes(v, VTH) - params["threshold"]), v)
        return unless_blown_up(jnp.mean(v[int(START / DT) :]) - params["threshold"], v)


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
    training = Training(configs=32, starts=3, steps=60, rate=0.3)
    return Logic.of(function, neurons[kind](), threshold=0.0, margin=5.0, training=training)


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
