"""`read_morphology`: SWC, Neurolucida ASC and H5 files, with NEURON's geometry."""

import dataclasses
import io
import os
from collections.abc import Mapping, Sequence

import numpy as np

from jaxdend.morphology._asc import read_asc
from jaxdend.morphology._branch import Branch, single, spherical, without_empty
from jaxdend.morphology._doubts import doubts
from jaxdend.morphology._drawn import to_branches
from jaxdend.morphology._exact import exact_branches
from jaxdend.morphology._h5 import read_h5
from jaxdend.morphology._morphology import Morphology, assemble
from jaxdend.morphology._options import Options, options
from jaxdend.morphology._report import Lines, Notes
from jaxdend.morphology._samples import SOMA, Samples, read_samples
from jaxdend.morphology._source import Source, open_source
from jaxdend.morphology._swc import astray, cut_sections


def read_morphology(
    path: str | os.PathLike[str] | io.IOBase,
    *,
    repair: str | Sequence[str] | bool = (),
    soma: int | None = None,
    radius: float | str | None = None,
    roots: str | None = None,
    types: Mapping[int | str, int | str] | None = None,
    units: str | float | Sequence[float] | None = None,
    strict: bool = False,
) -> Morphology:
    """Read a reconstruction: `.swc`, `.eswc`, `.asc` (Neurolucida) or `.h5`, or `.gz` of any.

    Sections, lengths, areas and joints are those of NEURON's Import3d: a one-point soma becomes a
    cylinder with L = d, a soma contour a stack of 21 points along its long axis, dendrites start at
    their own first point and join soma(0.5). Coordinates keep single precision, as in NEURON. For
    an H5 file, which NEURON cannot read, the rules are ASC's.

    What NEURON reads is read; where that is doubtful a `MorphologyWarning` says file, line and
    cure. `report` of the result lists all that was done.

    **Arguments:**

    - `path`, or an open file, text or binary; its name or its content says the format.
    - `repair`, mends beyond NEURON's, by name or "all": "lines", "duplicates", "parents", "cycles"
      and "soma". An error that one of them would mend says so.
    - `soma`, which cell to read of a file with several, from 0.
    - `radius`, where the file has none: a number (µm) or "neighbour".
    - `roots`, what becomes of further trees: "soma" (they join it, or the root, as in NEURON),
      "nearest" (the nearest point), "largest" or "first" (only that tree is read).
    - `types`, which SWC type to read as which, by number or name: `{5: "basal", 6: "parent"}`.
    - `units` of the coordinates and radii: "um", "nm", µm per unit, or a voxel `(x, y, z)`.
    - `strict`: refuse what would be warned of.

    **Raises:** `MorphologyError`, saying the file, the line where it has one, what was expected and
    what to do; `ValueError` for an argument that is none of these.
    """
    asked = options(repair, soma, radius, roots, types, units)
    source = open_source(path)
    notes = Notes(source.path)
    exact = exact_branches(source, notes, asked == Options())
    if exact is not None:
        return assemble(exact, source=source.name, report=notes.close(strict, 2))
    reader = {"swc": _read_swc, "asc": _read_drawn, "h5": _read_drawn}[source.format]
    branches, lines = reader(source, asked, notes)
    if len(branches[0].points) == 1:
        branches[0] = spherical(branches[0])
        notes.doubt(
            "the root is a single point, from which NEURON makes a cylinder with L = d.",
            "Remove the point, or give it the type of the branch that it belongs to (types=).",
            lines.of([0]),
        )
    branches, lines = _with_length(branches, lines, asked, notes)
    kept, dropped = without_empty([single(b) for b in branches])
    if dropped:
        notes.note(
            f"{len(dropped)} sections without length are left out, as in NEURON.",
            lines.of(dropped),
        )
        lines = lines.picked(np.delete(np.arange(len(branches)), dropped).tolist())
    doubts(kept, lines, source, asked, notes)
    return assemble(kept, source=source.name, report=notes.close(strict, 2))


def _read_swc(source: Source, asked: Options, notes: Notes) -> tuple[list[Branch], Lines]:
    samples = read_samples(source, asked, notes)
    line = samples.line or Lines(lambda _: [])
    branches = cut_sections(samples)
    stems = astray(samples)
    if len(stems):
        notes.note(
            "NEURON 9 runs the sections that begin here through samples that are not their "
            "children; here they end.",
            line.of(stems.tolist()),
        )
    first = branches[0]
    if samples.kind[0] != SOMA and first.samples is not None and len(set(first.samples)) == 1:
        branches[0] = dataclasses.replace(first, points=first.points[1:2], samples=samples.id[:1])
    return branches, Lines(lambda i: line.of(_first_row(samples, branches[i])))


def _first_row(samples: Samples, branch: Branch) -> list[int]:
    """The row of the first sample of a branch that is not its parent's."""
    ids = branch.samples
    own = None if ids is None else ids[min(1, len(ids) - 1)]
    return np.flatnonzero(samples.id == own)[:1].tolist()


def _read_drawn(source: Source, asked: Options, notes: Notes) -> tuple[list[Branch], Lines]:
    drawn = (read_asc if source.format == "asc" else read_h5)(source, asked, notes)
    return to_branches(drawn, asked, notes)


def _with_length(
    branches: list[Branch], lines: Lines, asked: Options, notes: Notes
) -> tuple[list[Branch], Lines]:
    """Leave out a root without length, or refuse a soma without, or make a sphere of it."""
    root = branches[0]
    if np.any(root.points[:, :3] != root.points[0, :3]):
        return branches, lines
    if root.kind != SOMA and len(branches) > 1:
        notes.note(
            "a root without length is left out; what hung on it begins there.", lines.of([0])
        )
        main = next(i for i, b in enumerate(branches) if b.parent == 0)
        order = [main, *(i for i in range(1, len(branches)) if i != main)]
        place = {0: 0} | {i: k for k, i in enumerate(order)}
        out = []
        for i in order:
            b = branches[i]
            x = 1.0 if i == main else 0.0 if b.parent == 0 else b.parent_x
            parent = -1 if i == main else place[b.parent]
            out.append(dataclasses.replace(b, parent=parent, parent_x=x))
        return out, lines.picked(order)
    if "soma" not in asked.repair:
        raise notes.fail(
            f"the root, {len(root.points)} samples at one place, has length 0 µm: a section needs "
            "two points that differ.",
            "Remove all of them but one, which makes it a sphere; or read it with repair='soma', "
            "which does so.",
            lines.of([0]),
        )
    notes.note("a soma without length is read as a sphere.", lines.of([0]))
    ids = None if root.samples is None else root.samples[:1]
    sphere = spherical(dataclasses.replace(root, points=root.points[:1], samples=ids))
    return [sphere, *branches[1:]], lines
