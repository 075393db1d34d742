"""NEURON's staggered fixed-step schemes as diffrax solvers: voltage first, then everything else.

One step from t_n (Hines 1984; Hines & Carnevale 1997, doi:10.1162/neco.1997.9.6.1179):

1. deliver the events of this step to the synapses, then look at the triggers of mechanisms and at
   their resets of the voltage;
2. evaluate stimuli at mid-step and linearise the membrane current, exactly, at v_n;
3. solve the tree for the new voltage;
4. advance concentrations with the current just used, then the gates at the new voltage.
"""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.dynamics import Model, State
from jaxdend.mechanisms.base import Env, overrides
from jaxdend.solvers.manner import AbstractOwn, Manner


class AbstractStaggered(AbstractOwn):
    """What the two schemes share; the model travels as `args`."""

    term_structure: ClassVar = diffrax.AbstractTerm  # an `ODETerm` would be traced for nothing
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation
    second_order: eqx.AbstractClassVar[bool]
    round_events: eqx.AbstractVar[bool]

    @property
    def manner(self) -> Manner:
        return Manner(staggered=True, rounded=self.round_events)

    def order(self, terms: Any) -> int:
        """The order of convergence in the time step."""
        del terms
        return 2 if self.second_order else 1

    def init(self, terms: Any, t0: Any, t1: Any, y0: State, args: Model) -> Array:
        """The step counter: time is counted in steps, so that it never drifts."""
        del terms, t1, y0
        return jnp.round((t0 - args.start) / args.h).astype(int)

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
        solver_state: Array,
        made_jump: Any,
    ) -> tuple[State, None, dict, Array, Any]:
        """Takes one step of `args.h` ms, as diffrax asks for it."""
        del terms, t1, made_jump
        due = tuple(None if table is None else table.due(solver_state) for table in args.tables)
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


class CrankNicolson(AbstractStaggered):
    """Second order, NEURON's `secondorder = 2`: half a step implicitly, then `v1 = 2 v½ - v0`.

    Gates live half a step ahead of the voltage. Events enter at their exact times and stimuli with
    their exact mean over the step (`round_events=True` for NEURON's rounding); compartments of area
    0 are solved for at the end of the step, where NEURON's would ring. With a stiff input, such as
    a voltage clamp that is not soft, the voltage takes the L-stable SDIRK step of Alexander (1977,
    doi:10.1137/0714068, γ = 1 - 1/√2), of the same order, which does not ring, and two half steps
    of backward Euler around its edges, which do not overshoot. The input then acts with its mean
    over the step around each moment, so that results move smoothly with the time of a jump.
    """

    round_events: bool = False
    second_order: ClassVar[bool] = True


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
    """Takes one step of `model.h` ms from `t`, as `AbstractStaggered.advance` describes it."""
    h, mid = model.h, t + model.h / 2
    inputs = [
        x if events is None else events.deliver(x)
        for events, x in zip(due, state.inputs, strict=True)
    ]
    envs = model.environments(state.mechanisms)
    v0, mechanisms = _jumped(model, state, envs, mid)
    (outward, ions), (slope, ion_slopes) = model.linearise(v0, mechanisms, envs)
    window = (mid, mid) if rounded else (t, t + h)
    gentle = second_order and model.stiff  # stiff inputs have their own place in the step
    source, slope = model.source(v0, inputs, *window, outward, slope, False if gentle else None)
    floored = _floored(model, slope, h / 2 if second_order else h)
    if floored is not slope:
        source, slope = source + (floored - slope) * v0, floored
    balanced = not rounded and bool(model.placed) and model.exposed
    if not second_order:
        v, used = _implicit(model, v0, slope, source, h, known), None
    elif gentle:
        v = _stiff_step(model, v0, inputs, slope, source, t)
        used = (v - v0) / 2
    else:
        middle = None if known is None or balanced else 0.5 * (v0 + known)
        half = _implicit(model, v0, slope, source, h / 2, middle)
        v, used = 2 * half - v0, half - v0
        if balanced:
            v = _balanced(model, v, half, mechanisms, envs, inputs, t)
    if used is not None:  # the current that flowed: at mid-step, as NEURON's second_order_cur
        ions = {ion: i + ion_slopes[ion] * used for ion, i in ions.items()}
    if not rounded:  # states live half a step ahead of the voltage
        window = mid, mid + h
    inputs = [
        item.input.advance(item.at.take(v), x, *window, h)
        for item, x in zip(model.placed, inputs, strict=True)
    ]
    return State(v, model.advance(v, mechanisms, ions, h), inputs)


