"""The loop around the Rosenbrock methods: it chooses its own steps and saves on a grid.

A step ends where an input jumps, and events are delivered between steps, so that every step sees
smooth equations. Its length follows the largest error by proportional-integral control (Hairer &
Wanner IV.2; Söderlind 2003, ACM Trans Math Softw 29:1), with the coefficients 0.3 and 0.4.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend.dynamics import Model, State
from jaxdend.solvers._edges import Edges, Queue, traces_at
from jaxdend.solvers.rosenbrock import (
    AbstractRosenbrock,
    error_norm,
    interpolated,
    is_carried,
    rosenbrock_step,
    traces_after,
)

Save = Callable[[Array, State], Any]
Kind = Literal["lax", "checkpointed"]

DONE, TOO_MANY, STUCK, BLOWN = 0, 1, 2, 3
MAX_STEPS = 100_000
_FIRST = 0.01  # ms, the first step tried
_LIMIT = 1e3  # mV
_ROWS = 64  # numbers saved at once


class _Run(NamedTuple):
    t: Array  # () ms
    h: Array  # () ms, the next step to try
    y: State
    last: Array  # () error of the last accepted step, as a multiple of what is allowed
    heads: list[Array]  # how many events of each queue are delivered
    edge: Array  # () bool, whether an input has just jumped
    trials: Array  # () int, steps tried
    meter: Any  # state of the progress meter
    row: Array  # () int, rows saved
    result: Array  # () int, one of the codes above
    out: Any  # what is saved, (rows, ...) each


class Adaptive(eqx.Module):
    """One run: what does not change from step to step."""

    solver: AbstractRosenbrock
    model: Model
    ts: Array  # (rows,) ms, the times to save
    edges: Edges
    queues: list[Queue | None]  # as model.inputs
    save: Save = eqx.field(static=True)
    chunk: int = eqx.field(static=True)  # rows saved at once
    kind: Kind = eqx.field(static=True)
    meter: diffrax.AbstractProgressMeter

    def step(self, run: _Run) -> _Run:
        """Try one step; it is taken if its error is small enough."""
        model, tableau = self.model, self.solver.tableau
        y, heads, waiting = self._deliver(run)
        stop = jnp.minimum(self.edges.after(run.t), self.ts[-1])
        left = stop - run.t
        reached = run.h >= left
        h = jnp.where(reached, left, jnp.where(2 * run.h > left, 0.5 * left, run.h))
        t1 = jnp.where(reached, stop, run.t + h)
        given, taken = (eqx.filter(model, eqx.is_inexact_array), y, run.t, h), None
        if self.kind == "checkpointed":
            given, taken = _gate(given)
        numbers, y0, t0, length = given
        trial = eqx.combine(numbers, model)
        y1, error, dense = rosenbrock_step(tableau, trial, y0, t0, length, carried=True)
        size = jax.lax.stop_gradient(error_norm(model, y, y1, error, h, self.solver.tolerance))
        fine = (size <= 1.0) & ~waiting
        next_h = _next_step(size, run.last, h, run.h, tableau.order)
        row, out = self._write(run, fine, t1, h, y, y1, dense)
        y_next = jax.tree.map(lambda new, old: jnp.where(fine, new, old), y1, y)
        if taken is not None:
            y_next = State(_open(y_next.v, taken, fine), y_next.mechanisms, y_next.inputs)
        tiny = 8 * jnp.finfo(h.dtype).eps * jnp.maximum(jnp.abs(run.t), 1e-3)
        result = jnp.where(fine & ~(_extent(y1) <= _LIMIT), BLOWN, DONE)
        result = jnp.where(~fine & ~waiting & (next_h < tiny), STUCK, result)
        return _Run(
            t=jnp.where(fine, t1, run.t),
            h=jax.lax.stop_gradient(jnp.where(waiting, run.h, next_h)),
            y=y_next,
            last=jnp.where(fine, jnp.maximum(size, 1e-4), run.last),
            heads=heads,
            edge=jnp.where(waiting, run.edge, fine & reached),
            trials=run.trials + 1,
            meter=self._report(run),
            row=row,
            result=result,
            out=out,
        )

    def _report(self, run: _Run) -> Any:
        done = (run.t - self.ts[0]) / (self.ts[-1] - self.ts[0])
        return self.meter.step(run.meter, jax.lax.stop_gradient(done))

    def _deliver(self, run: _Run) -> tuple[State, list[Array], Array]:
        """The state after events that are due, and whether more of them wait."""
        y, waiting = run.y, jnp.asarray(False)
        inputs, heads = [], []
        for queue, z in zip(self.queues, y.inputs, strict=True):
            if queue is not None:
                z, head, more = queue.deliver(z, run.heads[len(heads)], run.t)
                heads.append(head)
                waiting |= more
            inputs.append(z)
        y = State(y.v, y.mechanisms, inputs)
        if self.model.inputs and self.model.exposed:
            settle = run.edge & ~waiting
            y = jax.lax.cond(settle, lambda y: settled(self.model, y, run.t), lambda y: y, y)
        return y, heads, waiting

    def _write(
        self,
        run: _Run,
        fine: Array,
        t1: Array,
        h: Array,
        y: State,
        y1: State,
        dense: tuple[State, ...],
    ) -> tuple[Array, Any]:
        """Save the times up to `t1`, a chunk at a time, if the step is taken."""
        rows, end = len(self.ts), jax.lax.stop_gradient(t1)

        def due(row: Array) -> Array:
            return (row < rows) & (self.ts[jnp.minimum(row, rows - 1)] <= end)

        def one(when: Array) -> Any:
            lag = when - run.t
            traces = traces_after(self.model, y, lag)
            return self.save(when, interpolated(lag / h, y, y1, dense, traces))

        def chunk(carry: tuple[Array, Any]) -> tuple[Array, Any]:
            row, out = carry
            at = row + jnp.arange(self.chunk)
            when = self.ts[jnp.minimum(at, rows - 1)]
            here = due(at)
            place = jnp.where(here, at, rows)

            def put(new: Array, all_: Any) -> Any:
                # what is dropped has NaN for its cotangent: keep it from the interpolation
                shown = here.reshape(-1, *[1] * (new.ndim - 1))
                return all_.at[place].set(jnp.where(shown, new, 0), mode="drop")

            out = jax.tree.map(put, jax.vmap(one)(when), out)
            return row + jnp.sum(here), out

        return eqxi.while_loop(
            lambda carry: fine & due(carry[0]),
            chunk,
            (run.row, run.out),
            max_steps=rows,
            buffers=lambda carry: carry[1],
            kind=self.kind,
            checkpoints=rows,
        )


class Outcome(NamedTuple):
    """What `solve` returns."""

    saved: Any  # (rows, ...) each; NaN, for whole numbers 0, where the run did not get
    final: State  # at the end, or where the run stopped
    result: Array  # () int, 0 or one of the codes above
    time: Array  # () ms, where the run stopped
    trials: Array  # () int, steps tried


def solve(
    solver: AbstractRosenbrock,
    model: Model,
    y: State,
    ts: Array,
    save: Save,
    *,
    width: int = 1,
    adjoint: diffrax.AbstractAdjoint | None = None,
    memory: float = 64e6,
    meter: diffrax.AbstractProgressMeter | None = None,
    max_steps: int | None = None,
) -> Outcome:
    """Integrate from `ts[0]` to `ts[-1]` and save at `ts (rows,)` ms.

    Reverse mode keeps as many states as fit into `memory` bytes and computes the others again,
    unless `adjoint` is `diffrax.ForwardMode()`, for forward mode instead.

    **Arguments:** `save`, from a time and the state there to a pytree of arrays, of about `width`
    numbers; `max_steps` bounds the steps tried, by default 100,000.
    """
    kind: Kind = "lax" if isinstance(adjoint, diffrax.ForwardMode) else "checkpointed"
    meter = diffrax.NoProgressMeter() if meter is None else meter
    queues = [Queue.of(g) if is_carried(g) else None for g in model.inputs]
    inputs = [
        x if q is None else traces_at(g, ts[0])
        for g, q, x in zip(model.inputs, queues, y.inputs, strict=True)
    ]
    y = settled(model, State(y.v, y.mechanisms, inputs), ts[0])
    chunk = max(1, min(32, _ROWS // max(width, 1)))
    loop = Adaptive(solver, model, ts, Edges.of(model), queues, save, chunk, kind, meter)
    start = _Run(
        t=ts[0],
        h=jnp.asarray(_FIRST, ts.dtype),
        y=y,
        last=jnp.ones_like(ts[0]),
        heads=[q.behind(ts[0]) for q in queues if q is not None],
        edge=jnp.asarray(False),
        trials=jnp.asarray(0),
        meter=meter.init(),
        row=jnp.asarray(1),
        result=jnp.asarray(DONE),
        out=jax.tree.map(lambda a: _column(jnp.asarray(a), len(ts)), save(ts[0], y)),
    )
    most = MAX_STEPS if max_steps is None else max_steps
    size = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(y))
    run = eqxi.while_loop(
        lambda run: (run.t < ts[-1]) & (run.result == DONE),
        loop.step,
        start,
        max_steps=most,
        buffers=lambda run: run.out,
        kind=kind,
        checkpoints=int(min(most, max(16.0, memory / max(size, 1)))),
    )
    meter.close(run.meter)
    result = jnp.where((run.result == DONE) & (run.t < ts[-1]), TOO_MANY, run.result)
    return Outcome(run.out, run.y, result, run.t, run.trials)


def _column(first: Array, rows: int) -> Array:
    """Room for `rows` results, of which the first is known."""
    fill = jnp.nan if jnp.issubdtype(first.dtype, jnp.inexact) else 0
    return jnp.full((rows, *first.shape), fill, first.dtype).at[0].set(first)


def explain(result: int, when: float, max_steps: int | None) -> str:
    """Why a run failed, by its result TOO_MANY or STUCK, and what to do."""
    if result == TOO_MANY:
        most = MAX_STEPS if max_steps is None else max_steps
        return (
            f"simulate: the adaptive solver took max_steps = {most} steps and only reached "
            f"t = {when:g} ms. Raise max_steps or the solver's tolerance; inputs with very many "
            "edges or events, each of which ends a step, suit a fixed step better."
        )
    return (
        f"simulate: the adaptive solver's step became too small at t = {when:g} ms: the state "
        "stopped being finite, or the tolerance is too tight for this precision."
    )


@jax.custom_vjp
def _gate(x: Any) -> tuple[Any, Array]:
    """`x`, and a handle by which `_open` lets its gradient through.

    A step that is refused may hold infinities, and zero times their slopes is NaN.
    """
    return x, jnp.zeros(())


def _gate_back(_: None, cotangents: tuple[Any, Array]) -> tuple[Any]:
    back, taken = cotangents
    return (jax.tree.map(lambda a: jnp.where(taken > 0, a, jnp.zeros_like(a)), back),)


_gate.defvjp(lambda x: ((x, jnp.zeros(())), None), _gate_back)


@jax.custom_vjp
def _open(v: Array, handle: Array, taken: Array) -> Array:
    """`v`; backwards, the gate of `handle` is open if the step was `taken`."""
    del handle, taken
    return v


_open.defvjp(
    lambda v, handle, taken: (v, (handle, taken)),
    lambda kept, back: (back, kept[1].astype(kept[0].dtype), None),
)


def settled(model: Model, y: State, t: Array) -> State:
    """`y` with the voltages of nodes without area in balance at `t`."""
    envs, conductances = model.environments(y), model.conductances(y, t, carried=True)
    return State(model.at_nodes(t, y, envs, conductances), y.mechanisms, y.inputs)


def _next_step(size: Array, last: Array, h: Array, wished: Array, order: int) -> Array:
    """The next step's length after one of `h` ms, instead of `wished`, with error `size`."""
    bad = ~(size <= 1.0)
    growth = 0.9 * jnp.maximum(size, 1e-10) ** (-0.7 / order) * last ** (0.3 / order)
    growth = jnp.where(jnp.isfinite(size), jnp.clip(growth, 0.2, 10.0), 0.1)
    longer = jnp.maximum(growth * h, jnp.where(h < wished, wished, 0.0))
    return jnp.where(bad, jnp.minimum(growth, 0.9) * h, longer)


def _extent(y: State) -> Array:
    """Largest absolute voltage; NaN stays NaN."""
    return jnp.max(jnp.abs(jax.lax.stop_gradient(y.v)))


def clipped(
    controller: diffrax.AbstractStepSizeController, model: Model
) -> diffrax.AbstractStepSizeController:
    """A controller of the user's that also ends its steps where inputs jump."""
    adaptive = isinstance(controller, diffrax.AbstractAdaptiveStepSizeController)
    if not adaptive or isinstance(controller, diffrax.ClipStepSizeController) or not model.inputs:
        return controller
    return diffrax.ClipStepSizeController(controller, jump_ts=Edges.of(model).times)
