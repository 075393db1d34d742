"""Voltage over the tree in time: a row of snapshots, or a movie."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import animation, pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.text import Text
from tqdm import tqdm

from jaxdend.plotting._paint import Parts, color_by_value
from jaxdend.plotting._shape import Shape, shape_of
from jaxdend.plotting.neuron import Plane, add_scale_bar, add_title, draw, figure_size
from jaxdend.plotting.style import COLORS, INK, color_scale, figure_of, styled
from jaxdend.plotting.traces import time_by_site

PAGE = 9.0  # inches across, for the snapshots of a filmstrip


def filmstrip(
    cell: Any,
    ts: Any,
    v: Any,
    times: Sequence[float],
    *,
    axes: Sequence[Axes] | None = None,
    plane: str = "xy",
    label: str = "voltage (mV)",
    cmap: str | Colormap | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    width: float = 1.0,
    height: float | None = None,
) -> tuple[Figure, Sequence[Axes]]:
    """Snapshots of the tree side by side, on one colour scale.

    **Arguments:** `cell` with coordinates; `ts (t,)` ms; `v (t, n)`, every compartment (record
    them all: `simulate` does so by default); `times` ms, of which the nearest saved ones are shown;
    `axes`, one a snapshot, to draw into; `label` of the colour bar with its unit; `vmin`, `vmax`,
    ends of the colour scale (default: the range of what is shown); `plane` and `width` as in
    `plot_neuron`; `height` of a snapshot, inches (default: 3, or less to keep within a page).

    **Returns:** the figure and its snapshots' axes. **Raises:** `ValueError` for shapes that do not
    match, times outside `ts`, or a cell without coordinates.
    """
    shape, view = _spatial(cell), Plane.parse(plane)
    ts, v = _every_compartment(cell, ts, v)
    index = _nearest(ts, np.atleast_1d(np.asarray(times, float)))
    norm, table = color_scale(v[index], vmin, vmax, cmap)
    with styled(keep=axes is not None):
        drawn = _row(len(index), shape, view, height) if axes is None else axes
        if len(drawn) != len(index):
            raise ValueError(f"axes: got {len(drawn)} for {len(index)} times, expected one each.")
        digits = _digits(ts[index])
        for i, (ax, at) in enumerate(zip(drawn, index, strict=True)):
            color_by_value(draw(ax, shape, view, width, anchor="N"), v[at], norm, table)
            add_scale_bar(ax, visible=i == 0)
            add_title(ax, f"{ts[at]:.{digits}f} ms")
        figure = figure_of(drawn[0])
        figure.colorbar(
            ScalarMappable(norm, table),
            ax=list(drawn),
            label=label,
            shrink=0.7,
            aspect=18,
            pad=0.01,
        )
    return figure, drawn


def movie(
    cell: Any,
    ts: Any,
    v: Any,
    path: str | Path,
    *,
    fps: int = 20,
    frames: int = 100,
    site: int | None = None,
    plane: str = "xy",
    label: str = "voltage (mV)",
    cmap: str | Colormap | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    width: float = 1.0,
    height: float = 4.5,
    dpi: float = 100.0,
    progress: bool = True,
) -> Path:
    """Voltage moving over the tree, as a `.gif`, or as `.mp4` where ffmpeg is installed.

    **Arguments:** `cell`, `ts (t,)`, `v (t, n)`, `plane`, `label`, `cmap`, `vmin`, `vmax`, `width`
    as in `filmstrip`; `path`, whose suffix chooses the format; `fps`, frames a second, and
    `frames`, how many to take, evenly over `ts`; `site`, a compartment whose trace runs along
    below; `height` of the tree, inches; `progress` shows a bar.

    **Returns:** the path written. **Raises:** `ValueError` as `filmstrip`, and for another suffix
    or for `.mp4` without ffmpeg.
    """
    path = Path(path)
    writer = _writer(path, fps)
    shape, view = _spatial(cell), Plane.parse(plane)
    ts, v = _every_compartment(cell, ts, v)
    trace = None if site is None else _column(v, site)
    if frames < 1:
        raise ValueError(f"frames must be at least 1; got {frames}.")
    shown = np.unique(_nearest(ts, np.linspace(ts[0], ts[-1], frames)))
    digits = min(_digits(ts[shown]), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with styled():
        stage = _stage(shape, view, width, height, color_scale(v, vmin, vmax, cmap), label,
                       below=0.0 if trace is None else 1.4)  # fmt: skip
        cursor = None if trace is None else _trace_below(stage, ts, trace)
        stage.freeze()
        with writer.saving(stage.figure, str(path), dpi):
            for at in tqdm(shown, desc=path.name, unit="frame", disable=not progress):
                stage.show(v[at], f"{ts[at]:.{digits}f} ms")
                if cursor is not None and trace is not None:
                    cursor.set_data([ts[at]], [trace[at]])
                writer.grab_frame()
    return path


@dataclass(frozen=True)
class _Stage:
    """A figure whose tree is recoloured from frame to frame."""

    figure: Figure
    parts: Parts
    clock: Text
    norm: Normalize
    cmap: Colormap
    below: SubplotSpec  # free room under the tree

    def show(self, values: np.ndarray, time: str) -> None:
        color_by_value(self.parts, values, self.norm, self.cmap)
        self.clock.set_text(time)

    def freeze(self) -> None:
        """Lay the figure out once, so that nothing trembles between frames."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")


