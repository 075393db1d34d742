"""The baseline, steady states, sag, resistance and time constant of a response to a step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxdend.fitting.features._trace import Scalar, Trace, known_trace, step_slack

_BEFORE = (10, 5)  # samples before the end of the stimulus between which eFEL takes a mean


def mean_in_window(ts: Trace, v: Trace, start: ArrayLike, stop: ArrayLike) -> Scalar:
    """The mean of the samples in `[start, stop]` ms, mV; NaN if there is none."""
    ts, v = known_trace(ts, v)
    return _mean(v, _at_least(ts, start) & ~_past(ts, stop))


def sd_in_window(ts: Trace, v: Trace, start: ArrayLike, stop: ArrayLike) -> Scalar:
    """The standard deviation of the samples in `[start, stop]` ms, mV; NaN if there is none."""
    ts, v = known_trace(ts, v)
    inside = _at_least(ts, start) & ~_past(ts, stop)
    mean = _mean(v, inside)
    variance = _mean((v - jnp.where(jnp.isnan(mean), 0.0, mean)) ** 2, inside)
    moves = variance > 0
    return jnp.where(moves, jnp.sqrt(jnp.where(moves, variance, 1.0)), variance)


def voltage_base(
    ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike = jnp.inf
) -> Scalar:
    """`voltage_base` of eFEL, mV: the mean over `[0.9 stim_start, stim_start]`, times from 0 ms."""
    del stim_end
    start = jnp.asarray(stim_start)
    return jnp.where(start > 0, mean_in_window(ts, v, 0.9 * start, start), jnp.nan)


def steady_state_voltage(ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike) -> Scalar:
    """`steady_state_voltage` of eFEL, mV: the mean after the stimulus."""
    del stim_start
    ts, v = known_trace(ts, v)
    return _mean(v, _past(ts, stim_end))


def steady_state_voltage_stimend(
    ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike
) -> Scalar:
    """`steady_state_voltage_stimend` of eFEL, mV: the mean over the last tenth of the stimulus."""
    ts, v = known_trace(ts, v)
    start = stim_end - 0.1 * (jnp.asarray(stim_end) - stim_start)
    return _mean(v, _at_least(ts, start) & ~_at_least(ts, stim_end))


def voltage_after_stim(ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike) -> Scalar:
    """`voltage_after_stim` of eFEL, mV: the mean over the middle half of what follows."""
    del stim_start
    ts, v = known_trace(ts, v)
    rest = ts[-1] - stim_end
    inside = _at_least(ts, stim_end + 0.25 * rest)
    late = _past(ts, stim_end + 0.75 * rest)
    inside &= ~jnp.append(False, late[:-1])  # the first sample past the end counts in eFEL
    return _mean(v, inside)


def maximum_voltage(ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike) -> Scalar:
    """`maximum_voltage` of eFEL, mV: the highest sample in the stimulus."""
    return -minimum_voltage(ts, -jnp.asarray(v), stim_start, stim_end)


def minimum_voltage(ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike) -> Scalar:
    """`minimum_voltage` of eFEL, mV: the lowest sample in the stimulus."""
    ts, v = known_trace(ts, v)
    stop = jnp.minimum(stim_end, ts[-1])
    inside = _at_least(ts, stim_start) & ~_at_least(ts, stop)
    lowest = jnp.argmin(jnp.where(inside, jax.lax.stop_gradient(v), jnp.inf))
    return jnp.where(jnp.any(inside), v[lowest], jnp.nan)


def voltage_deflection(ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike) -> Scalar:
    """`voltage_deflection` of eFEL, mV, from the mean before the stimulus to that near its end.

    The latter over 5 samples, from the 10th to the 6th before the first one past the end.
    """
    ts, v = known_trace(ts, v)
    past, i = _past(ts, stim_end), jnp.arange(len(ts))
    end = jnp.argmax(past)
    late = (i >= end - _BEFORE[0]) & (i < end - _BEFORE[1])
    deflection = _mean(v, late) - _mean(v, ~_at_least(ts, stim_start))
    return jnp.where(jnp.any(past) & (end >= _BEFORE[0]), deflection, jnp.nan)


def voltage_deflection_vb_ssse(
    ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike
) -> Scalar:
    """`voltage_deflection_vb_ssse` of eFEL, mV: `steady_state_voltage_stimend - voltage_base`."""
    steady = steady_state_voltage_stimend(ts, v, stim_start, stim_end)
    return steady - voltage_base(ts, v, stim_start)


def sag_amplitude(ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike) -> Scalar:
    """`sag_amplitude` of eFEL, mV: steady state minus minimum; NaN for an upward response."""
    steady = steady_state_voltage_stimend(ts, v, stim_start, stim_end)
    down = steady - voltage_base(ts, v, stim_start) <= 0
    return jnp.where(down, steady - minimum_voltage(ts, v, stim_start, stim_end), jnp.nan)


def sag_ratio1(ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike) -> Scalar:
    """`sag_ratio1` of eFEL: the sag's share of the whole deflection; 0 without sag."""
    depth = voltage_base(ts, v, stim_start) - minimum_voltage(ts, v, stim_start, stim_end)
    return _ratio(sag_amplitude(ts, v, stim_start, stim_end), depth)


