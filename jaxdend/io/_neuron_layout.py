"""A cell as NEURON's sections: those of its morphology, or one for each compartment."""

from dataclasses import dataclass

import numpy as np

from jaxdend.cable.compartments import discretise
from jaxdend.cell import Cell


@dataclass(frozen=True)
class Piece:
    """One section of the script that NEURON runs."""

    name: str
    parent: str | None  # section that it starts at; `None` for the root
    parent_x: float  # where on the parent
    nseg: int
    ra: float  # Ω·cm
    compartments: np.ndarray  # (nseg,) int in the order of x; empty for a node without membrane
    points: np.ndarray | None = None  # (m, 4) x, y, z, diameter, µm
    cylinder: tuple[float, float] | None = None  # length and diameter, µm, instead of points
    note: str = ""  # what it stands for


@dataclass(frozen=True)
class Layout:
    """The sections, and where each compartment of the cell is."""

    pieces: tuple[Piece, ...]
    place: dict[int, tuple[str, float]]  # compartment -> section and x
    why: str = ""  # why there is a section for each compartment, if so


def by_section(cell: Cell) -> Layout:
    """The sections of the morphology, point by point.

    **Raises:** `ValueError`, saying why, where NEURON would cut another cell from them.
    """
    morph = cell.morph
    if morph is None:
        raise ValueError("the cell has no morphology")
    inside = np.asarray(cell.area) > 0
    owner = cell.section
    counts = np.bincount(owner[inside], minlength=morph.n_sections)
    cut = discretise(morph, counts, end_nodes=cell.exposed)
    same = all(
        len(ours) == len(theirs) and np.allclose(ours, theirs, rtol=1e-6, atol=0.0)
        for ours, theirs in (
            (np.asarray(cell.area), cut.area),
            (np.asarray(cell.own), cut.own),
            (np.asarray(cell.via), cut.via),
        )
    )
    if not same:
        raise ValueError("areas or axial resistances are not those of its morphology")
    ra, pieces, place = np.asarray(cell.ra), [], {}
    for number, name in enumerate(morph.name):
        own = np.flatnonzero(owner == number)
        own = own[np.argsort(cell.x[own], kind="stable")]
        if not np.all(ra[own] == ra[own[0]]):
            raise ValueError(f"ra varies along {name}")
        over = int(morph.parent_section[number])
        pieces.append(
            Piece(
                name=name,
                parent=morph.name[over] if over >= 0 else None,
                parent_x=float(morph.parent_x[number]) if over >= 0 else 0.0,
                nseg=int(counts[number]),
                ra=float(ra[own[0]]),
                compartments=own[inside[own]],
                points=morph.section_points(number),
            )
        )
        place |= {int(i): (name, float(cell.x[i])) for i in own}
    return Layout(tuple(pieces), place)


def by_compartment(cell: Cell, why: str) -> Layout:
    """Makes a section of each compartment and branch point, joined centre to centre.

    Each is a cylinder of the area of its compartment, whose Ra makes its first half the resistance
    to the parent; what has no membrane has no capacitance either.
    """
    parent = np.asarray(cell.tree.parent)  # pyright: ignore[reportAttributeAccessIssue]
    extra = len(parent) - cell.n
    area = np.append(np.asarray(cell.area, float), np.zeros(extra))
    ra = np.append(np.asarray(cell.ra, float), np.zeros(extra))
    above = np.maximum(parent, 0)
    resistance = ra * np.asarray(cell.own) + ra[above] * np.asarray(cell.via)  # MΩ
    known = np.append(np.asarray(cell.length, float), np.full(extra, np.nan))
    usual = np.sqrt(np.where(area > 0, area, np.pi) / np.pi)
    length = np.where((known > 0) & (area > 0), known, usual)
    diameter = np.where(area > 0, area / (np.pi * length), usual)
    own_ra = np.where(parent >= 0, resistance * 50.0 * np.pi * diameter**2 / length, 100.0)
    names = [f"comp[{i}]" if i < cell.n else f"node[{i}]" for i in range(len(parent))]
    pieces = []
    for i, name in enumerate(names):
        public = i < cell.n
        section = cell.section_names[cell.section[i]] if public and cell.section_names else ""
        pieces.append(
            Piece(
                name=name,
                parent=names[parent[i]] if parent[i] >= 0 else None,
                parent_x=0.5,
                nseg=1,
                ra=float(own_ra[i]),
                compartments=np.array([i] if area[i] > 0 else [], int),
                cylinder=(float(length[i]), float(diameter[i])),
                note=f"{section}({cell.x[i]:.4g})" if section else "",
            )
        )
    place = {i: (names[i], 0.5) for i in range(cell.n)}
    return Layout(tuple(pieces), place, why)
