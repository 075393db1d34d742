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
from jaxdend.tasks.trains import AbstractTrains

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
    """Answer above a threshold to the patterns that want it, below to the others, with a margin.

    **Arguments:** `name`; `neuron`; `patterns (P, G)`, how strongly each of G inputs is active,
    usually 0 or 1; `targets (P,)` bool; `margin` in the neuron's unit; `threshold` likewise, or
    `None` where validation should fix it; `inputs`, what the neuron is given in place of the
    patterns: spike trains drawn anew for every draw; `labels`, names of the patterns, by default
    their active inputs.

    With a threshold the loss is the mean over patterns of `scale softplus((aim - distance) /
    scale)`, where `distance` is the signed distance from the threshold, `aim` a quarter more than
    the margin and `scale` a quarter of it. Without, `distance` is half of how much a response that
    should be high exceeds one that should be low, in the mean over all such pairs of all draws.
    `decide` then takes the threshold that is right in most of the draws, in the middle of the
    widest gap. A response to a draw that is not finite is wrong, by four margins; where none is
    finite, neither is the loss.

    `Logic.of("XOR", neuron, ...)` takes the patterns and targets from `truth_table`.

    **Raises:** `ValueError` for targets or labels that do not fit the patterns, a margin that is
    not positive.
    """

    name: str = eqx.field(static=True)
    neuron: AbstractNeuron
    patterns: Array  # (P, G)
    threshold: Array | None  # ()
    margin: Array  # ()
    inputs: AbstractTrains | None
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
        margin: ArrayLike,
        threshold: ArrayLike | None = None,
        inputs: AbstractTrains | None = None,
        labels: Sequence[str] = (),
        training: Training | None = None,
    ):
        self.name, self.neuron, self.inputs = name, neuron, inputs
        self.patterns = jnp.asarray(patterns, float)
        self.threshold = None if threshold is None else jnp.asarray(threshold, float)
        self.margin = jnp.asarray(margin, float)
        self.targets = tuple(bool(t) for t in targets)
        self.labels = tuple(labels) or tuple(map(pattern_label, np.asarray(patterns)))
        self.training = training or Training()
        check_patterns(self.name, self.patterns, self.labels, self.targets)
        if is_concrete(self.margin) and not float(self.margin) > 0:
            raise ValueError(f"{name}: margin must be > 0 {neuron.unit}; got {margin}.")
        if threshold is None and len(set(self.targets)) != 2:
            raise ValueError(
                f"{name}: validation fixes a threshold between patterns that want an answer and "
                f"patterns that do not; all want {self.targets[0]}. Give threshold=."
            )

    @classmethod
    def of(cls, function: str, neuron: AbstractNeuron, **options: Any) -> "Logic":
        """The task of computing `function`, one of `FUNCTIONS`; `options` as for the class."""
        return cls(function, neuron, *truth_table(function), **options)

    @property
    def random(self) -> bool:
        return self.inputs is not None

    def draw(self, key: Array) -> Array:
        return self.patterns if self.inputs is None else self.inputs.draw(key, self.patterns)

    @property
    def goal(self) -> np.ndarray:
        return np.array(self.targets)

    def distance(self, responses: Array) -> Array:
        """How far each response is on the right side of the threshold, `(..., P)`."""
        if self.threshold is None:
            raise ValueError(
                f"{self.name} has no threshold yet: give threshold=, or take the task that "
                "decide(responses of validation draws) returns, which TaskResult.task_of does."
            )
        return jnp.where(self.goal, 1.0, -1.0) * (responses - self.threshold)

    def loss(self, responses: Array) -> Array:
        if self.threshold is None:
            return self.loss_of_draws(responses[None])
        return self._hinge(self.distance(responses))

    def loss_of_draws(self, responses: Array) -> Array:
        if not self.random:
            return super().loss_of_draws(responses)
        finite = jnp.isfinite(responses)
        if self.threshold is not None:
            distance = self.distance(jnp.where(finite, responses, self.threshold))
        else:
            known = jnp.where(finite, responses, 0.0)
            high, low = (known[:, side].reshape(-1) for side in (self.goal, ~self.goal))
            fine_high, fine_low = (finite[:, side].reshape(-1) for side in (self.goal, ~self.goal))
            distance = (high[:, None] - low[None, :]) / 2.0
            finite = fine_high[:, None] & fine_low[None, :]
        loss = self._hinge(jnp.where(finite, distance, -4.0 * self.margin))
        return jnp.where(jnp.any(jnp.isfinite(responses)), loss, jnp.nan)

    def _hinge(self, distance: Array) -> Array:
        scale = self.margin / 4
        return scale * jnp.mean(jax.nn.softplus((1.25 * self.margin - distance) / scale))

    def decide(self, responses: Array) -> "Logic":
        if self.threshold is not None:
            return self
        threshold = best_threshold(np.asarray(responses), self.goal)
        return eqx.tree_at(
            lambda task: task.threshold,
            self,
            jnp.asarray(threshold, float),
            is_leaf=lambda x: x is None,
        )

    def score(self, responses: Array) -> Score:
        distance = self.distance(responses)
        margin = jnp.min(distance)
        return Score(jnp.mean(distance > 0), margin, margin >= self.margin)


def best_threshold(responses: np.ndarray, goal: np.ndarray) -> float:
    """The threshold with which most draws have all their patterns right.

    **Arguments:** `responses (D, P)`; `goal (P,)` bool, which should be above.

    **Returns:** the middle of the widest interval among those that are right equally often. Where
    no threshold makes any draw right, or no response is finite, the middle of all responses.
    """
    known = responses[np.isfinite(responses)]
    if known.size == 0:
        return 0.0
    lowest_high = np.where(np.isfinite(responses), responses, -np.inf)[:, goal].min(axis=1)
    highest_low = np.where(np.isfinite(responses), responses, np.inf)[:, ~goal].max(axis=1)
    edges = np.unique(known)
    if edges.size == 1:
        return float(edges[0])
    middles = (edges[1:] + edges[:-1]) / 2.0
    above, below = lowest_high[:, None] > middles, highest_low[:, None] < middles
    right = np.sum(above & below, axis=0)
    if right.max() == 0:
        return float((edges[0] + edges[-1]) / 2.0)
    # neighbouring intervals that are right equally often belong together
    best = right == right.max()
    runs = np.flatnonzero(np.diff(np.concatenate([[0], best.astype(int), [0]])))
    spans = [(edges[i], edges[j]) for i, j in zip(runs[::2], runs[1::2], strict=True)]
    low, high = max(spans, key=lambda span: span[1] - span[0])
    return float((low + high) / 2.0)


def pattern_label(row: np.ndarray) -> str:
    """The active inputs, as in "XY", or a dash where there are none."""
    names = "XYZW" if len(row) <= 4 else [f"{i + 1} " for i in range(len(row))]
    return "".join(name for name, on in zip(names, row, strict=False) if on).strip() or "–"
