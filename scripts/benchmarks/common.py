"""What the sub-commands share: preparing cases on several workers, agreement, tables."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import Neuron
from benchmarks.timing import Ratio, interleaved, ratio
from benchmarks.workers import Pool, Worker, WorkerError

DT = 0.025  # ms
_NUMBER = itertools.count()
COMPARED = 20.0  # ms of the traces that must agree


@dataclass
class Contest:
    """Named cases of one model that run in turn."""

    pool: Pool
    neuron: Neuron
    path: Path
    cases: dict[str, tuple[Worker, str]] = field(default_factory=dict)
    info: dict[str, dict] = field(default_factory=dict)

    @classmethod
    def on(cls, pool: Pool, neuron: Neuron) -> "Contest":
        """A contest on a model."""
        return cls(pool, neuron, neuron.save(pool.scratch / f"model{next(_NUMBER)}.npz"))

    def add(
        self, name: str, simulator: str, *, x64: bool = False, cores: int = 1, **case: Any
    ) -> bool:
        """Prepare a case; False, with a line that says why, where the simulator cannot."""
        if simulator not in self.pool.simulators:
            return False
        worker = self.pool.get(simulator, x64, cores)
        try:
            self.info[name] = worker.prepare(name, model=str(self.path), **({"dt": DT} | case))
        except WorkerError as error:
            print(f"  {name} is left out: {str(error)[:300]}", flush=True)
            return False
        self.cases[name] = (worker, name)
        return True

    def measure(self, repeats: int) -> dict[str, list[float]]:
        """Interleaved seconds of every case; a batch that NEURON ran in part counts in full."""
        runs: dict[str, Callable[[], float]] = {
            name: (lambda w=worker, n=name: w.run(n)) for name, (worker, _) in self.cases.items()
        }
        seconds = interleaved(runs, repeats)
        return {k: [s * self.info[k].get("counted", 1.0) for s in v] for k, v in seconds.items()}

    def traces(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """`t`, `v` at the soma of every case, as it last ran."""
        return {name: worker.trace(name) for name, (worker, _) in self.cases.items()}

    def agreement(self, reference: str, until: float = COMPARED) -> dict[str, dict[str, float]]:
        """How far the traces of the first `until` ms lie from those of one case."""
        traces = self.traces()
        t0, v0 = traces[reference]
        out = {}
        for name, (t, v) in traces.items():
            k = min(len(t0), len(t), int(np.searchsorted(t0, until)))
            a, b = crossings(t0[:k], v0[:k]), crossings(t[:k], v[:k])
            same = len(a) == len(b)
            out[name] = {
                "max_dv_mV": float(np.max(np.abs(v[:k] - v0[:k]))),
                "spikes": len(b),
                "spikes_of_reference": len(a),
                "max_dt_ms": float(np.max(np.abs(a - b), initial=0.0)) if same else float("nan"),
            }
        return out

    def close(self) -> None:
        """Forget the cases, giving their memory back."""
        for worker, name in self.cases.values():
            worker.forget(name)


def crossings(t: np.ndarray, v: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Times at which `v` crosses `threshold` upwards, on the cubic through four samples."""
    out = []
    for i in np.flatnonzero((v[:-1] < threshold) & (v[1:] >= threshold)):
        low = int(np.clip(i - 1, 0, max(len(t) - 4, 0)))
        s, y = t[low : low + 4] - t[i], v[low : low + 4] - threshold
        weights = np.polyfit(s / s[-1], y, len(s) - 1) if len(np.unique(s)) == len(s) else None
        left, right = 0.0, float(t[i + 1] - t[i])
        if weights is None:
            out.append(t[i] + right * (threshold - v[i]) / (v[i + 1] - v[i]))
            continue
        for _ in range(50):
            middle = (left + right) / 2
            if np.polyval(weights, middle / s[-1]) < 0:
                left = middle
            else:
                right = middle
        out.append(t[i] + left)
    return np.array(out)


def against(seconds: dict[str, list[float]], pairs: dict[str, tuple[str, str]]) -> dict[str, Ratio]:
    """Named ratios of seconds, those whose two cases were measured."""
    return {
        name: ratio(seconds[a], seconds[b])
        for name, (a, b) in pairs.items()
        if a in seconds and b in seconds
    }


def median(seconds: list[float]) -> float:
    """Median as a float."""
    return float(np.median(seconds))


def report_agreement(agreement: dict[str, dict[str, float]]) -> None:
    """Print one line: whether the same model was run."""
    parts = [
        f"{name}: max |dV| {a['max_dv_mV']:.2g} mV, spikes {a['spikes']}/{a['spikes_of_reference']}"
        f" within {a['max_dt_ms']:.2g} ms"
        for name, a in agreement.items()
    ]
    print("    agreement, " + "; ".join(parts), flush=True)
