"""Simulators in processes of their own, asked for one run at a time, so that runs interleave.

A worker is `python -m benchmarks.worker SIMULATOR`, pinned to its cores before it imports anything.
It reads one JSON request a line from its standard input and answers with one line:
`{"do": "prepare", "name", "case"}` -> what was built; `{"do": "run", "name"}` -> `{"seconds"}`;
`{"do": "trace", "name", "path"}` -> an `.npz` with `t` (ms) and `v` (mV) of the soma.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

CACHE = Path(tempfile.gettempdir()) / "jaxdend-benchmark-xla"
SIMULATORS = {"jaxdend": "jaxdend", "jaxley": "jaxley", "neuron": "neuron"}  # name -> module


class WorkerError(RuntimeError):
    """A simulator could not do what was asked; the message is its own."""


class Worker:
    """One simulator in a process of its own."""

    def __init__(self, simulator: str, cores: tuple[int, ...], x64: bool, scratch: Path):
        self.simulator, self.scratch = simulator, scratch
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
            ),
            "JAX_ENABLE_X64": "1" if x64 else "0",
            "JAX_COMPILATION_CACHE_DIR": str(
                CACHE
            ),  # Jaxley compiles hundreds of programs to build
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # workers share a GPU
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        command = [sys.executable, "-m", "benchmarks.worker", simulator, ",".join(map(str, cores))]
        self._log = (scratch / f"{simulator}-{os.getpid()}-{id(self)}.log").open("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            text=True, env=environment, cwd=scratch,
        )  # fmt: skip
        self._to = cast(IO[str], self._process.stdin)
        self._from = cast(IO[str], self._process.stdout)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request, wait for the answer."""
        try:
            self._to.write(json.dumps(request) + "\n")
            self._to.flush()
            line = self._from.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.flush()
            tail = Path(self._log.name).read_text()[-1500:]
            raise WorkerError(f"{self.simulator} ended unexpectedly: {tail}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.simulator}: {answer['error']}")
        return answer

    def prepare(self, name: str, **case: Any) -> dict[str, Any]:
        """Build and compile a case under a name; returns its info."""
        return self.ask(do="prepare", name=name, case=case)

    def run(self, name: str) -> float:
        """Seconds of one run of a prepared case, results waited for."""
        return self.ask(do="run", name=name)["seconds"]

    def peak(self) -> int:
        """The most memory, bytes, that the process has held so far."""
        return self.ask(do="peak", name="")["bytes"]

    def trace(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """`t (k,)` ms and `v (k,)` mV at the soma from the latest run of a case."""
        path = self.scratch / "trace.npz"
        self.ask(do="trace", name=name, path=str(path))
        with np.load(path) as file:
            return file["t"], file["v"]

    def forget(self, name: str) -> None:
        """Drop a case and its memory."""
        self.ask(do="forget", name=name)

    def close(self) -> None:
        """End the process."""
        self._to.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._from.close()
        self._log.close()


class Pool:
    """Workers, started when first asked for; a context manager that ends them."""

    def __init__(self, scratch: Path, cores: tuple[int, ...], peers: tuple[str, ...]):
        self.scratch, self.cores = scratch, cores
        self.simulators = ("jaxdend", *available(peers))
        self._workers: dict[tuple, Worker] = {}

    def get(self, simulator: str, x64: bool = False, cores: int = 1) -> Worker:
        """The worker of a simulator at a precision, on the first so many cores."""
        key = (simulator, x64 and simulator != "neuron", cores)
        if key not in self._workers:
            self._workers[key] = Worker(simulator, self.cores[:cores], x64, self.scratch)
        return self._workers[key]

    def close_all(self) -> None:
        """End every worker, giving its memory back."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close_all()


def available(peers: tuple[str, ...]) -> tuple[str, ...]:
    """The peers that are installed; says which are not."""
    found = []
    for peer in peers:
        if importlib.util.find_spec(SIMULATORS[peer]) is None:
            print(f"{peer} is not installed and left out: pip install 'jaxdend[benchmark]'")
        else:
            found.append(peer)
    return tuple(found)
