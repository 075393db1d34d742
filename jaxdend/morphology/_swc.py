"""SWC files: samples checked line by line, then cut into sections as NEURON's Import3d cuts them.

Read here and not by MorphIO, whose sections differ from NEURON's (it joins chains that NEURON cuts,
treats three-point somata in its own way) and whose errors do not name the line at fault.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from jaxdend._errors import MorphologyError
from jaxdend.morphology._morphology import Branch

_COLUMNS = ("id", "type", "x", "y", "z", "radius", "parent")
_SOMA = 1
_SHOWN = 5  # lines listed in an error


@dataclass(frozen=True)
class Samples:
    """The samples of a file, parents before children, chains without a gap where possible."""

    id: np.ndarray  # (n,) int as in the file
    kind: np.ndarray  # (n,) int SWC type
    points: np.ndarray  # (n, 4) x, y, z, diameter, µm
    parent: np.ndarray  # (n,) int index of the parent sample, -1 for the root


class _Table:
    """Rows of a file with their line numbers, and errors that point at them."""

    def __init__(self, path: Path):
        self.path = path
        self.values: list[list[float]] = []
        self.lines: list[int] = []
        self.text: list[str] = []

    def fail(self, problem: str, mend: str, rows: list[int]) -> NoReturn:
        shown = [f"  line {self.lines[i]}: {self.text[i][:80]}" for i in rows[:_SHOWN]]
        if len(rows) > _SHOWN:
            shown.append(f"  … and {len(rows) - _SHOWN} more")
        raise MorphologyError("\n".join([f"{self.path}: {problem}.", *shown, mend]))


def read_samples(path: Path) -> Samples:
    """Parse an SWC file and check it line by line.

    **Raises:** `MorphologyError` with file, line, what was expected and what to do: wrong number of
    columns, a field that is not a number, radius <= 0, duplicate ids, missing parents, no root, two
    roots, cycles, no soma, no samples.
    """
    table = _parse(path)
    if not table.values:
        table.fail("no samples in it", "Each needs seven columns: " + " ".join(_COLUMNS) + ".", [])
    values = np.array(table.values)
    ids, parents = values[:, 0].astype(np.int64), values[:, 6].astype(np.int64)
    row_of = _rows_by_id(table, ids.tolist())
    root = _find_root(table, parents, row_of)
    parent = np.array([row_of.get(p, -1) if p >= 0 else -1 for p in parents.tolist()])
    if np.any(values[:, 5] <= 0):
        table.fail(
            "every radius must be > 0 µm",
            "Give these samples a radius (that of a neighbour, say) or remove them.",
            np.flatnonzero(values[:, 5] <= 0).tolist(),
        )
    order = _order(ids, parent, root)
    if len(order) < len(ids):
        _fail_cycle(table, parent, order)
    if not np.any(values[:, 1] == _SOMA):
        table.fail(
            "no soma: no sample has type 1",
            "Set column 2 of the soma's samples to 1; the root, shown above, is the usual one.",
            [root],
        )
    single = np.float32(values[order, 2:6]).astype(float)  # as NEURON reads them
    place = np.full(len(ids) + 1, -1)
    place[order] = np.arange(len(order))
    return Samples(
        id=ids[order],
        kind=values[order, 1].astype(int),
        points=np.column_stack([single[:, :3], 2 * single[:, 3]]),
        parent=place[parent[order]],
    )


def _parse(path: Path) -> _Table:
    table = _Table(path)
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split("#", 1)[0].split()
        if not fields:
            continue
        table.lines.append(number)
        table.text.append(line.strip())
        row = len(table.lines) - 1
        if len(fields) != len(_COLUMNS):
            table.fail(
                f"expected seven columns ({' '.join(_COLUMNS)}), got {len(fields)}",
                "Separate the columns by blanks, one sample a line; comments start with #.",
                [row],
            )
        try:
            numbers = [float(f) for f in fields]
        except ValueError:
            bad = next(i for i, f in enumerate(fields) if not _is_number(f))
            table.fail(
                f"{_COLUMNS[bad]} (column {bad + 1}) must be a number, got {fields[bad][:40]!r}",
                "Correct the field, or start the line with # if it is a comment.",
                [row],
            )
        if not np.isfinite(numbers).all() or any(numbers[i] % 1 for i in (0, 1, 6)):
            table.fail(
                "id, type and parent must be whole numbers, the rest finite numbers",
                "Correct the line.",
                [row],
            )
        table.values.append(numbers)
    return table


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _rows_by_id(table: _Table, ids: list[int]) -> dict[int, int]:
    row_of: dict[int, int] = {}
    for row, sample in enumerate(ids):
        if sample in row_of:
            table.fail(
                f"id {sample} is there twice",
                "Ids must be unique: renumber one of the samples and its children.",
                [row_of[sample], row],
            )
        row_of[sample] = row
    if min(ids) < 0:
        table.fail("ids must be >= 0", "Renumber the sample.", [ids.index(min(ids))])
    return row_of


def _find_root(table: _Table, parents: np.ndarray, row_of: dict[int, int]) -> int:
    missing = [i for i, p in enumerate(parents.tolist()) if p >= 0 and p not in row_of]
    if missing:
        table.fail(
            f"parent {parents[missing[0]]} does not exist",
            "Column 7 must name the id of a sample in this file, or -1 for the root.",
            missing,
        )
    roots = np.flatnonzero(parents < 0).tolist()
    if len(roots) > 1:
        table.fail(
            f"expected one root (parent -1), got {len(roots)}",
            "Join the trees by giving all but one of these samples a parent, or remove the others.",
            roots,
        )
    return roots[0] if roots else -1


def _fail_cycle(table: _Table, parent: np.ndarray, reached: np.ndarray) -> NoReturn:
    row = int(np.setdiff1d(np.arange(len(parent)), reached)[0])
    seen: list[int] = []
    while row not in seen:
        seen.append(row)
        row = int(parent[row])
    loop = seen[seen.index(row) :]
    what = "its own parent" if len(loop) == 1 else f"a cycle of {len(loop)} samples"
    table.fail(
        f"the samples form no tree: {what}",
        "Following parents must end at the root (parent -1); correct column 7 of one of them.",
        sorted(loop),
    )


def _order(ids: np.ndarray, parent: np.ndarray, root: int) -> np.ndarray:
    """Samples by id where parents come first that way, as in NEURON, else depth first."""
    by_id = np.argsort(ids, kind="stable")
    if root >= 0 and np.all(ids[parent[by_id[1:]]] < ids[by_id[1:]]) and by_id[0] == root:
        return by_id
    children: list[list[int]] = [[] for _ in ids]
    for i, p in enumerate(parent.tolist()):
        if p >= 0:
            children[p].append(i)
    order, stack = [], [root] if root >= 0 else []
    while stack:
        i = stack.pop()
        order.append(i)
        stack.extend(reversed(children[i]))
    return np.array(order, int)


def cut_sections(samples: Samples) -> list[Branch]:
    """Sections by the rules of NEURON's Import3d.

    A section ends where a sample has not exactly one child, where that child is not the next sample
    or has another type. It begins with a copy of its parent's last sample, except that

    - a dendrite that leaves a one-point soma begins at its own first sample and joins soma(0.5);
    - so does one that leaves an inner sample of a longer soma; one that leaves its first sample
      joins soma(0), its last one soma(1);
    - a dendrite of one sample keeps the soma's sample, with its own diameter;
    - a branch from the first sample of a dendrite that leaves the soma joins that dendrite at 0.

    A one-point soma, and a three-point one by NeuroMorpho's convention for a sphere, become three
    points along x with L = d. Where a stem's first sample has no chain of its own type to lead on,
    NEURON 9 runs that section through samples that are not its children; here it just ends.
    """
    kind, parent, points = samples.kind, samples.parent, samples.points
    n = len(kind)
    is_soma = kind == _SOMA
    soma_children = np.bincount(parent[1:][is_soma[1:] & is_soma[parent[1:]]], minlength=n)
    at_start = _joins_start(kind, parent)
    sphere = _is_sphere(samples)
    if sphere:
        parent = parent.copy()
        parent[2] = 1
    last = np.flatnonzero(_ends(kind, parent, at_start, soma_children))
    first = np.concatenate([[0], last[:-1] + 1])
    section = np.repeat(np.arange(len(last)), last - first + 1)
    root = slice(0, 1) if sphere else slice(0, last[0] + 1)
    branches = [Branch(points[root], -1, 1.0, int(kind[0]), samples=samples.id[root])]
    single = len(branches[0].points) == 1
    for i, end in zip(first[1:].tolist(), last[1:].tolist(), strict=True):
        p = int(parent[i])
        stem = int(section[p])
        x, wire = 1.0, False
        if is_soma[first[stem]] or stem == 0:
            leaves, crowded = bool(is_soma[first[stem]] and not is_soma[i]), soma_children[p] > 1
            place = "only" if single and stem == 0 else "first" if p == 0 else "inner"
            place = "last" if place == "inner" and p == last[stem] else place
            x, wire = _joint_on_soma(place, leaves, bool(crowded and not is_soma[i]), end > i)
        x = 0.0 if at_start[i] else x
        rows = np.arange(i, end + 1) if wire else np.r_[p, i : end + 1]
        xyzd = points[rows]
        if not wire and is_soma[p] and not is_soma[i]:
            xyzd[0, 3] = xyzd[1, 3]
        branches.append(Branch(xyzd, stem, x, int(kind[i]), samples=samples.id[rows]))
    if single:
        branches[0] = _spherical(branches[0])
    return branches


def _joint_on_soma(place: str, leaves: bool, crowded: bool, long: bool) -> tuple[float, bool]:
    """Where a section joins, and whether only by a wire: it then starts at its own first sample.

    `place` is its parent sample's in the soma: the only, first, inner or last one. `leaves`: it is
    not itself soma; `crowded`: so, and more soma joins there too; `long`: it has several samples.
    """
    if place == "only" and leaves:
        return 0.5, long
    if place in ("only", "first"):
        return 0.0, crowded
    if place == "inner":
        return 0.5, leaves and long
    return 1.0, crowded and long


def _joins_start(kind: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Samples whose branch leaves from the very start of its parent section."""
    n = len(kind)
    index = np.arange(n)
    apart = (parent >= 0) & (parent != index - 1)
    grand = np.where(parent > 0, parent[parent], 0)
    on_stem = (parent > 1) & (kind[parent] != _SOMA) & (kind[grand] == _SOMA)
    on_root = (parent == 0) & (kind[0] != _SOMA)
    return apart & (on_stem | on_root)


