"""Order of convergence against diffrax on the same vector field."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import approx, tol
from jaxdend.channels import HH, Leak

END = 8.0
STEPS = [0.05, 0.01]  # an event keeps its place, a quarter, within the step
ORDERS = [(jd.BackwardEuler(round_events=False), 1), (jd.CrankNicolson(), 2)]


def small_cell(end_nodes: bool) -> jd.Cell:
    cell = jd.Cell(jd.ball_and_stick(), max_length=101.0, end_nodes=end_nodes)
    return cell.insert(HH(), "soma").insert(Leak(g=1e-4, e=-65.0), "basal")


def inputs(cell: jd.Cell, kind: str):
    """A step on the grid of every dt; or a synapse that gets events off every grid."""
    if kind == "step":
        return [jd.Step(0, onset=1.0, duration=3.0, amplitude=0.5)]
    site = cell.locate(section="dend[0]", x=1.0)
    return [jd.AMPA(site, weight=0.02, times=[1.0125, 3.3125], tau1=0.5, tau2=3.0)]


def reference(cell: jd.Cell, given, kind: str):
    """Tight adaptive Runge-Kutta that steps exactly to every kink, on the coarsest dt's grid."""
    jumps = [1.0, 4.0] if kind == "step" else [1.0125, 3.3125]
    control = diffrax.ClipStepSizeController(
        diffrax.PIDController(rtol=1e-9, atol=1e-9), jump_ts=jnp.array(jumps)
    )
    traces = jd.simulate(
        cell,
        given,
        t1=END,
        dt=STEPS[0],
        solver=diffrax.Tsit5(),
        controller=control,
        max_steps=20_000,
        adjoint=diffrax.ForwardMode(),
    )
    return np.asarray(traces.v)


@pytest.mark.parametrize("end_nodes", [False, True], ids=["", "end_nodes"])
@pytest.mark.parametrize("kind", ["step", "synapse"])
@pytest.mark.float64("in float32 rounding hides the order of the method")
def test_the_schemes_converge_at_their_order(kind, end_nodes):
    cell = small_cell(end_nodes)
    given = inputs(cell, kind)
    exact = reference(cell, given, kind)
    assert exact[:, 0].max() > 10.0  # it spikes
    for solver, order in ORDERS:
        errors = []
        for dt in STEPS:
            every = round(STEPS[0] / dt)
            traces = jd.simulate(cell, given, t1=END, dt=dt, solver=solver, save_every=every)
            errors.append(np.sqrt(np.mean((np.asarray(traces.v) - exact) ** 2)))
        slope = np.log(errors[0] / errors[1]) / np.log(STEPS[0] / STEPS[1])
        print("ORDERS", kind, end_nodes, order, slope, errors)
        assert slope == approx(order, abs=0.15)


def test_a_step_into_a_node_without_capacitance_does_not_ring():
    cell = jd.Cell(jd.ball_and_stick(), max_length=101.0, end_nodes=True)
    cell = cell.insert(Leak(g=1e-4, e=-65.0))
    site = cell.locate(section="dend[0]", x=1.0)
    step = jd.Step(site, onset=1.0, duration=5.0, amplitude=0.1)
    v = np.asarray(jd.simulate(cell, step, t1=5.0, record=[site]).v)[:, 0]
    assert np.all(np.diff(v) >= -tol(1e-9, 1e-4))
    assert v[-1] > -60.0