def _jumped(
    model: Model, state: State, envs: tuple[Env, ...], t: Array
) -> tuple[Array, list[dict[str, Array]]]:
    """Voltages and mechanisms after every trigger and reset; each sees the state from before."""
    mechanisms, jumps = [], []
    for item, x, env in zip(model.inserted, state.mechanisms, envs, strict=True):
        mechanism, v = item.mechanism, item.at.take(state.v)
        if overrides(mechanism, "reset"):
            jumps.append((item.at, mechanism.reset(v, x, env, t) - v))
        mechanisms.append(mechanism.trigger(v, x, env, t))
    if not jumps:
        return state.v, mechanisms
    zero = jnp.zeros_like(state.v)
    jump = zero
    for at, change in jumps:
        jump = at.add_to(jump, change)
    # nodes without capacitance follow at once; left behind, they would ring in Crank-Nicolson
    return state.v + model.complete(jump, zero, zero), mechanisms


def _floored(model: Model, slope: Array, h: Array) -> Array:
    """`slope` (µS) no lower than half of what would make an implicit step of `h` ms singular.

    Only in compartments with a reset: the upstroke of a point model grows faster than any step
    resolves, `C / h + slope` would change sign, and the voltage would step backwards. With the
    floor it moves by at most twice the explicit step.
    """
    for item in model.inserted:
        if overrides(item.mechanism, "reset"):
            own = item.at.take(slope)
            least = -0.5 * item.at.take(model.capacitance) / h
            slope = item.at.put(slope, jnp.maximum(own, least))
    return slope


def _implicit(
    model: Model, v: Array, slope: Array, source: Array, h: Array, known: Array | None = None
) -> Array:
    """Solve `(C/h + slope + axial) v1 = C/h v + source`."""
    c = model.capacitance / h
    matrix, right = model.matrix(c + slope + model.axial), c * v + source
    return matrix.solve(right) if known is None else matrix.solved(right, known)


def _balanced(
    model: Model,
    v: Array,
    half: Array,
    mechanisms: list[dict[str, Array]],
    envs: tuple[Env, ...],
    inputs: list,
    t: Array,
) -> Array:
    """`v` with its compartments of area 0 in balance at the end of the step.

    They have no capacitance that would damp the extrapolation: the error of one step would come
    back in every later one with alternating sign.
    """
    end, lag = t + model.h, model.h / 2
    guess = jnp.where(model.capacitance > 0, v, half)
    inputs = [
        x if item.input.coupled else item.input.advance(item.at.take(guess), x, end, end, lag)
        for item, x in zip(model.placed, inputs, strict=True)
    ]
    (outward, _), (slope, _) = model.linearise(guess, mechanisms, envs)
    source, slope = model.source(guess, inputs, end, end, outward, slope)
    return model.complete(guess, slope, source)


def _stiff_step(
    model: Model, v: Array, inputs: list, slope: Array, source: Array, t: Array
) -> Array:
    """The linearised voltage equation over one step by the L-stable two-stage SDIRK method.

    At the start, and for three steps around an edge of a stiff input, by two steps of backward
    Euler instead (Rannacher 1984, Numer Math 43:309): they do not overshoot, and as there are few
    of them the order stays.
    """
    h, gamma = model.h, 1.0 - 1.0 / np.sqrt(2.0)
    end = t + h
    abrupt = t < model.start + 2.5 * h
    for item in model.placed:
        if item.input.stiff:
            abrupt |= item.input.jumps(t - 2 * h, end + h / 2)
    part = jnp.where(abrupt, 0.5, gamma)

    def solve(base: Array, when: Array) -> Array:
        around = when - h / 2, when + h / 2
        more, by_v = model.source(v, inputs, *around, 0 * v, 0 * v, True)
        return _implicit(model, base, slope + by_v, source + more, part * h)

    first = solve(v, t + part * h)
    # stage 2 of SDIRK starts from v + (1 - γ) h k1 with h k1 = (first - v) / γ
    live = model.capacitance > 0
    base = jnp.where(live & ~abrupt, v + (1 - gamma) / gamma * (first - v), first)
    return solve(base, end)
