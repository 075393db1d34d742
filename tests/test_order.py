"""The order in which a model runs: where nodes stand, what is carried as one, and the way back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import close
from jaxdend.channels import HH, Leak
from jaxdend.dynamics import build_model
from jaxdend.order import Layout, TracedLayout, elimination_order, layout


@pytest.fixture(scope="module")
def cell():
    cell = jd.Cell(jd.pyramidal(seed=3), max_length=60.0, ra=150.0)
    cell = cell.insert(Leak(g=jnp.linspace(1e-4, 2e-4, cell.n), e=-65.0))
    near = np.asarray(cell.distance) < 200.0
    return cell.insert(HH(gnabar=jnp.linspace(0.1, 0.2, cell.n)), where=near)


def model_of(cell):
    grid = jnp.arange(3) * 0.025
    return build_model(cell, (), start=grid[0], h=grid[1])


def order_of(model):
    return elimination_order(model, model.initial(-65.0, True), True)


@pytest.fixture(scope="module")
def model(cell):
    return model_of(cell)


@pytest.fixture(scope="module")
def traced(cell):
    """The model of the cell as one of a stack, padded."""
    stacked = jd.stack([cell], nodes=cell.tree.n + 3)
    return model_of(jax.tree.map(lambda leaf: leaf[0], stacked))


def test_children_come_before_their_parents(model):
    parent = order_of(model).model.tree.parent
    assert np.all(parent[:-1] > np.arange(len(parent) - 1))
    assert parent[-1] == -1


@pytest.mark.parametrize("kind", ["model", "traced"])
def test_the_matrix_is_the_same_one(kind, request):
    model = request.getfixturevalue(kind)
    order = order_of(model)
    assert isinstance(order.seating, Layout if kind == "model" else TracedLayout)
    moved, at = order.model, np.asarray(order.seating.position)
    assert moved.tree.plan("sequential").ordered
    own, again = (m.matrix(m.axial + m.capacitance) for m in (model, moved))
    np.testing.assert_array_equal(again.to_dense()[np.ix_(at, at)], own.to_dense())
    b = jnp.sin(jnp.arange(float(len(at))))
    close(again.solve(b[np.argsort(at)])[at], own.solve(b), rtol=1e-11)


@pytest.mark.parametrize("kind", ["model", "traced"])
def test_a_state_goes_there_and_back(kind, request):
    model = request.getfixturevalue(kind)
    order = order_of(model)
    state = model.initial(jnp.linspace(-70.0, -60.0, model.n), True)
    back = order.undo(model.start, order.do(state))
    jax.tree.map(np.testing.assert_array_equal, back, state)


def test_a_traced_tree_takes_its_mechanisms_along(traced):
    order = order_of(traced)
    moved, at = order.model, np.asarray(order.seating.position)
    assert not np.array_equal(at, np.arange(traced.n))
    pairs = zip(jax.tree.leaves(traced.inserted), jax.tree.leaves(moved.inserted), strict=True)
    for before, after in pairs:
        np.testing.assert_array_equal(after[at] if after.ndim else after, before)
    np.testing.assert_array_equal(moved.membrane.inside[at], traced.membrane.inside)


def test_mechanisms_work_on_few_slices_with_their_own_parameters(model):
    order = order_of(model)
    seating = order.seating
    for item, moved, seat in zip(model.inserted, order.model.inserted, seating.seats, strict=True):
        assert moved.at.runs is not None
        own = seating.order[seat.at.index]
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
    close(v, jd.simulate(dense, step, t1=5.0, record=[3, 40]).v, atol=1e-10)
