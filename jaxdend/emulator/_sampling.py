"""Random synaptic input after Beniaguev, Segev & London (2021), and input unlike it."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

Kind = Literal["default", "clustered", "synchronous", "sinusoidal", "no_inhibition"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# ms, drawn once for every simulation; the ends of the second are published, what lies between
# them is ours
WINDOWS = (25, 30, 35, 40, 45, 55, 60, 65, 70, 75, 80, 85, 90, 100, 150, 200, 300, 450)
SIGMAS = (25, 30, 35, 40, 45, 50, 55, 60, 65, 80, 90, 100, 150, 200, 250, 300, 400, 500, 600)
JITTER = 20  # ms, either way
REACH = 3.5  # sigmas to either side that the Gaussian has
MARGIN = 10.0  # µm added to every length
SPREAD = (0.5, 1.5)  # factor of every synapse, drawn anew in every window
BLOCK = 250  # bins that are drawn at a time: bounds the memory


@dataclass(frozen=True)
class Sampling:
    """The statistics of the input to `k` synapses, excitatory ones first.

    1. The rates of every tree are constant over windows, whose length is drawn once for each
       simulation, and then smoothed by a Gaussian, whose width is drawn once, too.
    2. In a window, the excitatory spikes of a tree in 100 ms number `e = U(exc)`, the inhibitory
       ones `U(max(0, e + low), e + high)` with `low, high = inh`. These totals are for `per`
       excitatory synapses on all trees, as published (639 dendritic segments on two trees), and
       are scaled to those there are.
    3. A total is divided among the synapses of the tree in proportion to
       `(length + 10 µm) U(0.5, 1.5)`, the second factor anew in every window.
    4. The probability of a spike in a bin is an exponential draw with this mean, and the spike a
       Bernoulli draw: together one Bernoulli draw with `rate (1 - exp(-1 / rate))`, which is what
       is drawn here.

    Input out of distribution, everything else as above:

    - `"clustered"`: `driven` of the clusters (rounded up, in every simulation others) have
      `crowding` times their rate, the rest none.
    - `"synchronous"`: half of every rate comes in volleys of all synapses in one bin, at random
      and on average every `volley` ms.
    - `"sinusoidal"`: all rates times `1 + sin(2 π t / T + φ)`, with T `U(15, 300)` ms.
    - `"no_inhibition"`: only excitation, at `alone` times its rate.

    The reduced cell with NMDA fires at 2.1 Hz under the default input, and under these, in this
    order, at 1.1, 2.2, 2.9 and 1.7 Hz (16 times 1.5 s each).
    """

    tree: np.ndarray  # (k,) int from 0 on, which tree a synapse sits on
    length: np.ndarray  # (k,) µm of dendrite that a synapse stands for
    cluster: np.ndarray  # (k,) int from 0 on, neighbours that are driven together
    exc: int  # how many synapses are excitatory
    # excitatory spikes of a tree in 100 ms, from, to: the same for all, or one for each tree
    totals: tuple[float | tuple[float, ...], float | tuple[float, ...]] = (0.0, 800.0)
    surplus: tuple[float, float] = (-600.0, 200.0)  # inhibitory less excitatory ones
    per: float = 639.0  # excitatory synapses with these totals
    driven: float = 0.3  # fraction of clusters
    crowding: float = 2.0  # times the rate
    volley: float = 25.0  # ms
    alone: float = 0.5  # times the rate

    @property
    def k(self) -> int:
        """The number of synapses, excitatory and inhibitory."""
        return len(self.tree)

    def header(self) -> dict[str, Any]:
        """The numbers as JSON; arrays are in the setup's."""
        names = ("exc", "totals", "surplus", "per", "driven", "crowding", "volley", "alone")
        return {name: getattr(self, name) for name in names}


