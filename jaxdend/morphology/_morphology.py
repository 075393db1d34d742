"""`Morphology`: a neuron's unbranched sections as flat numpy arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from jaxdend._errors import MorphologyError
from jaxdend.morphology._branch import Branch, parents_first
from jaxdend.morphology._edits import AbstractEditable

KINDS = {1: "soma", 2: "axon", 3: "basal", 4: "apical"}  # SWC type -> region
_STEMS = {1: "soma", 2: "axon", 3: "dend", 4: "apic"}  # SWC type -> NEURON's section name
_LAST = 10**9  # rank of SWC type 0, "undefined", behind all others


@dataclass(frozen=True, eq=False, repr=False)
class Morphology(AbstractEditable):
    """A tree of unbranched sections, each a chain of points with a diameter.

    Sections are in NEURON's order: soma, axon, basal, apical, further SWC types. Along a section
    the diameter is piecewise linear. The first point of a section need not lie on its parent: as in
    NEURON no cable runs between them (a dendrite starts at its own first sample, not at the centre
    of the soma).
    """

    # (p, 4) x, y, z, diameter, µm, section by section; float32 when read from a file, as in NEURON
    points: np.ndarray
    offsets: np.ndarray  # (s + 1,) int, section i is points[offsets[i] : offsets[i + 1]]
    parent_section: np.ndarray  # (s,) int, -1 for the root
    parent_x: np.ndarray  # (s,) where on the parent section: 0 start, 1 end, 0.5 the middle
    kind: np.ndarray  # (s,) int SWC type: 1 soma, 2 axon, 3 basal, 4 apical
    name: tuple[str, ...]  # (s,) NEURON's names: soma[0], axon[i], dend[i], apic[i], dend_5[i]
    labels: dict[str, np.ndarray] = field(default_factory=dict)  # region -> (s,) bool
    samples: np.ndarray | None = None  # (p,) int ids of the points in the SWC file, or -1
    source: str = ""  # file or function that it comes from
    report: tuple[str, ...] = ()  # what reading and editing did, in words

    @property
    def n_sections(self) -> int:
        """The number of sections in the tree."""
        return len(self.kind)

    @property
    def section_of_point(self) -> np.ndarray:
        """`(p,)` int, the section that each point belongs to."""
        return np.repeat(np.arange(self.n_sections), np.diff(self.offsets))

    @property
    def arc(self) -> np.ndarray:
        """`(p,)` µm, path length from the start of its section to each point."""
        step = np.zeros(len(self.points))
        step[1:] = np.linalg.norm(np.diff(self.points[:, :3], axis=0).astype(float), axis=1)
        step[self.offsets[:-1]] = 0.0
        return np.concatenate([np.cumsum(own) for own in np.split(step, self.offsets[1:-1])])

    @property
    def lengths(self) -> np.ndarray:
        """`(s,)` µm, path length of each section."""
        return self.arc[self.offsets[1:] - 1]

    @property
    def areas(self) -> np.ndarray:
        """`(s,)` µm², lateral area of each section's frusta, joints between sections left out."""
        a, b, owner = self.pieces()
        step = np.diff(self.arc)[np.diff(self.section_of_point) == 0]
        slant = np.hypot(step, (b[:, 3] - a[:, 3]) / 2)
        lateral = np.pi / 2 * (a[:, 3] + b[:, 3]) * slant
        return np.bincount(owner, lateral, self.n_sections)

    @property
    def soma(self) -> int:
        """The section that path distances start from: the first soma, else the root."""
        somata = np.flatnonzero(self.kind == 1)
        return int(somata[0] if len(somata) else np.flatnonzero(self.parent_section < 0)[0])

    def region(self, name: str) -> np.ndarray:
        """`(s,)` bool, the sections of a region.

        **Raises:** `ValueError` listing the regions that there are.
        """
        if name not in self.labels:
            raise ValueError(f"no region {name!r}; this morphology has {', '.join(self.labels)}.")
        return self.labels[name].copy()

    def section_points(self, section: int | str) -> np.ndarray:
        """`(m, 4)` x, y, z, diameter (µm) of one section, given by number or name.

        **Raises:** `ValueError` for a section that there is not.
        """
        i = self._number(section)
        return self.points[self.offsets[i] : self.offsets[i + 1]]

    def segments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All straight pieces: ends `(q, 2, 3)` µm, diameters `(q,)` µm, sections `(q,)`."""
        a, b, owner = self.pieces()
        return np.stack([a[:, :3], b[:, :3]], axis=1), (a[:, 3] + b[:, 3]) / 2, owner

    def _number(self, section: int | str) -> int:
        """The number of a section, given by number or name."""
        names = self.name
        if isinstance(section, str) and section in names:
            return names.index(section)
        if isinstance(section, int | np.integer) and 0 <= section < len(names):
            return int(section)
        raise ValueError(
            f"no section {section!r:.80}; there are {len(names)}, numbered from 0, and the first "
            f"are {', '.join(names[:6])}."
        )

    def pieces(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The frusta: `(q, 4)` start and end (x, y, z, diameter, µm) and `(q,)` section."""
        owner = self.section_of_point
        within = owner[1:] == owner[:-1]
        points = self.points.astype(float)
        return points[:-1][within], points[1:][within], owner[1:][within]

    def _branches(self) -> list[Branch]:
        basic = set(_regions(self.kind))
        return [
            Branch(
                self.section_points(i),
                int(self.parent_section[i]),
                float(self.parent_x[i]),
                int(self.kind[i]),
                tuple(k for k, mask in self.labels.items() if mask[i] and k not in basic),
                None if self.samples is None else self.samples[slice(*self.offsets[i : i + 2])],
            )
            for i in range(self.n_sections)
        ]

    def _built(self, branches: list[Branch], said: str) -> "Morphology":
        return assemble(branches, self.source, (*self.report, said))

    def _moved(self, points: np.ndarray, said: str) -> "Morphology":
        points = points.astype(self.points.dtype)
        return replace(self, points=points, report=(*self.report, said))

    def _select(self, keep: np.ndarray, said: str) -> "Morphology":
        new = np.full(self.n_sections + 1, -1)
        new[keep] = np.arange(len(keep))
        chosen = np.isin(self.section_of_point, keep)
        return replace(
            self,
            points=self.points[chosen],
            offsets=np.concatenate([[0], np.cumsum(np.diff(self.offsets)[keep])]),
            parent_section=new[self.parent_section[keep]],
            parent_x=self.parent_x[keep],
            kind=self.kind[keep],
            name=tuple(self.name[i] for i in keep),
            labels={k: m[keep] for k, m in self.labels.items() if m[keep].any()},
            samples=None if self.samples is None else self.samples[chosen],
            report=(*self.report, said),
        )

    def __repr__(self) -> str:
        return (
            f"Morphology({self.source}: {self.n_sections} sections, {len(self.points)} points, "
            f"{self.lengths.sum():.1f} µm, {self.areas.sum():.1f} µm²)"
        )


