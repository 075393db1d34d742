"""XOR at a spiking soma: by hand, without what it needs, and trained."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import evaluate, judged, make_task, train
from jaxdend.tasks.spikes import spike_count
from jaxdend.tasks.xor import MOST_MEAN, SpikingDendrite, SpikingPoint, logic_of_trains
from running import QUIET

KEYS = jax.random.split(jax.random.key(77), 3)
FOUND = {  # by training with seed 1, in float32
    "dcaap": {
        "weight": [7.14e-4, 7.47e-4],
        "nmda": 1.296,
        "position": 0.885,
        "ra": 312.0,
        "gl": 2.12e-4,
        "w": 0.899,
    },
}


@pytest.fixture(scope="module")
def task():
    return make_task("xor_dcaap")


@pytest.fixture(scope="module")
def params():
    return {name: jnp.asarray(value) for name, value in FOUND["dcaap"].items()}


def counts(task, params):
    return np.asarray(eqx.filter_jit(jax.vmap(lambda k: task.responses(params, k)))(KEYS))


@pytest.fixture(scope="module")
def found(task, params):
    return counts(task, params)


def test_one_input_fires_the_soma_more_than_both_in_every_draw(task, found):
    silent, y, x, both = found.T
    assert np.all(silent == 0)
    assert np.all(np.minimum(x, y) > both)
    right, margins = judged(task.decide(found), found)
    assert np.all(right)
    assert np.all(margins > 0)


def test_without_its_dcaap_it_is_not_xor(task, params, found):
    removed = counts(task, params | {"w": jnp.asarray(1e-9)})
    assert not np.any(judged(task.decide(found), removed)[0])


def test_it_holds_at_half_the_step(task, params, found):
    other = logic_of_trains("XOR", SpikingDendrite(dt=0.05))
    responses = counts(other, params)
    assert np.all(judged(task.decide(found), responses)[0])
    np.testing.assert_allclose(responses, found, atol=1.0)


def test_a_soma_in_depolarisation_block_is_wrong():
    """Two strong inputs silence a soma for good; that is no answer."""
    neuron = SpikingPoint()
    task = logic_of_trains("XOR", neuron)
    strong = {"weight": jnp.full(2, 0.2), "nmda": jnp.asarray(1.0), "gl": jnp.asarray(1e-4)}
    drawn = task.draw(KEYS[0])
    _, v = neuron.trace(strong, drawn[3])
    assert float(jnp.mean(v)) > MOST_MEAN
    assert np.isnan(float(neuron.respond(strong, drawn[3])))
    fixed = eqx.tree_at(lambda t: t.threshold, task, jnp.asarray(1.0), is_leaf=lambda x: x is None)
    assert not bool(fixed.score(jnp.array([0.0, 5.0, 5.0, jnp.nan])).accuracy == 1.0)


def test_gradient_reaches_every_parameter(task, params):
    drawn = task.draw(KEYS[0])[3]
    short = jnp.where(drawn < 60.0, drawn, jnp.inf)
    gradient = jax.jit(jax.grad(lambda p: task.neuron.respond(p, short)))(params)
    for name, g in gradient.items():
        assert np.all(np.isfinite(g)), name
        assert np.any(np.asarray(g) != 0.0), name


def test_spikes_are_upward_crossings_and_have_a_gradient():
    t = jnp.arange(0.0, 20.0, 0.1)
    v = -70.0 + 90.0 * jnp.exp(-(((t[:, None] - jnp.array([5.0, 12.0])) / 0.3) ** 2)).sum(axis=1)
    count, slope = jax.value_and_grad(spike_count)(v, 0.1)
    assert count == 2.0
    assert np.all(np.isfinite(slope))
    assert np.abs(slope).max() > 0


def test_an_unknown_dendrite_is_refused():
    with pytest.raises(ValueError, match="'dcaap', 'channels', 'passive'"):
        SpikingDendrite("calcium")


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["xor_dcaap", "xor_channels", "xor_nmda"])
@pytest.mark.parametrize("seed", range(1, 6))
def test_training_holds_on_draws_it_never_saw(name, seed):
    result = train(make_task(name), seed=seed, run=QUIET)
    assert result.right >= 20
    assert len(result.draws) == 24


@pytest.mark.nightly
def test_training_finds_it_and_tells_how_often_it_is_right():
    task = make_task("xor_nmda")
    few = dataclasses.replace(task.training, configs=256, starts=2, steps=2, validation=8)
    result = train(task, seed=1, training=few, run=QUIET)
    assert result.right >= 12
    low, high = result.interval
    assert low < result.right / 24 <= high
    again, _ = evaluate(result.task_of(task), result.params, KEYS[0])
    assert np.all(np.isfinite(again))
