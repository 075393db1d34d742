"""The dendritic calcium action potential of human layer 2/3 neurons."""

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from jaxdend.mechanisms.base import AbstractChannel, Env, States, crossed, param


class DCaAP(AbstractChannel):
    """Dendritic action potential that shrinks with the strength of its input, `i = -w K (A - B)`.

    Once a step, at mid-step time `t` and old voltage `v`: if `v > vth` and `refractory` has passed
    since `t_last`, then `t_last = t`, `A = seed`, `B = 0` and
    `K = min(1, exp(-(v - vth) / (D (vth - vrest))))`; if `B = 0` and `delay` has passed since
    `t_last`, then `B = seed`. In between `A' = A (1 - A / capacity) / tauA`, and so B with `tauB`.

    The published equations have `capacity` 1. The published numbers came from
    `A ← A exp(h (1 - 2 A) / tauA)`, which the original's solver makes of them: a logistic that
    stops at 0.5, the default here, and half the current. `w` was tuned with it.

    The trigger is a jump: it has no gradient with respect to whether and when it happens, only
    through the amplitude K. With `surrogate=True` values stay the same, but at the step that
    triggers the jump of A and K from 0 has, besides, the gradient in voltage
    `1 / (width (1 + (v - vth) / width)²)` (Zenke & Ganguli 2018, Neural Comput 30:1514).

    Only the staggered solvers, `BackwardEuler` and `CrankNicolson`, look at triggers; `simulate`
    raises for any other.
    Gidon et al. (2020) Science 367:83, ModelDB 254217.
    """

    w: Array = param(1.6, unit="mA/cm2", doc="current density at K (A - B) = 1")
    vth: Array = param(-36.0, unit="mV", doc="threshold")
    vrest: Array = param(-75.0, unit="mV", doc="resting potential, for the scale of K")
    D: Array = param(0.3, unit="1", doc="scale of K as a fraction of vth - vrest")
    tauA: Array = param(3.0, unit="ms", doc="time constant of the rise")  # noqa: N815
    tauB: Array = param(0.4, unit="ms", doc="time constant of the fall")  # noqa: N815
    delay: Array = param(21.0, unit="ms", doc="from the trigger to the fall")
    refractory: Array = param(200.0, unit="ms", doc="least time between triggers")
    seed: Array = param(1e-3, unit="1", doc="A and B when they start")
    capacity: Array = param(0.5, unit="1", doc="where A and B saturate")
    width: Array = param(2.0, unit="mV", doc="width of the surrogate gradient")
    surrogate: bool = eqx.field(default=False, static=True)
    """Whether the trigger has the surrogate gradient."""

    def initial(self, v: Array, env: Env) -> States:
        """The state in which everything is off and the dendrite is ready to fire."""
        del env
        off = jnp.zeros_like(v)
        return {"A": off, "B": off, "K": off, "t_last": off - self.refractory}

    def trigger(self, v: Array, x: States, env: Env, t: Array) -> States:
        """The state after the jumps due at `t`."""
        del env
        above = v - self.vth
        over = jnp.maximum(above, 0.0)  # so that K cannot overflow far from the trigger
        amplitude = jnp.exp(-over / (self.D * (self.vth - self.vrest)))
        ready = t >= x["t_last"] + self.refractory
        fires = ready & (above > 0.0)
        fired = jnp.where(fires, crossed(above, self.width, self.surrogate), 0.0)
        t_last = jnp.where(fires, t, x["t_last"])
        a = jnp.where(fires, fired * self.seed, x["A"])
        b = jnp.where(fires, 0.0, x["B"])
        k = jnp.where(fires, fired * amplitude, x["K"])
        falls = (b == 0.0) & (t >= t_last + self.delay)
        return {"A": a, "B": jnp.where(falls, self.seed, b), "K": k, "t_last": t_last}

    def derivative(self, v: Array, x: States, env: Env) -> States:
        del v, env
        still = jnp.zeros_like(x["K"])
        return {
            "A": x["A"] * (1.0 - x["A"] / self.capacity) / self.tauA,
            "B": x["B"] * (1.0 - x["B"] / self.capacity) / self.tauB,
            "K": still,
            "t_last": still,
        }

    def advance(self, v: Array, x: States, env: Env, h: Array) -> States:
        """Each logistic grows for `h` ms at its present rate, as in the published runs."""
        del v, env
        grown = {
            name: x[name] * jnp.exp(h * (1.0 - x[name] / self.capacity) / tau)
            for name, tau in (("A", self.tauA), ("B", self.tauB))
        }
        return {**x, **grown}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del v, env
        return -self.w * x["K"] * (x["A"] - x["B"])
