"""A set of compartments, static or as data: which rows of an `(n,)` array a mechanism works on."""

import hashlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array


@jax.tree_util.register_static
class Subset:
    """Sorted indices into an axis, hashed by content so that equal masks share one program.

    A contiguous run is kept as a slice: gathers and scatters then become plain copies.
    """

    __slots__ = ("_hash", "index", "run")

    def __init__(self, index: np.ndarray):
        self.index = np.ascontiguousarray(index, dtype=np.int32)
        self.index.setflags(write=False)
        size = len(self.index)
        first = int(self.index[0]) if size else 0
        contiguous = size > 0 and bool(np.all(np.diff(self.index) == 1))
        self.run = slice(first, first + size) if contiguous else None
        self._hash = int.from_bytes(hashlib.sha1(self.index.tobytes()).digest()[:8], "little")

    def __len__(self) -> int:
        return len(self.index)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subset) and np.array_equal(self.index, other.index)

    def __repr__(self) -> str:
        return f"Subset({len(self)} compartments)"

    def take(self, x: Array) -> Array:
        """`x (n,)` -> `(k,)`; scalars pass through."""
        if jnp.ndim(x) == 0:
            return x
        return x[self.run] if self.run is not None else x[self.index]

    def add_to(self, x: Array, values: Array) -> Array:
        """`x (n,)` with `values (k,)` added at these compartments."""
        if self.run is not None and self.run == slice(0, x.shape[0]):
            return x + values
        return x.at[self.run if self.run is not None else self.index].add(values)

    def put(self, x: Array, values: Array) -> Array:
        """`x (n,)` with `values` (scalar or `(k,)`) written at these compartments."""
        if self.run is not None and self.run == slice(0, x.shape[0]):
            return jnp.broadcast_to(values, x.shape)
        return x.at[self.run if self.run is not None else self.index].set(values)

    def spread(self, values: Array, n: int) -> Array:
        """`values` (scalar or `(k,)`) as `(n,)`; what stands elsewhere is never used."""
        return self.put(jnp.zeros(n, jnp.result_type(values)), values)

    def union(self, other: "Subset | Mask") -> "Subset":
        """The compartments of either."""
        return Subset(np.union1d(self.index, other.index))

    def mask(self, n: int) -> np.ndarray:
        """`(n,)` bool, true at these compartments."""
        return np.isin(np.arange(n), self.index)


class Mask(eqx.Module):
    """A set of compartments as data: all of them are computed, and count where `inside`.

    In a stack of cells it takes the place of `Subset`, whose methods it has.
    """

    inside: Array  # (n,) bool

    def __len__(self) -> int:
        return self.inside.shape[-1]

    @property
    def index(self) -> np.ndarray:
        """`(n,)` the compartments that are computed: all."""
        return np.arange(len(self))

    def take(self, x: Array) -> Array:
        """`x (n,)`, or a scalar, as it is."""
        return x

    def add_to(self, x: Array, values: Array) -> Array:
        """`x (n,)` with `values (n,)` added where they count."""
        return x + jnp.where(self.inside, values, 0)

    def put(self, x: Array, values: Array) -> Array:
        """`x (n,)` with `values` (scalar or `(n,)`) written where they count."""
        return jnp.where(self.inside, values, x)

    def spread(self, values: Array, n: int) -> Array:
        """`values` (scalar or `(n,)`) as `(n,)`: outside they have to be harmless, too."""
        return jnp.broadcast_to(values, (n,))

    def union(self, other: "Subset | Mask") -> "Mask":
        """The compartments of either."""
        return Mask(self.inside | other.mask(len(self)))

    def mask(self, n: int) -> Array:
        """`(n,)` bool, true at these compartments."""
        del n
        return self.inside


class HostData:
    """Host data that rides along in a pytree, compared and hashed by content."""

    __slots__ = ("_digest", "data")

    def __init__(self, **data: Any):
        self.data = data
        h = hashlib.sha1()
        for name in sorted(data):
            value = data[name]
            h.update(name.encode())
            if isinstance(value, np.ndarray) and value.dtype != object:
                h.update(str(value.dtype).encode() + value.tobytes())
            elif isinstance(value, dict):
                for key in sorted(value):
                    h.update(str(key).encode() + np.asarray(value[key]).tobytes())
            else:
                h.update(repr(value).encode())
        self._digest = h.digest()

    def __getitem__(self, name: str) -> Any:
        if name not in self.data:
            raise ValueError(
                f"a stack of cells has no {name!r}, which differs from cell to cell. Ask the "
                "single cell; its compartment numbers hold in the stack as well."
            )
        return self.data[name]

    def __hash__(self) -> int:
        return int.from_bytes(self._digest[:8], "little")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostData) and self._digest == other._digest

    def __repr__(self) -> str:
        return f"HostData({', '.join(self.data)})"


def is_concrete(*values: object) -> bool:
    """Whether no leaf of `values` is a tracer, so that its numbers can be looked at."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))
