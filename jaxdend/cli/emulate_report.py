"""The report of an experiment with emulators: figures, tables, findings; Markdown and HTML."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table as Grid

from jaxdend.cli.console import OUT
from jaxdend.cli.emulate_branch import (
    Order,
    branch_figures,
    branch_findings,
    measure_order,
    shown,
)
from jaxdend.cli.report import closing, load_plotting, write_figure
from jaxdend.emulator import Emulator
from jaxdend.emulator.experiments import ABOUT, Experiment, Plan
from jaxdend.emulator.interpretation import templates
from jaxdend.files import write_whole

Rows = list[dict[str, Any]]
Table = tuple[list[str], list[list[str]]]

SHOWN = 1500  # ms of a simulation in a figure
NETWORK = {"tcn": "TCN", "elm": "ELM"}
COLUMNS = {  # of the table: heading -> column of the rows, format
    "AUC": ("auc", ".4f"),
    "voltage explained": ("v_explained", ".3f"),
    "re-aligned": ("v_explained_realigned", ".3f"),
    "RMSE mV": ("v_rmse", ".2f"),
    "spikes hit": ("hits", ".2f"),
}
OTHERS = {"clustered": "clustered", "synchronous": "synchronous", "sinusoidal": "sinusoidal",
          "no_inhibition": "no inhibition"}  # fmt: skip


_SCREEN = ("network", "receptors", "parameters", "AUC", "voltage explained")  # fit 80 columns


def show_results(rows: Rows) -> None:
    """Print the means over seeds with their standard deviations, and other input's below."""
    heading, lines = results_table(rows)
    at = [heading.index(name) for name in _SCREEN]
    title = "held-out simulations, mean ± SD over seeds"
    grid = Grid(*(heading[i] for i in at), title=title, title_justify="left")
    for line in lines:
        grid.add_row(*(line[i] for i in at))
    OUT.print(grid)
    others = _others(rows)
    if not others:
        return
    names = ["network", "as in training", *(OTHERS[kind] for kind in others)]
    grid = Grid(*names, title="AUC on input unlike that of training", title_justify="left")
    grid.columns[0].no_wrap = True
    several = len({row["receptors"] for row in rows}) > 1
    for some in _structures(rows):
        kinds = ["auc", *(f"auc_{kind}" for kind in others)]
        means = [_mean(some, kind, ".3f", spread=False) for kind in kinds]
        receptors = f"{some[0]['receptors']}, " if several else ""
        grid.add_row(f"{receptors}{_structure(some[0])}", *means)
    OUT.print(grid)


def report_experiment(run: Experiment, out: Path) -> None:
    """Write figures, report.md and report.html into the folder of the experiment; print them."""
    rows, folder = run.rows(out), run.folder(out)
    show_results(rows)
    order = measure_order(run, rows, out) if "direction" in rows[0] else None
    found = findings(rows) + ([order.finding()] if order else [])
    for line in found:
        OUT.print(line, highlight=False)
    figures = _figures(run, rows, out, order)
    blocks: list[tuple[str, Any]] = [
        ("title", f"{run.name}, budget {run.budget}"),
        ("text", f"{ABOUT[run.name]}. {_extent(run, rows)}"),
        *(("text", line) for line in found),
        ("table", results_table(rows)),
        ("text", _LEGEND),
        *(("figure", figure) for figure in figures),
        ("table", _data_table(run, out)),
        ("text", f"Made by: {run.command('report')}"),
    ]
    write_whole(folder / "report.md", _markdown(blocks))
    write_whole(folder / "report.html", _html(blocks))
    files = ["report.md", "report.html", *(name for name, _ in figures)]
    closing(f"{len(rows)} of {len(run.plans)} networks", folder, files)