def _ends(
    kind: np.ndarray, parent: np.ndarray, at_start: np.ndarray, soma_children: np.ndarray
) -> np.ndarray:
    n = len(kind)
    count = np.bincount(parent[1:][~at_start[1:]], minlength=n)
    follows = np.append(parent[1:] == np.arange(n - 1), False)
    same = np.append(kind[1:] == kind[:-1], False)
    ends = ~((count == 1) & follows & same)
    stem = parent[at_start]
    changes = np.zeros(n, bool)
    changes[stem] = kind[at_start] != kind[stem]  # the last branch from a stem's start decides
    ends |= changes
    soma_run = follows & same & (kind == _SOMA) & (soma_children <= 1)
    if n > 1 and kind[0] == kind[1] == _SOMA:
        soma_run[0] = True
    return ends & ~soma_run


def _is_sphere(samples: Samples) -> bool:
    """NeuroMorpho's three-point soma: the ends of a diameter hang on the centre."""
    kind, parent, points = samples.kind, samples.parent, samples.points
    if np.sum(kind == _SOMA) != 3 or np.any(kind[:3] != _SOMA) or np.any(parent[1:3] != 0):
        return False
    if np.isin(parent, (1, 2)).any() or np.any(points[:3, 3] != points[0, 3]):
        return False
    length = np.linalg.norm(points[1:3, :3] - points[0, :3], axis=1).sum()
    return bool(abs(length / points[0, 3] - 1) < 0.01)


def _spherical(branch: Branch) -> Branch:
    """One point of diameter d as a cylinder along x with L = d, three points."""
    points = np.repeat(branch.points, 3, axis=0)
    points[:, 0] += np.array([-0.5, 0.0, 0.5]) * points[0, 3]
    ids = None if branch.samples is None else np.repeat(branch.samples, 3)
    return Branch(points, branch.parent, branch.parent_x, branch.kind, branch.regions, ids)
