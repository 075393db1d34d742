"""Adaptive Rosenbrock methods of order 4 and 5 whose linear algebra is the tree of the cable.

L-stable and stiffly accurate, so that stiff gates and nodes without capacitance (a differential
algebraic system of index 1) are solved at full order (Hairer & Wanner, Solving Ordinary
Differential Equations II, 2nd ed., IV.7 and VI.3). A step takes one exact Jacobian, one
factorisation and as many substitutions as the method has stages; see `_local` and `_tableau`.
"""

import abc
from functools import partial
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from jaxdend._types import as_leaf
from jaxdend.dynamics import Model, State
from jaxdend.mechanisms.base import AbstractPool
from jaxdend.solvers._local import linearise
from jaxdend.solvers._tableau import RODAS4P, RODAS5P, Tableau
from jaxdend.stimuli import AbstractStimulus, PulseTrain, Step
from jaxdend.synapses import AbstractKineticSynapse, AbstractSynapse


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


class AbstractRosenbrock(diffrax.AbstractSolver):
    """What the two methods share. `simulate` lets them choose their own steps.

    **Arguments:** `tolerance`, the shift in time, ms, to which the error of one step may amount:
    the error of a state divided by the speed at which it moves, where nothing counts as slower than
    10 mV/ms, or 0.1/ms for a gate. The worst state anywhere in the cell decides. The time of a
    spike is typically wrong by a few times as much.
    """

    tolerance: eqx.AbstractVar[Array]  # () ms
    tableau: eqx.AbstractClassVar[Tableau]

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = DenseOutput

    @abc.abstractmethod
    def order(self, terms: Any) -> int:
        """Order of convergence in the time step."""

    def error_order(self, terms: Any) -> int:
        """The order of the error of one step, as it is estimated."""
        return self.order(terms)

    def init(self, terms: Any, t0: Any, t1: Any, y0: State, args: Model) -> None:
        """Nothing is carried from step to step."""
        del terms, t0, t1, y0, args

    def func(self, terms: Any, t0: Any, y0: State, args: Model) -> State:
        """The vector field itself."""
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: State,
        args: Model,
        solver_state: None,
        made_jump: Any,
    ) -> tuple[State, State, dict, None, Any]:
        """One step, as diffrax asks for it, with a synapse's events summed anew at every stage."""
        del terms, solver_state, made_jump
        y1, error, dense = rosenbrock_step(self.tableau, args, y0, t0, t1 - t0, carried=False)
        zero = jax.tree.map(jnp.zeros_like, y0)
        error, *dense = (
            State(d.v, d.mechanisms, _receptors(args, d.inputs, zero.inputs))
            for d in (error, *dense)
        )
        info = {"y0": y0, "y1": y1, "dense": dense}
        return y1, error, info, None, diffrax.RESULTS.successful


class Rodas4P(AbstractRosenbrock):
    """Order 4, six stages: for errors of a spike's time around 1e-3 ms and more.

    Steinebach (1995) Preprint 1741, TH Darmstadt.
    """

    tolerance: Array = eqx.field(default=5e-4, converter=as_leaf)  # () ms
    tableau: ClassVar[Tableau] = RODAS4P

    def order(self, terms: Any) -> int:
        """Fourth order."""
        return 4


class Rodas5P(AbstractRosenbrock):
    """Order 5, eight stages: for tight tolerances.

    Steinebach (2023) BIT Numer Math 63:27, doi:10.1007/s10543-023-00967-x.
    """

    tolerance: Array = eqx.field(default=5e-4, converter=as_leaf)  # () ms
    tableau: ClassVar[Tableau] = RODAS5P

    def order(self, terms: Any) -> int:
        """Fifth order."""
        return 5


