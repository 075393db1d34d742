"""The Expressive Leaky Memory neuron of Spieler et al. (2024), ICLR."""

from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxdend.emulator._base import (
    AbstractNetwork,
    Heads,
    Prediction,
    Scaling,
    new_heads,
    no_scaling,
)

_UNIT = 10.0  # mV, of the voltage head


class ELM(AbstractNetwork):
    """A neuron of leaky branches and leaky memory, with a small network in between.

    A branch sums its synapses with weights `w >= 0`, inhibitory ones negatively, and leaks:
    `s = κ_s s + w x`. Memory of `m` units changes by a perceptron of one hidden layer (`2 m`
    ReLUs) of branches and memory: `m = κ_m m + λ (1 - κ_m) Δ`,
    `Δ = 1.7159 tanh(2/3 MLP(s, κ_m m))`. `κ = exp(-1 ms / τ)`, the memory's `τ` log-spaced and
    not trained. Spike and voltage are linear in the memory.

    **Arguments:**

    - `k`: how many inputs, of which the first `excitatory` (half if `None`) are excitatory.
    - `memory`: units of memory; 15 match the published TCN on NeuronIO.
    - `branches`, each with `synapses` (`None`: 3.5 times `k / branches`, which is 100 of the
      published 1278 inputs): windows that overlap, over excitatory and inhibitory inputs in turn.
    - `taus`: ms, the shortest and longest memory. `tau`: ms, of the branches. `gain`: λ.

    **Raises:** `ValueError` for sizes that are not positive, or more synapses than inputs.
    """

    w: Float[Array, "branches synapses"]  # used where positive
    branch: Float[Array, "branches h"]  # of the perceptron: from the branches to h = 2 m,
    recall: Float[Array, "m h"]  # from memory,
    bias: Float[Array, " h"]
    out: Float[Array, "h m"]  # to memory
    out_bias: Float[Array, " m"]
    keep: Float[Array, " m"]  # κ_m, not trained
    leak: Float[Array, ""]  # κ_s, not trained
    gain: Float[Array, ""]  # λ, not trained
    heads: Heads
    scaling: Scaling
    k: int = eqx.field(static=True)
    excitatory: int = eqx.field(static=True)

    def __init__(
        self,
        k: int,
        *,
        memory: int = 15,
        branches: int = 45,
        synapses: int | None = None,
        excitatory: int | None = None,
        taus: tuple[float, float] = (1.0, 150.0),
        tau: float = 5.0,
        gain: float = 5.0,
        dendrites: int = 0,
        key: ArrayLike = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        excitatory = k // 2 if excitatory is None else excitatory
        if synapses is None:
            synapses = min(k, max(2, round(3.522 * k / branches)))
        if min(k, memory, branches, synapses) < 1 or synapses > k or not 0 <= excitatory <= k:
            raise ValueError(
                "an ELM neuron needs positive sizes and synapses, excitatory <= k; got "
                f"k={k}, memory={memory}, branches={branches}, synapses={synapses}, "
                f"excitatory={excitatory}"
            )
        key = jnp.asarray(key)
        key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.key(key)
        keys = jax.random.split(key, 7)
        hidden, m = 2 * memory, memory

        def uniform(i: int, fan: int, *shape: int) -> Array:
            return jax.random.uniform(keys[i], shape, dtype, -1, 1) / fan**0.5

        self.w = jnp.full((branches, synapses), 0.5, dtype)
        self.branch = uniform(0, branches + m, branches, hidden)
        self.recall = uniform(1, branches + m, m, hidden)
        self.bias = uniform(2, branches + m, hidden)
        self.out, self.out_bias = uniform(3, hidden, hidden, m), uniform(4, hidden, m)
        ends = np.log10(taus)
        self.keep = jnp.asarray(np.exp(-1 / np.logspace(ends[0], ends[1], m)), dtype)
        self.leak, self.gain = jnp.asarray(np.exp(-1 / tau), dtype), jnp.asarray(gain, dtype)
        heads = new_heads(keys[5], m, dendrites, _UNIT, dtype)
        weight = heads.weight.at[:, :2].set(uniform(6, m, m, 2))
        self.heads = Heads(weight, heads.bias, _UNIT)
        self.scaling = no_scaling(dendrites, dtype)
        self.k, self.excitatory = k, excitatory

    @property
    def span(self) -> None:
        """`None`: the neuron remembers all of its input, ever more faintly."""
        return None

    @property
    def fixed(self) -> tuple[Array, ...]:
        """The arrays of the network that are not trained."""
        return self.keep, self.leak, self.gain

    def config(self) -> dict[str, Any]:
        branches, synapses = self.w.shape
        return {
            "k": self.k,
            "memory": self.keep.shape[0],
            "branches": branches,
            "synapses": synapses,
            "excitatory": self.excitatory,
            "dendrites": self.heads.bias.shape[0] - 2,
        }

    def start(self, batch: int) -> PyTree:
        zeros = jnp.zeros((batch, self.w.shape[0] + self.keep.shape[0]), self.w.dtype)
        return zeros[:, : self.w.shape[0]], zeros[:, self.w.shape[0] :]

    def weights(self) -> Array:
        """What an input bit adds to every branch, `(k, branches)`."""
        branches, synapses = self.w.shape
        place = routing(self.k, self.excitatory, branches, synapses)
        w = jax.nn.relu(self.w) * np.where(place < self.excitatory, 1.0, -1.0).astype(self.w.dtype)
        return jnp.zeros((self.k, branches), w.dtype).at[place, np.arange(branches)[:, None]].add(w)

    def run(self, x: Array, carry: PyTree) -> tuple[Prediction, PyTree]:
        keep, leak, gain = jax.lax.stop_gradient((self.keep, self.leak, self.gain))
        drive = x.astype(self.w.dtype) @ self.weights()  # (b, bins, branches)

        def step(carry: tuple[Array, Array], drive: Array) -> tuple[tuple[Array, Array], Array]:
            s, m = carry
            s, kept = leak * s + drive, keep * m
            hidden = jax.nn.relu(s @ self.branch + kept @ self.recall + self.bias)
            change = 1.7159 * jnp.tanh((hidden @ self.out + self.out_bias) * (2 / 3))
            m = kept + gain * (1 - keep) * change
            return (s, m), m

        carry, memory = jax.lax.scan(step, carry, jnp.moveaxis(drive, 1, 0))
        return self.heads(jnp.moveaxis(memory, 0, 1), self.scaling), carry


@lru_cache
def routing(k: int, excitatory: int, branches: int, synapses: int) -> np.ndarray:
    """Chooses which inputs the synapses of every branch take, `(branches, synapses)`.

    Windows over the inputs in the order excitatory, inhibitory, excitatory …, evenly spread.
    """
    place = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in (excitatory, k - excitatory)])
    order = np.lexsort((np.arange(k), place))
    first = np.round(np.linspace(0, k - synapses, branches)).astype(int)
    return order[first[:, None] + np.arange(synapses)]
