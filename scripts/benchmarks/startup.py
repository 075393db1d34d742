"""`startup`: a fresh process, from import to the first trace of a reconstruction."""

import argparse
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.common import against, median
from benchmarks.timing import interleaved
from benchmarks.workers import Pool

NCOMP = 11  # compartments a section: 1,353 of them in 123 sections
STAGES = ("import", "read", "build", "trace", "compile", "rest of first run", "second run")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this sub-command."""
    parser.add_argument("--swc", type=Path, help="another reconstruction")
    parser.add_argument("--ncomp", type=int, default=NCOMP, help="compartments a section")


def run(args: argparse.Namespace, pool: Pool) -> list[dict]:
    """Fresh processes of every simulator in turn; with and without a cache of compiled programs."""
    swc = args.swc or example()
    cache = pool.scratch / "cache"
    runs, stages = {}, {}
    if args.quick:
        args.repeats = 1
    for simulator in pool.simulators:
        for name in (simulator, f"{simulator}, cached programs"):
            if name != simulator and (simulator == "neuron" or args.quick):
                continue
            stages[name] = []
            place = cache / simulator if name != simulator else None
            runs[name] = partial(fresh, args, simulator, swc, place, stages[name], pool)
    seconds = interleaved(runs, args.repeats, warm=0 if args.quick else 1)
    kept = {name: every[-args.repeats :] for name, every in stages.items()}
    pairs = {f"{name} / jaxdend": (name, "jaxdend") for name in seconds if name != "jaxdend"}
    pairs["jaxley, cached programs / jaxdend, cached programs"] = (
        "jaxley, cached programs", "jaxdend, cached programs",
    )  # fmt: skip
    row = {
        "swc": swc.name,
        "compartments": {name: every[-1]["n"] for name, every in kept.items()},
        "seconds": seconds,
        "stages": {
            name: {s: median([x[s] for x in every]) for s in STAGES} for name, every in kept.items()
        },
        "spike_ms": {name: every[-1]["spike_ms"] for name, every in kept.items()},
        "ratios": against(seconds, pairs),
    }
    show(row)
    return [row]


def example() -> Path:
    """A reconstruction from the installed bmtk, BSD licence."""
    from jaxdend.config.registry import example_morphology

    return Path(example_morphology("Scnn1a_473845048_m"))


def fresh(
    args: argparse.Namespace, simulator: str, swc: Path, cache: Path | None, stages: list[dict],
    pool: Pool,
) -> float:  # fmt: skip
    """Seconds from starting a process to its first trace; its stages are appended."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
        )
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    if cache is not None:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(cache)
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    words = [simulator, str(swc.resolve()), str(args.ncomp), ",".join(map(str, pool.cores))]
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.startup_child", *words],
        env=environment, cwd=pool.scratch, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{simulator}: {done.stderr[-1500:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    stages.append(answer)
    return answer["first_result_at"] - start


def show(row: dict) -> None:
    """Print one row."""
    for name, seconds in row["seconds"].items():
        parts = ", ".join(f"{k} {v:.2f}" for k, v in row["stages"][name].items())
        print(
            f"{name:<26} {median(seconds):.2f} s to the first trace of "
            f"{row['compartments'][name]} compartments ({parts}), first spike "
            f"{row['spike_ms'][name]:.2f} ms"
        )
    for name, value in row["ratios"].items():
        print(f"    {name:<52} {value}", flush=True)
