"""Adaptive Rosenbrock methods of order 4 and 5 whose linear algebra is the tree of the cable.

L-stable and stiffly accurate, so that stiff gates and nodes without capacitance (a differential
algebraic system of index 1) are solved at full order (Hairer & Wanner, Solving Ordinary
Differential Equations II, 2nd ed., IV.7 and VI.3). A step takes one exact Jacobian, one
factorisation and as many substitutions as the method has stages; see `jacobian` and `_tableau`.
"""

from functools import partial
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from jaxdend._small import depends
from jaxdend._types import as_leaf
from jaxdend.dynamics import Model, State
from jaxdend.jacobian import linearise
from jaxdend.solvers._tableau import RODAS4P, RODAS5P, Tableau
from jaxdend.solvers.manner import AbstractOwn, Manner
from jaxdend.solvers.stepwise import LIMIT

_FASTEST = 500.0  # mV/ms


class DenseOutput(diffrax.AbstractLocalInterpolation):
    """The continuous extension of a step, one order below the method; see `_tableau`."""

    t0: Any
    t1: Any
    y0: State
    y1: State
    dense: list[State]

    def evaluate(self, t0: Any, t1: Any | None = None, left: bool = True) -> State:
        """The state at `t0`, or how much it changes from there to `t1`."""
        del left
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        h = self.t1 - self.t0
        theta = (t0 - self.t0) / jnp.where(h > 0, h, 1.0)
        return jax.tree.map(partial(_between, theta), self.y0, self.y1, *self.dense)


class AbstractRosenbrock(AbstractOwn):
    """What the two methods share. `simulate` lets them choose their own steps.

    **Arguments:** `tolerance`, the shift in time, ms, to which the error of one step may amount:
    the error of a state divided by the speed at which it moves, where nothing counts as slower than
    10 mV/ms, or 0.1/ms for a gate. The worst state anywhere in the cell decides. The time of a
    spike is typically wrong by a few times as much.

    A step ends at every edge and event. Of several at exactly the same time only one has a gradient
    with respect to that time, which is then that of all of them together: set them apart by as
    little as rounding allows where their single gradients matter, or use `CrankNicolson`.
    """

    tolerance: eqx.AbstractVar[Array]  # () ms
    # Whether reverse mode may follow, from which refused steps are kept; `simulate` sets it.
    gated: eqx.AbstractVar[bool]
    tableau: eqx.AbstractClassVar[Tableau]

    term_structure: ClassVar = diffrax.AbstractTerm  # an `ODETerm` would be traced for nothing
    interpolation_cls: ClassVar = DenseOutput

    @property
    def manner(self) -> Manner:
        return Manner(rosenbrock=True)

    def order(self, terms: Any) -> int:
        """The order of convergence in the time step."""
        del terms
        return self.tableau.order

    def error_order(self, terms: Any) -> int:
        """The order of the error of one step, as it is estimated."""
        return self.order(terms)

    def init(self, terms: Any, t0: Any, t1: Any, y0: State, args: Model) -> list[Array]:
        """How many events of every queue are in the state already."""
        del terms, t1, y0
        return [queue.behind(t0) for queue in args.tables if queue is not None]

    def func(self, terms: Any, t0: Any, y0: State, args: Model) -> State:
        """The vector field of the equations, as diffrax asks for it."""
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: State,
        args: Model,
        solver_state: list[Array],
        made_jump: Any,
    ) -> tuple[State, State, dict, list[Array], Any]:
        """One step: deliver the events that are due at `t0`, then go on to `t1`."""
        del terms
        y, heads = self._delivered(args, y0, solver_state, t0)
        if args.placed and args.exposed:
            y = jax.lax.cond(
                made_jump,
                lambda y: State(args.settle(y.v, y.inputs, t0), y.mechanisms, y.inputs),
                lambda y: y,
                y,
            )
        given: tuple[Any, ...] = (eqx.filter(args, eqx.is_inexact_array), y, t0, t1 - t0)
        gate = None
        if self.gated:
            given, gate = _shut(given)
        out = _traced_once(self, eqx.combine(given[0], args), *given[1:])
        y1, error, dense = out if gate is None else _opened(out, gate)
        blown = ~(jnp.max(jnp.abs(jax.lax.stop_gradient(y1.v))) <= LIMIT)
        results: Any = diffrax.RESULTS
        result = results.where(blown, results.nonlinear_divergence, results.successful)
        return y1, error, {"y0": y, "y1": y1, "dense": list(dense)}, heads, result

    def _delivered(
        self, model: Model, y: State, heads: list[Array], t: Array
    ) -> tuple[State, list[Array]]:
        """The state after all events up to `t`."""
        inputs, new = [], []
        for queue, x in zip(model.tables, y.inputs, strict=True):
            if queue is not None:
                due = queue.behind(t)
                x = queue.deliver(x, heads[len(new)], due, reverse=self.gated)
                new.append(due)
            inputs.append(x)
        return State(y.v, y.mechanisms, inputs), new


