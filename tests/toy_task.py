"""A task without a simulation: two inputs that add, and a veto where both are active."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.cell import Cell
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import ball_and_stick
from jaxdend.tasks import AbstractNeuron, AbstractTask, Logic, Placement, Score, Training

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


class Rising(AbstractTask):
    """Every response should be larger than the one before: no threshold, no goal a pattern."""

    neuron: AbstractNeuron
    patterns: Array
    labels: tuple[str, ...] = eqx.field(static=True)
    name: str = eqx.field(static=True, default="rising")
    training: Training = eqx.field(static=True, default=TRAINING)

    def __init__(self, neuron: AbstractNeuron, count: int = 5):
        self.neuron = neuron
        self.patterns = jnp.stack([jnp.linspace(1.0, 0.0, count), jnp.linspace(0.0, 1.0, count)], 1)
        self.labels = tuple(f"{i * 10} °" for i in range(count))

    def loss(self, responses):
        return jnp.mean((responses[1:] - responses[:-1] - 2.0) ** 2)

    def score(self, responses):
        rise = responses[1:] - responses[:-1]
        return Score(jnp.mean(rise > 0), jnp.min(rise), jnp.min(rise) > 0.5)
