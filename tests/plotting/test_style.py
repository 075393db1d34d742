import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from jaxdend.plotting import context, plot_traces, savefig
from jaxdend.plotting.style import CMAP, color_scale, figure_of


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    for name in [n for n in sys.modules if n.startswith("jaxdend.plotting")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "jaxdend\[plotting\]"'):
        import jaxdend.plotting  # noqa: F401


def test_no_global_setting_changes(cell):
    from types import SimpleNamespace

    before, backend = dict(mpl.rcParams), mpl.get_backend()
    plot_traces(SimpleNamespace(ts=np.arange(3.0), v=np.zeros((3, 2))))
    with context(2.0):
        assert mpl.rcParams["font.size"] == 20.0
    assert dict(mpl.rcParams) == before
    assert mpl.get_backend() == backend


def test_context_scales_the_letters_of_what_is_drawn_inside():
    from types import SimpleNamespace

    traces = SimpleNamespace(ts=np.arange(3.0), v=np.zeros(3))
    with context(1.5):
        large = plot_traces(traces)
    assert large.xaxis.label.get_size() == 1.5 * plot_traces(traces).xaxis.label.get_size()


def test_own_axes_keep_their_own_style():
    from types import SimpleNamespace

    _, ax = plt.subplots()
    size = ax.xaxis.label.get_size()
    assert plot_traces(SimpleNamespace(ts=np.arange(3.0), v=np.zeros(3)), ax) is ax
    assert ax.xaxis.label.get_size() == size
    assert ax.spines["top"].get_visible()


def test_savefig_makes_the_folder_and_equal_bytes(tmp_path):
    figure, ax = plt.subplots()
    ax.plot([0, 1])
    first = savefig(ax, tmp_path / "new" / "a.png", dpi=50)
    second = savefig(figure, str(tmp_path / "b.png"), dpi=50, close=True)
    assert first.read_bytes() == second.read_bytes()
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize("suffix", ["pdf", "svg", "jpg"])
def test_savefig_other_formats(tmp_path, suffix):
    figure, _ = plt.subplots()
    assert savefig(figure, tmp_path / f"a.{suffix}", dpi=30).stat().st_size > 0


def test_figure_of_axes_in_a_subfigure():
    figure = plt.figure()
    assert figure_of(figure.subfigures(1, 2)[0].subplots()) is figure


def test_color_scale_takes_the_finite_range():
    norm, table = color_scale(np.array([np.nan, -70.0, 30.0]), None, None, None)
    assert (norm.vmin, norm.vmax) == (-70.0, 30.0)
    assert table is CMAP
    norm, _ = color_scale(np.full(3, 5.0), None, None, "viridis")
    assert norm.vmin < 5.0 < norm.vmax
    assert color_scale(np.full(2, np.nan), None, None, None)[0].vmin == 0.0
    with pytest.raises(ValueError, match="vmin=3 is above vmax=2"):
        color_scale(np.zeros(2), 3.0, 2.0, None)


def test_every_colour_of_the_scale_shows_on_white():
    luminance = CMAP(np.linspace(0, 1, 64))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert luminance.max() < 0.8
