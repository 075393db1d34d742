"""How a solver goes through a run: those of this library say it, others are taken as plain."""

import abc
from typing import Any, NamedTuple

import diffrax


class Manner(NamedTuple):
    """What of a solver the rest of a run depends on; as it stands, that of a solver of diffrax."""

    staggered: bool = False  # equal steps as in NEURON, which look at triggers and resets
    rosenbrock: bool = False  # steps of its own choice, with events delivered between them
    rounded: bool = False  # events come at the nearest step instead of at their time


class AbstractOwn(diffrax.AbstractSolver):
    """A solver that works on the model itself, which travels as `args`."""

    @property
    @abc.abstractmethod
    def manner(self) -> Manner:
        """How the solver goes through a run."""


def manner_of(solver: Any) -> Manner:
    """The `Manner` of a solver of this library or of diffrax."""
    return solver.manner if isinstance(solver, AbstractOwn) else Manner()
