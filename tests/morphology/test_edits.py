"""Edits give new morphologies that keep length, area and input resistance as they must."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import random_morphologies as files
from jaxdend import MorphologyError
from jaxdend.cable.compartments import discretise, ncomp_from_max_length
from jaxdend.morphology import (
    Branch,
    MorphologyWarning,
    assemble,
    ball_and_stick,
    pyramidal,
    rall_tree,
    read_morphology,
    y_tree,
)


def random_tree(seed, kind="swc"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MorphologyWarning)
        return read_morphology(io.StringIO(getattr(files, kind)(seed)))


def resistance(morph, finest=5.0):
    """Input resistance (MΩ) at the middle of the soma or root, with 1e-4 S/cm² and 100 Ω·cm."""
    comps = discretise(morph, ncomp_from_max_length(morph, finest))
    n = len(comps.parent)
    matrix = np.zeros((n, n))
    for i, p in enumerate(comps.parent):
        if p >= 0:
            g = 1 / (100.0 * (comps.own[i] + comps.via[i]))  # µS
            matrix[[i, p], [i, p]] += g
            matrix[[i, p], [p, i]] -= g
    matrix[np.arange(len(comps.area)), np.arange(len(comps.area))] += comps.area * 1e-4 * 1e-2
    at = np.flatnonzero(comps.section == morph.soma)
    return float(np.linalg.inv(matrix)[at[len(at) // 2], at[len(at) // 2]])


def same(one, two, rtol=0.0):
    assert one.name == two.name
    for field in ("offsets", "parent_section", "kind"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field), field)
    np.testing.assert_allclose(one.points, two.points, rtol=rtol, atol=rtol * 100)
    np.testing.assert_allclose(one.parent_x, two.parent_x, rtol=rtol)
    assert one.points.dtype == two.points.dtype
    assert one.labels.keys() == two.labels.keys()
    for label, mask in one.labels.items():
        np.testing.assert_array_equal(mask, two.labels[label])


seeds = st.integers(0, 2**31)
quick = settings(max_examples=40, deadline=None, derandomize=True)


@given(seeds, st.tuples(*[st.floats(-500, 500)] * 3), st.floats(-360, 360))
@quick
def test_moves_keep_everything(seed, by, degrees):
    morph = random_tree(seed)
    for moved in (
        morph.translated(by),
        morph.rotated("y", degrees),
        morph.rotated((1.0, 2.0, -1.0), degrees, about=(5, 0, 0)),
    ):
        np.testing.assert_allclose(moved.lengths, morph.lengths, rtol=1e-4)
        np.testing.assert_allclose(moved.areas, morph.areas, rtol=1e-4)
        assert resistance(moved) == pytest.approx(resistance(morph), rel=1e-4)
        assert moved.name == morph.name
        assert len(moved.report) == len(morph.report) + 1
    back = morph.translated(by).translated([-x for x in by])
    same(back, morph, 1e-5)
    same(morph.rotated("z", degrees).rotated("z", -degrees), morph, 1e-5)


def test_rotated_turns_anticlockwise_about_the_soma():
    morph = ball_and_stick()  # the stick grows along y from the soma's end
    middle = morph.section_points("soma[0]")[:, :3].mean(axis=0)
    turned = morph.rotated("z", 90)
    way = turned.points[-1, :3] - middle
    np.testing.assert_allclose(way, [-510, 0, 0], atol=1e-9)
    np.testing.assert_allclose(
        morph.rotated("x", 90).points[-1, :3] - middle, [0, 0, 510], atol=1e-9
    )
    moved = morph.translated((1, 2, 3))
    np.testing.assert_allclose(moved.points[:, :3] - morph.points[:, :3], [[1, 2, 3]] * 5)
    assert moved.report == ("moved by (1, 2, 3) µm",)


@given(seeds, st.floats(0.2, 5))
@quick
def test_scaling(seed, factor):
    morph = random_tree(seed)
    big = morph.scaled(factor, factor)
    np.testing.assert_allclose(big.lengths, factor * morph.lengths, rtol=1e-5)
    np.testing.assert_allclose(big.areas, factor**2 * morph.areas, rtol=1e-5)


@given(seeds, st.data())
@quick
def test_a_branch_cut_off_and_grafted_on_again(seed, data):
    morph = random_tree(seed)
    if morph.n_sections < 2:
        return
    cut = data.draw(st.integers(0, morph.n_sections - 1))
    p, x = morph.parent_section[cut], morph.parent_x[cut]
    if p < 0:
        return
    branch, rest = morph.subtree(cut), morph.without_sections(cut)
    assert branch.n_sections + rest.n_sections == morph.n_sections
    assert branch.lengths.sum() + rest.lengths.sum() == pytest.approx(morph.lengths.sum())
    whole = rest.joined(branch, morph.name[p], x, move=False)
    assert sorted(whole.areas) == pytest.approx(sorted(morph.areas))
    assert resistance(whole) == pytest.approx(resistance(morph), rel=1e-6)
    with pytest.raises(ValueError, match="root"):
        morph.without_sections(int(np.flatnonzero(morph.parent_section < 0)[0]))


@given(seeds, st.floats(0.5, 100))
@quick
def test_within(seed, distance):
    morph = random_tree(seed)
    near = morph.within(distance)
    fine = discretise(morph, ncomp_from_max_length(morph, 0.05))
    inside = (fine.distance < distance) | (fine.section == morph.soma)
    slack = 0.05 * morph.n_sections + 1e-3
    assert near.lengths.sum() == pytest.approx(fine.length[inside].sum(), abs=slack)
    assert near.areas.sum() == pytest.approx(fine.area[inside].sum(), abs=25 * slack)
    same(morph.within(1e6), morph)


def test_within_cuts_where_it_says():
    near = ball_and_stick().within(110.0)  # the middle of the soma is 10 µm from its end
    assert near.lengths.tolist() == [20, 100]
    assert "cut 110 µm from the soma" in near.report[0]
    assert near.within(9.0).name == ("soma[0]",)
    # the root is a dendrite, the soma hangs on its end
    rows = "1 3 0 0 0 1 -1\n2 3 100 0 0 1 1\n3 1 100 0 0 5 2\n4 1 110 0 0 5 3\n5 2 210 0 0 1 4\n"
    morph = read_morphology(io.StringIO(rows))
    assert morph.name[morph.soma] == "soma[0]"
    near = morph.within(45.0)
    np.testing.assert_allclose(sorted(near.lengths), [10, 40, 40], rtol=1e-6)
    assert near.points[:, 0].min() == pytest.approx(60)


def test_sections_kept_and_taken_out():
    morph = y_tree()
    for which in ("dend[2]", 2, ["dend[2]"], [2], np.array([False, False, True])):
        assert morph.without_sections(which).name == ("dend[0]", "dend[1]")
        assert morph.only_sections(which).name == ("dend[0]", "dend[2]")
    assert morph.subtree("dend[1]").parent_section.tolist() == [-1]
    assert morph.subtree(0).name == morph.name
    assert "without dend[2]: 1 sections of 150 µm" in morph.without_sections(2).report
    merged = morph.without_sections(2).merged()
    assert merged.name == ("dend[0]", "dend[1]")  # the diameter jumps where they meet
    chain = ball_and_stick().joined(y_tree(child_diameter=2.0), "dend[0]")
    chain = chain.without_sections(chain.name[-1])
    assert resistance(chain.merged()) == pytest.approx(resistance(chain), rel=1e-4)
    assert chain.merged().lengths.tolist() == [20, 850]
    assert chain.merged().report[-1] == "2 sections merged with their parents"


@given(seeds)
@quick
def test_merged_is_what_a_reader_makes_of_the_file(seed):
    """NEURON's rules make one section of a chain; so does reading the samples again."""
    morph = random_tree(seed)
    ends = [i for i in range(1, morph.n_sections) if i not in set(morph.parent_section)]
    if not ends:
        return
    less = morph.without_sections(ends[0]).merged()
    assert less.lengths.sum() == pytest.approx(morph.without_sections(ends[0]).lengths.sum())
    assert less.areas.sum() == pytest.approx(morph.without_sections(ends[0]).areas.sum())


