import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import HH
from jaxdend.fitting import FitResult, Parameter, ParameterSpace, least_squares, quasi_newton
from running import QUIET, in_a_run

TIMES = jnp.linspace(0.0, 5.0, 60)
TRUE = {"a": 2.0, "tau": 0.7, "offset": -1.0}
SPACE = ParameterSpace(
    {
        "a": Parameter(0.4, 10.0, unit="mV"),
        "tau": Parameter(0.1, 5.0, unit="ms"),
        "offset": Parameter(-3.0, 3.0, scale="linear", unit="mV"),
    }
)


def curve(p):
    return p["a"] * jnp.exp(-TIMES / p["tau"]) + p["offset"]


TARGET = curve({k: jnp.asarray(v) for k, v in TRUE.items()})


def residuals(p):
    return (curve(p) - TARGET).reshape(6, 10)


def loss(p):
    return 0.5 * jnp.sum(residuals(p) ** 2)


def short(run=least_squares, f=residuals, **options):
    return run(f, SPACE, **in_a_run({"starts": 4, "steps": 8} | options))


def same(a, b):
    for field in ("losses", "vectors", "failures"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    for x, y in zip(a.state, b.state, strict=True):
        np.testing.assert_array_equal(x, y)


METHODS = [
    (least_squares, residuals, "levenberg_marquardt", 40, 9),
    (least_squares, residuals, "dogleg", 40, 9),
    (quasi_newton, loss, "bfgs", 120, 8),
    (quasi_newton, loss, "lbfgs", 120, 8),
]
FAST = METHODS[0], METHODS[2]


@pytest.mark.parametrize(("run", "f", "method", "steps", "least"), METHODS)
def test_recovers_an_exponential(run, f, method, steps, least):
    result = short(run, f, method=method, starts=10, steps=steps, chunk=10)
    assert result.recovered(TRUE, 1e-4).sum() >= least
    assert not result.interrupted
    good = result.recovered(TRUE, 1e-4)
    stopped = np.all(result.vectors[-1] == result.vectors[-2], axis=1)
    assert stopped[good].sum() >= least - 2


def test_gauss_newton_from_close_by_converges_quadratically():
    near = {k: [v * 1.1] for k, v in TRUE.items()}
    result = short(method="gauss_newton", starts=near, steps=8)
    assert result.loss < 1e-15
    np.testing.assert_allclose(result.losses[0, 0], loss(jax.tree.map(lambda x: x[0], {
        k: jnp.asarray(v) for k, v in near.items()})), rtol=1e-9)  # fmt: skip


def test_history_holds_the_losses_of_its_trials():
    for run, f, *_ in FAST:
        result = short(run, f)
        again = jax.vmap(jax.vmap(lambda z: loss(SPACE.to_dict(z))))(result.vectors)
        np.testing.assert_allclose(again, result.losses, rtol=1e-9, atol=1e-20)
        np.testing.assert_array_equal(result.vectors[0], SPACE.sample(0, 4))


@pytest.mark.parametrize("jacobian", ["forward", "reverse"])
def test_both_modes_take_the_same_path(jacobian):
    np.testing.assert_allclose(
        short(jacobian=jacobian).losses, short().losses, rtol=1e-6, atol=1e-20
    )


def test_traced_a_fixed_number_of_times():
    traces = []
    for steps in (8, 2):  # the second run takes the program of the first
        short(f=lambda p: (traces.append(1), residuals(p))[1], steps=steps)
        assert 1 <= len(traces) <= 4


@pytest.mark.parametrize(("run", "f", "method", "steps", "least"), FAST)
def test_a_nan_leaves_the_other_starts_alone(run, f, method, steps, least):
    """Beyond a = 3 the model breaks: one start begins there, others walk into it."""

    def breaking(p):
        return jnp.where(p["a"] > 3.0, jnp.nan, f(p))

    starts = {
        "a": [5.0, 0.5, 1.5, 2.5],
        "tau": [0.5, 3.0, 1.0, 0.2],
        "offset": [0.0, 1.0, -2.0, 2.0],
    }
    result = short(run, breaking, starts=starts, steps=steps, chunk=10)
    assert result.failures[0] == result.steps
    assert not np.isfinite(result.best_losses[0])
    assert result.recovered(TRUE, 1e-3)[1:].sum() >= 2
    alone = short(run, breaking, starts={k: v[2:3] for k, v in starts.items()}, steps=steps)
    k = min(alone.steps, 6)
    np.testing.assert_allclose(result.losses[:k, 2:3], alone.losses[:k], rtol=1e-6)


def test_no_finite_start_is_an_error():
    with pytest.raises(ValueError, match="not finite at any of the 4 starts"):
        short(f=lambda p: residuals(p) * jnp.nan)


@pytest.mark.parametrize(("run", "f", "method", "steps", "least"), FAST)
def test_resume_is_bit_for_bit(run, f, method, steps, least, tmp_path):
    whole = short(run, f)
    part = short(run, f, callback=lambda step, *_: step >= 3)
    assert part.interrupted
    assert part.steps == 3
    same(short(run, f, resume=FitResult.load(part.save(tmp_path / "part.npz"))), whole)
    folder = tmp_path / "run"
    stop = {"folder": folder, "every": 2}
    short(run, f, callback=lambda step, *_: step >= 5, **stop)
    same(short(run, f, resume=True, **stop), whole)
    same(short(run, f, resume=True, **stop), whole)  # nothing left to do


def test_a_kill_between_checkpoints_costs_only_what_came_after(tmp_path):
    whole = short()

    class Killed(Exception):
        pass

    def kill(step, *_):
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        short(callback=kill, folder=tmp_path, every=2)
    same(short(resume=True, folder=tmp_path, every=2), whole)


def test_folders_are_guarded(tmp_path):
    short(steps=2, folder=tmp_path)
    with pytest.raises(ValueError, match="already holds a run"):
        short(steps=2, folder=tmp_path)
    with pytest.raises(ValueError, match="method"):
        short(method="dogleg", resume=True, folder=tmp_path)
    with pytest.raises(ValueError, match="the folder, which is not given"):
        short(resume=True)


def test_ctrl_c_keeps_what_was_reached():
    def press(step, losses, vectors):
        if step == 3:
            raise KeyboardInterrupt

    part = short(callback=press)
    assert part.interrupted
    assert part.steps == 3
    same(short(resume=part), short())


def test_bad_arguments():
    with pytest.raises(ValueError, match="levenberg_marquardt"):
        short(method="newton")
    with pytest.raises(ValueError, match="scalar"):
        short(quasi_newton, residuals)
    with pytest.raises(ValueError, match="jacobian"):
        short(jacobian="both")
    with pytest.raises(ValueError, match="at least 1"):
        short(steps=0)


# --- a neuron --------------------------------------------------------------------------------

SOMA = ParameterSpace({"gna": Parameter(0.03, 0.4), "gk": Parameter(0.01, 0.15),
                       "gl": Parameter(1e-4, 1e-3)})  # fmt: skip
HIDDEN = {"gna": 0.12, "gk": 0.036, "gl": 3e-4}


def soma_v(p, adjoint=None):
    cell = jd.Cell(jd.single_compartment(), ncomp=lambda _: 1)
    cell = cell.insert(HH(gnabar=p["gna"], gkbar=p["gk"], gl=p["gl"]))
    step = jd.Step(0, 1.0, 10.0, 0.2)
    return jd.simulate(cell, step, t1=6.0, dt=0.05, throw=False, adjoint=adjoint, save_every=2).v[
        :, 0
    ]


@pytest.fixture(scope="module")
def recorded():
    return soma_v(HIDDEN)


def test_levenberg_marquardt_fits_a_soma(recorded):
    def difference(p):
        return (soma_v(p, diffrax.ForwardMode()) - recorded) / 10.0

    starts = {"gna": [0.09, 0.15], "gk": [0.045, 0.03], "gl": [2e-4, 5e-4]}
    result = least_squares(difference, SOMA, starts=starts, steps=15, run=QUIET)
    assert result.recovered(HIDDEN, 1e-3).any()


def test_a_reverse_only_simulation_is_told_what_to_do(recorded):
    with pytest.raises(ValueError, match="ForwardMode"):
        least_squares(lambda p: soma_v(p) - recorded, SOMA, starts=1, run=QUIET)


def test_a_few_features_go_in_reverse_by_themselves(recorded):
    def features(p):
        v = soma_v(p)
        return jnp.stack(
            [v.max() - recorded.max(), v.mean() - recorded.mean(), v[-1] - recorded[-1]]
        )

    near = {"gna": [0.13], "gk": [0.034], "gl": [3.2e-4]}
    result = least_squares(features, SOMA, starts=near, steps=3, run=QUIET)
    assert result.losses[-1, 0] < result.losses[0, 0]
