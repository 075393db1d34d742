"""Causal convolutions by the fast Fourier transform, for many taps and long inputs."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Spectrum(eqx.Module):
    """The filters of a causal convolution, in frequencies.

    Applied, it equals the direct sum up to rounding, also in time: what it gives before an input
    depends on that input by some 1e-7 of its size.
    """

    parts: tuple[Float[Array, "f i o"], ...]  # real, imaginary, and their sum
    taps: int = eqx.field(static=True)
    block: int = eqx.field(static=True)  # bins of a transform

    @classmethod
    def of(cls, weight: Array, bins: int | None = None) -> "Spectrum":
        """The spectrum of filters `weight (taps, i, o)`, whose last tap is the present bin's.

        **Arguments:** `bins`, how long inputs are, to do each in one block; without it blocks are
        four to eight times as long as the filters (of 128, 256 and 512 bins for 54 taps and 1,278
        inputs, 256 were the fastest).
        """
        taps, inputs, outputs = weight.shape
        wanted = 4 * taps if bins is None else bins + taps - 1
        block = 1 << (wanted - 1).bit_length()
        # few taps: a product with the waves is faster than a transform of zeros, and its gradient
        angle = 2 * np.pi / block * np.outer(np.arange(block // 2 + 1), np.arange(taps)[::-1])
        waves = np.stack([np.cos(angle), -np.sin(angle)]).reshape(-1, taps)
        found = jnp.asarray(waves, weight.dtype) @ weight.reshape(taps, -1)
        re, im = found.reshape(2, -1, inputs, outputs)
        return cls((re, im, re + im), taps, block)

    def __call__(self, x: Array) -> Array:
        """`(b, taps - 1 + bins, i)` to `(b, bins, o)`, by blocks that overlap."""
        batch, bins, inputs = x.shape[0], x.shape[1] - self.taps + 1, x.shape[2]
        fresh = self.block - self.taps + 1  # bins of a block that do not wrap around
        blocks = -(-bins // fresh)
        x = jnp.pad(x, ((0, 0), (0, blocks * fresh - bins), (0, 0)))
        x = x[:, np.arange(blocks)[:, None] * fresh + np.arange(self.block)]
        found = jnp.fft.rfft(x, axis=2).transpose(2, 0, 1, 3).reshape(-1, batch * blocks, inputs)
        # three real products for a complex one: XLA multiplies batches of real matrices faster
        re, im, both = self.parts
        a, b, c = found.real @ re, found.imag @ im, (found.real + found.imag) @ both
        y = jnp.fft.irfft((a - b) + 1j * (c - a - b), self.block, axis=0)[self.taps - 1 :]
        y = y.reshape(fresh, batch, blocks, -1).transpose(1, 2, 0, 3)
        return y.reshape(batch, blocks * fresh, -1)[:, :bins]


class SpectralConv(eqx.Module):
    """A causal convolution over time like `Conv`, for use on long inputs: it cannot be trained."""

    spectrum: Spectrum
    bias: Float[Array, " o"]

    def __call__(self, x: Array, past: Array) -> tuple[Array, Array]:
        """`(b, bins, i)` after `past (b, taps - 1, i)` to `(b, bins, o)`, and the next past."""
        x = jnp.concatenate([past, x.astype(past.dtype)], axis=1)
        return self.spectrum(x) + self.bias, x[:, x.shape[1] - past.shape[1] :]

    def start(self, batch: int) -> Array:
        """The input before the first bin, which is zero."""
        inputs, dtype = self.spectrum.parts[0].shape[1], self.bias.dtype
        return jnp.zeros((batch, self.spectrum.taps - 1, inputs), dtype)
