"""Mechanisms in a cell: inserted again, changed one parameter at a time, taken out."""

import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
import neuron_geometry as oracle
from jaxdend.channels import HH, KA, CalciumShell, Leak, Na
from jaxdend.mechanisms.base import AbstractChannel, param

DEFAULTS = {"gnabar": 0.12, "gkbar": 0.036, "gl": 0.0003, "el": -54.3}


@pytest.fixture(scope="module")
def cell() -> jd.Cell:
    """16 compartments: the soma, 0, then three branches of five."""
    return jd.Cell(tree(), ncomp=lambda length: 5 if length > 50 else 1)


def tree() -> jd.Morphology:
    morph = jd.single_compartment(20.0, 20.0)
    for parent in ("soma[0]", "dend[0]", "dend[0]"):
        morph = morph.with_cylinder(3, 200.0, 2.0, parent, 1.0)
    return morph


def values(cell: jd.Cell, name: str, field: str) -> np.ndarray:
    """`(n,)` a parameter, NaN where the mechanism is not."""
    item, out = cell.mechanisms[name], np.full(cell.n, np.nan)
    out[item.at.index] = getattr(item.mechanism, field)
    return out


# --- inserting again --------------------------------------------------------------------------


class Soma(AbstractChannel):
    """A user's channel without defaults in one parameter."""

    g: jax.Array = param(unit="S/cm2")
    e: jax.Array = param(-70.0, unit="mV")

    def current(self, v, x, env):
        return self.g * (v - self.e)


def test_what_is_not_named_stays_as_in_neuron(cell):
    steps = [  # sections, and the parameters that the call names
        (["soma[0]"], {"gkbar": 0.07}),
        (["soma[0]", "dend[0]"], {"gnabar": 0.2}),
        (["dend[0]", "dend[2]"], {"gl": 0.001, "el": -60.0}),
        (["dend[1]"], {}),
        (["soma[0]", "dend[0]", "dend[1]", "dend[2]"], {}),
        (["dend[2]"], {"gnabar": 0.3}),
    ]
    sections, ours = oracle.build(cell.morph), cell
    for names, given in steps:
        ours = ours.insert(HH(**given), names)
        for name in names:
            sections[name].insert("hh")
            for key, value in given.items():
                for segment in sections[name]:
                    setattr(segment, f"{key}_hh", value)
        for name, section in sections.items():
            inside = np.flatnonzero(ours.region(name))
            if not section.has_membrane("hh"):
                assert np.all(np.isnan(values(ours, "HH", "gnabar")[inside]))
                continue
            for key in DEFAULTS:
                np.testing.assert_allclose(
                    values(ours, "HH", key)[inside], getattr(section(0.5), f"{key}_hh"), rtol=1e-12
                )
    assert len(ours.inserted) == 1


@pytest.mark.parametrize("make", [HH, lambda **given: HH(*given.values())])
def test_named_by_keyword_or_by_place(cell, make):
    base = cell.insert(HH(gnabar=0.5, gkbar=0.07))
    mechanism = base.insert(make(gnabar=0.2)).mechanisms["HH"].mechanism
    assert (float(mechanism.gnabar), float(mechanism.gkbar)) == (0.2, 0.07)


def test_a_named_parameter_with_the_value_of_the_default_is_named(cell):
    out = cell.insert(HH(gkbar=0.07)).insert(HH(gkbar=0.036))
    assert float(out.mechanisms["HH"].mechanism.gkbar) == 0.036


def test_under_transformations_the_same(cell):
    base = cell.insert(HH(gkbar=0.07), "soma")

    def total(g):
        out = base.insert(HH(gnabar=g), ["soma", "dend[0]"]).mechanisms["HH"].mechanism
        return jnp.sum(out.gnabar * jnp.arange(1.0, 7.0)) + jnp.sum(out.gkbar)

    right = 21 * 0.3 + 0.07 + 5 * 0.036
    np.testing.assert_allclose([total(0.3), jax.jit(total)(0.3)], right, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(total)(jnp.array([0.3, 0.3])), right, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(total)(0.3), 21.0)


