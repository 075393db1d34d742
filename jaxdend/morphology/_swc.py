"""SWC samples cut into sections as NEURON's Import3d cuts them.

Cut here and not by MorphIO, whose sections differ from NEURON's: it joins chains that NEURON cuts
and treats three-point somata in its own way.
"""

import numpy as np

from jaxdend.morphology._branch import Branch, spherical
from jaxdend.morphology._samples import SOMA, Samples as Samples


def cut_sections(samples: Samples) -> list[Branch]:
    """Sections by the rules of NEURON's Import3d.

    A section ends where a sample has not exactly one child, where that child is not the next sample
    or has another type. It begins with a copy of its parent's last sample, except that

    - a dendrite that leaves a one-point soma begins at its own first sample and joins soma(0.5);
    - so does one that leaves an inner sample of a longer soma; one that leaves its first sample
      joins soma(0), its last one soma(1);
    - a dendrite of one sample keeps the soma's sample, with its own diameter;
    - a branch from the first sample of a dendrite that leaves the soma joins that dendrite at 0,
      and so does one from the first sample of a root that is no soma;
    - a further root joins as if it left an inner sample of the soma.

    A one-point soma, and a three-point one by NeuroMorpho's convention for a sphere, become three
    points along x with L = d. Where a stem's first sample has no chain to lead on, NEURON 9 runs
    that section through samples that are not its children; here it just ends.
    """
    kind, parent, points = samples.kind, samples.parent, samples.points
    sphere = _is_sphere(samples)
    if sphere:
        parent = parent.copy()
        parent[2] = 1
    soma_children = _soma_children(kind, samples.parent)
    at_start = _joins_start(kind, parent)
    last = np.flatnonzero(_ends(kind, parent, at_start, soma_children))
    first = np.concatenate([[0], last[:-1] + 1])
    section = np.repeat(np.arange(len(last)), last - first + 1)
    root = slice(0, 1) if sphere else slice(0, last[0] + 1)
    branches = [Branch(points[root].astype(float), -1, 1.0, int(kind[0]), samples=samples.id[root])]
    single = len(branches[0].points) == 1
    stem, x, wire = _joints(kind, parent, first, last, section, single, soma_children)
    above = np.maximum(parent[first], 0)
    x[at_start[first]] = 0.0
    counts = last - first + 1 + ~wire  # points of each section, the root's aside
    counts[0] = 0
    ends = np.cumsum(counts)
    rows = np.arange(ends[-1]) - np.repeat(ends - counts - first + ~wire, counts)
    begins = (ends - counts)[1:]
    rows[begins[~wire[1:]]] = above[1:][~wire[1:]]
    flat, ids = points[rows], samples.id[rows]
    off_soma = begins[(~wire & (kind[first[stem]] == SOMA) & (kind[first] != SOMA))[1:]]
    flat[off_soma, 3] = flat[off_soma + 1, 3]
    stems, xs, kinds = stem.tolist(), x.tolist(), kind[first].tolist()
    begin = 0
    for i, end in enumerate(ends[1:].tolist(), start=1):
        part = slice(begin, end)
        branches.append(Branch(flat[part], stems[i], xs[i], kinds[i], samples=ids[part]))
        begin = end
    if single:
        branches[0] = spherical(branches[0])
    return branches


def astray(samples: Samples) -> np.ndarray:
    """Rows of stems whose sections NEURON 9 runs through samples that are not their children."""
    kind, parent = samples.kind, samples.parent
    stem = np.unique(parent[_joins_start(kind, parent)])
    stem = stem[stem + 1 < len(kind)]
    return stem[parent[stem + 1] != stem]


def _joints(
    kind: np.ndarray,
    parent: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    section: np.ndarray,
    single: bool,
    soma_children: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per section: its parent section, where it joins, and whether only by a wire.

    One that joins by a wire starts at its own first sample. `single`: the root is one sample.
    """
    p = parent[first]
    further = p < 0  # a further root
    stem = np.where(further, 0, section[p])
    of_soma, of_root = kind[first[stem]] == SOMA, stem == 0
    leaves = of_soma & (kind[first] != SOMA)
    crowded = (soma_children[p] > 1) & (kind[first] != SOMA)
    long = last > first
    only = of_root & single & ~(further & ~leaves)
    at_first = ~only & (p == 0)
    at_last = ~only & ~at_first & (p == last[stem])
    x = np.where(only & leaves, 0.5, np.where(only | at_first, 0.0, np.where(at_last, 1.0, 0.5)))
    wire = np.where(
        only & leaves,
        long,
        np.where(only | at_first, crowded, np.where(at_last, crowded & long, leaves & long)),
    )
    plain = ~of_soma & ~(of_root & (only | at_first) & ~further)
    x[plain], wire[plain] = 1.0, False
    wire[0] = False
    return stem, x, wire


def _soma_children(kind: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """`(n,)` how many soma samples hang on each soma sample."""
    is_soma = kind == SOMA
    both = is_soma & (parent >= 0) & is_soma[parent]
    return np.bincount(parent[both], minlength=len(kind))


def _joins_start(kind: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Samples whose branch leaves from the very start of its parent section."""
    index = np.arange(len(kind))
    apart = (parent >= 0) & (parent != index - 1)
    grand = np.where(parent > 0, np.maximum(parent[parent], 0), 0)
    on_stem = (parent > 1) & (kind[parent] != SOMA) & (kind[grand] == SOMA)
    on_root = (parent == 0) & (kind[0] != SOMA)
    return apart & (on_stem | on_root)


def _ends(
    kind: np.ndarray, parent: np.ndarray, at_start: np.ndarray, soma_children: np.ndarray
) -> np.ndarray:
    n = len(kind)
    count = np.bincount(parent[(parent >= 0) & ~at_start], minlength=n)
    follows = np.append(parent[1:] == np.arange(n - 1), False)
    same = np.append(kind[1:] == kind[:-1], False)
    ends = ~((count == 1) & follows & same)
    stem = parent[at_start]  # of several branches from a stem's start the last decides
    changes = np.zeros(n, bool)
    changes[stem] = kind[at_start] != kind[stem]
    on = np.zeros(n, bool)
    on[stem] = follows[stem]
    ends = np.where(on, changes, ends | changes)
    soma_run = follows & same & (kind == SOMA) & (soma_children <= 1)
    if n > 1 and follows[0] and kind[0] == kind[1] == SOMA:
        soma_run[0] = True
    return ends & ~soma_run


def _is_sphere(samples: Samples) -> bool:
    """NeuroMorpho's three-point soma: the ends of a diameter hang on the centre."""
    kind, parent, points = samples.kind, samples.parent, samples.points
    if np.sum(kind == SOMA) != 3 or np.any(kind[:3] != SOMA) or np.any(parent[1:3] != 0):
        return False
    if np.isin(parent, (1, 2)).any() or np.any(points[:3, 3] != points[0, 3]):
        return False
    length = np.linalg.norm(points[1:3, :3] - points[0, :3], axis=1).sum()
    return bool(abs(length / points[0, 3] - 1) < 0.01)
