"""What the protocols share: one run, and the numbers that are read off a voltage trace."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend._subset import is_concrete
from jaxdend.cell import Cell
from jaxdend.dynamics import State
from jaxdend.inputs import AbstractInput
from jaxdend.simulate import simulate

Numbers = ArrayLike | Sequence[int] | Sequence[float]  # what `jnp.asarray` takes


class Response(NamedTuple):
    """A depolarisation at each of r sites; batches stand in front. NaN if the run blew up."""

    base: Array  # (r,) mV, the voltage at the onset
    peak: Array  # (r,) mV
    amplitude: Array  # (r,) mV, peak - base
    time: Array  # (r,) ms from the onset to the peak
    half_width: Array  # (r,) ms above (base + peak) / 2 around the peak; inf if it does not return


def settle(cell: Cell, duration: float, **options: Any) -> State:
    """The state after `duration` ms without inputs, to start protocols from: `v0=settle(...)`.

    For the true steady state of a cell that has one, see `jd.rest`.

    **Raises:** as `jd.simulate`.
    """
    return _settle(cell, duration, numbers(options))


@eqx.filter_jit
def _settle(cell: Cell, duration: float, options: dict) -> State:
    return simulate(cell, t1=duration, record=0, **options).final


def response(
    cell: Cell,
    inputs: AbstractInput | Sequence[AbstractInput],
    sites: Numbers,
    *,
    t1: float,
    onset: float = 0.0,
    **options: Any,
) -> Response:
    """What any inputs do at `sites`: peak and half-width of the depolarisation after `onset`.

    Differentiable, and `jax.vmap` runs over whatever the inputs are made from:
    `jax.vmap(lambda w: response(cell, AMPA(site, w, [5.0]), [site, 0], t1=50.0))(weights)`.

    **Arguments:** `sites (r,)`; `t1`, the end, and `onset`, where the base is read, in ms.
    **Raises:** `ValueError` for sites outside the cell, and as `jd.simulate`.
    """
    sites = jnp.atleast_1d(known_sites(cell, sites, "sites"))
    return _response(cell, inputs, sites, t1, onset, numbers(options))


@eqx.filter_jit
def _response(
    cell: Cell, inputs: Any, sites: Array, t1: float, onset: float, options: dict
) -> Response:
    traces = simulate(cell, inputs, t1=t1, record=sites, **options)
    return measured(traces.ts, traces.v, onset)  # type: ignore[arg-type]


def measured(ts: Array, v: Array, onset: ArrayLike) -> Response:
    """A `Response` from voltages `v (t, r)` mV at `ts (t,)` ms, looking only from `onset` on."""
    found = jax.vmap(_measured, (None, 1, None))(ts, v, jnp.asarray(onset))
    return unless_blown_up(found, v)


def _measured(ts: Array, v: Array, onset: Array) -> Response:
    first = jnp.argmax(ts >= onset - 1e-6)
    index = jnp.arange(len(ts))
    seen = jnp.where(index >= first, v, -jnp.inf)
    top = jnp.argmax(seen)
    base, peak = v[first], v[top]
    half = (base + peak) / 2
    below = v < half
    left = jnp.max(jnp.where(below & (index < top), index, first))
    right = jnp.min(jnp.where(below & (index > top), index, len(ts)))
    back = right < len(ts)
    right = jnp.minimum(right, len(ts) - 1)
    width = _crossing(ts, v, half, right - 1) - _crossing(ts, v, half, left)
    width = jnp.where(back, width, jnp.inf)
    return Response(base, peak, peak - base, ts[top] - ts[first], width)


def _crossing(ts: Array, v: Array, level: Array, i: Array) -> Array:
    """When `v` crosses `level` between the samples `i` and `i + 1`, ms."""
    rise = v[i + 1] - v[i]
    moves = rise != 0
    share = jnp.where(moves, (level - v[i]) / jnp.where(moves, rise, 1.0), 0.0)
    return ts[i] + share * (ts[i + 1] - ts[i])


def time_above(ts: Array, v: Array, level: ArrayLike) -> Array:
    """How long `v (t,)` mV lies above `level`, ms, linear between samples."""
    a, b = v[:-1] - level, v[1:] - level
    apart = jnp.abs(a) + jnp.abs(b)
    there = apart > 0
    share = (jnp.maximum(a, 0.0) + jnp.maximum(b, 0.0)) / jnp.where(there, apart, 1.0)
    return jnp.sum(jnp.diff(ts) * share)


def spike_count(v: Array, level: ArrayLike) -> Array:
    """How often `v (t,)` mV crosses `level` upwards."""
    return jnp.sum((v[:-1] < level) & (v[1:] >= level))


def known_sites(cell: Cell, sites: Numbers, name: str) -> Array:
    """Turns known `sites` into an array of compartment numbers.

    **Raises:** `ValueError` for known ones that are no whole numbers or outside the cell.
    """
    if is_concrete(sites):
        given = np.asarray(sites)
        if given.dtype.kind not in "iu" or np.any((given < 0) | (given >= cell.n)):
            raise ValueError(
                f"{name}: expected compartment numbers in 0..{cell.n - 1}, as cell.locate(...) "
                f"gives; got {sites!r}."
            )
    return jnp.asarray(sites, jnp.result_type(int))


def numbers(options: dict[str, Any]) -> dict[str, Any]:
    """Options of `simulate` with the voltage as an array, so that a new one does not recompile."""
    v0 = options.get("v0")
    if v0 is None or isinstance(v0, State):
        return options
    return options | {"v0": jnp.asarray(v0, float)}
