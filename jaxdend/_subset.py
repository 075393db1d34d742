"""A static set of compartments: which rows of an `(n,)` array a mechanism works on."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array


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
