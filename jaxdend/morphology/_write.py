"""Sections as the samples of an SWC file: the rules by which NEURON reads one, backwards."""

import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxdend._errors import MorphologyError
from jaxdend.morphology._branch import Branch, single, spherical, without_empty
from jaxdend.morphology._exact import comment
from jaxdend.morphology._report import MorphologyWarning
from jaxdend.morphology._samples import Samples
from jaxdend.morphology._shorten import arcs
from jaxdend.morphology._swc import cut_sections

_SAME = 1e-6  # relative difference of length and area that is not worth a warning


def write_swc(
    path: str | os.PathLike[str] | io.IOBase,
    branches: list[Branch],
    source: str,
    built: Callable[[list[Branch], str], Any],
) -> tuple[str, ...]:
    """Write branches as SWC; `built` makes a morphology of branches.

    Returns what others than jaxdend read differently, in words.
    """
    file = None if hasattr(path, "write") else Path(path)  # type: ignore[arg-type]
    if file is not None and file.suffix.lower() != ".swc":
        raise MorphologyError(f"{file}: write_swc writes a file whose name ends in .swc.")
    samples = _Writer(branches).samples()
    rows = _rows(samples)
    mine = built(branches, "")
    theirs = built(without_empty([single(b) for b in cut_sections(samples)])[0], "")
    said, extra = (), ""
    if not _same(mine, theirs):
        extra = comment(branches, rows) + "\n"
        said = (_difference(mine, theirs),)
    header = f"# {' '.join(source.split()) or 'a morphology'}, written by jaxdend\n"
    text = f"{header}# id type x y z radius parent (µm)\n{extra}{rows}"
    if file is None:
        path.write(text)  # type: ignore[union-attr]
    else:
        file.write_text(text, encoding="utf-8")
    return said


def _difference(mine: Any, theirs: Any) -> str:
    """What NEURON makes of the file, in words; warns where that is another cell."""
    pairs = [(m.lengths.sum(), m.areas.sum()) for m in (mine, theirs)]
    differs = not np.allclose(*pairs, rtol=_SAME, atol=0)
    said = (
        f"SWC cannot say these sections by NEURON's rules: other programs read "
        f"{theirs.n_sections} sections, {pairs[1][0]:.8g} µm and {pairs[1][1]:.8g} µm² in place of "
        f"{mine.n_sections}, {pairs[0][0]:.8g} µm and {pairs[0][1]:.8g} µm². jaxdend reads them "
        "back from a comment."
    )
    if differs:
        warnings.warn(said, MorphologyWarning, stacklevel=4)
    return said


def _same(a: Any, b: Any) -> bool:
    """Whether two morphologies are the same but for ids and report."""
    return (
        a.name == b.name
        and a.points.dtype == b.points.dtype
        and all(
            np.array_equal(getattr(a, f), getattr(b, f))
            for f in ("points", "offsets", "parent_section", "parent_x", "kind")
        )
        and a.labels.keys() == b.labels.keys()
    )


def _rows(samples: Samples) -> str:
    points = samples.points.copy()
    points[:, 3] /= 2
    numbers = points.astype(str)
    parent = np.where(samples.parent < 0, -1, samples.parent + 1)
    return "".join(
        f"{i} {k} {x} {y} {z} {r} {p}\n"
        for i, k, (x, y, z, r), p in zip(
            samples.id.tolist(),
            samples.kind.tolist(),
            numbers.tolist(),
            parent.tolist(),
            strict=True,
        )
    )


class _Writer:
    """Puts samples down, section after section."""

    def __init__(self, branches: list[Branch]):
        self.branches = branches
        self.points: list[np.ndarray] = []
        self.kind: list[int] = []
        self.parent: list[int] = []
        self.first: dict[int, int] = {}  # branch -> its first own sample
        self.last: dict[int, int] = {}
        self.begin: dict[int, int] = {}  # branch -> the sample that it hangs on

    def samples(self) -> Samples:
        """The samples of all branches, numbered from 1."""
        for i in _order(self.branches):
            b = self.branches[i]
            (self._root if b.parent < 0 else self._branch)(i, b)
        n = len(self.kind)
        dtype = self.branches[0].points.dtype
        points = np.array(self.points).reshape(n, 4).astype(np.float32).astype(dtype)
        return Samples(np.arange(1, n + 1), np.array(self.kind), points, np.array(self.parent))

    def _put(self, i: int, rows: np.ndarray, parent: int) -> None:
        self.begin[i], self.first[i] = parent, len(self.kind)
        for k, row in enumerate(rows):
            self.parent.append(parent if k == 0 else len(self.kind) - 1)
            self.points.append(row)
            self.kind.append(self.branches[i].kind)
        self.last[i] = len(self.kind) - 1

    def _root(self, i: int, b: Branch) -> None:
        rows = b.points
        if len(rows) == 3:
            one = Branch(rows[1:2].astype(float), -1, 1.0, b.kind)
            if np.array_equal(spherical(one).points.astype(rows.dtype), rows):
                rows = rows[1:2]
        self._put(i, rows, -1)

    def _branch(self, i: int, b: Branch) -> None:
        on = self._joint(b)
        rows = b.points
        if np.array_equal(self.points[on][:3], rows[0, :3]):
            rows = rows[1:]
        self._put(i, rows, on)

    def _joint(self, b: Branch) -> int:
        """The sample that a branch hangs on."""
        p = b.parent
        first, last = self.first[p], self.last[p]
        if b.parent_x >= 1:
            return last
        if b.parent_x <= 0:
            root = self.branches[p].parent < 0
            there = np.array_equal(self.points[first][:3], b.points[0, :3])
            return first if root or there else self.begin[p]
        if last - first < 2:
            return first
        inner = np.array(self.points[first + 1 : last])
        same = np.flatnonzero(np.all(inner[:, :3] == b.points[0, :3], axis=1))
        if len(same):
            return first + 1 + int(same[0])
        arc = arcs(np.array(self.points[first : last + 1]))
        return first + 1 + int(np.argmin(np.abs(arc[1:-1] - b.parent_x * arc[-1])))


def _order(branches: list[Branch]) -> list[int]:
    """Parents first, sections of one type in their order, children near their parents."""
    ids = [-1 if b.samples is None else int(b.samples[-1]) for b in branches]
    root = next(i for i, b in enumerate(branches) if b.parent < 0)
    if min(ids) >= 0:
        order = sorted(range(len(branches)), key=lambda i: (i != root, ids[i]))
        place = {i: k for k, i in enumerate(order)}
        if all(b.parent < 0 or place[b.parent] < place[i] for i, b in enumerate(branches)):
            return order
    return _greedy(branches, root)


def _greedy(branches: list[Branch], root: int) -> list[int]:
    queues: dict[int, list[int]] = {}
    for i, b in reversed(list(enumerate(branches))):
        if i != root:
            queues.setdefault(b.kind, []).append(i)
    order, done = [root], {root}
    while any(queues.values()):
        ready = [q for q in queues.values() if q and branches[q[-1]].parent in done]
        if not ready:
            break
        best = max(ready, key=lambda q: branches[q[-1]].parent == order[-1])
        order.append(best.pop())
        done.add(order[-1])
    left = [i for i in range(len(branches)) if i not in done]
    while left:  # no order keeps those of one type in turn
        now = [i for i in left if branches[i].parent in done]
        order += now
        done |= set(now)
        left = [i for i in left if i not in done]
    return order
