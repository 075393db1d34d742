"""The commands and what they take."""

import importlib.metadata
from pathlib import Path
from typing import Annotated

import typer

from jaxdend import demo as demonstration
from jaxdend.cli.console import OUT, explain, say_command
from jaxdend.cli.emulate import app as emulate_app
from jaxdend.cli.report import prepare, report_fit, report_simulation
from jaxdend.cli.runs import refuse_used, run_fit, run_simulation
from jaxdend.cli.sweep import sweep, sweep_status
from jaxdend.cli.task import app as task_app
from jaxdend.cli.task_report import report_against
from jaxdend.config import FitFile, ModelFile, precision
from jaxdend.files import locked

app = typer.Typer(
    name="jaxdend",
    help="Simulate and fit neurons with detailed dendrites.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(task_app)
app.add_typer(emulate_app)
app.command()(sweep)
app.command("sweep-status")(sweep_status)

Out = Annotated[Path, typer.Option("--out", help="Folder for figures, results and settings.")]


def main() -> None:
    """The entry point of the `jaxdend` script."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        OUT.print(f"jaxdend {importlib.metadata.version('jaxdend')}", highlight=False)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Simulate and fit neurons with detailed dendrites."""
    del version


@app.command()
def simulate(
    model: Annotated[Path, typer.Argument(help="A model file in TOML.", show_default=False)],
    out: Out = Path("simulate_out"),
) -> None:
    """Run the simulation that MODEL describes."""
    with explain(), locked(out):
        checked = ModelFile.read(model)
        prepare(out, checked.resolved)
        with precision(checked.precision):
            report_simulation(run_simulation(checked), out)


@app.command()
def fit(
    problem: Annotated[
        Path, typer.Argument(metavar="FIT", help="A fit file in TOML.", show_default=False)
    ],
    out: Out = Path("fit_out"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what --out holds, after Ctrl-C or a crash.")
    ] = False,
) -> None:
    """Find the parameters that FIT names, by gradient descent from several starts.

    Ctrl-C reports what was reached, and --resume goes on. Without it, a folder that holds a fit
    is left alone.
    """
    with explain(), locked(out):
        checked = FitFile.read(problem)
        if not resume:
            refuse_used(out)
            prepare(out, checked.resolved)
        with precision(checked.model.precision):
            run = run_fit(checked, out, resume=resume)
            prepare(out, checked.resolved)
            report_fit(run, out)
        if run.left:
            OUT.print(f"{run.left}; go on with:")
            say_command(OUT, "  ", "jaxdend", "fit", problem, "--out", out, "--resume")


@app.command()
def demo(
    out: Out = Path("demo_out"),
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Use the procedural cell: needs no file.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random starts.")] = 0,
    starts: Annotated[int, typer.Option(min=1, help="How many random starts.")] = 10,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Gradient steps in each part.", show_default=False)
    ] = None,
) -> None:
    """Recover hidden conductances of a reconstructed neuron, then teach a dendrite XOR."""
    with explain(), locked(out):
        checked = demonstration.demo_file(embedded=embedded, seed=seed, starts=starts, steps=steps)
        prepare(out, checked.resolved)
        OUT.print(demonstration.STORY, highlight=False)
        with precision(checked.model.precision):
            report_fit(run_fit(checked, out), out)
            OUT.print(f"\n{demonstration.XOR_STORY}", highlight=False)
            report_against(demonstration.demo_xor(seed=seed, steps=steps), out / "xor")
