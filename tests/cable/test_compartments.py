"""Compartments: NEURON's areas, axial resistances, distances and section ends."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import jaxdend as jd
import neuron_geometry as nrn
from jaxdend.cable.compartments import (
    Compartments,
    discretise,
    ncomp_from_callable,
    ncomp_from_d_lambda,
    ncomp_from_max_length,
)
from jaxdend.morphology import (
    Branch,
    assemble,
    ball_and_stick,
    pyramidal,
    rall_tree,
    read_morphology,
    single_compartment,
    y_tree,
)
from jaxdend.morphology._swc import Samples, cut_sections

RA = 137.0  # Ω·cm


def conductances(comps: Compartments, ra: float = RA) -> np.ndarray:
    """`(N, N)` graph Laplacian, µS."""
    n_nodes = len(comps.parent)
    out = np.zeros((n_nodes, n_nodes))
    for i, p in enumerate(comps.parent):
        if p >= 0:
            g = 1 / (ra * (comps.own[i] + comps.via[i]))
            out[[i, p], [i, p]] += g
            out[[i, p], [p, i]] -= g
    return out


def reduced(matrix: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """What the other nodes, without membrane, leave between those in `keep`."""
    drop = ~keep
    inner = np.linalg.solve(matrix[np.ix_(drop, drop)], matrix[np.ix_(drop, keep)])
    return matrix[np.ix_(keep, keep)] - matrix[np.ix_(keep, drop)] @ inner


def neuron_laplacian(sections: dict, names, theirs) -> np.ndarray:
    """`(n, n)` µS, from NEURON's own graph: every section end a node, then eliminated."""
    counts = [sections[name].nseg for name in names]
    first = dict(zip(names, np.cumsum(counts) - counts, strict=True))
    n = sum(counts)
    end = {name: n + i for i, name in enumerate(names)}
    start = n + len(names)
    joints = nrn.joints(sections)

    def node(name, x):
        if x <= 0:
            return start if joints[name] is None else node(*joints[name])
        return end[name] if x >= 1 else first[name] + min(int(x * sections[name].nseg), 10**9)

    matrix = np.zeros((start + 1, start + 1))

    def join(i, j, resistance):
        matrix[[i, j], [i, j]] += 1 / resistance
        matrix[[i, j], [j, i]] -= 1 / resistance

    for name in names:
        upper = start if joints[name] is None else node(*joints[name])
        for k in range(sections[name].nseg):
            join(first[name] + k, upper, theirs["ri"][first[name] + k])
            upper = first[name] + k
        join(end[name], upper, sections[name](1).ri())
    return reduced(matrix, np.arange(start + 1) < n)


def check_against_neuron(morph, sections, counts) -> Compartments:
    counts = np.broadcast_to(counts, (morph.n_sections,))
    theirs = nrn.compartments(sections, morph.name, counts, morph.name[morph.soma], RA)
    ours = discretise(morph, counts)
    np.testing.assert_allclose(ours.area, theirs["area"], rtol=1e-9)
    np.testing.assert_allclose(2 * ours.radius, theirs["diameter"], rtol=1e-8)
    np.testing.assert_allclose(ours.distance, theirs["distance"], atol=1e-8)
    np.testing.assert_allclose(ours.x, theirs["x"], rtol=1e-12)
    expected = neuron_laplacian(sections, morph.name, theirs)
    for comps in (ours, discretise(morph, counts, end_nodes=True)):
        keep = np.zeros(len(comps.parent), bool)
        keep[: len(comps.area)] = comps.area > 0
        matrix = reduced(conductances(comps), keep)
        np.testing.assert_allclose(matrix, expected, rtol=1e-8, atol=1e-9 * expected.max())
    return ours


@pytest.mark.parametrize("name", ["Rorb_325404214_m", "Scnn1a_473845048_m"])
@pytest.mark.parametrize("rule", ["one", "two", "d_lambda"])
def test_reconstructions_as_neuron(name, rule, bmtk_swc, capfd):
    path = bmtk_swc(name)
    morph = read_morphology(path)
    _, sections = nrn.import_file(path)
    counts = {"one": 1, "two": 2, "d_lambda": ncomp_from_d_lambda(morph, 0.1, RA, 1.0)}[rule]
    check_against_neuron(morph, sections, counts)


