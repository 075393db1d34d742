"""One neuron as plain arrays, from which every simulator builds its own: nothing may differ.

A neuron is a table of cylinders (sections), cut into compartments of equal length, with densities
per compartment. Sections are sorted by region and parents come first, so that all simulators number
compartments alike; compartment 0 is the soma. Every section starts at the end (x = 1) of its
parent.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SOMA, AXON, BASAL, APICAL = 1, 2, 3, 4  # SWC types
SOMA_SIZE = 20.0  # µm, length and diameter
RA = 100.0  # Ω·cm
HH = {"gnabar": 0.12, "gkbar": 0.036, "gl": 0.0003, "ena": 50.0, "ek": -77.0, "el": -54.3}
REVERSALS = {"ena": 50.0, "ek": -85.0}  # mV, Hay's set


@dataclass(frozen=True)
class Neuron:
    """A model and its stimulus, a step of current into the soma.

    `densities` maps "Mechanism.parameter", jaxdend's names, to `(n,)` values, NaN where the
    mechanism is absent. The run's parameter, which is varied in batches and differentiated, is
    `parameter` ("Mechanism.parameter") in all places where it is present.
    """

    parent: np.ndarray  # (s,) int, -1 at the soma
    kind: np.ndarray  # (s,) int SWC type
    ncomp: np.ndarray  # (s,) int
    length: np.ndarray  # (s,) µm
    diameter: np.ndarray  # (s,) µm
    cm: np.ndarray  # (n,) µF/cm²
    densities: dict[str, np.ndarray]
    channels: str  # "hh" or "hay"
    parameter: str
    v0: float  # mV
    onset: float = 1.0  # ms
    duration: float = 1e9  # ms
    amplitude: float = 3.0  # nA
    sites: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of compartments."""
        return int(self.ncomp.sum())

    @property
    def section(self) -> np.ndarray:
        """`(n,)` the section of each compartment."""
        return np.repeat(np.arange(len(self.ncomp)), self.ncomp)

    @property
    def mechanisms(self) -> dict[str, dict[str, np.ndarray]]:
        """Mechanism -> parameter -> `(n,)`."""
        out: dict[str, dict[str, np.ndarray]] = {}
        for key, values in self.densities.items():
            name, parameter = key.split(".")
            out.setdefault(name, {})[parameter] = values
        return out

    def save(self, path: Path) -> Path:
        """Write an `.npz` from which workers build."""
        arrays = {"parent", "kind", "ncomp", "length", "diameter", "cm"}
        numbers = {"channels", "parameter", "v0", "onset", "duration", "amplitude"}
        np.savez(
            path,
            **{k: getattr(self, k) for k in arrays},
            **{f"density:{k}": v for k, v in self.densities.items()},
            numbers=json.dumps({k: getattr(self, k) for k in numbers}),
        )
        return path


def load(path: str | Path) -> Neuron:
    """A neuron that `Neuron.save` wrote."""
    with np.load(path) as file:
        arrays = {k: file[k] for k in ("parent", "kind", "ncomp", "length", "diameter", "cm")}
        densities = {k.split(":")[1]: file[k] for k in file.files if k.startswith("density:")}
        return Neuron(**arrays, densities=densities, **json.loads(str(file["numbers"])))


def grown(n: int, seed: int = 0, step: float = 10.0) -> dict[str, np.ndarray]:
    """Sections of a random neuron of exactly `n` compartments of `step` µm.

    A soma, an axon (5 %), six basal stems (half of the rest) and an apical tree; every branch has
    about 12 compartments and ends in two, with 0.63 of its diameter (Rall's 3/2 rule) but at least
    0.6 µm.
    """
    rng = np.random.default_rng(seed)
    axon = max(1, n // 20)
    apical = (n - 1 - axon) // 2
    plan = [(AXON, 1, 1.5, axon), (BASAL, 6, 2.5, n - 1 - axon - apical), (APICAL, 1, 4.0, apical)]
    rows = [(-1, SOMA, 1, SOMA_SIZE, SOMA_SIZE)]
    for kind, stems, diameter, budget in plan:
        tips = [(0, diameter)] * stems
        while budget > 0:
            parent, thick = tips.pop(rng.integers(len(tips)))
            count = min(1 + int(rng.poisson(11)), budget)
            budget -= count
            rows.append((parent, kind, count, count * step, thick))
            tips += [(len(rows) - 1, max(0.6, 0.63 * thick))] * 2
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return dict(zip(("parent", "kind", "ncomp", "length", "diameter"), columns, strict=True))


def hh_neuron(n: int, seed: int = 0, **stimulus: float) -> Neuron:
    """Squid axon channels in every compartment of a grown neuron."""
    densities = {f"HH.{name}": np.full(n, value) for name, value in HH.items()}
    return Neuron(
        **grown(n, seed),
        cm=np.ones(n),
        densities=densities,
        channels="hh",
        parameter="HH.gnabar",
        v0=-65.0,
        **stimulus,
    )


def hay_neuron(n: int, seed: int = 0, **stimulus: float) -> Neuron:
    """The eleven channels and the calcium pool of Hay et al. (2011) by region, as `hay2011` does.

    Densities come from `jaxdend.models.hay2011(as_published=False)` on the same tree. Large parts
    of a tree reach the published calcium hot zone only with some hundred compartments.
    """
    from benchmarks.run_jaxdend import bare_cell
    from jaxdend.models import hay2011

    sections = grown(n, seed)
    empty = Neuron(**sections, cm=np.ones(n), densities={}, channels="hay", parameter="", v0=-80.0)
    cell = hay2011(bare_cell(empty), as_published=False)
    densities = {}
    varied = {"Leak": ("g",), "CalciumShell": ("decay", "gamma")}
    for name, item in cell.mechanisms.items():
        for parameter in varied.get(name, ("gbar",)):
            values = np.full(n, np.nan)
            values[item.at.index] = np.asarray(getattr(item.mechanism, parameter))
            densities[f"{name}.{parameter}"] = values
    return Neuron(
        **sections,
        cm=np.asarray(cell.cm, float),
        densities=densities,
        channels="hay",
        parameter="SKv3_1.gbar",
        v0=-80.0,
        **stimulus,
    )


def neuron(channels: str, n: int, **stimulus: float) -> Neuron:
    """`hh_neuron` or `hay_neuron` by name."""
    return {"hh": hh_neuron, "hay": hay_neuron}[channels](n, **stimulus)
