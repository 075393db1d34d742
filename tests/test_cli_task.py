"""`jaxdend task`: what it writes, that it goes on and repeats, and how it fails."""

import json
import sys
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from jaxdend.cli import app
from jaxdend.fitting import FitResult, Parameter, ParameterSpace
from jaxdend.tasks import (
    CONTROLS,
    TASKS,
    AbstractNeuron,
    AbstractTrains,
    Logic,
    TaskResult,
    Training,
)
from toy_task import DrawnVeto, Rising, Veto, xor

SEED = 2  # of a run of 22 steps


def toy(seed):
    """XOR by a veto.

    A second paragraph.
    """
    return xor(DrawnVeto())


class Off(AbstractTrains):
    """Strengths in place of trains, off by a twentieth."""

    def trains(self, key, inputs):
        return 1.0 + 0.05 * jax.random.normal(key, (inputs,))

    def draw(self, key, patterns):
        return patterns * self.trains(key, patterns.shape[1])


FEW = Training(configs=8, starts=2, steps=4, rate=0.2, draws=4, look=2, validation=8)


def drawn(seed):
    """XOR by a veto, of inputs that are drawn."""
    return Logic.of("XOR", DrawnVeto(), margin=1.0, inputs=Off(), training=FEW)


class Adder(AbstractNeuron):
    """The veto neuron without its veto."""

    @property
    def space(self):
        return ParameterSpace({"weight": Parameter(1e-3, 0.1, unit="uS", shape=(2,))})

    def respond(self, params, pattern):
        return Veto().respond(params | {"veto": jnp.asarray(0.0)}, pattern)


def without_veto(seed):
    """The same by a sum, which cannot."""
    return Logic.of("XOR", Adder(), margin=1.0, inputs=Off(), training=FEW)


def rising(seed):
    """Each more than the one before."""
    return Rising(Veto(), 40)


@pytest.fixture(autouse=True)
def _tasks(monkeypatch):
    monkeypatch.setitem(TASKS, "toy", toy)
    monkeypatch.setitem(TASKS, "rising", rising)
    monkeypatch.setitem(TASKS, "drawn", drawn)
    monkeypatch.setitem(TASKS, "without_veto", without_veto)
    monkeypatch.setitem(CONTROLS, "drawn", ("without_veto",))


