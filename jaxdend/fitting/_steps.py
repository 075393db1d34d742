"""Step rules beside optax's own: Polyak's step length, and gradients divided by their norm."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, PyTree


def polyak(
    rate: ArrayLike | optax.Schedule = 1.0 / 3.0, beta: ArrayLike = 0.8, f_min: ArrayLike = 0.0
) -> optax.GradientTransformationExtraArgs:
    """Takes steps as long as the loss is far from its least value (Polyak).

    The move is `-rate (loss - f_min) ∇ / ‖∇‖^beta`, with ‖∇‖ the norm over all parameters. Polyak's
    own rule (1987, Introduction to Optimization) is `beta = 2`, exact for a convex loss; Deistler
    et al. (2025, Nature Methods, doi:10.1038/s41592-025-02895-w) fit neurons with `beta` from 0.8
    to 0.99, where a plateau or a cliff of the loss changes the length of a step little.

    In `fit` pass `clip=None` with it: a clipped gradient would change the rule. Each start has its
    own loss and so its own step length.

    **Arguments:** `rate`, a number or an optax schedule; `beta`; `f_min`, the least loss that can
    be reached, 0 for a distance to data. A loss below it makes no move.

    **Raises:** `TypeError` in the update if the loss is not given as `value`.
    """

    def init(params: PyTree) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(
        updates: PyTree,
        state: optax.ScaleByScheduleState,
        params: PyTree = None,
        *,
        value: Array,
        **others: Any,
    ) -> tuple[PyTree, optax.ScaleByScheduleState]:
        del params, others
        size = rate(state.count) if callable(rate) else rate
        factor = size * jnp.maximum(value - f_min, 0.0) * _shrinkage(updates, beta)
        moved = jax.tree.map(lambda g: (-factor * g).astype(g.dtype), updates)
        return moved, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def normalised(
    inner: optax.GradientTransformation | None = None, beta: ArrayLike = 1.0
) -> optax.GradientTransformationExtraArgs:
    """Divides gradients by the power `beta` of their norm, and passes them on to `inner`.

    With `beta = 1` every step is as long as `inner`'s learning rate says, whether the loss is a
    plateau or a cliff. A gradient of 0 stays 0. In `fit` pass `clip=None` with it.

    **Arguments:** `inner`, any optax transformation, such as `optax.sgd(0.1, momentum=0.9)`, which
    is the default; `beta` between 0 (the plain gradient) and 1.
    """
    inner = optax.sgd(0.1, momentum=0.9) if inner is None else inner

    def divide(updates: PyTree, params: PyTree = None) -> PyTree:
        del params
        factor = _shrinkage(updates, beta)
        return jax.tree.map(lambda g: (factor * g).astype(g.dtype), updates)

    return optax.with_extra_args_support(optax.chain(optax.stateless(divide), inner))


def _shrinkage(gradient: PyTree, beta: ArrayLike) -> Array:
    """`‖gradient‖^-beta`, and 0 for a gradient of 0."""
    norm = optax.tree.norm(gradient)
    alive = norm > 0
    return jnp.where(alive, jnp.where(alive, norm, 1.0) ** (-jnp.asarray(beta)), 0.0)
