"""A fit that is saved goes on bit for bit, whatever ended it; another fit's folder is refused."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdend import Run
from jaxdend.checkpoints import Checkpoints
from jaxdend.fitting import (
    FitResult,
    Parameter,
    ParameterSpace,
    Prune,
    fit,
    least_squares,
    sample_posterior,
    search,
)
from jaxdend.runs import RunFolder
from running import QUIET, in_a_run

SPACE = ParameterSpace({"a": Parameter(0.1, 10.0), "b": Parameter(-3.0, 3.0, "linear", shape=(2,))})


def loss(p):
    return (p["a"] - 2.0) ** 2 + ((p["b"] - 1.0) ** 2).sum()


def short(folder=None, **options):
    return fit(loss, SPACE, **in_a_run({"starts": 3, "steps": 20, "folder": folder} | options))


def same(a, b):
    for field in ("losses", "vectors", "failures", "pruned"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    for x, y in zip(a.state, b.state, strict=True):
        np.testing.assert_array_equal(x, y)
    assert (a.interrupted, a.evaluations) == (b.interrupted, b.evaluations)


@pytest.fixture(scope="module")
def whole():
    return short()


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("step", [3, 12])
def test_a_second_run_in_the_folder_is_refused_and_the_first_goes_on(tmp_path, whole, resume, step):
    """Before and after the first one has saved; with another loss it would spoil the history."""
    said = []

    def callback(done, *_):
        if done == step:
            with pytest.raises(
                (BlockingIOError, ValueError), match=r"another run|already"
            ) as error:
                short(tmp_path / "run", resume=resume)
            said.append(type(error.value))

    first = short(tmp_path / "run", callback=callback)
    assert said == [ValueError if step == 12 and not resume else BlockingIOError]
    same(first, whole)
    same(FitResult.load(tmp_path / "run"), whole)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


class Killed(BaseException):
    """Nothing catches it: the process is gone."""


def ended(step, error):
    def callback(done, *_):
        if done >= step:
            raise error

    return callback


@pytest.mark.parametrize(("chunk", "last"), [(1, 12), (5, 15)])
def test_a_killed_fit_goes_on_from_its_last_save(tmp_path, whole, chunk, last):
    with pytest.raises(Killed):
        short(tmp_path, chunk=chunk, every=3, callback=ended(14, Killed))
    part = FitResult.load(tmp_path)
    assert (part.steps, part.interrupted, part.space) == (last, True, SPACE)
    rest = short(tmp_path, chunk=chunk, every=3, resume=True)
    same(rest, whole)
    same(FitResult.load(tmp_path), whole)
    same(short(tmp_path, resume=True), whole)


def test_ctrl_c_is_saved_and_resume_begins_where_there_is_nothing(tmp_path, whole):
    part = short(tmp_path / "run", resume=True, callback=ended(7, KeyboardInterrupt))
    assert (part.steps, part.interrupted) == (7, True)
    same(FitResult.load(tmp_path / "run"), part)
    same(short(tmp_path / "run", resume=True), whole)


def test_a_result_or_its_file_goes_on_in_a_folder(tmp_path, whole):
    part = short(callback=lambda step, *_: step >= 6)
    same(short(tmp_path / "a", resume=part), whole)
    same(FitResult.load(tmp_path / "a"), whole)
    same(short(tmp_path / "b", resume=part.save(tmp_path / "part.npz")), whole)
    part = short(tmp_path / "c", callback=lambda step, *_: step >= 6)
    same(short(resume=tmp_path / "c"), whole)


def test_every_step_is_written_once(tmp_path, monkeypatch):
    written, save = [], RunFolder.save

    def counted(self, tree, rows):
        written.append(len(rows["losses"]))
        save(self, tree, rows)

    monkeypatch.setattr(RunFolder, "save", counted)
    short(tmp_path, every=4, steps=18)
    assert written == [4, 4, 4, 4, 2]
    assert (tmp_path / "history.bin").stat().st_size == 18 * 3 * (1 + SPACE.size) * 8


def test_a_damaged_newest_checkpoint_costs_only_what_came_after(tmp_path, whole):
    short(tmp_path, every=5, callback=lambda step, *_: step >= 15)
    for file in (tmp_path / "15").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:20])
    with pytest.warns(UserWarning, match="passed over: step 15.*going on from step 10"):
        rest = short(tmp_path, resume=True)
    same(rest, whole)


@pytest.mark.parametrize("how", ["cut", "changed"])
def test_a_damaged_history_is_noticed(tmp_path, whole, how):
    short(tmp_path, every=5, callback=lambda step, *_: step >= 15)
    file = tmp_path / "history.bin"
    content = file.read_bytes()
    late = len(content) - 40  # in the rows of the last five steps
    if how == "cut":
        file.write_bytes(content[:late])
    else:
        file.write_bytes(content[:late] + bytes([content[late] ^ 4]) + content[late + 1 :])
    with pytest.warns(UserWarning, match=r"passed over: step 15 \(.*history\.bin"):
        rest = short(tmp_path, resume=True)
    same(rest, whole)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="no sound checkpoint is left.*cut short"):
        short(tmp_path, resume=True)


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path, whole, monkeypatch):
    import orbax.checkpoint as ocp

    def full(self, directory, *args, **kwargs):
        raise OSError(28, "No space left on device")

    def fill(step, *_):
        if step == 7:
            monkeypatch.setattr(ocp.Checkpointer, "save", full)

    with pytest.raises(
        OSError, match=r"step 10 could not.*No space left on device; that of step 5"
    ):
        short(tmp_path, every=5, callback=fill)
    monkeypatch.undo()
    same(short(tmp_path, every=5, resume=True), whole)


def test_a_history_that_cannot_be_written(tmp_path, monkeypatch):
    opened = Path.open

    def full(self, mode="r", *args, **kwargs):
        if self.name == "history.bin" and mode != "rb" and self.exists():
            raise OSError(28, "No space left on device")
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left on device; the first 5 steps are saved"):
        short(tmp_path, every=5)
    assert FitResult.load(tmp_path).steps == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 30}, "steps is 20 there and 30 here"),
        ({"starts": 4}, "begin.starts is 3 there and 4 here"),
        ({"key": 1}, "begin.key is "),
        ({"starts": np.zeros((3, 3))}, "begin.vectors is null there"),
        ({"clip": 0.5}, "clip is 1.0 there and 0.5 here"),
        ({"prune": Prune((5,), (0.5,))}, "prune.at is null there"),
        ({"optimizer": optax.sgd(0.1)}, "optimizer is "),
        ({"optimizer": optax.adam(0.05, b2=0.9)}, "first move is "),
    ],
)
def test_another_configuration_is_refused(tmp_path_factory, change, message):
    folder = tmp_path_factory.getbasetemp() / "refusing"
    if not folder.exists():
        short(folder, callback=lambda step, *_: step >= 2)
    with pytest.raises(ValueError, match=f"another configuration: .*{message}"):
        short(folder, resume=True, **change)


def test_more_steps_where_the_optimizer_does_not_depend_on_them(tmp_path):
    options = {"optimizer": optax.adam(0.1)}
    short(tmp_path, steps=8, **options)
    same(short(tmp_path, resume=True, **options), short(**options))


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="the folder, which is not given"):
        short(resume=True)
    short(tmp_path / "a", steps=2)
    with pytest.raises(ValueError, match="already holds a run: go on with it by resume=True"):
        short(tmp_path / "a", steps=2)
    other = ParameterSpace({"a": SPACE["a"]})
    with pytest.raises(ValueError, match="another configuration: space.2"):
        fit(loss, other, starts=3, steps=2, run=Run(tmp_path / "a", resume=True, progress=False))
    with jax.enable_x64(False), pytest.raises(ValueError, match="precision is .float64. there"):
        short(tmp_path / "a", steps=2, resume=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").touch()
    with pytest.raises(ValueError, match="holds other files"):
        short(tmp_path / "b")
    with pytest.raises(ValueError, match="not a folder of checkpoints"):
        FitResult.load(tmp_path / "b")


def test_folders_of_the_other_methods_are_read(tmp_path):
    """A `FitResult` from those that end in one, and an error that names the others."""
    saved = partial(Run, every=2, progress=False)
    some = partial(least_squares, residuals, SPACE, starts=3, steps=5)
    whole = some(run=saved(tmp_path / "a"))
    same(FitResult.load(tmp_path / "a"), whole)
    same(some(run=saved(resume=tmp_path / "a")), whole)
    whole = search(loss, SPACE, method="genetic", population=4, steps=5, run=saved(tmp_path / "b"))
    same(FitResult.load(tmp_path / "b"), whole)
    size = (tmp_path / "b" / "history.bin").stat().st_size
    assert size == 5 * 4 * (1 + SPACE.size) * 8  # every generation once
    sample_posterior(density, SPACE, samples=2, warmup=0, run=saved(tmp_path / "c"))
    with pytest.raises(ValueError, match="not the folder of a fit but of a posterior"):
        FitResult.load(tmp_path / "c")


def test_a_folder_of_the_first_format_is_read(tmp_path, whole):
    """It had the same bytes, but called them an array of floats."""
    short(tmp_path, every=5, callback=lambda step, *_: step >= 10)
    folder = Checkpoints(tmp_path)
    step, tree = folder.load()
    tree["history"] |= {"shape": (3, 1 + SPACE.size), "dtype": "float64"}
    folder.save(step, tree)
    same(short(tmp_path, resume=True), whole)


def residuals(p):
    return jnp.append(p["b"] - 1.0, p["a"] ** 2 - 2.0)


def density(p):
    return -loss(p)


RUNS = {
    "fit": partial(fit, loss, SPACE, starts=3, steps=200),
    "search": partial(search, loss, SPACE, population=4, steps=200),
    "least_squares": partial(least_squares, residuals, SPACE, starts=3, steps=60, rtol=0, atol=0),
}
SCRIPT = """
import sys
sys.path[:0] = {path!r}
import jax
jax.config.update("jax_enable_x64", True)
from jaxdend import Run
from test_saving import RUNS
def callback(*_):
    print(flush=True)