@given(seeds, st.floats(0.2, 20))
@quick
def test_resampled(seed, spacing):
    morph = random_tree(seed)
    new = morph.resampled(spacing)
    steps = np.diff(new.arc)[np.diff(new.section_of_point) == 0]
    soma = new.kind[new.section_of_point[1:]][np.diff(new.section_of_point) == 0] == 1
    assert np.all(steps[~soma] <= spacing * (1 + 1e-5))
    assert np.all(new.lengths <= morph.lengths * (1 + 1e-6))
    for i in range(morph.n_sections):
        ends = [0, -1]
        np.testing.assert_array_equal(new.section_points(i)[ends], morph.section_points(i)[ends])
    fine = morph.resampled(0.05)
    np.testing.assert_allclose(fine.lengths, morph.lengths, rtol=0.05)
    assert resistance(fine) == pytest.approx(resistance(morph), rel=0.05)
    assert "µm² became" in new.report[-1]


def test_straight_branches_lose_nothing():
    for morph in (y_tree(), rall_tree(), ball_and_stick()):
        for new in (
            morph.resampled(3.0),
            morph.simplified(1e-3),
            morph.resampled(7.0).simplified(0.1),
        ):
            np.testing.assert_allclose(new.lengths, morph.lengths)
            np.testing.assert_allclose(new.areas, morph.areas)
    thin = y_tree().resampled(3.0).simplified(1e-6)
    np.testing.assert_allclose(thin.points, y_tree().points)


