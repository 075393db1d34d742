"""Sequences on one thin branch: what they do untrained, and what training makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import evaluate, train
from jaxdend.tasks.sequence import (
    INTERVALS,
    Order,
    Preference,
    SequenceBranch,
    order,
    order_reverse,
    velocity,
    velocity_4ms,
)
from running import QUIET


@pytest.fixture(scope="module")
def published():
    """The task, and the responses of nine equal inputs as in the paper, distal first and last."""
    task = Order("order", SequenceBranch(), [4.0 * np.arange(9.0), 4.0 * np.arange(9.0)[::-1]])
    return task, evaluate(task, task.neuron.published())


def test_the_branch_tells_sequences_apart_as_the_published_cell_does(published):
    task, (responses, score) = published
    # the whole cell: 10.25 and 7.96 mV, index 0.125
    np.testing.assert_allclose(responses, [10.25, 7.96], rtol=0.15)
    assert float(task.selectivity(responses)) == pytest.approx(0.13, abs=0.025)
    assert float(score.accuracy) == 1.0


def test_turning_the_branch_round_turns_the_preference(published):
    task, (responses, _) = published
    params = task.neuron.published()
    turned, _ = evaluate(task, {**params, "position": params["position"][::-1]})
    np.testing.assert_allclose(turned, responses[::-1], rtol=1e-6)


def test_the_reverse_task_asks_for_the_other_sequence(published):
    task, (responses, _) = published
    reverse = order_reverse()
    assert reverse.labels == order().labels[::-1]
    np.testing.assert_array_equal(reverse.patterns, task.patterns[::-1])
    forward = float(order().score(responses).margin) + 0.2  # the selectivity
    assert float(reverse.score(responses[::-1]).margin) + 0.2 == pytest.approx(-forward)
    assert float(reverse.score(responses[::-1]).accuracy) == 0.0


def test_a_draw_moves_every_onset_by_the_jitter():
    task = order()
    drawn = jax.vmap(task.draw)(jax.random.split(jax.random.key(0), 200))
    assert task.random
    assert drawn.shape == (200, 2, 9)
    off = np.asarray(drawn - task.patterns)
    assert off.std() == pytest.approx(1.0, abs=0.05)
    assert abs(off.mean()) < 0.05
    with pytest.raises(ValueError, match="order draws its inputs"):
        task.responses(task.neuron.published())


@pytest.mark.parametrize("seed", range(3))
def test_with_one_weight_and_no_delays_a_point_neuron_tells_no_order(seed):
    """One sequence is a permutation of the other, and all inputs act alike."""
    neuron = SequenceBranch(point=True)
    task = Order("point", neuron, order().patterns)
    params = neuron.space.to_dict(neuron.space.sample(seed, 1)[0])
    assert abs(float(task.selectivity(task.responses(params)))) < 1e-9


def test_order_loss_and_score():
    task = Order("o", SequenceBranch(k=2), [[0.0, 1.0], [1.0, 0.0]], index=0.2)
    good, bad = jnp.array([3.0, 1.0]), jnp.array([1.0, 3.0])
    assert float(task.selectivity(good)) == pytest.approx(0.5)
    assert float(task.score(good).margin) == pytest.approx(0.3)
    assert bool(task.score(good).solved)
    assert not bool(task.score(bad).solved)
    assert float(task.loss(good)) < 0.01 < float(task.loss(bad))
    assert np.isfinite(task.loss(jnp.zeros(2)))


def test_preference_loss_and_score():
    patterns = np.outer([0.0, 1.0, 2.0], [0.0, 1.0])
    task = Preference("p", SequenceBranch(k=2), patterns, 1, labels=["a", "b", "c"], lead=0.1)
    assert task.goal.tolist() == [False, True, False]
    score = task.score(jnp.array([0.8, 1.0, 0.5]))
    assert float(score.margin) == pytest.approx(0.1)
    assert bool(score.solved)
    halfway = task.score(jnp.array([1.2, 1.0, 0.5]))
    assert float(halfway.accuracy) == 0.5
    assert not bool(halfway.solved)
    assert float(task.loss(jnp.array([0.8, 1.0, 0.5]))) < float(task.loss(jnp.array([1.2, 1, 0.5])))


def test_inputs_of_a_wave_keep_their_order():
    neuron = velocity_4ms().neuron
    assert "gap" in neuron.space
    assert "position" in SequenceBranch().space
    for z in neuron.space.sample(0, 5):
        params = neuron.space.to_dict(z)
        position = np.asarray(neuron.position(params))
        assert np.all(np.diff(position) < 0)
        assert 0.0 < position.min()
        assert position.max() < 1.0
        placed = neuron.placement({k: np.asarray(v) for k, v in params.items()})
        assert np.all(np.diff(placed.cell.distance[placed.sites]) <= 0)


def test_bad_tasks_are_refused():
    neuron = SequenceBranch(k=2)
    with pytest.raises(ValueError, match="2 patterns; got 3"):
        Order("o", neuron, np.zeros((3, 2)), labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="index must be"):
        Order("o", neuron, np.zeros((2, 2)), index=1.5)
    with pytest.raises(ValueError, match="wanted must be"):
        Preference("p", neuron, np.zeros((2, 2)), 2, labels=["a", "b"])
    with pytest.raises(ValueError, match="lead must be"):
        Preference("p", neuron, np.zeros((2, 2)), 1, labels=["a", "b"], lead=0.0)
    with pytest.raises(ValueError, match="interval must be one of"):
        velocity(interval=3.0)
    assert velocity(interval=2.0).wanted == INTERVALS.index(2.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", [order(), pytest.param(order_reverse(), marks=pytest.mark.nightly)], ids=["to", "back"]
)
def test_learns_an_order_that_holds_on_other_draws(task):
    result = train(task, seed=0, run=QUIET)
    assert result.start_right < result.right
    assert result.right >= 20
    assert len(result.draws) == 24


@pytest.mark.slow
def test_a_point_neuron_trained_alike_tells_no_order_beyond_chance():
    result = train(order(point=True), seed=0, run=QUIET)
    assert result.right <= 6


@pytest.mark.nightly
def test_learns_a_velocity():
    result = train(velocity(interval=2.0), seed=0, run=QUIET)
    assert result.responses.argmax() == INTERVALS.index(2.0)
    assert result.solved  # every other response is 5 % smaller
