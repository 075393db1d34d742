import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.fitting import Parameter, ParameterSpace, sample_posterior
from running import in_a_run

SPACE = ParameterSpace(
    {"g": Parameter(1e-3, 1.0), "e": Parameter(-90.0, -50.0, scale="linear", unit="mV")}
)


def log_likelihood(p):
    """Normal in log g and e, far from the bounds, with a correlation."""
    x, y = jnp.log(p["g"] / 0.03) / 0.3, (p["e"] + 70.0) / 2.0
    return -0.5 * (x**2 + y**2 - 1.2 * x * y) / (1 - 0.36)


def short(log_likelihood=log_likelihood, **options):
    options = {"chains": 2, "samples": 12, "warmup": 20, "chunk": 3} | options
    return sample_posterior(log_likelihood, SPACE, **in_a_run(options))


def same(a, b):
    for name in ("vectors", "log_density", "divergent", "acceptance", "step_size"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), [("nuts", {}), ("hmc", {})])
def test_moments_of_a_normal_posterior(method, options):
    result = short(method=method, chains=4, samples=400, warmup=300, chunk=200, **options)
    g, e = np.log(result.params["g"] / 0.03) / 0.3, (result.params["e"] + 70.0) / 2.0
    assert result.vectors.shape == (400, 4, 2)
    assert np.all(result.rhat < 1.05)
    assert np.all(result.ess > 150)
    np.testing.assert_allclose([g.mean(), e.mean()], 0.0, atol=0.15)
    np.testing.assert_allclose([g.std(), e.std()], 1.0, atol=0.12)
    np.testing.assert_allclose(np.corrcoef(g.ravel(), e.ravel())[0, 1], 0.6, atol=0.1)
    assert result.divergences < 0.02 * result.divergent.size
    row = result.table()[0]
    assert row["parameter"] == "g"
    assert row["from"] < 0.03 < row["to"]


@pytest.mark.slow
def test_without_data_the_prior_is_uniform_in_the_box():
    result = short(lambda p: 0.0 * p["e"], chains=4, samples=400, warmup=200, chunk=200)
    unit = np.stack(
        [np.log(result.params["g"] / 1e-3) / np.log(1e3), (result.params["e"] + 90) / 40]
    )
    quantiles = np.quantile(unit.reshape(2, -1), [0.1, 0.5, 0.9], axis=1)
    np.testing.assert_allclose(quantiles, [[0.1] * 2, [0.5] * 2, [0.9] * 2], atol=0.06)


@pytest.mark.parametrize(
    "options", [{"method": "nuts"}, {"method": "mala", "step_size": 0.02}], ids=["nuts", "mala"]
)
def test_same_seed_same_samples_and_resume_bit_for_bit(options, tmp_path):
    whole = short(**options)
    same(whole, short(**options, chunk=12))

    class Killed(Exception):
        pass

    def kill(step, rows):
        if step == 9:
            raise Killed

    folder = {"folder": tmp_path, "every": 6}
    with pytest.raises(Killed):
        short(**options, callback=kill, **folder)
    same(short(**options, resume=True, **folder), whole)
    with pytest.raises(ValueError, match="already holds a run"):
        short(**options, **folder)


def test_ctrl_c_returns_what_was_drawn():
    def press(step, rows):
        if step == 6:
            raise KeyboardInterrupt

    part = short(callback=press)
    assert part.interrupted
    assert part.vectors.shape == (6, 2, 2)


def test_where_the_model_fails_no_sample_goes():
    def breaking(p):
        return jnp.where(p["e"] < -70.0, jnp.nan, log_likelihood(p))

    starts = {"g": [0.03, 0.05], "e": [-69.0, -68.0]}
    result = short(breaking, starts=starts, samples=100, warmup=100, chunk=50)
    assert np.all(result.params["e"] >= -70.0)
    assert np.isfinite(result.log_density).all()
    with pytest.raises(ValueError, match="not finite at some start"):
        short(breaking, starts={"g": [0.03, 0.05], "e": [-69.0, -78.0]})


def test_bad_arguments(monkeypatch):
    with pytest.raises(ValueError, match="nuts"):
        short(method="gibbs")
    with pytest.raises(ValueError, match="step_size"):
        short(method="mala")
    with pytest.raises(ValueError, match="one for each chain"):
        short(starts=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="scalar"):
        short(lambda p: jnp.ones(2))
    monkeypatch.setitem(__import__("sys").modules, "blackjax", None)
    with pytest.raises(ImportError, match=r"jaxdend\[posterior\]"):
        short()
