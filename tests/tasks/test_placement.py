import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.cell import Cell
from jaxdend.morphology import ball_and_stick, y_tree
from jaxdend.tasks import along, choose, path
from jaxdend.tasks.placement import fan, nearest


def test_path_from_the_root_to_a_tip():
    cell = Cell(y_tree(), max_length=20.0)
    tips = np.setdiff1d(np.arange(cell.n), cell.parent)
    for tip in tips:
        sites = path(cell, int(tip))
        assert sites[-1] == tip
        assert cell.parent[sites[0]] == -1
        np.testing.assert_array_equal(cell.parent[sites[1:]], sites[:-1])


def test_path_from_a_start():
    cell = Cell(ball_and_stick(20.0, 200.0, 2.0), max_length=20.0)
    tip = int(np.argmax(cell.distance))
    whole = path(cell, tip)
    np.testing.assert_array_equal(path(cell, tip, int(whole[3])), whole[3:])
    with pytest.raises(ValueError, match="is not between the root and"):
        path(cell, int(whole[2]), tip)


def test_along_shares_a_synapse_between_its_neighbours():
    sites, shares = along([7, 3, 9], jnp.array([0.0, 0.25, 0.5, 0.9, 1.0]))
    np.testing.assert_allclose(shares.sum(axis=-1), 1.0)
    index = {7: 0.0, 3: 0.5, 9: 1.0}
    place = np.vectorize(index.get)(np.asarray(sites))
    np.testing.assert_allclose((place * shares).sum(axis=-1), [0.0, 0.25, 0.5, 0.9, 1.0])
    outside = along([7, 3, 9], jnp.array([-1.0, 2.0]))
    inside = along([7, 3, 9], jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(outside[1], inside[1])


def test_the_nearest_compartment_has_the_larger_share():
    position = np.linspace(-0.1, 1.1, 50).reshape(5, 10)
    sites, shares = map(np.asarray, along([7, 3, 9], jnp.asarray(position)))
    larger = np.where(shares[..., 1] > 0.5, sites[..., 1], sites[..., 0])
    np.testing.assert_array_equal(nearest([7, 3, 9], position), larger)


def test_a_fan_of_branches():
    cell, paths = fan(3, soma=12.0, length=90.0, diameter=0.5)
    assert cell.section_names == ("soma[0]", "dend[0]", "dend[1]", "dend[2]")
    assert sorted(s for p in paths for s in p) == list(range(1, cell.n))
    for sites in paths:
        assert cell.parent[sites[0]] == 0
        np.testing.assert_array_equal(cell.parent[list(sites[1:])], sites[:-1])


def test_along_has_the_gradient_of_a_line():
    height = jnp.array([0.0, 2.0, 3.0])

    def at(position):
        sites, shares = along([0, 1, 2], position)
        return jnp.sum(height[sites] * shares)

    assert float(jax.grad(at)(0.2)) == pytest.approx(4.0)
    assert float(jax.grad(at)(0.8)) == pytest.approx(2.0)
    assert float(at(0.5 - 1e-9)) == pytest.approx(float(at(0.5 + 1e-9)), abs=1e-7)


@pytest.mark.parametrize("sites", [[3], [[1, 2], [3, 4]]])
def test_along_needs_a_path(sites):
    with pytest.raises(ValueError, match="two compartments or more"):
        along(sites, jnp.zeros(2))


def test_choose():
    score = jnp.array([[0.0, 1.0, 3.0], [2.0, 2.5, 0.0]])
    soft = choose(score)
    np.testing.assert_allclose(soft.sum(axis=-1), 1.0)
    np.testing.assert_allclose(choose(score, 1e-3), [[0, 0, 1], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(choose(score, hard=True), [[0, 0, 1], [0, 1, 0]], atol=1e-12)
    value = jnp.array([1.0, 2.0, 5.0])
    hard, smooth = (
        jax.grad(lambda s, h=h: jnp.sum(choose(s, hard=h) * value))(score) for h in (True, False)
    )
    np.testing.assert_allclose(hard, smooth)
