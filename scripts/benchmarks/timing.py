"""Interleaved repeats, ratios with their spread, and the record of a run."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("jaxdend", "jax", "jaxlib", "diffrax", "equinox", "numpy", "jaxley", "jaxley-mech",
            "neuron")  # fmt: skip


@dataclass(frozen=True)
class Ratio:
    """Median, smallest and largest of the ratios of single repeats."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({self.low:.2f}..{self.high:.2f})"


def interleaved(
    runs: Mapping[str, Callable[[], float]], repeats: int, warm: int = 1
) -> dict[str, list[float]]:
    """Seconds of every run, each called in turn, `repeats` times round; `warm` rounds are dropped.

    The order is reversed every other round, so that a drift of the machine favours nobody.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(-warm, repeats):
        names = list(runs) if round_ % 2 else list(runs)[::-1]
        for name in names:
            took = runs[name]()
            if round_ >= 0:
                seconds[name].append(took)
    return seconds


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Ratio of two rows of interleaved seconds, repeat by repeat."""
    each = np.asarray(numerator, float) / np.asarray(denominator, float)
    return Ratio(float(np.median(each)), float(each.min()), float(each.max()))


def timed(f: Callable[[], Any]) -> float:
    """Seconds that `f()` takes."""
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def versions() -> dict[str, str | None]:
    """Installed version of every package that matters; None where it is missing."""
    out: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = None
    return out


def machine() -> dict[str, Any]:
    """Processor, cores and load: what a number depends on."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": os.getloadavg()[0],
    }


def save(out: Path, name: str, arguments: Mapping[str, Any], rows: list[dict]) -> Path:
    """Write `out/name.json`: machine, versions, date, arguments, and rows with raw seconds."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    record = {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": versions(),
        "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in arguments.items()},
        "rows": rows,
    }
    path.write_text(json.dumps(record, indent=1, default=_plain) + "\n", encoding="utf-8")
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, Ratio):
        return asdict(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__} to JSON")
