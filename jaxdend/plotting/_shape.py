"""Where a cell's compartments lie: in space, or, without coordinates, in a dendrogram."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxdend.morphology import Morphology

SOMA = 1  # SWC type


@dataclass(frozen=True)
class Shape:
    """Straight pieces that draw a neuron, and a disc for every compartment of the soma."""

    lines: np.ndarray  # (s, 2, 3) µm, both ends of every piece
    diameter: np.ndarray  # (s,) µm
    owner: np.ndarray  # (s,) int, the compartment of each piece
    center: np.ndarray  # (d, 3) µm, discs
    radius: np.ndarray  # (d,) µm, of the sphere with the compartment's area
    inside: np.ndarray  # (d,) int, the compartment of each disc
    position: np.ndarray  # (n, 3) µm, the centre of every compartment
    kind: np.ndarray  # (n,) int SWC type


@dataclass(frozen=True)
class Layout:
    """A dendrogram: each compartment runs upwards from `start` to `end` at `slot`."""

    slot: np.ndarray  # (n,) position across, tips at whole numbers
    start: np.ndarray  # (n,) µm from the soma, or steps from the root
    end: np.ndarray  # (n,) same unit
    parent: np.ndarray  # (n,) int, with the soma drawn together into `root`
    root: int
    metric: bool  # False where the cell knows no path distances and `end` counts steps


def shape_of(neuron: Any) -> Shape | None:
    """The pieces of a cell or a morphology in space, or `None` where it has no coordinates.

    With a morphology, each compartment is the stretch of its section's points between the
    compartment's borders. Without one it is a line from its parent's centre to its own. Of a bare
    `Morphology` the sections take the place of compartments.
    """
    if isinstance(neuron, Morphology):
        return _of_morphology(neuron)
    xyz, kind = np.asarray(neuron.xyz, float), np.asarray(neuron.kind)
    if np.isnan(xyz).any():
        return None
    if neuron.morph is None:
        pieces = _joined_centers(neuron, xyz)
    else:
        section, x = np.asarray(neuron.section), np.asarray(neuron.x)
        full = np.flatnonzero(np.asarray(neuron.length) > 0)  # no end nodes
        full = full[np.lexsort((x[full], section[full]))]
        pieces = _clipped(neuron.morph, full, section[full])
    soma = np.flatnonzero(kind == SOMA)
    if len(soma) == 0:
        soma = np.flatnonzero(np.asarray(neuron.parent) < 0)
    return _shape(pieces, soma, np.asarray(neuron.area, float), xyz, kind)


def _of_morphology(morph: Morphology) -> Shape:
    """Sections in place of compartments."""
    index = np.arange(morph.n_sections)
    middle = np.stack([_attachment(morph, i, 0.5) for i in range(morph.n_sections)])
    soma = np.array([morph.soma])
    return _shape(_clipped(morph, index, index), soma, morph.areas, middle, morph.kind)


Pieces = tuple[np.ndarray, np.ndarray, np.ndarray]  # lines (s, 2, 3), diameter (s,), owner (s,)


def _shape(
    pieces: Pieces, soma: np.ndarray, area: np.ndarray, position: np.ndarray, kind: np.ndarray
) -> Shape:
    lines, diameter, owner = pieces
    keep = ~np.isin(owner, soma)
    sphere = np.sqrt(area[soma] / (4 * np.pi))
    return Shape(
        lines[keep], diameter[keep], owner[keep], position[soma], sphere, soma, position, kind
    )


def _joined_centers(cell: Any, xyz: np.ndarray) -> Pieces:
    parent = np.asarray(cell.parent)
    owner = np.flatnonzero(parent >= 0)
    lines = np.stack([xyz[parent[owner]], xyz[owner]], axis=1)
    diameter = 2 * np.asarray(cell.radius, float)[owner]
    return lines, np.where(np.isfinite(diameter), diameter, 1.0), owner


def _clipped(morph: Morphology, index: np.ndarray, section: np.ndarray) -> Pieces:
    """The real points of every section, cut where one compartment ends and the next begins.

    `index (m,)` are compartments in order along their `section (m,)`.
    """
    lines, diameter, owner = [], [], []
    arc = morph.arc
    for i in range(morph.n_sections):
        mine = index[section == i]
        if len(mine) == 0:
            continue
        part = slice(*morph.offsets[i : i + 2])
        borders = np.linspace(0.0, arc[part][-1], len(mine) + 1)
        at = np.union1d(arc[part], borders)
        chain = np.stack([np.interp(at, arc[part], c) for c in morph.points[part].T], axis=1)
        inside = np.searchsorted(borders, (at[1:] + at[:-1]) / 2) - 1
        lines.append(np.stack([chain[:-1, :3], chain[1:, :3]], axis=1))
        diameter.append((chain[1:, 3] + chain[:-1, 3]) / 2)
        owner.append(mine[np.clip(inside, 0, len(mine) - 1)])
        if morph.parent_section[i] >= 0:  # a joint without cable, for the eye
            joint = _attachment(morph, morph.parent_section[i], morph.parent_x[i])
            lines.append(np.stack([joint, chain[0, :3]])[None])
            diameter.append(chain[:1, 3])
            owner.append(mine[:1])
    return np.concatenate(lines), np.concatenate(diameter), np.concatenate(owner)


def _attachment(morph: Morphology, section: int, x: float) -> np.ndarray:
    """`(3,)` µm, the place at `x` along a section."""
    part = slice(*morph.offsets[section : section + 2])
    arc = morph.arc[part]
    return np.array([np.interp(x * arc[-1], arc, c) for c in morph.points[part, :3].T])


def layout_of(cell: Any) -> Layout:
    """The dendrogram of `cell`: regions side by side, short branches left of long ones."""
    kind = np.asarray(cell.kind)
    parent, root = _one_soma(np.asarray(cell.parent), kind)
    order, children = _walk(parent, root)
    start, end, metric = _extent(cell, parent, root, order)
    reach = end.copy()
    for i in order[:0:-1]:
        reach[parent[i]] = max(reach[parent[i]], reach[i])
    slot = _slots(order, children, root, lambda i: (kind[i] if parent[i] == root else 0, reach[i]))
    hidden = np.setdiff1d(np.arange(len(parent)), order)  # the rest of the soma
    slot[hidden], start[hidden], end[hidden] = slot[root], 0.0, 0.0
    return Layout(slot, start, end, parent, root, metric)


def _one_soma(parent: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, int]:
    """Parents and root, with the whole soma drawn together where the root is part of it."""
    root = int(np.flatnonzero(parent < 0)[0])
    if kind[root] != SOMA:
        return parent, root
    joined = np.where((parent >= 0) & (kind[parent] == SOMA), root, parent)
    return np.where(kind == SOMA, -1, joined), root


def _walk(parent: np.ndarray, root: int) -> tuple[list[int], list[list[int]]]:
    """Compartments from the root outwards, parents first, and the children of each."""
    children: list[list[int]] = [[] for _ in parent]
    for i, p in enumerate(parent):
        if p >= 0:
            children[p].append(i)
    order = [root]
    for i in order:
        order.extend(children[i])
    return order, children


def _extent(
    cell: Any, parent: np.ndarray, root: int, order: list[int]
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Start and end of each compartment on the upward axis."""
    distance = np.asarray(cell.distance, float)
    metric = bool(np.isfinite(distance).all())
    if not metric:
        steps = np.zeros(len(parent))
        for i in order[1:]:
            steps[i] = steps[parent[i]] + 1
        return np.maximum(steps - 1, 0.0), steps, False
    half = np.nan_to_num(np.asarray(cell.length, float)) / 2
    end = distance + half
    start = np.maximum(distance - half, 0.0)
    for i in order[1:]:  # no gap to the parent, even where lengths are unknown
        start[i] = min(start[i], end[parent[i]])
    start[root] = 0.0
    start[parent == root] = 0.0
    return start, end, True


def _slots(order: list[int], children: list[list[int]], root: int, key: Any) -> np.ndarray:
    """Tips side by side in depth-first order, every other node midway over its children."""
    slot = np.zeros(len(children))
    stack, tips = [root], 0
    while stack:
        i = stack.pop()
        stack.extend(sorted(children[i], key=key, reverse=True))
        if not children[i]:
            slot[i] = tips
            tips += 1
    for i in reversed(order):
        if children[i]:
            below = slot[children[i]]
            slot[i] = 0.5 * (below.min() + below.max())
    return slot
