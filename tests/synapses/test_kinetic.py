"""The ten-state NMDA receptor against its rates, a dense solver and the published model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxdend as jd
from helpers import approx, close, tol
from jaxdend.channels import Leak
from jaxdend.synapses import NMDAKinetic


def generator(v, c):
    """The rate matrix at `v` mV and `c` mM, written out by hand: columns are where from."""
    names = NMDAKinetic.states
    q = np.zeros((10, 10))
    fb, fu = np.exp(-1.6 * (v - 40) / 25), np.exp(0.4 * (v - 40) / 25)

    def step(a, b, there, back):
        i, j = names.index(a), names.index(b)
        q[j, i] += there
        q[i, i] -= there
        q[i, j] += back
        q[j, j] -= back

    step("U", "Cl", 10 * c, 0.02016)
    step("Cl", "O", 0.0465, 0.0916)
    step("Cl", "D1", 0.02266, 0.00736)
    step("D1", "D2", 0.004429, 0.0023)
    step("UMg", "ClMg", 10 * c, 0.06156)
    step("ClMg", "OMg", 0.0465, 0.0916)
    step("ClMg", "D1Mg", 0.02163, 0.004002)
    step("D1Mg", "D2Mg", 0.002678, 0.001932)
    step("O", "OMg", 0.05 * fb, 12.8 * fu)
    for x in ("U", "Cl", "D1", "D2"):
        step(x, x + "Mg", 5e-5 * fb, 0.06 * fu)
    return q


V = jnp.asarray([-75.0, -30.0, 20.0])
GROUP = NMDAKinetic([2, 0, 1], 8e-3, [[5.0], [5.2], [jnp.inf]])


def some_state(seed=0):
    x = np.random.default_rng(seed).uniform(size=(10, 3))
    return jnp.asarray(x / x.sum(axis=0))


def test_rest():
    x = jnp.stack(GROUP.init(V))
    at = dict(zip(GROUP.states, np.asarray(x[:, 0]), strict=True))
    assert at["U"] == approx(0.108136, abs=5e-7)
    assert at["UMg"] == approx(0.891864, abs=5e-7)
    assert at["O"] == approx(0.0, abs=tol(1e-15, 1e-8))
    close(x.sum(axis=0), 1.0)
    close(jnp.stack(GROUP.flow(V, list(x), jnp.zeros(3))), 0.0, atol=tol(1e-14, 1e-7))


def test_derivative_and_step_against_dense_matrices():
    x, drive, h = some_state(), jnp.asarray([2.0, 0.0, 0.7]), 0.025
    rate = jnp.stack(GROUP.flow(V, list(x), drive))
    moved = jnp.stack(GROUP.relax(V, list(x), drive, h))
    for i in range(3):
        q = generator(float(V[i]), float(drive[i]))
        close(rate[:, i], q @ x[:, i], atol=1e-13)
        system = np.eye(10) - h * q
        system[3] = 1.0
        right = np.array(x[:, i])
        right[3] = 1.0
        close(moved[:, i], np.linalg.solve(system, right), atol=1e-14)


def test_transmitter():
    group = NMDAKinetic([0, 1], 8e-3, [[5.0, 5.25], [7.0, jnp.inf]])
    for t, expected in [
        (5.0, [0, 0]),
        (5.01, [2, 0]),
        (5.4, [2, 0]),
        (5.74, [2, 0]),
        (5.75, [0, 0]),
        (7.2, [0, 2]),
    ]:
        np.testing.assert_array_equal(group.drive(t), expected)
    close(group.drive(4.5, 5.1), [2.0 / 6.0, 0.0])

    def mean(times):
        return NMDAKinetic([0, 1], 8e-3, times).drive(4.9, 5.1)

    check_grads(mean, (jnp.asarray([[5.0], [4.55]]),), 1, ["rev"])


@pytest.mark.float64("differences of values drown in rounding in float32")
def test_current_and_gradients_are_finite_everywhere():
    x = some_state()
    close(GROUP.current(V, list(x)), 8e-3 * x[4] * (V - 5.0))

    @jax.jit
    def after(v, x, drive, rates, mg):
        group = NMDAKinetic([2, 0, 1], 8e-3, [5.0], rates=rates, mg=mg)
        return group.current(v, group.relax(v, list(x), drive, jnp.asarray(0.025)))

    args = V, x, jnp.asarray([2.0, 0.0, 0.7]), GROUP.rates, GROUP.mg
    check_grads(after, args, 1, ["fwd", "rev"], eps=1e-6, rtol=1e-4)


@pytest.mark.parametrize("x64", [False, True])
def test_extreme_voltages_and_long_runs(x64):
    with jax.enable_x64(x64):
        v = jnp.linspace(-200.0, 200.0, 9)
        group = NMDAKinetic(np.arange(9), 8e-3, [5.0])
        x = jnp.stack(group.init(v))
        assert np.all(np.isfinite(x))
        assert np.isfinite(jax.jacrev(lambda v: jnp.stack(group.init(v)))(v)).all()

        @jax.jit
        def run(x):
            def step(x, n):
                on = jnp.where(n % 400 < 20, 2.0, 0.0)
                return jnp.stack(group.relax(v, list(x), jnp.full(9, on), jnp.asarray(0.025))), None

            return jax.lax.scan(step, x, jnp.arange(4000))[0]

        x = run(x)
        close(x.sum(axis=0), 1.0, atol=1e-6)
        assert np.all(x > -1e-6)


def test_against_the_published_model(reference):
    """Open fraction of synapse 4 of the inward sequence, driven by its recorded voltage."""
    data = np.load(reference / "branco2010_in_4ms_float64.npz")
    v, h = jnp.asarray(data["v_d13mid"]), 0.025
    group = NMDAKinetic(0, 8e-3, [50.0 + 4 * 4.0])

    @jax.jit
    def run(v):
        def step(x, now):
            n, v = now
            drive = group.drive((n + 0.5) * h)
            x = jnp.stack(group.relax(v[None], list(x), drive, jnp.asarray(h)))
            return x, (x[4, 0], x[9, 0], drive[0])

        start = jnp.stack(group.init(v[:1]))
        return jax.lax.scan(step, start, (jnp.arange(len(v) - 1), v[1:]))[1]

    opened, blocked, drive = run(v)
    close(opened, data["O4"][1:], atol=1e-12)
    close(blocked, data["UMg4"][1:], atol=1e-12)
    np.testing.assert_array_equal(drive, data["C4"][:-1])


def test_vmap_over_sites_times_and_weights():
    def now(site, weight, time):
        group = NMDAKinetic(site, weight, time)
        v = jnp.linspace(-70.0, 0.0, 4)[group.site]
        x = group.relax(v, group.init(v), group.drive(5.1), jnp.asarray(0.1))
        return group.current(v, x)[0]

    sites, weights, times = (
        jnp.asarray([0, 3, 2]),
        jnp.asarray([1e-3, 2e-3, 3e-3]),
        jnp.full(3, 5.0),
    )
    batch = jax.vmap(now)(sites, weights, times)
    close(batch, [now(*x) for x in zip(sites, weights, times, strict=True)])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NMDAKinetic([0, 1], [[1.0]], [1.0]), "NMDAKinetic.weight: expected shape"),
        (lambda: NMDAKinetic(0, 1.0, [np.nan]), "NMDAKinetic.times"),
        (lambda: NMDAKinetic(0, 1.0, [1.0], pulse=-1.0), "NMDAKinetic.pulse"),
        (lambda: NMDAKinetic(0, 1.0, [1.0], mg=-1.0), "NMDAKinetic.mg"),
        (lambda: NMDAKinetic(0, 1.0, [1.0], rates=[1.0]), r"NMDAKinetic.rates: .* \(13, 2\)"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("scheme", [jd.CrankNicolson, jd.BackwardEuler], ids=["CN", "BE"])
@pytest.mark.float64("differences of values drown in rounding in float32")
def test_event_times_have_gradients_in_a_simulation(scheme):
    """Against differences; with NEURON's rounding there is none."""
    cell = jd.Cell.from_compartments(parent=[-1], axial_resistance=[1.0], area=[1e3], cm=1.0)
    cell = cell.insert(Leak(g=1e-4, e=-65.0))

    @functools.partial(jax.jit, static_argnums=1)
    def end(times, solver):
        group = NMDAKinetic(0, 0.05, times)
        return jd.simulate(cell, group, t1=6.0, dt=0.05, solver=solver, v0=-65.0).v[-1, 0]

    times, h = jnp.array([1.013, 2.377]), 1e-4
    smooth = scheme(round_events=False)
    want = [float(end(times + d, smooth) - end(times - d, smooth)) / (2 * h) for d in h * np.eye(2)]
    assert np.abs(want).min() > 1e-2
    close(jax.grad(end)(times, smooth), want, rtol=1e-4)
    np.testing.assert_array_equal(jax.grad(end)(times, scheme(round_events=True)), 0.0)


@pytest.mark.float64("differences of values drown in rounding in float32")
def test_the_derivative_by_event_times_is_that_of_the_steps():
    cell = jd.Cell(jd.single_compartment(20.0, 20.0), max_length=30.0).insert(Leak(g=1e-4, e=-65.0))

    @jax.jit
    def end(t):
        group = NMDAKinetic(0, 5e-3, t[None, None])
        return jd.simulate(cell, group, t1=4.0, record=[0]).v[-1, 0]

    for t in (1.03, 1.041):
        found = float(jax.grad(end)(jnp.asarray(t)))
        assert abs(found) > 0.02
        assert found == approx(float(end(t + 1e-5) - end(t - 1e-5)) / 2e-5, rel=1e-5)
