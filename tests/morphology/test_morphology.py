"""`Morphology`: lengths, areas, regions, and new morphologies from old ones."""

import numpy as np
import pytest

from jaxdend import MorphologyError
from jaxdend.morphology import Branch, assemble, ball_and_stick, pyramidal, read_morphology


def cone(kind, parent, parent_x, start, end, d0, d1, regions=()):
    return Branch(np.array([[*start, d0], [*end, d1]], float), parent, parent_x, kind, regions)


def small():
    """An apical and a basal dendrite, given before the axon that leaves the basal one."""
    return assemble(
        [
            cone(1, -1, 1.0, (-5, 0, 0), (5, 0, 0), 10, 10),
            cone(4, 0, 0.5, (0, 5, 0), (0, 45, 0), 4, 1, ("trunk",)),
            cone(3, 0, 0.0, (-5, 0, 0), (-25, 0, 0), 2, 2),
            cone(2, 2, 1.0, (-25, 0, 0), (-25, -30, 0), 1, 1),
        ]
    )


def test_sections_are_sorted_and_named_as_in_neuron():
    morph = small()
    assert morph.name == ("soma[0]", "axon[0]", "dend[0]", "apic[0]")
    assert morph.kind.tolist() == [1, 2, 3, 4]
    assert morph.parent_section.tolist() == [-1, 2, 0, 0]
    assert morph.parent_x[1:].tolist() == [1.0, 0.0, 0.5]
    assert morph.soma == 0


def test_lengths_areas_and_arcs():
    morph = small()
    np.testing.assert_allclose(morph.lengths, [10, 30, 20, 40])
    slant = np.hypot(40, 1.5)
    np.testing.assert_allclose(
        morph.areas, np.pi * np.array([100, 30, 40, (4 + 1) / 2 * slant]), rtol=1e-14
    )
    np.testing.assert_allclose(morph.arc, [0, 10, 0, 30, 0, 20, 0, 40])
    ends, diameter, section = morph.segments()
    assert ends.shape == (4, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1), morph.lengths)
    np.testing.assert_allclose(diameter, [10, 1, 2, 2.5])
    assert section.tolist() == [0, 1, 2, 3]


def test_a_jump_of_the_diameter_adds_its_annulus():
    points = np.array([[0, 0, 0, 2], [10, 0, 0, 2], [10, 0, 0, 6], [20, 0, 0, 6]], float)
    morph = assemble([Branch(points, -1, 1.0, 1)])
    annulus = np.pi * (3**2 - 1**2)
    assert morph.areas[0] == pytest.approx(np.pi * (20 + 60) + annulus, rel=1e-14)


def test_regions():
    morph = small()
    assert set(morph.labels) == {"soma", "axon", "basal", "apical", "dendrite", "trunk"}
    assert morph.region("dendrite").tolist() == [False, False, True, True]
    assert morph.region("trunk").tolist() == [False, False, False, True]
    with pytest.raises(ValueError, match="no region 'tuft'; this morphology has soma"):
        morph.region("tuft")


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: m.without([10, 11]), r"one region or one SWC type.*got \[10, 11\]"),
        (lambda m: m.without(["axon", "basal"]), "one region or one SWC type"),
        (lambda m: m.without(np.array([False, True, False, False])), "one region or one SWC type"),
        (lambda m: m.without(True), "one region or one SWC type"),
        (lambda m: m.without(2.0), "one region or one SWC type"),
        (lambda m: m.without(None), "one region or one SWC type"),
        (lambda m: m.without(10), r"no section of SWC type 10; there are \[1, 2, 3, 4\]"),
        (lambda m: m.without(""), "no region ''; this morphology has soma"),
        (lambda m: m.section_points("dend[9]"), "no section 'dend.9.'; there are 4, .*soma.0."),
        (lambda m: m.section_points(4), "no section 4; there are 4, numbered from 0"),
        (lambda m: m.section_points(-1), "no section -1"),
        (lambda m: m.with_cylinder(3, 10.0, 1.0, 4), "no section 4; there are 4"),
        (lambda m: m.with_cylinder(3, 10.0, 1.0, "dend[9]"), "no section 'dend.9.'"),
        (lambda m: m.with_cylinder(3, 10.0, 1.0, "soma[0]", 2.0), r"parent_x must lie in \[0, 1\]"),
        (lambda m: m.with_cylinder("axon", 10.0, 1.0), "kind is an SWC type: .*got 'axon'"),
        (lambda m: m.scaled("2"), "scaled needs factors > 0; got length='2'"),
        (lambda m: m.scaled(np.nan), "scaled needs factors > 0"),
        (lambda m: m.scaled(diameter=np.inf), "scaled needs factors > 0"),
    ],
)
def test_wrong_arguments_are_named(use, message):
    with pytest.raises(ValueError, match=message):
        use(small())


