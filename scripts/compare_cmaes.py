"""Gradient descent against CMA-ES: simulations until dendritic XOR is learned.

    python scripts/compare_cmaes.py --seeds 5 --budget 40000 --out cmaes_out

Both begin with the same random neurons, and both simulate whole batches. The gradient descends
from all of them; CMA-ES (`cma`, default population and options) begins at the best of them. A
seed ends when a neuron answers all four patterns with the margin of the task, or at the budget.
A simulation of one pattern counts as one; the count of the gradient is also given with each
gradient at the price in time that is measured here. Writes compare_cmaes.json and .png.
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
from jaxdend.tasks import AbstractTask, evaluate, make_task, screen, train

SIGMA = 2.0  # of CMA-ES at first; the range of a parameter is about 8 wide
CONFIGS = 4  # random neurons at first


def by_gradient(task: AbstractTask, seed: int, budget: int) -> dict[str, Any]:
    """What `jaxdend.tasks.train` needs."""
    steps = budget // (CONFIGS * len(task.labels))
    plain = replace(task.training, configs=CONFIGS, starts=CONFIGS, steps=steps, noise=0.0)
    result = train(task, seed=seed, training=plain, run=Run(progress=False))
    gradients = result.fit.losses.size * len(task.labels)
    return {
        "solved": result.solved,
        "margin": result.margin,
        "simulations": result.simulations,
        "of_which_with_gradient": gradients,
        "wall_s": round(result.wall_s, 1),
        "lowest_loss": np.minimum.accumulate(result.fit.losses.min(axis=1)).tolist(),
    }


def by_cmaes(task: AbstractTask, seed: int, budget: int) -> dict[str, Any]:
    """The same for CMA-ES, each generation as one batch."""
    clock, patterns, space = time.perf_counter(), len(task.labels), task.neuron.space
    first = np.asarray(space.sample(seed, CONFIGS))
    losses = screen(task, first)
    options = {"seed": seed + 1, "verbose": -9}
    search = cma.CMAEvolutionStrategy(first[losses.argmin()], SIGMA, options)
    spent, least, lows = CONFIGS * patterns, np.inf, []
    solved, margin = False, -np.inf
    while not solved and spent < budget and not search.stop():
        vectors = np.array(search.ask())
        losses = screen(task, vectors)
        search.tell(list(vectors), np.where(np.isfinite(losses), losses, 1e6).tolist())
        spent += len(vectors) * patterns
        if np.nanmin(losses) < least:
            least = float(np.nanmin(losses))
            score = evaluate(task, space.to_dict(jnp.asarray(vectors[np.nanargmin(losses)])))[1]
            solved, margin = bool(score.solved), max(margin, float(score.margin))
            spent += patterns
        lows.append(least)
    return {
        "solved": solved,
        "margin": margin,
        "simulations": spent,
        "population": search.popsize,
        "wall_s": round(time.perf_counter() - clock, 1),
        "lowest_loss": lows,
    }


def gradient_price(task: AbstractTask) -> float:
    """How many simulations take as long as one with its gradient, in batches of `CONFIGS`."""
    space = task.neuron.space
    vectors = space.sample(0, CONFIGS)

    def loss(z: jax.Array) -> jax.Array:
        return task.loss(task.responses(space.to_dict(z)))

    seconds = []
    for function in (jax.vmap(loss), jax.vmap(jax.value_and_grad(loss))):
        compiled = jax.jit(function).lower(vectors).compile()
        runs = []
        for _ in range(5):
            clock = time.perf_counter()
            jax.block_until_ready(compiled(vectors))
            runs.append(time.perf_counter() - clock)
        seconds.append(min(runs))
    return seconds[1] / seconds[0]


def summary(rows: list[dict[str, Any]], price: float) -> dict[str, Any]:
    """Medians, and the median over seeds of the ratio CMA-ES : gradient.

    Where CMA-ES was not done, its count is the budget, and the ratio a lower bound.
    """
    gradient, search = ([row[k]["simulations"] for row in rows] for k in ("gradient", "cmaes"))
    extra = [(price - 1) * row["gradient"]["of_which_with_gradient"] for row in rows]
    priced = np.add(gradient, extra)
    return {
        "seeds": len(rows),
        "solved_by_gradient": sum(row["gradient"]["solved"] for row in rows),
        "solved_by_cmaes": sum(row["cmaes"]["solved"] for row in rows),
        "median_simulations_gradient": float(np.median(gradient)),
        "median_simulations_cmaes": float(np.median(search)),
        "ratios": np.round(np.divide(search, gradient), 2).tolist(),
        "median_ratio": round(float(np.median(np.divide(search, gradient))), 2),
        "price_of_a_gradient": round(price, 2),
        "median_ratio_at_that_price": round(float(np.median(search / priced)), 2),
    }


def draw(rows: list[dict[str, Any]], budget: int, about: dict[str, Any]) -> Any:
    """Simulations of both, a line a seed; filled where solved."""
    with context():
        figure, ax = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
        for row in rows:
            counts = [row["gradient"]["simulations"], row["cmaes"]["simulations"]]
            ax.plot([0, 1], counts, color="0.75", linewidth=1.0, zorder=1)
            for x, name, color in ((0, "gradient", COLORS[1]), (1, "cmaes", COLORS[0])):
                fill = color if row[name]["solved"] else "white"
                ax.scatter(x, counts[x], s=46, facecolor=fill, edgecolor=color, zorder=2)
        ax.axhline(budget, color="0.3", linewidth=0.8, linestyle=(0, (4, 2)))
        ax.annotate("budget", (-0.35, budget), xytext=(0, 3), textcoords="offset points")
        ax.set_yscale("log")
        ax.set_xlim(-0.4, 1.4)
        ax.set_xticks([0, 1], ["gradient", "CMA-ES"])
        ax.set_ylabel("simulations until XOR is learned")
        title = f"{about['seeds']} seeds, {about['parameters']} parameters: median ratio "
        ax.set_title(title + f"{about['median_ratio']:g}", loc="left")
    return figure


def main() -> None:
    """Compare, seed by seed; everything so far is on disk after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", default="xor_dcaap")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=40000, help="simulations a seed")
    parser.add_argument("--out", type=Path, default=Path("cmaes_out"))
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    asked.out.mkdir(parents=True, exist_ok=True)
    task = make_task(asked.task)
    price = gradient_price(task)
    rows: list[dict[str, Any]] = []
    for seed in range(asked.seeds):
        row = {"seed": seed}
        for name, method in (("gradient", by_gradient), ("cmaes", by_cmaes)):
            row[name] = method(task, seed, asked.budget)
            shown = {k: row[name][k] for k in ("solved", "margin", "simulations", "wall_s")}
            print(f"seed {seed}, {name}: {shown}", flush=True)
        rows.append(row)
        about = {"task": asked.task, "parameters": task.neuron.space.size, "budget": asked.budget}
        about |= summary(rows, price)
        text = json.dumps(about | {"runs": rows}, indent=2) + "\n"
        (asked.out / "compare_cmaes.json").write_text(text, encoding="utf-8")
    print(json.dumps(about, indent=2))
    savefig(draw(rows, asked.budget, about), asked.out / "compare_cmaes.png")


if __name__ == "__main__":
    main()