def sample_input(key: PRNGKeyArray, sampling: Sampling, bins: int, kind: Kind = "default") -> Array:
    """The input of one simulation, `(bins, k)` bool: whether a synapse is active in a bin of 1 ms.

    **Raises:** `ValueError` for an unknown `kind`.
    """
    if kind not in KINDS:
        raise ValueError(f"sampling must be one of {', '.join(KINDS)}; got {kind!r}.")
    keys = jax.random.split(key, 5)
    luck = jax.random.uniform(keys[0], (4,))
    window = _option(luck[:2], WINDOWS)
    kernel = _gaussian(_option(luck[2:], SIGMAS))
    count = -(-bins // (min(WINDOWS) - JITTER))  # windows at most
    rates = window_rates(keys[1], sampling, count)
    rates = rates * _per_synapse(keys[2], sampling, kind)
    modulation = _modulation(keys[3], sampling, bins, kind)
    begin = jnp.minimum(jnp.arange(count) * window, bins)
    end = jnp.minimum(begin + window, bins)

    def block(i: Array) -> Array:
        t = i * BLOCK + jnp.arange(BLOCK)
        weight = _mass(kernel, t[:, None] - begin) - _mass(kernel, t[:, None] - end)
        rate = (weight @ rates) * modulation[jnp.minimum(t, bins - 1), None]
        chance = rate * -jnp.expm1(-1.0 / jnp.maximum(rate, 1e-30))
        return jax.random.uniform(jax.random.fold_in(keys[4], i), rate.shape) < chance

    blocks = -(-bins // BLOCK)
    return jax.lax.map(block, jnp.arange(blocks)).reshape(blocks * BLOCK, -1)[:bins]


def window_rates(key: PRNGKeyArray, sampling: Sampling, count: int) -> Array:
    """`(count, k)` expected spikes of every synapse in a bin of each of `count` windows."""
    trees = int(sampling.tree.max()) + 1
    luck = jax.random.uniform(key, (count, 2 * trees + sampling.k))
    low, high = (jnp.asarray(edge, float) for edge in sampling.totals)
    e = low + (high - low) * luck[:, :trees]
    least = jnp.maximum(0.0, e + sampling.surplus[0])
    i = least + (e + sampling.surplus[1] - least) * luck[:, trees : 2 * trees]
    # spikes in a bin: excitatory ones of every tree, then inhibitory ones
    totals = sampling.exc / sampling.per / 100.0 * jnp.concatenate([e, i], axis=1)
    group = sampling.tree + trees * (np.arange(sampling.k) >= sampling.exc)
    factor = SPREAD[0] + (SPREAD[1] - SPREAD[0]) * luck[:, 2 * trees :]
    share = jnp.asarray(sampling.length + MARGIN, float) * factor
    member = jnp.asarray(group[:, None] == np.arange(2 * trees), share.dtype)
    return share * (totals / jnp.maximum(share @ member, 1e-9))[:, group]


def _option(luck: Array, options: tuple[int, ...]) -> Array:
    """One of the options and a whole number of ms more or less, by two numbers in [0, 1)."""
    at = (luck * jnp.asarray([len(options), 2 * JITTER + 1])).astype(int)
    return jnp.asarray(options)[at[0]] + at[1] - JITTER


def _gaussian(sigma: Array) -> Array:
    """The Gaussian's sum up to each bin, from -n to n with room for the widest; the last is 1."""
    n = int(REACH * (max(SIGMAS) + JITTER))
    j = jnp.arange(-n, n + 1)
    g = jnp.where(jnp.abs(j) <= REACH * sigma, jnp.exp(-0.5 * (j / sigma) ** 2), 0.0)
    return jnp.cumsum(g) / jnp.sum(g)


def _mass(kernel: Array, lag: Array) -> Array:
    """The Gaussian's sum up to `lag` bins."""
    n = (len(kernel) - 1) // 2
    return jnp.where(lag < -n, 0.0, kernel[jnp.clip(lag + n, 0, 2 * n)])


def _per_synapse(key: PRNGKeyArray, sampling: Sampling, kind: Kind) -> Array:
    """`(k,)` factor of every rate throughout a simulation."""
    if kind == "no_inhibition":
        return jnp.where(jnp.arange(sampling.k) < sampling.exc, sampling.alone, 0.0)
    if kind != "clustered":
        return jnp.ones(sampling.k)
    clusters = int(sampling.cluster.max()) + 1
    place = jax.random.permutation(key, clusters)[sampling.cluster]
    driven = int(np.ceil(sampling.driven * clusters))
    return jnp.where(place < driven, sampling.crowding, 0.0)


def _modulation(key: PRNGKeyArray, sampling: Sampling, bins: int, kind: Kind) -> Array:
    """`(bins,)` factor of all rates."""
    one, two = jax.random.split(key)
    t = jnp.arange(bins)
    if kind == "sinusoidal":
        period = jax.random.uniform(one, minval=15.0, maxval=300.0)
        phase = jax.random.uniform(two, maxval=2 * jnp.pi)
        return 1.0 + jnp.sin(2 * jnp.pi * t / period + phase)
    if kind == "synchronous":
        volley = jax.random.uniform(one, (bins,)) < 1.0 / sampling.volley
        return 0.5 + 0.5 * sampling.volley * volley
    return jnp.ones(bins)
