"""NEURON as a worker: builds a `Neuron` section by section; always double precision."""

from typing import Any, ClassVar

import numpy as np
from neuron import h

from benchmarks import nmodl
from benchmarks.models import RA, REVERSALS, Neuron, load

h.load_file("stdrun.hoc")
CONTEXT = h.ParallelContext()
CONTEXT.set_maxstep(10)
MOST = 64  # simulations of a batch that are really run; the rest is counted by proportion


class Built:
    """A neuron with its stimulus and recordings."""

    def __init__(self, neuron: Neuron):
        self.sections = build(neuron)
        soma = self.sections[0](0.5)
        self.clamp = h.IClamp(soma)
        self.clamp.delay, self.clamp.dur = neuron.onset, neuron.duration
        self.clamp.amp = neuron.amplitude
        self.v = h.Vector().record(soma._ref_v)
        self.t = h.Vector().record(h._ref_t)


class Case:
    """How to run a neuron; there is one neuron at a time, which its cases share."""

    path: ClassVar[str] = ""
    built: ClassVar[Built | None] = None

    def __init__(self, case: dict[str, Any]):
        neuron, self.case = load(case["model"]), case
        if Case.path != case["model"]:
            Case.built = None  # NEURON deletes sections that nothing refers to
            Case.built, Case.path = Built(neuron), case["model"]
        self.v0, self.dt, self.stop = neuron.v0, case["dt"], case["steps"] * case["dt"]
        self.batch = case.get("batch", 1)
        self.latest = (np.empty(0), np.empty(0))
        self.cvode = h.CVode()
        self.info = {"n": sum(s.nseg for s in Case.built.sections), "dtype": "float64",
                     "counted": self.batch / min(self.batch, MOST)}  # fmt: skip

    def run(self) -> None:
        """Every simulation of the batch, one after the other."""
        solver = self.case.get("solver", "be")
        self.cvode.active(1 if solver == "cvode" else 0)
        if solver == "cvode":
            self.cvode.atol(self.case["atol"])
            self.cvode.rtol(0)
        else:
            h.secondorder = 2 if solver == "cn" else 0
            h.dt, h.steps_per_ms = self.dt, 1.0 / self.dt
        h.celsius = 6.3
        h.usetable_hh = self.case.get("tables", 1)
        for _ in range(min(self.batch, MOST)):
            h.finitialize(self.v0)
            CONTEXT.psolve(self.stop)  # the same steps as `continuerun`, up to 20 % faster
        built = Case.built
        self.latest = np.array(built.t), np.array(built.v)

    def trace(self) -> tuple[np.ndarray, np.ndarray]:
        """`t` ms and `v` mV at the soma."""
        return self.latest


def build(neuron: Neuron) -> list[Any]:
    """Sections with their mechanisms; section i starts at the end of its parent."""
    if neuron.channels == "hay":
        nmodl.load()
    sections = [h.Section(name=f"s{i}") for i in range(len(neuron.parent))]
    first = np.cumsum(neuron.ncomp) - neuron.ncomp
    for i, section in enumerate(sections):
        if neuron.parent[i] >= 0:
            section.connect(sections[neuron.parent[i]](1.0), 0.0)
        section.L, section.diam = float(neuron.length[i]), float(neuron.diameter[i])
        section.nseg, section.Ra = int(neuron.ncomp[i]), RA
        own = slice(first[i], first[i] + neuron.ncomp[i])
        for segment, cm in zip(section, neuron.cm[own], strict=True):
            segment.cm = cm
        for name, densities in neuron.mechanisms.items():
            _insert(section, name, {k: v[own] for k, v in densities.items()})
        if neuron.channels == "hay":
            _reversals(section)
    return sections


def _insert(section: Any, name: str, densities: dict[str, np.ndarray]) -> None:
    """A mechanism into a section; it is there in all its compartments or in none."""
    if np.isnan(next(iter(densities.values()))).any():
        return
    suffix = {"HH": "hh", "Leak": "pas"}.get(name, f"jd{name}")
    section.insert(suffix)
    for parameter, values in densities.items():
        if parameter in ("ena", "ek") and name == "HH":
            setattr(section, parameter, float(values[0]))
            continue
        for segment, value in zip(section, values, strict=True):
            setattr(getattr(segment, suffix), parameter, float(value))
    if name == "Leak":
        section.e_pas = -90.0


def _reversals(section: Any) -> None:
    for name, value in REVERSALS.items():
        if hasattr(section, name):
            setattr(section, name, value)


def prepare(case: dict[str, Any]) -> Case:
    """Build a case."""
    return Case(case)
