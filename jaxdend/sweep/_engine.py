"""`run_sweep`: every point of a design through one compiled program, chunk by chunk, into a store.

The points of a sweep are cut into units of `lanes` points, one zarr chunk each. A process takes as
many units at a time as it has devices, computes them in one call of a program that is compiled once
for each group of the design, and writes them while the next ones are computed.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from jaxdend.files import locked
from jaxdend.sweep._distributed import Processes, current_processes
from jaxdend.sweep._prepare import Attributes, Make, Points, Runner, prepare
from jaxdend.sweep._progress import Interruption, Progress, interruption
from jaxdend.sweep._store import (
    FAILED,
    NOT_DONE,
    NOT_FINITE,
    OK,
    STATUS,
    Store,
    import_zarr,
)

_STOPPED = 2**30  # more units than there are; JAX counts with 32 bits


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a sweep computed, and how it ended."""

    out: Path
    points: int
    counts: dict[str, int]  # of each status: not_done, ok, not_finite, simulation_failed
    computed: int  # points that this process computed in this run
    written: int  # points that all processes computed in this run
    seconds: float  # of this run, with all that comes before the first point
    rate: float  # points a second of this process, from its first chunk on
    lanes: int  # points that a device took at a time
    interrupted: bool  # stopped by Ctrl-C or SIGTERM, here or in process 0; `resume` goes on

    @property
    def complete(self) -> bool:
        """Whether every point is done."""
        return self.counts[STATUS[0]] == 0

    @property
    def failed(self) -> int:
        """The number of points that are done but not ok."""
        return self.counts[STATUS[NOT_FINITE]] + self.counts[STATUS[FAILED]]


def run_sweep(
    make: Make,
    design: Points,
    out: str | Path,
    *,
    program: Mapping[str, Any] | None = None,
    attributes: Attributes | None = None,
    chunk: int | None = None,
    memory: int | None = None,
    seconds: float = 10.0,
    resume: bool = False,
    verify: bool = False,
    progress: bool = True,
) -> Summary:
    """Compute every point of a design and store the results as one zarr group.

    The points are vmapped, shared out over all local devices and, after `start_processes`, over
    all processes, which take them from one queue. The store can be read at any time, by
    `open_sweep(out)` or `xarray.open_zarr(out)`: it has a dimension `point`, the parameters as
    coordinates, the outputs, and the `status` of every point: 0 not done, 1 ok, 2 an output is
    NaN or infinite, 3 the simulation failed. A file `<out>.log` beside it tells when what was done.

    Whatever ends a sweep, Ctrl-C, `kill -9`, a full disk or a lost machine, `resume=True` goes on
    with the units that are not in the store; in the end it is the same, bit for bit.

    **Arguments:**

    - `make(labels)`, called for every group of the design, returns `f(point)`: the values of one
      point, name -> scalar, to outputs, name -> array. Pure JAX; every group returns the same
      arrays. An output `failed` (bool) is not stored but says that the simulation failed, for
      `jd.simulate(..., throw=False)`, which must not throw here; the other outputs become NaN.
      Where NaN is an answer, as for the first spike of a silent cell, an output `status` says
      all instead: 1, or 2 or 3 as above.
    - `design`, see `jaxdend.sweep.Design`.
    - `out`, the store, a folder that does not exist unless `resume`; with `resume`, it may.
    - `program`: JSON that describes `make`; kept in the header, and compared when resuming.
    - `attributes`: name -> what the store says of it, as JSON, such as `units` and `long_name`.
    - `chunk`: points that a device computes at a time, also the zarr chunk. By default as many as
      fill the memory or `seconds`, measured before the sweep, and an eighth of it at most.
    - `memory`: bytes that each device may use; by default half of what is free.
    - `verify`: before resuming, read all there is and compute what is damaged again.
    - `progress`: a bar in a terminal, or a line every 30 s.

    **Returns:** counts and rate, `interrupted` after Ctrl-C.

    **Raises:** `ValueError` for functions of points that do not fit together, or a store of
    something else; `FileExistsError` for a store without `resume`; `MemoryError` where a point
    does not fit; `OSError` for a full disk; `SimulationError` where the program fails.
    """
    clock, out = time.monotonic(), Path(out)
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1 point; got {chunk}")
    import_zarr()
    processes = current_processes()
    runner = Runner(make, design, sharing=processes.neighbours())
    size = None if chunk is None else runner.given_size(chunk)
    with locked(out) if processes.first else nullcontext():
        _first_alone(
            processes,
            lambda: prepare(
                runner, out, size, dict(program or {}), attributes or {},
                workers=processes.count * len(runner.devices), memory=memory, seconds=seconds,
                resume=resume, verify=verify,
            ),
        )  # fmt: skip
        store, before, stopped, computed, rate = _together(runner, out, processes, progress)
    counts, spent = store.counts(), time.monotonic() - clock
    written, names = before - counts[NOT_DONE], {STATUS[code]: n for code, n in counts.items()}
    return Summary(out, design.n, names, computed, written, spent, rate, store.lanes, stopped)


