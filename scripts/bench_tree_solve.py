"""Times `TreeMatrix.solve` by method, size and batch; prints one table.

Each figure is microseconds for one solve (of the whole batch) inside a `lax.scan`, the median of
interleaved repeats. Columns: both methods; "substitute", a further right-hand side with a known
factorisation; "gradient", forward and backward of the automatic method with respect to diagonal
and right-hand side, as a multiple of its forward.

    python scripts/bench_tree_solve.py [--quick] [--steps 1000] [--repeats 7]

On a shared machine pin it to one core (`taskset -c 0`), and trust ratios only.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxdend.cable import Tree, TreeMatrix


def neuron(n: int, stems: int = 8, length: int = 12, seed: int = 0) -> np.ndarray:
    """Parents of a binary-branching tree with `stems` stems and branches of about `length`."""
    rng = np.random.default_rng(seed)
    parent, tips = [-1], [0] * stems
    while len(parent) < n:
        node = tips.pop(rng.integers(len(tips)))
        for _ in range(min(1 + rng.poisson(length), n - len(parent))):
            parent.append(node)
            node = len(parent) - 1
        tips += [node, node]
    return np.array(parent)


def chain(n: int) -> np.ndarray:
    """Parents of an unbranched cable."""
    return np.arange(n) - 1


def scanned(solve: Callable, d: Array, b: Array, steps: int) -> Callable[[], Array]:
    """A compiled scan of solves in which matrix and right-hand side change every step."""

    @jax.jit
    def run(d: Array, b: Array) -> Array:
        def step(x: Array, _: None) -> tuple[Array, None]:
            return solve(d + 0.01 * x * x, 0.5 * d * x + b), None

        return lax.scan(step, b, None, length=steps)[0]

    return lambda: jax.block_until_ready(run(d, b))


def cases(parent: np.ndarray, batch: int, steps: int) -> dict[str, Callable[[], Array]]:
    """What the table compares, for one tree and batch size."""
    n, rng = len(parent), np.random.default_rng(1)
    tree = Tree(parent)
    edge = jnp.asarray(rng.uniform(0.5, 2.0, n), jnp.float32)
    shape = (batch, n) if batch > 1 else (n,)
    d = jnp.asarray(rng.uniform(4.5, 8.0, shape), jnp.float32)
    b = jnp.asarray(rng.normal(size=shape), jnp.float32)
    factor = TreeMatrix(d[0] if batch > 1 else d, edge, tree).factor()
    methods = {
        m: lambda d, b, m=m: TreeMatrix(d, edge, tree).solve(b, m)
        for m in ("sequential", "reduction", "auto")
    }
    methods["substitute"] = lambda d, b: factor.solve(b)

    def gradient(d: Array, b: Array) -> Array:
        x, pull = jax.vjp(methods["auto"], d, b)
        d_bar, b_bar = pull(x * b)
        return x + 0.01 * (d_bar + b_bar)

    methods["gradient"] = gradient
    lift = jax.vmap if batch > 1 else lambda f: f
    return {name: scanned(lift(f), d, b, steps) for name, f in methods.items()}


def medians(runs: dict[str, Callable[[], Array]], repeats: int) -> dict[str, float]:
    """Median seconds of each, interleaved, after one run to compile."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(s)) for name, s in seconds.items()}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three small cases only")
    parser.add_argument("--steps", type=int, default=1000, help="solves a run of 1300 nodes")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    grid = [(neuron, n, b) for b in (1, 4, 64) for n in (150, 600, 1300)]
    grid += [(neuron, 10_000, 1), (neuron, 868, 1000), (chain, 150, 1), (chain, 1300, 1)]
    if args.quick:
        grid = [(neuron, 150, 1), (neuron, 600, 1), (neuron, 150, 64)]
    print(f"{jax.devices()[0].device_kind}, float32, µs per solve of the whole batch")
    print(f"{'tree':>8} {'nodes':>6} {'batch':>5} {'levels':>6} {'sequential':>11} "
          f"{'reduction':>10} {'substitute':>11} {'gradient':>9}")  # fmt: skip
    for shape, n, batch in grid:
        steps = max(5, min(args.steps, args.steps * 1300 // (n * batch)))
        t = medians(cases(shape(n), batch, steps), args.repeats)
        us = {name: 1e6 * s / steps for name, s in t.items()}
        print(f"{shape.__name__:>8} {n:>6} {batch:>5} {Tree(shape(n)).depth:>6} "
              f"{us['sequential']:>11.2f} {us['reduction']:>10.2f} {us['substitute']:>11.2f} "
              f"{us['gradient'] / us['auto']:>8.2f}x", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
