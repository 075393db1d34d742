"""Which points a sweep visits: grids, random and Sobol' samples, tables, and products of them.

A design answers for any of its points without making the others, so that a billion points cost
nothing until they are run, and a point is the same whichever chunk or process asks for it.
"""

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxdend.files import read_arrays
from jaxdend.fitting import Parameter, ParameterSpace

Points = dict[str, np.ndarray]  # name -> (k,)
Labels = dict[str, Any]

_BITS = 32  # of a Sobol' number, and so of the points that a sequence has
_LISTED = 1000  # values of an axis that a header lists one by one
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Axis:
    """One quantity that varies: its values where they are listed, else a range."""

    name: str
    values: tuple | None = None  # numbers, or labels if `fixed`
    low: float = 0.0  # bounds, where there are no values
    high: float = 1.0
    scale: Literal["linear", "log"] = "linear"
    unit: str = ""
    fixed: bool = False  # needs a program of its own: varies slowest, and makes groups

    @cached_property
    def numbers(self) -> np.ndarray:
        """The values as an array: whole numbers stay whole."""
        return np.asarray(self.values)

    def spread(self, uniform: np.ndarray) -> np.ndarray:
        """Takes numbers in [0, 1) to the range of the axis."""
        if self.scale == "log":
            return self.low * np.exp(uniform * math.log(self.high / self.low))
        return self.low + (self.high - self.low) * uniform

    def header(self) -> dict[str, Any]:
        """The description of the axis that is stored as JSON."""
        out: dict[str, Any] = {"name": self.name, "unit": self.unit}
        if self.values is None:
            return out | {"low": self.low, "high": self.high, "scale": self.scale}
        if len(self.values) <= _LISTED:
            return out | {"values": list(self.values)}
        return out | {"count": len(self.values), "digest": _digest(self.numbers)}


@dataclass(frozen=True)
class _Grid:
    """Every combination of listed values; the last axis varies fastest."""

    axes: tuple[Axis, ...]
    kind = "grid"
    seed = None

    @property
    def n(self) -> int:
        return math.prod(len(axis.values or ()) for axis in self.axes)

    def points(self, index: np.ndarray) -> Points:
        out = {}
        for axis in reversed(self.axes):
            index, at = np.divmod(index, len(axis.numbers))
            out[axis.name] = axis.numbers[at]
        return out


@dataclass(frozen=True)
class _Table:
    """Listed points: the columns are axes of equal length."""

    axes: tuple[Axis, ...]
    kind = "table"
    seed = None

    @property
    def n(self) -> int:
        return len(self.axes[0].values or ())

    def points(self, index: np.ndarray) -> Points:
        return {axis.name: axis.numbers[index] for axis in self.axes}


@dataclass(frozen=True)
class _Random:
    """Independent draws; each is a hash of the seed, the axis and the number of the point.

    The hash is SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), which is made of such jumps.
    """

    axes: tuple[Axis, ...]
    n: int
    seed: int
    kind = "random"

    def points(self, index: np.ndarray) -> Points:
        out = {}
        for j, axis in enumerate(self.axes):
            stream = np.random.SeedSequence([self.seed, j]).generate_state(1, np.uint64)
            out[axis.name] = axis.spread(_hashed(stream + index.astype(np.uint64)))
        return out


