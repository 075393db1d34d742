"""Points a second of a sweep on one and two host devices, and what the engine adds to the program.

    python scripts/bench_sweep.py --points 10000 --rounds 3
    python scripts/bench_sweep.py --points 400 --rounds 2 --t1 5   # a quick look

Each measurement is a process of its own, so that the number of devices can be set; the settings
take turns. `bare` is a loop over chunks of the same size of `jax.jit(jax.vmap(f))`, shared out over
the same devices, whose results are only brought to the host.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def program(compartments: int, t1: float):
    """`make` for a cable of squid membrane under a current step at one end."""
    import jax.numpy as jnp

    import jaxdend as jd
    from jaxdend.channels import HH

    length = 10.0 * compartments
    cell = jd.Cell(jd.single_compartment(length, 2.0), ncomp=lambda length: compartments, ra=100.0)
    if cell.n != compartments:
        raise SystemExit(f"wanted {compartments} compartments, got {cell.n}")

    def f(point):
        step = jd.Step(site=0, onset=0.5, duration=t1, amplitude=point["amplitude"])
        model = cell.insert(HH(gnabar=point["gnabar"]))
        traces = jd.simulate(model, step, t1=t1, dt=0.025, record=[0, cell.n - 1], throw=False)
        return {"peak": jnp.max(traces.v, axis=0), "mean": jnp.mean(traces.v, axis=0)}

    return lambda labels: f


def design(points: int):
    """A random design of two parameters."""
    from jaxdend.sweep import random

    return random({"gnabar": (0.08, 0.2), "amplitude": (0.1, 1.0)}, points)


def measure(args: argparse.Namespace) -> dict:
    """One sweep in this process, compiled before."""
    import jax

    from jaxdend.sweep import run_sweep
    from jaxdend.sweep._memory import Size
    from jaxdend.sweep._prepare import Runner

    if args.cache:
        import jaxdend as jd

        jd.cache_programs(args.cache)
    make, points = program(args.compartments, args.t1), design(args.points)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        warm = design(2 * len(jax.local_devices()) * args.chunk)
        if args.what == "engine":
            run_sweep(make, warm, Path(folder) / "warm", chunk=args.chunk, progress=False)
            clock = time.perf_counter()
            summary = run_sweep(
                make, points, Path(folder) / "out", chunk=args.chunk, progress=False
            )
            whole = time.perf_counter() - clock
            line = (Path(folder) / "out.log").read_text().splitlines()[-1]
            return {
                "whole": args.points / whole, "rate": summary.rate, "log": line
            }  # fmt: skip
        runner = Runner(make, points)
        size = runner.given_size(args.chunk)
        compiled = runner.program(0, Size(size.lanes, size.rounds))
        import numpy as np

        count = args.chunk * len(runner.devices)
        jax.block_until_ready(compiled(points.points(np.arange(count) % args.points)))
        clock = time.perf_counter()
        for start in range(0, args.points, count):
            indices = np.minimum(np.arange(start, start + count), args.points - 1)
            jax.device_get(compiled(points.points(indices)))
        rate = args.points / (time.perf_counter() - clock)
        return {"whole": rate, "rate": rate}


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--compartments", type=int, default=100)
    parser.add_argument("--t1", type=float, default=10.0, help="ms of each simulation")
    parser.add_argument("--chunk", type=int, default=256, help="points a device takes at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where the stores go")
    parser.add_argument("--cache", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--what", choices=("engine", "bare"), default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.what:
        sys.stdout.write(json.dumps(measure(args)) + "\n")
        return
    rates: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(args.rounds):
            for what, devices in (("engine", 1), ("engine", 2), ("bare", 1), ("bare", 2)):
                env = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
                command = [sys.executable, __file__, *sys.argv[1:], "--what", what]
                done = subprocess.run(
                    [*command, "--cache", cache], env=env, capture_output=True, text=True
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                result = json.loads(done.stdout.splitlines()[-1])
                rates.setdefault((what, devices), []).append(result["rate"])
                sys.stdout.write(
                    f"turn {turn + 1}: {what:6} on {devices} device(s): {result['rate']:8.1f} "
                    f"points/s ({result['whole']:.1f} with what happens before)\n"
                )
                sys.stdout.flush()
    middle = {key: statistics.median(values) for key, values in rates.items()}
    for (what, devices), rate in middle.items():
        sys.stdout.write(f"median: {what:6} on {devices} device(s): {rate:8.1f} points/s\n")
    for what in ("engine", "bare"):
        sys.stdout.write(f"2 devices / 1, {what}: {middle[what, 2] / middle[what, 1]:.2f}\n")
    for devices in (1, 2):
        ratio = middle["engine", devices] / middle["bare", devices]
        sys.stdout.write(f"engine / bare loop, {devices} device(s): {ratio:.3f}\n")


if __name__ == "__main__":
    main()
