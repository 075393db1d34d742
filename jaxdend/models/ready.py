"""Ready-made neurons on procedural morphologies: dendritic spikes without any file."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

from typing import Literal

import numpy as np
from jax import Array

from jaxdend.cell import Cell
from jaxdend.channels import (
    HCN,
    KA,
    CaLCA1,
    CalciumShell,
    CaPoirazi,
    CaTCA1,
    DCaAP,
    KAhp,
    KdrCA1,
    Leak,
    NaCA1,
    NaTa,
    dcaap_channels,
)
from jaxdend.dynamics import Model, State
from jaxdend.models.gidon import without_dcaap
from jaxdend.models.hay import hay2011
from jaxdend.morphology import pyramidal
from jaxdend.simulate import simulate
from jaxdend.units import DENSITY_TO_NA

# path from the soma µm, largest current nA; Gidon: 267 µm and 1.92 nA, 532 µm and 0.64 nA
DCAAPS = ((420.0, 1.1), (532.0, 0.45))

CA1_REST = -65.0  # mV
CA1_LEAK = 1.0 / 28000.0  # S/cm²
CA1_REACH = 350.0  # µm, where densities stop rising
CA1_SODIUM = {"soma": 0.025, "axon": 0.125, "basal": 0.025, "apical": 0.025, "tuft": 0.01}  # S/cm²
CA1_CALCIUM = ((CaLCA1, 5e-4), (CaTCA1, 1e-4), (KAhp, 1e-5))  # S/cm², soma and dendrites
CA1_TUFT = 4e-3  # S/cm², calcium spikes
CA1_TUFT_KA = 0.5  # of the A-type potassium that the distance would give


def l5pc(seed: int = 0, max_length: float = 40.0) -> Cell:
    """A thick-tufted layer 5 pyramidal neuron that back-propagates and has calcium and NMDA spikes.

    The channels of `hay2011`, at the compartments' centres, on `jd.pyramidal(seed)`. Its trunk is
    thicker than that of Hay's reconstruction, so apical sodium is lowered from 0.0213 to
    0.012 S/cm², and the calcium channels sit where the tuft begins, 650 to 800 µm. As there, a
    brief somatic pulse (1.9 nA, 5 ms) gives one spike, an EPSP at the end of the trunk (1 nA)
    none, and both within 5 ms a burst with a calcium spike of some 30 ms. A model to play with, not
    a published neuron. Start simulations at `v0=-80`.

    **Arguments:** `seed` of the morphology; `max_length` of compartments, µm.
    """
    cell = Cell(pyramidal(seed), max_length=max_length)
    cell = hay2011(cell, hot=(650.0, 800.0), as_published=False)
    return cell.insert(NaTa(gbar=0.012), "apical")


def l23_human(
    seed: int = 0, max_length: float = 40.0, *, dcaap: Literal["formula", "channels"] = "formula"
) -> Cell:
    """A human layer 2/3 pyramidal neuron with dendritic calcium action potentials (dCaAPs).

    *Published* (`gidon2020`): Traub's sodium and potassium in soma and axon, leak, capacitance
    (0.45 µF/cm²) and, as `"formula"`, the dCaAP's equations. *A choice*: the tree,
    `jd.pyramidal(seed, "l23_human")`, and where and how strong the dCaAPs are. A somatic pulse
    (3 nA, 3 ms) gives one spike, which attenuates passively and triggers no dCaAP. NMDA spikes come
    with `NMDA` synapses. Dendrites are passive otherwise.

    **`dcaap="formula"`**: the phenomenological `DCaAP` sits in one compartment each,
    `coupled, uncoupled = cell.mechanisms["DCaAP"].at.index`: 420 µm from the soma in one apical
    tree, at most 1.1 nA, and 532 µm in the other, at most 0.45 nA. A step at a dCaAP's site gives
    one at its onset and every 200 ms; the later ones shrink with its strength: uncoupled, the
    second peaks 40 mV above the voltage before it at 0.18 nA, just above threshold, and 6 mV at
    0.28 nA. At the coupled site a step of 0.3 nA fires the soma once through the dCaAP, and not at
    all without it. The first dCaAP of a step is always nearly full, because the voltage has only
    just crossed threshold.

    **`dcaap="channels"`**: the three ordinary channels of `dcaap_channels()` sit in all of the
    tuft, at one density. The first event shrinks too: under a step at one of `dcaap_sites(cell)`
    (seeds 0 to 4, both sites) it is 59 to 74 mV above the level that follows at threshold, 0.10 to
    0.22 nA, 8 to 38 mV at 1.1 times that current and 0 to 14 mV at twice, and it peaks at 11 to
    23 mV, -11 to -19 and -7 to -23 mV. Strong steps hold the site near -20 mV, and fire the soma
    directly in some seeds. The channels were found by search and measured in no dendrite.

    A model to play with, not a published neuron. Start simulations at `v0=-74`.

    **Arguments:** `seed` of the morphology; `max_length` of compartments, µm; `dcaap`.

    **Raises:** `ValueError` for another `dcaap`.
    """
    if dcaap not in ("formula", "channels"):
        raise ValueError(f"l23_human: dcaap must be 'formula' or 'channels'; got {dcaap!r}.")
    cell = without_dcaap(Cell(pyramidal(seed, "l23_human"), max_length=max_length))
    if dcaap == "channels":
        for channel in dcaap_channels():
            cell = cell.insert(channel, "tuft")
        return cell
    sites, density = [], []
    for site, (_, largest) in zip(dcaap_sites(cell), DCAAPS, strict=True):
        area = DENSITY_TO_NA * float(cell.area[site])
        sites.append(site)
        density.append(2.0 * largest / area)  # A - B is at most 0.5
    return cell.insert(DCaAP(w=np.array(density)), np.array(sites))


def dcaap_sites(cell: Cell) -> tuple[int, int]:
    """Where `l23_human` has its dCaAPs: compartments 420 and 532 µm from the soma, one a tree."""
    tuft = np.flatnonzero(cell.region("tuft"))
    second = cell.section[tuft] > np.median(np.unique(cell.section[tuft]))
    first, other = (
        int(tree[np.argmin(np.abs(cell.distance[tree] - distance))])
        for tree, (distance, _) in zip((tuft[~second], tuft[second]), DCAAPS, strict=True)
    )
    return first, other


def ca1(seed: int = 0, max_length: float = 40.0) -> Cell:
    """A CA1 pyramidal neuron with dendritic sodium, calcium and NMDA spikes.

    *Published* (Migliore, Ferrante & Ascoli 2005, ModelDB 55035): membrane and axial resistance,
    sodium, delayed rectifier, A-type potassium and h current with their temperature and their rise
    with distance, `1 + d / 100` and `1 + 3 d / 100`; the leak's reversal potential set so that all
    of the neuron rests at -65 mV. From Migliore et al. (1999), ModelDB 2796: slow inactivation of
    apical sodium. From Shah et al. (2008), ModelDB 112546: T-type calcium and the calcium-activated
    potassium. *A choice*: the tree, `jd.pyramidal(seed, "ca1")`; densities stop rising at 350 µm,
    the end of what was measured; L-type calcium and the calcium pool; in the tuft `calH` of
    Poirazi et al. (2003) at a density that carries a plateau, less sodium and half of the A-type
    potassium.

    A somatic pulse (2.5 nA, 1.5 ms) gives one spike of 38 mV. It is 29 mV high 50 µm up the trunk,
    0 at 150 µm and -12 at 270 µm; with 80 % of dendritic A-type potassium blocked, 38, 26 and 23.
    Four synchronous AMPA synapses of 0.5 nS at an oblique's tip give a sodium spikelet of 0.9 ms
    (half width) that is lost on the way to the soma, three an EPSP of 4 ms; forty with NMDA
    (1.25 nS) along the oblique an NMDA spike of 63 ms. A strong EPSP in the tuft's stem (1.2 nA, 1
    and 10 ms) gives a calcium plateau of 47 ms (half width) and two somatic spikes.

    A model to play with, not a published neuron. Start simulations at `v0=-65`.

    **Arguments:** `seed` of the morphology; `max_length` of compartments, µm.
    """
    cell = Cell(pyramidal(seed, "ca1"), max_length=max_length, celsius=35.0)
    axon, tuft, dendrite = (cell.region(name) for name in ("axon", "tuft", "dendrite"))
    far = dendrite & (cell.distance > 100.0)
    rise = np.where(dendrite, np.minimum(cell.distance, CA1_REACH) / 100.0, 0.0)
    cell = cell.set(ra=np.where(axon, 50.0, 150.0))
    cell = cell.insert(Leak(g=CA1_LEAK, e=CA1_REST)).insert(KdrCA1(gbar=0.01))
    for region, gbar in CA1_SODIUM.items():
        slow = NaCA1.dendrite if region in ("apical", "tuft") else NaCA1.soma
        cell = cell.insert(slow(gbar=gbar), region)
    a_type = 0.03 * (1.0 + rise) * np.where(tuft, CA1_TUFT_KA, 1.0)
    h_type = 5e-5 * (1.0 + 3.0 * rise)
    cell = cell.insert(KA.proximal(gbar=a_type)).insert(KA.distal(gbar=a_type), far)
    cell = cell.insert(HCN.proximal(gbar=h_type), ~axon).insert(HCN.distal(gbar=h_type), far)
    for channel, gbar in CA1_CALCIUM:
        cell = cell.insert(channel(gbar=gbar), ~axon)
    cell = cell.insert(CaPoirazi.spike(gbar=CA1_TUFT), tuft)
    cell = cell.insert(CalciumShell(decay=100.0), ~axon)
    return _rests_at(CA1_REST, cell)


def _rests_at(v: float, cell: Cell) -> Cell:
    """The cell, whose leak reverses at `v` mV, with a leak that makes it rest there."""

    def current(t: Array, state: State, model: Model) -> Array:
        del t
        envs = model.environments(state.mechanisms)
        return model.membrane_current(state.v, state.mechanisms, envs)[0][: cell.n]

    nanoamperes = simulate(cell, t1=0.025, record=current, v0=v)["values"][0]  # none by the leak
    density = nanoamperes / (DENSITY_TO_NA * cell.area)
    return cell.insert(Leak(g=CA1_LEAK, e=v + density / CA1_LEAK))
