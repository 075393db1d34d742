"""Input and transfer resistance, attenuation and sag, against cable theory and long steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.cell import Cell
from jaxdend.channels import HH, Leak
from jaxdend.morphology import ball_and_stick, single_compartment
from jaxdend.protocols import resistances, step_response
from jaxdend.rest import rest
from jaxdend.solvers import BackwardEuler


def cable(g=1e-4) -> Cell:
    """A sealed cylinder, 500 by 2 µm, in 251 compartments."""
    bare = Cell(single_compartment(500.0, 2.0), max_length=2.0)
    return bare.insert(Leak(g=g, e=-65.0))


def test_a_sealed_cylinder_has_the_resistances_of_cable_theory():
    cell = cable()
    ends = [0, cell.n - 1]
    found = resistances(cell, ends)
    lam = np.sqrt(1e4 * 2e-4 / (4 * 100.0))  # cm
    end = 1e4 / (np.pi * 2e-4 * lam) * 1e-6  # MΩ, of the half-infinite cable
    inset = 1e-4 / lam  # the first compartment's centre lies 1 µm inside
    length = 0.05 / lam
    assert float(found.input[0]) == pytest.approx(
        end * np.cosh(length - inset) * np.cosh(inset) / np.sinh(length), rel=1e-4
    )
    attenuation = np.cosh(inset) / np.cosh(length - inset)
    np.testing.assert_allclose(found.attenuation, [[1, attenuation], [attenuation, 1]], rtol=1e-4)
    np.testing.assert_allclose(found.transfer, found.transfer.T, rtol=1e-10)
    np.testing.assert_allclose(found.rest, -65.0)


def test_resistance_has_a_gradient():
    """A single compartment: R = 1 / (g area), so dR/dg = -R / g."""

    def resistance(g):
        cell = Cell(single_compartment(20.0, 20.0), max_length=50.0).insert(Leak(g=g, e=-70.0))
        return resistances(cell, 0).input[0]

    value, slope = jax.value_and_grad(resistance)(2e-4)
    assert float(value) == pytest.approx(1 / (2e-4 * np.pi * 400 * 1e-2), rel=1e-9)
    assert float(slope) == pytest.approx(-float(value) / 2e-4, rel=1e-6)


def test_small_steps_give_the_slope_resistance_of_an_active_cell():
    """Squid membrane in the soma: it sags, and the end of a small step is the linear answer."""
    cell = Cell(ball_and_stick(), max_length=50.0)
    cell = cell.insert(HH(), "soma").insert(Leak(g=1e-4, e=-65.0), "basal")
    sites = [0, cell.n - 1]
    state = rest(cell)
    linear = resistances(cell, sites)
    steps = step_response(
        cell, 0, [-1e-5, 1e-5], sites=sites, duration=300.0, dt=0.1, v0=state,
        solver=BackwardEuler(),
    )  # fmt: skip
    np.testing.assert_allclose(jnp.mean(steps.steady, axis=0), linear.transfer[0], rtol=1e-6)
    np.testing.assert_allclose(steps.base, linear.rest)
    assert np.all(steps.sag > 0.1)
    assert np.all(steps.peak > steps.steady)


def test_an_amplitude_of_zero_is_refused():
    cell = Cell(single_compartment(), max_length=50.0).insert(Leak(g=1e-4, e=-65.0))
    with pytest.raises(ValueError, match=r"no amplitude may be 0 nA; got \[-0.1, 0.0\]"):
        step_response(cell, 0, [-0.1, 0.0])


def test_a_site_without_membrane_is_refused():
    cell = Cell(ball_and_stick(), max_length=50.0, end_nodes=True).insert(Leak(g=1e-4, e=-65.0))
    bare = int(np.flatnonzero(np.asarray(cell.area) == 0)[0])
    with pytest.raises(ValueError, match=f"site {bare} has no membrane"):
        resistances(cell, [0, bare])
