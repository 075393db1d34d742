"""Events of a synapse group, sorted by the step that delivers them.

A step looks only at its own few events, so that a hundred thousand of them cost what one step's
share costs.
"""

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.synapses import AbstractSynapse, Binned

Traces = tuple[Array, ...]


class Due(eqx.Module):
    """The events that one step delivers, padded with jumps of 0."""

    synapse: Array  # (width,) int, which of the k synapses
    jump: Traces  # (width,) each, what is added to the traces

    def deliver(self, traces: Traces) -> Traces:
        """`traces (k,)` after these events."""
        return tuple(z.at[self.synapse].add(dz) for z, dz in zip(traces, self.jump, strict=True))


class EventTable(eqx.Module):
    """The jumps that a group's kinetic traces make, in order of time."""

    step: Array  # (M + width,) int, the step that delivers each event; past the last step if never
    synapse: Array  # (M + width,) int, which of the k synapses
    jump: Traces  # (M + width,) each, what is added to the traces
    first: Array  # (steps + 1,) int, where each step's events begin
    width: int = eqx.field(static=True)  # most events in one step

    @classmethod
    def of(
        cls,
        group: AbstractSynapse,
        grid: Array,
        h: Array,
        rounded: bool,
        width: int | None,
    ) -> Self:
        """Sort the events of `group`: step n delivers those in (t_n - h/2, t_n + h/2].

        `grid` holds the times `t_n` of the steps and that of the end, `(steps + 1,)` ms.
        `rounded`: as if at t_n, which is NEURON's rule; the gradient with respect to the time is
        that of the unrounded event. Otherwise the traces live at t_n + h/2 and an event enters
        with its exact lag to it.
        """
        k = group.site.shape[0]
        times, weight = (a.reshape(-1) for a in group.schedule())
        steps = len(grid) - 1
        step = delivery_step(jax.lax.stop_gradient(times), grid, h)
        live = (step >= 0) & (step < steps)
        due = grid[jnp.where(live, step, 0)] + h / 2
        if rounded:
            due = jax.lax.stop_gradient(times)
        lag = jnp.where(live, due - times, 0.0)
        lag = lag if rounded else jnp.maximum(lag, 0.0)
        jump = tuple(jnp.where(live, weight * z, 0.0) for z in group.impulse(lag))
        synapse = jnp.repeat(jnp.arange(k), group.times.shape[-1])
        total = len(step)
        width = total if width is None else min(width, total)
        if width < total:
            order = jnp.argsort(step)
            step, synapse = step[order], synapse[order]
            jump = tuple(z[order] for z in jump)
            step = jnp.concatenate([step, jnp.full(width, steps, step.dtype)])
            synapse = jnp.concatenate([synapse, jnp.zeros(width, synapse.dtype)])
            jump = tuple(jnp.concatenate([z, jnp.zeros(width, z.dtype)]) for z in jump)
        first = jnp.searchsorted(step, jnp.arange(steps)) if width < total else jnp.zeros(1, int)
        return cls(step=step, synapse=synapse, jump=jump, first=first, width=width)

    def at_nodes(self, site: Array, nodes: int) -> Self:
        """The same events delivered to the nodes of the synapses, `site (k,)`."""
        del nodes
        return eqx.tree_at(lambda table: table.synapse, self, site[self.synapse])

    def due(self, n: Array) -> Due:
        """The events of step `n`."""
        step, synapse, jump = self.step, self.synapse, self.jump
        if self.width < len(step):
            step, synapse, jump = jax.tree.map(
                lambda a: jax.lax.dynamic_slice(a, (self.first[n],), (self.width,)),
                (step, synapse, jump),
            )
        return Due(synapse, tuple(jnp.where(step == n, dz, 0.0) for dz in jump))

    def gathered(self, total: Traces, n: Array, part: Traces) -> Traces:
        """`total`, of the shape of `jump`, with the cotangent `part` of `due(n).jump` added."""
        if self.width == len(self.step):
            return tuple(
                z + jnp.where(self.step == n, dz, 0.0) for z, dz in zip(total, part, strict=True)
            )
        begin = self.first[n]
        due = jax.lax.dynamic_slice(self.step, (begin,), (self.width,)) == n
        return tuple(
            jax.lax.dynamic_update_slice(
                z,
                jax.lax.dynamic_slice(z, (begin,), (self.width,)) + jnp.where(due, dz, 0.0),
                (begin,),
            )
            for z, dz in zip(total, part, strict=True)
        )

    @staticmethod
    def before(group: AbstractSynapse, start: Array, h: Array, rounded: bool) -> Traces:
        """Traces left by events from before the first step, as that step will use them."""
        times, weight = group.schedule()
        past = jax.lax.stop_gradient(times) <= first_moment(start, h)
        now = start if rounded else start + h / 2
        ago = jnp.where(past, now - times, 0.0)
        return tuple(jnp.sum(jnp.where(past, weight * z, 0.0), axis=1) for z in group.impulse(ago))


class DueRow(eqx.Module):
    """What one step delivers to every synapse, or every node."""

    jump: Traces  # (k,) or (nodes,) each, what is added to the traces

    def deliver(self, traces: Traces) -> Traces:
        """`traces`, of the shape of `jump`, after these events."""
        return tuple(z + dz for z, dz in zip(traces, self.jump, strict=True))


