"""The order in which nodes stand while a model runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import HH, Leak
from jaxdend.dynamics import build_model
from jaxdend.layout import Layout, arrangement, layout


@pytest.fixture(scope="module")
def cell():
    cell = jd.Cell(jd.pyramidal(seed=3), max_length=60.0, ra=150.0)
    cell = cell.insert(Leak(g=jnp.linspace(1e-4, 2e-4, cell.n), e=-65.0))
    near = np.asarray(cell.distance) < 200.0
    return cell.insert(HH(gnabar=jnp.linspace(0.1, 0.2, cell.n)), where=near)


@pytest.fixture(scope="module")
def model(cell):
    grid = jnp.arange(3) * 0.025
    return build_model(cell, (), grid=grid, h=grid[1], rounded=True, widths=())


def test_children_come_before_their_parents(model):
    parent = arrangement(model).tree.parent
    assert np.all(parent[:-1] > np.arange(len(parent) - 1))
    assert parent[-1] == -1


def test_the_matrix_is_the_same_one(model):
    order = arrangement(model)
    assert isinstance(order, Layout)
    dense = np.asarray(model.matrix(model.axial + model.capacitance).to_dense())
    moved = order.model(model)
    again = np.asarray(moved.matrix(moved.axial + moved.capacitance).to_dense())
    np.testing.assert_array_equal(again, dense[np.ix_(order.order, order.order)])


def test_a_state_goes_there_and_back(model):
    order = arrangement(model)
    state = model.initial(jnp.linspace(-70.0, -60.0, model.n), True)
    back = order.presented(order.arranged(state))
    jax.tree.map(np.testing.assert_array_equal, back, state)


def test_mechanisms_work_on_few_slices_with_their_own_parameters(model):
    order = arrangement(model)
    for item, moved, seat in zip(
        model.inserted, order.model(model).inserted, order.seats, strict=True
    ):
        assert moved.at.runs is not None
        own = order.order[seat.at.index]
        for before, after in zip(
            jax.tree.leaves(item.mechanism), jax.tree.leaves(moved.mechanism), strict=True
        ):
            if before.ndim:
                assert after.shape == (len(seat.at),)
                np.testing.assert_array_equal(after[seat.own], before)
        extra = np.setdiff1d(own, item.at.index)  # only nodes without membrane may join in
        assert not np.isin(extra, model.membrane.index).any()


def test_equal_cells_share_a_layout(cell, model):
    where = tuple(item.at for item in cell.inserted)
    again = tuple(type(at)(at.index.copy()) for at in where)
    assert layout(model.tree, model.membrane, where) is layout(model.tree, model.membrane, again)


def test_scattered_mechanisms_are_gathered():
    parent = np.arange(60) - 1
    every_other = np.arange(60) % 2 == 0
    cell = jd.Cell.from_compartments(
        parent=parent, axial_resistance=np.full(60, 5.0), area=np.full(60, 100.0)
    )
    plain = cell.insert(Leak(g=1e-4, e=-65.0)).insert(HH(), where=every_other)
    step = jd.Step(site=3, onset=1.0, duration=5.0, amplitude=0.1)
    v = jd.simulate(plain, step, t1=5.0, record=[3, 40]).v
    zero = HH(gnabar=np.where(every_other, 0.12, 0.0), gkbar=np.where(every_other, 0.036, 0.0),
              gl=np.where(every_other, 0.0003, 0.0))  # fmt: skip
    dense = cell.insert(Leak(g=1e-4, e=-65.0)).insert(zero)
    np.testing.assert_allclose(v, jd.simulate(dense, step, t1=5.0, record=[3, 40]).v, atol=1e-10)
