"""What an event synapse is: linear kinetics that every event kicks, and a current that follows.

Between events the kinetic state of a synapse decays linearly, so it is propagated exactly over any
step, and the conductance at any time is also a plain sum over past events (`summed`). The first
costs the same for one event as for a hundred thousand; the second suits any ODE solver.
"""

import abc
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxdend._types import as_leaf, as_row, as_sites, check_field, check_fields, check_order
from jaxdend.inputs import AbstractInput, Own, shifted
from jaxdend.rates import exprel
from jaxdend.synapses.binned import Binned

Kinetics = tuple[Array, ...]


def as_times(value: ArrayLike | Binned) -> Array | Binned:
    """Turns event times into an array, and leaves counts in bins as they are."""
    return value if isinstance(value, Binned) else as_row(value)


def number(default: float) -> Any:
    """A field that is an array leaf, a scalar or `(k,)`."""
    return eqx.field(default=default, converter=as_leaf)


class AbstractSynapse(AbstractInput):
    """A group of `k` synapses that share their kinetics, each at its own site with its own events.

    Every number is an array leaf: `jax.vmap` and `jax.grad` reach sites, weights, event times and
    kinetics, and a new value never recompiles. A subclass writes `impulse`, `decay` and
    `conductance` for one event of weight 1, whose conductance peaks at 1, and where the current is
    not ohmic `current`. Where all of these are linear in the state, and `current` in the
    conductance, it may say `linear: ClassVar[bool] = True`: many synapses of one compartment then
    cost as little as one.

    **Arguments:** `site` int or `(k,)`; `weight` µS, the peak conductance of an event: a scalar,
    `(k,)`, or one number per event `(k, m)`; `times` ms, in any order and padded with inf: `(m,)`
    or `(1, m)` for all synapses, or `(k, m)`, or counts in bins, `Binned`; `e_rev` mV, a scalar or
    `(k,)`; `max_per_step`, a bound on the events of the group in one time step, needed only to make
    traced event times fast.
    **Raises:** `ValueError` for shapes that do not match, and for numbers that are not finite
    (event times may be inf).
    """

    site: Array = eqx.field(converter=as_sites)  # (k,) int, compartments
    weight: Array = eqx.field(converter=as_row)  # (1,), (k,), (1, m) or (k, m) µS
    # (m,) or (k, m) ms, inf where there is no event
    times: Array | Binned = eqx.field(converter=as_times)
    e_rev: Array = number(0.0)  # () or (k,) mV
    max_per_step: int | None = eqx.field(default=None, static=True, kw_only=True)

    # Whether state, conductance and current are linear: a class that writes one of them anew has to
    # say so again.
    linear: ClassVar[bool] = True
    timed: ClassVar[tuple[str, ...]] = (*AbstractInput.timed, "kernel", "summed")

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        kinetics = {"impulse", "decay", "conductance", "current", "outward", "advance", "kernel"}
        if kinetics & set(vars(cls)) and "linear" not in vars(cls):
            cls.linear = False

    def __check_init__(self) -> None:
        check_times(self)
        k, m = self.site.shape[0], self.times.shape[-1]
        each = [] if isinstance(self.times, Binned) else [(k, m), (1, m)]
        check_field(self, "weight", "finite", [(k,), (1,), *each])
        check_fields(self, e_rev="finite")
        if self.max_per_step is not None and self.max_per_step < 1:
            raise ValueError(
                f"{type(self).__name__}.max_per_step: expected None or an int >= 1; "
                f"got {self.max_per_step!r}."
            )

    @property
    def explicit(self) -> bool:
        """Whether the conductance is only known as a function of time.

        A solver then calls `summed` at each step instead of carrying `impulse` and `decay`.
        """
        return False

    @abc.abstractmethod
    def impulse(self, lag: Array) -> Kinetics:
        """The kinetic state `lag >= 0` ms after one event of weight 1.

        `lag` is `(k,)`, `(k, m)`, or that flattened; every array of the result has its shape. With
        scalar kinetics any shape will do.
        """

    @abc.abstractmethod
    def decay(self, z: Kinetics, h: Array) -> Kinetics:
        """The kinetic state `h` ms later without events; arrays of the shapes of `impulse`."""

    @abc.abstractmethod
    def conductance(self, z: Kinetics) -> Array:
        """The conductance in units of the weight, of the shape of the state's arrays."""

    def current(self, v: Array, g: Array) -> Array:
        """Outward current at `v (k,)` mV and conductance `g (k,)` µS: `(k,)` nA."""
        return g * (v - self.e_rev)

    def outward(self, v: Array, x: Own, t0: Array, t1: Array) -> Array:
        """The current at the carried conductance, or at that summed over events, mid-window."""
        g = self.summed(0.5 * (t0 + t1)) if self.explicit else self.conductance(x)
        return self.current(v, g)

    def advance(self, v: Array, x: Own, t0: Array, t1: Array, h: Array) -> Own:
        del v, t0, t1
        return x if self.explicit else self.decay(x, h)

    def conductance_at(self, x: Own, t: Array) -> Array:
        """Summed over all events up to `t`: exact there, whatever step `x` belongs to."""
        del x
        return self.summed(t)

    def edges(self) -> Array:
        """The times at which events arrive, where the conductance jumps."""
        return self.schedule()[0]

    def since(self, origin: Array) -> "AbstractSynapse":
        if isinstance(self.times, Binned):
            return eqx.tree_at(lambda s: s.times.onset, self, self.times.onset - origin)
        return shifted(self, origin, "times")

    @property
    def coupled(self) -> bool:
        return False

    @property
    def eventful(self) -> bool:
        return not self.explicit

    @property
    def merges(self) -> bool:
        shared = eqx.tree_at(lambda s: (s.site, s.weight, s.times), self, (None, None, None))
        alike = all(jnp.ndim(leaf) == 0 for leaf in jax.tree.leaves(shared))
        return self.linear and self.eventful and alike

    def kernel(self, lag: Array) -> Array:
        """The conductance `lag >= 0` ms after one event of weight 1; shapes as in `impulse`."""
        return self.conductance(self.impulse(lag))

    def summed(self, t: Array) -> Array:
        """The conductance at `t` ms, `(k,)` µS: the sum over all events up to and at `t`.

        Exact, at a cost of `k m` kernels; events in the future, and padding, give no gradient.
        """
        times, weights = self.schedule()
        past = times <= t
        lag = jnp.where(past, t - jnp.where(past, times, 0.0), 0.0)
        return jnp.sum(jnp.where(past, weights * self.kernel(lag), 0.0), axis=1)

    def schedule(self) -> tuple[Array, Array]:
        """Event times in ms and their weights in µS, both `(k, m)`."""
        shape = (self.site.shape[0], self.times.shape[-1])
        weight = self.weight if self.weight.ndim == 2 else self.weight[:, None]
        if isinstance(self.times, Binned):
            times, number = self.times.events()
            return jnp.broadcast_to(times, shape), weight * number
        return jnp.broadcast_to(self.times, shape), jnp.broadcast_to(weight, shape)

    def spread(self, parameter: Array, like: Array) -> Array:
        """A parameter, scalar or `(k,)`, laid out like an array `(k,)`, `(k, m)` or `(k m,)`."""
        if parameter.ndim == 0:
            return parameter
        k = self.site.shape[0]
        return jnp.repeat(parameter, like.size // max(k, 1)).reshape(like.shape)


class AbstractDualExponential(AbstractSynapse):
    """A conductance that rises with `tau1` and decays with `tau2`, peak 1 per unit of weight.

    `(exp(-s / tau2) - exp(-s / tau1))`, normalised as in NEURON's `Exp2Syn` by its value at
    `log(tau2 / tau1) tau1 tau2 / (tau2 - tau1)`. It is carried as the chain rise -> conductance
    `z = (rise, g)`, whose formulas stay finite, with finite gradients, through `tau1 == tau2`
    (where NEURON has to move the time constants apart).

    **Raises:** `ValueError` as for every synapse, for time constants that are not positive, and for
    `tau1 >= tau2` where both are known.
    """

    tau1: Array = number(0.1)  # () or (k,) ms, rise
    tau2: Array = number(10.0)  # () or (k,) ms, decay

    linear: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, float]]] = {}  # published sets of parameters, by name

    def __check_init__(self) -> None:
        check_fields(self, tau1="positive", tau2="positive")
        check_order(self, "tau1", "tau2", "there is no slower decay", strict=True)

    @classmethod
    def preset(
        cls, name: str, site: ArrayLike, weight: ArrayLike, times: ArrayLike, **overrides: Any
    ) -> Self:
        """A group with the published parameters `presets[name]`, and `overrides` on top.

        **Raises:** `ValueError` for a name that is not in `presets`, and as for the class.
        """
        if name not in cls.presets:
            raise ValueError(
                f"{cls.__name__}.preset: expected one of {sorted(cls.presets)}; got {name!r}."
            )
        parameters: dict[str, Any] = cls.presets[name] | overrides
        return cls(site, weight, times, **parameters)

    def impulse(self, lag: Array) -> Kinetics:
        fast, slow = self._rates(lag)
        beyond = fast / slow - 1.0
        start = fast * jnp.exp(log1p_over(beyond))  # makes the peak 1
        gone = jnp.exp(-slow * lag)
        rise = start * jnp.exp(-fast * lag)
        return rise, start * lag * gone * exprel((slow - fast) * lag)

    def decay(self, z: Kinetics, h: Array) -> Kinetics:
        rise, g = z
        fast, slow = self._rates(g)
        gone = jnp.exp(-slow * h)
        return rise * jnp.exp(-fast * h), gone * (g + rise * h * exprel((slow - fast) * h))

    def conductance(self, z: Kinetics) -> Array:
        return z[1]

    def _rates(self, like: Array) -> tuple[Array, Array]:
        """The faster and the slower rate, 1/ms; everything is symmetric in them."""
        one, two = 1.0 / self.spread(self.tau1, like), 1.0 / self.spread(self.tau2, like)
        return jnp.maximum(one, two), jnp.minimum(one, two)


