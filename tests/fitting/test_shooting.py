import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import HH, CaLCA1, CalciumShell, Leak
from jaxdend.fitting import Parameter, ParameterSpace, Shooting, least_squares
from running import QUIET

SPACE = ParameterSpace({"gna": Parameter(0.02, 0.7), "gk": Parameter(0.006, 0.2),
                        "gl": Parameter(5e-5, 2e-3)})  # fmt: skip
TRUE = {"gna": jnp.asarray(0.12), "gk": jnp.asarray(0.036), "gl": jnp.asarray(3e-4)}
BAD = {"gna": np.asarray([0.05]), "gk": np.asarray([0.1]), "gl": np.asarray([1e-3])}
PULSE = jd.Step(0, 1.0, 18.0, 0.2)


def soma(p):
    cell = jd.Cell(jd.single_compartment(), ncomp=lambda _: 1)
    return cell.insert(HH(gnabar=p["gna"], gkbar=p["gk"], gl=p["gl"]))


def simulated(p, **options):
    return jd.simulate(soma(p), PULSE, t1=20.0, dt=0.05, throw=False, **options)


@pytest.fixture(scope="module")
def recorded():
    return simulated(TRUE)


@pytest.fixture(scope="module")
def problem(recorded):
    return Shooting(soma, SPACE, recorded.ts, recorded.v, PULSE, segments=10)


def test_the_truth_has_no_error_and_no_gaps(problem):
    start = problem.starts({k: np.asarray(v)[None] for k, v in TRUE.items()})
    one = {k: jnp.asarray(v[0]) for k, v in start.items()}
    assert problem.loss(one) < 1e-12
    gradient = jax.grad(problem.loss)(one)
    assert all(bool(jnp.isfinite(g).all()) for g in gradient.values())


@pytest.mark.slow
def test_a_start_that_does_not_spike_finds_the_truth(problem):
    assert simulated({k: v[0] for k, v in BAD.items()}).v.max() < 0
    result = least_squares(
        problem.residuals, problem.space, starts=problem.starts(BAD), steps=20, run=QUIET
    )
    found = problem.only(result.params)
    for name, value in TRUE.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3)


def test_states_of_a_tree_with_calcium_and_synapses():
    bare = jd.Cell(jd.ball_and_stick(dendrite_length=200.0), ncomp=lambda x: 2)
    space = ParameterSpace({"gca": Parameter(1e-5, 1e-2)})

    def build(p):
        cell = bare.insert(Leak(g=1e-4)).insert(CalciumShell.destexhe())
        return cell.insert(HH(), "soma").insert(CaLCA1(gbar=p["gca"]))

    inputs = [jd.Step(0, 0.5, 2.0, 0.1), jd.AMPA(bare.n - 1, 0.002, [1.02, 2.63])]
    true = {"gca": jnp.asarray(1e-3)}
    traces = jd.simulate(build(true), inputs, t1=4.0, dt=0.05)
    problem = Shooting(build, space, traces.ts, traces.v, inputs, segments=4)
    start = problem.starts({"gca": np.asarray([1e-3])})
    assert problem.loss({k: jnp.asarray(v[0]) for k, v in start.items()}) < 1e-9
    part = Shooting(build, space, traces.ts, traces.v[:, 0], inputs, segments=4, sites=[0])
    assert part.space == problem.space


def test_bad_input(recorded):
    with pytest.raises(ValueError, match="divide the 400 intervals"):
        Shooting(soma, SPACE, recorded.ts, recorded.v, PULSE, segments=7)
    with pytest.raises(ValueError, match="sites"):
        Shooting(soma, SPACE, recorded.ts, np.repeat(recorded.v, 2, axis=1), PULSE)