class Rodas4P(AbstractRosenbrock):
    """Order 4, six stages: for errors of a spike's time around 1e-3 ms and more.

    Steinebach (1995) Preprint 1741, TH Darmstadt.
    """

    tolerance: Array = eqx.field(default=5e-4, converter=as_leaf)  # () ms
    gated: bool = eqx.field(default=True, static=True, kw_only=True)
    tableau: ClassVar[Tableau] = RODAS4P


class Rodas5P(AbstractRosenbrock):
    """Order 5, eight stages: for tight tolerances.

    Steinebach (2023) BIT Numer Math 63:27, doi:10.1007/s10543-023-00967-x.
    """

    tolerance: Array = eqx.field(default=5e-4, converter=as_leaf)  # () ms
    gated: bool = eqx.field(default=True, static=True, kw_only=True)
    tableau: ClassVar[Tableau] = RODAS5P


@eqx.filter_jit
def _traced_once(solver: AbstractRosenbrock, model: Model, y: State, t: Array, h: Array) -> tuple:
    """`rosenbrock_step`, whose program JAX remembers: diffrax asks for it three times."""
    return rosenbrock_step(solver.tableau, model, y, t, h)


def rosenbrock_step(
    tableau: Tableau, model: Model, y: State, t: Array, h: Array
) -> tuple[State, State, tuple[State, ...]]:
    """One step of `h` ms from `y` at `t`: the new state, its error, and the dense output's `d_k`.

    The states of inputs that the voltage does not act on move exactly; their errors are 0. No input
    may change suddenly within the step; what changes at its ends is seen from inside.
    """
    h = jnp.where(h > 0, h, 1.0)  # a member of a batch that has arrived; its step is not taken
    clock = _Clock(model, y, t, h)
    x = _coupled(model, y)
    now, inputs = clock.at(0.0), clock.inputs(0.0)
    local = linearise(model, State(x.v, x.mechanisms, inputs), now, 1.0 / (tableau.gamma * h))
    right = clock.balance(0.0, x)
    slant = _explicit_slope(x, clock)
    flat, back = ravel_pytree(x)
    ones = jax.tree.map(jnp.ones_like, x)
    mass, _ = ravel_pytree(State(model.capacitance, ones.mechanisms, ones.inputs))

    def solved(right: State, slanted: Array | float) -> Array:
        if slant is not None:
            right = jax.tree.map(lambda a, b: a + slanted * h * b, right, slant)
        return ravel_pytree(local.solve(model, right))[0]

    def stage(u: Array, row: tuple) -> tuple[Array, None]:
        i, a, c, alpha, slanted = row
        right = clock.balance(alpha, back(flat + a @ u))
        right = jax.tree.map(jnp.add, right, back((c / h) @ u * mass))
        return u.at[i].set(solved(right, slanted)), None

    def numbers(values: np.ndarray) -> Array:
        return jnp.asarray(values, flat.dtype)

    u = (
        jnp.zeros((tableau.stages, flat.size), flat.dtype)
        .at[0]
        .set(solved(right, tableau.slant[0]))
    )
    rows = (tableau.a, tableau.c, tableau.alpha, tableau.slant)
    rows = (jnp.arange(1, tableau.stages), *(numbers(r[1:]) for r in rows))
    u, _ = jax.lax.scan(stage, u, rows)
    x1 = back(flat + numbers(tableau.a[-1]) @ u + u[-1])
    end = clock.inputs(1.0)

    def full(x: State, others: list) -> State:
        return State(x.v, x.mechanisms, _mixed(model, x.inputs, others))

    still = jax.tree.map(jnp.zeros_like, end)
    dense = tuple(full(back(numbers(d) @ u), still) for d in tableau.dense)
    return full(x1, end), full(back(u[-1]), still), dense


def _coupled(model: Model, y: State) -> State:
    """`y` without the states of inputs that the voltage does not act on."""
    return State(y.v, y.mechanisms, _mixed(model, y.inputs, [None] * len(y.inputs)))


def _mixed(model: Model, mine: list, others: list) -> list:
    """`mine` where the voltage acts on the state of an input, else `others`."""
    return [
        a if item.input.coupled else b
        for item, a, b in zip(model.placed, mine, others, strict=True)
    ]


def _between(theta: Array, a: Array, b: Array, *dense: Array) -> Array:
    total = jnp.zeros_like(a)
    for d in reversed(dense):
        total = d + theta * total
    return (1.0 - theta) * a + theta * (b + (1.0 - theta) * total)


