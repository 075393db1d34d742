"""Calcium inside the membrane: a shell that fills with current and empties exponentially."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from jaxdend.mechanisms.base import AbstractPool, param
from jaxdend.units import F


class CalciumShell(AbstractPool):
    """Submembrane calcium with one time constant, published as `CaDynamics_E2`.

    `d inside/dt = -1e4 gamma i_ca / (2 F depth) - (inside - minCai) / decay`.

    Source: Destexhe, Contreras, Sejnowski & Steriade (1994) J Neurophysiol 72:803; in this form
    Hay, Hill, Schürmann, Markram & Segev (2011) PLoS Comput Biol 7:e1002107, ModelDB 139653. The
    published mechanism has no initial block, so it starts at NEURON's default 5e-5 mM, not at
    `minCai`, and relaxes from there.
    """

    decay: Array = param(80.0, unit="ms", doc="time constant of removal")
    gamma: Array = param(0.05, unit="1", doc="fraction of calcium that is not buffered")
    depth: Array = param(0.1, unit="um", doc="depth of the shell")
    minCai: Array = param(1e-4, unit="mM", doc="concentration without current")  # noqa: N815
    cai: Array = param(5e-5, unit="mM", doc="concentration at t = 0")
    outside: Array = param(2.0, unit="mM", doc="concentration outside")

    ion: ClassVar[str] = "ca"

    @classmethod
    def destexhe(cls, **changes: Any) -> "CalciumShell":
        """The pool published as `cad`: all calcium free, 5 ms, 2e-4 mM (Destexhe et al. 1994)."""
        published = {"decay": 5.0, "gamma": 1.0, "minCai": 2e-4, "cai": 2e-4}
        return cls(**{**published, **changes})

    def pool_derivative(self, inside: Array, current: Array) -> Array:
        """d(inside)/dt in mM/ms from `inside (k,)` mM and the calcium `current (k,)` mA/cm²."""
        influx = -1e4 * self.gamma * current / (2.0 * F * self.depth)
        return influx - (inside - self.minCai) / self.decay

    def start(self, v: Array) -> Array:
        """The concentration at t = 0, `(k,)` mM."""
        return jnp.broadcast_to(self.cai, v.shape)
