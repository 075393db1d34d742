"""One trace: its check, and when a sample is at a moment."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

Trace = Float[Array, " t"]
Scalar = Float[Array, ""]


def known_trace(ts: Any, v: Any) -> tuple[Trace, Trace]:
    """Checks `ts` and `v`, and returns them as arrays of one floating type."""
    ts, v = jnp.asarray(ts), jnp.asarray(v)
    if v.ndim != 1 or ts.shape != v.shape or len(v) < 5:
        raise ValueError(
            f"features take one trace, ts (t,) and v (t,) of at least 5 samples; got {ts.shape} "
            f"and {v.shape}. For more traces use jax.vmap."
        )
    dtype = jnp.result_type(v, jnp.float32)
    return ts.astype(dtype), v.astype(dtype)


def step_slack(ts: Trace) -> Scalar:
    """A hundredth of the first step: by so much may a sample miss a moment and still be at it."""
    return 0.01 * (ts[1] - ts[0])
