"""The channels of Mainen & Sejnowski, as in Branco's layer 2/3 neuron.

Mainen, Joerges, Huguenard & Sejnowski (1995) Neuron 15:1427; Mainen & Sejnowski (1996) Nature
382:363, ModelDB 2488; Branco, Clark & Häusser (2010) Science 329:1671, ModelDB 140828. Rates and
conductances of all but `CaT` grow as `q = 2.3^((T - 23) / 10)`. With `table=True` rates are
interpolated as by NEURON's `TABLE`, -120 to 100 mV in 199 intervals, as in the published runs.
With `E(x, y) = x / (1 - exp(-x / y))`, `inf = a / (a + b)` and `tau = 1 / (a + b) / q` below.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from jaxdend.channels.calcium_channels import reuveni
from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import (
    boltzmann,
    bounded_exp,
    exprel,
    from_rates,
    interpolated,
    linoid,
    linoid_pair,
    q10,
)


def _speed(env: Env) -> Array:
    return q10(env.celsius, 23.0, 2.3)


def _lookup(rates: Callable[[Array], Gates], v: Array, table: bool) -> Gates:
    return interpolated(rates, v, -120.0, 100.0, 199) if table else rates(v)


class Na(AbstractChannel):
    """Transient sodium, `i = q gbar m³ h (v - ena)`, published as `na`.

    With `u = v + vshift`: `m: a = 0.182 E(u + 35, 9), b = 0.124 E(-(u + 35), 9)`;
    `h_inf = 1 / (1 + exp((u + 65) / 6.2))`, its `tau` with
    `a = 0.024 E(u + 50, 5), b = 0.0091 E(-(u + 75), 5)`. The file's default of `vshift` is -10 mV;
    Branco's neuron sets the -5 mV that is the default here.
    """

    gbar: Array = param(0.1, unit="S/cm2", doc="conductance at 23 °C")
    ena: Array = param(60.0, unit="mV", doc="reversal potential")
    vshift: Array = param(-5.0, unit="mV", doc="added to the voltage in all rates")
    table: bool = eqx.field(default=False, static=True)

    ion = "na"

    def gates(self, v: Array, env: Env) -> Gates:
        speed = _speed(env)

        def rates(u: Array) -> Gates:
            up, down = linoid_pair(u + 35.0, 9.0)
            _, tau = from_rates(
                0.024 * linoid(u + 50.0, 5.0), 0.0091 * linoid(-(u + 75.0), 5.0), speed
            )
            return {
                "m": from_rates(0.182 * up, 0.124 * down, speed),
                "h": (boltzmann(u, -65.0, -6.2), tau),
            }

        return _lookup(rates, v + self.vshift, self.table)

    def current(self, v: Array, x: States, env: Env) -> Array:
        return _speed(env) * self.gbar * x["m"] ** 3 * x["h"] * (v - self.ena)


class Kv(AbstractChannel):
    """Delayed rectifier, `i = q gbar n (v - ek)`, published as `kv`.

    `a = 0.02 E(v - 25, 9)`, `b = 0.002 E(25 - v, 9)`.
    """

    gbar: Array = param(5e-4, unit="S/cm2", doc="conductance at 23 °C")
    ek: Array = param(-90.0, unit="mV", doc="reversal potential")
    table: bool = eqx.field(default=False, static=True)

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        speed = _speed(env)

        def rates(u: Array) -> Gates:
            up, down = linoid_pair(u - 25.0, 9.0)
            return {"n": from_rates(0.02 * up, 0.002 * down, speed)}

        return _lookup(rates, v, self.table)

    def current(self, v: Array, x: States, env: Env) -> Array:
        return _speed(env) * self.gbar * x["n"] * (v - self.ek)


class Km(AbstractChannel):
    """M current, `i = q gbar n (v - ek)`, published as `km`.

    `a = 0.001 E(v + 30, 9)`, `b = 0.001 E(-(v + 30), 9)`.
    """

    gbar: Array = param(1e-3, unit="S/cm2", doc="conductance at 23 °C")
    ek: Array = param(-90.0, unit="mV", doc="reversal potential")
    table: bool = eqx.field(default=False, static=True)

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        speed = _speed(env)

        def rates(u: Array) -> Gates:
            up, down = linoid_pair(u + 30.0, 9.0)
            return {"n": from_rates(0.001 * up, 0.001 * down, speed)}

        return _lookup(rates, v, self.table)

    def current(self, v: Array, x: States, env: Env) -> Array:
        return _speed(env) * self.gbar * x["n"] * (v - self.ek)


class KCa(AbstractChannel):
    """Calcium-dependent potassium, `i = q gbar n (v - ek)`, published as `kca`.

    `a = 0.01 c`, `b = 0.02`, calcium `c` in mM: it hardly opens without a calcium pool.
    """

    gbar: Array = param(1e-3, unit="S/cm2", doc="conductance at 23 °C")
    ek: Array = param(-90.0, unit="mV", doc="reversal potential")

    ion = "k"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        still = jnp.zeros_like(v)
        return {"n": from_rates(0.01 * env.inside["ca"] + still, 0.02 + still, _speed(env))}

    def current(self, v: Array, x: States, env: Env) -> Array:
        return _speed(env) * self.gbar * x["n"] * (v - self.ek)


class Ca(AbstractChannel):
    """High-voltage-activated calcium, `i = q gbar m² h (v - e_ca)`, published as `ca`.

    The rates of `CaHVA`, `q`-fold. Branco's neuron has a constant `e_ca` of 132.458 mV.
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance at 23 °C")
    table: bool = eqx.field(default=False, static=True)

    ion = "ca"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        speed = _speed(env)
        return _lookup(lambda u: reuveni(u, speed), v, self.table)

    def current(self, v: Array, x: States, env: Env) -> Array:
        return _speed(env) * self.gbar * x["m"] ** 2 * x["h"] * (v - env.e["ca"])


