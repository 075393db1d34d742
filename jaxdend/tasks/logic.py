"""Logic: which of the patterns of active inputs should make a neuron answer."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._subset import is_concrete
from jaxdend.tasks.base import AbstractNeuron, AbstractTask, Score, Training, check_patterns

# name -> number of inputs, function of the inputs
FUNCTIONS: dict[str, tuple[int, Callable[..., bool]]] = {
    "AND": (2, lambda x, y: x and y),
    "OR": (2, lambda x, y: x or y),
    "NAND": (2, lambda x, y: not (x and y)),
    "XOR": (2, lambda x, y: x != y),
    "AND3": (3, lambda x, y, z: x and y and z),
    "OR3": (3, lambda x, y, z: x or y or z),
    "NAND3": (3, lambda x, y, z: not (x and y and z)),
    "MAJORITY": (3, lambda x, y, z: x + y + z >= 2),
    "PARITY": (3, lambda x, y, z: (x + y + z) % 2 == 1),
    # positive and not linearly separable (Cazé, Humphries & Gutkin 2013)
    "BINDING": (4, lambda a, b, c, d: (a and d) or (b and c)),
    "BINDING2": (4, lambda a, b, c, d: (a and c) or (a and d) or (b and c) or (b and d)),
    "BINDING3": (4, lambda a, b, c, d: (a and b) or (a and d) or (b and c)),
}


def truth_table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """All patterns of a function and its answers: `(P, G)` and `(P,)` of bool.

    **Raises:** `ValueError` for a name that is not in `FUNCTIONS`.
    """
    if name not in FUNCTIONS:
        raise ValueError(f"truth_table: expected one of {', '.join(FUNCTIONS)}; got {name!r}.")
    inputs, function = FUNCTIONS[name]
    patterns = np.array(list(itertools.product([False, True], repeat=inputs)))
    return patterns, np.array([bool(function(*row)) for row in patterns.tolist()])


class Logic(AbstractTask):
    """Answer above `threshold` to the patterns that want it, below to the others, with a margin.

    **Arguments:** `name`; `neuron`; `patterns (P, G)`, how strongly each of G inputs is active,
    usually 0 or 1; `targets (P,)` bool; `threshold` and `margin` in the neuron's unit; `labels`,
    names of the patterns, by default their active inputs. The loss is the mean over patterns of
    `scale softplus((aim - distance) / scale)`, where `distance` is the signed distance from the
    threshold, `aim` a quarter more than the margin and `scale` a quarter of it.

    `Logic.of("XOR", neuron, ...)` takes the patterns and targets from `truth_table`.

    **Raises:** `ValueError` for targets or labels that do not fit the patterns, a margin that is
    not positive.
    """

    name: str = eqx.field(static=True)
    neuron: AbstractNeuron
    patterns: Array  # (P, G)
    threshold: Array  # ()
    margin: Array  # ()
    targets: tuple[bool, ...] = eqx.field(static=True)
    labels: tuple[str, ...] = eqx.field(static=True)
    training: Training = eqx.field(static=True)

    def __init__(
        self,
        name: str,
        neuron: AbstractNeuron,
        patterns: ArrayLike,
        targets: Sequence[bool] | np.ndarray,
        *,
        threshold: ArrayLike,
        margin: ArrayLike,
        labels: Sequence[str] = (),
        training: Training | None = None,
    ):
        self.name, self.neuron = name, neuron
        self.patterns = jnp.asarray(patterns, float)
        self.threshold, self.margin = jnp.asarray(threshold, float), jnp.asarray(margin, float)
        self.targets = tuple(bool(t) for t in targets)
        self.labels = tuple(labels) or tuple(map(pattern_label, np.asarray(patterns)))
        self.training = training or Training()
        check_patterns(self.name, self.patterns, self.labels, self.targets)
        if is_concrete(self.margin) and not float(self.margin) > 0:
            raise ValueError(f"{name}: margin must be > 0 {neuron.unit}; got {margin}.")

    @classmethod
    def of(cls, function: str, neuron: AbstractNeuron, **options: Any) -> "Logic":
        """The task of computing `function`, one of `FUNCTIONS`; `options` as for the class."""
        return cls(function, neuron, *truth_table(function), **options)

    @property
    def goal(self) -> np.ndarray:
        return np.array(self.targets)

    def distance(self, responses: Array) -> Array:
        """How far each response is on the right side of the threshold, `(P,)`."""
        return jnp.where(self.goal, 1.0, -1.0) * (responses - self.threshold)

    def loss(self, responses: Array) -> Array:
        scale = self.margin / 4
        short = (1.25 * self.margin - self.distance(responses)) / scale
        return scale * jnp.mean(jax.nn.softplus(short))

    def score(self, responses: Array) -> Score:
        distance = self.distance(responses)
        margin = jnp.min(distance)
        return Score(jnp.mean(distance > 0), margin, margin >= self.margin)


def pattern_label(row: np.ndarray) -> str:
    """The active inputs, as in "XY", or a dash where there are none."""
    names = "XYZW" if len(row) <= 4 else [f"{i + 1} " for i in range(len(row))]
    return "".join(name for name, on in zip(names, row, strict=False) if on).strip() or "–"
