"""How many spikes there are, when the first and last come, and how they follow one another."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool

from jaxdend._blown_up import unless_blown_up
from jaxdend.fitting.features._spikes import (
    PerSpike,
    Spikes,
    ap_begin_voltage,
    find_spikes,
)
from jaxdend.fitting.features._trace import Scalar, Trace, known_trace, step_slack


def spike_count(ts: Trace, v: Trace, **options: Any) -> Scalar:
    """`spike_count` (`Spikecount`) of eFEL of the whole trace; it has no slope. NaN if `v` blew up.

    **Arguments:** `options` of `find_spikes`, here and in all of the following.
    """
    return unless_blown_up(find_spikes(ts, v, **options).count, v)


def spike_count_stimint(
    ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike, **options: Any
) -> Scalar:
    """`spike_count_stimint` of eFEL: peaks in `[stim_start, stim_end]` ms, up to `max_spikes`."""
    return unless_blown_up(jnp.sum(find_spikes(ts, v, **options).within(stim_start, stim_end)), v)


def time_to_first_spike(ts: Trace, v: Trace, stim_start: ArrayLike, **options: Any) -> Scalar:
    """`time_to_first_spike` of eFEL, the latency: ms from `stim_start` to the first peak."""
    s = find_spikes(ts, v, **options)
    return jnp.where(s.found[0], s.time[0] - stim_start, jnp.nan)


def time_to_last_spike(ts: Trace, v: Trace, stim_start: ArrayLike, **options: Any) -> Scalar:
    """`time_to_last_spike` of eFEL: ms from `stim_start` to the last peak."""
    s = find_spikes(ts, v, **options)
    return jnp.where(s.found[0], s.time[_last(s.found)] - stim_start, jnp.nan)


def mean_frequency(
    ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike, **options: Any
) -> Scalar:
    """`mean_frequency` of eFEL, Hz: spikes in the stimulus over the time until the last of them."""
    s = find_spikes(ts, v, **options)
    used = s.within(stim_start, stim_end)
    span = jnp.where(jnp.any(used), s.time[_last(used)] - stim_start, 1.0)
    ok = s.found[0] & (span > 0)
    return jnp.where(ok, 1e3 * jnp.sum(used) / jnp.where(ok, span, 1.0), jnp.nan)


def all_isi_values(ts: Trace, v: Trace, **options: Any) -> PerSpike:
    """`all_ISI_values` of eFEL, ms from each peak to the next: `(s - 1,)`."""
    s = find_spikes(ts, v, **options)
    values = jnp.where(s.found[1:], jnp.diff(s.time), jnp.nan)
    return values if s.shown is None else values[: max(s.shown - 1, 0)]


def isi_values(ts: Trace, v: Trace, *, ignore_first: bool = True, **options: Any) -> PerSpike:
    """`ISI_values` of eFEL, ms: `all_isi_values` without the first (eFEL's `ignore_first_ISI`)."""
    return all_isi_values(ts, v, **options)[int(ignore_first) :]


def isi_mean(ts: Trace, v: Trace, *, ignore_first: bool = True, **options: Any) -> Scalar:
    """The mean of eFEL's `ISI_values`, ms."""
    isi, used = _isi(find_spikes(ts, v, **options), ignore_first)
    return _mean(isi, used)


def isi_cv(ts: Trace, v: Trace, *, ignore_first: bool = True, **options: Any) -> Scalar:
    """`ISI_CV` of eFEL: sample standard deviation over mean of `isi_values`, at least two."""
    isi, used = _isi(find_spikes(ts, v, **options), ignore_first)
    mean, count = _mean(isi, used), jnp.sum(used)
    safe = jnp.where(jnp.isnan(mean), 1.0, mean)
    spread = jnp.sum(jnp.where(used, isi - safe, 0.0) ** 2) / jnp.maximum(count - 1, 1)
    moves = spread > 0
    deviation = jnp.where(moves, jnp.sqrt(jnp.where(moves, spread, 1.0)), 0.0)
    return jnp.where(count > 1, deviation / safe, jnp.nan)


def inv_first_isi(ts: Trace, v: Trace, **options: Any) -> Scalar:
    """The inverse of the first interval between spikes in Hz, `inv_first_ISI` of eFEL."""
    isi, used = _isi(find_spikes(ts, v, **options), False)
    return jnp.where(used[0], 1e3 / jnp.where(used[0], isi[0], 1.0), jnp.nan)


def adaptation_index(
    ts: Trace,
    v: Trace,
    stim_start: ArrayLike,
    stim_end: ArrayLike,
    *,
    skip_share: float = 0.1,
    most_skipped: int = 2,
    **options: Any,
) -> Scalar:
    """`adaptation_index` of eFEL: mean of `(b - a)/(b + a)` over successive intervals a, b.

    Of the spikes in the stimulus a share of `skip_share`, but at most `most_skipped`, is left out
    at the beginning (eFEL's `spike_skipf` and `max_spike_skip`); four have to remain.
    """
    s = find_spikes(ts, v, **options)
    used = s.within(stim_start, stim_end)
    skipped = jnp.minimum(jnp.floor(skip_share * jnp.sum(used) + 0.5), most_skipped)
    used &= jnp.cumsum(used) > skipped
    time = s.time
    pairs = used[:-2] & used[1:-1] & used[2:]
    a, b = time[1:-1] - time[:-2], time[2:] - time[1:-1]
    ratio = jnp.where(pairs, b - a, 0.0) / jnp.where(pairs, a + b, 1.0)
    count = jnp.sum(pairs)
    return jnp.where(count > 1, jnp.sum(ratio) / jnp.maximum(count, 1), jnp.nan)


def depol_block_bool(
    ts: Trace,
    v: Trace,
    stim_start: ArrayLike,
    stim_end: ArrayLike,
    *,
    longest: ArrayLike = 50.0,
    low: ArrayLike = -75.0,
    **options: Any,
) -> Scalar:
    """`depol_block_bool` of eFEL: 1 for a depolarisation block, else 0; it has no slope.

    A block is a time of more than `longest` ms (eFEL's `depol_block_min_duration`) above the mean
    voltage at which the spikes begin or, which eFEL counts as well, below `low` mV within the
    stimulus. A trace without spikes has none.
    """
    ts, v = known_trace(ts, v)
    v = jax.lax.stop_gradient(v)
    begin = ap_begin_voltage(ts, v, stim_start, **options)
    there = ~jnp.isnan(begin)
    level = jnp.sum(jnp.where(there, begin, 0.0)) / jnp.maximum(jnp.sum(there), 1)
    level = jnp.where(jnp.any(there), level, -50.0)
    i, slack = jnp.arange(len(v)), step_slack(ts)
    first, last = (jnp.argmax(jnp.append(ts >= t - slack, True)) for t in (stim_start, stim_end))
    last = jnp.minimum(last, len(v) - 1)
    above, high = v > level, v > low
    inside = (i > first) & (i < last)
    up, down = _changes(above)
    rise, sink = (marks & inside for marks in _changes(high))
    stuck = _longest(ts, up, down, last) > longest
    stuck |= (_longest(ts, sink, rise, last) > longest) | ~jnp.any(up)
    return unless_blown_up((find_spikes(ts, v, **options).count > 0) & stuck, v)


def _changes(high: Bool[Array, " t"]) -> tuple[Array, Array]:
    """The samples after which `high` becomes true, and after which it becomes false."""
    up, down = high[1:] & ~high[:-1], ~high[1:] & high[:-1]
    return jnp.append(up, False), jnp.append(down, False)


def _longest(ts: Trace, start: Array, stop: Array, last: Array) -> Scalar:
    """The longest time from a marked `start` to the next `stop`, or else to sample `last`, ms."""
    n = len(ts)
    after = jax.lax.cummin(jnp.where(stop, jnp.arange(n), n), reverse=True)
    until = ts[jnp.where(after < n, jnp.minimum(after, n - 1), last)]
    return jnp.max(jnp.where(start, until - ts, -jnp.inf))


def _isi(s: Spikes, ignore_first: bool) -> tuple[Array, Bool[Array, " i"]]:
    """Intervals, finite also where there are none, and which of them count."""
    k = int(ignore_first)
    used = s.found[1:]
    return jnp.where(used, jnp.diff(s.time), 0.0)[k:], used[k:]


def _mean(x: Array, used: Array) -> Scalar:
    count = jnp.sum(used)
    mean = jnp.sum(jnp.where(used, x, 0.0)) / jnp.maximum(count, 1)
    return jnp.where(count > 0, mean, jnp.nan)


def _last(marked: Array) -> Array:
    """The last marked row; 0 if there is none."""
    return jnp.max(jnp.where(marked, jnp.arange(len(marked)), 0))
