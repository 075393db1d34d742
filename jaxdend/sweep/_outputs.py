"""What a sweep keeps of a simulated voltage: functions of one trace, of fixed shape.

Each takes times `ts (t,)` ms and the voltage `v (t,)` mV at one site, and works under `jax.vmap`.
Where there is nothing to report, as for the first spike of a silent cell, the answer is NaN.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

Output = Callable[..., Array]


def voltage(ts: Array, v: Array, *, every: int = 1) -> Array:
    """The voltage, every so many samples, `(t / every,)` mV."""
    del ts
    return v[::every]


def spike_times(ts: Array, v: Array, *, most: int = 32, threshold: float = 0.0) -> Array:
    """When the voltage crosses `threshold` mV upwards, `(most,)` ms, filled up with NaN.

    The crossing is interpolated between the two samples. Later spikes than `most` are dropped.
    """
    (index,) = jnp.nonzero(_upwards(v, threshold), size=most, fill_value=-1)
    found = index >= 0
    i = jnp.where(found, index, 0)
    rise = jnp.where(found, v[i + 1] - v[i], 1.0)
    return jnp.where(found, ts[i] + (ts[i + 1] - ts[i]) * (threshold - v[i]) / rise, jnp.nan)


def spike_count(ts: Array, v: Array, *, threshold: float = 0.0) -> Array:
    """The number of times that the voltage crosses `threshold` mV upwards."""
    del ts
    return jnp.sum(_upwards(v, threshold)).astype(v.dtype)


def first_spike(ts: Array, v: Array, *, threshold: float = 0.0) -> Array:
    """When the voltage crosses `threshold` mV upwards for the first time, ms."""
    return spike_times(ts, v, most=1, threshold=threshold)[0]


def peak(ts: Array, v: Array) -> Array:
    """The largest voltage of the trace in mV."""
    del ts
    return jnp.max(v)


def peak_time(ts: Array, v: Array) -> Array:
    """The time in ms at which the voltage is largest."""
    return ts[jnp.argmax(v)]


def lowest(ts: Array, v: Array) -> Array:
    """The smallest voltage of the trace in mV."""
    del ts
    return jnp.min(v)


def mean(ts: Array, v: Array, *, start: float = 0.0, stop: float = jnp.inf) -> Array:
    """The mean voltage over the samples from `start` to `stop` ms, mV."""
    inside = (ts >= start) & (ts <= stop)
    return jnp.sum(jnp.where(inside, v, 0.0)) / jnp.sum(inside)


def final(ts: Array, v: Array) -> Array:
    """The last voltage of the trace in mV."""
    del ts
    return v[-1]


OUTPUTS: dict[str, tuple[Output, str]] = {  # name -> function, unit
    "voltage": (voltage, "mV"),
    "spike_times": (spike_times, "ms"),
    "spike_count": (spike_count, ""),
    "first_spike": (first_spike, "ms"),
    "peak": (peak, "mV"),
    "peak_time": (peak_time, "ms"),
    "lowest": (lowest, "mV"),
    "mean": (mean, "mV"),
    "final": (final, "mV"),
}


def _upwards(v: Array, threshold: float) -> Array:
    return (v[:-1] < threshold) & (v[1:] >= threshold)
