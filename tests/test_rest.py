"""The steady state: that nothing moves there, its gradients, and when there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import close, tol
from jaxdend.channels import HH, SK, CaHVA, CalciumShell, Leak
from jaxdend.dynamics import vector_field


def cell_with_calcium(gca=2e-4, gl=5e-5) -> jd.Cell:
    """HH and calcium in the soma, calcium, SK and a leak of another rest in the dendrites."""
    cell = jd.Cell(jd.y_tree(), max_length=70.0)
    cell = cell.insert(HH(), np.arange(3)).insert(CaHVA(gbar=gca)).insert(SK(gbar=1e-4))
    cell = cell.insert(CalciumShell(decay=122.0, gamma=5e-3))
    return cell.insert(Leak(g=gl, e=jnp.linspace(-75.0, -60.0, cell.n)))


def largest_rate(cell: jd.Cell, state: jd.State) -> float:
    """Largest |d/dt| over every state, per ms."""

    def rates(t, y, model):
        return vector_field(t, y, model)

    given = jd.simulate(cell, t1=0.025, v0=state, record={"rates": rates})["rates"]
    first = jax.tree.map(lambda a: jnp.max(jnp.abs(a[0])), given)
    return float(jnp.max(jnp.stack(jax.tree.leaves(first))))


@pytest.mark.parametrize("make", [
    lambda: jd.Cell(jd.single_compartment(), max_length=30.0).insert(HH()),
    cell_with_calcium,
], ids=["hh", "calcium"])  # fmt: skip
def test_nothing_moves_at_rest(make):
    cell = make()
    state = jd.rest(cell)
    assert largest_rate(cell, state) < tol(1e-9, 1e-3)
    traces = jd.simulate(cell, t1=20.0, v0=state)
    assert np.ptp(traces.v, axis=0).max() < tol(1e-8, 1e-3)


def test_it_is_where_a_long_simulation_ends():
    cell = cell_with_calcium()
    state = jd.rest(cell)
    end = jd.simulate(cell, t1=8_000.0, dt=0.5, save_every=16_000, solver=jd.BackwardEuler()).final
    close(state.v, end.v, atol=tol(1e-6, 1e-3))
    for ours, theirs in zip(state.mechanisms, end.mechanisms, strict=True):
        for name in ours:
            close(ours[name], theirs[name], rtol=tol(1e-6, 2e-4), atol=1e-9)
    calcium = state.mechanisms[3]["inside"]
    assert np.all(calcium > 1e-4)  # calcium flows in


@pytest.mark.float64("differences of a loss drown in rounding in float32")
def test_its_gradient_is_implicit_and_right():
    @jax.jit
    def found(log_x):
        gca, gl = jnp.exp(log_x)
        state = jd.rest(cell_with_calcium(gca=gca, gl=gl))
        return jnp.stack([jnp.mean(state.v) + 65.0, 1e4 * state.mechanisms[3]["inside"][5]])

    x = jnp.log(jnp.array([0.05, 5e-5]))
    step = 2e-4 * jnp.eye(2)
    slopes = jnp.stack([(found(x + e) - found(x - e)) / 4e-4 for e in step], axis=1)
    close(jax.jacrev(found)(x), slopes, rtol=1e-6, atol=1e-8)


def test_vmap_finds_every_cells_own_rest():
    g = jnp.array([2e-5, 5e-5, 2e-4])
    together = jax.vmap(lambda g: jd.rest(cell_with_calcium(gl=g)).v)(g)
    alone = jnp.stack([jd.rest(cell_with_calcium(gl=each)).v for each in g])
    close(together, alone, atol=1e-8)


def test_a_passive_cell_rests_at_its_leak():
    cell = jd.Cell(jd.ball_and_stick(), max_length=50.0).insert(Leak(g=1e-4, e=-71.5))
    close(jd.rest(cell).v, -71.5, atol=1e-9)


class Pump(jd.AbstractChannel):
    """A constant current, which nothing balances."""

    def current(self, v, x, env):
        return jnp.full_like(v, 1e-3)


def test_no_rest_is_an_error():
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(Pump())
    with pytest.raises(Exception, match="no steady state found"):
        jd.rest(cell)


def test_a_rest_starts_a_simulation_with_inputs():
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(HH())
    inputs = [
        jd.Step(0, onset=1.0, duration=1.0, amplitude=0.1),
        jd.AMPA(0, weight=1e-3, times=[2.0]),
    ]
    traces = jd.simulate(cell, inputs, t1=5.0, v0=jd.rest(cell))
    close(traces.v[:40, 0], traces.v[0, 0], atol=1e-9)
    assert np.ptp(traces.v) > 1.0
    with pytest.raises(ValueError, match="2 inputs, but 1"):
        jd.simulate(cell, inputs[0], t1=5.0, v0=traces.final)