def log1p_over(x: Array) -> Array:
    """`log(1 + x) / x` for `x >= 0`, with its limit 1 at 0 and a finite gradient there."""
    tiny = x < 1e-4
    series = 1.0 + x * (-1 / 2 + x * (1 / 3 - x / 4))
    far = jnp.where(tiny, 1.0, x)
    return jnp.where(tiny, series, jnp.log1p(far) / far)


def check_times(owner: Any) -> None:
    """Refuse `owner.times` that are not `(m,)`, `(1, m)` or `(k, m)`, or hold NaN or -inf.

    `(k,)` for `k > 1` synapses is refused as well: it could mean either.
    """
    k, times = owner.site.shape[0], owner.times
    if isinstance(times, Binned) and isinstance(owner, AbstractSynapse):
        if times.shape[0] != k:
            raise ValueError(
                f"{type(owner).__name__}.times: Binned counts have a column for each of the {k} "
                f"synapses; got {times.shape[0]}."
            )
        return
    m = times.shape[-1] if getattr(times, "ndim", 0) else 1
    if getattr(times, "shape", None) == (k,) and k > 1:
        name = type(owner).__name__
        raise ValueError(
            f"{name}.times: {k} times for {k} synapses may mean one event for each, or {k} events "
            f"for all. Write times[:, None], shape ({k}, 1), for one event each, or "
            f"times[None, :], shape (1, {k}), for all of them everywhere."
        )
    check_field(owner, "times", "times", [(m,), (1, m), (k, m)])
