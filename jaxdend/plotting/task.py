"""A trained task on one page: responses, learning, synapses on the tree, traces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import ScaledTranslation

from jaxdend.plotting._shape import layout_of, shape_of
from jaxdend.plotting.neuron import Plane, bounds, plot_neuron
from jaxdend.plotting.style import CMAP, COLORS, INK, MUTED, axes_or_new, figure_of, styled
from jaxdend.tasks.base import AbstractTask, Placement
from jaxdend.tasks.judge import held_out
from jaxdend.tasks.result import TaskResult

LOW, HIGH = COLORS[0], COLORS[1]  # patterns that should and should not be answered
TRACES = 8  # patterns drawn at most
STACK = 34.0  # points, the most that synapses on one compartment spread to one side


def plot_task(result: TaskResult, task: AbstractTask) -> tuple[Figure, dict[str, Any]]:
    """What training did: responses before and after, losses, placement and traces.

    Patterns that should be answered are orange, the others blue. The placement and the traces of
    at most eight patterns are drawn where the neuron offers them.

    **Returns:** the figure and its axes: `"responses"`, `"learning"`, `"placement"` (or `None`) and
    `"traces"` (a list).
    """
    params = {name: jnp.asarray(value) for name, value in result.params.items()}
    task = result.task_of(task)
    placement = task.neuron.placement(params)
    curves = _curves(task, params, result.seed)
    rows = -(-len(curves) // 4)
    tall = 3.4 + 1.55 * rows + 0.3 * bool(rows)
    with styled():
        figure = plt.figure(
            figsize=(8.4 + 2.6 * (placement is not None), tall), layout="constrained"
        )
        axes: dict[str, Any] = {"placement": None, "traces": []}
        main: Any = figure
        if placement is not None:
            sides: Any = figure.subfigures(1, 2, width_ratios=[8.4, 2.6])
            main, side = sides
            axes["placement"] = _placement(side.subplots(), placement, task.labels)
        top = main
        if curves:
            top, bottom = main.subfigures(2, 1, height_ratios=[3.4, 1.55 * rows + 0.3])
            axes["traces"] = _traces(bottom, curves, task, result)
        left, right = top.subplots(1, 2, width_ratios=[1.15, 1.0])
        axes["responses"], axes["learning"] = plot_responses(result, task, left), right
        _learning(right, result)
    return figure, axes


def plot_responses(result: TaskResult, task: AbstractTask, ax: Axes | None = None) -> Axes:
    """The response to every pattern, before and after training, and where it was wanted.

    **Returns:** the axes.
    """
    task = result.task_of(task)
    before, after = np.asarray(result.start_responses), np.asarray(result.responses)
    at, colors = np.arange(len(after)), _colors(task)
    threshold = _threshold(task)
    with axes_or_new(ax, (4.4, 3.4)) as axes:
        axes.scatter(at, before, s=34, facecolor="none", edgecolor=MUTED, linewidth=1.3, zorder=3)
        axes.vlines(at, before, after, color=MUTED, linewidth=1.0, zorder=2)
        for drawn in np.asarray(result.draws):  # beside the mean, one point a test draw
            axes.scatter(at + 0.24, drawn, s=7, color=colors, alpha=0.5, linewidth=0.0, zorder=3)
        axes.scatter(at, after, s=46, color=colors, zorder=4)
        axes.margins(y=0.12)
        handles: list[Any] = [
            Line2D([], [], marker="o", color=MUTED, markerfacecolor="none", linewidth=0.0),
            Line2D([], [], marker="o", color=INK, linewidth=0.0),
        ]
        names = ["before", "after training"]
        if task.goal is not None:
            _wanted(axes, task.goal, threshold, colors)
            handles.append(Patch(color=INK, alpha=0.15, linewidth=0.0))
            names.append("wanted")
        if threshold is not None:
            axes.axhline(threshold, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        shown = at[:: -(-len(at) // 16)]
        narrow = max(len(task.labels[i]) for i in shown) * len(shown) > 36
        axes.set_xticks(shown, [task.labels[i] for i in shown], rotation=60 if narrow else 0)
        axes.set_xlim(-0.6, len(at) - 0.4)
        axes.set_xlabel("pattern")
        axes.set_ylabel(f"response ({result.unit})" if result.unit else "response")
        axes.set_title(_verdict(result), loc="left")
        axes.legend(handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.2 - 0.25 * narrow),
                    ncols=3, handletextpad=0.2, columnspacing=1.0)  # fmt: skip
        return axes


def compare_responses(trained: Mapping[str, tuple[AbstractTask, TaskResult]]) -> Figure:
    """The responses of several neurons side by side, from name -> task and result."""
    with styled():
        figure = plt.figure(figsize=(4.2 * len(trained), 3.7), layout="constrained")
        for ax, (name, (task, result)) in zip(
            np.atleast_1d(figure.subplots(1, len(trained))), trained.items(), strict=True
        ):
            title = plot_responses(result, task, ax).get_title("left")
            ax.set_title(title.replace(result.task, name, 1), loc="left")
    return figure


def _verdict(result: TaskResult) -> str:
    if len(result.draws):
        return f"{result.task}: {result.right} of {len(result.draws)} new draws right"
    unit = f" {result.margin_unit}" if result.margin_unit else ""
    right = f"{result.accuracy:.0%} {result.accuracy_unit}"
    return f"{result.task}: {right}, margin {result.margin:.3g}{unit}"


def _colors(task: AbstractTask) -> list[str]:
    if task.goal is None:
        return [INK] * len(task.labels)
    return [HIGH if wanted else LOW for wanted in task.goal]


def _threshold(task: AbstractTask) -> float | None:
    """The response that divides right from wrong, where the task has one."""
    threshold = getattr(task, "threshold", None)
    return None if threshold is None or np.ndim(threshold) else float(threshold)


def _wanted(ax: Axes, goal: np.ndarray, threshold: float | None, colors: list[str]) -> None:
    """Shades the side of the threshold where each response should be, or the pattern to prefer."""
    if threshold is None:
        for i in np.flatnonzero(goal):
            ax.axvspan(i - 0.4, i + 0.4, color=colors[i], alpha=0.13, linewidth=0.0, zorder=0)
        return
    low, high = ax.get_ylim()
    room = 0.15 * (high - low)
    low, high = min(low, threshold - room), max(high, threshold + room)
    for i, wanted in enumerate(goal):
        end = high if wanted else low
        ax.fill_between([i - 0.4, i + 0.4], threshold, end, color=colors[i], alpha=0.13,
                        linewidth=0.0, zorder=0)  # fmt: skip
    ax.set_ylim(low, high)


def _learning(ax: Axes, result: TaskResult) -> None:
    """Random neurons as dots left of step 0; the loss of every start from there on."""
    losses, configs = np.asarray(result.fit.losses), np.asarray(result.configs)
    steps = np.arange(len(losses))
    best = int(result.fit.best_start)
    wide = max(len(losses) - 1, 1)
    spread = np.random.default_rng(0).uniform(-0.16, -0.05, len(configs)) * wide
    ax.plot(spread, configs, "o", color=MUTED, markersize=3.0, alpha=0.7, markeredgewidth=0.0,
            label="random neurons")  # fmt: skip
    for i in range(losses.shape[1]):
        if i != best:
            label = "by gradient" if i == (best == 0) else None
            ax.plot(steps, losses[:, i], color=COLORS[5], linewidth=1.0, label=label)
    ax.plot(steps, losses[:, best], color=INK, marker="o" if len(steps) < 3 else None,
            markersize=4.0, label="best")  # fmt: skip
    finite = np.concatenate([configs, losses.ravel()])
    finite = finite[np.isfinite(finite)]
    if finite.size and finite.min() > 0 and finite.max() > 10 * finite.min():
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(-0.19 * wide, 1.02 * wide)
    ticks = [t for t in ax.get_xticks() if 0 <= t <= wide and t == int(t)]
    ax.set_xticks(ticks)
    ax.set_xlim(-0.19 * wide, 1.02 * wide)
    ax.set_xlabel("gradient step")
    ax.set_ylabel("loss")
    ax.set_title(f"{result.simulations:,} simulations", loc="left")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, handletextpad=0.4,
              columnspacing=1.0)  # fmt: skip


@dataclass(frozen=True)
class _Curve:
    """The trace of one pattern."""

    pattern: int
    ts: np.ndarray  # (t,) ms
    v: np.ndarray  # (t,)


def _curves(task: AbstractTask, params: dict[str, Any], seed: int) -> list[_Curve]:
    """The traces of at most `TRACES` patterns, to the first of the test draws, or none."""
    keys = held_out(task, seed, 1)
    patterns = task.patterns if keys is None else task.draw(keys[0])

    @eqx.filter_jit
    def trace(pattern: Any) -> Any:
        return task.neuron.trace(params, pattern)

    count = len(task.labels)
    chosen = np.unique(np.linspace(0, count - 1, min(count, TRACES)).round().astype(int))
    curves = []
    for i in chosen:
        drawn = trace(patterns[i])
        if drawn is None:
            return []
        curves.append(_Curve(int(i), np.asarray(drawn[0]), np.asarray(drawn[1])))
    return curves


def _traces(
    figure: Any, curves: Sequence[_Curve], task: AbstractTask, result: TaskResult
) -> list[Axes]:
    """One small panel a pattern, all on the same axes."""
    rows, columns = -(-len(curves) // 4), min(len(curves), 4)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes, colors = list(grid.ravel()), _colors(task)
    threshold = _threshold(task)
    read = all(_is_read_off(c, result.responses[c.pattern]) for c in curves)
    for ax, curve in zip(axes, curves, strict=False):
        ax.plot(curve.ts, curve.v, color=colors[curve.pattern], linewidth=1.0)
        if read:  # else the responses are of another quantity than the trace
            i = np.abs(curve.v - result.responses[curve.pattern]).argmin()
            ax.plot(curve.ts[i], curve.v[i], "o", color=colors[curve.pattern], markersize=5.0,
                    clip_on=False)  # fmt: skip
            if threshold is not None:
                ax.axhline(threshold, color=INK, linewidth=0.7, linestyle=(0, (4, 2)))
        ax.set_title(task.labels[curve.pattern], pad=2.0)
        ax.set_xlim(curve.ts[0], curve.ts[-1])
    for ax in axes[len(curves) :]:
        ax.axis("off")
    for row in grid:
        row[0].set_ylabel("mV")
    dots = "; the dot is the response" if read else ""
    figure.supxlabel(f"time (ms){dots}", fontsize="medium")
    return axes[: len(curves)]


def _is_read_off(curve: _Curve, response: float) -> bool:
    """Whether the response is one of the trace's values."""
    return bool(np.abs(curve.v - response).min() <= 1e-4 * max(1.0, abs(response)))


