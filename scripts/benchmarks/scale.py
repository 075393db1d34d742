"""`scale`: how jaxdend's cost per step grows; `step` and `batch` have the peers.

Five rows of cases, float32, one core: compartments, synapses and events over one second, steps, and
the batch.
"""

import argparse

import numpy as np

from benchmarks.common import DT, Contest, against, median
from benchmarks.models import hh_neuron
from benchmarks.workers import Pool

COMPARTMENTS = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)
SYNAPSES = ((0, 0), (100, 10), (1000, 10), (10_000, 1), (10_000, 10), (10_000, 100))
SECOND = 40_000  # steps
STEPS = (100, 1000, 10_000, 100_000)
BATCHES = (1, 4, 16, 64, 256)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this sub-command."""
    parser.add_argument("--only", nargs="+", choices=tuple(GROUPS), default=tuple(GROUPS))
    parser.add_argument("--compartments", type=int, default=1300, help="where they do not vary")
    parser.add_argument("--largest", type=int, default=COMPARTMENTS[-1])


def run(args: argparse.Namespace, pool: Pool) -> list[dict]:
    """Measure every group; one row each."""
    rows = []
    for name in args.only:
        row = {"group": name} | GROUPS[name](args, pool)
        show(row)
        rows.append(row)
    return rows


def group(args: argparse.Namespace, pool: Pool, n: int, cases: dict[float, dict]) -> dict:
    """Cases of one model, in turn: key -> µs per step."""
    contest = Contest.on(pool, hh_neuron(n))
    kept = {}
    for key, case in cases.items():
        if contest.add(str(key), "jaxdend", **case):
            kept[str(key)] = case["steps"]
    seconds = contest.measure(args.repeats)
    info = contest.info
    contest.close()
    return {
        "n": n, "dt_ms": DT, "seconds": seconds, "info": info,
        "us_per_step": {k: 1e6 * median(s) / kept[k] for k, s in seconds.items()},
    }  # fmt: skip


def by_compartments(args: argparse.Namespace, pool: Pool) -> dict:
    """Cost and depth against compartments; sizes interleave."""
    sizes = [n for n in COMPARTMENTS if n <= (1000 if args.quick else args.largest)]
    first, kept = Contest.on(pool, hh_neuron(sizes[0])), {}
    contests = {n: Contest.on(pool, hh_neuron(n)) for n in sizes}
    for n, contest in contests.items():
        steps = max(20, min(10_000, (100_000 if args.quick else 1_000_000) // n))
        if contest.add(str(n), "jaxdend", steps=steps, depth=True):
            first.cases |= contest.cases
            first.info |= contest.info
            kept[str(n)] = steps
    seconds = first.measure(args.repeats)
    first.close()
    cost = {k: 1e6 * median(s) / kept[k] for k, s in seconds.items()}
    order = sorted(cost, key=int)
    growth = np.polyfit(np.log([int(k) for k in order]), np.log([cost[k] for k in order]), 1)[0]
    return {
        "seconds": seconds, "us_per_step": cost, "info": first.info, "exponent": float(growth),
        "depth": {k: first.info[k]["depth"] for k in order},
    }  # fmt: skip


def by_synapses(args: argparse.Namespace, pool: Pool) -> dict:
    """Cost against synapses and their events, spread over one second; ratios to none."""
    n, steps = args.compartments, SECOND
    chosen = SYNAPSES
    if args.quick:
        n, steps, chosen = 150, 2000, SYNAPSES[:3]
    cases = {f"{count:,} x {events}": {"steps": steps, "synapses": count, "events": events}
             for count, events in chosen}  # fmt: skip
    row = group(args, pool, n, cases)
    none = next(iter(cases))
    pairs = {f"{name} / none": (name, none) for name in list(cases)[1:]}
    return row | {"steps": steps, "ratios": against(row["seconds"], pairs)}


def by_steps(args: argparse.Namespace, pool: Pool) -> dict:
    """Cost per step against steps."""
    steps = STEPS[:3] if args.quick else STEPS
    return group(args, pool, 150 if args.quick else args.compartments,
                 {k: {"steps": k} for k in steps})  # fmt: skip


def by_batch(args: argparse.Namespace, pool: Pool) -> dict:
    """Cost per step of the whole batch against its size."""
    batches = BATCHES[:2] if args.quick else BATCHES
    cases = {b: {"steps": max(50, 1600 // b), "mode": "batch", "batch": b} for b in batches}
    return group(args, pool, 150 if args.quick else args.compartments, cases)


GROUPS = {
    "compartments": by_compartments,
    "synapses": by_synapses,
    "steps": by_steps,
    "batch": by_batch,
}


def show(row: dict) -> None:
    """Print one row."""
    print(f"{row['group']}, µs per step: " +
          ", ".join(f"{k}: {v:.1f}" for k, v in row["us_per_step"].items()))  # fmt: skip
    if "exponent" in row:
        print(f"    grows as compartments to the power {row['exponent']:.2f}; depth {row['depth']}")
    for name, value in row.get("ratios", {}).items():
        print(f"    {name:<24} {value}", flush=True)
