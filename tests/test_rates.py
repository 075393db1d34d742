"""Rate functions against accurate float64 arithmetic, in both precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend import rates

SMALL = np.logspace(-30, 1.9, 200)
POINTS = np.unique(np.concatenate([np.linspace(-80, 80, 641), SMALL, -SMALL, [0.5, -0.5]]))


def linoid(u: np.ndarray) -> np.ndarray:
    near = np.where(u == 0, 1.0, u)
    return np.where(u == 0, 1.0, near / -np.expm1(-near))


def linoid_slope(u: np.ndarray) -> np.ndarray:
    small = np.abs(u) < 0.05
    far = np.where(small, 1.0, u)
    exact = (-np.expm1(-far) - far * np.exp(-far)) / np.expm1(-far) ** 2
    series = 0.5 + u / 6 - u**3 / 180 + u**5 / 5040
    return np.where(small, series, exact)


def exprel_slope(u: np.ndarray) -> np.ndarray:
    small = np.abs(u) < 0.05
    far = np.where(small, 1.0, u)
    exact = (np.exp(far) - np.expm1(far) / far) / far
    series = 1 / 2 + u / 3 + u**2 / 8 + u**3 / 30 + u**4 / 144 + u**5 / 840 + u**6 / 5760
    return np.where(small, series, exact)


def exprel(u: np.ndarray) -> np.ndarray:
    return np.where(u == 0, 1.0, np.expm1(u) / np.where(u == 0, 1.0, u))


@pytest.mark.parametrize(("dtype", "tol"), [(jnp.float64, 1e-11), (jnp.float32, 1e-6)])
@pytest.mark.parametrize(
    ("f", "value", "slope"),
    [
        (lambda u: rates.linoid(u, 1.0), linoid, linoid_slope),
        (lambda u: rates.linoid_pair(-u, 1.0)[1], linoid, linoid_slope),
        (rates.exprel, exprel, exprel_slope),
    ],
    ids=["linoid", "linoid_pair", "exprel"],
)
def test_value_and_slope_are_accurate(f, value, slope, dtype, tol):
    u = jnp.asarray(POINTS, dtype)
    got, dgot = jax.jit(lambda u: jax.jvp(f, (u,), (jnp.ones_like(u),)))(u)
    exact = np.asarray(u, np.float64)
    assert got.dtype == dgot.dtype == dtype
    np.testing.assert_allclose(got, value(exact), rtol=tol)
    np.testing.assert_allclose(dgot, slope(exact), rtol=tol)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("y", [0.5, 2.63, 18.0])
def test_linoid_never_overflows(dtype, y):
    x = jnp.asarray(np.append(np.linspace(-360, 360, 721), [1e-20, -1e-20]), dtype)
    f = jax.vmap(jax.value_and_grad(lambda x: rates.linoid(x, jnp.asarray(y, dtype))))
    second = jax.vmap(jax.grad(jax.grad(lambda x: rates.linoid(x, jnp.asarray(y, dtype)))))
    value, slope = f(x)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()
    assert np.isfinite(second(x)).all()
    assert (np.diff(value[:721]) >= 0).all()
    np.testing.assert_allclose(rates.linoid(jnp.zeros((), dtype), y), y, rtol=1e-7)


def test_linoid_pair_differs_by_x():
    x = jnp.linspace(-100, 100, 401)
    up, down = rates.linoid_pair(x, 7.0)
    np.testing.assert_allclose(up - down, x, atol=1e-12)


def test_exprel_at_infinity():
    assert float(rates.exprel(-jnp.inf)) == 0.0
    assert float(jax.grad(rates.exprel)(-1e30)) == pytest.approx(1e-60)


def test_boltzmann_and_q10():
    assert float(rates.boltzmann(-40.0, -40.0, 5.0)) == 0.5
    assert float(rates.boltzmann(-30.0, -40.0, 5.0)) == pytest.approx(1 / (1 + np.exp(-2)))
    assert float(rates.boltzmann(-30.0, -40.0, -5.0)) == pytest.approx(1 / (1 + np.exp(2)))
    assert float(rates.q10(16.3, 6.3, 3.0)) == pytest.approx(3.0)
    assert float(rates.q10(6.3, 6.3, 3.0)) == 1.0


def test_from_rates():
    inf, tau = rates.from_rates(jnp.asarray(3.0), jnp.asarray(1.0), 2.0)
    assert (float(inf), float(tau)) == (0.75, 0.125)


def test_barrier_is_the_ratio_of_exponentials():
    x = np.linspace(-30, 30, 61)
    inf, tau = rates.barrier(x, 0.4, 0.05)
    np.testing.assert_allclose(inf, 1 / (1 + np.exp(x)), rtol=1e-12)
    np.testing.assert_allclose(tau, np.exp(0.4 * x) / (0.05 * (1 + np.exp(x))), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "tol"), [(jnp.float64, 1e-14), (jnp.float32, 1e-5)])
def test_bounded_exp_is_exp_and_then_constant(dtype, tol):
    x = jnp.asarray([-400.0, -36.5, -35.0, -1.0, 0.0, 1.0, 35.0, 36.5, 400.0], dtype)
    value, slope = jax.vmap(jax.value_and_grad(rates.bounded_exp))(x)
    assert value.dtype == slope.dtype == dtype
    np.testing.assert_allclose(value, np.exp(np.clip(np.asarray(x, float), -36, 36)), rtol=tol)
    np.testing.assert_allclose(slope, np.where(np.abs(x) < 36, value, 0.0))
    assert np.isfinite((1 / value) ** 2).all()


@pytest.mark.parametrize(("dtype", "tol"), [(jnp.float64, 1e-13), (jnp.float32, 1e-5)])
def test_exp_over_is_the_quotient(dtype, tol):
    b = np.linspace(-150.0, 150.0, 301)
    for share in (0.0, 0.3, 0.64, 1.0):
        f = jax.vmap(jax.value_and_grad(lambda b, share=share: rates.exp_over(share * b, b)))
        value, slope = f(jnp.asarray(b, dtype))
        exact = np.exp(share * b) / (1 + np.exp(b))
        known = exact > 1e-15
        np.testing.assert_allclose(value[known], exact[known], rtol=tol)
        want = exact * (share - 1 / (1 + np.exp(-b)))
        np.testing.assert_allclose(slope[known], want[known], rtol=tol, atol=tol)
        assert np.isfinite(value).all()
        assert np.isfinite(slope).all()


def test_interpolated_is_a_clamped_table():
    v = np.concatenate([np.linspace(-150, 120, 541), [-100.0, 70.0, -99.9999999]])
    grid = np.linspace(-100, 70, 1001)
    got = rates.interpolated(lambda u: {"s": jnp.sin(u / 9)}, jnp.asarray(v), -100.0, 70.0, 1000)
    np.testing.assert_allclose(got["s"], np.interp(v, grid, np.sin(grid / 9)), atol=1e-12)


def test_interpolated_slope_is_the_chord():
    def f(v):
        return rates.interpolated(jnp.square, v, 0.0, 10.0, 10)

    assert float(jax.grad(f)(3.3)) == pytest.approx(7.0)
    assert float(jax.grad(f)(11.0)) == 0.0
    assert float(f(10.0)) == pytest.approx(100.0)
