"""Checkpoints come back bit for bit, and none is lost to a crash, a full disk or another run."""

import asyncio
import gc
import json
import shutil
import subprocess
import sys
import time

import jax
import ml_dtypes
import numpy as np
import pytest

from jaxdend import SavedFileError
from jaxdend.checkpoints import Checkpoints

HEADER = {"what": "a test", "size": [2, 3]}
TREE = {
    "a": np.array([[0.1, np.nan, -0.0], [np.inf, 5e-324, 1 / 3]]),
    "parts": (np.arange(4, dtype=np.uint8), [np.array(2**40), True, None]),
    "empty": np.zeros((0, 3), np.float32),
    "numbers": {"f": 0.1, "i": 2**70, "nan": float("nan"), "s": "µm"},
    "half": np.array([1.5, 2.5], ml_dtypes.bfloat16),
    "z": np.array([1 + 2j]),
    "flags": np.array([True, False]),
}


def same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        return [same(a[k], b[k]) for k in a]
    if isinstance(a, list | tuple):
        assert type(a) is type(b)
        return [same(x, y) for x, y in zip(a, b, strict=True)]
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    else:
        assert a == b or a != a
    return None


@pytest.fixture(params=[False, True], ids=["x32", "x64"])
def precision(request):
    with jax.enable_x64(request.param):
        yield


def test_everything_comes_back_bit_for_bit(tmp_path, precision, capfd):
    first = Checkpoints(tmp_path / "deep" / "run", header=HEADER)
    assert first.latest() is None
    first.save(7, TREE)
    first.close()
    again = Checkpoints(tmp_path / "deep" / "run", header=HEADER)
    step, tree = again.load()
    assert (step, again.latest(), again.header) == (7, 7, HEADER)
    same(tree, TREE)
    assert capfd.readouterr() == ("", "")


def test_random_keys_come_back_as_keys(tmp_path):
    keys = jax.random.split(jax.random.key(3), 2)
    run = Checkpoints(tmp_path, header={})
    run.save(0, {"keys": keys, "old": jax.random.PRNGKey(3)})
    _, tree = run.load()
    assert np.array_equal(jax.random.uniform(tree["keys"][1]), jax.random.uniform(keys[1]))
    assert tree["old"].dtype == np.uint32


def test_the_last_few_are_kept(tmp_path):
    run = Checkpoints(tmp_path, keep=2, header={})
    for step in (1, 5, 10, 10):
        run.save(step, {"x": np.array(step)})
    assert run.steps == [5, 10]
    assert run.load(5)[1]["x"] == 5
    run.save(7, {"x": np.array(7)})  # back to 5 and on from there: 10 is of a path that was left
    assert run.steps == [5, 7]
    with pytest.raises(ValueError, match="no checkpoint of step 3"):
        run.load(3)


def test_works_inside_a_running_event_loop(tmp_path):
    async def cell():  # as in Jupyter
        run = Checkpoints(tmp_path, header={})
        run.save(1, TREE)
        return run.load()[1]

    same(asyncio.run(cell()), TREE)


@pytest.mark.parametrize("how", ["cut", "changed", "missing"])
def test_a_damaged_one_is_passed_over(tmp_path, how):
    run = Checkpoints(tmp_path, header={})
    rng = np.random.default_rng(0)
    trees = [{"x": rng.standard_normal(5000)} for _ in range(2)]
    for step, tree in enumerate(trees):
        run.save(step, tree)
    file = max(
        (p for p in (tmp_path / "1").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )
    content = file.read_bytes()
    if how == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif how == "changed":
        half = len(content) // 2
        file.write_bytes(content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :])
    else:
        file.unlink()
    with pytest.warns(UserWarning, match="damaged checkpoints were passed over: step 1"):
        step, tree = run.load()
    assert step == 0
    same(tree, trees[0])
    run.save(1, trees[1])
    same(run.load()[1], trees[1])
    shutil.rmtree(tmp_path / "0" / "ocdbt.process_0", ignore_errors=True)
    for name in ("0", "1"):
        for path in (tmp_path / name).rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
    with pytest.raises(ValueError, match="no sound checkpoint is left"):
        run.load()


def test_damage_leaves_no_exception_behind(tmp_path, monkeypatch):
    """Reads that orbax has given up would end after their event loop."""
    left = []
    monkeypatch.setattr(sys, "unraisablehook", left.append)
    run = Checkpoints(tmp_path, header={})
    run.save(0, {str(i): np.random.default_rng(i).standard_normal(5000) for i in range(100)})
    files = [p for p in (tmp_path / "0").rglob("*") if p.is_file()]
    file = max(files, key=lambda p: p.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match="no sound checkpoint is left.*missing or not as"):
        run.load()
    time.sleep(0.2)
    gc.collect()
    assert not left


