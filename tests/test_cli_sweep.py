"""`jaxdend sweep`: what it writes and says, how it goes on, and how it fails."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxdend.cli import app
from jaxdend.files import locked
from jaxdend.sweep import open_sweep
from small_sweep import files
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


MANY = """
model = "cells.toml"
[[axis]]
path = "stimulus.1.amplitude"
range = [0.0, 0.5]
points = 200
[[axis]]
path = "morphology.file"
values = ["short.swc", "long.swc"]
[[output]]
kind = "peak"
[[output]]
kind = "voltage"
every = 10
[[output]]
kind = "ap_amplitude"
stim_start = 1.0
stim_end = 4.0
max_spikes = 2
[run]
chunk = 10
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


def start(*arguments, **environment):
    """The command in a process of its own."""
    command = [sys.executable, "-c", "from jaxdend.cli import app; app()"]
    return subprocess.Popen(
        [*command, *(str(a) for a in arguments)],
        env={**os.environ, "COLUMNS": "200", "JAX_NUM_CPU_DEVICES": "1", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def many(finished, run):
    """A sweep of 400 points over two morphologies, the store of one process that did it all."""
    folder = finished[0].parent
    for name, tip in (("short", 60), ("long", 300)):
        lines = ["1 1 0 0 0 10 -1", "2 3 10 0 0 1 1", f"3 3 {tip} 0 0 1 2"]
        (folder / f"{name}.swc").write_text("\n".join(lines), encoding="utf-8")
    text = MODEL.replace('procedural = "ball_and_stick"', 'file = "short.swc"')
    assert text != MODEL
    (folder / "cells.toml").write_text(text, encoding="utf-8")
    file = folder / "many.toml"
    file.write_text(MANY, encoding="utf-8")
    result = run("sweep", file, "--out", folder / "one.zarr")
    assert result.exit_code == 0, result.output
    return file, folder / "one.zarr"


@pytest.mark.slow
def test_two_processes_make_the_store_of_one(many, tmp_path):
    """The same command twice, process 1 with two devices: every file equal, byte for byte."""
    file, whole = many
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path / "out.zarr"
    common = ("sweep", file, "--out", out, "--coordinator", f"127.0.0.1:{port}", "--processes", 2)
    started = [start(*common, "--process-id", i, "--devices", 1 + i) for i in (0, 1)]
    try:
        said = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], said
    assert files(out) == files(whole)
    assert "400 points in" in said[0][0]
    assert "by 2 processes" in said[0][0]
    assert said[1][0] == ""
    log = out.with_name("out.zarr.log").read_text(encoding="utf-8")
    ends = re.findall(r"process (\d): end: (\d+) points", log)
    assert sorted(index for index, _ in ends) == ["0", "1"]
    assert sum(int(points) for _, points in ends) == 400


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(many, tmp_path, run):
    """SIGINT while chunks are computed; going on gives what an uninterrupted run gives."""
    file, whole = many
    out = tmp_path / "out.zarr"
    running = start("sweep", file, "--out", out)
    try:
        while not (out / "status" / "c").is_dir():
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=120)
    finally:
        running.kill()
    done = int((open_sweep(out)["status"] > 0).sum())
    if done < 400:
        assert running.returncode == 130
        assert f"jaxdend sweep {file} --out {out} --resume" in said
    result = run("sweep", file, "--out", out, "--resume")
    assert f"{400 - done:,} points in" in result.output
    assert files(out) == files(whole)


def test_morphologies_are_groups(many):
    _, whole = many
    data = open_sweep(whole)
    assert data.sizes["point"] == 400
    labels = np.repeat(["short.swc", "long.swc"], 200)
    np.testing.assert_array_equal(data["morphology.file"], labels)
    assert (data["status"] == 1).all()
    peaks = data["peak"].values.reshape(2, 200)
    assert np.abs(peaks[0] - peaks[1]).max() > 0.1
    voltage = data["voltage"]
    np.testing.assert_allclose(voltage[voltage.dims[1]][:3], [0.0, 1.0, 2.0])
    assert data["ap_amplitude"].attrs["units"] == "mV"
    assert "AP_amplitude" in data["ap_amplitude"].attrs["long_name"]
    assert data["stimulus.1.amplitude"].attrs == {
        "units": "nA", "long_name": "stimulus.1.amplitude",
    }  # fmt: skip


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "copy.zarr")


