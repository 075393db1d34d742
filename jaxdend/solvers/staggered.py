"""NEURON's staggered fixed-step schemes as diffrax solvers: voltage first, then everything else.

One step from t_n (Hines 1984; Hines & Carnevale 1997, doi:10.1162/neco.1997.9.6.1179):

1. deliver the events of this step to the synapses, then look at the triggers of mechanisms and at
   their resets of the voltage;
2. evaluate stimuli at mid-step and linearise the membrane current, exactly, at v_n;
3. solve the tree for the new voltage;
4. advance concentrations with the current just used, then the gates at the new voltage.
"""

import abc
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.dynamics import Model, State
from jaxdend.mechanisms.base import AbstractChannel, Env, overrides
from jaxdend.stimuli import VoltageClamp
from jaxdend.synapses import AbstractKineticSynapse, AbstractSynapse


class AbstractStaggered(diffrax.AbstractSolver):
    """What the two schemes share; the model travels as `args`."""

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation
    second_order: eqx.AbstractClassVar[bool]
    round_events: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def order(self, terms: Any) -> int:
        """Order of convergence in the time step."""

    def init(self, terms: Any, t0: Any, t1: Any, y0: State, args: Model) -> Array:
        """The step counter: time is counted in steps, so that it never drifts."""
        del terms, t1, y0
        return jnp.round((t0 - args.start) / args.h).astype(int)

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
        solver_state: Array,
        made_jump: Any,
    ) -> tuple[State, None, dict, Array, Any]:
        """One step of `args.h` ms."""
        del terms, t1, made_jump
        due = tuple(None if table is None else table.due(solver_state) for table in args.events)
        y1 = self.advance(args, y0, t0, due, None)
        return y1, None, {"y0": y0, "y1": y1}, solver_state + 1, diffrax.RESULTS.successful

    def advance(
        self, model: Model, state: State, t: Array, due: tuple, known: Array | None
    ) -> State:
        """The state one step of `model.h` ms after `state` at `t` ms.

        `due` are the events to deliver, one `Due` or `None` for each input; `known`, if given, is
        the voltage at the end of the step, `(N,)` mV, from an earlier evaluation: the result is the
        same and has the same derivatives, but the tree is not solved again.
        """
        return staggered_step(
            model, state, t, due, known, second_order=self.second_order, rounded=self.round_events
        )


class BackwardEuler(AbstractStaggered):
    """First order, NEURON's default: equal `dt` gives NEURON's traces.

    `round_events=True` delivers events and switches stimuli at the nearest step, NEURON's rule; a
    kinetic synapse then sees its transmitter at mid-step, without a gradient to its event times.
    """

    round_events: bool = True
    second_order: ClassVar[bool] = False

    def order(self, terms: Any) -> int:
        """First order."""
        return 1


class CrankNicolson(AbstractStaggered):
    """Second order, NEURON's `secondorder = 2`: half a step implicitly, then `v1 = 2 v½ - v0`.

    Gates live half a step ahead of the voltage. Events enter at their exact times and stimuli with
    their exact mean over the step (`round_events=True` for NEURON's rounding); compartments of area
    0 are solved for at the end of the step, where NEURON's would ring. With a voltage clamp that is
    not soft among the inputs the voltage takes the L-stable SDIRK step of Alexander (1977,
    doi:10.1137/0714068, γ = 1 - 1/√2), of the same order, which does not ring, and two half steps
    of backward Euler around a jump of the command, which do not overshoot.
    """

    round_events: bool = False
    second_order: ClassVar[bool] = True

    def order(self, terms: Any) -> int:
        """Second order."""
        return 2


def staggered_step(
    model: Model,
    state: State,
    t: Array,
    due: tuple,
    known: Array | None,
    *,
    second_order: bool,
    rounded: bool,
) -> State:
    """`AbstractStaggered.advance`."""
    h, mid = model.h, t + model.h / 2
    inputs = tuple(
        x if events is None else events.deliver(x)
        for events, x in zip(due, state.inputs, strict=True)
    )
    state = State(state.v, state.mechanisms, inputs)
    envs = model.environments(state)
    state = _jumped(model, state, envs, mid)
    conductances = model.conductances(state, mid, carried=True)
    (outward, ions), (slope, ion_slopes) = model.linearised(state, envs, conductances)
    if any(overrides(item.mechanism, "reset") for item in model.inserted):
        slope = _floored(model, slope, h / 2 if second_order else h)
    when = (mid, mid) if rounded else (t, t + h)
    source = model.injected(*when, slope * state.v - outward)
    balanced = not rounded and bool(model.inputs) and model.exposed
    if not second_order:
        v, used = _implicit(model, state.v, slope, source, h, mid, known), None
    elif model.has_stiff_clamp:
        v = _clamped_step(model, state.v, slope, source, t)
        used = (v - state.v) / 2
    else:
        middle = None if known is None or balanced else 0.5 * (state.v + known)
        half = _implicit(model, state.v, slope, source, h / 2, t + h / 2, middle)
        v, used = 2 * half - state.v, half - state.v
        if balanced:
            v = _balanced(model, v, half, state, envs, t)
    if used is not None:  # the current that flowed: at mid-step, as NEURON's second_order_cur
        ions = {ion: i + ion_slopes[ion] * used for ion, i in ions.items()}
    mechanisms = model.advance(v, state, ions, h)
    return State(v, mechanisms, _advance_inputs(model, v, state, t, rounded))


