"""Bounded parameters by name, and the unconstrained vector an optimiser walks in."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxdend._subset import is_concrete
from jaxdend.units import check_unit

_EDGE = 1e-6  # a value nearer to a bound than this fraction of its range is moved to there


@dataclass(frozen=True)
class Parameter:
    """A quantity of a fit, with its bounds, unit and shape.

    **Arguments:** `low < high`, both finite, in the parameter's own unit; `scale`, `"log"` (needs
    `low > 0`) or `"linear"`: in which measure the range is walked and sampled; `unit`, a label
    for tables; `shape`, `()` for one number or the shape of an array with common bounds.

    **Raises:** `ValueError` for bounds, a scale or a shape that make no range, and for a unit that
    is not known.
    """

    low: float  # lower bound, in `unit`
    high: float  # upper bound, in `unit`
    scale: Literal["log", "linear"] = "log"
    unit: str = ""
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Reject what is not a range; store plain floats and a tuple, which hash."""
        try:
            low, high = float(self.low), float(self.high)
            shape = tuple(int(k) for k in np.atleast_1d(np.asarray(self.shape, dtype=int)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"a Parameter needs two numbers as bounds and integers as shape, "
                f"got low={self.low!r}, high={self.high!r}, shape={self.shape!r}"
            ) from error
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"bounds must be finite numbers, got low={low}, high={high}")
        if low >= high:
            raise ValueError(f"low must be less than high, got low={low}, high={high}")
        if self.scale not in ("log", "linear"):
            raise ValueError(f"scale must be 'log' or 'linear', got {self.scale!r}")
        if self.scale == "log" and low <= 0:
            raise ValueError(
                f"a log scale needs low > 0, got low={low}; raise it, or take scale='linear'"
            )
        if any(k < 1 for k in shape):
            raise ValueError(f"every length in shape must be at least 1, got {shape}")
        check_unit(self.unit, "Parameter")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        object.__setattr__(self, "shape", shape)

    @property
    def size(self) -> int:
        """The number of values that the parameter holds."""
        return math.prod(self.shape)


