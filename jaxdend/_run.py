"""The program of a run: `diffrax.diffeqsolve` on a model in the order in which it runs fastest."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend.dynamics import Model, State, build_model, by_step, vector_field
from jaxdend.events import Queue
from jaxdend.inputs import Placed
from jaxdend.order import Order, cell_order, elimination_order
from jaxdend.solvers.adaptive import AtEdges, TimeShift
from jaxdend.solvers.edges import Edges
from jaxdend.solvers.manner import Manner, manner_of
from jaxdend.solvers.stepwise import LIMIT, Stepwise
from jaxdend.traces import Traces, with_warning

MAX_STEPS = 100_000  # that an adaptive solver may take
NOWHERE = (
    "simulate: a site of an input or of record= lies outside the cell. Compartments count from 0 "
    "to n - 1; -1 stands for an input that is nowhere, and cannot be recorded."
)


class Setting(eqx.Module):
    """What of a run is part of its program."""

    solver: diffrax.AbstractSolver
    steps: int = eqx.field(static=True)
    save_every: int = eqx.field(static=True)
    widths: tuple[int | None, ...] = eqx.field(static=True)
    saveat: diffrax.SaveAt | None
    event: diffrax.Event | None
    controller: diffrax.AbstractStepSizeController | None
    adjoint: diffrax.AbstractAdjoint | None
    memory: float = eqx.field(static=True)
    meter: diffrax.AbstractProgressMeter
    max_steps: int | None = eqx.field(static=True)
    unknown: bool = eqx.field(static=True)  # whether sites have to be checked inside the program

    @property
    def manner(self) -> Manner:
        """How the solver goes through a run."""
        return manner_of(self.solver)

    @property
    def chooses(self) -> bool:
        """Whether steps are chosen by their error."""
        return self.controller is not None or self.manner.rosenbrock


@eqx.filter_jit
def run(numbers: tuple, plan: dict[str, Any], setting: Setting) -> Traces:
    """`diffrax.diffeqsolve` on the cell in the order in which it runs fastest."""
    cell, inputs, begin, h, grid, t0, made = numbers  # `begin`: voltages or a state
    outer = build_model(cell, inputs, start=t0, h=h)  # as recorders see it
    model, y0 = _prepared(outer, grid, begin, setting)
    if setting.unknown:
        y0 = eqx.error_if(y0, _outside(inputs, plan, cell.n), NOWHERE)
    order = (
        elimination_order(model, y0, setting.manner.rounded)
        if setting.manner.staggered
        else cell_order(model, y0)
    )
    if setting.steps == 0:
        return Traces(t0[None], None, None, {}, y0)

    own = setting.manner.staggered or setting.manner.rosenbrock

    def look(t: Array, y: State) -> State:
        """`y` as the cell has it; a generic solver leaves voltages without capacitance behind."""
        return order.undo(t, y if own else model.completed(t, y))

    def save(t: Array, y: State, args: Model) -> tuple:
        del args
        seen = look(t, y)  # what nobody looks at is not computed
        values = [  # a list: equinox takes an empty tuple for a leaf
            what(t + t0, seen, outer)
            if callable(what)
            else (order.voltage(y, what) if setting.manner.staggered else seen.v[what])
            for what in plan.values()
        ]
        # our own solvers say themselves when they failed
        return values, jnp.zeros(()) if own else _extent(y)

    def last(t: Array, y: State, args: Model) -> tuple:
        del args
        return t, jax.tree.leaves(look(t, y))

    solution = _solved(order.model, order.do(y0), grid, made, save, last, look, outer, setting)
    ys: Any = solution.ys
    ts, (values, extent), (end, leaves) = solution.ts[0], *ys  # type: ignore[index]
    final = jax.tree.structure(y0).unflatten([a[0] for a in leaves])
    rows = setting.steps // setting.save_every + 1 if setting.saveat is None else len(ts)
    ts, values, extent = jax.tree.map(lambda a: a[:rows], (ts, values, extent))
    values = jax.tree.map(lambda a: _blank_after(ts, a), values)
    result, stats = _outcome(solution, order, ts, extent, end[0], final, t0, setting)
    stats["failed_at"] = with_warning(stats["failed_at"], values, rows)
    values = dict(zip(plan, values, strict=True))
    v = values.pop("", None)
    sites = None if v is None or callable(plan[""]) else jnp.asarray(plan[""])
    return Traces(ts + t0, v, sites, values, final, result, stats)


def _prepared(
    outer: Model, grid: Array, begin: tuple[Array | None, State | None], setting: Setting
) -> tuple[Model, State]:
    """The model with its clock at 0 and its events laid out for the solver; its first state."""
    placed = tuple(Placed(item.input.since(outer.start), item.at) for item in outer.placed)
    model = replace(outer, placed=placed, start=jnp.zeros_like(outer.start))
    if setting.manner.staggered:
        model = by_step(model, grid, setting.manner.rounded, setting.widths)
    else:
        placed = tuple(Placed(item.input.prepare(), item.at) for item in placed)
        tables = tuple(Queue.of(i) if i.eventful else None for i in model.inputs)
        model = replace(model, placed=placed, tables=tables)
    if setting.chooses:
        model = replace(model, edges=Edges.of(model.inputs, grid.dtype))
    y0 = _start(model, begin, setting)
    if not setting.manner.staggered:
        y0 = State(y0.v, y0.mechanisms, model.recall(model.start, y0.inputs))
        y0 = State(model.settle(y0.v, y0.inputs, model.start), y0.mechanisms, y0.inputs)
    return model, y0


def _solved(
    model: Model, y0: State, grid: Array, rows: Array | None, save: Callable, last: Callable,
    look: Callable, outer: Model, setting: Setting,
) -> diffrax.Solution:  # fmt: skip
    solver: Any = setting.solver
    adjoint = setting.adjoint
    controller: Any = setting.controller
    by_jax = diffrax.ForwardMode, diffrax.DirectAdjoint  # they leave derivatives to JAX itself
    forward, direct = (isinstance(adjoint, kind) for kind in by_jax)
    dt0, max_steps = None, setting.steps
    if not setting.chooses:
        controller = diffrax.StepTo(grid)
        sub = diffrax.SubSaveAt(t0=True, steps=setting.save_every, fn=save)
    else:
        sub = diffrax.SubSaveAt(ts=grid[:: setting.save_every], fn=save)
        max_steps = setting.max_steps or max(64 * setting.steps, MAX_STEPS)
    if setting.manner.rosenbrock:
        solver = replace(solver, gated=not forward)
        inner = TimeShift(tolerance=solver.tolerance) if controller is None else controller
        controller = AtEdges.of(inner, short=False)
    elif setting.chooses:
        controller, dt0 = AtEdges.of(controller, short=True), model.h
    if adjoint is None and setting.manner.staggered:
        adjoint = Stepwise(setting.memory, rows=rows)
    elif adjoint is None:
        size = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(y0))
        keep = int(min(max_steps, max(16.0, setting.memory / max(size, 1))))
        adjoint = diffrax.RecursiveCheckpointAdjoint(checkpoints=keep)
    elif setting.manner.staggered and (forward or direct):
        adjoint = Stepwise(setting.memory, plain=True, other=adjoint)
    if setting.saveat is not None:
        sub = eqx.tree_at(lambda s: s.fn, setting.saveat.subs, save)
        sub = sub if sub.ts is None else eqx.tree_at(lambda s: s.ts, sub, sub.ts - outer.start)
    event = setting.event
    if event is not None:
        see = jax.tree.map(lambda f: _as_seen(f, look, outer), event.cond_fn, is_leaf=callable)
        event = eqx.tree_at(lambda e: e.cond_fn, event, see, is_leaf=callable)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),  # type: ignore[reportArgumentType]
        solver,
        t0=grid[0],
        t1=grid[-1],
        dt0=dt0,
        y0=y0,
        args=model,
        saveat=diffrax.SaveAt(subs=(sub, diffrax.SubSaveAt(t1=True, fn=last))),
        stepsize_controller=controller,
        adjoint=adjoint,
        event=event,
        max_steps=max_steps,
        progress_meter=setting.meter,
        throw=False,
    )


def _as_seen(f: Callable, look: Callable, outer: Model) -> Callable:
    """An event's function that sees time, state and model as a recorder does."""

    def seen(t: Array, y: State, args: Any, **others: Any) -> Any:
        del args
        return f(t + outer.start, look(t, y), outer, **others)

    return seen


