import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdend import Run
from jaxdend.fitting import FitResult, Parameter, ParameterSpace, fit
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


def loss(p):
    return jnp.mean((curve(p) - TARGET) ** 2)


def short(loss=loss, **options):
    return fit(loss, SPACE, **in_a_run({"starts": 4, "steps": 12} | options))


def same(a, b):
    for field in ("losses", "vectors", "failures", "pruned"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert len(a.state) == len(b.state)
    for x, y in zip(a.state, b.state, strict=True):
        np.testing.assert_array_equal(x, y)


def test_recovers_an_exponential_from_random_starts():
    result = short(starts=10, steps=300, chunk=50)
    assert result.recovered(TRUE, 0.01).sum() >= 9
    assert result.recovered(TRUE, 0.01)[result.best_start]
    assert not result.interrupted
    assert result.losses.shape == (300, 10)
    for name, value in result.params.items():
        np.testing.assert_allclose(value, TRUE[name], rtol=0.01)


def test_recovers_a_two_compartment_cell_with_an_array_parameter():
    """Leaks of soma and dendrite, and their coupling, from both responses to a step."""

    def response(p):
        rate = jnp.diag(p["leak"]) + p["coupling"] * jnp.array([[1.0, -1.0], [-1.0, 1.0]])
        values, vectors = jnp.linalg.eigh(rate)
        drive = vectors.T @ jnp.array([1.0, 0.0])
        return (drive * (1 - jnp.exp(-values * TIMES[:, None])) / values) @ vectors.T

    true = {"leak": jnp.array([0.3, 1.2]), "coupling": jnp.asarray(0.8)}
    target = response(true)
    space = ParameterSpace(
        {"leak": Parameter(0.05, 5.0, shape=(2,)), "coupling": Parameter(0.1, 8)}
    )
    result = fit(
        lambda p: jnp.mean((response(p) - target) ** 2) * 100,
        space,
        starts=10,
        steps=400,
        chunk=100,
        run=QUIET,
    )
    assert result.recovered(true, 0.02).sum() >= 9
    assert result.all_params["leak"].shape == (10, 2)
    assert [row["parameter"] for row in result.table(true)] == ["leak[0]", "leak[1]", "coupling"]


@pytest.mark.parametrize("chunk", [1, 5, 12, 40])
def test_traced_once_whatever_the_chunk(chunk):
    traces = []

    def counted(p):
        traces.append(1)
        return loss(p)

    result = short(counted, chunk=chunk)
    assert len(traces) == 1
    np.testing.assert_allclose(result.losses, short().losses, rtol=1e-9)


def test_same_seed_same_history_and_another_seed_another():
    first = short(key=5)
    same(first, short(key=5))
    same(first, short(key=jax.random.key(5)))
    assert not np.array_equal(first.losses, short(key=6).losses)


def test_starts_do_not_see_each_other():
    starts = SPACE.sample(0, 4)
    together = short(starts=starts)
    alone = short(starts=starts[2:3])
    np.testing.assert_allclose(together.losses[:, 2:3], alone.losses, rtol=1e-9)


def test_history_holds_the_losses_of_its_parameters():
    result = short()
    again = jax.vmap(jax.vmap(lambda z: loss(SPACE.to_dict(z))))(result.vectors)
    np.testing.assert_allclose(again, result.losses, rtol=1e-9)
    np.testing.assert_array_equal(result.best_losses, result.losses.min(axis=0))
    assert result.loss == result.losses.min()
    assert result.history["a"].shape == (12, 4)
    np.testing.assert_array_equal(result.start_params["a"], result.history["a"][0])


def test_starts_by_dict_and_by_vector():
    values = {"a": [1.0, 2.0], "tau": [0.3, 0.5], "offset": [0.0, 1.0]}
    by_dict = short(starts=values)
    same(by_dict, short(starts=np.asarray(SPACE.to_vector(values))))
    np.testing.assert_allclose(by_dict.start_params["tau"], values["tau"])


@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("through_file", [False, True])
def test_resume_is_bit_for_bit(tmp_path, chunk, through_file):
    whole = short(chunk=chunk)
    part = short(chunk=chunk, callback=lambda step, *_: step >= 6)
    assert part.interrupted
    assert part.steps == 6
    if through_file:
        part = FitResult.load(part.save(tmp_path / "part.npz"))
    rest = short(chunk=chunk, resume=part)
    same(rest, whole)
    assert not rest.interrupted
    assert rest.seconds > part.seconds


@pytest.mark.parametrize("after", [1, 7])
def test_ctrl_c_keeps_the_best_so_far_and_resumes(after):
    def press(step, losses, vectors):
        if step == after:
            raise KeyboardInterrupt

    part = short(callback=press)
    assert part.interrupted
    assert part.steps == after
    assert part.loss == part.losses.min()
    same(short(resume=part), short())


def test_ctrl_c_before_anything_is_done_is_not_hidden():
    def press(p):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        short(press)


def test_resume_of_a_finished_fit_does_nothing():
    whole = short()
    assert short(resume=whole) is whole


def test_resume_refuses_another_space_or_optimiser():
    part = short(callback=lambda step, *_: step >= 3)
    other = ParameterSpace({"a": SPACE["a"]})
    with pytest.raises(ValueError, match="cannot resume: the result belongs to"):
        fit(loss, other, run=Run(resume=part, progress=False))
    with pytest.raises(ValueError, match="same optimizer"):
        short(resume=part, optimizer=optax.sgd(0.1))


def test_nan_beyond_a_wall_is_stepped_back_from_and_reported():
    def walled(p):
        return jnp.where(p["tau"] > 2.5, jnp.nan, loss(p)) + 0.3 * jnp.exp(-p["tau"])

    starts = SPACE.to_vector({"a": [2.0, 2.0], "tau": [2.4, 0.7], "offset": [-1.0, -1.0]})
    inward = {"optimizer": optax.sgd(-1.0), "starts": starts}  # climbs: start 0 runs into the wall
    with pytest.warns(UserWarning, match="start 0: .* 0 of 2 starts never"):
        result = short(walled, steps=40, **inward)
    failed = ~np.isfinite(result.losses)
    np.testing.assert_array_equal(failed.sum(axis=0), result.failures)
    assert failed[:, 0].any()
    assert not failed[:, 1].any()
    assert np.isfinite(result.vectors).all()
    assert np.isfinite(result.best_losses).all()
    for k in np.flatnonzero(failed[1:, 0] & ~failed[:-1, 0]) + 1:
        if k + 1 < 40:  # half of the way from the last good point
            z = result.vectors[:, 0]
            np.testing.assert_allclose(z[k + 1] - z[k - 1], (z[k] - z[k - 1]) / 2, rtol=1e-6)


def test_nan_gradient_alone_counts_as_failure():
    @jax.custom_jvp
    def poison(x):
        return x

    @poison.defjvp
    def _(primals, tangents):
        return primals[0], tangents[0] * jnp.where(primals[0] > 1.0, jnp.nan, 1.0)

    starts = SPACE.to_vector({"a": [2.0, 0.5], "tau": [0.7, 0.7], "offset": [0.0, 0.0]})
    with pytest.warns(UserWarning, match="start 0: 12"):
        result = short(lambda p: loss(p | {"a": poison(p["a"])}), starts=starts)
    assert np.isfinite(result.losses).all()
    np.testing.assert_array_equal(result.vectors[:, 0], np.tile(starts[0], (12, 1)))


def test_a_dead_start_is_reported_and_leaves_the_others_alone():
    def half(p):
        return jnp.where(p["offset"] > 0, jnp.nan, loss(p))

    starts = SPACE.to_vector({"a": [1.0, 1.0], "tau": [1.0, 1.0], "offset": [1.0, -2.0]})
    with pytest.warns(UserWarning, match="1 of 2 starts never had a finite loss"):
        result = short(half, starts=starts)
    np.testing.assert_array_equal(np.isfinite(result.best_losses), [False, True])
    assert result.best_start == 1
    assert result.failures[0] == 12


def test_no_finite_start_is_an_error():
    with pytest.raises(ValueError, match="not finite at any of the 4 starts"):
        short(lambda p: jnp.nan * loss(p))


def test_clipping_is_by_start():
    starts = SPACE.sample(0, 4)
    scale = 1e6

    def steps(clip, factor):
        moved = short(
            lambda p: factor * loss(p), starts=starts, clip=clip, optimizer=optax.sgd(1.0), steps=2
        )
        return np.linalg.norm(moved.vectors[1] - moved.vectors[0], axis=1)

    np.testing.assert_allclose(steps(0.25, scale), 0.25, rtol=1e-6)
    free = steps(None, 1e-3)
    np.testing.assert_allclose(steps(0.25, 1e-3), free, rtol=1e-9)
    assert np.ptp(free) > 0


def test_an_optimiser_that_wants_the_loss():
    result = short(optimizer=optax.polyak_sgd(max_learning_rate=5.0), clip=None, steps=100)
    assert result.recovered(TRUE, 0.1).any()


def test_float32():
    with jax.enable_x64(False):
        times, target = (jnp.asarray(np.asarray(x, np.float32)) for x in (TIMES, TARGET))

        def single(p):
            return jnp.mean((p["a"] * jnp.exp(-times / p["tau"]) + p["offset"] - target) ** 2)

        result = short(single, steps=300, chunk=100)
    assert result.losses.dtype == np.float32
    assert result.recovered(TRUE, 0.05).sum() >= 3


def test_save_and_load(tmp_path):
    result = short()
    path = result.save(tmp_path / "run")
    assert path.name == "run.npz"
    again = FitResult.load(path)
    same(result, again)
    assert again.space == result.space
    assert again.seconds == result.seconds
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


def test_load_refuses_other_files(tmp_path):
    result = short()
    path = result.save(tmp_path / "run.npz")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(path.read_bytes()[:-200])
    text = tmp_path / "text.npz"
    text.write_text("hello")
    other = tmp_path / "other.npz"
    np.savez(other, x=np.ones(3))
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, header=np.array([{}], dtype=object))
    for bad in (cut, text, other, pickled):
        with pytest.raises(ValueError, match=f"{bad.name} is not a complete fit file"):
            FitResult.load(bad)
    with pytest.raises(FileNotFoundError):
        FitResult.load(tmp_path / "absent.npz")


