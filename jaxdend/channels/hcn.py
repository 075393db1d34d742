"""Hyperpolarisation-activated cation channels: the h current, `i = gbar m (v - e)`."""

from typing import Any

from jax import Array

from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import barrier, boltzmann, bounded_exp, from_rates, linoid, q10


class Ih(AbstractChannel):
    """h current of rat layer 5 pyramidal neurons at 34 °C, published under this name.

    `a = 0.00643 (v + 154.9) / (exp((v + 154.9) / 11.9) - 1)`, `b = 0.193 exp(v / 33.1)`, no
    temperature factor. Kole, Hallermann & Stuart (2006) J Neurosci 26:1677, ModelDB 64195, and Hay
    et al. (2011), ModelDB 139653.
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")
    e: Array = param(-45.0, unit="mV", doc="reversal potential")

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        return {
            "m": from_rates(0.00643 * linoid(-(v + 154.9), 11.9), 0.193 * bounded_exp(v / 33.1)),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] * (v - self.e)


class IhHuman(AbstractChannel):
    """h current of human layer 5 pyramidal neurons, published as `Ih_human`.

    `m_inf = 1 / (1 + exp((v + 90.963) / 8.0775))`,
    `tau = 1 / (exp(-23.428 - 0.21756 v) + exp(0.082329 v))`.
    Rich, Moradi Chameh, Sekulić, Valiante & Skinner (2021) Cereb Cortex 31:845.
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")
    e: Array = param(-49.765, unit="mV", doc="reversal potential")

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        tau = 1.0 / (bounded_exp(-23.428 - 0.21756 * v) + bounded_exp(0.082329 * v))
        return {"m": (boltzmann(v, -90.963, -8.0775), tau)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] * (v - self.e)


class HCN(AbstractChannel):
    """h current of CA1 pyramidal dendrites, published as `hd`.

    `m_inf = 1 / (1 + exp((v - vhalfl) / 8))`,
    `tau = exp(0.4 x) / (4.5^((T - 33) / 10) 0.011 (1 + exp(x)))`, `x = 0.0378 · 2.2 (v + 75)`.
    Magee (1998) J Neurosci 18:7613; Migliore, Ferrante & Ascoli (2005) J Neurophysiol 94:4145,
    ModelDB 55035. The defaults are the proximal channel.
    """

    gbar: Array = param(1e-4, unit="S/cm2", doc="conductance")
    e: Array = param(-30.0, unit="mV", doc="reversal potential")
    vhalfl: Array = param(-73.0, unit="mV", doc="half activation")

    @classmethod
    def proximal(cls, **changes: Any) -> "HCN":
        """The channel within 100 µm of the soma."""
        return cls(**{"vhalfl": -73.0, **changes})

    @classmethod
    def distal(cls, **changes: Any) -> "HCN":
        """The channel beyond 100 µm: activated 8 mV lower."""
        return cls(**{"vhalfl": -81.0, **changes})

    def gates(self, v: Array, env: Env) -> Gates:
        rate = 0.011 * q10(env.celsius, 33.0, 4.5)
        _, tau = barrier(0.0378 * 2.2 * (v + 75.0), 0.4, rate)
        return {"m": (boltzmann(v, self.vhalfl, -8.0), tau)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] * (v - self.e)
