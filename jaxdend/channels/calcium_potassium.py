"""Potassium channels that calcium opens: SK, BK and the slow after-hyperpolarisations."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import bounded_exp, from_rates, q10, sigmoid
from jaxdend.units import ZERO_CELSIUS, F


class SK(AbstractChannel):
    """Small-conductance channel, `i = gbar z (v - ek)`, published as `SK_E2`.

    `z_inf = 1 / (1 + (4.3e-4 / c)^4.8)`, `c` the calcium concentration in mM (raised by 1e-7 below
    1e-7), `tau` 1 ms. Köhler et al. (1996) Science 273:1709; Hay et al. (2011) PLoS Comput Biol
    7:e1002107, ModelDB 139653.
    """

    gbar: Array = param(1e-6, unit="S/cm2", doc="conductance")
    ek: Array = param(-85.0, unit="mV", doc="reversal potential")

    ion = "k"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        inside = env.inside["ca"]
        c = jnp.maximum(jnp.where(inside < 1e-7, inside + 1e-7, inside), 1e-9)
        return {"z": (sigmoid(4.8 * jnp.log(c / 4.3e-4)), jnp.ones_like(v))}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["z"] * (v - self.ek)


class BK(AbstractChannel):
    """Large-conductance channel, `i = gbar o (v - ek)`, published as `cagk` and `mykca`.

    `a = abar c / (c + k1 e(d1))`, `b = bbar / (1 + c / (k2 e(d2)))` with calcium `c` in mM and
    `e(d) = exp(-2 d v F / RT)`; `d1` 0.84, `d2` 1; no temperature factor. Moczydlowski & Latorre
    (1983) J Gen Physiol 82:511. The published cut of `o_inf` to 0 below 1e-6 is left out.
    """

    gbar: Array = param(0.01, unit="S/cm2", doc="conductance")
    ek: Array = param(-90.0, unit="mV", doc="reversal potential")
    abar: Array = param(0.28, unit="1/ms", doc="fastest opening")
    bbar: Array = param(0.48, unit="1/ms", doc="fastest closing")
    k1: Array = param(0.48e-3, unit="mM", doc="calcium that opens by half, at 0 mV")
    k2: Array = param(0.13e-6, unit="mM", doc="calcium that stops closing by half, at 0 mV")

    ion = "k"
    reads = ("ca",)

    @classmethod
    def migliore(cls, **changes: Any) -> "BK":
        """The set of `cagk` in Shah et al. (2008) PNAS 105:7869, ModelDB 112546; the defaults."""
        published = {"abar": 0.28, "bbar": 0.48, "k1": 0.48e-3, "k2": 0.13e-6}
        return cls(**{**published, **changes})

    @classmethod
    def poirazi(cls, **changes: Any) -> "BK":
        """`mykca`, a medium AHP: Poirazi, Brannon & Mel (2003) Neuron 37:977, ModelDB 20212."""
        published = {"abar": 0.48, "bbar": 0.28, "k1": 0.18, "k2": 0.011}
        return cls(**{**published, **changes})

    def gates(self, v: Array, env: Env) -> Gates:
        c = env.inside["ca"]
        # the gas constant as the published mechanism rounds it
        u = 2.0 * 1e-3 * F / 8.313424 * v / (ZERO_CELSIUS + env.celsius)
        opening = self.abar * c / (c + self.k1 * bounded_exp(-0.84 * u))
        closing = self.bbar / (1.0 + c / self.k2 * bounded_exp(u))
        return {"o": from_rates(opening, closing)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["o"] * (v - self.ek)


class KAhp(AbstractChannel):
    """After-hyperpolarisation, four calcium ions, `i = gbar w (v - ek)`, published as `KahpM95`.

    `a = (100 c)⁴`, `b = 0.005` (1/ms, calcium `c` in mM), `tau = 1 / (a + b) / 3^((T - 24) / 10)`.
    Migliore, Cook, Jaffe, Turner & Johnston (1995) J Neurophysiol 73:1157, ModelDB 3263 and 112546.
    """

    gbar: Array = param(0.003, unit="S/cm2", doc="conductance")
    ek: Array = param(-90.0, unit="mV", doc="reversal potential")

    ion = "k"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        opening = (100.0 * env.inside["ca"]) ** 4 + jnp.zeros_like(v)
        return {"w": from_rates(opening, jnp.full_like(v, 0.005), q10(env.celsius, 24.0, 3.0))}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["w"] * (v - self.ek)


class SlowAhp(AbstractChannel):
    """Slow after-hyperpolarisation, two calcium ions, `i = gbar m³ (v - ek)`, published as `kca`.

    `m_inf = r / (1 + r)`, `r = (c / cac)²`, `tau = max(0.5, 1 / (beta (1 + r) 3^((T - 22) / 10)))`.
    Destexhe, Contreras, Sejnowski & Steriade (1994) J Neurophysiol 72:803, as in Poirazi, Brannon &
    Mel (2003) Neuron 37:977, ModelDB 20212.
    """

    gbar: Array = param(0.01, unit="S/cm2", doc="conductance")
    ek: Array = param(-80.0, unit="mV", doc="reversal potential")
    beta: Array = param(0.03, unit="1/ms", doc="closing rate")
    cac: Array = param(0.025, unit="mM", doc="calcium at half activation")

    ion = "k"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        opening = (env.inside["ca"] / self.cac) ** 2 * self.beta + jnp.zeros_like(v)
        closing = self.beta + jnp.zeros_like(v)
        inf, tau = from_rates(opening, closing, q10(env.celsius, 22.0, 3.0))
        return {"m": (inf, jnp.maximum(tau, 0.5))}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] ** 3 * (v - self.ek)
