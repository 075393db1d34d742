"""What a user may ask of `read_morphology`, checked before any file is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

REPAIRS = {
    "lines": "lines of an SWC file that are no samples are left out",
    "duplicates": "of SWC samples with the same id the first stays",
    "parents": "SWC samples whose parent does not exist become roots",
    "cycles": "SWC samples on a cycle are cut loose and become roots",
    "soma": "a soma without length becomes a sphere",
}
ROOTS = ("soma", "nearest", "largest", "first")
UNITS = {"um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6}
TYPES = {"undefined": 0, "soma": 1, "axon": 2, "basal": 3, "apical": 4}
_SOMA, _BASAL = 1, 3
PARENT = -1_000_000  # in `types`: the type of the sample or section before


@dataclass(frozen=True)
class Options:
    """How a file is to be read, in the terms of the readers."""

    repair: frozenset[str] = frozenset()  # names of `REPAIRS`
    soma: int | None = None  # which cell of several
    radius: float | str | None = None  # µm, or "neighbour", where a file has none
    roots: str | None = None  # one of `ROOTS`; None as NEURON
    types: dict[int, int] = field(default_factory=dict)  # SWC type -> type, or `PARENT`
    scale: tuple[float, float, float, float] | None = None  # of x, y, z, radius; None: not said

    def mapped(self, kind: np.ndarray, parent: np.ndarray) -> np.ndarray:
        """Types `(n,)` by `types`; `parent (n,)` says which comes before, -1 none.

        Parents come first. Where the one before is soma, "parent" means the type that follows.
        """
        out = kind.copy()
        for old, new in self.types.items():
            out[kind == old] = new
        waiting = np.flatnonzero(out == PARENT)
        if not len(waiting):
            return out
        below, over = np.full(len(out), _BASAL), parent.tolist()
        for i, code in reversed(list(enumerate(out.tolist()))):
            follows = below[i] if code == PARENT else code
            if over[i] >= 0 and follows != _SOMA:
                below[over[i]] = follows
        for i in waiting.tolist():
            before = out[over[i]] if over[i] >= 0 else _SOMA
            out[i] = below[i] if before == _SOMA else before
        return out


def options(
    repair: Any = (),
    soma: Any = None,
    radius: Any = None,
    roots: Any = None,
    types: Any = None,
    units: Any = None,
) -> Options:
    """The arguments of `read_morphology`, checked.

    **Raises:** `ValueError` naming the argument, what it may be, and what came.
    """
    if soma is not None and (not _whole(soma) or soma < 0):
        raise ValueError(f"soma= is the number of a cell in the file, from 0; got {soma!r:.80}.")
    if roots is not None and not (isinstance(roots, str) and roots in ROOTS):
        raise ValueError(f"roots= is None or one of {', '.join(ROOTS)}; got {roots!r:.80}.")
    number = isinstance(radius, int | float | np.number) and not isinstance(radius, bool)
    sized = number and bool(np.isfinite(radius)) and float(radius) > 0
    if not (radius is None or sized or (isinstance(radius, str) and radius == "neighbour")):
        raise ValueError(
            f"radius= is a radius > 0 in µm or 'neighbour', for samples without one; got "
            f"{radius!r:.80}."
        )
    return Options(
        repair=_repairs(repair),
        soma=None if soma is None else int(soma),
        radius=radius if radius is None or isinstance(radius, str) else float(radius),
        roots=roots,
        types=_types(types),
        scale=_scale(units),
    )


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _repairs(repair: Any) -> frozenset[str]:
    if repair is True or (isinstance(repair, str) and repair == "all"):
        return frozenset(REPAIRS)
    if repair is None or repair is False:
        return frozenset()
    names = [repair] if isinstance(repair, str) else repair
    if not isinstance(names, Sequence | set | frozenset) or not set(names) <= set(REPAIRS):
        known = "; ".join(f"{name!r}: {what}" for name, what in REPAIRS.items())
        raise ValueError(f"repair= is 'all' or any of these: {known}; got {repair!r:.80}.")
    return frozenset(names)


def type_code(value: Any, what: str) -> int:
    """An SWC type given by number or by name.

    **Raises:** `ValueError` saying `what` wanted it.
    """
    if isinstance(value, str) and value in TYPES:
        return TYPES[value]
    if _whole(value) and int(value) >= 0:
        return int(value)
    raise ValueError(
        f"{what}: an SWC type is a whole number >= 0 or one of {', '.join(TYPES)}; got "
        f"{value!r:.80}."
    )


def _types(types: Any) -> dict[int, int]:
    if types is None:
        return {}
    if not isinstance(types, Mapping):
        raise ValueError(
            "types= says which SWC type to read as which, such as {5: 3, 6: 'parent'}; got "
            f"{types!r:.80}."
        )
    return {
        type_code(old, "types="): PARENT if new == "parent" else type_code(new, "types=")
        for old, new in types.items()
    }


def _alike(size: float) -> tuple[float, float, float, float]:
    return size, size, size, size


def _scale(units: Any) -> tuple[float, float, float, float] | None:
    if units is None:
        return None
    if isinstance(units, str) and units in UNITS:
        return _alike(UNITS[units])
    try:
        sizes = np.atleast_1d(np.asarray(units, float))
    except (TypeError, ValueError):
        sizes = np.zeros(0)
    if sizes.shape not in ((1,), (3,), (4,)) or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError(
            f"units= is one of {', '.join(UNITS)}, or µm per unit, or those of a voxel (x, y, z) "
            f"or (x, y, z, radius); got {units!r:.80}. With three the radius takes the mean of x "
            "and y."
        )
    if len(sizes) == 1:
        return _alike(float(sizes[0]))
    radius = sizes[3] if len(sizes) == 4 else sizes[:2].mean()
    return float(sizes[0]), float(sizes[1]), float(sizes[2]), float(radius)