GROWN = {
    "single": single_compartment,
    "ball_and_stick": ball_and_stick,
    "y_tree": y_tree,
    "rall_tree": rall_tree,
    "rall_tree without soma": lambda: rall_tree(3, soma_diameter=None),
    "pyramidal": pyramidal,
}


@pytest.mark.parametrize("name", GROWN)
def test_grown_trees_as_neuron(name):
    morph = GROWN[name]()
    single = assemble([_as_single(b) for b in morph._branches()])
    sections = nrn.build(single)
    for counts in (1, 3, ncomp_from_max_length(morph, 30.0)):
        check_against_neuron(single, sections, counts)


def _as_single(branch):
    return Branch(np.float32(branch.points), *[getattr(branch, f) for f in _REST])


_REST = ("parent", "parent_x", "kind", "regions", "samples")


def test_joints_everywhere_as_neuron():
    """Children at 0, inside and at 1 of the soma and of a dendrite, diameters that jump."""
    along = np.arange(5.0)[:, None] * [4.0, 1.0, 0.0]
    d = np.array([[3.0], [3.0], [2.0], [1.0], [1.5]])
    jump = np.float32(np.insert(np.hstack([along, d]), 3, [8, 2, 0, 0.8], axis=0))
    parents = [-1, 0, 0, 0, 0, 1, 1, 1, 2, 5, 9]
    places = [1, 0, 0, 0.5, 1, 0, 1, 0.5, 0, 0, 1]
    kinds = [1, 3, 3, 4, 2, 3, 3, 4, 3, 3, 3]
    morph = assemble(
        [Branch(jump, p, x, k) for p, x, k in zip(parents, places, kinds, strict=True)]
    )
    sections = nrn.build(morph)
    rng = np.random.default_rng(0)
    for counts in (1, 2, 3, *rng.integers(1, 6, (4, morph.n_sections))):
        check_against_neuron(morph, sections, counts)


def check_against_graph(comps: Compartments, names, graph, ra: float):
    """`comps` with end nodes against a node graph measured in NEURON."""
    ours = [names[i] for i in comps.section]
    theirs = [s.split(".")[-1] for s in graph("secname")]
    place = {key: i for i, key in enumerate(zip(theirs, graph("x").round(9), strict=True))}
    at = np.array([place[key] for key in zip(ours, comps.x.round(9), strict=True)])
    assert len(at) == len(theirs) == len(comps.parent)
    np.testing.assert_allclose(comps.area, graph("area_um2")[at], rtol=1e-6)
    np.testing.assert_allclose(comps.distance, graph("dist_um")[at], atol=1e-4)
    joined = comps.parent >= 0
    resistance = ra * (comps.own + comps.via)
    np.testing.assert_allclose(resistance[joined], graph("ri_MOhm")[at][joined], rtol=1e-6)
    np.testing.assert_array_equal(at[comps.parent[joined]], graph("parent")[at][joined])


def test_hay_cell_as_measured(reference):
    """Areas, resistances and distances of every node of the published cell."""
    data = np.load(reference / "hay2011_graph.npz")
    morph = read_morphology(reference / "hay2011_cell1.asc").without("axon")
    morph = morph.with_cylinder(2, 30, 1).with_cylinder(2, 30, 1, "axon[0]", 1.0)
    counts = ncomp_from_callable(morph, lambda length: 1 + 2 * int(length / 40))
    comps = discretise(morph, counts, end_nodes=True)
    assert (len(comps.area), np.sum(comps.area > 0)) == (838, 642)
    assert comps.area.sum() == pytest.approx(31192.17, abs=0.01)
    check_against_graph(comps, morph.name, data.__getitem__, ra=100.0)


