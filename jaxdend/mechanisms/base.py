"""What a membrane mechanism is: a current, and how its state moves.

A mechanism is evaluated on the `k` compartments into which it was inserted. It never sees the
tree, the solver or the time step of the voltage: it states its equations and nothing else.
"""

import abc
import dataclasses
import difflib
import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from jaxdend.rates import approach, exprel

Gates = dict[str, tuple[Array, Array]]
States = dict[str, Array]


def _leaf(value: ArrayLike | None) -> Any:
    """A floating array leaf, so that a new number never recompiles; `None` stays `None`."""
    if value is None or (isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.inexact)):
        return value
    try:
        if any(isinstance(x, str | bytes) for x in jax.tree.leaves(value)):
            raise TypeError("numpy would read the number in a text")
        return jnp.asarray(value, dtype=jnp.result_type(float))
    except TypeError:
        # a placeholder of a tree transformation, or what `Cell.insert` refuses by name
        return value


def param(default: Any = dataclasses.MISSING, *, unit: str, doc: str = "") -> Any:
    """Declare a mechanism parameter: an array leaf, scalar or `(k,)`, with its unit.

    **Arguments:** `default` as a number (omit it for a required parameter, give `None` where "take
    it from the ion" makes sense); `unit`, for example `"S/cm2"`; `doc`, one line.
    """
    return eqx.field(default=default, converter=_leaf, metadata={"unit": unit, "doc": doc})


class Env(eqx.Module):
    """What a mechanism sees of its surroundings, on its own `k` compartments.

    `e`, `inside` and `outside` hold the ions that it declares in `reads`, `current` those that it
    declares in `writes`.
    """

    celsius: Array  # () °C
    e: dict[str, Array]  # ion -> (k,) mV, Nernst potential at the concentrations below
    inside: dict[str, Array]  # ion -> (k,) mM
    outside: dict[str, Array]  # ion -> () or (k,) mM
    # ion -> (k,) mA/cm², outward current of the ion through all channels of the compartment
    current: dict[str, Array] = eqx.field(default_factory=dict)


class AbstractMechanism(eqx.Module):
    """Common ground of channels and ion pools: what sits in the membrane, with named states.

    A mechanism may carry a current (`current`), move concentrations (`writes`), or both.

    Write `gates` (steady state and time constant of every state), or, for states that are not of
    that form, `derivative` together with `initial`. The default `advance` is then exact for gates
    at a frozen voltage, and exponential Rosenbrock–Euler for the others, of second order where
    states do not act on one another (Hochbruck & Ostermann 2010, eq. 2.13, with a diagonal Jacobian
    by `jax.jvp`).
    """

    reads: ClassVar[tuple[str, ...]] = ()  # ions whose concentration or Nernst potential it needs
    ion: ClassVar[str | None] = None  # the ion that carries `current`, if it is one

    @property
    def writes(self) -> tuple[str, ...]:
        """The ions whose concentrations follow from the state, by `concentrations`."""
        return ()

    def current(self, v: Array, x: States, env: Env) -> Array | dict[str | None, Array]:
        """Outward current density `(k,)` mA/cm² at `v (k,)` mV, or a dict ion -> current."""
        del v, x, env
        return {}

    def currents(self, v: Array, x: States, env: Env) -> dict[str | None, Array]:
        """`current` as a dict, the ion that carries it -> `(k,)` mA/cm²."""
        current = self.current(v, x, env)
        return current if isinstance(current, dict) else {self.ion: current}

    def concentrations(self, x: States) -> dict[str, tuple[Array, Array]]:
        """The concentrations inside and outside by ion, `()` or `(k,)` mM, at the state `x`."""
        del x
        return {}

    def reversal_potentials(self) -> dict[str, Array]:
        """Ion -> a reversal potential, `()` or `(k,)` mV, that holds here instead of Nernst's."""
        return {}

    def trigger(self, v: Array, x: States, env: Env, t: Array) -> States:
        """The state after its sudden changes, looked at once a step, before the current.

        `v (k,)` mV and `x` are those at the start of the step and `t` is its middle, ms. Only the
        staggered solvers look; `simulate` refuses any other for a mechanism that writes this.
        """
        del v, env, t
        return x

    def reset(self, v: Array, x: States, env: Env, t: Array) -> Array:
        """The voltage `(k,)` mV after its sudden changes, looked at together with `trigger`.

        Both see the voltage and the state from before either. The step starts from the result, so
        a recorded trace shows the crossing first and the course after the reset one step later.
        Where several mechanisms of one compartment reset it, their jumps add.
        """
        del x, env, t
        return v

    __slots__ = ("_given",)  # fields named at construction; no part of the pytree

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note which parameters are given: `Cell.insert` leaves the others as they are."""
        self = super().__new__(cls)
        names = _arguments(cls)
        if names is not None:
            _check_names(cls.__name__, names, kwargs)
            object.__setattr__(self, "_given", frozenset(names[: len(args)]) | frozenset(kwargs))
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickled ones do not know what was given."""
        return _restored, (type(self), self.__dict__)

    def gates(self, v: Array, env: Env) -> Gates:
        """Steady state (1) and time constant (ms) of every gate at `v (k,)` mV.

        Each compartment by itself: derivatives rely on entry i depending on `v[i]` alone.
        """
        del v, env
        return {}

    def initial(self, v: Array, env: Env) -> States:
        """The state at rest at `v (k,)` mV: the steady state of every gate."""
        return {name: inf for name, (inf, _) in self.gates(v, env).items()}

    def derivative(self, v: Array, x: States, env: Env) -> States:
        """The time derivative of every state, `(k,)`, its unit per ms."""
        return {name: (inf - x[name]) / tau for name, (inf, tau) in self.gates(v, env).items()}

    def advance(self, v: Array, x: States, env: Env, h: Array) -> States:
        """The states `h` ms later, at frozen `v (k,)` mV and surroundings."""
        if not overrides(self, "derivative"):
            return _relaxed((self, env, h), v, x)
        return exponential_euler(lambda y: self.derivative(v, y, env), x, h)