@given(seeds, st.floats(0.01, 10))
@quick
def test_simplified_stays_near(seed, tolerance):
    morph = random_tree(seed)
    new = morph.simplified(tolerance)
    assert len(new.points) <= len(morph.points)
    kept = {tuple(p) for p in morph.points.tolist()}
    assert all(tuple(p) in kept for p in new.points.tolist())
    for i in range(morph.n_sections):
        chain = new.section_points(i).astype(float)
        for point in morph.section_points(i).astype(float):
            far = [off(point, a, b) for a, b in zip(chain[:-1], chain[1:], strict=True)]
            assert min(far) <= tolerance * (1 + 1e-5)


def off(point, a, b):
    """Distance of a point to a straight piece, in places and radius."""
    half = np.array([1, 1, 1, 0.5])
    point, a, b = point * half, a * half, b * half
    way = (b - a)[:3]
    x = np.clip((point - a)[:3] @ way / (way @ way), 0, 1) if way @ way > 0 else 0.0
    return float(np.linalg.norm(point - a - x * (b - a)))


def test_joined_moves_the_graft():
    stick = ball_and_stick()
    both = stick.joined(y_tree(), "dend[0]", 0.5)
    assert both.n_sections == 5
    i = both.name.index("dend[1]")
    assert both.parent_x[i] == 0.5
    middle = stick.section_points("dend[0]")[:, :3].mean(axis=0)
    np.testing.assert_allclose(both.section_points(i)[0, :3], middle)
    assert both.areas.sum() == pytest.approx(stick.areas.sum() + y_tree().areas.sum())
    assert both.report == ("3 sections of y_tree joined to dend[0](0.5)",)
    with pytest.raises(ValueError, match="x must lie in"):
        stick.joined(y_tree(), "dend[0]", 2.0)
    with pytest.raises(ValueError, match=r"no section 'axon\[0\]'"):
        stick.joined(y_tree(), "axon[0]")
    with pytest.raises(ValueError, match="another morphology; got str"):
        stick.joined("y_tree", "dend[0]")


def test_with_types():
    morph = pyramidal()
    other = morph.with_types({"axon": "undefined", "apic[0]": 7})
    assert other.region("dend_0").sum() == morph.region("axon").sum()
    assert other.name.count("dend_7[0]") == 1
    assert other.areas.sum() == pytest.approx(morph.areas.sum())
    assert f"{morph.region('axon').sum() + 1} sections got another type" in other.report
    assert other.region("trunk").sum() == morph.region("trunk").sum()
    for wrong in ({"dend[999]": 3}, {3: -1}, {3: "dendrite"}, [3], {3: True}):
        with pytest.raises(ValueError, match="with_types"):
            morph.with_types(wrong)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: m.translated(5), "translated: by must be three finite numbers"),
        (lambda m: m.translated((1, 2, np.nan)), "three finite numbers"),
        (lambda m: m.rotated("w", 3), "rotated: axis must be three finite numbers"),
        (lambda m: m.rotated((0, 0, 0), 3), "a direction other than 0"),
        (lambda m: m.rotated("x", "3"), "degrees must be a finite number"),
        (lambda m: m.within(0), "within: distance must be a number > 0 µm"),
        (lambda m: m.resampled(-1.0), "resampled: spacing must be a number > 0"),
        (lambda m: m.simplified(np.inf), "simplified: tolerance must be a number > 0"),
        (lambda m: m.without_sections("dend[9]"), r"no section 'dend\[9\]'"),
        (lambda m: m.without_sections([]), "sections are given by number, name"),
        (lambda m: m.only_sections(1.5), "sections are given by number, name"),
        (lambda m: m.without_sections(np.zeros(7, bool)), "a bool for each of the 3"),
    ],
)
def test_wrong_arguments_are_named(use, message):
    with pytest.raises(ValueError, match=message):
        use(y_tree())


