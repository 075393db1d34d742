"""What about sections that were read deserves a word: no soma, far stems, units, types."""

import re

import numpy as np

from jaxdend.morphology._branch import Branch
from jaxdend.morphology._drawn import FAR, gap
from jaxdend.morphology._options import Options
from jaxdend.morphology._report import Lines, Notes
from jaxdend.morphology._source import Source

_UNITS = re.compile(r"^\s*[#;].*?\b(nm|nanomet\w*|voxels?|pixels?|px)\b", re.IGNORECASE | re.M)
_WIDE, _LONG, _THICK, _ROUND = 20_000.0, 100_000.0, 20.0, 100.0  # µm
_NARROW, _MANY = 15.0, 100  # µm, and samples from which on it is said
_SHREDDED = 0.2  # share of sections that are cut off by nothing but a type
_FEW = 4  # sections so cut off that are no reason to doubt


def doubts(
    branches: list[Branch],
    lines: Lines,
    source: Source,
    options: Options,
    notes: Notes,
) -> None:
    """Add to the notes what is doubtful about sections, each of which begins on its line."""
    kind = np.array([b.kind for b in branches])
    if not np.any(kind == 1):
        notes.doubt(
            f"no soma: the root is a section of type {kind[0]}, as in NEURON, and path distances "
            "start there.",
            "If the soma was traced, give its samples type 1 (CellBody in ASC), or name its type "
            "in types=.",
            lines.of([0]),
        )
    _stems(branches, lines, kind, notes)
    _types(branches, lines, kind, source, notes)
    if options.scale is None:
        _units(branches, kind, source, notes)


def _stems(branches: list[Branch], lines: Lines, kind: np.ndarray, notes: Notes) -> None:
    over = np.array([b.parent for b in branches])
    stems = np.flatnonzero((over >= 0) & (kind != 1) & (kind[over] == 1))
    gaps = []
    for i in stems.tolist():
        gaps.append(gap(branches[over[i]].points, branches[i].points[0]))
    far = stems[np.array(gaps) > FAR] if len(stems) else stems
    if len(far):
        notes.doubt(
            f"{len(far)} stem{'s start' if len(far) > 1 else ' starts'} up to {max(gaps):.0f} µm "
            "from the surface of the soma; as in NEURON no cable bridges that.",
            "Does it belong to another cell, or is a stretch between not traced? Trace it; in an "
            "ASC file roots='first' leaves it out, and 'nearest' joins it to what is nearest.",
            lines.of(far.tolist()),
        )


def _types(
    branches: list[Branch],
    lines: Lines,
    kind: np.ndarray,
    source: Source,
    notes: Notes,
) -> None:
    other = np.unique(kind[kind > 4])
    if not len(other) or source.format == "h5":  # whose types are seen to by its reader
        return
    over = np.array([b.parent for b in branches])
    children = np.bincount(over[over >= 0], minlength=len(branches))
    cut = (over >= 0) & (children[over] == 1) & (kind != kind[over])
    cut &= (kind[over] != 1) & ((kind > 4) | (kind[over] > 4))
    named = ", ".join(f"{np.sum(kind == k)} of type {k}" for k in other.tolist())
    asked = ", ".join(f"{k}: 'parent'" for k in other.tolist())
    text = f"sections of types beyond 4: {named} (regions {', '.join(f'dend_{k}' for k in other)})."
    shredded = np.sum(cut) > max(_SHREDDED * len(branches), _FEW)
    if shredded:
        text += (
            f" They cut the tree into {len(branches)} sections where {len(branches) - cut.sum()} "
            "would do: they may mark forks (5) and ends (6)."
        )
    if np.any(other == 7):
        text += " Type 7 is glia by NeuroMorpho's convention."
    begins = lines.of(np.flatnonzero(kind > 4).tolist())
    cure = f"Say what they are, such as types={{{asked}}} or types={{{other[0]}: 'basal'}}."
    if shredded or np.any(other == 7):
        notes.doubt(text, cure, begins)
    else:
        notes.note(f"{text} {cure}", begins)


def _units(branches: list[Branch], kind: np.ndarray, source: Source, notes: Notes) -> None:
    points = np.concatenate([b.points for b in branches]).astype(float)
    owner = np.repeat(np.arange(len(branches)), [len(b.points) for b in branches])
    step = np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1)
    length = step[owner[1:] == owner[:-1]].sum()
    extent = np.ptp(points[:, :3], axis=0).max()
    soma = kind[owner] == 1
    thick = float(np.median(points[~soma, 3])) if np.any(~soma) else 0.0
    round_ = float(points[soma, 3].max()) if np.any(soma) else 0.0
    said = _UNITS.search(source.text[:20_000]) if source.format != "h5" else None
    many = len(points) >= _MANY
    signs = [
        (extent > _WIDE, f"the neuron is {extent / 1000:.3g} mm wide"),
        (length > _LONG, f"its cable is {length / 1000:.3g} mm long"),
        (thick > _THICK, f"half of its neurites are thicker than {thick:.3g} µm"),
        (round_ > _ROUND, f"its soma is {round_:.3g} µm thick"),
        (many and extent < _NARROW, f"the neuron is only {extent:.3g} µm wide"),
        (
            many and bool(np.all(points[~soma, :3] % 1 == 0)),
            "all coordinates are whole numbers, as those of voxels",
        ),
        (said is not None, f"a comment says {said[0].strip()[:60]!r}" if said else ""),
    ]
    found = [text for sign, text in signs if sign]
    if found:
        notes.doubt(
            f"are these micrometres? {'; '.join(found)}.",
            "Give units= ('nm', µm per unit, or the size (x, y, z) of a voxel in µm), or "
            "units='um' if they are.",
        )
