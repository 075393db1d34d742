"""Places: names, masks, numbers and lists of them, for compartments and for sites."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend._types import as_sites
from jaxdend.channels import Leak
from jaxdend.places import Places


@pytest.fixture(scope="module")
def cell() -> jd.Cell:
    """34 compartments: the soma, 0, then three branches of eleven."""
    return jd.Cell(tree(), max_length=20.0).group("hot", [7, 3])


def tree() -> jd.Morphology:
    morph = jd.single_compartment(20.0, 20.0)
    for parent in ("soma[0]", "dend[0]", "dend[0]"):
        morph = morph.with_cylinder(3, 200.0, 2.0, parent, 1.0)
    return morph


def section(cell: jd.Cell, name: str) -> np.ndarray:
    return np.flatnonzero(cell.section == cell.section_names.index(name))


# --- sites ------------------------------------------------------------------------------------


def test_sites_of_every_kind_of_place(cell):
    mask = np.isin(np.arange(cell.n), [9, 2, 5])
    soma, middle = cell.locate("soma"), cell.locate(section="dend[1]", x=0.5)
    expected = {
        3: [3],
        "soma": [soma],
        "dend[1]": [middle],
        "hot": [3],  # the one nearest to the soma
        (4, 2, 2): [4, 2, 2],
        ("dend[1]", 8, "soma"): [middle, 8, soma],
    }
    for place, sites in expected.items():
        for given in (place, list(place)) if isinstance(place, tuple) else (place,):
            np.testing.assert_array_equal(cell.sites(given), sites)
    for given in (mask, jnp.asarray(mask), mask.tolist()):
        np.testing.assert_array_equal(cell.sites(given), [2, 5, 9])
    np.testing.assert_array_equal(cell.sites(["soma", mask, 1]), [soma, 2, 5, 9, 1])
    np.testing.assert_array_equal(cell.sites(np.array(["soma", "dend[1]"])), [soma, middle])
    assert isinstance(cell.sites("soma"), np.ndarray)


def test_what_an_input_holds_until_the_cell_is_known(cell):
    mask = np.isin(np.arange(cell.n), [9, 2, 5])
    for place in ("soma", ["dend[1]", 8, "soma"], mask, ["hot", mask, 4], np.array(["soma"])):
        site = as_sites(place)
        assert isinstance(site, Places)
        sites = cell.sites(place)
        assert site.shape == sites.shape
        assert (site.ndim, len(site)) == (1, len(sites))
        np.testing.assert_array_equal(cell.sites(site), sites)
        assert as_sites(site) is site
    stim = jd.Step(["soma", mask], onset=1.0, duration=2.0, amplitude=[1.0, 2.0, 3.0, 4.0])
    assert stim.site.shape == (4,)
    with pytest.raises(ValueError, match=r"Step.amplitude: expected shape \(\) or \(4,\)"):
        jd.Step(["soma", mask], onset=1.0, duration=2.0, amplitude=[1.0, 2.0])


def test_places_are_static_and_compared_by_content():
    mask = np.array([True, False, True])
    a, b = (Places(["soma", mask.copy(), 3]) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)
    assert jax.tree.leaves(a) == []
    others = (["soma", mask, 4], ["soma", [0, 2], 3], ["soma", ~mask, 3], [mask, "soma", 3])
    assert all(a != Places(items) for items in others)
    given = mask.copy()
    c = Places(["soma", given, 3])
    given[:] = True
    assert c == a
    traces = 0

    @jax.jit
    def count(site):
        nonlocal traces
        traces += 1
        return jnp.zeros(site.shape)

    count(a), count(b)
    assert traces == 1


def test_known_numbers_stay_known_and_traced_ones_pass(cell):
    outside = jnp.array([1, 2])

    @jax.jit
    def f(site):
        for given in ([1, 2], outside):
            assert not isinstance(as_sites(given), jax.core.Tracer)
            assert isinstance(cell.sites(given), np.ndarray)
        return cell.sites(as_sites(site)), cell.sites([site, 4])

    one, two = f(3)
    np.testing.assert_array_equal(one, [3])
    np.testing.assert_array_equal(two, [3, 4])
    batch = jax.vmap(lambda s: cell.sites(as_sites(s)))(jnp.arange(3))
    np.testing.assert_array_equal(batch, [[0], [1], [2]])


def test_minus_one_is_padding_for_inputs_alone(cell):
    np.testing.assert_array_equal(as_sites([3, -1]), [3, -1])
    np.testing.assert_array_equal(cell.sites([3, -1], padding=True), [3, -1])
    np.testing.assert_array_equal(cell.sites(as_sites(["soma", -1]), padding=True), [0, -1])
    with pytest.raises(ValueError, match=f"this cell has {cell.n} .* no input sits there"):
        cell.sites([3, -1])
    with pytest.raises(ValueError, match="sites -1 means that no input sits there"):
        cell.insert(Leak(), [3, -1])


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("tuffft", "no region 'tuffft'.*soma.*sections are soma.0., dend.0."),
        ("", "no region ''.*soma"),
        (["soma", ""], "no region ''.*soma"),
        ("dend[99]", "no region 'dend.99.'"),
        (34, "site 34 is outside 0..33: this cell has 34 compartments"),
        ([0, -2], "site -2 is outside 0..33"),
        (np.ones(4, bool), r"site= must have shape \(34,\) as a bool array; got \(4,\)"),
        (np.ones((34, 2), bool), r"must have shape \(n,\); got \(34, 2\)"),
        (0.5, "expected a compartment number, the name of a region"),
        ([], "expected a compartment number"),
        (None, "expected a compartment number"),
        ([True, 3], "expected a compartment number"),
        ([[1], [2]], r"got shape \(2, 1\). Batches: jax.vmap"),
        (True, "expected a compartment number"),
    ],
)
def test_what_is_no_site(cell, place, message, padding):
    with pytest.raises(ValueError, match=message):
        cell.sites(place, padding=padding)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (-2, "count from 0; got -2"),
        ([4, -3], "count from 0; got -3"),
        (0.5, "site: expected a compartment number"),
        ([], "site: expected a compartment number"),
        (["soma", 0.5], "site: expected a compartment number"),
        (["soma", None], "site: expected a compartment number"),
        ([True, 3], "site: expected a compartment number"),
        (np.zeros(3, bool), "all of it is False"),
        (np.zeros((2, 2), int), "Batches: jax.vmap"),
        ({"region": "soma"}, "site: expected a compartment number"),
    ],
)
def test_what_an_input_refuses_at_once(place, message):
    for make in (as_sites, lambda site: jd.Step(site, 1.0, 1.0, 1.0)):
        with pytest.raises(ValueError, match=message):
            make(place)


def test_what_is_traced_and_decides_how_many():
    for make in (as_sites, Places):
        with pytest.raises(ValueError, match="must be known"):
            jax.eval_shape(lambda m, f=make: f([m]), jax.ShapeDtypeStruct((3,), bool))
    with pytest.raises(ValueError, match="cannot stand in one list with traced"):
        jax.eval_shape(lambda s: as_sites(["soma", s]), 3)
    for wrong in (1.0, jax.ShapeDtypeStruct((2, 2), int)):
        with pytest.raises(ValueError, match="site: expected a compartment number"):
            jax.eval_shape(lambda s: as_sites(s).shape, wrong)


# --- compartments -----------------------------------------------------------------------------


def at(cell: jd.Cell, where) -> list[int]:
    return cell.insert(Leak(), where).mechanisms["Leak"].at.index.tolist()


def test_compartments_of_every_kind_of_place(cell):
    soma, first = section(cell, "soma[0]").tolist(), section(cell, "dend[0]").tolist()
    mask = np.isin(np.arange(cell.n), [9, 2, 5])
    assert at(cell, None) == list(range(cell.n))
    assert at(cell, "dend[0]") == first
    assert at(cell, "hot") == [3, 7]
    assert at(cell, 5) == at(cell, np.int64(5)) == at(cell, jnp.asarray(5)) == [5]
    assert at(cell, mask) == at(cell, mask.tolist()) == at(cell, jnp.asarray(mask)) == [2, 5, 9]
    assert at(cell, ["soma", "dend[0]"]) == at(cell, ("dend[0]", "soma")) == sorted(soma + first)
    assert at(cell, ["hot", 20, mask, [11, 10]]) == [2, 3, 5, 7, 9, 10, 11, 20]
    assert at(cell, np.array(["soma[0]", "hot"])) == sorted([*soma, 3, 7])
    out = cell.set(["soma", "hot"], cm=2.0)
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(out.cm) == 2.0), sorted([*soma, 3, 7]))


def test_a_section_is_a_region(cell):
    for name in cell.section_names:
        np.testing.assert_array_equal(np.flatnonzero(cell.region(name)), section(cell, name))
        assert cell.locate(name) == cell.locate(section=name, x=0.5)
    site = cell.locate("dend[1]", distance=300.0)
    assert site in section(cell, "dend[1]")
    assert abs(cell.distance[site] - 300.0) <= cell.length[site] / 2 + 1e-9


def test_a_section_that_ends_in_a_node_without_membrane():
    cell = jd.Cell(tree(), max_length=50.0, end_nodes=True)
    site = cell.locate("dend[0]")
    assert cell.area[site] > 0
    assert cell.x[site] == 0.5
    inside = np.flatnonzero(cell.region("dend[0]"))
    assert at(cell, "dend[0]") == [i for i in inside if cell.area[i] > 0]
    assert len(at(cell, "dend[0]")) == len(inside) - 1


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "no region ''.*soma"),
        (["soma", ""], "no region ''.*soma"),
        (["soma", "tuffft"], "no region 'tuffft'"),
        ([0, 34], "Leak: where= must hold compartment numbers in 0..33; got 34"),
        (-2, "must hold compartment numbers in 0..33; got -2"),
        ([0.5], "Leak: where: expected a compartment number"),
        ([], "Leak: where: expected a compartment number"),
        ([True, 3], "Leak: where: expected a compartment number"),
        (["soma", np.ones(4, bool)], r"where= must have shape \(34,\)"),
        (np.zeros(34, bool), "Leak: where= selects no compartment"),
    ],
)
def test_what_is_no_set_of_compartments(cell, where, message):
    with pytest.raises(ValueError, match=message):
        cell.insert(Leak(), where)


# --- groups -----------------------------------------------------------------------------------


def test_a_group_is_a_region_of_ones_own(cell):
    assert "hot" in cell.regions
    np.testing.assert_array_equal(np.flatnonzero(cell.region("hot")), [3, 7])
    both = cell.group("more", ["hot", "soma"])
    np.testing.assert_array_equal(both.region("more"), cell.region("hot") | cell.region("soma"))
    assert "more" not in cell.regions  # the original is untouched
    assert both.insert(Leak()).set(cm=2.0).region("more").sum() == 2 + cell.region("soma").sum()
    assert jax.tree.structure(cell) == jax.tree.structure(
        jd.Cell(tree(), max_length=20.0).group("hot", cell.region("hot"))
    )
    again = jax.jit(lambda c: c.set(cm=2.0))(both)
    np.testing.assert_array_equal(again.region("more"), both.region("more"))


@pytest.mark.parametrize(
    ("name", "where", "message"),
    [
        ("soma", [1], "has a region or group 'soma' already"),
        ("hot", [1], "has a region or group 'hot' already"),
        ("all", [1], "has a region or group 'all' already"),
        ("dend[1]", [1], "has a section 'dend.1.' already"),
        ("", [1], "needs a name"),
        (" ", [1], "needs a name"),
        (3, [1], "needs a name"),
        ("new", np.zeros(34, bool), "group 'new': where= selects no compartment"),
        ("new", [34], "group 'new': where= must hold compartment numbers in 0..33"),
        ("new", "tuffft", "no region 'tuffft'"),
    ],
)
def test_groups_that_are_refused(cell, name, where, message):
    with pytest.raises(ValueError, match=message):
        cell.group(name, where)


def test_a_stack_has_no_names(cell):
    stacked = jd.stack([cell, cell])
    with pytest.raises(ValueError, match="Ask the single"):
        stacked.group("new", [1])
    with pytest.raises(ValueError, match="Ask the single"):
        stacked.sites("soma")
    np.testing.assert_array_equal(stacked.sites([1, 2]), [1, 2])


def test_locate_takes_no_distance_that_is_no_number(cell):
    with pytest.raises(ValueError, match="distance must be a finite number"):
        cell.locate("dendrite", distance=np.nan)
    with pytest.raises(ValueError, match="no region ''"):
        cell.locate("")
    with pytest.raises(ValueError, match="no section ''"):
        cell.locate(section="")
