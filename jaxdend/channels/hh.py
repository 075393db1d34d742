"""The squid axon of Hodgkin and Huxley, as NEURON's built-in `hh`."""

import math

import jax.numpy as jnp
from jax import Array

from jaxdend._subset import whole
from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import bounded_exp, from_rates, linoid_from, over, q10


class HH(AbstractChannel):
    """Sodium, potassium and leak current of the squid giant axon, with V = -65 mV at rest.

    Source: Hodgkin & Huxley (1952) J Physiol 117:500, doi 10.1113/jphysiol.1952.sp004764. NEURON's
    `hh` with `usetable_hh = 0`; rates are given at 6.3 °C and speed up threefold every 10 °C.

    `i_na = gnabar m³ h (v - ena)`, `i_k = gkbar n⁴ (v - ek)`, `i_l = gl (v - el)`.
    """

    gnabar: Array = param(0.12, unit="S/cm2", doc="sodium conductance")
    gkbar: Array = param(0.036, unit="S/cm2", doc="potassium conductance")
    gl: Array = param(0.0003, unit="S/cm2", doc="leak conductance")
    ena: Array = param(50.0, unit="mV", doc="sodium reversal potential")
    ek: Array = param(-77.0, unit="mV", doc="potassium reversal potential")
    el: Array = param(-54.3, unit="mV", doc="leak reversal potential")

    def gates(self, v: Array, env: Env) -> Gates:
        """Gates m, h, n: steady state (1) and time constant (ms)."""
        q = q10(env.celsius, 6.3, 3.0)
        # six exponentials, of which all but one are powers of exp(-(v + 65) / 80)
        e80 = whole(jnp.exp((jnp.clip(v, -500.0, 500.0) + 65.0) * (-1 / 80.0)))
        e20 = (e80 * e80) * (e80 * e80)
        e10 = e20 * e20
        m = linoid_from(over(v + 40.0, 10.0), e10 * math.exp(2.5))
        n = linoid_from(over(v + 55.0, 10.0), e10 * math.exp(1.0))
        return {
            "m": from_rates(m, 4.0 * bounded_exp((v + 65.0) * (-1 / 18.0)), q),
            "h": from_rates(0.07 * e20, 1.0 / (1.0 + e10 * math.exp(3.0)), q),
            "n": from_rates(0.1 * n, 0.125 * e80, q),
        }

    def current(self, v: Array, x: States, env: Env) -> dict[str | None, Array]:
        """The outward currents by ion, `(k,)` mA/cm² each; the leak has no ion."""
        del env
        return {
            "na": self.gnabar * x["m"] ** 3 * x["h"] * (v - self.ena),
            "k": self.gkbar * x["n"] ** 4 * (v - self.ek),
            None: self.gl * (v - self.el),
        }
