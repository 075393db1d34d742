"""Calcium channels of CA1 pyramidal neurons: L, N and T type, R type and dendritic spikes."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxdend.channels._constants import calcium_scale
from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.mechanisms.ions import ghk_drive
from jaxdend.rates import barrier, boltzmann, bounded_exp, from_rates, linoid, q10

_KI = 0.001  # mM, half inactivation by calcium


def _drive(v: Array, env: Env) -> Array:
    return ghk_drive(v, env.inside["ca"], env.outside["ca"], calcium_scale(env.celsius))


class CaLCA1(AbstractChannel):
    """L-type calcium, `i = gbar m² ki / (ki + ca) G(v)`, published as `cal`.

    `G` is the driving force `ghk_drive`, `ki` 1 µM. `m_inf = a / (a + b)` with
    `a = 15.69 E(v - 81.5, 10)`, `b = 0.29 exp(-v / 10.86)`, `E(x, y) = x / (1 - exp(-x / y))`;
    `tau = max(0.2, exp(0.6 x) / (0.15 (1 + exp(x)))) / 5^((T - 25) / 10)`, `x = 0.0756 (v + 75)`.
    Jaffe et al. (1994) J Neurophysiol 71:1065; Magee & Johnston (1995) J Physiol 487:67; as in Shah
    et al. (2008) PNAS 105:7869, ModelDB 112546.
    """

    gbar: Array = param(0.003, unit="S/cm2", doc="conductance")

    ion = "ca"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        inf, _ = from_rates(15.69 * linoid(v - 81.5, 10.0), 0.29 * bounded_exp(-v / 10.86))
        _, tau = barrier(0.0378 * 2.0 * (v + 75.0), 0.6, 0.15)
        return {"m": (inf, jnp.maximum(tau, 0.2) / q10(env.celsius, 25.0, 5.0))}

    def current(self, v: Array, x: States, env: Env) -> Array:
        blocked = _KI / (_KI + env.inside["ca"])
        return self.gbar * x["m"] ** 2 * blocked * _drive(v, env)


class CaNCA1(AbstractChannel):
    """N-type calcium, `i = gbar m² h ki / (ki + ca) G(v)`, published as `can`.

    `m_inf = a / (a + b)`, `a = 0.1967 E(v - 19.88, 10)`, `b = 0.046 exp(-v / 20.73)`;
    `tau_m = max(0.2, exp(0.6 x) / (0.055 (1 + exp(x)))) / 5^((T - 25) / 10)` with `x` as there;
    `h_inf = c / (c + d)`, `c = 1.6e-4 exp(-v / 48.4)`, `d = 1 / (1 + exp((39 - v) / 10))`, `tau_h`
    80 ms. `G`, `E` and sources as for `CaLCA1`.
    """

    gbar: Array = param(0.0003, unit="S/cm2", doc="conductance")

    ion = "ca"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        m, _ = from_rates(0.1967 * linoid(v - 19.88, 10.0), 0.046 * bounded_exp(-v / 20.73))
        _, tau = barrier(0.0378 * 2.0 * (v + 75.0), 0.6, 0.055)
        h, _ = from_rates(1.6e-4 * bounded_exp(-v / 48.4), boltzmann(v, 39.0, 10.0))
        return {
            "m": (m, jnp.maximum(tau, 0.2) / q10(env.celsius, 25.0, 5.0)),
            "h": (h, jnp.full_like(v, 80.0)),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        blocked = _KI / (_KI + env.inside["ca"])
        return self.gbar * x["m"] ** 2 * x["h"] * blocked * _drive(v, env)


class CaTCA1(AbstractChannel):
    """T-type calcium, `i = gbar m² h G(v)`, published as `cat`.

    `m_inf = 1 / (1 + exp(-(v + 60) / 10))`, `h_inf = 1 / (1 + exp((v + 85) / 10))`;
    `tau_m = max(0.2, exp(0.61 x) / (5^((T - 25) / 10) 0.04 (1 + exp(x))))`, `x = 0.0756 (v + 28)`;
    `tau_h = max(10, exp(0.6 y) / (0.015 (1 + exp(y))))`, `y = 0.1323 (v + 75)`. `G` and sources as
    for `CaLCA1`.
    """

    gbar: Array = param(0.003, unit="S/cm2", doc="conductance")

    ion = "ca"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        rate = 0.04 * q10(env.celsius, 25.0, 5.0)
        _, tau_m = barrier(0.0378 * 2.0 * (v + 28.0), 0.61, rate)
        _, tau_h = barrier(0.0378 * 3.5 * (v + 75.0), 0.6, 0.015)
        return {
            "m": (boltzmann(v, -60.0, 10.0), jnp.maximum(tau_m, 0.2)),
            "h": (boltzmann(v, -85.0, -10.0), jnp.maximum(tau_h, 10.0)),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        return self.gbar * x["m"] ** 2 * x["h"] * _drive(v, env)


class CaPoirazi(AbstractChannel):
    """Calcium channel with fixed time constants, `i = gbar m³ h (v - e_ca)`.

    `m_inf = 1 / (1 + exp(-(v - half_m) / slope_m))`,
    `h_inf = 1 / (1 + exp((v - half_h) / slope_h))`.
    Poirazi, Brannon & Mel (2003) Neuron 37:977, ModelDB 20212. The defaults are `CaPoirazi.r_type`.
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")
    half_m: Array = param(-48.5, unit="mV", doc="half activation")
    slope_m: Array = param(3.0, unit="mV", doc="slope of activation")
    tau_m: Array = param(50.0, unit="ms", doc="time constant of activation")
    half_h: Array = param(-53.0, unit="mV", doc="half inactivation")
    slope_h: Array = param(1.0, unit="mV", doc="slope of inactivation")
    tau_h: Array = param(5.0, unit="ms", doc="time constant of inactivation")

    ion = "ca"
    reads = ("ca",)

    @classmethod
    def r_type(cls, **changes: Any) -> "CaPoirazi":
        """The R-type channel of the dendrites, published as `car`."""
        published = {"half_m": -48.5, "slope_m": 3.0, "tau_m": 50.0}
        published |= {"half_h": -53.0, "slope_h": 1.0, "tau_h": 5.0}
        return cls(**{**published, **changes})

    @classmethod
    def r_type_soma(cls, **changes: Any) -> "CaPoirazi":
        """The R-type channel of the soma, slower and at lower voltages, published as `somacar`."""
        published = {"half_m": -60.0, "slope_m": 3.0, "tau_m": 100.0}
        published |= {"half_h": -62.0, "slope_h": 1.0, "tau_h": 5.0}
        return cls(**{**published, **changes})

    @classmethod
    def spike(cls, **changes: Any) -> "CaPoirazi":
        """The high-threshold channel of distal dendrites that carries calcium spikes, `calH`."""
        published = {"half_m": -37.0, "slope_m": 1.0, "tau_m": 3.6}
        published |= {"half_h": -41.0, "slope_h": 0.5, "tau_h": 29.0}
        return cls(**{**published, **changes})

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        still = jnp.zeros_like(v)
        return {
            "m": (boltzmann(v, self.half_m, self.slope_m), still + self.tau_m),
            "h": (boltzmann(v, self.half_h, -self.slope_h), still + self.tau_h),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        return self.gbar * x["m"] ** 3 * x["h"] * (v - env.e["ca"])