@pytest.mark.parametrize(("case", "ra"), [("B", 100.0), ("C", 150.0)])
def test_textbook_trees_as_measured(case, ra, reference):
    data = np.load(reference / "builtin_checks.npz")
    morph = ball_and_stick() if case == "B" else y_tree()
    counts = [1, 25] if case == "B" else [21, 15, 15]
    names = list(dict.fromkeys(data[f"{case}_graph_secname"].tolist()))
    comps = discretise(morph, counts, end_nodes=True)
    check_against_graph(comps, names, lambda key: data[f"{case}_graph_{key}"], ra)


def test_end_nodes_are_those_of_neuron():
    """The graph of the Y tree, ends included."""
    comps = discretise(y_tree(), [21, 15, 15], end_nodes=True)
    assert len(comps.parent) == len(comps.area) == 51 + 3
    ends = np.flatnonzero(comps.area == 0)
    np.testing.assert_array_equal(comps.x[ends], 1.0)
    np.testing.assert_array_equal(comps.section[ends], [0, 1, 2])
    np.testing.assert_array_equal(comps.parent[[22, 38]], ends[0])
    np.testing.assert_array_equal(comps.own[ends], 0)
    plain = discretise(y_tree(), [21, 15, 15])
    assert (len(plain.area), len(plain.parent)) == (51, 52)


def test_cylinder_in_closed_form():
    comps = discretise(single_compartment(500.0, 2.0), 5)
    np.testing.assert_allclose(comps.area, np.pi * 2 * 100)
    np.testing.assert_allclose(comps.length, 100)
    np.testing.assert_allclose(comps.radius, 1)
    half = 0.01 * 4 * 50 / (np.pi * 4)
    np.testing.assert_allclose(comps.own, [0, half, half, half, half])
    np.testing.assert_allclose(comps.via, [0, half, half, half, half])
    np.testing.assert_array_equal(comps.parent, [-1, 0, 1, 2, 3])
    np.testing.assert_allclose(comps.distance, [200, 100, 0, 100, 200])
    np.testing.assert_allclose(comps.xyz[:, 1], [-200, -100, 0, 100, 200], atol=1e-12)


def test_cone_in_closed_form():
    points = np.array([[0, 0, 0, 4.0], [100, 0, 0, 1.0]])
    comps = discretise(assemble([Branch(points, -1, 1.0, 1)]), 4)
    d = np.array([4, 3.625, 3.25, 2.875, 2.5, 2.125, 1.75, 1.375, 1.0])
    np.testing.assert_allclose(comps.radius, d[1::2] / 2)
    slant = np.hypot(25, 0.75 / 2)
    np.testing.assert_allclose(comps.area, np.pi / 2 * (d[:-1:2] + d[2::2]) * slant)
    np.testing.assert_allclose(comps.own[1:], 0.04 * 12.5 / np.pi / (d[2:-1:2] * d[3::2]))
    np.testing.assert_allclose(comps.via[1:], 0.04 * 12.5 / np.pi / (d[1:-2:2] * d[2:-1:2]))


def test_d_lambda_as_neuron(bmtk_swc, capfd):
    path = bmtk_swc("Scnn1a_473845048_m")
    morph = read_morphology(path)
    _, sections = nrn.import_file(path)
    h = pytest.importorskip("neuron").h
    for section in sections.values():
        section.Ra, section.cm = 70.0, 1.5
    for d_lambda, frequency in ((0.1, 100.0), (0.02, 300.0)):
        expected = [
            int((sections[n].L / (d_lambda * h.lambda_f(frequency, sec=sections[n])) + 0.9) / 2) * 2
            + 1
            for n in morph.name
        ]
        ours = ncomp_from_d_lambda(morph, d_lambda, 70.0, 1.5, frequency)
        np.testing.assert_array_equal(ours, expected)
    assert ours.max() > 3


def test_max_length_gives_the_least_odd_number():
    morph = ball_and_stick(20.0, 500.0, 2.0)
    assert ncomp_from_max_length(morph, 20.0).tolist() == [1, 25]
    assert ncomp_from_max_length(morph, 19.9).tolist() == [3, 27]
    assert ncomp_from_max_length(morph, 250.0).tolist() == [1, 3]
    assert ncomp_from_max_length(morph, 1e9).tolist() == [1, 1]


