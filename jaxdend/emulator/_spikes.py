"""Which bins of 1 ms have a spike."""

import jax.numpy as jnp
from jaxtyping import Array

SAMPLES = 8  # of the voltage in 1 ms, where spikes are looked for
PEAK = -25.0  # mV, above which a local maximum is a spike


def spikes_of(v: Array) -> Array:
    """Bins `(bins,)` with a local maximum above -25 mV in `v (8 bins + 1,)`, 8 samples a bin."""
    later = jnp.append(v[2:], v[-1])
    peak = (v[1:] > v[:-1]) & (v[1:] >= later) & (v[1:] > PEAK)
    peak = peak.at[-1].set(False)  # what comes next is not known
    return jnp.any(peak.reshape(-1, SAMPLES), axis=1)


def crossings_of(v: Array, threshold: float) -> Array:
    """Bins `(bins,)` in which `v (8 bins + 1,)` rises past `threshold` mV, 8 samples a bin."""
    up = (v[1:] >= threshold) & (v[:-1] < threshold)
    return jnp.any(up.reshape(-1, SAMPLES), axis=1)
