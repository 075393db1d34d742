"""Model files: every table is checked, and what is built is what the file says."""

import numpy as np
import pytest
import tomli_w

from jaxdend import ConfigError
from jaxdend.channels import HH
from jaxdend.config import ModelFile
from jaxdend.config.registry import (
    CHANNELS,
    STIMULI,
    SYNAPSES,
    call_keys,
    input_keys,
    mechanism_keys,
)
from jaxdend.synapses import NMDA


def tables() -> dict:
    return {
        "morphology": {"procedural": "pyramidal", "seed": 1},
        "cell": {"max_length": 100.0},
        "insert": [
            {"channel": "Leak", "g": 1e-4, "e": -65.0},
            {"channel": "HH", "where": "soma", "gnabar": 0.1},
        ],
        "stimulus": [
            {"kind": "Step", "at": {"region": "soma"}}
            | {"onset": 1.0, "duration": 2.0, "amplitude": 0.5}
        ],
        "synapse": [
            {"kind": "ExpSyn", "at": [{"region": "apical", "distance": 100.0}]}
            | {"weight": 0.001, "times": [[1.0, 2.0]]}
        ],
        "simulate": {"t1": 4.0, "dt": 0.05, "record": [{"region": "soma"}, {"site": 3}]},
    }


def check(tmp_path, changed) -> ModelFile:
    return ModelFile.check(tmp_path / "model.toml", changed)


def test_builds_and_simulates(tmp_path):
    experiment = check(tmp_path, tables()).build()
    cell = experiment.neuron({})
    assert isinstance(cell.mechanisms["HH"].mechanism, HH)
    np.testing.assert_array_equal(
        cell.mechanisms["HH"].at.index, np.flatnonzero(cell.region("soma"))
    )
    traces = experiment.simulate()
    assert traces.v.shape == (81, 2)
    assert float(traces.v[:, 0].max()) > -60.0
    np.testing.assert_allclose(np.asarray(traces.ts), experiment.times())
    assert experiment.labels == ("soma", "site 3")


def test_resolved_tables_are_complete_and_describe_the_same_model(tmp_path):
    first = check(tmp_path, tables())
    assert first.resolved["insert"][1]["gkbar"] == 0.036
    assert first.resolved["simulate"]["solver"] == "CrankNicolson"
    file = tmp_path / "resolved.toml"
    file.write_text(tomli_w.dumps(first.resolved), encoding="utf-8")
    again = ModelFile.read(file)
    assert again.resolved == first.resolved


def test_theta_replaces_a_parameter(tmp_path):
    experiment = check(tmp_path, tables()).build()
    cell = experiment.neuron({"HH.gnabar": 0.2, "cell.ra": 50.0})
    np.testing.assert_allclose(cell.mechanisms["HH"].mechanism.gnabar, 0.2)
    np.testing.assert_allclose(cell.ra, 50.0)


def test_places_by_name(tmp_path):
    changed = tables()
    changed["insert"] = [{"channel": "Leak", "where": ["soma", "dend[0]"]}]
    changed["stimulus"][0]["at"] = "dend[0]"
    changed["simulate"]["record"] = ["soma", "dend[0]", 2]
    built = check(tmp_path, changed).build()
    cell = built.neuron({})
    middle = cell.locate(section="dend[0]", x=0.5)
    assert built.sites == (cell.locate("soma"), middle, 2)
    assert built.labels == ("soma", "dend[0]", "site 2")
    assert list(built.inputs[0].site) == [middle]
    inside = cell.region("soma") | (cell.section == cell.section_names.index("dend[0]"))
    np.testing.assert_array_equal(cell.mechanisms["Leak"].at.index, np.flatnonzero(inside))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t["stimulus"][0].update(at=""),
        lambda t: t["stimulus"][0].update(at={"region": "", "distance": 10.0}),
        lambda t: t["synapse"][0].update(at=["soma", ""]),
        lambda t: t["simulate"].update(record=""),
        lambda t: t["simulate"].update(record={"region": ""}),
        lambda t: t["insert"][0].update(where=""),
        lambda t: t["insert"][0].update(where=["soma", ""]),
    ],
)
def test_a_name_that_is_empty_is_no_place(tmp_path, change):
    changed = tables()
    change(changed)
    with pytest.raises(ConfigError, match="no region '' in this cell; it has .*all, .*soma"):
        check(tmp_path, changed).build()


def test_starts_from_rest(tmp_path):
    changed = tables()
    changed["stimulus"], changed["synapse"] = [], []
    changed["simulate"]["v0"] = "rest"
    v = np.asarray(check(tmp_path, changed).build().simulate().v)
    np.testing.assert_allclose(v, v[:1].repeat(len(v), axis=0), atol=1e-6)