def _outcome(
    solution: diffrax.Solution, order: Order, ts: Array, extent: Array, end: Array, final: State,
    t0: Array, setting: Setting,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """How the run ended, and diffrax's counts with when (ms) and where it failed, if it did."""
    stats, result = dict(solution.stats), solution.result
    failed = stats.pop("failed", None)
    results: Any = diffrax.RESULTS
    if failed is not None:  # by node, in the order of the run
        when, nodes = jnp.min(failed), order.seating.at(jnp.arange(order.model.tree.n))
        where = jnp.argmin(failed[nodes])
    elif setting.manner.rosenbrock:
        when = jnp.where(diffrax.is_okay(result), jnp.inf, end)
        where = jnp.argmax(jnp.nan_to_num(jnp.abs(final.v), nan=jnp.inf))
    else:
        bad = ~(extent <= LIMIT) & (ts < jnp.inf)
        blown = jnp.any(bad)
        result = results.where(
            blown & diffrax.is_okay(result), results.nonlinear_divergence, result
        )
        when = jnp.where(blown, ts[jnp.argmax(bad)], jnp.inf)
        when = jnp.where(diffrax.is_okay(result), jnp.inf, jnp.minimum(when, end))
        where = jnp.argmax(jnp.nan_to_num(jnp.abs(final.v), nan=jnp.inf))
    return result, stats | {
        "failed_at": when + t0,
        "failed_site": jnp.where(when < jnp.inf, where, -1),
    }


def _blank_after(ts: Array, values: Array) -> Array:
    """`values (t, ...)` with NaN, for whole numbers 0, in the rows that were not reached."""
    reached = (ts < jnp.inf).reshape(-1, *[1] * (values.ndim - 1))
    blank = jnp.nan if jnp.issubdtype(values.dtype, jnp.inexact) else 0
    return jnp.where(reached, values, jnp.asarray(blank, values.dtype))


def _outside(inputs: tuple, plan: dict[str, Any], n: int) -> Array:
    """Whether a site lies outside the cell, or a recorded one is nowhere."""
    bad = [jnp.any((item.site < -1) | (item.site >= n)) for item in inputs]
    bad += [jnp.any((at < 0) | (at >= n)) for at in plan.values() if not callable(at)]
    return jnp.any(jnp.stack(bad)) if bad else jnp.asarray(False)


def _start(model: Model, given: tuple, setting: Setting) -> State:
    """The first state; one without inputs, as from `rest`, meets them at their beginning."""
    v0, state = given
    rounded, staggered = setting.manner.rounded, setting.manner.staggered
    if state is None:
        return model.initial(v0, rounded, staggered)
    if len(state.inputs) == len(model.placed):
        return state
    if state.inputs:
        raise ValueError(
            f"simulate: v0 is a State with {len(state.inputs)} inputs, but {len(model.placed)} are "
            "given; go on with the inputs that it came from, or start from a State without any."
        )
    inputs = model.initial_inputs(state.v, rounded, staggered)
    return State(state.v, state.mechanisms, inputs)


def _extent(y: State) -> Array:
    """Largest absolute voltage; NaN stays NaN."""
    return jnp.max(jnp.abs(jax.lax.stop_gradient(y.v)))
