"""The leak: an ohmic conductance of no ion in particular."""

from jax import Array

from jaxdend.mechanisms.base import AbstractChannel, Env, States, param


class Leak(AbstractChannel):
    """`i = g (v - e)`. NEURON's `pas`."""

    g: Array = param(1e-3, unit="S/cm2", doc="conductance density")
    e: Array = param(-70.0, unit="mV", doc="reversal potential")

    def current(self, v: Array, x: States, env: Env) -> Array:
        """Leak current `(k,)` mA/cm²."""
        del x, env
        return self.g * (v - self.e)
