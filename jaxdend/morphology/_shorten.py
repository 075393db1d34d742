"""Chains of points, cut, spread evenly or thinned out (host numpy, µm)."""

import numpy as np

from jaxdend.morphology._branch import Branch

_LEAST = 1e-6  # µm, what is shorter is no section


def arcs(points: np.ndarray) -> np.ndarray:
    """`(m,)` µm, path length from the first of points `(m, 4)` to each."""
    step = np.linalg.norm(np.diff(points[:, :3].astype(float), axis=0), axis=1)
    return np.append(0.0, np.cumsum(step))


def path_from(points: np.ndarray, x: float) -> np.ndarray:
    """`(3,)` the place at a share x of the path along points `(m, 4)`."""
    arc = arcs(points)
    return np.array([np.interp(x * arc[-1], arc, c) for c in points[:, :3].T])


def stretch(points: np.ndarray, low: float, high: float) -> np.ndarray:
    """The part of a chain `(m, 4)` between two path lengths, with its ends interpolated."""
    arc = arcs(points)
    inner = (arc > low) & (arc < high)
    ends = [np.array([np.interp(a, arc, c) for c in points.T]) for a in (low, high)]
    first = points[0] if low <= 0 else ends[0]
    last = points[-1] if high >= arc[-1] else ends[1]
    keep = points[inner]
    if low <= 0:  # what else lies at the very start or end: jumps of the diameter
        keep = np.concatenate([points[1:][arc[1:] <= 0], keep])
    if high >= arc[-1]:
        keep = np.concatenate([keep, points[:-1][arc[:-1] >= arc[-1]]])
    return np.concatenate([first[None], keep, last[None]])


def evenly(points: np.ndarray, spacing: float) -> np.ndarray:
    """A chain `(m, 4)` with points spread evenly, at most `spacing` apart along the path."""
    arc = arcs(points)
    count = max(1, int(np.ceil(arc[-1] / spacing * (1 - 1e-9))))
    at = np.linspace(0.0, arc[-1], count + 1)
    inner = np.stack([np.interp(at, arc, c) for c in points.T], axis=1)
    inner[0], inner[-1] = points[0], points[-1]
    return inner


def fewer(points: np.ndarray, tolerance: float) -> np.ndarray:
    """A chain `(m, 4)` without points within `tolerance` of what stays (Douglas & Peucker 1973).

    The distance is that in x, y, z and radius, to the place on the straight piece that is nearest
    in space.
    """
    places = points * np.array([1.0, 1.0, 1.0, 0.5])
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    todo = [(0, len(points) - 1)]
    while todo:
        i, j = todo.pop()
        if j - i < 2:
            continue
        a, way, inside = places[i], places[j] - places[i], places[i + 1 : j]
        square = way[:3] @ way[:3]
        along = (inside[:, :3] - a[:3]) @ way[:3] / square if square > 0 else np.zeros(j - i - 1)
        off = np.linalg.norm(inside - a - np.clip(along, 0, 1)[:, None] * way, axis=1)
        far = int(np.argmax(off))
        if off[far] > tolerance:
            k = i + 1 + far
            keep[k] = True
            todo += [(i, k), (k, j)]
    return points[keep]


def trimmed(branches: list[Branch], soma: int, distance: float) -> list[Branch]:
    """Branches up to a path length `distance` from the middle of the branch `soma`.

    That one stays whole. What is cut off at its beginning becomes a root.
    """
    entry, start = _entries(branches, soma)
    spans: dict[int, tuple[float, float, float]] = {}  # branch -> from, to, whole length
    for i, b in enumerate(branches):
        length = float(arcs(b.points)[-1])
        left, at = distance - start[i], entry[i] * length
        low, high = max(at - left, 0.0), min(at + left, length)
        if i == soma:
            low, high = 0.0, length
        if left >= 0 and high - low > _LEAST or i == soma:
            spans[i] = (low, high, length)
    place = {i: k for k, i in enumerate(spans)}
    out = []
    for i, (low, high, _) in spans.items():
        b = branches[i]
        parent, x = place.get(b.parent, -1), b.parent_x
        if low > 0:
            parent, x = -1, 1.0
        elif parent >= 0:
            begin, end, whole = spans[b.parent]
            x = float(np.clip((x * whole - begin) / (end - begin), 0.0, 1.0))
        points = stretch(b.points.astype(float), low, high).astype(b.points.dtype)
        out.append(Branch(points, parent, x if parent >= 0 else 1.0, b.kind, b.regions))
    return out


def _entries(branches: list[Branch], soma: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the path from the soma enters each branch, 0 to 1, and its length up to there, µm."""
    children: list[list[int]] = [[] for _ in branches]
    for i, b in enumerate(branches):
        if b.parent >= 0:
            children[b.parent].append(i)
    length = [float(arcs(b.points)[-1]) for b in branches]
    entry, start = np.zeros(len(branches)), np.full(len(branches), np.inf)
    entry[soma], start[soma] = 0.5, 0.0
    todo = [soma]
    while todo:
        i = todo.pop()
        up = branches[i].parent
        near = [(j, 0.0, branches[j].parent_x) for j in children[i]]
        near += [(up, branches[i].parent_x, 0.0)] if up >= 0 else []
        for j, x, leaves in near:
            if np.isinf(start[j]):
                entry[j], start[j] = x, start[i] + abs(leaves - entry[i]) * length[i]
                todo.append(j)
    return entry, start
