"""The samples of an SWC file, checked, mended where asked, and brought into NEURON's order."""

from dataclasses import dataclass

import numpy as np

from jaxdend.morphology._options import Options
from jaxdend.morphology._report import Lines, Notes
from jaxdend.morphology._rows import Rows
from jaxdend.morphology._several import main_tree
from jaxdend.morphology._source import Source
from jaxdend.morphology._zero import filled

SOMA = 1


@dataclass(frozen=True)
class Samples:
    """The samples of a file, parents before children, chains without a gap where possible."""

    id: np.ndarray  # (n,) int as in the file
    kind: np.ndarray  # (n,) int SWC type
    points: np.ndarray  # (n, 4) x, y, z, diameter, µm
    parent: np.ndarray  # (n,) int index of the parent sample, -1 for a root
    line: Lines | None = None  # where each stands in its file


def read_samples(source: Source, options: Options, notes: Notes) -> Samples:
    """Parse an SWC file and check it.

    **Raises:** `MorphologyError` with file, line, what was expected and what to do: too few
    columns, a field that is not a number, radii <= 0 but at tips, duplicate ids, missing parents,
    cycles, no samples.
    """
    rows = Rows(source, notes, options.repair)
    _unique(rows)
    ids = rows.values[:, 0].astype(np.int64)
    parent = _parents(rows, ids)
    if not np.any(parent < 0):
        _cycle(rows, parent, np.zeros(0, int))
    parent, order = _ordered(rows, ids, parent)
    if np.any(np.diff(order) != 1):
        rows.keep(order)
    place = np.full(len(ids) + 1, -1)
    place[order] = np.arange(len(order))
    parent, ids = place[parent[order]], ids[order]
    xyzr = rows.values[:, 2:6] * np.array(options.scale or (1.0,) * 4)
    kind = options.mapped(rows.values[:, 1].astype(int), parent)
    if np.any(kind < 0):
        rows.fail("types must be >= 0", "Correct column 2.", np.flatnonzero(kind < 0))
    chosen, parent = main_tree(rows, kind, xyzr, parent, options)
    if not chosen.all():
        rows.keep(chosen)
        place = np.append(np.cumsum(chosen) - 1, -1)
        ids, kind, xyzr, parent = ids[chosen], kind[chosen], xyzr[chosen], parent[chosen]
        parent = place[parent]
    xyzr[:, 3] = _radii(rows, xyzr[:, 3], parent, options)
    points = xyzr.astype(np.float32)  # as NEURON reads them
    points[:, 3] *= 2
    return Samples(ids, kind, points, parent, Lines(lambda i: rows.lines([i])))


def _unique(rows: Rows) -> None:
    ids = rows.values[:, 0]
    order = np.argsort(ids, kind="stable")
    again = order[1:][np.diff(ids[order]) == 0]
    if len(again):
        if "duplicates" not in rows.repair:
            same = np.flatnonzero(ids == ids[again[0]])
            rows.fail(
                f"id {int(ids[again[0]])} is there twice",
                "Ids must be unique: renumber one of the samples and its children.",
                same,
                "duplicates",
            )
        text = "these samples have the id of an earlier one and are left out."
        rows.notes.note(text, rows.lines(np.sort(again)))
        first = np.ones(len(ids), bool)
        first[again] = False
        rows.keep(first)
    if rows.values[:, 0].min() < 0:
        rows.fail("ids must be >= 0", "Renumber the sample.", [int(np.argmin(rows.values[:, 0]))])


def _parents(rows: Rows, ids: np.ndarray) -> np.ndarray:
    """`(n,)` the row of each sample's parent, -1 for roots."""
    named = rows.values[:, 6].astype(np.int64)
    order = np.argsort(ids, kind="stable")
    at = np.minimum(np.searchsorted(ids[order], named), len(ids) - 1)
    found = ids[order[at]] == named
    parent = np.where(found & (named >= 0), order[at], -1)
    none = (named == 0) & ~found
    if none.any():
        rows.notes.note("parent 0, which is no sample, is read as that of a root.")
    missing = np.flatnonzero((named >= 0) & ~found & ~none)
    beyond = missing[named[missing] > ids.max()]
    if len(beyond) and "parents" not in rows.repair:
        rows.fail(
            f"parent {named[beyond[0]]} does not exist",
            "Column 7 must name the id of a sample in this file, or -1 for the root.",
            beyond,
            "parents",
        )
    if len(missing):
        rows.notes.made(
            "parents" in rows.repair,
            f"{_count(missing)} parents that do not exist, and are read as roots, as NEURON does.",
            "Samples may have been deleted: name other parents in column 7.",
            rows.lines(missing),
        )
    return parent


