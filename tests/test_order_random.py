"""Whatever the order of a run, its results are those of the cell's own order."""

import importlib

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings

import jaxdend as jd
from helpers import close
from jaxdend.channels import HH, CaHVA, CalciumShell, Leak
from jaxdend.order import Unchanged
from user_inputs import Relay


def random_run(seed: int, solver) -> tuple:
    """A random tree with random masks and inputs, and a recorder that looks at everything."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 9))
    parent = np.array([-1, *(rng.integers(0, i) for i in range(1, n))])
    area = rng.uniform(100.0, 900.0, n)
    area[rng.permutation(n)[: rng.integers(0, 2)]] = 0.0
    cell = jd.Cell.from_compartments(
        parent=parent, axial_resistance=rng.uniform(5.0, 300.0, n), area=area
    )
    live = np.flatnonzero(area)
    cell = cell.insert(Leak(g=jnp.asarray(rng.uniform(1e-4, 2e-4, n)), e=-65.0), live)
    for part in (HH(), CaHVA(1e-3), CalciumShell()):
        cell = cell.insert(part, rng.permutation(live)[: rng.integers(1, len(live) + 1)])
    many = int(rng.integers(2 * n, 3 * n))  # more than there are nodes: merged
    sites, few = rng.integers(-1, n, many), rng.integers(-1, n, 2)
    inputs = (
        jd.AMPA(sites, rng.uniform(1e-5, 1e-3, many), rng.uniform(-1.0, 3.0, (many, 2))),
        jd.ExpSyn(few, 1e-3, rng.uniform(0.0, 3.0, (2, 2)), tau=jnp.array([1.0, 2.0])),
        jd.NMDA(rng.integers(-1, n, many), 1e-4, rng.uniform(0.0, 3.0, (many, 1))),
        Relay(jnp.asarray(rng.integers(0, n, 1)), jnp.array(0.3), jnp.array(1.0)),
        jd.Step(few, 0.5, 1.0, 0.05),
    )
    traces = jd.simulate(
        cell, inputs, t1=2.0, save_every=16, solver=solver, record=lambda t, y, model: y
    )
    return traces["values"], traces.final


@pytest.mark.parametrize(
    "solver",
    [jd.CrankNicolson(), pytest.param(jd.BackwardEuler(), marks=pytest.mark.slow)],
    ids=["CN", "BE"],
)
@settings(max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate])
@given(seed=st.integers(0, 1000))
def test_a_run_in_any_order_is_the_run_of_the_cell(seed, solver):
    """Voltages, gates, concentrations, single synapses: each where the cell has it."""
    module = importlib.import_module("jaxdend._run")

    def in_place(model, start, rounded):
        begun = (None,) * len(model.placed)
        return module.Order(model, Unchanged(), begun, model.h, rounded)

    ours = random_run(seed, solver)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "elimination_order", in_place)
        jax.clear_caches()
        theirs = random_run(seed, solver)
    jax.clear_caches()
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        close(a, b, rtol=1e-9, atol=1e-11)
