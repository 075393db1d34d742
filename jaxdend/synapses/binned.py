"""Event trains as a matrix of counts, one row a bin: for many synapses that fire often."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxdend._subset import is_concrete
from jaxdend._types import as_leaf, check_array


def _whole(counts: ArrayLike) -> Array:
    array = counts if isinstance(counts, jax.Array) else jnp.asarray(np.asarray(counts))
    if array.ndim != 2 or array.dtype.kind not in "biu" or 0 in array.shape:
        raise ValueError(
            "Binned: counts must be (bins, k) whole numbers or bools, events of each synapse in "
            f"each bin; got shape {array.shape} of {array.dtype}."
        )
    return array


class Binned(eqx.Module):
    """The events of `k` synapses as counts in bins: what a synapse group takes as its `times`.

    ```python
    AMPA(sites, 4e-4, Binned(x))  # x (bins, k), one row a millisecond
    ```

    The events of a bin come at its beginning, each with the weight of its synapse. A solver looks
    at a row of the matrix once a bin, so that a byte for each bin and synapse is all that is kept;
    `binned_events` gives the same events one by one. `width` must be a whole number of time steps.
    Bins before a simulation's beginning are taken to be in the `State` that it starts from.

    **Raises:** `ValueError` for counts that are not whole numbers or bools `(bins, k)`, negative
    ones, and a width that is not positive.
    """

    counts: Array = eqx.field(converter=_whole)  # (bins, k) events
    width: Array = eqx.field(default=1.0, converter=as_leaf)  # () ms
    onset: Array = eqx.field(default=0.0, converter=as_leaf)  # () ms, where the first bin begins

    def __check_init__(self) -> None:
        check_array("Binned.width", self.width, "positive", [()])
        check_array("Binned.onset", self.onset, "finite", [()])
        if is_concrete(self.counts) and np.asarray(self.counts).min() < 0:
            raise ValueError("Binned: counts must not be negative.")

    @property
    def shape(self) -> tuple[int, int]:
        """How many synapses and bins, in that order, as of event times."""
        return self.counts.shape[1], self.counts.shape[0]

    def events(self) -> tuple[Array, Array]:
        """When each bin's events come, `(bins,)` ms, and how many, `(k, bins)`."""
        times = self.onset + self.width * jnp.arange(self.counts.shape[0], dtype=self.width.dtype)
        return times, self.counts.T.astype(times.dtype)