@jax.tree_util.register_static
class ParameterSpace:
    """Named, bounded parameters as a box, and its map from an unconstrained vector.

    The component with bounds a < b of a vector z is `a (b/a)^σ(z)` on a log scale and
    `a + (b - a) σ(z)` on a linear one, σ the logistic function: every vector is inside the box.
    Immutable, hashable and a leafless pytree, so it passes through `jax.jit` as structure. The
    vector holds the parameters in the order in which they were given, arrays flattened.

    ```python
    space = ParameterSpace({
        "soma_gna": Parameter(0.02, 0.6, unit="S/cm2"),
        "leak_e": Parameter(-90.0, -50.0, scale="linear", unit="mV"),
    })
    z = space.sample(0, 10)             # (10, 2)
    space.to_dict(z)["soma_gna"]        # (10,) S/cm2
    ```

    **Raises:** `ValueError` for an empty mapping or entries that are not a `Parameter`.
    """

    __slots__ = ("_box", "_items")
    _items: tuple[tuple[str, Parameter], ...]
    _box: tuple[np.ndarray, np.ndarray, np.ndarray]  # low, high, is-log, each (p,)

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        """Take a mapping name -> `Parameter`, at least one."""
        if not isinstance(parameters, Mapping) or not parameters:
            raise ValueError("a ParameterSpace needs a dict name -> Parameter with an entry")
        for name, entry in parameters.items():
            if not isinstance(name, str) or not isinstance(entry, Parameter):
                raise ValueError(f"expected str -> Parameter, got {name!r}: {entry!r}")
        self._items = tuple(parameters.items())
        self._box = (
            np.concatenate([np.full(p.size, p.low) for _, p in self._items]),
            np.concatenate([np.full(p.size, p.high) for _, p in self._items]),
            np.concatenate([np.full(p.size, p.scale == "log") for _, p in self._items]),
        )

    def __eq__(self, other: object) -> bool:
        """Whether names, bounds, scales and order are equal."""
        return isinstance(other, ParameterSpace) and self._items == other._items

    def __hash__(self) -> int:
        """Hashes the space by its content."""
        return hash(self._items)

    def __repr__(self) -> str:
        """The space as the code that makes it."""
        return f"ParameterSpace({dict(self._items)!r})"

    def __getitem__(self, name: str) -> Parameter:
        """The `Parameter` of that name."""
        self._check_known([name])
        return dict(self._items)[name]

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names, in the order of the vector."""
        return iter(self.names)

    def __len__(self) -> int:
        """The number of named parameters."""
        return len(self._items)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in vector order."""
        return tuple(name for name, _ in self._items)

    @property
    def size(self) -> int:
        """The length p of the vector."""
        return self._box[0].size

    @property
    def labels(self) -> tuple[str, ...]:
        """A label for each of the p components: `"g"`, or `"g[0]"`, `"g[1, 2]"` in an array."""
        return tuple(
            name + (str(list(index)) if p.shape else "")
            for name, p in self._items
            for index in np.ndindex(p.shape)
        )

    def to_dict(self, vector: Float[ArrayLike, "*batch p"]) -> dict[str, Array]:
        """The parameters at an unconstrained vector.

        **Arguments:** `vector (..., p)`, any real numbers.

        **Returns:** name -> `(..., *shape)`, inside the bounds, in the parameters' units.

        **Raises:** `ValueError` if the last axis is not `p` long.
        """
        z = _floating(vector)
        if z.ndim == 0 or z.shape[-1] != self.size:
            raise ValueError(
                f"expected a vector (..., {self.size}) for {self.size} components "
                f"({', '.join(self.labels[:6])}{', …' if self.size > 6 else ''}), "
                f"got shape {z.shape}"
            )
        low, high, is_log = self._box
        ratio = np.log(np.where(is_log, high, 1.0) / np.where(is_log, low, 1.0))
        unit = jax.nn.sigmoid(z)
        a, b, ratio = (jnp.broadcast_to(c, z.shape).astype(z.dtype) for c in (low, high, ratio))
        is_log = np.broadcast_to(is_log, z.shape)
        geometric = a * jnp.exp(unit * ratio)
        x = jnp.clip(jnp.where(is_log, geometric, a + (b - a) * unit), a, b)
        out, start = {}, 0
        for name, p in self._items:
            out[name] = x[..., start : start + p.size].reshape(z.shape[:-1] + p.shape)
            start += p.size
        return out

    def to_vector(self, values: Mapping[str, ArrayLike]) -> Float[Array, "*batch p"]:
        """The unconstrained vector of parameters: the inverse of `to_dict`.

        A value closer to a bound than a millionth of its range maps to that millionth, where the
        slope is small but alive; the true preimage of a bound is infinite.

        **Arguments:** name -> `(..., *shape)`, every name of the space, with common leading axes.

        **Returns:** `(..., p)`.

        **Raises:** `ValueError` for unknown or missing names (with the nearest name that exists),
        shapes that do not fit, and, where values are concrete, NaN or a value out of its bounds.
        """
        self._check_known(values)
        parts, batches = [], []
        for name, p in self._items:
            if name not in values:
                raise ValueError(f"parameter {name!r} is missing; the space needs all of {self}")
            value = _floating(values[name])
            split = value.ndim - len(p.shape)
            if split < 0 or value.shape[split:] != p.shape:
                raise ValueError(f"parameter {name!r} has shape {p.shape}, got {value.shape}")
            _check_inside(name, p, value)
            batches.append(value.shape[:split])
            parts.append(value.reshape(*value.shape[:split], p.size))
        try:
            batch = np.broadcast_shapes(*batches)
        except ValueError as error:
            shapes = dict(zip(self.names, batches, strict=True))
            raise ValueError(f"leading axes must agree, got {shapes}") from error
        x = jnp.concatenate([jnp.broadcast_to(v, (*batch, v.shape[-1])) for v in parts], axis=-1)
        low, high, is_log = (jnp.broadcast_to(c, x.shape) for c in self._box)
        low, high = low.astype(x.dtype), high.astype(x.dtype)
        one = jnp.ones_like(x)
        safe, a, b = (jnp.where(is_log, c, one) for c in (jnp.clip(x, low, high), low, high))
        geometric = jnp.log(safe / a) / jnp.where(is_log, jnp.log(b / a), one)
        unit = jnp.where(is_log, geometric, (x - low) / (high - low))
        unit = jnp.clip(unit, _EDGE, 1 - _EDGE)
        return jnp.log(unit) - jnp.log1p(-unit)

    def sample(self, key: ArrayLike, n: int) -> Float[Array, "n p"]:
        """`n` random vectors, uniform in the box: in the logarithm where the scale is log.

        **Arguments:** `key`, a JAX key or an integer seed; `n >= 1`.
        """
        if n < 1:
            raise ValueError(f"the number of samples must be at least 1, got {n}")
        key = jax.random.key(key) if isinstance(key, int | np.integer) else key
        unit = jax.random.uniform(key, (n, self.size), minval=_EDGE, maxval=1 - _EDGE)
        return jnp.log(unit) - jnp.log1p(-unit)

    def _check_known(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.names:
                near = difflib.get_close_matches(str(name), self.names, n=1, cutoff=0.4)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(
                    f"unknown parameter {name!r}; {hint}The space has {', '.join(self.names)}"
                )


def describe_space(space: ParameterSpace) -> list[dict[str, Any]]:
    """A parameter space as JSON has it."""
    return [
        {"name": name} | asdict(space[name]) | {"shape": list(space[name].shape)} for name in space
    ]


def read_space(entries: list[dict[str, Any]]) -> ParameterSpace:
    """The parameter space that `describe_space` described."""
    return ParameterSpace(
        {
            entry["name"]: Parameter(
                **{k: v for k, v in entry.items() if k not in ("name", "shape")},
                shape=tuple(entry["shape"]),
            )
            for entry in entries
        }
    )


def _floating(value: ArrayLike) -> Array:
    """An array of the value's own floating type, or of the default one for other numbers."""
    x = jnp.asarray(value)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def _check_inside(name: str, p: Parameter, value: Array) -> None:
    """Reject NaN and values out of bounds (beyond rounding), if the values are known."""
    if not is_concrete(value):
        return
    x = np.asarray(value, dtype=float)
    slack = 8 * float(jnp.finfo(value.dtype).eps)
    inside = (x >= p.low - slack * abs(p.low)) & (x <= p.high + slack * abs(p.high))
    if not inside.all():
        bad = x[~inside].flat[0]
        what = "is NaN" if np.isnan(bad) else f"is {bad:g} {p.unit}".rstrip()
        raise ValueError(
            f"parameter {name!r} {what}, outside its bounds [{p.low:g}, {p.high:g}]"
            + (f" {p.unit}" if p.unit else "")
        )
