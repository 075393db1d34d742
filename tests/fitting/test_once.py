"""The programs of a fit are made once for a loss, and again for one that differs by a number."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdend as jd
from jaxdend.channels import Leak
from jaxdend.fitting import (
    Objective,
    Parameter,
    ParameterSpace,
    Protocol,
    fit,
    least_squares,
    nudging,
    quasi_newton,
    sample_posterior,
    sbi_simulator,
    search,
)
from running import QUIET

SPACE = ParameterSpace({"a": Parameter(0.1, 10.0), "b": Parameter(-3.0, 3.0, "linear")})
ONCE = {"starts": 3, "run": QUIET}


def losses(run):
    return run.losses[-1]


METHODS = {
    "fit": lambda f: losses(fit(f, SPACE, steps=4, **ONCE)),
    "fit with an optimiser": lambda f: losses(
        fit(f, SPACE, steps=4, optimizer=optax.adam(optax.cosine_decay_schedule(0.1, 4)), **ONCE)
    ),
    "quasi_newton": lambda f: losses(quasi_newton(f, SPACE, steps=4, **ONCE)),
    "least_squares": lambda f: losses(
        least_squares(lambda p: f(p) * jnp.ones(2), SPACE, steps=4, **ONCE)
    ),
    "search": lambda f: losses(search(f, SPACE, method="genetic", population=4, steps=3, **ONCE)),
    "posterior": lambda f: (
        sample_posterior(
            lambda p: -f(p), SPACE, samples=4, chains=2, warmup=5, run=QUIET
        ).log_density
    ),
    "mala": lambda f: (
        sample_posterior(
            lambda p: -f(p), SPACE, method="mala", step_size=0.1, samples=4, chains=2, run=QUIET
        ).log_density
    ),
    "sbi": lambda f: sbi_simulator(f, SPACE)[1](np.zeros((3, 2))),
    "batch": lambda f: jd.batch(lambda a: f({"a": a, "b": a}))(jnp.arange(1.0, 5.0)),
}


SLOW = [pytest.param("posterior", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", [n for n in METHODS if n != "posterior"] + SLOW)
def test_compiled_once_and_anew_for_another_number(name):
    traces = []

    def made(target):
        def loss(p):
            traces.append(1)
            return (p["a"] - target) ** 2 + (p["b"] - 1.0) ** 2

        return loss

    first = METHODS[name](made(2.0))
    traced = len(traces)
    assert traced >= 1
    np.testing.assert_array_equal(METHODS[name](made(2.0)), first)
    assert len(traces) == traced
    other = METHODS[name](made(3.0))
    assert len(traces) == 2 * traced
    assert np.all(other != first)
    np.testing.assert_array_equal(METHODS[name](made(2.0)), first)
    assert len(traces) == 2 * traced


def test_other_settings_are_other_programs():
    def loss(p):
        return (p["a"] - 2.0) ** 2 + p["b"] ** 2

    wider = ParameterSpace({"a": Parameter(0.1, 20.0), "b": SPACE["b"]})
    ends = [
        fit(loss, space, steps=4, optimizer=optax.sgd(rate), clip=clip, **ONCE).losses[-1]
        for space, rate, clip in (
            (SPACE, 0.1, None), (SPACE, 0.2, None), (SPACE, 0.1, 0.01), (wider, 0.1, None),
        )
    ]  # fmt: skip
    assert len(np.unique(np.stack(ends))) == 4 * 3
    steps = [quasi_newton(loss, SPACE, steps=4, max_step=m, **ONCE).vectors for m in (2.0, 0.01)]
    far, near = (np.max(np.abs(np.diff(z, axis=0))) for z in steps)
    assert near <= 0.0101 < far


def test_precision_is_that_of_the_call():
    def loss(p):
        return (p["a"] - 2.0) ** 2

    at = {"starts": np.ones((1, 2)), "run": QUIET, "steps": 3}
    double = fit(loss, SPACE, **at)
    with jax.enable_x64(False):
        single = fit(loss, SPACE, **at)
    assert (double.losses.dtype, single.losses.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(single.losses, double.losses, rtol=1e-5)


def test_a_neuron_and_an_objective_made_again():
    """As when a cell of a notebook runs a second time: everything in it is another object."""
    traces = []
    reverse, forward = None, diffrax.ForwardMode()

    def made(v, adjoint):
        cell = jd.Cell(jd.single_compartment(10.0, 10.0), max_length=20.0)

        def neuron(p):
            traces.append(1)
            return cell.insert(Leak(g=1e-4 * p["a"], e=-70.0 + p["b"]))

        ts = np.arange(0.0, 2.0, 0.1)
        step = jd.Step(0, 0.2, 0.5, 0.01)
        protocol = Protocol("step", step, ts, np.full((len(ts), 1), v), sites=0)
        return Objective(neuron, [protocol], dt=0.1, adjoint=adjoint)

    for adjoint, run in (
        (reverse, lambda o: fit(o, SPACE, steps=2, **ONCE)),
        (forward, lambda o: nudging(o, SPACE, steps=1, resistances=(3.0,), **ONCE)[0]),
    ):
        traces.clear()
        first = run(made(-65.0, adjoint)).losses
        traced = len(traces)
        assert traced >= 1
        np.testing.assert_array_equal(run(made(-65.0, adjoint)).losses, first)
        assert len(traces) == traced
        assert np.all(run(made(-60.0, adjoint)).losses != first)
