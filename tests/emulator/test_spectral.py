"""Convolutions in frequencies are those over time: values, gradients, streams."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxdend.emulator import Emulator
from jaxdend.emulator._predict import predict
from jaxdend.emulator._spectral import SpectralConv, Spectrum
from jaxdend.emulator.networks import TCN, Conv


def conv(taps, inputs, outputs, seed=0, dtype=jnp.float64):
    keys = jax.random.split(jax.random.key(seed))
    weight = jax.random.normal(keys[0], (taps, inputs, outputs), dtype)
    return Conv(weight, jax.random.normal(keys[1], (outputs,), dtype))


def bits(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random(shape) < 0.2)


@settings(max_examples=12, deadline=None)
@given(taps=st.integers(1, 20), bins=st.integers(1, 90), one=st.booleans())
def test_it_is_the_direct_sum(taps, bins, one):
    direct = conv(taps, 3, 2)
    x = bits(2, bins, 3, seed=taps)
    past = jnp.asarray(np.random.default_rng(1).random((2, taps - 1, 3)))
    spectrum = Spectrum.of(direct.weight, bins if one else None)
    fast = SpectralConv(spectrum, direct.bias)
    assert spectrum.block >= taps
    for a, b in zip(direct(x, past), fast(x, past), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    assert fast.start(2).shape == direct.start(2).shape


def test_its_gradient_is_the_direct_one():
    direct, x = conv(64, 32, 3), bits(2, 60, 32)

    def loss(weight, by_spectrum):
        c = Conv(weight, direct.bias)
        y = c.whole(x) if by_spectrum else c(x, c.start(2))[0]
        return jnp.sum(jnp.sin(y))

    a, b = (jax.grad(loss)(direct.weight, way) for way in (False, True))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)
    program = str(jax.make_jaxpr(direct.whole)(x))
    assert ("fft" in program) == (jax.default_backend() == "cpu")


@pytest.mark.parametrize("shape", [(12, 64, 3), (24, 256, 64)])
def test_few_taps_of_few_inputs_and_large_layers_are_trained_directly(shape):
    program = str(jax.make_jaxpr(conv(*shape).whole)(bits(1, 30, shape[1])))
    assert "fft" not in program


def test_in_single_precision_it_rounds_and_no_more():
    direct = conv(54, 200, 8, dtype=jnp.float32)
    x = bits(2, 700, 200)
    exact = jax.tree.map(lambda a: a.astype(jnp.float64), direct)
    truth = exact(x, exact.start(2))[0]
    spectral = SpectralConv(Spectrum.of(direct.weight), direct.bias)
    found = spectral(x, spectral.start(2))[0]
    assert found.dtype == jnp.float32
    assert jnp.abs(found - truth).max() < 2e-6 * jnp.abs(truth).max()


def test_an_emulator_runs_long_input_by_it_and_streams_without():
    net = TCN(50, channels=4, kernels=(42, 3), dendrites=2, key=1)
    _, net = eqx.filter_jit(lambda net, x: net.learn(x))(net, bits(4, 100, 50))
    twin = Emulator(net)
    x = np.asarray(bits(3, 300, 50, seed=4))
    if jax.default_backend() == "cpu":
        assert [type(c) for c in twin.long.convs] == [SpectralConv, Conv]
    found, wanted = twin(x), predict(net, x)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * np.abs(b).max())
    assert all(type(c) is Conv for c in twin.net.convs)
