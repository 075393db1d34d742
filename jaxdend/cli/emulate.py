"""`jaxdend emulate`: networks that stand for a neuron, the published experiments in four steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as Grid

from jaxdend.cli.console import ERR, INTERRUPTED, OUT, explain, say_command
from jaxdend.cli.emulate_report import report_experiment, show_results
from jaxdend.config import precision
from jaxdend.emulator.data import open_data
from jaxdend.emulator.experiments import (
    ABOUT,
    BUDGETS,
    EXPERIMENTS,
    SCALES,
    Experiment,
    experiment,
    recorded_budget,
)
from jaxdend.files import locked

PRECISION = "float32"  # rounding is far below what a network errs by

app = typer.Typer(
    name="emulate",
    help="Train networks to predict a neuron: `data`, then `train`, `evaluate`, `report`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path, typer.Option("--out", help="Folder for data, networks and results.")]
Name = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        help=f"One of {', '.join(EXPERIMENTS)}.  [default: what --out holds, else depth]",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        help=f"How much to do: {', '.join(BUDGETS)}.  [default: what --out holds, else 10min]"
    ),
]
FOLDER = Path("emulate_out")


@app.command("list")
def list_experiments() -> None:
    """Show the experiments, and how large each is in every budget."""
    grid = Grid("experiment", "budget", "simulations", "networks", "steps of each")
    for name in EXPERIMENTS:
        for i, budget in enumerate(BUDGETS):
            run, scale = experiment(name, budget), SCALES[name][budget]
            hours = len(run.receptors) * scale.simulations * scale.seconds / 3600
            grid.add_row(
                "" if i else name, budget, f"{hours:.2g} h", str(len(run.plans)), str(scale.steps)
            )
    OUT.print(grid)
    for name in EXPERIMENTS:
        OUT.print(f"{name}: {ABOUT[name]}.", highlight=False)


@app.command()
def data(out: Out = FOLDER, name: Name = None, budget: Budget = None) -> None:
    """Simulate the neuron under random input. Ctrl-C loses nothing: the same command goes on."""
    with explain(), precision(PRECISION), locked(out):
        run = chosen(out, name, budget)
        OUT.print(f"{ABOUT[run.name]} ({run.budget}).", highlight=False)
        _going_on(run, out, "data", lambda: run.data(out, say=_say))
        grid = Grid("receptors", "input", "simulations", "s each", "spikes/s")
        for receptors in run.receptors:
            for kind in run.scale.kinds:
                found = open_data(run.store(out, receptors, kind))
                seconds = f"{run.scale.seconds:g}"
                grid.add_row(receptors, kind, str(found.n), seconds, f"{found.rate:.2f}")
        OUT.print(grid)
        _next(run, out, "train")


@app.command()
def train(out: Out = FOLDER, name: Name = None, budget: Budget = None) -> None:
    """Train the networks that are not yet. Ctrl-C loses nothing: the same command goes on."""
    with explain(), precision(PRECISION), locked(out):
        run = chosen(out, name, budget)
        _going_on(run, out, "train", lambda: run.train(out, say=_say))
        OUT.print(
            f"trained: {len(run.plans)} of {len(run.plans)} networks, in {run.folder(out)}",
            soft_wrap=True,
        )
        _next(run, out, "evaluate")


@app.command()
def evaluate(out: Out = FOLDER, name: Name = None, budget: Budget = None) -> None:
    """Test the trained networks on input as in training and unlike it; write metrics.json."""
    with explain(), precision(PRECISION), locked(out):
        run = chosen(out, name, budget)
        complete = run.evaluate(out, say=_say)
        rows = run.rows(out)
        show_results(rows)
        if not complete:
            OUT.print(f"trained so far: {len(rows)} of {len(run.plans)} networks")
            _next(run, out, "train")
        _next(run, out, "report")


@app.command()
def report(out: Out = FOLDER, name: Name = None, budget: Budget = None) -> None:
    """Draw the figures, and write report.md and report.html."""
    with explain(), precision(PRECISION), locked(out):
        report_experiment(chosen(out, name, budget), out)


def chosen(out: Path, name: str | None, budget: str | None) -> Experiment:
    """The experiment asked for, or else the one that the folder holds.

    **Raises:** `ValueError` for a folder with several, of which none is named; for unknown names.
    """
    if name is None:
        held = [x for x in EXPERIMENTS if (out / x).is_dir()]
        if len(held) > 1:
            raise ValueError(f"{out} holds {', '.join(held)}: say which, with --experiment")
        name = held[0] if held else "depth"
    return experiment(name, budget or recorded_budget(out) or "10min")


def _going_on(run: Experiment, out: Path, what: str, act: Callable[[], bool]) -> None:
    """Do it; after Ctrl-C say how to go on, and leave."""
    try:
        done = act()
    except KeyboardInterrupt:
        done = False
    if not done:
        ERR.print("stopped, nothing is lost; go on with:", highlight=False)
        say_command(ERR, "  ", *_command(run, out, what))
        raise typer.Exit(INTERRUPTED)


def _next(run: Experiment, out: Path, what: str) -> None:
    say_command(OUT, "next: ", *_command(run, out, what))


def _command(run: Experiment, out: Path, what: str) -> list[object]:
    asked = ["--experiment", run.name, "--budget", run.budget, "--out", out]
    return ["jaxdend", "emulate", what, *asked]


def _say(text: str) -> None:
    ERR.print(text, highlight=False, soft_wrap=True)