def test_status_of_a_store_with_lost_stray_and_damaged_files(copy, run):
    whole = run("sweep-status", copy)
    (copy / "status" / "c" / "99").write_bytes(b"stray")
    stray = run("sweep-status", copy)
    assert stray.exit_code == 0, stray.output
    assert stray.stdout.split("last written")[0] == whole.stdout.split("last written")[0]
    (copy / "peak" / "c" / "0").unlink()
    lost = run("sweep-status", copy)
    assert lost.exit_code == 0, lost.output
    assert "not done 2 33.3%" in " ".join(lost.stdout.replace("│", " ").split())
    assert "lost files of 2 points" in lost.stderr
    assert "--resume" in lost.stderr
    file = copy / "status" / "c" / "1"
    file.write_bytes(file.read_bytes()[:-1])
    refused(run("sweep-status", copy), "status/c/1 is damaged", "--resume --verify")


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("points = 2", f"points = {10**12}", "[[axis]] 2: points: expected a whole number <= "),
        ("points = 2", "points = " + "9" * 400, "[[axis]] 2: points: expected a whole number <= "),
        ("1e7", "9" * 400, "[[axis]] 1: values of stimulus.1.amplitude: expected a number"),
        ("chunk = 2", f"chunk = {10**13}", "[run]: chunk: expected a whole number <="),
        ("chunk = 2", 'memory = "1e400GB"', "[run]: memory: expected bytes"),
        ("stored.zarr", "st\\u0000ored", "[run]: store: expected a text without NUL"),
        ('"peak"', f'"spike_times"\nmost = {10**13}', "[[output]] 1: most: expected a whole"),
        ("[run]", '[design]\nkind = "table"\nfile = "bad.npz"\n[run]', "bad.npz is not a complete"),
        ('kind = "peak"', 'kind = "peak"\nname = "a/b"', "[[output]] 1: the name 'a/b'"),
        ("points = 2", 'points = 2\nname = "x[/b]"', "[[axis]] 2: the name 'x[/b]'"),
    ],
    ids=range(10),
)  # fmt: skip
def test_absurd_numbers_and_names_are_errors_of_a_place(finished, run, tmp_path, old, new, part):
    assert old in SWEEP
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 cut short")
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    file = tmp_path / "wrong.toml"
    file.write_text(SWEEP.replace(old, new, 1), encoding="utf-8")
    refused(run("sweep", file, "--out", tmp_path / "out"), "wrong.toml: ", part)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["p$_{$", "x[b]", "[red] :heart:", "$a$ b"])
def test_any_other_name_of_an_axis_and_an_output(run, tmp_path, name):
    """Letter by letter on the screen, in the store and in the figure, failed points included."""
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    text = SWEEP.replace("points = 2", f'points = 2\nname = "{name}"')
    text = text.replace('kind = "peak"', f'kind = "peak"\nname = "out {name}"')
    (tmp_path / "sweep.toml").write_text(text, encoding="utf-8")
    out = tmp_path / f"o{name}"
    result = run("sweep", tmp_path / "sweep.toml", "--out", out)
    assert result.exit_code == 0, result.output
    assert f"6 points over stimulus.1.amplitude, {name}" in result.stdout
    assert f"written to {out} (see " in result.stdout
    assert out.with_suffix(".png").stat().st_size > 1000
    status = run("sweep-status", out)
    assert status.exit_code == 0, status.output
    assert f"{name} 0.1" in status.stdout
    assert set(open_sweep(out).coords) >= {name, "stimulus.1.amplitude"}


def test_a_store_that_another_run_writes(finished, run):
    out, _ = finished
    with locked(out):
        again = run("sweep", out.parent / "sweep.toml", "--out", out, "--resume")
    refused(again, f"another run is writing to {out}: process {os.getpid()}")
