"""Calcium channels of cortical pyramidal neurons, and the thalamic T current."""

import jax.numpy as jnp
from jax import Array

from jaxdend.channels._constants import Q34
from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.mechanisms.ions import ghk
from jaxdend.rates import boltzmann, bounded_exp, from_rates, linoid, q10


class CaHVA(AbstractChannel):
    """High-voltage-activated calcium, `i = gbar m² h (v - e_ca)`.

    Published as `Ca_HVA` (Hay), `ical` (Pospischil, 1.7e-4 S/cm² in bursting cells), and, with a
    temperature factor, as Mainen's `ca` (here `Ca`). With `E(x, y) = x / (1 - exp(-x / y))`:
    `m: a = 0.055 E(v + 27, 3.8), b = 0.94 exp(-(v + 75) / 17)`;
    `h: a = 4.57e-4 exp(-(v + 13) / 50), b = 0.0065 / (1 + exp(-(v + 15) / 28))`.
    Reuveni, Friedman, Amitai & Gutnick (1993) J Neurosci 13:4609; Hay et al. (2011) PLoS Comput
    Biol 7:e1002107, ModelDB 139653.
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")

    ion = "ca"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        return reuveni(v)

    def current(self, v: Array, x: States, env: Env) -> Array:
        return self.gbar * x["m"] ** 2 * x["h"] * (v - env.e["ca"])


def reuveni(v: Array, speed: Array | float = 1.0) -> Gates:
    """Gates m and h of the high-voltage-activated calcium channel, see `CaHVA`."""
    m = 0.055 * linoid(v + 27.0, 3.8), 0.94 * bounded_exp(-(v + 75.0) / 17.0)
    h = 4.57e-4 * bounded_exp(-(v + 13.0) / 50.0), 0.0065 * boltzmann(v, -15.0, 28.0)
    return {"m": from_rates(*m, speed), "h": from_rates(*h, speed)}


class CaLVA(AbstractChannel):
    """Low-voltage-activated calcium, `i = gbar m² h (v - e_ca)`, published as `Ca_LVAst`.

    `m_inf = 1 / (1 + exp(-(v + 40) / 6))`, `tau_m = (5 + 20 / (1 + exp((v + 35) / 5))) / Q`;
    `h_inf = 1 / (1 + exp((v + 90) / 6.4))`, `tau_h = (20 + 50 / (1 + exp((v + 50) / 7))) / Q`;
    `Q = 2.3^1.3`. Avery & Johnston (1996) J Neurosci 16:5567; Randall & Tsien (1997)
    Neuropharmacology 36:879; Hay et al. (2011) PLoS Comput Biol 7:e1002107, ModelDB 139653.
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")

    ion = "ca"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        return {
            "m": (boltzmann(v, -40.0, 6.0), (5.0 + 20.0 * boltzmann(v, -35.0, -5.0)) / Q34),
            "h": (boltzmann(v, -90.0, -6.4), (20.0 + 50.0 * boltzmann(v, -50.0, -7.0)) / Q34),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        return self.gbar * x["m"] ** 2 * x["h"] * (v - env.e["ca"])


class CaTGHK(AbstractChannel):
    """Thalamic T current, `i = pbar m² h GHK(v)`, published as `itGHK`.

    With `u = v + shift` and `w = u + actshift`: `m_inf = 1 / (1 + exp(-(w + 57) / 6.2))`,
    `tau_m = (0.612 + 1 / (exp(-(w + 132) / 16.7) + exp((w + 16.8) / 18.2))) / 5^((T - 24) / 10)`;
    `h_inf = 1 / (1 + exp((u + 81) / 4))`, `tau_h = exp((u + 467) / 66.6) / 3^((T - 24) / 10)` below
    `u = -80`, else `(28 + exp(-(u + 22) / 10.5)) / 3^((T - 24) / 10)`.
    Huguenard & McCormick (1992) J Neurophysiol 68:1373; Destexhe, Neubig, Ulrich & Huguenard
    (1998) J Neurosci 18:3574, ModelDB 279.
    """

    pbar: Array = param(2e-4, unit="cm/s", doc="permeability")
    shift: Array = param(2.0, unit="mV", doc="shift of all curves by screening charge")
    actshift: Array = param(0.0, unit="mV", doc="further shift of activation")

    ion = "ca"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        u = v + self.shift
        w = u + self.actshift
        rates = bounded_exp(-(w + 132.0) / 16.7) + bounded_exp((w + 16.8) / 18.2)
        low = u < -80.0
        slow = bounded_exp(jnp.where(low, (u + 467.0) / 66.6, -(u + 22.0) / 10.5))
        tau_h = slow + jnp.where(low, 0.0, 28.0)
        return {
            "m": (boltzmann(w, -57.0, 6.2), (0.612 + 1.0 / rates) / q10(env.celsius, 24.0, 5.0)),
            "h": (boltzmann(u, -81.0, -4.0), tau_h / q10(env.celsius, 24.0, 3.0)),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        flux = ghk(2, v, env.inside["ca"], env.outside["ca"], env.celsius)
        return self.pbar * x["m"] ** 2 * x["h"] * flux
