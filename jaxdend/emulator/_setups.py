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
| branch | 2.0 Hz, 3.2 mV | 2.6 Hz, 2.0 mV | as ampa | 0.012, 0.006 |

What `branch` counts is onsets of NMDA spikes, and without NMDA the same crossings of a voltage.
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
from jaxdend.channels import Leak
from jaxdend.emulator._sampling import Sampling
from jaxdend.emulator._spikes import SAMPLES, crossings_of, spikes_of
from jaxdend.models.hay import hay2011
from jaxdend.models.ready import l5pc
from jaxdend.morphology import (
    Morphology,
    PyramidalShape,
    ball_and_stick,
    pyramidal,
    read_morphology,
)
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.synapses import AMPA, GABAA, NMDA, Binned

Receptors = Literal["nmda", "ampa", "passive"]
RECEPTORS: tuple[Receptors, ...] = get_args(Receptors)
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
        """The number of synapses, of which the excitatory ones come first."""
        return self.sampling.k

    @property
    @abc.abstractmethod
    def recorded(self) -> int:
        """The number of dendritic voltages that `simulate` returns."""

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
    """A cell with excitatory and inhibitory synapses, by default both at each of many places.

    Synapses as published: AMPA 0.3 and 3 ms, NMDA 2 and 70 ms behind the block
    `1 / (1 + exp(-0.08 v) [Mg] / 3.57)`, both to 0 mV; GABA_A 0.2 and 8 ms to -80 mV.

    Steps are of backward Euler, NEURON's default. Under a step of current into a cell with these
    channels it gives one maximum for a spike, 34 to 36 mV high, at 0.025 and at 0.0625 ms, like
    Crank-Nicolson at 0.003 ms, which at 0.0625 ms overshoots to 50 mV and rings: 24 maxima for 4
    spikes. Under random input to the reduced cell (16 times 1.5 s), 0.0625 ms gives as many spikes
    as 0.0125 ms, 80, of which 74 lie within 2 ms of one there, and 0.025 ms 79; the soma's voltage
    is 0.012 and 0.003 mV away in the median, 1.0 and 0.4 mV root mean square.

    A cell that does not fire can have its dendritic spikes predicted instead: those of `crossing`.

    **Raises:** `ValueError` for a `dt` that does not divide 1/8 ms, negative conductances, and a
    `crossing` where no voltage is kept.
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
    # spikes are when the voltage there, an index of `dendrites`, rises past so many mV; None: when
    # the soma fires
    crossing: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        steps = 1.0 / (SAMPLES * self.dt) if self.dt > 0 else 0.0
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"dt must divide 1/8 ms, such as 0.0625 or 0.025; got {self.dt}.")
        if min(self.ampa, self.nmda, self.gaba) < 0:
            raise ValueError("ampa, nmda and gaba must not be negative, in µS.")
        if self.crossing and not 0 <= self.crossing[0] < self.recorded:
            raise ValueError(
                f"crossing must name one of {self.recorded} dendrites; got {self.crossing[0]}."
            )

    @property
    def recorded(self) -> int:
        return len(self.dendrites)

    def inputs(self, x: Array) -> list[AMPA | NMDA | GABAA]:
        """The synapses of the neuron, driven by the input bits `x (bins, k)`."""
        e = self.sampling.exc
        excitation = Binned(x[:, :e])
        groups: list[AMPA | NMDA | GABAA] = [AMPA(self.sites[:e], self.ampa, excitation)]
        if self.nmda:
            groups.append(NMDA(self.sites[:e], self.nmda, excitation))
        if e < self.k:
            groups.append(GABAA(self.sites[e:], self.gaba, Binned(x[:, e:])))
        return groups

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
            "spikes": self._spikes(v),
            "dendrites": ends[:, 1:],
            "failed": ~jnp.all(jnp.abs(v) < LIMIT),
        }

    def _spikes(self, v: Array) -> Array:
        if self.crossing is None:
            return spikes_of(v[:, 0])
        place, threshold = self.crossing
        return crossings_of(v[:, 1 + place], threshold)

    def meta(self) -> dict[str, Any]:
        names = ("ampa", "nmda", "gaba", "v0", "dt")
        places = [_place(self.cell, int(i)) for i in self.sites]
        kept = [_place(self.cell, int(i)) for i in self.dendrites]
        numbers = {n: getattr(self, n) for n in names} | {"compartments": self.cell.n}
        meta = _meta(self, numbers, places, self.sites.tolist(), kept, self.dendrites.tolist())
        if self.crossing:
            meta["crossing"] = list(self.crossing)
        inward = _inward(self.cell, self.sites[: self.sampling.exc])
        return meta | ({"inward": inward} if inward else {})


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


def branch(receptors: Receptors = "nmda", **changes: Any) -> Neuron:
    """One passive dendrite with 9 excitatory synapses 20 µm apart; `changes` to the fields.

    The dendrite, 180 µm long and 0.8 µm thick, has the membrane of a layer 2/3 neuron (1 µF/cm²,
    10 kΩcm², 150 Ωcm) and ends in a soma that stands for the rest of one, 94 MΩ. Nothing fires but
    NMDA spikes, and `spikes` are their onsets: the voltage at the 5th synapse from the soma rises
    past -40 mV. One, three, five, seven and nine synapses at once, from the tip on, depolarise the
    soma by 1.0, 3.0, 6.1, 9.4 and 11.6 mV; if NMDA is taken away, by 0.9, 2.2, 3.3, 4.6 and 6.3 mV.
    Nine keep that place above -40 mV for 18 ms, without NMDA for 3 ms. With `"ampa"`, and with
    `"passive"`, which is the same here, AMPA synapses have 2.5 nS instead of 0.8 nS.
    """
    if receptors not in RECEPTORS:
        raise ValueError(f"receptors must be one of {', '.join(RECEPTORS)}; got {receptors!r}.")
    cell = Cell(ball_and_stick(15.0, 180.0, 0.8), max_length=180.0 / 27, ra=150.0)
    soma = cell.region("soma")
    rest = np.where(soma, REST_OF_CELL, 1.0)
    cell = cell.set(cm=rest).insert(Leak(g=jnp.asarray(1e-4 * rest), e=jnp.asarray(-75.0)))
    where = np.flatnonzero(~soma)[1::3]
    e = len(where)
    sampling = Sampling(
        tree=np.zeros(e, int), length=np.full(e, 20.0), cluster=np.arange(e), exc=e,
        totals=(0.0, 12.0), per=float(e),
    )  # fmt: skip
    ampa, nmda = (0.8e-3, 2.8e-3) if receptors == "nmda" else (2.5e-3, 0.0)
    fields = {
        "sampling": sampling, "sites": where, "ampa": ampa, "nmda": nmda, "gaba": 0.0,
        "soma": cell.locate(region="soma"), "dendrites": where[[0, 4, 8]], "v0": -75.0,
        "dt": 0.0625, "crossing": (1, -40.0),
    }  # fmt: skip
    return Neuron(name="branch", receptors=receptors, cell=cell, **(fields | changes))


REST_OF_CELL = 15.0  # times the membrane of a soma of 15 µm


SETUPS: dict[str, Callable[..., AbstractSetup]] = {
    "integrate_and_fire": integrate_and_fire,
    "reduced": reduced,
    "l5pc": layer5,
    "hay": hay,
    "branch": branch,
}


def passive_dendrites(cell: Cell) -> Cell:
    """Copies `cell` without any channel in its dendrites but the leak."""
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


def _inward(cell: Cell, sites: np.ndarray) -> list[int]:
    """Inputs from the tip to the soma, where all lie on the way there from one; else none."""
    order = np.argsort(-cell.distance[sites], kind="stable")
    way, at = set(), int(sites[order[0]])
    while at >= 0:
        way.add(at)
        at = int(cell.parent[at])
    return order.tolist() if set(sites.tolist()) <= way and len(way) > 1 else []


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
