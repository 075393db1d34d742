"""Times `jd.stack`: different cells in one vmapped program against one program for each.

Pyramidal cells of different seeds, cut differently finely, each with six mechanisms; 40 ms of
current at the soma, Crank-Nicolson, dt 0.025 ms. Prints seconds of processor time: the first call,
which compiles, and the least of the repeats, interleaved. With `--gradient` the gradient of the
mean squared voltage with respect to the membrane capacitance.

    python scripts/bench_stack.py [--cells 8] [--repeats 5] [--gradient]

On a shared machine pin it to one core (`taskset -c 0`), and trust ratios only.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdend as jd
from jaxdend.channels import HH, SK, CaHVA, CalciumShell, Leak

MAX_LENGTH = (60.0, 80.0, 100.0, 120.0, 150.0)  # µm


def pyramid(seed: int) -> jd.Cell:
    """One of the cells."""
    cell = jd.Cell(jd.pyramidal(seed=seed), max_length=MAX_LENGTH[seed % len(MAX_LENGTH)])
    cell = cell.insert(Leak(g=1e-4, e=-70.0)).insert(HH(), "soma")
    cell = cell.insert(HH(gnabar=0.02, gkbar=0.006), "dendrite")
    for mechanism in (CaHVA(gbar=1e-4), CalciumShell(), SK(gbar=1e-3)):
        cell = cell.insert(mechanism, "apical")
    return cell


def voltage(cell: jd.Cell, cm: jax.Array) -> jax.Array:
    """At the soma, `(t,)` mV."""
    stim = jd.Step(0, onset=5.0, duration=30.0, amplitude=3.0)
    return jd.simulate(cell.set(cm=cm), stim, t1=40.0, record=0).v[:, 0]


def loss(cm: jax.Array, cell: jd.Cell) -> jax.Array:
    """Mean squared voltage, mV²."""
    return jnp.mean(voltage(cell, cm) ** 2)


def seconds(f: Callable, *given: Any) -> float:
    """Processor time of one call."""
    start = time.process_time()
    jax.block_until_ready(f(*given))
    return time.process_time() - start


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gradient", action="store_true")
    args = parser.parse_args()
    cells = [pyramid(seed) for seed in range(args.cells)]
    stacked = jd.stack(cells)
    respond = jax.grad(loss) if args.gradient else lambda cm, cell: voltage(cell, cm)
    cm = jnp.asarray(1.0)
    together = jax.jit(jax.vmap(respond, (None, 0)))
    alone = jax.jit(respond)

    def loop() -> float:
        return sum(seconds(alone, cm, cell) for cell in cells)

    print(f"{jax.default_backend()}, {args.cells} cells of {[cell.tree.n for cell in cells]} nodes")
    first = seconds(together, cm, stacked), loop()
    repeats = [(seconds(together, cm, stacked), loop()) for _ in range(args.repeats)]
    print(f"{'':>10} {'one vmap':>10} {'a loop':>10}   s")
    for name, (a, b) in (("first", first), ("again", np.min(repeats, axis=0))):
        print(f"{name:>10} {a:>10.3f} {b:>10.3f}   {a / b:.2f}x")


if __name__ == "__main__":
    main()