@dataclass(frozen=True)
class _Sobol:
    """A scrambled Sobol' sequence (`scipy.stats.qmc.Sobol`), any part of it.

    Point i is the first point XOR a fixed number for every bit set in the Gray code of i; the
    points 1, 3, 7, 15, … give these numbers.
    """

    axes: tuple[Axis, ...]
    n: int
    seed: int
    kind = "sobol"

    @cached_property
    def _generators(self) -> tuple[np.ndarray, np.ndarray]:
        """The first point `(d,)`, and the number of each bit `(bits, d)`."""
        from scipy.stats import qmc

        engine = qmc.Sobol(len(self.axes), scramble=True, bits=_BITS, rng=self.seed)
        first = _whole(engine.random(1)[0])
        rows, at = [], 1
        for bit in range((self.n - 1).bit_length()):
            target = 2 ** (bit + 1) - 1
            if target > at:
                engine.fast_forward(target - at)
            rows.append(_whole(engine.random(1)[0]) ^ first)
            at = target + 1
        return first, np.array(rows, np.uint64).reshape(-1, len(self.axes))

    def points(self, index: np.ndarray) -> Points:
        first, rows = self._generators
        gray = index ^ (index >> 1)
        bits = np.broadcast_to(first, (len(index), len(first))).copy()
        for k, row in enumerate(rows):
            bits ^= np.where(((gray >> k) & 1).astype(bool)[:, None], row, np.uint64(0))
        uniform = bits * 2.0**-_BITS
        return {axis.name: axis.spread(uniform[:, j]) for j, axis in enumerate(self.axes)}


_Factor = _Grid | _Table | _Random | _Sobol


