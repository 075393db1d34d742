"""Gradients through `simulate` against central differences, forward mode and float32."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import close
from jaxdend.channels import HH, Leak

DT, T1 = 0.05, 12.0
THETA = {
    "gnabar": 0.12,
    "gkbar": 0.036,
    "gl": 0.0003,
    "ena": 50.0,
    "ek": -77.0,
    "el": -54.3,
    "g_pas": 1e-4,
    "e_pas": -50.0,
    "cm": 1.0,
    "ra": 100.0,
    "radius": 1.0,
    "v0": -65.0,
    "amplitude": 0.15,
    "onset": 0.513,
    "weight_exc": 0.02,
    "weight_inh": 0.01,
    "time_exc": 2.013,
    "time_inh": 4.021,
    "e_inh": -80.0,
    "tau2": 3.0,
}
STEPS = {"time_exc": 1e-3, "time_inh": 1e-3, "onset": 1e-3}  # ms, well inside one time step


def bare() -> jd.Cell:
    return jd.Cell(jd.ball_and_stick(dendrite_length=300.0), ncomp=lambda x: 5 if x > 100 else 1)


def outcome(theta: dict, adjoint: diffrax.AbstractAdjoint | None = None) -> jax.Array:
    """Six voltages, weighted means over soft windows: on the rise, the peak, the fall and later."""
    cell = bare()
    cell = cell.set(cm=theta["cm"], ra=theta["ra"]).set("dendrite", radius=theta["radius"])
    hh = HH(**{k: theta[k] for k in ("gnabar", "gkbar", "gl", "ena", "ek", "el")})
    cell = cell.insert(hh, "soma").insert(Leak(g=theta["g_pas"], e=theta["e_pas"]), "dendrite")
    soma, tip = cell.locate("soma"), cell.n - 1
    inputs = [
        jd.Step(soma, theta["onset"], 5.0, theta["amplitude"]),
        jd.AMPA(tip, theta["weight_exc"], [theta["time_exc"]], tau2=theta["tau2"]),
        jd.GABAA(tip - 2, theta["weight_inh"], [theta["time_inh"]], e_rev=theta["e_inh"]),
    ]
    traces = jd.simulate(
        cell, inputs, t1=T1, dt=DT, v0=theta["v0"], record=[soma, tip], adjoint=adjoint
    )
    centre = jnp.asarray([2.0, 3.0, 4.0, 5.0, 6.5, 9.0])
    window = jnp.exp(-0.5 * ((traces.ts[:, None] - centre) / 0.3) ** 2)
    return (window * traces.v.sum(axis=1)[:, None]).sum(axis=0) / window.sum(axis=0) / 10


THETA = {name: jnp.asarray(value, float) for name, value in THETA.items()}


@pytest.fixture(scope="module")
def reverse() -> dict[str, np.ndarray]:
    return jax.tree.map(np.asarray, jax.jit(jax.jacrev(outcome))(THETA))


def test_the_cell_spikes_so_that_the_gradients_are_hard():
    cell = bare().insert(HH(), "soma").insert(Leak(g=1e-4, e=-65.0), "dendrite")
    traces = jd.simulate(
        cell, jd.Step(0, 0.513, 5.0, float(THETA["amplitude"])), t1=T1, dt=DT, record=[0]
    )
    assert float(traces.v.max()) > 20.0


def test_reverse_mode_equals_central_differences(reverse):
    run = jax.jit(outcome)
    for name, value in THETA.items():
        h = STEPS.get(name, 2e-4 * max(abs(float(value)), 1e-12))

        def at(shift, name=name, value=value):
            return np.asarray(run({**THETA, name: value + shift}))

        near = (at(h) - at(-h)) / (2 * h)
        far = (at(2 * h) - at(-2 * h)) / (4 * h)
        difference = (4 * near - far) / 3  # fourth order
        error = np.max(np.abs(difference - reverse[name])) / np.max(np.abs(reverse[name]))
        print(f"{name:12s} error {error:.2e} {reverse[name]}")
        assert error <= 1e-6, f"{name}: {error:.2e}"


def test_both_signs_occur_for_every_parameter(reverse):
    for name, gradient in reverse.items():
        assert np.all(np.isfinite(gradient)), name
        if name not in ("e_inh", "weight_inh"):  # inhibition after the spike works one way only
            assert gradient.min() < 0 < gradient.max(), f"{name}: {gradient}"


def test_forward_mode_agrees_with_reverse(reverse):
    keys = jax.random.split(jax.random.key(1), len(THETA))
    way = {
        name: value * jax.random.normal(key)
        for (name, value), key in zip(THETA.items(), keys, strict=True)
    }
    _, forward = jax.jit(
        lambda theta, way: jax.jvp(lambda p: outcome(p, diffrax.ForwardMode()), (theta,), (way,))
    )(THETA, way)
    expected = sum(reverse[name] * np.asarray(way[name]) for name in THETA)
    close(forward, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("solver", [jd.CrankNicolson(), jd.BackwardEuler()], ids=["CN", "BE"])
def test_removable_singularities_give_finite_gradients(solver):
    cell = jd.Cell(jd.single_compartment(), ncomp=lambda _: 1).insert(HH())

    @jax.jit
    @jax.value_and_grad
    def loss(numbers):
        cell, v0 = numbers
        return jnp.mean(jd.simulate(cell, t1=0.1, solver=solver, v0=v0).v ** 2)

    for v0 in (-40.0, -55.0, -65.0, 0.0):
        value, gradient = loss((cell, jnp.asarray(v0)))
        assert np.isfinite(value)
        for leaf in jax.tree.leaves(gradient):
            assert np.all(np.isfinite(leaf))
        h = 1e-4
        up, down = loss((cell, jnp.asarray(v0 + h)))[0], loss((cell, jnp.asarray(v0 - h)))[0]
        close(gradient[1], (up - down) / (2 * h), rtol=1e-6)


@pytest.mark.slow
def test_float32_gradients_of_a_thousand_spiking_compartments():
    """HH everywhere on the pyramidal cell: spikes in the soma and in all dendrites."""
    morph = jd.pyramidal()

    def gradient() -> tuple[dict, float]:
        cell = jd.Cell(morph, max_length=12.0)
        assert 950 < cell.n < 1050
        tip = int(np.argmax(cell.distance))

        def loss(theta):
            hh = HH(gnabar=theta["gnabar"], gkbar=theta["gkbar"], gl=theta["gl"])
            full = cell.set(cm=theta["cm"], ra=theta["ra"]).insert(hh)
            stimulus = jd.Step(0, 0.5, 8.0, theta["amplitude"])
            v = jd.simulate(full, stimulus, t1=10.0, dt=0.05, record=[0, tip]).v
            return jnp.mean((v + 65.0) ** 2) / 100, jnp.max(v, axis=0).min()

        theta = {"gnabar": 0.12, "gkbar": 0.036, "gl": 3e-4, "cm": 1.0, "ra": 100.0}
        theta = jax.tree.map(lambda x: jnp.asarray(x, float), theta | {"amplitude": 2.0})
        out, peak = jax.jit(jax.grad(loss, has_aux=True))(theta)
        assert {x.dtype for x in out.values()} == {jnp.zeros((), float).dtype}
        return {name: float(x) for name, x in out.items()}, float(peak)

    wide, peak = gradient()
    assert peak > 20.0
    assert min(wide.values()) < 0 < max(wide.values())
    with jax.enable_x64(False):
        narrow, _ = gradient()
    for name, value in wide.items():
        print(name, value, abs(narrow[name] / value - 1))
        assert abs(narrow[name] - value) <= 1e-3 * abs(value), f"{name}: {narrow[name]} {value}"