_LEGEND = (
    "TCN: layers x channels; ELM: memory units. Means over seeds, ± standard deviation. "
    "Simulations held out from training; the first 500 ms of each, and those with more than 24 "
    "spikes (unless all have), are left out. AUC: area under the ROC curve of spikes in bins of "
    "1 ms. Voltage explained: share of variance, of voltage clipped at -55 mV; re-aligned: after "
    "giving the prediction the mean and standard deviation of the truth. Spikes hit: at 0.2 % "
    "false positives. Last columns: AUC on input unlike that of training."
)


def results_table(rows: Rows) -> Table:
    """The headings and the lines of the table of results."""
    others = _others(rows)
    heading = ["network", "receptors", "seeds", "parameters", *COLUMNS]
    heading += [*(f"AUC {OTHERS[kind]}" for kind in others), "training s"]
    lines = []
    for some in _structures(rows):
        first = some[0]
        line = [_structure(first), first["receptors"], str(len(some)), f"{first['parameters']:,}"]
        line += [_mean(some, column, form) for column, form in COLUMNS.values()]
        line += [_mean(some, f"auc_{kind}", ".4f") for kind in others]
        lines.append([*line, _mean(some, "seconds", ".0f")])
    return heading, lines


def _others(rows: Rows) -> list[str]:
    """The kinds of input unlike that of training that any row was tested on."""
    return [kind for kind in OTHERS if any(f"auc_{kind}" in row for row in rows)]


def findings(rows: Rows) -> list[str]:
    """Says what the numbers show, one sentence for each finding."""
    kind = rows[0]["network"]
    if kind == "unit":
        return [_unit_finding(rows)]
    if "direction" in rows[0]:
        return branch_findings(rows)
    found = []
    if kind == "elm":
        found += _elm_findings(rows)
    for receptors in dict.fromkeys(row["receptors"] for row in rows):
        some = [r for r in rows if r["receptors"] == receptors and r["network"] == "tcn"]
        if kind == "tcn":
            found += _gap(receptors, some)
        mass = _values(some, "tuft_mass")
        if mass.size:
            found.append(
                f"{receptors}: {mass.mean():.1%} of the first layers' weight lie on the tuft, with "
                f"{some[0]['tuft_share']:.1%} of the inputs."
            )
    return found


def _gap(receptors: str, rows: Rows) -> list[str]:
    """How much the deepest networks gain on those of one layer, seed by seed."""
    sizes = sorted({row["size"] for row in rows})
    if len(sizes) < 2:
        return []
    ends: list[dict[int, dict[str, Any]]] = [
        {row["seed"]: row for row in rows if row["size"] == size} for size in (sizes[0], sizes[-1])
    ]
    shared = sorted(set(ends[0]) & set(ends[1]))
    said = []
    for name, column in (("AUC", "auc"), ("voltage explained", "v_explained")):
        gain = np.array([ends[1][s][column] - ends[0][s][column] for s in shared])
        gain = gain[np.isfinite(gain)]
        if gain.size:
            spread = f" ± {gain.std(ddof=1):.4f}" if gain.size > 1 else ""
            said.append(f"{name} {gain.mean():+.4f}{spread}")
    if not said:
        return []
    layers = f"{sizes[-1]} layers instead of {sizes[0]}"
    return [f"{receptors}: {layers}, {len(shared)} seed(s): {', '.join(said)}."]


def _elm_findings(rows: Rows) -> list[str]:
    """For every TCN, the smallest ELM neuron that is as good."""
    elm = [some for some in _structures(rows) if some[0]["network"] == "elm"]
    elm.sort(key=lambda some: some[0]["parameters"])
    found = []
    for some in _structures([row for row in rows if row["network"] == "tcn"]):
        wanted, first = _values(some, "auc"), some[0]
        what = f"{_structure(first)}, {first['parameters']:,} parameters"
        if not wanted.size:
            continue
        good = [
            e for e in elm if _values(e, "auc").size and _values(e, "auc").mean() >= wanted.mean()
        ]
        if good:
            least = good[0][0]
            ratio = first["parameters"] / least["parameters"]
            says = f"{least['size']} memory units do as well with {least['parameters']:,}"
            says += f" ({ratio:.3g} times fewer)"
        else:
            says = "no ELM neuron here does as well"
        found.append(f"{what}, AUC {wanted.mean():.4f}: {says}.")
    return found