@pytest.fixture
def run():
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, ["task", *(str(a) for a in arguments)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder that a run wrote, and what it printed."""
    out = tmp_path_factory.mktemp("task") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "toy", toy)
        result = CliRunner().invoke(
            app, ["task", "run", "toy", "--seed", str(SEED), "--out", str(out)]
        )
    assert result.exit_code == 0, result.output
    return out, result.stdout


def refused(result, *parts: str, code: int = 2) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    flat = "".join(result.stderr.replace("│", " ").split())  # a long path is cut anywhere
    for part in parts:
        assert "".join(part.split()) in flat


def test_list_names_every_task(run):
    result = run("list")
    assert result.exit_code == 0, result.output
    for name in TASKS:
        assert name in result.stdout
    assert "XOR by a veto." in result.stdout
    assert "second paragraph" not in result.stdout


def test_run_writes_result_parameters_figure_and_settings(finished):
    out, shown = finished
    names = {path.name for path in out.iterdir()}
    assert names == {
        "result.json",
        "params.npz",
        "fit.npz",
        "task.png",
        "resolved.toml",
        "checkpoints",
    }
    about = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert about["task"] == "toy"
    assert about["seed"] == SEED
    assert about["solved"] is True
    assert about["accuracy"] == 1.0
    assert about["margin"] >= 4.0
    assert set(about["responses"]) == {"–", "X", "Y", "XY"}
    assert about["simulations"] > 4 * 20
    assert about["wall_s"] > 0
    assert about["interrupted"] is False
    with np.load(out / "params.npz") as data:
        assert data["best/weight"].shape == (2,)
        assert data["best/weight"].dtype == np.float64
    settings = tomllib.loads((out / "resolved.toml").read_text(encoding="utf-8"))
    assert settings == {"task": "toy", "seed": 2, "steps": 80, "configs": 20, "embedded": False}
    assert "XOR by a veto." in shown
    assert "> -60" in shown
    assert f"{about['responses']['X']:.4g}" in shown
    assert "solved: 100% right" in " ".join(shown.split())


def test_replay_agrees(run, finished):
    result = run("replay", finished[0])
    assert result.exit_code == 0, result.output
    assert "4 of 4 responses are the saved ones" in " ".join(result.stdout.split())


def test_replay_notices_a_difference(run, finished, tmp_path):
    saved = TaskResult.load(finished[0])
    saved.params["veto"] += 1e-3
    saved.save(tmp_path)
    refused(run("replay", tmp_path), "the responses are not the saved ones", code=1)


def test_replay_in_the_precision_of_the_run(run, finished, tmp_path):
    saved = TaskResult.load(finished[0])
    for name, value in saved.params.items():
        saved.params[name] = value.astype(np.float32)
    saved.save(tmp_path)
    result = run("replay", tmp_path)
    assert result.exit_code == 0, result.output
    assert "to 0.0003" in " ".join(result.stdout.split())


def test_options(run, tmp_path):
    options = ["--steps", 2, "--configs", 6, "--embedded", "--out", tmp_path]
    result = run("run", "toy", *options)
    assert result.exit_code == 0, result.output
    saved = TaskResult.load(tmp_path)
    assert (saved.seed, saved.fit.steps, len(saved.configs)) == (0, 2, 6)
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["embedded"] is True
    assert "not solved" in result.stdout


def test_a_task_without_a_threshold(run, tmp_path):
    result = run("run", "rising", "--steps", 1, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "wanted" not in result.stdout
    assert "310 °" in result.stdout
    assert "320 °" not in result.stdout
    assert "and 8 patterns more" in result.stdout


def test_ctrl_c_keeps_what_was_reached_and_resume_goes_on(run, finished, tmp_path, monkeypatch):
    module = sys.modules["jaxdend.tasks.judge"]
    look = module.Watch.__call__

    def press(self, step, losses, vectors):
        if step == 5:
            raise KeyboardInterrupt
        return look(self, step, losses, vectors)

    with monkeypatch.context() as patch:
        patch.setattr(module.Watch, "__call__", press)
        first = run("run", "toy", "--seed", SEED, "--out", tmp_path)
    assert first.exit_code == 0, first.output
    assert "stopped after 5 of 80 steps" in first.stdout
    assert "--resume" in first.stdout
    assert TaskResult.load(tmp_path).fit.interrupted
    assert run("replay", tmp_path).exit_code == 0
    second = run("run", "toy", "--resume", "--out", tmp_path)
    assert second.exit_code == 0, second.output
    same(tmp_path, finished[0])


def test_resume_after_a_kill(run, finished, tmp_path, monkeypatch):
    module = sys.modules["jaxdend.tasks.judge"]
    look = module.Watch.__call__

    def kill(self, step, losses, vectors):
        if step == 13:
            raise SystemExit(137)
        return look(self, step, losses, vectors)

    with monkeypatch.context() as patch:
        patch.setattr(module.Watch, "__call__", kill)
        assert run("run", "toy", "--seed", SEED, "--out", tmp_path).exit_code == 137
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "resolved.toml"}
    assert FitResult.load(tmp_path / "checkpoints").steps == 10
    refused(run("replay", tmp_path), "is not the folder of a finished task")
    assert run("run", "toy", "--resume", "--out", tmp_path).exit_code == 0
    same(tmp_path, finished[0])


def same(a, b) -> None:
    """Two folders hold the same training."""
    first, second = TaskResult.load(a), TaskResult.load(b)
    np.testing.assert_array_equal(first.fit.losses, second.fit.losses)
    np.testing.assert_array_equal(first.responses, second.responses)
    assert first.solved


def test_resume_with_more_steps(run, tmp_path):
    assert run("run", "toy", "--seed", SEED, "--steps", 3, "--out", tmp_path).exit_code == 0
    assert run("run", "toy", "--resume", "--steps", 5, "--out", tmp_path).exit_code == 0
    assert TaskResult.load(tmp_path).fit.steps == 5


def test_a_new_run_takes_nothing_from_an_old_one(run, tmp_path):
    for name in ("fit.npz", "result.json"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    assert run("run", "toy", "--steps", 1, "--out", tmp_path).exit_code == 0
    assert TaskResult.load(tmp_path).fit.steps == 1


def test_mistakes(run, finished, tmp_path):
    refused(run("run", "toyy", "--out", tmp_path / "a"), "did you mean 'toy'?")
    assert not (tmp_path / "a").exists()
    refused(run("run", "toy", "--resume", "--out", tmp_path / "a"), "holds no run to resume")
    out = finished[0]
    refused(run("run", "rising", "--resume", "--out", out), "with task 'toy', not 'rising'")
    refused(run("run", "toy", "--resume", "--seed", 7, "--out", out), "with seed 2, not 7")
    refused(run("run", "toy", "--resume", "--configs", 7, "--out", out), "with configs 20, not 7")
    refused(run("run", "toy", "--seed", -1), "--seed")
    refused(run("replay"), "Missing argument")
    (tmp_path / "file").write_text("text", encoding="utf-8")
    refused(run("run", "toy", "--out", tmp_path / "file"), "file")
    refused(run("replay", tmp_path / "file"), "is not the folder of a finished task")
    other = tmp_path / "other"
    other.mkdir()
    (other / "resolved.toml").write_text("[model]\n", encoding="utf-8")
    refused(run("run", "toy", "--resume", "--out", other), "is not that of a task")
    (other / "resolved.toml").write_text("[model", encoding="utf-8")
    refused(run("run", "toy", "--resume", "--out", other), "not valid TOML")


def test_replay_of_another_version(run, finished, monkeypatch):
    monkeypatch.setitem(TASKS, "toy", rising)
    refused(run("replay", finished[0]), "another version of task 'toy'")
    monkeypatch.delitem(TASKS, "toy")
    refused(run("replay", finished[0]), "unknown task 'toy'")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"\xff\xfe", "not a text file in UTF-8"),
        (b'task = "toy"\nseed = "x"\nsteps = 1\nconfigs = 2\n', "seed: expected a whole number"),
        (b"task = 1\nseed = 1\nsteps = 1\nconfigs = 2\n", "task: expected a text"),
    ],
)
def test_a_damaged_record_of_a_run(run, tmp_path, text, part):
    (tmp_path / "resolved.toml").write_bytes(text)
    refused(run("run", "toy", "--resume", "--out", tmp_path), "resolved.toml: ", part)


def test_a_task_that_draws_is_shown_with_its_controls_and_replayed(run, tmp_path):
    result = run("run", "drawn", "--seed", 1, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    saved = TaskResult.load(tmp_path)
    control = TaskResult.load(tmp_path / "controls" / "without_veto")
    assert saved.right >= 20
    assert control.right == 0
    table = [line for line in result.stdout.splitlines() if " of 24 " in line and "│" in line]
    rows = {line.split()[1]: line for line in table}
    assert f"{saved.right} of 24" in rows["drawn"]
    assert "0 of 24" in rows["without_veto"]
    assert f"{saved.right} of 24 new draws right (95 %" in " ".join(result.stdout.split())
    again = run("replay", tmp_path)
    assert again.exit_code == 0, again.output
    assert "4 of 4 responses are the saved ones" in " ".join(again.stdout.split())
    assert "solved" in again.stdout
    alone = run("run", "drawn", "--seed", 1, "--no-controls", "--out", tmp_path / "alone")
    assert alone.exit_code == 0, alone.output
    assert "without_veto" not in alone.stdout
    assert not (tmp_path / "alone" / "controls").exists()
