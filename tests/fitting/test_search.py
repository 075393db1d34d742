import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.fitting import FitResult, Parameter, ParameterSpace, search
from running import QUIET, in_a_run

METHODS = ["cma_es", "genetic", "random"]
SPACE = ParameterSpace(
    {
        "g": Parameter(1e-4, 1e-1, unit="S/cm2", shape=(3,)),
        "e": Parameter(-90.0, -50.0, scale="linear", unit="mV"),
    }
)
TRUE = {"g": np.asarray([3e-4, 2e-3, 3e-2]), "e": np.asarray(-72.0)}


def loss(p):
    return jnp.sum(jnp.log(p["g"] / TRUE["g"]) ** 2) + ((p["e"] - TRUE["e"]) / 5) ** 2


def short(loss=loss, **options):
    return search(loss, SPACE, **in_a_run({"population": 8, "steps": 6} | options))


def same(a, b):
    np.testing.assert_array_equal(a.losses, b.losses)
    np.testing.assert_array_equal(a.vectors, b.vectors)


@pytest.mark.parametrize(("method", "within"), [("cma_es", 0.01), ("genetic", 0.3)])
@pytest.mark.parametrize("key", [0, 1])
def test_finds_the_minimum_of_a_bowl(method, within, key):
    result = search(loss, SPACE, method=method, population=12, evaluations=1500, key=key, run=QUIET)
    assert result.losses.shape == (125, 12)
    assert result.vectors.shape == (125, 12, 4)
    assert np.max(np.abs(np.log(result.params["g"] / TRUE["g"]))) < within
    random = search(
        loss, SPACE, method="random", population=12, evaluations=1500, key=key, run=QUIET
    )
    assert result.loss < 0.1 * random.loss


@pytest.mark.parametrize("method", METHODS)
def test_history_is_that_of_its_points_inside_the_box(method):
    result = short(method=method)
    history = result.history
    assert np.all((history["g"] >= 1e-4) & (history["g"] <= 1e-1))
    again = [[loss({k: v[i, j] for k, v in history.items()}) for j in range(8)] for i in range(6)]
    np.testing.assert_allclose(result.losses, again, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_history_whatever_numpy_was_doing(method):
    first = short(method=method, key=3)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    same(first, short(method=method, key=3))
    np.testing.assert_array_equal(before, np.random.get_state()[1])
    assert not np.array_equal(first.losses, short(method=method, key=4).losses)


@pytest.mark.parametrize("method", METHODS)
def test_resume_is_bit_for_bit(method, tmp_path):
    whole = short(method=method)
    part = short(method=method, callback=lambda step, *_: step >= 3)
    assert part.interrupted
    assert part.steps == 3
    loaded = FitResult.load(part.save(tmp_path / "part.npz"))
    same(short(method=method, resume=loaded), whole)

    class Killed(Exception):
        pass

    def kill(step, *_):
        if step == 5:
            raise Killed

    folder = {"folder": tmp_path / "run", "every": 2}
    with pytest.raises(Killed):
        short(method=method, callback=kill, **folder)
    counted = []
    resumed = short(
        method=method, resume=True, callback=lambda step, *_: counted.append(step), **folder
    )
    same(resumed, whole)
    assert counted == [5, 6]  # the first four came from the folder


@pytest.mark.parametrize("method", METHODS)
def test_nan_is_the_worst(method):
    def breaking(p):
        return jnp.where(p["e"] < -71.0, jnp.nan, loss(p))

    result = short(breaking, method=method, steps=40)
    assert np.isnan(result.losses).any()
    assert result.failures.sum() == np.isnan(result.losses).sum()
    assert np.isfinite(result.loss)
    if method != "random":
        assert result.loss < 0.3  # 0.04 at the edge, beyond which all is NaN


def test_all_nan_is_survived():
    for method in METHODS:
        result = short(lambda p: jnp.nan * p["e"], method=method)
        assert not np.isfinite(result.losses).any()


@pytest.mark.parametrize("method", METHODS)
def test_starts_come_first(method):
    close = {"g": TRUE["g"][None] * 1.01, "e": [-72.1]}
    result = short(method=method, starts=close, steps=2)
    if method == "cma_es":
        assert result.loss < 30
    else:
        np.testing.assert_allclose(result.start_params["e"][0], -72.1)
        assert result.losses[0].argmin() == 0


def test_ctrl_c_keeps_what_was_reached():
    def press(step, losses, vectors):
        if step == 2:
            raise KeyboardInterrupt

    part = short(callback=press)
    assert part.interrupted
    same(short(resume=part), short())


def test_bad_arguments():
    with pytest.raises(ValueError, match="either steps"):
        short(evaluations=10)
    with pytest.raises(ValueError, match="at least 4"):
        short(population=3)
    with pytest.raises(ValueError, match="cma_es"):
        short(method="simplex")
    with pytest.raises(ValueError, match="do not fit"):
        short(starts=9)
    with pytest.raises(ValueError, match="scalar"):
        short(lambda p: p["g"])
    part = short(method="genetic", steps=2)
    with pytest.raises(ValueError, match="would not have evaluated"):
        short(method="random", resume=part)


def test_without_cma_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cma", None)
    with pytest.raises(ImportError, match=r"jaxdend\[search\]"):
        short()
