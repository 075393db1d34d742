"""Where inputs change suddenly: an adaptive step ends at each of these times.

All times are arrays, sorted inside the program, so that new numbers never recompile.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend.inputs import AbstractInput


class Edges(eqx.Module):
    """The times at which some input, or its slope, jumps."""

    times: Array  # (m,) ms, ascending, the last is inf
    repeating: tuple[AbstractInput, ...]  # whose edges are counted instead of listed

    @classmethod
    def of(cls, inputs: tuple[AbstractInput, ...], dtype: Any) -> "Edges":
        """The edges of all `inputs`, listed or counted as each input says."""
        found = [jnp.ravel(jnp.asarray(item.edges(), dtype)) for item in inputs]
        times = jnp.sort(jnp.concatenate([*found, jnp.full(1, jnp.inf, dtype)]))
        return cls(times, tuple(item for item in inputs if item.repeats))

    def after(self, t: Array) -> Array:
        """The first edge after the time `t`, in ms."""
        place = jnp.searchsorted(jax.lax.stop_gradient(self.times), t, side="right")
        first = self.times[jnp.minimum(place, len(self.times) - 1)]
        for item in self.repeating:
            first = jnp.minimum(first, item.later_edge(t))
        return first
