"""Trees grown by rules."""

import numpy as np
import pytest

from jaxdend.morphology import (
    PyramidalShape,
    ball_and_stick,
    pyramidal,
    rall_tree,
    single_compartment,
    y_tree,
)


def test_single_compartment():
    morph = single_compartment(20.0, 10.0)
    assert morph.name == ("soma[0]",)
    assert morph.areas[0] == pytest.approx(np.pi * 200)


def test_ball_and_stick():
    morph = ball_and_stick()
    np.testing.assert_allclose(morph.lengths, [20, 500])
    np.testing.assert_allclose(morph.areas, [np.pi * 400, np.pi * 1000])
    assert morph.parent_x[1] == 1.0
    assert morph.name == ("soma[0]", "dend[0]")


def test_y_tree():
    morph = y_tree()
    np.testing.assert_allclose(morph.lengths, [200, 150, 150])
    np.testing.assert_allclose(morph.points[:, 3], [2, 2, 1.26, 1.26, 1.26, 1.26])
    assert morph.parent_section.tolist() == [-1, 0, 0]


def test_rall_tree_keeps_the_power_rule():
    morph = rall_tree(depth=5, diameter=4.0)
    assert morph.n_sections == 1 + 31
    d = morph.points[morph.offsets[:-1], 3]
    for i in range(1, morph.n_sections):
        children = np.flatnonzero(morph.parent_section == i)
        if len(children):
            assert np.sum(d[children] ** 1.5) == pytest.approx(d[i] ** 1.5)
    electrotonic = morph.lengths[1:] / np.sqrt(d[1:])
    np.testing.assert_allclose(electrotonic, electrotonic[0])
    assert rall_tree(depth=3, soma_diameter=None).n_sections == 7
    for depth in (0, 2.5, 40):
        with pytest.raises(ValueError, match="depth must be a whole number"):
            rall_tree(depth=depth)


def test_pyramidal_is_seeded():
    np.testing.assert_array_equal(pyramidal(3).points, pyramidal(3).points)
    assert not np.array_equal(pyramidal(3).points[:50], pyramidal(4).points[:50])


@pytest.mark.parametrize("seed", range(8))
def test_pyramidal_looks_like_layer_5(seed):
    morph = pyramidal(seed)
    length = {name: morph.lengths[mask].sum() for name, mask in morph.labels.items()}
    assert {"soma", "axon", "ais", "basal", "apical", "trunk", "oblique", "tuft"} <= set(length)
    assert 8_000 < length["dendrite"] < 13_000
    stems = (morph.parent_section == 0) & morph.region("basal")
    assert 6 <= stems.sum() <= 8
    fine = np.stack([morph.region(r) for r in ("trunk", "oblique", "tuft")])
    np.testing.assert_array_equal(fine.sum(axis=0), morph.region("apical"))
    np.testing.assert_array_equal(morph.region("apical"), morph.kind == 4)
    reach = np.zeros(morph.n_sections)
    for i in np.argsort(morph.region("tuft"), kind="stable"):  # parents come first in the apical
        if morph.region("apical")[i]:
            reach[i] = reach[morph.parent_section[i]] + morph.lengths[i]
    assert 1050 < reach.max() < 1450
    d = morph.points[:, 3]
    assert d[morph.region("dendrite")[morph.section_of_point]].min() >= 0.4
    at = morph.section_points("apic[0]")
    assert at[0, 3] > at[-1, 3]  # the trunk tapers


def test_branches_start_where_their_parent_ends():
    morph = pyramidal()
    for i, p in enumerate(morph.parent_section):
        if p > 0:
            gap = morph.section_points(i)[0, :3] - morph.section_points(p)[-1, :3]
            np.testing.assert_allclose(gap, 0, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("shape", "dendrite", "trunk", "obliques", "stems"),
    [
        ("l23_human", (15_000, 20_000), (100, 140), 5, 9),
        ("ca1", (8_000, 12_000), (300, 340), 14, 6),
        (PyramidalShape(obliques=3, stems=4), (5_000, 10_000), (600, 660), 3, 4),
    ],
    ids=["l23_human", "ca1", "own"],
)
def test_pyramidal_shapes(seed, shape, dendrite, trunk, obliques, stems):
    morph = pyramidal(seed, shape)
    length = {name: morph.lengths[mask].sum() for name, mask in morph.labels.items()}
    assert dendrite[0] < length["dendrite"] < dendrite[1]
    assert trunk[0] <= length["trunk"] <= trunk[1]
    on_trunk = np.isin(morph.parent_section, np.flatnonzero(morph.region("trunk")))
    assert (on_trunk & morph.region("oblique")).sum() == obliques
    assert (on_trunk & morph.region("tuft")).sum() == 2
    assert ((morph.parent_section == 0) & morph.region("basal")).sum() == stems


def test_pyramidal_says_what_it_was_grown_from():
    assert pyramidal(3, "ca1").source == "pyramidal(seed=3, shape='ca1')"
    own = pyramidal(shape=PyramidalShape(stems=0))
    assert "stems=0" in own.source
    assert not np.any(own.kind == 3)


@pytest.mark.parametrize("stems", [1, -2, 2.5])
def test_pyramidal_refuses_stems_that_cannot_be_spread(stems):
    with pytest.raises(ValueError, match="stems, the number of basal trees, must be"):
        PyramidalShape(stems=stems)


def test_pyramidal_refuses_an_unknown_shape():
    with pytest.raises(ValueError, match="l5, l23_human, ca1; got 'ca3'"):
        pyramidal(shape="ca3")