def test_table():
    result = short(starts=10, steps=300, chunk=100)
    rows = result.table(TRUE)
    assert [row["parameter"] for row in rows] == ["a", "tau", "offset"]
    assert rows[0]["unit"] == "mV"
    assert rows[0]["true"] == 2.0
    assert all(row["error"] < 0.01 and row["within_5_percent"] >= 9 for row in rows)
    assert "true" not in result.table()[0]
    with pytest.raises(ValueError, match="lack offset"):
        result.table({"a": 1.0, "tau": 1.0})


def test_error_against_zero_is_a_share_of_the_range():
    result = dataclasses.replace(short(), vectors=np.zeros((12, 4, 3)))
    np.testing.assert_allclose(result.errors(TRUE | {"offset": 0.0})[:, 2], 0.0)
    np.testing.assert_allclose(result.errors(TRUE | {"a": 1.0})[:, 0], 1.0)


def test_progress_bar_shows_the_loss(capsys):
    short(progress=True)
    shown = capsys.readouterr().err
    assert "12/12" in shown
    assert "loss=" in shown
    short()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "at least 1"),
        ({"chunk": 0}, "at least 1"),
        ({"every": 0}, "at least 1"),
        ({"starts": 0}, "at least 1"),
        ({"starts": np.zeros((2, 5))}, r"vectors \(s, 3\)"),
        ({"starts": np.zeros(3)}, r"vectors \(s, 3\)"),
        ({"starts": np.full((2, 3), np.nan)}, "must be finite"),
        ({"starts": {"a": [1.0]}}, "'tau' is missing"),
        ({"loss": curve}, r"must be a scalar, got shape \(60,\)"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        short(**options)


def test_a_loss_that_draws_gets_another_key_at_every_step_and_the_same_for_all_starts():
    """Least squares from single noisy samples ends near the mean, and goes on bit for bit."""
    space = ParameterSpace({"x": Parameter(-4.0, 4.0, "linear")})

    def loss(params, key):
        return (params["x"] - 1.0 - 0.5 * jax.random.normal(key)) ** 2

    options = {"starts": np.zeros((3, 1)), "draws": 7, "optimizer": optax.sgd(0.02)}
    result = fit(loss, space, steps=300, run=QUIET, **options)
    assert len(np.unique(result.losses[:, 0])) == 300
    np.testing.assert_array_equal(result.losses[:, 0], result.losses[:, 1])
    ends = np.asarray(space.to_dict(result.vectors[150:, 0])["x"])
    assert ends.mean() == pytest.approx(1.0, abs=0.15)
    part = fit(loss, space, steps=120, run=QUIET, **options)
    whole = fit(loss, space, steps=300, run=Run(progress=False, resume=part), **options)
    np.testing.assert_array_equal(whole.losses, result.losses)
    other = fit(loss, space, steps=5, run=QUIET, **(options | {"draws": 8}))
    assert not np.array_equal(other.losses, result.losses[:5])
