"""What a sweep found: one output against one axis or two, failed points marked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jaxdend.plotting.style import INK, MUTED, axes_or_new, color_scale, figure_of, literal

MOST = 20_000  # points drawn


def plot_sweep(
    axes: Mapping[str, ArrayLike],
    values: ArrayLike,
    *,
    label: str = "",
    failed: ArrayLike | None = None,
    log: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one output of a sweep over one axis or two.

    One axis: a line through the mean at each value, and the points; values that are too many for
    that, as of a random sample, are points alone. Two axes: a heat map where they form a grid (the
    mean, where several points fall on a place), else coloured points. A cross marks a place where
    a point failed. Points whose numbers are NaN, as in a store that is not finished, are left out.

    **Arguments:** `axes`, name -> `(k,)` numbers or texts, one entry or two; `values (k,)`, NaN
    where a point has none; `label` of the values; `failed (k,)` bool; `log`, names of axes to draw
    on a log scale; `names`, name -> label with unit. At most 20,000 points are drawn, evenly
    chosen.

    **Raises:** `ValueError` for none or more than two axes, or arrays of unequal length.
    """
    columns = {name: np.asarray(column) for name, column in axes.items()}
    values = np.asarray(values, float)
    bad = np.zeros(values.shape, bool) if failed is None else np.asarray(failed, bool)
    if not 1 <= len(columns) <= 2:
        raise ValueError(f"plot_sweep draws one axis or two; got {list(columns)}")
    for name, column in {**columns, "failed": bad}.items():
        if column.shape != values.shape or values.ndim != 1:
            raise ValueError(
                f"plot_sweep: {name} has shape {column.shape}, the values {values.shape}; "
                "all must be (k,)"
            )
    known = np.all(
        [np.isfinite(column) for column in columns.values() if column.dtype.kind == "f"]
        or [np.ones(values.shape, bool)],
        axis=0,
    )
    columns = {name: column[known] for name, column in columns.items()}
    values, bad = values[known], bad[known]
    if len(values) > MOST:
        some = np.linspace(0, len(values) - 1, MOST).astype(int)
        columns = {name: column[some] for name, column in columns.items()}
        values, bad = values[some], bad[some]
    titles = dict(names or {})
    with axes_or_new(ax, (5.2, 3.6)) as drawn:
        if len(columns) == 1:
            _line(drawn, next(iter(columns.values())), values, bad)
            drawn.set_ylabel(label)
        else:
            first, second = columns.values()
            _map(drawn, first, second, values, bad, label, [name in log for name in columns])
        shown = [titles.get(name, literal(name)) for name in columns]
        drawn.set_xlabel(shown[0])
        scales = ((drawn.set_xscale, drawn.xaxis), (drawn.set_yscale, drawn.yaxis))
        for (name, column), (scale, axis) in zip(columns.items(), scales, strict=False):
            if name in log and column.dtype.kind in "iuf":
                scale("log")
                _few_ticks(axis, column)
        if len(columns) == 2:
            drawn.set_ylabel(shown[1])
    return drawn


def _places(ax: Axes, column: np.ndarray, vertical: bool) -> np.ndarray:
    """Numbers for a column of texts, whose names become ticks."""
    if column.dtype.kind in "iufb":
        return column.astype(float)
    texts = list(dict.fromkeys(column.tolist()))
    short = [literal(str(text).rsplit("/", 1)[-1]) for text in texts]
    (ax.set_yticks if vertical else ax.set_xticks)(range(len(texts)), short)
    return np.array([texts.index(text) for text in column.tolist()], float)


def _few_ticks(axis: Axis, column: np.ndarray) -> None:
    """Ticks of a log scale whose labels do not touch, two or more."""
    decades = np.log10(column.max() / column.min()) if column.size else 0.0
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _line(ax: Axes, column: np.ndarray, values: np.ndarray, bad: np.ndarray) -> None:
    x = _places(ax, column, False)
    known = np.unique(x)
    repeated = len(known) < len(x)
    if len(known) <= 200:
        good = np.isfinite(values) & ~bad
        at = [place for place in known if np.any(good & (x == place))]
        mean = [values[good & (x == place)].mean() for place in at]
        ax.plot(at, mean, marker="" if repeated else "o", markersize=4, zorder=3)
    if repeated or len(known) > 200:
        ax.plot(
            x[~bad], values[~bad], ".", color=MUTED if len(known) <= 200 else None, markersize=3
        )
    if bad.any():
        low = ax.get_ylim()[0] if np.isfinite(values[~bad]).any() else 0.0
        places = np.unique(x[bad])
        ax.plot(places, np.full(len(places), low), "x", color=INK, label="failed", clip_on=False)
        ax.legend(loc="best")


def _map(
    ax: Axes,
    first: np.ndarray,
    second: np.ndarray,
    values: np.ndarray,
    bad: np.ndarray,
    label: str,
    log: list[bool],
) -> None:
    x, y = _places(ax, first, False), _places(ax, second, True)
    norm, cmap = color_scale(values[~bad], None, None, None)
    across, i = np.unique(x, return_inverse=True)
    up, j = np.unique(y, return_inverse=True)
    drawn: Any
    if min(len(across), len(up)) >= 2 and len(across) * len(up) <= len(x):
        good = np.isfinite(values) & ~bad
        total, count = np.zeros((len(up), len(across))), np.zeros((len(up), len(across)))
        np.add.at(total, (j[good], i[good]), values[good])
        np.add.at(count, (j[good], i[good]), 1.0)
        mean = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
        drawn = ax.pcolormesh(
            _edges(across, log[0]), _edges(up, log[1]), mean, norm=norm, cmap=cmap
        )
    else:
        drawn = ax.scatter(x[~bad], y[~bad], c=values[~bad], s=12, norm=norm, cmap=cmap)
    if bad.any():
        ax.plot(x[bad], y[bad], "x", color=INK, markersize=5, label="failed", zorder=3)
        ax.legend(loc="upper left", bbox_to_anchor=(0.0, 1.12))
    figure_of(ax).colorbar(drawn, ax=ax, label=label)


def _edges(middle: np.ndarray, log: bool) -> np.ndarray:
    """Between the values, and half a step beyond the ends."""
    u = np.log(middle) if log else middle
    inner = (u[1:] + u[:-1]) / 2
    edges = np.concatenate([[2 * u[0] - inner[0]], inner, [2 * u[-1] - inner[-1]]])
    return np.exp(edges) if log else edges
