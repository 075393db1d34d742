"""The fast-spiking interneuron of Wang and Buzsáki."""

from jax import Array

from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import boltzmann, bounded_exp, from_rates, linoid


class WangBuzsaki(AbstractChannel):
    """Sodium, potassium and leak of a hippocampal fast-spiking interneuron.

    `i_na = gnabar m_inf³ h (v - ena)`, `i_k = gkbar n⁴ (v - ek)`, `i_l = gl (v - el)`; with
    `E(x, y) = x / (1 - exp(-x / y))`, `tau = 1 / (a + b) / phi`:
    `m: a = 0.1 E(v + 35, 10), b = 4 exp(-(v + 60) / 18)`, at once;
    `h: a = 0.07 exp(-(v + 58) / 20), b = 1 / (1 + exp(-(v + 28) / 10))`;
    `n: a = 0.01 E(v + 34, 10), b = 0.125 exp(-(v + 44) / 80)`.
    Wang & Buzsáki (1996) J Neurosci 16:6402.
    """

    gnabar: Array = param(0.035, unit="S/cm2", doc="sodium conductance")
    gkbar: Array = param(0.009, unit="S/cm2", doc="potassium conductance")
    gl: Array = param(1e-4, unit="S/cm2", doc="leak conductance")
    ena: Array = param(55.0, unit="mV", doc="sodium reversal potential")
    ek: Array = param(-90.0, unit="mV", doc="potassium reversal potential")
    el: Array = param(-65.0, unit="mV", doc="leak reversal potential")
    phi: Array = param(5.0, unit="1", doc="speed of h and n")

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        h = 0.07 * bounded_exp(-(v + 58.0) / 20.0), boltzmann(v, -28.0, 10.0)
        n = 0.01 * linoid(v + 34.0, 10.0), 0.125 * bounded_exp(-(v + 44.0) / 80.0)
        return {"h": from_rates(*h, self.phi), "n": from_rates(*n, self.phi)}

    def current(self, v: Array, x: States, env: Env) -> dict[str | None, Array]:
        del env
        m, _ = from_rates(0.1 * linoid(v + 35.0, 10.0), 4.0 * bounded_exp(-(v + 60.0) / 18.0))
        return {
            "na": self.gnabar * m**3 * x["h"] * (v - self.ena),
            "k": self.gkbar * x["n"] ** 4 * (v - self.ek),
            None: self.gl * (v - self.el),
        }
