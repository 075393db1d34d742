"""The loop over time of the staggered solvers, and its reverse mode.

diffrax has loops of its own, and `stepwise` is the door through which `diffrax.diffeqsolve` enters
this one. It stands because diffrax's loop takes 1.04 to 1.2 times as long forwards, and 1.25 to 3
times backwards, for the same steps.

Backwards, a step is one more solve with the transpose of its matrix, which is the matrix itself:
the state before the step is kept or recomputed, its successor is known, so that the forward solve
is not repeated and gates and rates are evaluated again instead of being stored.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxdend.dynamics import Model, State

Step = Callable[..., State]  # (model, state, t, due, known) -> state
Save = Callable[[Array, State], Any]
# (steps + 1,) ms, the grid; () int, the number of the first step; () int, how many rows to make, or
# None for all
Clock = tuple[Array, Array, Array | None]

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@dataclass(frozen=True)
class Schedule:
    """How many steps, which of their results to save, and which states to keep for reverse mode."""

    step: Step
    rows: int  # saved results after the first
    every: int  # steps from one of them to the next
    segment: int  # steps from one kept state to the next, a multiple of `every`; 0 keeps all
    limit: float  # mV, beyond which a voltage counts as failed
    meter: diffrax.AbstractProgressMeter

    @property
    def steps(self) -> int:
        """The number of time steps in all."""
        return self.rows * self.every

    @property
    def segments(self) -> int:
        """The number of states that are kept."""
        return -(-self.steps // self.segment)


def in_bytes(memory: str | float) -> float:
    """A budget such as `"2GB"`, `"64 MB"` or a number of bytes.

    **Raises:** `ValueError` for anything else, or nothing at all.
    """
    match = re.fullmatch(r"\s*([\d.]+(?:[eE]\d+)?)\s*([KMGT]?)(i?)B?\s*", str(memory))
    try:
        number, unit, binary = match.groups() if match else ("", "", "")
        size = float(number) * (_UNITS[unit] ** (math.log(1024, 1000) if binary else 1))
    except ValueError:
        size = 0.0
    if not size > 0:
        raise ValueError(
            f"memory must be a positive size such as '2GB', '64MB' or a number of bytes; "
            f"got {memory!r}."
        )
    return size


def segment_length(state: State, steps: int, every: int, memory: str | float) -> int:
    """Steps between the states that reverse mode keeps within `memory`; 0 to keep every one.

    **Raises:** `ValueError` for a budget below what the square-root schedule needs.
    """
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    budget = in_bytes(memory)
    if steps * size <= budget:
        return 0
    segment = every * math.ceil(math.sqrt(steps) / every)
    needed = (segment + -(-steps // segment)) * size
    if needed > budget:
        raise ValueError(
            f"simulate: memory = {memory!r} is too little for the gradient of {steps} steps of "
            f"{size} bytes each; it takes at least memory={needed} bytes "
            f"('{math.ceil(needed / 1e3)}KB')."
        )
    return segment


def march(
    model: Model,
    y0: State,
    grid: Array,
    save: Save,
    schedule: Schedule,
    first: Array,
    *,
    plain: bool,
    rows: Array | None = None,
) -> tuple[Any, State, Array]:
    """Saved results, last state and when each node failed.

    The first are what `save` returns at the start and after every row, stacked; the third, `(N,)`
    ms, is the first of these moments at which the node's voltage was not finite or beyond
    `schedule.limit`, inf where none was.

    **Arguments:** `grid (steps + 1,)` ms; `first`, the number of the first step in the tables of
    events. `plain` leaves derivatives to JAX: forward mode, or reverse mode that stores everything.
    `rows`, how many of the `schedule.rows` to make, which need not be known when the program is
    made: without derivatives.
    """
    tables = model.tables
    argument = (eqx.tree_at(lambda m: m.tables, model, ()), tables, y0)
    if plain:
        return _forward((*argument, save), (grid, first, rows), schedule, keep=False)[0]
    save = eqx.filter_closure_convert(save, grid[0], y0)  # what it closes over has a gradient, too
    if rows is not None:
        return _forward((*argument, save), (grid, first, rows), schedule, keep=False)[0]
    return _march((*argument, save), (grid, first, None), schedule)


@eqx.filter_custom_vjp
def _march(argument: tuple, clock: Clock, schedule: Schedule) -> tuple[Any, State, Array]:
    return _forward(argument, clock, schedule, keep=False)[0]


@_march.def_fwd
def _march_fwd(perturbed: tuple, argument: tuple, clock: Clock, schedule: Schedule) -> tuple:
    del perturbed
    out, kept = _forward(argument, clock, schedule, keep=True)
    return out, (kept, out[1])


@_march.def_bwd
def _march_bwd(
    residuals: tuple, cotangent: tuple, perturbed: tuple, argument: tuple, clock: Clock,
    schedule: Schedule,
) -> tuple:  # fmt: skip
    (kept, last), (saved_bar, last_bar, _) = residuals, cotangent
    y0 = argument[2]
    pullback = _Pullback(argument, perturbed, clock, schedule, saved_bar)
    bars = pullback.zeros(_filled(last_bar, last))
    if not schedule.segment:
        _, bars = pullback.steps(kept, last, bars, 0, schedule.steps)
    else:

        def segment(i: Array, carry: tuple) -> tuple:
            following, bars = carry
            q = schedule.segments - 1 - i
            lo = q * schedule.segment
            hi = jnp.minimum(lo + schedule.segment, schedule.steps)
            start = _at(kept, q)
            states = _buffer(start, schedule.segment)
            states = _walk(argument, clock, schedule, start, states, lo, hi)
            return pullback.steps(states, following, bars, lo, hi)

        _, bars = lax.fori_loop(0, schedule.segments, segment, (last, bars))
    y_bar, model_bar, tables_bar, save_bar = pullback.saved(bars, clock[0][0], y0, 0)
    return model_bar, tables_bar, y_bar, save_bar


def _forward(
    argument: tuple, clock: Clock, schedule: Schedule, keep: bool
) -> tuple[tuple[Any, State, Array], State | None]:
    """What `march` returns; with `keep`, the states that reverse mode starts from."""
    (y0, save), (grid, _, count) = argument[2:], clock
    count = schedule.rows if count is None else count
    saved = save(grid[0], y0)
    saved = jax.tree.map(lambda a: _put(_empty(a, schedule.rows + 1), a, 0), saved)
    meter = schedule.meter.init()

    def rows(carry: tuple, lo: Any, hi: Any) -> tuple:
        def row(r: Array, carry: tuple) -> tuple:
            y, kept, saved, failed, meter = carry
            n = r * schedule.every
            if schedule.every == 1:
                y, kept = _step(argument, clock, schedule, n, y, kept)
            else:

                def step(j: Array, carry: tuple) -> tuple:
                    return _step(argument, clock, schedule, n + j, *carry)

                y, kept = lax.fori_loop(0, schedule.every, step, (y, kept))
            value = save(grid[n + schedule.every], y)
            saved = jax.tree.map(lambda a, b: _put(a, b, r + 1), saved, value)
            failed = _failed(failed, grid[n + schedule.every], y, schedule)
            return y, kept, saved, failed, schedule.meter.step(meter, (r + 1) / count)

        return lax.fori_loop(lo, hi, row, carry)

    failed = _failed(jnp.full_like(y0.v, jnp.inf), grid[0], y0, schedule)
    if not keep or not schedule.segment:
        kept = _buffer(y0, schedule.steps) if keep else None
        carry = rows((y0, kept, saved, failed, meter), 0, count)
    else:
        stride = schedule.segment // schedule.every

        def segment(q: Array, carry: tuple) -> tuple:
            y, kept, *rest = carry
            kept = jax.tree.map(lambda a, b: _put(a, b, q), kept, y)
            end = jnp.minimum((q + 1) * stride, schedule.rows)
            y, _, *rest = rows((y, None, *rest), q * stride, end)
            return y, kept, *rest

        kept = _buffer(y0, schedule.segments)
        carry = lax.fori_loop(0, schedule.segments, segment, (y0, kept, saved, failed, meter))
    last, kept, saved, failed, meter = carry
    schedule.meter.close(meter)
    return (saved, last, failed), kept


def _failed(failed: Array, t: Array, y: State, schedule: Schedule) -> Array:
    """When each node failed, `(N,)` ms, with the state `y` at `t` looked at as well."""
    fine = (jnp.abs(lax.stop_gradient(y.v)) <= schedule.limit) | (failed < jnp.inf)
    return jnp.where(fine, failed, t)


def _walk(
    argument: tuple, clock: Clock, schedule: Schedule, y: State, kept: State, lo: Any, hi: Any
) -> State:  # fmt: skip
    """The states from which the steps `lo` to `hi` start, in `kept` from its beginning."""

    def body(n: Array, carry: tuple) -> tuple:
        return _step(argument, clock, schedule, n, *carry, base=lo)

    return lax.fori_loop(lo, hi, body, (y, kept))[1]


def _step(
    argument: tuple, clock: Clock, schedule: Schedule, n: Array, y: State, kept: State | None,
    base: Any = 0,
) -> tuple[State, State | None]:  # fmt: skip
    """Step `n` from `y`, which goes into `kept`, if there is one, at `n - base`."""
    (model, tables), (grid, first, _) = argument[:2], clock
    if kept is not None:
        kept = jax.tree.map(lambda a, b: _put(a, b, n - base), kept, y)
    due = tuple(None if table is None else table.due(n + first) for table in tables)
    return schedule.step(model, y, grid[n], due, None), kept


class _Pullback:
    """Cotangents of everything, carried backwards as `(state, model, event jumps, save)`."""

    def __init__(
        self, argument: tuple, perturbed: tuple, clock: Clock, schedule: Schedule, saved_bar: Any
    ):
        model, self.tables, self.y0, save = argument
        self.model = eqx.partition(model, perturbed[0])
        self.save = eqx.partition(save, perturbed[3])
        self.moved = tuple(
            table is not None and any(jax.tree.leaves(flags.jump))
            for table, flags in zip(self.tables, perturbed[1], strict=True)
        )
        (self.grid, self.first, _), self.schedule, self.saved_bar = clock, schedule, saved_bar

    def zeros(self, y_bar: State) -> tuple:
        """Where the cotangents begin: that of the last state, and nothing else."""
        jumps = tuple(
            jax.tree.map(jnp.zeros_like, table.jump) if moved else None
            for table, moved in zip(self.tables, self.moved, strict=True)
        )
        model, save = jax.tree.map(jnp.zeros_like, (self.model[0], self.save[0]))
        return y_bar, model, self._as_tables(jumps), save

    def _as_tables(self, jumps: tuple) -> tuple:
        """`jumps` as cotangents of the tables, whose other leaves have none."""
        return tuple(
            None
            if table is None
            else eqx.tree_at(
                lambda t: t.jump,
                jax.tree.map(lambda _: None, table),
                jump,
                is_leaf=lambda x: x is None,
            )
            if jump is not None
            else jax.tree.map(lambda _: None, table)
            for table, jump in zip(self.tables, jumps, strict=True)
        )

    def steps(self, kept: State, following: State, bars: tuple, lo: Any, hi: Any) -> tuple:
        """Pulls `bars` back through the steps `lo` to `hi`; `following` is the state after them."""

        def one(i: Array, carry: tuple) -> tuple:
            following, bars = carry
            n = hi - 1 - i
            bars = self._saved_after(n, following, bars)
            y = _at(kept, n - lo)
            return y, self._step(n, y, following, bars)

        return lax.fori_loop(0, hi - lo, one, (following, bars))

    def _saved_after(self, n: Array, following: State, bars: tuple) -> tuple:
        every = self.schedule.every

        def pull(bars: tuple) -> tuple:
            return self.saved(bars, self.grid[n + 1], following, (n + 1) // every)

        return pull(bars) if every == 1 else lax.cond((n + 1) % every == 0, pull, lambda b: b, bars)

    def saved(self, bars: tuple, t: Array, y: State, row: Any) -> tuple:
        """`bars` with what row `row` of the saved results contributes."""
        if not jax.tree.leaves(self.saved_bar):
            return bars
        y_bar, model_bar, tables_bar, save_bar = bars
        exact, rest = eqx.partition(y, eqx.is_inexact_array)

        def f(save: Any, exact: State) -> Any:
            out = eqx.combine(save, self.save[1])(t, eqx.combine(exact, rest))
            return eqx.filter(
                out, jax.tree.map(lambda b: b is not None, self.saved_bar, is_leaf=_none)
            )

        _, pull = jax.vjp(f, self.save[0], exact)
        more_save, more_y = pull(_at(self.saved_bar, row))
        return _plus(y_bar, more_y), model_bar, tables_bar, _plus(save_bar, more_save)

    def _step(self, n: Array, y: State, following: State, bars: tuple) -> tuple:
        y_bar, model_bar, tables_bar, save_bar = bars
        exact, rest = eqx.partition(y, eqx.is_inexact_array)
        dues = tuple(None if t is None else t.due(n + self.first) for t in self.tables)
        jumps = tuple(
            due.jump if due is not None and moved else None
            for due, moved in zip(dues, self.moved, strict=True)
        )

        def f(model: Model, exact: State, jumps: tuple) -> State:
            due = tuple(
                d if j is None else eqx.tree_at(lambda d: d.jump, d, j)
                for d, j in zip(dues, jumps, strict=True)
            )
            out = self.schedule.step(
                eqx.combine(model, self.model[1]),
                eqx.combine(exact, rest),
                self.grid[n],
                due,
                following.v,
            )
            return eqx.filter(out, eqx.is_inexact_array)

        _, pull = jax.vjp(f, self.model[0], exact, jumps)
        more_model, y_bar, more_jumps = pull(y_bar)
        tables_bar = tuple(
            eqx.tree_at(lambda b: b.jump, bar, table.gathered(bar.jump, n + self.first, more))
            if moved
            else bar
            for bar, table, more, moved in zip(
                tables_bar, self.tables, more_jumps, self.moved, strict=True
            )
        )
        return y_bar, _plus(model_bar, more_model), tables_bar, save_bar


def _none(x: Any) -> bool:
    return x is None


def _plus(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def _filled(bar: Any, like: State) -> State:
    """The cotangent `bar` of `like`, with zeros where it is `None`."""
    exact = eqx.filter(like, eqx.is_inexact_array)
    return jax.tree.map(lambda x, b: jnp.zeros_like(x) if b is None else b, exact, bar)


def _empty(a: Any, rows: int) -> Array:
    return jnp.zeros((rows, *jnp.shape(a)), jnp.result_type(a))


def _buffer(state: State, rows: int) -> State:
    return jax.tree.map(lambda a: _empty(a, rows), state)


def _put(buffer: Array, value: Any, i: Any) -> Array:
    return lax.dynamic_update_index_in_dim(buffer, value, i, 0)


def _at(buffer: Any, i: Any) -> Any:
    return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, i, keepdims=False), buffer)
