"""A soma traced as a contour, turned into the stack of frusta that NEURON makes of it.

The steps are those of NEURON's Import3d: `contourcenter` and `contour2centroid` (BSD licence).
"""

import numpy as np

_AROUND = 101  # points spread evenly along the contour
_SLICES = 21  # points of the resulting section


def contour_centre(contour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of 101 points spread evenly along an open contour `(m, 3)`, and those points.

    As in NEURON the contour is not closed, and "evenly" goes by its length in the x-y plane.
    """
    step = np.linalg.norm(np.diff(contour[:, :2], axis=0), axis=1)
    path = np.concatenate([[0.0], np.cumsum(step)])
    at = np.arange(_AROUND) * (path[-1] / (_AROUND - 1))
    even = np.stack([np.interp(at, path, contour[:, i]) for i in range(3)], axis=1)
    return even.mean(axis=0), even


def contour_to_stack(contour: np.ndarray) -> np.ndarray:
    """A contour `(m, 3)` µm, m >= 3, as `(21, 4)` x, y, z, diameter along its long axis.

    The long axis is the first principal axis of the evenly spread points; the diameter at a place
    on it is the distance between the two sides of the contour there, measured along the second
    principal axis laid into the x-y plane. Sides that turn back are made to advance. The ends get
    the mean of the end diameter and its neighbour's, so that none is 0.

    **Raises:** `ValueError` if the points lie on one spot or straight along z.
    """
    centre, even = contour_centre(contour)
    around = even - centre
    value, axis = np.linalg.eigh(around.T @ around)
    long, short = axis[:, 2], axis[:, 1].copy()
    if long[np.argmax(np.abs(long))] < 0:
        long = -long
    short[2] = 0.0
    if value[2] <= 0 or np.linalg.norm(short) < 1e-6:
        raise ValueError("the points of the soma contour do not enclose an area in the x-y plane")
    along = around @ long
    across = around @ (short / np.linalg.norm(short))
    top = int(np.argmax(along))
    along, across = np.roll(along, -top), np.roll(across, -top)
    low = int(np.argmin(along))
    one = _advancing(along[:low][::-1], across[:low][::-1])
    two = _advancing(along[low:], across[low:])
    both = np.sort(np.concatenate([one[0], two[0]]))
    at = both[1] + np.arange(_SLICES) * ((both[-2] - both[1]) / (_SLICES - 1))
    diameter = np.abs(np.interp(at, *one) - np.interp(at, *two))
    diameter[0] = (diameter[0] + diameter[1]) / 2
    diameter[-1] = (diameter[-1] + diameter[-2]) / 2
    return np.column_stack([centre + at[:, None] * long, diameter])


def _advancing(along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop, from the far end backwards, points that do not lie beyond the one before."""
    d, r = along.tolist(), across.tolist()
    j = len(d) - 1
    while j > 0:
        if d[j] <= d[j - 1]:
            del d[j], r[j]
            j = min(j, len(d) - 1)
        else:
            j -= 1
    return np.array(d), np.array(r)


def contours_to_section(contours: list[np.ndarray]) -> np.ndarray:
    """A stack of contours, `(m, 3)` µm each, as `(k, 4)` x, y, z, diameter: one point of each.

    As in NEURON the point is the contour's centre, and the diameter its mean distance from there
    plus the radius of a circle of its perimeter.
    """
    rows = []
    for contour in contours:
        centre, even = contour_centre(contour)
        perimeter = np.linalg.norm(contour - np.roll(contour, -1, axis=0), axis=1).sum()
        radius = np.linalg.norm(even - centre, axis=1).mean()
        rows.append([*centre, radius + perimeter / (2 * np.pi)])
    return np.array(rows)
