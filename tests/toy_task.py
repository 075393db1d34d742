"""A task without a simulation: two inputs that add, and a veto where both are active."""

import jax.numpy as jnp
import numpy as np

from jaxdend.cell import Cell
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import ball_and_stick
from jaxdend.tasks import AbstractNeuron, Logic, Placement, Training

TRAINING = Training(configs=20, starts=3, steps=80, rate=0.05)


class Veto(AbstractNeuron):
    """-70 mV, 500 mV/µS for every active input, and less where both are."""

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace(
            {
                "weight": Parameter(1e-3, 0.1, unit="uS", shape=(2,)),
                "veto": Parameter(0.0, 60.0, "linear", unit="mV"),
            }
        )

    def respond(self, params, pattern):
        drive = 500.0 * jnp.sum(params["weight"] * pattern)
        return -70.0 + drive - params["veto"] * jnp.prod(pattern)


class DrawnVeto(AbstractNeuron):
    """The same, with a cell and a trace to draw."""

    cell: Cell

    def __init__(self):
        self.cell = Cell(ball_and_stick(20.0, 200.0, 2.0), max_length=50.0)

    @property
    def space(self) -> ParameterSpace:
        return Veto().space

    def respond(self, params, pattern):
        return Veto().respond(params, pattern)

    def trace(self, params, pattern):
        ts = jnp.linspace(0.0, 20.0, 41)
        return ts, -70.0 + (self.respond(params, pattern) + 70.0) * jnp.sin(ts / 20.0 * jnp.pi)

    def placement(self, params):
        return Placement(
            self.cell, np.array([2, 4]), np.array([0, 1]), np.asarray(params["weight"])
        )


def xor(neuron: AbstractNeuron | None = None, **options) -> Logic:
    """XOR by the veto."""
    options = {"threshold": -60.0, "margin": 4.0, "training": TRAINING} | options
    return Logic.of("XOR", neuron or Veto(), **options)
