"""Ions: charge, usual concentrations, Nernst potential and Goldman–Hodgkin–Katz current."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxdend.rates import Real, linoid_pair
from jaxdend.units import ZERO_CELSIUS, F, R


@dataclasses.dataclass(frozen=True)
class Ion:
    """What is usually around, where no mechanism says otherwise."""

    name: str
    charge: int  # elementary charges
    inside: float  # mM
    outside: float  # mM
    reversal: float  # mV, where no mechanism moves the concentrations


# NEURON's defaults; NEURON has no chloride, its pair gives -74 mV at 37 °C.
IONS = {
    ion.name: ion
    for ion in (
        Ion("na", 1, 10.0, 140.0, 50.0),
        Ion("k", 1, 54.4, 2.5, -77.0),
        Ion("ca", 2, 5e-5, 2.0, 132.4579341637009),
        Ion("cl", -1, 8.0, 130.0, -74.0),
    )
}


def thermal_voltage(celsius: Real, charge: Real = 1) -> Array:
    """`R T / (z F)` in mV: 25.3 mV at 20 °C for a single charge."""
    return jnp.asarray(1e3 * R / F * (celsius + ZERO_CELSIUS) / charge)


def nernst(charge: Real, inside: Real, outside: Real, celsius: Real) -> Array:
    """Reversal potential `R T / (z F) ln(outside / inside)` in mV.

    **Arguments:** `charge` in elementary charges, signed; `inside`, `outside` in mM, broadcast;
    `celsius` in °C. As in NEURON, a concentration of zero or less gives ±1e6 mV.
    """
    inside, outside = jnp.asarray(inside), jnp.asarray(outside)
    no_inside, no_outside = inside <= 0, outside <= 0
    ratio = jnp.where(no_outside, 1.0, outside) / jnp.where(no_inside, 1.0, inside)
    e = thermal_voltage(celsius, charge) * jnp.log(ratio)
    return jnp.where(no_inside, 1e6, jnp.where(no_outside, -1e6, e))


def ghk(charge: Real, v: Real, inside: Real, outside: Real, celsius: Real) -> Array:
    """Goldman–Hodgkin–Katz current per permeability, outward positive, safe at `v = 0`.

    Multiply by a permeability in cm/s to get mA/cm². With `u = v z F / (R T)` it is
    `z F 1e-3 (inside u / (1 - exp(-u)) - outside u / (exp(u) - 1))` (Hille 2001, eq. 14.5).

    **Arguments:** `charge`, signed; `v` in mV; concentrations in mM; `celsius` in °C; broadcast.
    """
    out, back = linoid_pair(v / thermal_voltage(celsius, charge), 1.0)
    return 1e-3 * charge * F * (inside * out - outside * back)


def ghk_drive(v: Real, inside: Real, outside: Real, scale: Real) -> Array:
    """Goldman–Hodgkin–Katz driving force in mV, to multiply by a conductance density.

    `ghk` scaled so that its slope at very negative `v` is 1, as in the hippocampal calcium channels
    of Migliore and colleagues. With `u = v / scale` it is
    `scale (inside / outside u / (1 - exp(-u)) - u / (exp(u) - 1))`.

    **Arguments:** `v` in mV; concentrations in mM; `scale = R T / (z F)` in mV (`thermal_voltage`,
    or the rounded number of a publication); broadcast.
    """
    out, back = linoid_pair(v, scale)
    return inside / outside * out - back
