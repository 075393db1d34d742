"""Recover sodium, potassium and leak conductances of every branch from 20 ms of voltage everywhere.

    python scripts/fit_branches.py --noise 0.1 --out branches_out

A pyramidal neuron has HH channels with densities of their own in each of its 103 branches: 309
unknowns, each random within a range of a factor of 20. Known is the voltage of all compartments for
20 ms, sampled every 0.025 ms with noise, while currents are injected in many places. Three ways
are compared: teacher forcing (linear, no simulation), gradient descent from a random start, and
gradient descent from what teacher forcing found. Writes branches.json and branches.png.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

import jaxdend as jd
from jaxdend import fitting
from jaxdend.channels import HH
from jaxdend.plotting import COLORS, context, savefig

jax.config.update("jax_enable_x64", True)
DT, END = 0.025, 20.0  # ms
CELL = jd.Cell(jd.pyramidal(0), max_length=60.0, ra=100.0)
BRANCH = np.unique(CELL.section, return_inverse=True)[1]  # of every compartment
COUNT = int(BRANCH.max()) + 1
SPACE = fitting.ParameterSpace(
    {
        "gnabar": fitting.Parameter(0.02, 0.4, unit="S/cm²", shape=(COUNT,)),
        "gkbar": fitting.Parameter(0.006, 0.12, unit="S/cm²", shape=(COUNT,)),
        "gl": fitting.Parameter(5e-5, 1e-3, unit="S/cm²", shape=(COUNT,)),
    }
)
UP, DOWN = np.arange(0, CELL.n, 9), np.arange(4, CELL.n, 9)
INPUTS = (
    jd.Step(UP, 1.0 + 0.3 * (UP % 7), 3.0, 0.15),  # spikes from many places
    jd.Step(DOWN, 8.0, 1e3, -0.02),  # and something for the leak
)


def neuron(params: dict[str, Any]) -> jd.Cell:
    """The cell; one conductance for each branch, S/cm²."""
    return CELL.insert(HH(**{name: value[BRANCH] for name, value in params.items()}))


def voltage(params: dict[str, Any]) -> jax.Array:
    """`(t, n)` mV everywhere."""
    v = jd.simulate(neuron(params), INPUTS, t1=END, dt=DT, v0=-65.0, throw=False).v
    assert v is not None
    return v


def found(params: dict[str, Any], true: dict[str, np.ndarray], seconds: float) -> dict[str, Any]:
    """How many conductances are right."""
    error = {name: np.abs(np.asarray(params[name]) / true[name] - 1) for name in true}
    flat = np.concatenate(list(error.values()))
    return {
        "within_10_percent": int(np.sum(flat < 0.1)),
        "of": flat.size,
        "each": {name: int(np.sum(x < 0.1)) for name, x in error.items()},
        "median_error": float(np.median(flat)),
        "seconds": round(seconds, 1),
        "fitted": {name: np.asarray(params[name]).tolist() for name in true},
    }


def draw(rows: dict[str, dict], true: dict[str, np.ndarray], noise: float) -> Any:
    """Fitted against true, a panel for each way."""
    with context():
        figure, axes = plt.subplots(
            1, len(rows), figsize=(3.0 * len(rows), 3.2), sharex=True, sharey=True,
            layout="constrained",
        )  # fmt: skip
        labels = {"gnabar": "sodium", "gkbar": "potassium", "gl": "leak"}
        for ax, (way, row) in zip(axes, rows.items(), strict=True):
            ax.plot([3e-5, 0.6], [3e-5, 0.6], color="0.7", linewidth=0.8)
            for (name, label), color in zip(labels.items(), COLORS, strict=False):
                ax.plot(true[name], row["fitted"][name], ".", color=color, label=label, alpha=0.7)
            right = f"{row['within_10_percent']} of {row['of']} within 10 %"
            ax.set_title(f"{way}\n{right}", loc="left")
            ax.set(xscale="log", yscale="log")
            ax.set_xlabel("true (S/cm²)")
        axes[0].set_ylabel("fitted (S/cm²)")
        axes[0].legend(frameon=False, title=f"noise {noise:g} mV")
    return figure


def main() -> None:
    """Fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1000, help="of gradient descent")
    parser.add_argument("--noise", type=float, default=0.1, help="SD, mV")
    parser.add_argument("--smooth", type=float, default=0.3, help="of noisy voltages, ms")
    parser.add_argument("--rate", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("branches_out"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    hidden = SPACE.to_dict(SPACE.sample(asked.seed + 7, 1)[0])
    true = {name: np.asarray(value) for name, value in hidden.items()}
    clean = np.asarray(jax.jit(voltage)(hidden))
    rng = np.random.default_rng(asked.seed)
    data = clean + asked.noise * rng.standard_normal(clean.shape)
    ts = DT * np.arange(len(data))

    def loss(params: dict[str, jax.Array]) -> jax.Array:
        return fitting.mse(voltage(params), jnp.asarray(data), scale=10.0)

    descend = partial(
        fitting.fit, loss, SPACE, steps=asked.steps, key=asked.seed + 1,
        optimizer=fitting.default_optimizer(asked.steps, asked.rate),
    )  # fmt: skip
    rows: dict[str, dict] = {}

    def report(way: str, params: dict[str, Any], seconds: float) -> None:
        rows[way] = found(params, true, seconds)
        print(way, {k: v for k, v in rows[way].items() if k != "fitted"}, flush=True)

    clock = time.perf_counter()
    smooth = asked.smooth if asked.noise else 0.0
    forced = fitting.teacher_force(neuron, SPACE, ts, data, INPUTS, smooth=smooth)
    report("teacher forcing", forced, time.perf_counter() - clock)
    result = descend(starts=1)
    report("gradient, random start", result.params, result.seconds)
    result = descend(starts={name: value[None] for name, value in forced.items()})
    report("teacher forcing, then gradient", result.params, result.seconds)
    about = {"noise_mV": asked.noise, "steps": asked.steps, "ways": rows}
    (asked.out / "branches.json").write_text(json.dumps(about, indent=1))
    savefig(draw(rows, true, asked.noise), asked.out / "branches.png", close=True)


if __name__ == "__main__":
    main()
