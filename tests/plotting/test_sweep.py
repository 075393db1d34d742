"""Figures of sweeps: lines, maps and clouds, with failures marked."""

import numpy as np
import pytest

from jaxdend.plotting import plot_sweep


def test_one_axis_is_a_line_through_the_means():
    x = np.repeat([1.0, 2.0, 4.0], 2)
    ax = plot_sweep({"g": x}, [1, 3, 2, 4, 5, np.nan], label="peak (mV)", log=["g"])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1.0, 2.0, 4.0])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2.0, 3.0, 5.0])
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "peak (mV)"


def test_a_grid_is_a_map_with_crosses_where_points_failed():
    x, y = (a.ravel() for a in np.meshgrid([0.1, 0.2, 0.3], [5.0, 50.0]))
    failed = np.arange(6) == 4
    ax = plot_sweep(
        {"g": x, "d": y}, np.where(failed, np.nan, x * y), failed=failed, names={"d": "d (µm)"}
    )
    (mesh,) = ax.collections
    assert np.ma.getmaskarray(mesh.get_array()).sum() == 1
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0.2, 50.0]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("g", "d (µm)")


def test_a_random_sample_is_a_cloud():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 30_000))
    ax = plot_sweep({"x": x, "y": y}, x + y)
    assert len(ax.collections[0].get_offsets()) == 20_000


def test_points_that_are_not_done_are_left_out():
    x, y = np.array([0.1, 0.1, 0.2, 0.2, np.nan]), np.array([1.0, 2.0, 1.0, 2.0, np.nan])
    ax = plot_sweep({"x": x, "y": y}, np.arange(5.0))
    assert ax.collections[0].get_array().shape == (2, 2)
    plot_sweep({"x": np.full(3, np.nan)}, np.full(3, np.nan))


def test_texts_are_ticks():
    ax = plot_sweep({"cell": np.array(["b/a.swc", "b/c.swc"])}, [1.0, 2.0])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a.swc", "c.swc"]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="one axis or two"):
        plot_sweep({}, [1.0])
    with pytest.raises(ValueError, match="must be .k,."):
        plot_sweep({"x": [1.0, 2.0]}, [1.0])
