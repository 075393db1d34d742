"""Experiments: what is done is skipped, what was stopped goes on, and rows say what was measured.

The reduced cell's experiments run here on the integrate-and-fire neuron, which compiles at once.
"""

import json
import types
from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
import pytest

from jaxdend.emulator import Emulator, experiments
from jaxdend.emulator._rows import first_layer
from jaxdend.emulator.data import SETUPS
from jaxdend.emulator.experiments import BUDGETS, EXPERIMENTS, Plan, experiment, stored_rows
from jaxdend.emulator.networks import TCN

pytest.importorskip("zarr")


def quick(name="depth", **changes):
    """An experiment on the integrate-and-fire neuron, with two kinds of input."""
    full = experiment(name, "smoke")
    scale = replace(
        full.scale, kinds=("default", "no_inhibition"), simulations=40, others=10, steps=6
    )
    plans = tuple(replace(plan, receptors="none") for plan in full.plans[:2])
    changes = {"scale": scale, "plans": plans} | changes
    return replace(full, setup="integrate_and_fire", receptors=("none",), **changes)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder in which all is done, the experiment, and what was said."""
    out, run, said = tmp_path_factory.mktemp("out") / "x", quick(), []
    assert run.data(out, progress=False, say=said.append)
    assert run.train(out, progress=False, say=said.append)
    assert run.evaluate(out, say=said.append)
    return out, run, said


def test_every_experiment_has_every_budget():
    for name in EXPERIMENTS:
        for budget in BUDGETS:
            run = experiment(name, budget)
            assert len({plan.name for plan in run.plans}) == len(run.plans)
            assert {plan.receptors for plan in run.plans} == set(run.receptors)
            assert run.scale.kinds[0] == "default"
    depth = experiment("depth", "1h")
    assert {plan.size for plan in depth.plans} >= {1, 7}
    assert {plan.seed for plan in depth.plans} == {0, 1, 2}
    with pytest.raises(ValueError, match="experiment must be one of integrate_and_fire, depth"):
        experiment("deep", "1h")
    with pytest.raises(ValueError, match="budget must be one of 10min, 1h, gpu, smoke; got '2h'"):
        experiment("depth", "2h")


@pytest.mark.parametrize("name", ["depth", "elm", "branch"])
def test_stored_rows_are_those_of_the_experiment(name):
    run, rows = experiment(name, "1h"), stored_rows(name)
    assert [row["name"] for row in rows] == [plan.name for plan in run.plans]
    assert {row["steps"] for row in rows} == {run.scale.steps}
    assert all(0.5 < row["auc"] <= 1 for row in rows)
    k, exc, recorded = {"reduced": (96, 48, 20), "branch": (9, 9, 3)}[run.setup]
    like = types.SimpleNamespace(k=k, meta={"exc": exc}, dendrites=np.zeros((1, 1, recorded)))
    for plan, row in zip(run.plans, rows, strict=True):
        net = eqx.filter_eval_shape(plan.build, like, run.scale.span)
        assert net.parameters == row["parameters"]


def test_results_that_are_not_stored_are_refused():
    with pytest.raises(ValueError, match="stored of branch, depth, elm; got 'deep'"):
        stored_rows("deep")


def test_rows(done):
    out, run, said = done
    rows = run.rows(out)
    assert [row["name"] for row in rows] == [plan.name for plan in run.plans]
    for row, plan in zip(rows, run.plans, strict=True):
        net = Emulator.load(run.emulator(out, plan)).net
        assert (row["size"], row["seed"], row["steps"]) == (plan.size, plan.seed, 6)
        assert row["seconds"] > 0
        assert 0 < row["auc"] < 1
        assert 0 < row["auc_no_inhibition"] < 1
        assert row["v_explained_realigned"] >= -1
        assert row["parameters"] > net.heads.weight.size
    assert rows[0]["parameters"] == 40 * 100 * 4 + 2 * 4 + 5 * 2
    assert len(said) == 2 + 2 + 2
    about = json.loads((out / "depth" / "metrics.json").read_text(encoding="utf-8"))
    assert about["data"]["none"]["default"]["simulations"] == 8


def test_nothing_is_done_twice(done, monkeypatch):
    out, run, _ = done
    said = []
    before = (out / "depth" / "metrics.json").stat().st_mtime_ns
    monkeypatch.setattr(experiments, "train", None)
    monkeypatch.setattr(experiments, "generate", None)
    assert run.data(out, say=said.append)
    assert run.train(out, say=said.append)
    assert run.evaluate(out, say=said.append)
    assert said == []
    assert (out / "depth" / "metrics.json").stat().st_mtime_ns == before


def test_a_stopped_training_goes_on(done, tmp_path, monkeypatch):
    """Stopped after some steps: the same network in the end, bit for bit."""
    out, run, _ = done
    (tmp_path / "data").symlink_to(out / "data")
    (tmp_path / "emulate.json").write_bytes((out / "emulate.json").read_bytes())
    real = experiments.train

    def stopping(*args, **options):
        options |= {"callback": lambda step, rows: True, "chunk": 2}
        result = real(*args, **options)
        assert result.steps < 6
        return replace(result, interrupted=True)

    monkeypatch.setattr(experiments, "train", stopping)
    assert not run.train(tmp_path, progress=False)
    with pytest.raises(ValueError, match="no network is trained yet"):
        run.evaluate(tmp_path)
    monkeypatch.setattr(experiments, "train", real)
    assert run.train(tmp_path, progress=False)
    for plan in run.plans:
        one, other = (Emulator.load(run.emulator(folder, plan)).net for folder in (out, tmp_path))
        for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(x, y)


def test_steps_in_the_wrong_order_are_refused(done, tmp_path):
    out, run, _ = done
    with pytest.raises(ValueError, match=r"no data of 'depth' .*first: jaxdend emulate data --exp"):
        run.train(tmp_path)
    with pytest.raises(ValueError, match="no network is trained yet"):
        run.evaluate(tmp_path)
    with pytest.raises(ValueError, match="nothing of 'depth' is measured"):
        run.rows(tmp_path)
    other = experiment("depth", "10min")
    with pytest.raises(ValueError, match="holds the budget 'smoke', not '10min'"):
        other.train(out)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds something else"):
        run.data(tmp_path)


def test_damaged_files_say_so(done, tmp_path):
    _, run, _ = done
    (tmp_path / "emulate.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged"):
        run.train(tmp_path)
    (tmp_path / "emulate.json").unlink()
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "metrics.json").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="delete it and evaluate again"):
        run.rows(tmp_path)


def test_plans_build_what_they_say(done):
    out, run, _ = done
    data = run.parts(out, "none")[0].load()
    unit = Plan("unit", "none", 1, 0).build(data, 30)
    assert (type(unit).__name__, unit.span) == ("UnitNet", 30)
    elm = Plan("elm", "none", 3, 0).build(data, 30)
    assert (elm.config()["memory"], elm.config()["excitatory"]) == (3, 80)
    tcn = Plan("tcn", "none", 3, 0, 8).build(data, 30)
    assert (len(tcn.config()["kernels"]), tcn.config()["channels"], tcn.span) == (3, 8, 30)


def test_a_branch_is_predicted_by_few_units():
    run = experiment("branch", "1h")
    assert {plan.channels for plan in run.plans} == {1, 2, 4, 8}
    assert {(plan.network, plan.size, plan.receptors) for plan in run.plans} == {("tcn", 1, "nmda")}
    assert not {"no_inhibition", "clustered"} & set(run.scale.kinds)
    assert run.plans[0].schedule(run.scale).rates == (run.scale.rate,)


def test_templates_of_a_branch_have_a_direction():
    setup = SETUPS["branch"]()
    net = TCN(setup.k, channels=3, depth=1, span=20)
    row = first_layer(Emulator(net, meta=setup.meta()))
    assert -1 <= row["direction"] <= 1
    assert 0 <= row["selective"] <= row["filters"] <= 3
    other = first_layer(Emulator(net, meta=setup.meta() | {"inward": list(range(9))}))
    assert other["direction"] == pytest.approx(-row["direction"])
