"""`simulate`: a cell, its inputs, a time; a thin layer over `diffrax.diffeqsolve`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import FunctionType
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._checks import check, check_bins, count_steps
from jaxdend._errors import SimulationError
from jaxdend._interrupts import interruptible
from jaxdend._run import Setting, run
from jaxdend._same import same, understood
from jaxdend._subset import is_concrete
from jaxdend._types import as_leaf, in_current_precision
from jaxdend.cell import Cell
from jaxdend.dynamics import Model, State
from jaxdend.events import binned, widest_step
from jaxdend.inputs import AbstractInput
from jaxdend.solvers import CrankNicolson
from jaxdend.solvers.march import in_bytes
from jaxdend.solvers.stepwise import LIMIT
from jaxdend.traces import Traces

Recorder = Callable[[Array, State, Model], Any]
Record = ArrayLike | Recorder | Mapping[str, "int | ArrayLike | Recorder"] | None

LONG = 5_000_000  # steps times compartments, from which a run can be interrupted
FAILED_IN_JIT = (
    "simulate: the voltage stopped being finite or passed 1000 mV, or an adaptive solver ran out "
    "of max_steps. Run it outside jit to see when and where, use a smaller dt, or pass throw=False "
    "and look at Traces.result and Traces.stats."
)


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
    - `record`: compartments whose voltage to keep (default: all of them), as numbers, names of
        regions, groups and sections (the one that `Cell.locate` gives), a bool mask or a list of
        these; a function of `(t, state, model)`; or a dict of either by name (`Traces.values`).
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
        bytes; a `vmap` of B takes B times as much. A gradient costs least where all states fit.
    - `adjoint`: `None` for the above; `diffrax.ForwardMode()` for `jax.jvp` and `jax.jacfwd`, which
        are cheaper for few parameters; or another adjoint of diffrax, as for its own solvers.
    - `progress`: show a progress bar, or a progress meter of diffrax.
    - `throw`: raise when the voltage stops being finite or passes 1000 mV; else `result` and
        `stats` of the traces say what happened.

    **Returns:** `Traces`, with `ts` running over `t0, t0 + dt, …, t1`.

    **Raises:** `ValueError` for a bad step, time, site, parameter or budget of memory, or a
    mechanism with sudden changes under a solver that would never look at them; `SimulationError`
    for a solve that failed, saying when and where (inside `jax.jit` an `equinox` runtime error).
    """
    inputs, method = _given(cell, inputs, solver)
    steps = count_steps(t0, t1, dt, save_every)
    plan, begin = _plan(record, cell), _initial(v0, cell.n)
    grid = np.append(0.0, np.cumsum(np.full(2 * steps, dt / 2))[1::2])  # as NEURON adds
    widths = tuple(_width(group, grid, t0, dt, begin[1]) for group in inputs)
    known = is_concrete([i.site for i in inputs], _places(plan))
    setting = Setting(
        method, steps, int(save_every), widths, saveat, event, controller, adjoint,
        in_bytes(memory), _meter(progress), max_steps, not known)  # fmt: skip
    numbers = in_current_precision((cell, inputs, begin, as_leaf(dt), as_leaf(grid), as_leaf(t0)))
    traces = (_alone if is_concrete(numbers, plan) else _traced)(numbers, plan, setting)
    if saveat is None and event is None:
        shown = jnp.asarray(np.round(t0 + dt * np.arange(0, steps + 1, save_every), 9), float)
        traces = eqx.tree_at(lambda x: x.ts, traces, shown)
    return _judged(cell, traces, dt, max_steps) if throw else traces


def _meter(progress: bool | diffrax.AbstractProgressMeter) -> diffrax.AbstractProgressMeter:
    """The progress meter that was asked for."""
    if progress is True:
        return diffrax.TqdmProgressMeter()
    return diffrax.NoProgressMeter() if progress is False else progress


def _given(cell: Cell, inputs: Any, solver: Any) -> tuple[tuple, Any]:
    """The inputs as a tuple and the solver, by default Crank-Nicolson, checked against the cell."""
    inputs = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
    solver = CrankNicolson() if solver is None else solver
    return check(cell, inputs, solver), solver


def _alone(numbers: tuple, plan: dict[str, Any], setting: Setting) -> Traces:
    """A run of known numbers: it can be interrupted, and shares its program with nearby lengths."""
    rows = setting.steps // setting.save_every
    grid, room, made = numbers[4], rows, None
    plain = setting.saveat is None and setting.event is None and setting.adjoint is None
    if setting.manner.staggered and not setting.chooses and plain:
        room, made = _room(rows), jnp.asarray(rows)
        more = np.arange(1, (room - rows) * setting.save_every + 1)
        grid = jnp.concatenate([grid, grid[-1] + numbers[3] * more.astype(grid.dtype)])
        setting = replace(setting, steps=room * setting.save_every)
    numbers = (*numbers[:4], grid, *numbers[5:], made)
    if setting.steps * numbers[0].n >= LONG:
        traces = interruptible(
            lambda meter: run(numbers, plan, replace(setting, meter=meter)), setting.meter
        )
    else:
        traces = run(numbers, plan, setting)
    if room == rows:
        return traces
    v, values = jax.tree.map(lambda a: a[: rows + 1], (traces.v, traces.values))
    return eqx.tree_at(lambda x: (x.v, x.values), traces, (v, values), is_leaf=lambda x: x is None)


