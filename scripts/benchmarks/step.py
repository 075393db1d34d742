"""`step`: what one time step of one neuron costs, by size, channels and precision."""

import argparse

from benchmarks.common import DT, Contest, against, median, report_agreement
from benchmarks.models import neuron
from benchmarks.workers import Pool

SIZES = {"hh": [30, 150, 600, 1300, 3000, 10_000], "hay": [30, 150, 600, 1300, 3000]}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this sub-command."""
    parser.add_argument("--sizes", type=int, nargs="+", help="compartments")
    parser.add_argument("--channels", nargs="+", choices=("hh", "hay"), default=["hh", "hay"])
    parser.add_argument("--jaxley-up-to", type=int, default=3000, metavar="N",
                        help="compartments; Jaxley takes minutes to build more")  # fmt: skip
    parser.add_argument("--precision", nargs="+", choices=("float32", "float64"),
                        default=["float32", "float64"])  # fmt: skip


def steps_for(n: int, quick: bool) -> int:
    """So many steps that a run takes some tens of milliseconds."""
    return max(200, min(20_000, (300_000 if quick else 1_500_000) // n))


def run(args: argparse.Namespace, pool: Pool) -> list[dict]:
    """Measure every size; one row each."""
    rows = []
    if args.quick:
        args.channels, args.precision = args.channels[:1], args.precision[:1]
    for channels in args.channels:
        for n in args.sizes or ([30, 150] if args.quick else SIZES[channels]):
            rows.append(one(args, pool, channels, n))
    return rows


def one(args: argparse.Namespace, pool: Pool, channels: str, n: int) -> dict:
    """All simulators on one size."""
    model, steps = neuron(channels, n), steps_for(n, args.quick)
    contest = Contest.on(pool, model)
    for precision in args.precision:
        for simulator in ("jaxdend", "jaxley"):
            name = f"{simulator} {precision}"
            if simulator == "jaxley" and n > args.jaxley_up_to:
                print(f"  {name} is left out: {n} compartments, see --jaxley-up-to")
                continue
            contest.add(name, simulator, x64=precision == "float64", steps=steps)
    contest.add("neuron", "neuron", steps=steps)
    seconds = contest.measure(args.repeats)
    agreement = contest.agreement(f"jaxdend {args.precision[-1]}")
    pairs = {f"{name} / jaxdend {p}": (name, f"jaxdend {p}")
             for p in args.precision for name in (f"jaxley {p}", "neuron")}  # fmt: skip
    row = {
        "channels": channels,
        "compartments": {name: info["n"] for name, info in contest.info.items()},
        "n": n,
        "steps": steps,
        "dt_ms": DT,
        "seconds": seconds,
        "us_per_step": {k: 1e6 * median(s) / steps for k, s in seconds.items()},
        "ratios": against(seconds, pairs),
        "agreement": agreement,
        "info": contest.info,
    }
    contest.close()
    show(row)
    return row


def show(row: dict) -> None:
    """Print one row."""
    costs = ", ".join(f"{k} {v:.2f}" for k, v in row["us_per_step"].items())
    print(f"{row['channels']:>4} {row['n']:>6} compartments, µs/step: {costs}")
    for name, value in row["ratios"].items():
        print(f"    {name:<32} {value}")
    report_agreement(row["agreement"])
