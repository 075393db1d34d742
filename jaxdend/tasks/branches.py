"""Logic with dendritic branches: excitation and inhibition of every input on every branch."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import Leak
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.simulate import simulate
from jaxdend.stimuli import Step
from jaxdend.synapses import AMPA, GABAA, NMDA
from jaxdend.tasks.base import AbstractNeuron, Params, Placement, Training
from jaxdend.tasks.logic import FUNCTIONS, Logic
from jaxdend.tasks.placement import along, fan, nearest
from jaxdend.traces import Traces

T1, DT = 90.0, 0.1  # ms: end of a trial, time step
BURST = (10.0, 20.0, 30.0)  # ms, spikes of an active input
START = 15.0  # ms, from where on the somatic voltage is averaged
END = {True: 90.0, False: 50.0}  # ms, until when, by `nmda`
REST = -75.0  # mV


class Branches(AbstractNeuron):
    """A soma with thin branches, on which every input can excite and inhibit.

    Each of `inputs` has one excitatory and one inhibitory contact on every branch and an inhibitory
    one on the soma, three spikes 10 ms apart when it is active. Trained are the weights of all
    contacts, the position of the excitatory ones along their branch, and a tonic current.
    Training decides who excites what: no wiring is given. With `nmda` excitation is AMPA and NMDA
    and a branch amplifies it (NMDA spikes); without, it is AMPA alone on passive branches, which
    saturate as their voltage nears the reversal potential. The response is the mean
    somatic voltage from 15 ms until 90 ms with NMDA, 50 ms without.
    """

    cell: Cell
    paths: tuple[tuple[int, ...], ...] = eqx.field(static=True)  # compartments of each branch
    inputs: int = eqx.field(static=True)
    nmda: bool = eqx.field(static=True)

    def __init__(self, inputs: int, branches: int | None = None, *, nmda: bool = True):
        branches = inputs if branches is None else branches
        cell, self.paths = fan(branches, soma=12.0, spread=180.0)
        self.cell = cell.insert(Leak(g=1e-4, e=REST))
        self.inputs, self.nmda = inputs, nmda

    @property
    def space(self) -> ParameterSpace:
        shape = (self.inputs, len(self.paths))
        most = 2e-2 if self.nmda else 0.2  # µS; saturation takes more
        return ParameterSpace(
            {
                "excitation": Parameter(1e-5, most, unit="uS", shape=shape),
                "inhibition": Parameter(1e-5, 2e-2, unit="uS", shape=shape),
                "somatic": Parameter(1e-5, 2e-2, unit="uS", shape=(self.inputs,)),
                "position": Parameter(0.0, 1.0, "linear", shape=shape),
                "tonic": Parameter(1e-4, 0.1, unit="nA"),
            }
        )

    def run(self, params: Params, pattern: Array) -> Traces:
        """The voltage of the soma and of every branch's middle."""
        sites, shares = zip(
            *(along(p, params["position"][:, b]) for b, p in enumerate(self.paths)), strict=True
        )
        sites, shares = jnp.stack(sites, 1), jnp.stack(shares, 1)  # (inputs, branches, 2)
        active = (params["excitation"] * pattern[:, None])[..., None] * shares
        blocked = jnp.tile(jnp.array([p[len(p) // 2] for p in self.paths]), self.inputs)
        quiet = (params["inhibition"] * pattern[:, None]).reshape(-1)
        where = jnp.concatenate([blocked, jnp.zeros(self.inputs, int)])
        weight = jnp.concatenate([quiet, params["somatic"] * pattern])
        excite = sites.reshape(-1), active.reshape(-1), list(BURST)
        inputs = [
            AMPA(*excite),
            GABAA(where, weight, list(BURST), e_rev=-80.0, tau1=2.0, tau2=23.0),
            Step(0, onset=0.0, duration=T1, amplitude=params["tonic"]),
        ]
        if self.nmda:
            inputs.append(NMDA(*excite))
        record = [0, *(p[len(p) // 2] for p in self.paths)]
        return simulate(self.cell, inputs, t1=T1, dt=DT, v0=REST, record=record, throw=False)

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        read = v[round(START / DT) : round(END[self.nmda] / DT)]
        return unless_blown_up(jnp.mean(read), v)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        traces = self.run(params, pattern)
        return traces.ts, jnp.asarray(traces.v)[:, 0]

    def placement(self, params: Params) -> Placement:
        position = np.asarray(params["position"])
        near = [nearest(p, position[:, b]) for b, p in enumerate(self.paths)]
        middle = [[p[len(p) // 2] for p in self.paths]] * self.inputs
        soma = np.zeros(self.inputs, int)
        shape = position.shape
        group = np.repeat(np.arange(self.inputs), shape[1])
        return Placement(
            self.cell,
            np.concatenate([np.stack(near, 1).reshape(-1), np.ravel(middle), soma]),
            np.concatenate([group, group, np.arange(self.inputs)]),
            np.concatenate(
                [
                    np.ravel(params["excitation"]),
                    -np.ravel(params["inhibition"]),
                    -np.ravel(params["somatic"]),
                ]
            ),
        )


def branch_logic(
    function: str, *, nmda: bool = True, branches: int | None = None, margin: float = 5.0
) -> Logic:
    """The task of computing `function`, one of `FUNCTIONS`, with `Branches`.

    **Arguments:** `nmda`, see `Branches`; `branches`, by default one for every
    input; `margin` in mV.
    """
    neuron = Branches(FUNCTIONS[function][0], branches, nmda=nmda)
    training = Training(configs=64, starts=4, steps=150, rate=0.15)
    return Logic.of(function, neuron, threshold=-60.0, margin=margin, training=training)


def logic_and(seed: int = 0) -> Logic:
    """AND of two inputs by NMDA spikes and inhibition in two branches."""
    del seed
    return branch_logic("AND")


def logic_or(seed: int = 0) -> Logic:
    """OR of two inputs by NMDA spikes and inhibition in two branches."""
    del seed
    return branch_logic("OR")


def logic_nand(seed: int = 0) -> Logic:
    """NAND of two inputs: a tonic current that only both together shunt."""
    del seed
    return branch_logic("NAND")


def xor_sublinear(seed: int = 0) -> Logic:
    """XOR by passive branches that saturate (sublinear summation), and inhibition."""
    del seed
    return branch_logic("XOR", nmda=False)


def majority(seed: int = 0) -> Logic:
    """At least two of three inputs, by NMDA spikes and inhibition in three branches."""
    del seed
    return branch_logic("MAJORITY")


def parity(seed: int = 0) -> Logic:
    """An odd number of three inputs, by NMDA spikes and inhibition in four branches."""
    del seed
    return branch_logic("PARITY", branches=4, margin=3.0)
