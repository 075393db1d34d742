"""A cell and its inputs as a script that rebuilds and runs them in NEURON."""

import os
import pprint
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from jaxdend.cell import Cell
from jaxdend.files import write_whole
from jaxdend.io._neuron_inputs import Inputs, add_input
from jaxdend.io._neuron_layout import Layout, by_compartment, by_section
from jaxdend.io._neuron_membrane import Membrane, gather
from jaxdend.io._neuron_script import CODE
from jaxdend.mechanisms.ions import IONS
from jaxdend.solvers import BackwardEuler, CrankNicolson
from jaxdend.traces import Traces

LAYOUTS = ("auto", "sections", "compartments")


def export_neuron(
    cell: Cell,
    path: str | os.PathLike[str],
    *,
    inputs: Any = (),
    t1: float | None = None,
    dt: float | None = None,
    record: ArrayLike | None = None,
    v0: ArrayLike = -65.0,
    celsius: float | None = None,
    traces: Traces | None = None,
    solver: BackwardEuler | CrankNicolson | None = None,
    layout: str = "auto",
    unknown: str = "raise",
) -> Path:
    """Write a Python script that rebuilds `cell` and `inputs` in NEURON, runs and compares.

    Run it as `python SCRIPT.py`, where NEURON is installed: it writes `SCRIPT_neuron.csv` and,
    where `SCRIPT_reference.csv` is present, prints the largest difference to it. `build()` in it
    can be imported. Mechanisms have their published names; the script begins with the `.mod` files
    it needs, which are not part of jaxdend, and stops where NEURON lacks one.

    **Arguments:**

    - `inputs`: stimuli, clamps and synapse groups that NEURON has built-in counterparts of.
    - `t1`, `dt`: ms; by default those of `traces`, else 100 and 0.025.
    - `record`: compartments; by default those of `traces`, else the first of the soma.
    - `v0`: the initial voltage, a number or `(n,)` mV; `celsius`: by default the cell's.
    - `traces`: of `jd.simulate` with the same inputs; written next to the script as
        `SCRIPT_reference.csv`.
    - `solver`: `BackwardEuler()` (default), whose traces NEURON gives at equal `dt` up to
        rounding, or `CrankNicolson()`, NEURON's `secondorder = 2`, which agrees where stimuli and
        events lie on steps, and exactly with `round_events=True`; not with a voltage clamp.
    - `layout`: `"sections"` of the morphology, point by point (NEURON keeps them in single
        precision), `"compartments"`, a cylinder for each, joined by the exact resistances, or
        `"auto"`: the former where it gives the same cell, else the latter.
    - `unknown="skip"` leaves out, with a warning, what NEURON has no counterpart of.

    **Returns:** the path of the script (`.py` is appended where it is missing).

    **Raises:** `ValueError` naming the mechanism or input without a counterpart; two mechanisms
    that need different values of one variable of NEURON, such as `ek`; a layout that does not fit.
    """
    _check(cell, layout, unknown, solver)
    path = Path(path)
    path = path if path.suffix == ".py" else path.with_name(path.name + ".py")
    t1, dt = _times(t1, dt, traces)
    start = _voltage(cell, v0)
    if celsius is not None:
        cell = cell.set(celsius=celsius)
    membrane = gather(cell, unknown, start)
    plan = _layout(cell, membrane, layout)
    sites = _sites(cell, record, traces)
    found = _inputs(cell, plan, inputs, unknown, membrane.skipped)
    data = {
        "DT": dt,
        "STEP_COUNT": round(t1 / dt),
        "SECOND_ORDER": 2 if isinstance(solver, CrankNicolson) else 0,
        "CELSIUS": float(cell.celsius),
        "V_INIT": _start(plan, start),
        "RECORD": [plan.place[i] for i in sites],
    }
    blocks = [_header(path, membrane, plan), _settings(data), _geometry(cell, plan)]
    blocks += [_membrane(membrane, plan), _electrodes(found)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if traces is not None:
        _write_reference(path, plan, sites, traces)
    write_whole(path, "\n\n".join(blocks) + CODE)
    return path


def _check(cell: Cell, layout: str, unknown: str, solver: Any) -> None:
    if layout not in LAYOUTS or unknown not in ("raise", "skip"):
        raise ValueError(
            f"export_neuron: layout is one of {LAYOUTS} and unknown 'raise' or 'skip'; "
            f"got {layout!r} and {unknown!r}."
        )
    if solver is not None and not isinstance(solver, BackwardEuler | CrankNicolson):
        raise ValueError(
            f"export_neuron: solver is BackwardEuler() or CrankNicolson(), which NEURON has; "
            f"got {type(solver).__name__}()."
        )
    if cell.area.ndim > 1:
        raise ValueError("export_neuron takes one cell; this is a stack of them.")


def _times(t1: float | None, dt: float | None, traces: Traces | None) -> tuple[float, float]:
    if traces is not None:
        ts = np.asarray(traces.ts)
        if ts.ndim != 1 or traces.v is None:
            raise ValueError(
                "export_neuron: traces must be those of one simulation, with voltages."
            )
        t1 = float(ts[-1]) if t1 is None else t1
        dt = float(np.round(ts[1] - ts[0], 9)) if dt is None else dt
    t1, dt = 100.0 if t1 is None else t1, 0.025 if dt is None else dt
    if not (dt > 0 and t1 > 0):
        raise ValueError(f"export_neuron: t1 and dt must be > 0 ms; got {t1} and {dt}.")
    return float(t1), float(dt)


def _sites(cell: Cell, record: ArrayLike | None, traces: Traces | None) -> list[int]:
    if traces is not None:
        if record is not None:
            raise ValueError("export_neuron: the sites are those of traces; leave out record=.")
        return np.asarray(traces.sites).tolist()
    if record is None:
        record = cell.locate("soma") if "soma" in cell.regions else 0
    given = np.atleast_1d(np.asarray(record))
    given = np.flatnonzero(given) if given.dtype == bool else given
    return _known(cell, given, "record")


def _known(cell: Cell, sites: np.ndarray, what: str) -> list[int]:
    if sites.dtype.kind not in "iu" or np.any((sites < 0) | (sites >= cell.n)):
        raise ValueError(
            f"export_neuron: {what}: compartments are 0..{cell.n - 1}; got {sites.tolist()!r:.60}."
        )
    return sites.tolist()


def _layout(cell: Cell, membrane: Membrane, layout: str) -> Layout:
    """The morphology's sections where NEURON makes the same cell of them."""
    if layout == "compartments":
        return by_compartment(cell, "as asked for")
    try:
        plan = by_section(cell)
        partly = [s for s in membrane.present if membrane.whole(s)]
        masks = [(suffix, membrane.present[suffix]) for suffix in partly]
        for suffix, mask in masks:
            for piece in plan.pieces:
                if len(set(mask[piece.compartments].tolist())) > 1:
                    raise ValueError(f"{suffix} is in a part of {piece.name} only")
    except ValueError as error:
        if layout == "sections":
            raise ValueError(
                f"export_neuron: layout='sections' does not give the same cell: {error}. "
                "layout='compartments' does."
            ) from error
        return by_compartment(cell, str(error))
    return plan


def _inputs(cell: Cell, plan: Layout, inputs: Any, unknown: str, skipped: list[str]) -> Inputs:
    out = Inputs()
    for group in inputs if isinstance(inputs, Sequence) else (inputs,):
        name = type(group).__name__
        sites = getattr(group, "site", None)
        places = [] if sites is None else _known(cell, np.asarray(sites), f"{name}.site")
        try:
            add_input(out, group, [plan.place[i] for i in places])
        except ValueError as error:
            if unknown != "skip":
                raise
            warnings.warn(f"{error} It is left out of the script.", stacklevel=3)
            skipped.append(f"{name}: {error}")
    return out


def _voltage(cell: Cell, v0: Any) -> np.ndarray:
    """`v0` as `()` or `(n,)` mV."""
    v = np.asarray(v0, float) if isinstance(v0, int | float | list | tuple) else _array(v0)
    if v.shape not in ((), (cell.n,)):
        raise ValueError(f"export_neuron: v0 must be a number or ({cell.n},) mV; got {v.shape}.")
    return v


def _start(plan: Layout, v: np.ndarray) -> float | dict[str, Any]:
    if v.ndim == 0:
        return float(v)
    return {p.name: _short(v[p.compartments]) for p in plan.pieces if len(p.compartments)}


def _array(v0: Any) -> np.ndarray:
    if not hasattr(v0, "shape"):
        raise ValueError(
            "export_neuron: v0 must be a number or (n,) mV: NEURON starts with every gate at rest "
            f"there; got {type(v0).__name__}."
        )
    return np.asarray(v0, float)


def _short(values: np.ndarray) -> float | list[float]:
    """One number where all are equal."""
    out = [float(v) for v in values]
    return out[0] if len(set(out)) == 1 else out


# --- the parts of the script ------------------------------------------------------------------


def _header(path: Path, membrane: Membrane, plan: Layout) -> str:
    needed = {s: source for s, source in membrane.files.items() if source}
    lines = [f'"""A neuron of jaxdend, rebuilt in NEURON: python {path.name}', ""]
    if needed:
        lines += ["Mechanisms to compile first, with nrnivmodl in the folder you start from:", ""]
        lines += [f"- {suffix}: {source}" for suffix, source in sorted(needed.items())]
    else:
        lines.append("All its mechanisms are built into NEURON.")
    if plan.why:
        lines += ["", f"One section for each compartment: {plan.why}."]
    if membrane.skipped:
        lines += ["", "LEFT OUT, so that results will differ:", ""]
        lines += [f"- {text}" for text in membrane.skipped]
    lines += ['"""', "", "import bisect", "import csv", "import math", "import sys"]
    lines += ["from pathlib import Path", "", "from neuron import h", ""]
    lines += [f'RESULT = Path(__file__).with_name("{path.stem}_neuron.csv")']
    lines += [f'REFERENCE = Path(__file__).with_name("{path.stem}_reference.csv")']
    return "\n".join(lines)


def _settings(data: dict[str, Any]) -> str:
    comments = {
        "DT": "ms",
        "SECOND_ORDER": "0 backward Euler, 2 Crank-Nicolson",
        "CELSIUS": "degrees",
        "V_INIT": "mV",
        "RECORD": "section and place along it",
    }
    return "\n".join(
        f"{name} = {_text(value)}" + (f"  # {comments[name]}" if name in comments else "")
        for name, value in data.items()
    )


def _text(value: Any) -> str:
    return pprint.pformat(value, width=100, compact=True, sort_dicts=False)


def _geometry(cell: Cell, plan: Layout) -> str:
    cm = np.asarray(cell.cm, float)
    lines = ["# section, parent, place on the parent, segments, Ra (ohm cm), cm (uF/cm2)"]
    lines += ["SECTIONS = ["]
    for p in plan.pieces:
        own = _short(cm[p.compartments]) if len(p.compartments) else 0.0
        row = (p.name, p.parent, p.parent_x, p.nseg, p.ra, own)
        lines.append(f"    {row!r}," + (f"  # {p.note}" if p.note else ""))
    lines += ["]", "", "# x, y, z, diameter (um)", "POINTS = {"]
    for p in plan.pieces:
        if p.points is not None:
            lines.append(f"    {p.name!r}: [")
            lines += [f"        {tuple(map(float, row))!r}," for row in p.points]
            lines.append("    ],")
    lines += ["}", "", "# length and diameter (um)", "CYLINDERS = {"]
    lines += [f"    {p.name!r}: {p.cylinder!r}," for p in plan.pieces if p.cylinder is not None]
    return "\n".join([*lines, "}"])


def _membrane(membrane: Membrane, plan: Layout) -> str:
    pieces = [p for p in plan.pieces if len(p.compartments)]
    lines = ["# mechanism, sections, parameters: a number, or one for each segment"]
    lines.append("MECHANISMS = [")
    for suffix, present in membrane.present.items():
        inside = [p for p in pieces if present[p.compartments].any()]
        lines += [f"    {(suffix, *row)!r}," for row in _grouped(inside, membrane.values[suffix])]
    lines += [
        "]",
        "",
        "# gates at t = 0, where the published files start them elsewhere",
        "GATES = [",
    ]
    for suffix, values in membrane.gates.items():
        inside = [p for p in pieces if membrane.present[suffix][p.compartments].any()]
        lines += [f"    {(suffix, *row)!r}," for row in _grouped(inside, values)]
    lines += ["]", "ION_PARAMETERS = [  # mV"]
    ionic = [p for p in pieces if any(~np.isnan(v[p.compartments]).all() for v in _all(membrane))]
    lines += [f"    {row!r}," for row in _grouped(ionic, membrane.ions)]
    calcium = [p for p in pieces if (membrane.calcium | membrane.pool)[p.compartments].any()]
    moves = [p.name for p in calcium if membrane.pool[p.compartments].any()]
    stays = [p.name for p in calcium if p.name not in moves]
    ca = IONS["ca"]
    needed = {s: source for s, source in membrane.files.items() if source}
    lines += [
        "]",
        f"CALCIUM_MOVES = {_text(moves)}",
        f"CALCIUM_STAYS = {_text(stays)}",
        f"CALCIUM = {(ca.reversal, ca.inside, ca.outside)!r}  # eca (mV), cai, cao (mM) there",
        f"GLOBALS = {_text(membrane.numbers)}",
        f"MECHANISM_FILES = {_text(needed)}",
    ]
    return "\n".join(lines)


def _all(membrane: Membrane) -> list[np.ndarray]:
    return list(membrane.ions.values())


def _grouped(pieces: list, values: dict[str, np.ndarray]) -> list[tuple]:
    """Names of the sections that have the same numbers, and the numbers."""
    groups: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for piece in pieces:
        own: dict[str, Any] = {}
        for name, array in values.items():
            mine = array[piece.compartments]
            known = mine[~np.isnan(mine)]
            if len(known):
                own[name] = _short(np.where(np.isnan(mine), known[0], mine))
        groups.setdefault(repr(own), ([], own))[0].append(piece.name)
    return list(groups.values())


def _electrodes(found: Inputs) -> str:
    rows = (
        ("STEPS", "place, delay, duration (ms), amplitude (nA)", found.steps),
        ("PLAYED", "place, shape, its parameters", found.played),
        ("CLAMPS", "place, rs (Mohm), [(duration (ms), level (mV))]", found.clamps),
        ("PLAYED_CLAMPS", "place, rs (Mohm), times (ms), levels (mV)", found.played_clamps),
        ("SYNAPSES", "place, kind, parameters, [(weight (uS), times (ms))]", found.synapses),
    )
    return "\n".join(f"{name} = {_text(value)}  # {says}" for name, says, value in rows)


def _write_reference(path: Path, plan: Layout, sites: list[int], traces: Traces) -> None:
    names = [f"{plan.place[i][0]}({plan.place[i][1]:g})" for i in sites]
    table = np.column_stack([np.asarray(traces.ts), np.asarray(traces.v)])
    rows = [",".join(["t_ms", *names]), *(",".join(map(repr, row)) for row in table.tolist())]
    write_whole(path.with_name(f"{path.stem}_reference.csv"), "\n".join(rows) + "\n")
