"""`read_morphology`: SWC, Neurolucida ASC and H5 files, with NEURON's geometry."""

import dataclasses
import os
import re
from pathlib import Path

import morphio
import numpy as np

from jaxdend._errors import MorphologyError
from jaxdend.morphology._contour import contour_to_stack
from jaxdend.morphology._morphology import Branch, Morphology, assemble
from jaxdend.morphology._swc import cut_sections, read_samples

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(r":(\d+):error")


def read_morphology(path: str | os.PathLike[str]) -> Morphology:
    """Read a reconstruction: `.swc`, `.asc` (Neurolucida) or `.h5`.

    Sections, lengths, areas and joints are those of NEURON's Import3d: a one-point soma becomes a
    cylinder with L = d, a soma contour a stack of 21 points along its long axis, dendrites start at
    their own first point and join soma(0.5). Coordinates keep single precision, as in NEURON.
    ASC and H5 are read by MorphIO; for an H5 file, which NEURON cannot read, the rules are ASC's.

    **Raises:** `MorphologyError`, saying the file, the line where it has one, what was expected and
    what to do.
    """
    file = Path(path)
    readers = {".swc": _read_swc, ".asc": _read_morphio, ".h5": _read_morphio}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise MorphologyError(
            f"{file}: expected a name that ends in .swc, .asc or .h5, got "
            f"{file.suffix or 'no ending'!r}. Convert the reconstruction to SWC."
        )
    if not file.is_file():
        what = "this is a folder" if file.is_dir() else "there is no such file"
        raise MorphologyError(f"{file}: {what}. Relative paths start at {Path.cwd()}.")
    try:
        branches = reader(file)
    except OSError as error:
        raise MorphologyError(f"{file}: cannot be read: {error.strerror}.") from None
    single = [dataclasses.replace(b, points=np.float32(b.points)) for b in branches]
    return assemble(_without_empty(single), source=file.name)


def _read_swc(file: Path) -> list[Branch]:
    return cut_sections(read_samples(file))


def _read_morphio(file: Path) -> list[Branch]:
    try:
        morph = morphio.Morphology(file, warning_handler=morphio.WarningHandlerCollector())
    except morphio.MorphioError as error:
        raise MorphologyError(_explain(file, str(error))) from None
    branches = [_soma(file, morph)]
    for section in morph.sections:
        points = np.column_stack([section.points, section.diameters]).astype(float)
        if section.is_root:
            branches.append(Branch(points, 0, 0.5, int(section.type)))
        else:
            branches.append(Branch(points, 1 + section.parent.id, 1.0, int(section.type)))
    return branches


def _soma(file: Path, morph: morphio.Morphology) -> Branch:
    points = morph.soma.points.astype(str).astype(float)  # the decimals of the file, not float32's
    if len(points) < 3:
        raise MorphologyError(
            f"{file}: no soma: expected a contour of at least 3 points named CellBody, got "
            f"{len(points)}. Trace the soma, or convert the file to SWC with one sample of type 1."
        )
    try:
        return Branch(contour_to_stack(points), -1, 1.0, 1)
    except ValueError as error:
        raise MorphologyError(f"{file}: {error}. Trace the soma again.") from None


def _without_empty(branches: list[Branch]) -> list[Branch]:
    """Drop sections without length, as NEURON does; their children join where they joined."""
    out = list(branches)
    empty = [
        i > 0 and bool(np.all(b.points[:, :3] == b.points[0, :3])) for i, b in enumerate(branches)
    ]
    place = np.cumsum(~np.array(empty)) - 1
    for i, b in enumerate(out):
        parent, x = b.parent, b.parent_x
        while parent >= 0 and empty[parent]:
            parent, x = branches[parent].parent, branches[parent].parent_x
        out[i] = dataclasses.replace(b, parent=place[parent] if parent >= 0 else -1, parent_x=x)
    return [b for b, gone in zip(out, empty, strict=True) if not gone]


def _explain(file: Path, message: str) -> str:
    """MorphIO's message as one line of ours, with the line number where it gives one."""
    plain = _COLOUR.sub("", message)
    line = _LINE.search(plain)
    reason = " ".join(_LINE.sub("", plain.replace(str(file), "")).split()).strip(" :.")
    where = f"{file}, line {line.group(1)}" if line else str(file)
    if "soma is already defined" in reason:
        mend = "Keep one CellBody contour: the widest of a stack."
    elif file.suffix.lower() == ".asc":
        mend = "The file may be cut off: each '(' needs its ')'. Export it again."
    else:
        mend = "The file may be damaged or cut off: copy or export it again."
    wanted = f"expected a complete {file.suffix[1:].upper()} morphology"
    return f"{where}: {wanted}, got: {reason}. {mend}"
