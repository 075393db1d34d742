"""Where the action potentials of a trace are, and what each of them looks like."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxdend._blown_up import unless_blown_up
from jaxdend._subset import is_concrete
from jaxdend.fitting._losses import soft_spikes
from jaxdend.fitting.features._subthreshold import voltage_base
from jaxdend.fitting.features._trace import Scalar, Trace, known_trace, step_slack

PerSpike = Float[Array, " s"]
_MOST = 64  # spikes looked for where the trace is not known yet
_STEEP = 3  # samples for which the slope has to stay above the threshold at a beginning


class Spikes(eqx.Module):
    """The spikes of one trace, `s` rows in order of time; those not `found` are padding."""

    ts: Trace  # (t,) ms
    v: Trace  # (t,) mV
    found: Bool[Array, " s"]  # whether there is such a spike
    up: Int[Array, " s"]  # first sample above the threshold
    down: Int[Array, " s"]  # first sample below it again
    peak: Int[Array, " s"]  # highest sample in between
    after: Int[Array, " s"]  # the next peak, or the number of samples
    trough: Int[Array, " s"]  # first trough between this peak and `after`
    first: Int[Array, ""]  # first sample of the stimulus
    count: Int[Array, ""]  # all spikes of the trace, also those past the last row
    threshold: Float[Array, ""]  # mV
    slope: Float[Array, ""]  # mV/ms at which a spike begins
    down_slope: Float[Array, ""]  # mV/ms at which it ends
    refine: bool = eqx.field(static=True)  # whether times lie between samples
    shown: int | None = eqx.field(static=True)  # rows to return; all of them if None

    @property
    def time(self) -> PerSpike:
        """When each spike peaks, ms; padded with the times of arbitrary samples."""
        if not self.refine:
            return self.ts[self.peak]
        k = jnp.clip(self.peak, 1, len(self.ts) - 2)
        a, b, c = self.v[k - 1], self.v[k], self.v[k + 1]
        bend = a - 2 * b + c
        curved = bend < 0
        share = jnp.where(curved, 0.5 * (a - c) / jnp.where(curved, bend, 1.0), 0.0)
        half = 0.5 * (self.ts[k + 1] - self.ts[k - 1])
        return self.ts[self.peak] + jnp.clip(share, -0.5, 0.5) * half

    def only(self, values: Array, where: Array | bool = True) -> Array:
        """`values (s,)`, NaN where there is no spike or `where` is false; without padding."""
        values = jnp.where(self.found & where, values, jnp.nan)
        return values if self.shown is None else values[: self.shown]

    def within(self, start: ArrayLike, stop: ArrayLike) -> Bool[Array, " s"]:
        """The spikes that peak in `[start, stop]` ms."""
        slack, time = step_slack(self.ts), self.ts[self.peak]
        return self.found & (time >= start - slack) & (time <= stop + slack)


def find_spikes(
    ts: Trace,
    v: Trace,
    stim_start: ArrayLike = -jnp.inf,
    *,
    threshold: ArrayLike = -20.0,
    slope: ArrayLike = 10.0,
    down_slope: ArrayLike = -12.0,
    max_spikes: int | None = None,
    refine: bool = True,
) -> Spikes:
    """The spikes of one trace by eFEL's rule (`peak_indices`): above the threshold and back.

    **Arguments:**

    - `ts (t,)` ms, `v (t,)` mV.
    - `threshold` mV; eFEL's `Threshold`.
    - `slope` and `down_slope` mV/ms, where a spike begins and ends; eFEL's `DerivativeThreshold`
        and `DownDerivativeThreshold`.
    - `max_spikes`: the length of results with one entry for each spike: the earliest ones,
        the rest filled with NaN. Without it they are as long as there are spikes, or, while tracing
        (in `jit`, `vmap`, `grad`), 64.
    - `refine`: times lie between samples (a peak at the top of the parabola through three of
        them, crossings on straight lines) and follow the voltage, so that they have slopes. With
        `False` they are those of samples, as in eFEL, and have none.

    **Raises:** `ValueError` for arrays of other shapes, or fewer than 5 samples.
    """
    ts, v = known_trace(ts, v)
    n, w = len(v), jax.lax.stop_gradient(v)
    above = jnp.append(w[:1] > threshold, w > threshold)
    rises, falls = above[1:] & ~above[:-1], ~above[1:] & above[:-1]
    down = _next(falls)
    rises &= down < n
    shown = None
    size = _MOST if max_spikes is None else max_spikes
    if max_spikes is None and is_concrete(rises):
        shown = int(np.sum(np.asarray(rises)))
        size = max(shown, 2)
    (up,) = jnp.nonzero(rises, size=size + 1, fill_value=n - 1)
    count = jnp.sum(rises)
    found = jnp.arange(size + 1) < count
    peak = _extreme(jnp.argmax, w, -jnp.inf, up, down[up] + 1)
    after = jnp.where(found[1:], peak[1:], n)
    first = jnp.argmax(jnp.append(ts >= stim_start - step_slack(ts), True))
    return Spikes(
        ts=ts,
        v=v,
        found=found[:-1],
        up=up[:-1],
        down=jnp.minimum(down[up], n - 1)[:-1],
        peak=peak[:-1],
        after=after,
        trough=_troughs(w, peak[:-1], after),
        first=first,
        count=count,
        threshold=jnp.asarray(threshold, v.dtype),
        slope=jnp.asarray(slope, v.dtype),
        down_slope=jnp.asarray(down_slope, v.dtype),
        refine=refine,
        shown=shown,
    )


def soft_spike_count(
    ts: Trace,
    v: Trace,
    stim_start: ArrayLike = -jnp.inf,
    stim_end: ArrayLike = jnp.inf,
    *,
    threshold: ArrayLike = -20.0,
    softness: ArrayLike = 5.0,
) -> Scalar:
    """How many spikes, as a smooth number: the summed rises of `sigmoid((v - threshold)/softness)`.

    eFEL's `spike_count_stimint` is its limit for `softness` (mV) to 0. Unlike a count it has a
    slope: a depolarisation that falls short of the threshold counts as a part of a spike.
    """
    ts, v = known_trace(ts, v)
    slack = step_slack(ts)
    inside = (ts >= stim_start - slack) & (ts <= stim_end + slack)
    rises = soft_spikes(v[:, None], threshold=threshold, softness=softness)[:, 0]
    return unless_blown_up(jnp.sum(jnp.where(inside, rises, 0.0)), v)


def spike_times(ts: Trace, v: Trace, **options: Any) -> PerSpike:
    """When `v` crosses the threshold upwards, ms, on the line between two samples.

    **Arguments:** `options` of `find_spikes`, here and in all of the following.
    """
    s = find_spikes(ts, v, **options)
    return s.only(_line(s, s.up, s.threshold))


def peak_time(ts: Trace, v: Trace, **options: Any) -> PerSpike:
    """The times of the spikes' peaks in ms, `peak_time` of eFEL."""
    s = find_spikes(ts, v, **options)
    return s.only(s.time)