def _placement(ax: Axes, placement: Placement, labels: Sequence[str]) -> Axes:
    """The tree in grey; synapses beside it, coloured by input, their area the weight."""
    cell, sites = placement.cell, np.asarray(placement.sites)
    shape, plane = shape_of(cell), "xy"
    if shape is not None:
        low, high = bounds(shape, Plane.parse(plane))
        plane = "yx" if high[0] - low[0] > high[1] - low[1] else "xy"  # upright
    plot_neuron(cell, np.full(cell.n, np.nan), ax, plane=plane, legend=False)
    if shape is None:
        layout = layout_of(cell)
        position = np.column_stack([layout.slot, 0.5 * (layout.start + layout.end)])
    else:
        position = Plane.parse(plane).project(shape.position)
    weight = np.asarray(placement.weight, float)
    largest = float(np.abs(weight).max(initial=0.0)) or 1.0
    names = _inputs(np.asarray(placement.group), labels)
    shift = _spread(cell, position, placement, upright=shape is None)
    for i in np.argsort(-np.abs(weight), kind="stable"):
        color = names[int(placement.group[i])][1]
        across, up = (float(points) / 72.0 for points in shift[i])
        move = ScaledTranslation(across, up, figure_of(ax).dpi_scale_trans)
        ax.scatter(*position[sites[i]], s=8.0 + 52.0 * abs(weight[i]) / largest,
                   facecolor=color if weight[i] >= 0 else "white",
                   edgecolor="white" if weight[i] >= 0 else color,
                   linewidth=0.6 if weight[i] >= 0 else 1.4,
                   transform=ax.transData + move, zorder=5, clip_on=False)  # fmt: skip
    handles = [
        Line2D([], [], marker="o", linewidth=0.0, color=color, label=name)
        for name, color in list(names.values())[:: max(1, -(-len(names) // 6))]
    ]
    if (weight < 0).any():
        handles.append(Line2D([], [], marker="o", linewidth=0.0, color=INK, label="inhibition",
                              markerfacecolor="white"))  # fmt: skip
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), handletextpad=0.2,
              ncols=2 if len(handles) > 1 else 1, columnspacing=1.0)  # fmt: skip
    ax.set_title(f"{len(sites)} synapses, up to {1e3 * largest:.2g} nS")
    return ax


def _inputs(group: np.ndarray, labels: Sequence[str]) -> dict[int, tuple[str, str]]:
    """The name and colour of every input: those of its own pattern where it has one."""
    present = [int(g) for g in np.unique(group)]
    many = len(present) > len(COLORS)
    named = {}
    for k, g in enumerate(present):
        letter = "XYZW"[g : g + 1]
        name = f"input {letter}" if letter and letter in labels else f"input {g + 1}"
        shade = to_hex(CMAP(k / (len(present) - 1))) if many else COLORS[(2 + k) % len(COLORS)]
        named[g] = (name, shade)
    return named


def _spread(cell: Any, position: np.ndarray, placement: Placement, upright: bool) -> np.ndarray:
    """Points by which every synapse stands beside its branch, `(k, 2)`; inputs alternate sides."""
    sites, group = np.asarray(placement.sites), np.asarray(placement.group)
    parent = np.asarray(cell.parent)
    along = np.where(parent[:, None] >= 0, position - position[parent], 0.0)[sites]
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = along / np.where(length > 0, length, 1.0)
    along = np.where((length == 0) | upright, [0.0, 1.0], along)
    side = np.where(np.searchsorted(np.unique(group), group) % 2 == 0, -1.0, 1.0)
    rank = np.zeros(len(sites))
    seen: dict[tuple[int, float], int] = {}
    for i in np.argsort(-np.abs(np.asarray(placement.weight, float)), kind="stable"):
        key = (int(sites[i]), float(side[i]))
        rank[i] = seen.get(key, 0)
        seen[key] = int(rank[i]) + 1
    step = min(6.0, STACK / max(float(rank.max(initial=0.0)), 1.0))
    across = np.column_stack([along[:, 1], -along[:, 0]])
    return across * (side * (5.0 + step * rank))[:, None]
