"""`Branch`: one section of a morphology that is still being put together."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Branch:
    """One section of a morphology that is still being put together."""

    points: np.ndarray  # (m, 4) x, y, z, diameter, µm; m >= 2
    parent: int  # place of the parent in the list of branches, -1 for the root
    parent_x: float  # where on the parent: 0 start, 1 end, between: the inside
    kind: int  # SWC type
    regions: tuple[str, ...] = ()  # further regions that it belongs to, such as "tuft"
    samples: np.ndarray | None = None  # (m,) SWC ids of the points, -1 where there is none


def spherical(branch: Branch) -> Branch:
    """A branch of one point with diameter d as a cylinder along x with L = d, three points."""
    points = np.repeat(branch.points, 3, axis=0)
    points[:, 0] += np.array([-0.5, 0.0, 0.5]) * points[0, 3]
    ids = None if branch.samples is None else np.repeat(branch.samples, 3)
    return Branch(points, branch.parent, branch.parent_x, branch.kind, branch.regions, ids)


def single(branch: Branch) -> Branch:
    """A branch in single precision, in which NEURON keeps points."""
    if branch.points.dtype == np.float32:
        return branch
    return replace(branch, points=branch.points.astype(np.float32))


def without_empty(branches: list[Branch]) -> tuple[list[Branch], list[int]]:
    """Drop sections without length, as NEURON does; their children join where they joined.

    Also returns which were dropped, numbered as they came. The root, at place 0, stays.
    """
    counts = np.array([len(b.points) for b in branches])
    xyz = np.concatenate([b.points[:, :3] for b in branches])
    first = np.cumsum(counts) - counts
    moved = np.any(xyz != np.repeat(xyz[first], counts, axis=0), axis=1)
    empty = ~np.logical_or.reduceat(moved, first)
    empty[0] = False
    if not empty.any():
        return branches, []
    place = np.cumsum(~empty) - 1
    out = []
    for b, gone in zip(branches, empty.tolist(), strict=True):
        if gone:
            continue
        parent, x = b.parent, b.parent_x
        while parent >= 0 and empty[parent]:
            parent, x = branches[parent].parent, branches[parent].parent_x
        parent = int(place[parent]) if parent >= 0 else -1
        out.append(Branch(b.points, parent, x, b.kind, b.regions, b.samples))
    return out, np.flatnonzero(empty).tolist()


def parents_first(parent: np.ndarray) -> list[int]:
    """Sections from the root outwards; those that no root reaches are left out."""
    children: list[list[int]] = [[] for _ in parent]
    order = []
    for i, p in enumerate(parent.tolist()):
        (children[p] if p >= 0 else order).append(i)
    for i in order:
        order.extend(children[i])
    return order