def test_what_cannot_be_known_counts_as_named(cell):
    base = cell.insert(HH(gkbar=0.07))
    made = HH(gnabar=0.2)
    mapped = jax.tree.map(lambda x: x, made)
    for mechanism in (
        mapped,
        copy.copy(made),
        copy.deepcopy(made),
        pickle.loads(pickle.dumps(made)),
    ):
        assert jax.tree.structure(mechanism) == jax.tree.structure(made)
        out = base.insert(mechanism).mechanisms["HH"].mechanism
        assert (float(out.gnabar), float(out.gkbar)) == (0.2, 0.036)
    moved = base.mechanisms["HH"].mechanism
    out = cell.insert(HH(gkbar=0.1), "dend[0]").insert(moved, "dend[0]")
    assert np.nanmax(values(out, "HH", "gkbar")) == 0.07


def test_a_class_with_an_init_of_its_own_names_everything(cell):
    class Own(AbstractChannel):
        g: jax.Array
        e: jax.Array

        def __init__(self, conductance=1e-4):
            self.g, self.e = jnp.asarray(conductance), jnp.asarray(-70.0)

        def current(self, v, x, env):
            return self.g * (v - self.e)

    out = cell.insert(Own(2e-4)).insert(Own(), "soma")
    np.testing.assert_allclose(values(out, "Own", "g"), [1e-4] + 15 * [2e-4])


def test_a_required_parameter(cell):
    out = cell.insert(Soma(g=1e-4, e=-60.0), "soma").insert(Soma(g=2e-4))
    np.testing.assert_allclose(values(out, "Soma", "e"), [-60.0] + 15 * [-70.0])
    np.testing.assert_allclose(values(out, "Soma", "g"), 2e-4)


def test_numbers_stay_numbers_where_they_can(cell):
    base = cell.insert(HH(gkbar=0.07))
    part = base.insert(HH(gnabar=0.2), "soma").mechanisms["HH"].mechanism
    assert (part.gnabar.shape, part.gkbar.shape) == ((16,), ())
    whole = cell.insert(HH(gkbar=0.07), "soma").insert(HH(gnabar=0.2)).mechanisms["HH"].mechanism
    assert (whole.gnabar.shape, whole.gkbar.shape) == ((), (16,))


@pytest.mark.parametrize("flags", [(False, True), (True, False)])
@pytest.mark.parametrize("where", ["soma", None, "dend[0]"])
def test_another_static_setting_is_refused(cell, flags, where):
    first, second = flags
    one = cell.insert(Na(gbar=0.1, table=first), "soma")
    message = rf"Na\(table={first}\), and Na\(table={second}\).*cell.remove\(\"Na\"\)"
    with pytest.raises(ValueError, match=message):
        one.insert(Na(gbar=0.1, table=second), where)
    other = one.remove("Na").insert(Na(gbar=0.1, table=second), where)
    assert other.mechanisms["Na"].mechanism.table is second


def test_another_class_of_the_same_name_is_refused(cell):
    class Leak(AbstractChannel):
        g: jax.Array = param(1e-4, unit="S/cm2")

        def current(self, v, x, env):
            return self.g * v

    library = jd.channels.Leak
    with pytest.raises(ValueError, match="another class Leak, of jaxdend.channels.leak"):
        cell.insert(library()).insert(Leak())
    with pytest.raises(ValueError, match="stack: Leak is not the same in cells.0., jaxdend.chan"):
        jd.stack([cell.insert(library()), cell.insert(Leak())])


def test_a_stack_of_other_static_settings_is_refused(cell):
    with pytest.raises(ValueError, match=r"Na is not the same in .*table=False.*table=True"):
        jd.stack([cell.insert(Na()), cell, cell.insert(Na(table=True))])


class Ion(AbstractChannel):
    """A channel whose reversal potential may be left to the ion."""

    g: jax.Array = param(1e-4, unit="S/cm2")
    e: jax.Array | None = param(None, unit="mV")
    ion = "k"
    reads = ("k",)

    def current(self, v, x, env):
        return self.g * (v - (env.e["k"] if self.e is None else self.e))


def test_none_and_numbers_do_not_mix(cell):
    base = cell.insert(Ion(g=2e-4), "soma")
    assert base.insert(Ion(g=1e-4), "dend[0]").mechanisms["Ion"].mechanism.e is None
    whole = base.insert(Ion(e=-80.0)).mechanisms["Ion"].mechanism
    assert float(whole.e) == -80.0
    np.testing.assert_allclose(whole.g, [2e-4] + 15 * [1e-4])
    with pytest.raises(ValueError, match=r"Ion has e=None in this cell and e=<numbers>"):
        base.insert(Ion(e=-80.0), "dend[0]")
    numbers = cell.insert(Ion(e=-80.0), "soma")
    assert numbers.insert(Ion(g=3e-4), "soma").mechanisms["Ion"].mechanism.e == -80.0
    with pytest.raises(ValueError, match=r"e=<numbers> in this cell and e=None"):
        numbers.insert(Ion(g=3e-4))