@given(seeds)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_swc_reads_back_the_same(seed):
    """Most trees without a word beyond the samples, by NEURON's rules alone."""
    morph = random_tree(seed)
    file = io.StringIO()
    said = morph.write_swc(file)
    assert said == ()
    assert "jaxdend sections" not in file.getvalue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MorphologyWarning)
        same(read_morphology(io.StringIO(file.getvalue())), morph)


def grown():
    odd = assemble(
        [
            Branch(np.array([[0, 0, 0, 5], [9, 0, 0, 5.0]]), -1, 1.0, 1),
            Branch(np.array([[3, 9, 0, 1], [3, 30, 0, 1 / 3]]), 0, 0.3, 3, ("tuft",)),
            Branch(np.array([[3, 20, 0, 1], [9, 20, 0, 1.0]]), 1, 0.5, 4),
        ],
        source="odd ones",
    )
    return [pyramidal(), y_tree(), rall_tree(), ball_and_stick(), odd]


@pytest.mark.filterwarnings("ignore::jaxdend.morphology.MorphologyWarning")
def test_anything_else_reads_back_the_same_too(tmp_path):
    asc = [random_tree(seed, "asc") for seed in range(15)]
    edited = [m.within(20.0).rotated("x", 40) for m in asc[:5]]
    for morph in [*grown(), *asc, *edited]:
        path = tmp_path / "cell.swc"
        said = morph.write_swc(path)
        back = read_morphology(path, strict=not np.all(morph.kind != 1))
        same(back, morph)
        assert bool(said) == ("jaxdend sections" in path.read_text())
        if said:
            assert "other programs read" in said[0]
            assert any("from the comment" in text for text in back.report)


def test_what_others_read_of_a_file_is_said(tmp_path):
    path = tmp_path / "cell.swc"
    with pytest.warns(MorphologyWarning, match=r"3 sections, .* 2792\.8\d* µm² in place of 3"):
        y_tree().write_swc(path)
    text = path.read_text()
    path.write_text(text.replace("\n1 3 0.0", "\n1 3 1.0"))
    with pytest.warns(MorphologyWarning) as caught:
        other = read_morphology(path)
    assert "not that of these samples" in str(caught[0].message)
    assert other.points[0, 0] == 1
    path.write_text(text)
    with pytest.warns(MorphologyWarning, match="no soma"):
        plain = read_morphology(path, types={3: "apical"})
    assert plain.name == ("apic[0]", "apic[1]", "apic[2]")
    with pytest.raises(MorphologyError, match="write_swc writes a file whose name ends in .swc"):
        y_tree().write_swc(tmp_path / "cell.asc")


def test_real_cells_read_back_the_same(bmtk_swc, reference):
    for name in ("Rorb_325404214_m", "Scnn1a_473845048_m"):
        morph = read_morphology(bmtk_swc(name))
        for edit in (morph, morph.without("axon"), morph.within(80.0), morph.rotated("z", 9)):
            file = io.StringIO()
            assert edit.write_swc(file) == ()
            file.seek(0)
            same(read_morphology(file, strict=True), edit)
    morph = read_morphology(reference / "hay2011_cell1.asc")
    file = io.StringIO()
    with pytest.warns(MorphologyWarning, match="195 sections"):
        morph.write_swc(file)
    file.seek(0)
    same(read_morphology(file, strict=True), morph)
