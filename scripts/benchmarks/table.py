"""`table`: what the results files of a folder say against the peers, in Markdown."""

import json
from collections.abc import Iterator
from pathlib import Path

Cells = tuple[str, dict | None, dict | None]  # label, ratio to Jaxley, ratio to NEURON


def markdown(folder: Path) -> str:
    """One row a comparison: times of Jaxley and NEURON as multiples of jaxdend's."""
    lines = ["| | Jaxley | NEURON |", "|---|---|---|"]
    for name, rows_of in READERS.items():
        path = folder / f"{name}.json"
        if path.exists():
            for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
                for label, jaxley, neuron in rows_of(row):
                    lines.append(f"| {label} | {_shown(jaxley)} | {_shown(neuron)} |")
    return "\n".join(lines)


def _shown(ratio: dict | None) -> str:
    if ratio is None:
        return "–"
    return f"{ratio['median']:.2g}× ({ratio['low']:.2g}–{ratio['high']:.2g})"


def _step(row: dict) -> Iterator[Cells]:
    kind = {"hh": "HH", "hay": "Hay 2011"}[row["channels"]]
    own = "jaxdend float32"
    ratios = row["ratios"]
    yield (
        f"A time step, {kind} channels, {row['n']:,} compartments",
        ratios.get(f"jaxley float32 / {own}"),
        ratios.get(f"neuron / {own}"),
    )


def _batch(row: dict) -> Iterator[Cells]:
    ratios = row["ratios"]
    size = f"{row['batch']} neurons of {row['n']:,} compartments"
    yield (
        f"Batch of {size}, {row['cores']} cores (NEURON: 1)",
        ratios.get("jaxley / jaxdend, all cores"),
        ratios.get("neuron / jaxdend, all cores"),
    )
    yield (
        f"Batch of {size}, 1 core",
        ratios.get("jaxley / jaxdend, one core"),
        ratios.get("neuron / jaxdend, one core"),
    )


def _gradient(row: dict) -> Iterator[Cells]:
    best = row["ratios"].get("jaxley, 2 levels / jaxdend")
    yield f"Loss and gradient, {row['n']:,} compartments", best, None


def _accuracy(row: dict) -> Iterator[Cells]:
    ratios = row["ratios"]
    yield (
        f"Spike times to 0.01 ms, peers' default scheme, {row['case']}",
        ratios.get("jaxley BE at 0.01 ms / jaxdend's default"),
        ratios.get("neuron BE at 0.01 ms / jaxdend's default"),
    )
    yield (
        f"Spike times to 0.001 ms, `Rodas4P` against CVODE, {row['case']}",
        None,
        ratios.get("neuron CVODE / jaxdend Rodas4P at 0.001 ms"),
    )


def _startup(row: dict) -> Iterator[Cells]:
    n = row["compartments"]["jaxdend"]
    ratios = row["ratios"]
    yield (
        f"New process: import, file to first trace, {n:,} compartments",
        ratios.get("jaxley / jaxdend"),
        ratios.get("neuron / jaxdend"),
    )


READERS = {
    "step": _step,
    "batch": _batch,
    "gradient": _gradient,
    "accuracy": _accuracy,
    "startup": _startup,
}