class CaT(AbstractChannel):
    """T-type calcium, `i = gbar m² h (v - e_ca)`, published as `it`; no temperature factor.

    `m_inf = 1 / (1 + exp(-(v + 50) / 7.4))`, `h_inf = 1 / (1 + exp((v + 78) / 5))`,
    `tau_m = 3 + 1 / (exp((v + 25) / 20) + exp(-(v + 100) / 15))`,
    `tau_h = 85 + 1 / (exp((v + 46) / 4) + exp(-(v + 405) / 50))`. The table holds
    `1 - exp(-h / tau)` for the time step `h` in place of `tau`, as the original's does.
    """

    gbar: Array = param(8e-4, unit="S/cm2", doc="conductance")
    table: bool = eqx.field(default=False, static=True)

    ion = "ca"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        return _lookup(self._rates, v, self.table)

    def _rates(self, v: Array) -> Gates:
        fast = bounded_exp((v + 25.0) / 20.0) + bounded_exp(-(v + 100.0) / 15.0)
        slow = bounded_exp((v + 46.0) / 4.0) + bounded_exp(-(v + 405.0) / 50.0)
        return {
            "m": (boltzmann(v, -50.0, 7.4), 3.0 + 1.0 / fast),
            "h": (boltzmann(v, -78.0, -5.0), 85.0 + 1.0 / slow),
        }

    def advance(self, v: Array, x: States, env: Env, h: Array) -> States:
        del env

        def moves(u: Array) -> Gates:
            gates = self._rates(u)
            return {n: (inf, h / tau * exprel(-h / tau)) for n, (inf, tau) in gates.items()}

        return {
            name: x[name] + part * (inf - x[name])
            for name, (inf, part) in _lookup(moves, v, self.table).items()
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        return self.gbar * x["m"] ** 2 * x["h"] * (v - env.e["ca"])
