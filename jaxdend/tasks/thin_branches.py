"""A CA1-like cell of thin branches, and its firing rate for synapses placed on them.

The material of the two-layer model (`two_layer`): where synapses are placed decides how often the
soma fires, because a thin branch amplifies those that sit on it together. After Poirazi, Brannon &
Mel (2003) Neuron 37:977 and 37:989 (ModelDB 20212), reduced so that hundreds of placements run as
one batch.
"""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import Leak, PospischilK, PospischilM, PospischilNa
from jaxdend.morphology import single_compartment
from jaxdend.simulate import simulate
from jaxdend.synapses import AMPA, NMDA, poisson_events

# trunk section that it sits on (0 nearest to the soma), length µm, diameter µm
BRANCHES = (
    (0, 90.0, 0.65), (0, 150.0, 0.60), (0, 110.0, 0.70), (1, 120.0, 0.55), (1, 160.0, 0.85),
    (1, 80.0, 0.50), (1, 140.0, 0.50), (2, 100.0, 0.65), (2, 150.0, 0.75), (2, 190.0, 0.70),
)  # fmt: skip
TRUNK = (4.0, 3.5, 3.0)  # µm, diameters of its sections of 60 µm
REST = -70.0  # mV
WEIGHT, RATIO = 1.4e-4, 2.5  # µS of AMPA; NMDA over AMPA
WEAK = 5e-5  # µS of AMPA, where even a cluster leaves the driving force nearly whole
BLOCK = {"gamma": 0.06, "mg_half": 1.0 / 0.33}  # published: 1 / (1 + 0.33 exp(-0.06 v))
SIZES = (4, 5, 6, 7, 8, 9, 10)  # synapses in a cluster
RATE, T1, SETTLED, DT = 50.0, 600.0, 100.0, 0.1  # Hz; ms: end, start of the mean, time step
SPIKE = -20.0  # mV
CHUNK = 128  # placements in one call of the compiled program
WIDTH = 8  # most events in a time step; 60 synapses at 50 Hz have 0.3 on average


class Placements(NamedTuple):
    """Synapses on branches, P times; M is the largest number of them."""

    counts: np.ndarray  # (P, B) synapses on every branch
    sites: np.ndarray  # (P, M) int, compartments
    live: np.ndarray  # (P, M) bool, which of the M exist


class Responses(NamedTuple):
    """The firing rate and the depolarisation of the soma; NaN where a simulation blew up."""

    rate: np.ndarray  # (P,) Hz, over the whole run
    depolarisation: np.ndarray  # (P,) mV above rest, mean from 100 ms on


def thin_branches(*, spiking: bool = True) -> Cell:
    """A soma, a trunk of three sections and ten thin branches on it.

    Branches differ in length, diameter and place, so that they reach the soma differently. They are
    passive; what makes them nonlinear are NMDA receptors. The soma has a strong leak, 1.5e-3 S/cm²,
    in the place of basal dendrites, axon and the tonic inhibition of the published protocol. With
    `spiking` it has sodium, delayed-rectifier and M current, else none.
    """
    morphology = single_compartment(20.0, 20.0)
    for i, diameter in enumerate(TRUNK):
        parent = "soma[0]" if i == 0 else f"apic[{i - 1}]"
        up = (0.0, 1.0, 0.0)
        morphology = morphology.with_cylinder(4, 60.0, diameter, parent, 1.0, up)
    for i, (trunk, length, diameter) in enumerate(BRANCHES):
        angle = np.deg2rad((-75.0, 75.0, -40.0, 40.0)[i % 4] + 2.0 * i)
        way = (np.sin(angle), np.cos(angle), 0.0)
        morphology = morphology.with_cylinder(4, length, diameter, f"apic[{trunk}]", 1.0, way)
    cell = Cell(morphology, ncomp=lambda length: 1 if length <= 60.0 else 3, ra=150.0, celsius=36.0)
    cell = cell.insert(Leak(g=1.0 / 30000.0, e=REST)).insert(Leak(g=1.5e-3, e=REST), "soma")
    if not spiking:
        return cell
    for channel in (
        PospischilNa(gbar=0.1, vtraub=-64.0),
        PospischilK(gbar=0.03, ek=-90.0, vtraub=-64.0),
        PospischilM(gbar=2e-3, ek=-90.0),
    ):
        cell = cell.insert(channel, "soma")
    return cell


def branch_sites(cell: Cell) -> np.ndarray:
    """The compartments that synapses take on every branch, its outer two of three: `(B, 2)`."""
    sections = [cell.section_names.index(f"apic[{len(TRUNK) + i}]") for i in range(len(BRANCHES))]
    return np.stack([np.flatnonzero(cell.section == section)[1:] for section in sections])


