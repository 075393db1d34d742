"""The tree unrolled: path distance against branches."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap
from matplotlib.ticker import MaxNLocator

from jaxdend.plotting._paint import Sites, colorize, mark_sites
from jaxdend.plotting._shape import SOMA, Layout, layout_of
from jaxdend.plotting.style import REGIONS, axes_or_new


def plot_dendrogram(
    cell: Any,
    values: Any = None,
    ax: Axes | None = None,
    *,
    label: str = "",
    cmap: str | Colormap | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    sites: Sites | None = None,
    width: float = 1.0,
    legend: bool = True,
) -> Axes:
    """Every branch as an upright line from its start to its end, in µm from the soma.

    Branches leave the soma region by region, and short ones stand left of long ones. A cell that
    knows no path distances is drawn in steps from its root.

    **Arguments:** as `plot_neuron`: `cell`; `values (n,)` with `label`, `cmap`, `vmin`, `vmax`;
    `sites` to mark; `width`, a factor on line widths; `legend` or colour bar on or off.

    **Returns:** the axes. **Raises:** `ValueError` for values or sites that do not fit the cell.
    """
    layout = layout_of(cell)
    with axes_or_new(ax, (7.0, 3.6)) as axes:
        lines, owner = _upright(layout, width)
        soma = axes.scatter([layout.slot[layout.root]], [0.0], s=60.0 * width, zorder=3)
        axes.add_collection(lines)
        axes.autoscale_view()
        parts = ((lines, owner), (soma, np.array([layout.root])))
        kind = np.asarray(cell.kind).astype(int)
        colorize(axes, parts, kind, values, label=label, cmap=cmap, vmin=vmin, vmax=vmax,
                 legend=legend and values is not None)  # fmt: skip
        _name_axes(axes, kind, layout)
        if sites is not None:
            middle = np.where(layout.parent < 0, 0.0, 0.5 * (layout.start + layout.end))
            mark_sites(axes, sites, np.column_stack([layout.slot, middle]))
        return axes


def _upright(layout: Layout, width: float) -> tuple[LineCollection, np.ndarray]:
    """One bent line a compartment: across from its parent, then up; the longest arms lowest."""
    owner = np.flatnonzero(layout.parent >= 0)
    arm = np.abs(layout.slot[owner] - layout.slot[layout.parent[owner]])
    owner = owner[np.argsort(-arm, kind="stable")]
    slot, start, end = layout.slot[owner], layout.start[owner], layout.end[owner]
    before = layout.slot[layout.parent[owner]]
    bent = np.stack(
        [np.column_stack([before, start]), np.column_stack([slot, start]),
         np.column_stack([slot, end])], axis=1,
    )  # fmt: skip
    return LineCollection(list(bent), linewidths=2.0 * width, joinstyle="miter"), owner


def _name_axes(ax: Axes, kind: np.ndarray, layout: Layout) -> None:
    """Distance upwards; below, the name of every region under its branches."""
    tip = (np.bincount(layout.parent[layout.parent >= 0], minlength=len(kind)) == 0) & (
        layout.parent >= 0
    )
    below = [code for code in np.unique(kind[tip]) if code not in (0, SOMA)]
    centers = [float(layout.slot[tip & (kind == code)].mean()) for code in below]
    ax.set_xticks(centers, [REGIONS.get(int(code), (f"type {code}",))[0] for code in below])
    ax.tick_params(axis="x", length=0.0)
    ax.spines["bottom"].set_visible(False)
    ax.set_ylim(bottom=0.0 - 0.03 * ax.get_ylim()[1])
    if layout.metric:
        ax.set_ylabel("distance from soma (µm)")
    else:
        ax.set_ylabel("steps from the root")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
