"""What a task draws its inputs from: the spike trains of inputs that are on or off."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.synapses import poisson_events


class AbstractTrains(eqx.Module):
    """A distribution of spike trains, one of every input."""

    @abc.abstractmethod
    def trains(self, key: Array, inputs: int) -> Array:
        """One draw of ascending event times, `(inputs, m)` ms, padded with inf."""

    def draw(self, key: Array, patterns: Array) -> Array:
        """The event times of every pattern, `(P, G, m)` ms: inf where an input is off.

        An input that is on in several patterns has the same train in all of them.

        **Arguments:** `patterns (P, G)`, 0 where an input is off.
        """
        times = self.trains(key, patterns.shape[1])
        return jnp.where(patterns[:, :, None] > 0, times, jnp.inf)


class Poisson(AbstractTrains):
    """Every input is the pooled Poisson train of `afferents` fibres that fire at `rate`."""

    rate: float = eqx.field(default=20.0, static=True)  # Hz, of one fibre
    afferents: int = eqx.field(default=25, static=True)
    onset: float = eqx.field(default=20.0, static=True)  # ms
    duration: float = eqx.field(default=980.0, static=True)  # ms

    def trains(self, key: Array, inputs: int) -> Array:
        rate = self.rate * self.afferents
        return self.onset + poisson_events(key, rate, self.duration, inputs)


class Bursts(AbstractTrains):
    """Every input is a burst of all its `afferents`, whose spikes are off by a normal jitter."""

    afferents: int = eqx.field(default=10, static=True)
    spikes: int = eqx.field(default=5, static=True)  # of each
    interval: float = 10.0  # ms, between two of them
    jitter: float = 2.0  # ms, standard deviation of every spike
    onset: float = 20.0  # ms, of the first

    def trains(self, key: Array, inputs: int) -> Array:
        exact = self.onset + self.interval * jnp.arange(self.spikes)
        off = jax.random.normal(key, (inputs, self.afferents, self.spikes))
        times = jnp.maximum(exact + self.jitter * off, 0.0)
        return jnp.sort(times.reshape(inputs, -1), axis=-1)


def busiest(times: Array, window: float) -> int:
    """The most events of a group within any `window` ms, summed over groups `(G, k, m)`."""
    count = 0
    for group in np.asarray(times):
        ts = np.sort(group[np.isfinite(group)])
        count += int(max(np.searchsorted(ts, ts + window, "right") - np.arange(len(ts)), default=0))
    return count
