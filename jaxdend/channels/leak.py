"""The leak: an ohmic conductance of no ion in particular."""

from jax import Array

from jaxdend.mechanisms.base import AbstractChannel, Env, States, param


class Leak(AbstractChannel):
    """A leak with a fixed reversal potential, `i = g (v - e)`, which is NEURON's `pas`."""

    g: Array = param(1e-3, unit="S/cm2", doc="conductance density")
    e: Array = param(-70.0, unit="mV", doc="reversal potential")

    def current(self, v: Array, x: States, env: Env) -> Array:
        """The leak's current density at `v (k,)` mV, `(k,)` mA/cm²."""
        del x, env
        return self.g * (v - self.e)
