"""Inward and outward sequences on one dendrite of the neuron of Branco et al. 2010, by velocity.

    python scripts/figure_branco.py [--graph FILE] [--out FIGURE]

Simulates the published passive cell and prints and draws its EPSPs next to those of the authors'
own model in NEURON. It needs the cell as a compartment graph, `branco2010_graph.npz`: arrays
`parent`, `ri_MOhm`, `area_um2`, `dist_um`, `secname`, `x`, `seglen_um` and `diam_um`, one entry per
compartment, exported from ModelDB 140828. It may not be redistributed and is not part of this
repository; by default it is looked for in `../shared/reference` next to the repository.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import jaxdend as jd
from jaxdend.models import branco2010
from jaxdend.plotting import COLORS, context, savefig
from jaxdend.solvers import BackwardEuler
from jaxdend.synapses import AlphaSynapse, NMDAKinetic

ROOT = Path(__file__).parents[1]
GRAPH = ROOT.parent / "shared" / "reference" / "branco2010_graph.npz"
SPACING = 12.378  # µm between synapses
INTERVALS = np.array([0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])  # ms
ONSET, TAIL, SHOWN = 5.0, 50.0, 4.0  # ms before and after a sequence; interval of the traces
NEURON = {  # interval, ms: EPSP in mV of the authors' model, inwards and outwards, then AMPA alone
    0.0: (9.7363, 9.7363, 5.6373, 5.6373),
    2.0: (10.4760, 9.0011, 4.4612, 3.7674),
    4.0: (10.2485, 7.9637, 2.8756, 2.4767),
    8.0: (6.4020, 5.7817, 1.7191, 1.5648),
}


def published_cell(file: Path) -> jd.Cell:
    """The passive neuron from its graph."""
    graph = np.load(file)
    cell = jd.Cell.from_compartments(
        parent=graph["parent"],
        axial_resistance=graph["ri_MOhm"],
        area=graph["area_um2"],
        ra=150.0,
        distance=graph["dist_um"],
        section=[name.rpartition(".")[2] for name in graph["secname"]],
        x=graph["x"],
        length=graph["seglen_um"],
        radius=graph["diam_um"] / 2,
    )
    return branco2010(cell)


def epsps(cell: jd.Cell, nmda: float) -> tuple[np.ndarray, np.ndarray]:
    """Time in ms `(t,)` and EPSPs at the soma in mV, `(2, intervals, t)`: inwards and outwards."""
    dendrite = [cell.locate(section="dend[13]", x=1 - i / 8) for i in range(8)]
    sites = np.array([*dendrite, cell.locate(section="dend[12]", x=1.0)])  # distal first
    soma, place = cell.locate("soma"), np.arange(9.0)
    t1 = ONSET + 8 * INTERVALS.max() + TAIL

    def run(onset: jax.Array) -> jax.Array:
        inputs = [
            AlphaSynapse(sites, 5e-4, onset[:, None], tau=2.0, cutoff=10.0),
            NMDAKinetic(sites, nmda, onset[:, None]),
        ]
        solver = BackwardEuler()
        traces = jd.simulate(cell, inputs, t1=t1, solver=solver, record=[soma], v0=-75.0)
        return traces.v[:, 0] + 75.0

    onsets = ONSET + np.stack([np.outer(INTERVALS, place), np.outer(INTERVALS, place[::-1])])
    v = jax.jit(jax.vmap(run))(jnp.asarray(onsets.reshape(-1, 9)))
    v = np.asarray(v).reshape(2, len(INTERVALS), -1)
    return np.linspace(0.0, t1, v.shape[-1]), v


def table(full: np.ndarray, ampa: np.ndarray) -> None:
    """Peaks `(2, intervals)` mV next to NEURON's."""
    print("interval   velocity   inwards   outwards  index    NEURON: inwards  outwards  index")
    for name, peaks, at in (("AMPA and NMDA", full, 0), ("AMPA alone", ampa, 2)):
        print(name)
        for i, interval in enumerate(INTERVALS):
            speed = f"{SPACING / interval:6.2f}" if interval else "     ∞"
            row = f"{interval:5.1f} ms {speed} µm/ms {peaks[0, i]:7.3f} {peaks[1, i]:9.3f}"
            row += f" {index(*peaks[:, i]):+9.3f}"
            if interval in NEURON:
                known = NEURON[interval][at : at + 2]
                row += f" {known[0]:16.3f} {known[1]:9.3f} {index(*known):+8.3f}"
            print(row)