def _unit_finding(rows: Rows) -> str:
    numbers = [f"AUC {_mean(rows, 'auc', '.4f')}"]
    for name, side in (("excitatory", "exc"), ("inhibitory", "inh")):
        numbers.append(
            f"{name} filter {_mean(rows, f'amplitude_{side}', '+.2f')} mV, "
            f"{_mean(rows, f'tau_{side}', '.1f')} ms"
        )
    return f"One unit: {'; '.join(numbers)}. The neuron: ±2 mV and 20 ms, reset by each spike."


def _figures(run: Experiment, rows: Rows, out: Path, order: Order | None) -> list[tuple[str, str]]:
    """Draw what the experiment shows: files and captions."""
    plotting = load_plotting()
    if plotting is None:
        return []
    drawn: list[tuple[str, Any, str]] = []
    networks = {row["network"] for row in rows}
    if order:
        drawn += branch_figures(plotting, run, rows, out, order)
    elif "elm" in networks:
        drawn.append(("memory", plotting.plot_memory(rows), "Memory units, and parameters."))
    elif "tcn" in networks:
        drawn.append(("depth", plotting.plot_depth(rows), "Accuracy against layers."))
    else:
        unit = Emulator.load(run.emulator(out, _plan(run, rows[0])))
        filters = templates(unit.net)[0]
        axes = plotting.plot_unit(filters, int(unit.meta["exc"]))
        drawn.append(("filters", axes, "Filters of the unit, thin lines of single inputs."))
    unlike = [x for row in rows for k, x in row.items() if k.startswith("auc_")]
    if not order and any(np.isfinite(x) for x in unlike):
        figure = plotting.plot_generalisation(rows)
        drawn.append(("generalisation", figure, "Input as in training, and unlike it."))
    if any(row["network"] == "tcn" and "tuft_mass" in row for row in rows):
        drawn.append(("tuft", plotting.plot_tuft(rows), "Weight of the first layer on the tuft."))
    for receptors in run.receptors:
        some = [row for row in rows if row["receptors"] == receptors and np.isfinite(row["auc"])]
        if some:
            best = max(some, key=lambda row: row["auc"])
            plan = shown(run, some) if order else _plan(run, best)
            drawn += _of_network(plotting, run, plan, out)
    for name, figure, _ in drawn:
        write_figure(plotting, figure, run.folder(out) / f"{name}.png")
    return [(f"{name}.png", caption) for name, _, caption in drawn]


