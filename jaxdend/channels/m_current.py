"""Slow, non-inactivating potassium: the M current."""

from jax import Array

from jaxdend.channels._constants import Q34
from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import barrier, boltzmann, bounded_exp, from_rates


class Im(AbstractChannel):
    """M current of Hay's neuron, `i = gbar m (v - ek)`, published under this name.

    `a = 0.0033 exp(0.1 (v + 35))`, `b = 0.0033 exp(-0.1 (v + 35))`, `tau = 1 / (a + b) / Q`,
    `Q = 2.3^1.3`. Adams, Brown & Constanti (1982) J Physiol 330:537, as used by Hay et al. (2011)
    PLoS Comput Biol 7:e1002107, ModelDB 139653.
    """

    gbar: Array = param(1e-5, unit="S/cm2", doc="conductance")
    ek: Array = param(-85.0, unit="mV", doc="reversal potential")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        e = bounded_exp(0.1 * (v + 35.0))
        return {"m": from_rates(0.0033 * e, 0.0033 / e, Q34)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] * (v - self.ek)


class KmCA1(AbstractChannel):
    """M current of CA1 pyramidal neurons, `i = gbar m (v - ek)`, published as `km`.

    `m_inf = 1 / (1 + exp(-(v + 40) / 10))`, `tau = 60 + exp(0.4 x) / (0.009 (1 + exp(x)))` with
    `x = 0.0378 · 7 (v + 42)`; no temperature factor. Shah, Migliore, Valencia, Cooper & Brown
    (2008) PNAS 105:7869, ModelDB 112546.
    """

    gbar: Array = param(1e-4, unit="S/cm2", doc="conductance")
    ek: Array = param(-90.0, unit="mV", doc="reversal potential")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        del env
        _, tau = barrier(0.0378 * 7.0 * (v + 42.0), 0.4, 0.009)
        return {"m": (boltzmann(v, -40.0, 10.0), 60.0 + tau)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] * (v - self.ek)
