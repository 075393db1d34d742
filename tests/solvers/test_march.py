"""The loop over time: its reverse mode against JAX's own, and its budget of memory."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import approx, close
from jaxdend.channels import HH, CalciumShell, DCaAP, Leak
from jaxdend.solvers.march import in_bytes, segment_length

T1 = 6.0


@pytest.fixture(scope="module")
def cell():
    cell = jd.Cell(jd.pyramidal(seed=1), max_length=150.0, ra=150.0)
    return cell.insert(Leak(g=1e-4, e=-65.0)).insert(HH(), where="soma")


def loss(theta, cell, solver, save_every=1, **options):
    """Of a conductance, a weight, an event time, an amplitude, the capacitance and a recording."""
    soma = cell.locate("soma")
    neuron = cell.set(cm=theta["cm"]).insert(HH(gnabar=theta["gnabar"]), where="soma")
    inputs = [
        jd.Step(site=soma, onset=1.0, duration=4.0, amplitude=theta["amplitude"]),
        jd.AMPA(site=[2, 5, 2], weight=theta["weight"], times=theta["times"]),
        jd.NMDA(site=5, weight=1e-3, times=[0.5]),
    ]
    sol = jd.simulate(
        neuron, inputs, t1=T1, dt=0.05, solver=solver, save_every=save_every,
        record={"soma": soma, "own": lambda t, y, m: theta["scale"] * y.v[:3]}, **options,
    )  # fmt: skip
    return (
        jnp.mean((sol.v + 60.0) ** 2)
        + jnp.mean(sol.values["own"] ** 2)
        + jnp.sum(sol.final.mechanisms[1]["h"])
    )


@pytest.fixture(scope="module")
def theta():
    return {
        "gnabar": jnp.asarray(0.12),
        "weight": jnp.asarray([1e-3, 2e-3, 5e-4]),
        "times": jnp.asarray([[0.62, 3.0], [1.71, jnp.inf], [0.33, 2.2]]),
        "amplitude": jnp.asarray(0.5),
        "cm": jnp.asarray(1.0),
        "scale": jnp.asarray(0.1),
    }


@pytest.mark.parametrize(
    ("solver", "save_every"), [(jd.CrankNicolson(), 1), (jd.BackwardEuler(), 4)], ids=["cn", "be"]
)
def test_the_gradient_is_that_of_storing_everything(cell, theta, solver, save_every):
    value, expected = jax.value_and_grad(
        lambda t: loss(t, cell, solver, save_every, adjoint=diffrax.DirectAdjoint())
    )(theta)
    for memory in ("1GB", "60KB"):
        again, found = jax.value_and_grad(
            lambda t, memory=memory: loss(t, cell, solver, save_every, memory=memory)
        )(theta)
        close(again, value, rtol=1e-12)
        for name, expected_part in expected.items():
            assert np.any(np.asarray(expected_part)), name
            close(found[name], expected_part, rtol=1e-8, atol=1e-12, err_msg=name)


def test_forward_mode_gives_the_same_derivative(cell, theta):
    def of(amplitude, **options):
        return loss(theta | {"amplitude": amplitude}, cell, jd.CrankNicolson(), **options)

    _, slope = jax.jvp(
        lambda a: of(a, adjoint=diffrax.ForwardMode()), (theta["amplitude"],), (jnp.ones(()),)
    )
    close(slope, jax.grad(of)(theta["amplitude"]), rtol=1e-9)


def test_a_batch_of_gradients_is_each_of_them(cell, theta):
    amplitudes = jnp.asarray([0.2, 0.5])

    def of(amplitude):
        return loss(theta | {"amplitude": amplitude}, cell, jd.CrankNicolson(), memory="60KB")

    batch = jax.vmap(jax.grad(of))(amplitudes)
    close(batch, [jax.grad(of)(a) for a in amplitudes], rtol=1e-9)


def test_clamps_calcium_and_triggers_have_the_same_gradient():
    cell = jd.Cell(jd.pyramidal(seed=1), max_length=250.0)
    cell = cell.insert(Leak(g=1e-4, e=-65.0)).insert(CalciumShell())
    cell = cell.insert(DCaAP(), where=[cell.locate("apical", distance=300.0)])
    site = cell.locate("soma")

    def of(g, **options):
        clamp = jd.VoltageClamp(site, voltages=[-65.0, -20.0], durations=[1.0, 4.0], rs=1.0)
        neuron = cell.insert(jd.channels.CaHVA(gbar=g))
        sol = jd.simulate(neuron, clamp, t1=4.0, dt=0.05, record=[site, 3], **options)
        return jnp.mean(sol.v**2)

    expected = jax.grad(lambda g: of(g, adjoint=diffrax.DirectAdjoint()))(1e-3)
    close(jax.grad(of)(1e-3), expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2e9), ("64 MB", 64e6), ("1.5K", 1500.0), ("1GiB", 2.0**30), (1e6, 1e6), (512, 512.0)],
)
def test_sizes_are_understood(text, size):
    assert in_bytes(text) == approx(size)


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "2 GBs", "GB", "1.2.3MB"])
def test_other_sizes_are_refused(text):
    with pytest.raises(ValueError, match="memory must be a positive size"):
        in_bytes(text)


def test_what_is_kept_follows_from_the_budget():
    state = {"v": jnp.zeros(1000)}
    size = state["v"].nbytes
    assert segment_length(state, 10_000, 1, 10_000 * size) == 0
    assert segment_length(state, 10_000, 1, 9_999 * size) == 100
    assert segment_length(state, 10_000, 8, 300 * size) == 104
    with pytest.raises(ValueError, match="it takes at least"):
        segment_length(state, 10_000, 1, 100 * size)


def test_memory_changes_nothing_but_memory(cell):
    compiled = {}
    for memory in ("1GB", "200KB"):
        f = jax.jit(jax.grad(lambda g, m=memory: loss_of_gnabar(g, cell, m)))
        compiled[memory] = f.lower(jnp.asarray(0.12)).compile()
    sizes = {k: c.memory_analysis().temp_size_in_bytes for k, c in compiled.items()}
    assert sizes["200KB"] < 4e5 < 1e6 < sizes["1GB"]


def loss_of_gnabar(gnabar, cell, memory):
    neuron = cell.insert(HH(gnabar=gnabar), where="soma")
    return jnp.mean(jd.simulate(neuron, t1=20.0, record=[0], memory=memory, throw=False).v)


def test_the_moment_of_a_failure_is_found(cell):
    wild = eqx.tree_at(lambda s: s.amplitude, jd.Step(0, 2.0, 5.0, 1.0), jnp.asarray(1e9))
    with pytest.raises(jd.SimulationError, match=r"at t = 2\.05 ms"):
        jd.simulate(cell, wild, t1=5.0, dt=0.05, record=[0])
