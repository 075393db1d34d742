"""What `jaxdend task` shows: responses in a table, and one figure."""

from pathlib import Path

import numpy as np
from rich.table import Table as Grid

from jaxdend.cli.console import OUT
from jaxdend.cli.report import closing, load_plotting, write_figure
from jaxdend.tasks import AbstractTask, Logic, TaskResult

ROWS = 32  # patterns in a table at most


def report_task(result: TaskResult, task: AbstractTask, out: Path) -> None:
    """Print the response to every pattern, before and after; write the figure."""
    grid = Grid("pattern")
    task = result.task_of(task)
    wanted = wanted_responses(task)
    for name in ["wanted"] * (wanted is not None) + ["before", "after"]:
        unit = f" {result.unit}" if result.unit and name != "wanted" else ""
        grid.add_column(name + unit, justify="right")
    for i, label in enumerate(result.labels[:ROWS]):
        numbers = [f"{result.start_responses[i]:.4g}", f"{result.responses[i]:.4g}"]
        grid.add_row(label, *([] if wanted is None else [wanted[i]]), *numbers)
    OUT.print(grid)
    if len(result.labels) > ROWS:
        OUT.print(f"and {len(result.labels) - ROWS} patterns more, in result.json")
    text = (
        f"{verdict(result)} after {result.fit.steps} steps, {result.simulations} simulations and "
        f"{result.wall_s:.0f} s"
    )
    closing(text, out, _figure(result, task, out))


def report_controls(result: TaskResult, controls: dict[str, TaskResult]) -> None:
    """Print what the trained neuron and its controls answer, before and after training.

    The margin is the median over the draws: what divides neurons that are right equally often.
    """
    unit = f" {result.margin_unit}".rstrip()
    grid = Grid("neuron", "before", "after", "95 % interval", f"margin{unit}", "random neurons")
    for name, each in {result.task: result, **controls}.items():
        count = len(each.draws)
        low, high = each.interval
        middle, least = np.nanmedian(each.configs), np.nanmin(each.configs)
        grid.add_row(
            name,
            f"{each.start_right} of {count}",
            f"{each.right} of {count}",
            f"{low:.2f} to {high:.2f}",
            f"{each.margin:.3g}",
            f"loss {middle:.3g}, least {least:.3g}",
        )
    OUT.print("new draws with every pattern right:", highlight=False)
    OUT.print(grid)


def report_against(trained: dict[str, tuple[Logic, TaskResult]], out: Path) -> None:
    """Print what several neurons answer after training for one task; write them all to `out`.

    **Arguments:** `trained`, name -> task and result, all with the same patterns.
    """
    grid = Grid("pattern", "wanted")
    thresholds = {name: _threshold(*both) for name, both in trained.items()}
    for name, (_, result) in trained.items():
        above = f"{thresholds[name]:.3g} {result.unit}".rstrip()
        grid.add_column(f"{name}\n(high: > {above})", justify="right")
    tasks = [task for task, _ in trained.values()]
    for i, label in enumerate(tasks[0].labels):
        cells = [
            _answer(float(result.responses[i]), thresholds[name], bool(tasks[0].goal[i]))
            for name, (_, result) in trained.items()
        ]
        grid.add_row(label, "high" if tasks[0].goal[i] else "low", *cells)
    OUT.print(grid)
    for name, (_, result) in trained.items():
        result.save(out / name)
        OUT.print(f"{name}: {verdict(result)}", highlight=False)
    seconds = sum(result.wall_s for _, result in trained.values())
    closing(f"trained in {seconds:.0f} s", out, _figures_against(trained, out))


def _threshold(task: Logic, result: TaskResult) -> float:
    """What divides high from low: given with the task, or fixed by validation."""
    return float(np.nan if (given := result.task_of(task).threshold) is None else given)


def _answer(response: float, threshold: float, wanted: bool) -> str:
    return f"{response:.1f} {'✓' if (response > threshold) == wanted else '✗'}"


def verdict(result: TaskResult) -> str:
    """Says whether the task was solved, and how well."""
    if len(result.draws):
        low, high = result.interval
        return (
            f"{'solved' if result.solved else 'not solved'}: {result.right} of {len(result.draws)} "
            f"new draws right (95 %: {low:.2f} to {high:.2f}; {result.start_right} before training)"
        )
    right = f"{result.accuracy:.0%} {result.accuracy_unit}"
    return (
        f"{'solved' if result.solved else 'not solved'}: {right}, "
        f"margin {result.margin:.3g} {result.margin_unit}".rstrip()
    )


def wanted_responses(task: AbstractTask) -> list[str] | None:
    """Says for every pattern what is wanted: above or below the threshold, or high or low."""
    if task.goal is None:
        return None
    threshold = getattr(task, "threshold", None)
    if threshold is None or np.ndim(threshold):
        return ["high" if high else "low" for high in task.goal]
    return [f"{'>' if high else '<'} {float(threshold):.4g}" for high in task.goal]


def compare(saved: TaskResult, again: np.ndarray, solved: bool) -> bool:
    """Print saved and new responses side by side; returns whether they agree up to rounding."""
    grid = Grid("pattern")
    for name in ("saved", "again", "difference"):
        grid.add_column(f"{name} {saved.unit}".rstrip(), justify="right")
    for label, old, new in list(zip(saved.labels, saved.responses, again, strict=True))[:ROWS]:
        grid.add_row(label, f"{old:.6g}", f"{new:.6g}", f"{new - old:.2g}")
    OUT.print(grid)
    tolerance = np.sqrt(np.finfo(again.dtype).eps)
    close = np.isclose(again, saved.responses, rtol=tolerance, atol=tolerance, equal_nan=True)
    now = "solved" if solved else "not solved"
    OUT.print(
        f"{saved.task}, seed {saved.seed}: {now}; {int(close.sum())} of {len(close)} responses "
        f"are the saved ones (to {tolerance:.1g})",
        highlight=False,
    )
    return bool(close.all())


def _figure(result: TaskResult, task: AbstractTask, out: Path) -> list[str]:
    plotting = load_plotting()
    if plotting is None:
        return []
    figure, _ = plotting.plot_task(result, task)
    write_figure(plotting, figure, out / "task.png")
    return ["task.png"]


def _figures_against(trained: dict[str, tuple[Logic, TaskResult]], out: Path) -> list[str]:
    """The responses of all side by side, and a page for each neuron."""
    plotting = load_plotting()
    if plotting is None:
        return []
    for name, (task, result) in trained.items():
        figure, _ = plotting.plot_task(result, task)
        write_figure(plotting, figure, out / name / "task.png")
    write_figure(plotting, plotting.compare_responses(trained), out / "xor.png")
    return ["xor.png", *(f"{name}/task.png" for name in trained)]