def _drop(name):
    return lambda t: t.pop(name)


def _set(section, key, value):
    return lambda t: t[section].update({key: value})


def _item(section, i, key, value):
    return lambda t: t[section][i].update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop("morphology"), r"table \[morphology\] is missing"),
        (_drop("simulate"), r"table \[simulate\] is missing"),
        (lambda t: t.update(stimuli=[]), r"unknown table \[stimuli\]; did you mean 'stimulus'"),
        (_set("morphology", "procedural", "pyramid"), "did you mean 'pyramidal'"),
        (_set("morphology", "sede", 1), "unknown key 'sede'; did you mean 'seed'"),
        (_set("morphology", "file", "cell.swc"), "unknown key 'file'"),
        (lambda t: t.update(morphology={}), "needs file ="),
        (lambda t: t.update(morphology={"file": "absent.swc"}), r"\[morphology\]: .*absent.swc"),
        (lambda t: t.update(morphology={"file": "bmtk:Nobody"}), "bmtk has no neuron 'Nobody'"),
        (_set("cell", "max_lenght", 3.0), "did you mean 'max_length'"),
        (_set("cell", "d_lambda", 0.1), "max_length or d_lambda, not both"),
        (_set("cell", "ra", -1.0), "ra: expected a number > 0"),
        (_item("insert", 1, "channel", "Hh"), r"\[\[insert\]\] 2: channel: did you mean 'HH'"),
        (_item("insert", 1, "gnabr", 0.1), "unknown key 'gnabr'; did you mean 'gnabar'"),
        (_item("insert", 1, "gnabar", float("nan")), "gnabar: expected a number >= 0 in S/cm2"),
        (_item("insert", 1, "gnabar", -0.1), "gnabar: expected a number >= 0"),
        (_item("insert", 1, "where", "somma"), "no region 'somma'"),
        (_item("insert", 1, "where", 3), "where: expected a region"),
        (_item("stimulus", 0, "kind", "Stp"), "did you mean 'Step'"),
        (_item("stimulus", 0, "onset", "5"), "onset: expected a number"),
        (_item("stimulus", 0, "duration", -1.0), r"\[\[stimulus\]\] 1: .*duration"),
        (_item("stimulus", 0, "at", {"region": "apical", "distance": 1e5}), r"\[\[stimulus\]\] 1"),
        (_item("stimulus", 0, "at", {"site": 10**6}), "site 1000000 is outside"),
        (_item("synapse", 0, "kind", "Step"), "kind: expected one of"),
        (_set("simulate", "dt", 0.0), "dt: expected a number > 0"),
        (_set("simulate", "t1", 4.01), r"\[simulate\]: .*whole number of steps"),
        (_set("simulate", "t1", -4.0), r"\[simulate\]: .*t1 must lie after"),
        (_set("simulate", "solver", "RK4"), "solver: expected one of"),
        (_set("simulate", "v0", "resting"), "v0: expected a number in mV or one of rest"),
        (_set("simulate", "record", 0.5), "record: expected a place"),
    ],
)
def test_wrong_files_are_refused(tmp_path, change, message):
    changed = tables()
    change(changed)
    with pytest.raises(ConfigError, match=message) as caught:
        check(tmp_path, changed).build().simulate()
    assert "model.toml" in str(caught.value)
    assert len(str(caught.value)) < 1200


def test_keys_come_from_the_classes():
    assert {"Leak", "HH"} <= set(CHANNELS)
    assert {"Step", "Noise", "VoltageClamp"} <= set(STIMULI)
    assert {"ExpSyn", "NMDA"} <= set(SYNAPSES)
    assert mechanism_keys("HH")["ena"].default == 50.0
    keys = call_keys(STIMULI["Step"])
    assert keys["amplitude"].required
    assert "site" not in keys


def test_every_channel_and_input_can_be_named():
    for channel in CHANNELS:
        assert mechanism_keys(channel)
    for kind in (*STIMULI, *SYNAPSES):
        assert input_keys(kind)


def test_a_preset_sets_the_defaults(tmp_path):
    changed = tables()
    changed["synapse"][0] |= {"kind": "NMDA", "preset": "jahr_stevens1990"}
    item = check(tmp_path, changed).resolved["synapse"][0]
    assert {k: item[k] for k in NMDA.presets["jahr_stevens1990"]} == NMDA.presets[
        "jahr_stevens1990"
    ]
