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
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

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
    """The settings with which a task is trained, and the draws on which it is judged.

    The draws matter only to a task that draws its inputs. Those of training, validation and test
    have nothing in common.
    """

    configs: int = 64  # random configurations simulated first
    starts: int = 4  # the best of them, trained by gradient as one batch
    steps: int = 60  # gradient steps at most; 0 for none
    rate: float = 0.1  # of Adam, in units of the unconstrained vector (a range is about 8 wide)
    noise: float = 0.0  # relative noise of the synaptic weights that a solution has to withstand
    copies: int = 4  # noisy copies of every configuration in the loss, where there is noise
    screen: int = 2  # draws that every random configuration sees
    draws: int = 8  # new draws in every gradient step, and those that choose the starts
    look: int = 10  # gradient steps between two looks at the validation draws
    validation: int = 32  # draws that choose among the looks, and fix thresholds
    test: int = 24  # draws that nothing was chosen by, for the score
    least: float = 0.9  # fraction of the test draws that must be right in a solution

    def __post_init__(self) -> None:
        """Refuse numbers of draws that could judge nothing."""
        for name in ("screen", "draws", "look", "validation", "test"):
            if getattr(self, name) < 1:
                raise ValueError(f"Training: {name} must be 1 or more; got {getattr(self, name)}.")


class AbstractNeuron(eqx.Module):
    """What answers: parameters and one pattern to one number, differentiable, pure JAX."""

    unit: ClassVar[str] = "mV"  # of a response

    @property
    @abc.abstractmethod
    def space(self) -> ParameterSpace:
        """What can be trained, with bounds. Synaptic weights have the unit `"uS"`."""

    @abc.abstractmethod
    def respond(self, params: Params, pattern: Array) -> Array:
        """The response `()` to one pattern, as the task draws it.

        NaN, which is wrong in every task, where the simulation blew up: see `unless_blown_up`.
        """

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array] | None:
        """`(t,)` ms and what the response was read from, `(t,)`, for figures; or `None`."""
        del params, pattern

    def placement(self, params: Params) -> Placement | None:
        """The sites of the synapses, for figures; `None` where there are none to show."""
        del params


class AbstractTask(eqx.Module):
    """A task: patterns, the neuron that answers them, and a goal.

    A task may draw its inputs: then `random` is true, `draw` makes what the neuron is given from a
    key, and `train` gives new draws to every step, chooses on draws of its own, and scores on
    others, which nothing was chosen by.
    """

    name: eqx.AbstractVar[str]
    neuron: eqx.AbstractVar[AbstractNeuron]
    patterns: eqx.AbstractVar[Array]  # (P, ...)
    labels: eqx.AbstractVar[tuple[str, ...]]  # P names
    training: eqx.AbstractVar[Training]  # what `train` does unless told otherwise

    @property
    def random(self) -> bool:
        """Whether the task draws its inputs."""
        return False

    def draw(self, key: Array) -> PyTree:
        """One draw of the inputs of all patterns, every leaf `(P, ...)`."""
        del key
        return self.patterns

    def responses(self, params: Params, key: Array | None = None) -> Array:
        """The responses to all patterns, `(P,)` in the neuron's unit, as one batch.

        **Raises:** `ValueError` where the task draws its inputs and no `key` is given.
        """
        if key is None and self.random:
            raise ValueError(f"{self.name} draws its inputs: responses needs a JAX key for a draw.")
        patterns = self.patterns if key is None else self.draw(key)
        return jax.vmap(lambda pattern: self.neuron.respond(params, pattern))(patterns)

    def loss_of_draws(self, responses: Array) -> Array:
        """What training makes small, `()`, from the `responses (D, P)` to several draws."""
        return jnp.mean(jax.vmap(self.loss)(responses))

    def decide(self, responses: Array) -> "AbstractTask":
        """The task with whatever the `responses (D, P)` to validation draws have to fix."""
        del responses
        return self

    @abc.abstractmethod
    def loss(self, responses: Array) -> Array:
        """What training makes small, `()`, from `responses (P,)`."""

    @abc.abstractmethod
    def score(self, responses: Array) -> Score:
        """How good `responses (P,)` are."""

    def check(self, responses: Array) -> Score:
        """The score by which training stops and chooses, where that must not see all of `score`."""
        return self.score(responses)

    @property
    def accuracy_unit(self) -> str:
        """What the score's accuracy is a fraction of, after the number."""
        return "right"

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