def _first_alone(processes: Processes, begin: Callable[[], Any]) -> None:
    """Let process 0 begin while the others wait; if that fails, it fails everywhere."""
    if processes.first:
        try:
            begin()
        except BaseException as error:
            processes.tell("begin", f"{type(error).__name__}: {error}")
            raise
        processes.tell("begin", "")
    elif reason := processes.hear("begin"):
        raise RuntimeError(f"process 0 could not begin the sweep: {reason}")


def _together(
    runner: Runner, out: Path, processes: Processes, progress: bool
) -> tuple[Store, int, bool, int, float]:
    """What every process does, once the store is there; second, the points left before."""
    store = Store.open(out)
    pending = np.flatnonzero(~store.done())
    processes.barrier()  # all have read before anyone writes
    try:
        result = _work(runner, store, pending, processes, progress)
    except Exception:
        processes.barrier()  # the others go on
        raise
    processes.barrier()
    return store, _points(store, pending), *result


def log_file(out: Path) -> Path:
    """The file in which a sweep says what it did when."""
    return out.with_name(out.name + ".log")


def _work(
    runner: Runner, store: Store, pending: np.ndarray, processes: Processes, show: bool
) -> tuple[bool, int, float]:
    """Compute and write units until none is left; if it was stopped, points, and their rate."""
    total = store.n
    left = _points(store, pending)
    name = f"process {processes.index}: " if processes.count > 1 else ""
    progress = Progress(log_file(store.path), total, total - left, show, name)
    progress.say(
        f"begin {store.path.name}: {left:,} of {total:,} points to do, {store.lanes:,} at a time "
        f"on each of {len(runner.devices)} devices"
    )
    try:
        with interruption() as stop:
            _loop(runner, store, pending, processes, progress, stop)
    except BaseException as error:
        progress.say(
            f"failed after {progress.done:,} points: {type(error).__name__}: {error}", False
        )
        raise
    finally:
        progress.close()
    end = "stopped; the same again with resume (--resume) goes on" if stop.wanted else "end"
    progress.say(
        f"{end}: {progress.done:,} points at {progress.rate:.3g}/s, {progress.failed:,} failed"
    )
    return stop.wanted, progress.done, progress.rate


def _loop(
    runner: Runner,
    store: Store,
    pending: np.ndarray,
    processes: Processes,
    progress: Progress,
    stop: Interruption,
) -> None:
    """The devices compute the next units while a thread writes the last ones."""
    take = processes.counter("units")
    abreast = len(runner.devices)
    with ThreadPoolExecutor(1, "jaxdend-writer") as pool:
        writing: Future | None = None
        while not stop.wanted:
            at = take(abreast)
            units = pending[at : at + abreast]
            if not units.size:
                stop.wanted |= at >= _STOPPED
                break
            indices, outputs = runner.compute(store, units)
            if writing is None:
                progress.warm(_points(store, units))
            else:
                progress.add(*writing.result())
            rest = _points(store, pending[at + abreast :])
            writing = pool.submit(_write, runner, store, units, indices, outputs, rest)
        if stop.wanted and processes.first:
            take(_STOPPED)  # the others find nothing more to do
        if writing is not None:
            progress.add(*writing.result())


def _points(store: Store, units: np.ndarray) -> int:
    """How many points these units have."""
    last = units.size > 0 and units[-1] == store.units - 1
    return units.size * store.lanes - (store.units * store.lanes - store.n if last else 0)


def _write(
    runner: Runner,
    store: Store,
    units: np.ndarray,
    indices: np.ndarray,
    outputs: Mapping[str, Any],
    rest: int,
) -> tuple[int, int, int]:
    """Write units; the points in them, those that are not ok, and `rest`."""
    host = {name: np.asarray(value) for name, value in outputs.items()}
    done = failed = 0
    for row, unit in enumerate(units.tolist()):
        start, stop = store.bounds(unit)
        here = slice(row * store.lanes, row * store.lanes + stop - start)
        values = {name: value[here] for name, value in host.items()}
        status = values.pop("status")
        store.write(unit, values | runner.coordinates(indices[here]), status)
        done += stop - start
        failed += int(np.count_nonzero(status != OK))
    return done, failed, rest
