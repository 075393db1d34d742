"""Run what a checked file describes, in JAX's current precision, with progress on stderr."""

import dataclasses
import shutil
import time
from pathlib import Path

import jax
import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jaxdend.cli.console import ERR
from jaxdend.config import Experiment, FitFile, ModelFile, Problem
from jaxdend.fitting import FitResult
from jaxdend.runs import Run
from jaxdend.traces import Traces

_CHECKPOINTS = "checkpoints"  # in the folder of a fit


@dataclasses.dataclass(frozen=True)
class SimulationRun:
    """A simulation and the time that it took."""

    experiment: Experiment
    traces: Traces
    seconds: float


@dataclasses.dataclass(frozen=True)
class FitRun:
    """A fit: one result a stage, and the voltage before and after."""

    problem: Problem
    stages: list[FitResult]
    before: np.ndarray  # (s, t, r) mV at the starts
    after: np.ndarray  # (s, t, r) mV at the best point of every start
    seconds: float

    @property
    def left(self) -> str:
        """How far it came, if it was interrupted; else empty."""
        last, plan = self.stages[-1], self.problem.file.resolved["stage"]
        if not last.interrupted:
            return ""
        number = len(self.stages)
        steps = plan[number - 1]["steps"]
        return f"stopped in stage {number} of {len(plan)} after {last.steps} of {steps} steps"


def refuse_used(out: Path) -> None:
    """Refuse to begin a fit in a folder that holds one.

    **Raises:** `ValueError` saying how to go on.
    """
    checkpoints = (out / _CHECKPOINTS).glob("*/[0-9]*")
    if any(checkpoints) or any(out.glob("stage_*.npz")):
        raise ValueError(
            f"{out} holds a fit already: go on with it by --resume, give another --out, or delete "
            "that folder"
        )


def run_simulation(model: ModelFile) -> SimulationRun:
    """Build and simulate a model file."""
    clock = time.perf_counter()
    with ERR.status("simulating"):
        experiment = model.build()
        traces = jax.block_until_ready(experiment.simulate())
    return SimulationRun(experiment, traces, time.perf_counter() - clock)


def run_fit(file: FitFile, out: Path, *, resume: bool = False) -> FitRun:
    """Build a fit file and run all its stages, with checkpoints in `out`.

    **Arguments:** `resume`, go on from those; otherwise what is there of an earlier run is removed.
    """
    folder = out / _CHECKPOINTS
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    clock = time.perf_counter()
    with ERR.status("building the cell and its target"):
        problem = file.build()
    with _progress() as progress:
        tasks = [
            progress.add_task(
                f"stage {i + 1} {stage['loss']}", total=stage["steps"], start=False, loss=""
            )
            for i, stage in enumerate(file.resolved["stage"])
        ]
        progress.start_task(tasks[0])

        def show(stage: int, step: int, losses: np.ndarray) -> None:
            progress.start_task(tasks[stage])
            finite = losses[np.isfinite(losses)]
            best = f"{finite.min():.3g}" if finite.size else "not finite"
            progress.update(tasks[stage], completed=step, loss=best)

        stages = problem.run(show, run=Run(folder, resume=resume, progress=False))
    voltage = jax.jit(jax.vmap(problem.voltage))
    before = np.asarray(voltage(stages[0].start_params))
    after = np.asarray(voltage(stages[-1].all_params))
    return FitRun(problem, stages, before, after, time.perf_counter() - clock)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("best loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=ERR,
    )
