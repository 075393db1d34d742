"""The door through which `diffrax.diffeqsolve` enters the loop over fixed steps."""

import dataclasses

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffrax._integrate import SaveState, State as LoopState

import jaxdend as jd
from helpers import close
from jaxdend.channels import HH
from jaxdend.dynamics import build_model, by_step, vector_field
from jaxdend.solvers.stepwise import Stepwise

DT, STEPS = 0.05, 80


@pytest.fixture(scope="module")
def model():
    cell = jd.Cell(jd.ball_and_stick(15.0, 200.0, 1.0), max_length=70.0).insert(HH())
    inputs = (
        jd.Step(0, 0.5, 2.0, 0.3),
        jd.ExpSyn([1, 2], 1e-3, [[0.8, 2.51], [1.3, jnp.inf]], tau=1.0),
    )
    grid = jnp.arange(STEPS + 1) * DT
    model = build_model(cell, inputs, start=grid[0], h=jnp.asarray(DT))
    return by_step(model, grid, False, (None, None))


def solve(model, adjoint, *, first=0, last=STEPS, y0=None, saveat=None, **options):
    y0 = model.initial(jnp.asarray(-65.0), False, True) if y0 is None else y0
    ts = jnp.arange(first, last + 1) * DT
    return diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        jd.CrankNicolson(),
        ts[0],
        ts[-1],
        None,
        y0,
        model,
        saveat=diffrax.SaveAt(t0=True, steps=True) if saveat is None else saveat,
        stepsize_controller=diffrax.StepTo(ts),
        adjoint=adjoint,
        max_steps=last - first,
        throw=False,
        **options,
    )


def test_diffrax_has_the_fields_that_are_used_by_name():
    fields = {f.name for f in dataclasses.fields(LoopState)}
    assert fields >= {
        "y", "tprev", "tnext", "solver_state", "result", "num_steps", "num_accepted_steps",
        "save_state", "progress_meter_state",
    }  # fmt: skip
    assert {"ts", "ys", "save_index"} <= {f.name for f in dataclasses.fields(SaveState)}


def test_it_takes_the_steps_of_diffrax(model):
    ours, theirs = (
        solve(model, adjoint) for adjoint in (Stepwise(), diffrax.RecursiveCheckpointAdjoint())
    )
    close(ours.ts, theirs.ts, atol=1e-12)
    close(ours.ys.v, theirs.ys.v, atol=1e-10)
    assert float(jnp.ptp(ours.ys.v)) > 20.0
    for name in ("num_steps", "num_accepted_steps", "num_rejected_steps"):
        assert int(ours.stats[name]) == int(theirs.stats[name])
    assert ours.result == diffrax.RESULTS.successful


def test_a_run_that_goes_on_delivers_the_events_of_its_own_steps(model):
    whole = solve(model, Stepwise())
    half = jax.tree.map(lambda a: a[STEPS // 2], whole.ys)
    rest = solve(model, Stepwise(), first=STEPS // 2, y0=half)
    close(rest.ys.v, whole.ys.v[STEPS // 2 :], atol=1e-10)


def test_what_it_does_not_do_is_left_to_diffrax(model):
    whole = solve(model, Stepwise())
    times = jnp.asarray([0.31, 1.0, 3.99])
    some = solve(model, Stepwise(), saveat=diffrax.SaveAt(ts=times))
    expected = np.stack([np.interp(times, whole.ts, v) for v in np.asarray(whole.ys.v).T], 1)
    close(some.ys.v, expected, atol=1e-9)
    event = diffrax.Event(lambda t, y, args, **_: t > 1.0)
    cut = solve(model, Stepwise(), event=event)
    assert cut.result == diffrax.RESULTS.event_occurred
    assert int(cut.stats["num_steps"]) < STEPS


def test_gradients_are_those_of_diffrax(model):
    def loss(amplitude, adjoint):
        other = eqx.tree_at(lambda m: m.placed[0].input.amplitude, model, amplitude)
        return jnp.mean(solve(other, adjoint).ys.v)

    ours, theirs = (
        jax.grad(loss)(jnp.asarray(0.3), adjoint)
        for adjoint in (Stepwise(), diffrax.RecursiveCheckpointAdjoint())
    )
    assert abs(float(theirs)) > 1.0
    close(ours, theirs, rtol=1e-9)