def _jumped(model: Model, state: State, envs: tuple[Env, ...], t: Array) -> State:
    """`state` after every trigger and reset; each of them sees the `state` from before."""
    mechanisms, jumps = [], []
    for item, x, env in zip(model.inserted, state.mechanisms, envs, strict=True):
        mechanism = item.mechanism
        if isinstance(mechanism, AbstractChannel):
            v = item.at.take(state.v)
            if overrides(mechanism, "reset"):
                jumps.append((item.at, mechanism.reset(v, x, env, t) - v))
            x = mechanism.trigger(v, x, env, t)
        mechanisms.append(x)
    if not jumps:
        return State(state.v, mechanisms, state.inputs)
    zero = jnp.zeros_like(state.v)
    jump = zero
    for at, change in jumps:
        jump = at.add_to(jump, change)
    # nodes without capacitance follow at once; left behind, they would ring in Crank-Nicolson
    return State(state.v + model.complete(jump, zero, zero), mechanisms, state.inputs)


def _floored(model: Model, slope: Array, h: Array) -> Array:
    """`slope` (µS) no lower than half of what would make an implicit step of `h` ms singular.

    The upstroke of a point model grows faster than any step resolves: `C / h + slope` would change
    sign, and the voltage would step backwards. With the floor it moves by at most twice the
    explicit step.
    """
    live = model.capacitance > 0
    return jnp.maximum(slope, jnp.where(live, -0.5 * model.capacitance / h, -jnp.inf))


def _implicit(
    model: Model,
    v: Array,
    slope: Array,
    source: Array,
    h: Array,
    t_clamp: Array,
    known: Array | None = None,
) -> Array:
    """Solve `(C/h + slope + axial + clamp) v1 = C/h v + source + clamp command`."""
    c = model.capacitance / h
    diagonal, right = c + slope + model.axial, c * v + source
    if model.has_clamp:
        g, command = model.clamped(t_clamp)
        diagonal, right = diagonal + g, right + command
    matrix = model.matrix(diagonal)
    return matrix.solve(right) if known is None else matrix.solved(right, known)


def _balanced(
    model: Model, v: Array, half: Array, state: State, envs: tuple[Env, ...], t: Array
) -> Array:
    """`v` with its compartments of area 0 in balance at the end of the step.

    They have no capacitance that would damp the extrapolation: the error of one step would come
    back in every later one with alternating sign.
    """
    h, inputs = model.h, []
    for group, x in zip(model.inputs, state.inputs, strict=True):
        carried = isinstance(group, AbstractSynapse) and not group.explicit
        inputs.append(group.decay(x, h / 2) if carried else x)
    guess = State(jnp.where(model.capacitance > 0, v, half), state.mechanisms, inputs)
    conductances = model.conductances(guess, t + h, carried=True)
    (outward, _), (slope, _) = model.linearised(guess, envs, conductances)
    source = model.injected(t + h, t + h, slope * guess.v - outward)
    return model.complete(guess.v, slope, source)


def _clamped_step(model: Model, v: Array, slope: Array, source: Array, t: Array) -> Array:
    """The linearised voltage equation over one step by the L-stable two-stage SDIRK method.

    At the start, and for three steps around a jump of the command, by two steps of backward Euler
    instead (Rannacher 1984, Numer Math 43:309): they do not overshoot, and as there are few of
    them the order stays.
    """
    h, gamma = model.h, 1.0 - 1.0 / np.sqrt(2.0)
    end = _just_before(t + h, h)
    abrupt = t < model.start + 2.5 * h
    for clamp in model.inputs:
        if isinstance(clamp, VoltageClamp):
            abrupt |= clamp.jumped(_just_before(t - 2 * h, h), end)
    part = jnp.where(abrupt, 0.5, gamma)
    first = _implicit(model, v, slope, source, part * h, t + part * h)
    # stage 2 of SDIRK starts from v + (1 - γ) h k1 with h k1 = (first - v) / γ
    live = model.capacitance > 0
    base = jnp.where(live & ~abrupt, v + (1 - gamma) / gamma * (first - v), first)
    return _implicit(model, base, slope, source, part * h, end)


def _just_before(t: Array, h: Array) -> Array:
    """`t` from the left, past rounding: a clamp that switches at `t` has not switched yet."""
    return t - 1e-6 * h - 8 * jnp.finfo(t.dtype).eps * jnp.abs(t)


def _advance_inputs(model: Model, v: Array, state: State, t: Array, rounded: bool) -> tuple:
    out = []
    for group, x in zip(model.inputs, state.inputs, strict=True):
        if isinstance(group, AbstractKineticSynapse):
            drive = group.drive(t + model.h / 2) if rounded else group.drive(t, t + model.h)
            x = group.advance(v[group.site], x, drive, model.h)
        elif isinstance(group, AbstractSynapse) and not group.explicit:
            x = group.decay(x, model.h)
        out.append(x)
    return tuple(out)
