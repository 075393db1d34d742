"""One look for every figure: colours that colour-blind readers can tell apart, no clutter."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure

# Okabe & Ito 2008, without its yellow, which a white page swallows; black goes last.
COLORS: tuple[str, ...] = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
INK = "#333333"  # axes and text
MUTED = "#B8B8B8"  # what is there but not meant: masked-out dendrites, references, NaN
REGIONS: dict[int, tuple[str, str]] = {  # SWC type -> name, colour
    0: ("undefined", MUTED),
    1: ("soma", "#000000"),
    2: ("axon", COLORS[4]),
    3: ("basal", COLORS[0]),
    4: ("apical", COLORS[1]),
}
# Plasma without its last, pale tenth: every value stays visible on white.
CMAP = ListedColormap(
    mpl.colormaps["plasma"](np.linspace(0.0, 0.9, 256)), name="jaxdend"
).with_extremes(bad=MUTED)

_BASE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "savefig.facecolor": "white",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
_SIZES: dict[str, float] = {  # points, multiplied by `scale`
    "axes.labelsize": 10.0,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10.0,
    "font.size": 10.0,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.4,
    "xtick.labelsize": 9.0,
    "xtick.major.width": 0.8,
    "ytick.labelsize": 9.0,
    "ytick.major.width": 0.8,
}
_inside: ContextVar[bool] = ContextVar("jaxdend_style", default=False)


@contextmanager
def context(scale: float = 1.0) -> Iterator[None]:
    """Draw in this package's style, with larger letters for a talk.

    **Arguments:** `scale`, a factor on letters and lines: 1 suits notebooks, 1.5 a talk.
    """
    token = _inside.set(True)
    try:
        sizes: dict[Any, Any] = {name: scale * size for name, size in _SIZES.items()}
        with mpl.rc_context(_BASE | sizes):
            yield
    finally:
        _inside.reset(token)


@contextmanager
def styled(keep: bool = False) -> Iterator[None]:
    """Enters `context()`, unless the caller is in one already or brings axes (`keep`)."""
    if keep or _inside.get():
        yield
    else:
        with context():
            yield


@contextmanager
def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Iterator[Axes]:
    """Yield `ax`, or the axes of a new figure of `size` inches in the package's style."""
    with styled(keep=ax is not None):
        yield plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def figure_of(ax: Axes) -> Figure:
    """The figure that holds `ax`, also where `ax` sits in a subfigure."""
    figure = ax.figure
    while not isinstance(figure, Figure):
        figure = figure.figure
    return figure


def color_scale(
    values: np.ndarray, vmin: float | None, vmax: float | None, cmap: str | Colormap | None
) -> tuple[Normalize, Colormap]:
    """Normalisation and colours for `values`, whose NaN are left out of the range."""
    finite = values[np.isfinite(values)]
    low = vmin if vmin is not None else (float(finite.min()) if finite.size else 0.0)
    high = vmax if vmax is not None else (float(finite.max()) if finite.size else 1.0)
    if low > high:
        raise ValueError(f"the colour scale is empty: vmin={low:g} is above vmax={high:g}.")
    if low == high:
        low, high = low - 0.5, high + 0.5
    table = CMAP if cmap is None else mpl.colormaps[cmap] if isinstance(cmap, str) else cmap
    return Normalize(low, high), table


def literal(text: str) -> str:
    """A name as matplotlib shows it letter by letter: `$` in it begins no formula."""
    return text.replace("$", r"\$")


def savefig(drawn: Figure | Axes, path: str | Path, *, dpi: int = 160, close: bool = False) -> Path:
    """Write a figure (or the figure of an axes) to `path`, making its folder if need be.

    Equal figures give equal bytes: no date and no software version is written.

    **Arguments:** `dpi` dots per inch for pixel formats; `close` releases the figure afterwards.

    **Returns:** the path written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = figure_of(drawn) if isinstance(drawn, Axes) else drawn
    undated = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    figure.savefig(path, dpi=dpi, metadata=undated.get(path.suffix.lower()))
    if close:
        plt.close(figure)
    return path