# --- values in the order of the caller's list -------------------------------------------------


def test_values_go_where_the_list_says(cell):
    rng = np.random.default_rng(0)
    for k in (1, 2, 7, 15):
        where, given = rng.permutation(cell.n)[:k], rng.uniform(1e-4, 1e-3, k)
        right = np.full(cell.n, np.nan)
        right[where] = given  # numpy's meaning
        for form in (where, where.tolist(), jnp.asarray(where), [*map(int, where)]):
            out = cell.insert(Leak(g=given), form)
            np.testing.assert_array_equal(values(out, "Leak", "g"), right)
        base = cell.insert(Leak(g=1.0)).set(where, Leak={"g": given})
        filled = np.where(np.isnan(right), 1.0, right)
        np.testing.assert_array_equal(values(base, "Leak", "g"), filled)
        for name in ("cm", "ra", "radius"):
            before = np.asarray(getattr(cell, name))
            changed = getattr(cell.set(where, **{name: given}), name)
            np.testing.assert_array_equal(changed, np.where(np.isnan(right), before, right))


def test_values_of_a_list_of_names_and_of_masks(cell):
    names = ["dend[1]", "soma", 3]
    order = [*np.flatnonzero(cell.region("dend[1]")), 0, 3]
    out = cell.insert(Leak(g=np.arange(7.0)), names)
    np.testing.assert_array_equal(values(out, "Leak", "g")[order], np.arange(7.0))
    mask = np.isin(np.arange(cell.n), [9, 2, 5])
    for where in (mask, jnp.asarray(mask)):
        out = cell.set(where, cm=[1.0, 2.0, 3.0])
        np.testing.assert_array_equal(np.asarray(out.cm)[[2, 5, 9]], [1.0, 2.0, 3.0])
    whole = cell.set([9, 2, 5], cm=1.0 + np.arange(cell.n))  # by number, whatever the list's order
    np.testing.assert_array_equal(np.asarray(whole.cm)[[2, 5, 9]], [3.0, 6.0, 10.0])


def test_compartments_without_membrane_take_their_values_along():
    cell = jd.Cell(tree(), max_length=100.0, end_nodes=True)
    ends = np.flatnonzero(np.asarray(cell.area) == 0.0)
    inner = np.flatnonzero(np.asarray(cell.area) > 0.0)
    where = np.concatenate([inner[::-1], ends])[:-1]
    out = cell.insert(Leak(g=1.0 + np.arange(len(where))), where)
    np.testing.assert_array_equal(
        values(out, "Leak", "g")[inner[::-1]], 1.0 + np.arange(len(inner))
    )
    assert np.all(np.isnan(values(out, "Leak", "g")[ends]))


def test_values_through_transformations(cell):
    where = [12, 3, 7]
    base = cell.insert(Leak())

    def density(g):
        inserted = cell.insert(Leak(g=g), where).mechanisms["Leak"]
        set_ = base.set(where, Leak={"g": g}).mechanisms["Leak"].mechanism.g
        return inserted.mechanism.g, set_, cell.set(where, cm=g).cm

    g = jnp.array([1.0, 2.0, 3.0])
    for f in (density, jax.jit(density)):
        one, two, three = f(g)
        np.testing.assert_array_equal(one, [2.0, 3.0, 1.0])
        np.testing.assert_array_equal(two[jnp.array(where)], g)
        np.testing.assert_array_equal(three[jnp.array(where)], g)
    batch = jax.vmap(density)(jnp.stack([g, 2 * g]))
    np.testing.assert_array_equal(batch[1][1][jnp.array(where)], 2 * g)
    slopes = jax.jacobian(lambda g: density(g)[1])(g)
    np.testing.assert_array_equal(slopes[jnp.array(where)], np.eye(3))


