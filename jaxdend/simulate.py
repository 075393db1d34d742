"""`simulate`: a cell, its inputs, a time; a thin layer over `diffrax.diffeqsolve`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._checks import check, check_bins, count_steps, outside
from jaxdend._errors import SimulationError
from jaxdend._subset import Subset, is_concrete
from jaxdend._types import as_leaf, in_current_precision
from jaxdend.cell import Cell
from jaxdend.dynamics import Model, Placed, State, build_model, by_step, vector_field
from jaxdend.events import Queue, widest_step
from jaxdend.inputs import AbstractInput
from jaxdend.order import Order, cell_order, elimination_order
from jaxdend.solvers import AbstractRosenbrock, AbstractStaggered, CrankNicolson
from jaxdend.solvers.adaptive import AtEdges, TimeShift
from jaxdend.solvers.edges import Edges
from jaxdend.solvers.march import in_bytes
from jaxdend.solvers.stepwise import LIMIT, Stepwise
from jaxdend.synapses import Binned
from jaxdend.traces import Traces

Recorder = Callable[[Array, State, Model], Any]
Record = ArrayLike | Recorder | Mapping[str, "int | ArrayLike | Recorder"] | None

MAX_STEPS = 100_000  # that an adaptive solver may take
FAILED_IN_JIT = (
    "simulate: the voltage stopped being finite or passed 1000 mV, or an adaptive solver ran out "
    "of max_steps. Run it outside jit to see when and where, use a smaller dt, or pass throw=False "
    "and look at Traces.result and Traces.stats."
)
NOWHERE = (
    "simulate: a site of an input or of record= lies outside the cell. Compartments count from 0 to "
    "n - 1; -1 stands for an input that is nowhere, and cannot be recorded."
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
    def rounded(self) -> bool:
        """Whether events come at the nearest step, as in NEURON, instead of at their time."""
        return getattr(self.solver, "round_events", False)

    @property
    def staggered(self) -> bool:
        """Whether the solver steps as NEURON does."""
        return isinstance(self.solver, AbstractStaggered)

    @property
    def chooses(self) -> bool:
        """Whether steps are chosen by their error."""
        return self.controller is not None or isinstance(self.solver, AbstractRosenbrock)


def simulate(
    cell: Cell,
    inputs: AbstractInput | Sequence[AbstractInput] = (),
    *,
    t1: float,
    dt: float = 0.025,
    t0: float = 0.0,
    solver: diffrax.AbstractSolver | None = None,
    record: Record = None,
    v0: ArrayLike | State = -65.0,
    save_every: int = 1,
    saveat: diffrax.SaveAt | None = None,
    event: diffrax.Event | None = None,
    controller: diffrax.AbstractStepSizeController | None = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
    memory: str | float = "64MB",
    max_steps: int | None = None,
    progress: bool | diffrax.AbstractProgressMeter = False,
    throw: bool = True,
) -> Traces:
    """Integrate `cell` under `inputs` from `t0` to `t1` ms.

    **Arguments:**

    - `inputs`: a stimulus, clamp or synapse group, or a sequence of them.
    - `dt`: time step, ms; `t1 - t0` must be a whole number of steps.
    - `solver`: `CrankNicolson()` (default) or `BackwardEuler()`, which sudden changes, as of
        `DCaAP` or `LIF`, need; `Rodas4P()` or `Rodas5P()`, which choose their own steps and report
        on the grid of `dt`; or any solver of diffrax.
    - `record`: compartments whose voltage to keep (default: all of them), a function of
        `(t, state, model)`, or a dict of either by name, for `Traces.values`.
    - `v0`: initial voltage, a number or `(n,)` mV with every gate at rest there; or a `State`, from
        `rest` or from `Traces.final`.
    - `save_every`: keep every so many steps.
    - `saveat`: when to keep results instead, as diffrax takes it: `diffrax.SaveAt(ts=...)` at any
        times, `steps=`, `t0=`, `t1=`; its `fn` is not used.
    - `event`: a `diffrax.Event` that ends the run; its functions see `(t, state, model)` as
        recorders do. Rows after the end are NaN, and infinite in `ts`.
    - `controller`: a diffrax step size controller, for an adaptive diffrax solver; results are
        still reported on the grid of `dt`. Steps end where inputs jump, whichever it is.
    - `memory`: how much reverse mode may keep of one simulation, such as `"2GB"` or a number of
        bytes; a `vmap` of B simulations takes B times as much. Where the states of all steps fit, a
        gradient costs least; else some are kept and the others computed again.
    - `adjoint`: `None` for the above; `diffrax.ForwardMode()` for `jax.jvp` and `jax.jacfwd`, which
        are cheaper for few parameters; or another adjoint of diffrax, as for its own solvers.
    - `progress`: show a progress bar, or a progress meter of diffrax.
    - `throw`: raise when the voltage stops being finite or passes 1000 mV. `throw=False` returns
        the traces as they are, with `result` and `stats` saying what happened.

    **Returns:** `Traces`, with `ts` running over `t0, t0 + dt, …, t1`.

    **Raises:** `ValueError` for a bad step, time, site, parameter or budget of memory, or a
    mechanism with sudden changes under a solver that would never look at them; `SimulationError`
    for a solve that failed, saying when and where (inside `jax.jit` an `equinox` runtime error).
    """
    inputs = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
    solver = CrankNicolson() if solver is None else solver
    steps = count_steps(t0, t1, dt, save_every)
    check(cell, inputs, solver)
    plan = _plan(record, cell.n)
    start = v0 if isinstance(v0, State) else _initial_voltage(v0, cell.n)
    grid = np.append(0.0, np.cumsum(np.full(2 * steps, dt / 2))[1::2])  # as NEURON adds
    widths = tuple(_width(group, grid, t0, dt, start) for group in inputs)
    meter = diffrax.TqdmProgressMeter() if progress is True else progress
    meter = diffrax.NoProgressMeter() if meter is False else meter
    setting = Setting(
        solver, steps, save_every, widths, saveat, event, controller, adjoint, in_bytes(memory),
        meter, max_steps, not is_concrete([i.site for i in inputs], list(plan.values())),
    )  # fmt: skip
    numbers = (cell, inputs, start, as_leaf(dt), as_leaf(grid), as_leaf(t0))
    traces = _run(in_current_precision(numbers), plan, setting)
    if saveat is None and event is None:
        shown = np.round(t0 + dt * np.arange(0, steps + 1, save_every), 9)
        traces = eqx.tree_at(lambda x: x.ts, traces, jnp.asarray(shown, float))
    return _judged(cell, traces, dt, max_steps) if throw else traces


def step(
    cell: Cell,
    inputs: AbstractInput | Sequence[AbstractInput],
    state: State,
    t: ArrayLike,
    *,
    dt: float = 0.025,
    solver: diffrax.AbstractSolver | None = None,
) -> State:
    """The state `dt` ms after `state` at `t` ms: one step as a pure function of state and clock.

    For filters, closed loops and whatever else decides between steps: `t` may be traced, and the
    inputs may differ from step to step, as in

    ```python
    def body(state, t):
        clamp = jd.Step(site=0, onset=t, duration=1.0, amplitude=gain * (target - state.v[0]))
        state = jd.step(cell, clamp, state, t)
        return state, state.v[0]

    _, v = jax.lax.scan(body, jd.start(cell, clamp), jnp.arange(400) * 0.025)
    ```

    **Arguments:** as of `simulate`; `state`, from `start`, `rest` or an earlier step with as many
    inputs. A solver that chooses its own steps takes as many as it needs for `dt`.
    **Returns:** a `State`. A failed step leaves voltages that are not finite, or beyond 1000 mV:
    nothing is raised here.
    **Raises:** `ValueError` as `simulate` does.
    """
    traces = _lone(cell, inputs, state, t, dt, solver, 1)
    return traces.final


def start(
    cell: Cell,
    inputs: AbstractInput | Sequence[AbstractInput] = (),
    v0: ArrayLike | State = -65.0,
    t: ArrayLike = 0.0,
    *,
    dt: float = 0.025,
    solver: diffrax.AbstractSolver | None = None,
) -> State:
    """The state at `t` ms from which `step` goes on, with what the inputs hold there.

    **Arguments:** as of `simulate`; `solver` and `dt` as of the steps to come.
    **Returns:** a `State`. **Raises:** `ValueError` as `simulate` does.
    """
    state = v0 if isinstance(v0, State) else _initial_voltage(v0, cell.n)
    return _lone(cell, inputs, state, t, dt, solver, 0).final


def _lone(
    cell: Cell, inputs: Any, state: Any, t: ArrayLike, dt: float, solver: Any, steps: int
) -> Traces:
    inputs = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
    solver = CrankNicolson() if solver is None else solver
    check(cell, inputs, solver)
    setting = Setting(
        solver, steps, 1, (None,) * len(inputs), None, None, None, None, in_bytes("64MB"),
        diffrax.NoProgressMeter(), None, not is_concrete([i.site for i in inputs]),
    )  # fmt: skip
    grid = as_leaf(np.asarray([0.0, dt]))
    numbers = (cell, inputs, state, as_leaf(dt), grid, as_leaf(t))
    return _run(in_current_precision(numbers), {}, setting)


@eqx.filter_jit
def _run(numbers: tuple, plan: dict[str, Any], setting: Setting) -> Traces:
    """`diffrax.diffeqsolve` on the cell in the order in which it runs fastest."""
    cell, inputs, v0, h, grid, t0 = numbers
    outer = build_model(cell, inputs, start=t0, h=h)  # as recorders see it
    model, y0 = _prepared(outer, grid, v0, setting)
    if setting.unknown:
        y0 = eqx.error_if(y0, _outside(inputs, plan, cell.n), NOWHERE)
    order = (
        elimination_order(model, y0, setting.rounded)
        if setting.staggered
        else cell_order(model, y0)
    )
    if setting.steps == 0:
        return Traces(t0[None], None, None, {}, y0)

    def look(t: Array, y: State) -> State:
        """`y` as the cell has it; a generic solver leaves voltages without capacitance behind."""
        own = setting.staggered or isinstance(setting.solver, AbstractRosenbrock)
        return order.undo(t, y if own else model.completed(t, y))

    def save(t: Array, y: State, args: Model) -> tuple:
        del args
        seen = look(t, y)  # what nobody looks at is not computed
        values = tuple(
            what(t + t0, seen, outer)
            if callable(what)
            else (order.voltage(y, what) if setting.staggered else seen.v[what])
            for what in plan.values()
        )
        return values, _extent(y)

    def last(t: Array, y: State, args: Model) -> tuple:
        del args
        return t, jax.tree.leaves(look(t, y))

    solution = _solved(order.model, order.do(y0), grid, save, last, look, outer, setting)
    (ts, _), ((values, extent), (end, leaves)) = solution.ts, solution.ys
    final = jax.tree.structure(y0).unflatten([a[0] for a in leaves])
    rows = setting.steps // setting.save_every + 1 if setting.saveat is None else len(ts)
    ts, values, extent = jax.tree.map(lambda a: a[:rows], (ts, values, extent))
    values = jax.tree.map(lambda a: _blank_after(ts, a), values)
    result, stats = _outcome(solution, order, ts, extent, end[0], final, t0, setting)
    values = dict(zip(plan, values, strict=True))
    v = values.pop("", None)
    sites = None if v is None or callable(plan[""]) else jnp.asarray(plan[""])
    return Traces(ts + t0, v, sites, values, final, result, stats)


def _prepared(
    outer: Model, grid: Array, v0: Array | State, setting: Setting
) -> tuple[Model, State]:
    """The model with its clock at 0 and its events laid out for the solver; its first state."""
    placed = tuple(Placed(item.input.since(outer.start), item.at) for item in outer.placed)
    model = replace(outer, placed=placed, start=jnp.zeros_like(outer.start))
    if setting.staggered:
        model = by_step(model, grid, setting.rounded, setting.widths)
    else:
        placed = tuple(Placed(item.input.prepare(), item.at) for item in placed)
        tables = tuple(Queue.of(i) if i.eventful else None for i in model.inputs)
        model = replace(model, placed=placed, tables=tables)
    if setting.chooses:
        model = replace(model, edges=Edges.of(model.inputs, grid.dtype))
    y0 = _start(model, v0, setting)
    if not setting.staggered:
        y0 = State(y0.v, y0.mechanisms, model.recall(model.start, y0.inputs))
        y0 = State(model.settle(y0.v, y0.inputs, model.start), y0.mechanisms, y0.inputs)
    return model, y0


def _solved(
    model: Model, y0: State, grid: Array, save: Callable, last: Callable, look: Callable,
    outer: Model, setting: Setting,
) -> diffrax.Solution:  # fmt: skip
    solver, adjoint, controller = setting.solver, setting.adjoint, setting.controller
    forward = isinstance(adjoint, diffrax.ForwardMode)
    dt0, max_steps = None, setting.steps
    if not setting.chooses:
        controller = diffrax.StepTo(grid)
        sub = diffrax.SubSaveAt(t0=True, steps=setting.save_every, fn=save)
    else:
        sub = diffrax.SubSaveAt(ts=grid[:: setting.save_every], fn=save)
        max_steps = setting.max_steps or max(64 * setting.steps, MAX_STEPS)
    if isinstance(solver, AbstractRosenbrock):
        solver = replace(solver, gated=not forward)
        inner = TimeShift(solver.tolerance) if controller is None else controller
        controller = AtEdges(inner, short=False)
    elif setting.chooses:
        controller, dt0 = AtEdges(controller, short=True), model.h
    if adjoint is None and setting.staggered:
        adjoint = Stepwise(setting.memory)
    elif setting.staggered and isinstance(adjoint, diffrax.ForwardMode | diffrax.DirectAdjoint):
        adjoint = Stepwise(setting.memory, plain=True, other=adjoint)
    elif adjoint is None:
        size = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(y0))
        keep = int(min(max_steps, max(16.0, setting.memory / max(size, 1))))
        adjoint = diffrax.RecursiveCheckpointAdjoint(checkpoints=keep)
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
    results = diffrax.RESULTS
    if failed is not None:  # by node, in the order of the run
        when, nodes = jnp.min(failed), order.seating.at(jnp.arange(order.model.tree.n))
        where = jnp.argmin(failed[nodes])
    elif isinstance(setting.solver, AbstractRosenbrock):
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
    sites = [what for what in plan.values() if not callable(what)]
    bad += [jnp.any((what < 0) | (what >= n)) for what in sites]
    return jnp.any(jnp.stack(bad))


def _judged(cell: Cell, traces: Traces, dt: float, max_steps: int | None) -> Traces:
    """`traces`, unless the run failed."""
    bad = ~diffrax.is_okay(traces.result)
    if not is_concrete(bad):
        return eqx.error_if(traces, bad, FAILED_IN_JIT)
    if not bool(np.any(bad)):
        return traces
    when = float(traces.stats["failed_at"])
    if traces.result == diffrax.RESULTS.max_steps_reached:
        most = traces.stats["max_steps"] if max_steps is None else max_steps
        raise SimulationError(
            f"simulate: the adaptive solver took max_steps = {most} steps and only reached "
            f"t = {when:g} ms. Raise max_steps or the solver's tolerance; inputs with very many "
            "edges or events, each of which ends a step, suit a fixed step better."
        )
    if traces.result == diffrax.RESULTS.dt_min_reached:
        raise SimulationError(
            f"simulate: the adaptive solver's step became too small at t = {when:g} ms: the state "
            "stopped being finite, or the tolerance is too tight for this precision. float32 "
            "resolves the time since t0 to 6e-8 of it: begin a long run anew from Traces.final, or "
            "set jax_enable_x64."
        )
    if traces.result != diffrax.RESULTS.nonlinear_divergence:
        raise SimulationError(f"simulate: failed at t = {when:g} ms: {traces.result}")
    raise SimulationError(_diagnosis(cell, traces, when, dt))


def _start(model: Model, v0: Array | State, setting: Setting) -> State:
    """The first state; one without inputs, as from `rest`, meets them at their beginning."""
    if not isinstance(v0, State):
        return model.initial(v0, setting.rounded, setting.staggered)
    if len(v0.inputs) == len(model.placed):
        return v0
    if v0.inputs:
        raise ValueError(
            f"simulate: v0 is a State with {len(v0.inputs)} inputs, but {len(model.placed)} are "
            "given; go on with the inputs that it came from, or start from a State without any."
        )
    inputs = model.initial_inputs(v0.v, setting.rounded, setting.staggered)
    return State(v0.v, v0.mechanisms, inputs)


def _extent(y: State) -> Array:
    """Largest absolute voltage; NaN stays NaN."""
    return jnp.max(jnp.abs(jax.lax.stop_gradient(y.v)))


def _initial_voltage(v0: ArrayLike, n: int) -> Array:
    v = jnp.asarray(v0, float)
    if v.shape not in ((), (n,)):
        raise ValueError(
            f"simulate: v0 must be a number, ({n},) mV or a State; got shape {v.shape}."
        )
    if is_concrete(v) and not np.all(np.isfinite(v)):
        raise ValueError("simulate: v0 must be finite, in mV; it holds NaN or inf.")
    return v


def _plan(record: Record, n: int) -> dict[str, Any]:
    """Name -> compartments `(r,)` or recording function; the name "" is what becomes `Traces.v`."""
    if record is None:
        return {"": jnp.arange(n)}
    if callable(record):
        return {"values": record}
    if isinstance(record, Mapping):
        plan = {k: what if callable(what) else _sites(what, n) for k, what in record.items()}
        sites = [jnp.atleast_1d(what) for what in plan.values() if not callable(what)]
        return plan | ({"": jnp.concatenate(sites)} if sites else {})
    return {"": jnp.atleast_1d(_sites(record, n))}


def _sites(sites: ArrayLike, n: int) -> Array:
    if is_concrete(sites):
        given = np.asarray(sites)
        if given.dtype == bool:
            given = np.flatnonzero(given)
        if given.dtype.kind not in "iu":
            raise ValueError(
                f"record= takes compartment numbers (ints) or functions; got {sites!r}."
            )
        if np.any((given < 0) | (given >= n)):
            raise ValueError(
                f"record= site {outside(given, n)} is outside 0..{n - 1} of this cell."
            )
        return jnp.asarray(given)
    return jnp.asarray(sites)


def _width(
    group: AbstractInput, grid: np.ndarray, t0: float, dt: float, start: Array | State
) -> int | None:
    """How many events of `group` a single step may have to deliver; `None` when unknown."""
    times = getattr(group, "times", None)
    if not group.eventful or times is None:
        return None
    if getattr(group, "max_per_step", None) is not None:
        return group.max_per_step  # type: ignore[attr-defined]
    if isinstance(times, Binned):
        begun = isinstance(start, State) and bool(start.inputs)
        check_bins(times, type(group).__name__, -np.inf if begun else float(t0), dt)
        return None
    if not is_concrete(times, t0):
        return None
    times = np.broadcast_to(times, (group.site.shape[0], times.shape[-1]))
    return widest_step(times, grid, dt, t0)


def _diagnosis(cell: Cell, traces: Traces, when: float, dt: float) -> str:
    """When, where and why, for a solve that blew up."""
    text = f"simulate: the voltage stopped being finite or passed {LIMIT:g} mV at t = {when:g} ms"
    if traces.v is not None and traces.sites is not None and traces.v.ndim == 2:
        v = np.asarray(traces.v)
        before = v[np.all(np.isfinite(v), axis=1)]
        if len(before):
            last = before[-1]
            worst = int(np.argmax(np.abs(last + 65.0)))
            site = int(np.asarray(traces.sites)[worst])
            text += f"; the last finite voltages reach {last[worst]:.4g} mV at compartment {site}"
            if isinstance(cell.membrane, Subset):  # a cell of a stack has no names
                text += f" ({cell.section_names[cell.section[site]]}, x = {cell.x[site]:.3g})"
    return text + (
        ". Likely causes: a conductance, current or time constant of the wrong unit, or "
        f"dt = {dt:g} ms too long for an explicit solver. throw=False returns the traces."
    )