def _count(rows: np.ndarray) -> str:
    return f"{len(rows)} sample{'s name' if len(rows) > 1 else ' names'}"


def _cycle(rows: Rows, parent: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Refuse a cycle, or cut each of them loose at its first sample and return the parents."""
    parent = parent.copy()
    state = np.zeros(len(parent), int)
    state[reached] = 2
    cut = []
    for start in range(len(parent)):
        path, row = [], start
        while row >= 0 and state[row] == 0:
            state[row] = 1
            path.append(row)
            row = int(parent[row])
        if row >= 0 and state[row] == 1:
            loop = sorted(path[path.index(row) :])
            if "cycles" not in rows.repair:
                what = "its own parent" if len(loop) == 1 else f"a cycle of {len(loop)} samples"
                rows.fail(
                    f"the samples form no tree: {what}",
                    "Following parents must end at the root (parent -1); correct column 7 of one "
                    "of them.",
                    loop,
                    "cycles",
                )
            parent[loop[0]] = -1
            cut.append(loop[0])
        state[path] = 2
    rows.notes.note("these samples were on a cycle and are read as roots.", rows.lines(cut))
    return parent


def _ordered(rows: Rows, ids: np.ndarray, parent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parents, and samples by id where parents come first that way, as in NEURON, else depth first.

    Depth first, of several trees the one with the soma comes first.
    """
    by_id = np.argsort(ids, kind="stable")
    later = (parent < 0) | (ids[parent] < ids)
    if later.all():
        return parent, by_id
    somata = np.flatnonzero(rows.values[:, 1] == SOMA)
    order = _depth_first(by_id, parent, somata)
    if len(order) < len(ids):
        parent = _cycle(rows, parent, order)
        order = _depth_first(by_id, parent, somata)
    return parent, order


def _depth_first(by_id: np.ndarray, parent: np.ndarray, somata: np.ndarray) -> np.ndarray:
    children: list[list[int]] = [[] for _ in parent]
    above = parent.tolist()
    for i, p in enumerate(above):
        if p >= 0:
            children[p].append(i)
    roots = [i for i in by_id.tolist() if above[i] < 0]
    main, steps = int(somata[0]) if len(somata) else -1, 0
    while main >= 0 and above[main] >= 0 and steps <= len(above):
        main, steps = above[main], steps + 1
    roots.sort(key=lambda i: i != main)
    order, stack = [], roots[::-1]
    while stack:
        i = stack.pop()
        order.append(i)
        stack.extend(reversed(children[i]))
    return np.array(order, int)


def _radii(rows: Rows, radius: np.ndarray, parent: np.ndarray, options: Options) -> np.ndarray:
    """Radii > 0 (µm): zeros at tips become almost 0, as their limit; others need `radius=`."""
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~((radius > 0) & np.isfinite(radius)))
    if not len(bad):
        return radius
    if options.radius is None:
        children = np.bincount(parent[parent >= 0], minlength=len(parent))
        wrong = bad[(radius[bad] != 0) | (children[bad] > 0) | (parent[bad] < 0)]
        if len(wrong):
            rows.fail(
                "every radius must be > 0 µm",
                "Give these samples a radius (that of a neighbour, say) or remove them; or read "
                "it with radius= (µm, or 'neighbour').",
                wrong,
            )
    out, how = filled(radius, parent, options.radius)
    many = f"{len(bad)} samples have" if len(bad) > 1 else "a sample has"
    rows.notes.made(
        options.radius is not None,
        f"{many} no radius; {how}.",
        "Measure them, or give radius= (µm, or 'neighbour').",
        rows.lines(bad),
    )
    return out
