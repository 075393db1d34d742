"""`simulate`: a cell, its inputs, a time; a thin layer over `diffrax.diffeqsolve`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._checks import (
    Input,
    check,
    check_bins,
    count_steps,
    outside,
)
from jaxdend._errors import SimulationError
from jaxdend._subset import Subset, is_concrete
from jaxdend._types import as_leaf
from jaxdend.cell import Cell
from jaxdend.dynamics import Model, State, build_model, vector_field
from jaxdend.events import widest_step
from jaxdend.layout import arrangement
from jaxdend.merge import Merge
from jaxdend.solvers import AbstractRosenbrock, AbstractStaggered, CrankNicolson, adaptive
from jaxdend.solvers.march import Schedule, in_bytes, march, segment_length
from jaxdend.synapses import AbstractSynapse, Binned
from jaxdend.traces import Traces

Recorder = Callable[[Array, State, Model], Any]
Record = ArrayLike | Recorder | Mapping[str, "int | ArrayLike | Recorder"] | None

BLOWN_UP = 1e3  # mV
FAILED_IN_JIT = (
    "simulate: the voltage stopped being finite or passed 1000 mV, or an adaptive solver ran out "
    "of max_steps. Run it outside jit to see when and where, use a smaller dt, or pass throw=False."
)


def simulate(
    cell: Cell,
    inputs: Input | Sequence[Input] = (),
    *,
    t1: float,
    dt: float = 0.025,
    t0: float = 0.0,
    solver: diffrax.AbstractSolver | None = None,
    record: Record = None,
    v0: ArrayLike | State = -65.0,
    save_every: int = 1,
    controller: diffrax.AbstractStepSizeController | None = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
    memory: str | float = "64MB",
    max_steps: int | None = None,
    progress: bool = False,
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
    - `controller`: a diffrax step size controller, for an adaptive diffrax solver; results are
        still reported on the grid of `dt`.
    - `memory`: how much reverse mode may keep of one simulation, such as `"2GB"` or a number of
        bytes; a `vmap` of B simulations takes B times as much. Where the states of all steps fit, a
        gradient costs least; else some are kept and the others computed again.
    - `adjoint`: `None` for the above; `diffrax.ForwardMode()` for `jax.jvp` and `jax.jacfwd`, which
        are cheaper for few parameters; or another adjoint of diffrax, as for its own solvers.
    - `progress`: show a progress bar.
    - `throw`: raise when the voltage stops being finite or passes 1000 mV. `throw=False` returns
        the traces as they are.

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
    rounded = getattr(solver, "round_events", False)
    grid = np.append(t0, t0 + np.cumsum(np.full(2 * steps, dt / 2))[1::2])  # as NEURON adds
    widths = tuple(_width(group, grid, dt, start) for group in inputs)
    numbers = _in_current_precision((cell, inputs, start, as_leaf(dt), as_leaf(grid)))
    setting = (
        solver, steps, save_every, rounded, widths, controller, adjoint, in_bytes(memory), progress,
        max_steps,
    )  # fmt: skip
    traces, result, when = _run(numbers, plan, *setting)
    shown = np.round(t0 + dt * np.arange(0, steps + 1, save_every), 9)
    traces = eqx.tree_at(lambda x: x.ts, traces, jnp.asarray(shown, float))
    if throw and is_concrete(result) and np.any(result) and when is None:  # look for the moment
        extent = np.asarray(_run(numbers, {"": _extent}, *setting)[0].v)
        when = shown[np.argmax(~(extent <= BLOWN_UP))]
    return _judged(cell, traces, result, when, dt, max_steps) if throw else traces


def _in_current_precision(numbers: tuple) -> tuple:
    """With floating leaves in JAX's precision; a cell may have been made before it was set."""

    def cast(leaf: Any) -> Any:
        other = isinstance(leaf, jax.Array) and leaf.dtype != jnp.result_type(float)
        return leaf.astype(float) if other and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, numbers)


