"""Density laws: plain array functions of path distance, for the parameters of channels.

Each takes `distance (n,)` µm, usually `cell.distance`, and numbers, and returns `(n,)` values; all
are differentiable in their numbers and nothing more than array expressions:

    cell.insert(Ih(gbar=exponential(cell.distance, -1.7e-4, 4.2e-4, 360.0)), "apical")

NaN distances (unknown) give NaN, which `Cell.insert` refuses.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike


def constant(distance: ArrayLike, value: ArrayLike) -> Array:
    """The same `value` at every distance."""
    distance = jnp.asarray(distance, float)
    return jnp.where(jnp.isnan(distance), jnp.nan, value)


def linear(distance: ArrayLike, start: ArrayLike, slope: ArrayLike) -> Array:
    """A straight line `start + slope * distance` of the distance, with `slope` per µm."""
    return jnp.asarray(start) + jnp.asarray(slope) * jnp.asarray(distance, float)


def exponential(
    distance: ArrayLike, offset: ArrayLike, scale: ArrayLike, length: ArrayLike
) -> Array:
    """`offset + scale exp(distance / length)`; `length` µm, negative for a decay."""
    return jnp.asarray(offset) + jnp.asarray(scale) * jnp.exp(jnp.asarray(distance, float) / length)


def sigmoid(
    distance: ArrayLike, near: ArrayLike, far: ArrayLike, half: ArrayLike, width: ArrayLike
) -> Array:
    """A sigmoid from `near` to `far`, half way at `half` µm and steep over `width` µm.

    `near + (far - near) / (1 + exp(-(distance - half) / width))`.
    """
    distance, near, far = jnp.asarray(distance, float), jnp.asarray(near), jnp.asarray(far)
    return near + (far - near) / (1.0 + jnp.exp(-(distance - half) / width))


def step(distance: ArrayLike, near: ArrayLike, far: ArrayLike, edge: ArrayLike) -> Array:
    """A step at `edge` µm: `near` before it, `far` from there on."""
    distance = jnp.asarray(distance, float)
    value = jnp.where(distance < edge, near, far)
    return jnp.where(jnp.isnan(distance), jnp.nan, value)


def hot_zone(
    distance: ArrayLike, inside: ArrayLike, outside: ArrayLike, start: ArrayLike, stop: ArrayLike
) -> Array:
    """A zone with `inside` strictly between `start` and `stop` µm, and `outside` elsewhere."""
    distance = jnp.asarray(distance, float)
    value = jnp.where((distance > start) & (distance < stop), inside, outside)
    return jnp.where(jnp.isnan(distance), jnp.nan, value)
