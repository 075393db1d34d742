"""What neurons in space and dendrograms share: colouring by values, and marked sites."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import Colormap, Normalize, to_rgba
from matplotlib.lines import Line2D

from jaxdend.plotting.style import COLORS, MUTED, REGIONS, color_scale, figure_of

Sites = Mapping[str, int | Sequence[int] | np.ndarray] | Sequence[int] | np.ndarray | int
Parts = Sequence[tuple[Collection, np.ndarray]]  # what is drawn, and the compartment of each piece


def checked(values: Any, n: int) -> np.ndarray:
    """Checks `values` and returns them as an `(n,)` array.

    **Raises:** `ValueError` for another shape.
    """
    values = np.asarray(values)
    if values.shape != (n,):
        raise ValueError(
            f"values must be (n,) = ({n},), one a compartment of this cell; got {values.shape}."
        )
    return values


def color_by_region(ax: Axes, parts: Parts, kind: np.ndarray, legend: bool) -> None:
    """Gives each region a colour, and names it beside the axes."""
    present = [int(code) for code in np.unique(kind)]
    names = {code: REGIONS.get(code, (f"type {code}", COLORS[2])) for code in present}
    table = np.array([to_rgba(names[int(code)][1]) for code in kind])
    for drawn, owner in parts:
        drawn.set(color=table[owner])
    if legend and present != [0]:
        _swatches(ax, list(names.values()))


def color_by_mask(ax: Axes, parts: Parts, mask: np.ndarray, label: str, legend: bool) -> None:
    """Colours what is true, and leaves the rest grey."""
    table = np.array([to_rgba(MUTED), to_rgba(COLORS[1])])[mask.astype(int)]
    for drawn, owner in parts:
        drawn.set(color=table[owner])
    if legend and label:
        _swatches(ax, [(label, COLORS[1]), ("elsewhere", MUTED)])


def color_by_value(
    parts: Parts, values: np.ndarray, norm: Normalize, cmap: Colormap
) -> ScalarMappable:
    """Puts numbers on a colour scale; returns what a colour bar can be made of."""
    for drawn, owner in parts:
        drawn.set_norm(norm)
        drawn.set_cmap(cmap)
        drawn.set_array(np.ma.masked_invalid(values[owner]))
    return ScalarMappable(norm, cmap)


def colorize(
    ax: Axes,
    parts: Parts,
    kind: np.ndarray,
    values: Any,
    *,
    label: str,
    cmap: str | Colormap | None,
    vmin: float | None,
    vmax: float | None,
    legend: bool,
) -> None:
    """Colour by region (`None`), mask (bool) or value, with its legend or colour bar."""
    if values is None:
        color_by_region(ax, parts, kind, legend)
        return
    values = checked(values, len(kind))
    if values.dtype == bool:
        color_by_mask(ax, parts, values, label, legend)
        return
    mappable = color_by_value(parts, values, *color_scale(values, vmin, vmax, cmap))
    if legend:
        figure_of(ax).colorbar(mappable, ax=ax, label=label, shrink=0.6, aspect=18, pad=0.03)


def mark_sites(ax: Axes, sites: Sites, position: np.ndarray) -> None:
    """Dots at `position[site]`: a lone site is labelled beside it, a group in the legend.

    **Arguments:** `sites`, name -> compartment or compartments, or compartments alone;
    `position (n, 2)`. Groups take the colours of the palette in order, as traces do.

    **Raises:** `ValueError` for a site that is not a compartment.
    """
    named = isinstance(sites, Mapping)
    groups = dict(sites) if isinstance(sites, Mapping) else {"": np.atleast_1d(np.asarray(sites))}
    many = []
    for i, (name, given) in enumerate(groups.items()):
        index = np.atleast_1d(np.asarray(given))
        if index.dtype.kind not in "iu" or np.any((index < 0) | (index >= len(position))):
            raise ValueError(
                f"sites {name!r} must be whole numbers in [0, {len(position)}); got {given!r}."
            )
        color = COLORS[i % len(COLORS)]
        dots = ax.scatter(*position[index].T, s=34, color=color, edgecolor="white",
                          linewidth=0.9, zorder=5, label=name)  # fmt: skip
        if named and len(index) == 1:
            _name_beside(ax, name, tuple(position[index[0]]), color)
        elif named:
            many.append(dots)
    if many:
        ax.legend(handles=many, loc="upper left", bbox_to_anchor=(0.0, 1.0), handletextpad=0.1)


def _name_beside(ax: Axes, name: str, at: tuple[float, float], color: str) -> None:
    """To the right of the dot, or to the left in the outer left of the axes."""
    left, right = ax.get_xlim()
    side = -1 if at[0] < left + 0.3 * (right - left) else 1
    text = ax.annotate(name, at, xytext=(7 * side, 0), textcoords="offset points", va="center",
                       ha="left" if side > 0 else "right", color=color, fontweight="bold",
                       zorder=6)  # fmt: skip
    text.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])


def _swatches(ax: Axes, names: list[tuple[str, str]]) -> None:
    handles = [Line2D([], [], color=color, linewidth=3.0, label=name) for name, color in names]
    kept = ax.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=0.9
    )
    ax.add_artist(kept)  # survives a second legend, of the marked sites
