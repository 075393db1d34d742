"""Fit 19 conductances of a layer 5 pyramidal neuron: derivatives, CMA-ES, a genetic algorithm.

    python scripts/fit_l5pc.py --seeds 3 --out l5pc_out

The neuron has the channels of Hay et al. (2011) on a small procedural tree, with its own density of
every channel in soma, apical and basal dendrites, all unknown. Known are the voltages at the soma
and 400 µm up the apical dendrite under three current steps. Judged is on four other currents: the
same number of somatic spikes, and how far off their times are.

With derivatives: `fitting.nudging`, Levenberg–Marquardt from ten random neurons whose recorded
sites are tied to the recording by voltage clamps. CMA-ES begins at the best of the same
ten neurons, the genetic algorithm with all; they minimise squared differences of smoothed voltages.
The unit of cost is a simulation of one neuron under one current; one with its 19 tangents counts as
twenty.

Go on with the same command after Ctrl-C or a crash. Writes l5pc.json and l5pc.png.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

import jaxdend as jd
from jaxdend import fitting
from jaxdend.channels import CHANNELS, CalciumShell, Leak
from jaxdend.models.hay import CALCIUM, CM, apical_distance
from jaxdend.morphology import PyramidalShape
from jaxdend.plotting import COLORS, context, savefig
from jaxdend.runs import is_saved

SMALL = PyramidalShape(
    stems=4, basal=(60.0, 120.0), obliques=4, oblique=(120.0,), tuft=(200.0, 250.0), axon=60.0
)
CONDUCTANCES = {  # region.channel: hidden value, lower and upper bound, S/cm²
    "soma.NaTa": (2.04, 0.2, 8.0),
    "soma.Nap": (1.72e-3, 1e-4, 1e-2),
    "soma.KPst": (2.23e-3, 1e-4, 5e-2),
    "soma.KTst": (0.0812, 1e-2, 0.4),
    "soma.SKv3_1": (0.693, 0.05, 2.0),
    "soma.SK": (0.0441, 1e-3, 0.1),
    "soma.CaHVA": (9.92e-4, 5e-5, 2e-3),
    "soma.CaLVA": (3.43e-3, 2e-4, 1e-2),
    "soma.Leak": (3.38e-5, 1e-5, 2e-4),
    "apical.NaTa": (0.012, 1e-3, 0.04),
    "apical.SKv3_1": (2.61e-4, 1e-5, 4e-3),
    "apical.SK": (1.2e-3, 1e-4, 1e-2),
    "apical.Im": (6.75e-5, 1e-5, 1e-3),
    "apical.CaHVA": (5.55e-4, 5e-5, 5e-3),  # in the hot zone, 1 % of it elsewhere
    "apical.CaLVA": (1.87e-2, 1e-3, 0.1),
    "apical.Ih": (2e-4, 2e-5, 1e-3),  # rises towards the tuft
    "apical.Leak": (5.89e-5, 1e-5, 2e-4),
    "basal.Ih": (2e-4, 2e-5, 1e-3),
    "basal.Leak": (4.67e-5, 1e-5, 2e-4),
}
HOT = (650.0, 800.0)  # µm
AXON_LEAK = 3.25e-5  # S/cm²
TRAINED, HELD_OUT = (0.3, 0.5, 0.9), (0.2, 0.4, 0.7, 1.1)  # nA
ONSET, DURATION, END, DT = 20.0, 100.0, 130.0, 0.05  # ms
V0, SPIKE = -80.0, -30.0  # mV
STARTS = 10
RESISTANCE, STEPS = 3.0, (8, 25)  # MΩ, and iterations with all starts and with the best
WIDTHS = (6.0, 2.0, 0.5)  # ms, of the Gaussians that smooth voltages for the searches
METHODS = {"derivatives": "derivatives", "cma_es": "CMA-ES", "genetic": "genetic"}
SPACE = fitting.ParameterSpace(
    {
        name: fitting.Parameter(low, high, unit="S/cm²")
        for name, (_, low, high) in CONDUCTANCES.items()
    }
)
HIDDEN = {name: value for name, (value, _, _) in CONDUCTANCES.items()}


class Neuron:
    """The neuron as a function of its conductances, and its voltage under a step."""

    def __init__(self) -> None:
        cell = jd.Cell(jd.pyramidal(0, SMALL), max_length=120.0, ra=100.0, celsius=6.3)
        self.regions = {name: cell.region(name) for name in ("soma", "apical", "basal")}
        dendrite = self.regions["apical"] | self.regions["basal"]
        self.cell = cell.set(cm=np.where(dendrite, CM["apical"], CM["soma"]))
        distance = np.nan_to_num(apical_distance(cell, end_of_section=False))
        hot = np.where((distance > HOT[0]) & (distance < HOT[1]), 1.0, 0.01)
        rise = -0.8696 + 2.087 * np.exp(3.6161 * distance / distance.max())
        self.profile = {"apical.CaHVA": hot, "apical.CaLVA": hot, "apical.Ih": rise}
        self.sites = [cell.locate("soma"), cell.locate("apical", distance=400.0)]

    def __call__(self, params: dict[str, Any]) -> jd.Cell:
        """The cell; `params` in S/cm²."""
        leak = jnp.full(self.cell.n, AXON_LEAK)
        for name, where in self.regions.items():
            leak = jnp.where(where, params[f"{name}.Leak"], leak)
        cell = self.cell.insert(Leak(g=leak, e=-90.0))
        for name, value in params.items():
            region, channel = name.split(".")
            if channel != "Leak":
                gbar = value * self.profile.get(name, 1.0)
                cell = cell.insert(CHANNELS[channel](gbar=gbar), self.regions[region])
        for region, (decay, gamma) in CALCIUM.items():
            cell = cell.insert(CalciumShell(decay=decay, gamma=gamma), self.regions[region])
        return cell

    def step(self, amplitude: Any) -> jd.Step:
        """A step of current into the soma, nA."""
        return jd.Step(self.sites[0], ONSET, DURATION, amplitude)

    def voltage(self, params: Any, amplitude: Any) -> jax.Array:
        """Voltages `(t, 2)` mV at soma and dendrite."""
        traces = jd.simulate(
            self(params), self.step(amplitude), t1=END, dt=DT, record=np.array(self.sites),
            v0=V0, throw=False,
        )  # fmt: skip
        assert traces.v is not None
        return traces.v


def spikes(v: np.ndarray) -> list[np.ndarray]:
    """Times of the somatic spikes in every trace of `v (b, t, r)`, ms."""
    up = (v[:, :-1, 0] < SPIKE) & (v[:, 1:, 0] >= SPIKE)
    return [DT * (1.0 + np.flatnonzero(row)) for row in up]


def mismatch(v: np.ndarray, target: np.ndarray) -> float:
    """The largest difference of spike times, ms; infinite where the numbers of spikes differ."""
    worst = 0.0
    for a, b in zip(spikes(v), spikes(target), strict=True):
        if len(a) != len(b):
            return np.inf
        worst = max(worst, float(np.max(np.abs(a - b), initial=0.0)))
    return worst


class Problem:
    """Recordings of the hidden neuron, and what a fit of them is worth."""

    def __init__(self) -> None:
        self.neuron = Neuron()
        both = jax.vmap(self.neuron.voltage, (None, 0))
        self._run = jax.jit(jax.vmap(both, (0, None)))  # neurons x currents
        self.target = self.run(HIDDEN, TRAINED)
        self.held_out = self.run(HIDDEN, HELD_OUT)

    def run(self, params: dict[str, Any], amplitudes: tuple[float, ...]) -> np.ndarray:
        """Voltages `(currents, t, 2)` mV of one neuron."""
        batch = {name: jnp.asarray(value)[None] for name, value in params.items()}
        return np.asarray(self._run(batch, jnp.asarray(amplitudes)))[0]

    def objective(self, **options: Any) -> fitting.Objective:
        """How far a neuron is from the trained recordings, in 10 mV."""
        ts = DT * np.arange(self.target.shape[1])
        protocols = [
            fitting.Protocol(f"{i} nA", self.neuron.step(i), ts, v, self.neuron.sites, scale=10.0)
            for i, v in zip(TRAINED, self.target, strict=True)
        ]
        return fitting.Objective(self.neuron, protocols, dt=DT, v0=V0, **options)

    def with_derivatives(self, seed: int, out: Path) -> dict[str, Any]:
        """Levenberg–Marquardt behind clamps; what it finds is judged without them.

        A neuron that can be exactly right has nothing to gain from stages with looser ties: there,
        and free, it ended further from the truth.
        """
        clock = time.perf_counter()
        stages = fitting.nudging(
            self.objective(adjoint=diffrax.ForwardMode()), SPACE, resistances=(RESISTANCE,) * 2,
            steps=STEPS, starts=STARTS, keep=0.3, key=seed,
            run=jd.Run(out / f"derivatives_{seed}", resume=True),
        )  # fmt: skip
        for stage in stages:
            print(f"tied to the recording: {np.sort(stage.best_losses)}", flush=True)
        seconds = time.perf_counter() - clock
        return self.judge(stages[-1], seconds, *self.costs(stages, 1 + SPACE.size))

    def costs(self, results: list[fitting.FitResult], each: int) -> tuple[float, float]:
        """Simulations until the best so far fits the trained spikes, and all of them."""
        first, spent, least = np.inf, 0.0, np.inf
        for result in results:
            for losses, vectors in zip(result.losses, result.vectors, strict=True):
                spent += len(TRAINED) * each * len(losses)
                if first == np.inf and np.nanmin(losses) < least:
                    least = np.nanmin(losses)
                    best = SPACE.to_dict(vectors[np.nanargmin(losses)])
                    first = spent if self.fits(best) else np.inf
        return first, spent

    def fits(self, params: dict[str, Any]) -> bool:
        """Whether the trained spikes come within 2 ms."""
        return mismatch(self.run(params, TRAINED), self.target) <= 2.0

    def without(self, method: str, seed: int, budget: float, out: Path) -> dict[str, Any]:
        """CMA-ES or a genetic algorithm, until the trained spikes fit or the budget is spent."""
        clock = time.perf_counter()
        starts = SPACE.sample(seed, STARTS)
        loss = self.objective(terms=partial(fitting.smoothed_mse, width=WIDTHS))
        if method == "cma_es":
            losses = jax.jit(jax.vmap(lambda z: loss(SPACE.to_dict(z))))(starts)
            starts = starts[jnp.nanargmin(losses)][None]
        least = np.inf

        def solved(step: int, losses: np.ndarray, vectors: np.ndarray) -> bool:
            nonlocal least
            if not np.nanmin(losses) < least:
                return False
            least = float(np.nanmin(losses))
            return self.fits(SPACE.to_dict(vectors[np.nanargmin(losses)]))

        folder = out / f"{method}_{seed}"
        result = fitting.FitResult.load(folder) if is_saved(folder) else None
        if result is None or not self.fits(result.params):
            result = fitting.search(
                loss, SPACE, method=method, population=16, evaluations=int(budget / len(TRAINED)),
                starts=starts, key=seed, callback=solved, run=jd.Run(folder, resume=True),
            )  # fmt: skip
        return self.judge(result, time.perf_counter() - clock, *self.costs([result], 1))

    def judge(
        self, result: fitting.FitResult, seconds: float, solved: float, cost: float
    ) -> dict[str, Any]:
        """How good a neuron is, and after how many simulations the trained spikes fitted."""
        params = result.params
        trained = mismatch(self.run(params, TRAINED), self.target)
        errors = [abs(float(params[name]) / value - 1) for name, value in HIDDEN.items()]
        return {
            "loss": float(result.loss),
            "solved_after": solved,
            "cost": cost,
            "trained_mismatch_ms": trained,
            "held_out_mismatch_ms": mismatch(self.run(params, HELD_OUT), self.held_out),
            "median_error": round(float(np.median(errors)), 4),
            "seconds": round(seconds, 1),
            "params": {name: float(value) for name, value in params.items()},
        }


def draw(problem: Problem, rows: dict[str, list[dict]]) -> Any:
    """The held-out voltages of the best fit, and what each fit cost."""
    best = min(rows["derivatives"], key=lambda row: row["loss"])
    with context():
        figure = plt.figure(figsize=(9.2, 4.4), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1.4, 1.0))
        axes = left.subplots(len(HELD_OUT), 1, sharex=True, sharey=True)
        ts = DT * np.arange(problem.target.shape[1])
        fitted = problem.run(best["params"], HELD_OUT)
        for ax, current, v, w in zip(axes, HELD_OUT, problem.held_out, fitted, strict=True):
            ax.plot(ts, v[:, 0], color="0.65", linewidth=2.8, label="hidden neuron")
            ax.plot(ts, w[:, 0], color=COLORS[1], linewidth=1.0, label="fitted")
            ax.set_title(f"{current:g} nA", loc="right", fontsize="small")
        axes[0].set_title("Soma, currents that were not fitted", loc="left")
        axes[0].legend(loc="upper left", fontsize="small", ncols=2, frameon=False)
        axes[-1].set_xlabel("time (ms)")
        left.supylabel("membrane potential (mV)", fontsize="medium")
        ax = right.subplots()
        for x, found in enumerate(rows.values()):
            for i, row in enumerate(found):
                place = x + 0.12 * (i - (len(found) - 1) / 2)
                solved = np.isfinite(row["solved_after"])
                cost = row["solved_after"] if solved else row["cost"]
                fill = COLORS[1] if solved else "white"
                mark = "o" if solved else "^"
                ax.plot(place, cost, mark, color=COLORS[1], markerfacecolor=fill)
                error = row["held_out_mismatch_ms"]
                text = f" {error:.1f} ms" if np.isfinite(error) else " other count"
                ax.annotate(text, (place, cost), fontsize="x-small", rotation=90, ha="center",
                            xytext=(0, 5), textcoords="offset points")  # fmt: skip
        ax.set_xticks(range(len(rows)), [METHODS[method] for method in rows])
        ax.set(yscale="log", ylabel="simulations until the trained spikes fit")
        ax.set(xlim=(-0.5, len(rows) - 0.5), ylim=(1e3, 1e5))
        ax.set_title(
            "Largest error of held-out spike times\nopen: not within the budget", loc="left"
        )
    return figure


def main() -> None:
    """Run what is asked for, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=30000, help="simulations of a search")
    parser.add_argument("--out", type=Path, default=Path("l5pc_out"))
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    asked.out.mkdir(parents=True, exist_ok=True)
    problem = Problem()
    print(f"{problem.neuron.cell.n} compartments, {SPACE.size} conductances", flush=True)
    rows: dict[str, list[dict]] = {}
    for seed in range(asked.seeds):
        for method in asked.methods:
            if method == "derivatives":
                row = problem.with_derivatives(seed, asked.out)
            else:
                row = problem.without(method, seed, asked.budget, asked.out)
            rows.setdefault(method, []).append(row)
            shown = {k: v for k, v in row.items() if k != "params"}
            print(method, seed, shown, flush=True)
            about = {"runs": rows}
            (asked.out / "l5pc.json").write_text(json.dumps(about, indent=1))
    if "derivatives" in rows:
        savefig(draw(problem, rows), asked.out / "l5pc.png", close=True)


if __name__ == "__main__":
    main()
