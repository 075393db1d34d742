"""The layer 5b pyramidal neuron of Hay et al. 2011, parameter set "biophys3" (BAC and step)."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

import numpy as np

from jaxdend.cell import Cell
from jaxdend.channels import (
    SK,
    CaHVA,
    CalciumShell,
    CaLVA,
    Ih,
    Im,
    KPst,
    KTst,
    Leak,
    Nap,
    NaTa,
    SKv3_1,
)
from jaxdend.densities import exponential, hot_zone
from jaxdend.morphology import Morphology

CM = {"soma": 1.0, "axon": 1.0, "basal": 2.0, "apical": 2.0}  # µF/cm², spines included
LEAK = {"soma": 3.38e-5, "axon": 3.25e-5, "basal": 4.67e-5, "apical": 5.89e-5}  # S/cm²

SOMA = (  # gbar in S/cm²
    (NaTa, 2.04),
    (Nap, 1.72e-3),
    (KPst, 2.23e-3),
    (KTst, 0.0812),
    (SKv3_1, 0.693),
    (SK, 0.0441),
    (CaHVA, 9.92e-4),
    (CaLVA, 3.43e-3),
    (Ih, 2e-4),
)
APICAL = ((NaTa, 0.0213), (SKv3_1, 2.61e-4), (SK, 1.2e-3), (Im, 6.75e-5))
BASAL_IH = 2e-4
CALCIUM = {"soma": (460.0, 5.01e-4), "apical": (122.0, 5.09e-4)}  # decay ms, gamma


def hay2011(
    morphology: Morphology | Cell,
    *,
    hot: tuple[float, float] = (685.0, 885.0),
    as_published: bool = True,
) -> Cell:
    """Hay et al.'s neuron, set "biophys3", on a reconstruction or on a cell that is cut already.

    **Arguments:** `morphology`, from `jd.read_morphology`: its axon is thrown away and replaced by
    two passive cylinders in series at the soma, L = 30, d = 1 µm, one compartment each, and
    sections are cut into `1 + 2 int(L / 40)` compartments. Or a `Cell` whose regions `"soma"` and
    `"apical"` (`"basal"`, `"axon"`) and path distances are known; its axial resistances stay as
    they are. `hot`, the zone of dendritic calcium channels, µm. `as_published=False` evaluates
    densities at the centre of every compartment and does not round them, for other cells.

    What the published scripts do without saying, kept here:

    - *Distance origin.* Apical densities are functions of the distance from the START OF THE APICAL
      TRUNK, not from the soma's centre, because a helper moves the origin; the largest distance,
      which scales Ih, is measured from there to the end of the longest branch.
    - *End of section.* The loop that assigns them visits x = 1 last, so the last compartment of
      every apical section has the density of its END (up to 7 % in Ih, one more hot compartment).
    - *Rounding* of those densities to 1e-10 S/cm², through text.
    - *Temperature* was never set and is 6.3 °C. Kinetics are frozen at 34 °C; only the calcium
      reversal potential feels it.
    - *Calcium* starts at NEURON's default 5e-5 mM although it relaxes to 1e-4 mM.
    - *Spines* double the capacitance of dendrites but not their leak.

    Start simulations at `v0=-80`.

    **Raises:** `ValueError` for a cell without a soma or apical dendrite or without distances.
    Source: Hay, Hill, Schürmann, Markram & Segev (2011) PLoS Comput Biol 7:e1002107,
    ModelDB 139653.
    """
    cell = _cut(morphology) if isinstance(morphology, Morphology) else morphology
    regions = {name: cell.region(name) for name in LEAK if name in cell.regions}
    for name in ("soma", "apical"):
        if name not in regions:
            raise ValueError(
                f"hay2011 needs a region {name!r}; this cell has {', '.join(cell.regions)}. "
                "Give kind= or NEURON-style section= names to Cell.from_compartments."
            )
    cell = cell.set(cm=_by_region(CM, regions, cell.n, 1.0), celsius=6.3)
    cell = cell.insert(Leak(g=_by_region(LEAK, regions, cell.n), e=-90.0), _any(regions))
    d = apical_distance(cell, end_of_section=as_published)
    longest = float(np.nanmax(apical_distance(cell, end_of_section=True)))
    graded = (
        (Ih, exponential(d, 2e-4 * -0.8696, 2e-4 * 2.087, longest / 3.6161)),
        (CaLVA, hot_zone(d, 1.87e-2, 1.87e-4, *hot)),
        (CaHVA, hot_zone(d, 5.55e-4, 5.55e-5, *hot)),
    )
    soma, apical = regions["soma"], regions["apical"]
    for channel, gbar in SOMA:
        cell = cell.insert(channel(gbar=gbar), soma)
    for channel, gbar in APICAL:
        cell = cell.insert(channel(gbar=gbar), apical)
    for channel, gbar in graded:
        gbar = np.round(np.asarray(gbar), 10) if as_published else gbar
        cell = cell.insert(channel(gbar=gbar), apical)
    if "basal" in regions:
        cell = cell.insert(Ih(gbar=BASAL_IH), regions["basal"])
    for name, (decay, gamma) in CALCIUM.items():
        cell = cell.insert(CalciumShell(decay=decay, gamma=gamma), regions[name])
    return cell


def apical_distance(cell: Cell, *, end_of_section: bool) -> np.ndarray:
    """`(n,)` µm from the start of the apical trunk; NaN outside apical dendrites.

    With `end_of_section` the last compartment of each section has the distance of its end.

    **Raises:** `ValueError` where the cell does not know its distances or lengths.
    """
    apical = cell.region("apical") & (np.asarray(cell.area) > 0)
    path, length = cell.distance, cell.length
    if not np.isfinite(path[apical]).all() or not np.isfinite(length[apical]).all():
        raise ValueError(
            "hay2011 grades densities by distance: give distance= (µm from the soma) and length= "
            "to Cell.from_compartments."
        )
    first = np.flatnonzero(apical)[np.argmin(path[apical])]
    out = np.where(apical, path - (path[first] - length[first] / 2), np.nan)
    if end_of_section:
        index = np.flatnonzero(apical)
        index = index[np.lexsort((cell.x[index], cell.section[index]))]
        last = index[np.append(np.diff(cell.section[index]) != 0, True)]
        out[last] += length[last] / 2
    return out


def _cut(morphology: Morphology) -> Cell:
    if np.any(morphology.kind == 2):
        morphology = morphology.without(2)
    morphology = morphology.with_cylinder(2, 30.0, 1.0, parent=morphology.soma)
    stub = morphology.name[int(np.flatnonzero(morphology.kind == 2)[0])]
    morphology = morphology.with_cylinder(2, 30.0, 1.0, parent=stub, parent_x=1.0)
    return Cell(morphology, ncomp=lambda length: 1 + 2 * int(length / 40.0), ra=100.0)


def _by_region(values: dict, regions: dict, n: int, default: float = np.nan) -> np.ndarray:
    out = np.full(n, default)
    for name, mask in regions.items():
        out[mask] = values[name]
    return out


def _any(regions: dict[str, np.ndarray]) -> np.ndarray:
    return np.any(list(regions.values()), axis=0)
