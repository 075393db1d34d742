"""`batch`: many neurons of one morphology at once, on one core and on all."""

import argparse

from benchmarks.common import DT, Contest, against, median
from benchmarks.models import neuron
from benchmarks.workers import Pool

PAIRS = {
    "jaxley / jaxdend, all cores": ("jaxley, all cores", "jaxdend, all cores"),
    "jaxley / jaxdend, one core": ("jaxley, one core", "jaxdend, one core"),
    "jaxdend, one core / all cores": ("jaxdend, one core", "jaxdend, all cores"),
    "neuron / jaxdend, one core": ("neuron, one core", "jaxdend, one core"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this sub-command."""
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024])
    parser.add_argument("--compartments", type=int, default=1300)
    parser.add_argument("--channels", choices=("hh", "hay"), default="hh")
    parser.add_argument("--steps", type=int, help="steps; default: fewer for larger batches")


def run(args: argparse.Namespace, pool: Pool) -> list[dict]:
    """Measure every batch size; one row each."""
    if args.quick:
        args.batches, args.compartments = [1, 8], 150
    rows = []
    for batch in args.batches:
        rows.append(one(args, pool, batch))
    return rows


def one(args: argparse.Namespace, pool: Pool, batch: int) -> dict:
    """All simulators on one batch size."""
    steps = args.steps or max(50, min(400, 25_600 // batch))
    contest, cores = Contest.on(pool, neuron(args.channels, args.compartments)), len(pool.cores)
    case = {"mode": "batch", "batch": batch, "steps": steps}
    contest.add("jaxdend, one core", "jaxdend", **case)
    sharded = contest.add(
        "jaxdend, all cores", "jaxdend", cores=cores, **(case | {"mode": "sharded"})
    )
    if not sharded:
        contest.add("jaxdend, all cores", "jaxdend", cores=cores, **case)
    contest.add("jaxley, one core", "jaxley", **case)
    contest.add("jaxley, all cores", "jaxley", cores=cores, **case)
    contest.add("neuron, one core", "neuron", **case)
    seconds = contest.measure(args.repeats)
    work = batch * args.compartments * steps
    row = {
        "batch": batch,
        "n": args.compartments,
        "channels": args.channels,
        "steps": steps,
        "dt_ms": DT,
        "cores": cores,
        "sharded": sharded,
        "seconds": seconds,
        "million_per_second": {k: 1e-6 * work / median(s) for k, s in seconds.items()},
        "ratios": against(seconds, PAIRS),
        "info": contest.info,
    }
    contest.close()
    show(row)
    return row


def show(row: dict) -> None:
    """Print one row."""
    rates = ", ".join(f"{k} {v:.1f}" for k, v in row["million_per_second"].items())
    print(f"batch {row['batch']:>5} of {row['n']}, million compartment-steps a second: {rates}")
    for name, value in row["ratios"].items():
        print(f"    {name:<32} {value}", flush=True)
