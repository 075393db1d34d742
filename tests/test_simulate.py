"""`simulate`: what it records, how it continues, and what it says when something is wrong."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import approx, close, tol
from jaxdend.channels import HH, LIF, DCaAP, Leak
from jaxdend.mechanisms.base import AbstractChannel

SOLVERS = [jd.CrankNicolson(), jd.BackwardEuler()]


class Jump(AbstractChannel):
    """Nothing but a reset of the voltage."""

    def current(self, v, x, env):
        return jnp.zeros_like(v)

    def reset(self, v, x, env, t):
        return jnp.where(v > 0.0, -60.0, v)


@pytest.fixture(scope="module")
def cell() -> jd.Cell:
    cell = jd.Cell(jd.ball_and_stick(dendrite_length=200.0), ncomp=lambda x: 3 if x > 100 else 1)
    return cell.insert(HH(), "soma").insert(Leak(g=1e-4, e=-65.0), "dendrite")


@pytest.fixture(scope="module")
def spiking(cell) -> jd.Traces:
    return jd.simulate(cell, jd.Step(0, 1.0, 20.0, 0.5), t1=20.0, dt=0.05)


# --- recordings -------------------------------------------------------------------------------


def test_the_default_records_every_compartment(cell, spiking):
    assert spiking.ts.shape == (401,)
    assert spiking.v.shape == (401, cell.n)
    np.testing.assert_array_equal(spiking.sites, np.arange(cell.n))
    close(spiking.ts, 0.05 * np.arange(401), atol=1e-12)
    assert spiking.values == {}
    np.testing.assert_array_equal(spiking.final.v[: cell.n], spiking.v[-1])


def test_ints_arrays_dicts_and_functions(cell, spiking):
    stimulus = jd.Step(0, 1.0, 20.0, 0.5)

    def run(record, **options):
        return jd.simulate(cell, stimulus, t1=5.0, dt=0.05, record=record, **options)

    v = np.asarray(spiking.v[:101])
    near = {"rtol": 0, "atol": 1e-9}
    close(run(2).v, v[:, [2]], **near)
    close(run(np.array([3, 0])).v, v[:, [3, 0]], **near)
    close(run(cell.region("dendrite")).v, v[:, 1:], **near)
    named = run({"soma": 0, "tips": [2, 3], "mean": lambda t, y, args: jnp.mean(y.v[: args.n])})
    close(named["soma"], v[:, 0], **near)
    close(named["tips"], v[:, 2:], **near)
    close(named["mean"], v.mean(axis=1), **near)
    np.testing.assert_array_equal(named.sites, [0, 2, 3])
    close(named.v, v[:, [0, 2, 3]], **near)
    with pytest.raises(KeyError, match="no recording 'axon'; there are .*soma"):
        named["axon"]
    alone = run(lambda t, y, args: t)
    assert alone.v is None
    close(alone["values"], spiking.ts[:101], atol=1e-9)
    every = run(0, save_every=20)
    close(every.ts, np.arange(6.0), atol=1e-12)
    close(every.v[:, 0], v[::20, 0], **near)


# --- time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS, ids=["CN", "BE"])
def test_going_on_from_the_final_state_equals_one_run(cell, solver):
    inputs = [
        jd.Step(0, 1.0, 3.0, 0.3),
        jd.Exp2Syn([1, 3], 0.002, [[0.51, 1.99, 2.61], [1.3, 2.0, jnp.inf]], tau1=0.5, tau2=3.0),
    ]
    options = {"dt": 0.05, "solver": solver}
    whole = jd.simulate(cell, inputs, t1=4.0, **options)
    first = jd.simulate(cell, inputs, t1=2.0, **options)
    second = jd.simulate(cell, inputs, t0=2.0, t1=4.0, v0=first.final, **options)
    close(second.ts, whole.ts[40:], atol=1e-9)
    close(second.v, whole.v[40:], rtol=0, atol=1e-9)


@pytest.mark.float64("in float32 rounding hides the order of the method")
def test_a_solver_of_diffrax_gives_the_same_trace(cell):
    stimulus = jd.Step(0, 0.5, 2.0, 0.05)
    options = {"t1": 3.0, "record": [0, 3]}
    reference = jd.simulate(
        cell,
        stimulus,
        dt=0.05,
        solver=diffrax.Tsit5(),
        controller=diffrax.PIDController(rtol=1e-9, atol=1e-9, jump_ts=[0.5, 2.5]),
        max_steps=20000,
        **options,
    )
    errors = [
        float(np.max(np.abs(jd.simulate(cell, stimulus, dt=dt, **options).v[::k] - reference.v)))
        for dt, k in ((0.05, 1), (0.0125, 4))
    ]
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] > 12.0  # second order


def test_progress_runs(cell):
    traces = jd.simulate(cell, t1=0.1, dt=0.05, progress=True)
    assert np.all(np.isfinite(traces.v))


def test_rest_holds_still(cell):
    v = jd.simulate(cell, t1=5.0, dt=0.05, v0=jd.rest(cell)).v
    assert float(jnp.max(jnp.abs(v - v[:1]))) < 1e-6


# --- spikes -----------------------------------------------------------------------------------


def test_spike_times(spiking):
    times = np.asarray(jd.spike_times(spiking))
    v, ts = np.asarray(spiking.v[:, 0]), np.asarray(spiking.ts)
    assert len(times) == np.sum((v[:-1] < 0) & (v[1:] >= 0)) >= 2
    close(np.interp(times, ts, v), 0.0, atol=tol(1e-9, 1e-4))
    padded = jax.jit(jd.spike_times)(spiking)
    assert padded.shape == (64,)
    close(padded[: len(times)], times, rtol=1e-12)
    assert np.all(np.isinf(padded[len(times) :]))
    assert jd.spike_times(spiking, max_spikes=1).shape == (1,)
    assert jd.spike_times(spiking, threshold=90.0).shape == (0,)


@pytest.mark.float64("differences of values drown in rounding in float32")
def test_the_first_spike_time_has_a_gradient(cell):
    @jax.jit
    def first(amplitude):
        traces = jd.simulate(cell, jd.Step(0, 0.5, 9.0, amplitude), t1=5.0, dt=0.05, record=0)
        return jd.spike_times(traces, max_spikes=3)[0]

    slope = jax.grad(first)(0.5)
    h = 1e-5
    assert slope < 0
    close(slope, (first(0.5 + h) - first(0.5 - h)) / (2 * h), rtol=1e-6)


def test_spike_times_say_what_they_need(spiking):
    with pytest.raises(ValueError, match="needs recorded sites"):
        jd.spike_times(eqx.tree_at(lambda t: t.v, spiking, None))
    with pytest.raises(ValueError, match="vmap it"):
        jd.spike_times(eqx.tree_at(lambda t: t.v, spiking, spiking.v[None]))


# --- errors -----------------------------------------------------------------------------------

STEP = jd.Step(0, 0.0, 1.0, 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": jd.Step(99, 0.0, 1.0, 0.1)}, r"Step \(inputs\[0\]\) has site 99.*0\.\.3"),
        ({"inputs": [STEP, jd.ExpSyn(77, 0.1, [1.0])]}, r"ExpSyn \(inputs\[1\]\) has site 77"),
        ({"inputs": jd.VoltageClamp([0, 4], [-60.0], [1.0])}, "VoltageClamp.*site 4"),
        ({"record": 4}, "record= site 4 is outside 0..3"),
        ({"record": {"x": [0, -2]}}, "record= site -2"),
        ({"record": 0.5}, "takes compartment numbers"),
        ({"dt": 0.0}, "dt must be > 0 ms; got 0.0"),
        ({"dt": -0.1}, "dt must be > 0"),
        ({"dt": np.nan}, "dt must be finite"),
        ({"t1": 1.01}, "not a whole number of steps of dt = 0.05 ms; use t1 = 1"),
        ({"t1": 0.0}, "t1 must lie after t0"),
        ({"t0": 2.0}, "t1 must lie after t0 = 2.0"),
        ({"save_every": 0}, "save_every"),
        ({"save_every": 3}, "divides the 20 steps; got 3"),
        ({"save_every": 2.5}, "divides the 20 steps; got 2.5"),
        ({"save_every": "2"}, "divides the 20 steps; got 2"),
        ({"v0": np.nan}, "v0 must be finite"),
        ({"v0": np.zeros(7)}, r"v0 must be a number, \(4,\) mV"),
    ],
)
def test_bad_arguments(cell, change, message):
    arguments = {"inputs": STEP, "t1": 1.0, "dt": 0.05} | change
    with pytest.raises(ValueError, match=message):
        jd.simulate(cell, **arguments)


def test_inputs_must_be_inputs(cell):
    with pytest.raises(TypeError, match=r"inputs\[1\] must be a stimulus"):
        jd.simulate(cell, [STEP, Leak()], t1=1.0)


def test_shapes_that_do_not_match_and_nan_inputs():
    with pytest.raises(ValueError, match="count from 0; got -2"):
        jd.ExpSyn(-2, 0.1, [1.0])
    with pytest.raises(ValueError, match="ExpSyn.weight"):
        jd.ExpSyn([0, 1, 2], [0.1, 0.2], [1.0])
    with pytest.raises(ValueError, match="Step"):
        jd.Step([0, 1, 2], 0.0, 1.0, [0.1, 0.2])
    with pytest.raises(ValueError, match="ExpSyn.weight"):
        jd.ExpSyn(0, np.nan, [1.0])


def test_nan_parameters_are_named(cell):
    bad = eqx.tree_at(lambda c: c.cm, cell, cell.cm.at[2].set(jnp.nan))
    with pytest.raises(ValueError, match=r"cell.cm is NaN \(entry 2\)"):
        jd.simulate(bad, t1=1.0)
    bad = eqx.tree_at(lambda c: c.inserted[0].mechanism.gnabar, cell, jnp.asarray(jnp.nan))
    with pytest.raises(ValueError, match=r"cell.*mechanism.gnabar is NaN"):
        jd.simulate(bad, t1=1.0)
    bad = eqx.tree_at(lambda s: s.amplitude, STEP, jnp.asarray(jnp.nan))
    with pytest.raises(ValueError, match=r"inputs\[0\].amplitude is NaN"):
        jd.simulate(cell, bad, t1=1.0)


def test_time_and_masks_must_be_known(cell):
    with pytest.raises(ValueError, match="dt must be a known number"):
        jax.jit(lambda dt: jd.simulate(cell, t1=1.0, dt=dt).v)(0.05)
    with pytest.raises(ValueError, match="masks are static"):
        jax.jit(lambda where: cell.insert(Leak(), where).area)(np.ones(cell.n, bool))


def explode(cell, throw=True, amplitude=0.0):
    stimulus = jd.Step(0, 0.0, 50.0, amplitude)
    return jd.simulate(cell, stimulus, t1=20.0, dt=0.5, solver=diffrax.Euler(), throw=throw)


def test_a_blow_up_says_when_where_and_why(cell):
    with pytest.raises(jd.SimulationError, match="at t = ") as caught:
        explode(cell)
    text = str(caught.value)
    for part in ("compartment", "x = ", "dt = 0.5 ms", "throw=False", "1000 mV"):
        assert part in text
    assert len(text.splitlines()) < 20
    when = float(text.split("at t = ")[1].split(" ms")[0])
    v = np.asarray(explode(cell, throw=False).v)
    row = round(when / 0.5)
    assert np.all(np.abs(v[:row]) <= 1000.0)
    assert not np.all(np.abs(v[row]) <= 1000.0)


def test_a_blow_up_inside_jit_is_a_runtime_error(cell):
    with pytest.raises(RuntimeError, match="passed 1000 mV"):
        jax.block_until_ready(jax.jit(lambda a: explode(cell, amplitude=a).v)(0.0))


@pytest.mark.parametrize(
    ("channel", "words"),
    [(DCaAP(), "DCaAP .* trigger"), (LIF(), "LIF .* trigger"), (Jump(), "Jump .* reset")],
    ids=["DCaAP", "LIF", "reset"],
)
def test_sudden_changes_need_a_staggered_solver(channel, words):
    cell = jd.Cell(jd.ball_and_stick(), max_length=200.0).insert(Leak(g=1e-4, e=-65.0))
    firing = cell.insert(channel, "soma")
    with pytest.raises(ValueError, match=f"{words}.*Tsit5.*CrankNicolson"):
        jd.simulate(firing, t1=0.1, solver=diffrax.Tsit5())
    assert jd.simulate(firing, t1=0.1).v.shape == (5, cell.n)
    jd.simulate(cell, t1=0.1, solver=diffrax.Tsit5())


def test_a_cell_made_before_double_precision_was_set_runs():
    with jax.enable_x64(False):
        cell = jd.Cell(jd.single_compartment(), ncomp=lambda _: 1).insert(HH())
    step = jd.Step(0, 1.0, 3.0, 0.1)
    v = jax.jit(lambda g: jd.simulate(cell.insert(Leak(g=g)), step, t1=4.0, v0=-65.0).v)(1e-4)
    assert v.dtype == jnp.float64
    assert jnp.all(jnp.isfinite(v))


def test_a_first_voltage_that_is_none_says_what_is(cell):
    with pytest.raises(ValueError, match=r"v0 must be a number.*jd.rest\(cell\); got 'rest'"):
        jd.simulate(cell, t1=1.0, v0="rest")


def test_forward_mode_says_what_it_needs(cell):
    with pytest.raises(TypeError, match=r"need adjoint=diffrax.ForwardMode\(\)"):
        jax.jvp(lambda a: jd.simulate(cell, jd.Step(0, 0.0, 1.0, a), t1=0.1).v, (0.1,), (1.0,))


def test_a_step_at_a_time_is_a_run(cell):
    """`jd.step` inside `lax.scan`, with the time traced, against `simulate`."""
    inputs = [jd.Step(0, 1.0, 3.0, 0.3), jd.Exp2Syn([1, 3], 2e-3, [[0.51], [1.31]])]
    for solver in (jd.CrankNicolson(), jd.BackwardEuler()):
        whole = jd.simulate(cell, inputs, t1=2.0, solver=solver).v

        def body(state, t, solver=solver):
            state = jd.step(cell, inputs, state, t, solver=solver)
            return state, state.v[: cell.n]

        begin = jd.start(cell, inputs, solver=solver)
        _, v = jax.lax.scan(body, begin, jnp.arange(80) * 0.025)
        close(v, whole[1:], atol=1e-9)


@pytest.mark.parametrize("solver", [jd.CrankNicolson(), jd.Rodas4P()], ids=["CN", "Rodas4P"])
def test_saveat_and_events_of_diffrax(cell, solver):
    pulse = jd.Step(0, 0.5, 2.0, 0.5)
    options = {"solver": solver, "record": [0]}
    whole = jd.simulate(cell, pulse, t1=3.0, **options)
    ts = jnp.asarray([0.2, 0.725, 2.99])
    some = jd.simulate(cell, pulse, t1=3.0, saveat=diffrax.SaveAt(ts=ts), **options)
    close(some.ts, ts)
    close(some.v[:, 0], np.interp(ts, whole.ts, whole.v[:, 0]), atol=0.02)
    level = float(whole.v[0, 0]) + 2.0
    event = diffrax.Event(lambda t, y, model, **_: y.v[0] - level)
    cut = jd.simulate(cell, pulse, t1=3.0, event=event, **options)
    assert cut.result == diffrax.RESULTS.event_occurred
    reached = np.isfinite(cut.v[:, 0])
    assert 0 < reached.sum() < len(reached)
    assert np.nanmax(cut.v) < level + 1.5
    assert np.isnan(cut.v[~reached]).all()


def test_each_member_of_a_batch_says_how_it_ended(cell):
    def run(amplitude):
        pulse = jd.Step(0, 1.0, 5.0, amplitude)
        return jd.simulate(cell, pulse, t1=2.0, record=[0], throw=False)

    runs = jax.vmap(run)(jnp.asarray([0.1, 1e7]))
    np.testing.assert_array_equal(diffrax.is_okay(runs.result), [True, False])
    assert np.isinf(runs.stats["failed_at"][0])
    assert runs.stats["failed_at"][1] == approx(1.025)
    np.testing.assert_array_equal(runs.stats["failed_site"], [-1, 0])


def test_nearby_lengths_share_a_program(cell):
    made = []

    def look(t, y, model):
        made.append(0)
        return y.v[0]

    count = None
    for t1 in (5.0, 5.2, 5.1, 5.0):
        jd.simulate(cell, t1=t1, record=look)
        count = len(made) if count is None else count
        assert len(made) == count


def test_float32_resolves_a_late_beginning():
    """A run counts its time from its own beginning."""
    with jax.enable_x64(False):
        cell = jd.Cell(jd.single_compartment(20.0, 20.0), max_length=30.0).insert(HH())
        traces = [
            jd.simulate(
                cell, jd.Step(0, t0 + 1.0, 1.0, 0.5), t0=t0, t1=t0 + 8.0, record=[0], solver=solver
            ).v
            for solver in (jd.Rodas4P(), jd.CrankNicolson())
            for t0 in (0.0, 60e3)
        ]
        assert traces[0].dtype == jnp.float32
        close(traces[1], traces[0], atol=1e-3)
        close(traces[3], traces[2], atol=1e-3)
