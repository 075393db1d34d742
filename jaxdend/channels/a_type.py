"""A-type potassium of CA1 pyramidal dendrites, proximal and distal."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxdend.channels._constants import thermal_slope
from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import barrier, boltzmann, q10


class KA(AbstractChannel):
    """A-type potassium, `i = gbar n l (v - ek)`, published as `kap` (proximal) and `kad` (distal).

    `n_inf = 1 / (1 + a)`, `tau_n = max(nmin, exp(gmn z u) / (5^((T - 24) / 10) a0n (1 + a)))` with
    `a = exp(z u)`, `z = zetan - 1 / (1 + exp((v + 40) / 5))`, `u = (v - vhalfn) F / RT`;
    `l_inf = 1 / (1 + exp(3 (v + 56) F / RT))`, `tau_l = max(2, 0.26 (v + 50))`.

    Source: Hoffman, Magee, Colbert & Johnston (1997) Nature 387:869; Migliore, Hoffman, Magee &
    Johnston (1999) J Comput Neurosci 7:5, ModelDB 2796, also 55035. The defaults are the proximal
    channel; beyond 100 µm from the soma use `KA.distal`, with a density that grows with distance.
    """

    gbar: Array = param(0.008, unit="S/cm2", doc="conductance")
    ek: Array = param(-90.0, unit="mV", doc="reversal potential")
    vhalfn: Array = param(11.0, unit="mV", doc="half activation")
    zetan: Array = param(-1.5, unit="1", doc="activation charge")
    gmn: Array = param(0.55, unit="1", doc="place of the activation barrier")
    a0n: Array = param(0.05, unit="1/ms", doc="activation rate")
    nmin: Array = param(0.1, unit="ms", doc="fastest activation")

    ion = "k"

    @classmethod
    def proximal(cls, **changes: Any) -> "KA":
        """The channel within 100 µm of the soma: `kap`."""
        published = {"vhalfn": 11.0, "zetan": -1.5, "gmn": 0.55, "a0n": 0.05, "nmin": 0.1}
        return cls(**{**published, **changes})

    @classmethod
    def distal(cls, **changes: Any) -> "KA":
        """The channel beyond 100 µm, activated at lower voltages: `kad`."""
        published = {"vhalfn": -1.0, "zetan": -1.8, "gmn": 0.39, "a0n": 0.1, "nmin": 0.2}
        return cls(**{**published, **changes})

    def gates(self, v: Array, env: Env) -> Gates:
        slope = thermal_slope(env.celsius)
        charge = self.zetan - boltzmann(v, -40.0, -5.0)
        rate = self.a0n * q10(env.celsius, 24.0, 5.0)
        n, tau = barrier(charge * (v - self.vhalfn) * slope, self.gmn, rate)
        return {
            "n": (n, jnp.maximum(tau, self.nmin)),
            "l": (boltzmann(v, -56.0, -1.0 / (3.0 * slope)), jnp.maximum(0.26 * (v + 50.0), 2.0)),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["n"] * x["l"] * (v - self.ek)
