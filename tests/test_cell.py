"""Cells: how they are cut, what sits where, and what makes two of them equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import close, tol
from jaxdend.channels import HH, Leak


@pytest.fixture(scope="module")
def cell() -> jd.Cell:
    return jd.Cell(jd.pyramidal(), max_length=60.0)


def parameters(cell: jd.Cell, name: str) -> tuple[np.ndarray, dict]:
    item = cell.mechanisms[name]
    return item.at.index, vars(item.mechanism)


# --- construction -----------------------------------------------------------------------------


def test_max_length_d_lambda_and_ncomp():
    morph = jd.ball_and_stick(dendrite_length=300.0)
    assert jd.Cell(morph, max_length=60.0).n == 1 + 5
    assert jd.Cell(morph, max_length=59.0).n == 1 + 7  # odd, as in NEURON
    assert jd.Cell(morph, ncomp=lambda length: 4 if length > 100 else 1).n == 1 + 4
    coarse, fine = jd.Cell(morph, d_lambda=0.3), jd.Cell(morph, d_lambda=0.01)
    assert 1 < coarse.n < fine.n
    assert fine.n % 2 == 0


def test_ncomp_is_a_number_per_section_or_one_for_each():
    morph = jd.y_tree()
    for ncomp in (4, 4.0, np.int32(4), jnp.asarray(4), lambda _: 4, [4, 4, 4]):
        cell = jd.Cell(morph, ncomp=ncomp)
        assert np.bincount(cell.section).tolist() == [4, 4, 4]
    each = jd.Cell(morph, ncomp=np.array([1, 3, 2]))
    assert np.bincount(each.section).tolist() == [1, 3, 2]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"ncomp": 0}, "every section needs a whole number of compartments >= 1; dend.0. .* got 0"),
        ({"ncomp": 2.5}, "every section needs a whole number of compartments >= 1"),
        ({"ncomp": np.inf}, "every section needs a whole number of compartments >= 1"),
        ({"ncomp": [1, 2, -1]}, "dend.2. .* got -1"),
        ({"ncomp": [1, 2]}, r"one per section, \(3,\); got shape \(2,\)"),
        ({"ncomp": "4"}, r"ncomp must be a whole number .*callable from a section's length.*'4'"),
        ({"ncomp": True}, "ncomp must be a whole number"),
        ({"ncomp": lambda _: "4"}, "ncomp must be a whole number"),
        ({"max_length": "20"}, "max_length must be > 0 µm; got '20'"),
        ({"max_length": np.nan}, "max_length must be > 0"),
        ({"max_length": [20.0]}, "max_length must be > 0"),
        ({"d_lambda": "0.1"}, "d_lambda must be > 0; got '0.1'"),
        ({"d_lambda": 0.1, "ra": -1.0}, "ra must be > 0; got -1"),
        ({"max_length": 20.0, "cm": np.inf}, "cm must be finite and > 0; got inf"),
        (
            {"max_length": 20.0, "ra": "100"},
            "ra must be a number or an array of numbers; got '100'",
        ),
        ({"max_length": 20.0, "celsius": -300.0}, "celsius must be finite and from -10 to 100 °C"),
        ({"max_length": 20.0, "celsius": 1000.0}, "celsius must be finite and from -10 to 100 °C"),
        ({"max_length": 20.0, "celsius": 310.15}, "it is not in kelvin"),
        ({"max_length": 20.0, "ra": np.ones(3)}, r"ra must be a number or have shape \("),
    ],
)
def test_numbers_that_make_no_cell(rules, message):
    with pytest.raises(ValueError, match=message):
        jd.Cell(jd.y_tree(), **rules)


def test_unknown_keywords_are_answered_with_the_known_ones(cell):
    with pytest.raises(TypeError, match="Cell takes max_length=, d_lambda= or ncomp=.*; got nseg="):
        jd.Cell(jd.y_tree(), nseg=3)
    with pytest.raises(ValueError, match="no mechanism 'Ra' in this cell; it has none"):
        cell.set(Ra=100.0)


def test_what_decides_the_number_of_compartments_must_be_known():
    for rule in (
        lambda x: jd.Cell(jd.y_tree(), max_length=x),
        lambda x: jd.Cell(jd.y_tree(), ncomp=x),
        lambda x: jd.Cell(jd.y_tree(), d_lambda=0.1, ra=x),
        lambda x: jd.Cell(jd.y_tree(), d_lambda=0.1, cm=x),
    ):
        with pytest.raises(ValueError, match="known"):
            jax.eval_shape(lambda x, f=rule: f(x).area, 3.0)


@pytest.mark.parametrize("rules", [{}, {"max_length": 50.0, "d_lambda": 0.1}])
def test_exactly_one_rule(rules):
    with pytest.raises(ValueError, match="exactly one of max_length="):
        jd.Cell(jd.y_tree(), **rules)


@pytest.mark.parametrize("rules", [{"max_length": 0.0}, {"d_lambda": -1.0}, {"ncomp": lambda _: 0}])
def test_rules_that_cut_nothing(rules):
    with pytest.raises(ValueError, match=f"{next(iter(rules))}|whole number"):
        jd.Cell(jd.y_tree(), **rules)


def test_only_a_morphology_makes_a_cell():
    with pytest.raises(TypeError, match="read_morphology"):
        jd.Cell("neuron.swc", max_length=10.0)


def test_the_area_does_not_depend_on_the_cut():
    morph = jd.ball_and_stick(20.0, 500.0, 2.0)
    for length in (500.0, 60.0, 10.0):
        cell = jd.Cell(morph, max_length=length)
        close(cell.area.sum(), np.pi * (20.0**2 + 500.0 * 2.0), rtol=1e-6)
    pyramid = [float(jd.Cell(jd.pyramidal(), max_length=d).area.sum()) for d in (200.0, 15.0)]
    close(*pyramid, rtol=1e-9)


# --- places -----------------------------------------------------------------------------------


def test_regions_partition_the_cell(cell):
    assert {"all", "soma", "axon", "basal", "apical", "dendrite"} <= set(cell.regions)
    parts = [cell.region(name) for name in ("soma", "axon", "dendrite")]
    assert np.all(np.sum(parts, axis=0) == 1)
    np.testing.assert_array_equal(
        cell.region("dendrite"), cell.region("basal") | cell.region("apical")
    )
    assert cell.region("all").shape == (cell.n,)
    with pytest.raises(ValueError, match="no region 'tuffft'.*apical.*soma"):
        cell.region("tuffft")
    for wrong in (["soma", "axon"], 3, None):
        with pytest.raises(ValueError, match="a region is one name"):
            cell.region(wrong)


def test_locate(cell):
    soma = cell.locate("soma")
    assert isinstance(soma, int)
    assert cell.region("soma")[soma]
    site = cell.locate("apical", distance=200.0)
    assert cell.region("apical")[site]
    assert abs(cell.distance[site] - 200.0) <= cell.length[site] / 2 + 1e-9
    for i in (0, cell.n // 2, cell.n - 1):
        assert cell.locate(xyz=cell.xyz[i] + 0.01) == i
        name = cell.section_names[cell.section[i]]
        assert cell.locate(section=name, x=cell.x[i]) == i
        assert cell.locate(section=int(cell.section[i]), x=float(cell.x[i])) == i


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"region": "tuffft"}, "no region 'tuffft'"),
        ({"region": "basal", "distance": 1e5}, "no compartment of basal at distance 100000.0 µm"),
        ({"distance": -50.0}, "no compartment of the cell at distance"),
        ({"section": 0, "x": 1.5}, r"x must lie in \[0, 1\]"),
        ({"section": 10**6}, "section must be in 0.."),
        ({"section": "dend[999]"}, "no section 'dend.999.'"),
        ({"x": 0.5}, "needs section="),
        ({"xyz": [0.0, 1.0]}, "three numbers"),
    ],
)
def test_locate_says_what_is_wrong(cell, place, message):
    with pytest.raises(ValueError, match=message):
        cell.locate(**place)


def test_locate_while_the_radii_are_traced(cell):
    def f(radius):
        return cell.set(radius=radius).locate("apical", distance=200.0) * radius

    assert jax.jit(f)(1.0) == cell.locate("apical", distance=200.0)


# --- mechanisms -------------------------------------------------------------------------------


def test_insert_everywhere_by_region_mask_and_numbers(cell):
    whole = cell.insert(Leak(g=1e-4))
    np.testing.assert_array_equal(parameters(whole, "Leak")[0], np.arange(cell.n))
    for where in ("basal", cell.region("basal"), np.flatnonzero(cell.region("basal"))):
        index, values = parameters(cell.insert(Leak(g=1e-4), where), "Leak")
        np.testing.assert_array_equal(index, np.flatnonzero(cell.region("basal")))
        assert values["g"].shape == ()
    assert cell.inserted == ()  # the original is untouched


def test_values_per_compartment_may_be_nan_where_they_are_not_used(cell):
    basal = cell.region("basal")
    g = np.where(basal, 1e-5 * np.arange(cell.n), np.nan)
    index, full = parameters(cell.insert(Leak(g=g), basal), "Leak")
    close(full["g"], 1e-5 * index)
    _, short = parameters(cell.insert(Leak(g=g[basal]), basal), "Leak")
    np.testing.assert_array_equal(short["g"], full["g"])
    with pytest.raises(ValueError, match="Leak: g is NaN at compartment"):
        cell.insert(Leak(g=g))


def test_inserting_again_overwrites_and_extends(cell):
    first = cell.insert(Leak(g=1e-4, e=-70.0), np.arange(0, 6))
    both = first.insert(Leak(g=2e-4, e=-60.0), np.arange(4, 9))
    assert len(both.inserted) == 1
    index, values = parameters(both, "Leak")
    np.testing.assert_array_equal(index, np.arange(9))
    close(values["g"], [1e-4] * 4 + [2e-4] * 5)
    close(values["e"], [-70.0] * 4 + [-60.0] * 5)
    apart = first.insert(Leak(g=3e-4), [8])
    np.testing.assert_array_equal(parameters(apart, "Leak")[0], [0, 1, 2, 3, 4, 5, 8])
    close(parameters(apart, "Leak")[1]["g"][-1], 3e-4)
    again = first.insert(Leak(g=5e-4), np.arange(0, 6))
    assert parameters(again, "Leak")[1]["g"] == 5e-4


@pytest.mark.parametrize(
    ("mechanism", "where", "message"),
    [
        (Leak(g=np.ones(3)), None, "Leak: g must be a number or have shape"),
        (Leak(), np.ones(3, bool), "where= must have shape"),
        (Leak(), [10**6], "compartment numbers in 0.."),
        (Leak(), [0.5], "Leak: where: expected a compartment number, the name of a region"),
        (Leak(), "tuffft", "no region 'tuffft'"),
        (HH(gnabar=np.nan), "soma", "HH: gnabar is NaN"),
    ],
)
def test_insert_says_what_is_wrong(cell, mechanism, where, message):
    with pytest.raises(ValueError, match=message):
        cell.insert(mechanism, where)


def test_an_empty_mask_and_a_stimulus_are_refused(cell):
    with pytest.raises(ValueError, match="selects no compartment"):
        cell.insert(Leak(), np.zeros(cell.n, bool))
    with pytest.raises(TypeError, match="jd.simulate"):
        cell.insert(jd.Step(0, 0.0, 1.0, 1.0))


# --- what a cell hands out --------------------------------------------------------------------


def test_arrays_are_read_only_and_shared_by_nobody(cell):
    mine = {"distance": np.array([0.0, 9.0]), "length": np.array([10.0, 8.0]), "x": np.ones(2)}
    mine |= {"kind": np.array([1, 3]), "xyz": np.zeros((2, 3)), "section": np.array([0, 1])}
    mine |= {"radius": np.ones(2), "parent": np.array([-1, 0]), "area": np.array([9.0, 5.0])}
    graph = jd.Cell.from_compartments(axial_resistance=[0.0, 5.0], **mine)
    for one in (cell, graph, cell.set(cm=2.0).insert(Leak(), "soma"), cell.group("g", "soma")):
        handed = [one.kind, one.length, one.xyz, one.distance, one.section, one.x, one.parent]
        handed += [one.tree.parent, one.membrane.index, *one.host["regions"].values()]
        handed += [item.at.index for item in one.inserted]
        if one.morph is not None:
            handed += [x for x in vars(one.morph).values() if isinstance(x, np.ndarray)]
            handed += [*one.morph.labels.values()]
        for array in handed:
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 0
    before = {name: value.copy() for name, value in mine.items()}
    for value in mine.values():
        value[:] = 7  # the caller's arrays stay the caller's
    for name in ("distance", "length", "x", "kind", "xyz", "section", "parent"):
        np.testing.assert_array_equal(getattr(graph, name), before[name])


def test_a_mask_is_a_copy(cell):
    mask = cell.region("soma")
    mask[:] = True
    assert cell.region("soma").sum() < cell.n
    section = cell.region("soma[0]")
    section[:] = True
    assert cell.region("soma[0]").sum() < cell.n


def test_a_morphology_may_change_after_the_cell_was_cut():
    morph = jd.y_tree()
    cell = jd.Cell(morph, max_length=60.0)
    before = cell.morph.points.copy()
    morph.points[:] = 1.0
    np.testing.assert_array_equal(cell.morph.points, before)
    np.testing.assert_array_equal(cell.morph.labels["basal"], morph.labels["basal"])


# --- cable ------------------------------------------------------------------------------------


def test_set_by_region_and_per_compartment(cell):
    out = cell.set("apical", cm=2.0, ra=70.0)
    apical = cell.region("apical")
    np.testing.assert_array_equal(out.cm, np.where(apical, 2.0, 1.0))
    np.testing.assert_array_equal(out.ra, np.where(apical, 70.0, 100.0))
    values = np.linspace(1.0, 2.0, cell.n)
    close(cell.set(cm=values).cm, values)
    assert float(cell.set(celsius=34.0).celsius) == 34.0
    assert np.all(np.asarray(cell.cm) == 1.0)


def test_a_new_radius_is_a_new_cylinder():
    def stick(diameter):
        return jd.Cell(jd.ball_and_stick(20.0, 300.0, diameter), max_length=60.0)

    thin, thick = stick(2.0), stick(3.0)
    out = thin.set("dendrite", radius=1.5)
    for name in ("area", "radius", "own", "via"):
        close(getattr(out, name), getattr(thick, name), rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cm": 0.0}, "cm must be finite and > 0; got 0"),
        ({"ra": -1.0}, "ra must be finite and > 0"),
        ({"ra": np.inf}, "ra must be finite and > 0; got inf"),
        ({"cm": np.nan}, "cm must be finite and > 0; got nan"),
        ({"cm": 1j}, "cm must be a number or an array of numbers"),
        ({"cm": jnp.array(1j)}, "cm must be a number or an array of numbers"),
        ({"radius": np.ones(3)}, "radius must be a number or have shape"),
    ],
)
def test_set_says_what_is_wrong(cell, values, message):
    with pytest.raises(ValueError, match=message):
        cell.set(**values)


def test_cells_are_immutable_and_equal_ones_share_programs(cell):
    with pytest.raises(AttributeError):
        cell.cm = jnp.ones(cell.n)
    twin = jd.Cell(jd.pyramidal(), max_length=60.0)
    other = jd.Cell(jd.pyramidal(), max_length=30.0)
    shape = jax.tree.structure
    assert shape(cell) == shape(twin) == shape(cell.set(cm=2.0, radius=0.4))
    assert hash(shape(cell)) == hash(shape(twin))
    assert shape(cell) != shape(other)
    leak = cell.insert(Leak(g=1e-4), "soma")
    assert shape(leak) == shape(twin.insert(Leak(g=3e-4), "soma"))
    assert shape(leak) != shape(cell.insert(Leak(g=1e-4), "basal"))
    assert all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(leak))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("shape", ["number", "each"])
def test_known_numbers_inside_jit(cell, dtype, shape):
    size = () if shape == "number" else (cell.n,)
    given = {name: np.full(size, x, dtype) for name, x in (("cm", 2), ("ra", 200), ("radius", 3))}
    given["celsius"] = np.asarray(20, dtype)
    right = cell.set(**given)
    for change in (given, {name: jnp.asarray(x) for name, x in given.items()}):
        inside = jax.jit(lambda change=change: cell.set(**change))()
        bare = {name: change[name] for name in ("cm", "ra", "celsius")}
        made = jax.jit(lambda bare=bare: jd.Cell(jd.pyramidal(), max_length=60.0, **bare))()
        graph = jax.jit(lambda bare=bare: graph_of(cell, bare))()
        for name in ("cm", "ra", "radius", "area", "celsius"):
            x = getattr(inside, name)
            assert x.dtype == jnp.result_type(float), name
            close(x, getattr(right, name), rtol=1e-12)
            for other in (made, graph) if name in bare else ():
                np.testing.assert_array_equal(getattr(other, name), getattr(right, name))


def graph_of(cell: jd.Cell, given: dict) -> jd.Cell:
    return jd.Cell.from_compartments(
        parent=cell.parent, axial_resistance=np.ones(cell.n), area=np.ones(cell.n), **given
    )


def test_a_cell_made_inside_jit_knows_its_numbers():
    cm, ra = jnp.asarray(np.float32(1.5)), jnp.asarray(100.0)
    wrong = jnp.array([1.0, -1.0])

    @jax.jit
    def f(g):
        cell = jd.Cell(jd.y_tree(), max_length=60.0, cm=cm, d_lambda=None)
        with pytest.raises(ValueError, match="cm must be finite and > 0; compartment 2 has -1"):
            cell.set([0, 2], cm=wrong)
        cut = jd.Cell(jd.y_tree(), d_lambda=0.1, cm=cm, ra=ra)
        return cell.insert(Leak(g=g)).set("basal", Leak={"e": -60.0}).cm, cut.cm

    one, two = f(1e-4)
    np.testing.assert_array_equal(one, np.float64(np.float32(1.5)))
    assert two.shape == jd.Cell(jd.y_tree(), d_lambda=0.1, cm=1.5).cm.shape


def test_traced_numbers_of_the_cable(cell):
    def total(x):
        out = cell.set("apical", cm=x, ra=x, radius=x).set(celsius=x)
        return jnp.sum(out.cm) + out.celsius

    inside = int(cell.region("apical").sum())
    assert float(jax.jit(jax.grad(total))(2.0)) == inside + 1
    close(jax.vmap(total)(jnp.array([2.0, 3.0]))[1], total(3.0))


# --- from a graph -----------------------------------------------------------------------------


def graph(reference, name):
    data = np.load(reference / "builtin_checks.npz")
    return data, {
        "parent": data[f"{name}_graph_parent"],
        "axial_resistance": data[f"{name}_graph_ri_MOhm"],
        "area": data[f"{name}_graph_area_um2"],
        "cm": data[f"{name}_graph_cm_uF_cm2"],
    }


def test_a_graph_exported_from_neuron_gives_its_traces(reference):
    data, arrays = graph(reference, "C")
    described = {"section": data["C_graph_secname"], "x": data["C_graph_x"]}
    cell = jd.Cell.from_compartments(
        **arrays, ra=150.0, distance=data["C_graph_dist_um"], **described
    )
    cell = cell.insert(Leak(g=5e-5, e=-70.0))
    site = cell.locate(section="C1", x=0.7)
    synapse = jd.Exp2Syn(site, 0.002, [10.0], tau1=0.5, tau2=5.0)
    traces = jd.simulate(cell, synapse, t1=80.0, solver=jd.BackwardEuler(), v0=-70.0, record=[site])
    assert np.max(np.abs(np.asarray(traces.v[:, 0]) - data["C_syn"])) < tol(1e-5, 5e-3)


def test_a_graph_must_be_one_tree():
    good = {"parent": [-1, 0, 1], "axial_resistance": [0.0, 5.0, 5.0], "area": [10.0, 5.0, 5.0]}
    assert jd.Cell.from_compartments(**good).n == 3
    for change in (
        {"parent": [-1, 2, 1]},
        {"parent": [-1, -1, 1]},
        {"area": [10.0, 5.0]},
        {"area": [10.0, -5.0, 5.0]},
        {"axial_resistance": [0.0, -5.0, 5.0]},
    ):
        with pytest.raises(ValueError, match="from_compartments|parent|area|axial|tree"):
            jd.Cell.from_compartments(**(good | change))
    with pytest.raises(TypeError, match="unknown .'colour'."):
        jd.Cell.from_compartments(**good, colour=[1, 2, 3])
    for change, message in (
        ({"ra": 0.0}, "ra must be finite and > 0; got 0"),
        ({"ra": "3"}, "ra must be a number"),
        ({"cm": [1.0, 1.0, -1.0]}, "cm must be finite and > 0; compartment 2 has -1"),
        ({"celsius": -300.0}, "celsius must be finite"),
        ({"celsius": 310.0}, "celsius must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            jd.Cell.from_compartments(**good, **change)
    with pytest.raises(ValueError, match="ra= must be known"):
        jax.eval_shape(lambda ra: jd.Cell.from_compartments(**good, ra=ra).ra, 3.0)
    with pytest.raises(ValueError, match="needs the present radii"):
        jd.Cell.from_compartments(**good).set(radius=2.0)
