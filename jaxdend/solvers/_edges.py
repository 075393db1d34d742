"""Where inputs change suddenly, and the events that fall there: an adaptive step ends at each.

All times are arrays, sorted inside the program, so that new numbers never recompile.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend.dynamics import Model
from jaxdend.stimuli import DualExponential, PulseTrain, Ramp, Sine, Step, VoltageClamp, Waveform
from jaxdend.synapses import AbstractKineticSynapse, AbstractSynapse, AlphaSynapse, Binned

_BATCH = 16  # events delivered at once; more at the same instant take further rounds


class Edges(eqx.Module):
    """The times at which some input, or its slope, jumps."""

    times: Array  # (m,) ms, ascending, the last is inf
    trains: tuple[PulseTrain, ...]  # whose edges are counted instead of listed

    @classmethod
    def of(cls, model: Model) -> "Edges":
        """Those of a model's inputs. A stimulus of another class may have none."""
        found = [jnp.full(1, jnp.inf, model.area.dtype)]
        for item in model.inputs:
            found += [jnp.ravel(times) for times in _listed(item)]
        trains = tuple(i for i in model.inputs if isinstance(i, PulseTrain))
        return cls(jnp.sort(jnp.concatenate(found)), trains)

    def after(self, t: Array) -> Array:
        """The first edge later than `t`, ms."""
        place = jnp.searchsorted(jax.lax.stop_gradient(self.times), t, side="right")
        first = self.times[jnp.minimum(place, len(self.times) - 1)]
        for train in self.trains:
            first = jnp.minimum(first, jnp.min(_next_pulse(train, t)))
        return first


def _listed(item: Any) -> list[Array]:
    """The edges of one input, as arrays of any shape."""
    if isinstance(item, Step | Ramp | Sine):
        return [item.onset, item.onset + item.duration]
    if isinstance(item, DualExponential):
        return [item.onset]
    if isinstance(item, Waveform | VoltageClamp):
        return [item.times]
    if isinstance(item, AbstractKineticSynapse):
        times = jnp.broadcast_to(item.times, (item.site.shape[0], item.times.shape[-1]))
        return [times, times + jnp.broadcast_to(item.pulse, item.site.shape)[:, None]]
    if isinstance(item, AlphaSynapse) and item.cutoff is not None:
        times = item.schedule()[0]
        lasts = jnp.broadcast_to(item.cutoff * item.tau, item.site.shape)
        return [times, times + lasts[:, None]]
    if isinstance(item, AbstractSynapse):
        return [item.times.events()[0] if isinstance(item.times, Binned) else item.times]
    return []


def _next_pulse(train: PulseTrain, t: Array) -> Array:
    """The next onset or end of a pulse after `t`, `(k,)` or `()` ms, inf after the last."""
    now = jax.lax.stop_gradient(t)
    now = now + 64 * jnp.finfo(now.dtype).eps * jnp.abs(now)  # never again the edge just met
    last = train.count - 1.0

    def first(start: Array) -> Array:
        passed = jnp.floor((now - start) / train.period) + 1.0
        number = jax.lax.stop_gradient(jnp.maximum(passed, 0.0))
        return jnp.where(number <= last, start + number * train.period, jnp.inf)

    return jnp.minimum(first(train.onset), first(train.onset + train.width))


class Queue(eqx.Module):
    """The events of a synapse group in order of time, and what each adds to its traces."""

    times: Array  # (M + _BATCH,) ms, ascending, inf at the end
    synapse: Array  # (M + _BATCH,) int, which of the k synapses
    jump: tuple[Array, ...]  # (M + _BATCH,) each

    @classmethod
    def of(cls, group: AbstractSynapse) -> "Queue":
        """Sort the events of `group`."""
        times, weights = group.schedule()
        k, m = times.shape
        times = times.reshape(-1)
        order = jnp.argsort(jax.lax.stop_gradient(times))
        jump = [weights.reshape(-1) * z for z in group.impulse(jnp.zeros_like(times))]
        synapse = jnp.repeat(jnp.arange(k), m)

        def laid(x: Array, fill: float) -> Array:
            return jnp.concatenate([x[order], jnp.full(_BATCH, fill, x.dtype)])

        return cls(laid(times, jnp.inf), laid(synapse, 0), tuple(laid(z, 0.0) for z in jump))

    def behind(self, t: Array) -> Array:
        """How many events lie at or before `t`."""
        return jnp.searchsorted(jax.lax.stop_gradient(self.times), t, side="right")

    def deliver(self, z: tuple, head: Array, t: Array) -> tuple[tuple, Array, Array]:
        """Traces after events up to `t`, from the `head`-th on; the new head; whether more wait."""
        due = self.behind(t)
        at = head + jnp.arange(_BATCH)
        live = at < due
        at = jnp.minimum(at, len(self.times) - 1)
        z = tuple(
            trace.at[self.synapse[at]].add(jnp.where(live, jump[at], 0.0))
            for trace, jump in zip(z, self.jump, strict=True)
        )
        head = jnp.minimum(head + _BATCH, due)
        return z, head, head < due


def traces_at(group: AbstractSynapse, t: Array) -> tuple[Array, ...]:
    """The traces that all events up to and at `t` have left there, `(k,)` each."""
    times, weights = group.schedule()
    past = jax.lax.stop_gradient(times) <= t
    lag = jnp.where(past, t - jnp.where(past, times, 0.0), 0.0)
    return tuple(jnp.sum(jnp.where(past, weights * z, 0.0), axis=1) for z in group.impulse(lag))
