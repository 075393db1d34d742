"""Networks that stand for a neuron: how deep they must be, what they look for, what they predict.

Rows are dicts, one for each network, as `jaxdend.emulator.experiments.Experiment.rows` gives them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy.ndimage import uniform_filter1d

from jaxdend.emulator.interpretation import Places, by_place, exponential, tuft_mass, tuft_share
from jaxdend.plotting.style import CMAP, COLORS, INK, MUTED, styled

Rows = Sequence[Mapping[str, Any]]

RECEPTORS: dict[str, tuple[str, str]] = {  # name in the legend, colour
    "nmda": ("NMDA", COLORS[1]),
    "ampa": ("AMPA only", COLORS[0]),
    "passive": ("passive", COLORS[2]),
}
INPUTS: dict[str, tuple[str, str]] = {
    "default": ("as in training", INK),
    "clustered": ("clustered", COLORS[1]),
    "synchronous": ("synchronous", COLORS[0]),
    "sinusoidal": ("sinusoidal", COLORS[2]),
    "no_inhibition": ("no inhibition", COLORS[3]),
}
AUC = "AUC of spikes, 1 ms bins"
EXPLAINED = "voltage variance explained"
CLIP = -55.0  # mV, where the voltage that networks learn is clipped


def plot_depth(rows: Rows) -> Figure:
    """Accuracy against the number of layers: spikes and voltage, a line for each receptor kind.

    Error bars are the standard deviation over seeds; small dots are the networks.

    **Raises:** `ValueError` without a TCN among the rows.
    """
    rows = _of(rows, "tcn")
    with styled():
        figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.5), layout="constrained")
        for ax, column, label in zip(axes, ("auc", "v_explained"), (AUC, EXPLAINED), strict=True):
            for receptors, some in _groups(rows, "receptors"):
                name, color = RECEPTORS.get(receptors, (receptors, INK))
                _mean_line(ax, some, "size", column, color, name)
            _whole_ticks(ax, rows)
            ax.set_xlabel("layers")
            ax.set_ylabel(label)
        axes[0].legend(title="receptors", loc="best")
        figure.suptitle(_seeds(rows), fontsize="medium")
    return figure


def plot_units(rows: Rows) -> Figure:
    """Accuracy against the number of units of one layer, a line for each kind of input.

    Error bars are the standard deviation over seeds; small dots are the networks.

    **Raises:** `ValueError` without a TCN among the rows.
    """
    rows = _of(rows, "tcn")
    with styled():
        figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.5), sharex=True, layout="constrained")
        sides = (("auc", AUC), ("v_explained", EXPLAINED))
        for ax, (column, label) in zip(axes, sides, strict=True):
            for kind, (name, color) in _inputs(rows).items():
                _mean_line(ax, rows, "channels", _column(kind, column), color, name)
            ax.set_xscale("log")
            _whole_ticks(ax, rows, "channels")
            ax.set_xlabel("units")
            ax.set_ylabel(label)
        axes[0].legend(title="input", loc="best")
        figure.suptitle(_seeds(rows), fontsize="medium")
    return figure


def plot_order(
    intervals: Sequence[float], cell: ArrayLike, twin: ArrayLike, ax: Axes | None = None
) -> Axes:
    """The voltage's peak when inputs follow one another towards the soma, and away from it.

    **Arguments:** `intervals`, ms from one input to the next; `cell` and `twin (2, intervals)` mV,
    as `order_response` gives them.
    """
    with styled(keep=ax is not None):
        ax = plt.subplots(figsize=(5.0, 3.7), layout="constrained")[1] if ax is None else ax
        styles = (("simulation", cell, "-", None), ("network", twin, (0, (4, 2)), "white"))
        for name, peaks, dashes, fill in styles:
            for way, peak, color in zip(("inward", "outward"), np.asarray(peaks, float),
                                        (COLORS[1], COLORS[0]), strict=True):  # fmt: skip
                ax.plot(intervals, peak, color=color, linestyle=dashes, marker="o", markersize=5,
                        markerfacecolor=fill or color, label=f"{way}, {name}")  # fmt: skip
        ax.set_xlabel("interval between inputs (ms)")
        ax.set_ylabel("peak at the soma (mV)")
        ax.legend(loc="best", handlelength=3.0)
    return ax


def plot_generalisation(rows: Rows) -> Figure:
    """AUC on input as in training and on input unlike it, against the network's size.

    A panel for each receptor kind, a line for each kind of input; of networks of one size only, a
    line for each kind of input.

    **Raises:** `ValueError` without rows.
    """
    first = _first_network(rows)
    rows = [row for row in rows if row["network"] == first]
    if len({row["size"] for row in rows}) == 1:
        return _one_size(rows)
    groups = list(_groups(rows, "receptors"))
    with styled():
        figure, axes = plt.subplots(
            1, len(groups), figsize=(1.6 + 2.9 * len(groups), 3.6), sharey=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for ax, (receptors, some) in zip(axes[0], groups, strict=True):
            for kind, (name, color) in _inputs(some).items():
                _mean_line(ax, some, "size", _column(kind), color, name)
            _whole_ticks(ax, some)
            ax.set_xlabel(_SIZE[some[0]["network"]])
            if receptors in RECEPTORS:
                ax.set_title(RECEPTORS[receptors][0], loc="left")
        axes[0, 0].set_ylabel(AUC)
        named = {
            name: handle
            for ax in axes[0]
            for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        shown = [name for name, _ in INPUTS.values() if name in named]
        figure.legend(
            [named[name] for name in shown], shown, title="input", loc="outside right center"
        )
        figure.suptitle(_seeds(rows), fontsize="medium")
    return figure


def plot_memory(rows: Rows) -> Figure:
    """ELM neurons: accuracy against memory units, and against parameters beside TCNs.

    **Raises:** `ValueError` without an ELM neuron among the rows.
    """
    elm, tcn = _of(rows, "elm"), [row for row in rows if row["network"] == "tcn"]
    with styled():
        figure, axes = plt.subplots(1, 3, figsize=(12.2, 3.5), layout="constrained")
        for ax, column, label in zip(axes, ("auc", "v_explained"), (AUC, EXPLAINED), strict=False):
            _mean_line(ax, elm, "size", column, COLORS[3], "ELM")
            ax.set_xscale("log")
            _whole_ticks(ax, elm)
            ax.set_xlabel("memory units")
            ax.set_ylabel(label)
        last = axes[2]
        _mean_line(last, elm, "parameters", "auc", COLORS[3], "ELM")
        depths = list(_groups(tcn, "size"))
        for i, (depth, some) in enumerate(depths):
            color = to_hex(CMAP(0.9 * i / max(len(depths) - 1, 1)))
            name = f"TCN, {depth} layer{'s' * (depth > 1)}"
            _mean_line(last, some, "parameters", "auc", color, name, marker="s")
        last.set_xscale("log")
        last.set_xlabel("trained parameters")
        last.set_ylabel(AUC)
        last.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        figure.suptitle(_seeds(elm), fontsize="medium")
    return figure


def plot_tuft(rows: Rows, ax: Axes | None = None) -> Axes:
    """The share of the first layer's weight that lies on the tuft, against layers.

    The dashed line is the share of the inputs that lie there.
    """
    rows = [row for row in _of(rows, "tcn") if np.isfinite(row.get("tuft_mass", np.nan))]
    if not rows:
        raise ValueError("none of the rows has a tuft_mass: the cell has no tuft")
    with styled(keep=ax is not None):
        ax = plt.subplots(figsize=(4.4, 3.5), layout="constrained")[1] if ax is None else ax
        for receptors, some in _groups(rows, "receptors"):
            name, color = RECEPTORS.get(receptors, (receptors, INK))
            _mean_line(ax, some, "size", "tuft_mass", color, name)
        ax.axhline(
            rows[0]["tuft_share"], color=INK, linewidth=0.9, linestyle=(0, (4, 2)),
            label="share of inputs",
        )  # fmt: skip
        _whole_ticks(ax, rows)
        ax.set_xlabel("layers")
        ax.set_ylabel("first-layer weight on the tuft (share)")
        ax.legend(loc="best")
    return ax


def plot_templates(
    templates: ArrayLike,
    meta: Mapping[str, Any],
    *,
    most: int = 3,
    width: float = 100.0,
    smooth: int = 5,
    region: str = "tuft",
) -> Figure:
    """The strongest filters of a first layer, over time and the tree.

    A row for each filter, excitatory inputs left and inhibitory ones right, where there are any;
    places are regions and distances from the soma. Each filter has its own colour scale, red where
    an input adds to it.

    **Arguments:** `templates (filters, lag, k)` and `meta`, as of `emulator.interpretation`; `most`
    filters are drawn, averaged over `smooth` ms; `width`, µm of distance that are one place;
    `region`, whose share of each filter is told.
    """
    filters = uniform_filter1d(np.asarray(templates, float), smooth, axis=1, mode="constant")
    order = np.argsort(-np.square(filters).sum(axis=(1, 2)))[:most]
    places = by_place(filters, meta, width)
    both = {"excitatory": places.excitatory, "inhibitory": ~places.excitatory}
    sides = {name: side for name, side in both.items() if side.any()}
    tall = 0.95 + len(order) * (0.45 + 0.16 * max(side.sum() for side in sides.values()))
    has = region in list(meta["region"])
    with styled():
        figure = plt.figure(figsize=(1.6 + 3.5 * len(sides), tall), layout="constrained")
        grid = figure.subplots(len(order), len(sides), sharex=True, squeeze=False)
        for row, f in zip(grid, order, strict=True):
            limit = max(float(np.abs(places.values[f]).max()), 1e-12)
            drawn: Any = None
            for ax, side in zip(row, sides.values(), strict=True):
                drawn = _places(ax, places, f, side, limit)
            share = ""
            if has:
                share = f", {100 * tuft_mass(filters[f], meta, region=region):.0f} % on the"
                share += f" {region} ({100 * tuft_share(meta, region=region):.0f} % of inputs)"
            row[0].set_title(f"filter {f + 1}{share}", loc="left")
            figure.colorbar(drawn, ax=row[-1], label="weight", aspect=12)
        for ax, name in zip(grid[-1], sides, strict=True):
            ax.set_xlabel(f"{name} input, ms before the output")
    return figure


def plot_prediction(
    v: ArrayLike,
    spikes: ArrayLike,
    predicted: ArrayLike,
    probability: ArrayLike,
    *,
    start: float = 0.0,
    threshold: float | None = None,
) -> Figure:
    """One simulation and its prediction: voltage above, probability of a spike below.

    **Arguments:** `v`, `predicted (bins,)` mV; `spikes (bins,)` 0 or 1; `probability (bins,)` of a
    spike in 1 ms; `start`, ms, of the first bin; `threshold`, a probability to draw.
    """
    v, predicted, chance = (np.asarray(x, float) for x in (v, predicted, probability))
    fired = np.flatnonzero(np.asarray(spikes))
    if not v.shape == predicted.shape == chance.shape == np.shape(spikes) or v.ndim != 1:
        raise ValueError(
            "plot_prediction draws one simulation: v, spikes, predicted and probability (bins,); "
            f"got {v.shape}, {np.shape(spikes)}, {predicted.shape} and {chance.shape}"
        )
    t = start + np.arange(1, len(v) + 1)
    with styled():
        figure, (top, bottom) = plt.subplots(
            2, 1, figsize=(8.2, 4.2), sharex=True, height_ratios=[2, 1], layout="constrained"
        )
        top.plot(t, np.minimum(v, CLIP), color=INK, linewidth=1.8, label="simulation")
        top.plot(t, predicted, color=COLORS[1], linewidth=1.0, label="network")
        top.plot(t[fired], np.full(len(fired), CLIP + 1.2), "|", color=INK, markersize=9,
                 markeredgewidth=1.4, label="spikes")  # fmt: skip
        top.set_ylabel("soma (mV), up to -55")
        top.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        bottom.vlines(t[fired], 0.0, 1.0, color=MUTED, linewidth=2.0, zorder=1)
        bottom.plot(t, chance, color=COLORS[1], linewidth=1.1, zorder=3)
        if threshold is not None:
            bottom.axhline(threshold, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=2)
        bottom.set_ylim(0.0, max(0.1, 1.1 * float(chance.max())))
        bottom.set_xlim(t[0] - 1, t[-1])
        bottom.set_ylabel("P(spike in 1 ms)")
        bottom.set_xlabel("time (ms); grey: spikes of the simulation")
    return figure


def plot_unit(filters: ArrayLike, exc: int, ax: Axes | None = None) -> Axes:
    """The filters of one unit, and the exponentials nearest to their means.

    **Arguments:** `filters (lag, k)` mV, the first `exc` of excitatory inputs.
    """
    filters = np.asarray(filters, float)
    lag = np.arange(len(filters))
    with styled(keep=ax is not None):
        ax = plt.subplots(figsize=(5.0, 3.7), layout="constrained")[1] if ax is None else ax
        for some, name, color in (
            (filters[:, :exc], "excitatory", COLORS[1]),
            (filters[:, exc:], "inhibitory", COLORS[0]),
        ):
            mean = some.mean(axis=1)
            fit = exponential(mean)
            says = f"{fit.amplitude:+.2f} mV, {fit.tau:.1f} ms".replace("-", "−")
            ax.plot(-lag, some, color=color, linewidth=0.5, alpha=0.18)
            ax.plot(-lag, mean, color=color, linewidth=2.0, label=f"{name}, mean")
            ax.plot(-lag, fit.amplitude * np.exp(-lag / fit.tau), color=INK, linewidth=1.1,
                    linestyle=(0, (4, 2)), label=says)  # fmt: skip
        ax.axhline(0.0, color=INK, linewidth=0.6)
        ax.set_xlabel("input spike, ms before the output")
        ax.set_ylabel("filter (mV)")
        ax.legend(loc="best")
    return ax


_SIZE = {"tcn": "layers", "elm": "memory units", "unit": "units"}


def _places(ax: Axes, places: Places, f: int, side: np.ndarray, limit: float) -> Any:
    """One filter over time and the places of one kind of inputs."""
    values = places.values[f][:, side].T[:, ::-1]
    p, lags = values.shape
    edges = np.arange(-lags, 1) + 0.5
    drawn = ax.pcolormesh(
        edges, np.arange(p + 1), values, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True
    )
    names = [
        f"{region} {low:.0f}–{high:.0f} µm"
        for region, (low, high) in zip(places.region[side], places.distance[side], strict=True)
    ]
    ax.set_yticks(np.arange(p) + 0.5, names, fontsize=7)
    ax.tick_params(axis="y", length=0)
    ends = np.flatnonzero(places.region[side][1:] != places.region[side][:-1]) + 1
    ax.hlines(ends, edges[0], edges[-1], color="white", linewidth=1.2)
    return drawn


def _one_size(rows: Rows) -> Figure:
    """AUC by the kind of input, a colour for each receptor kind."""
    kinds = _inputs(rows)
    with styled():
        figure, ax = plt.subplots(figsize=(5.4, 1.1 + 0.4 * len(kinds)), layout="constrained")
        for receptors, some in _groups(rows, "receptors"):
            name, color = RECEPTORS.get(receptors, (receptors, INK))
            for place, kind in enumerate(kinds):
                values = np.array([row.get(_column(kind), np.nan) for row in some])
                values = values[np.isfinite(values)]
                if values.size:
                    spread = values.std(ddof=1) if values.size > 1 else 0.0
                    ax.errorbar(values.mean(), -place, xerr=spread, color=color, marker="o",
                                markersize=5, capsize=2.5, label="" if place else name)  # fmt: skip
        ax.set_yticks(-np.arange(len(kinds)), [name for name, _ in kinds.values()])
        ax.grid(axis="y", color=MUTED, linewidth=0.5)
        ax.set_ylim(0.5 - len(kinds), 0.5)
        ax.set_xlabel(AUC)
        if len(list(_groups(rows, "receptors"))) > 1:
            ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.suptitle(_seeds(rows), fontsize="medium")
    return figure


def _inputs(rows: Rows) -> dict[str, tuple[str, str]]:
    """The kinds of input that any of the rows has been tested on."""
    return {
        kind: look
        for kind, look in INPUTS.items()
        if any(np.isfinite(row.get(_column(kind), np.nan)) for row in rows)
    }


def _column(kind: str, name: str = "auc") -> str:
    return name if kind == "default" else f"{name}_{kind}"


def _of(rows: Rows, network: str) -> Rows:
    found = [row for row in rows if row["network"] == network]
    if not found:
        present = sorted({row["network"] for row in rows})
        raise ValueError(f"there is no {network!r} among the rows, only {present}")
    return found


def _first_network(rows: Rows) -> str:
    if not rows:
        raise ValueError("there are no rows to draw")
    return rows[0]["network"]


def _groups(rows: Rows, column: str) -> Iterable[tuple[Any, Rows]]:
    """Rows of equal values, in the order in which those first appear."""
    for value in dict.fromkeys(row[column] for row in rows):
        yield value, [row for row in rows if row[column] == value]


def _mean_line(
    ax: Axes, rows: Rows, x: str, y: str, color: str, label: str, marker: str = "o"
) -> None:
    """Means over equal `x`, their standard deviations, and all points."""
    at = np.array(sorted({row[x] for row in rows}), float)
    values = [np.array([row.get(y, np.nan) for row in rows if row[x] == place]) for place in at]
    known = [v[np.isfinite(v)] for v in values]
    mean = [v.mean() if v.size else np.nan for v in known]
    spread = [v.std(ddof=1) if v.size > 1 else 0.0 for v in known]
    for place, v in zip(at, known, strict=True):
        if v.size > 1:
            ax.plot(np.full(v.size, place), v, ".", color=color, markersize=3, alpha=0.5)
    ax.errorbar(at, mean, yerr=spread, color=color, marker=marker, markersize=4.5, capsize=2.5,
                elinewidth=1.0, label=label)  # fmt: skip


def _whole_ticks(ax: Axes, rows: Rows, column: str = "size") -> None:
    """Ticks at sizes, written as whole numbers; not at those that would touch the one before."""
    shown: list[int] = []
    for size in sorted({int(row[column]) for row in rows}):
        if not shown or ax.get_xscale() != "log" or size > 1.3 * shown[-1]:
            shown.append(size)
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}"))


def _seeds(rows: Rows) -> str:
    count = len({row["seed"] for row in rows})
    return f"mean ± SD of {count} seeds" if count > 1 else "one seed"
