"""Simulated time per wall time: jaxdend in a batch, and networks in its place, against NEURON.

    python scripts/bench_emulator.py MORPHOLOGY --ms 200 --lanes 16 --rounds 2

Hay et al.'s cell on its reconstruction (ModelDB 139653, `cell1.asc`) with an excitatory (AMPA and
NMDA) and an inhibitory synapse in each of its 639 dendritic compartments, driven by the input of
`jaxdend.emulator.data`. Both take steps of backward Euler of 0.025 ms and both use all cores:
NEURON one simulation in a process on each core, jaxdend a batch of simulations on each. They take
turns. Before, the soma's voltage under the same input is compared. NEURON needs a C++ compiler.

The networks are the published TCN (7 layers of 128 channels that see 153 ms) and an ELM neuron of
15 units of memory, run by `Emulator` on four inputs of 6 s. They are not trained: that takes days
of a GPU and changes nothing of the time.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import nmodl
from benchmarks.timing import interleaved, ratio

DT = 0.025  # ms
SYNAPSE = """NEURON {
    POINT_PROCESS jdAmpaNmda
    RANGE ratio, e, i
    NONSPECIFIC_CURRENT i
}
UNITS { (nA) = (nanoamp) (mV) = (millivolt) (uS) = (microsiemens) }
PARAMETER {
    ra = 0.3 (ms) da = 3 (ms) rn = 2 (ms) dn = 70 (ms) ratio = 1 e = 0 (mV) mg = 1
}
ASSIGNED { v (mV) i (nA) fa fn }
STATE { a1 (uS) a2 (uS) n1 (uS) n2 (uS) }
INITIAL {
    LOCAL t
    a1 = 0  a2 = 0  n1 = 0  n2 = 0
    t = ra*da/(da - ra)*log(da/ra)
    fa = 1/(exp(-t/da) - exp(-t/ra))
    t = rn*dn/(dn - rn)*log(dn/rn)
    fn = 1/(exp(-t/dn) - exp(-t/rn))
}
BREAKPOINT {
    SOLVE state METHOD cnexp
    i = (a2 - a1 + (n2 - n1)/(1 + exp(-0.08*v)*mg/3.57))*(v - e)
}
DERIVATIVE state {
    a1' = -a1/ra
    a2' = -a2/da
    n1' = -n1/rn
    n2' = -n2/dn
}
NET_RECEIVE(weight (uS)) {
    a1 = a1 + weight*fa
    a2 = a2 + weight*fa
    n1 = n1 + weight*ratio*fn
    n2 = n2 + weight*ratio*fn
}
"""
CELL: dict[str, Any] = {}  # what a process of NEURON has built


def compiled() -> str:
    """A library with the mechanisms, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="jaxdend-bench-emulator-"))
    files = {f"jd{name}": nmodl.text(name) for name in nmodl.CHANNELS}
    files |= {"jdCalciumShell": nmodl.POOL, "jdAmpaNmda": SYNAPSE}
    for name, text in files.items():
        (folder / f"{name}.mod").write_text(text)
    tool = Path(sys.executable).parent / "nrnivmodl"
    done = subprocess.run([str(tool)], cwd=folder, capture_output=True, text=True, check=False)
    found = [*folder.glob("*/libnrnmech.so"), *folder.glob("*/libnrnmech.dylib")]
    if not found:
        raise SystemExit(f"nrnivmodl failed: {done.stdout[-600:]} {done.stderr[-600:]}")
    return str(found[0])


def described(setup: Any) -> dict[str, Any]:
    """The cell and its synapses as plain numbers, from which NEURON builds them."""
    cell, morph = setup.cell, setup.cell.morph
    order = [np.flatnonzero(cell.section == i) for i in range(len(morph.name))]
    order = [own[np.argsort(cell.x[own])] for own in order]
    place = {int(c): (i, j) for i, own in enumerate(order) for j, c in enumerate(own)}
    varied = {"Leak": ("g",), "CalciumShell": ("decay", "gamma")}
    densities = {}
    for name, item in cell.mechanisms.items():
        for parameter in varied.get(name, ("gbar",)):
            values = np.full(cell.n, np.nan)
            values[item.at.index] = np.asarray(getattr(item.mechanism, parameter), float)
            densities[name, parameter] = [values[own] for own in order]
    return {
        "points": [np.asarray(morph.section_points(i), float) for i in range(len(order))],
        "parent": [int(i) for i in morph.parent_section],
        "parent_x": [float(x) for x in morph.parent_x],
        "cm": [np.asarray(cell.cm, float)[own] for own in order],
        "densities": densities,
        "sites": [place[int(i)] for i in setup.sites],
        "exc": setup.sampling.exc,
        "weights": (setup.ampa, setup.nmda, setup.gaba),
        "soma": place[int(setup.soma)],
        "v0": setup.v0,
    }