def _traced(numbers: tuple, plan: dict[str, Any], setting: Setting) -> Traces:
    """A run of numbers that are not known, as under `jit`, `vmap` or `grad`."""
    try:
        return run((*numbers, None), plan, setting)
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise TypeError(
            "simulate: forward-mode derivatives (jvp, jacfwd, linearize) need "
            "adjoint=diffrax.ForwardMode(); by default a run has those of reverse mode."
        ) from error


def _room(rows: int) -> int:
    """Rows of the program for a run of `rows`: up to an eighth more, so that few lengths differ."""
    step = max(8, 1 << max(rows.bit_length() - 4, 0))
    return -(-rows // step) * step


def _places(plan: dict[str, Any]) -> list:
    """What of a plan are compartments."""
    return [what for what in plan.values() if not callable(what)]


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
    traces = _lone(cell, inputs, (None, state), t, dt, solver, 1)
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
    return _lone(cell, inputs, _initial(v0, cell.n), t, dt, solver, 0).final


def _lone(
    cell: Cell, inputs: Any, begin: tuple, t: ArrayLike, dt: float, solver: Any, steps: int
) -> Traces:
    inputs, solver = _given(cell, inputs, solver)
    setting = Setting(
        solver, steps, 1, (None,) * len(inputs), None, None, None, None, in_bytes("64MB"),
        diffrax.NoProgressMeter(), None, not is_concrete([i.site for i in inputs]),
    )  # fmt: skip
    grid = as_leaf(np.asarray([0.0, dt]))
    numbers = (cell, inputs, begin, as_leaf(dt), grid, as_leaf(t), None)
    return run(in_current_precision(numbers), {}, setting)


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


def _initial(v0: ArrayLike | State, n: int) -> tuple[Array | None, State | None]:
    """What a run begins with: a checked voltage, `()` or `(n,)` mV, or a state as it is."""
    if isinstance(v0, State):
        return None, v0
    try:
        v = jnp.asarray(v0, float)
    except (TypeError, ValueError):
        raise ValueError(
            f"simulate: v0 must be a number, ({n},) mV or a State, such as jd.rest(cell); "
            f"got {v0!r}."
        ) from None
    if v.shape not in ((), (n,)):
        raise ValueError(
            f"simulate: v0 must be a number, ({n},) mV or a State; got shape {v.shape}."
        )
    if is_concrete(v) and not np.all(np.isfinite(v)):
        raise ValueError("simulate: v0 must be finite, in mV; it holds NaN or inf.")
    return v, None


def _plan(record: Record, cell: Cell) -> dict[str, Any]:
    """Name -> compartments `(r,)` or recording function; the name "" is what becomes `Traces.v`."""
    if record is None:
        return {"": jnp.arange(cell.n)}
    if callable(record):
        return {"values": _recorder(record, cell)}
    if isinstance(record, Mapping):
        plan = {
            k: _recorder(f, cell) if callable(f) else _sites(f, cell) for k, f in record.items()
        }
        sites = [jnp.atleast_1d(what) for what in plan.values() if not callable(what)]
        return plan | ({"": jnp.concatenate(sites)} if sites else {})
    return {"": jnp.atleast_1d(_sites(record, cell))}


def _recorder(what: Recorder, cell: Cell) -> Recorder:
    """A recording function that knows its places on the cell."""
    resolve = getattr(what, "resolve", None)
    if resolve is not None:
        return resolve(cell)
    return same(what) if isinstance(what, FunctionType) and understood(what) else what


def _sites(place: Any, cell: Cell) -> Array:
    """Compartments to record: `()` for a single number, else `(r,)`."""
    try:
        found = jnp.asarray(cell.sites(place))
    except ValueError as error:
        takes = "takes compartment numbers, names, masks or functions; " * (
            "expected" in str(error)
        )
        raise ValueError(f"simulate: record= {takes}{error}") from None
    single = not isinstance(place, str | list | tuple) and jnp.ndim(place) == 0
    return found[0] if single else found


def _width(
    group: AbstractInput, grid: np.ndarray, t0: float, dt: float, begun: State | None
) -> int | None:
    """How many events of `group` a single step may have to deliver; `None` when unknown."""
    times, train = getattr(group, "times", None), binned(group)
    if not group.eventful or times is None:
        return None
    if getattr(group, "max_per_step", None) is not None:
        return group.max_per_step  # type: ignore[attr-defined]
    if train is not None:
        carried = begun is not None and bool(begun.inputs)  # what came before t0 is in the state
        check_bins(train, type(group).__name__, -np.inf if carried else float(t0), dt)
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
            with suppress(ValueError):  # a cell of a stack has no names
                text += f" ({cell.section_names[cell.section[site]]}, x = {cell.x[site]:.3g})"
    return text + (
        ". Likely causes: a conductance, current or time constant of the wrong unit, or "
        f"dt = {dt:g} ms too long for an explicit solver. throw=False returns the traces."
    )
