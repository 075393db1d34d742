"""What a stimulus is: a current into some compartments as a function of time alone."""

import abc
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from jaxdend.inputs import AbstractInput, Own


class AbstractStimulus(AbstractInput):
    """A current injected into `k` compartments at once. Positive depolarises.

    Every number is an array leaf, a scalar or `(k,)`, so that `jax.vmap` and `jax.grad` reach it
    and a new value never recompiles. A subclass writes `current`, in ms and nA, and `edges`, the
    times at which the current or its slope jumps:

    ```python
    class Kick(AbstractStimulus):
        site: Array
        onset: Array

        def current(self, t0, t1):  # 1 nA/ms for ever after the onset, and its exact mean
            begin, end = jnp.maximum(t0, self.onset), jnp.maximum(t1, self.onset)
            mean = 0.5 * (begin + end) - self.onset
            share = jnp.where(t1 > t0, (end - begin) / jnp.where(t1 > t0, t1 - t0, 1.0), 1.0)
            return self.spread(mean * share)

        def edges(self):
            return self.onset
    ```
    """

    timed: ClassVar[tuple[str, ...]] = (*AbstractInput.timed, "current")

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "current" in vars(cls) and "edges" not in vars(cls):  # inherited ones are another's
            raise TypeError(
                f"{cls.__name__} writes current but not edges: write edges(self), all times in ms "
                "at which the current or its slope jumps (jnp.empty(0) if it never does), or an "
                "adaptive solver may step over it."
            )

    @abc.abstractmethod
    def current(self, t0: Array, t1: Array) -> Array:
        """The mean current over `[t0, t1]` ms, `(k,)` nA; where `t0 == t1`, its value there."""

    def outward(self, v: Array, x: Own, t0: Array, t1: Array) -> Array:
        del v, x
        return -self.current(t0, t1)

    @property
    def electrode(self) -> bool:
        return True

    def spread(self, current: Array) -> Array:
        """A current, a scalar or `(k,)`, as one number for each site, `(k,)`."""
        return jnp.broadcast_to(current, self.site.shape)


def fraction_on(t0: Array, t1: Array, onset: Array, duration: Array) -> Array:
    """How much of `[t0, t1]` lies in `[onset, onset + duration)`, from 0 to 1.

    Where `t0 == t1` it is 1 or 0. The first is differentiable in `onset` and `duration`; at an
    edge that coincides with `t0` or `t1` the two adjoining intervals share the derivative, so
    that their sum has the right one.
    """
    end = onset + duration
    if t1 is t0:  # asked for a moment: known to be flat between its edges
        return jnp.where((onset <= t0) & (t0 < end), 1.0, 0.0)
    longer = t1 > t0
    whole = jnp.where(longer, t1 - t0, 1.0)
    inside = jnp.maximum(jnp.minimum(t1, end) - jnp.maximum(t0, onset), 0.0)
    within = ((onset <= t0) & (t0 < end)).astype(inside.dtype)
    return jnp.where(longer, inside / whole, within)


def middle_on(t0: Array, t1: Array, onset: Array, duration: Array) -> Array:
    """The middle of the part of `[t0, t1]` that lies in the window, ms."""
    end = onset + duration
    return 0.5 * (jnp.clip(t0, onset, end) + jnp.clip(t1, onset, end))


def ends(onset: Array, duration: Array) -> Array:
    """Both ends of the window `[onset, onset + duration)` of every site, ms."""
    return jnp.concatenate([jnp.ravel(onset), jnp.ravel(onset + duration)])
