import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba

from jaxdend.plotting import plot_neuron
from jaxdend.plotting._shape import shape_of
from jaxdend.plotting.neuron import Plane
from jaxdend.plotting.style import COLORS, MUTED


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_lines_join_centres_and_the_soma_is_a_sphere_of_its_area(cell):
    shape = shape_of(cell)
    assert list(shape.owner) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(shape.lines[4], cell.xyz[[4, 5]])
    np.testing.assert_allclose(shape.diameter, 2 * cell.radius[1:])
    assert list(shape.inside) == [0]
    assert shape.radius[0] == pytest.approx(10.0, rel=1e-4)


def test_values_colour_every_piece_and_name_the_bar(cell):
    values = np.arange(7.0) * 10
    ax = plot_neuron(cell, values, label="peak (mV)", vmin=-5.0)
    lines, discs = ax.collections[:2]
    np.testing.assert_allclose(lines.get_array(), values[1:])
    np.testing.assert_allclose(discs.get_array(), values[:1])
    assert lines.get_clim() == discs.get_clim() == (-5.0, 60.0)
    assert ax.figure.axes[1].get_ylabel() == "peak (mV)"
    assert ax.get_aspect() == 1.0
    assert texts(ax) == ["50 µm"]


def test_nan_is_grey(cell):
    values = np.arange(7.0)
    values[3] = np.nan
    ax = plot_neuron(cell, values)
    ax.figure.canvas.draw()
    np.testing.assert_allclose(ax.collections[0].get_colors()[2], to_rgba(MUTED))


def test_regions_by_default(cell):
    ax = plot_neuron(cell)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["soma", "axon", "basal", "apical"]
    np.testing.assert_allclose(ax.collections[0].get_colors()[1], to_rgba(COLORS[0]))


def test_masks_are_highlighted(cell):
    ax = plot_neuron(cell, cell.kind == 4, label="apical")
    colors = ax.collections[0].get_colors()
    np.testing.assert_allclose(colors[0], to_rgba(MUTED))
    np.testing.assert_allclose(colors[-1], to_rgba(COLORS[1]))


def test_line_width_grows_with_diameter(cell):
    thin, thick = plot_neuron(cell), plot_neuron(cell, width=2.0)
    widths = thin.collections[0].get_linewidth()
    assert widths[2] > widths[1] > widths[0]
    np.testing.assert_allclose(thick.collections[0].get_linewidth(), 2 * np.asarray(widths))


def test_sites_are_marked_and_named(cell):
    ax = plot_neuron(cell, sites={"soma": 0, "synapses": [5, 6]}, legend=False)
    soma, synapses = ax.collections[2:]
    np.testing.assert_allclose(soma.get_offsets(), [[0.0, 0.0]])
    np.testing.assert_allclose(synapses.get_offsets(), cell.xyz[[5, 6], :2])
    assert texts(ax) == ["50 µm", "soma"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["synapses"]
    assert len(plot_neuron(cell, sites=[1, 2]).collections) == 3


@pytest.mark.parametrize("sites", [7, [-1], {"a": 0.5}, {"a": [0, 9]}])
def test_sites_that_are_not_compartments(cell, sites):
    with pytest.raises(ValueError, match=r"whole numbers in \[0, 7\)"):
        plot_neuron(cell, sites=sites)


def test_values_of_the_wrong_shape(cell):
    with pytest.raises(ValueError, match=r"values must be \(n,\) = \(7,\).*got \(6,\)"):
        plot_neuron(cell, np.zeros(6))


def test_planes():
    point = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(Plane.parse("xz").project(point), [[1.0, 3.0]])
    np.testing.assert_allclose(Plane.parse("-z+y").project(point), [[-3.0, 2.0]])
    for wrong in ("xx", "x", "xyz", "ab", ""):
        with pytest.raises(ValueError, match="plane must be two different axes"):
            Plane.parse(wrong)


def test_own_axes_are_used(cell):
    figure, axes = plt.subplots(1, 2)
    assert plot_neuron(cell, ax=axes[1], legend=False) is axes[1]
    assert figure.axes == list(axes)


def test_without_coordinates_a_dendrogram(cell):
    cell.xyz = np.full((7, 3), np.nan)
    assert shape_of(cell) is None
    assert plot_neuron(cell).get_ylabel() == "distance from soma (µm)"


def test_nothing_is_cut_off(cell):
    """Names, legend and scale bar lie on the page."""
    ax = plot_neuron(cell, sites={"a long name of a site": 2, "tip": 5}, plane="yx")
    ax.figure.canvas.draw()
    page = ax.figure.bbox
    for drawn in [*ax.texts, ax.get_legend()]:
        box = drawn.get_window_extent()
        assert box.x0 >= page.x0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y0 >= page.y0 - 1