class BinTable(eqx.Module):
    """The events of a group with `Binned` counts: some steps deliver a row of them, others none."""

    counts: Array  # (bins, k) events
    jump: Traces  # (k,) each, what an event adds to the traces of its synapse
    first: Array  # () int, the step that delivers the first row
    every: Array  # () int, steps in a bin
    node: Array | None = None  # (k,) int, to which node the events go, where not to the synapse
    nodes: int = eqx.field(default=0, static=True)

    @classmethod
    def of(
        cls, group: AbstractSynapse, train: Binned, grid: Array, h: Array, rounded: bool
    ) -> Self:
        """The rows of `train` by step, as in `EventTable.of`."""
        k = group.site.shape[0]
        since = (train.onset - grid[0]) / h
        first = jnp.ceil(since - 0.5 - 1e-6)  # the step within half of one, rounding aside
        lag = jnp.zeros_like(since) if rounded else jnp.maximum((first + 0.5 - since) * h, 0.0)
        impulse = group.impulse(jnp.broadcast_to(lag, (k,)))
        every = jnp.maximum(jnp.round(train.width / h), 1.0)
        return cls(
            counts=train.counts,
            jump=tuple(group.weight * jnp.broadcast_to(z, (k,)) for z in impulse),
            first=first.astype(int),
            every=every.astype(int),
        )

    def at_nodes(self, site: Array, nodes: int) -> "BinTable":
        """The same events delivered to the nodes of the synapses, `site (k,)`."""
        return BinTable(self.counts, self.jump, self.first, self.every, site, nodes)

    def due(self, n: Array) -> DueRow:
        """The events of step `n`."""

        def row() -> Traces:
            number = self._row(n)
            jump = tuple(number * z for z in self.jump)
            if self.node is None:
                return jump
            return tuple(jnp.zeros(self.nodes, z.dtype).at[self.node].add(z) for z in jump)

        size = len(self.jump[0]) if self.node is None else self.nodes
        none = tuple(jnp.zeros(size, z.dtype) for z in self.jump)
        return DueRow(jax.lax.cond(self._begins(n), row, lambda: none))

    def gathered(self, total: Traces, n: Array, part: Traces) -> Traces:
        """`total`, of the shape of `jump`, with the cotangent `part` of `due(n).jump` added."""
        number = jnp.where(self._begins(n), self._row(n), 0.0)
        own = part if self.node is None else tuple(dz[self.node] for dz in part)
        return tuple(z + number * dz for z, dz in zip(total, own, strict=True))

    @staticmethod
    def before(group: AbstractSynapse, start: Array, h: Array, rounded: bool) -> Traces:
        """Nothing: `simulate` refuses bins from before its beginning."""
        del h, rounded
        zero = group.impulse(jnp.zeros(group.site.shape, start.dtype))
        return tuple(jnp.zeros(group.site.shape, z.dtype) for z in zero)

    def _begins(self, n: Array) -> Array:
        since = n - self.first
        end = len(self.counts) * self.every
        return (since >= 0) & (since < end) & (since % self.every == 0)

    def _row(self, n: Array) -> Array:
        """How many events each synapse has in the bin of step `n`."""
        at = jnp.clip((n - self.first) // self.every, 0, len(self.counts) - 1)
        row = jax.lax.dynamic_index_in_dim(self.counts, at, keepdims=False)
        return row.astype(self.jump[0].dtype)


def table_of(
    group: AbstractSynapse, grid: Array, h: Array, rounded: bool, width: int | None
) -> EventTable | BinTable:
    """The events of `group` by step; arguments as of `EventTable.of`."""
    if isinstance(group.times, Binned):
        return BinTable.of(group, group.times, grid, h, rounded)
    return EventTable.of(group, grid, h, rounded, width)


def delivery_step(times: Array, grid: Array, h: Array) -> Array:
    """The step that delivers each event, -1 before the first and `steps` when never.

    Half way between two steps rounding decides, as in NEURON, whose times are those of `grid`. Only
    where runs join does such an event always belong to the first of them.
    """
    middle = jnp.append(grid[:-2] + h / 2, first_moment(grid[-1], h))
    return jnp.where(times <= first_moment(grid[0], h), -1, jnp.searchsorted(middle, times))


def first_moment(start: Array, h: Array) -> Array:
    """Half a step before `start`, ms: events later than this belong to a run from there."""
    return start - (h / 2 - 1e-6 * h)


def widest_step(times: np.ndarray, grid: np.ndarray, h: float) -> int:
    """Bound on the events in one step, rounded up to a power of two so that programs are shared."""
    with jax.ensure_compile_time_eval():  # as in the run itself, to the last bit
        grid_, times_ = jnp.asarray(grid, float), jnp.asarray(times, float)
        step = np.asarray(delivery_step(times_.reshape(-1), grid_, jnp.asarray(h, float)))
    inside = step[(step >= 0) & (step < len(grid) - 1)]
    if len(inside) == 0:
        return 1
    return 1 << int(np.bincount(inside).max() - 1).bit_length()
