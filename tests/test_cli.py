"""The command line: what it writes, and how it fails."""

import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxdend import config, demo
from jaxdend.cli import app
from jaxdend.config import FitFile
from jaxdend.files import locked
from jaxdend.fitting import FitResult
from jaxdend.tasks import TaskResult

MODEL = """
[morphology]
procedural = "ball_and_stick"
[cell]
max_length = 100.0
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
[simulate]
t1 = 8.0
dt = 0.1
"""

FIT = """
[[parameter]]
path = "HH.gnabar"
bounds = [0.05, 0.3]
true = 0.12
[fit]
starts = 2
[[stage]]
loss = "smoothed_mse"
width = 1.0
steps = 3
[[stage]]
loss = "mse"
steps = 2
"""


@pytest.fixture
def run():
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(a) for a in arguments])


@pytest.fixture
def model(tmp_path):
    file = tmp_path / "model.toml"
    file.write_text(MODEL, encoding="utf-8")
    return file


def refused(result, *parts: str, code: int = 2) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert len(result.stderr.splitlines()) < 24
    flat = "".join(result.stderr.replace("│", " ").split())  # a long path is cut anywhere
    for part in parts:
        assert "".join(part.split()) in flat


def test_version(run):
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("jaxdend 0.")


def test_simulate_writes_numbers_figures_and_settings(run, model, tmp_path):
    out = tmp_path / "out"
    result = run("simulate", model, "--out", out)
    assert result.exit_code == 0, result.output
    assert "soma" in result.stdout
    names = {path.name for path in out.iterdir()}
    assert names == {"traces.npz", "result.json", "resolved.toml", "traces.png", "neuron.png"}
    site = json.loads((out / "result.json").read_text(encoding="utf-8"))["sites"][0]
    assert site["label"] == "soma"
    with np.load(out / "traces.npz") as data:
        assert data["v"].shape == (81, 1)
        assert site["peak_mV"] == pytest.approx(data["v"].max())
        assert len(site["spike_times_ms"]) == 1


def test_simulate_repeats_from_the_resolved_file(run, model, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("simulate", model, "--out", first).exit_code == 0
    assert run("simulate", first / "resolved.toml", "--out", second).exit_code == 0
    with np.load(first / "traces.npz") as a, np.load(second / "traces.npz") as b:
        np.testing.assert_array_equal(a["v"], b["v"])
    text = [(out / "resolved.toml").read_text(encoding="utf-8") for out in (first, second)]
    assert text[0] == text[1]


def test_fit_writes_numbers_figures_and_settings(run, model, tmp_path):
    file, out = tmp_path / "fit.toml", tmp_path / "out"
    file.write_text('model = "model.toml"\n' + FIT, encoding="utf-8")
    result = run("fit", file, "--out", out)
    assert result.exit_code == 0, result.output
    assert "HH.gnabar" in result.stdout
    written = json.loads((out / "result.json").read_text(encoding="utf-8"))
    row = written["parameters"][0]
    assert row["true"] == 0.12
    assert row["start"] == pytest.approx(written["starts"]["HH.gnabar"][written["best_start"]])
    assert row["error"] == pytest.approx(abs(row["fitted"] - 0.12) / 0.12)
    assert len(written["recovered"]) == 2
    losses = np.loadtxt(out / "losses.csv", delimiter=",", skiprows=1)
    assert losses.shape == (5, 4)
    assert losses[2, 2:].min() < losses[0, 2:].min()
    assert (out / "fit.png").stat().st_size > 1000
    assert (out / "neuron.png").stat().st_size > 1000
    resolved = tomllib.loads((out / "resolved.toml").read_text(encoding="utf-8"))
    assert [stage["loss"] for stage in resolved["stage"]] == ["smoothed_mse", "mse"]


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_fit_to_a_recording(run, model, tmp_path, suffix):
    assert run("simulate", model, "--out", tmp_path / "out").exit_code == 0
    with np.load(tmp_path / "out" / "traces.npz") as data:
        t, v = data["t"], data["v"]
    if suffix == "npz":
        np.savez(tmp_path / "data.npz", t=t, v=v)
    else:
        np.savetxt(tmp_path / "data.csv", np.column_stack([t, v]), delimiter=",", header="t,soma")
    text = FIT.replace("true = 0.12\n", "") + f'[target]\nfile = "data.{suffix}"\n'
    (tmp_path / "fit.toml").write_text('model = "model.toml"\n' + text, encoding="utf-8")
    result = run("fit", tmp_path / "fit.toml", "--out", tmp_path / "fit")
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "fit" / "result.json").read_text(encoding="utf-8"))
    assert "true" not in written["parameters"][0]


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("max_length", "max_lenght", "did you mean 'max_length'?"),
        ("dt = 0.1", "dt = -0.1", "dt: expected a number > 0 in ms, got -0.1"),
        ("t1 = 8.0", "t1 = 8.05", "whole number of steps"),
        ('channel = "HH"', 'channel = "HB"', "channel:"),
        ("g = 1e-4", "g = nan", "g: expected a number >= 0 in S/cm2, got nan"),
        ("[cell]", "[cell", "not valid TOML"),
    ],
)
def test_wrong_model_files(run, model, tmp_path, old, new, part):
    model.write_text(MODEL.replace(old, new), encoding="utf-8")
    refused(run("simulate", model, "--out", tmp_path / "out"), part)


