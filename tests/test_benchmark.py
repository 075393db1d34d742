"""`scripts/benchmark.py` without its peers: statistics, files, figures, one small run."""

import importlib
import json

import numpy as np
import pytest

from helpers import ROOT

pytest.importorskip("matplotlib", reason="pip install 'jaxdend[plotting]'")


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def module(name: str):
    return importlib.import_module(f"benchmarks.{name}")


def test_runs_interleave_and_the_order_alternates():
    calls = []
    runs = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "ab"}
    seconds = module("timing").interleaved(runs, repeats=3, warm=1)
    assert "".join(calls) == "ab" + "ba" + "ab" + "ba"
    assert seconds == {"a": [4.0, 5.0, 8.0], "b": [3.0, 6.0, 7.0]}


def test_a_ratio_is_the_median_of_the_ratios_of_single_repeats():
    found = module("timing").ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0])
    assert (found.median, found.low, found.high) == (2.0, 1.0, 3.0)
    assert str(found) == "2.00x (1.00..3.00)"


def test_results_hold_machine_versions_and_raw_seconds(tmp_path):
    timing = module("timing")
    rows = [{"seconds": {"a": [1.0, 2.0]}, "ratios": {"a": timing.ratio([2.0], [1.0])},
             "array": np.arange(2)}]  # fmt: skip
    record = json.loads(timing.save(tmp_path, "step", {"out": tmp_path}, rows).read_text())
    assert record["rows"] == [
        {"seconds": {"a": [1.0, 2.0]}, "ratios": {"a": {"median": 2.0, "low": 2.0, "high": 2.0}},
         "array": [0, 1]}
    ]  # fmt: skip
    assert record["machine"]["cores"] >= 1
    assert record["versions"]["jax"]
    assert record["date"]


@pytest.mark.parametrize("channels", ["hh", "hay"])
def test_every_simulator_is_given_the_same_neuron(tmp_path, channels):
    models = module("models")
    neuron = models.neuron(channels, 150)
    again = models.load(neuron.save(tmp_path / "neuron.npz"))
    assert neuron.n == again.n == 150
    assert np.all(np.diff(neuron.kind) >= 0)  # numbered region by region, as jaxdend does
    assert np.all(neuron.parent < np.arange(len(neuron.parent)))
    np.testing.assert_equal(again.densities, neuron.densities)
    cell = module("run_jaxdend").full_cell(again)
    np.testing.assert_array_equal(cell.kind, neuron.kind[neuron.section])
    np.testing.assert_array_equal(cell.section, neuron.section)
    assert len(cell.mechanisms) == (1 if channels == "hh" else 12)
    for key, values in neuron.densities.items():
        mechanism, parameter = key.split(".")
        item = cell.mechanisms[mechanism]
        own = np.full(cell.n, np.nan)
        own[item.at.index] = np.asarray(getattr(item.mechanism, parameter))
        np.testing.assert_allclose(own, values, rtol=1e-6, err_msg=key)


def test_crossings_are_found_on_a_cubic():
    t = np.arange(0.0, 10.0, 0.1)
    found = module("common").crossings(t, np.sin(t - 0.33))
    np.testing.assert_allclose(found, [0.33, 0.33 + 2 * np.pi], atol=1e-5)


def test_time_at_an_error_is_read_off_between_settings():
    points = [{"spike_error_ms": 0.1, "seconds": [1.0, 1.0]},
              {"spike_error_ms": 0.001, "seconds": [100.0, 400.0]}]  # fmt: skip
    at = module("accuracy").times_at
    np.testing.assert_allclose(at(0.01, points, 2), [10.0, 20.0])
    assert at(1e-4, points, 2) == []
    np.testing.assert_allclose(at(1.0, points, 2), [1.0, 1.0])


@pytest.mark.parametrize(("steps", "levels"), [(800, 2), (800, 3), (7, 2), (80_000, 3)])
def test_checkpoint_lengths_cover_the_steps(steps, levels):
    lengths = module("gradient").checkpoints(steps, levels)
    assert len(lengths) == levels
    assert steps <= np.prod(lengths) <= 1.3 * steps


def test_a_missing_peer_is_said_and_left_out(monkeypatch, capsys):
    workers = module("workers")
    monkeypatch.setattr(workers.importlib.util, "find_spec", lambda name: None)
    assert workers.available(("jaxley",)) == ()
    assert "jaxley is not installed" in capsys.readouterr().out


def test_figures_of_all_sub_commands(tmp_path):
    spread = {"median": 2.0, "low": 1.5, "high": 2.5}
    three = [1.0, 1.1, 0.9]
    step = {"channels": "hh", "n": 30, "steps": 10,
            "seconds": {"jaxdend float32": three, "neuron": three},
            "ratios": {"neuron / jaxdend float32": spread}}  # fmt: skip
    batch = {"batch": 2, "n": 30, "steps": 10, "seconds": {"jaxdend, all cores": three},
             "ratios": {}}  # fmt: skip
    gradient = {"n": 30, "steps": 10, "seconds": {"jaxdend": three},
                "times_forward": {"jaxdend": spread}, "ratios": {},
                "floats_per_compartment_step": {"jaxdend": 5.0}}  # fmt: skip
    points = {k: {"family": "neuron CVODE", "seconds": three, "spike_error_ms": e}
              for k, e in {"a": 1e-2, "b": 1e-4, "c": float("nan")}.items()}  # fmt: skip
    accuracy = {"case": "a case", "points": points, "ratios": {}}
    stages = dict.fromkeys(module("startup").STAGES, 0.1)
    startup = {"stages": {"jaxdend": stages}, "seconds": {"jaxdend": three}, "ratios": {},
               "compartments": {"jaxdend": 30}, "swc": "x.swc"}  # fmt: skip
    scale = {"group": "compartments", "seconds": {"100": three, "1000": three},
             "us_per_step": {"100": 2.0, "1000": 30.0}, "exponent": 1.1,
             "depth": {"100": 6, "1000": 10}}  # fmt: skip
    rows = {"step": step, "batch": batch, "gradient": gradient, "accuracy": accuracy,
            "startup": startup, "scale": scale}  # fmt: skip
    benchmark = importlib.import_module("benchmark")
    assert set(rows) == set(benchmark.COMMANDS)
    for name, row in rows.items():
        path = module("timing").save(tmp_path, name, {}, [row])
        assert benchmark.draw(path).stat().st_size > 10_000


def test_a_quick_run_of_jaxdend_alone(tmp_path, capsys):
    benchmark = importlib.import_module("benchmark")
    words = ["step", "--quick", "--peers", "--sizes", "30", "--out", str(tmp_path)]
    benchmark.main(words)
    assert "30 compartments" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "step.json").read_text())["rows"]
    assert row["compartments"] == {"jaxdend float32": 30}
    assert len(row["seconds"]["jaxdend float32"]) == 3
    assert row["agreement"]["jaxdend float32"]["spikes"] >= 1
    assert (tmp_path / "step.png").exists()
