"""Exclusive or in one dendrite, by a calcium spike that shrinks with the strength of its input."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import DCaAP, Leak
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import ball_and_stick
from jaxdend.simulate import simulate
from jaxdend.synapses import AMPA, NMDA, poisson_events
from jaxdend.tasks.base import AbstractNeuron, Params, Placement, Training
from jaxdend.tasks.logic import Logic
from jaxdend.tasks.placement import along, nearest, path
from jaxdend.traces import Traces

T1, WINDOW, DT = 440.0, 230.0, 0.2  # ms: end of a trial, start of the readout, time step


class DCaAPNeuron(AbstractNeuron):
    """A dendrite with a dCaAP, on a soma that stands for the rest of the cell (Gidon et al. 2020).

    Two inputs of `k` synapses each are driven by Poisson trains of 20 Hz for as long as their input
    is on; the trains are frozen. Membrane, dCaAP and the time courses of AMPA and NMDA are as
    published. Trained are every synapse's weight and position along the dendrite, the delay of each
    input, the ratio of NMDA to AMPA (published 1.86, at which this small dendrite is bistable) and
    the current of the dCaAP. The response is the peak voltage at the dCaAP's site from 230 ms on:
    by then the first dCaAP is over, whose amplitude says nothing (its strength is read one step
    after threshold).
    """

    cell: Cell
    site: int = eqx.field(static=True)  # of the dCaAP
    path: tuple[int, ...] = eqx.field(static=True)  # compartments that synapses may take
    times: Array  # (2, k, m) ms
    width: int = eqx.field(static=True)  # most events of all synapses in one step

    def __init__(self, k: int = 25, rate: float = 20.0, seed: int = 0):
        cell = Cell(ball_and_stick(50.0, 500.0, 2.0), max_length=50.0, ra=100.0, cm=0.45)
        cell = cell.set(celsius=35.0).insert(Leak(g=1 / 37000.0, e=-75.0))
        tip = int(np.argmax(cell.distance))
        dendrite = path(cell, tip)[1:]
        self.site = int(dendrite[-3])
        self.cell = cell.insert(DCaAP(w=0.5), np.array([self.site]))
        self.path = tuple(int(i) for i in dendrite)
        keys = jax.random.split(jax.random.key(seed), 2)
        self.times = 20.0 + jnp.stack(
            [poisson_events(key, rate, T1 - 20.0, k, max_events=24) for key in keys]
        )
        self.width = 2 * busiest(self.times, 2 * DT)

    @property
    def space(self) -> ParameterSpace:
        k = self.times.shape[1]
        return ParameterSpace(
            {
                "weight": Parameter(3e-5, 3e-3, unit="uS", shape=(2, k)),
                "position": Parameter(0.0, 1.0, "linear", shape=(2, k)),
                "delay": Parameter(0.0, 20.0, "linear", unit="ms", shape=(2,)),
                "nmda": Parameter(0.05, 1.0),
                "w": Parameter(0.3, 1.2, unit="mA/cm2"),
            }
        )

    def run(self, params: Params, pattern: Array) -> Traces:
        """The voltage at the dCaAP's site and the soma."""
        cell = self.cell.insert(DCaAP(w=params["w"]), np.array([self.site]))
        sites, shares = along(self.path, params["position"])  # (2, k, 2)
        weight = (params["weight"] * pattern[:, None])[..., None] * shares
        times = self.times + params["delay"][:, None, None]
        times = jnp.repeat(times.reshape(-1, times.shape[-1]), 2, axis=0)  # (4 k, m)
        sites, weight = sites.reshape(-1), weight.reshape(-1)
        bound = {"max_per_step": self.width}
        synapses = (
            AMPA.preset("gidon2020", sites, weight, times, **bound),
            NMDA.preset("gidon2020", sites, params["nmda"] * weight, times, **bound),
        )
        return simulate(cell, synapses, t1=T1, dt=DT, v0=-75.0, record=[self.site, 0], throw=False)

    def respond(self, params: Params, pattern: Array) -> Array:
        ts, v = self.trace(params, pattern)
        return unless_blown_up(jnp.max(jnp.where(ts >= WINDOW, v, -jnp.inf)), v)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        traces = self.run(params, pattern)
        return traces.ts, jnp.asarray(traces.v)[:, 0]

    def placement(self, params: Params) -> Placement:
        sites = nearest(self.path, params["position"])
        weight = np.asarray(params["weight"])
        group = np.repeat(np.arange(2), weight.shape[1])
        return Placement(self.cell, sites.reshape(-1), group, weight.reshape(-1))


def xor_dcaap(seed: int = 0) -> Logic:
    """XOR in one dendrite, by the dCaAP of human neurons, which shrinks with its input."""
    del seed
    training = Training(configs=16, starts=2, steps=60, rate=0.3, noise=0.1, copies=3)
    return Logic.of("XOR", DCaAPNeuron(), threshold=8.0, margin=5.0, training=training)


def busiest(times: Array, window: float) -> int:
    """The most events of a group within any `window` ms, summed over groups `(G, k, m)`."""
    count = 0
    for group in np.asarray(times):
        ts = np.sort(group[np.isfinite(group)])
        count += int(max(np.searchsorted(ts, ts + window, "right") - np.arange(len(ts)), default=0))
    return count