def peak_voltage(ts: Trace, v: Trace, **options: Any) -> PerSpike:
    """`peak_voltage` of eFEL, mV: the highest sample of each spike."""
    s = find_spikes(ts, v, **options)
    return s.only(s.v[s.peak])


def ap_begin_time(ts: Trace, v: Trace, stim_start: ArrayLike, **options: Any) -> PerSpike:
    """`AP_begin_time` of eFEL, ms: the last time before a peak at which the slope passes `slope`.

    The slope stays above for three samples from there on. Only peaks after `stim_start` ms count.
    """
    s = find_spikes(ts, v, stim_start, **options)
    _, time, _, ok = _begin(s)
    return s.only(time, ok)


def ap_begin_voltage(ts: Trace, v: Trace, stim_start: ArrayLike, **options: Any) -> PerSpike:
    """The voltages in mV at which spikes begin, `AP_begin_voltage` of eFEL, at `ap_begin_time`."""
    s = find_spikes(ts, v, stim_start, **options)
    _, _, voltage, ok = _begin(s)
    return s.only(voltage, ok)


def ap_amplitude(
    ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike, **options: Any
) -> PerSpike:
    """`AP_amplitude` of eFEL, mV, from beginning to peak, of spikes that peak in the stimulus."""
    s = find_spikes(ts, v, stim_start, **options)
    _, _, voltage, ok = _begin(s)
    return s.only(s.v[s.peak] - voltage, ok & s.within(stim_start, stim_end))