RUNS[{name!r}](run=Run({folder!r}, every=1, resume=True, progress=False), callback=callback)
"""


def killed(name, folder, times):
    """Run one of `RUNS` so often, and kill the process soon after its first step."""
    code = SCRIPT.format(
        path=[str(Path(__file__).parent), str(Path(__file__).parents[1])],
        folder=str(folder),
        name=name,
    )
    rng = np.random.default_rng(0)
    for _ in range(times):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # at least a step further
            time.sleep(rng.uniform(0.0, 0.4))
            process.kill()


def test_kill_9_at_random_moments(tmp_path):
    """A process killed again and again ends up with the history of one left alone."""
    killed("fit", tmp_path / "run", 3)
    reached = FitResult.load(tmp_path / "run").steps
    assert 3 <= reached < 200
    rest = short(tmp_path / "run", steps=200, resume=True, every=200)
    same(rest, short(steps=200))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["search", "least_squares"])
def test_kill_9_of_the_other_methods(name, tmp_path):
    run = RUNS[name]
    killed(name, tmp_path, 1)
    reached = RunFolder(tmp_path).load().steps
    assert 1 <= reached < 60
    rest = run(run=Run(tmp_path, resume=True, every=200, progress=False))
    whole = run(run=QUIET)
    same(rest, whole)
