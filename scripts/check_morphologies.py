"""Compare how jaxdend and NEURON read a folder of morphologies, and print a table of agreement.

    python scripts/check_morphologies.py DIR [--resistance] [--out table.csv]

Every .swc, .eswc, .asc and .h5 file below DIR is read by both, NEURON by its Import3d in a process
of its own for each file, as some make it crash. Compared are the names of the sections, their
points, where they join, their lengths and areas, and with `--resistance` the input resistance at
the soma. What jaxdend warned of stands beside; of several cells in a file it reads one. It needs
NEURON: pip install neuron. The exit status is 1 if a file differs, or is read by NEURON alone.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ENDINGS = (".swc", ".eswc", ".asc", ".h5")
RA, LEAK, LONGEST = 100.0, 1e-4, 40.0  # Ω·cm, S/cm², µm
CLOSE = 1e-6  # relative
PATIENCE = 600.0  # s for NEURON to read a file


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


def plain(section) -> str:
    """`dend[3]`, without the cell that the section belongs to."""
    name = section.name().split(".")[-1]
    return name if "[" in name else f"{name}[0]"


def neuron_alone(path: str, out: str, resistance: bool) -> None:
    """Read a file by NEURON, in a process of its own, and write what it made of it as JSON."""
    from neuron import h

    h.load_file("stdrun.hoc")
    h.load_file("import3d.hoc")
    swc = path.lower().endswith((".swc", ".eswc"))
    reader = h.Import3d_SWC_read() if swc else h.Import3d_Neurolucida3()
    reader.quiet = 1
    reader.input(path)
    h.Import3d_GUI(reader, False).instantiate(None)
    sections = {plain(section): section for section in h.allsec()}
    seen = {
        "length": sum(s.L for s in sections.values()),
        "area": sum(x.area() for s in sections.values() for x in s),
        "points": {
            name: [[s.x3d(k), s.y3d(k), s.z3d(k), s.diam3d(k)] for k in range(s.n3d())]
            for name, s in sections.items()
        },
        "joints": {
            name: None if s.parentseg() is None else [plain(s.parentseg().sec), s.parentseg().x]
            for name, s in sections.items()
        },
    }
    if resistance:
        seen["resistance"] = {}
        for s in sections.values():
            pieces = int(np.ceil(s.L / LONGEST * (1 - 1e-9)))
            s.Ra, s.nseg = RA, max(1, pieces + (pieces + 1) % 2)
            s.insert("pas")
            s.g_pas = LEAK
        for name in [n for n in sections if n in ("soma[0]", next(iter(sections)))]:
            probe = h.Impedance()
            probe.loc(sections[name](0.5))
            probe.compute(0)
            seen["resistance"][name] = probe.input(sections[name](0.5))
    Path(out).write_text(json.dumps(seen))


def read_by_neuron(path: Path, resistance: bool) -> dict:
    """What NEURON makes of a file; raises RuntimeError where it refuses or crashes."""
    if path.suffix.lower() == ".h5":
        raise RuntimeError("NEURON reads no H5")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "seen.json"
        asked = [sys.executable, __file__, "--neuron", str(path), str(out), str(int(resistance))]
        try:
            done = subprocess.run(asked, capture_output=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"NEURON takes longer than {PATIENCE:g} s") from None
        if done.returncode < 0:
            raise RuntimeError(f"NEURON crashes (signal {-done.returncode})")
        seen = json.loads(out.read_text()) if out.exists() else {"points": {}}
    if not seen["points"]:
        raise RuntimeError("NEURON makes no section of it")
    return seen


def differences(morph, seen: dict) -> list[str]:
    """What is not the same, in words."""
    if set(morph.name) != set(seen["points"]):
        return [f"sections {sorted(set(morph.name) ^ set(seen['points']))[:4]}"]
    found = []
    for i, name in enumerate(morph.name):
        theirs, ours = np.array(seen["points"][name]), morph.section_points(name)
        if theirs.shape != ours.shape or not np.allclose(theirs, ours, rtol=CLOSE, atol=CLOSE):
            found.append(f"points of {name}")
        p = morph.parent_section[i]
        if seen["joints"][name] != (None if p < 0 else [morph.name[p], morph.parent_x[i]]):
            found.append(f"joint of {name}")
    return found


def resistance_here(morph) -> float:
    """Input resistance (MΩ) at the middle of the soma or root, by jaxdend."""
    import jaxdend as jd
    from jaxdend.channels import Leak

    cell = jd.Cell(morph, max_length=LONGEST, ra=RA).insert(Leak(g=LEAK, e=-65.0))
    site = cell.locate(section=morph.name[morph.soma], x=0.5)
    return float(np.ravel(jd.protocols.resistances(cell, [site]).input)[0])


def check(path: Path, folder: Path, resistance: bool) -> Row:
    """Read one file by both and compare."""
    import jaxdend as jd

    row = Row(str(path.relative_to(folder)), "")
    morph, said = None, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            morph = jd.read_morphology(path)
        except ValueError as error:
            said.append(str(error))
        said += [str(w.message) for w in caught]
    row.remarks = " | ".join(" ".join(text.replace(str(path), "").split())[:200] for text in said)
    try:
        seen = read_by_neuron(path, resistance)
    except RuntimeError as error:
        row.verdict = "refused by both" if morph is None else "NEURON refuses"
        row.remarks = f"{error} | {row.remarks}"
        return row
    if morph is None:
        row.verdict = "jaxdend refuses"
        return row
    found = differences(morph, seen)
    row.sections = f"{morph.n_sections} / {len(seen['points'])}"
    row.length = f"{morph.lengths.sum():.6g} / {seen['length']:.6g}"
    row.area = f"{morph.areas.sum():.6g} / {seen['area']:.6g}"
    theirs = seen.get("resistance", {}).get(morph.name[morph.soma])
    if theirs is not None:
        ours = resistance_here(morph)
        row.resistance = f"{ours:.6g} / {theirs:.6g}"
        if abs(ours / theirs - 1) > CLOSE:
            found.append("input resistance")
    row.verdict = "different" if found else "equal, warned" if said else "equal"
    if found and "cells in one file" in row.remarks:
        row.verdict = "one of its cells"
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
    if sys.argv[1:2] == ["--neuron"]:
        neuron_alone(sys.argv[2], sys.argv[3], sys.argv[4] == "1")
        sys.exit()
    import jax

    jax.config.update("jax_enable_x64", True)
    sys.exit(main())
