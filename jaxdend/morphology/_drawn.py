"""Trees and soma contours as they are drawn in ASC and H5 files, brought into sections."""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import KDTree

from jaxdend.morphology._branch import Branch, spherical
from jaxdend.morphology._contour import contour_centre, contour_to_stack, contours_to_section
from jaxdend.morphology._options import Options
from jaxdend.morphology._report import Lines, Notes
from jaxdend.morphology._several import Found, chosen_cell
from jaxdend.morphology._zero import filled

FAR = 30.0  # µm from the surface of the soma at which a stem deserves a warning
_MARGIN = 0.5  # µm around one contour that still count as inside, as in NEURON


@dataclass(frozen=True)
class Contour:
    """One outline of a soma."""

    points: np.ndarray  # (m, 4) x, y, z, diameter, µm
    line: list[int]  # where it begins, or nothing
    solid: bool = False  # whether its diameters are those of the soma, not of a line


@dataclass(frozen=True)
class DrawnSection:
    """A branch as it is drawn, without the point where its parent ends."""

    points: np.ndarray  # (m, 4) x, y, z, diameter, µm
    lines: list[int]  # (m,) or nothing
    parent: int  # place in the list, -1 for the beginning of a tree
    kind: int  # SWC type


@dataclass(frozen=True)
class Drawn:
    """All of a file: contours in its order, sections parents first."""

    contours: list[Contour]
    sections: list[DrawnSection]
    soma_word: str  # what a soma is called in this format


@dataclass(frozen=True)
class _Soma:
    """Contours that overlap: the outline of one soma, or a stack through it."""

    contours: list[Contour]
    centre: np.ndarray = field(init=False)  # (3,) µm
    box: np.ndarray = field(init=False)  # (2, 2) µm, least and greatest x and y

    def __post_init__(self) -> None:
        xyz = np.concatenate([c.points[:, :3] for c in self.contours])
        centres = [_centre(c) for c in self.contours]
        margin = _MARGIN if len(self.contours) == 1 else 0.0
        low, high = xyz[:, :2].min(axis=0) - margin, xyz[:, :2].max(axis=0) + margin
        object.__setattr__(self, "centre", _middle(np.array(centres)))
        object.__setattr__(self, "box", np.array([low, high]))


def to_branches(drawn: Drawn, options: Options, notes: Notes) -> tuple[list[Branch], Lines]:
    """Sections by NEURON's rules, the root first, and the line that each begins on.

    **Raises:** `MorphologyError` for no soma and several trees, radii of 0 but at tips, and somata
    without an outline.
    """
    drawn = _scaled(drawn, options)
    somata = _somata(drawn.contours, notes)
    if not drawn.sections and not somata:
        raise notes.fail("no soma and no tree is in it.", "Is this the right file?")
    sections = _with_diameters(drawn.sections, options, notes)
    tree = _trees(sections)
    roots = [i for i, s in enumerate(sections) if s.parent < 0]
    if not somata:
        return _without_soma(sections, roots, tree, drawn.soma_word, options, notes)
    owner = _owners([sections[i].points[0, :3] for i in roots], somata)
    cells = [
        Found(s.contours[0].line or [0], s.centre, f"{owner.count(c)} trees")
        for c, s in enumerate(somata)
    ]
    chosen = chosen_cell(cells, options.soma, notes)
    soma = _soma_branch(somata[chosen], notes)
    branches, lines, place = [soma], [somata[chosen].contours[0].line], {}
    own = {roots[k] for k, c in enumerate(owner) if c == chosen}
    far = {i for i in own if gap(soma.points, sections[i].points[0]) > FAR}
    elsewhere = far if options.roots not in (None, "soma") else set()
    if elsewhere:
        notes.note(
            f"{len(elsewhere)} trees that start far from the soma "
            f"{'join what is nearest' if options.roots == 'nearest' else 'are left out'}, as "
            "roots= says.",
            [line for i in sorted(elsewhere) for line in sections[i].lines[:1]],
        )
    near = [i for i in range(len(sections)) if tree[i] in own and tree[i] not in elsewhere]
    rest = [i for i in range(len(sections)) if tree[i] in elsewhere]
    for i in near + (rest if options.roots == "nearest" else []):
        section = sections[i]
        root = Branch(soma.points, 0, 0.5, 0)
        if i in elsewhere:
            root = _nearest(branches, section.points[0, :3])
        place[i] = len(branches)
        branches.append(_branch(sections, i, place, root))
        lines.append(section.lines[:1])
    return branches, Lines(lambda i: lines[i])


def _scaled(drawn: Drawn, options: Options) -> Drawn:
    if options.scale is None:
        return drawn
    by = np.array(options.scale)
    return Drawn(
        [replace(c, points=c.points * by) for c in drawn.contours],
        [replace(s, points=s.points * by) for s in drawn.sections],
        drawn.soma_word,
    )


