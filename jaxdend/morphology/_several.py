"""Several trees or cells in one SWC file: which samples are read, and where further trees join."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from jaxdend._errors import MorphologyError
from jaxdend.morphology._options import Options
from jaxdend.morphology._report import Notes
from jaxdend.morphology._rows import Rows

_SOMA = 1


@dataclass(frozen=True)
class Found:
    """One of several cells in a file, as errors and warnings list it."""

    lines: list[int]  # where its soma begins
    centre: np.ndarray  # (3,) µm
    content: str  # what belongs to it, in words


def chosen_cell(cells: list[Found], soma: int | None, notes: Notes) -> int:
    """The number of the cell to read; the first, with a doubt that lists all, if none is asked for.

    **Raises:** `MorphologyError` listing the cells if the one asked for is not among them.
    """
    listed = "; ".join(
        f"soma={i}: line {cell.lines[0]}, centre ({', '.join(f'{x:.4g}' for x in cell.centre)}) "
        f"µm, {cell.content}"
        for i, cell in enumerate(cells)
    )
    if soma is not None and soma >= len(cells):
        raise MorphologyError(
            f"{notes.source}: soma={soma} is asked for, and the file holds "
            f"{len(cells) or 'no'} soma{'' if len(cells) == 1 else 'ta'}"
            f"{': ' + listed if listed else ''}. They are numbered from 0."
        )
    if len(cells) > 1 and soma is None:
        lines = [cell.lines[0] for cell in cells]
        notes.doubt(
            f"{len(cells)} cells in one file, of which the first is read ({listed}).",
            "Choose one with soma=.",
            lines,
        )
    elif len(cells) > 1:
        notes.note(f"cell {soma} of {len(cells)} is read, as soma= says ({listed}).")
    return soma or 0


def main_tree(
    rows: Rows, kind: np.ndarray, xyzr: np.ndarray, parent: np.ndarray, options: Options
) -> tuple[np.ndarray, np.ndarray]:
    """`(n,)` bool, the samples to read, and `(n,)` their parents, -1 where a tree joins the soma.

    `xyzr (n, 4)` is in µm; parents come before their children.
    """
    roots = np.flatnonzero(parent < 0)
    everything = np.ones(len(kind), bool)
    if len(roots) == 1:
        if options.soma:
            cells = _cells(rows, kind, xyzr, np.zeros(len(kind), int), options)[0]
            chosen_cell(cells, options.soma, rows.notes)
        return everything, parent
    tree = np.where(parent < 0, np.arange(len(parent)), parent)
    while np.any(tree != tree[tree]):
        tree = tree[tree]
    tree = np.searchsorted(roots, tree)  # number of the tree of each sample
    if options.roots in ("first", "largest"):
        return _one_tree(rows, xyzr, parent, tree, options), parent
    cells, cell_of_tree = _cells(rows, kind, xyzr, tree, options)
    chosen = everything
    if len(cells) > 1 or options.soma is not None:
        chosen = cell_of_tree[tree] == chosen_cell(cells, options.soma, rows.notes)
    return chosen, _joined(rows, kind, xyzr, parent, chosen, options)


def _one_tree(
    rows: Rows, xyzr: np.ndarray, parent: np.ndarray, tree: np.ndarray, options: Options
) -> np.ndarray:
    step = np.linalg.norm(xyzr[:, :3] - xyzr[parent, :3], axis=1)
    cable = np.bincount(tree, np.where(parent < 0, 0.0, step))
    keep = 0 if options.roots == "first" else int(np.argmax(cable))
    left = np.flatnonzero((parent < 0) & (tree != keep))
    rows.notes.note(
        f"the {options.roots} tree is read, as roots= says; {len(left)} others with "
        f"{cable.sum() - cable[keep]:.1f} µm of cable are left out.",
        rows.lines(left),
    )
    return tree == keep


def _cells(
    rows: Rows, kind: np.ndarray, xyzr: np.ndarray, tree: np.ndarray, options: Options
) -> tuple[list[Found], np.ndarray]:
    """The cells, and the cell of each tree; a tree without a soma belongs to the nearest one."""
    starts = np.unique(tree, return_index=True)[1]
    cell_of_tree = np.full(len(starts), -1)
    centres, sizes, at = [], [], []
    for t in np.unique(tree[kind == _SOMA]).tolist():
        soma = np.flatnonzero((tree == t) & (kind == _SOMA))
        centre = xyzr[soma, :3].mean(axis=0)
        size = float((np.linalg.norm(xyzr[soma, :3] - centre, axis=1) + xyzr[soma, 3]).max())
        touching = [
            c
            for c, (other, reach) in enumerate(zip(centres, sizes, strict=True))
            if np.linalg.norm(other - centre) <= reach + size or options.roots == "soma"
        ]
        if touching:
            cell_of_tree[t] = touching[0]
            continue
        cell_of_tree[t] = len(centres)
        centres.append(centre)
        sizes.append(size)
        at.append(int(soma[0]))
    for t in np.flatnonzero(cell_of_tree < 0).tolist():
        far = [np.linalg.norm(centre - xyzr[starts[t], :3]) for centre in centres]
        cell_of_tree[t] = int(np.argmin(far)) if far else 0
    count = np.bincount(cell_of_tree[tree], minlength=len(centres))
    cells = [
        Found(rows.lines([row]), centre, f"{n} samples")
        for row, centre, n in zip(at, centres, count[: len(centres)].tolist(), strict=True)
    ]
    return cells, cell_of_tree


def _joined(
    rows: Rows,
    kind: np.ndarray,
    xyzr: np.ndarray,
    parent: np.ndarray,
    chosen: np.ndarray,
    options: Options,
) -> np.ndarray:
    """The parents, and a word on where the further trees of the chosen cell join it."""
    mine = np.flatnonzero((parent < 0) & chosen)
    main, further = int(mine[0]), mine[1:]
    if not len(further):
        return parent
    if options.roots == "nearest":
        parent = parent.copy()
        gaps = []
        for root in further.tolist():
            before = np.flatnonzero(chosen[:root])
            gap, row = KDTree(xyzr[before, :3]).query(xyzr[root, :3])
            parent[root] = before[row]
            gaps.append(gap)
        text = f"{len(further)} further trees join the nearest sample, up to {max(gaps):.1f} µm off"
        rows.notes.note(f"{text}, as roots= says.", rows.lines(further))
        return parent
    far = np.linalg.norm(xyzr[further, :3] - xyzr[main, :3], axis=1).max()
    where = "the middle of the soma" if kind[main] == _SOMA else "the end of the root's section"
    text = (
        f"{len(further)} further root{'s' if len(further) > 1 else ''}, up to {far:.1f} µm from "
        f"the first; as in NEURON what hangs there joins {where}"
    )
    if options.roots == "soma":
        rows.notes.note(f"{text}.", rows.lines(further))
        return parent
    rows.notes.doubt(
        f"{text}{'' if kind[main] == _SOMA else ' by a cable from the root that is made up'}.",
        "Give them parents in column 7, or read it with roots='nearest' (join what is nearest), "
        "'largest' or 'first' (leave the others out), or 'soma' (as now, without this warning).",
        rows.lines(further),
    )
    return parent
