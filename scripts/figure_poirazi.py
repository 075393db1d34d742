"""Which model predicts the rate of a neuron with thin branches? After Poirazi et al. (2003).

`python scripts/figure_poirazi.py [--placements 300] [--out two_layer.png]` simulates placements at
a constant and at a varying number of synapses, in a cell with NMDA receptors that fires and in a
passive one without, whose synapses are too weak to saturate. It prints the held-out R² of the three
models, and draws them.
"""

import argparse

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from jaxdend.plotting import context, savefig
from jaxdend.tasks.thin_branches import (
    WEAK,
    branch_curves,
    place,
    random_branches,
    responses,
    thin_branches as make_cell,
)
from jaxdend.tasks.two_layer import KINDS, NUMBER, CrossValidated, cross_validate

Table = dict[tuple[str, str], tuple[np.ndarray, dict[str, CrossValidated]]]
PUBLISHED = {"linear": 0.81, "two-layer": 0.93}  # their cell in NEURON, 40 synapses


def compare(placements: int, seed: int) -> Table:
    """(cell, number of synapses) -> what was measured, and the models by name."""
    rng = np.random.default_rng(seed)
    numbers = {
        f"N = {NUMBER}": np.full(placements, NUMBER),
        "N = 5–60": rng.integers(5, 61, placements),
    }
    table: Table = {}
    for condition, number in numbers.items():
        cell = make_cell()
        placed = place(cell, random_branches(number, seed), seed)
        active = responses(cell, placed, seed=seed).rate
        passive = responses(
            make_cell(spiking=False), placed, ratio=0.0, weight=WEAK, seed=seed
        ).depolarisation
        for name, measured in (("active", active), ("passive", passive)):
            models = {k: cross_validate(k, placed.counts, measured, seed=seed) for k in KINDS}
            table[name, condition] = measured, models
    return table


def draw(table: Table) -> Figure:
    """Single branches, predictions, and the table as bars."""
    figure, axes = plt.subplots(1, 4, figsize=(13.0, 3.4), layout="constrained")
    counts = np.arange(0, 15)
    passive = make_cell(spiking=False)
    curves = branch_curves(passive, counts)
    axes[0].plot(counts, curves.T, color="0.75", linewidth=1.0)
    axes[0].plot(counts, curves.mean(axis=0), label="mean of 10 branches")
    without = branch_curves(passive, counts, ratio=0.0).mean(axis=0)
    axes[0].plot(counts, without, label="without NMDA")
    axes[0].set(xlabel="synapses on one branch", ylabel="somatic depolarisation (mV)")
    axes[0].set_xticks(counts[::2])
    axes[0].legend()
    measured, models = table["active", f"N = {NUMBER}"]
    for ax, kind in zip(axes[1:3], ("linear", "two-layer"), strict=True):
        ax.plot(measured, models[kind].predicted, ".", markersize=4, alpha=0.6)
        ax.axline((0.0, 0.0), slope=1.0, color="0.6", linewidth=0.8)
        ax.set(xlabel="measured rate (Hz)", ylabel="predicted, held out (Hz)")
        ax.set_title(f"{kind}, {NUMBER} synapses: R² = {models[kind].r2:.2f}")
        ax.set(xlim=(-2, measured.max() + 2), ylim=(-2, measured.max() + 2))
    for i, kind in enumerate(KINDS):
        heights = [max(models[kind].r2, 0.0) for _, models in table.values()]
        axes[3].bar(np.arange(len(table)) + 0.27 * (i - 1), heights, 0.25, label=kind)
    names = [f"{cell}\n{condition}" for cell, condition in table]
    axes[3].set_xticks(range(len(table)), names)
    axes[3].set(ylabel="held-out R²", ylim=(0.0, 1.25), yticks=np.linspace(0.0, 1.0, 6))
    axes[3].legend(ncols=3, loc="upper center", columnspacing=1.0)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--placements", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="two_layer.png")
    given = parser.parse_args()
    table = compare(given.placements, given.seed)
    print(f"{'cell':9} {'synapses':10} {'measured':>16}  " + " ".join(f"{k:>9}" for k in KINDS))
    for (cell, condition), (measured, models) in table.items():
        unit = "Hz" if cell == "active" else "mV"
        spread = f"{measured.mean():.2f} ± {measured.std():.2f} {unit}"
        scores = " ".join(f"{models[k].r2:9.3f}" for k in KINDS)
        print(f"{cell:9} {condition:10} {spread:>16}  {scores}")
    print(f"published cell in NEURON, 40 synapses: {PUBLISHED}")
    with context():
        savefig(draw(table), given.out, dpi=150)
