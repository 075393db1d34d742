"""The neuron in two dimensions, coloured by any array over its compartments."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import Colormap
from matplotlib.patches import Circle
from matplotlib.text import Text

from jaxdend.plotting._paint import Parts, Sites, colorize, mark_sites
from jaxdend.plotting._shape import Shape, shape_of
from jaxdend.plotting.dendrogram import plot_dendrogram
from jaxdend.plotting.style import INK, axes_or_new, figure_of
from jaxdend.plotting.traces import nice_length

HAIRLINE = 0.5  # points, added to every diameter so that the thinnest branch is seen


@dataclass(frozen=True)
class Plane:
    """A view of space: which coordinate runs to the right and which up, and their signs."""

    axes: tuple[int, int]
    signs: tuple[float, float]

    @classmethod
    def parse(cls, text: str) -> "Plane":
        """Reads a plane from a text such as `"xy"` or `"x-z"`.

        **Raises:** `ValueError` where `text` is not two different axes.
        """
        match = re.fullmatch(r"([+-]?)([xyz])([+-]?)([xyz])", text)
        if match is None or match[2] == match[4]:
            raise ValueError(
                f'plane must be two different axes, "xy" or "xz" or, flipped, "x-y"; got {text!r}.'
            )
        signs = (-1.0 if match[1] == "-" else 1.0, -1.0 if match[3] == "-" else 1.0)
        return cls(("xyz".index(match[2]), "xyz".index(match[4])), signs)

    def project(self, xyz: np.ndarray) -> np.ndarray:
        """Projects points `(..., 3)` onto the plane, `(..., 2)`."""
        return xyz[..., list(self.axes)] * np.array(self.signs)


def plot_neuron(
    cell: Any,
    values: Any = None,
    ax: Axes | None = None,
    *,
    plane: str = "xy",
    label: str = "",
    cmap: str | Colormap | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    sites: Sites | None = None,
    width: float = 1.0,
    scale_bar: bool = True,
    legend: bool = True,
) -> Axes:
    """The neuron to scale, its soma as a disc of equal area.

    A cell without coordinates is drawn by `plot_dendrogram` instead.

    **Arguments:** `cell`, a `Cell` or a `Morphology`; `values (n,)`, one a compartment (a section,
    for a `Morphology`): numbers get a colour bar titled `label` (write the unit: `"peak (mV)"`),
    booleans are highlighted, `None` colours by region; NaN is grey. `plane`, the axes to the right
    and up, `"xy"`, `"xz"`, …, with a minus to flip one (`"x-y"`). `vmin`, `vmax`, ends of the
    colour scale. `sites`, compartments to mark: `{"soma": 0, "synapses": [31, 40]}`, or just
    numbers. `width`, a factor on line widths, which are diameters to scale plus a hairline.
    `scale_bar` in µm; `legend`, the colour bar or the names of the regions.

    **Returns:** the axes. **Raises:** `ValueError` for values or sites that do not fit the cell.
    """
    shape, view = shape_of(cell), Plane.parse(plane)
    if shape is None:
        return plot_dendrogram(cell, values, ax, label=label, cmap=cmap, vmin=vmin, vmax=vmax,
                               sites=sites, width=width, legend=legend)  # fmt: skip
    across, up = figure_size(shape, view)
    beside = 1.5 if values is None else 1.1  # names of regions, or a colour bar
    with axes_or_new(ax, (across + beside, up + 0.35)) as axes:
        parts = draw(axes, shape, view, width, anchor="W")
        colorize(axes, parts, shape.kind, values, label=label, cmap=cmap, vmin=vmin, vmax=vmax,
                 legend=legend)  # fmt: skip
        if scale_bar:
            add_scale_bar(axes)
        if sites is not None:
            mark_sites(axes, sites, view.project(shape.position))
        return axes


def draw(ax: Axes, shape: Shape, view: Plane, width: float, anchor: str) -> Parts:
    """Lines and discs on `ax`, not yet coloured; the axes are hidden and equally scaled.

    `anchor` is the side at which the tree keeps within its box: there, titles ("N") or legends
    ("W", to the right of it) find the room that the layout makes for them.
    """
    low, high = bounds(shape, view)
    margin = 0.02 * float(np.max(high - low))
    ax.set_xlim(low[0] - margin, high[0] + margin)
    ax.set_ylim(low[1] - margin, high[1] + margin)
    ax.set_aspect("equal", anchor=anchor)
    ax.axis("off")
    widths = (HAIRLINE + shape.diameter / _inches(ax, 1 / 72)) * width
    lines = LineCollection(
        list(view.project(shape.lines)), linewidths=widths, capstyle="round", zorder=1
    )
    centers = view.project(shape.center)
    discs = PatchCollection(
        [Circle((x, y), r) for (x, y), r in zip(centers, shape.radius, strict=True)],
        linewidths=0.0, zorder=2,
    )  # fmt: skip
    ax.add_collection(lines)
    ax.add_collection(discs)
    return ((lines, shape.owner), (discs, shape.inside))


def bounds(shape: Shape, view: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Lower left and upper right corner of the drawing, µm."""
    ends = view.project(shape.lines).reshape(-1, 2)
    center, radius = view.project(shape.center), shape.radius[:, None]
    corners = np.concatenate([ends, center - radius, center + radius])
    return corners.min(axis=0), corners.max(axis=0)


def figure_size(
    shape: Shape, view: Plane, longest: float = 5.2, least: float = 1.2
) -> tuple[float, float]:
    """Inches across and up for one neuron, `longest` for its longer side and at least `least`."""
    low, high = bounds(shape, view)
    extent = np.maximum(high - low, 0.15 * np.max(high - low))
    across, up = np.maximum(longest * extent / np.max(extent), least)
    return float(across), float(up)


def add_scale_bar(ax: Axes, visible: bool = True) -> None:
    """A bar of a round number of µm below the lower left corner, or just the room for it."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    length = nice_length(max(right - left, top - bottom), 0.3)
    y = bottom - _inches(ax, 0.05)
    if visible:
        ax.plot([left, left + length], [y, y], color=INK, linewidth=2.0, solid_capstyle="butt",
                clip_on=False)  # fmt: skip
        ax.text(left, y - _inches(ax, 0.05), f"{length:g} µm", ha="left", va="top")
    ax.set_xlim(left, max(right, left + length))
    ax.set_ylim(y - _inches(ax, 0.25), top)


def add_title(ax: Axes, text: str) -> Text:
    """A line above the neuron, inside its axes, so that snapshots keep one scale."""
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + _inches(ax, 0.2))
    return ax.text(0.5, 1.0, text, transform=ax.transAxes, ha="center", va="top")


def _inches(ax: Axes, length: float) -> float:
    """`length` inches on the page in µm, at the present size of the axes."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    box = ax.get_window_extent()
    per_dot = max((right - left) / box.width, (top - bottom) / box.height)
    return length * figure_of(ax).dpi * per_dot