def ap_width(ts: Trace, v: Trace, **options: Any) -> PerSpike:
    """The times in ms that spikes spend above the threshold, `AP_width` of eFEL."""
    s = find_spikes(ts, v, **options)
    if not s.refine:
        return s.only(s.ts[s.down] - s.ts[s.up])
    return s.only(_line(s, s.down, s.threshold) - _line(s, s.up, s.threshold))


def ap_duration_half_width(ts: Trace, v: Trace, stim_start: ArrayLike, **options: Any) -> PerSpike:
    """`AP_duration_half_width` of eFEL, ms between the samples nearest to half of the amplitude.

    Half way between beginning and peak; on the way down it is sought up to where the slope returns
    to `down_slope`, so that the width of a spike which ends above half is cut short.
    """
    s = find_spikes(ts, v, stim_start, **options)
    w, n = jax.lax.stop_gradient(s.v), len(s.v)
    begin, _, voltage, ok = _begin(s)
    half = (s.v[s.peak] + voltage) / 2
    last = jnp.minimum(s.after, n - 1)
    slope = jax.lax.stop_gradient(_slope(s))
    steepest = _extreme(jnp.argmin, slope, jnp.inf, s.peak + 1, last)
    end = _next(slope >= s.down_slope)[steepest]
    apart = jnp.abs(w - jax.lax.stop_gradient(half)[:, None])
    rise = _extreme(jnp.argmin, apart, jnp.inf, begin, s.peak)
    fall = _extreme(jnp.argmin, apart, jnp.inf, s.peak, end)
    ok &= (end < last) & (begin < s.peak)
    if not s.refine:
        return s.only(s.ts[fall] - s.ts[rise], ok)
    return s.only(_near(s, fall, half) - _near(s, rise, half), ok)


def spike_half_width(ts: Trace, v: Trace, stim_start: ArrayLike, **options: Any) -> PerSpike:
    """`spike_half_width` of eFEL, ms at half way between the peak and the trough after it."""
    s = find_spikes(ts, v, stim_start, **options)
    w, i = jax.lax.stop_gradient(s.v), jnp.arange(len(s.v))
    half = (s.v[s.peak] + s.v[s.trough]) / 2
    level = jax.lax.stop_gradient(half)[:, None]
    begin = jnp.append(s.first, s.trough[:-1])
    above = (i >= begin[:, None]) & (i < s.peak[:, None]) & (w >= level)
    below = (i >= s.peak[:, None]) & (i < s.trough[:, None]) & (w <= level)
    rise = jnp.where(above.any(1), jnp.argmax(above, 1), s.peak)
    fall = jnp.where(below.any(1), jnp.argmax(below, 1), s.trough)
    return s.only(_line(s, fall, half) - _line(s, rise, half), _has_trough(s))


def min_ahp_values(ts: Trace, v: Trace, **options: Any) -> PerSpike:
    """`min_AHP_values` and `AHP_depth_abs` of eFEL, mV: the first trough after each peak.

    That is the first sample that the next two do not undercut, or, if the voltage falls all the
    way to the next peak, the lowest; after the last spike it may not be the trace's last sample.
    """
    s = find_spikes(ts, v, **options)
    return s.only(s.v[s.trough], _has_trough(s))


def ahp_depth(ts: Trace, v: Trace, stim_start: ArrayLike, **options: Any) -> PerSpike:
    """`AHP_depth` of eFEL, mV: the trough of each spike from `voltage_base`, negative below it."""
    return min_ahp_values(ts, v, **options) - voltage_base(ts, v, stim_start)


def ahp_depth_from_peak(ts: Trace, v: Trace, **options: Any) -> PerSpike:
    """`AHP_depth_from_peak` of eFEL, mV from the trough up to the peak before it."""
    s = find_spikes(ts, v, **options)
    return s.only(s.v[s.peak] - s.v[s.trough], _has_trough(s))


def ahp_time_from_peak(ts: Trace, v: Trace, **options: Any) -> PerSpike:
    """`AHP_time_from_peak` of eFEL, ms from the peak to the lowest sample of the trough."""
    s = find_spikes(ts, v, **options)
    return s.only(s.ts[s.trough] - s.time, _has_trough(s))


