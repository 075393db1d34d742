"""Tables on the screen; figures, numbers and settings in the output folder."""

import io
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tomli_w
from rich.table import Table as Grid

from jaxdend.cli.console import ERR, OUT
from jaxdend.cli.runs import FitRun, SimulationRun
from jaxdend.config import Experiment
from jaxdend.config.schema import Table
from jaxdend.files import write_arrays, write_whole
from jaxdend.traces import spike_times

TOLERANCE = 0.05  # relative error up to which a parameter counts as recovered
THRESHOLD = 0.0  # mV, of a spike


def prepare(out: Path, resolved: Table) -> None:
    """Make the output folder and write the resolved configuration into it.

    **Raises:** `OSError` if the folder cannot be written.
    """
    write_whole(out / "resolved.toml", tomli_w.dumps(resolved))


def report_simulation(run: SimulationRun, out: Path) -> None:
    """Print what every site did; write `traces.npz`, `result.json` and the figures."""
    experiment, traces = run.experiment, run.traces
    cell, ts, v = experiment.base, np.asarray(traces.ts), np.asarray(traces.v)
    sites = []
    for i, (label, site) in enumerate(zip(experiment.labels, experiment.sites, strict=True)):
        spikes = np.asarray(spike_times(traces, threshold=THRESHOLD, column=i))
        sites.append(
            {
                "label": label,
                "compartment": site,
                "distance_um": float(cell.distance[site]),
                "first_mV": float(v[0, i]),
                "peak_mV": float(v[:, i].max()),
                "last_mV": float(v[-1, i]),
                "spike_times_ms": [round(float(t), 6) for t in spikes],
            }
        )
    result = {"compartments": cell.n, "samples": len(ts), "seconds": run.seconds, "sites": sites}
    _write_json(out / "result.json", result)
    arrays = {"t": ts, "v": v, "sites": experiment.sites, "labels": experiment.labels}
    write_arrays(out / "traces.npz", arrays)
    grid = Grid("site", "compartment", "µm", "first mV", "peak mV", "last mV", "spikes")
    for row in sites:
        grid.add_row(
            row["label"],
            str(row["compartment"]),
            f"{row['distance_um']:.1f}",
            f"{row['first_mV']:.2f}",
            f"{row['peak_mV']:.2f}",
            f"{row['last_mV']:.2f}",
            str(len(row["spike_times_ms"])),
        )
    OUT.print(grid)
    figures = _simulation_figures(run, out)
    closing(f"{cell.n} compartments in {run.seconds:.1f} s", out, figures)


def report_fit(run: FitRun, out: Path) -> None:
    """Print the table of parameters; write the results of all stages and the figure."""
    problem, last = run.problem, run.stages[-1]
    true = problem.true if len(problem.true) == problem.space.size else None
    best = last.best_start
    rows = last.table(true)
    for row, start in zip(rows, run.stages[0].start_params.values(), strict=True):
        row["start"] = float(start[best])
    result: dict[str, Any] = {
        "parameters": rows,
        "best_start": best,
        "loss": last.loss,
        "losses": last.best_losses.tolist(),
        "starts": {k: x.tolist() for k, x in run.stages[0].start_params.items()},
        "fitted": {k: x.tolist() for k, x in last.all_params.items()},
        "interrupted": last.interrupted,
        "seconds": run.seconds,
    }
    if true is not None:
        recovered = last.recovered(true, TOLERANCE)
        result["errors"] = last.errors(true).tolist()
        result["recovered"] = recovered.tolist()
    _write_json(out / "result.json", result)
    for i, stage in enumerate(run.stages):
        stage.save(out / f"stage_{i + 1}.npz")
    _write_losses(run, out / "losses.csv")
    arrays = {"t": problem.ts, "target": problem.target, "before": run.before, "after": run.after}
    write_arrays(out / "traces.npz", arrays | {"labels": problem.experiment.labels})
    OUT.print(_fit_table(rows, len(last.best_losses), known=true is not None))
    text = f"best loss {last.loss:.3g} after {run.seconds:.0f} s"
    if true is not None:
        text += (
            f"; {sum(result['recovered'])} of {len(last.best_losses)} starts found every "
            f"parameter within {TOLERANCE:.0%}"
        )
    closing(text, out, _fit_figures(run, true, out))


