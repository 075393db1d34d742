"""Neurons without dendrites do not compute XOR."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import Training, make_task, train
from jaxdend.tasks.baselines import baseline, count_spikes
from running import QUIET


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_perceptron_learns_and_but_not_xor(seed):
    assert train(make_task("xor_perceptron"), seed=seed, run=QUIET).accuracy <= 0.75
    assert train(baseline("perceptron", "AND"), seed=seed, run=QUIET).solved


@pytest.mark.parametrize("name", ["xor_passive", "xor_lif"])
def test_no_random_point_neuron_computes_xor(name):
    task = make_task(name)
    space = task.neuron.space

    @jax.jit
    @jax.vmap
    def accuracy(z):
        return task.score(task.responses(space.to_dict(z))).accuracy

    assert np.max(accuracy(space.sample(0, 48))) <= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xor_passive", "xor_lif"])
def test_no_trained_point_neuron_computes_xor(name):
    few = Training(configs=32, starts=2, steps=20, rate=0.3)
    assert train(make_task(name), seed=0, training=few, run=QUIET).accuracy <= 0.75


def test_spikes_are_counted_with_a_gradient():
    v = jnp.array([-75.0, -54.0, -75.0, -56.0, -50.0])
    count, slope = jax.value_and_grad(count_spikes)(v, -55.0)
    assert count == 2.0
    assert np.all(np.isfinite(slope))
    assert slope[1] > slope[0] > 0


def test_unknown_baseline_says_what_there_is():
    with pytest.raises(ValueError, match="perceptron, lif, passive"):
        baseline("point")