def sag_ratio2(ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike) -> Scalar:
    """`sag_ratio2` of eFEL: the steady state's share of the whole deflection; 1 without sag."""
    base = voltage_base(ts, v, stim_start)
    steady = base - steady_state_voltage_stimend(ts, v, stim_start, stim_end)
    return _ratio(steady, base - minimum_voltage(ts, v, stim_start, stim_end))


def ohmic_input_resistance(
    ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike, current: ArrayLike
) -> Scalar:
    """`ohmic_input_resistance` of eFEL, MΩ: `voltage_deflection` over the step's `current`, nA."""
    return _ratio(voltage_deflection(ts, v, stim_start, stim_end), jnp.asarray(current))


def ohmic_input_resistance_vb_ssse(
    ts: Trace, v: Trace, stim_start: ArrayLike, stim_end: ArrayLike, current: ArrayLike
) -> Scalar:
    """`ohmic_input_resistance_vb_ssse` of eFEL, MΩ: by `voltage_deflection_vb_ssse`."""
    return _ratio(voltage_deflection_vb_ssse(ts, v, stim_start, stim_end), jnp.asarray(current))


def decay_time_constant_after_stim(
    ts: Trace,
    v: Trace,
    stim_start: ArrayLike,
    stim_end: ArrayLike,
    *,
    start: ArrayLike = 1.0,
    stop: ArrayLike = 10.0,
) -> Scalar:
    """`decay_time_constant_after_stim` of eFEL, ms: how fast the voltage returns after a step.

    A line through `log |v - v(stim_start)|` from `start` to `stop` ms after the end of the stimulus
    (eFEL's `decay_start_after_stim` and `decay_end_after_stim`). eFEL's `time_constant`, which
    looks for a plateau and searches an offset by golden sections, jumps with the data and is not
    offered; this one is smooth.
    """
    ts, v = known_trace(ts, v)
    reference = v[jnp.argmax(_at_least(ts, stim_start))]
    inside = _at_least(ts, jnp.asarray(stim_end) + start)
    inside &= ~_at_least(ts, jnp.asarray(stim_end) + stop)
    apart = jnp.abs(v - reference)
    moves = apart > 0
    y = jnp.log(jnp.where(moves, apart, 1.0))
    inside &= moves
    count = jnp.sum(inside)
    x = ts - jnp.where(count > 0, _mean(ts, inside), 0.0)
    y = y - jnp.where(count > 0, _mean(y, inside), 0.0)
    slope = _ratio(jnp.sum(jnp.where(inside, x * y, 0)), jnp.sum(jnp.where(inside, x * x, 0)))
    return jnp.abs(_ratio(jnp.ones_like(slope), slope))


def attenuation(
    ts: Trace, v: Float[Array, "t r"], stim_start: ArrayLike, *, reference: int = 0
) -> Float[Array, " r"]:
    """`bpap_attenuation` of eFEL: peak above baseline at one site over that at each site.

    **Arguments:** `v (t, r)` mV at r sites along a dendrite; `reference`, the column of the site
    from which the response spreads, usually the soma. Grows with distance from 1; 2 is a response
    of half the height.
    """
    base = jax.vmap(voltage_base, (None, 1, None))(ts, v, stim_start)
    height = jnp.max(v, axis=0) - base
    return _ratio(height[reference], height)


def _at_least(ts: Trace, start: ArrayLike) -> Bool[Array, " t"]:
    return ts >= start - step_slack(ts)


def _past(ts: Trace, stop: ArrayLike) -> Bool[Array, " t"]:
    return ts > stop + step_slack(ts)


def _mean(x: Array, inside: Array) -> Scalar:
    count = jnp.sum(inside)
    mean = jnp.sum(jnp.where(inside, x, 0.0)) / jnp.maximum(count, 1)
    return jnp.where(count > 0, mean, jnp.nan)


def _ratio(a: Array, b: Array) -> Array:
    """`a / b`; NaN where b is 0 or one of them NaN, without spoiling the slope."""
    there = jnp.isfinite(a) & jnp.isfinite(b) & (b != 0)
    return jnp.where(there, jnp.where(there, a, 0.0) / jnp.where(there, b, 1.0), jnp.nan)
