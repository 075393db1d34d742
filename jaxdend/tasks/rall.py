"""Rall's chain: in a passive dendrite already, the order of inputs decides how far they get."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

from typing import cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import Leak
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.synapses import ExpSyn
from jaxdend.tasks.base import AbstractNeuron, Params, Placement, Training
from jaxdend.tasks.placement import along, nearest
from jaxdend.tasks.sequence import Order

TAU = 10.0  # ms, of the membrane
LEAK = 1e-4  # µS, of one compartment
DRIVE = 1.0  # mV, the driving force; voltages are so small that only ratios matter
NEVER = 1e12  # ms, the decay of a conductance that is switched off instead
COUNT, LENGTH = 10, 20.0  # compartments; µm of each
# when each of four inputs comes, from the soma outwards, and for how long, in time constants
PATTERNS = {
    "proximal first": ((0.0, 0.25), (0.25, 0.25), (0.5, 0.25), (0.75, 0.25)),
    "distal first": ((0.75, 0.25), (0.5, 0.25), (0.25, 0.25), (0.0, 0.25)),
    "together": ((0.0, 1.0),) * 4,
}


class RallChain(AbstractNeuron):
    """Ten equal passive compartments, the first of them the soma, with four inputs (Rall 1964).

    Compartments are 0.2 length constants long: the conductance between two is 25 times the leak of
    one. Voltages count from rest in units of the driving force. An input is a conductance that is
    on for a while, at a real-valued position from the soma (0) to the tip (1); between two
    compartments it is shared by both. A pattern `(4, 2)` holds the onset and the duration of every
    input in membrane time constants, as in `PATTERNS`; the conductance is that of `weight` (µS)
    for a quarter of a time constant and shrinks as the duration grows. The response is the peak at
    the soma, as a fraction of the driving force.

    ```python
    chain = RallChain()
    pattern = jnp.array(PATTERNS["distal first"])
    chain.respond(chain.published(1.0), pattern)  # 0.152
    ```

    Source: Rall (1964), Theoretical significance of dendritic trees for neuronal input-output
    relations, in Neural Theory and Modeling, ed. Reiss, Stanford University Press.
    """

    unit = "of drive"
    cell: Cell

    def __init__(self):
        step = np.arange(COUNT)
        cell = Cell.from_compartments(
            parent=step - 1,
            axial_resistance=np.full(COUNT, 1.0 / (25.0 * LEAK)),
            area=np.full(COUNT, 1e2),
            cm=1e3 * TAU * LEAK,
            kind=np.where(step == 0, 1, 3),
            distance=LENGTH * step,
            length=np.full(COUNT, LENGTH),
            radius=np.full(COUNT, 1e2 / (2 * np.pi * LENGTH)),
            xyz=np.stack([LENGTH * step, 0.0 * step, 0.0 * step], axis=1),
        )
        self.cell = cell.insert(Leak(g=LEAK, e=0.0))

    @property
    def space(self) -> ParameterSpace:
        weight = Parameter(0.2 * LEAK, 4.0 * LEAK, unit="uS", shape=(4,))
        return ParameterSpace(
            {"weight": weight, "position": Parameter(0.0, 1.0, "linear", shape=(4,))}
        )

    def published(self, epsilon: ArrayLike = 1.0) -> Params:
        """`epsilon` times the leak in compartments 2 and 3, 4 and 5, 6 and 7, 8 and 9."""
        middle = jnp.array([1.5, 3.5, 5.5, 7.5]) / (COUNT - 1)
        return {"weight": jnp.full(4, 2.0 * LEAK) * epsilon, "position": middle}

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        return unless_blown_up(jnp.max(v), v)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        """Time in ms and the soma's voltage as a fraction of the driving force, three `TAU` long.

        Time steps are `TAU / 400`, by backward Euler.
        """
        sites, shares = along(np.arange(COUNT), params["position"])  # (4, 2)
        onset, duration = pattern[:, 0], pattern[:, 1]
        strength = (params["weight"] * 0.25 / duration)[:, None] * shares
        strength = strength.reshape(-1, 1) * jnp.array([1.0, -1.0])  # on, off
        times = TAU * jnp.repeat(jnp.stack([onset, onset + duration], axis=1), 2, axis=0)
        switched = ExpSyn(sites.reshape(-1), strength, times, e_rev=DRIVE, tau=NEVER)
        traces = simulate(
            self.cell,
            switched,
            t1=3.0 * TAU,
            dt=TAU / 400,
            solver=BackwardEuler(),
            v0=0.0,
            record=[0],
            throw=False,
        )
        return traces.ts, cast(Array, traces.v)[:, 0] / DRIVE

    def placement(self, params: Params) -> Placement:
        sites = nearest(np.arange(COUNT), params["position"])
        return Placement(self.cell, sites, np.arange(4), np.asarray(params["weight"]))


def rall(seed: int = 0) -> Order:
    """Four inputs to Rall's passive chain, their places learned so that 1 to 4 beats 4 to 1.

    Solved at a selectivity of 0.27, that of Rall's own arrangement. `seed` has no part in it.
    """
    del seed
    patterns = [PATTERNS["proximal first"], PATTERNS["distal first"]]
    training = Training(configs=4, starts=4, steps=60)
    labels = ("1 to 4", "4 to 1")
    return Order("rall", RallChain(), patterns, index=0.27, labels=labels, training=training)
