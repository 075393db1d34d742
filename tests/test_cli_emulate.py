"""`jaxdend emulate`: the four steps in order, what they say and write, and how they fail."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxdend.cli import app
from jaxdend.cli.emulate_branch import INTERVALS, Order, shown
from jaxdend.cli.emulate_report import findings, results_table
from jaxdend.emulator import Emulator
from jaxdend.emulator.experiments import experiment
from test_cli import refused

pytest.importorskip("zarr")
ASKED = ("--experiment", "integrate_and_fire", "--budget", "smoke")


@pytest.fixture(scope="module")
def run():
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, ["emulate", *(str(a) for a in arguments)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, run):
    """The folder in which all four steps ran, and what they said."""
    out = tmp_path_factory.mktemp("emulate") / "out"
    said = {"data": run("data", *ASKED, "--out", out)}
    for step in ("train", "evaluate", "report"):  # experiment and budget are known by now
        said[step] = run(step, "--out", out)
    assert [result.exit_code for result in said.values()] == [0] * 4, said
    return out, {step: " ".join(result.output.split()) for step, result in said.items()}


def test_every_step_names_the_next(finished):
    out, said = finished
    for step, after in (("data", "train"), ("train", "evaluate"), ("evaluate", "report")):
        assert f"next: jaxdend emulate {after} {' '.join(ASKED)} --out" in said[step]
    assert "network 1 of 1: none-unit1-seed0" in said["train"]
    assert "test none-unit1-seed0" in said["evaluate"]
    assert "1 of 1 networks" in said["report"]
    assert "trained: 1 of 1 networks" in said["train"]


def test_what_is_written(finished):
    out, _ = finished
    folder = out / "integrate_and_fire"
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    (row,) = found["networks"].values()
    assert 0 < row["auc"] < 1
    assert row["tau_exc"] > 0
    names = {"metrics.json", "report.md", "report.html", "filters.png", "trace_none.png"}
    assert names <= {path.name for path in folder.iterdir()}
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "# integrate_and_fire, budget smoke" in text
    assert f"| one unit | none | 1 | 8,005 | {row['auc']:.4f} |" in text
    page = (folder / "report.html").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("!["):
            name = line.rsplit("(", 1)[1].rstrip(")")
            assert (folder / name).stat().st_size > 5000
            assert f"<img src='{name}'" in page
    twin = Emulator.load(folder / "networks" / "none-unit1-seed0.npz")
    assert twin.meta["training"]["parameters"] == 8005


def test_again_does_nothing(finished, run):
    out, _ = finished
    for step in ("data", "train", "evaluate"):
        result = run(step, "--out", out)
        assert result.exit_code == 0, result.output
        assert not any(x in result.output for x in ("data: ", "network 1", "test none"))


def test_wrong_input_is_one_panel(finished, run, tmp_path):
    out, _ = finished
    new = tmp_path / "new"
    first = "first: jaxdend emulate data --experiment depth --budget 10min --out DIR"
    refused(run("train", "--out", new), "has no data of 'depth'", first)
    refused(run("evaluate", "--out", new), "no network is trained yet")
    refused(run("report", "--out", new), "nothing of 'depth' is measured")
    refused(run("data", "--experiment", "deep", "--out", new), "one of integrate_and_fire, depth")
    refused(run("data", "--budget", "3h", "--out", new), "budget must be one of 10min, 1h, gpu")
    assert not new.exists()
    refused(run("train", "--budget", "1h", "--out", out), "holds the budget 'smoke', not '1h'")
    (tmp_path / "depth").mkdir()
    (tmp_path / "elm").mkdir()
    refused(run("report", "--out", tmp_path), "holds depth, elm: say which, with --experiment")
    refused(run("data", "--out", tmp_path, "--experiment", "elm"), "holds something else")


def test_list(run):
    result = run("list")
    assert result.exit_code == 0
    assert all(word in result.output for word in ("integrate_and_fire", "gpu", "elm", "depth"))


def test_ctrl_c_says_how_to_go_on(tmp_path, run):
    """SIGINT while data are made: what is there stays, and the same command goes on."""
    code = "from jaxdend.cli import app; app()"
    command = [sys.executable, "-c", code, "emulate", "data", *ASKED, "--out", str(tmp_path / "x")]
    going = subprocess.Popen(
        command, env={**os.environ, "COLUMNS": "200"}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not list(tmp_path.glob("x/data/*.zarr/zarr.json")):
            assert going.poll() is None
            time.sleep(0.01)
        going.send_signal(signal.SIGINT)
        _, said = going.communicate(timeout=120)
    finally:
        going.kill()
    if going.returncode:
        assert going.returncode == 130
        assert f"jaxdend emulate data {' '.join(ASKED)} --out {tmp_path / 'x'}" in said
    result = run("data", "--out", tmp_path / "x")
    assert result.exit_code == 0, result.output


def rows_of(name, auc):
    """What an experiment's networks might measure, by their plans."""
    return [
        {
            "name": plan.name, "network": plan.network, "receptors": plan.receptors,
            "size": plan.size, "channels": plan.channels, "seed": plan.seed, "seconds": 1.0,
            "parameters": 1000 * plan.size * max(plan.channels, 1), "auc": auc(plan),
            "v_explained": auc(plan), "tuft_mass": 0.5, "tuft_share": 0.25,
        }
        for plan in experiment(name, "1h").plans
    ]  # fmt: skip


