"""What an input is: everything that acts on compartments from outside states its equations here.

Stimuli, clamps, synapses and whatever a user writes are inputs. No solver, recorder or check asks
an input for its class: what one of them needs to know, the input says.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend._small import slope
from jaxdend._subset import Subset
from jaxdend.rates import exprel

Own = Any  # the state of an input: a pytree of arrays (k,), or None


class AbstractInput(eqx.Module):
    """Something that acts on the compartments `site (k,)`: a current, and how its state moves.

    A subclass writes `outward` and `edges`, and, if it has a state of its own, `init` and
    `derivative`. Every number should be an array leaf, so that `jax.vmap` and `jax.grad` reach it
    and a new value never recompiles. Most inputs are written on top of `AbstractStimulus` (a
    current as a function of time) or `AbstractSynapse` (a conductance that events kick).

    Wherever a method takes a window `t0`, `t1` in ms, it asks for the mean over `[t0, t1]`, or,
    where both are equal, for the value there.
    """

    site: eqx.AbstractVar[Array]  # (k,) int, compartments; -1 for an input that is nowhere

    # Methods that look at the clock. A class that writes one of them anew knows its own times: what
    # its parent said of shifting them (`since`) holds no longer.
    timed: ClassVar[tuple[str, ...]] = ("outward", "derivative", "advance", "schedule", "prepare")

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        written = [name for name in cls.timed if name in own]
        if written and "since" not in own:
            cls.since = AbstractInput.__dict__["since"]
        if written and "prepare" not in own:  # what the parent prepares would not be asked for it
            cls.prepare = AbstractInput.__dict__["prepare"]

    @abc.abstractmethod
    def outward(self, v: Array, x: Own, t0: Array, t1: Array) -> Array:
        """The outward current `(k,)` nA at `v (k,)` mV and the own state `x`, over `[t0, t1]`.

        Positive currents hyperpolarise. Entry i depends on `v[i]` alone: solvers take the slope of
        every entry by one `jax.jvp`.
        """

    @abc.abstractmethod
    def edges(self) -> Array:
        """All times in ms at which the current, its slope or the state's slope jumps.

        An array of any shape, `inf` where there is none; `jnp.empty(0)` for an input that is smooth
        for ever. Adaptive solvers end a step at each of them; what an input forgets to list, they
        may step over.
        """

    def init(self, v: Array) -> Own:
        """The own state at rest at `v (k,)` mV: a pytree of arrays `(k,)`, or None without one."""
        del v
        return None

    def derivative(self, v: Array, x: Own, t: Array) -> Own:
        """The time derivative of the own state, its unit per ms, at `v (k,)` mV and `t` ms."""
        del v, t
        if jax.tree.leaves(x):
            raise NotImplementedError(
                f"{type(self).__name__} has a state of its own (init) but no derivative: write "
                "derivative(v, x, t)."
            )
        return x

    def advance(self, v: Array, x: Own, t0: Array, t1: Array, h: Array) -> Own:
        """The own state `h` ms later at frozen `v (k,)` mV; what depends on time, over `[t0, t1]`.

        By default one step of exponential Euler for each array of the state, with its own slope:
        second order where the arrays do not act on one another, else first order.
        """
        leaves, structure = jax.tree.flatten(x)
        middle = 0.5 * (t0 + t1)

        def one(i: int, y: Array) -> Array:
            moved = structure.unflatten([*leaves[:i], y, *leaves[i + 1 :]])
            return jax.tree.leaves(self.derivative(v, moved, middle))[i]

        moved = [
            y + h * one(i, y) * exprel(h * slope(lambda z, i=i: one(i, z), y))
            for i, y in enumerate(leaves)
        ]
        return structure.unflatten(moved)

    def prepare(self) -> "AbstractInput":
        """The input in the form that is cheapest to evaluate; made once, before a run begins."""
        return self

    def later_edge(self, t: Array) -> Array:
        """The first edge after `t` ms of an input that `repeats`; inf after the last."""
        return jnp.full_like(t, jnp.inf)

    @property
    def repeats(self) -> bool:
        """Whether there are more edges than `edges` lists, as of a train of pulses."""
        return False

    def jumps(self, t0: Array, t1: Array) -> Array:
        """Whether the current may jump within `[t0, t1]` ms: a stiff input is asked."""
        edges = jnp.ravel(self.edges())
        return jnp.any((edges >= t0) & (edges <= t1))

    def since(self, origin: Array) -> "AbstractInput":
        """The same input with its times counted from `origin` ms.

        A run counts its time from its own beginning, so that float32 resolves it however late that
        is. An input whose times are fields of its own should shift them; by default the origin is
        added to the time whenever the input is asked.
        """
        return Shifted(self.site, self, origin)

    @property
    def coupled(self) -> bool:
        """Whether the voltage acts on the own state, so that a solver integrates both together.

        Where it is False, `advance` is exact for a step of any length and does not look at `v`.
        """
        return True

    @property
    def electrode(self) -> bool:
        """Whether the current comes through an electrode and is no current of the membrane."""
        return False

    def conductance_at(self, x: Own, t: Array) -> Array:
        """The conductance `(k,)` µS at the own state `x` and `t` ms, for a synapse.

        **Raises:** `ValueError` for an input that is none.
        """
        raise ValueError(f"{type(self).__name__} is no synapse: it has no conductance.")

    @property
    def stiff(self) -> bool:
        """Whether the current may follow the voltage faster than any step resolves, as a clamp's.

        `CrankNicolson` then takes an L-stable step.
        """
        return False

    @property
    def merges(self) -> bool:
        """Whether inputs of one compartment act like one with the sum of their states.

        True only where the current is linear in the state and every site has the same kinetics.
        """
        return False

    @property
    def eventful(self) -> bool:
        """Whether events make the own state jump: then `schedule` and `impulse` are written."""
        return False

    def schedule(self) -> tuple[Array, Array]:
        """The times in ms and the weights of all events, both `(k, m)`."""
        raise NotImplementedError(f"{type(self).__name__} has no events.")

    def impulse(self, lag: Array) -> Own:
        """The own state `lag >= 0` ms after one event of weight 1, of the shape of `lag`."""
        raise NotImplementedError(f"{type(self).__name__} has no events.")


def shifted(item: Any, origin: Array, *fields: str) -> Any:
    """`item` with its `fields`, times in ms, counted from `origin` ms."""

    def times(i: Any) -> list:
        return [getattr(i, name) for name in fields]

    return eqx.tree_at(times, item, [jnp.asarray(x) - origin for x in times(item)])


class Shifted(AbstractInput):
    """An input seen from `origin` ms: every time that it is asked for is that much later."""

    site: Array  # (k,) int, as of the input
    input: AbstractInput
    origin: Array  # () ms

    def outward(self, v: Array, x: Own, t0: Array, t1: Array) -> Array:
        return self.input.outward(v, x, t0 + self.origin, t1 + self.origin)

    def edges(self) -> Array:
        return jnp.asarray(self.input.edges(), self.origin.dtype) - self.origin

    def init(self, v: Array) -> Own:
        return self.input.init(v)

    def derivative(self, v: Array, x: Own, t: Array) -> Own:
        return self.input.derivative(v, x, t + self.origin)

    def advance(self, v: Array, x: Own, t0: Array, t1: Array, h: Array) -> Own:
        return self.input.advance(v, x, t0 + self.origin, t1 + self.origin, h)

    def prepare(self) -> "AbstractInput":
        return Shifted(self.site, self.input.prepare(), self.origin)

    def jumps(self, t0: Array, t1: Array) -> Array:
        return self.input.jumps(t0 + self.origin, t1 + self.origin)

    def later_edge(self, t: Array) -> Array:
        return self.input.later_edge(t + self.origin) - self.origin

    @property
    def repeats(self) -> bool:
        return self.input.repeats

    @property
    def coupled(self) -> bool:
        return self.input.coupled

    @property
    def electrode(self) -> bool:
        return self.input.electrode

    def conductance_at(self, x: Own, t: Array) -> Array:
        return self.input.conductance_at(x, t + self.origin)

    @property
    def stiff(self) -> bool:
        return self.input.stiff

    @property
    def eventful(self) -> bool:
        return self.input.eventful

    def schedule(self) -> tuple[Array, Array]:
        times, weights = self.input.schedule()
        return times - self.origin, weights

    def impulse(self, lag: Array) -> Own:
        return self.input.impulse(lag)


class Sites(eqx.Module):
    """The nodes of an input, one for each of its sites; a number past the last is none."""

    index: Array  # (k,) int

    def take(self, x: Array) -> Array:
        """`x (N,)` at the sites, `(k,)`; of a site that is nowhere, some other node's value."""
        return x.at[self.index].get(mode="clip")

    def add_to(self, x: Array, values: Array) -> Array:
        """`x (N,)` with `values (k,)` added at the sites."""
        return x.at[self.index].add(values, mode="drop")


class Placed(eqx.Module):
    """An input together with the nodes where it acts."""

    input: AbstractInput
    at: Sites | Subset
    single: Sites | None = None  # where its sites are, if its states are carried by node (`at`)

    @property
    def scattered(self) -> bool:
        """Whether it acts on single nodes instead of all of them."""
        return self.single is None

    def gather(self, x: Own, nodes: int) -> Own:
        """The states `x` of the single sites as they are carried."""
        if self.single is None:
            return x
        add = self.single.add_to
        return jax.tree.map(lambda z: add(jnp.zeros(nodes, z.dtype), z), x)
