"""Tasks that draw their inputs: trained, chosen and scored on draws that have nothing in common."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import (
    AbstractTrains,
    Logic,
    TaskResult,
    Training,
    held_out,
    judged,
    respond_all,
    robustness,
    train,
)
from jaxdend.tasks.judge import CHOOSE, SCREEN, TEST, VALIDATE, draws_of
from jaxdend.tasks.logic import best_threshold
from jaxdend.tasks.result import wilson
from running import in_a_run
from toy_task import Veto

TRAINING = Training(configs=2, starts=2, steps=40, rate=0.2, look=3, draws=6, validation=12)


class Loud(AbstractTrains):
    """Strengths in place of trains: those of the patterns, off by a tenth."""

    noise: float = 0.1

    def trains(self, key, inputs):
        return 1.0 + self.noise * jax.random.normal(key, (inputs,))

    def draw(self, key, patterns):
        return patterns * self.trains(key, patterns.shape[1])


def task(noise=0.1, **options):
    options = {"margin": 3.0, "training": TRAINING} | options
    return Logic.of("XOR", Veto(), inputs=Loud(noise), **options)


def trained(each=None, **options):
    return train(task() if each is None else each, **in_a_run(options))


@pytest.fixture(scope="module")
def result():
    return trained(seed=1)


def test_it_learns_and_tells_how_often_it_is_right_on_new_draws(result):
    assert result.solved
    assert result.right >= 22
    assert result.draws.shape == (24, 4)
    assert result.start_margin < result.margin
    low, high = result.interval
    assert low < result.right / 24 <= high
    assert result.threshold is not None
    np.testing.assert_allclose(result.responses, result.draws.mean(axis=0))


def test_its_answers_are_those_to_the_test_draws(result):
    vector = task().neuron.space.to_vector(result.params)
    again = respond_all(task(), vector[None], held_out(task(), 1))[0]
    np.testing.assert_allclose(again, result.draws, rtol=1e-6)
    decided = result.task_of(task())
    assert float(decided.threshold) == result.threshold
    assert int(judged(decided, again)[0].sum()) == result.right


def test_no_draw_serves_two_purposes():
    keys = [
        np.asarray(jax.random.key_data(draws_of(task(), 3, purpose, 32)))
        for purpose in (SCREEN, CHOOSE, VALIDATE, TEST)
    ]
    assert len({tuple(row) for row in np.concatenate(keys).tolist()}) == 4 * 32
    other = np.asarray(jax.random.key_data(held_out(task(), 4)))
    assert not np.any(np.all(other == keys[3][:24], axis=1))


def test_every_step_sees_draws_of_its_own(monkeypatch):
    """With one configuration that does not move, the loss still changes from step to step."""
    still = dataclasses.replace(TRAINING, configs=4, starts=1, steps=8, rate=1e-12)
    losses = trained(seed=0, training=still, stop=False).fit.losses[:, 0]
    assert len(np.unique(losses)) == 8


def test_the_same_seed_the_same_result_and_a_killed_run_goes_on_bit_for_bit(result, tmp_path):
    again = trained(seed=1)
    np.testing.assert_array_equal(again.draws, result.draws)
    few = dataclasses.replace(TRAINING, steps=7)
    options = {"seed": 5, "stop": False, "every": 2}
    whole = trained(**options)
    trained(training=few, folder=tmp_path, **options)
    resumed = trained(folder=tmp_path, resume=True, **options)
    np.testing.assert_array_equal(resumed.fit.losses, whole.fit.losses)
    np.testing.assert_array_equal(resumed.draws, whole.draws)
    assert resumed.threshold == whole.threshold


def test_it_is_saved_and_read_back(result, tmp_path):
    found = TaskResult.load(result.save(tmp_path))
    np.testing.assert_array_equal(found.draws, result.draws)
    for name in ("right", "start_right", "threshold", "interval", "accuracy", "solved"):
        assert getattr(found, name) == getattr(result, name)


def test_noise_in_the_weights_is_tried_on_draws_of_its_own(result):
    decided = result.task_of(task())
    right, responses = robustness(decided, result.params, noise=0.05, repeats=40, seed=2)
    assert right > 0.5
    assert responses.shape == (40, 4)
    assert len(np.unique(responses[:, 3])) == 40


def test_without_a_draw_or_a_threshold_it_says_so():
    params = task().neuron.space.to_dict(jnp.zeros(task().neuron.space.size))
    with pytest.raises(ValueError, match="XOR draws its inputs: responses needs a JAX key"):
        task().responses(params)
    with pytest.raises(ValueError, match="XOR has no threshold yet"):
        task().score(jnp.zeros(4))
    with pytest.raises(ValueError, match="validation fixes a threshold"):
        Logic("all", Veto(), [[1.0, 0.0]], [True], margin=1.0, inputs=Loud())
    with pytest.raises(ValueError, match="validation must be 1 or more; got 0"):
        Training(validation=0)


def test_a_response_that_is_not_finite_is_wrong_in_its_draw_only():
    fixed = eqx.tree_at(
        lambda t: t.threshold, task(), jnp.asarray(0.0), is_leaf=lambda x: x is None
    )
    good = jnp.array([[-5.0, 5.0, 5.0, -5.0], [-5.0, jnp.nan, 5.0, -5.0]])
    np.testing.assert_array_equal(judged(fixed, good)[0], [True, False])
    for each in (task(), fixed):
        loss, slope = jax.value_and_grad(each.loss_of_draws)(good)
        assert np.isfinite(loss)
        assert np.all(np.isfinite(slope))
        assert float(loss) > float(each.loss_of_draws(good[:1]))
        assert np.isnan(each.loss_of_draws(jnp.full((2, 4), jnp.nan)))


@pytest.mark.parametrize(
    ("responses", "expected"),
    [
        ([[0.0, 4.0, 5.0, 1.0]], 2.5),  # the middle of the gap
        ([[0.0, 4.0, 5.0, 1.0], [0.0, 3.0, 5.0, 2.0]], 2.5),  # right in both
        ([[0.0, 4.0, 5.0, 1.0], [0.0, 9.0, 9.0, 8.0], [0.0, 9.0, 9.0, 7.5]], 8.5),  # in most
        ([[0.0, 1.0, 1.0, 5.0]], 2.5),  # right in none
        ([[np.nan] * 4], 0.0),
    ],
)
def test_the_threshold_that_is_right_most_often(responses, expected):
    goal = np.array([False, True, True, False])
    assert best_threshold(np.array(responses), goal) == expected


def test_intervals_are_wilsons():
    # Newcombe (1998) Stat Med 17:857, table I: 81 of 263 and 15 of 148
    np.testing.assert_allclose(wilson(81, 263), (0.2553, 0.3662), atol=1e-4)
    np.testing.assert_allclose(wilson(15, 148), (0.0624, 0.1605), atol=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(24, 24)[1] == pytest.approx(1.0)
