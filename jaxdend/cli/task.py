"""`jaxdend task`: train a neuron on a task by name, and check what was trained."""

import dataclasses
import inspect
import shutil
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import typer
from rich.table import Table as Grid

from jaxdend.cli.console import ERR, FAILED, OUT, explain, say_command
from jaxdend.cli.report import prepare
from jaxdend.cli.task_report import compare, report_controls, report_task
from jaxdend.config import precision
from jaxdend.config.schema import Key, Place, check_table, flag, integer, read_toml, text
from jaxdend.files import locked
from jaxdend.runs import Run
from jaxdend.tasks import (
    CONTROLS,
    TASKS,
    AbstractTask,
    TaskResult,
    evaluate,
    held_out,
    judged,
    make_task,
    respond_all,
    train,
)
from jaxdend.tasks.base import Params

PRECISION = "float64"
SAVE_EVERY = 10  # gradient steps
CHECKPOINTS = "checkpoints"  # in the folder of a run
_RECORD = {  # what resolved.toml says of a run
    "task": Key(text()),
    "seed": Key(integer(least=0)),
    "steps": Key(integer(least=1)),
    "configs": Key(integer(least=1)),
    "embedded": Key(flag()),
}

app = typer.Typer(
    name="task",
    help="Train neurons on tasks that dendrites compute.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_tasks() -> None:
    """Show the names of all tasks and what each of them asks."""
    grid = Grid("task", "what the neuron learns")
    for name, builder in TASKS.items():
        grid.add_row(name, (inspect.getdoc(builder) or "").split("\n", 1)[0])
    OUT.print(grid)


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="One of `jaxdend task list`.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", help="Folder for result, parameters and figure.")]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Seed of the random neurons; 0 unless given.")
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Gradient steps at most.", show_default=False)
]
Configs = Annotated[
    int | None, typer.Option(min=1, help="Random neurons at first.", show_default=False)
]
Embedded = Annotated[
    bool,
    typer.Option(
        "--embedded",
        help="Use no file from outside: a task of a reconstructed neuron takes the procedural "
        "cell. So far every task does anyway.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with what --out holds, after Ctrl-C, a crash, or with more --steps."
    ),
]


Controls = Annotated[
    bool,
    typer.Option(
        "--controls/--no-controls",
        help="Train the neurons that should fail in the same way, and show all in one table.",
    ),
]


@app.command()
def run(
    name: Name,
    out: Out = Path("task_out"),
    seed: Seed = None,
    steps: Steps = None,
    configs: Configs = None,
    embedded: Embedded = False,
    resume: Resume = False,
    controls: Controls = True,
) -> None:
    """Train the neuron of task NAME. Ctrl-C keeps what was reached, and --resume goes on."""
    with explain(), precision(PRECISION), locked(out):
        before = _recorded(out) if resume else {}
        given = {"task": name, "seed": seed, "steps": steps, "configs": configs}
        given = {key: value for key, value in given.items() if value is not None}
        _check_same(out, before, given)
        settings = {"seed": 0} | before | given | {"embedded": embedded}
        task = make_task(name, settings["seed"])
        asked = {key: settings[key] for key in ("steps", "configs") if key in settings}
        training = dataclasses.replace(task.training, **asked)
        settings |= {"steps": training.steps, "configs": training.configs}
        prepare(out, settings)
        if not resume:  # nothing of an earlier run is taken for this one's, should this one die
            for file in ("result.json", "params.npz", "fit.npz", "task.png"):
                (out / file).unlink(missing_ok=True)
            shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        OUT.print(_story(name), highlight=False)
        result = train(
            task,
            seed=settings["seed"],
            training=training,
            run=Run(out / CHECKPOINTS, every=SAVE_EVERY, resume=resume),
        )
        result = dataclasses.replace(result, task=name)
        result.save(out, embedded=embedded)
        report_task(result, task, out)
        if result.fit.interrupted and result.fit.steps < training.steps:
            OUT.print(f"stopped after {result.fit.steps} of {training.steps} steps; go on with:")
            say_command(OUT, "  ", "jaxdend", "task", "run", name, "--out", out, "--resume")
        elif controls and name in CONTROLS:
            report_controls(result, _train_controls(name, result.seed, asked, out, resume))