def _has_trough(s: Spikes) -> Bool[Array, " s"]:
    return s.trough < len(s.v) - 1


def _begin(s: Spikes) -> tuple[Array, Array, Array, Array]:
    """First steep sample of each spike, the time and voltage there, and whether there is one."""
    n = len(s.v)
    slope = _slope(s)
    fixed = jax.lax.stop_gradient(slope)
    steep = jnp.append(fixed >= s.slope, jnp.zeros(_STEEP - 1, bool))
    starts = jnp.append(False, fixed[:-1] <= s.slope)
    for k in range(_STEEP):
        starts &= steep[k : n + k]
    latest = jax.lax.cummax(jnp.where(starts, jnp.arange(n), -1))[s.peak]
    earliest = jnp.maximum(s.first - 2, 0)
    before = jnp.append(earliest, s.trough[:-1])
    earliest = jnp.where(before > s.first, before, earliest)
    ok = (latest > earliest) & (s.peak > s.first)
    at = jnp.where(ok, latest, 1)
    if not s.refine:
        return at, s.ts[at], s.v[at], ok
    share = _share(s.slope - slope[at - 1], slope[at] - slope[at - 1])
    time = s.ts[at - 1] + share * (s.ts[at] - s.ts[at - 1])
    return at, time, s.v[at - 1] + share * (s.v[at] - s.v[at - 1]), ok


def _slope(s: Spikes) -> Trace:
    """Central differences of the voltage, mV/ms."""

    def difference(x: Array) -> Array:
        inner = (x[2:] - x[:-2]) / 2
        return jnp.concatenate([x[1:2] - x[:1], inner, x[-1:] - x[-2:-1]])

    return difference(s.v) / difference(s.ts)


def _line(s: Spikes, k: Array, level: Array) -> Array:
    """When the line from sample `k - 1` to `k` is at `level`, ms."""
    k = jnp.maximum(k, 1)
    share = _share(level - s.v[k - 1], s.v[k] - s.v[k - 1])
    return s.ts[k - 1] + share * (s.ts[k] - s.ts[k - 1])


def _near(s: Spikes, k: Array, level: Array) -> Array:
    """When the trace is at `level` beside sample `k`, ms; at `k` itself if on neither side."""
    k = jnp.clip(k, 1, len(s.v) - 2)
    here, left, right = (s.v[j] - level for j in (k, k - 1, k + 1))
    sign = jnp.sign(jax.lax.stop_gradient(here))
    after, before = sign * right < 0, sign * left < 0
    forward = _share(here, here - right) * (s.ts[k + 1] - s.ts[k])
    back = _share(here, here - left) * (s.ts[k - 1] - s.ts[k])
    return s.ts[k] + jnp.where(after, forward, jnp.where(before, back, 0.0))


def _share(part: Array, whole: Array) -> Array:
    """`part / whole` within 0 … 1; 0 where nothing is divided."""
    there = whole != 0
    return jnp.clip(jnp.where(there, part, 0.0) / jnp.where(there, whole, 1.0), 0.0, 1.0)


def _next(marked: Bool[Array, " t"]) -> Int[Array, " t"]:
    """For every sample the first marked one from it on; t if there is none."""
    n = len(marked)
    return jax.lax.cummin(jnp.where(marked, jnp.arange(n), n), reverse=True)


def _troughs(w: Trace, peak: Array, after: Array) -> Int[Array, " s"]:
    """The first sample from each peak on that the two after it do not undercut, else the lowest."""
    low = (w[:-2] <= w[1:-1]) & (w[:-2] <= w[2:])
    first = _next(jnp.append(low, jnp.zeros(2, bool)))[peak]
    return jnp.where(first + 2 < after, first, _extreme(jnp.argmin, w, jnp.inf, peak, after))


def _extreme(best: Callable, x: Array, worst: float, start: Array, stop: Array) -> Array:
    """The sample in `[start, stop)` at which `x (t,)` or `(s, t)` is best, for each spike."""
    i = jnp.arange(x.shape[-1])
    inside = (i >= start[:, None]) & (i < stop[:, None])
    return best(jnp.where(inside, x, worst), axis=1)
