"""Draws assets/readme.png, the picture at the top of the README: python scripts/readme_figure.py.

Synapses on one branch of the tuft open their NMDA receptors together and start a spike that stays
in the branch. Then a current pulse fires the soma, and that spike runs back up into the dendrites.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

import jaxdend as jd
from jaxdend.channels import HH
from jaxdend.plotting import context, filmstrip, plot_neuron, plot_traces, savefig
from jaxdend.synapses import NMDA

TARGET = Path(__file__).parents[1] / "assets" / "readme.png"
SNAPSHOTS = (10.0, 14.0, 31.0, 32.0, 33.5, 36.0)  # ms
PULSES = {"synapses on the tuft": (4.0, 8.0), "current into the soma": (30.0, 32.0)}  # ms


def neuron() -> jd.Cell:
    """A procedural pyramidal cell, its dendrites less excitable the farther from the soma."""
    cell = jd.Cell(jd.pyramidal(seed=0), max_length=20.0, cm=1.0, ra=100.0)
    core = cell.region("soma") | cell.region("axon")
    apical = 0.06 * np.clip(1.0 - cell.distance / 900.0, 0.12, 1.0)  # S/cm²
    gna = np.where(cell.region("apical"), apical, 0.03)
    dendrites = HH(gnabar=gna, gkbar=0.3 * gna, gl=1e-4, el=-63.0)
    return cell.insert(HH(), where=core).insert(dendrites, where=~core)


def simulation(cell: jd.Cell) -> tuple[jd.Traces, dict[str, int]]:
    """The voltage of every compartment, and the sites to point out."""
    tuft = np.where(cell.region("tuft"), cell.xyz[:, 0], np.inf)
    branch = np.flatnonzero(cell.section == cell.section[np.argmin(tuft)])  # the leftmost one
    sites = {
        "soma": cell.locate("soma"),
        "trunk": cell.locate("trunk", distance=400.0),
        "tuft": int(branch[len(branch) // 2]),
    }
    times = np.linspace(*PULSES["synapses on the tuft"], 20)[:, None]  # (20, 1) ms
    synapses = NMDA(site=np.resize(branch, 20), weight=2e-3, times=times, tau2=20.0)
    start, end = PULSES["current into the soma"]
    pulse = jd.Step(site=sites["soma"], onset=start, duration=end - start, amplitude=6.0)
    return jd.simulate(cell, [synapses, pulse], t1=45.0, v0=-66.0), sites


def draw(cell: jd.Cell, traces: jd.Traces, sites: dict[str, int]) -> Figure:
    """The neuron by its peak voltage, three traces, and the tree at six moments."""
    ts, v = np.asarray(traces.ts), np.asarray(traces.v)
    figure = plt.figure(figsize=(9.6, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.0, 2.2])
    top, bottom = right.subfigures(2, 1, height_ratios=[1.0, 1.2])
    plot_neuron(cell, v.max(axis=0), left.subplots(), label="peak voltage (mV)", sites=sites)
    ax = top.subplots()
    shown = SimpleNamespace(ts=ts, v=v[:, list(sites.values())])
    plot_traces(shown, ax, labels=list(sites))
    for name, (start, end) in PULSES.items():
        ax.axvspan(start, end, color="0.9", linewidth=0.0, zorder=0)
        ax.annotate(name, (start, 48.0), ha="left", va="bottom", annotation_clip=False)
    filmstrip(cell, ts, v, SNAPSHOTS, axes=bottom.subplots(1, len(SNAPSHOTS)))
    return figure


if __name__ == "__main__":
    with context():
        cell = neuron()
        savefig(draw(cell, *simulation(cell)), TARGET, dpi=150)
    with Image.open(TARGET) as image:
        small = image.convert("RGB").quantize(256)
    small.save(TARGET, optimize=True)
