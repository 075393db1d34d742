"""A set of compartments, static or as data: which rows of an `(n,)` array a mechanism works on."""

import dataclasses
import hashlib
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._jax import Tracer

T = TypeVar("T")
_RUNS = 6  # more contiguous runs than this are gathered


@jax.tree_util.register_static
class Subset:
    """Sorted indices into an axis, hashed by content so that equal masks share one program.

    Few contiguous runs are kept as slices: gathers and scatters then become plain copies.
    """

    __slots__ = ("_hash", "index", "runs")

    def __init__(self, index: np.ndarray):
        self.index = np.array(index, dtype=np.int32)
        self.index.setflags(write=False)
        breaks = np.flatnonzero(np.diff(self.index) != 1) + 1
        runs = np.split(self.index, breaks)
        few = 0 < len(self.index) and len(runs) <= _RUNS
        self.runs = tuple(slice(int(r[0]), int(r[-1]) + 1) for r in runs) if few else None
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
        """The entries of `x (n,)` at these compartments, `(k,)`; a scalar passes through."""
        if jnp.ndim(x) == 0 or self._all_of(x):
            return x
        if self.runs is None:
            return x[self.index]
        parts = [x[run] for run in self.runs]
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts)

    def add_to(self, x: Array, values: Array) -> Array:
        """`x (n,)` with `values (k,)` added at these compartments."""
        if self._all_of(x):
            return x + values
        if self.runs is None:
            return x.at[self.index].add(values)
        values = jnp.broadcast_to(values, (len(self),))
        for run, part in self._split(values):
            x = jax.lax.dynamic_update_slice(x, x[run] + part, (run.start,))
        return x

    def put(self, x: Array, values: Array) -> Array:
        """`x (n,)` with `values` (scalar or `(k,)`) written at these compartments."""
        if self._all_of(x):
            return jnp.broadcast_to(values, x.shape)
        if self.runs is None:
            return x.at[self.index].set(values)
        values = jnp.broadcast_to(values, (len(self),)).astype(x.dtype)
        for run, part in self._split(values):
            x = jax.lax.dynamic_update_slice(x, part, (run.start,))
        return x

    def spread(self, values: Array, n: int) -> Array:
        """Spreads `values` (scalar or `(k,)`) to `(n,)`; what stands elsewhere is never used."""
        return self.put(jnp.zeros(n, jnp.result_type(values)), values)

    def union(self, other: "Subset | Mask") -> "Subset":
        """All compartments that are in this set, in `other` or in both."""
        return Subset(np.union1d(self.index, other.index))

    def mask(self, n: int) -> np.ndarray:
        """An array of bool `(n,)` that is true at these compartments."""
        return np.isin(np.arange(n), self.index)

    def _all_of(self, x: Array) -> bool:
        return self.runs == (slice(0, x.shape[0]),)

    def _split(self, values: Array) -> list[tuple[slice, Array]]:
        out, start = [], 0
        for run in self.runs or ():
            size = run.stop - run.start
            out.append((run, values[start : start + size]))
            start += size
        return out


def whole(x: T) -> T:
    """`x`, computed as a whole before anything is written into it or read from it by index.

    A processor then computes it in vectors; XLA would fuse it into loops over single entries. On
    an accelerator such fusions are welcome, and `x` is left alone.
    """
    return jax.lax.optimization_barrier(x) if on_cpu() else x


def on_cpu() -> bool:
    """Whether JAX's default device is a CPU, as far as known at tracing time."""
    device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    platform = jax.default_backend() if device is None else device
    return (platform if isinstance(platform, str) else platform.platform) == "cpu"


class Mask(eqx.Module):
    """A set of compartments as data: all of them are computed, and count where `inside`.

    In a stack of cells it takes the place of `Subset`, whose methods it has.
    """

    inside: Array  # (n,) bool

    def __len__(self) -> int:
        return self.inside.shape[-1]

    @property
    def index(self) -> np.ndarray:
        """The compartments that are computed, which are all `(n,)` of them."""
        return np.arange(len(self))

    def take(self, x: Array) -> Array:
        """`x`, `(n,)` or a scalar, unchanged, since all compartments are computed."""
        return x

    def add_to(self, x: Array, values: Array) -> Array:
        """`x (n,)` with `values (n,)` added where they count."""
        return x + jnp.where(self.inside, values, 0)

    def put(self, x: Array, values: Array) -> Array:
        """`x (n,)` with `values` (scalar or `(n,)`) written where they count."""
        return jnp.where(self.inside, values, x)

    def spread(self, values: Array, n: int) -> Array:
        """Spreads `values` (scalar or `(n,)`) to `(n,)`; outside they have to be harmless, too."""
        return jnp.broadcast_to(values, (n,))

    def union(self, other: "Subset | Mask") -> "Mask":
        """All compartments that are in this set, in `other` or in both."""
        return Mask(self.inside | other.mask(len(self)))

    def mask(self, n: int) -> Array:
        """An array of bool `(n,)` that is true at these compartments."""
        del n
        return self.inside


class HostData:
    """Host data that rides along in a pytree, compared and hashed by content.

    Arrays, also those in a dict or in a morphology, are kept as copies that nobody can write to:
    the hash holds.
    """

    __slots__ = ("_digest", "data")

    def __init__(self, **data: Any):
        self.data = data = {name: read_only(value) for name, value in data.items()}
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


def read_only(value: Any) -> Any:
    """`value` with copies of its arrays that nobody can write to.

    Also of those inside a dict or a dataclass, such as a `Morphology`.
    """
    if isinstance(value, dict):
        return {key: read_only(inner) for key, inner in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return dataclasses.replace(
            value, **{f.name: read_only(getattr(value, f.name)) for f in fields}
        )
    if not isinstance(value, np.ndarray) or (value.base is None and not value.flags.writeable):
        return value
    out = value.copy()
    out.setflags(write=False)
    return out


def is_concrete(*values: object) -> bool:
    """Whether no leaf of `values` is a tracer, so that its numbers can be looked at."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))
