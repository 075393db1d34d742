"""The human layer 2/3 pyramidal neuron of Gidon et al. 2020, with dendritic action potentials."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

import numpy as np

from jaxdend.cell import Cell
from jaxdend.channels import DCaAP, Leak, Traub

LEAK = 1.0 / 37000.0  # S/cm²
W = {False: 1.6, True: 4.0}  # mA/cm², by `coupled`


def gidon2020(cell: Cell, site: int, coupled: bool = False, *, surrogate: bool = False) -> Cell:
    """Gidon et al.'s neuron on a cell that is cut already, with one dCaAP compartment at `site`.

    **Arguments:** `cell` with regions `"soma"` and `"axon"` (everything else is dendrite); its
    axial resistances stay as they are. `site`, the one compartment with the dCaAP: for the
    uncoupled cell (Fig. 3) `cell.locate(section="apic[76]", x=0.214)`, for the coupled (Fig. S9)
    `cell.locate(section="apic[60]", x=0.99)`. `coupled=True` takes the stronger current, 4 instead
    of 1.6 mA/cm². `surrogate`, see `DCaAP`.

    What the published scripts do without saying, kept here:

    - *Effective logistic.* The dCaAP's A and B saturate at 0.5, not at 1 as written, see `DCaAP`.
    - *One compartment only* has the dCaAP, however small.
    - *Leak.* Soma and axon have none of the dendrites' leak but that of the Traub mechanism.
    - *Table.* Traub's rates are read from a table, -100 to 70 mV in 1000 intervals.
    - *Capacitance* is 0.45 µF/cm² everywhere, without a factor for spines.
    - *Temperature* is 35 °C, and no rate depends on it.

    The geometry is the user's: the published cell has all lengths and diameters times 1.25, an
    axon of 1000 by 1 µm at the soma's end, `1 + 2 int(L / 30)` compartments in apical sections and
    `1 + 2 int(L / 60)` in others, and a section without a cell, "scalebar", to leave out.

    Start simulations at `v0=-75`, with `dt=0.05` and `BackwardEuler()` for the published traces.

    **Raises:** `ValueError` for a `site` outside the cell or without membrane, or no soma.
    Source: Gidon et al. (2020) Science 367:83, ModelDB 254217.
    """
    if not 0 <= site < cell.n or not float(cell.area[site]) > 0:
        raise ValueError(
            f"gidon2020: site must be a compartment with membrane in 0..{cell.n - 1}; got {site}."
        )
    cell = without_dcaap(cell)
    return cell.insert(DCaAP(w=W[coupled], surrogate=surrogate), np.array([site]))


def without_dcaap(cell: Cell) -> Cell:
    """Gidon et al.'s membrane on a cell that is cut already: all of `gidon2020` but the dCaAP.

    **Arguments:** `cell` with regions `"soma"` and `"axon"`, see `gidon2020`.
    **Raises:** `ValueError` for a cell without a soma.
    """
    spiking = cell.region("soma")
    if "axon" in cell.regions:
        spiking |= cell.region("axon")
    cell = cell.set(cm=0.45, celsius=35.0)
    cell = cell.insert(Leak(g=LEAK, e=-74.0), ~spiking)
    return cell.insert(Traub(gl=LEAK, table=True), spiking)
