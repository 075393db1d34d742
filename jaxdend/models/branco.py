"""The rat layer 2/3 pyramidal neuron of Branco et al. 2010, which tells sequences apart."""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

from jaxdend.cell import Cell
from jaxdend.channels import Ca, CaT, FixedReversals, KCa, Km, Kv, Leak, Na
from jaxdend.mechanisms.ions import IONS

# gbar in S/cm² at 23 °C
ACTIVE = {
    "axon": ((Na, 3.0), (Kv, 0.04)),
    "soma": ((Na, 0.15), (Kv, 0.02), (Km, 2.2e-4), (KCa, 2.5e-4), (Ca, 5e-5), (CaT, 3e-4)),
    "basal": ((Na, 4e-3), (Kv, 3e-3), (Km, 5e-6), (KCa, 2.5e-4), (Ca, 5e-5), (CaT, 6e-4)),
}


def branco2010(cell: Cell, active: bool = False) -> Cell:
    """Branco, Clark & Häusser's neuron on a cell that is cut already; passive, as shipped.

    **Arguments:** `cell` with a region `"axon"`, and with `active=True` `"soma"` and `"basal"`; its
    axial resistances, published at 150 Ω·cm, stay as they are. `active` adds their channels; apical
    dendrites are passive in both.

    What the published scripts do without saying, kept here:

    - *Capacitance reset.* The morphology file doubles `cm` in dendrites for spines; the passive
      set-up that follows resets it to 1 µF/cm² everywhere.
    - *Axon.* Its leak is 0.02 S/cm², 200-fold: nodes of Ranvier all along.
    - *Calcium.* No mechanism moves it, and its `ion_style` keeps `e_ca` constant at 132.458 mV
      (the file's 140 is never used); `KCa` sees 5e-5 mM and stays shut.
    - *Temperature* is 37 °C, by which conductances and rates of all but `CaT` are multiplied.
    - *Tables.* All rates but those of `KCa` are read from tables.
    - *Compartments.* `3 (2 int((L / (0.1 lambda_100) + 0.9) / 2) + 1)` per section, with lambda
      from the default Ra 35.4 and cm 1, before they are set.

    Synapses, one AMPA and one NMDA each at nine places along `dend[13]`, x = 1, 7/8, ..., 0:
    `AlphaSynapse(site, 5e-4, onset, tau=2, cutoff=10)` and `NMDAKinetic(site, 8e-3, onset)` (5e-3
    in the active cell). x = 1 is the end of the section, a compartment of area 0; x = 0 is the
    end of its parent. Start simulations at `v0=-75`.

    **Raises:** `ValueError` for a missing region.
    Source: Branco, Clark & Häusser (2010) Science 329:1671, ModelDB 140828.
    """
    cell = cell.set(cm=1.0, celsius=37.0)
    cell = cell.insert(Leak(g=1e-4, e=-75.0))
    cell = cell.insert(Leak(g=0.02, e=-75.0), "axon")
    if not active:
        return cell
    for region, channels in ACTIVE.items():
        for channel, gbar in channels:
            table = {} if channel is KCa else {"table": True}
            cell = cell.insert(channel(gbar=gbar, **table), region)
    return cell.insert(FixedReversals(eca=IONS["ca"].reversal))
