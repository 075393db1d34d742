"""Short-term plasticity: what fraction of a synapse's resources each event releases."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxdend._types import as_leaf, as_row


def tsodyks_markram(
    times: ArrayLike, u: ArrayLike, tau_rec: ArrayLike, tau_facil: ArrayLike
) -> Array:
    """The fraction of resources that each event releases, with depression and facilitation.

    An event raises the use `y` and releases the fraction `y r` of the recovered resources `r`:
    `y += u (1 - y)`, release `y r`, `r -= y r`; in between `y' = -y / tau_facil` and
    `r' = (1 - r) / tau_rec`, from `y = 0`, `r = 1`. The first event of a train releases `u`.

    ```python
    AMPA(site, weight[:, None] * tsodyks_markram(times, 0.5, 800.0, 0.0), times)
    ```

    **Arguments:** `times (m,)` or `(k, m)` ms, in any order, padded with inf; `u` (0 to 1),
    `tau_rec` and `tau_facil` in ms, scalars or `(k,)`. A time constant of 0 switches depression, or
    facilitation, off. Events at the same time act one after the other.
    **Returns:** `(k, m)` fractions in the order of `times`, 0 at padding; `(1, m)` if nothing
    has a `k`. Differentiable in all arguments.
    **Raises:** `ValueError` for shapes that do not match.
    Source: Tsodyks, Uziel & Markram 2000, J Neurosci 20:RC50, eqs. 1-2 (in the limit of fast
    inactivation); Fuhrmann et al. 2002, J Neurophysiol 87:140.
    """
    times = jnp.atleast_2d(as_row(times))
    parts = [jnp.atleast_1d(as_leaf(p)) for p in (u, tau_rec, tau_facil)]
    try:
        (k,) = jnp.broadcast_shapes(times.shape[:1], *(p.shape for p in parts))
    except ValueError:
        raise ValueError(
            "tsodyks_markram: expected times (m,) or (k, m) and u, tau_rec, tau_facil scalars or "
            f"(k,); got {times.shape} and {', '.join(str(p.shape) for p in parts)}."
        ) from None
    times = jnp.broadcast_to(times, (k, times.shape[1]))
    use, rec, facil = (jnp.broadcast_to(p, (k,)) for p in parts)

    order = jnp.argsort(times, axis=1)
    ascending = jnp.take_along_axis(times, order, axis=1)
    real = jnp.isfinite(ascending)
    ascending = jnp.where(real, ascending, 0.0)
    gaps = jnp.diff(ascending, axis=1, prepend=ascending[:, :1])
    gaps = jnp.where(real, gaps, 0.0)

    def event(carry: tuple[Array, Array], gap: Array) -> tuple[tuple[Array, Array], Array]:
        y, r = carry
        y = y * _left(gap, facil)
        y = y + use * (1.0 - y)
        r = 1.0 + (r - 1.0) * _left(gap, rec)
        return (y, r * (1.0 - y)), y * r

    start = jnp.zeros(k, use.dtype), jnp.ones(k, use.dtype)
    _, released = jax.lax.scan(event, start, gaps.T)
    released = jnp.where(real, released.T, 0.0)
    return jnp.take_along_axis(released, jnp.argsort(order, axis=1), axis=1)


def _left(gap: Array, tau: Array) -> Array:
    """`exp(-gap / tau)`, and 0 for `tau = 0`."""
    lasting = tau > 0
    return jnp.where(lasting, jnp.exp(-gap / jnp.where(lasting, tau, 1.0)), 0.0)
