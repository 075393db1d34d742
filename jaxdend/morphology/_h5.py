"""H5 morphologies (Blue Brain's layout, versions 1 and 2), with the rules of ASC files."""

import io

import numpy as np

from jaxdend._errors import MorphologyError
from jaxdend.morphology._drawn import Contour, Drawn, DrawnSection
from jaxdend.morphology._options import Options
from jaxdend.morphology._report import Notes
from jaxdend.morphology._source import Source

_GLIA = 1  # value of the attribute cell_family


def read_h5(source: Source, asked: Options, notes: Notes) -> Drawn:
    """The soma and sections of an H5 file; rows of its structure stand in place of lines.

    **Raises:** `MorphologyError` saying the file, the row, what was expected and what to do.
    """
    try:
        import h5py
    except ImportError:
        raise MorphologyError(
            f"{source.path}: H5 morphologies need h5py: pip install h5py. Or convert it to SWC."
        ) from None
    try:
        with h5py.File(io.BytesIO(source.data), "r") as file:
            points, structure = _arrays(source, file)
            family = file["metadata"].attrs.get("cell_family") if "metadata" in file else None
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise _damaged(source, str(error)) from None
    _check(source, points, structure)
    if family is not None and np.ravel(family)[0] == _GLIA:
        notes.doubt("this is glia (cell_family = 1), not a neuron.", "Read a neuron's file.")
    ends = np.append(structure[1:, 0], len(points))
    outline, sections, place = [], [], np.full(len(structure) + 1, -1)
    soma: set[int] = set()  # rows; there may be several for one outline
    for row, (begin, kind, parent) in enumerate(structure.tolist()):
        own = points[begin : ends[row]]
        if kind == 1 and (parent < 0 or parent in soma):
            outline.append(own)
            soma.add(row)
            continue
        place[row] = len(sections)
        sections.append(DrawnSection(own, [], int(place[parent]), kind))
    odd = sorted({s.kind for s in sections} - {1, 2, 3, 4} - set(asked.types))
    if odd:
        notes.doubt(
            f"sections of the types {', '.join(map(str, odd))}, which are none of 2 axon, 3 basal "
            "and 4 apical.",
            f"Say what they are with types=, such as types={{{odd[0]}: 'basal'}}.",
        )
    contours = [Contour(np.concatenate(outline), [], solid=True)] if outline else []
    return Drawn(contours, sections, "soma (structure row of type 1)")


def _damaged(source: Source, reason: str) -> MorphologyError:
    said = " ".join(reason.split())[:200].strip(" .")
    return MorphologyError(
        f"{source.path}: expected a complete H5 morphology, got: {said}. The file may be damaged "
        "or cut off: copy or export it again."
    )


def _arrays(source: Source, file) -> tuple[np.ndarray, np.ndarray]:
    """Points `(n, 4)` and structure `(s, 3)`: first point, type, parent row."""
    if "points" in file and "structure" in file:
        points, structure = np.array(file["points"]), np.array(file["structure"])
    elif "neuron1/structure" in file:
        group = file["neuron1/structure"]
        stages = [s for s in ("repaired", "unraveled", "raw") if s in group]
        stages = [s for s in stages if f"neuron1/{s}/points" in file]
        if not stages or "sectiontype" not in group:
            raise _damaged(source, "a file of format 2 without points, structure or sectiontype")
        points = np.array(file[f"neuron1/{stages[0]}/points"])
        tree = np.array(group[stages[0]]).reshape(-1, 2)
        structure = np.column_stack([tree[:, 0], np.ravel(group["sectiontype"]), tree[:, 1]])
    else:
        known = ", ".join(map(str, file)) or "nothing"
        raise _damaged(source, f"no datasets 'points' and 'structure', but {known}")
    if points.ndim != 2 or points.shape[1] < 4 or structure.ndim != 2 or structure.shape[1] != 3:
        raise _damaged(source, f"points of shape {points.shape}, structure of {structure.shape}")
    return _decimals(points[:, :4]), structure.astype(np.int64)


def _decimals(points: np.ndarray) -> np.ndarray:
    """The decimals that were written, not those of single precision."""
    return points.astype(str).astype(float) if points.dtype == np.float32 else points.astype(float)


def _check(source: Source, points: np.ndarray, structure: np.ndarray) -> None:
    """Refuse rows that point at what is not there."""
    n, begin, parent = len(points), structure[:, 0], structure[:, 2]
    if not len(structure):
        raise _damaged(source, "no sections")
    wrong = {
        f"begins at a point outside 0..{n - 1}": (begin < 0) | (begin >= n),
        "begins before the row before it": np.append(False, np.diff(begin) < 0),
        "has a parent that does not come before it": parent >= np.arange(len(parent)),
        "has a type < 0": structure[:, 1] < 0,
    }
    for what, rows in wrong.items():
        if rows.any():
            i = int(np.argmax(rows))
            raise _damaged(source, f"row {i} of structure, {structure[i].tolist()}, {what}")
    if not np.isfinite(points).all():
        i = int(np.argmin(np.isfinite(points).all(axis=1)))
        raise _damaged(source, f"point {i}, {points[i].tolist()}, is not finite")
