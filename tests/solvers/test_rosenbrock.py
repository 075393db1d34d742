"""Rodas4P and Rodas5P: order, exact linear algebra, inputs of every kind, gradients, failures."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxdend as jd
from helpers import close
from jaxdend import SimulationError
from jaxdend.channels import HH, SK, CaHVA, CalciumShell, Leak
from jaxdend.dynamics import State, build_model, by_step
from jaxdend.jacobian import linearise
from jaxdend.solvers import Rodas4P, Rodas5P
from jaxdend.solvers._tableau import RODAS4P, RODAS5P
from jaxdend.solvers.rosenbrock import rosenbrock_step

TABLEAUS = pytest.mark.parametrize("tableau", [RODAS4P, RODAS5P], ids=["Rodas4P", "Rodas5P"])


def rich_cell() -> jd.Cell:
    """A fork with branch points of area 0, HH at its stem, then calcium and what it opens."""
    cell = jd.Cell(jd.y_tree(), max_length=60.0, end_nodes=True)
    outer = np.arange(cell.n) > 2
    cell = cell.insert(HH(), ~outer).insert(Leak(g=1e-4, e=-65.0), outer)
    cell = cell.insert(CaHVA(2e-3), outer).insert(SK(5e-3), outer)
    return cell.insert(CalciumShell(decay=20.0), outer)


def rich_inputs(cell: jd.Cell) -> tuple:
    end = int(np.flatnonzero(np.asarray(cell.area) == 0)[-1])
    return (
        jd.Sine(0, onset=1.0, duration=9.0, amplitude=0.05, frequency=80.0),
        jd.AMPA([2, end], weight=[2e-3, 1e-3], times=[[2.0, 4.0], [3.0, jnp.inf]]),
        jd.ExpSyn(3, weight=3e-3, times=[2.5], tau=2.0),
        jd.NMDAKinetic([4, 4], weight=2e-3, times=[2.2]),
        jd.PulseTrain(0, onset=0.5, period=4.0, width=1.5, count=3, amplitude=0.4),
    )


def model_of(cell: jd.Cell, inputs: tuple) -> jd.dynamics.Model:
    grid = jnp.asarray([0.0, 0.025])
    model = build_model(cell, inputs, start=grid[0], h=grid[1])
    return by_step(model, grid, True, (None,) * len(inputs))


@TABLEAUS
@pytest.mark.float64("in float32 rounding hides the order of the method")
def test_published_coefficients_have_their_order_on_a_differential_algebraic_system(tableau):
    """0 = g(y, z), y' = f(t, y, z) with dense linear algebra; also the dense output."""
    mass = np.diag([1.0, 1.0, 0.0])

    def f(t, y):
        return jnp.array(
            [
                -y[0] * y[2] + jnp.sin(3 * t),
                y[0] - 2 * y[1] ** 2,
                y[0] + y[1] * y[2] + y[2] ** 3 - 2 - jnp.cos(t),
            ]
        )

    slope, by_t, f = jax.jit(jax.jacobian(f, 1)), jax.jit(jax.jacobian(f, 0)), jax.jit(f)

    def solve(steps, end=2.0):
        y, h = np.array([1.0, 0.5, 1.0]), end / steps
        for _ in range(30):
            y[2] -= (y[0] + y[1] * y[2] + y[2] ** 3 - 3) / (y[1] + 3 * y[2] ** 2)
        for n in range(steps):
            t, u = n * h, np.zeros((tableau.stages, 3))
            matrix = mass / (tableau.gamma * h) - np.asarray(slope(t, y))
            for i in range(tableau.stages):
                right = np.asarray(f(t + tableau.alpha[i] * h, y + tableau.a[i] @ u))
                right = right + mass @ (tableau.c[i] @ u) / h
                u[i] = np.linalg.solve(matrix, right + tableau.slant[i] * h * by_t(t, y))
            old, y = y, y + tableau.a[-1] @ u + u[-1]
        theta, dense = 0.4, tableau.dense @ u
        total = sum(d * theta**k for k, d in enumerate(dense))
        inside = (1 - theta) * old + theta * (y + (1 - theta) * total)
        return y, inside, (steps - 1 + theta) * h

    exact = solve(512)[0]
    errors = [np.abs(solve(n)[0] - exact).max() for n in (16, 32, 64)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    close(orders, tableau.order, atol=0.35)
    _, inside, t = solve(32)
    fine = solve(320, end=t)[0]
    assert np.abs(inside - fine).max() < 20 * errors[1] + 1e-7


@pytest.mark.slow
def test_the_local_elimination_solves_the_whole_system_exactly():
    """Gates, a calcium pool that channels read and move, receptors and a clamp, against `J`."""
    cell = rich_cell()
    clamp = jd.VoltageClamp(1, voltages=[-40.0], durations=[50.0], rs=2.0)
    model = model_of(cell, (*rich_inputs(cell), clamp))
    rng = np.random.default_rng(1)
    y = model.initial(-45.0, True)
    y = jax.tree.map(lambda a: a * (1.0 + 0.1 * rng.random(a.shape)), y)
    traces = [
        None if i == 3 else jax.tree.map(lambda a: a + 2e-3, x) for i, x in enumerate(y.inputs)
    ]
    y = State(y.v, y.mechanisms, [x if i == 3 else None for i, x in enumerate(y.inputs)])
    t, c = jnp.asarray(2.3), jnp.asarray(30.0)
    flat, back = ravel_pytree(y)

    def full(z):
        z = back(z)
        return State(
            z.v, z.mechanisms, [traces[i] if x is None else x for i, x in enumerate(z.inputs)]
        )

    @jax.jit
    def both(flat, r):
        def f(z):
            return ravel_pytree(model.balance(t, full(z)))[0]

        local = linearise(model, full(flat), t, c)
        return jax.jacfwd(f)(flat), ravel_pytree(local.solve(model, back(r)))[0]

    right = jnp.asarray(rng.standard_normal(flat.shape))
    slope, solution = both(flat, right)
    ones = jax.tree.map(jnp.ones_like, y)
    mass = ravel_pytree(State(model.capacitance, ones.mechanisms, ones.inputs))[0]
    residual = c * mass * solution - slope @ solution - right
    assert np.abs(residual).max() < 1e-9 * np.abs(right).max()


@TABLEAUS
@pytest.mark.float64("in float32 rounding hides the order of the method")
def test_order_on_a_spiking_cell(tableau):
    cell = jd.Cell(jd.y_tree(), max_length=60.0).insert(HH())
    model = model_of(cell, (jd.Step(0, onset=-1.0, duration=50.0, amplitude=0.6),))
    begin = model.initial(-60.0, True)

    @jax.jit
    def solve(steps):
        h = 3.0 / steps

        def step(n, y):
            return rosenbrock_step(tableau, model, y, n * h, h)[0]

        return jax.lax.fori_loop(0, steps, step, begin).v

    exact = solve(1536)
    errors = [float(jnp.abs(solve(n) - exact).max()) for n in (96, 192, 384)]
    print(tableau.order, errors)
    assert errors[-1] < 1e-4
    assert np.log2(errors[1] / errors[2]) > tableau.order - 0.6


@pytest.fixture(scope="module")
def reference():
    """The rich cell by an explicit method of order 8 at 1e-9, restarted where inputs jump."""
    cell = rich_cell()
    inputs = rich_inputs(cell)
    edges = [0.5, 1.0, 2.0, 2.2, 2.5, 2.7, 3.0, 4.0, 4.5, 6.0, 8.5, 10.0]
    controller = diffrax.ClipStepSizeController(
        diffrax.PIDController(rtol=1e-9, atol=1e-9), jump_ts=jnp.asarray(edges)
    )
    return cell, inputs, run(cell, inputs, diffrax.Tsit5(), controller=controller)


def run(cell, inputs, solver, **options):
    record = {"v": [0, 3, cell.n - 1], "calcium": lambda t, y, model: y.mechanisms[-1]["inside"]}
    options = {"record": record, "t1": 12.0, "dt": 0.025, "max_steps": 100_000} | options
    return jd.simulate(cell, inputs, solver=solver, **options)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [Rodas4P(1e-6), Rodas5P(1e-6)], ids=["Rodas4P", "Rodas5P"])
