"""Quantities against time: traces side by side, and space-time maps."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap

from jaxdend.plotting.style import axes_or_new, color_scale, figure_of


@runtime_checkable
class TracesLike(Protocol):
    """Anything with times and voltages, for example `jaxdend.Traces`."""

    ts: Any  # (t,) ms
    v: Any  # (t, r) or (t,) mV


def time_by_site(ts: Any, values: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """`ts (t,)` and `values (t, r)` as checked NumPy arrays; `(t,)` becomes `(t, 1)`.

    **Raises:** `ValueError` where the first axis of `values` is not time.
    """
    ts, values = np.asarray(ts), np.asarray(values)
    if values.ndim == 1:
        values = values[:, None]
    if ts.ndim != 1 or values.ndim != 2 or len(ts) != len(values):
        raise ValueError(
            f"{name} must be (t,) or (t, r) with t = len(ts); got ts {ts.shape} and {name} "
            f"{values.shape}. For a batch, plot one member: {name}[i]."
        )
    return ts, values


def plot_traces(
    traces: TracesLike,
    ax: Axes | None = None,
    *,
    labels: Sequence[str] | None = None,
    colors: Sequence[Any] | None = None,
    stack: float | None = None,
    ylabel: str = "voltage (mV)",
    **line: Any,
) -> Axes:
    """Voltage against time, one line a recorded site.

    **Arguments:** `traces` with `ts (t,)` ms and `v (t, r)` or `(t,)` mV; `labels`, one a site
    (default: "site 12" from `traces.sites` where it has them); `colors`, one a site; `stack`
    shifts each trace down by that many mV and puts a scale bar in place of the voltage axis;
    `ylabel` with its unit; `line`, anything else that `Axes.plot` understands.

    **Returns:** the axes. **Raises:** `ValueError` for shapes or labels that do not match.
    """
    ts, v = time_by_site(traces.ts, traces.v, "v")
    names = _labels(traces, labels, v.shape[1])
    if colors is not None and len(colors) != v.shape[1]:
        raise ValueError(f"colors must be one a site: got {len(colors)} for {v.shape[1]} sites.")
    with axes_or_new(ax, (7.0, 2.8)) as axes:
        for i, name in enumerate(names):
            color = {} if colors is None else {"color": colors[i]}
            axes.plot(ts, v[:, i] - i * (stack or 0.0), label=name, **color, **line)
        axes.set_xlabel("time (ms)")
        axes.set_xlim(ts[0], ts[-1])
        if stack is None:
            axes.set_ylabel(ylabel)
        else:
            _voltage_bar(axes, v)
        if names != [""]:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), borderaxespad=0.4)
        return axes


def kymograph(
    ts: Any,
    v: Any,
    distance: Any,
    ax: Axes | None = None,
    *,
    label: str = "voltage (mV)",
    cmap: str | Colormap | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
) -> Axes:
    """A map of `v` over time and distance: propagation is a slanted edge.

    It is sharpest along one path, from the soma to a tip; sites are sorted by distance here.

    **Arguments:** `ts (t,)` ms; `v (t, r)`; `distance (r,)` µm of the r sites; `label` of the
    colour bar with its unit; `vmin`, `vmax`, the ends of the colour scale.

    **Returns:** the axes. **Raises:** `ValueError` for shapes that do not match.
    """
    ts, v = time_by_site(ts, v, "v")
    distance = np.asarray(distance)
    if distance.shape != (v.shape[1],):
        raise ValueError(
            f"distance must be (r,) = ({v.shape[1]},), one a column of v; got {distance.shape}."
        )
    order = np.argsort(distance, kind="stable")
    norm, table = color_scale(v, vmin, vmax, cmap)
    with axes_or_new(ax, (7.0, 3.2)) as axes:
        mesh = axes.pcolormesh(
            _edges(ts), _edges(distance[order]), v[:, order].T,
            norm=norm, cmap=table, rasterized=True,
        )  # fmt: skip
        axes.set_xlabel("time (ms)")
        axes.set_ylabel("distance from soma (µm)")
        axes.set_xlim(ts[0], ts[-1])
        figure_of(axes).colorbar(mesh, ax=axes, label=label, pad=0.02)
        return axes


def _labels(traces: TracesLike, labels: Sequence[str] | None, count: int) -> list[str]:
    """One label a site; a lone trace without a name gets none, and so no legend."""
    sites = getattr(traces, "sites", None)
    if labels is None and sites is not None and np.size(sites) == count:
        return [f"site {site}" for site in np.ravel(np.asarray(sites))]
    if labels is None:
        return [f"site {i}" for i in range(count)] if count > 1 else [""]
    if isinstance(labels, str) or len(labels) != count:
        raise ValueError(f"labels must be one a recorded site: got {labels!r} for {count} sites.")
    return list(labels)


def _voltage_bar(ax: Axes, v: np.ndarray) -> None:
    """A vertical bar of a round number of mV left of the first trace, instead of an axis."""
    height = nice_length(float(np.ptp(v[:, 0])) or 1.0, 0.6)
    bottom = float(v[:, 0].min())
    across = ax.get_yaxis_transform()
    ax.plot([-0.015, -0.015], [bottom, bottom + height], transform=across, clip_on=False,
            color=ax.xaxis.label.get_color(), linewidth=2.0, solid_capstyle="butt")  # fmt: skip
    ax.text(-0.03, bottom + height / 2, f"{height:g} mV", transform=across, ha="right", va="center")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def nice_length(extent: float, fraction: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is at most `fraction` of `extent`."""
    target = extent * fraction
    decade = 10.0 ** np.floor(np.log10(target))
    return float(max(m * decade for m in (1.0, 2.0, 5.0) if m * decade <= target * (1 + 1e-9)))


def _edges(centers: np.ndarray) -> np.ndarray:
    """Cell borders half way between `centers`, mirrored at both ends."""
    if len(centers) == 1:
        return np.array([centers[0] - 0.5, centers[0] + 0.5])
    middle = 0.5 * (centers[1:] + centers[:-1])
    return np.concatenate([[2 * centers[0] - middle[0]], middle, [2 * centers[-1] - middle[-1]]])