def test_a_process_may_die_before_the_checksums(tmp_path):
    run = Checkpoints(tmp_path, header={})
    run.save(0, TREE)
    (tmp_path / "0" / "checksums.json").unlink()
    same(run.load()[1], TREE)


def test_a_full_disk_leaves_the_earlier_one(tmp_path, monkeypatch):
    import orbax.checkpoint as ocp

    run = Checkpoints(tmp_path, header={})
    run.save(1, TREE)

    def full(self, directory, **kwargs):
        (directory.parent / (directory.name + ".orbax-checkpoint-tmp")).mkdir()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ocp.Checkpointer, "save", full)
        message = r"step 2 could not be written to .*No space left on device; that of step 1 is"
        with pytest.raises(OSError, match=message):
            run.save(2, TREE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "header.json"]
    same(run.load()[1], TREE)
    run.save(2, TREE)
    assert run.steps == [1, 2]


def test_other_folders_are_refused(tmp_path):
    run = Checkpoints(tmp_path / "a", header=HEADER)
    with pytest.raises(ValueError, match="holds no checkpoint yet"):
        run.load()
    with pytest.raises(ValueError, match=r"another configuration: size is \[2, 3\] there and null"):
        Checkpoints(tmp_path / "a", header={"what": "a test"})
    assert Checkpoints(tmp_path / "a").header == HEADER
    with pytest.raises(ValueError, match="not a folder of checkpoints"):
        Checkpoints(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files"):
        Checkpoints(tmp_path / "c", header={})
    with pytest.raises(ValueError, match="is a file"):
        Checkpoints(tmp_path / "c" / "thesis.tex", header={})
    (tmp_path / "a" / "header.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(ValueError, match="format 'other'"):
        Checkpoints(tmp_path / "a", header=HEADER)
    with pytest.raises(ValueError, match="at least 1"):
        Checkpoints(tmp_path / "d", keep=0, header={})


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"x": [np.array(["a"])]}, r"tree\.x\.0 cannot be saved: it is a ndarray of dtype <U1"),
        ({"x": object()}, "dtype object"),
        ({1: np.ones(2)}, "must be strings"),
    ],
)
def test_what_cannot_be_saved(tmp_path, tree, message):
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path, header={}).save(0, tree)


WRITER = """
import sys
import numpy as np
from jaxdend.checkpoints import Checkpoints
run = Checkpoints(sys.argv[1], header={})
step = -1 if run.latest() is None else run.load()[0]
while True:
    step += 1
    run.save(step, {"step": step, "x": np.full(20_000, step)})
    print(step, flush=True)
"""


def test_kill_9_at_any_moment_loses_nothing(tmp_path):
    rng = np.random.default_rng(1)
    reached = -1
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(3):
                reached = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.2))
            process.kill()
            reached = max([reached, *map(int, process.stdout.read().split())])
        step, tree = Checkpoints(tmp_path, header={}).load()
        assert step >= reached
        assert tree["step"] == step
        assert (tree["x"] == step).all()


@pytest.mark.parametrize("begun", [True, False])
def test_a_second_writer_is_refused_and_harms_nothing(tmp_path, begun):
    """Whoever saves first goes on; the other learns it when it wants to save."""
    out = tmp_path / "out"
    if begun:
        Checkpoints(out, header={}).save(1, {"x": np.zeros(3)})
    first, second = Checkpoints(out, header={}), Checkpoints(out, header={})
    if begun:
        assert first.load()[0] == second.load()[0] == 1
    first.save(2, {"x": np.ones(3)})
    with pytest.raises(BlockingIOError, match=r"another run saves to .*out: it holds the steps"):
        second.save(3, {"x": np.full(3, 7.0)})
    first.save(4, {"x": np.full(3, 2.0)})
    step, tree = Checkpoints(out).load()
    assert step == 4
    np.testing.assert_array_equal(tree["x"], [2, 2, 2])
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_reading_does_not_disturb_the_writer(tmp_path):
    writer = Checkpoints(tmp_path / "out", header={})
    for step in (1, 2, 3):
        writer.save(step, {"x": np.full(2, step)})
        assert Checkpoints(tmp_path / "out").load()[0] == step


def test_a_damaged_header_is_noticed(tmp_path):
    Checkpoints(tmp_path / "out", header={"low": 0.125, "name": "g"})
    file = tmp_path / "out" / "header.json"
    whole = file.read_bytes()
    for place in range(0, len(whole), 3):
        turned = bytearray(whole)
        turned[place] ^= 2
        file.write_bytes(turned)
        try:
            found = Checkpoints(tmp_path / "out").header
        except ValueError as error:
            assert str(tmp_path / "out") in str(error)  # noqa: PT017
        else:
            assert found == {"low": 0.125, "name": "g"}
    file.write_bytes(whole.replace(b"0.125", b"0.625"))
    with pytest.raises(SavedFileError, match="header.json is not as it was written"):
        Checkpoints(tmp_path / "out")