def _stage(
    shape: Shape,
    view: Plane,
    width: float,
    height: float,
    scale: tuple[Normalize, Colormap],
    label: str,
    below: float,
) -> _Stage:
    """The tree with its colour bar, over `below` inches of free room."""
    across, up = figure_size(shape, view, height)
    figure = Figure(figsize=(max(across + 1.1, 3.6), up + 0.6 + below), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[up + 0.6, max(below, 1e-3)])
    ax = figure.add_subplot(grid[0] if below else grid[:])
    parts = draw(ax, shape, view, width, anchor="N")
    add_scale_bar(ax)
    figure.colorbar(ScalarMappable(*scale), ax=ax, label=label, shrink=0.7, aspect=18)
    return _Stage(figure, parts, add_title(ax, ""), *scale, grid[1])


def _trace_below(stage: _Stage, ts: np.ndarray, v: np.ndarray) -> Line2D:
    """The voltage of one site under the tree, and the dot that will run along it."""
    ax = stage.figure.add_subplot(stage.below)
    ax.plot(ts, v, color=INK, linewidth=1.0)
    ax.set_xlim(ts[0], ts[-1])
    ax.set_xlabel("time (ms)")
    ax.set_ylabel("mV")
    return ax.plot(ts[:1], v[:1], "o", color=COLORS[1], markersize=6.0, clip_on=False)[0]


def _spatial(cell: Any) -> Shape:
    shape = shape_of(cell)
    if shape is None:
        raise ValueError(
            "this cell has no coordinates to draw in space: give xyz= to Cell.from_compartments, "
            "or use plot_dendrogram or kymograph."
        )
    return shape


def _every_compartment(cell: Any, ts: Any, v: Any) -> tuple[np.ndarray, np.ndarray]:
    ts, v = time_by_site(ts, v, "v")
    n = len(np.asarray(cell.parent))
    if v.shape[1] != n:
        raise ValueError(
            f"v must hold every compartment, (t, {n}); got {v.shape}: simulate with record=None."
        )
    return ts, v


def _column(v: np.ndarray, site: int) -> np.ndarray:
    if not 0 <= site < v.shape[1]:
        raise ValueError(f"site must be a compartment in [0, {v.shape[1]}); got {site}.")
    return v[:, site]


def _nearest(ts: np.ndarray, times: np.ndarray) -> np.ndarray:
    outside = times[~((times >= ts[0]) & (times <= ts[-1]))]
    if len(outside):
        raise ValueError(
            f"times must lie in the simulated {ts[0]:g}..{ts[-1]:g} ms; got {outside[0]:g} ms."
        )
    return np.abs(ts[None, :] - times[:, None]).argmin(axis=1)


def _digits(times: np.ndarray) -> int:
    """The fewest decimals, up to three, that write `times` exactly."""
    return next((d for d in range(3) if np.allclose(times, np.round(times, d), atol=1e-6)), 3)


def _row(count: int, shape: Shape, view: Plane, height: float | None) -> Sequence[Axes]:
    """Axes for `count` snapshots side by side, together not wider than a page."""
    across, up = figure_size(shape, view, 1.0, least=0.0)
    height = min(3.0, PAGE * up / (count * across)) if height is None else height
    size = (count * height * across / up + 0.9, height + 0.6)
    _, axes = plt.subplots(1, count, figsize=size, layout="constrained", squeeze=False)
    return list(axes[0])


def _writer(path: Path, fps: int) -> animation.AbstractMovieWriter:
    suffix = path.suffix.lower()
    if suffix == ".gif":
        return animation.PillowWriter(fps=fps)
    if suffix == ".mp4" and animation.FFMpegWriter.isAvailable():
        return animation.FFMpegWriter(fps=fps)
    if suffix == ".mp4":
        raise ValueError(f"{path.name} needs ffmpeg, which is not installed; write a .gif instead.")
    raise ValueError(f"a movie is a .gif or .mp4; got {path.name!r}.")
