"""Random input: a function of the key alone, with the statistics that were published."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxdend.emulator import _sampling
from jaxdend.emulator._sampling import Sampling, sample_input, window_rates

E = 12  # excitatory synapses, and as many inhibitory ones
HALF = np.arange(E) * 2 // E
SAMPLING = Sampling(
    tree=np.tile(HALF, 2),
    length=np.tile(np.linspace(10.0, 90.0, E), 2),
    cluster=np.tile(np.arange(E) // 2, 2),
    exc=E,
)
BINS = 600
KEYS = jax.random.split(jax.random.key(1), 24)


@pytest.fixture(scope="module")
def drawn():
    """Kind -> `(24, 600, 24)`."""

    @jax.jit
    def draw(keys):
        return {
            kind: jax.vmap(lambda key, kind=kind: sample_input(key, SAMPLING, BINS, kind))(keys)
            for kind in _sampling.KINDS
        }

    return {kind: np.asarray(x) for kind, x in draw(KEYS).items()}


def test_it_depends_on_the_key_alone(drawn):
    x = drawn["default"]
    assert x.shape == (24, BINS, 2 * E)
    assert x.dtype == bool
    alone = jax.jit(lambda key: sample_input(key, SAMPLING, BINS))(KEYS[5])
    np.testing.assert_array_equal(x[5], alone)
    assert len({row.tobytes() for row in x}) == 24


def test_totals_are_within_the_published_bounds():
    rates = np.asarray(window_rates(KEYS[0], SAMPLING, 2000))
    scale = E / 639 / 100
    for tree in (0, 1):
        e = rates[:, :E][:, tree == HALF].sum(1) / scale
        i = rates[:, E:][:, tree == HALF].sum(1) / scale
        assert 0 <= e.min() < 10
        assert 790 < e.max() <= 800.001
        assert abs(e.mean() - 400) < 15
        assert np.all(i >= np.maximum(0, e - 600) - 1e-6)
        assert np.all(i <= e + 200 + 1e-6)
    trees = np.corrcoef(rates[:, 0], rates[:, E - 1])[0, 1]
    assert abs(trees) < 0.1
    own = replace(SAMPLING, totals=(0.0, (100.0, 1000.0)))
    rates = np.asarray(window_rates(KEYS[0], own, 2000))[:, :E] / scale
    sums = [rates[:, tree == HALF].sum(1).max() for tree in (0, 1)]
    assert sums == pytest.approx([100, 1000], rel=0.02)


def test_a_total_is_divided_by_length():
    rates = np.asarray(window_rates(KEYS[0], SAMPLING, 4000))
    first = rates[:, : E // 2].mean(0)
    length = SAMPLING.length[: E // 2] + 10.0
    np.testing.assert_allclose(first / first.sum(), length / length.sum(), rtol=0.03)
    each = rates[:, 1] / rates[:, 0] * length[0] / length[1]
    assert 1 / 3 < each.min() < 0.45
    assert 2.2 < each.max() < 3


def test_rates_are_smoothed_by_a_gaussian():
    kernel = _sampling._gaussian(jnp.asarray(40))
    lag = np.arange(-160, 161, 10)
    np.testing.assert_allclose(
        _sampling._mass(kernel, jnp.asarray(lag)), norm.cdf((lag + 0.5) / 40), atol=5e-4
    )
    assert float(_sampling._mass(kernel, jnp.asarray(10**5))) == pytest.approx(1.0)
    assert float(_sampling._mass(kernel, jnp.asarray(-(10**5)))) == 0.0


def test_an_exponential_and_a_bernoulli_draw_are_one():
    rng = np.random.default_rng(0)
    for rate in (0.01, 0.3, 2.0):
        twice = np.mean(rng.random(10**6) < rng.exponential(rate, 10**6))
        assert twice == pytest.approx(rate * -np.expm1(-1 / rate), abs=2e-3)


def test_the_mean_is_that_of_the_totals(drawn):
    x = drawn["default"][:, 250:350, :E]  # rates fall off at the ends, as published
    assert x.mean() == pytest.approx(400 / 639 / 100 * 2, rel=0.25)


def test_input_out_of_distribution(drawn):
    usual = drawn["default"]
    assert not drawn["no_inhibition"][:, :, E:].any()
    assert drawn["no_inhibition"][:, :, :E].any()
    driven = drawn["clustered"].any(1).reshape(24, 2, E // 2, 2).any((1, 3))
    assert driven.sum(1).max() <= np.ceil(0.3 * E / 2)
    assert len({tuple(row) for row in driven}) > 3
    together = drawn["synchronous"].sum(2)
    assert together.mean() == pytest.approx(usual.sum(2).mean(), rel=0.2)
    assert together.var() > 2 * usual.sum(2).var()
    wave = np.asarray(_sampling._modulation(KEYS[0], SAMPLING, 3000, "sinusoidal"))
    spectrum = np.abs(np.fft.rfft(wave - wave.mean()))
    assert 1000 / (300 * 1.2) < np.argmax(spectrum) / 3 < 1000 / 14
    with pytest.raises(ValueError, match="sampling must be one of"):
        sample_input(KEYS[0], SAMPLING, BINS, "loud")


@pytest.mark.parametrize("kind", ["clustered", "no_inhibition"])
def test_excitation_alone(kind):
    alone = replace(
        SAMPLING, tree=0 * HALF, length=np.full(E, 20.0), cluster=np.arange(E), totals=(800, 800)
    )
    x = np.asarray(jax.jit(lambda key: sample_input(key, alone, 200, kind))(KEYS[0]))
    assert x.shape == (200, E)
    assert x.any()