def test_synapses_receptors_calcium_and_algebraic_nodes(reference, solver):
    cell, inputs, exact = reference
    traces = run(cell, inputs, solver)
    assert float(exact.v.max()) > 0.0
    worst = np.abs(traces.v - exact.v).max()
    print("worst", worst, np.abs(traces["calcium"] - exact["calcium"]).max())
    assert worst < 2e-3
    moved = np.ptp(exact["calcium"])
    assert np.abs(traces["calcium"] - exact["calcium"]).max() < 1e-5 * moved


# --- one small cell, whose programs the tests below share --------------------------------------

CELL = jd.Cell(jd.y_tree(), max_length=60.0).insert(HH())


def inputs_of(amplitude, onset, time, weight):
    return (
        jd.Step(0, onset=onset, duration=3.0, amplitude=amplitude),
        jd.ExpSyn([2, 4], weight=weight, times=jnp.stack([time, time + 3.5])[:, None], tau=1.5),
        jd.AMPA([3], weight=weight, times=(time - 0.5)[None]),
    )


NUMBERS = (0.3, 0.53, 3.02, 4e-3)  # no edge on the grid, where a trace has a kink


def small(numbers, tolerance=1e-4, **options):
    inputs = inputs_of(*(jnp.asarray(x, float) for x in numbers))
    solver = options.pop("solver", Rodas4P(tolerance))
    return jd.simulate(CELL, inputs, t1=8.0, dt=0.1, record=[0, 5], solver=solver, **options)


@pytest.fixture(scope="module")
def small_reference():
    controller = diffrax.ClipStepSizeController(
        diffrax.PIDController(rtol=1e-9, atol=1e-9),
        jump_ts=jnp.asarray([0.53, 2.52, 3.02, 3.53, 6.52]),
    )
    return small(NUMBERS, solver=diffrax.Tsit5(), controller=controller, max_steps=100_000)


