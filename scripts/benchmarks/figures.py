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
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        values = [m * 10.0**e for e in np.arange(low, high + 1) for m in steps]
        values = [float(v) for v in values if limits[0] <= v <= limits[1]]
        if len(values) >= 3:
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


STYLES = {"BE": ("s", ":"), "CN": ("o", "-"), "CVODE": ("D", "--"), "Rodas4P": ("^", "--"),
          "Rodas5P": ("v", "-.")}  # fmt: skip


def accuracy(record: dict) -> Figure:
    """Wall time against the error of spike times."""
    rows = record["rows"]
    title = "Accuracy per second: lower left is better"
    if found := [v for row in rows for k, v in row["ratios"].items() if "default" in k]:
        title = f"Defaults reach 0.01 ms {headline(found)} times faster than the peers' scheme"
    if found := [v for row in rows for k, v in row["ratios"].items() if "CVODE" in k]:
        title += f"; adaptive, {headline(found)} times faster than CVODE at 0.001 ms"
    figure, axes = panels(len(rows), record, title, width=4.4)
    for ax, row in zip(axes, rows, strict=True):
        families: dict[str, list[dict]] = {}
        for point in row["points"].values():
            if point["spike_error_ms"] is not None and np.isfinite(point["spike_error_ms"]):
                families.setdefault(point["family"], []).append(point)
        for name, points in families.items():
            marker, line = STYLES[name.split()[1]]
            errors = [max(p["spike_error_ms"], 1e-7) for p in points]
            curve(
                ax, errors, [p["seconds"] for p in points], [1e3] * len(points), marker=marker,
                linestyle=line, color=COLORS[simulator(name)], label=label(name), linewidth=1,
            )  # fmt: skip
        for target in (1e-2, 1e-3):
            ax.axvline(target, color="0.85", zorder=0)
        ax.set(xscale="log", yscale="log", title=row["case"],
               xlabel="largest error of a spike time, ms")  # fmt: skip
        plain_ticks(ax.yaxis, decades(ax.get_ylim()))
    axes[0].set_ylabel("wall time, ms, one core")
    axes[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


SHADES = ("#334155", "#64748b", "#94a3b8", "#fb923c", "#c2410c", "#fed7aa")


def startup(record: dict) -> Figure:
    """Stages of a fresh process, one bar each."""
    (row,) = record["rows"]
    found = row["ratios"].get("jaxley / jaxdend")
    says = f", {headline([found])} times less than Jaxley" if found else ""
    middle = float(np.median(row["seconds"]["jaxdend"]))
    figure, (ax,) = panels(1, record, f"First trace after {middle:.1f} s{says}", width=7.5)
    names = list(row["stages"])[::-1]
    left = np.zeros(len(names))
    stages = [s for s in next(iter(row["stages"].values())) if s != "second run"]
    for stage, color in zip(stages, SHADES, strict=True):
        width = np.array([row["stages"][name][stage] for name in names])
        ax.barh(range(len(names)), width, left=left, color=color, label=stage)
        left += width
    for i, name in enumerate(names):
        total, _, _ = spread(row["seconds"][name], 1.0)
        ax.barh(i, max(0.0, total - left[i]), left=left[i], color="0.9")
        ax.annotate(f"{total:.1f} s", (max(total, left[i]), i), xytext=(4, 0),
                    textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    ax.set_yticks(range(len(names)), [label(name) for name in names])
    counts = "–".join(f"{c:,}" for c in sorted(set(row["compartments"].values())))
    ax.set_xlabel(f"seconds from starting a process (HH, 20 ms, {counts} compartments)")
    ax.margins(x=0.1)
    ax.legend(fontsize=8, loc="lower right")
    return figure


def scale(record: dict) -> Figure:
    """Cost per step against everything that can grow."""
    rows = {row["group"]: row for row in record["rows"]}
    grown = rows.get("compartments")
    title = "How the cost of a step grows"
    if grown:
        last = max(grown["depth"], key=int)
        title += (f": compartments to the power {grown['exponent']:.2f}, "
                  f"{grown['depth'][last]} levels at {int(last):,}")  # fmt: skip
    figure, axes = panels(len(rows), record, title, width=3.4)
    for ax, (name, row) in zip(axes, rows.items(), strict=True):
        keys = list(row["us_per_step"])
        per = [row["us_per_step"][k] / float(np.median(row["seconds"][k])) for k in keys]
        words = name == "synapses"
        x = list(range(len(keys))) if words else [int(k) for k in keys]
        curve(ax, x, [row["seconds"][k] for k in keys], per, marker="o", label="jaxdend",
              color=COLORS["jaxdend"], linestyle=":" if words else "-")  # fmt: skip
        ax.set_xlabel(GROWING[name])
        if words:
            ax.set_xticks(x, keys, rotation=60, fontsize=8)
            ax.set_ylim(0, 1.3 * ax.get_ylim()[1])
        else:
            ax.set(xscale="log", yscale="log")
            plain_ticks(ax.xaxis, x if name == "batch" else decades(ax.get_xlim()))
            plain_ticks(ax.yaxis, decades(ax.get_ylim()))
        if name in ("compartments", "batch"):
            first = row["us_per_step"][keys[0]]
            ax.plot(x, [first * v / x[0] for v in x], color="0.7", linewidth=1, label="linear")
            ax.legend(fontsize=8)
        if name == "compartments":
            for k, v in zip(keys, x, strict=True):
                ax.annotate(row["depth"][k], (v, row["us_per_step"][k]), xytext=(4, -10),
                            textcoords="offset points", fontsize=6.5, color="0.4")  # fmt: skip
    axes[0].set_ylabel("µs per step (float32, one core)")
    return figure


GROWING = {
    "compartments": "compartments (levels of the solve below)",
    "synapses": "synapses x events of each, over 1 s",
    "steps": "steps of a run",
    "batch": "neurons in the batch",
}
DRAW: dict[str, Callable[[dict], Figure]] = {
    "step": step,
    "batch": batch,
    "gradient": gradient,
    "accuracy": accuracy,
    "startup": startup,
    "scale": scale,
}
