"""`Stepwise`: the fixed-step loop of `march` as an adjoint of `diffrax.diffeqsolve`.

diffrax lets an adjoint bring its own loop over time. Fields of diffrax's own `State` and
`SaveState` are used by name here; `tests/solvers/test_stepwise.py` looks whether they are there.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend.solvers.manner import manner_of
from jaxdend.solvers.march import Schedule, in_bytes, march, segment_length

LIMIT = 1e3  # mV, beyond which a voltage counts as blown up


class _Meter(diffrax.AbstractProgressMeter):
    """A meter that is open already and stays so: `diffeqsolve` opens and closes it."""

    meter: diffrax.AbstractProgressMeter
    state: Any

    def init(self) -> Any:
        return self.state

    def step(self, state: Any, progress: Any) -> Any:
        return self.meter.step(state, progress)

    def close(self, state: Any) -> None:
        del state


class Stepwise(diffrax.AbstractAdjoint):
    """Reverse mode for staggered solvers that keeps few states and solves once per step.

    It runs steps of equal length (`diffrax.StepTo`) whose results are saved every so many steps;
    whatever else `diffeqsolve` is asked for (`SaveAt(ts=)`, dense output, events, other solvers) is
    left to `other`.

    **Arguments:** `memory`, bytes that reverse mode may keep; `plain`, derivatives by JAX itself:
    forward mode, or reverse mode that stores everything; `rows`, how many of the saved results to
    make, if not all of them (without derivatives: a shorter run then needs no program of its own);
    `other`, an adjoint of diffrax.
    """

    memory: float = eqx.field(default=64e6, converter=in_bytes, static=True)
    plain: bool = eqx.field(default=False, static=True)
    rows: Array | None = None  # () int
    other: diffrax.AbstractAdjoint = diffrax.RecursiveCheckpointAdjoint()

    def loop(
        self, *, args: Any, solver: Any, stepsize_controller: Any, event: Any, saveat: Any,
        init_state: Any, progress_meter: Any, **others: Any,
    ) -> tuple[Any, dict]:  # fmt: skip
        """The loop over time, as `diffeqsolve` calls it."""
        subs = jax.tree.leaves(saveat.subs, is_leaf=_is_sub)
        strides = {sub.steps for sub in subs if sub.steps}
        fixed = isinstance(stepsize_controller, diffrax.StepTo)
        steps = len(stepsize_controller.ts) - 1 if fixed else 0
        every = min(strides, default=steps)
        if (
            not manner_of(solver).staggered
            or not steps
            or len(strides) > 1
            or steps % every
            or event is not None
            or saveat.dense
            or any(sub.ts is not None for sub in subs)
        ):
            return self.other.loop(
                args=args, solver=solver, stepsize_controller=stepsize_controller, event=event,
                saveat=saveat, init_state=init_state, progress_meter=progress_meter, **others,
            )  # fmt: skip
        grid, y0 = stepsize_controller.ts, init_state.y
        keep = 0 if self.plain else segment_length(y0, steps, every, self.memory)
        meter = _Meter(progress_meter, init_state.progress_meter_state)
        schedule = Schedule(solver.advance, steps // every, every, keep, LIMIT, meter)

        def save(t: Array, y: Any) -> list:
            return [sub.fn(t, y, args) for sub in subs if sub.steps]

        first = init_state.solver_state
        saved, last, failed = march(
            args, y0, grid, save, schedule, first, plain=self.plain, rows=self.rows
        )
        taken = steps if self.rows is None else self.rows * every
        end, rows = grid[taken], iter(saved)

        def fill(sub: Any, buffers: Any) -> Any:
            if sub.steps:
                ts, ys = grid[::every], next(rows)
                ts, ys = (ts, ys) if sub.t0 else jax.tree.map(lambda a: a[1:], (ts, ys))
            else:
                ends = [(grid[0], y0)] * sub.t0 + [(end, last)] * sub.t1
                ts = jnp.stack([t for t, _ in ends])
                ys = jax.tree.map(lambda *a: jnp.stack(a), *[sub.fn(t, y, args) for t, y in ends])
            return _written(buffers, ts, ys)

        good = jnp.all(failed == jnp.inf)
        results: Any = diffrax.RESULTS
        state = eqx.tree_at(
            lambda s: (
                s.y, s.tprev, s.tnext, s.solver_state, s.result, s.num_steps,
                s.num_accepted_steps, s.save_state,
            ),
            init_state,
            (
                last, end, end, first + taken,
                results.where(good, results.successful, results.nonlinear_divergence),
                taken, taken,
                jax.tree.map(fill, saveat.subs, init_state.save_state, is_leaf=_is_sub),
            ),
        )  # fmt: skip
        return state, {"failed": failed}


def _written(buffers: Any, ts: Array, ys: Any) -> Any:
    """The output of a `SubSaveAt` with its rows filled in."""

    def put(buffer: Array, rows: Array) -> Array:
        return rows if buffer.shape == rows.shape else buffer.at[: len(rows)].set(rows)

    new = (put(buffers.ts, ts), jax.tree.map(put, buffers.ys, ys), len(ts))
    return eqx.tree_at(lambda b: (b.ts, b.ys, b.save_index), buffers, new)


def _is_sub(x: Any) -> bool:
    return isinstance(x, diffrax.SubSaveAt)