@pytest.mark.parametrize(
    ("where", "count", "message"),
    [
        ([3, 1, 3], 3, r"which names compartment 3 more than once"),
        (["dend[0]", "dend[0]"], 10, r"which names compartment 1 more than once"),
        (["dendrite", 4], 16, r"which names compartment 4 more than once"),
        ([3, 1], 3, r"must be a number or have shape \(16,\).*or \(2,\).*got \(3,\)"),
        ([3, 1, 3], 2, r"must be a number or have shape"),
        (list(range(16))[::-1], 16, r"lists all 16 compartments in another order"),
    ],
)
def test_values_without_a_clear_place_are_refused(cell, where, count, message):
    given = 1e-4 * np.arange(1, count + 1)
    base = cell.insert(Leak())
    for use, name in (
        (lambda: cell.insert(Leak(g=given), where), "Leak: g"),
        (lambda: base.set(where, Leak={"g": given}), "Leak: g"),
        (lambda: base.set(where, cm=given), "cm"),
        (lambda: base.set(where, ra=given), "ra"),
        (lambda: base.set(where, radius=given), "radius"),
    ):
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            use()


def test_one_value_may_be_given_twice(cell):
    assert cell.insert(Leak(), [3, 1, 3]).mechanisms["Leak"].at.index.tolist() == [1, 3]
    reverse = cell.set(list(range(16))[::-1], cm=2.0)
    np.testing.assert_array_equal(reverse.cm, 2.0)


# --- one parameter ----------------------------------------------------------------------------


def test_setting_parameters(cell):
    base = cell.insert(HH(gkbar=0.07), ["soma", "dend[0]"]).insert(Leak(g=1e-4))
    out = base.set("soma", HH={"gnabar": 0.2, "el": -60.0}, cm=2.0)
    np.testing.assert_allclose(values(out, "HH", "gnabar")[:6], [0.2] + 5 * [0.12])
    np.testing.assert_allclose(values(out, "HH", "el")[:6], [-60.0] + 5 * [-54.3])
    assert out.mechanisms["HH"].mechanism.gkbar == 0.07
    assert out.mechanisms["HH"].at == base.mechanisms["HH"].at
    assert out.mechanisms["Leak"].mechanism is base.mechanisms["Leak"].mechanism
    assert float(out.cm[0]) == 2.0
    assert base.mechanisms["HH"].mechanism.gnabar == 0.12  # the original is untouched


def test_setting_everywhere_keeps_numbers_numbers(cell):
    base = cell.insert(HH(), ["soma", "dend[0]"])
    assert base.set(HH={"gnabar": 0.2}).mechanisms["HH"].mechanism.gnabar.shape == ()
    listed = base.set(HH={"gnabar": np.arange(6.0)})
    np.testing.assert_array_equal(values(listed, "HH", "gnabar")[:6], np.arange(6.0))
    by_number = base.set(HH={"gnabar": np.arange(16.0)})
    np.testing.assert_array_equal(values(by_number, "HH", "gnabar")[:6], np.arange(6.0))
    two = base.insert(Leak()).set(HH={"gl": 0.0}, Leak={"g": 1e-3})
    assert float(two.mechanisms["Leak"].mechanism.g) == 1e-3
    assert float(two.mechanisms["HH"].mechanism.gl) == 0.0


def test_setting_is_what_inserting_so_would_have_been(cell):
    stim = jd.Step(0, 1.0, 5.0, 1.0)
    run = jax.jit(lambda c: jd.simulate(c, stim, t1=10.0, record=[0, 15]).v)
    made = cell.insert(HH(gnabar=np.where(np.arange(16) < 6, 0.2, 0.12), gkbar=0.05))
    set_ = cell.insert(HH()).set(["soma", "dend[0]"], HH={"gnabar": 0.2}).set(HH={"gkbar": 0.05})
    np.testing.assert_array_equal(run(set_), run(made))
    assert np.ptp(run(made)) > 50.0


def test_gradients_of_a_parameter_that_is_set(cell):
    base = cell.insert(HH())

    def peak(g):
        out = base.set("dend[0]", HH={"gnabar": g})
        return jd.simulate(out, jd.Step(0, 0.5, 2.0, 0.3), t1=3.0, dt=0.05, record=[0]).v[-1, 0]

    slope, h = jax.jit(jax.grad(peak))(0.1), 1e-5
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (peak(0.1 + h) - peak(0.1 - h)) / (2 * h), rtol=1e-5)


