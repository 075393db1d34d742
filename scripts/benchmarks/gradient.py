"""`gradient`: time as a multiple of the own forward run, and what is stored for the way back.

The loss is the mean square of the somatic trace, its parameters one conductance a compartment. What
is stored is the temporary memory that the compiler plans. "lean" is jaxdend with a `memory=` of one
float per compartment and step; Jaxley's levels are nested checkpoints of nearly equal lengths.
"""

import argparse

import numpy as np

from benchmarks.common import DT, Contest, against, median
from benchmarks.models import neuron
from benchmarks.workers import Pool

LONG = 80_000  # steps: 2 s
LIMIT = 2e9  # bytes


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this sub-command."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[150, 600, 1300])
    parser.add_argument("--channels", choices=("hh", "hay"), default="hh")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--run", action="store_true", help="really run the 2 s gradient")
    parser.add_argument("--no-long", action="store_true", help="leave the 2 s gradient out")


def run(args: argparse.Namespace, pool: Pool) -> list[dict]:
    """Measure every size, then look at a long simulation."""
    if args.quick:
        args.sizes, args.steps, args.no_long = [150], 200, True
    rows = [one(args, pool, n) for n in args.sizes]
    if not args.no_long:
        rows.append(long(args, pool))
    return rows


def checkpoints(steps: int, levels: int) -> list[int]:
    """Lengths for Jaxley's nested checkpoints: their product is at least `steps`, hardly more."""
    out: list[int] = []
    left = steps
    for level in range(levels, 0, -1):
        length = max(1, round(left ** (1 / level))) if level > 1 else left
        out.append(length)
        left = -(-left // length)
    return out


def one(args: argparse.Namespace, pool: Pool, n: int) -> dict:
    """All variants on one size."""
    contest = Contest.on(pool, neuron(args.channels, n))
    x64, steps = args.precision == "float64", args.steps
    width = 8 if x64 else 4

    def add(name: str, simulator: str, **case: object) -> None:
        contest.add(name, simulator, x64=x64, steps=steps, **case)

    add("jaxdend forward", "jaxdend", mode="value")
    add("jaxdend", "jaxdend", mode="gradient")
    add("jaxdend, lean", "jaxdend", mode="gradient", memory=f"{width * n * steps / 1e6:.3f}MB")
    add("jaxley forward", "jaxley", mode="value")
    add("jaxley", "jaxley", mode="gradient")
    for levels in (2, 3):
        lengths = checkpoints(steps, levels)
        add(f"jaxley, {levels} levels", "jaxley", mode="gradient", checkpoints=lengths)
    seconds = contest.measure(args.repeats)
    gradients = [k for k in seconds if not k.endswith("forward")]
    pairs = {k: (k, f"{k.split(',')[0].split()[0]} forward") for k in gradients}
    ours = [k for k in gradients if k.startswith("jaxdend")]
    theirs = [k for k in gradients if k.startswith("jaxley")]
    best = min(theirs, key=lambda k: median(seconds[k]), default="jaxley")
    found = {k: contest.cases[k][0].trace(k)[1] for k in gradients}
    scale = float(np.max(np.abs(found[gradients[0]])))
    row = {
        "n": n,
        "channels": args.channels,
        "steps": steps,
        "dt_ms": DT,
        "precision": args.precision,
        "seconds": seconds,
        "times_forward": against(seconds, pairs),
        "floats_per_compartment_step": {
            k: contest.info[k]["temporary_bytes"] / width / (n * steps) for k in gradients
        },
        "gradient_differs": {
            k: float(np.max(np.abs(g - found[gradients[0]]))) / scale for k, g in found.items()
        },
        "ratios": against(seconds, {f"{best} / {k}": (best, k) for k in ours}),
        "info": contest.info,
    }
    contest.close()
    show(row)
    return row


def show(row: dict) -> None:
    """Print one row."""
    print(f"{row['channels']} {row['n']} compartments, {row['steps']} steps, {row['precision']}")
    for name, value in row["times_forward"].items():
        stored = row["floats_per_compartment_step"][name]
        milliseconds = 1e3 * median(row["seconds"][name])
        print(f"    {name:<24} {value} own forward, {milliseconds:.1f} ms, "
              f"{stored:.2f} floats per compartment-step, gradient differs by "
              f"{row['gradient_differs'][name]:.1g} of its maximum")  # fmt: skip
    for name, value in row["ratios"].items():
        print(f"    {name:<40} {value}", flush=True)


def long(args: argparse.Namespace, pool: Pool) -> dict:
    """The gradient of 2 s of 1,300 compartments: memory by the compiler, and really with --run."""
    contest = Contest.on(pool, neuron(args.channels, 1300))
    row: dict = {"long": True, "n": 1300, "steps": LONG, "limit_bytes": LIMIT, "variants": {}}
    for name, case in {"default": {}, "memory=1.5GB": {"memory": "1.5GB"}}.items():
        pool.close_all()
        contest.cases.clear()
        if not contest.add(name, "jaxdend", mode="gradient", steps=LONG, **case):
            continue
        entry = {"temporary_bytes": contest.info[name]["temporary_bytes"]}
        if args.run:
            worker = contest.cases[name][0]
            entry |= {"seconds": worker.run(name), "peak_bytes": worker.peak()}
        row["variants"][name] = entry
        print(f"2 s of 1300 compartments, {name}: " +
              ", ".join(f"{k} {v / 1e9:.3f}e9" if k.endswith("bytes") else f"{k} {v:.1f}"
                        for k, v in entry.items()), flush=True)  # fmt: skip
    return row
