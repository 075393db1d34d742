"""One figure per sub-command, from its results file alone."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

COLORS = {"jaxdend": "#c2410c", "jaxley": "#2563eb", "neuron": "#525252"}
SETS = {"hh": "HH channels everywhere", "hay": "Hay 2011 channels by region"}
LABELS = {"jaxdend": "jaxdend", "jaxley": "Jaxley", "neuron": "NEURON"}


def simulator(name: str) -> str:
    """The simulator that a case belongs to."""
    return name.replace(",", " ").split()[0]


def label(name: str) -> str:
    """A case's name for readers."""
    own = simulator(name)
    return LABELS.get(own, own) + name[len(own) :]


def save(record: dict[str, Any], path: Path) -> Path:
    """Draw the figure of a results file."""
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9,
                         "axes.titlesize": 10, "legend.frameon": False}):  # fmt: skip
        figure = DRAW[record["benchmark"]](record)
        figure.savefig(path, dpi=160)
        plt.close(figure)
    return path


def panels(count: int, record: dict, title: str, width: float = 4.2) -> tuple[Figure, list[Axes]]:
    """A row of axes below a title that says what was found, and above where."""
    figure, axes = plt.subplots(1, count, figsize=(max(width * count, 5.6), 3.9), squeeze=False,
                                layout="constrained")  # fmt: skip
    title = textwrap.fill(title, int(10.5 * figure.get_figwidth()))
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", fontweight="bold")
    versions, machine = record["versions"], record["machine"]
    peers = ", ".join(f"{LABELS[k]} {versions[k]}" for k in ("jaxley", "neuron") if versions.get(k))
    figure.supxlabel(
        f"{machine['processor']}, {machine['cores']} cores; jaxdend {versions['jaxdend']}, "
        f"jax {versions['jax']}, {peers}; {record['date'][:10]}",
        fontsize=6.5, color="0.4", x=0.99, ha="right",
    )  # fmt: skip
    return figure, list(axes[0])


def plain_ticks(axis: Any, values: list[float]) -> None:
    """Label a logarithmic axis at just these values, as plain numbers."""
    axis.set_ticks(values, [f"{v:,g}" for v in values])
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def spread(seconds: list[float], scale: float) -> tuple[float, float, float]:
    """Median, and how far the extremes lie below and above it."""
    values = scale * np.asarray(seconds)
    middle = float(np.median(values))
    return middle, middle - float(values.min()), float(values.max()) - middle


def curve(ax: Axes, x: list[float], rows: list[list[float]], scales: list[float], **style: Any):
    """A line of medians with bars from the smallest to the largest."""
    points = np.array([spread(r, s) for r, s in zip(rows, scales, strict=True)])
    ax.errorbar(x, points[:, 0], yerr=points[:, 1:].T, capsize=2, markersize=4, **style)


def headline(ratios: list[dict[str, float]]) -> str:
    """Range of medians, such as "1.2–1.7"."""
    values = [r["median"] for r in ratios]
    if not values:
        return "?"
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return low if low == high else f"{low}–{high}"


def step(record: dict) -> Figure:
    """Nanoseconds per compartment-step against compartments."""
    rows = record["rows"]
    sets = list(dict.fromkeys(row["channels"] for row in rows))
    every = [r for row in rows for r in row["ratios"].items()]
    jaxley = headline([v for k, v in every if k == "jaxley float32 / jaxdend float32"])
    nrn = headline([v for k, v in every if k == "neuron / jaxdend float32"])
    title = f"One time step: {jaxley} times Jaxley's speed, {nrn} times NEURON's (float32)"
    figure, axes = panels(len(sets), record, title)
    for ax, channels in zip(axes, sets, strict=True):
        own = [row for row in rows if row["channels"] == channels]
        for name in dict.fromkeys(k for row in own for k in row["seconds"]):
            have = [row for row in own if name in row["seconds"]]
            curve(
                ax, [row["n"] for row in have], [row["seconds"][name] for row in have],
                [1e9 / row["steps"] / row["n"] for row in have], label=label(name), marker="o",
                color=COLORS[simulator(name)], linestyle="--" if "float64" in name else "-",
                markerfacecolor="white" if "float64" in name else None,
            )  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel="compartments", title=SETS[channels])
        plain_ticks(ax.xaxis, [row["n"] for row in own])
        plain_ticks(ax.yaxis, decades(ax.get_ylim()))
    axes[0].set_ylabel("ns per compartment and step, one core")
    axes[0].legend(fontsize=8)
    return figure


