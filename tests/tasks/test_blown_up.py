"""A simulation that blew up is a wrong answer in every task, never silence."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.mechanisms.base import AbstractChannel, param
from jaxdend.tasks import Training, evaluate, held_out, make_task, screen, train
from jaxdend.tasks.judge import robustness
from jaxdend.tasks.thin_branches import place, random_branches, responses, thin_branches
from jaxdend.tasks.two_layer import TwoLayer, cross_validate
from running import QUIET

# one of every neuron that is simulated
FAMILIES = (
    "xor_dcaap", "nand", "xor_sublinear", "order", "rall", "integration_window", "bac_window",
    "clustering", "orientation", "binding", "xor_lif", "xor_passive",
)  # fmt: skip
KINDS = (-1.0, 0.0, np.exp(1.0), np.exp(-1.0))  # NaN, infinite, far up and far down


class Spoils(AbstractChannel):
    """`1e6 log(kind)` mA/cm² through all of the membrane."""

    kind: jax.Array = param(1.0, unit="1")

    def current(self, v, x, env):
        return 1e6 * jnp.log(self.kind) + 0.0 * v


def spoilt(task, kind):
    cell = task.neuron.cell.insert(Spoils(kind))
    return eqx.tree_at(lambda t: t.neuron.cell, task, cell)


def with_threshold(task):
    if getattr(task, "threshold", 0.0) is not None:
        return task
    return eqx.tree_at(lambda t: t.threshold, task, jnp.asarray(1.0), is_leaf=lambda x: x is None)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_wrong_whatever_was_asked(name):
    task = make_task(name)
    space = task.neuron.space
    params = space.to_dict(jnp.zeros(space.size))
    key = jax.random.key(0) if task.random else None
    for kind in KINDS:
        found, score = evaluate(with_threshold(spoilt(task, kind)), params, key)
        assert np.isnan(found).all()
        assert float(score.accuracy) == 0.0
        assert not score.solved
        assert not score.margin >= -np.inf


def test_neither_screening_nor_noise_takes_it_for_an_answer():
    task = spoilt(make_task("xor_lif"), KINDS[3])
    vectors = task.neuron.space.sample(0, 3)
    assert np.isnan(screen(task, vectors, held_out(task, 0, 2))).all()
    right, _ = robustness(
        with_threshold(task), task.neuron.space.to_dict(vectors[0]), repeats=3, batch=3
    )
    assert right == 0.0
    with pytest.raises(ValueError, match="none of 3 random configurations has a finite loss"):
        train(task, training=Training(configs=3, starts=1, steps=1, draws=1), run=QUIET)


def test_rates_of_it_are_refused():
    cell = thin_branches()
    placed = place(cell, random_branches([5, 5], 0, most=5))
    found = responses(cell.insert(Spoils(KINDS[3])), placed, t1=110.0)
    assert np.isnan(found.rate).all()
    assert np.isnan(found.depolarisation).all()
    rates = np.where(np.arange(20) == 7, np.nan, 5.0)
    counts = np.random.default_rng(0).integers(0, 9, (20, 3))
    for fit in (TwoLayer, lambda n, y: cross_validate("count", n, y)):
        with pytest.raises(ValueError, match=r"1 of 20 are not, the first is rates\[7\] = nan"):
            fit(counts, rates)
