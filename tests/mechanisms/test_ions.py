"""Nernst and Goldman–Hodgkin–Katz, against their formulas and against NEURON."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import PRECISIONS, approx, close, tol
from jaxdend.mechanisms.ions import IONS, ghk, ghk_drive, nernst, thermal_voltage
from jaxdend.units import F, R

V = np.concatenate([np.linspace(-200, 200, 401), [1e-12, -1e-7, 1e-4]])


def test_nernst_of_calcium_in_hays_neuron():
    assert float(nernst(2, 5e-5, 2.0, 6.3)) == approx(127.5895, abs=5e-5)


def test_nernst_signs_and_empty_sides():
    assert float(nernst(1, 54.4, 2.5, 6.3)) < -70
    assert float(nernst(-1, 8.0, 130.0, 37.0)) == approx(IONS["cl"].reversal, abs=1)
    assert float(nernst(2, 0.0, 2.0, 6.3)) == 1e6
    assert float(nernst(2, 1e-4, 0.0, 6.3)) == -1e6
    assert np.isfinite(jax.grad(lambda c: nernst(2, c, 2.0, 6.3))(0.0))


def test_ghk_is_its_formula_and_vanishes_at_the_nernst_potential():
    v = V[V != 0]
    u = v * 2 * F / (R * 308.15) / 1e3
    exact = 2 * F * 1e-3 * u * (1e-3 - 2 * np.exp(-u)) / -np.expm1(-u)
    close(ghk(2, v, 1e-3, 2.0, 35.0), exact, rtol=1e-9)
    e = nernst(2, 1e-3, 2.0, 35.0)
    assert float(ghk(2, e, 1e-3, 2.0, 35.0)) == approx(0, abs=tol(1e-10, 1e-5))
    assert float(ghk(2, 0.0, 1e-3, 2.0, 35.0)) == approx(2 * F * 1e-3 * (1e-3 - 2))


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("charge", [1, 2, -1])
def test_ghk_is_finite_with_its_gradient(charge, dtype):
    v = jnp.asarray(V, dtype)

    def total(v, inside, outside):
        return ghk(charge, v, inside, outside, jnp.asarray(35.0, dtype)).sum()

    got = jax.grad(total, argnums=(0, 1, 2))(v, jnp.asarray(1e-4, dtype), jnp.asarray(2.0, dtype))
    assert all(np.isfinite(g).all() and g.dtype == dtype for g in got)


def test_ghk_drive_is_ghk_scaled():
    scale = thermal_voltage(35.0, 2)
    drive = ghk_drive(V, 1e-3, 2.0, scale)
    close(drive * 2 * F * 1e-3 * 2.0 / scale, ghk(2, V, 1e-3, 2.0, 35.0))
    slope = jax.grad(lambda v: ghk_drive(v, 1e-3, 2.0, scale))(-200.0)
    assert float(slope) == approx(1.0, abs=1e-4)


def test_against_neuron():
    h = pytest.importorskip("neuron").h
    h.celsius = 21.0
    for charge, inside, outside in ((2, 1e-4, 2.0), (1, 54.4, 2.5), (-1, 8.0, 130.0)):
        assert float(nernst(charge, inside, outside, 21.0)) == approx(
            h.nernst(inside, outside, charge), rel=1e-10
        )
        for v in (-80.0, -1.0, 30.0):
            assert float(ghk(charge, v, inside, outside, 21.0)) == approx(
                h.ghk(v, inside, outside, charge), rel=1e-8
            )


def test_defaults_are_neurons():
    assert (IONS["ca"].inside, IONS["ca"].outside) == (5e-5, 2.0)
    assert (IONS["na"].inside, IONS["na"].outside) == (10.0, 140.0)
    assert (IONS["k"].inside, IONS["k"].outside) == (54.4, 2.5)
