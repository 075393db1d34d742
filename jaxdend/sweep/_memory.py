"""How many points a device takes at a time: as many as its memory and patience hold."""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdend.sweep._program import Program

SHARE = 0.5  # of the free memory that a sweep takes by itself
LARGEST = 256 * 2**20  # bytes of a zarr chunk
_FIRST, _GROWTH = 8, 4  # points of the first trial, and how the trials grow
_SLOWER = 1.25  # a trial this much slower for a point than the best one ends the trials
_PIECES = 8  # chunks of a device, at least: they show progress, and little is lost with one
_CPU_WIDTH = 32  # lanes abreast where nothing was measured


@dataclasses.dataclass(frozen=True)
class Size:
    """How many points a device computes at a time."""

    lanes: int  # points of a unit
    rounds: int  # into how many vmapped batches, one after the other, they are cut


def free_memory(device: Any, sharing: int = 1) -> int:
    """The bytes that are free for one device; `sharing` counts processes on this machine."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return _free_host() // (len(jax.local_devices()) * sharing)


def _free_host() -> int:
    """Bytes of main memory that are free, those of a container where it has fewer."""
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free += [int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable")]
    except OSError:
        pass
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (group / name for name in ("memory.max", "memory.current"))
        free.append(int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):  # no such limit
        pass
    if free:
        return max(min(free), 0)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 4 * 2**30


def given_size(lanes: int, device: Any) -> Size:
    """The size for a number of points that the caller has set."""
    return Size(lanes, math.ceil(lanes / _CPU_WIDTH) if device.platform == "cpu" else 1)


def choose_size(
    build: Callable[[Size], Program],
    points: Callable[[int], Mapping[str, np.ndarray]],
    n: int,
    memory: int,
    seconds: float,
    workers: int,
) -> Size:
    """The size that fills the memory or the time, whichever is less.

    Trials of growing batches find how many lanes abreast are the fastest, what they need of the
    memory (as the compiler counts it) and how long they take. They end where compiling one more
    takes longer than the sweep.

    **Arguments:** `build`, compiles the program of a size; `points(count)`, that many points for
    each device; `n`, points of the sweep; `memory`, bytes for each device; `seconds` that a chunk
    may take; `workers`, devices of all processes.

    **Raises:** `MemoryError` where not even one point fits.
    """
    most = max(1, math.ceil(n / workers))  # so that every device has work
    count, before, best = min(_FIRST, most), (0, 0), None
    while True:
        clock = time.perf_counter()
        program = build(Size(count, 1))
        built = time.perf_counter() - clock
        need = program.bytes_needed
        if need > memory:
            if best is not None:
                break
            if count == 1:
                raise MemoryError(
                    f"one point of this sweep needs {_gb(need)}, and its device has {_gb(memory)} "
                    "to give; record fewer sites or samples, use float32 or a machine with more "
                    "memory, or set memory= (bytes) if you know better"
                )
            count = max(1, min(count - 1, int(0.9 * count * memory / need)))
            continue
        trial = _Trial(count, need, program.bytes_out, _time(program, points(count)) / count)
        slower = best is not None and trial.seconds > _SLOWER * best.seconds
        if best is None or trial.seconds < best.seconds:
            best = trial
        slope = (need - before[1]) / (count - before[0])  # bytes of one more lane
        before = count, need
        room = count + int(0.9 * max(memory - need, 0) / max(slope, 1.0))
        following = min(_GROWTH * count, most, room)
        too_long = trial.seconds * following > seconds
        hardly = trial.seconds * most < built
        if slower or too_long or hardly or following <= count or following * trial.row > LARGEST:
            break
        count = following
    return _filled(best, most, memory, seconds)


@dataclasses.dataclass(frozen=True)
class _Trial:
    """What a batch took on one device."""

    count: int  # lanes abreast
    need: int  # bytes
    out: int  # bytes of the results
    seconds: float  # of one point

    @property
    def row(self) -> int:
        """Bytes of a point's results."""
        return max(self.out // self.count, 1)


def _filled(best: _Trial, most: int, memory: float, seconds: float) -> Size:
    """Takes as many of the best batches, one after the other, as fit; only results add up."""
    # a chunk's results are there three times: on the device, on their way and being compressed
    room = int(max(memory - best.need, 0) / (3 * best.row))
    lanes = min(math.ceil(most / _PIECES), int(seconds / best.seconds), LARGEST // best.row, room)
    lanes = max(lanes, min(best.count, most))
    if lanes > best.count:
        lanes = math.ceil(most / math.ceil(most / lanes))  # the last chunk is as long as the others
    return Size(lanes, math.ceil(lanes / best.count))


def _time(program: Program, points: Mapping[str, np.ndarray]) -> float:
    """Seconds of a call, the better of two."""
    out = []
    for _ in range(2):
        clock = time.perf_counter()
        jax.block_until_ready(program(points))
        out.append(time.perf_counter() - clock)
        if out[-1] > 1.0:
            break
    return min(out)


def _gb(size: float) -> str:
    return f"{size / 2**30:.3g} GiB"
