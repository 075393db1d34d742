"""Sodium channel of CA1 pyramidal neurons, with slow inactivation in the dendrites."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxdend.channels._constants import thermal_slope
from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, param
from jaxdend.rates import barrier, boltzmann, from_rates, linoid_pair, q10


class NaCA1(AbstractChannel):
    """Transient sodium, `i = gbar m³ h s (v - ena)`, published as `na3` (and `nax`, without s).

    With `u = v - sh`, `q = 2^((T - 24) / 10)`, `E(x, y) = x / (1 - exp(-x / y))`:
    `m: a = 0.4 E(u + 30, 7.2), b = 0.124 E(-(u + 30), 7.2), tau = max(0.02, 1 / (a + b) / q)`;
    `h_inf = 1 / (1 + exp((u + 50) / 4))`, `tau = max(0.5, 1 / (a + b) / q)` with
    `a = 0.03 E(u + 45, 1.5), b = 0.01 E(-(u + 45), 1.5)`;
    `s_inf = c + ar (1 - c)`, `c = 1 / (1 + exp((u + 58) / 2))`,
    `tau = max(10, exp(0.2 x) / (0.0003 (1 + exp(x))))`, `x = 12 (u + 60) F / RT`.
    Migliore, Hoffman, Magee & Johnston (1999) J Comput Neurosci 7:5, ModelDB 2796, also 55035.
    """

    gbar: Array = param(0.01, unit="S/cm2", doc="conductance")
    ena: Array = param(55.0, unit="mV", doc="reversal potential")
    ar: Array = param(1.0, unit="1", doc="what slow inactivation leaves over: 1 none, 0 all")
    sh: Array = param(0.0, unit="mV", doc="shift of all curves")

    ion = "na"

    @classmethod
    def soma(cls, **changes: Any) -> "NaCA1":
        """The channel of soma and axon, without slow inactivation."""
        return cls(**{"ar": 1.0, **changes})

    @classmethod
    def dendrite(cls, **changes: Any) -> "NaCA1":
        """The channel of dendrites, half of whose conductance inactivates slowly."""
        return cls(**{"ar": 0.5, **changes})

    def gates(self, v: Array, env: Env) -> Gates:
        u = v - self.sh
        speed = q10(env.celsius, 24.0, 2.0)
        up, down = linoid_pair(u + 30.0, 7.2)
        m, tau_m = from_rates(0.4 * up, 0.124 * down, speed)
        up, down = linoid_pair(u + 45.0, 1.5)
        _, tau_h = from_rates(0.03 * up, 0.01 * down, speed)
        rest = boltzmann(u, -58.0, -2.0)
        _, tau_s = barrier(12.0 * (u + 60.0) * thermal_slope(env.celsius), 0.2, 0.0003)
        return {
            "m": (m, jnp.maximum(tau_m, 0.02)),
            "h": (boltzmann(u, -50.0, -4.0), jnp.maximum(tau_h, 0.5)),
            "s": (rest + self.ar * (1.0 - rest), jnp.maximum(tau_s, 10.0)),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] ** 3 * x["h"] * x["s"] * (v - self.ena)
