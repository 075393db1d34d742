"""Sweep files: what an axis may vary, what a point computes, and errors that name the place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend import ConfigError
from jaxdend.config.axes import change
from jaxdend.config.schema import Place
from jaxdend.config.sweep import SweepFile

MODEL = """
[morphology]
procedural = "ball_and_stick"
[cell]
max_length = 50.0
[[insert]]
channel = "Leak"
g = 1e-4
e = -65.0
[[insert]]
channel = "HH"
where = "soma"
[[stimulus]]
kind = "Step"
at = {region = "soma"}
onset = 1.0
duration = 4.0
amplitude = 0.3
[[synapse]]
kind = "ExpSyn"
at = {region = "basal", distance = 50.0}
weight = 0.001
times = [1.0, 2.0]
[simulate]
t1 = 5.0
dt = 0.1
record = [{region = "soma"}, {region = "basal", distance = 100.0}]
"""


def axis(**keys) -> dict:
    return keys


def tables(*axes, **others) -> dict:
    return {"model": "model.toml", "axis": list(axes), **others}


@pytest.fixture
def check(tmp_path):
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    return lambda changed: SweepFile.check(tmp_path / "sweep.toml", changed)


EVERYTHING = tables(
    axis(path="HH.gnabar", values=[0.12, 0.2]),
    axis(path="cell.ra", values=[100.0, 200.0]),
    axis(path="stimulus.1.amplitude", values=[0.3, 0.5], name="current"),
    axis(path="synapse.1.at", region="basal", values=[50, 150]),
    axis(path="synapse.1.weight", values=[1.0, 5.0], relative=True),
    axis(path="synapse.1.delay", values=[0, 1.5]),
    axis(path="stimulus.1.at", places=[{"region": "soma"}, {"region": "basal", "distance": 100.0}]),
    output=[
        {"kind": "voltage", "every": 10},
        {"kind": "spike_times", "most": 3},
        {"kind": "peak", "record": 2},
        {"kind": "time_to_first_spike", "stim_start": 1.0},
    ],
)


def test_every_number_reaches_the_simulation_and_none_compiles_anew(check):
    """Each point equals the simulation of a model file that says the same."""
    file = check(EVERYTHING)
    f, compiled = file.make({}), []

    def counted(point):
        compiled.append(1)
        return f(point)

    points = file.design.points([0, file.design.n - 1])
    out = jax.jit(jax.vmap(counted))(points)
    assert len(compiled) == 1
    np.testing.assert_array_equal(out["status"], 1)
    assert out["voltage"].shape == (2, 6)
    assert out["spike_times"].shape == (2, 3)

    plain = file.model.build()
    known = np.asarray(plain.simulate().v)
    np.testing.assert_allclose(out["voltage"][0], known[::10, 0], atol=1e-9)
    np.testing.assert_allclose(out["peak_2"][0], known[:, 1].max(), atol=1e-9)

    other = file.model.resolved
    other["insert"][1]["gnabar"] = 0.2
    other["cell"]["ra"] = 200.0
    other["stimulus"][0] |= {"amplitude": 0.5, "at": [{"region": "basal", "distance": 100.0}]}
    other["synapse"][0] |= {"weight": 0.005, "times": [2.5, 3.5]}
    other["synapse"][0]["at"] = [{"region": "basal", "distance": 150.0}]
    changed = np.asarray(file.model.build().simulate().v)
    np.testing.assert_allclose(out["voltage"][1], changed[::10, 0], atol=1e-9)
    assert np.abs(known - changed).max() > 1.0


def test_a_distance_from_a_range_is_the_compartment_there(check):
    drawn = axis(path="synapse.1.at", region="basal", range=[20.0, 200.0])
    file = check(tables(drawn, design={"kind": "sobol", "points": 16}))
    experiment = file.model.build()
    cell = experiment.neuron({})
    moved = jax.vmap(change(file.resolved["axis"][0], file.model, cell, Place(file.file)))
    distances = file.design.points(np.arange(16))["synapse.1.at"]
    sites = moved(jnp.asarray(distances))["synapse.1.at"]
    for distance, site in zip(distances, sites, strict=True):
        near = {cell.locate("basal", distance=distance + shift) for shift in (-0.3, 0.3)}
        assert int(site) in near


def test_structure_makes_groups_with_models_of_their_own(check):
    file = check(
        tables(
            axis(path="HH.gnabar", values=[0.1, 0.2, 0.3]),
            axis(path="cell.max_length", values=[100.0, 50.0]),
            axis(path="simulate.solver", values=["CrankNicolson", "BackwardEuler"], name="solver"),
        )
    )
    assert file.design.n == 12
    assert [start for _, start, _ in file.design.groups] == [0, 3, 6, 9]
    assert file.design.groups[1][0] == {"cell.max_length": 100.0, "solver": "BackwardEuler"}
    fine, coarse = (file.variant({"cell.max_length": x}).build().base.n for x in (50.0, 100.0))
    assert fine > coarse
    assert (
        file.variant({"solver": "BackwardEuler"}).resolved["simulate"]["solver"]
        != (file.model.resolved["simulate"]["solver"])
    )


def test_a_failed_simulation_says_so(check):
    file = check(tables(axis(path="stimulus.1.amplitude", values=[0.1, 1e7])))
    f = jax.jit(file.make({}))
    status = [int(f({"stimulus.1.amplitude": jnp.asarray(x)})["status"]) for x in (0.1, 1e7)]
    assert status == [1, 3]


def test_designs(check):
    ranges = (
        axis(path="HH.gnabar", range=[0.05, 0.2], scale="log"),
        axis(path="stimulus.1.amplitude", range=[0.0, 1.0]),
    )
    file = check(
        tables(*ranges, axis(path="cell.cm", values=[1, 2]), design={"kind": "sobol", "points": 8})
    )
    points = file.design.points(np.arange(16))
    np.testing.assert_array_equal(points["cell.cm"], [1.0] * 8 + [2.0] * 8)
    assert np.all((points["HH.gnabar"] >= 0.05) & (points["HH.gnabar"] < 0.2))
    spaced = check(tables(axis(path="HH.gnabar", range=[0.01, 1.0], points=3, scale="log")))
    np.testing.assert_allclose(spaced.design.points([0, 1, 2])["HH.gnabar"], [0.01, 0.1, 1.0])
    assert file.attributes()["HH.gnabar"]["units"] == "S/cm2"
    assert file.attributes()["peak"]["units"] == "mV"


def test_a_table_of_points(check, tmp_path):
    (tmp_path / "points.csv").write_text("HH.gnabar,current\n0.1,0.2\n0.2,0.4\n", encoding="utf-8")
    wanted = (axis(path="HH.gnabar"), axis(path="stimulus.1.amplitude", name="current"))
    table = {"kind": "table", "file": "points.csv"}
    file = check(tables(*wanted, axis(path="cell.ra", values=[100.0, 150.0]), design=table))
    assert file.design.n == 4
    np.testing.assert_array_equal(file.design.points([3])["current"], [0.4])
    with pytest.raises(ConfigError, match="columns are HH.gnabar, current; the axes without"):
        check(tables(wanted[0], design=table))


def test_memory_and_precision(check):
    one = axis(path="HH.gnabar", values=[0.1])
    file = check(tables(one, run={"memory": "2GB", "precision": "float32", "store": "x.zarr"}))
    assert file.resolved["run"]["memory"] == 2_000_000_000
    assert file.precision == "float32"
    assert file.resolved["run"]["store"].endswith("x.zarr")


GNABAR = axis(path="HH.gnabar", values=[0.1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (tables(), r"names no \[\[axis\]\]"),
        (tables(GNABAR, axes=[]), r"unknown table \[axes\]; did you mean 'axis'"),
        (tables(GNABAR, cell={}), "model = or the model's own tables, not both: cell"),
        (tables(axis(values=[1])), r"\[\[axis\]\] 1: key 'path' is missing"),
        (tables(GNABAR, GNABAR), r"\[\[axis\]\] 2: name 'HH.gnabar' is taken"),
        (tables(GNABAR, GNABAR | {"name": "x"}), "path 'HH.gnabar' is varied already"),
        (tables(axis(path="HH.gnabr", values=[1])), "1: path: .*did you mean 'HH.gnabar'"),
        (tables(axis(path="stimulus.2.amplitude", values=[1])), "nothing to vary at 'stimulus.2"),
        (tables(axis(path="HH.gnabar", values=[-1.0])), "values of HH.gnabar: expected .* >= 0"),
        (tables(axis(path="HH.gnabar", range=[-1.0, 1.0], points=3)), "values of HH.gnabar"),
        (tables(axis(path="HH.gnabar", values=["a"])), "HH.gnabar takes numbers"),
        (tables(axis(path="HH.gnabar", values=[])), "values: expected a list"),
        (tables(axis(path="HH.gnabar")), r"\[\[axis\]\] 1: takes values"),
        (tables(axis(path="HH.gnabar", range=[0.0, 1.0])), "key 'points' is missing: into how"),
        (tables(axis(path="HH.gnabar", range=[0, 1], points=2, scale="log")), "log scale needs"),
        (tables(axis(path="HH.gnabar", range=[1.0, 0.0])), "range: expected .low, high."),
        (tables(axis(path="HH.gnabar", values=[1], range=[0.0, 1.0])), "not both"),
        (tables(GNABAR | {"region": "soma"}), "region belongs to a path that ends in .at"),
        (tables(axis(path="synapse.1.at", values=[1.0])), "1: takes region = "),
        (tables(axis(path="synapse.1.times", values=[1.0])), "is a list in the model"),
        (tables(axis(path="cell.max_length", range=[1.0, 2.0])), "program for each value"),
        (tables(axis(path="cell.max_length", values=[-1.0])), "1: values: -1.0: .*max_length"),
        (tables(axis(path="morphology.procedural", values=["tree"])), "values: 'tree'"),
        (tables(GNABAR, design={"kind": "sobl"}), r"\[design\]: kind: did you mean 'sobol'"),
        (tables(GNABAR, design={"kind": "sobol"}), r"\[design\]: key 'points' is missing"),
        (tables(GNABAR, design={"kind": "random", "points": 3}), "needs an axis with a range"),
        (tables(GNABAR, design={"points": 3}), "points: belongs to a design of kind"),
        (tables(GNABAR, design={"kind": "table"}), "key 'file' is missing"),
        (tables(GNABAR, output=[{"kind": "peek"}]), r"\[\[output\]\] 1: kind: did you mean 'peak'"),
        (tables(GNABAR, output=[{"kind": "peak", "record": 3}]), "record: .* names 2 sites"),
        (tables(GNABAR, output=[{"kind": "peak"}] * 2), r"\[\[output\]\] 2: name 'peak' is taken"),
        (tables(GNABAR, output=[{"kind": "peak", "most": 3}]), "unknown key 'most'"),
        (tables(GNABAR, output=[{"kind": "peak", "name": "HH.gnabar"}]), "both called 'HH.gnabar'"),
        (tables(GNABAR, run={"memory": "much"}), r"\[run\]: memory: memory must be"),
    ],
)
def test_wrong_files_are_refused(check, changed, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check(changed)
    assert "sweep.toml" in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_places_that_the_cell_does_not_have(check):
    far = axis(path="synapse.1.at", region="basal", values=[1e4])
    with pytest.raises(ConfigError, match=r"sweep.toml: \[\[axis\]\] 1: no compartment"):
        check(tables(far)).make({})


@pytest.mark.parametrize("name", ["status", "failed", "point", "a/b", "..", "__x", "zarr.json"])
def test_names_that_a_store_cannot_have_are_refused_when_the_file_is_read(check, name):
    one = axis(path="HH.gnabar", values=[0.1])
    with pytest.raises(ConfigError, match=r"sweep.toml: \[\[output\]\] 1: the name '"):
        check(tables(one, output=[{"kind": "peak", "name": name}]))
    with pytest.raises(ConfigError, match=r"sweep.toml: \[\[axis\]\] 1: the name '"):
        check(tables(one | {"name": name}, output=[{"kind": "peak"}]))


@pytest.mark.parametrize("path", ["HH.gnabar", "simulate.dt"])
def test_an_output_with_the_name_of_an_axis(check, path):
    with pytest.raises(ConfigError, match="are both called 'x'"):
        check(
            tables(axis(path=path, values=[0.1], name="x"), output=[{"kind": "peak", "name": "x"}])
        )