@pytest.mark.float64("its reference is good to 1e-9 mV")
def test_events_fall_at_their_exact_times(small_reference):
    exact = small_reference.v
    errors = [np.abs(small(NUMBERS, tol).v - exact).max() for tol in (1e-3, 1e-5, 1e-7)]
    print(errors)
    assert float(exact.max()) > 0.0
    assert errors[0] < 0.5
    assert errors[1] < 5e-3
    assert errors[2] < 5e-5


@pytest.mark.slow
def test_a_controller_of_the_user(small_reference):
    """Conductances are then summed over events, and steps still end at edges."""
    controller = diffrax.PIDController(rtol=1e-6, atol=1e-6, pcoeff=0.3, icoeff=0.4)
    traces = small(NUMBERS, controller=controller)
    assert np.abs(traces.v - small_reference.v).max() < 2e-3


def loss(numbers):
    return jnp.mean(jnp.square(small(numbers, 1e-7).v + 60.0))


@pytest.mark.float64("differences of a loss drown in rounding in float32")
def test_gradients_to_amplitude_onset_event_times_and_weights_match_differences():
    numbers = jnp.asarray(NUMBERS)
    gradient = jax.jit(jax.grad(loss))(numbers)
    for i, step in enumerate((1e-4, 1e-4, 1e-4, 1e-6)):
        change = jnp.zeros(4).at[i].set(step)
        numeric = (loss(numbers + change) - loss(numbers - change)) / (2 * step)
        print(i, gradient[i], numeric)
        close(gradient[i], numeric, rtol=1e-3)


@pytest.mark.slow
def test_forward_mode_matches_differences():
    def final(amplitude):
        numbers = (amplitude, *NUMBERS[1:])
        return small(numbers, 1e-7, adjoint=diffrax.ForwardMode()).v[-1, 0]

    @jax.jit
    def both(x):
        return jax.jvp(final, (x,), (1.0,))

    h = 1e-4
    numeric = (both(0.3 + h)[0] - both(0.3 - h)[0]) / (2 * h)
    close(both(0.3)[1], numeric, rtol=1e-3)


@pytest.mark.slow
def test_a_batch_is_its_members():
    rows = jnp.stack([jnp.asarray(NUMBERS), jnp.asarray(NUMBERS) * jnp.asarray([0.5, 1, 1, 2])])
    together = jax.vmap(lambda numbers: small(numbers).v)(rows)
    for row, v in zip(rows, together, strict=True):
        close(v, small(tuple(row)).v, atol=1e-7)


def test_a_failed_run_says_why():
    with pytest.raises(SimulationError, match=r"max_steps = 30 steps and only reached t ="):
        small(NUMBERS, max_steps=30)
    with pytest.raises(SimulationError, match="passed 1000 mV"):
        small((1e6, *NUMBERS[1:]), max_steps=30)
    rows = small(NUMBERS, max_steps=30, throw=False).v[:, 0]
    assert np.isfinite(rows[0])
    assert np.isnan(rows[-1])


@pytest.mark.slow
def test_more_events_at_one_instant_than_are_delivered_at_once():
    """Forty synapses at the same instant weigh as one of forty times their weight."""
    weights = np.zeros((2, 40))
    weights[0], weights[1, 7] = 1e-4, 4e-3
    groups = [jd.ExpSyn(np.full(40, 2), weight=w, times=[1.0], tau=2.0) for w in weights]
    options = {"t1": 4.0, "dt": 0.1, "record": [0], "solver": Rodas4P()}
    many, one = (jd.simulate(CELL, group, **options) for group in groups)
    assert float(jnp.ptp(one.v)) > 1.0
    close(many.v, one.v, atol=1e-9)


@pytest.mark.slow
def test_a_voltage_clamp_and_a_run_in_two_parts():
    clamp = jd.VoltageClamp(0, voltages=[-65.0, -20.0, -65.0], durations=[1.0, 2.0, 2.0], rs=0.1)
    options = {"dt": 0.1, "record": [0], "solver": Rodas5P(1e-6)}
    whole = jd.simulate(CELL, clamp, t1=6.0, **options)
    assert abs(float(whole.v[29, 0]) + 20.0) < 0.5
    first = jd.simulate(CELL, clamp, t1=3.0, **options)
    second = jd.simulate(CELL, clamp, t0=3.0, t1=6.0, v0=first.final, **options)
    close(np.vstack([first.v, second.v[1:]]), whole.v, atol=2e-4)


@pytest.mark.slow
def test_a_refused_step_that_overflowed_leaves_no_trace_in_the_gradient():
    """After 50 quiet ms the first step into a strong pulse is far too long."""
    cell = jd.Cell(jd.single_compartment(20.0, 20.0), max_length=100.0).insert(HH())

    @jax.jit
    def late(amplitude):
        pulse = jd.Step(0, onset=50.03, duration=0.5, amplitude=amplitude)
        run = jd.simulate(cell, pulse, t1=52.0, dt=0.1, record=[0], solver=Rodas4P(1e-6))
        return run.v[-1, 0]

    numeric = (late(8.01) - late(7.99)) / 0.02
    close(jax.grad(late)(8.0), numeric, rtol=1e-2)
