"""What a simulation returns, and the spikes in it."""

import warnings
from functools import partial
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdend._subset import is_concrete
from jaxdend.dynamics import State

LARGE, LARGE_BATCH = 1e9, 4e9  # bytes of recordings from which on a warning is given
_TRACED = 64  # spikes, where their number is not known
_WIDTH = 128  # samples that are counted together before single ones are looked at


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

    def __getitem__(self, name: str) -> Any:
        """The recording that was called `name`."""
        if name not in self.values:
            raise KeyError(f"no recording {name!r}; there are {sorted(self.values)}.")
        return self.values[name]


def spike_times(
    traces: Traces, threshold: float = 0.0, column: int = 0, max_spikes: int | None = None
) -> Float[Array, " s"]:
    """Times at which a recorded voltage crosses `threshold` (mV) upwards, ms.

    The crossing is interpolated linearly, so a time is differentiable wherever its spike exists.
    Between two samples of which one is not finite, as after a run that failed or was ended by an
    event, there is no spike.

    **Arguments:** `traces` from `simulate`; `column`, which recorded site; `max_spikes`, the length
    of the result: earliest spikes first, the rest filled with `inf`, or with NaN after a run that
    failed (`traces.result`), whose later spikes nobody knows. Without it the result is as long as
    there are spikes, or, while tracing (in `jit`, `vmap`, `grad`), 64.

    **Returns:** `(s,)` ms.

    **Raises:** `TypeError` for anything but `Traces`; `ValueError` for traces without voltages, a
    whole batch of them, a column that is not there, or a `max_spikes` that is no count.
    """
    v = _voltages(traces, column)
    if is_concrete(threshold):  # of one type, whichever way the number is written
        threshold = np.asarray(threshold, v.dtype)  # type: ignore[assignment]
    if max_spikes is not None:
        if isinstance(max_spikes, bool) or not isinstance(max_spikes, int | np.integer):
            raise ValueError(f"spike_times: max_spikes must be an int; got {max_spikes!r}.")
        if max_spikes < 0:
            raise ValueError(f"spike_times: max_spikes must be >= 0; got {max_spikes}.")
        return _filled(traces, _crossings(traces.ts, v, threshold, column, int(max_spikes))[0])
    times, found = _crossings(traces.ts, v, threshold, column, _TRACED)
    if not is_concrete(found):
        return _filled(traces, times)
    number = int(found)
    if number > _TRACED:  # in powers of two, so that programs are shared
        size = 1 << (number - 1).bit_length()
        times, _ = _crossings(traces.ts, v, threshold, column, size)
    with jax.ensure_compile_time_eval():
        return jax.device_put(np.asarray(times)[:number])


def _filled(traces: Traces, times: Array) -> Array:
    """`times (s,)` ms with NaN in place of `inf` where the run failed."""
    if traces.result is None:  # made by hand
        return times
    return jnp.where(diffrax.is_okay(traces.result) | (times < jnp.inf), times, jnp.nan)


