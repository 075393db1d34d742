import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import evaluate, make_task, train
from jaxdend.tasks.tuning import (
    KAPPA,
    ORIENTATIONS,
    Selectivity,
    TunedBranches,
    orientation,
    selectivity_index,
)
from running import QUIET

NEURON = TunedBranches(branches=2, k=3)
TASK = Selectivity("toy", NEURON, gain=0.2, match=0.05, least=3.0)
AROUND = np.deg2rad(np.array(ORIENTATIONS) - 90.0)


def tuned(depth: float, mean: float = 5.0) -> np.ndarray:
    """Responses whose selectivity for 90° is half of `depth`."""
    return mean * (1.0 + depth * np.cos(2.0 * AROUND))


def middle() -> dict:
    """Synapses in the middle of their branches."""
    shape = NEURON.preferred.shape
    return {
        "weight": jnp.full(shape, 1e-3),
        "position": jnp.full(shape, 0.8),
        "nmda": jnp.asarray(6.0),
        "open": jnp.asarray(0.05),
    }


def test_selectivity_index():
    one = np.eye(8)[3]
    np.testing.assert_allclose(
        selectivity_index(ORIENTATIONS, [one, np.ones(8)]), [1, 0], atol=1e-15
    )
    np.testing.assert_allclose(selectivity_index(ORIENTATIONS, tuned(0.6)), 0.3)
    np.testing.assert_allclose(selectivity_index(ORIENTATIONS, np.roll(tuned(0.6), 3)), 0.3)


def test_selectivities_are_signed():
    pair = np.concatenate([tuned(0.8), np.roll(tuned(0.4), 4)])
    np.testing.assert_allclose(TASK.selectivities(pair), [0.4, -0.2])


@pytest.mark.parametrize(
    ("neuron", "control", "off"),
    [
        (5.0, 5.0, 0.0),
        (5.0, 5.2, 0.0),
        (5.0, 5.5, 0.05),
        (5.0, 4.0, 0.15),
        (1.5, 1.5, 0.5),
        (15.0, 15.0, 0.25),
    ],
)
def test_a_comparison_that_is_not_fair_counts_against_the_gain(neuron, control, off):
    pair = np.concatenate([tuned(0.8, neuron), tuned(0.2, control)])
    score = TASK.score(pair)
    np.testing.assert_allclose(TASK.off(pair), off, atol=1e-12)
    np.testing.assert_allclose(score.margin, 0.1 - off, atol=1e-12)
    assert (float(score.accuracy), bool(score.solved)) == (1.0, off < 0.1)


def test_the_loss_falls_with_the_gain():
    pairs = [np.concatenate([tuned(d), tuned(0.2)]) for d in (0.1, 0.4, 0.6, 0.9)]
    assert np.all(np.diff([float(TASK.loss(pair)) for pair in pairs]) < 0)
    pull = jax.grad(TASK.loss)(jnp.asarray(pairs[1]))
    assert pull[TASK.preferred] < 0 < pull[8 + TASK.preferred]
    assert np.isfinite(jax.grad(TASK.loss)(jnp.zeros(16))).all()
    assert float(TASK.score(np.concatenate([np.roll(tuned(0.8), 4)] * 2)).accuracy) == 0.0


def test_labels_and_goal():
    assert TASK.labels[:3] == ("0°", "22.5°", "45°")
    assert TASK.labels[8] == "0° control"
    assert TASK.goal.tolist() == [i == 4 for i in range(16)]
    assert make_task("orientation", 3).name == "orientation"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"orientations": (0.0, 45.0, 100.0)}, "evenly spaced over 180 degrees, three or more"),
        ({"preferred": 8}, "preferred must be the number of one of 8 orientations; got 8"),
        ({"gain": 1.0}, r"gain in selectivity must be in \(0, 1\); got 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Selectivity("toy", NEURON, **options)


def test_inputs_fire_as_they_are_tuned():
    many = TunedBranches(branches=2, k=2000, seed=1)
    happened = np.where(np.isfinite(many.times), np.asarray(many.active(jnp.asarray(30.0))), 0.0)
    apart = np.deg2rad(30.0 - np.asarray(many.preferred)).reshape(-1)
    share = happened.sum(1) / np.isfinite(many.times).sum(1).clip(1)
    near, far = np.cos(2 * apart) > 0.95, np.cos(2 * apart) < -0.95
    np.testing.assert_allclose(share[near].mean(), 1.0, atol=0.06)
    np.testing.assert_allclose(share[far].mean(), np.exp(-2 * KAPPA), atol=0.06)


def test_trains_are_drawn_apart_from_preferred_orientations():
    other = TunedBranches(branches=2, k=3, trains=5)
    np.testing.assert_array_equal(other.preferred, NEURON.preferred)
    assert not np.array_equal(other.times, NEURON.times)


def test_amplification_is_what_the_pattern_switches():
    """Doubling all weights more than doubles the response, but not without the voltage."""

    @eqx.filter_jit
    def grid(params):
        patterns = jnp.array([[90.0, 1.0], [90.0, 0.0]])
        scaled = [{**params, "weight": x * params["weight"]} for x in (0.5, 1.0)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scaled)
        return jax.vmap(lambda p: jax.vmap(lambda x: NEURON.respond(p, x))(patterns))(stacked)

    (low, low_control), (high, high_control) = np.asarray(grid(middle()))
    assert low > 0
    assert high > 2.1 * low
    assert low_control < high_control < 2.0 * low_control


def test_placement_groups_by_orientation():
    placed = orientation(1).neuron.placement(
        {"weight": np.full((6, 8), 1e-4), "position": np.full((6, 8), 1.0)}
    )
    preferred = np.asarray(orientation(1).neuron.preferred).reshape(-1)
    apart = (preferred - np.array(ORIENTATIONS)[placed.group] + 90.0) % 180.0 - 90.0
    assert np.abs(apart).max() <= 11.25
    assert set(placed.sites) == {p[-1] for p in orientation(1).neuron.paths}


@pytest.mark.slow
def test_nmda_spikes_sharpen_the_tuning_after_training():
    task = orientation(0)
    result = train(task, seed=0, run=QUIET)
    neuron, control = result.responses.reshape(2, 8)
    sharp, flat = selectivity_index(ORIENTATIONS, [neuron, control])
    assert result.solved
    assert result.accuracy == 1.0
    assert result.start_margin < 0
    assert sharp > flat + 0.15
    # what of a mismatch is beyond `match` has been taken from the gain, and was left over there
    toward, without = np.asarray(task.selectivities(jnp.asarray(result.responses)))
    allowed = float(task.match) + toward - without - float(task.gain) + 1e-6
    assert abs(control.mean() / neuron.mean() - 1) <= allowed
    params = {name: jnp.asarray(value) for name, value in result.params.items()}
    np.testing.assert_allclose(evaluate(task, params)[0], result.responses, rtol=1e-6)
