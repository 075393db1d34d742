"""Files are there whole or not at all."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from jaxdend.files import locked, write_npz, write_whole


def test_a_file_and_its_folder(tmp_path):
    path = write_whole(tmp_path / "new" / "a.txt", "µm\n")
    assert path.read_text(encoding="utf-8") == "µm\n"
    assert write_whole(path, b"\x00").read_bytes() == b"\x00"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_arrays_and_their_header(tmp_path):
    path = write_npz(tmp_path / "x", {"a": [1, None]}, {"v": np.arange(3.0)})
    assert path == tmp_path / "x.npz"
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(str(file["header"])) == {"a": [1, None]}
        np.testing.assert_array_equal(file["v"], np.arange(3.0))


def test_what_fails_leaves_the_old_file(tmp_path):
    path = write_npz(tmp_path / "x.npz", {}, {"v": np.zeros(3)})
    before = path.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_npz(path, {"a": np.zeros(2)}, {})

    class Broken:
        def __array__(self, *args, **kwargs):
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        write_npz(path, {}, {"v": np.ones(3), "w": Broken()})
    assert path.read_bytes() == before


def hold(path):
    """Hold a lock in another process until told to end."""
    code = (
        "import sys; from jaxdend.files import locked\n"
        "with locked(sys.argv[1]):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def test_a_second_run_is_told_of_the_first(tmp_path):
    out = tmp_path / "a" / "out"
    with hold(out) as other:
        assert other.stdout.readline() == "held\n"
        said = rf"another run is writing to .*out: process {other.pid} on .*Wait until it has ended"
        with pytest.raises(BlockingIOError, match=said), locked(out):
            pass
        other.communicate("end\n")
    with locked(out):
        assert [p.name for p in out.parent.iterdir()] == [".out.lock"]
    assert list(out.parent.iterdir()) == []


def test_a_killed_process_holds_nothing(tmp_path):
    out = tmp_path / "out"
    with hold(out) as other:
        other.stdout.readline()
        other.kill()
    assert (tmp_path / ".out.lock").read_text(encoding="utf-8").startswith("process")
    with locked(out):
        said = (tmp_path / ".out.lock").read_text(encoding="utf-8")
    assert said.startswith(f"process {os.getpid()} on ")


def test_every_name_of_a_folder_is_the_same_lock(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "link").symlink_to(out)
    monkeypatch.chdir(out)
    for one in (out, tmp_path / "link", ".", "../out", "../link/"):
        for other in (out, "."):
            with locked(one), pytest.raises(BlockingIOError), locked(other):
                pass
    with locked(out), locked(tmp_path / "other"):
        pass


def test_an_error_gives_the_lock_back(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "out"):
        raise KeyError
    with locked(tmp_path / "out"):
        pass


def test_only_one_of_many_has_it_at_a_time(tmp_path):
    """Locks taken and given back as quickly as can be; the file is removed again and again."""
    inside, most, got = [], [], []

    def work(i):
        for _ in range(100):
            with suppress(BlockingIOError), locked(tmp_path / "out"):
                inside.append(i)
                most.append(len(inside))
                inside.remove(i)
                got.append(i)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert set(most) == {1}
    assert len(got) >= 100