@pytest.mark.parametrize(
    ("where", "change", "message"),
    [
        ("dend[1]", {"HH": {"gl": 0.0}}, "HH does not sit in compartment 6, one of 5"),
        ([0, 9], {"HH": {"gl": 0.0}}, "HH does not sit in compartment 9, one of 1"),
        (None, {"Leka": {"g": 0.0}}, "no mechanism 'Leka' in this cell; it has HH, Leak"),
        (None, {"cmm": 2.0}, "no mechanism 'cmm'.*HH, Leak"),
        (None, {"HH": {"gnabr": 0.1}}, "HH has no parameter 'gnabr'; it has gnabar, gkbar, gl"),
        (None, {"HH": 0.1}, 'HH takes the parameters to set, such as HH={"gnabar": 0.1}; got 0.1'),
        (None, {"HH": {}}, "HH takes the parameters to set"),
        (None, {"HH": {"gnabar": np.nan}}, "HH: gnabar is NaN"),
        ("soma", {"HH": {"gnabar": "0.1"}}, "HH: gnabar must be a number or an array"),
        ("soma", {"HH": {"gnabar": lambda d: d}}, "HH: gnabar must be a number or an array"),
        ("soma", {"HH": {"gnabar": np.ones(2)}}, r"HH: gnabar must be a number or have shape"),
        ("soma", {"celsius": 30.0}, "celsius= holds for the whole cell"),
        (None, {"celsius": -300.0}, "celsius must be finite and from -10 to 100 °C"),
        (None, {"celsius": np.nan}, "celsius must be finite"),
        (None, {"celsius": np.inf}, "celsius must be finite"),
        (None, {"celsius": np.ones(16)}, r"celsius must be one number .*got shape \(16,\)"),
        (None, {"celsius": "34"}, "celsius must be a number"),
        (None, {"cm": "1"}, "cm must be a number or an array of numbers; got '1'"),
        (None, {"ra": None, "cm": ["a"]}, "cm must be a number or an array of numbers"),
        ([2, 1], {"ra": [1.0, -1.0]}, "ra must be finite and > 0; compartment 1 has -1.0"),
        (None, {"radius": 0.0}, "radius must be finite and > 0; got 0"),
    ],
)
def test_set_says_what_is_wrong(cell, where, change, message):
    base = cell.insert(HH(), ["soma", "dend[0]"]).insert(Leak())
    for stage in (lambda: base.set(where, **change), jax.jit(lambda: base.set(where, **change))):
        with pytest.raises(ValueError, match=message):
            stage()


def test_a_parameter_that_the_ion_gives_cannot_be_set(cell):
    with pytest.raises(ValueError, match=r"set: Ion.e is None in this cell.*insert Ion\(e=...\)"):
        cell.insert(Ion()).set(Ion={"e": -80.0})


