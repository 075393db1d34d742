import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.fitting import Parameter, ParameterSpace, sbi_params, sbi_prior, sbi_simulator

SPACE = ParameterSpace(
    {"g": Parameter(1e-3, 1.0, shape=(2,)), "e": Parameter(-90.0, -50.0, scale="linear")}
)


def model(p):
    return jnp.stack([p["g"] @ jnp.asarray([1.0, 2.0]), jnp.where(p["e"] < -80, jnp.nan, p["e"])])


def test_batches_of_any_length_and_failed_rows():
    draw, simulator = sbi_simulator(model, SPACE, chunk=8)
    theta = draw(21, 0)
    x = simulator(theta)
    failed = theta[:, 2] < -80
    assert x.shape == (21, 2)
    assert 0 < failed.sum() < 21
    assert np.isnan(x[failed]).all()
    expected = np.exp(theta[:, 0]) + 2 * np.exp(theta[:, 1])
    np.testing.assert_allclose(x[~failed, 0], expected[~failed])
    np.testing.assert_allclose(x[~failed, 1], theta[~failed, 2])
    np.testing.assert_array_equal(simulator(theta[:3]), x[:3])
    np.testing.assert_array_equal(simulator(theta[0]), x[:1])


def test_prior_is_uniform_and_seeded():
    draw, _ = sbi_simulator(model, SPACE)
    theta = draw(4000, 1)
    np.testing.assert_array_equal(theta, draw(4000, 1))
    np.testing.assert_allclose(theta.mean(axis=0), [np.log(1e-3) / 2] * 2 + [-70], atol=0.5)
    params = sbi_params(SPACE, theta)
    assert params["g"].shape == (4000, 2)
    assert float(params["g"].min()) >= 1e-3


def test_a_summary_joins_the_program():
    draw, simulator = sbi_simulator(model, SPACE, summary=lambda x: x[:1] ** 2)
    _, plain = sbi_simulator(lambda p: model(p)[:1], SPACE)
    theta = draw(4, 0)
    np.testing.assert_allclose(simulator(theta), plain(theta) ** 2)


def test_bad_theta():
    _, simulator = sbi_simulator(model, SPACE)
    with pytest.raises(ValueError, match=r"\(b, 3\)"):
        simulator(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="outside"):
        simulator(np.zeros((1, 3)))


def test_the_prior_of_torch_or_a_clear_error(monkeypatch):
    try:
        import torch
    except ImportError:
        with pytest.raises(ImportError, match="torch"):
            sbi_prior(SPACE)
        return
    prior = sbi_prior(SPACE)
    theta = prior.sample((5,))
    assert theta.shape == (5, 3)
    assert torch.isfinite(prior.log_prob(theta)).all()
