"""What a stimulus is: a current into some compartments as a function of time alone."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array


class AbstractStimulus(eqx.Module):
    """A current injected into `k` compartments at once. Positive depolarises.

    Every number is an array leaf, a scalar or `(k,)`, so that `jax.vmap` and `jax.grad` reach it
    and a new value never recompiles. A subclass writes `current`, in ms and nA.
    """

    site: eqx.AbstractVar[Array]  # (k,) int, compartments

    @abc.abstractmethod
    def current(self, t0: Array, t1: Array) -> Array:
        """The mean current over `[t0, t1]` ms, `(k,)` nA; where `t0 == t1`, its value there."""

    def prepare(self) -> "AbstractStimulus":
        """The stimulus in the form that is cheapest to evaluate.

        `simulate` calls it once, inside `jit`, before it integrates. By default the stimulus
        itself; a stimulus that needs a pass over its whole time course (`Noise`) makes it here.
        """
        return self

    def spread(self, current: Array) -> Array:
        """`current`, a scalar or `(k,)`, as `(k,)`."""
        return jnp.broadcast_to(current, self.site.shape)


def fraction_on(t0: Array, t1: Array, onset: Array, duration: Array) -> Array:
    """How much of `[t0, t1]` lies in `[onset, onset + duration)`, from 0 to 1.

    Where `t0 == t1` it is 1 or 0. The first is differentiable in `onset` and `duration`; at an
    edge that coincides with `t0` or `t1` the two adjoining intervals share the derivative, so
    that their sum has the right one.
    """
    end = onset + duration
    longer = t1 > t0
    whole = jnp.where(longer, t1 - t0, 1.0)
    inside = jnp.maximum(jnp.minimum(t1, end) - jnp.maximum(t0, onset), 0.0)
    return jnp.where(longer, inside / whole, (onset <= t0) & (t0 < end))


def middle_on(t0: Array, t1: Array, onset: Array, duration: Array) -> Array:
    """The middle of the part of `[t0, t1]` that lies in the window, ms."""
    end = onset + duration
    return 0.5 * (jnp.clip(t0, onset, end) + jnp.clip(t1, onset, end))
