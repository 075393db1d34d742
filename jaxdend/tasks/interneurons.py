"""XOR by NMDA receptors and feed-forward inhibition: each input has an interneuron of its own."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import Leak, Traub
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import single_compartment
from jaxdend.simulate import simulate
from jaxdend.synapses import AMPA, GABAA, NMDA
from jaxdend.tasks.base import AbstractNeuron, Params, Placement, Training
from jaxdend.tasks.logic import Logic
from jaxdend.tasks.placement import along, fan, nearest
from jaxdend.tasks.spikes import spike_count
from jaxdend.tasks.trains import Bursts
from jaxdend.traces import spike_times

T1, DT = 160.0, 0.1  # ms: end of a trial, time step
REST = -74.0  # mV
MOST_MEAN = -50.0  # mV, the mean voltage of the soma beyond which it is blocked, not silent
BUSIEST = 10  # events of one input in one time step, at most
SPIKES = 32  # of an interneuron in a trial, at most


class CrossInhibition(AbstractNeuron):
    """Two branches on a spiking soma; each input excites one and silences the other.

    An input is a burst of ten fibres. It excites its own branch by AMPA and NMDA receptors, and an
    interneuron of its own, a cell of one compartment with the sodium and potassium channels of
    Traub & Miles, whose spikes reach GABA_A receptors in the middle of the *other* branch after a
    delay. Nobody hears both inputs, and nobody excites as well as inhibits. Trained are the weights
    of excitation and inhibition, the same for both inputs, the ratio of NMDA to AMPA, the place of
    excitation on the branches, the delay, and the leak of the soma. The response is the number of
    spikes of the soma, NaN (wrong) where its mean voltage is above -50 mV.

    **Arguments:** `nmda`, whether there are NMDA receptors; `branches`, whether the inputs have
    branches, or all synapses are on the soma (a control); `ncomp`, compartments of a branch; `dt`
    ms.
    """

    cell: Cell
    interneuron: Cell
    paths: tuple[tuple[int, ...], ...] = eqx.field(static=True)  # compartments of each branch
    nmda: bool = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    unit = "spikes"

    def __init__(self, *, nmda: bool = True, branches: bool = True, ncomp: int = 5, dt: float = DT):
        cell, paths = fan(2, soma=12.0, length=150.0, max_length=150.0 / ncomp, spread=180.0)
        soma = np.asarray(cell.region("soma"))
        self.cell = cell.set(celsius=35.0).insert(Leak(g=5e-5, e=REST), ~soma)
        self.paths = paths if branches else ((0, 0), (0, 0))
        self.interneuron = (
            Cell(single_compartment(20.0, 20.0), max_length=100.0)
            .set(celsius=35.0)
            .insert(Traub(gl=1e-4))
        )
        self.nmda, self.dt = nmda, float(dt)

    @property
    def space(self) -> ParameterSpace:
        parameters = {
            "weight": Parameter(2e-5, 2e-3, unit="uS"),
            "inhibition": Parameter(2e-5, 2e-2, unit="uS"),
            "position": Parameter(0.0, 1.0, "linear"),
            "delay": Parameter(0.5, 5.0, "linear", unit="ms"),
            "gl": Parameter(5e-5, 1e-3, unit="S/cm2"),
        }
        if self.nmda:
            parameters["nmda"] = Parameter(0.1, 4.0)
        return ParameterSpace(parameters)

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        count = unless_blown_up(spike_count(v, self.dt), v)
        return jnp.where(jnp.mean(v) < MOST_MEAN, count, jnp.nan)

    def inhibitory_spikes(self, pattern: Array) -> Array:
        """When the interneurons fire, `(2, SPIKES)` ms, from the events `pattern (2, m)` ms."""

        def one(times: Array) -> Array:
            drive = AMPA([0], 1e-3, times[None], max_per_step=BUSIEST)
            options = {"dt": self.dt, "v0": REST, "record": [0], "throw": False}
            traces = simulate(self.interneuron, drive, t1=T1, **options)
            return spike_times(traces, threshold=-10.0, max_spikes=SPIKES)

        return jax.vmap(one)(pattern)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        """The voltage of the soma, from the event times of both inputs, `pattern (2, m)` ms."""
        sites, shares = zip(*(along(p, params["position"]) for p in self.paths), strict=True)
        sites, shares = jnp.concatenate(sites), jnp.stack(shares)  # (4,), (2, 2)
        weight = (params["weight"] * shares).reshape(-1)
        times = jnp.repeat(pattern, 2, axis=0)
        late = self.inhibitory_spikes(pattern) + params["delay"]
        other = jnp.array([p[len(p) // 2] for p in self.paths[::-1]])
        bound = {"max_per_step": BUSIEST}
        inputs = [
            AMPA(sites, weight, times, **bound),
            GABAA(other, params["inhibition"], late, e_rev=-80.0, tau1=0.5, tau2=8.0, **bound),
        ]
        if self.nmda:
            inputs.append(NMDA(sites, params["nmda"] * weight, times, **bound))
        soma = np.flatnonzero(self.cell.region("soma"))
        cell = self.cell.insert(Traub(gl=params["gl"]), [int(i) for i in soma])
        options = {"dt": self.dt, "v0": REST, "record": [0], "throw": False}
        traces = simulate(cell, inputs, t1=T1, **options)
        return traces.ts, jnp.asarray(traces.v)[:, 0]

    def placement(self, params: Params) -> Placement:
        near = [int(nearest(p, params["position"])) for p in self.paths]
        across = [p[len(p) // 2] for p in self.paths[::-1]]
        weight = np.repeat([float(params["weight"]), -float(params["inhibition"])], 2)
        return Placement(self.cell, np.array(near + across), np.array([0, 1, 0, 1]), weight)


def cross_inhibition(neuron: CrossInhibition) -> Logic:
    """XOR of two jittered bursts by `neuron`."""
    training = Training(configs=1024, starts=4, steps=20, rate=0.03, look=5)
    return Logic.of("XOR", neuron, margin=2.0, inputs=Bursts(), training=training)


def xor_nmda(seed: int = 0) -> Logic:
    """XOR at the soma by NMDA receptors on two branches, each inhibited by the other's input."""
    del seed
    return cross_inhibition(CrossInhibition())


def xor_nmda_point(seed: int = 0) -> Logic:
    """The task `xor_nmda` with all synapses on the soma, which cannot solve it."""
    del seed
    return cross_inhibition(CrossInhibition(branches=False))


def xor_nmda_without(seed: int = 0) -> Logic:
    """The task `xor_nmda` without NMDA receptors, which two branches can often solve as well."""
    del seed
    return cross_inhibition(CrossInhibition(nmda=False))
