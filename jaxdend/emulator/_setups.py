"""Cells to drive with random input: `SETUPS` by name.

Spikes a second, and the SD of the soma's voltage clipped at -55 mV, under the default input, and
the seconds that one simulated second took in a batch on one core of a machine that was busy
(in single precision; 32 times 2 s for the reduced cell, 6 to 8 times 0.8 to 1.1 s for the large
ones, whose rates are uncertain by a factor of about 1.5):

| setup | nmda | ampa | passive | seconds |
| --- | --- | --- | --- | --- |
| integrate_and_fire | 1.1 Hz, 6.1 mV | | | 0.004 |
| reduced | 2.8 Hz, 3.6 mV | 3.0 Hz, 3.7 mV | 3.5 Hz, 4.3 mV | 0.13, 0.16, 0.08 |
| l5pc | 2.3 Hz, 3.5 mV | 3.4 Hz, 3.2 mV | 3.3 Hz, 3.5 mV | 0.5, 0.7, 0.15 |
| hay | 1.7 Hz, 3.1 mV | 1.7 Hz, 2.9 mV | 1.3 Hz, 3.1 mV | 1.8, 2.3, 1.0 |
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.cell import Cell
from jaxdend.emulator._sampling import Sampling
from jaxdend.models.hay import hay2011
from jaxdend.models.ready import l5pc
from jaxdend.morphology import Morphology, PyramidalShape, pyramidal, read_morphology
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.synapses import AMPA, GABAA, NMDA, Binned

Receptors = Literal["nmda", "ampa", "passive"]
RECEPTORS: tuple[Receptors, ...] = get_args(Receptors)
SAMPLES = 8  # of the voltage in 1 ms, where spikes are looked for
PEAK = -25.0  # mV, above which a local maximum is a spike
LIMIT = 500.0  # mV, beyond which a simulation has failed


class AbstractSetup(abc.ABC):
    """A cell with `k` synapses, and how it is driven.

    `simulate(x)` is pure JAX for one simulation: `vmap` and `jit` it.
    """

    name: str
    receptors: str
    sampling: Sampling

    @property
    def k(self) -> int:
        """How many synapses there are, excitatory ones first."""
        return self.sampling.k

    @property
    @abc.abstractmethod
    def recorded(self) -> int:
        """How many dendritic voltages `simulate` returns."""

    @abc.abstractmethod
    def simulate(self, x: Array) -> dict[str, Array]:
        """What the cell does with the input `x (bins, k)`, one bin a millisecond.

        **Returns:** `v (bins,)` mV, the soma at the end of every bin; `spikes (bins,)` bool,
        whether one fell into the bin; `dendrites (bins, d)` mV, as `v`; `failed ()` bool.
        """

    @abc.abstractmethod
    def meta(self) -> dict[str, Any]:
        """What JSON says of the setup: its numbers, and each input's and recording's place."""


@dataclass(frozen=True)
class IntegrateAndFire(AbstractSetup):
    """A leaky integrate-and-fire neuron in steps of 1 ms: no dendrites, and what one unit can do.

    Every spike moves the voltage by `gain` up or down; from `threshold` on the cell fires and goes
    to `reset`, where it also rests. In the bin of a spike `v` is the threshold.
    """

    sampling: Sampling
    gain: float = 2.0  # mV
    tau: float = 20.0  # ms
    threshold: float = -55.0  # mV
    reset: float = -75.0  # mV
    name: str = "integrate_and_fire"
    receptors: str = "none"

    @property
    def recorded(self) -> int:
        return 0

    def simulate(self, x: Array) -> dict[str, Array]:
        sign = jnp.where(jnp.arange(self.k) < self.sampling.exc, self.gain, -self.gain)
        drive = x.astype(sign.dtype) @ sign

        def step(v: Array, kick: Array) -> tuple[Array, tuple[Array, Array]]:
            v = self.reset + (v - self.reset) * np.exp(-1.0 / self.tau) + kick
            fires = v >= self.threshold
            shown = jnp.minimum(v, self.threshold), fires
            return jnp.where(fires, self.reset, v), shown

        v, spikes = jax.lax.scan(step, jnp.full((), self.reset, drive.dtype), drive)[1]
        none = jnp.zeros((len(v), 0), v.dtype)
        return {"v": v, "spikes": spikes, "dendrites": none, "failed": jnp.asarray(False)}

    def meta(self) -> dict[str, Any]:
        numbers = {n: getattr(self, n) for n in ("gain", "tau", "threshold", "reset")}
        places = [("soma", 0.0)] * self.k
        return _meta(self, numbers, places, [], [])


@dataclass(frozen=True)
class Neuron(AbstractSetup):
    """A cell with an excitatory and an inhibitory synapse at each of many places.

    Synapses as published: AMPA 0.3 and 3 ms, NMDA 2 and 70 ms behind the block
    `1 / (1 + exp(-0.08 v) [Mg] / 3.57)`, both to 0 mV; GABA_A 0.2 and 8 ms to -80 mV.

    Steps are of backward Euler, NEURON's default. Under a step of current into a cell with these
    channels it gives one maximum for a spike, 34 to 36 mV high, at 0.025 and at 0.0625 ms, like
    Crank-Nicolson at 0.003 ms, which at 0.0625 ms overshoots to 50 mV and rings: 24 maxima for 4
    spikes. Under random input to the reduced cell (16 times 1.5 s), 0.0625 ms gives as many spikes
    as 0.0125 ms, 80, of which 74 lie within 2 ms of one there, and 0.025 ms 79; the soma's voltage
    is 0.012 and 0.003 mV away in the median, 1.0 and 0.4 mV root mean square.

    **Raises:** `ValueError` for a `dt` that does not divide 1/8 ms, and negative conductances.
    """

    name: str
    receptors: str
    cell: Cell
    sampling: Sampling
    sites: np.ndarray  # (k,) int, compartments
    ampa: float  # µS, peak of an event
    nmda: float  # µS; not there if 0
    gaba: float  # µS
    soma: int  # compartment
    dendrites: np.ndarray  # (d,) int, compartments whose voltage is kept
    v0: float  # mV
    dt: float  # ms, a whole number of steps in 1/8 ms

    def __post_init__(self) -> None:
        steps = 1.0 / (SAMPLES * self.dt) if self.dt > 0 else 0.0
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"dt must divide 1/8 ms, such as 0.0625 or 0.025; got {self.dt}.")
        if min(self.ampa, self.nmda, self.gaba) < 0:
            raise ValueError("ampa, nmda and gaba must not be negative, in µS.")

    @property
    def recorded(self) -> int:
        return len(self.dendrites)

    def inputs(self, x: Array) -> list[AMPA | NMDA | GABAA]:
        """The synapses, driven by `x (bins, k)`."""
        e = self.sampling.exc
        excitation, inhibition = Binned(x[:, :e]), Binned(x[:, e:])
        groups: list[AMPA | NMDA | GABAA] = [AMPA(self.sites[:e], self.ampa, excitation)]
        if self.nmda:
            groups.append(NMDA(self.sites[:e], self.nmda, excitation))
        return [*groups, GABAA(self.sites[e:], self.gaba, inhibition)]

    def simulate(self, x: Array) -> dict[str, Array]:
        traces = simulate(
            self.cell,
            self.inputs(x),
            t1=float(len(x)),
            dt=self.dt,
            solver=BackwardEuler(),
            record=np.append(self.soma, self.dendrites),
            v0=self.v0,
            save_every=round(1.0 / (SAMPLES * self.dt)),
            throw=False,
        )
        v = jnp.asarray(traces.v)
        ends = v[SAMPLES::SAMPLES]
        return {
            "v": ends[:, 0],
            "spikes": spikes_of(v[:, 0]),
            "dendrites": ends[:, 1:],
            "failed": ~jnp.all(jnp.abs(v) < LIMIT),
        }

    def meta(self) -> dict[str, Any]:
        names = ("ampa", "nmda", "gaba", "v0", "dt")
        places = [_place(self.cell, int(i)) for i in self.sites]
        kept = [_place(self.cell, int(i)) for i in self.dendrites]
        numbers = {n: getattr(self, n) for n in names} | {"compartments": self.cell.n}
        return _meta(self, numbers, places, self.sites.tolist(), kept, self.dendrites.tolist())


def spikes_of(v: Array) -> Array:
    """Bins `(bins,)` with a local maximum above -25 mV in `v (8 bins + 1,)`, 8 samples a bin."""
    later = jnp.append(v[2:], v[-1])
    peak = (v[1:] > v[:-1]) & (v[1:] >= later) & (v[1:] > PEAK)
    peak = peak.at[-1].set(False)  # what comes next is not known
    return jnp.any(peak.reshape(-1, SAMPLES), axis=1)


def integrate_and_fire(receptors: str = "none", **changes: Any) -> IntegrateAndFire:
    """80 excitatory and 20 inhibitory inputs on one point, 1.1 Hz; `changes` to the fields."""
    del receptors
    every = np.arange(100)
    sampling = Sampling(0 * every, np.full(100, 10.0), every % 20, exc=80, per=850.0)
    return replace(IntegrateAndFire(sampling), **changes)


def reduced(receptors: Receptors = "nmda", seed: int = 0, **changes: Any) -> Neuron:
    """A small pyramidal cell, 51 compartments and 96 synapses; `changes` to the fields.

    The channels of `hay2011`, with the calcium hot zone where the tuft begins, and an excitatory
    and an inhibitory synapse in each of 48 dendritic compartments. All three kinds get the same
    input; that they fire alike, 2.8, 3.0 and 3.5 Hz, is due to the weight of their synapses. Of the
    soma's voltage between spikes, filters of the input (4 time constants for each synapse) and a
    linear sum explain 67, 84 and 85 % of the variance.

    **Arguments:** `receptors`: `"nmda"`, AMPA and NMDA; `"ampa"`, AMPA alone; `"passive"`, that and
    dendrites without channels, the soma as it was. `seed` of the morphology.
    """
    cell = Cell(pyramidal(seed, SMALL), max_length=80.0)
    cell = hay2011(cell, hot=(300.0, 420.0), as_published=False)
    weights = {"nmda": (0.7e-3, 1.5e-3), "ampa": (1.8e-3, 0.0), "passive": (2.1e-3, 0.0)}
    fields = {"gaba": 2.5e-3, "v0": -76.0, "dt": 0.0625}
    return _neuron("reduced", receptors, cell, weights, 10, fields | changes)


SMALL = PyramidalShape(  # long, thin terminal branches: NMDA spikes need their resistance
    soma=(18.0, 16.0),
    axon=20.0,
    stems=3,
    basal=(40.0, 190.0),
    basal_diameter=0.9,
    trunk=(300.0, 320.0),
    trunk_diameter=(3.0, 2.0),
    obliques=1,
    oblique_range=(60.0, 200.0),
    oblique=(190.0,),
    oblique_diameter=0.6,
    tuft=(80.0, 200.0),
    tuft_diameter=1.0,
)


def layer5(receptors: Receptors = "nmda", seed: int = 0, **changes: Any) -> Neuron:
    """`jd.models.l5pc`, 369 compartments and 720 synapses; `changes` to the fields.

    Weights as published, for fewer synapses larger: 0.71 nS for AMPA and NMDA, 1.8 nS for GABA. All
    three kinds get the same input; without NMDA the AMPA synapses have 1.4 nS.
    """
    cell = l5pc(seed)
    fewer = 639 / np.count_nonzero(cell.region("dendrite"))
    w = 4e-4 * fewer
    weights = {"nmda": (w, w), "ampa": (1.4e-3, 0.0), "passive": (1.4e-3, 0.0)}
    fields = {"gaba": 1e-3 * fewer, "v0": -76.0, "dt": 0.0625}
    return _neuron("l5pc", receptors, cell, weights, 64, fields | changes)


def hay(
    morphology: str | Path | Morphology, receptors: Receptors = "nmda", **changes: Any
) -> Neuron:
    """The published cell, `hay2011` on its reconstruction (ModelDB 139653, `cell1.asc`).

    639 dendritic compartments, so 1278 synapses. Without NMDA the input is stronger, as published:
    0 to 1900 excitatory spikes in the basal tree and 0 to 2000 in the apical one, and -1650 to 150
    more inhibitory ones. `changes` to the fields, such as `sampling` of another receptor kind.
    """
    if not isinstance(morphology, Morphology):
        morphology = read_morphology(morphology)
    weights = {"nmda": (4e-4, 4e-4), "ampa": (4e-4, 0.0), "passive": (4e-4, 0.0)}
    fields = {"gaba": 1e-3, "v0": -76.0, "dt": 0.025}
    setup = _neuron("hay", receptors, hay2011(morphology), weights, 64, fields)
    if receptors != "nmda":
        more = {"totals": (0.0, (1900.0, 2000.0)), "surplus": (-1650.0, 150.0)}
        setup = replace(setup, sampling=replace(setup.sampling, **more))
    return replace(setup, **changes)


SETUPS: dict[str, Callable[..., AbstractSetup]] = {
    "integrate_and_fire": integrate_and_fire,
    "reduced": reduced,
    "l5pc": layer5,
    "hay": hay,
}


def passive_dendrites(cell: Cell) -> Cell:
    """`cell` without any channel in its dendrites but the leak."""
    spiking = cell.region("soma") | cell.region("axon")
    bare = cell._replace(inserted=())
    for item in cell.inserted:
        keep = spiking[item.at.index]
        if type(item.mechanism).__name__ == "Leak":
            keep[:] = True
        if keep.any():
            mechanism = jax.tree.map(lambda a, k=keep: a[k] if a.ndim else a, item.mechanism)
            bare = bare.insert(mechanism, item.at.index[keep])
    return bare


def _neuron(
    name: str,
    receptors: str,
    cell: Cell,
    weights: dict[str, tuple[float, float]],
    clusters: int,
    fields: dict[str, Any],
) -> Neuron:
    """A synapse of either kind in every dendritic compartment, on two trees."""
    if receptors not in RECEPTORS:
        raise ValueError(f"receptors must be one of {', '.join(RECEPTORS)}; got {receptors!r}.")
    if receptors == "passive":
        cell = passive_dendrites(cell)
    where = np.flatnonzero((cell.region("basal") | cell.region("apical")) & (cell.area > 0))
    e = len(where)
    cluster = np.arange(e) * min(clusters, e) // e
    sampling = Sampling(
        tree=np.tile(cell.region("apical")[where].astype(int), 2),
        length=np.tile(cell.length[where], 2),
        cluster=np.tile(cluster, 2),
        exc=e,
    )
    ampa, nmda = weights[receptors]
    given = {
        "sampling": sampling,
        "sites": np.tile(where, 2),
        "ampa": ampa,
        "nmda": nmda,
        "soma": cell.locate(region="soma"),
        "dendrites": where[np.linspace(0, e - 1, min(e, 20)).round().astype(int)],
    }
    return Neuron(name=name, receptors=receptors, cell=cell, **(given | fields))


def _place(cell: Cell, site: int) -> tuple[str, float]:
    """The narrowest region that a compartment is in, and its distance from the soma, µm."""
    inside = [r for r in cell.regions if cell.region(r)[site]]
    narrow = min(inside, key=lambda r: int(cell.region(r).sum()))
    return narrow, float(cell.distance[site])


def _meta(
    setup: AbstractSetup,
    numbers: dict[str, Any],
    places: list[tuple[str, float]],
    sites: list[int],
    kept: list[tuple[str, float]],
    kept_sites: list[int] | None = None,
) -> dict[str, Any]:
    sampling, e = setup.sampling, setup.sampling.exc
    return {
        "setup": setup.name,
        "receptors": setup.receptors,
        "numbers": numbers,
        "sampling": sampling.header(),
        "bin_ms": 1.0,
        "k": setup.k,
        "exc": e,
        "names": [f"{'exc' if i < e else 'inh'}{i if i < e else i - e}" for i in range(setup.k)],
        "site": sites,
        "region": [place[0] for place in places],
        "distance": [place[1] for place in places],
        "tree": sampling.tree.tolist(),
        "length": sampling.length.tolist(),
        "cluster": sampling.cluster.tolist(),
        "dendrites": {
            "site": kept_sites or [],
            "region": [place[0] for place in kept],
            "distance": [place[1] for place in kept],
        },
    }
