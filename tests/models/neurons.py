"""Cells from graphs that were measured in NEURON."""

from pathlib import Path

import numpy as np

from jaxdend.cell import Cell

DENSITIES = {  # array of the graph: mechanism, parameter
    "gIhbar_Ih": ("Ih", "gbar"),
    "gCa_LVAstbar_Ca_LVAst": ("CaLVA", "gbar"),
    "gCa_HVAbar_Ca_HVA": ("CaHVA", "gbar"),
    "gSKv3_1bar_SKv3_1": ("SKv3_1", "gbar"),
    "gSK_E2bar_SK_E2": ("SK", "gbar"),
    "gK_Tstbar_K_Tst": ("KTst", "gbar"),
    "gK_Pstbar_K_Pst": ("KPst", "gbar"),
    "gNap_Et2bar_Nap_Et2": ("Nap", "gbar"),
    "gNaTa_tbar_NaTa_t": ("NaTa", "gbar"),
    "gImbar_Im": ("Im", "gbar"),
    "decay_CaDynamics_E2": ("CalciumShell", "decay"),
    "gamma_CaDynamics_E2": ("CalciumShell", "gamma"),
    "g_pas": ("Leak", "g"),
}


def graph_cell(file: Path, ra: float = 100.0) -> tuple[Cell, np.lib.npyio.NpzFile]:
    """The bare cell of a graph file, and the file."""
    graph = np.load(file)
    cm = graph["cm_uF_cm2"]
    cell = Cell.from_compartments(
        parent=graph["parent"],
        axial_resistance=graph["ri_MOhm"],
        area=graph["area_um2"],
        cm=np.where(cm > 0, cm, 1.0),
        ra=ra,
        distance=graph["dist_um"],
        section=[name.rpartition(".")[2] for name in graph["secname"]],
        x=graph["x"],
        length=graph["seglen_um"],
        radius=graph["diam_um"] / 2,
    )
    return cell, graph


def placed(cell: Cell, mechanism: str, field: str) -> np.ndarray:
    """`(n,)` parameter of an inserted mechanism, NaN where it is absent."""
    item = cell.mechanisms[mechanism]
    out = np.full(cell.n, np.nan)
    out[item.at.index] = getattr(item.mechanism, field)
    return out
