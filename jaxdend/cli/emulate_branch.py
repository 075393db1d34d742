"""The report of the experiment on a single branch: how many units, and which direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdend.emulator import Emulator
from jaxdend.emulator.data import SETUPS
from jaxdend.emulator.experiments import Experiment, Plan
from jaxdend.emulator.interpretation import SELECTIVE, order_response, templates

Rows = Sequence[dict[str, Any]]

NEAR = {"auc": 0.005, "v_explained": 0.02}  # within which a network is as good as the best
PUBLISHED = 4  # units, whose filters are drawn
INTERVALS = (0, 1, 2, 4, 6, 8, 12)  # ms between the inputs of a sequence
WIDTH = 20.0  # µm, from one synapse to the next


@dataclass(frozen=True)
class Order:
    """Peaks at the soma when the inputs follow one another, `(2, intervals)` mV, inward first."""

    network: str  # its name
    cell: np.ndarray
    twin: np.ndarray
    rest: float  # mV, of the cell

    def finding(self) -> str:
        """Says which order of inputs the cell and the network prefer."""
        cell, twin = self.cell[0] - self.cell[1], self.twin[0] - self.twin[1]
        at = int(np.abs(cell).argmax())
        index = cell[at] / (self.cell[:, at] - self.rest).sum()
        same = int(np.sum(np.sign(cell[1:]) == np.sign(twin[1:])))
        return (
            f"All inputs one after the other, inward less outward, peak at the soma: cell "
            f"{cell[at]:+.2f} mV (an index of {index:+.2f}) and network {self.network} "
            f"{twin[at]:+.2f} mV at the interval that matters most to the cell, {INTERVALS[at]} "
            f"ms; the same sign at {same} of {len(INTERVALS) - 1} intervals."
        )


def measure_order(run: Experiment, rows: Rows, out: Path) -> Order:
    """Tests the cell and the best network of 4 units, if any, under sequences of inputs."""
    plan = shown(run, rows)
    twin = Emulator.load(run.emulator(out, plan))
    setup = SETUPS[run.setup](receptors=plan.receptors)
    simulate = jax.jit(jax.vmap(setup.simulate))
    inward, k = twin.meta["inward"], twin.net.k
    cell = order_response(lambda x: simulate(x)["v"], k, inward, INTERVALS)
    predicted = order_response(lambda x: twin(x).v, k, inward, INTERVALS)
    return Order(plan.name, cell, predicted, float(twin.meta["numbers"]["v0"]))


def shown(run: Experiment, rows: Rows) -> Plan:
    """The best of the networks with 4 units, or of all if there is none."""
    some = [row for row in rows if row["channels"] == PUBLISHED] or rows
    best = max(some, key=lambda row: np.nan_to_num(row["auc"]))
    return next(plan for plan in run.plans if plan.name == best["name"])


def branch_findings(rows: Rows) -> list[str]:
    """How many units do, and how many filters know a direction."""
    units = sorted({row["channels"] for row in rows})
    groups = {n: [row for row in rows if row["channels"] == n] for n in units}
    found = []
    for column, name in (("auc", "AUC"), ("v_explained", "voltage explained")):
        score = {n: float(np.mean([row[column] for row in some])) for n, some in groups.items()}
        if np.isfinite(list(score.values())).all():
            near = NEAR[column]
            least = min(n for n in units if score[n] >= max(score.values()) - near)
            each = ", ".join(f"{score[n]:.4f}" for n in units)
            found.append(
                f"Units {', '.join(map(str, units))}: {name} {each}. The fewest within {near} of "
                f"the best: {least}."
            )
    for n in units:
        some = [row for row in groups[n] if np.isfinite(row["direction"])]
        if some:
            most = max((row["direction"] for row in some), key=abs)
            found.append(
                f"{n} unit{'s' * (n > 1)}: {sum(row['selective'] for row in some):.0f} of "
                f"{sum(row['filters'] for row in some):.0f} filters in {len(some)} network(s) have "
                f"an index of direction of {SELECTIVE} or more; the largest is {most:+.2f} "
                f"({'inward' if most > 0 else 'outward'})."
            )
    return found


def branch_figures(
    plotting: Any, run: Experiment, rows: Rows, out: Path, order: Order
) -> list[tuple[str, Any, str]]:
    """Draw the figures of a branch: the file name, the figure and the caption of each."""
    twin = Emulator.load(run.emulator(out, shown(run, rows)))
    filters = plotting.plot_templates(
        templates(twin.net), twin.meta, most=PUBLISHED, width=WIDTH, smooth=3
    )
    return [
        ("units", plotting.plot_units(rows), _UNITS),
        (
            "order",
            plotting.plot_order(INTERVALS, order.cell, order.twin),
            f"The {twin.net.k} inputs one after the other, towards the soma and away from it; "
            f"network {order.network}.",
        ),
        ("templates", filters, f"First-layer filters, {order.network}; the soma below."),
    ]


_UNITS = (
    "Accuracy against the units of the one layer; spikes are onsets of NMDA spikes in the middle "
    "of the branch."
)