def expected_bytes(recordings: Any) -> int:
    """Bytes of recordings, any pytree of arrays or shapes: those of one simulation in a `vmap`."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(recordings))


def with_warning(x: Array, recordings: Any, rows: int, lanes: int = 1) -> Array:
    """`x`, any result of a run; warns where its recordings, or those of a batch, are very large.

    It is called while the program of the run is made: `UserWarning` before any memory is taken, and
    once for each program. Every `vmap` over the run then calls it again, with as many `lanes`.

    **Arguments:** `recordings`, of one simulation, of which every array has `rows` rows.
    """
    size = expected_bytes(recordings)
    if size * lanes > (LARGE if lanes == 1 else LARGE_BATCH):
        each = sum(leaf.size for leaf in jax.tree.leaves(recordings)) // max(rows, 1)
        warnings.warn(
            f"simulate: {size * lanes / 1e9:.3g} GB of recordings, {each} numbers at {rows} times"
            + f" in each of {lanes} simulations" * (lanes > 1)
            + ". Name in record= the sites to keep (without it all compartments are kept), or keep "
            "fewer times with save_every=.",
            UserWarning,
            stacklevel=2,
        )
    same = jax.custom_batching.custom_vmap(lambda x: x)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), recordings)

    @same.def_vmap
    def _(axis_size: int, in_batched: list, x: Array) -> tuple[Array, bool]:
        return with_warning(x, shapes, rows, lanes * axis_size), in_batched[0]

    return same(jax.lax.stop_gradient(x))


def _voltages(traces: Any, column: Any) -> Array:
    """`traces.v`, `(t, r)`, if it is there and has the column."""
    if not isinstance(traces, Traces):
        shape = f" of shape {traces.shape}" if hasattr(traces, "shape") else ""
        raise TypeError(
            "spike_times takes the Traces that jd.simulate returns, which hold times and voltages: "
            f"sol = jd.simulate(...); jd.spike_times(sol, column=0). Got {type(traces).__name__}"
            f"{shape}."
        )
    if traces.v is None:
        raise ValueError("spike_times needs recorded sites: jd.simulate(..., record=[site]).")
    if traces.v.ndim != 2:
        raise ValueError(
            f"spike_times takes one simulation, v (t, r); got {traces.v.shape}: vmap it, "
            "jax.vmap(lambda one: jd.spike_times(one, max_spikes=64))(traces)."
        )
    columns = traces.v.shape[1]
    if is_concrete(column) and not -columns <= column < columns:
        raise ValueError(
            f"spike_times: column={column} of {columns} recorded sites; columns count from 0 in "
            "the order of record=."
        )
    return traces.v


@partial(jax.jit, static_argnames="size")
def _crossings(
    ts: Array, v: Array, threshold: Array, column: Array, size: int
) -> tuple[Array, Array]:
    """The first `size` upward crossings of `v (t, r)`, `(size,)` ms, and how many there are.

    Samples are counted in blocks, which needs no array as long as the trace; only the blocks that
    hold a spike are looked at one by one.
    """
    last = len(v) - 1
    if last < 1:
        return jnp.full(size, jnp.inf, ts.dtype), jnp.zeros((), int)
    column = column % v.shape[1]

    def up(low: Array, high: Array) -> Array:
        return (low > -jnp.inf) & (low < threshold) & (high >= threshold) & (high < jnp.inf)

    known = jax.lax.stop_gradient(v)
    blocks = -(-last // _WIDTH)
    rise = jax.lax.dynamic_index_in_dim(up(known[:-1], known[1:]), column, axis=1, keepdims=False)
    rise = jnp.pad(rise, (0, blocks * _WIDTH - last)).reshape(blocks, _WIDTH)
    counts = jnp.sum(rise, axis=1, dtype=jnp.uint8)  # in bytes: at most 64, every other sample
    ends = jnp.cumsum(counts, dtype=int)  # crossings up to the end of each block
    number = ends[-1]
    spike = jnp.arange(size)
    found = spike < number
    block = jnp.minimum(jnp.searchsorted(ends, spike, side="right"), blocks - 1)
    before = jnp.where(block > 0, ends[block - 1], 0)
    sample = block[:, None] * _WIDTH + jnp.arange(_WIDTH)[None]
    here = jnp.minimum(sample, last - 1)
    inside = up(known[here, column], known[here + 1, column]) & (sample < last)
    rank = jnp.cumsum(inside, axis=1) + before[:, None]
    i = jnp.where(found, block * _WIDTH + jnp.argmax(rank > spike[:, None], axis=1), 0)
    low, high = v[i, column], v[i + 1, column]
    share = jnp.where(found, threshold - low, 0.0) / jnp.where(found, high - low, 1.0)
    time = ts[i] + (ts[i + 1] - ts[i]) * share
    return jnp.where(found, time, jnp.inf), number