def _trees(sections: list[DrawnSection]) -> list[int]:
    """The root section of the tree that each section belongs to."""
    out: list[int] = []
    for i, section in enumerate(sections):
        out.append(i if section.parent < 0 else out[section.parent])
    return out


def _branch(sections: list[DrawnSection], i: int, place: dict[int, int], root: Branch) -> Branch:
    """Section i, from the point where its parent ends; `root` says where trees join."""
    section = sections[i]
    if section.parent < 0:
        return replace(root, points=section.points, kind=section.kind)
    last, points = sections[section.parent].points[-1], section.points
    if np.any(last[:3] != points[0, :3]):
        points = np.concatenate([[[*last[:3], points[0, 3]]], points])
    return Branch(points, place[section.parent], 1.0, section.kind)


def _with_diameters(
    sections: list[DrawnSection], options: Options, notes: Notes
) -> list[DrawnSection]:
    """Types and diameters as asked for; zeros at tips become almost 0, as their limit."""
    if not sections:
        return sections
    over = np.array([s.parent for s in sections])
    kinds = options.mapped(np.array([s.kind for s in sections]), over).tolist()
    sections = [replace(s, kind=k) for s, k in zip(sections, kinds, strict=True)]
    counts = np.array([len(s.points) for s in sections])
    ends = np.cumsum(counts)
    first = ends - counts
    radius = np.concatenate([s.points[:, 3] for s in sections]) / 2
    bad = np.flatnonzero(radius <= 0)
    if not len(bad):
        return sections
    parent = np.arange(len(radius)) - 1
    parent[first] = np.where(over >= 0, ends[over] - 1, -1)
    where = [_line_of(sections, first, int(row)) for row in bad]
    if options.radius is None:
        children = np.bincount(parent[parent >= 0], minlength=len(radius))
        wrong = (radius[bad] < 0) | (children[bad] > 0) | (parent[bad] < 0)
        if wrong.any():
            row = int(bad[wrong][0])
            i = int(np.searchsorted(ends, row, side="right"))
            raise notes.fail(
                f"every diameter must be > 0 µm; {wrong.sum()} points within their branches have "
                f"none, the first at {np.round(sections[i].points[row - first[i], :3], 3).tolist()}"
                ".",
                "Correct them in the source, or read it with radius= (µm, or 'neighbour').",
                [line for line, w in zip(where, wrong, strict=True) if w and line],
            )
    out, how = filled(radius, parent, options.radius)
    notes.made(
        options.radius is not None,
        f"{len(bad)} point{'s' if len(bad) > 1 else ''} without a diameter; {how}.",
        "Measure them, or give radius= (µm, or 'neighbour').",
        [line for line in where if line],
    )
    split = np.split(2 * out, ends[:-1])
    return [
        replace(s, points=np.column_stack([s.points[:, :3], d]))
        for s, d in zip(sections, split, strict=True)
    ]


def _line_of(sections: list[DrawnSection], first: np.ndarray, row: int) -> int:
    i = int(np.searchsorted(first, row, side="right")) - 1
    return sections[i].lines[row - first[i]] if sections[i].lines else 0


def _without_soma(
    sections: list[DrawnSection],
    roots: list[int],
    tree: list[int],
    soma_word: str,
    options: Options,
    notes: Notes,
) -> tuple[list[Branch], Lines]:
    """One tree, or several joined as `roots=` says; the first section is the root."""
    if options.soma is not None:
        chosen_cell([], options.soma, notes)
    if len(roots) > 1 and options.roots is None:
        raise notes.fail(
            f"no soma: expected a {soma_word}, got none and {len(roots)} trees, which nothing "
            "joins.",
            "Trace the soma (at least 3 points around it), or read it with roots='soma' (all trees "
            "begin where the first does), 'nearest' (each joins what is nearest), 'largest' or "
            "'first' (leave the others out).",
            [sections[i].lines[0] for i in roots if sections[i].lines],
        )
    keep = set(roots)
    if options.roots in ("first", "largest"):
        size = {i: 0.0 for i in roots}
        for s, root in zip(sections, tree, strict=True):
            size[root] += float(np.linalg.norm(np.diff(s.points[:, :3], axis=0), axis=1).sum())
        keep = {roots[0] if options.roots == "first" else max(size, key=lambda i: size[i])}
    branches: list[Branch] = []
    lines, place = [], {}
    for i, section in enumerate(sections):
        if tree[i] not in keep:
            continue
        root = Branch(section.points, -1 if not branches else 0, 0.0 if branches else 1.0, 0)
        if section.parent < 0 and branches and options.roots == "nearest":
            root = _nearest(branches, section.points[0, :3])
        place[i] = len(branches)
        branches.append(_branch(sections, i, place, root))
        lines.append(section.lines[:1])
    if len(roots) > 1:
        notes.note(f"{len(keep)} of {len(roots)} trees without a soma are read, as roots= says.")
    return branches, Lines(lambda i: lines[i])