def rosenbrock_step(
    tableau: Tableau, model: Model, y: State, t: Array, h: Array, *, carried: bool
) -> tuple[State, State, tuple[State, ...]]:
    """One step of `h` ms from `y` at `t`: the new state, its error, and the dense output's `d_k`.

    `carried` takes the traces in `y.inputs` for those of the event synapses at `t` and moves them
    on exactly; otherwise conductances are summed over all events up to a time. No input may change
    suddenly within the step; what changes at its ends is seen from inside.
    """
    clock = _Clock(model, y, t, h, carried)
    x = State(y.v, y.mechanisms, _receptors(model, y.inputs, [None] * len(y.inputs)))
    now, g = clock.at(0.0), clock.conductances(0.0)
    right, currents = _balance(model, x, now, g)
    local = linearise(model, x, now, g, currents, 1.0 / (tableau.gamma * h))
    slant = _explicit_slope(model, x, clock)
    flat, back = ravel_pytree(x)
    ones = jax.tree.map(jnp.ones_like, x)
    mass, _ = ravel_pytree(State(model.capacitance, ones.mechanisms, ones.inputs))

    def solved(right: State, slanted: Array | float) -> Array:
        if slant is not None:
            right = State(right.v + slanted * h * slant, right.mechanisms, right.inputs)
        return ravel_pytree(local.solve(model, right))[0]

    def stage(u: Array, row: tuple) -> tuple[Array, None]:
        i, a, c, alpha, slanted = row
        right, _ = _balance(model, back(flat + a @ u), clock.at(alpha), clock.conductances(alpha))
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
    dense = tuple(back(numbers(d) @ u) for d in tableau.dense)
    y1 = State(x1.v, x1.mechanisms, _receptors(model, x1.inputs, clock.traces(h)))
    return y1, back(u[-1]), dense


def _between(theta: Array, a: Array, b: Array, *dense: Array) -> Array:
    total = jnp.zeros_like(a)
    for d in reversed(dense):
        total = d + theta * total
    return (1.0 - theta) * a + theta * (b + (1.0 - theta) * total)


def interpolated(
    theta: Array, y0: State, y1: State, dense: tuple[State, ...], traces: list
) -> State:
    """The state at the fraction `theta` of a step; `traces` are those of the event synapses."""
    one = partial(_between, theta)
    v = one(y0.v, y1.v, *(d.v for d in dense))
    mechanisms = jax.tree.map(one, y0.mechanisms, y1.mechanisms, *(d.mechanisms for d in dense))
    inputs = [
        z if d[0] is None else one(a, b, *d)
        for a, b, z, d in zip(
            y0.inputs, y1.inputs, traces, zip(*(d.inputs for d in dense), strict=True), strict=True
        )
    ]
    return State(v, mechanisms, inputs)


def error_norm(
    model: Model, y0: State, y1: State, error: State, h: Array, tolerance: Array
) -> Array:
    """The largest error of any state, as a multiple of what `tolerance` allows; NaN stays NaN.

    As a shift in time: the error over how fast the state moves, but not slower than 10 mV/ms,
    for gates 0.1/ms, and for concentrations a tenth of themselves plus 1e-6 mM in 1 ms.
    """

    def shift(a: Array, b: Array, e: Array, slowest: Array | float) -> Array:
        return jnp.max(jnp.abs(e) / (slowest + jnp.abs(b - a) / h), initial=0.0)

    worst = [shift(y0.v, y1.v, error.v, 10.0)]
    for item, a, b, e in zip(
        model.inserted, y0.mechanisms, y1.mechanisms, error.mechanisms, strict=True
    ):
        for name in e:
            size = jnp.abs(b[name])
            pool = isinstance(item.mechanism, AbstractPool)
            size = size + 1e-6 if pool else jnp.maximum(size, 1.0)
            worst.append(shift(a[name], b[name], e[name], 0.1 * size))
    for a, b, e in zip(y0.inputs, y1.inputs, error.inputs, strict=True):
        if e is not None:
            worst.append(shift(a, b, e, 0.1))
    return jnp.max(jnp.stack(worst)) / tolerance


