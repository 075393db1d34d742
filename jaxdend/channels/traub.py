"""The spiking currents of Gidon's human layer 2/3 neuron, after Traub."""

import equinox as eqx
from jax import Array

from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import boltzmann, bounded_exp, from_rates, interpolated, linoid

_SPEED = 3.0 ** ((35 - 32) / 10)  # rates at 32 °C, frozen at 35 °C


class Traub(AbstractChannel):
    """Sodium, potassium and leak, published as one mechanism, `traub`.

    `i_na = gnabar m² h (v - ena)`, `i_k = gkbar n (v - ek)`, `i_l = gl (v - el)`. With
    `u = v + shift`, `E(x, y) = x / (1 - exp(-x / y))`, `tau = 1 / (a + b) / 3^0.3`:
    `m: a = 0.32 E(u - 13.1, 4), b = 0.28 E(40.1 - u, 5)`;
    `h: a = 0.128 exp((17 - u) / 18), b = 4 / (1 + exp((40 - u) / 5))`;
    `n: a = 0.016 E(u - 35.1, 5), b = 0.25 exp((20 - u) / 40)`.
    Traub, Wong, Miles & Michelson (1991) J Neurophysiol 66:635; Gidon et al. (2020) Science
    367:83, ModelDB 254217, whose values are the defaults.
    """

    gnabar: Array = param(0.1, unit="S/cm2", doc="sodium conductance")
    gkbar: Array = param(0.045, unit="S/cm2", doc="potassium conductance")
    gl: Array = param(1.0 / 37000.0, unit="S/cm2", doc="leak conductance")
    ena: Array = param(90.0, unit="mV", doc="sodium reversal potential")
    ek: Array = param(-80.0, unit="mV", doc="potassium reversal potential")
    el: Array = param(-74.0, unit="mV", doc="leak reversal potential")
    shift: Array = param(50.0, unit="mV", doc="added to the voltage in all rates")
    table: bool = eqx.field(default=False, static=True)
    """Read the rates from NEURON's table, -100 to 70 mV in 1000 intervals, clamped outside."""

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        return interpolated(self._rates, v, -100.0, 70.0, 1000) if self.table else self._rates(v)

    def _rates(self, v: Array) -> Gates:
        u = v + self.shift
        m = 0.32 * linoid(u - 13.1, 4.0), 0.28 * linoid(40.1 - u, 5.0)
        h = 0.128 * bounded_exp((17.0 - u) / 18.0), 4.0 * boltzmann(u, 40.0, 5.0)
        n = 0.016 * linoid(u - 35.1, 5.0), 0.25 * bounded_exp((20.0 - u) / 40.0)
        return {name: from_rates(*ab, _SPEED) for name, ab in (("m", m), ("h", h), ("n", n))}

    def current(self, v: Array, x: States, env: Env) -> dict[str | None, Array]:
        del env
        return {
            "na": self.gnabar * x["m"] ** 2 * x["h"] * (v - self.ena),
            "k": self.gkbar * x["n"] * (v - self.ek),
            None: self.gl * (v - self.el),
        }