def test_bad_counts():
    morph = ball_and_stick()
    for count, words in (
        ([1, 2, 3], r"one per section, \(2,\); got shape \(3,\)"),
        ([1, 0], r"dend\[0\] \(length 500.0 µm\) got"),
        (1.5, "whole number"),
    ):
        with pytest.raises(ValueError, match=words):
            discretise(morph, count)
    with pytest.raises(ValueError, match="whole number of compartments >= 1"):
        ncomp_from_callable(morph, lambda length: length / 40)
    with pytest.raises(ValueError, match="max_length must be > 0"):
        ncomp_from_max_length(morph, 0.0)
    with pytest.raises(ValueError, match="d_lambda"):
        ncomp_from_d_lambda(morph, -0.1, 100.0, 1.0)


@st.composite
def swc_trees(draw):
    """Samples of a valid SWC file: a soma and a random tree on it, some of its points repeated."""
    n = draw(st.integers(2, 40))
    soma = draw(st.integers(1, min(4, n)))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    parent = np.array([-1, *(int(rng.integers(0, i)) for i in range(1, n))])
    parent[1:soma] = rng.integers(0, np.arange(1, soma)) if soma > 1 else parent[1:soma]
    kind = np.where(np.arange(n) < soma, 1, 0)
    for i in range(soma, n):
        same = kind[parent[i]] > 1 and rng.random() < 0.9
        kind[i] = kind[parent[i]] if same else rng.choice([2, 3, 4, 7])
    xyz = rng.normal(scale=20, size=(n, 3))
    return Samples(
        id=np.arange(1, n + 1),
        kind=kind,
        points=np.column_stack([xyz, rng.uniform(0.1, 8, n)]),
        parent=parent,
    )


@given(swc_trees(), st.integers(1, 7), st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_tree_is_cut_without_loss(samples, count, end_nodes):
    branches = cut_sections(samples)
    long = [np.ptp(b.points[:, :3], axis=0).max() > 0 for b in branches]
    if not all(long):
        return
    morph = assemble(branches)
    counts = 1 + (np.arange(morph.n_sections) + count) % 7
    comps = discretise(morph, counts, end_nodes=end_nodes)
    n, n_nodes = len(comps.area), len(comps.parent)
    np.testing.assert_allclose(
        np.bincount(comps.section, comps.area, morph.n_sections), morph.areas, rtol=1e-9
    )
    np.testing.assert_allclose(
        np.bincount(comps.section, comps.length, morph.n_sections), morph.lengths, rtol=1e-9
    )
    assert n == counts.sum() + end_nodes * morph.n_sections
    assert np.sum(comps.parent < 0) == 1
    up = comps.parent.copy()
    for _ in range(n_nodes):  # every node reaches the root
        up = np.where(up >= 0, comps.parent[up], -1)
    assert np.all(up == -1)
    assert np.all(np.bincount(comps.parent[comps.parent >= 0], minlength=n_nodes)[n:] >= 2)
    joined = comps.parent >= 0
    assert np.all((comps.own + comps.via)[joined] > 0)
    assert np.all(comps.own[n:] == 0)
    assert np.all(comps.via[joined][comps.parent[joined] >= n] == 0)
    for value in (comps.radius, comps.own, comps.via, comps.distance, comps.xyz, comps.x):
        assert np.isfinite(value).all()
    order = [1, 2, 3, 4, 7]
    rank = [order.index(k) for k in comps.kind]
    assert rank == sorted(rank)


@pytest.mark.parametrize("rule", [{"max_length": 1e-300}, {"d_lambda": 1e-300}])
def test_more_compartments_than_there_can_be_are_refused(rule):
    with pytest.raises(ValueError, match=f"{next(iter(rule))} = 1e-300 asks for"):
        jd.Cell(jd.ball_and_stick(15.0, 400.0, 1.0), **rule)
