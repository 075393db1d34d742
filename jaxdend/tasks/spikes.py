"""Spikes as a response: a number to judge, and a gradient to train with."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

THRESHOLD, SCALE, WIDTH = -10.0, 5.0, 0.5  # mV, mV, ms


def spike_count(v: Array, dt: float) -> Array:
    """How often `v (t,)` mV crosses -10 mV upwards.

    The gradient is that of the time spent above it, in halves of a millisecond: of
    `Σ dt / 0.5 ms · sigmoid((v + 10 mV) / 5 mV)`, which is near the number of spikes.
    """
    above = v > THRESHOLD
    count = jnp.sum(above[1:] & ~above[:-1]).astype(v.dtype)
    soft = jnp.sum(jax.nn.sigmoid((v - THRESHOLD) / SCALE)) * (dt / WIDTH)
    return soft + jax.lax.stop_gradient(count - soft)