def test_findings_of_depth():
    gain = {"nmda": 0.01, "ampa": 0.001, "passive": 0.0}
    rows = rows_of("depth", lambda p: 0.9 + gain[p.receptors] * p.size + 0.01 * p.seed)
    said = findings(rows)
    assert said[0] == (
        "nmda: 7 layers instead of 1, 3 seed(s): AUC +0.0600 ± 0.0000, "
        "voltage explained +0.0600 ± 0.0000."
    )
    assert said[1].startswith("nmda: 50.0% of the first layers' weight lie on the tuft, with 25.0%")
    assert len(said) == 6
    heading, lines = results_table(rows)
    assert 3 * len(lines) == len(rows)
    assert lines[0][:5] == ["TCN 1 x 32", "nmda", "3", "32,000", "0.9200 ± 0.0100"]
    assert heading[4] == "AUC"


def test_findings_of_memory():
    rows = rows_of("elm", lambda p: 0.9 + (0.001 * p.size if p.network == "elm" else 0.002))
    said = findings(rows)
    assert "AUC 0.9020: 2 memory units do as well with 2,000 (2 times fewer)." in said[0]
    assert "2 memory units do as well with 2,000 (8 times fewer)" in said[1]


def branch_rows():
    rows = rows_of("branch", lambda p: 0.97 - 0.064 / p.channels**2 + 0.001 * p.seed)
    index = {1: 0.05, 2: -0.15, 4: -0.4, 8: 0.3}
    return [
        row | {"direction": index[row["channels"]], "filters": row["channels"],
               "selective": int(row["channels"] > 2)}
        for row in rows
    ]  # fmt: skip


def test_findings_of_a_branch():
    said = findings(branch_rows())
    assert said[0] == (
        "Units 1, 2, 4, 8: AUC 0.9070, 0.9550, 0.9670, 0.9700. The fewest within 0.005 of the "
        "best: 4."
    )
    assert said[1].endswith("The fewest within 0.02 of the best: 2.")
    assert len(said) == 6
    assert said[2].startswith("1 unit: 0 of 3 filters")
    assert said[4].startswith("4 units: 3 of 12 filters in 3 network(s)")
    assert said[4].endswith("the largest is -0.40 (outward).")
    lost = {"auc": np.nan, "v_explained": np.nan, "direction": np.nan}
    unknown = [row | lost for row in branch_rows()]
    assert findings(unknown) == []


def test_the_best_network_of_four_units_is_shown():
    run, rows = experiment("branch", "1h"), branch_rows()
    assert shown(run, rows).name == "nmda-tcn1x4-seed2"
    assert shown(run, [row for row in rows if row["channels"] != 4]).channels == 8


def test_what_is_said_of_an_order():
    cell = np.array([np.full(7, -60.0), -60.0 - np.arange(7)])
    twin = np.array([np.full(7, -61.0), -61.0 - np.array([0, 1, 1, -1, 0, 2, 3])])
    said = Order("x", cell, twin, -80.0).finding()
    assert "cell +6.00 mV (an index of +0.18) and network x +3.00 mV" in said
    assert f"{INTERVALS[-1]} ms; the same sign at 4 of 6 intervals" in said