def decades(limits: tuple[float, float]) -> list[float]:
    """1, 2, 5, 10, … within limits; finer where that would be too few, coarser if too many."""
    low, high = np.floor(np.log10(limits[0])), np.ceil(np.log10(limits[1]))
    values: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), np.arange(1, 10, 0.25)):
        values = [m * 10.0**e for e in np.arange(low, high + 1) for m in steps]
        values = [float(v) for v in values if limits[0] <= v <= limits[1]]
        if len(values) >= 4:
            break
    return values


def batch(record: dict) -> Figure:
    """Compartment-steps a second against the size of the batch."""
    rows = record["rows"]
    best = max(rows, key=lambda row: row["batch"] if row["batch"] <= 64 else 0)
    found = best["ratios"].get("jaxley / jaxdend, all cores")
    says = f"{headline([found])} times Jaxley's vmap" if found else "throughput"
    title = f"Batches of {best['n']} compartments: {says} at {best['batch']}"
    figure, (ax,) = panels(1, record, title, width=6.4)
    for name in dict.fromkeys(k for row in rows for k in row["seconds"]):
        have = [row for row in rows if name in row["seconds"]]
        rates = [[row["batch"] * row["n"] * row["steps"] / s / 1e6 for s in row["seconds"][name]]
                 for row in have]  # fmt: skip
        curve(
            ax, [row["batch"] for row in have], rates, [1.0] * len(have), label=label(name),
            marker="o", color=COLORS[simulator(name)],
            linestyle="--" if "one core" in name and simulator(name) != "neuron" else "-",
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="neurons in the batch (float32; NEURON in a loop)",
           ylabel="million compartment-steps per second")  # fmt: skip
    plain_ticks(ax.xaxis, [row["batch"] for row in rows])
    plain_ticks(ax.yaxis, decades(ax.get_ylim()))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def gradient(record: dict) -> Figure:
    """Time of a gradient against what it stores."""
    rows = [row for row in record["rows"] if not row.get("long")]
    every = [v for row in rows for v in row["ratios"].values()]
    title = f"Gradients: {headline(every)} times as fast as Jaxley's best"
    figure, axes = panels(len(rows), record, title, width=3.6)
    for ax, row in zip(axes, rows, strict=True):
        for name, stored in row["floats_per_compartment_step"].items():
            middle, below, above = spread(row["seconds"][name], 1e3)
            ax.errorbar(stored, middle, yerr=[[below], [above]], fmt="o", capsize=2,
                        color=COLORS[simulator(name)])  # fmt: skip
            times = row["times_forward"][name]["median"]
            ax.annotate(f"{label(name)}\n{times:.1f}× forward", (stored, middle), xytext=(5, 4),
                        textcoords="offset points", fontsize=6.5)  # fmt: skip
        ax.set(xscale="log", yscale="log", title=f"{row['n']:,} compartments",
               xlabel="floats stored per compartment and step")  # fmt: skip
        ax.margins(x=0.35, y=0.2)
        plain_ticks(ax.xaxis, decades(ax.get_xlim()))
        plain_ticks(ax.yaxis, decades(ax.get_ylim()))
    axes[0].set_ylabel(f"ms for value and gradient of {rows[0]['steps']} steps")
    return figure


DRAW: dict[str, Callable[[dict], Figure]] = {"step": step, "batch": batch, "gradient": gradient}
