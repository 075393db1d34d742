"""The edits of a morphology: each gives a new one, and its report says what changed."""

import abc
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from scipy.spatial.transform import Rotation

from jaxdend.morphology._branch import Branch, parents_first
from jaxdend.morphology._options import type_code
from jaxdend.morphology._shorten import evenly, fewer, path_from, trimmed
from jaxdend.morphology._write import write_swc

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


M = TypeVar("M", bound="AbstractEditable")  # the kind of morphology that is edited, and made


class AbstractEditable(abc.ABC):
    """The edits of a morphology; `Morphology` says what the fields are."""

    points: np.ndarray
    offsets: np.ndarray
    parent_section: np.ndarray
    parent_x: np.ndarray
    kind: np.ndarray
    name: tuple[str, ...]
    labels: dict[str, np.ndarray]
    source: str
    report: tuple[str, ...]

    @property
    @abc.abstractmethod
    def lengths(self) -> np.ndarray:
        """`(s,)` µm, path length of each section."""

    @property
    @abc.abstractmethod
    def areas(self) -> np.ndarray:
        """`(s,)` µm², lateral area of each section."""

    @property
    @abc.abstractmethod
    def soma(self) -> int:
        """The section that path distances start from."""

    @abc.abstractmethod
    def region(self, name: str) -> np.ndarray:
        """`(s,)` bool, the sections of a region."""

    @abc.abstractmethod
    def section_points(self, section: int | str) -> np.ndarray:
        """`(m, 4)` x, y, z, diameter (µm) of one section."""

    @abc.abstractmethod
    def _number(self, section: int | str) -> int: ...

    @abc.abstractmethod
    def _branches(self) -> list[Branch]: ...

    @abc.abstractmethod
    def _built(self: M, branches: list[Branch], said: str) -> M: ...

    @abc.abstractmethod
    def _moved(self: M, points: np.ndarray, said: str) -> M: ...

    @abc.abstractmethod
    def _select(self: M, keep: np.ndarray, said: str) -> M: ...

    def translated(self: M, by: Sequence[float]) -> M:
        """A new morphology, moved by `(x, y, z)` µm."""
        way = _vector("translated: by", by)
        points = self.points.astype(float)
        points[:, :3] += way
        return self._moved(points, f"moved by ({way[0]:g}, {way[1]:g}, {way[2]:g}) µm")

    def rotated(
        self: M, axis: str | Sequence[float], degrees: float, about: Sequence[float] | None = None
    ) -> M:
        """A new morphology, turned about an axis: "x", "y", "z" or a direction `(x, y, z)`.

        The turn is anticlockwise, seen against the axis, and about the point `about` (µm), by
        default the mean of the soma's points.

        **Raises:** `ValueError` for an axis that is none, or an angle that is no number.
        """
        way = _vector("rotated: axis", _AXES.get(axis, axis) if isinstance(axis, str) else axis)
        if not np.linalg.norm(way) > 0:
            raise ValueError(f"rotated: axis must be a direction other than 0; got {axis!r:.80}.")
        if not isinstance(degrees, int | float | np.number) or not np.isfinite(degrees):
            raise ValueError(f"rotated: degrees must be a finite number; got {degrees!r:.80}.")
        middle = self.section_points(self.soma)[:, :3].astype(float).mean(axis=0)
        middle = middle if about is None else _vector("rotated: about", about)
        turn = Rotation.from_rotvec(way / np.linalg.norm(way) * np.deg2rad(float(degrees)))
        points = self.points.astype(float)
        points[:, :3] = turn.apply(points[:, :3] - middle) + middle
        return self._moved(points, f"turned by {degrees:g}° about {axis}")

    def scaled(self: M, length: float = 1.0, diameter: float = 1.0) -> M:
        """A new morphology, coordinates times `length` and diameters times `diameter`."""
        positive = [isinstance(x, int | float | np.number) and x > 0 for x in (length, diameter)]
        if not all(positive) or not np.isfinite([length, diameter]).all():
            raise ValueError(
                f"scaled needs factors > 0; got length={length!r}, diameter={diameter!r}."
            )
        factors = np.array([length, length, length, diameter], self.points.dtype)
        said = f"coordinates times {length:g}, diameters times {diameter:g}"
        return self._moved(self.points * factors, said)

    def with_types(self: M, types: Mapping[int | str, int | str]) -> M:
        """A new morphology with other SWC types, and the names that follow from them.

        `types` maps types, or single sections by name, to types, by number or by name:
        `m.with_types({5: "basal", "dend[3]": "axon"})`.

        **Raises:** `ValueError` for a section that there is not, or what is no SWC type.
        """
        if not isinstance(types, Mapping):
            raise ValueError(
                "with_types maps SWC types or names of sections to types, such as {5: 'basal'}; "
                f"got {types!r:.80}."
            )
        kind = self.kind.copy()
        for old, new in types.items():
            code = type_code(new, "with_types")
            if isinstance(old, str) and old in self.name:
                kind[self._number(old)] = code
            else:
                kind[self.kind == type_code(old, "with_types, which takes sections too")] = code
        branches = [
            Branch(b.points, b.parent, b.parent_x, k, b.regions, b.samples)
            for b, k in zip(self._branches(), kind.tolist(), strict=True)
        ]
        return self._built(branches, f"{np.sum(kind != self.kind)} sections got another type")

    def without(self: M, region: str | int) -> M:
        """A new morphology without a region (name or SWC type) and all that hangs on it.

        The other sections keep their names.

        **Raises:** `ValueError` for an unknown region or one that holds the root.
        """
        if isinstance(region, str):
            gone = self.region(region)
        elif isinstance(region, int | np.integer) and not isinstance(region, bool):
            gone = self.kind == region
        else:
            raise ValueError(
                "without takes the name of one region or one SWC type, such as "
                f'without("axon") or without(2); got {region!r:.80}. For several, call it on the '
                "result: m.without(2).without(3). For single sections there is without_sections."
            )
        if not gone.any():
            raise ValueError(
                f"no section of SWC type {region}; there are {np.unique(self.kind).tolist()}."
            )
        return self._less(gone, repr(region))

    def without_sections(self: M, sections: Any) -> M:
        """A new morphology without some sections and all that hangs on them.

        `sections` is a number, a name, a list of either, or `(s,)` bool. The others keep their
        names.

        **Raises:** `ValueError` for a section that there is not, or if one is the root.
        """
        gone = self._mask(sections)
        return self._less(gone, ", ".join(self.name[i] for i in np.flatnonzero(gone)[:4]))

    def only_sections(self: M, sections: Any) -> M:
        """A new morphology of some sections and those between them and the root.

        `sections` is a number, a name, a list of either, or `(s,)` bool. They keep their names.
        """
        keep = self._mask(sections)
        for i in reversed(parents_first(self.parent_section)):
            if keep[i] and self.parent_section[i] >= 0:
                keep[self.parent_section[i]] = True
        return self._kept(keep, "all but some sections and those between them and the root")

    def subtree(self: M, section: int | str) -> M:
        """A new morphology of one section, its root, and all that hangs on it.

        Sections keep their names.
        """
        keep = np.zeros(len(self.kind), bool)
        keep[self._number(section)] = True
        for i in parents_first(self.parent_section):
            keep[i] |= self.parent_section[i] >= 0 and keep[self.parent_section[i]]
        return self._kept(keep, f"all but {self.name[self._number(section)]} and its subtree")

    def within(self: M, distance: float) -> M:
        """A new morphology that ends `distance` µm of path from the middle of the soma.

        Sections that reach beyond are cut there, their new tip interpolated; the soma stays whole.
        """
        distance = _positive("within: distance", distance, " µm")
        branches = trimmed(self._branches(), self.soma, distance)
        new = self._built(branches, f"cut {distance:g} µm from the soma")
        return new._and(self._lost(new))

    def joined(
        self: M, other: "AbstractEditable", to: int | str, x: float = 1.0, move: bool = True
    ) -> M:
        """A new morphology with the tree `other` grafted on section `to`, at `x` from 0 to 1.

        With `move` the other tree is shifted so that its first point lies on the joint; else it
        stays where it is, and as between soma and dendrite no cable bridges the gap. Sections of
        both are numbered anew. A part of another cell is `other.subtree("dend[3]")`.

        **Raises:** `ValueError` for a section that there is not, or a place off it.
        """
        if not isinstance(other, AbstractEditable):
            raise ValueError(f"joined takes another morphology; got {type(other).__name__}.")
        if not isinstance(x, int | float | np.number) or not 0.0 <= x <= 1.0:
            raise ValueError(f"joined: x must lie in [0, 1]; got {x!r:.80}.")
        onto, mine, theirs = self._number(to), self._branches(), other._branches()
        on = mine[onto].points.astype(float)
        at = path_from(on, float(x))
        root = int(np.flatnonzero(other.parent_section < 0)[0])
        count = len(mine)
        shift = at - theirs[root].points[0, :3] if move else np.zeros(3)
        for b in theirs:
            points = b.points.astype(float)
            points[:, :3] += shift
            points = points.astype(self.points.dtype)
            parent, where = (onto, float(x)) if b.parent < 0 else (b.parent + count, b.parent_x)
            mine.append(Branch(points, parent, where, b.kind, b.regions))
        said = f"{len(theirs)} sections of {other.source or 'a tree'} joined to {self.name[onto]}"
        return self._built(mine, f"{said}({x:g})")

    def with_cylinder(
        self: M,
        kind: int,
        length: float,
        diameter: float,
        parent: int | str = "soma[0]",
        parent_x: float = 0.5,
        direction: Sequence[float] = (0.0, -1.0, 0.0),
    ) -> M:
        """A new morphology with one more section, a cylinder (µm) of an SWC type.

        It joins section `parent` (number or name) at `parent_x`. Two in a row are the usual
        stand-in for a lost axon:
        `m.without("axon").with_cylinder(2, 30, 1).with_cylinder(2, 30, 1, "axon[0]", 1.0)`.

        **Raises:** `ValueError` for an unknown parent, a place off it, or a kind that is no SWC
        type, `MorphologyError` for sizes <= 0.
        """
        if isinstance(kind, bool) or not isinstance(kind, int | np.integer) or kind < 0:
            raise ValueError(
                "with_cylinder: kind is an SWC type: 1 soma, 2 axon, 3 basal, 4 apical, or "
                f"another number for other sections; got {kind!r:.80}."
            )
        if not 0.0 <= parent_x <= 1.0:
            raise ValueError(f"with_cylinder: parent_x must lie in [0, 1]; got {parent_x}.")
        parent = self._number(parent)
        on = self.section_points(parent)
        at = on[0] if parent_x == 0 else on[-1] if parent_x == 1 else on[len(on) // 2]
        way = np.asarray(direction, float) / np.linalg.norm(direction)
        ends = [[*at[:3], diameter], [*(at[:3] + way * length), diameter]]
        branch = Branch(np.array(ends, self.points.dtype), parent, parent_x, kind)
        said = f"a cylinder of {length:g} × {diameter:g} µm joined to {self.name[parent]}"
        return self._built([*self._branches(), branch], f"{said}({parent_x:g})")

    def resampled(self: M, spacing: float) -> M:
        """A new morphology with points spread evenly, `spacing` µm apart or a little less.

        Ends stay, and so does the soma. Bends between the new points are cut off: the report says
        what length and area are lost.
        """
        spacing = _positive("resampled: spacing", spacing, " µm")
        return self._redrawn(lambda p: evenly(p, spacing), f"resampled every {spacing:g} µm")

    def simplified(self: M, tolerance: float) -> M:
        """A new morphology without points that lie within `tolerance` µm of what stays.

        That goes for places and radii alike. Ends stay, and so does the soma. The report says what
        length and area are lost.
        """
        tolerance = _positive("simplified: tolerance", tolerance, " µm")
        return self._redrawn(lambda p: fewer(p, tolerance), f"simplified to {tolerance:g} µm")

    def merged(self: M) -> M:
        """A new morphology in which a section and its only child of its type are one section.

        Such chains are left where a branch was taken out; NEURON makes one section of them when it
        reads the tree from a file. Sections are numbered anew.
        """
        branches = self._branches()
        over = self.parent_section[self.parent_section >= 0]
        children = np.bincount(over, minlength=len(branches))
        into = np.arange(len(branches))
        for i in parents_first(self.parent_section):
            b, p = branches[i], int(self.parent_section[i])
            if p < 0 or children[p] != 1 or b.parent_x != 1 or b.kind != branches[p].kind:
                continue
            to = int(into[p])
            if b.regions != branches[to].regions or np.any(branches[to].points[-1] != b.points[0]):
                continue
            points = np.concatenate([branches[to].points, b.points[1:]])
            one, two = branches[to].samples, b.samples
            ids = None if one is None or two is None else np.concatenate([one, two[1:]])
            whole = branches[to]
            branches[to] = Branch(
                points, whole.parent, whole.parent_x, whole.kind, whole.regions, ids
            )
            into[i] = to
        stay = np.flatnonzero(into == np.arange(len(into)))
        place = np.append(np.searchsorted(stay, into), -1)
        out = [
            Branch(b.points, int(place[b.parent]), b.parent_x, b.kind, b.regions, b.samples)
            for b in (branches[i] for i in stay)
        ]
        return self._built(out, f"{len(into) - len(stay)} sections merged with their parents")

    def write_swc(self, path: str | os.PathLike[str] | io.IOBase) -> tuple[str, ...]:
        """Write an SWC file (or to an open text file) that reads back as the very same morphology.

        Where SWC's samples cannot say the sections by NEURON's rules, or single precision is not
        enough, a comment holds them for jaxdend, and what is returned says what others will read;
        a `MorphologyWarning` does so where lengths or areas differ.
        """
        return write_swc(path, self._branches(), self.source, self._built)

    def _redrawn(self: M, draw: Any, said: str) -> M:
        branches = []
        for b in self._branches():
            rows = b.points if b.kind == 1 else draw(b.points.astype(float))
            points = rows.astype(self.points.dtype)
            branches.append(Branch(points, b.parent, b.parent_x, b.kind, b.regions))
        new = self._built(branches, f"{said}: {len(self.points)} points before")
        return new._and(self._lost(new))

    def _and(self: M, more: str) -> M:
        return self._moved(self.points, more)

    def _lost(self, new: "AbstractEditable") -> str:
        before, after = ((len(m.points), m.lengths.sum(), m.areas.sum()) for m in (self, new))
        return (
            f"{before[0]} points, {before[1]:.6g} µm and {before[2]:.6g} µm² became {after[0]} "
            f"points, {after[1]:.6g} µm and {after[2]:.6g} µm²"
        )

    def _mask(self, sections: Any) -> np.ndarray:
        array = np.asarray(sections)
        if array.dtype == bool and array.shape == (len(self.kind),):
            return array.copy()
        if array.ndim == 0 and array.dtype.kind in "iuU":
            array = array.reshape(1)
        listed = array.tolist() if array.ndim == 1 and array.dtype.kind in "iuU" else []
        if not listed:
            raise ValueError(
                "sections are given by number, name, a list of either, or a bool for each of the "
                f"{len(self.kind)}; got {sections!r:.80}."
            )
        out = np.zeros(len(self.kind), bool)
        out[[self._number(i) for i in listed]] = True
        return out

    def _less(self: M, gone: np.ndarray, what: str) -> M:
        if gone[self.parent_section < 0].any():
            raise ValueError(f"{what} holds the root {self.name[self.soma]}: nothing would stay.")
        for i in parents_first(self.parent_section):
            gone[i] |= self.parent_section[i] >= 0 and gone[self.parent_section[i]]
        return self._kept(~gone, what)

    def _kept(self: M, keep: np.ndarray, what: str) -> M:
        lost = f"{np.sum(~keep)} sections of {self.lengths[~keep].sum():.6g} µm"
        return self._select(np.flatnonzero(keep), f"without {what}: {lost}")


def _vector(what: str, value: Any) -> np.ndarray:
    try:
        out = np.asarray(value, float)
    except (TypeError, ValueError):
        out = np.zeros(0)
    if out.shape != (3,) or not np.isfinite(out).all():
        raise ValueError(f"{what} must be three finite numbers (x, y, z); got {value!r:.80}.")
    return out


def _positive(what: str, value: Any, unit: str) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or not value > 0:
        raise ValueError(f"{what} must be a number > 0{unit}; got {value!r:.80}.")
    return float(value)
