"""Events of an input, sorted by the step that delivers them, or by time.

A step looks only at its own few events, so that a hundred thousand of them cost what one step's
share costs.
"""

from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.inputs import AbstractInput
from jaxdend.synapses.binned import Binned

Traces = Any  # the state of an input that events kick, a pytree of arrays (k,)

_BATCH = 16  # events of a queue delivered at once; more at the same instant take further rounds


class Due(eqx.Module):
    """The events that one step delivers, padded with jumps of 0."""

    synapse: Array  # (width,) int, which of the k synapses
    jump: Traces  # (width,) each, what is added to the traces

    def deliver(self, traces: Traces) -> Traces:
        """The traces `(k,)` of the synapses after these events."""
        return jax.tree.map(lambda z, dz: z.at[self.synapse].add(dz), traces, self.jump)


class EventTable(eqx.Module):
    """The jumps that the state of an input makes, in order of time."""

    step: Array  # (M + width,) int, the step that delivers each event; past the last step if never
    synapse: Array  # (M + width,) int, which of the k synapses
    jump: Traces  # (M + width,) each, what is added to the traces
    first: Array  # (steps + 1,) int, where each step's events begin
    width: int = eqx.field(static=True)  # most events in one step

    @classmethod
    def of(
        cls,
        group: AbstractInput,
        grid: Array,
        h: Array,
        rounded: bool,
        width: int | None,
    ) -> Self:
        """Sorts the events of `group`: step n delivers those in (t_n - h/2, t_n + h/2].

        `grid` holds the times `t_n` of the steps and that of the end, `(steps + 1,)` ms.
        `rounded`: as if at t_n, which is NEURON's rule; the gradient with respect to the time is
        that of the unrounded event. Otherwise the traces live at t_n + h/2 and an event enters
        with its exact lag to it.
        """
        times, weight = group.schedule()
        synapse = jnp.repeat(jnp.arange(len(times)), times.shape[-1])
        times, weight = times.reshape(-1), weight.reshape(-1)
        steps = len(grid) - 1
        step = delivery_step(jax.lax.stop_gradient(times), grid, h)
        live = (step >= 0) & (step < steps)
        due = grid[jnp.where(live, step, 0)] + h / 2
        if rounded:
            due = jax.lax.stop_gradient(times)
        lag = jnp.where(live, due - times, 0.0)
        lag = lag if rounded else jnp.maximum(lag, 0.0)
        jump = jax.tree.map(lambda z: jnp.where(live, weight * z, 0.0), group.impulse(lag))
        total = len(step)
        width = total if width is None else min(width, total)
        if width < total:
            order = jnp.argsort(step)
            step = _longer(step[order], width, steps)
            synapse = _longer(synapse[order], width, 0)
            jump = jax.tree.map(lambda z: _longer(z[order], width, 0.0), jump)
        first = jnp.searchsorted(step, jnp.arange(steps)) if width < total else jnp.zeros(1, int)
        return cls(step=step, synapse=synapse, jump=jump, first=first, width=width)

    def at_nodes(self, site: Array, nodes: int) -> Self:
        """The same events delivered to the nodes of the sites, `site (k,)`."""
        del nodes
        return eqx.tree_at(lambda table: table.synapse, self, site[self.synapse])

    def due(self, n: Array) -> Due:
        """The events that fall into step `n`."""
        step, synapse, jump = self.step, self.synapse, self.jump
        if self.width < len(step):
            step, synapse, jump = jax.tree.map(
                lambda a: jax.lax.dynamic_slice(a, (self.first[n],), (self.width,)),
                (step, synapse, jump),
            )
        return Due(synapse, jax.tree.map(lambda dz: jnp.where(step == n, dz, 0.0), jump))

    def gathered(self, total: Traces, n: Array, part: Traces) -> Traces:
        """`total`, of the shape of `jump`, with the cotangent `part` of `due(n).jump` added."""
        if self.width == len(self.step):
            return jax.tree.map(lambda z, dz: z + jnp.where(self.step == n, dz, 0.0), total, part)
        begin = self.first[n]
        due = jax.lax.dynamic_slice(self.step, (begin,), (self.width,)) == n

        def add(z: Array, dz: Array) -> Array:
            old = jax.lax.dynamic_slice(z, (begin,), (self.width,))
            return jax.lax.dynamic_update_slice(z, old + jnp.where(due, dz, 0.0), (begin,))

        return jax.tree.map(add, total, part)

    @staticmethod
    def before(group: AbstractInput, start: Array, h: Array, rounded: bool) -> Traces:
        """Traces left by events from before the first step, as that step will use them."""
        times, weight = group.schedule()
        past = jax.lax.stop_gradient(times) <= first_moment(start, h)
        now = start if rounded else start + h / 2
        ago = jnp.where(past, now - jnp.where(past, times, 0.0), 0.0)
        return _summed(group.impulse(ago), weight, past)