def place(cell: Cell, branch: np.ndarray, seed: int = 0) -> Placements:
    """Spreads synapses evenly along their branches.

    **Arguments:** `branch (P, M)` int, the branch of every synapse, -1 where there is none.
    """
    rng, choice = np.random.default_rng(seed), branch_sites(cell)
    sites = np.zeros(branch.shape, int)
    for row, out in zip(branch, sites, strict=True):
        for j, places in enumerate(choice):
            members = np.flatnonzero(row == j)
            share = (np.arange(len(members)) + rng.uniform()) / max(len(members), 1)
            out[members] = places[(share * len(places)).astype(int)]
    counts = np.stack([(branch == j).sum(axis=1) for j in range(len(choice))], axis=1)
    return Placements(counts, sites, branch >= 0)


def random_branches(
    numbers: ArrayLike, seed: int = 0, *, branches: int = len(BRANCHES), most: int = 60
) -> np.ndarray:
    """Random assignments of synapses to branches: clusters mixed with scatter.

    For every placement a cluster size from 4 to 10 and a fraction are drawn. That fraction of the
    synapses comes in clusters, each on a branch of its own; the others are scattered.

    **Arguments:** `numbers (P,)`, how many synapses each placement has, up to `most`.
    **Returns:** `(P, most)` int, the branch of every synapse, -1 where there is none.
    """
    numbers = np.asarray(numbers, int)
    if numbers.ndim != 1 or np.any((numbers < 1) | (numbers > most)):
        raise ValueError(f"random_branches: expected (P,) numbers from 1 to {most}; got {numbers}.")
    rng = np.random.default_rng(seed)
    out = np.full((len(numbers), most), -1)
    for row, number in zip(out, numbers, strict=True):
        size = int(rng.choice(SIZES))
        clusters = min(round(rng.uniform() * number / size), branches)
        clustered = np.repeat(rng.permutation(branches)[:clusters], size)[:number]
        scattered = rng.integers(0, branches, number - len(clustered))
        row[:number] = np.concatenate([clustered, scattered])
    return out


def responses(
    cell: Cell,
    placements: Placements,
    *,
    ratio: ArrayLike = RATIO,
    weight: ArrayLike = WEIGHT,
    seed: int = 0,
    t1: float = T1,
) -> Responses:
    """The soma's response to every placement, each synapse driven by its own random 50-Hz train.

    Receptors are as published: AMPA decays with 2 ms and NMDA with 80 ms, magnesium blocks it as in
    `BLOCK`. Trains are Poisson with 1 ms of dead time, new for every placement.

    **Arguments:** `ratio`, NMDA over AMPA, 0 for AMPA alone; `weight` µS of AMPA; `seed` of the
    trains; `t1`, the end, ms.
    """
    count = len(placements.sites)
    size = min(CHUNK, count)
    keys = jax.random.split(jax.random.key(seed), count)
    numbers = jnp.asarray(weight, float), jnp.asarray(ratio, float)
    parts = []
    for i in range(0, count, size):
        rows = np.minimum(np.arange(i, i + size), count - 1)
        part = (jnp.asarray(placements.sites[rows]), jnp.asarray(placements.live[rows]), keys[rows])
        parts.append(_responses(cell, part, numbers, t1))
    rate, mean = (np.concatenate([np.asarray(p[k]) for p in parts])[:count] for k in (0, 1))
    return Responses(rate, mean)


@eqx.filter_jit
def _responses(cell: Cell, placed: tuple, numbers: tuple, t1: float) -> tuple[Array, Array]:
    weight, ratio = numbers

    def one(sites: Array, live: Array, key: Array) -> tuple[Array, Array]:
        trains = poisson_events(key, RATE, t1, len(sites), 1.0, max_events=int(t1 * 0.05) + 18)
        times = jnp.where(live[:, None], trains, jnp.inf)
        synapses = (
            AMPA(sites, weight, times, tau2=2.0, max_per_step=WIDTH),
            NMDA(sites, ratio * weight, times, tau2=80.0, **BLOCK, max_per_step=WIDTH),
        )
        traces = simulate(cell, synapses, t1=t1, dt=DT, v0=REST, record=[0], throw=False)
        v = jnp.asarray(traces.v)[:, 0]
        spikes = jnp.sum((v[:-1] < SPIKE) & (v[1:] >= SPIKE))
        mean = jnp.mean(v[round(SETTLED / DT) :]) - REST
        return unless_blown_up((spikes / (1e-3 * t1), mean), v)

    return jax.vmap(one)(*placed)


def branch_curves(
    cell: Cell, counts: ArrayLike, *, ratio: ArrayLike = RATIO, repeats: int = 4, seed: int = 0
) -> np.ndarray:
    """Mean somatic depolarisation for n synapses on one branch, for each branch: `(B, c)` mV.

    **Arguments:** `cell`, of `thin_branches(spiking=False)`; `counts (c,)`; `ratio` as in
    `responses`; `repeats` with other trains, averaged.
    """
    counts = np.asarray(counts, int)
    branches = len(BRANCHES)
    alone = np.arange(counts.max()) < counts[:, None]  # (c, M)
    branch = np.where(alone, np.arange(branches)[:, None, None], -1).reshape(-1, counts.max())
    placed = place(cell, np.tile(branch, (repeats, 1)), seed)
    found = responses(cell, placed, ratio=ratio, seed=seed).depolarisation
    return found.reshape(repeats, branches, len(counts)).mean(axis=0)