def assemble(
    branches: Sequence[Branch], source: str = "", report: tuple[str, ...] = ()
) -> Morphology:
    """A `Morphology` from branches in any order, sorted by SWC type as NEURON sorts them.

    **Raises:** `MorphologyError` naming the section whose diameter or length is not positive, or
    whose parents lead nowhere.
    """
    order = sorted(range(len(branches)), key=lambda i: branches[i].kind or _LAST)
    place = np.full(len(branches) + 1, -1)
    place[order] = np.arange(len(order))
    chosen = [branches[i] for i in order]
    kind = np.array([b.kind for b in chosen], int)
    ids = [b.samples for b in chosen if b.samples is not None]
    labels = _regions(kind)
    for extra in dict.fromkeys(r for b in chosen for r in b.regions):
        labels[extra] = np.array([extra in b.regions for b in chosen])
    morph = Morphology(
        points=np.concatenate([b.points for b in chosen]),
        offsets=np.concatenate([[0], np.cumsum([len(b.points) for b in chosen])]),
        parent_section=np.array([place[b.parent] for b in chosen], int),
        parent_x=np.array([b.parent_x for b in chosen], float),
        kind=kind,
        name=_names(kind),
        labels=labels,
        samples=np.concatenate(ids) if len(ids) == len(chosen) else None,
        source=source,
        report=report,
    )
    _check(morph)
    return morph


def _regions(kind: np.ndarray) -> dict[str, np.ndarray]:
    """Regions that follow from SWC types; every type that is neither soma nor axon is dendrite."""
    out = {name: kind == code for code, name in KINDS.items()}
    out |= {f"dend_{code}": kind == code for code in np.unique(kind).tolist() if code not in KINDS}
    out["dendrite"] = (kind != 1) & (kind != 2)
    return {name: mask for name, mask in out.items() if mask.any()}


def _names(kind: np.ndarray) -> tuple[str, ...]:
    seen: dict[int, int] = {}
    names = []
    for code in kind.tolist():
        i = seen[code] = seen.get(code, -1) + 1
        names.append(f"{_STEMS.get(code, f'dend_{code}')}[{i}]")
    return tuple(names)


def _check(morph: Morphology) -> None:
    where = f"{morph.source}: " if morph.source else ""
    if not np.isfinite(morph.points).all():
        i = morph.section_of_point[np.argmin(np.isfinite(morph.points).all(axis=1))]
        raise MorphologyError(f"{where}{morph.name[i]} has a number that is not finite.")
    if np.any(morph.points[:, 3] <= 0):
        p = int(np.argmin(morph.points[:, 3]))
        i = morph.section_of_point[p]
        raise MorphologyError(
            f"{where}every diameter must be > 0 µm; point {p - morph.offsets[i]} of "
            f"{morph.name[i]}, at {np.round(morph.points[p, :3], 3).tolist()}, has "
            f"{morph.points[p, 3]:g}. Correct it in the source."
        )
    if np.any(morph.lengths <= 0):
        i = int(np.argmin(morph.lengths))
        raise MorphologyError(
            f"{where}{morph.name[i]} has length 0 µm: a section needs two points that differ."
        )
    roots = np.flatnonzero(morph.parent_section < 0)
    if len(roots) != 1 or len(parents_first(morph.parent_section)) != morph.n_sections:
        raise MorphologyError(
            f"{where}the sections must form one tree; sections without a parent: "
            f"{', '.join(morph.name[i] for i in roots[:6]) or 'none (a cycle)'}."
        )