def _of_network(
    plotting: Any, run: Experiment, plan: Plan, out: Path
) -> list[tuple[str, Any, str]]:
    """A held-out trace of one network, and its templates where inputs have places."""
    twin = Emulator.load(run.emulator(out, plan))
    test = run.parts(out, plan.receptors)[2]
    counts = np.asarray(test.spikes[:]).sum(axis=1)
    most = np.argsort(-counts, kind="stable")
    which = int(most[len(most) // 4])  # active, but not extreme
    one = test.take([which]).load()
    found = twin(one.x)
    first = min(500, max(one.bins - SHOWN, 0))
    part = slice(first, first + SHOWN)
    probability = np.asarray(found.probability)[0, part]
    figure = plotting.plot_prediction(
        one.v[0, part], one.spikes[0, part], np.asarray(found.v)[0, part], probability,
        start=first, threshold=twin.threshold,
    )  # fmt: skip
    drawn = [
        (
            f"trace_{plan.receptors}",
            figure,
            f"Held-out simulation, network {plan.name}; dashed: probability at which 0.2 % of "
            "bins without a spike are called.",
        )
    ]
    if plan.network == "tcn" and len(set(twin.meta["region"])) > 1:
        figure = plotting.plot_templates(templates(twin.net), twin.meta)
        drawn.append(
            (f"templates_{plan.receptors}", figure, f"Strongest first-layer filters, {plan.name}.")
        )
    return drawn


def _plan(run: Experiment, row: dict[str, Any]) -> Plan:
    return next(plan for plan in run.plans if plan.name == row["name"])


def _structure(row: dict[str, Any]) -> str:
    """Its name: layers and channels of a TCN, memory units of an ELM neuron."""
    if row["network"] == "unit":
        return "one unit"
    width = f" x {row['channels']}" if row["channels"] else ""
    return f"{NETWORK[row['network']]} {row['size']}{width}"


def _structures(rows: Rows) -> list[Rows]:
    """The networks of every structure."""
    groups: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        key = tuple(row[name] for name in ("network", "receptors", "size", "channels"))
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _values(rows: Rows, column: str) -> np.ndarray:
    values = np.array([row.get(column, np.nan) for row in rows], float)
    return values[np.isfinite(values)]


def _mean(rows: Rows, column: str, form: str, spread: bool = True) -> str:
    values = _values(rows, column)
    if not values.size:
        return "–"
    mean = f"{values.mean():{form}}"
    if values.size == 1 or not spread:
        return mean
    return f"{mean} ± {values.std(ddof=1):{form.lstrip('+')}}"


def _extent(run: Experiment, rows: Rows) -> str:
    scale = run.scale
    hours = scale.simulations * scale.seconds / 3600
    return (
        f"{scale.simulations} simulations of {scale.seconds:g} s ({hours:.2g} h) for each kind of "
        f"receptors, 7 in 10 to train with; {len(rows)} of {len(run.plans)} networks, "
        f"{scale.steps} steps each."
    )


def _data_table(run: Experiment, out: Path) -> Table:
    lines = [
        [receptors, kind, str(found["simulations"]), f"{found['seconds']:g}",
         f"{found['rate_hz']:.2f}"]
        for receptors, kinds in run.tested(out).items()
        for kind, found in kinds.items()
    ]  # fmt: skip
    return ["receptors", "input", "test simulations", "s each", "spikes/s"], lines


def _markdown(blocks: Sequence[tuple[str, Any]]) -> str:
    parts = []
    for kind, content in blocks:
        if kind == "title":
            parts.append(f"# {content}")
        elif kind == "text":
            parts.append(content)
        elif kind == "figure":
            parts.append(f"![{content[1]}]({content[0]})\n\n{content[1]}")
        else:
            heading, lines = content
            rule = ["---"] * len(heading)
            parts.append("\n".join("| " + " | ".join(x) + " |" for x in (heading, rule, *lines)))
    return "\n\n".join(parts) + "\n"


_STYLE = (
    "body{font:15px/1.5 sans-serif;color:#333;max-width:70em;margin:2em auto;padding:0 1em}"
    "img{max-width:100%}table{border-collapse:collapse;font-size:13px}"
    "td,th{padding:.25em .7em;text-align:right;border-bottom:1px solid #ddd}"
    "figcaption{color:#666}figure{margin:1.5em 0}"
)


def _html(blocks: Sequence[tuple[str, Any]]) -> str:
    title = html.escape(next(content for kind, content in blocks if kind == "title"))
    parts = [f"<!doctype html><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"]
    for kind, content in blocks:
        if kind == "title":
            parts.append(f"<h1>{title}</h1>")
        elif kind == "text":
            parts.append(f"<p>{html.escape(content)}</p>")
        elif kind == "figure":
            name, caption = (html.escape(x) for x in content)
            parts.append(f"<figure><img src='{name}' alt='{caption}'>")
            parts.append(f"<figcaption>{caption}</figcaption></figure>")
        else:
            heading, lines = content
            cells = [_cells("th", heading), *(_cells("td", line) for line in lines)]
            parts.append(f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>")
    return "\n".join(parts) + "\n"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts)