def _fit_table(rows: list[dict[str, Any]], starts: int, known: bool) -> Grid:
    grid = Grid()
    grid.add_column("parameter", no_wrap=True)
    grid.add_column("unit")
    for name in ["true"] * known + ["start", "fitted"] + ["error", "found by"] * known:
        grid.add_column(name, justify="right")
    for row in rows:
        numbers = [f"{row['start']:.4g}", f"{row['fitted']:.4g}"]
        if known:
            numbers = [f"{row['true']:.4g}", *numbers, f"{row['error']:.2%}"]
            numbers.append(f"{row['within_5_percent']} of {starts}")
        grid.add_row(row["parameter"], row["unit"], *numbers)
    return grid


def _write_losses(run: FitRun, path: Path) -> None:
    """One row a step: stage, step, and the loss of every start."""
    blocks = [
        np.column_stack([np.full(s.steps, i + 1), np.arange(s.steps), s.losses])
        for i, s in enumerate(run.stages)
    ]
    starts = [f"start_{i + 1}" for i in range(run.stages[0].losses.shape[1])]
    header = ",".join(["stage", "step", *starts])
    text = io.StringIO()
    np.savetxt(text, np.concatenate(blocks), delimiter=",", header=header, comments="", fmt="%.9g")
    write_whole(path, text.getvalue())


def _simulation_figures(run: SimulationRun, out: Path) -> list[str]:
    plotting = load_plotting()
    if plotting is None:
        return []
    experiment = run.experiment
    labels = [plotting.literal(label) for label in experiment.labels]
    write_figure(plotting, plotting.plot_traces(run.traces, labels=labels), out / "traces.png")
    return ["traces.png", _draw_neuron(plotting, experiment, out)]


def _fit_figures(run: FitRun, true: dict[str, float] | None, out: Path) -> list[str]:
    plotting = load_plotting()
    if plotting is None:
        return []
    last, problem = run.stages[-1], run.problem
    whole = SimpleNamespace(
        losses=np.concatenate([stage.losses for stage in run.stages]),
        start_params=run.stages[0].start_params,
        all_params=last.all_params,
    )
    figure, _ = plotting.plot_fit(
        whole,
        true,
        ts=problem.ts,
        target=problem.target,
        before=run.before[last.best_start],
        after=run.after[last.best_start],
        labels=[plotting.literal(label) for label in problem.experiment.labels],
    )
    write_figure(plotting, figure, out / "fit.png")
    return ["fit.png", _draw_neuron(plotting, problem.experiment, out)]


def _draw_neuron(plotting: Any, experiment: Experiment, out: Path) -> str:
    """The cell by region, with the recorded sites."""
    labels = [plotting.literal(label) for label in experiment.labels]
    axes = plotting.plot_neuron(
        experiment.base, sites=dict(zip(labels, experiment.sites, strict=True))
    )
    write_figure(plotting, axes, out / "neuron.png")
    return "neuron.png"


def load_plotting() -> Any:
    """Imports `jaxdend.plotting`, or notes that matplotlib is not installed and gives `None`."""
    try:
        from jaxdend import plotting
    except ImportError as error:
        ERR.print(f"no figures: {error}", highlight=False)
        return None
    return plotting


def write_figure(plotting: Any, drawn: Any, path: Path) -> None:
    """Write a figure whole or not at all, and close it."""
    part = path.with_name(f".part-{path.name}")
    plotting.savefig(drawn, part, close=True)
    part.replace(path)


def closing(text: str, out: Path, figures: list[str]) -> None:
    """The last lines: `text`, and where the files are."""
    OUT.print(text, highlight=False)
    also = f" (see {', '.join(figures)})" if figures else ""
    OUT.print(f"written to {out}{also}", highlight=False, soft_wrap=True)


def _write_json(path: Path, result: dict[str, Any]) -> None:
    write_whole(path, json.dumps(_finite(result), indent=2) + "\n")


def _finite(value: Any) -> Any:
    """`value` with `None` for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {k: _finite(x) for k, x in value.items()}
    if isinstance(value, list):
        return [_finite(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
