"""Event times as padded arrays: from lists, from Poisson processes, from binned counts."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray

from jaxdend._subset import is_concrete
from jaxdend._types import as_leaf, check_array


def events(trains: Sequence[Sequence[float]]) -> Array:
    """Event times of `k` synapses as one array `(k, m)` ms, padded with inf.

    **Arguments:** `trains`, for each synapse its event times in ms, in any order, or none.
    **Raises:** `ValueError` for trains that are no lists of finite numbers.
    """
    rows = []
    for i, train in enumerate(trains):
        try:
            row = np.asarray(train, dtype=float)
        except (TypeError, ValueError):
            row = np.asarray(np.nan)
        if row.ndim != 1 or not np.all(np.isfinite(row)):
            raise ValueError(
                f"events: expected a list of finite times in ms; train {i} is {train}."
            )
        rows.append(row)
    padded = np.full((len(rows), max((len(r) for r in rows), default=0) or 1), np.inf)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return as_leaf(padded)


def _product(a: Array, b: Array) -> np.ndarray | np.number:
    """The product of two known arrays, which stays known inside `jit`."""
    return np.asarray(a) * np.asarray(b)


def poisson_events(
    key: PRNGKeyArray,
    rate: ArrayLike,
    duration: ArrayLike,
    k: int,
    refractory: ArrayLike = 0.0,
    *,
    max_events: int | None = None,
) -> Array:
    """Independent Poisson trains of `k` synapses, with a dead time after every event.

    The trains are stationary from the start and have mean rate `rate` whatever the dead time, as
    intervals are `refractory` plus an exponential. The times are differentiable in `rate` and
    `refractory`.

    **Arguments:** `key`, a JAX key; `rate` Hz, `duration` ms and `refractory` ms, scalars or
    `(k,)`; `max_events`, the width of the result. By default it is six standard deviations above
    the expected count, and needs `rate` and `duration` to be known, not traced.
    **Returns:** ascending times `(k, max_events)` ms in `[0, duration)`, padded with inf.
    **Raises:** `ValueError` for shapes that do not match, negative numbers, `rate * refractory`
    not below 1000, and traced numbers without `max_events`.
    """
    rate, duration, refractory = as_leaf(rate), as_leaf(duration), as_leaf(refractory)
    named = {"rate": rate, "duration": duration, "refractory": refractory}
    for name, value in named.items():
        check_array(f"poisson_events: {name}", value, "nonnegative", [(), (k,)])
    if is_concrete(rate, refractory) and np.any(_product(rate, refractory) >= 1000.0):
        raise ValueError(
            "poisson_events: expected rate * refractory < 1000 (Hz ms), else no such train exists; "
            f"got up to {np.max(_product(rate, refractory)):g}."
        )
    if max_events is None:
        if not is_concrete(rate, duration):
            raise ValueError("poisson_events: give max_events, as rate or duration is traced.")
        most = float(np.max(_product(rate, duration), initial=0.0)) * 1e-3
        max_events = math.ceil(most + 6.0 * math.sqrt(most)) + 10
    rate, duration, dead = (jnp.broadcast_to(p, (k,))[:, None] for p in named.values())
    fires = rate > 0
    mean = 1000.0 / jnp.where(fires, rate, 1.0)
    where, gaps = jax.random.split(key)
    intervals = dead + (mean - dead) * jax.random.exponential(gaps, (k, max_events))
    # The first event seen from a random moment: uniform within the dead time, or after it.
    place = mean * jax.random.uniform(where, (k, 1))
    first = jnp.where(place < dead, place, intervals[:, :1])
    times = first + jnp.cumsum(intervals.at[:, 0].set(0.0), axis=1)
    return jnp.where(fires & (times < duration), times, jnp.inf)


def binned_events(
    counts: ArrayLike, width: ArrayLike, onset: ArrayLike = 0.0
) -> tuple[Array, Array]:
    """Binned spike trains as events: one at the start of every bin, weighted by its count.

    ```python
    times, number = binned_events(counts, width=1.0)
    AMPA(site, weight[:, None] * number, times)
    ```

    **Arguments:** `counts (k, bins)`, events per bin, whole or not; `width` and `onset` in ms,
    scalars.
    **Returns:** times `(1, bins)` ms, for all synapses, and multipliers of the weight `(k, bins)`.
    **Raises:** `ValueError` for counts that are not two-dimensional or negative, `width <= 0`.
    """
    counts, width, onset = as_leaf(counts), as_leaf(width), as_leaf(onset)
    shape = counts.shape if getattr(counts, "ndim", 0) == 2 else ("k", "bins")
    check_array("binned_events: counts", counts, "nonnegative", [shape])  # type: ignore[list-item]
    check_array("binned_events: width", width, "positive", [()])
    check_array("binned_events: onset", onset, "finite", [()])
    return (onset + width * jnp.arange(counts.shape[1], dtype=width.dtype))[None], counts
