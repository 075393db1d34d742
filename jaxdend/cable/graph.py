"""Compartments from a ready-made graph: parents, resistances and areas, no morphology."""

import numpy as np
from jaxtyping import ArrayLike

from jaxdend.cable.compartments import Compartments


def compartments_from_graph(
    *,
    parent: ArrayLike,
    axial_resistance: ArrayLike,
    area: ArrayLike,
    ra: ArrayLike,
    **described: ArrayLike | None,
) -> tuple[Compartments, tuple[str, ...]]:
    """Check a graph and lay it out as `Compartments`; also returns its section names.

    **Arguments:** as for `Cell.from_compartments`; `described` are its optional arrays.

    **Raises:** `ValueError` naming the array and the compartment at fault.
    """
    parent = np.asarray(parent)
    n = len(parent)
    joined = parent >= 0
    area = _numbers("area", area, n)
    resistance = _numbers("axial_resistance", np.where(joined, axial_resistance, 1.0), n)
    if np.any(area < 0):
        raise ValueError(f"area must be >= 0 µm²; compartment {np.argmin(area)} has {area.min()}.")
    if not np.any(area > 0):
        raise ValueError("area is 0 everywhere: a cell needs one compartment with membrane.")
    if np.any(resistance <= 0):
        raise ValueError(
            f"axial_resistance must be > 0 MΩ; compartment {np.argmin(resistance)} has "
            f"{resistance.min()}. Merge compartments that no resistance separates."
        )
    section, names = _sections(described.get("section"), n)
    length = _described(described, "length", n, np.nan)
    known = np.isfinite(length) & (length > 0)
    cylinder = np.where(known, area / (2 * np.pi * np.where(known, length, 1.0)), np.nan)
    xyz = described.get("xyz")
    comps = Compartments(
        parent=parent.astype(np.int64),
        area=area,
        radius=_described(described, "radius", n, cylinder),
        length=length,
        own=np.where(joined, resistance, 0.0) / np.asarray(ra, float),
        via=np.zeros(n),
        section=section,
        x=_described(described, "x", n, 0.5),
        kind=_described(described, "kind", n, 0).astype(int),
        distance=_described(described, "distance", n, np.nan),
        xyz=np.full((n, 3), np.nan) if xyz is None else np.asarray(xyz, float).reshape(n, 3),
    )
    return comps, names


def _numbers(name: str, value: ArrayLike, n: int) -> np.ndarray:
    out = np.asarray(value, float)
    if out.shape not in ((), (n,)):
        raise ValueError(
            f"{name} must be a number or have shape ({n},) as parent; got {out.shape}."
        )
    out = np.broadcast_to(out, (n,)).copy()
    if not np.isfinite(out).all():
        worst = int(np.argmin(np.isfinite(out)))
        raise ValueError(f"{name} must be finite; compartment {worst} has {out[worst]}.")
    return out


def _described(described: dict, name: str, n: int, default: ArrayLike) -> np.ndarray:
    value = described.get(name)
    if value is None:
        return np.broadcast_to(np.asarray(default, float), (n,)).copy()
    value = np.asarray(value, float)
    if value.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},) as parent has; got {value.shape}.")
    return value


def _sections(section: ArrayLike | None, n: int) -> tuple[np.ndarray, tuple[str, ...]]:
    if section is None:
        return np.zeros(n, int), ("section",)
    section = np.asarray(section)
    if section.shape != (n,):
        raise ValueError(f"section must have shape ({n},) as parent has; got {section.shape}.")
    if section.dtype.kind in "iu":
        return section.astype(int), tuple(f"section[{i}]" for i in range(int(section.max()) + 1))
    names, first, index = np.unique(section, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[index], tuple(str(names[i]) for i in order)
