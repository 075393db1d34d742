"""Geometry as live NEURON sees it: the oracle for morphologies and compartments."""

from pathlib import Path

import numpy as np
import pytest


def empty_neuron():
    """NEURON's interpreter, with nothing in it."""
    neuron = pytest.importorskip("neuron", reason="live NEURON: pip install 'jaxdend[validation]'")
    for library in ("stdrun.hoc", "import3d.hoc"):
        neuron.h.load_file(library)
    for section in list(neuron.h.allsec()):
        neuron.h.delete_section(sec=section)
    return neuron.h


class Template:
    """An object that Import3d puts its sections in."""


def import_file(path: Path) -> tuple[Template, dict]:
    """`path` through Import3d: an object that keeps the sections alive, and they by plain name."""
    h = empty_neuron()
    reader = h.Import3d_SWC_read() if path.suffix == ".swc" else h.Import3d_Neurolucida3()
    reader.quiet = 1
    reader.input(str(path))
    cell = Template()
    h.Import3d_GUI(reader, False).instantiate(cell)
    return cell, {plain_name(section): section for section in h.allsec()}


def build(morph) -> dict:
    """A `Morphology` in NEURON, point by point: name -> section."""
    h = empty_neuron()
    sections = {name: h.Section(name=name) for name in morph.name}
    for i, section in enumerate(sections.values()):
        if morph.parent_section[i] >= 0:
            parent = list(sections.values())[morph.parent_section[i]]
            h.pt3dstyle(1, *map(float, morph.section_points(i)[0, :3]), sec=section)
            section.connect(parent(float(morph.parent_x[i])), 0)
        for point in morph.section_points(i):
            h.pt3dadd(*map(float, point), sec=section)
    return sections


def plain_name(section) -> str:
    """`dend[3]`, without the cell it belongs to."""
    name = section.name().split(".")[-1]
    return name if "[" in name else f"{name}[0]"


def joints(sections: dict) -> dict:
    """name -> (parent's name, place on it), or `None` for the root."""
    parents = {name: section.parentseg() for name, section in sections.items()}
    return {n: None if p is None else (plain_name(p.sec), p.x) for n, p in parents.items()}


def points(section) -> np.ndarray:
    """`(m, 4)` x, y, z, diameter."""
    rows = range(section.n3d())
    return np.array(
        [[section.x3d(i), section.y3d(i), section.z3d(i), section.diam3d(i)] for i in rows]
    )


def compartments(sections: dict, names, counts, soma: str, ra: float) -> dict[str, np.ndarray]:
    """Per compartment, section by section in the order of `names`: area, ri, distance, ..."""
    from neuron import h

    out: dict[str, list[float]] = {"area": [], "ri": [], "distance": [], "diameter": [], "x": []}
    for name, count in zip(names, counts, strict=True):
        sections[name].Ra, sections[name].nseg = ra, int(count)
    origin = sections[soma](0.5)
    for name in names:
        for segment in sections[name]:
            out["area"].append(segment.area())
            out["ri"].append(segment.ri())
            out["distance"].append(h.distance(origin, segment))
            out["diameter"].append(segment.diam)
            out["x"].append(segment.x)
    return {name: np.array(values) for name, values in out.items()}
