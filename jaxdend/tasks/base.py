"""What a task is: patterns go into a neuron, a response comes out of each, a goal judges them.

A neuron (`AbstractNeuron`) turns named parameters and one pattern into one number. A task
(`AbstractTask`) has the patterns, the neuron, a differentiable loss and a score. `train` needs
nothing else. One of your own, a neuron that should answer the second of two inputs only:

```python
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend import AMPA, Cell, simulate, y_tree
from jaxdend.channels import Leak
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.tasks import AbstractNeuron, Logic, Training, train


class TwoInputs(AbstractNeuron):
    cell: Cell
    sites: Array  # (2,)
    unit = "mV"

    @property
    def space(self):
        return ParameterSpace({"weight": Parameter(1e-4, 1e-2, unit="uS", shape=(2,))})

    def respond(self, params, pattern):  # pattern (2,): which inputs are active
        synapses = AMPA(self.sites, params["weight"] * pattern, times=[10.0])
        return jnp.max(simulate(self.cell, synapses, t1=40.0, dt=0.1, record=[0]).v)


cell = Cell(y_tree(), max_length=50.0).insert(Leak(g=1e-4, e=-65.0))
tips = [cell.locate(section=f"dend[{i}]", x=1.0) for i in (1, 2)]
patterns = [[1.0, 0.0], [0.0, 1.0]]
task = Logic(
    "second", TwoInputs(cell, jnp.array(tips)), patterns, [False, True], threshold=-60.0, margin=1.0
)
result = train(task, training=Training(configs=8, starts=1, steps=20))
```
"""

import abc
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from jaxdend.cell import Cell
from jaxdend.fitting import ParameterSpace

Params = dict[str, Array]


class Score(NamedTuple):
    """How well the responses to all patterns meet the goal."""

    accuracy: Array  # () fraction of patterns, or pairs of patterns, that are answered right
    margin: Array  # () distance of the worst from being wrong, in the unit of the responses
    solved: Array  # () bool, right everywhere and with the margin that was asked for


class Placement(NamedTuple):
    """The sites of a neuron's synapses, for figures and tables."""

    cell: Cell
    sites: np.ndarray  # (k,) int
    group: np.ndarray  # (k,) int, which input drives the synapse
    weight: np.ndarray  # (k,) µS, negative for inhibition


@dataclass(frozen=True)
class Training:
    """The settings with which a task is trained."""

    configs: int = 64  # random configurations simulated first
    starts: int = 4  # the best of them, trained by gradient as one batch
    steps: int = 60  # gradient steps at most
    rate: float = 0.1  # of Adam, in units of the unconstrained vector (a range is about 8 wide)
    noise: float = 0.0  # relative noise of the synaptic weights that a solution has to withstand
    copies: int = 4  # noisy copies of every configuration in the loss, where there is noise


class AbstractNeuron(eqx.Module):
    """What answers: parameters and one pattern to one number, differentiable, pure JAX."""

    unit: ClassVar[str] = "mV"  # of a response

    @property
    @abc.abstractmethod
    def space(self) -> ParameterSpace:
        """What can be trained, with bounds. Synaptic weights have the unit `"uS"`."""

    @abc.abstractmethod
    def respond(self, params: Params, pattern: Array) -> Array:
        """The response `()` to one pattern.

        NaN, which is wrong in every task, where the simulation blew up: see `unless_blown_up`.
        """

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array] | None:
        """`(t,)` ms and what the response was read from, `(t,)`, for figures; or `None`."""
        del params, pattern

    def placement(self, params: Params) -> Placement | None:
        """The sites of the synapses, for figures; `None` where there are none to show."""
        del params


class AbstractTask(eqx.Module):
    """A task: patterns, the neuron that answers them, and a goal."""

    name: eqx.AbstractVar[str]
    neuron: eqx.AbstractVar[AbstractNeuron]
    patterns: eqx.AbstractVar[Array]  # (P, ...)
    labels: eqx.AbstractVar[tuple[str, ...]]  # P names
    training: eqx.AbstractVar[Training]  # what `train` does unless told otherwise

    def responses(self, params: Params) -> Array:
        """The responses to all patterns, `(P,)` in the neuron's unit, as one batch."""
        return jax.vmap(lambda pattern: self.neuron.respond(params, pattern))(self.patterns)

    @abc.abstractmethod
    def loss(self, responses: Array) -> Array:
        """What training makes small, `()`, from `responses (P,)`."""

    @abc.abstractmethod
    def score(self, responses: Array) -> Score:
        """How good `responses (P,)` are."""

    @property
    def margin_unit(self) -> str:
        """The unit of the score's margin."""
        return self.neuron.unit

    @property
    def goal(self) -> np.ndarray | None:
        """`(P,)` bool, which responses should be high; `None` where that is not the question."""
        return None


def check_patterns(
    name: str, patterns: Array, labels: tuple[str, ...], targets: tuple | None = None
) -> None:
    """Refuse labels or targets of another number than the patterns, and labels that repeat."""
    count = patterns.shape[0]
    if len(labels) != count:
        raise ValueError(
            f"{name}: {count} patterns need {count} labels; got {len(labels)}: {', '.join(labels)}."
        )
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(
            f"{name}: every pattern needs a label of its own; {', '.join(twice)} occurs more than "
            "once. Give labels=."
        )
    if targets is not None and len(targets) != count:
        raise ValueError(f"{name}: {count} patterns need {count} targets; got {len(targets)}.")
