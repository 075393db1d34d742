"""Coincidence of soma and dendrite, and of two inputs on one branch."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import evaluate, train
from jaxdend.tasks.coincidence import Clustering, bac_window, clustering, summation
from running import QUIET

BURSTING = {  # the best of 256 random configurations, seed 0
    "epsp": 0.9292497,
    "sodium": 0.0063394945,
    "high": 0.0032903338,
    "low": 0.0016111647,
    "potassium": 0.0073359152,
    "m": 0.00079321401,
}


def test_calcium_spike_inside_the_window_only():
    task = bac_window()
    params = {name: jnp.asarray(value) for name, value in BURSTING.items()}
    responses, score = evaluate(task, params)
    assert bool(score.solved)
    named = dict(zip(task.labels, np.asarray(responses), strict=True))
    assert min(named["-3 ms"], named["+0 ms"], named["+5 ms"], named["+10 ms"]) > 30.0
    assert max(named["-15 ms"], named["+25 ms"], named["dendrite alone"]) < 10.0


def test_no_window_without_calcium_channels():
    task = bac_window()
    params = {name: jnp.asarray(value) for name, value in BURSTING.items()}
    params |= {"high": jnp.asarray(1e-6), "low": jnp.asarray(1e-6)}
    responses, score = evaluate(task, params)
    assert not bool(score.solved)
    assert float(jnp.max(responses)) < 15.0


@pytest.fixture(scope="module")
def clustered() -> Clustering:
    return clustering()


def test_within_a_branch_more_than_the_sum_and_across_the_sum(clustered):
    params = {"weight": jnp.array([5e-4, 5e-4, 8e-4]), "nmda": jnp.asarray(5.0)}
    found = summation(clustered, params, np.linspace(0.5, 4.0, 8))
    within = np.asarray(found.within - found.expected_within)
    across = np.asarray(found.across - found.expected_across)
    best = within.argmax()
    assert within[best] > 0.8
    assert within[0] < 0.3 * within[best]  # weak inputs add up linearly
    assert abs(across[best]) < 0.3 * within[best]


def test_no_excess_without_nmda(clustered):
    params = {"weight": jnp.array([5e-4, 5e-4, 8e-4]), "nmda": jnp.asarray(0.0)}
    found = summation(clustered, params, np.linspace(0.5, 4.0, 8))
    assert np.all(np.asarray(found.within) <= np.asarray(found.expected_within) + 1e-6)


def test_score_wants_both(clustered):
    good = jnp.array([2.0, 2.0, 2.0, 6.0, 4.1])
    everywhere = jnp.array([2.0, 2.0, 2.0, 6.0, 6.0])
    assert bool(clustered.score(good).solved)
    assert not bool(clustered.score(everywhere).solved)
    assert float(clustered.score(everywhere).accuracy) == 0.5
    assert float(clustered.loss(good)) < float(clustered.loss(everywhere))


@pytest.mark.slow
@pytest.mark.parametrize("make", [clustering, bac_window])
def test_training(make):
    result = train(make(), seed=0, run=QUIET)
    assert result.solved
    assert result.start_margin <= result.margin