class DueRow(eqx.Module):
    """What one step delivers to every synapse, or every node."""

    jump: Traces  # (k,) or (nodes,) each, what is added to the traces

    def deliver(self, traces: Traces) -> Traces:
        """`traces`, of the shape of `jump`, after these events."""
        return jax.tree.map(jnp.add, traces, self.jump)


class BinTable(eqx.Module):
    """The events of a group with `Binned` counts: some steps deliver a row of them, others none."""

    counts: Array  # (bins, k) events
    jump: Traces  # (k,) each, what an event adds to the traces of its synapse
    first: Array  # () int, the step that delivers the first row
    every: Array  # () int, steps in a bin
    node: Array | None = None  # (k,) int, to which node the events go, where not to the synapse
    nodes: int = eqx.field(default=0, static=True)

    @classmethod
    def of(cls, group: Any, train: Binned, grid: Array, h: Array, rounded: bool) -> Self:
        """The rows of `train` by step, as in `EventTable.of`."""
        k, weight = group.site.shape[0], group.weight
        since = (train.onset - grid[0]) / h
        first = jnp.ceil(since - 0.5 - 1e-6)  # the step within half of one, rounding aside
        lag = jnp.zeros_like(since) if rounded else jnp.maximum((first + 0.5 - since) * h, 0.0)
        impulse = group.impulse(jnp.broadcast_to(lag, (k,)))
        every = jnp.maximum(jnp.round(train.width / h), 1.0)
        return cls(
            counts=train.counts,
            jump=jax.tree.map(lambda z: weight * jnp.broadcast_to(z, (k,)), impulse),
            first=first.astype(int),
            every=every.astype(int),
        )

    def at_nodes(self, site: Array, nodes: int) -> "BinTable":
        """The same events delivered to the nodes of the synapses, `site (k,)`."""
        return BinTable(self.counts, self.jump, self.first, self.every, site, nodes)

    def due(self, n: Array) -> DueRow:
        """The events that fall into step `n`."""

        def row() -> Traces:
            number = self._row(n)
            jump = jax.tree.map(lambda z: number * z, self.jump)
            if self.node is None:
                return jump
            return jax.tree.map(lambda z: jnp.zeros(size, z.dtype).at[self.node].add(z), jump)

        size = self.counts.shape[1] if self.node is None else self.nodes
        none = jax.tree.map(lambda z: jnp.zeros(size, z.dtype), self.jump)
        return DueRow(jax.lax.cond(self._begins(n), row, lambda: none))

    def gathered(self, total: Traces, n: Array, part: Traces) -> Traces:
        """`total`, of the shape of `jump`, with the cotangent `part` of `due(n).jump` added."""
        number = jnp.where(self._begins(n), self._row(n), 0.0)
        own = part
        if self.node is not None:  # nodes past the last are nowhere
            own = jax.tree.map(lambda dz: dz.at[self.node].get(mode="fill", fill_value=0), part)
        return jax.tree.map(lambda z, dz: z + number * dz, total, own)

    @staticmethod
    def before(group: AbstractInput, start: Array, h: Array, rounded: bool) -> Traces:
        """Traces of zero, since `simulate` refuses bins from before its beginning."""
        del h, rounded
        zero = group.impulse(jnp.zeros(group.site.shape, start.dtype))
        return jax.tree.map(lambda z: jnp.zeros(group.site.shape, z.dtype), zero)

    def _begins(self, n: Array) -> Array:
        since = n - self.first
        end = len(self.counts) * self.every
        return (since >= 0) & (since < end) & (since % self.every == 0)

    def _row(self, n: Array) -> Array:
        """How many events each synapse has in the bin of step `n`."""
        at = jnp.clip((n - self.first) // self.every, 0, len(self.counts) - 1)
        row = jax.lax.dynamic_index_in_dim(self.counts, at, keepdims=False)
        return row.astype(jax.tree.leaves(self.jump)[0].dtype)


class Queue(eqx.Module):
    """The events of an input in order of time, and what each adds to its state."""

    times: Array  # (M + _BATCH,) ms, ascending, inf at the end
    synapse: Array  # (M + _BATCH,) int, which of the k sites
    jump: Traces  # (M + _BATCH,) each

    @classmethod
    def of(cls, group: AbstractInput) -> "Queue":
        """Sorts the events of a group of synapses by time."""
        times, weights = group.schedule()
        k, m = times.shape
        times = times.reshape(-1)
        order = jnp.argsort(jax.lax.stop_gradient(times))
        jump = jax.tree.map(lambda z: weights.reshape(-1) * z, group.impulse(jnp.zeros_like(times)))
        return cls(
            _longer(times[order], _BATCH, jnp.inf),
            _longer(jnp.repeat(jnp.arange(k), m)[order], _BATCH, 0),
            jax.tree.map(lambda z: _longer(z[order], _BATCH, 0.0), jump),
        )

    @staticmethod
    def before(group: AbstractInput, start: Array, h: Array, rounded: bool) -> Traces:
        """The state left by events up to and at `start`."""
        del h, rounded
        return traces_at(group, start)

    def behind(self, t: Array) -> Array:
        """The number of events at or before the time `t`."""
        return jnp.searchsorted(jax.lax.stop_gradient(self.times), t, side="right")

    def deliver(self, z: Traces, head: Array, due: Array, *, reverse: bool) -> Traces:
        """The state `z` after the events from the `head`-th to before the `due`-th.

        `reverse`: with derivatives in reverse mode, instead of forward mode.
        """
        deliver = _delivered if reverse else _deliver
        return deliver((z, self.jump), self.synapse, head, due)


def _deliver(given: tuple[Traces, Traces], synapse: Array, head: Array, due: Array) -> Traces:
    """The state in `given` after the jumps there of the events from `head` to before `due`."""
    z, jump = given

    def batch(carry: tuple[Traces, Array]) -> tuple[Traces, Array]:
        z, head = carry
        at = head + jnp.arange(_BATCH)
        live, at = at < due, jnp.minimum(at, len(synapse) - 1)
        z = jax.tree.map(
            lambda trace, jump: trace.at[synapse[at]].add(jnp.where(live, jump[at], 0.0)), z, jump
        )
        return z, head + _BATCH

    return jax.lax.while_loop(lambda carry: carry[1] < due, batch, (z, head))[0]


# linear: backwards, a jump gets what the state of its synapse gets
_delivered = eqx.filter_custom_vjp(_deliver)


@_delivered.def_fwd
def _delivered_fwd(perturbed: tuple, given: tuple, *which: Array) -> tuple[Traces, None]:
    del perturbed
    return _delivered(given, *which), None


@_delivered.def_bwd
def _delivered_bwd(
    residuals: None, bar: Traces, perturbed: tuple, given: tuple, synapse: Array, head: Array,
    due: Array,
) -> tuple[Traces, Traces]:  # fmt: skip
    del residuals, perturbed
    bar = jax.tree.map(lambda z, b: jnp.zeros_like(z) if b is None else b, given[0], bar)

    def batch(carry: tuple[Traces, Array]) -> tuple[Traces, Array]:
        total, head = carry
        at = head + jnp.arange(_BATCH)
        live, at = at < due, jnp.minimum(at, len(synapse) - 1)
        total = jax.tree.map(
            lambda a, z: a.at[at].add(jnp.where(live, z[synapse[at]], 0.0)), total, bar
        )
        return total, head + _BATCH

    start = jax.tree.map(jnp.zeros_like, given[1]), head
    return bar, jax.lax.while_loop(lambda carry: carry[1] < due, batch, start)[0]


def traces_at(group: AbstractInput, t: Array) -> Traces:
    """The state that all events up to and at `t` have left there, `(k,)` each."""
    times, weights = group.schedule()
    past = jax.lax.stop_gradient(times) <= t
    lag = jnp.where(past, t - jnp.where(past, times, 0.0), 0.0)
    return _summed(group.impulse(lag), weights, past)


def since_start(
    group: AbstractInput, x: Traces, start: Array, t: Array, h: Array, rounded: bool
) -> Traces:
    """The state at `t`, as the step from there will use it, of `x` at `start`, `(k,)` each.

    What the steps of `h` ms in between make of it: `x` decays, and their events are summed,
    `rounded` as if each came at the beginning of its step. `h` may be 0, for no steps.
    """
    times, weights = group.schedule()
    known = jax.lax.stop_gradient(times)
    due = (known > first_moment(start, h)) & (known <= first_moment(t, h))
    now = t if rounded else t + h / 2
    if rounded:
        size = jnp.where(h > 0, h, 1.0)
        step = start + h * jnp.ceil((known - start) / size - 0.5 - 1e-6)
        times = times + jnp.where(due & (h > 0), step - known, 0.0)
    lag = jnp.where(due, now - jnp.where(due, times, 0.0), 0.0)
    still = jnp.zeros_like(weights[:, 0])
    kept = group.advance(still, x, start, start, t - start)
    return jax.tree.map(jnp.add, kept, _summed(group.impulse(lag), weights, due))


def _summed(impulse: Traces, weights: Array, past: Array) -> Traces:
    return jax.tree.map(lambda z: jnp.sum(jnp.where(past, weights * z, 0.0), axis=1), impulse)


def _longer(x: Array, by: int, value: Any) -> Array:
    return jnp.concatenate([x, jnp.full(by, value, x.dtype)])


def binned(group: AbstractInput) -> Binned | None:
    """The events of `group` where they are counted in bins, else None."""
    times = getattr(group, "times", None)
    return times if isinstance(times, Binned) else None


def table_of(
    group: AbstractInput, grid: Array, h: Array, rounded: bool, width: int | None
) -> EventTable | BinTable:
    """The events of `group` by step; arguments as of `EventTable.of`."""
    train = binned(group)
    if train is not None:
        return BinTable.of(group, train, grid, h, rounded)
    return EventTable.of(group, grid, h, rounded, width)


def delivery_step(times: Array, grid: Array, h: Array) -> Array:
    """The step that delivers each event, -1 before the first and `steps` when never.

    Half way between two steps rounding decides, as in NEURON, whose times are those of `grid`. Only
    where runs join does such an event always belong to the first of them.
    """
    middle = jnp.append(grid[:-2] + h / 2, first_moment(grid[-1], h))
    return jnp.where(times <= first_moment(grid[0], h), -1, jnp.searchsorted(middle, times))


def first_moment(start: Array, h: Array) -> Array:
    """The time half a step before `start`, in ms: later events belong to a run from there."""
    return start - (h / 2 - 1e-6 * h)


def widest_step(times: np.ndarray, grid: np.ndarray, h: float, origin: float = 0.0) -> int:
    """Bound on the events in one step, rounded up to a power of two so that programs are shared.

    **Arguments:** `times` ms; `grid (steps + 1,)` ms, counted from `origin`; `h` ms.
    """
    with jax.ensure_compile_time_eval():  # as in the run itself, to the last bit
        grid_, times_ = jnp.asarray(grid, float), jnp.asarray(times, float) - float(origin)
        step = np.asarray(delivery_step(times_.reshape(-1), grid_, jnp.asarray(h, float)))
    inside = step[(step >= 0) & (step < len(grid) - 1)]
    if len(inside) == 0:
        return 1
    return 1 << int(np.bincount(inside).max() - 1).bit_length()
