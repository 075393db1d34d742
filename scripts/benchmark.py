#!/usr/bin/env python
"""jaxdend and its peers, Jaxley and NEURON, on the same models, side by side.

    python scripts/benchmark.py step|batch|gradient|accuracy|startup|scale [--quick] [--out DIR]

Every simulator runs in a process of its own, pinned to the same cores, and they take turns, repeat
by repeat: a ratio is the median of the ratios of single repeats, with the smallest and largest.
Results go to OUT/NAME.json (machine, versions, date, arguments, raw seconds) and OUT/NAME.png.
Peers come with `pip install -e ".[benchmark]"`; one that is missing is left out.
"""

import argparse
import importlib
import json
import os
import tempfile
from pathlib import Path

from benchmarks import timing
from benchmarks.table import markdown
from benchmarks.workers import SIMULATORS, Pool

COMMANDS = ("step", "batch", "gradient", "accuracy", "startup", "scale")


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    peers = [name for name in SIMULATORS if name != "jaxdend"]
    for name in COMMANDS:
        module = importlib.import_module(f"benchmarks.{name}")
        sub = commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0])
        sub.add_argument("--out", type=Path, default=Path("benchmarks"), help="where results go")
        sub.add_argument("--quick", action="store_true", help="a smoke test of under a minute")
        sub.add_argument("--repeats", type=int, help="interleaved repeats; default 9")
        sub.add_argument("--peers", nargs="*", choices=peers, default=peers)
        sub.add_argument("--cores", type=int, nargs="+", help="pin to these; default: all")
        module.arguments(sub)
    redraw = commands.add_parser("figure", help="draw a results file again")
    redraw.add_argument("json", type=Path)
    table = commands.add_parser("table", help="the ratios of a folder of results, in Markdown")
    table.add_argument("folder", type=Path)
    args = parser.parse_args(words)
    if args.command in COMMANDS:
        args.repeats = args.repeats or (3 if args.quick else 9)
    return args


def main(words: list[str] | None = None) -> None:
    """Measure, write the results, draw."""
    args = parse(words)
    if args.command == "figure":
        print(f"drew {draw(args.json)}")
        return
    if args.command == "table":
        print(markdown(args.folder))
        return
    module = importlib.import_module(f"benchmarks.{args.command}")
    cores = tuple(args.cores or sorted(os.sched_getaffinity(0)))
    given = {k: v for k, v in vars(args).items() if k not in ("command", "out")}
    with tempfile.TemporaryDirectory() as scratch:
        with Pool(Path(scratch), cores, tuple(args.peers)) as pool:
            rows = module.run(args, pool)
    path = timing.save(args.out, args.command, given, rows)
    print(f"wrote {path} and {draw(path)}")


def draw(path: Path) -> Path:
    """The figure of a results file, next to it."""
    from benchmarks import figures

    record = json.loads(path.read_text(encoding="utf-8"))
    return figures.save(record, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
