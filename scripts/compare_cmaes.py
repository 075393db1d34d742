"""Screening alone, gradient descent and CMA-ES at equal cost, on dendritic XOR.

    python scripts/compare_cmaes.py --seeds 5 --budget 40000 --out cmaes_out

All begin with the same random neurons on the same draws, and have the same number of simulations
of one pattern (one with its gradient counts as `--price`, by default what is measured here, so
that equal simulations are equal time). Screening spends all of it on random neurons. Gradient
descent and CMA-ES (`cma`, default population and options) begin at the best of a first part. Each
ends with validation draws that choose and fix the threshold, and is scored on 24 draws that
nothing was chosen by. Writes compare_cmaes.json, anew after every seed, and compare_cmaes.png.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cma
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

from jaxdend.plotting import COLORS, context, savefig
from jaxdend.runs import Run
from jaxdend.tasks import AbstractTask, Training, held_out, judged, make_task, screen, train
from jaxdend.tasks.judge import CHOOSE, TRAIN, VALIDATE, draws_of, key_for, respond_all

SIGMA = 1.0  # of CMA-ES at first; the range of a parameter is about 8 wide
FIRST = 128  # random neurons that all methods begin with
METHODS = ("screening", "gradient", "cmaes")


def by_training(task: AbstractTask, seed: int, training: Training) -> dict[str, Any]:
    """What `jaxdend.tasks.train` finds; with a single step, screening alone."""
    result = train(task, seed=seed, training=training, stop=False, run=Run(progress=False))
    return {"right": result.right, "wall_s": round(result.wall_s, 1)}


def by_cmaes(task: AbstractTask, seed: int, budget: int, training: Training) -> dict[str, Any]:
    """The same for CMA-ES, each generation as one batch on draws of its own."""
    clock, space = time.perf_counter(), task.neuron.space
    first = np.asarray(space.sample(seed, FIRST))
    losses = screen(task, first, draws_of(task, seed, CHOOSE, training.draws))
    options = {"seed": seed + 1, "verbose": -9}
    search = cma.CMAEvolutionStrategy(first[np.nanargmin(losses)], SIGMA, options)
    spent, round_ = 0, 0
    while spent < budget and not search.stop():
        vectors = np.array(search.ask())
        key = jax.random.fold_in(key_for(seed, TRAIN), round_)
        losses = screen(task, vectors, jax.random.split(key, training.draws))
        search.tell(list(vectors), np.where(np.isfinite(losses), losses, 1e6).tolist())
        spent, round_ = spent + losses.size * training.draws * len(task.labels), round_ + 1
    ends = np.stack([search.result.xbest, search.result.xfavorite])
    seen = respond_all(task, ends, draws_of(task, seed, VALIDATE, training.validation))
    decided = [task.decide(jnp.asarray(each)) for each in seen]
    best = int(np.argmax([judged(d, e)[0].mean() for d, e in zip(decided, seen, strict=True)]))
    told = respond_all(task, ends[best][None], held_out(task, seed))[0]
    right = int(judged(decided[best], told)[0].sum())
    return {"right": right, "wall_s": round(time.perf_counter() - clock, 1)}


def gradient_price(task: AbstractTask) -> float:
    """How many simulations take as long as one with its gradient."""
    space = task.neuron.space
    vectors, keys = space.sample(0, 4), held_out(task, 0, 4)

    def loss(z: jax.Array) -> jax.Array:
        params = space.to_dict(z)
        return task.loss_of_draws(jax.vmap(lambda key: task.responses(params, key))(keys))

    seconds = []
    for function in (jax.vmap(loss), jax.vmap(jax.value_and_grad(loss))):
        compiled = jax.jit(function).lower(vectors).compile()
        runs = []
        for _ in range(3):
            clock = time.perf_counter()
            jax.block_until_ready(compiled(vectors))
            runs.append(time.perf_counter() - clock)
        seconds.append(min(runs))
    return seconds[1] / seconds[0]


def draw(rows: list[dict[str, Any]], about: dict[str, Any]) -> Any:
    """Draws that are right, of 24, a line a seed."""
    with context():
        figure, ax = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
        for row in rows:
            right = [row[name]["right"] for name in METHODS]
            ax.plot(range(3), right, color="0.75", linewidth=1.0, zorder=1)
            ax.scatter(range(3), right, s=40, c=list(COLORS[:3]), zorder=2)
        ax.set_xticks(range(3), METHODS)
        ax.set_ylim(-1, 25)
        ax.set_ylabel("new draws with all patterns right, of 24")
        ax.set_title(f"{about['seeds']} seeds, {about['budget']:,} simulations each", loc="left")
    return figure


def main() -> None:
    """Compare, seed by seed; everything so far is on disk after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", default="xor_dcaap")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=40000, help="simulations a seed")
    parser.add_argument("--price", type=float, help="simulations that a gradient counts as")
    parser.add_argument("--out", type=Path, default=Path("cmaes_out"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    task = make_task(asked.task)
    price = asked.price or gradient_price(task)
    patterns, plain = len(task.labels), task.training
    each = FIRST * plain.screen * patterns
    step = plain.starts * plain.draws * patterns * (1.0 + price)
    descent = replace(plain, configs=FIRST, steps=max(1, int((asked.budget - each) / step)))
    many = max(FIRST, asked.budget // (plain.screen * patterns))
    alone = replace(plain, configs=many, steps=1)
    rows: list[dict[str, Any]] = []
    for seed in range(asked.seeds):
        row: dict[str, Any] = {
            "seed": seed,
            "screening": by_training(task, seed, alone),
            "gradient": by_training(task, seed, descent),
            "cmaes": by_cmaes(task, seed, asked.budget - each, plain),
        }
        print(row, flush=True)
        rows.append(row)
        about = {"task": asked.task, "seeds": len(rows), "budget": asked.budget}
        about |= {"price_of_a_gradient": round(price, 2), "gradient_steps": descent.steps}
        about |= {
            f"median_right_{name}": float(np.median([row[name]["right"] for row in rows]))
            for name in METHODS
        }
        text = json.dumps(about | {"runs": rows}, indent=2) + "\n"
        (asked.out / "compare_cmaes.json").write_text(text, encoding="utf-8")
    print(json.dumps(about, indent=2))
    savefig(draw(rows, about), asked.out / "compare_cmaes.png")


if __name__ == "__main__":
    main()