def gap(soma: np.ndarray, start: np.ndarray) -> float:
    """How far (µm) a point is from the surface of a soma `(m, 4)`; below 0 inside."""
    return float((np.linalg.norm(soma[:, :3] - start[:3], axis=1) - soma[:, 3] / 2).min())


def _nearest(branches: list[Branch], place: np.ndarray) -> Branch:
    """The place on the branches that is nearest to a point `(3,)`."""
    xyz = np.concatenate([b.points[:, :3] for b in branches])
    row = int(KDTree(xyz).query(place)[1])
    ends = np.cumsum([len(b.points) for b in branches])
    i = int(np.searchsorted(ends, row, side="right"))
    on = branches[i].points
    arc = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(on[:, :3], axis=0), axis=1)))
    at = row - (ends[i] - len(on))
    return Branch(on, i, float(arc[at] / arc[-1]) if arc[-1] > 0 else 1.0, 0)


def _owners(starts: list[np.ndarray], somata: list[_Soma]) -> list[int]:
    """The soma that each tree belongs to: the first whose box it starts in, else the nearest."""
    out = []
    for start in starts:
        inside = [bool(np.all((s.box[0] <= start[:2]) & (start[:2] <= s.box[1]))) for s in somata]
        far = [float(np.linalg.norm(start - s.centre)) for s in somata]
        out.append(inside.index(True) if any(inside) else int(np.argmin(far)))
    return out


def _somata(contours: list[Contour], notes: Notes) -> list[_Soma]:
    """Contours gathered into somata: one belongs to that before it where their boxes overlap."""
    good: list[Contour] = []
    for c in contours:
        if c.solid and np.all(c.points == c.points[:1]):
            c = replace(c, points=c.points[:1])
        n = len(c.points)
        thick = n > 0 and bool(np.all(c.points[:, 3] > 0))
        if n == 1 and thick:
            if not c.solid:
                notes.doubt(
                    "a soma of one point is read as a sphere; NEURON leaves it out.",
                    "Trace at least 3 points around the soma.",
                    c.line,
                )
            good.append(c)
        elif n == 2 and thick and c.solid and np.any(c.points[0, :3] != c.points[1, :3]):
            notes.doubt(
                "a soma of two points is read as a cone.", "Trace at least 3 points around it."
            )
            good.append(c)
        elif n < 3:
            notes.doubt(
                f"a soma of {len(c.points)} points is no outline and is left out, as in NEURON.",
                "Trace at least 3 points around the soma.",
                c.line,
            )
        elif any(np.array_equal(c.points, other.points) for other in good):
            notes.doubt("a contour that is there twice is read once.", "Delete one.", c.line)
        else:
            good.append(c)
    groups: list[list[Contour]] = []
    for c in good:
        if groups and _overlap(groups[-1][-1], c):
            groups[-1].append(c)
        else:
            groups.append([c])
    return [_Soma(group) for group in groups]


def _overlap(a: Contour, b: Contour) -> bool:
    p, q = a.points[:, :2], b.points[:, :2]
    return bool(np.all((p.min(axis=0) <= q.max(axis=0)) & (q.min(axis=0) <= p.max(axis=0))))


def _centre(contour: Contour) -> np.ndarray:
    xyz = contour.points[:, :3]
    return contour_centre(xyz)[0] if len(xyz) > 2 and np.ptp(xyz[:, :2]) > 0 else xyz.mean(axis=0)


def _middle(centres: np.ndarray) -> np.ndarray:
    """The point half way along the centres of a stack."""
    path = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(centres, axis=0), axis=1)))
    if path[-1] == 0:
        return centres[0]
    return np.array([np.interp(path[-1] / 2, path, c) for c in centres.T])


def _soma_branch(soma: _Soma, notes: Notes) -> Branch:
    first = soma.contours[0]
    if len(soma.contours) > 1:
        stack = contours_to_section([c.points[:, :3] for c in soma.contours])
        if np.any(np.linalg.norm(np.diff(stack[:, :3], axis=0), axis=1) == 0):
            raise notes.fail(
                "two contours of a stack have the same centre.", "Delete one of them.", first.line
            )
        z = np.diff(stack[:, 2])
        if np.any(z > 0) and np.any(z < 0):
            notes.doubt(
                "the contours of the soma go up and down in z; they are read in their order, as "
                "NEURON does, which overstates the soma.",
                "Put them into the order of z, or keep the widest.",
                [line for c in soma.contours for line in c.line],
            )
        notes.note(f"the soma is a stack of {len(soma.contours)} contours.", first.line)
        return Branch(stack, -1, 1.0, 1)
    if len(first.points) == 1:
        return spherical(Branch(first.points, -1, 1.0, 1))
    if len(first.points) == 2:
        return Branch(first.points, -1, 1.0, 1)
    try:
        return Branch(contour_to_stack(first.points[:, :3]), -1, 1.0, 1)
    except ValueError as error:
        raise notes.fail(f"{error}.", "Trace the soma again.", first.line) from None
