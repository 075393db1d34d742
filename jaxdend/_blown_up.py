"""When a simulation has blown up, and what is then read from it: nothing."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

T = TypeVar("T")

BLOWN_UP = 1e3  # mV, beyond which a voltage is no voltage any more


def unless_blown_up(value: T, v: ArrayLike, limit: float = BLOWN_UP) -> T:
    """`value`, or NaN in place of all its numbers if the voltage that it was read from blew up.

    A simulation with `throw=False` goes on with voltages that are not finite, or beyond ±1000 mV.
    Such a run has no spikes to count and no peak to find: whatever is read from it would look like
    an answer, no spike for example, and so like a right one where silence is asked for. NaN is
    neither above nor below any threshold, and counts as wrong everywhere.

    **Arguments:** `value`, a pytree of arrays or numbers; `v` of any shape, mV, of one simulation;
    `limit` mV, `inf` where only what is not finite counts.
    **Returns:** the pytree with floating-point numbers; a count takes the type of `v`.
    """
    v = jnp.asarray(v)
    fine = jnp.all(jnp.isfinite(v) & (jnp.abs(v) <= limit))

    def read(x: ArrayLike) -> Array:
        x = jnp.asarray(x)
        x = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(v.dtype)
        return jnp.where(fine, x, jnp.nan)

    return jax.tree.map(read, value)