def test_set_in_one_of_a_stack(cell):
    cells = [cell.insert(HH(), "soma"), cell.insert(HH(), ["soma", "dend[0]"])]
    mask = np.arange(17) < 3
    out = jax.vmap(lambda c: c.set(mask, HH={"gnabar": 0.5}))(jd.stack(cells))
    item = out.mechanisms["HH"]
    for i, single in enumerate(cells):
        inside = np.asarray(item.at.inside[i])[: cell.n]
        np.testing.assert_array_equal(np.flatnonzero(inside), single.mechanisms["HH"].at.index)
        right = np.where(mask[: cell.n], 0.5, 0.12)[inside]
        np.testing.assert_allclose(item.mechanism.gnabar[i][: cell.n][inside], right)
    whole = jax.vmap(lambda c, g: c.set(HH={"gnabar": g}))(jd.stack(cells), jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(whole.mechanisms["HH"].mechanism.gnabar, [0.1, 0.2])


# --- taking out -------------------------------------------------------------------------------


def test_removing(cell):
    both = cell.insert(HH(gnabar=np.arange(16.0))).insert(Leak(g=1e-4), "dend[0]")
    assert [i.name for i in both.remove("HH").inserted] == ["Leak"]
    out = both.remove("HH", ["soma", 4, "dend[1]"])
    right = np.arange(16.0)
    right[[0, 4, 6, 7, 8, 9, 10]] = np.nan
    np.testing.assert_array_equal(values(out, "HH", "gnabar"), right)
    assert "Leak" not in both.remove("Leak", None).mechanisms
    assert "Leak" not in both.remove("Leak", "dendrite").mechanisms  # in some of `where`
    again = both.remove("HH").insert(HH(gnabar=0.2), "soma").mechanisms["HH"].mechanism
    assert (float(again.gnabar), float(again.gkbar)) == (0.2, 0.036)
    assert len(both.inserted) == 2


def test_what_is_removed_does_nothing():
    bare = jd.Cell(tree(), max_length=100.0).insert(Leak(g=1e-4, e=-65.0))
    stim = jd.Step(0, 1.0, 5.0, 0.2)
    run = jax.jit(lambda c: jd.simulate(c, stim, t1=8.0, record=[0]).v)
    np.testing.assert_array_equal(run(bare.insert(HH()).remove("HH")), run(bare))
    partly = run(bare.insert(HH()).remove("HH", "dendrite"))
    np.testing.assert_array_equal(partly, run(bare.insert(HH(), "soma")))


def test_removing_in_one_of_a_stack(cell):
    def changed(c, where):
        return c.remove("HH", where).insert(Leak(g=1e-4))

    one = cell.insert(HH(), ["soma", "dend[0]"])
    mask = np.arange(17) < 3
    run = jax.vmap(lambda c: jd.simulate(changed(c, mask), t1=3.0, record=[0]).v)
    alone = jd.simulate(changed(one, mask[: cell.n]), t1=3.0, record=[0]).v
    np.testing.assert_allclose(run(jd.stack([one, one]))[1], alone, rtol=0, atol=1e-9)
    assert jax.vmap(lambda c: c.remove("HH"))(jd.stack([one, one])).inserted == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("HHH",), "no mechanism 'HHH' in this cell; it has HH"),
        ((HH,), "no mechanism <class .*it has HH"),
        (("HH", "dend[1]"), "HH sits in none of the compartments of where="),
        (("HH", "tuffft"), "no region 'tuffft'"),
    ],
)
def test_remove_says_what_is_wrong(cell, arguments, message):
    with pytest.raises(ValueError, match=message):
        cell.insert(HH(), "soma").remove(*arguments)
    with pytest.raises(ValueError, match="it has none, insert one first"):
        cell.remove("HH")


# --- what is no parameter ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["0.1", b"0.1", ["0.1", "0.2"], lambda d: d, object(), {}, "x", 1j, None]
)
def test_a_parameter_is_a_number(cell, value):
    with pytest.raises(ValueError, match="HH: gnabar must be a number or an array of numbers; got"):
        cell.insert(HH(gnabar=value))


def test_unknown_parameters_are_named_with_the_known_ones():
    message = "HH has no parameter 'gnabr'; it has gnabar, gkbar, gl, ena, ek, el. Did you mean"
    with pytest.raises(TypeError, match=message):
        HH(gnabr=0.1)
    with pytest.raises(TypeError, match="KA has no parameter 'g'; it has gbar"):
        KA.distal(g=0.1)
    with pytest.raises(TypeError, match="CalciumShell has no parameter 'tau'; it has decay"):
        CalciumShell(tau=0.1)


@pytest.mark.parametrize("default", [0.01, 1, np.float32(0.01), "text", True])
def test_a_plain_default_is_refused_by_name(cell, default):
    namespace = {"__annotations__": {"gbar": jax.Array}, "gbar": default}
    namespace |= {"current": lambda self, v, x, env: self.gbar * v, "__module__": __name__}
    plain = type("Plain", (AbstractChannel,), namespace)
    with pytest.raises(ValueError, match=r"Plain: gbar is .*gbar: Array = param\(default, unit="):
        cell.insert(plain())
    if not isinstance(default, str):
        given = cell.insert(plain(gbar=jnp.asarray(0.02))).mechanisms["Plain"].mechanism
        assert float(given.gbar) == 0.02


def test_fields_may_be_trees_of_arrays(cell):
    class Rates(eqx.Module):
        up: jax.Array
        down: jax.Array

    class Nested(AbstractChannel):
        g: jax.Array = param(1e-4, unit="S/cm2")
        rates: Rates = Rates(jnp.ones(()), jnp.ones(()))

        def current(self, v, x, env):
            return self.g * self.rates.up * v

    base = cell.insert(Nested(rates=Rates(jnp.arange(16.0), jnp.asarray(2.0))))
    out = base.insert(Nested(g=2e-4), "soma").mechanisms["Nested"].mechanism
    np.testing.assert_array_equal(out.rates.up, np.arange(16.0))
    np.testing.assert_allclose(out.g, [2e-4] + 15 * [1e-4])