@eqx.filter_jit
def _run(
    numbers: tuple,
    plan: dict[str, Any],
    solver: diffrax.AbstractSolver,
    steps: int,
    save_every: int,
    rounded: bool,
    widths: tuple,
    controller: diffrax.AbstractStepSizeController | None,
    adjoint: diffrax.AbstractAdjoint | None,
    memory: float,
    progress: bool,
    max_steps: int | None,
) -> tuple[Traces, Array, Array | None]:
    cell, inputs, v0, h, grid = numbers
    model = build_model(cell, inputs, grid=grid, h=h, rounded=rounded, widths=widths)
    y0 = _start(model, v0, rounded)
    meter = diffrax.TqdmProgressMeter() if progress else diffrax.NoProgressMeter()
    if isinstance(solver, AbstractRosenbrock) and controller is not None:
        controller = adaptive.clipped(controller, model)
    elif isinstance(solver, AbstractRosenbrock):
        run = adaptive.solve(
            solver, model, y0, grid[::save_every],
            lambda t, y: tuple(_recording(what, t, y, model) for what in plan.values()),
            width=sum(model.n if callable(what) else np.size(what) for what in plan.values()),
            adjoint=adjoint, memory=memory, meter=meter, max_steps=max_steps,
        )  # fmt: skip
        return _traces(plan, grid[::save_every], run.saved, run.final), run.result, run.time
    own = adjoint is None or isinstance(adjoint, diffrax.ForwardMode | diffrax.DirectAdjoint)
    if isinstance(solver, AbstractStaggered) and controller is None and own:
        order = arrangement(model)
        running = order.model(model)
        merge = Merge(running)
        start = merge.arranged(order.arranged(y0))
        keep = segment_length(start, steps, save_every, memory) if adjoint is None else 0
        schedule = Schedule(solver.advance, steps // save_every, save_every, keep, meter)

        def shown(y: State) -> State:
            return order.presented(merge.presented(y))

        def save(t: Array, y: State) -> tuple:
            return tuple(
                what(t, shown(y), model) if callable(what) else y.v[order.at(what)]
                for what in plan.values()
            )

        saved, final, extent = march(
            merge.model(running), start, grid, save, schedule, plain=adjoint is not None,
        )  # fmt: skip
        traces = _traces(plan, grid[::save_every], saved, shown(final))
        good = jnp.all(extent <= BLOWN_UP)
        return traces, jnp.where(good, adaptive.DONE, adaptive.BLOWN), None
    saved, extent, final, solved = _diffrax(
        model, y0, solver, plan, grid, steps, save_every, controller, adjoint, meter, max_steps
    )
    failed = ~(extent <= BLOWN_UP)
    result = jnp.where(jnp.any(failed) | ~solved, adaptive.BLOWN, adaptive.DONE)
    ts = grid[::save_every]
    return _traces(plan, ts, saved, final), result, ts[jnp.argmax(failed)]


def _traces(plan: dict[str, Any], ts: Array, saved: tuple, final: State) -> Traces:
    """What was recorded, by name."""
    values = dict(zip(plan, saved, strict=True))
    v = values.pop("", None)
    sites = None if v is None or callable(plan[""]) else jnp.asarray(plan[""])
    return Traces(ts, v, sites, values, final)


def _diffrax(
    model: Model,
    y0: State,
    solver: diffrax.AbstractSolver,
    plan: dict[str, Any],
    grid: Array,
    steps: int,
    save_every: int,
    controller: diffrax.AbstractStepSizeController | None,
    adjoint: diffrax.AbstractAdjoint | None,
    meter: diffrax.AbstractProgressMeter,
    max_steps: int | None,
) -> tuple[tuple, Array, State, Array]:
    """Recordings, largest voltages, last state and success, by `diffrax.diffeqsolve`."""
    staggered = isinstance(solver, AbstractStaggered)

    def save(t: Array, y: State, args: Model) -> tuple:
        if not staggered:
            y = args.completed(t, y)
        return tuple(_recording(what, t, y, args) for what in plan.values()), _extent(t, y, args)

    if controller is None:
        controller, dt0 = diffrax.StepTo(grid), None
        saveat = diffrax.SaveAt(t0=True, steps=save_every, fn=save)
        max_steps = steps
    else:
        dt0, max_steps = model.h, max_steps or 64 * steps
        saveat = diffrax.SaveAt(ts=grid[::save_every], fn=save)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),  # type: ignore[reportArgumentType]
        solver,
        t0=grid[0],
        t1=grid[-1],
        dt0=dt0,
        y0=y0,
        args=model,
        saveat=diffrax.SaveAt(subs=(saveat.subs, diffrax.SubSaveAt(t1=True, fn=_leaves))),
        stepsize_controller=controller,
        adjoint=diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        max_steps=max_steps,
        progress_meter=meter,
        throw=False,
    )
    (saved, extent), final = cast(tuple, solution.ys)
    rows = steps // save_every + 1
    saved, extent = jax.tree.map(lambda a: a[:rows], (saved, extent))
    final = jax.tree.unflatten(jax.tree.structure(y0), [a[0] for a in final])
    return saved, extent, final, solution.result == diffrax.RESULTS.successful