def named(mechanism: AbstractMechanism) -> frozenset[str]:
    """The fields that the caller named when the mechanism was constructed.

    All of them where that is not known: a mechanism that went through `jax.jit`, `jax.tree.map`
    and the like, that was copied or loaded, or whose class has an `__init__` of its own.
    """
    every = frozenset(field.name for field in dataclasses.fields(mechanism))
    return getattr(mechanism, "_given", every)


@cache
def _arguments(cls: type) -> tuple[str, ...] | None:
    """The arguments of a class where they are its fields, else `None`."""
    fields = tuple(field.name for field in dataclasses.fields(cls) if field.init)
    arguments = tuple(inspect.signature(cls.__init__).parameters)[1:]
    return fields if arguments == fields else None


def _check_names(owner: str, known: tuple[str, ...], given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{owner} has no parameter {name!r}; it has {', '.join(known)}.{hint}")


def _restored(cls: type, fields: dict[str, Any]) -> AbstractMechanism:
    out = object.__new__(cls)
    out.__dict__.update(fields)
    return out


def _relax(setting: tuple, v: Array, x: States) -> States:
    """Every gate `h` ms later at frozen `v (k,)` mV; `setting` is the mechanism, `Env` and `h`."""
    mechanism, env, h = setting
    return {
        name: x[name] + (inf - x[name]) * approach(h / tau)
        for name, (inf, tau) in mechanism.gates(v, env).items()
    }


_relaxed = eqx.filter_custom_jvp(_relax)


@_relaxed.def_jvp
def _relaxed_jvp(primals: tuple, tangents: tuple) -> tuple[States, States]:
    """Gates are functions compartment by compartment: two slopes each, found on the way.

    Reverse mode then only multiplies by them, in less time than by going back through
    every rate; through the setting it goes only where that is asked for.
    """
    (setting, v, x), (d_setting, d_v, d_x) = primals, tangents
    ones = jax.tree.map(jnp.ones_like, x)
    out, by_v = jax.jvp(lambda v: _relax(setting, v, x), (v,), (jnp.ones_like(v),))
    _, by_x = jax.jvp(lambda x: _relax(setting, v, x), (x,), (ones,))
    change = {name: jnp.zeros_like(value) for name, value in out.items()}
    if d_v is not None:
        change = {name: by_v[name] * d_v for name in out}
    for name, d in (d_x or {}).items():
        if d is not None:
            change[name] = change[name] + by_x[name] * d
    if any(d is not None for d in jax.tree.leaves(d_setting)):
        _, more = eqx.filter_jvp(lambda s: _relax(s, v, x), (setting,), (d_setting,))
        change = {n: change[n] if more[n] is None else change[n] + more[n] for n in out}
    return out, change


def exponential_euler(f: Any, x: States, h: Array) -> States:
    """One exponential Rosenbrock–Euler step of `x' = f(x)` for elementwise states.

    Each state's own slope is exact (`jax.jvp`); coupling between states is taken at the old values.
    """
    out = {}
    for name in x:
        value, slope = jax.jvp(
            lambda xi, name=name: f({**x, name: xi})[name], (x[name],), (jnp.ones_like(x[name]),)
        )
        out[name] = x[name] + h * value * exprel(h * slope)
    return out


class AbstractChannel(AbstractMechanism):
    """A current through the membrane. Subclass it, declare `param`s, write `current`.

    ```python
    class Kdr(AbstractChannel):
        gbar: Array = param(0.01, unit="S/cm2")
        ek: Array = param(-90.0, unit="mV")
        ion = "k"

        def gates(self, v, env):
            return {"n": (1 / (1 + jnp.exp(-(v + 30) / 9)), 2 + 0 * v)}

        def current(self, v, x, env):
            return self.gbar * x["n"] ** 4 * (v - self.ek)
    ```
    """

    @abc.abstractmethod
    def current(self, v: Array, x: States, env: Env) -> Array | dict[str | None, Array]:
        """Outward current density `(k,)` mA/cm² at `v (k,)` mV, or a dict ion -> current."""


def overrides(mechanism: AbstractMechanism, method: str) -> bool:
    """Whether the class of a mechanism writes `method` anew: known before anything runs."""
    return getattr(type(mechanism), method) is not getattr(AbstractMechanism, method)


def crossed(above: Array, width: Array, surrogate: bool) -> Array:
    """Gives 1 where `above`, mV past a threshold, is positive, else 0.

    A jump has no gradient. With `surrogate` the value is the same and the gradient at the step that
    crosses is taken to be `1 / (width (1 + above / width)²)`, `width` in mV (Zenke & Ganguli 2018,
    Neural Comput 30:1514). It is 0 at all other steps: a gradient at each step below the threshold
    would be multiplied up from step to step, beyond all bounds.
    """
    fired = above > 0.0
    hard = fired.astype(above.dtype)
    if not surrogate:
        return hard
    soft = jnp.where(fired, above, 0.0) / width
    soft = soft / (1.0 + soft)
    return hard + (soft - jax.lax.stop_gradient(soft))


class AbstractPool(AbstractMechanism):
    """A concentration inside the membrane, driven by the current of its ion.

    Its state is the one entry `"inside"`, `(k,)` mM; its surroundings read it back through
    `Env.inside` and `Env.e`.
    """

    ion: eqx.AbstractClassVar[str]
    outside: eqx.AbstractVar[Array]  # () or (k,) mM

    @abc.abstractmethod
    def pool_derivative(self, inside: Array, current: Array) -> Array:
        """d(inside)/dt in mM/ms from `inside (k,)` mM and its ion's `current (k,)` mA/cm²."""

    @abc.abstractmethod
    def start(self, v: Array) -> Array:
        """The concentration at t = 0, `(k,)` mM."""

    @property
    def writes(self) -> tuple[str, ...]:
        return (self.ion,)

    def concentrations(self, x: States) -> dict[str, tuple[Array, Array]]:
        return {self.ion: (x["inside"], self.outside)}

    def initial(self, v: Array, env: Env) -> States:
        """The state of the pool, its concentration, at t = 0."""
        del env
        return {"inside": self.start(v)}

    def derivative(self, v: Array, x: States, env: Env) -> States:
        """The derivative that `pool_derivative` gives for the current of the pool's ion."""
        del v
        return {"inside": self.pool_derivative(x["inside"], env.current[self.ion])}


@jax.tree_util.register_pytree_node_class
class _Noted(dict):
    """A dict that notes which of its ions somebody looks at."""

    def __init__(self, values: dict[str, Array], seen: set[str]):
        super().__init__(values)
        self.seen = seen

    def __getitem__(self, ion: str) -> Array:
        self.seen.add(ion)
        return super().__getitem__(ion)

    def get(self, ion: str, default: Any = None) -> Any:
        self.seen.add(ion)
        return super().get(ion, default)

    def tree_flatten(self) -> tuple[tuple, tuple]:
        self.seen.update(self)
        return tuple(super().values()), (tuple(self), self.seen)

    @classmethod
    def tree_unflatten(cls, keys: tuple, values: tuple) -> "_Noted":
        return cls(dict(zip(keys[0], values, strict=True)), keys[1])


def concentrations_read(mechanism: AbstractMechanism) -> set[str]:
    """The ions whose concentrations the equations look at, in or outside, not only their potential.

    Found by tracing the equations once: NEURON's rule for reversal potentials asks who reads what.
    """
    if not mechanism.reads:
        return set()
    seen: set[str] = set()
    sizes = [jnp.size(leaf) for leaf in jax.tree.leaves(mechanism) if jnp.ndim(leaf) == 1]

    def look(v: Array) -> Any:
        here = dict.fromkeys(mechanism.reads, v)
        current = dict.fromkeys(mechanism.writes, v)
        env = Env(v[0], dict(here), _Noted(here, seen), _Noted(here, seen), current)
        seen.clear()  # equinox has looked at all of them when it made `env`
        x = mechanism.initial(v, env)
        return list(mechanism.currents(v, x, env).values()), mechanism.derivative(v, x, env)

    jax.eval_shape(look, jnp.zeros(max(sizes, default=1)))
    return seen & set(mechanism.reads)
