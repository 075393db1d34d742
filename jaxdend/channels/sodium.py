"""Sodium channels of Hay's layer 5 pyramidal neuron: transient (two) and persistent.

Hay, Hill, Schürmann, Markram & Segev (2011) PLoS Comput Biol 7:e1002107, ModelDB 139653. Rates were
measured at 21 °C and are frozen at 34 °C: `Q = 2.3^1.3`. With `E(x, y) = x / (1 - exp(-x / y))`.
"""

from jax import Array

from jaxdend.channels._constants import Q34
from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import boltzmann, from_rates, linoid, linoid_pair


def _activation(v: Array, half: float | Array) -> tuple[Array, Array]:
    up, down = linoid_pair(v - half, 6.0)
    return from_rates(0.182 * up, 0.124 * down, Q34)


class AbstractTransient(AbstractChannel):
    """Transient sodium, `i = gbar m³ h (v - ena)`.

    `m: a = 0.182 E(v - half_m, 6), b = 0.124 E(-(v - half_m), 6)`;
    `h: a = 0.015 E(-(v - half_h), 6), b = 0.015 E(v - half_h, 6)`; `tau = 1 / (a + b) / Q`.
    Colbert & Pan (2002) Nat Neurosci 5:533, as used by Hay et al. (2011).
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")
    ena: Array = param(50.0, unit="mV", doc="reversal potential")
    half_m: Array = param(-38.0, unit="mV", doc="centre of the activation rates")
    half_h: Array = param(-66.0, unit="mV", doc="half inactivation")

    ion = "na"

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        up, down = linoid_pair(v - self.half_h, 6.0)
        return {
            "m": _activation(v, self.half_m),
            "h": from_rates(0.015 * down, 0.015 * up, Q34),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] ** 3 * x["h"] * (v - self.ena)


class NaTa(AbstractTransient):
    """Transient sodium of the axon, published as `NaTa_t`: centres at -38 and -66 mV."""


class NaTs2(AbstractTransient):
    """Transient sodium of soma and dendrites, published as `NaTs2_t`: `NaTa` shifted by 6 mV."""

    half_m: Array = param(-32.0, unit="mV", doc="centre of the activation rates")
    half_h: Array = param(-60.0, unit="mV", doc="half inactivation")


class Nap(AbstractChannel):
    """Persistent sodium, `i = gbar m³ h (v - ena)`, published as `Nap_Et2`.

    `m_inf = 1 / (1 + exp(-(v + 52.6) / 4.6))`, `tau_m` six times that of `NaTa`;
    `h_inf = 1 / (1 + exp((v + 48.8) / 10))`, `tau_h = 1 / (a + b) / Q` with
    `a = 2.88e-6 E(-(v + 17), 4.63)`, `b = 6.94e-6 E(v + 64.4, 2.63)`.
    Magistretti & Alonso (1999) J Gen Physiol 114:491, as used by Hay et al. (2011).
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")
    ena: Array = param(50.0, unit="mV", doc="reversal potential")

    ion = "na"

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        _, tau_m = _activation(v, -38.0)
        closing, opening = linoid(-(v + 17.0), 4.63), linoid(v + 64.4, 2.63)
        _, tau_h = from_rates(2.88e-6 * closing, 6.94e-6 * opening, Q34)
        return {
            "m": (boltzmann(v, -52.6, 4.6), 6.0 * tau_m),
            "h": (boltzmann(v, -48.8, -10.0), tau_h),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] ** 3 * x["h"] * (v - self.ena)