def test_wrong_morphology_file(run, model, tmp_path):
    (tmp_path / "cell.swc").write_text("1 1 0 0 0 -5 -1\n", encoding="utf-8")
    swc = MODEL.replace('procedural = "ball_and_stick"', 'file = "cell.swc"')
    model.write_text(swc, encoding="utf-8")
    refused(run("simulate", model, "--out", tmp_path / "out"), "[morphology]", "cell.swc")


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("HH.gnabar", "HH.gnabr", "did you mean 'HH.gnabar'?"),
        ("[0.05, 0.3]", "[0.3, 0.05]", "low < high"),
        ("[0.05, 0.3]", "[0.0, 0.3]", "log scale needs low > 0"),
        ("true = 0.12", "", "key 'true' is missing"),
        ("width = 1.0", "widht = 1.0", "did you mean 'width'?"),
        ('"smoothed_mse"', '"smoothed_msee"', "did you mean 'smoothed_mse'?"),
        ("starts = 2", "starts = 0", "expected a whole number >= 1"),
        ("[[parameter]]", "[[parameters]]", "did you mean 'parameter'"),
    ],
)
def test_wrong_fit_files(run, model, tmp_path, old, new, part):
    file = tmp_path / "fit.toml"
    file.write_text('model = "model.toml"\n' + FIT.replace(old, new), encoding="utf-8")
    refused(run("fit", file, "--out", tmp_path / "out"), part)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("t,soma\n0,-65\n1,-64\n", "covers 0 to 1 ms, the simulation 0 to 8 ms"),
        ("0,-65\n1,nan\n", "not numbers"),
        ("0,-65,-65\n8,-65,-65\n", "has 2 traces, but"),
        ("0,-65\n8,-65\n4,-65\n", "must increase"),
    ],
)
def test_wrong_recordings(run, model, tmp_path, content, part):
    (tmp_path / "data.csv").write_text(content, encoding="utf-8")
    text = 'model = "model.toml"\n' + FIT + '[target]\nfile = "data.csv"\n'
    (tmp_path / "fit.toml").write_text(text, encoding="utf-8")
    refused(run("fit", tmp_path / "fit.toml", "--out", tmp_path / "out"), part)


def test_a_solve_that_blows_up_exits_1(run, model, tmp_path):
    model.write_text(MODEL.replace("amplitude = 0.3", "amplitude = 1e9"), encoding="utf-8")
    refused(run("simulate", model, "--out", tmp_path / "out"), "1000 mV", code=1)


def test_output_folder_that_cannot_be_made(run, model, tmp_path):
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    refused(run("simulate", model, "--out", tmp_path / "out"), "out")


def test_usage_errors_exit_2(run):
    refused(run("simulate"), "Missing argument")
    refused(run("fly"), "No such command")
    refused(run("demo", "--starts", "0"), "--starts")


