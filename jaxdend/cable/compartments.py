"""From a morphology to compartments: areas, axial resistances and the tree that joins them.

NEURON's rules (host numpy). The diameter is piecewise linear along a section; each compartment gets
the lateral area of the frusta inside it, and from its centre to either end the resistance of the
frusta between. Sections join at points without membrane, which are eliminated where that is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import ArrayLike

from jaxdend._subset import is_concrete
from jaxdend.morphology import Morphology
from jaxdend.units import RA_TO_MOHM

MOST = 2**31 - 1  # compartments that an index can tell apart


@dataclass(frozen=True)
class Compartments:
    """A tree of `N` nodes: `n` compartments, then `N - n` branch points without membrane.

    The resistance between node i and its parent p is `ra[i] * own[i] + ra[p] * via[i]` MΩ with `ra`
    in Ω·cm, where branch points count nothing.
    """

    parent: np.ndarray  # (N,) int, -1 at the root
    area: np.ndarray  # (n,) µm², 0 at end nodes
    radius: np.ndarray  # (n,) µm, mean along the length
    length: np.ndarray  # (n,) µm, 0 at end nodes
    own: np.ndarray  # (N,) MΩ/(Ω·cm), from the node to the border with its parent
    via: np.ndarray  # (N,) MΩ/(Ω·cm), from there to the parent's centre
    section: np.ndarray  # (n,) int, section of the morphology
    x: np.ndarray  # (n,) place along the section, in (0, 1); 1 at end nodes
    kind: np.ndarray  # (n,) int SWC type
    distance: np.ndarray  # (n,) µm, path from the centre of the soma
    xyz: np.ndarray  # (n, 3) µm, place on the section's axis


def discretise(
    morph: Morphology, ncomp_per_section: ArrayLike, end_nodes: bool = False
) -> Compartments:
    """Cut each section into compartments of equal length.

    Compartments are numbered region by region (soma, axon, basal, apical, other), section by
    section, then along the section. A section end with one child is merged into the joint, one with
    none dropped, one with several becomes a branch point past the compartments. With
    `end_nodes=True` the end of every section is a compartment of area 0 behind those of its section
    instead, as in NEURON, for synapses at x = 1. Distances are NEURON's: between node centres.

    **Arguments:** `ncomp_per_section (s,)` or a number, compartments in each section.

    **Raises:** `ValueError` for counts of the wrong shape, that are not whole or less than 1.
    """
    count = _counts(morph, ncomp_per_section)
    first, section = np.cumsum(count) - count, np.repeat(np.arange(morph.n_sections), count)
    n, s = len(section), morph.n_sections
    pieces = _measure(morph, count)
    graph = _join(morph, count, pieces)
    distance = _distances(graph.parent, graph.gap, int(first[morph.soma] + count[morph.soma] // 2))
    graph, kept = _eliminate(graph, n + s if end_nodes else n)
    ends = morph.points[morph.offsets[1:] - 1].astype(float) if end_nodes else np.empty((0, 4))
    none = np.zeros(len(ends))
    owner = np.concatenate([section, np.arange(len(ends))])
    order = np.argsort(2 * owner + (np.arange(len(owner)) >= n), kind="stable")
    nodes = np.concatenate([order, kept[kept >= len(owner)]])
    new = np.full(len(graph.parent) + 1, -1)
    new[nodes] = np.arange(len(nodes))
    x = (np.arange(n) - first[section] + 0.5) / count[section]
    return Compartments(
        parent=new[graph.parent[nodes]],
        area=np.concatenate([pieces.area, none])[order],
        radius=np.concatenate([pieces.diameter, ends[:, 3]])[order] / 2,
        length=np.concatenate([(morph.lengths / count)[section], none])[order],
        own=graph.own[nodes],
        via=graph.via[nodes],
        section=owner[order],
        x=np.concatenate([x, none + 1])[order],
        kind=morph.kind[owner[order]],
        distance=distance[order],
        xyz=np.concatenate([pieces.xyz, ends[:, :3]])[order],
    )


@dataclass(frozen=True)
class _Pieces:
    """What the frusta inside each compartment add up to."""

    area: np.ndarray  # (n,) µm²
    diameter: np.ndarray  # (n,) µm, mean along the length
    left: np.ndarray  # (n,) MΩ/(Ω·cm), start to centre
    right: np.ndarray  # (n,) MΩ/(Ω·cm), centre to end
    xyz: np.ndarray  # (n, 3) µm, centre


@dataclass(frozen=True)
class _Graph:
    """All nodes: n compartments, the end of each of s sections, the start of the root section."""

    parent: np.ndarray  # (n + s + 1,) int, -1 at the root
    own: np.ndarray  # (n + s + 1,) MΩ/(Ω·cm)
    via: np.ndarray  # (n + s + 1,) MΩ/(Ω·cm)
    gap: np.ndarray  # (n + s + 1,) µm to the parent


def _measure(morph: Morphology, count: np.ndarray) -> _Pieces:
    """Cut the sections at the centre and ends of each compartment and add up the frusta.

    A jump of the diameter on a cut belongs to the half before it, as in NEURON.
    """
    owner, arc, points = morph.section_of_point, morph.arc, morph.points.astype(float)
    section = np.repeat(np.arange(len(count)), 2 * count)
    k = np.arange(len(section)) - np.repeat(np.cumsum(2 * count) - 2 * count, 2 * count)
    step = (morph.lengths / count)[section]
    cut = (k // 2) * step + step / 2 + np.where(k % 2 == 1, step / 2, 0.0)  # end of each half
    arcs, cuts = np.split(arc, morph.offsets[1:-1]), np.split(cut, np.cumsum(2 * count)[:-1])
    after = np.concatenate(
        [np.searchsorted(a, c, side="right") for a, c in zip(arcs, cuts, strict=True)]
    )
    after = np.minimum(after + morph.offsets[section], morph.offsets[section + 1] - 1)
    before = after - 1
    span = arc[after] - arc[before]
    part = np.where(span > 0, (cut - arc[before]) / np.where(span > 0, span, 1.0), 1.0)
    at_cut = points[before] + part[:, None] * (points[after] - points[before])
    inner = k < 2 * count[section] - 1
    where = after[inner]
    arcs = np.insert(arc, where, cut[inner])
    diameter = np.insert(points[:, 3], where, at_cut[inner, 3])
    owners = np.insert(owner, where, section[inner])
    is_cut = np.insert(np.zeros(len(arc), int), where, 1)
    whole = owners[1:] == owners[:-1]
    half = (np.cumsum(is_cut) - is_cut + owners)[1:][whole]  # a section has one half more than cuts
    size = len(section)
    h = np.maximum(np.diff(arcs)[whole], 0.0)
    d1, d2 = diameter[:-1][whole], diameter[1:][whole]
    lateral = np.pi / 2 * (d1 + d2) * np.hypot(h, (d2 - d1) / 2)
    resistance = np.bincount(half, 4 * RA_TO_MOHM / np.pi * h / (d1 * d2), size)
    mean = np.bincount(half, (d1 + d2) / 2 * h, size).reshape(-1, 2).sum(axis=1) / step[::2]
    area = np.bincount(half, lateral, size).reshape(-1, 2).sum(axis=1)
    return _Pieces(area, mean, resistance[::2], resistance[1::2], at_cut[::2, :3])


def _join(morph: Morphology, count: np.ndarray, pieces: _Pieces) -> _Graph:
    """Every node with its parent, before points without membrane are eliminated."""
    s, n = morph.n_sections, int(count.sum())
    last = np.cumsum(count) - 1
    first = last - count + 1
    step = morph.lengths / count / 2
    root = int(np.flatnonzero(morph.parent_section < 0)[0])
    start = n + s
    parent = np.arange(-1, n + s)
    parent[n:] = np.append(last, first[root])
    own = np.concatenate([pieces.left, np.zeros(s + 1)])
    via = np.concatenate([[0.0], pieces.right[:-1], pieces.right[last], [pieces.left[first[root]]]])
    gap = np.concatenate([2 * np.repeat(step, count), step, [step[root]]])
    via[first], gap[first] = 0.0, step
    parent[first] = _attachments(morph, count, first, start)
    own[first[root]] = gap[first[root]] = 0.0
    return _Graph(parent, own, via, gap)


def _attachments(morph: Morphology, count: np.ndarray, first: np.ndarray, start: int) -> np.ndarray:
    """`(s,)` the node that each section begins at, -1 for the root section."""
    n = int(count.sum())
    over, along = morph.parent_section.tolist(), morph.parent_x.tolist()
    out = np.full(morph.n_sections, -1)
    for i in range(morph.n_sections):
        p, x = over[i], along[i]
        while p >= 0 and x <= 0 and over[p] >= 0:  # begins where its parent begins
            p, x = over[p], along[p]
        if p < 0:
            continue
        inside = first[p] + min(int(x * count[p]), count[p] - 1)
        out[i] = start if x <= 0 else n + p if x >= 1 else inside
    return out


def _distances(parent: np.ndarray, gap: np.ndarray, origin: int) -> np.ndarray:
    """`(N,)` µm, path length from the node `origin`."""
    up = [origin]
    while parent[up[-1]] >= 0:
        up.append(int(parent[up[-1]]))
    out = np.full(len(parent), np.nan)
    out[up] = np.cumsum([0.0, *gap[up[:-1]]])
    above, far, steps = parent.tolist(), out.tolist(), gap.tolist()
    for i in range(len(above)):
        path = [i]
        while far[path[-1]] != far[path[-1]]:  # NaN: not known yet
            path.append(above[path[-1]])
        for j in reversed(path[:-1]):
            far[j] = far[above[j]] + steps[j]
    return np.array(far)


def _eliminate(graph: _Graph, public: int) -> tuple[_Graph, np.ndarray]:
    """Merge joints (nodes from `public` on) of one child and drop those of none.

    Returns the graph with children led past merged joints, and the nodes that remain.
    """
    nodes = np.arange(len(graph.parent))
    children = np.bincount(graph.parent[graph.parent >= 0], minlength=len(nodes))
    merged = (nodes >= public) & (children == 1)
    parent, via = graph.parent.copy(), graph.via.copy()
    skip = np.flatnonzero((parent >= 0) & merged[parent])
    via[skip] = graph.via[parent[skip]]
    parent[skip] = graph.parent[parent[skip]]
    kept = np.flatnonzero((nodes < public) | (children > 1))
    return _Graph(parent, graph.own, via, graph.gap), kept


def _counts(morph: Morphology, count: ArrayLike) -> np.ndarray:
    if not is_concrete(count):
        raise ValueError("the numbers of compartments must be known when tracing.")
    out = np.asarray(count)
    if out.dtype.kind not in "iuf":
        raise ValueError(
            "ncomp must be a whole number of compartments for every section, "
            f"({morph.n_sections},) of them, or a callable from a section's length in µm; got "
            f"{count!r:.80}."
        )
    if out.shape not in ((), (morph.n_sections,)):
        raise ValueError(
            f"the numbers of compartments must be one number or one per section, "
            f"({morph.n_sections},); got shape {out.shape}."
        )
    out = np.broadcast_to(out, (morph.n_sections,))
    whole = (out >= 1) & (out == np.floor(out)) & np.isfinite(out)
    if not whole.all():
        i = int(np.argmin(whole))
        raise ValueError(
            f"every section needs a whole number of compartments >= 1; {morph.name[i]} "
            f"(length {morph.lengths[i]:.1f} µm) got {out[i]:g}."
        )
    return out.astype(int)


def _few_enough(name: str, value: float, counts: np.ndarray) -> np.ndarray:
    """`counts` as whole numbers; `ValueError` where the rule `name` asks for too many."""
    if not np.sum(counts) < MOST:
        raise ValueError(
            f"{name} = {value:g} asks for {np.sum(counts):.3g} compartments; at most {MOST:.3g} "
            "are possible."
        )
    return counts.astype(int)


def ncomp_from_max_length(morph: Morphology, max_length: float) -> np.ndarray:
    """`(s,)` the least odd number of compartments that are none longer than `max_length` µm.

    Odd, so that there is one at the middle of every section.
    """
    max_length = _above_zero("max_length", max_length, " µm")
    with np.errstate(over="ignore"):
        need = np.ceil(morph.lengths / max_length * (1 - 1e-9))
    need = _few_enough("max_length", max_length, need)
    return np.maximum(need + (need + 1) % 2, 1)


def ncomp_from_d_lambda(
    morph: Morphology, d_lambda: float, ra: ArrayLike, cm: ArrayLike, frequency: float = 100.0
) -> np.ndarray:
    """`(s,)` odd numbers of compartments by NEURON's d_lambda rule.

    No compartment is longer than about `d_lambda` of the AC length constant at `frequency` (Hz).

    **Arguments:** `ra` Ω·cm and `cm` µF/cm², numbers or `(s,)`. **Source:** Hines & Carnevale 2001,
    and `lambda_f` of NEURON's standard library, which sums over the points of the section.
    """
    d_lambda = _above_zero("d_lambda", d_lambda)
    frequency = _above_zero("frequency", frequency, " Hz")
    a, b, owner = morph.pieces()
    h = np.diff(morph.arc)[np.diff(morph.section_of_point) == 0]
    rate = 4 * np.pi * frequency * np.asarray(ra, float) * np.asarray(cm, float)
    span = np.bincount(owner, h / np.sqrt((a[:, 3] + b[:, 3]) / 2), morph.n_sections)
    electrotonic = span * 1e-5 * np.sqrt(rate)  # section length / length constant
    with np.errstate(over="ignore"):
        half = (electrotonic / d_lambda + 0.9) / 2
    return _few_enough("d_lambda", d_lambda, half) * 2 + 1


def ncomp_from_callable(morph: Morphology, ncomp: Callable[[float], int]) -> np.ndarray:
    """`(s,)` numbers of compartments, `ncomp` of each section's length in µm.

    **Raises:** `ValueError` where it returns something other than a whole number >= 1.
    """
    return _counts(morph, np.array([ncomp(float(length)) for length in morph.lengths]))


def counts_by_rule(
    morph: Morphology,
    *,
    max_length: float | None = None,
    d_lambda: float | None = None,
    ncomp: ArrayLike | Callable[[float], int] | None = None,
    ra: ArrayLike = 100.0,
    cm: ArrayLike = 1.0,
) -> np.ndarray:
    """`(s,)` numbers of compartments by the one of three rules that is given.

    **Arguments:** `max_length` µm, `d_lambda` (which takes the means of `ra` Ω·cm and `cm` µF/cm²)
    or `ncomp`, a number for every section, `(s,)` of them or a callable; see
    `ncomp_from_max_length`, `ncomp_from_d_lambda` and `ncomp_from_callable`.

    **Raises:** `ValueError` for none or several of them, or where the rule refuses.
    """
    rules = {"max_length": max_length, "d_lambda": d_lambda, "ncomp": ncomp}
    given = [name for name, value in rules.items() if value is not None]
    if len(given) != 1:
        raise ValueError(
            "Cell needs exactly one of max_length= (µm), d_lambda= or ncomp= (a number per section "
            "or a callable) to know how finely to cut the morphology; got "
            f"{' and '.join(given) or 'none of them'}."
        )
    if max_length is not None:
        return ncomp_from_max_length(morph, max_length)
    if callable(ncomp):
        return ncomp_from_callable(morph, ncomp)
    if ncomp is not None:
        return _counts(morph, ncomp)
    if not is_concrete(ra, cm):
        raise ValueError(
            "Cell: d_lambda= needs known ra= and cm=, which decide how many compartments there "
            "are. Cut the cell with known ones, and give the traced ones to cell.set(ra=, cm=)."
        )
    means = (float(np.mean(np.asarray(value, float))) for value in (ra, cm))
    ra, cm = (_above_zero(name, mean) for name, mean in zip(("ra", "cm"), means, strict=True))
    return ncomp_from_d_lambda(morph, cast(float, d_lambda), ra=ra, cm=cm)


def _above_zero(name: str, value: Any, unit: str = "") -> float:
    if not is_concrete(value):
        raise ValueError(f"{name} must be known when tracing: it decides how many compartments.")
    number = np.asarray(value)
    if number.dtype.kind not in "iuf" or number.ndim or not number > 0:
        raise ValueError(f"{name} must be > 0{unit}; got {value!r:.80}.")
    return float(number)
