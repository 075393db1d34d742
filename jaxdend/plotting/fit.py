"""A fit on one page: traces before and after, loss of every start, parameters found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from jaxdend.plotting.style import COLORS, INK, MUTED, literal, styled
from jaxdend.plotting.traces import time_by_site

TARGET, START, FITTED = INK, COLORS[5], COLORS[1]
SHOWN = 4  # recorded sites at most, the first ones


@runtime_checkable
class FitLike(Protocol):
    """What `plot_fit` reads: `jaxdend.fitting.FitResult` has it, any plain object may."""

    losses: Any  # (k, s) loss at each of k steps of s starts; NaN where it failed
    start_params: Any  # name -> (s, ...) where each start began
    all_params: Any  # name -> (s, ...) the best of each start


@dataclass(frozen=True)
class _Rows:
    """Parameters side by side, one row a component."""

    names: list[str]
    start: np.ndarray  # (p, s)
    fitted: np.ndarray  # (p, s)
    true: np.ndarray | None  # (p,)


def plot_fit(
    result: FitLike,
    true: Mapping[str, Any] | None = None,
    *,
    ts: Any = None,
    target: Any = None,
    before: Any = None,
    after: Any = None,
    labels: Sequence[str] | None = None,
    ylabel: str = "mV",
) -> tuple[Figure, dict[str, Any]]:
    """Loss history and parameters of a fit and, where `ts` is given, its traces.

    **Arguments:** `result`, a `FitResult` or anything with `losses (k, s)`, `start_params` and
    `all_params` (name -> `(s, ...)`); `true`, name -> the hidden values: parameters are then shown
    as multiples of them. `ts (t,)` ms with any of `target`, `before` and `after`, `(t, r)` or
    `(t,)`, in the unit that `ylabel` names; `labels`, one a recorded site. At most four sites are
    drawn.

    **Returns:** the figure and its axes: `"traces"` (a list), `"loss"`, `"parameters"`.

    **Raises:** `ValueError` for shapes that do not match or true parameters that are missing.
    """
    rows = _rows(result, true)
    losses = np.asarray(result.losses, float)
    if losses.ndim == 1:
        losses = losses[:, None]
    curves = _curves(ts, target, before, after)
    sites = min(next((v.shape[1] for v in curves.values()), 0), SHOWN)
    if labels is not None and len(labels) < sites:
        raise ValueError(f"labels must be one a recorded site: got {labels!r} for {sites} sites.")
    lower = max(2.4, 0.7 + 0.42 * len(rows.names))
    with styled():
        figure = plt.figure(figsize=(8.0, lower + 1.25 * sites + 0.4), layout="constrained")
        grid = figure.add_gridspec(
            sites + 1, 2, height_ratios=[1.25] * sites + [lower], width_ratios=[1.0, 1.25]
        )
        axes: dict[str, Any] = {
            "traces": [figure.add_subplot(grid[i, :]) for i in range(sites)],
            "loss": figure.add_subplot(grid[-1, 0]),
            "parameters": figure.add_subplot(grid[-1, 1]),
        }
        _traces(axes["traces"], np.asarray(ts), curves, labels, ylabel)
        _loss(axes["loss"], losses)
        _parameters(axes["parameters"], rows, _best(losses))
    return figure, axes


def _curves(ts: Any, target: Any, before: Any, after: Any) -> dict[str, np.ndarray]:
    given = {"target": target, "start": before, "fitted": after}
    given = {name: v for name, v in given.items() if v is not None}
    if given and ts is None:
        raise ValueError(f"plot_fit needs ts= (t,) ms to draw {', '.join(given)}.")
    curves = {name: time_by_site(ts, v, name)[1] for name, v in given.items()}
    if len({v.shape for v in curves.values()}) > 1:
        shapes = ", ".join(f"{name} {v.shape}" for name, v in curves.items())
        raise ValueError(f"traces must have one shape; got {shapes}.")
    return curves


def _traces(
    axes: list[Axes],
    ts: np.ndarray,
    curves: dict[str, np.ndarray],
    labels: Sequence[str] | None,
    ylabel: str,
) -> None:
    looks: dict[str, dict[str, Any]] = {
        "target": {"color": TARGET, "linewidth": 2.6, "alpha": 0.45},
        "start": {"color": START, "linewidth": 1.2},
        "fitted": {"color": FITTED, "linewidth": 1.2, "linestyle": (0, (4, 1.5))},
    }
    for i, ax in enumerate(axes):
        for name, v in curves.items():
            ax.plot(ts, v[:, i], label=name, **looks[name])
        ax.set_xlim(ts[0], ts[-1])
        ax.set_ylabel(ylabel)
        if labels is not None:
            ax.set_title(labels[i], loc="left", pad=3.0)
        if ax is axes[-1]:
            ax.set_xlabel("time (ms)")
        else:
            ax.sharex(axes[-1])
            ax.tick_params(labelbottom=False)
    if axes:
        axes[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _best(losses: np.ndarray) -> int:
    return int(np.where(np.isfinite(losses), losses, np.inf).min(axis=0).argmin())


def _loss(ax: Axes, losses: np.ndarray) -> None:
    """Loss against step on a logarithmic axis, the best start on top."""
    shown = np.where(losses > 0, losses, np.nan)
    best, starts = _best(losses), losses.shape[1]
    steps = np.arange(len(losses))
    for i in range(starts):
        if i != best:
            ax.plot(steps, shown[:, i], color=MUTED, linewidth=0.9)
    name = f"best of {starts} starts" if starts > 1 else None
    ax.plot(steps, shown[:, best], color=FITTED, label=name)
    if np.isfinite(shown).any():
        ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    ax.set_xlim(0, max(len(losses) - 1, 1))
    if name is not None:
        ax.legend(loc="upper right")


def _parameters(ax: Axes, rows: _Rows, best: int) -> None:
    """A row a parameter: open dots where the starts began, filled ones where they ended."""
    unit = np.ones(len(rows.names)) if rows.true is None else rows.true
    with np.errstate(divide="ignore", invalid="ignore"):
        start, fitted = rows.start / unit[:, None], rows.fitted / unit[:, None]
    drawable = np.concatenate([start, fitted], axis=1)
    drawable = np.isfinite(drawable) & (drawable > 0)
    y = np.arange(len(rows.names))[:, None] + np.zeros_like(start)
    start, fitted = (np.where(a > 0, a, np.nan) for a in (start, fitted))
    ax.set_xscale("log")
    if rows.true is not None:
        ax.axvspan(0.95, 1.05, color=MUTED, alpha=0.4, linewidth=0.0, label="true ± 5 %")
        ax.axvline(1.0, color=TARGET, linewidth=0.8)
    ax.plot(start.ravel(), (y - 0.16).ravel(), "o", markersize=4.5, markerfacecolor="none",
            color=START, label="start")  # fmt: skip
    ax.plot(fitted.ravel(), (y + 0.16).ravel(), "o", markersize=4.5, color=FITTED, alpha=0.6,
            markeredgewidth=0.0, label="fitted")  # fmt: skip
    ax.plot(fitted[:, best], y[:, 0] + 0.16, "D", markersize=5.0, color=FITTED,
            markeredgecolor=INK, label="best")  # fmt: skip
    ax.set_yticks(np.arange(len(rows.names)), rows.names)
    ax.set_ylim(len(rows.names) - 0.5, -0.5)
    label = "value" if rows.true is None else "value / true"
    hidden = int((~drawable).sum())
    ax.set_xlabel(label + (f" ({hidden} of other sign not shown)" if hidden else ""))
    _plain_ticks(ax, np.concatenate([start, fitted], axis=1))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.3)


def _plain_ticks(ax: Axes, values: np.ndarray) -> None:
    """0.5, 1, 2 instead of powers of ten where the axis spans less than two decades."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0 or finite.max() / finite.min() > 100:
        return
    low, high = min(finite.min(), 1.0), max(finite.max(), 1.0)
    ticks = [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]
    ax.set_xticks([t for t in ticks if low / 1.1 <= t <= high * 1.1])
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _rows(result: FitLike, true: Mapping[str, Any] | None) -> _Rows:
    start, fitted = dict(result.start_params), dict(result.all_params)
    if missing := [name for name in fitted if true is not None and name not in true]:
        raise ValueError(f"the true parameters lack {', '.join(missing)}.")
    names, rows, ends, truth = [], [], [], []
    for name, value in fitted.items():
        end = _by_component(value)
        rows.append(_by_component(start[name]))
        ends.append(end)
        known = None if true is None else np.broadcast_to(np.ravel(true[name]), (len(end),))
        truth.append(known)
        unit = _unit(result, name)
        for i in range(len(end)):
            part = literal(f"{name}[{i}]" if len(end) > 1 else name)
            amount = " ".join(([] if known is None else [f"{known[i]:.3g}"]) + [unit] * bool(unit))
            names.append(f"{part}\n{amount}" if amount else part)
    if not names:
        raise ValueError("the result has no parameters to plot.")
    return _Rows(
        names, np.concatenate(rows), np.concatenate(ends),
        None if true is None else np.concatenate(truth),
    )  # fmt: skip


def _by_component(values: Any) -> np.ndarray:
    """`(s, ...)` as `(components, s)`."""
    values = np.asarray(values, float)
    return values.reshape(len(values), -1).T


def _unit(result: Any, name: str) -> str:
    """The unit in the result's parameter space, where it has one."""
    space = getattr(result, "space", None)
    return "" if space is None else str(space[name].unit).strip().replace("cm2", "cm²")