@pytest.mark.slow
def test_embedded_demo_runs(run, tmp_path):
    out = tmp_path / "demo"
    result = run("demo", "--embedded", "--starts", 1, "--steps", 1, "--out", out)
    assert result.exit_code == 0, result.output
    assert "soma_hh.gnabar" in result.stdout
    again = FitFile.read(out / "resolved.toml")
    assert again.resolved["parameter"][0]["path"] == demo.HIDDEN[0][0]
    shown = " ".join(result.stdout.split())
    assert "dendrite: " in shown
    assert "perceptron: not solved" in shown
    xor = out / "xor"
    assert {path.name for path in xor.iterdir()} == {"xor.png", "dendrite", "perceptron"}
    dendrite = TaskResult.load(xor / "dendrite")
    assert dendrite.labels == ("–", "Y", "X", "XY")
    assert dendrite.fit.steps == 1


def begin(*arguments: str, cwd) -> subprocess.Popen:
    """The command in a process of its own and JAX's default precision; its warnings are errors."""
    code = "from jaxdend.cli import main; main()"
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=environment | {"PYTHONWARNINGS": "error::UserWarning"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def script(*arguments: str, cwd) -> subprocess.CompletedProcess:
    """The command from its beginning to its end."""
    with begin(*arguments, cwd=cwd) as process:
        out, err = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


LONG = FIT.replace("steps = 3", "steps = 60").replace("steps = 2", "steps = 20")


def losses(out) -> np.ndarray:
    return np.loadtxt(out / "losses.csv", delimiter=",", skiprows=1)


@pytest.mark.slow
def test_a_fit_killed_or_interrupted_goes_on_bit_for_bit(run, model, tmp_path):
    (tmp_path / "fit.toml").write_text('model = "model.toml"\n' + LONG, encoding="utf-8")
    assert run("fit", tmp_path / "fit.toml", "--out", tmp_path / "whole").exit_code == 0
    out, again = tmp_path / "out", ("fit", "fit.toml", "--out", "out", "--resume")
    for end, stage, ends in (
        (signal.SIGKILL, "stage_1", -9),
        (signal.SIGINT, "stage_1", 0),
        (signal.SIGKILL, "stage_2", -9),
    ):
        with begin(*again, cwd=tmp_path) as process:
            folder = out / "checkpoints" / stage
            reached = int(max([p.name for p in folder.glob("[0-9]*")], key=int, default=0))
            while process.poll() is None:
                names = [p.name for p in folder.glob("*") if p.name.isdecimal()]
                if any(int(name) > reached for name in names):
                    break
                time.sleep(0.002)
            process.send_signal(end)
            shown, error = process.communicate()
        assert process.returncode in (ends, 0), error
        if end == signal.SIGINT:
            assert "stopped in stage 1 of 2 after" in shown
            assert "--resume" in shown
    done = script(*again, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(losses(out), losses(tmp_path / "whole"))


def test_resume_of_a_fit(run, model, tmp_path):
    file, out = tmp_path / "fit.toml", tmp_path / "out"
    file.write_text('model = "model.toml"\n' + FIT, encoding="utf-8")
    assert run("fit", file, "--out", out, "--resume").exit_code == 0  # begins
    first = losses(out)
    file.write_text(
        file.read_text(encoding="utf-8") + '[[stage]]\nloss = "mse"\nsteps = 1\n', encoding="utf-8"
    )
    assert run("fit", file, "--out", out, "--resume").exit_code == 0  # another stage
    np.testing.assert_array_equal(losses(out)[:5], first)
    assert len(losses(out)) == 6
    before = (out / "resolved.toml").read_text(encoding="utf-8")
    model.write_text(MODEL.replace("amplitude = 0.3", "amplitude = 0.2"), encoding="utf-8")
    refused(
        run("fit", file, "--out", out, "--resume"),
        "another configuration: about.stimulus.1.amplitude is 0.3 there and 0.2 here",
    )
    assert (out / "resolved.toml").read_text(encoding="utf-8") == before
    assert len(losses(out)) == 6


def test_script_prints_no_traceback(tmp_path):
    done = script("fit", "absent.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no such file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["simulate", "fit"])
def test_float64_whatever_the_default(model, tmp_path, command):
    (tmp_path / "fit.toml").write_text('model = "model.toml"\n' + FIT, encoding="utf-8")
    file = "model.toml" if command == "simulate" else "fit.toml"
    done = script(command, file, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out" / "traces.npz") as data:
        assert data["v" if command == "simulate" else "after"].dtype == np.float64


def test_float32_if_the_file_says_so(run, model, tmp_path):
    model.write_text(f'{MODEL}precision = "float32"\n', encoding="utf-8")
    assert run("simulate", model, "--out", tmp_path / "out").exit_code == 0
    with np.load(tmp_path / "out" / "traces.npz") as data:
        assert data["v"].dtype == np.float32


def everything(folder) -> dict:
    """The files in a folder, with their contents."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "command",
    [
        ("simulate", "model.toml"),
        ("fit", "fit.toml"),
        ("fit", "fit.toml", "--resume"),
        ("demo", "--embedded"),
        ("task", "run", "and"),
        ("task", "run", "and", "--resume"),
        ("emulate", "data"),
        ("emulate", "train"),
        ("emulate", "evaluate"),
        ("emulate", "report"),
    ],
    ids=" ".join,
)
def test_a_folder_that_is_in_use_is_left_alone(run, model, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fit.toml").write_text('model = "model.toml"\n' + FIT, encoding="utf-8")
    out = tmp_path / "out"
    (out / "checkpoints" / "stage_1").mkdir(parents=True)
    (out / "resolved.toml").write_text("theirs", encoding="utf-8")
    before = everything(out)
    with locked(out):
        refused(run(*command, "--out", out), f"another run is writing to {out}", str(os.getpid()))
    assert everything(out) == before


@pytest.mark.slow
def test_two_fits_in_one_folder(run, model, tmp_path):
    """The second ends at once and names the first, which goes on unharmed."""
    text = FIT.replace("steps = 3", "steps = 100000")
    (tmp_path / "fit.toml").write_text('model = "model.toml"\n' + text, encoding="utf-8")
    out, command = tmp_path / "out", ("fit", "fit.toml", "--out", "out")
    with begin(*command, cwd=tmp_path) as first:
        while not list(out.glob("checkpoints/stage_1/[0-9]*")):
            assert first.poll() is None
            time.sleep(0.01)
        for more in ((), ("--resume",)):
            second = script(*command, *more, cwd=tmp_path)
            assert second.returncode == 2
            assert f"process {first.pid}" in second.stderr
        first.send_signal(signal.SIGINT)
        shown, error = first.communicate()
        assert first.returncode == 0, error
    assert "stopped in stage 1 of 2 after" in shown
    steps = FitResult.load(out / "checkpoints" / "stage_1").steps
    assert f"after {steps} of 100000 steps" in shown
    assert len(losses(out)) == steps


def test_a_fit_is_not_begun_where_there_is_one(run, model, tmp_path):
    file, out = tmp_path / "fit.toml", tmp_path / "out"
    file.write_text('model = "model.toml"\n' + FIT, encoding="utf-8")
    assert run("fit", file, "--out", out).exit_code == 0
    before = everything(out)
    refused(run("fit", file, "--out", out), "out holds a fit already", "--resume")
    shutil.rmtree(out / "checkpoints")
    refused(run("fit", file, "--out", out), "out holds a fit already")
    assert everything(out) == {k: x for k, x in before.items() if k.parts[0] != "checkpoints"}


ODD = ["o[b]", "o[", "o]", "[red]", ":heart:", "a b", "a'b", "p$_{$", "$x$", "µ", "-[x]", "%s{0}"]


@pytest.mark.parametrize("name", ["o[/b]", *ODD])
def test_any_name_of_a_folder(run, model, tmp_path, name):
    """Nothing in a name is markup, an emoji, a formula or an option."""
    out = tmp_path / name
    result = run("simulate", model, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"written to {out} (see traces.png, neuron.png)" in result.stdout
    assert (out / "traces.png").stat().st_size > 1000
    refused(
        run("simulate", tmp_path / name / "absent[/b].toml"), f"{name}/absent[/b].toml: no such"
    )


@pytest.mark.parametrize("name", ["p$_{$", "x[/b]", "[b]", "$g$ :heart:", "a\\b"])
def test_any_name_of_a_parameter(run, model, tmp_path, name):
    file, out = tmp_path / "fit.toml", tmp_path / "out"
    text = FIT.replace("bounds", f"name = {json.dumps(name)}\nbounds", 1)
    file.write_text('model = "model.toml"\n' + text, encoding="utf-8")
    result = run("fit", file, "--out", out)
    assert result.exit_code == 0, result.output
    assert name in result.stdout
    assert (out / "fit.png").stat().st_size > 1000
    assert name in json.loads((out / "result.json").read_text(encoding="utf-8"))["fitted"]


def test_how_to_go_on_is_a_command_for_the_shell(run, model, tmp_path, monkeypatch):
    """What is said after an interrupt can be pasted, whatever the path."""
    file, out = tmp_path / "my fit[/b].toml", tmp_path / "o $x[/b]"
    file.parent.mkdir()
    file.write_text(f'model = "{model}"\n' + FIT, encoding="utf-8")

    def interrupted(self, callback, **options):
        results = real(self, callback, **options)
        return [dataclasses.replace(results[0], interrupted=True)]

    real = config.fit.Problem.run
    monkeypatch.setattr(config.fit.Problem, "run", interrupted)
    result = run("fit", file, "--out", out)
    assert result.exit_code == 0, result.output
    line = next(x for x in result.stdout.splitlines() if "jaxdend fit" in x)
    assert shlex.split(line) == ["jaxdend", "fit", str(file), "--out", str(out), "--resume"]


def test_wrong_options_with_markup(run):
    refused(run("demo", "--starts", "[/b]"), "--starts")
    refused(run("[/b]"), "No such command '[/b]'")


NOISE = """[[stimulus]]
kind = "Noise"
at = {region = "soma"}
mean = 0.1
std = 0.1
tau = 1.0
duration = 1e12
"""
DIGITS = "9" * 400


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("g = 1e-4", f"g = {DIGITS}", "[[insert]] 1: g: expected a number"),
        ("g = 1e-4", "g = " + "9" * 5000, "not valid TOML"),
        ("g = 1e-4", "g = " + "[" * 20000 + "]" * 20000, "brackets are nested too deeply"),
        ("t1 = 8.0", "t1 = 1e12", "[simulate]: t1: 1e+13 steps of dt = 0.1 ms"),
        ("t1 = 8.0", f"t1 = 8.0\nsave_every = {DIGITS}", "save_every: expected a whole"),
        ("t1 = 8.0", f"t1 = 8.0\nrecord = [{{site = {DIGITS}}}]", "[simulate]: record: site has"),
        ("[simulate]", NOISE + "[simulate]", "[[stimulus]] 2: duration: 1e+12 ms are more"),
        ('procedural = "ball_and_stick"', r'file = "a\u0000.swc"', "[morphology]: file: expected"),
        ('procedural = "ball_and_stick"', f'file = "{"a" * 300}.swc"', "[morphology]: "),
        ("max_length = 100.0", "max_length = 1e-9", "max_length = 1e-09 asks for"),
    ],
    ids=range(10),
)  # fmt: skip
def test_absurd_numbers_and_names_are_errors_of_a_place(run, model, tmp_path, old, new, part):
    assert old in MODEL
    model.write_text(MODEL.replace(old, new, 1), encoding="utf-8")
    refused(run("simulate", model, "--out", tmp_path / "out"), "model.toml: ", part)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("starts = 2", f"starts = {10**12}", "[fit]: starts: expected a whole number <= 1000000"),
        ("starts = 2", f"seed = {DIGITS}", "[fit]: seed: expected a whole number <="),
        ("steps = 3", f"steps = {DIGITS}", "[[stage]] 1: steps: expected a whole number <="),
        ("true = 0.12", f"true = {DIGITS}", "[[parameter]] 1: true: expected a number"),
        ("[fit]", '[target]\nfile = "a\\u0000"\n[fit]', "[target]: file: expected a text"),
        ("[[parameter]]", 'x = "\\u0000"\n[[parameter]]', "unknown table"),
    ],
    ids=range(6),
)  # fmt: skip
def test_absurd_numbers_of_a_fit(run, model, tmp_path, old, new, part):
    assert old in FIT
    file = tmp_path / "fit.toml"
    file.write_text('model = "model.toml"\n' + FIT.replace(old, new, 1), encoding="utf-8")
    refused(run("fit", file, "--out", tmp_path / "out"), "fit.toml: ", part)
    file.write_text('model = "mo\\u0000del.toml"\n' + FIT, encoding="utf-8")
    refused(run("fit", file, "--out", tmp_path / "out"), "fit.toml: model: expected a text without")
