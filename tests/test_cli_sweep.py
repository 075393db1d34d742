"""`jaxdend sweep`: what it writes and says, how it goes on, and how it fails."""

import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxdend.cli import app
from jaxdend.sweep import open_sweep
from test_cli import MODEL, refused

SWEEP = """
model = "model.toml"
[[axis]]
path = "stimulus.1.amplitude"
values = [0.0, 0.3, 1e7]
[[axis]]
path = "HH.gnabar"
range = [0.1, 0.2]
points = 2
[[output]]
kind = "peak"
[[output]]
kind = "first_spike"
[run]
chunk = 2
store = "stored.zarr"
"""


@pytest.fixture(scope="module")
def run():
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, run):
    """A sweep that is done, and what was said."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    (folder / "sweep.toml").write_text(SWEEP, encoding="utf-8")
    out = folder / "out.zarr"
    return out, run("sweep", folder / "sweep.toml", "--out", out)


def test_writes_the_store_and_a_figure_and_counts_failures(finished):
    out, result = finished
    assert result.exit_code == 0, result.output
    flat = " ".join(result.output.split())
    assert "6 points over stimulus.1.amplitude, HH.gnabar" in flat
    assert "simulation failed" in flat
    assert "stimulus.1.amplitude 1e+07" in flat
    assert out.with_suffix(".png").stat().st_size > 1000
    data = open_sweep(out)
    np.testing.assert_array_equal(data["status"], [1, 1, 1, 1, 3, 3])
    np.testing.assert_array_equal(data["stimulus.1.amplitude"], [0, 0, 0.3, 0.3, 1e7, 1e7])
    assert data["HH.gnabar"].attrs["units"] == "S/cm2"
    assert np.all(np.isnan(data["first_spike"][:2]))  # silent, but not failed
    assert np.all(np.isfinite(data["peak"][:4]))
    assert np.all(np.isnan(data["peak"][4:]))


def test_resuming_a_finished_sweep_computes_nothing(finished, run):
    out, _ = finished
    again = run("sweep", out.parent / "sweep.toml", "--out", out, "--resume")
    assert again.exit_code == 0, again.output
    assert "0 points in" in " ".join(again.output.split())


def test_status(finished, run):
    out, _ = finished
    result = run("sweep-status", out)
    assert result.exit_code == 0, result.output
    assert "66.7%" in result.output
    assert "last written" in result.output
    refused(run("sweep-status", out.parent / "absent"), "there is no sweep at")
    refused(run("sweep-status", out.parent), "is not the store of a jaxdend sweep")


def test_a_store_is_not_overwritten(finished, run):
    out, _ = finished
    file = out.parent / "sweep.toml"
    refused(run("sweep", file, "--out", out), "exists; go on with it by resume=True (--resume)")
    other = out.parent / "other.toml"
    other.write_text(SWEEP.replace("0.3, 1e7", "0.4, 1e7"), encoding="utf-8")
    refused(run("sweep", other, "--out", out, "--resume"), "another configuration")


def test_dry_run_writes_nothing(finished, run):
    out, _ = finished
    before = sorted(out.parent.iterdir())
    result = run("sweep", out.parent / "sweep.toml", "--dry-run")
    assert result.exit_code == 0, result.output
    flat = " ".join(result.output.split())
    assert "store: 198 bytes before compression, 33 bytes a point" in flat
    assert "points/s" in flat
    assert "stored.zarr" in flat
    assert sorted(out.parent.iterdir()) == before


def test_wrong_files_are_one_panel(finished, run):
    out, _ = finished
    wrong = out.parent / "wrong.toml"
    wrong.write_text(SWEEP.replace("HH.gnabar", "HH.gnabr"), encoding="utf-8")
    refused(run("sweep", wrong), "[[axis]] 2: path: nothing to vary at 'HH.gnabr'; did you mean")
    file = out.parent / "sweep.toml"
    refused(run("sweep", file, "--processes", "2"), "several processes need coordinator")


def test_importing_does_not_start_jax():
    """Else the processes of a sweep could not meet, nor `--devices` choose."""
    code = (
        "import jaxdend.cli; from jax._src import xla_bridge as x; "
        "raise SystemExit(x.backends_are_initialized())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(finished):
    """SIGINT while chunks are computed; going on gives what an uninterrupted run gives."""
    out, _ = finished
    many = SWEEP.replace("values = [0.0, 0.3, 1e7]", "range = [0.0, 0.5]\npoints = 200")
    file = out.parent / "many.toml"
    file.write_text(many, encoding="utf-8")
    store = out.parent / "many.zarr"
    command = [sys.executable, "-c", "from jaxdend.cli import app; app()", "sweep", str(file)]
    command += ["--out", str(store), "--resume"]
    environment = {**os.environ, "COLUMNS": "200"}
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while not (store / "status" / "c").is_dir():
            assert running.poll() is None
        running.send_signal(2)
        _, said = running.communicate(timeout=120)
    finally:
        running.kill()
    done = int((open_sweep(store)["status"] > 0).sum())
    if done < 400:
        assert running.returncode == 130
        assert f"jaxdend sweep {file} --out {store} --resume" in said
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"{400 - done:,} points in" in result.stdout
    assert int((open_sweep(store)["status"] == 1).sum()) == 400
