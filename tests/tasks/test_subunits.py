"""Positive functions with one dendritic subunit; feature binding with conductances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import evaluate, make_task, train, truth_table
from jaxdend.tasks.subunits import answers, patterns, positive_classes, solve
from running import QUIET

BINDINGS = ("BINDING", "BINDING2", "BINDING3")


@pytest.mark.parametrize(("n", "classes"), [(1, 1), (2, 2), (3, 5), (4, 20)])
def test_classes_of_positive_functions(n, classes):
    tables = positive_classes(n)
    assert len(tables) == classes
    rows = patterns(n)
    below = (rows[:, None] <= rows[None]).all(axis=-1)
    for table in tables:
        assert np.all(table[None, :] | ~table[:, None] | ~below)  # more inputs, never less answer


@pytest.mark.parametrize("kind", ["saturating", "spiking"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_one_subunit_computes_every_positive_function(n, kind):
    for table in positive_classes(n):
        solution = solve(table, kind)
        assert solution is not None
        np.testing.assert_array_equal(answers(solution, kind), table)
        assert min(solution.linear + solution.subunit) >= 0


@pytest.mark.parametrize(("n", "separable"), [(2, 2), (3, 5), (4, 17)])
def test_linear_separability(n, separable):
    assert sum(solve(table, "linear") is not None for table in positive_classes(n)) == separable


@pytest.mark.parametrize("name", BINDINGS)
def test_the_three_that_are_not_linearly_separable(name):
    _, table = truth_table(name)
    assert solve(table, "linear") is None
    for kind in ("saturating", "spiking"):
        np.testing.assert_array_equal(answers(solve(table, kind), kind), table)


def test_parity_and_negation_are_out_of_reach():
    assert solve([0, 1, 1, 0], "saturating") is None
    assert solve([1, 0], "spiking") is None
    assert solve([1, 1, 1, 1], "linear").threshold < 0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: positive_classes(5), "1 to 4"),
        (lambda: solve([0, 1, 1], "spiking"), "2 to 16"),
        (lambda: solve([0, 1], "cubic"), "saturating"),
    ],
)
def test_refusals(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.fixture(scope="module")
def task():
    return make_task("binding")


def test_scattered_synapses_fire_and_clustered_do_not(task):
    """Two synapses of equal weight, one on each dendrite or both on one."""
    weights = jnp.array([1.3e-3, 1.6e-3, 2e-3])

    def peak(weight, first, second):
        given = jnp.zeros((2, 4)).at[first, 0].set(weight).at[second, 1].add(weight)
        pattern = jnp.array([1.0, 1.0, 0.0, 0.0])
        return task.neuron.respond({"weight": given, "leak": jnp.asarray(3e-3)}, pattern)

    peaks = jax.vmap(peak, (0, None, None))
    scattered, left, right = (
        np.asarray(peaks(weights, *pair)) for pair in ((0, 1), (0, 0), (1, 1))
    )
    assert np.all(scattered > 20.0)
    assert np.all(left < -50.0)
    np.testing.assert_allclose(left, right, atol=0.05)


def test_binding_by_scattering(task):
    """x1 on one dendrite, x4 on the other, half of x2 and x3 on each: all sixteen patterns right.

    The same synapses on the other two diagonals bind the wrong pairs.
    """
    weight = 1e-3 * jnp.array([[2.0, 1.0, 1.0, 0.01], [0.01, 1.0, 1.0, 2.0]])
    leak = jnp.asarray(4e-3)
    responses, score = evaluate(task, {"weight": weight, "leak": leak})
    assert bool(score.solved)
    assert float(score.accuracy) == 1.0
    assert responses.shape == (16,)
    swapped = weight[:, jnp.array([0, 3, 2, 1])]
    assert float(evaluate(task, {"weight": swapped, "leak": leak})[1].accuracy) < 1.0


def test_figures_have_their_material(task):
    params = task.neuron.space.to_dict(jnp.zeros(task.neuron.space.size))
    ts, v = task.neuron.trace(params, task.patterns[9])
    assert ts.shape == v.shape
    placement = task.neuron.placement(params)
    assert placement.sites.shape == placement.group.shape == placement.weight.shape == (8,)
    assert set(placement.sites) == set(task.neuron.tips)


@pytest.mark.slow
def test_training_binds(task):
    result = train(task, seed=0, run=QUIET)
    assert result.solved
    assert result.start_margin < 0.0