def error_norm(
    model: Model, y0: State, y1: State, error: State, h: Array, tolerance: Array
) -> Array:
    """The largest error of any state, as a multiple of what `tolerance` allows; NaN stays NaN.

    As a shift in time: the error over how fast the state moves. A voltage counts as no slower than
    10 and no faster than 500 mV/ms (at a jump of a voltage clamp it is faster, and gates would
    feel the error), gates as no slower than 0.1/ms, and concentrations as no slower than a tenth of
    themselves plus 1e-6 mM in 1 ms.
    """

    def shift(a: Array, b: Array, e: Array, slowest: Array | float, fastest: float) -> Array:
        speed = jnp.minimum(jnp.abs(b - a) / h, fastest)
        return jnp.max(jnp.abs(e) / (slowest + speed), initial=0.0)

    worst = [shift(y0.v, y1.v, error.v, 10.0, _FASTEST)]
    for item, a, b, e in zip(
        model.inserted, y0.mechanisms, y1.mechanisms, error.mechanisms, strict=True
    ):
        for name in e:
            size = jnp.abs(b[name])
            size = size + 1e-6 if item.mechanism.writes else jnp.maximum(size, 1.0)
            worst.append(shift(a[name], b[name], e[name], 0.1 * size, jnp.inf))
    for item, *states in zip(model.placed, y0.inputs, y1.inputs, error.inputs, strict=True):
        if item.input.coupled:
            leaves = (jax.tree.leaves(x) for x in states)
            worst += [shift(a, b, e, 0.1, jnp.inf) for a, b, e in zip(*leaves, strict=True)]
    return jnp.max(jnp.stack(worst)) / tolerance


class _Clock:
    """What is known of time within one step: where its stages may look, and the inputs there."""

    def __init__(self, model: Model, y: State, t: Array, h: Array):
        self.model, self.y, self.t, self.h = model, y, t, h
        end = t + h
        edge = 16 * jnp.finfo(t.dtype).eps * jnp.maximum(jnp.abs(t), jnp.abs(end))
        self.margin = jax.lax.stop_gradient(jnp.minimum(edge, 0.25 * h))

    def at(self, alpha: Array | float) -> Array:
        """The time of a stage, not quite at either end of the step."""
        inside = self.t + alpha * self.h
        return jnp.clip(inside, self.t + self.margin, self.t + self.h - self.margin)

    def inputs(self, alpha: Array | float) -> list:
        """`State.inputs`, those that the voltage does not act on at the fraction `alpha`."""
        lag = alpha * self.h
        return [
            x
            if item.input.coupled
            else item.input.advance(item.at.take(self.y.v), x, self.t, self.t + lag, lag)
            for item, x in zip(self.model.placed, self.y.inputs, strict=True)
        ]

    def balance(self, alpha: Array | float, x: State) -> State:
        """`Model.balance` at the fraction `alpha`, of a state whose other inputs move by then."""
        inputs = _mixed(self.model, x.inputs, self.inputs(alpha))
        return _coupled(
            self.model, self.model.balance(self.at(alpha), State(x.v, x.mechanisms, inputs))
        )


def _explicit_slope(x: State, clock: _Clock) -> State | None:
    """`∂f/∂t`; None where every input is constant between its edges."""

    def f(lag: Array) -> State:
        model, v = clock.model, x.v
        t, inputs = clock.at(lag / clock.h), _mixed(model, x.inputs, clock.inputs(lag / clock.h))
        outward = model.add_inputs(v, inputs, t, t, jnp.zeros_like(v))
        slopes = [
            item.input.derivative(item.at.take(v), y, t) if item.input.coupled else None
            for item, y in zip(model.placed, inputs, strict=True)
        ]
        still = jax.tree.map(jnp.zeros_like, x.mechanisms)
        return State(-outward, still, slopes)

    start = jnp.zeros_like(clock.h) + 2 * clock.margin  # where `clock.at` does move with time
    if not any(depends(f, start)):
        return None
    return jax.jvp(f, (start,), (jnp.ones_like(start),))[1]


@jax.custom_vjp
def _shut(x: Any) -> tuple[Any, Array]:
    """`x`, and a handle by which `_opened` lets its gradient through.

    A step that is refused, or that a member of a batch takes which has arrived, may hold
    infinities, and zero times their slopes is NaN.
    """
    return x, jnp.zeros(())


def _shut_back(_: None, cotangents: tuple[Any, Array]) -> tuple[Any]:
    back, used = cotangents
    return (jax.tree.map(lambda a: jnp.where(used > 0, a, jnp.zeros_like(a)), back),)


_shut.defvjp(lambda x: ((x, jnp.zeros(())), None), _shut_back)


@jax.custom_vjp
def _opened(out: Any, handle: Array) -> Any:
    """`out`; backwards, the gate of `handle` opens if anything of it was used."""
    del handle
    return out


def _opened_back(_: None, cotangent: Any) -> tuple[Any, Array]:
    used = [jnp.any(a != 0) for a in jax.tree.leaves(cotangent) if a.dtype != jax.dtypes.float0]
    return cotangent, jnp.any(jnp.stack(used)).astype(float)


_opened.defvjp(lambda out, handle: (out, None), _opened_back)