class _Clock:
    """What is known of time within one step: event synapses, and where its stages may look."""

    def __init__(self, model: Model, y: State, t: Array, h: Array, carried: bool):
        self.model, self.y, self.t, self.h, self.carried = model, y, t, h, carried
        end = t + h
        edge = 16 * jnp.finfo(t.dtype).eps * jnp.maximum(jnp.abs(t), jnp.abs(end))
        self.margin = jax.lax.stop_gradient(jnp.minimum(edge, 0.25 * h))

    def at(self, alpha: Array | float) -> Array:
        """The time of a stage, not quite at either end of the step."""
        inside = self.t + alpha * self.h
        return jnp.clip(inside, self.t + self.margin, self.t + self.h - self.margin)

    def traces(self, lag: Array) -> list:
        """`State.inputs` with the traces of the event synapses `lag` ms into the step."""
        return traces_after(self.model, self.y, lag) if self.carried else self.y.inputs

    def conductances(self, alpha: Array | float) -> tuple:
        """Conductance of every synapse group, `(k,)` µS."""
        now = State(self.y.v, self.y.mechanisms, self.traces(alpha * self.h))
        return self.model.conductances(now, self.at(alpha), carried=self.carried)


def traces_after(model: Model, y: State, lag: Array) -> list:
    """`y.inputs` with the traces of the event synapses `lag` ms later."""
    return [
        group.decay(z, lag) if is_carried(group) else z
        for group, z in zip(model.inputs, y.inputs, strict=True)
    ]


def is_carried(group: Any) -> bool:
    """Whether an input is a synapse group whose traces move with the solution."""
    return isinstance(group, AbstractSynapse) and not group.explicit


def _receptors(model: Model, mine: list, others: list) -> list:
    """`mine` where there is a kinetic synapse, else `others`."""
    return [
        a if isinstance(group, AbstractKineticSynapse) else b
        for group, a, b in zip(model.inputs, mine, others, strict=True)
    ]


def _balance(
    model: Model, x: State, t: Array, conductances: tuple
) -> tuple[State, dict[str, Array]]:
    """`f(t, x)`, the current into every node (nA) and the slope of every state; ions' currents."""
    envs = model.environments(x)
    outward, ions = model.membrane_current(x.v, x, envs, conductances)
    net = model.injected(t, t) - outward - model.axial_current(x.v)
    if model.has_clamp:
        g, drive = model.clamped(t)
        net = net + drive - g * x.v
    mechanisms = []
    for item, states, env in zip(model.inserted, x.mechanisms, envs, strict=True):
        mechanism = item.mechanism
        if isinstance(mechanism, AbstractPool):
            current = item.at.take(ions[mechanism.ion])
            mechanisms.append({"inside": mechanism.pool_derivative(states["inside"], current)})
        else:
            mechanisms.append(mechanism.derivative(item.at.take(x.v), states, env))
    inputs = [
        group.derivative(x.v[group.site], states, group.drive(t))
        if isinstance(group, AbstractKineticSynapse)
        else None
        for group, states in zip(model.inputs, x.inputs, strict=True)
    ]
    return State(net, mechanisms, inputs), ions


def _explicit_slope(model: Model, x: State, clock: _Clock) -> Array | None:
    """`∂f/∂t` of the voltage rows, nA/ms; None where every input is constant between its edges."""
    constant = (Step, PulseTrain, AbstractKineticSynapse)
    if all(isinstance(i, constant) for i in model.inputs):
        return None

    def net(lag: Array) -> Array:
        t, conductances = clock.at(lag / clock.h), clock.conductances(lag / clock.h)
        total = jnp.zeros_like(x.v)
        for group, g in zip(model.inputs, conductances, strict=True):
            if isinstance(group, AbstractSynapse):
                total = total.at[group.site].add(-group.current(x.v[group.site], g))
            elif isinstance(group, AbstractStimulus):
                total = total.at[group.site].add(group.current(t, t))
        if model.has_clamp:
            g, drive = model.clamped(t)
            total = total + drive - g * x.v
        return total

    start = jnp.zeros_like(clock.h) + 2 * clock.margin  # where `clock.at` does move with time
    return jax.jvp(net, (start,), (jnp.ones_like(start),))[1]