def _judged(
    cell: Cell, traces: Traces, result: Array, when: Any, dt: float, max_steps: int | None
) -> Traces:
    """`traces`, unless the `result` of the run, 0 or one of `adaptive`'s codes, is a failure."""
    if not is_concrete(result):
        return eqx.error_if(traces, result != adaptive.DONE, FAILED_IN_JIT)
    worst = int(np.max(np.asarray(result)))
    if worst == adaptive.BLOWN:
        raise SimulationError(_diagnosis(cell, traces, float(when), dt))
    if worst != adaptive.DONE:
        raise SimulationError(adaptive.explain(worst, float(when), max_steps))
    return traces


def _start(model: Model, v0: Array | State, rounded: bool) -> State:
    """The first state; one without inputs, as from `rest`, meets them at their beginning."""
    if not isinstance(v0, State):
        return model.initial(v0, rounded)
    if len(v0.inputs) == len(model.inputs):
        return v0
    if v0.inputs:
        raise ValueError(
            f"simulate: v0 is a State with {len(v0.inputs)} inputs, but {len(model.inputs)} are "
            "given; go on with the inputs that it came from, or start from a State without any."
        )
    return State(v0.v, v0.mechanisms, model.initial_inputs(v0.v, rounded))


def _leaves(t: Array, y: State, args: Model) -> list[Array]:
    del t, args
    return jax.tree.leaves(y)


def _extent(t: Array, y: State, args: Model) -> Array:
    """Largest absolute voltage; NaN stays NaN."""
    del t, args
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


def _recording(what: Any, t: Array, y: State, model: Model) -> Any:
    return what(t, y, model) if callable(what) else y.v[what]


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


def _width(group: Input, grid: np.ndarray, dt: float, start: Array | State) -> int | None:
    """How many events of `group` a single step may have to deliver; `None` when unknown."""
    if not isinstance(group, AbstractSynapse) or group.explicit:
        return None
    if group.max_per_step is not None:
        return group.max_per_step
    if isinstance(group.times, Binned):
        begun = isinstance(start, State) and bool(start.inputs)
        check_bins(group.times, type(group).__name__, -np.inf if begun else float(grid[0]), dt)
        return None
    if not is_concrete(group.times):
        return None
    times = np.broadcast_to(group.times, (group.site.shape[0], group.times.shape[-1]))
    return widest_step(times, grid, dt)


def _diagnosis(cell: Cell, traces: Traces, when: float, dt: float) -> str:
    """When, where and why, for a solve that blew up."""
    text = (
        f"simulate: the voltage stopped being finite or passed {BLOWN_UP:g} mV at t = {when:g} ms"
    )
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