def _train_controls(
    name: str, seed: int, asked: dict[str, int], out: Path, resume: bool
) -> dict[str, TaskResult]:
    """The controls of a task, trained as it was; each has a folder in `out`/controls."""
    trained = {}
    for control in CONTROLS[name]:
        OUT.print(_story(control), highlight=False)
        task, folder = make_task(control, seed), out / "controls" / control
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
        trained[control] = train(
            task,
            seed=seed,
            training=dataclasses.replace(task.training, **asked),
            run=Run(folder / CHECKPOINTS, every=SAVE_EVERY, resume=resume),
        )
        dataclasses.replace(trained[control], task=control).save(folder)
    return trained


@app.command()
def replay(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What `task run` wrote.", show_default=False)
    ],
) -> None:
    """Simulate the trained neuron in DIR again, and compare its responses with the saved ones."""
    with explain():
        saved = _load(folder)
        single = all(value.dtype == np.float32 for value in saved.params.values())
        with precision("float32" if single else PRECISION):
            task = make_task(saved.task, saved.seed)
            _check_version(folder, saved, task)
            params = {name: jnp.asarray(value) for name, value in saved.params.items()}
            responses, solved = _again(saved, task, params)
        same = compare(saved, responses, solved)
    if not same:
        ERR.print(f"{folder}: the responses are not the saved ones", highlight=False)
        raise typer.Exit(FAILED)


def _again(saved: TaskResult, task: AbstractTask, params: Params) -> tuple[np.ndarray, bool]:
    """The responses `(P,)` of saved parameters, and whether they solve the task."""
    if not task.random:
        responses, score = evaluate(task, params)
        return np.asarray(responses), bool(score.solved)
    vector = task.neuron.space.to_vector(params)
    drawn = respond_all(task, vector[None], held_out(task, saved.seed, len(saved.draws)))[0]
    right, _ = judged(saved.task_of(task), drawn)
    return drawn.mean(axis=0), bool(right.mean() >= task.training.least)


def _story(name: str) -> str:
    """The first paragraph of the task's documentation."""
    return (inspect.getdoc(TASKS[name]) or name).split("\n\n", 1)[0].replace("\n", " ")


def _recorded(out: Path) -> dict[str, Any]:
    """What an earlier run in `out` was asked to do."""
    path = out / "resolved.toml"
    if not path.exists():
        raise ValueError(
            f"{out} holds no run to resume: it has no {path.name}. Leave out --resume to begin one."
        )
    settings = read_toml(path)
    if missing := {"task", "seed", "steps", "configs"} - set(settings):
        raise ValueError(
            f"{path} is not that of a task: it has no {', '.join(sorted(missing))}. "
            "Give the folder of a `jaxdend task run` as --out."
        )
    return check_table(Place(path), settings, _RECORD)


def _check_same(out: Path, before: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse to go on with another task, seed or set of random neurons."""
    for key, value in given.items():
        if before and key != "steps" and before[key] != value:
            raise ValueError(
                f"cannot resume: {out} holds a run with {key} {before[key]!r}, not {value!r}. "
                f"Give that one, or another --out without --resume."
            )


def _load(folder: Path) -> TaskResult:
    try:
        return TaskResult.load(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(
            f"{folder} is not the folder of a finished task: {error}. "
            "`jaxdend task run NAME --out DIR` makes one."
        ) from error


def _check_version(folder: Path, saved: TaskResult, task: AbstractTask) -> None:
    """Refuse parameters that the task of this version does not have."""
    if saved.fit.space != task.neuron.space or saved.labels != task.labels:
        raise ValueError(
            f"{folder} was made by another version of task {saved.task!r}: its parameters or "
            "patterns are not those of this one. Run it again, or use that version."
        )