def begin(library: str, cell: dict[str, Any]) -> None:
    """Build the cell in this process."""
    from neuron import h

    h.load_file("stdrun.hoc")
    h.nrn_load_dll(library)
    sections = [h.Section(name=f"s{i}") for i in range(len(cell["parent"]))]
    for i, section in enumerate(sections):
        if cell["parent"][i] >= 0:
            h.pt3dstyle(1, *map(float, cell["points"][i][0, :3]), sec=section)
            section.connect(sections[cell["parent"][i]](cell["parent_x"][i]), 0)
        for point in cell["points"][i]:
            h.pt3dadd(*map(float, point), sec=section)
        section.nseg, section.Ra = len(cell["cm"][i]), 100.0
        for segment, cm in zip(section, cell["cm"][i], strict=True):
            segment.cm = cm
        for (name, parameter), rows in cell["densities"].items():
            insert(section, name, parameter, rows[i])
        for name, value in (("ena", 50.0), ("ek", -85.0)):
            if hasattr(section, name):
                setattr(section, name, value)
    places = [list(sections[i])[j] for i, j in cell["sites"]]
    ampa, nmda, gaba = cell["weights"]
    synapses, connections = [], []
    for i, segment in enumerate(places):
        if i < cell["exc"]:
            synapse = h.jdAmpaNmda(segment)
            synapse.ratio = nmda / ampa
        else:
            synapse = h.Exp2Syn(segment)
            synapse.tau1, synapse.tau2, synapse.e = 0.2, 8.0, -80.0
        connection = h.NetCon(None, synapse)
        connection.weight[0] = ampa if i < cell["exc"] else gaba
        synapses.append(synapse)
        connections.append(connection)
    i, j = cell["soma"]
    v = h.Vector().record(list(sections[i])[j]._ref_v)
    keep = (sections, synapses)
    CELL.update(h=h, v=v, connections=connections, v0=cell["v0"], keep=keep)


def insert(section: Any, name: str, parameter: str, values: np.ndarray) -> None:
    """One parameter of a mechanism, which is in all of a section's compartments or in none."""
    if np.isnan(values).any():
        return
    suffix = "pas" if name == "Leak" else f"jd{name}"
    section.insert(suffix)
    for segment, value in zip(section, values, strict=True):
        setattr(getattr(segment, suffix), parameter, float(value))
    if name == "Leak":
        section.e_pas = -90.0


def run_neuron(x: np.ndarray) -> np.ndarray:
    """The soma's voltage in every step under the input `x (bins, k)`."""
    h = CELL["h"]
    h.celsius, h.dt, h.steps_per_ms, h.secondorder = 6.3, DT, 1.0 / DT, 0
    h.finitialize(CELL["v0"])
    for t, i in zip(*np.nonzero(x), strict=True):
        CELL["connections"][i].event(float(t))
    h.continuerun(float(len(x)))
    return np.array(CELL["v"])


def main() -> None:
    """Compare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("morphology")
    parser.add_argument("--ms", type=int, default=200, help="of every simulation")
    parser.add_argument("--lanes", type=int, default=16, help="jaxdend's simulations on a core")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1

    import jax

    jax.config.update("jax_num_cpu_devices", cores)
    import jax.numpy as jnp

    from jaxdend.devices import batch
    from jaxdend.emulator import Emulator, data, networks

    setup = data.SETUPS["hay"](options.morphology, dt=DT)
    assert isinstance(setup, data.Neuron)
    many = cores * options.lanes
    keys = jax.random.split(jax.random.key(0), many)
    x = np.stack([data.sample_input(key, setup.sampling, options.ms) for key in keys])
    run = batch(setup.simulate)
    held = jnp.asarray(x)
    long = np.stack([data.sample_input(key, setup.sampling, 6000) for key in keys[:4]])
    tcn = Emulator(networks.TCN(setup.k, channels=128, depth=7, span=153))
    elm = Emulator(networks.ELM(setup.k, memory=15, branches=45, excitatory=setup.sampling.exc))
    pool = multiprocessing.get_context("spawn").Pool(cores, begin, (compiled(), described(setup)))
    with pool:
        mine = jax.block_until_ready(run(held))
        theirs = pool.map(run_neuron, list(x[:cores]), 1)
        compare(np.asarray(mine["v"]), theirs)
        tcn(long), elm(long)  # compiled
        seconds = interleaved(
            {
                "neuron": lambda: clock(lambda: pool.map(run_neuron, list(x[:cores]), 1)),
                "jaxdend": lambda: clock(lambda: jax.block_until_ready(run(held))),
                "TCN": lambda: clock(lambda: tcn(long)),
                "ELM": lambda: clock(lambda: elm(long)),
            },
            options.rounds,
            warm=0,
        )
    rates = {}
    ms = {"neuron": (cores, options.ms), "jaxdend": (many, options.ms)}
    for name in seconds:
        count, length = ms.get(name, long.shape[:2])
        took, simulated = np.median(seconds[name]), count * length / 1000
        rates[name] = [simulated / s for s in seconds[name]]
        print(
            f"{name:8s} {count:4d} simulations of {length} ms in {took:.2f} s: "
            f"{simulated / took:.3f} simulated hours an hour"
        )
    for name in ("jaxdend", "TCN", "ELM"):
        one = [r / cores for r in rates["neuron"]]
        print(
            f"{name}: {ratio(rates[name], rates['neuron'])} NEURON on {cores} cores, "
            f"{ratio(rates[name], one)} one process of it"
        )
    print(
        f"{setup.cell.n} compartments, {setup.k} synapses, dt {DT} ms; load average "
        f"{os.getloadavg()[0]:.1f}"
    )


def compare(mine: np.ndarray, theirs: list[np.ndarray]) -> None:
    """Print how far the two are apart at the ends of bins, under the same input."""
    every = round(1.0 / DT)
    for i, v in enumerate(theirs):
        apart = np.abs(mine[i] - v[every::every][: len(mine[i])])
        print(
            f"simulation {i}: soma {v.min():.1f} to {v.max():.1f} mV; jaxdend (single precision) "
            f"is {np.median(apart):.2g} mV away in the median, {apart.max():.2g} mV at most"
        )


def clock(f: Any) -> float:
    """Seconds that `f()` takes."""
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
