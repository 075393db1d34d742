"""Neurons without dendrites do not compute XOR."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import Training, make_task, train
from jaxdend.tasks.baselines import baseline, count_spikes
from running import QUIET

FEW = Training(configs=32, starts=2, steps=20, rate=0.3, validation=8, test=24)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_perceptron_learns_and_but_not_xor(seed):
    xor = train(make_task("xor_perceptron"), seed=seed, training=FEW, run=QUIET)
    assert xor.right <= 2
    assert xor.accuracy <= 0.76
    solved = train(baseline("perceptron", "AND"), seed=seed, training=FEW, run=QUIET)
    assert solved.right == 24


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["xor_passive", "xor_lif"])
def test_no_trained_point_neuron_computes_xor(name):
    few = Training(configs=64, starts=2, steps=5, rate=0.1, draws=4, validation=8)
    result = train(make_task(name), seed=0, training=few, run=QUIET)
    assert result.right <= 6
    assert not result.solved


def test_spikes_are_counted_with_a_gradient():
    v = jnp.array([-75.0, -54.0, -75.0, -56.0, -50.0])
    count, slope = jax.value_and_grad(count_spikes)(v, -55.0)
    assert count == 2.0
    assert np.all(np.isfinite(slope))
    assert slope[1] > slope[0] > 0


def test_unknown_baseline_says_what_there_is():
    with pytest.raises(ValueError, match="perceptron, lif, passive"):
        baseline("point")