def index(inwards: float, outwards: float) -> float:
    """Selectivity, (IN - OUT) / (IN + OUT)."""
    return (inwards - outwards) / (inwards + outwards)


def draw(ts: np.ndarray, v: np.ndarray, full: np.ndarray, ampa: np.ndarray) -> Figure:
    """Traces at one interval, EPSPs by velocity, selectivity by velocity."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained")
    at = int(np.flatnonzero(INTERVALS == SHOWN)[0])
    moving = INTERVALS > 0
    speed = SPACING / INTERVALS[moving]
    known = [interval for interval in NEURON if interval > 0]
    for way, name in enumerate(("inwards", "outwards")):
        color = COLORS[way]
        left.plot(ts, v[way, at], color=color, label=name)
        middle.plot(speed, full[way, moving], color=color)
        middle.plot(speed, ampa[way, moving], "--", color=color)
        for first in (0, 2):
            points = [NEURON[interval][first + way] for interval in known]
            middle.plot(SPACING / np.array(known), points, "o", color=color, mfc="white", ms=6)
    left.axvspan(ONSET, ONSET + 8 * SHOWN, color="0.93", linewidth=0, zorder=0)
    left.text(ONSET + 4 * SHOWN, 0.2, "inputs", ha="center", color="0.4")
    left.set(xlim=(0, 100), xlabel="time (ms)", ylabel="EPSP at the soma (mV)")
    left.set_title(f"nine inputs, one every {SHOWN:g} ms", loc="left")
    left.legend()
    middle.text(1.3, 10.9, "AMPA and NMDA", color="0.4")
    middle.text(5.5, 2.3, "AMPA alone", color="0.4")
    middle.set(ylim=(0, 12), ylabel="peak EPSP (mV)")
    middle.set_title("faster is not always larger", loc="left")
    for peaks, style, first, name in (
        (full, "-", 0, "AMPA and NMDA"),
        (ampa, "--", 2, "AMPA alone"),
    ):
        right.plot(speed, index(*peaks[:, moving]), style, color="k", label=name)
        points = [index(*NEURON[interval][first : first + 2]) for interval in known]
        right.plot(SPACING / np.array(known), points, "o", color="k", mfc="white", ms=6)
    right.plot([], [], "o", color="k", mfc="white", ms=6, label="authors' model in NEURON")
    right.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    right.set(ylabel="(IN − OUT) / (IN + OUT)")
    right.set_title("NMDA tunes direction to velocity", loc="left")
    right.legend(loc="lower right")
    for ax in (middle, right):
        ax.set(xscale="log", xlabel="velocity (µm/ms)", xticks=[1.5, 3, 6, 12])
        ax.set_xticklabels(["1.5", "3", "6", "12"])
        ax.minorticks_off()
    return figure


def main() -> int:
    """Read the arguments, simulate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--graph", type=Path, default=GRAPH, help="the published cell")
    parser.add_argument("--out", type=Path, default=Path("branco2010.png"), help="the figure")
    options = parser.parse_args()
    if not options.graph.is_file():
        print(f"{options.graph.name} is not there. {__doc__.split(chr(10) * 2, 2)[2]}")
        return 1
    jax.config.update("jax_enable_x64", True)
    cell = published_cell(options.graph)
    ts, full = epsps(cell, nmda=8e-3)
    _, ampa = epsps(cell, nmda=0.0)
    peaks = full.max(axis=-1), ampa.max(axis=-1)
    table(*peaks)
    with context():
        print("written:", savefig(draw(ts, full, *peaks), options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