@dataclass(frozen=True)
class Design:
    """The points of a sweep, numbered from 0; a product of factors, of which the last is fastest.

    Make one with `grid`, `random`, `sobol`, `table` or `read_table`, and products with `*`:
    `grid({"morphology": files}) * sobol({...}, 4096)` runs 4096 points on every morphology. Text
    values, and axes declared `fixed`, need another program for each value: they vary slowest.
    """

    factors: tuple[_Factor, ...]
    fixed: tuple[Axis, ...] = field(default=())  # in the order in which they vary, slowest first

    def __post_init__(self) -> None:
        """Refuse names that are taken twice, and a design without points."""
        names = [axis.name for axis in self.axes]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"a design varies {sorted(twice)} twice; give every axis its own name")
        if self.n < 1:
            raise ValueError("a design needs at least one point")

    def __mul__(self, other: "Design") -> "Design":
        """Every point of this design with every point of the other, whose points vary faster."""
        if not isinstance(other, Design):
            return NotImplemented
        return Design(self.factors + other.factors, self.fixed + other.fixed)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The fixed axes, then the others."""
        return self.fixed + tuple(axis for part in self.factors for axis in part.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """What varies within a group: the keys of `points`."""
        return tuple(axis.name for part in self.factors for axis in part.axes)

    @property
    def n(self) -> int:
        """The number of points in the design."""
        return self._within * math.prod(len(axis.values or ()) for axis in self.fixed)

    @property
    def _within(self) -> int:
        """How many points a group has."""
        return math.prod(part.n for part in self.factors)

    @property
    def groups(self) -> list[tuple[Labels, int, int]]:
        """`(labels, start, stop)` of every set of fixed values: the points `start` to `stop - 1`.

        One group with no labels where nothing is fixed.
        """
        return list(self._groups)

    @cached_property
    def _groups(self) -> list[tuple[Labels, int, int]]:
        size = self._within
        names = [axis.name for axis in self.fixed]
        combinations = itertools.product(*(axis.values or () for axis in self.fixed))
        return [
            (dict(zip(names, values, strict=True)), k * size, (k + 1) * size)
            for k, values in enumerate(combinations)
        ]

    def points(self, indices: Any) -> Points:
        """The points of these numbers.

        **Arguments:** `indices (k,)`, whole numbers in `[0, n)`, in any order.

        **Returns:** name -> `(k,)`, without the fixed axes, for which see `groups`.

        **Raises:** `IndexError` for a number outside the design.
        """
        index = np.atleast_1d(np.asarray(indices))
        if index.dtype.kind not in "iu" and index.size:
            raise IndexError(f"points are numbered by whole numbers; got {index.dtype}")
        index = index.astype(np.int64)
        if index.size and (index.min() < 0 or index.max() >= self.n):
            raise IndexError(
                f"the design has points 0 to {self.n - 1}; got {_outside(index, self.n)}"
            )
        columns: Points = {}
        for part in reversed(self.factors):
            index, at = np.divmod(index, part.n)
            columns |= part.points(at)
        return {name: columns[name] for name in self.names}

    def labels(self, index: int) -> Labels:
        """The fixed values of the point of this number."""
        return dict(self._groups[index // self._within][0])

    def header(self) -> dict[str, Any]:
        """What identifies the design, for JSON: equal for equal points only."""
        some = np.unique(np.linspace(0, self._within - 1, 64).astype(np.int64))
        drawn = self.points(some)
        return {
            "points": self.n,
            "fixed": [axis.header() for axis in self.fixed],
            "factors": [
                {"kind": part.kind, "points": part.n, "axes": [axis.header() for axis in part.axes]}
                | ({} if part.seed is None else {"seed": part.seed})
                for part in self.factors
            ],
            "digest": _digest(*drawn.values()),
        }


def grid(
    axes: Mapping[str, Any], *, units: Mapping[str, str] | None = None, fixed: Sequence[str] = ()
) -> Design:
    """Every combination of the values of the axes; the last axis varies fastest.

    ```python
    grid({"HH.gnabar": np.geomspace(0.05, 0.2, 20), "cell": ["a.swc", "b.swc"]})
    ```

    **Arguments:** `axes`, name -> list or array of numbers (`np.linspace`, `np.geomspace`,
    `range`), or of texts; `units`, name -> unit; `fixed`, names of axes of numbers each of which
    needs a program of its own, such as the number of compartments. Texts always do.

    **Raises:** `ValueError` for an axis without values, or with values that are not numbers.
    """
    _check_axes("grid", axes, units, fixed)
    made = [_listed(name, values, units or {}, name in fixed) for name, values in axes.items()]
    varied = tuple(axis for axis in made if not axis.fixed)
    slow = tuple(axis for axis in made if axis.fixed)
    return Design((_Grid(varied),) if varied else (), slow)


def random(
    axes: ParameterSpace | Mapping[str, Parameter | tuple[float, float]],
    n: int,
    seed: int = 0,
) -> Design:
    """`n` independent points, uniform in the box of the axes, on the scale of each.

    **Arguments:** `axes`, a `ParameterSpace`, or name -> `Parameter(low, high, scale)` or
    `(low, high)`, which is linear; `n` points; `seed >= 0`.

    **Raises:** `ValueError` for bounds that make no range, or a count below 1.
    """
    return Design((_Random(_ranges("random", axes), *_counted("random", n, seed)),))


def sobol(
    axes: ParameterSpace | Mapping[str, Parameter | tuple[float, float]],
    n: int,
    seed: int = 0,
) -> Design:
    """`n` points of a scrambled Sobol' sequence: they fill the box more evenly than random ones.

    The arguments are those of `random`. Powers of two are balanced best.

    **Raises:** `ValueError` as for `random`, and for more than 2³² points, where it ends.
    """
    if isinstance(n, int | np.integer) and n > 2**_BITS:
        raise ValueError(f"sobol: the sequence ends after 2^{_BITS} points; got {n}")
    return Design((_Sobol(_ranges("sobol", axes), *_counted("sobol", n, seed)),))


def table(columns: Mapping[str, Any], *, units: Mapping[str, str] | None = None) -> Design:
    """A design of points that are listed one by one.

    **Arguments:** `columns`, name -> `(n,)` numbers; `units`, name -> unit.

    **Raises:** `ValueError` for columns of unequal length or without numbers.
    """
    _check_axes("table", columns, units)
    axes = tuple(_listed(name, values, units or {}, False) for name, values in columns.items())
    lengths = {axis.name: len(axis.values or ()) for axis in axes}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of a table must have one length; got {lengths}")
    if texts := [axis.name for axis in axes if axis.fixed]:
        raise ValueError(f"table: {texts} hold text; vary it by grid(...) * table(...)")
    return Design((_Table(axes),))


def read_table(file: str | Path) -> Design:
    """The points in a `.csv` file, with a line of names, or in the arrays of an `.npz` file.

    **Raises:** `ValueError` for another ending, no names, or entries that are not numbers;
    `SavedFileError` for an `.npz` file that is damaged.
    """
    file = Path(file)
    if file.suffix == ".npz":
        return table(read_arrays(file, "table of points"))
    if file.suffix != ".csv":
        raise ValueError(f"{file.name}: expected a table in .csv or .npz")
    rows = np.genfromtxt(
        file, delimiter=",", names=True, dtype=float, deletechars="", replace_space=" ",
        encoding="utf-8",
    )  # fmt: skip
    if rows.dtype.names is None or not rows.size:
        raise ValueError(f"{file.name}: expected a first line of names and lines of numbers")
    return table({name: np.atleast_1d(rows[name]) for name in rows.dtype.names})


def _check_axes(
    what: str, axes: Any, units: Mapping[str, str] | None = None, fixed: Sequence[str] = ()
) -> None:
    if not isinstance(axes, Mapping) or not axes:
        raise ValueError(f"{what} needs a dict name -> values with an entry; got {axes!r}")
    for name in (*(units or ()), *fixed):
        if name not in axes:
            raise ValueError(f"{what}: {name!r} is not among the axes {list(axes)}")


def _listed(name: str, values: Any, units: Mapping[str, str], fixed: bool) -> Axis:
    array = np.asarray(values)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iufU":
        raise ValueError(
            f"axis {name!r}: expected a list of numbers or of texts; "
            f"got {array.dtype} of shape {array.shape}"
        )
    texts = array.dtype.kind == "U"
    if not texts and not np.all(np.isfinite(array)):
        raise ValueError(f"axis {name!r} holds values that are not finite")
    if (texts or fixed) and len(np.unique(array)) < len(array):
        raise ValueError(f"axis {name!r} holds a value twice")
    return Axis(name, tuple(array.tolist()), unit=units.get(name, ""), fixed=texts or fixed)


def _ranges(what: str, axes: Any) -> tuple[Axis, ...]:
    if isinstance(axes, ParameterSpace):
        axes = {name: axes[name] for name in axes}
    _check_axes(what, axes)
    out = []
    for name, entry in axes.items():
        if not isinstance(entry, Parameter):
            if np.shape(entry) != (2,):
                raise ValueError(
                    f"{what}: axis {name!r} needs (low, high) or a Parameter; got {entry!r}"
                )
            try:
                entry = Parameter(*entry, scale="linear")
            except ValueError as error:
                raise ValueError(f"{what}: axis {name!r}: {error}") from None
        if entry.shape != ():
            raise ValueError(f"{what}: axis {name!r} is an array; give each entry its own axis")
        out.append(Axis(name, None, entry.low, entry.high, entry.scale, entry.unit))
    return tuple(out)


def _counted(what: str, n: int, seed: int) -> tuple[int, int]:
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"{what}: expected a whole number of points >= 1; got {n!r}")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"{what}: expected a seed >= 0; got {seed!r}")
    return int(n), int(seed)


def _hashed(counter: np.ndarray) -> np.ndarray:
    """The output of SplitMix64 at each `counter`, as numbers in [0, 1)."""
    z = (counter + np.uint64(1)) * np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def _whole(uniform: np.ndarray) -> np.ndarray:
    return np.round(uniform * 2.0**_BITS).astype(np.uint64)


def _digest(*arrays: np.ndarray) -> str:
    """A short hash of the numbers in `arrays`, rounded to where platforms agree."""
    digest = hashlib.sha256()
    for array in arrays:
        text = ",".join(f"{float(x):.12g}" for x in array)
        digest.update(text.encode() + b";")
    return digest.hexdigest()[:16]


def _outside(index: np.ndarray, n: int) -> int:
    return int(index[(index < 0) | (index >= n)][0])
