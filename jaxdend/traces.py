"""What a simulation returns, and the spikes in it."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdend._subset import is_concrete
from jaxdend.dynamics import State


class Traces(eqx.Module):
    """The recordings of one simulation.

    With `jax.vmap` every array has the batch in front.
    """

    ts: Float[Array, " t"]  # (t,) ms
    v: Float[Array, "t r"] | None  # (t, r) mV at the recorded sites, if sites were recorded
    sites: Array | None  # (r,) compartments
    values: dict[str, Any]  # name -> (t, ...) what the recording functions returned
    final: State  # the state after the last step: pass it on as `v0=` to go on from there
    result: Any = None  # how the run ended, of `diffrax.RESULTS`; `diffrax.is_okay(result)`
    # diffrax's `num_steps` and the like; `failed_at` (ms, inf if it did not) and `failed_site` (a
    # node, -1 if it did not fail)
    stats: dict[str, Any] = eqx.field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        """The recording that was called `name`."""
        if name not in self.values:
            raise KeyError(f"no recording {name!r}; there are {sorted(self.values)}.")
        return self.values[name]


def spike_times(
    traces: Traces, threshold: float = 0.0, column: int = 0, max_spikes: int | None = None
) -> Float[Array, " s"]:
    """Times at which a recorded voltage crosses `threshold` (mV) upwards, ms.

    The crossing is interpolated linearly, so a time is differentiable wherever its spike exists.

    **Arguments:** `traces` from `simulate`; `column`, which recorded site; `max_spikes`, the length
    of the result: earliest spikes first, the rest filled with `inf`. Without it the result
    is as long as there are spikes, or, while tracing (in `jit`, `vmap`, `grad`), 64.

    **Returns:** `(s,)` ms.
    """
    if traces.v is None:
        raise ValueError("spike_times needs recorded sites: jd.simulate(..., record=[site]).")
    if traces.v.ndim != 2:
        raise ValueError(
            f"spike_times takes one simulation, v (t, r); got {traces.v.shape}: vmap it."
        )
    ts, v = traces.ts, traces.v[:, column]
    up = (v[:-1] < threshold) & (v[1:] >= threshold)
    if max_spikes is None:
        max_spikes = int(np.sum(np.asarray(up))) if is_concrete(v) else 64
    (index,) = jnp.nonzero(up, size=max_spikes, fill_value=-1)
    found = index >= 0
    i = jnp.where(found, index, 0)
    rise = jnp.where(found, v[i + 1] - v[i], 1.0)
    time = ts[i] + (ts[i + 1] - ts[i]) * jnp.where(found, threshold - v[i], 0.0) / rise
    return jnp.where(found, time, jnp.inf)


def first_bad(v: Array, limit: float) -> tuple[Array, Array]:
    """Whether `v (t, r)` is anywhere not finite or beyond `±limit` mV, and the first such row."""
    bad = jnp.any(~(jnp.abs(v) <= limit), axis=tuple(range(1, v.ndim)))
    return jnp.any(bad), jnp.argmax(bad)
