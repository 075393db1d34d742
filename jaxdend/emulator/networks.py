"""Causal networks that predict a neuron, bin by bin: convolutions, one unit, the ELM neuron.

Every network takes `(bins, k)` bits and gives a `Prediction`; `run` does the same for a batch and
goes on from where it stopped.

Short filters of few inputs run as XLA's own convolution: 12 taps x 64 inputs to 64 channels,
batches of 8 x 400 bins, forward and backward on two busy cores: 11 ms, against 13 for a product
with unfolded windows and 48 tap by tap. Others run on a CPU by the fast Fourier transform: 100 taps
x 96 inputs to 32 channels, 19 ms and 8 (4 x 800 bins and 25 taps x 32 inputs: 2.8 and 6.6, 147
taps: 14.6 and 7.3); in use, 54 taps x 1,278 inputs to 128 channels, a second: 160 ms and 38.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PyTree

from jaxdend.emulator._base import (
    AbstractNetwork as AbstractNetwork,
    Heads,
    Prediction as Prediction,
    Scaling as Scaling,
    new_heads,
    no_scaling,
)
from jaxdend.emulator._elm import ELM as ELM
from jaxdend.emulator._spectral import SpectralConv, Spectrum

FIRST = 54  # taps of the published first layer
_LONG = 2048  # taps x inputs, from which on the fast Fourier transform is faster, on a CPU
_LARGE = 2**14  # inputs x outputs, from which on its gradient is not
_MOMENTUM, _EPSILON = 0.99, 1e-5
_WIDTH = 0.002  # of the convolutions' first weights


class Conv(eqx.Module):
    """A causal convolution over time; what comes before the first bin is 0."""

    weight: Float[Array, "taps i o"]  # the last tap is the present bin's
    bias: Float[Array, " o"]

    def __call__(self, x: Array, past: Array) -> tuple[Array, Array]:
        """`(b, bins, i)` after `past (b, taps - 1, i)` to `(b, bins, o)`, and the next past."""
        x = jnp.concatenate([past, x.astype(past.dtype)], axis=1)
        y = jax.lax.conv_general_dilated(
            x, self.weight, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
        )
        return y + self.bias, x[:, x.shape[1] - past.shape[1] :]

    def start(self, batch: int) -> Array:
        """The input before the first bin, which is zero."""
        taps, inputs, _ = self.weight.shape
        return jnp.zeros((batch, taps - 1, inputs), self.weight.dtype)

    def whole(self, x: Array) -> Array:
        """The convolution of crops `(b, bins, i)` that nothing comes before, `(b, bins, o)`."""
        taps, inputs, outputs = self.weight.shape
        past = self.start(x.shape[0])
        if inputs * outputs >= _LARGE or not _by_spectrum(self):
            return self(x, past)[0]
        x = jnp.concatenate([past, x.astype(past.dtype)], axis=1)
        return Spectrum.of(self.weight, x.shape[1] - taps + 1)(x) + self.bias


class Norm(eqx.Module):
    """Batch normalisation of channels, over simulations and bins."""

    scale: Float[Array, " c"]
    shift: Float[Array, " c"]
    mean: Float[Array, " c"]  # running, measured while training
    var: Float[Array, " c"]
    count: Float[Array, ""]  # batches measured: the first ones are averaged with equal weight

    @classmethod
    def new(cls, channels: int, dtype: DTypeLike) -> "Norm":
        """A normalisation that has seen no data and changes nothing."""
        one, zero = jnp.ones(channels, dtype), jnp.zeros(channels, dtype)
        return cls(one, zero, zero, one, jnp.zeros((), dtype))

    def affine(self) -> tuple[Array, Array]:
        """The factor and the offset of every channel, by the running statistics."""
        factor = self.scale / jnp.sqrt(self.var + _EPSILON)
        return factor, self.shift - factor * self.mean

    def learn(self, x: Array) -> tuple[Array, "Norm"]:
        """`x (b, bins, c)` normalised by its own statistics, and those averaged in."""
        mean, var = x.mean(axis=(0, 1)), x.var(axis=(0, 1))
        y = self.scale * (x - mean) / jnp.sqrt(var + _EPSILON) + self.shift
        share = jnp.maximum(1 - _MOMENTUM, 1 / (self.count + 1))
        new = self.mean + share * (mean - self.mean), self.var + share * (var - self.var)
        new = jax.lax.stop_gradient((*new, self.count + 1))
        return y, eqx.tree_at(lambda n: (n.mean, n.var, n.count), self, new)


class TCN(AbstractNetwork):
    """A stack of causal convolutions of equal width; the published twin of a neuron.

    After each convolution comes batch normalisation and a ReLU (in the original, the ReLU comes
    first); `fold` makes the normalisation part of the convolution. One layer is the published
    fully connected network of one hidden layer (FCN).

    **Arguments:**

    - `k`: how many inputs.
    - `channels`: the width of every layer.
    - `kernels`: taps of every layer; or `depth` and `span`, see `kernels_of`.
    - `dendrites`: how many components of the dendritic voltages to predict as well (20 with NMDA,
      30 without it, as published); 0 for none.
    - `key`: a JAX key or an integer seed. Weights begin truncated normal, of width .002, as
      published; the normalisation makes up for their size.

    **Raises:** `ValueError` for sizes that are not positive or do not fit.
    """

    convs: tuple[Conv, ...]
    norms: tuple[Norm, ...]  # none after `fold`
    heads: Heads
    scaling: Scaling
    k: int = eqx.field(static=True)

    def __init__(
        self,
        k: int,
        *,
        channels: int = 128,
        kernels: tuple[int, ...] | None = None,
        depth: int = 7,
        span: int = 153,
        dendrites: int = 0,
        key: ArrayLike = 0,
        dtype: DTypeLike = jnp.float32,
        folded: bool = False,
    ):
        kernels = kernels_of(depth, span) if kernels is None else tuple(int(n) for n in kernels)
        _check_sizes(k=k, channels=channels, depth=len(kernels), kernels=min(kernels, default=1))
        keys = jax.random.split(as_key(key), len(kernels) + 1)
        convs = []
        for i, taps in enumerate(kernels):
            shape = (taps, k if i == 0 else channels, channels)
            draw = jax.random.truncated_normal(keys[i], -2, 2, shape, dtype)
            weight = draw * jnp.asarray(_WIDTH, dtype)
            convs.append(Conv(weight, jnp.zeros(channels, dtype)))
        self.convs = tuple(convs)
        self.norms = () if folded else tuple(Norm.new(channels, dtype) for _ in kernels)
        self.heads = new_heads(keys[-1], channels, dendrites, 1.0, dtype)
        self.scaling = no_scaling(dendrites, dtype)
        self.k = k

    @property
    def kernels(self) -> tuple[int, ...]:
        """The number of taps of every layer."""
        return tuple(conv.weight.shape[0] for conv in self.convs)

    @property
    def span(self) -> int:
        """The number of bins of input that one output depends on."""
        return 1 + sum(taps - 1 for taps in self.kernels)

    @property
    def fixed(self) -> tuple[Array, ...]:
        """What is measured and not trained; the biases that a normalisation takes away again."""
        stats = [leaf for n in self.norms for leaf in (n.mean, n.var, n.count)]
        return (*stats, *(conv.bias for conv, _ in zip(self.convs, self.norms, strict=False)))

    def config(self) -> dict[str, Any]:
        return {
            "k": self.k,
            "channels": self.convs[0].weight.shape[-1],
            "kernels": list(self.kernels),
            "dendrites": self.heads.bias.shape[0] - 2,
            "folded": not self.norms,
        }

    def start(self, batch: int) -> PyTree:
        return tuple(conv.start(batch) for conv in self.convs)

    def run(self, x: Array, carry: PyTree) -> tuple[Prediction, PyTree]:
        past = []
        for i, conv in enumerate(self.convs):
            x, after = conv(x, carry[i])
            past.append(after)
            if self.norms:
                factor, offset = self.norms[i].affine()
                x = x * factor + offset
            x = jax.nn.relu(x)
        return self.heads(x, self.scaling), tuple(past)

    def learn(self, x: Array) -> tuple[Prediction, "TCN"]:
        if not self.norms:
            raise ValueError("a folded network cannot be trained: train it, then fold it")
        norms = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv.whole(x)
            x, norm = norm.learn(x)
            norms.append(norm)
            x = jax.nn.relu(x)
        return self.heads(x, self.scaling), eqx.tree_at(lambda n: n.norms, self, tuple(norms))

    def renewed(self, other: "TCN") -> "TCN":
        def measured(net: TCN) -> list[Array]:
            return [leaf for n in net.norms for leaf in (n.mean, n.var, n.count)]

        return eqx.tree_at(measured, self, measured(other)) if self.norms else self

    def fold(self) -> "TCN":
        """The network without its normalisations, which become part of the convolutions."""
        convs = []
        for conv, norm in zip(self.convs, self.norms, strict=False):
            factor, offset = norm.affine()
            convs.append(Conv(conv.weight * factor, conv.bias * factor + offset))
        if not convs:
            return self
        return eqx.tree_at(lambda n: (n.convs, n.norms), self, (tuple(convs), ()))

    def quick(self) -> "TCN":
        """The folded network, with long filters applied in frequencies."""
        net = self.fold()
        convs: Any = tuple(
            SpectralConv(Spectrum.of(c.weight), c.bias) if _by_spectrum(c) else c for c in net.convs
        )
        return eqx.tree_at(lambda n: n.convs, net, convs)


class UnitNet(AbstractNetwork):
    """One linear unit with a filter of `span` taps for every input, the integrate-and-fire net.

    Its value is the logit of a spike and the voltage, each up to a factor and an offset. The
    filters of a network trained on an integrate-and-fire neuron are that neuron's: exponentials
    of the membrane's time constant, shortened a little by the resets. At 20 ms, ±2 mV an input and
    1.2 spikes/s: 17.5 and 18.6 ms, 1.88 and -2.00 mV, AUC .994 after 300 steps of `QUICK` at a
    rate of .03.
    """

    conv: Conv
    heads: Heads
    scaling: Scaling
    k: int = eqx.field(static=True)

    def __init__(
        self,
        k: int,
        *,
        span: int = 80,
        dendrites: int = 0,
        key: ArrayLike = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        _check_sizes(k=k, span=span)
        draw = jax.random.truncated_normal(as_key(key), -2, 2, (span, k, 1), dtype)
        self.conv = Conv(draw * jnp.asarray(0.01, dtype), jnp.zeros(1, dtype))
        self.heads = Heads(
            jnp.ones((1, 2 + dendrites), dtype), jnp.zeros(2 + dendrites, dtype), 1.0
        )
        self.scaling = no_scaling(dendrites, dtype)
        self.k = k

    @property
    def span(self) -> int:
        """The number of bins of input that one output depends on."""
        return self.conv.weight.shape[0]

    def config(self) -> dict[str, Any]:
        return {"k": self.k, "span": self.span, "dendrites": self.heads.bias.shape[0] - 2}

    def start(self, batch: int) -> PyTree:
        return self.conv.start(batch)

    def run(self, x: Array, carry: PyTree) -> tuple[Prediction, PyTree]:
        unit, past = self.conv(x, carry)
        return self.heads(unit, self.scaling), past

    def learn(self, x: Array) -> tuple[Prediction, "UnitNet"]:
        return self.heads(self.conv.whole(x), self.scaling), self


def kernels_of(depth: int, span: int, first: int = FIRST) -> tuple[int, ...]:
    """Taps of `depth` layers that see `span` bins: `first` for the first layer, the rest alike.

    The first layer never has more than about half of the span, unless it is the only one.

    **Raises:** `ValueError` for a span too short for the layers.
    """
    _check_sizes(depth=depth, span=span)
    if depth == 1:
        return (span,)
    begin = min(first, (span + 1) // 2)
    each, more = divmod(span - begin, depth - 1)
    if each < 1:
        raise ValueError(f"{depth} layers need a span of at least {2 * depth - 2} bins, not {span}")
    return (begin, *(1 + each + (i < more) for i in range(depth - 1)))


def as_key(key: ArrayLike) -> Array:
    """A JAX key, of an integer seed or a key."""
    key = jnp.asarray(key)
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.key(key)


def _by_spectrum(conv: Conv) -> bool:
    taps, inputs, _ = conv.weight.shape
    return taps * inputs >= _LONG and jax.default_backend() == "cpu"


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not size >= 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