def test_without_takes_what_hangs_on_it():
    morph = small()
    assert morph.without("axon").name == ("soma[0]", "dend[0]", "apic[0]")
    assert morph.without(2).name == morph.without("axon").name
    less = morph.without("basal")  # the axon hangs on it
    assert less.name == ("soma[0]", "apic[0]")
    assert less.parent_section.tolist() == [-1, 0]
    assert set(less.labels) == {"soma", "apical", "dendrite", "trunk"}
    np.testing.assert_array_equal(less.section_points("apic[0]"), morph.section_points(3))
    with pytest.raises(ValueError, match="root"):
        morph.without("soma")
    with pytest.raises(ValueError, match=r"type 7; there are \[1, 2, 3, 4\]"):
        morph.without(7)


def test_without_keeps_names_and_samples(bmtk_swc):
    morph = read_morphology(bmtk_swc("Rorb_325404214_m"))
    less = morph.without("axon")
    assert less.n_sections == morph.n_sections - morph.region("axon").sum()
    for name in less.name[::7]:
        np.testing.assert_array_equal(less.section_points(name), morph.section_points(name))
    assert less.samples is not None
    assert len(less.samples) == len(less.points)


def test_samples_are_ids_of_the_file(bmtk_swc):
    path = bmtk_swc("Rorb_325404214_m")
    morph = read_morphology(path)
    rows = {r[0]: r for r in (s.split() for s in path.read_text().splitlines()) if r[0].isdigit()}
    assert morph.samples is not None
    for p in range(5, len(morph.points), 97):
        xyz = np.array(rows[str(morph.samples[p])][2:5], float)
        np.testing.assert_allclose(morph.points[p, :3], xyz, rtol=1e-6)


def test_scaled():
    morph = small()
    big = morph.scaled(length=2.0, diameter=0.5)
    np.testing.assert_allclose(big.lengths, 2 * morph.lengths)
    np.testing.assert_allclose(big.points[:, 3], morph.points[:, 3] / 2)
    np.testing.assert_allclose(morph.scaled(3.0, 3.0).areas, 9 * morph.areas)
    with pytest.raises(ValueError, match="factors > 0"):
        morph.scaled(length=0.0)


def test_with_cylinder_replaces_an_axon(bmtk_swc):
    morph = read_morphology(bmtk_swc("Scnn1a_473845048_m")).without("axon")
    stub = morph.with_cylinder(2, 30, 1).with_cylinder(2, 30, 1, "axon[0]", 1.0)
    i, j = stub.name.index("axon[0]"), stub.name.index("axon[1]")
    assert stub.parent_section[[i, j]].tolist() == [0, i]
    assert stub.parent_x[[i, j]].tolist() == [0.5, 1.0]
    np.testing.assert_allclose(stub.lengths[[i, j]], 30, rtol=1e-6)
    assert stub.n_sections == morph.n_sections + 2
    assert stub.points.dtype == morph.points.dtype
    np.testing.assert_allclose(np.sort(stub.areas)[-5:], np.sort(morph.areas)[-5:])
    trunk = pyramidal().with_cylinder(3, 10, 1, "apic[3]", 1.0)
    assert trunk.region("trunk").sum() == pyramidal().region("trunk").sum()
    with pytest.raises(ValueError, match=r"no section 'axon\[5\]'"):
        morph.with_cylinder(2, 30, 1, "axon[5]")
    with pytest.raises(MorphologyError, match="diameter must be > 0"):
        morph.with_cylinder(2, 30, 0)


def test_morphologies_do_not_share_a_mask_with_the_caller():
    morph = ball_and_stick()
    morph.region("soma")[:] = False
    assert morph.region("soma").any()


@pytest.mark.parametrize(
    ("branches", "words"),
    [
        ([cone(1, -1, 1, (0, 0, 0), (0, 0, 0), 1, 1)], "length 0"),
        ([cone(1, -1, 1, (0, 0, 0), (9, 0, 0), 1, -1)], "diameter must be > 0"),
        ([cone(1, -1, 1, (0, 0, 0), (np.nan, 0, 0), 1, 1)], "not finite"),
        ([cone(1, -1, 1, (0, 0, 0), (9, 0, 0), 1, 1)] * 2, "one tree"),
        (
            [cone(1, 1, 1, (0, 0, 0), (9, 0, 0), 1, 1), cone(3, 0, 1, (0, 0, 0), (9, 0, 0), 1, 1)],
            "cycle",
        ),
    ],
)
def test_assemble_refuses(branches, words):
    with pytest.raises(MorphologyError, match=words):
        assemble(branches)


def test_repr_is_one_line(bmtk_swc):
    text = repr(read_morphology(bmtk_swc("Rorb_325404214_m")))
    assert "Rorb_325404214_m.swc: 64 sections" in text
    assert "\n" not in text
