"""Event times as padded arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import approx, close, tol
from jaxdend.synapses import binned_events, events, poisson_events


def test_events_pads_with_inf():
    inf = np.inf
    np.testing.assert_array_equal(
        events([[3.0, 1.0], [], np.array([2.0])]), [[3.0, 1.0], [inf, inf], [2.0, inf]]
    )
    np.testing.assert_array_equal(events([[], []]), [[inf], [inf]])


@pytest.mark.parametrize("refractory", [0.0, 3.0])
def test_poisson_statistics(refractory):
    k, rate, duration = 400, np.linspace(5.0, 100.0, 400), 1000.0
    times = np.asarray(poisson_events(jax.random.key(0), rate, duration, k, refractory))
    assert np.all(np.diff(np.where(np.isfinite(times), times, 1e9), axis=1) >= 0)
    real = np.isfinite(times)
    assert times[real].min() >= 0
    assert times[real].max() < duration
    assert np.all(np.isinf(times[:, -1]))  # nothing was cut off
    count = real.sum(axis=1)
    assert count.mean() == approx(rate.mean(), rel=0.03)
    assert np.corrcoef(count, rate)[0, 1] > 0.95
    with np.errstate(invalid="ignore"):
        gaps = np.diff(times, axis=1)
    gaps = gaps[np.isfinite(gaps)]
    assert gaps.min() >= refractory
    # stationary: as many events in the first 20 ms as in any other
    early = (times < 20.0).sum()
    assert early == approx(20.0 / 1000.0 * np.sum(rate), rel=0.12)


def test_poisson_intervals_with_dead_time():
    times = np.asarray(poisson_events(jax.random.key(1), 100.0, 20_000.0, 1, refractory=4.0))[0]
    gaps = np.diff(times[np.isfinite(times)])
    assert gaps.mean() == approx(10.0, rel=0.05)
    assert gaps.std() == approx(6.0, rel=0.08)


def test_poisson_is_seeded_silent_at_no_rate_and_differentiable():
    key = jax.random.key(2)
    one, two = (poisson_events(key, [0.0, 50.0], 100.0, 2) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert np.all(np.isinf(one[0]))

    @jax.jit
    def third(rate):
        return poisson_events(key, rate, 1000.0, 1, 1.0, max_events=20)[0, 2]

    slope = (third(50.001) - third(49.999)) / 0.002
    close(jax.grad(third)(50.0), slope, rtol=tol(1e-6, 5e-3))

    def total(rate):
        times = poisson_events(key, rate, 100.0, 1, max_events=5)
        return jnp.sum(jnp.where(jnp.isfinite(times), times, 0.0))

    assert np.isfinite(jax.grad(total)(0.0))


def test_binned_events():
    times, number = binned_events([[0, 2, 1]], width=0.5, onset=10.0)
    close(times, [[10.0, 10.5, 11.0]])
    np.testing.assert_array_equal(number, [[0.0, 2.0, 1.0]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: events([[1.0], [np.nan]]), "events: .* train 1 is"),
        (lambda: events([[1.0], 3.0]), "events: .* train 1 is 3.0"),
        (lambda: events([["a"]]), "events: .* train 0"),
        (lambda: poisson_events(jax.random.key(0), -1.0, 10.0, 2), "poisson_events: rate"),
        (lambda: poisson_events(jax.random.key(0), [1.0, 2.0, 3.0], 10.0, 2), "expected shape"),
        (
            lambda: poisson_events(jax.random.key(0), 500.0, 10.0, 2, 2.0),
            "rate . refractory < 1000",
        ),
        (
            lambda: jax.jit(lambda r: poisson_events(jax.random.key(0), r, 10.0, 2))(1.0),
            "give max_events",
        ),
        (lambda: binned_events([1.0, 2.0], 1.0), "binned_events: counts"),
        (lambda: binned_events([[1.0, -2.0]], 1.0), "binned_events: counts"),
        (lambda: binned_events([[1.0]], 0.0), "binned_events: width"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
