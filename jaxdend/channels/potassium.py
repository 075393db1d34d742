"""Voltage-gated potassium channels of Hay's neuron, and the delayed rectifier of CA1.

Hay et al. (2011) PLoS Comput Biol 7:e1002107, ModelDB 139653; the rates of Korngreen & Sakmann
(2000) J Physiol 525:621 are shifted by 10 mV and frozen at 34 °C (`Q = 2.3^1.3`).
"""

import jax.numpy as jnp
from jax import Array

from jaxdend.channels._constants import Q34, thermal_slope
from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import barrier, boltzmann, bounded_exp


class KPst(AbstractChannel):
    """Slowly inactivating potassium, `i = gbar m² h (v - ek)`, published as `K_Pst`.

    With `w = v + 10`: `m_inf = 1 / (1 + exp(-(w + 1) / 12))`;
    `tau_m = (1.25 + 175.03 exp(0.026 w)) / Q` below `w = -50`, else
    `(1.25 + 13 exp(-0.026 w)) / Q`; `h_inf = 1 / (1 + exp((w + 54) / 11))`,
    `tau_h = (360 + (1010 + 24 (w + 55)) exp(-((w + 75) / 48)²)) / Q`.
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")
    ek: Array = param(-85.0, unit="mV", doc="reversal potential")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        w = v + 10.0
        low = w < -50.0
        tau_m = 1.25 + jnp.where(low, 175.03, 13.0) * bounded_exp(jnp.where(low, 0.026, -0.026) * w)
        tau_h = 360.0 + (1010.0 + 24.0 * (w + 55.0)) * jnp.exp(-(((w + 75.0) / 48.0) ** 2))
        return {
            "m": (boltzmann(w, -1.0, 12.0), tau_m / Q34),
            "h": (boltzmann(w, -54.0, -11.0), tau_h / Q34),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] ** 2 * x["h"] * (v - self.ek)


class KTst(AbstractChannel):
    """Fast inactivating potassium, `i = gbar m⁴ h (v - ek)`, published as `K_Tst`.

    With `w = v + 10`: `m_inf = 1 / (1 + exp(-w / 19))`,
    `tau_m = (0.34 + 0.92 exp(-((w + 71) / 59)²)) / Q`; `h_inf = 1 / (1 + exp((w + 66) / 10))`,
    `tau_h = (8 + 49 exp(-((w + 73) / 23)²)) / Q`.
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")
    ek: Array = param(-85.0, unit="mV", doc="reversal potential")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        w = v + 10.0
        tau_m = 0.34 + 0.92 * jnp.exp(-(((w + 71.0) / 59.0) ** 2))
        tau_h = 8.0 + 49.0 * jnp.exp(-(((w + 73.0) / 23.0) ** 2))
        return {
            "m": (boltzmann(w, 0.0, 19.0), tau_m / Q34),
            "h": (boltzmann(w, -66.0, -10.0), tau_h / Q34),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] ** 4 * x["h"] * (v - self.ek)


class SKv3_1(AbstractChannel):  # noqa: N801
    """Fast delayed rectifier Kv3.1, `i = gbar m (v - ek)`, published under this name.

    `m_inf = 1 / (1 + exp(-(v - 18.7) / 9.7))`, `tau = 4 / (1 + exp(-(v + 46.56) / 44.14))`, no
    temperature factor. Rettig et al. (1992) EMBO J 11:2473, as used by Hay et al. (2011).
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")
    ek: Array = param(-85.0, unit="mV", doc="reversal potential")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        return {"m": (boltzmann(v, 18.7, 9.7), 4.0 * boltzmann(v, -46.56, 44.14))}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] * (v - self.ek)


class KdrCA1(AbstractChannel):
    """Delayed rectifier of CA1 pyramidal neurons, `i = gbar n (v - ek)`, published as `kdr`.

    `n_inf = 1 / (1 + a)`, `tau = max(2, exp(-2.1 u) / (0.02 (1 + a)))` with `a = exp(-3 u)`,
    `u = (v - 13) F / RT`. Migliore, Hoffman, Magee & Johnston (1999) J Comput Neurosci 7:5,
    ModelDB 2796 and 55035.
    """

    gbar: Array = param(0.003, unit="S/cm2", doc="conductance")
    ek: Array = param(-90.0, unit="mV", doc="reversal potential")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        inf, tau = barrier(-3.0 * (v - 13.0) * thermal_slope(env.celsius), 0.7, 0.02)
        return {"n": (inf, jnp.maximum(tau, 2.0))}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["n"] * (v - self.ek)
