"""Cells from graphs that were measured in NEURON."""

from pathlib import Path

import numpy as np

from jaxdend.cell import Cell


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
