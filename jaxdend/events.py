"""Events of a synapse group, sorted by the step that delivers them.

A step looks only at its own few events, so that a hundred thousand of them cost what one step's
share costs.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.synapses import AbstractSynapse

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
    ) -> "EventTable":
        """Sort the events of `group`: step n delivers those in (t_n - h/2, t_n + h/2].

        `grid` holds the times `t_n` of the steps and that of the end, `(steps + 1,)` ms.
        `rounded`: as if at t_n, which is NEURON's rule; the gradient with respect to the time is
        that of the unrounded event. Otherwise the traces live at t_n + h/2 and an event enters
        with its exact lag to it.
        """
        k = group.site.shape[0]
        times = jnp.broadcast_to(group.times, (k, group.times.shape[-1])).reshape(-1)
        weight = group.weight if group.weight.ndim == 2 else group.weight[:, None]
        weight = jnp.broadcast_to(weight, (k, group.times.shape[-1])).reshape(-1)
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

    def due(self, n: Array) -> "Due":
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
        k = group.site.shape[0]
        times = jnp.broadcast_to(group.times, (k, group.times.shape[-1]))
        weight = group.weight if group.weight.ndim == 2 else group.weight[:, None]
        past = jax.lax.stop_gradient(times) <= first_moment(start, h)
        now = start if rounded else start + h / 2
        ago = jnp.where(past, now - times, 0.0)
        return tuple(jnp.sum(jnp.where(past, weight * z, 0.0), axis=1) for z in group.impulse(ago))


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
