"""What tasks draw their inputs from."""

import jax
import numpy as np
import pytest

from jaxdend.tasks import Bursts, Poisson
from jaxdend.tasks.trains import busiest

PATTERNS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def test_an_input_has_the_same_train_in_every_pattern_that_it_is_on_in():
    times = np.asarray(Poisson(duration=200.0).draw(jax.random.key(0), PATTERNS))
    assert np.all(np.isinf(times[0]))
    np.testing.assert_array_equal(times[1, 1], times[3, 1])
    np.testing.assert_array_equal(times[2, 0], times[3, 0])
    assert np.all(np.isinf(times[1, 0]))
    assert not np.array_equal(times[3, 0], times[3, 1])


def test_every_key_is_another_draw_of_the_same_rate():
    trains = Poisson(rate=20.0, afferents=25, onset=20.0, duration=400.0)
    draws = np.asarray(
        jax.vmap(lambda k: trains.trains(k, 2))(jax.random.split(jax.random.key(1), 40))
    )
    counts = np.isfinite(draws).sum(axis=-1)
    assert counts.mean() == pytest.approx(200.0, abs=5 * np.sqrt(200 / 80))
    assert counts.var() == pytest.approx(200.0, rel=0.6)
    known = draws[np.isfinite(draws)]
    assert known.min() >= 20.0
    assert known.max() < 420.0
    assert len(np.unique(draws[:, 0, 0])) == 40


def test_bursts_are_jittered_volleys():
    times = np.asarray(Bursts(afferents=200, jitter=2.0).trains(jax.random.key(0), 2))
    assert times.shape == (2, 1000)
    assert np.all(np.diff(times, axis=1) >= 0)
    assert times.mean() == pytest.approx(40.0, abs=1.0)  # 20, 30, ..., 60 ms
    exact = np.asarray(Bursts(jitter=0.0).trains(jax.random.key(0), 1))
    assert set(exact.ravel().tolist()) == {20.0, 30.0, 40.0, 50.0, 60.0}


def test_the_busiest_window():
    times = np.array([[[1.0, 1.05, 3.0, np.inf]], [[2.0, 2.01, 2.02, np.inf]]])
    assert busiest(times, 0.1) == 5
    assert busiest(times, 1e6) == 6
