"""Several processes: what they must know, and how they end.

`tests/test_cli_sweep.py` has two that make the store that one makes.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxdend.sweep import Store, run_sweep, start_processes
from jaxdend.sweep._distributed import _settings, current_processes
from small_sweep import TWO, files, make

SCRIPT = Path(__file__).parents[1] / "small_sweep.py"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "two.zarr"
    run_sweep(make, TWO, out, chunk=10, progress=False)
    return files(out)


def start(out, seconds, process, port):
    env = os.environ | {
        "JAXDEND_COORDINATOR": f"127.0.0.1:{port}", "JAXDEND_PROCESSES": "2",
        "JAXDEND_PROCESS": str(process), "JAX_NUM_CPU_DEVICES": str(1 + process),
        "PYTHONPATH": str(SCRIPT.parents[1]),
    }  # fmt: skip
    command = [sys.executable, str(SCRIPT), str(out), str(seconds)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def pair():
    """Starts two processes on this machine; ends them whatever happens."""
    started = []

    def both(out, seconds):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started.extend(start(out, seconds, process, port) for process in (0, 1))
        return started[-2:]

    yield both
    for process in started:
        process.kill()
        process.communicate()


def wait_for(out, units, process):
    """Until that many units are written."""
    folder = out / "status" / "c"
    while not folder.is_dir() or sum(p.name.isdecimal() for p in folder.iterdir()) < units:
        time.sleep(0.05)
        assert process.poll() is None


def finish(process):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err.decode()[-2000:]
    return out.decode()


@pytest.mark.slow
def test_what_ends_one_process_and_what_ends_all(whole, tmp_path, pair):
    """Ctrl-C in process 0 stops both; a process that is killed does not hold up the other.

    Process 0 has one device, process 1 has two.
    """
    out = tmp_path / "out"
    first, second = pair(out, 0.15)
    wait_for(out, 3, first)
    first.send_signal(signal.SIGINT)
    outputs = [finish(first), finish(second)]
    assert all("complete False" in text for text in outputs)
    done = int(Store.open(out).done().sum())
    assert sum(int(text.split("computed ")[1].split()[0]) for text in outputs) == 10 * done

    first, second = pair(out, 0.15)
    wait_for(out, done + 6, first)
    second.send_signal(signal.SIGKILL)
    finish(first)
    last = run_sweep(make, TWO, out, resume=True, progress=False)
    assert last.complete
    assert last.computed <= 4 * 10  # at most what the lost process had taken: two chunks of two
    assert files(out) == whole


def test_alone():
    processes = current_processes()
    assert (processes.index, processes.count, processes.neighbours()) == (0, 1, 1)
    processes.barrier()
    take = processes.counter("x")
    assert [take(2), take(3), take(1)] == [0, 2, 5]


def test_settings(monkeypatch):
    for name in ("COORDINATOR", "PROCESSES", "PROCESS"):
        monkeypatch.delenv(f"JAXDEND_{name}", raising=False)
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert _settings(None, None, None) is None
    assert start_processes() is False
    monkeypatch.setenv("JAXDEND_COORDINATOR", "10.0.0.1:1234")
    monkeypatch.setenv("JAXDEND_PROCESSES", "4")
    with pytest.raises(ValueError, match="missing: JAXDEND_PROCESS$"):
        start_processes()
    monkeypatch.setenv("JAXDEND_PROCESS", "3")
    assert _settings(None, None, None) == ("10.0.0.1:1234", 4, 3)
    assert _settings("h:1", 2, 0) == ("h:1", 2, 0)
    with pytest.raises(ValueError, match=r"0\.\.1 for 2 processes"):
        start_processes(processes=2)
    with pytest.raises(ValueError, match="host:port"):
        start_processes("here")
    monkeypatch.setenv("JAXDEND_PROCESSES", "many")
    with pytest.raises(ValueError, match="whole numbers"):
        start_processes()
