"""A small design and program for the tests of the engine, and for the processes that they start."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Small:
    """Points along a line, in groups."""

    n: int
    sizes: tuple[int, ...] = ()  # of the groups
    labels: tuple[dict, ...] = ({},)
    note: str = ""
    asked: list = field(default_factory=list, compare=False)

    @property
    def groups(self) -> list[tuple[dict[str, Any], int, int]]:
        stops = np.cumsum(self.sizes or (self.n,)).tolist()
        return list(zip(self.labels, [0, *stops[:-1]], stops, strict=True))

    def points(self, indices):
        indices = np.asarray(indices)
        self.asked.append(indices)
        return {"a": 0.1 * indices, "b": indices % 7}

    def header(self):
        return {"points": self.n, "note": self.note}


def make(labels):
    """A driven, damped oscillator, cheap and sensitive to every rounding."""
    scale = labels.get("scale", 1.0)

    def f(point):
        def step(state, _):
            x, v = state
            v = v + 0.05 * (jnp.sin(point["a"]) - scale * jnp.tanh(x) - 0.1 * v)
            return (x + 0.05 * v, v), x

        _, xs = jax.lax.scan(step, (point["a"], jnp.zeros_like(point["a"])), length=200)
        return {
            "trace": xs[::40],
            "last": jnp.where(point["b"] == 3, jnp.nan, xs[-1]),
            "count": jnp.sum(xs > 0.0),
            "failed": point["b"] == 5,
        }

    return f


TWO = Small(333, (100, 233), ({"cell": "one", "scale": 1.0}, {"cell": "two", "scale": 2.0}))


def files(out: Path) -> dict[str, bytes]:
    """Everything in a store."""
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def run_in_process(out: str, seconds: float) -> None:
    """Go on with the sweep `TWO`, so slowly that somebody can interrupt it."""
    from jaxdend.sweep import Store, run_sweep, start_processes

    start_processes(timeout=60.0, heartbeat=10.0)
    write = Store.write

    def slowly(*args):
        time.sleep(seconds)
        write(*args)

    Store.write = slowly
    print("begin", flush=True)
    summary = run_sweep(make, TWO, out, chunk=10, resume=True, progress=False)
    print(f"computed {summary.computed} complete {summary.complete}", flush=True)
    time.sleep(2.0 * jax.process_index())  # process 0 has to wait


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    run_in_process(sys.argv[1], float(sys.argv[2]))
