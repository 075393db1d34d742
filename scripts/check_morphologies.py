"""Compare how jaxdend and NEURON read a folder of morphologies, and print a table of agreement.

    python scripts/check_morphologies.py DIR [--resistance] [--out table.csv]

Every .swc, .eswc, .asc and .h5 file below DIR is read by both, NEURON by its Import3d. Compared are
the names of the sections, their points, where they join, their lengths and areas, and with
`--resistance` the input resistance at the soma. What jaxdend warned of stands beside. It needs
NEURON: pip install neuron. The exit status is 1 if a file differs, or is read by NEURON alone.
"""

import argparse
import contextlib
import csv
import os
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

import jaxdend as jd
from jaxdend.channels import Leak

ENDINGS = (".swc", ".eswc", ".asc", ".h5")
RA, LEAK, LONGEST = 100.0, 1e-4, 40.0  # Ω·cm, S/cm², µm
CLOSE = 1e-6  # relative


@dataclass
class Row:
    """One line of the table."""

    file: str
    verdict: str
    sections: str = ""
    length: str = ""
    area: str = ""
    resistance: str = ""
    remarks: str = ""


@contextlib.contextmanager
def silent():
    """Nothing of what NEURON prints, not even what it prints from C."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)


def plain(section) -> str:
    """`dend[3]`, without the cell that the section belongs to."""
    name = section.name().split(".")[-1]
    return name if "[" in name else f"{name}[0]"


def read_by_neuron(path: Path) -> dict:
    """NEURON's sections by name; raises RuntimeError where it refuses."""
    from neuron import h

    h.load_file("stdrun.hoc")
    h.load_file("import3d.hoc")
    for section in list(h.allsec()):
        h.delete_section(sec=section)
    swc = path.suffix.lower() in (".swc", ".eswc")
    reader = h.Import3d_SWC_read() if swc else h.Import3d_Neurolucida3()
    reader.quiet = 1
    reader.input(str(path))
    h.Import3d_GUI(reader, False).instantiate(None)
    sections = {plain(section): section for section in h.allsec()}
    if not sections:
        raise RuntimeError("no section")
    return sections


def differences(morph: jd.Morphology, sections: dict) -> list[str]:
    """What is not the same, in words."""
    if set(morph.name) != set(sections):
        return [f"sections {sorted(set(morph.name) ^ set(sections))[:4]}"]
    found = []
    for i, name in enumerate(morph.name):
        section = sections[name]
        rows = range(section.n3d())
        theirs = np.array(
            [[section.x3d(k), section.y3d(k), section.z3d(k), section.diam3d(k)] for k in rows]
        )
        ours = morph.section_points(name)
        if theirs.shape != ours.shape or not np.allclose(theirs, ours, rtol=CLOSE, atol=CLOSE):
            found.append(f"points of {name}")
        at, p = section.parentseg(), morph.parent_section[i]
        joint = None if at is None else (plain(at.sec), at.x)
        if joint != (None if p < 0 else (morph.name[p], morph.parent_x[i])):
            found.append(f"joint of {name}")
    return found


def resistances(morph: jd.Morphology, sections: dict) -> tuple[float, float]:
    """Input resistance (MΩ) at the middle of the soma or root, here and in NEURON."""
    from neuron import h

    cell = jd.Cell(morph, max_length=LONGEST, ra=RA).insert(Leak(g=LEAK, e=-65.0))
    name = morph.name[morph.soma]
    ours = jd.protocols.resistances(cell, [cell.locate(section=name, x=0.5)]).input
    for section in sections.values():
        section.Ra = RA
        pieces = int(np.ceil(section.L / LONGEST * (1 - 1e-9)))
        section.nseg = max(1, pieces + (pieces + 1) % 2)
        section.insert("pas")
        section.g_pas = LEAK
    probe = h.Impedance()
    probe.loc(sections[name](0.5))
    probe.compute(0)
    return float(np.ravel(ours)[0]), probe.input(sections[name](0.5))


def check(path: Path, folder: Path, resistance: bool) -> Row:
    """Read one file by both and compare."""
    row = Row(str(path.relative_to(folder)), "")
    morph, said = None, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            morph = jd.read_morphology(path)
        except ValueError as error:
            said.append(str(error).replace("\n", " "))
        said += [str(w.message) for w in caught]
    row.remarks = " | ".join(" ".join(text.replace(str(path), "").split())[:200] for text in said)
    try:
        if path.suffix.lower() == ".h5":
            raise RuntimeError("NEURON reads no H5")
        with silent():
            sections = read_by_neuron(path)
    except Exception as error:  # hoc raises what it likes
        row.verdict = "refused by both" if morph is None else "NEURON refuses"
        row.remarks = row.remarks or str(error)[:200]
        return row
    if morph is None:
        row.verdict = "jaxdend refuses"
        return row
    with silent():
        length = sum(s.L for s in sections.values())
        area = sum(x.area() for s in sections.values() for x in s)
        found = differences(morph, sections)
        pair = resistances(morph, sections) if resistance and not found else None
    row.sections = f"{morph.n_sections} / {len(sections)}"
    row.length = f"{morph.lengths.sum():.6g} / {length:.6g}"
    row.area = f"{morph.areas.sum():.6g} / {area:.6g}"
    if pair:
        row.resistance = f"{pair[0]:.6g} / {pair[1]:.6g}"
        if abs(pair[0] / pair[1] - 1) > CLOSE:
            found.append("input resistance")
    row.verdict = "different" if found else "equal, warned" if said else "equal"
    row.remarks = " | ".join([*found[:4], *([row.remarks] if row.remarks else [])])
    return row


def main(arguments: list[str] | None = None) -> int:
    """Print the table; the exit status says whether all agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resistance", action="store_true", help="compare input resistances too")
    parser.add_argument("--out", type=Path, help="write the table as CSV as well")
    asked = parser.parse_args(arguments)
    files = sorted(p for p in asked.folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not files:
        parser.error(f"{asked.folder} holds no file that ends in {', '.join(ENDINGS)}")
    rows = []
    heads = ("verdict", "sections", "length µm", "area µm²", "Rin MΩ", "file", "remarks")
    print("{:<16} {:>13} {:>21} {:>21} {:>19}  {}  {}".format(*heads))
    for path in files:
        r = check(path, asked.folder, asked.resistance)
        rows.append(r)
        print(
            f"{r.verdict:<16} {r.sections:>13} {r.length:>21} {r.area:>21} {r.resistance:>19}  "
            f"{r.file}  {r.remarks[:160]}",
            flush=True,
        )
    print(f"\njaxdend / NEURON, {len(rows)} files:")
    counts = Counter(r.verdict for r in rows)
    for verdict, count in counts.most_common():
        print(f"{count:6d}  {verdict}")
    if asked.out:
        with asked.out.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(vars(rows[0]))
            table.writerows(vars(r).values() for r in rows)
    return int(bool(counts["different"] + counts["jaxdend refuses"]))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    sys.exit(main())
