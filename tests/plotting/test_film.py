import shutil

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from jaxdend.plotting import filmstrip, movie

TS = np.linspace(0.0, 10.0, 101)
V = -65.0 + 5.0 * TS[:, None] * np.linspace(1.0, 0.2, 7)


def test_filmstrip_shows_the_nearest_times_on_one_scale(cell):
    figure, axes = filmstrip(cell, TS, V, [0.0, 4.96, 10.0])
    for ax, at in zip(axes, [0, 50, 100], strict=True):
        np.testing.assert_allclose(ax.collections[0].get_array(), V[at, 1:])
        assert ax.collections[0].get_clim() == (V.min(), V.max())
        assert ax.collections[1].get_clim() == (V.min(), V.max())
    assert [ax.texts[-1].get_text() for ax in axes] == ["0 ms", "5 ms", "10 ms"]
    assert figure.axes[-1].get_ylabel() == "voltage (mV)"
    limits = {(ax.get_xlim(), ax.get_ylim()) for ax in axes}
    assert len(limits) == 1


def test_time_labels_have_the_decimals_they_need(cell):
    _, axes = filmstrip(cell, TS, V, [0.5, 1.0])
    assert [ax.texts[-1].get_text() for ax in axes] == ["0.5 ms", "1.0 ms"]


def test_filmstrip_into_own_axes(cell):
    figure, axes = plt.subplots(1, 2)
    assert filmstrip(cell, TS, V, [1.0, 2.0], axes=axes)[0] is figure
    with pytest.raises(ValueError, match="got 2 for 1 times"):
        filmstrip(cell, TS, V, [1.0], axes=axes)


def test_a_wide_filmstrip_stays_on_a_page(cell):
    figure, _ = filmstrip(cell, TS, V, np.linspace(0, 10, 12))
    assert figure.get_size_inches()[0] < 11.0


def test_bad_input(cell):
    with pytest.raises(ValueError, match=r"0\.\.10 ms; got 11 ms"):
        filmstrip(cell, TS, V, [5.0, 11.0])
    with pytest.raises(ValueError, match="got nan ms"):
        filmstrip(cell, TS, V, [np.nan])
    with pytest.raises(ValueError, match="v must hold every compartment"):
        filmstrip(cell, TS, V[:, :2], [5.0])
    cell.xyz = np.full((7, 3), np.nan)
    with pytest.raises(ValueError, match="no coordinates"):
        filmstrip(cell, TS, V, [5.0])


@pytest.mark.parametrize("site", [None, 0])
def test_gif(cell, tmp_path, site, capsys):
    path = movie(cell, TS, V, tmp_path / "new" / "a.gif", frames=5, fps=10, site=site, height=1.5,
                 dpi=40, progress=site is None)  # fmt: skip
    with Image.open(path) as image:
        assert image.n_frames == 5
        assert image.info["duration"] == 100
    assert ("frame" in capsys.readouterr().err) == (site is None)
    assert plt.get_fignums() == []


def test_mp4_needs_ffmpeg(cell, tmp_path, monkeypatch):
    if shutil.which("ffmpeg"):
        path = movie(cell, TS, V, tmp_path / "a.mp4", frames=3, dpi=40, progress=False)
        assert path.stat().st_size > 0
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", lambda: False)
    with pytest.raises(ValueError, match="needs ffmpeg"):
        movie(cell, TS, V, tmp_path / "a.mp4")


def test_movie_bad_input(cell, tmp_path):
    with pytest.raises(ValueError, match=r"a movie is a \.gif or \.mp4; got 'a\.txt'"):
        movie(cell, TS, V, tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"site must be a compartment in \[0, 7\)"):
        movie(cell, TS, V, tmp_path / "a.gif", site=7)
    with pytest.raises(ValueError, match="frames must be at least 1"):
        movie(cell, TS, V, tmp_path / "a.gif", frames=0)
