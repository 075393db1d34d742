"""Figures of emulators: what is drawn is what the rows and arrays say."""

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from jaxdend.plotting import (
    plot_depth,
    plot_generalisation,
    plot_memory,
    plot_order,
    plot_prediction,
    plot_templates,
    plot_tuft,
    plot_unit,
    plot_units,
)


def row(network, receptors, size, seed, auc, **more):
    return {
        "network": network, "receptors": receptors, "size": size, "seed": seed, "auc": auc,
        "v_explained": auc - 0.1, "parameters": 100 * size, "channels": 0, **more,
    }  # fmt: skip


@pytest.fixture
def depth():
    """Networks of 1 and 3 layers, two seeds, for two kinds of receptors."""
    return [
        row("tcn", receptors, size, seed, base + 0.01 * size + 0.002 * seed,
            auc_clustered=base, auc_no_inhibition=np.nan, tuft_mass=0.4, tuft_share=0.3)
        for receptors, base in (("nmda", 0.9), ("passive", 0.95))
        for size in (1, 3)
        for seed in (0, 1)
    ]  # fmt: skip


def means(ax):
    """Label -> x and y of each line with error bars."""
    return {bars.get_label(): bars.lines[0].get_xydata() for bars in ax.containers}


def test_depth_is_means_over_seeds(depth):
    spikes, voltage = plot_depth(depth).axes
    lines = means(spikes)
    assert list(lines) == ["NMDA", "passive"]
    np.testing.assert_allclose(lines["NMDA"], [[1, 0.911], [3, 0.931]])
    np.testing.assert_allclose(means(voltage)["passive"], [[1, 0.861], [3, 0.881]])
    assert [tick for tick in spikes.get_xticks() if tick <= 3] == [1, 3]
    assert spikes.get_xlabel() == "layers"
    assert "AUC" in spikes.get_ylabel()
    assert spikes.figure.get_suptitle() == "mean ± SD of 2 seeds"
    (low, high) = spikes.containers[0].lines[2][0].get_segments()[0]
    assert high[1] - low[1] == pytest.approx(2 * np.std([0, 0.002], ddof=1))


def test_networks_without_a_number_are_left_out(depth):
    depth[0] |= {"auc": np.nan}
    lines = means(plot_depth(depth).axes[0])
    np.testing.assert_allclose(lines["NMDA"][0], [1, 0.912])


def test_units_have_a_line_for_each_kind_of_input():
    rows = [
        row("tcn", "nmda", 1, seed, 0.9 + 0.01 * units, auc_sinusoidal=0.8) | {"channels": units}
        for units in (1, 4)
        for seed in (0, 1)
    ]
    spikes, voltage = plot_units(rows).axes
    assert list(means(spikes)) == ["as in training", "sinusoidal"]
    np.testing.assert_allclose(means(spikes)["as in training"], [[1, 0.91], [4, 0.94]])
    np.testing.assert_allclose(means(voltage)["as in training"], [[1, 0.81], [4, 0.84]])
    assert [tick for tick in spikes.get_xticks() if tick <= 4] == [1, 4]
    assert spikes.get_xlabel() == "units"


def test_order_lays_the_network_beside_the_cell():
    ax = plot_order([1, 2], [[-60, -61], [-63, -64]], [[-60.5, -61], [-62, -64]])
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines)[:2] == ["inward, simulation", "outward, simulation"]
    np.testing.assert_array_equal(lines["outward, network"].get_ydata(), [-62, -64])
    colors = {name: line.get_color() for name, line in lines.items()}
    assert colors["inward, simulation"] == colors["inward, network"]
    assert lines["inward, simulation"].get_linestyle() == "-"
    assert lines["inward, network"].get_linestyle() == "--"


def test_generalisation_has_a_line_for_each_kind_that_was_measured(depth):
    for entry in depth:
        if entry["receptors"] == "passive":
            entry["auc_sinusoidal"] = 0.9
    figure = plot_generalisation(depth)
    nmda, passive = figure.axes
    assert list(means(nmda)) == ["as in training", "clustered"]
    np.testing.assert_allclose(means(nmda)["clustered"], [[1, 0.9], [3, 0.9]])
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["as in training", "clustered", "sinusoidal"]
    assert passive.get_title("left") == "passive"


def test_generalisation_of_one_size_is_by_input(depth):
    figure = plot_generalisation([entry for entry in depth if entry["size"] == 1])
    (ax,) = figure.axes
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == ["as in training", "clustered"]
    at = [bars.lines[0].get_xydata()[0] for bars in ax.containers]
    np.testing.assert_allclose(at, [[0.911, 0], [0.9, -1], [0.961, 0], [0.95, -1]])
    with pytest.raises(ValueError, match="no rows"):
        plot_generalisation([])


def test_memory_and_parameters():
    rows = [row("elm", "nmda", size, seed, 0.9) for size in (1, 10) for seed in (0, 1)]
    rows += [row("tcn", "nmda", 3, seed, 0.95, channels=8) for seed in (0, 1)]
    memory, _, parameters = plot_memory(rows).axes
    assert memory.get_xscale() == "log"
    assert [tick for tick in memory.get_xticks() if tick <= 10] == [1, 10]
    assert list(means(parameters)) == ["ELM", "TCN, 3 layers"]
    np.testing.assert_allclose(means(parameters)["ELM"][:, 0], [100, 1000])
    with pytest.raises(ValueError, match="no 'elm' among the rows, only"):
        plot_memory(rows[-1:])


def test_tuft(depth):
    ax = plot_tuft(depth)
    np.testing.assert_allclose(means(ax)["NMDA"][:, 1], 0.4)
    assert ax.lines[-1].get_ydata()[0] == 0.3
    with pytest.raises(ValueError, match="the cell has no tuft"):
        plot_tuft([entry | {"tuft_mass": np.nan} for entry in depth])


def test_templates_lie_on_their_places():
    """The strongest filter first; one input, of the tuft, 3 ms before the output."""
    regions = ["basal", "tuft", "tuft"] * 2
    meta = {"region": regions, "distance": [50.0, 450.0, 480.0] * 2, "exc": 3}
    templates = np.zeros((3, 10, 6))
    templates[1, 3, 1] = 2.0
    templates[2, 0, 3] = -1.0
    figure = plot_templates(templates, meta, most=2, smooth=1)
    axes = [ax for ax in figure.axes if ax.get_yticks().size == 2 and "filter" in _title(ax)]
    assert [_title(ax) for ax in axes] == [
        "filter 2, 100 % on the tuft (67 % of inputs)",
        "filter 3, 0 % on the tuft (67 % of inputs)",
    ]
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == [
        "basal 0–100 µm", "tuft 400–500 µm",
    ]  # fmt: skip
    (mesh,) = (c for c in axes[0].collections if isinstance(c, QuadMesh))
    drawn = np.asarray(mesh.get_array())
    assert drawn.shape == (2, 10)
    assert drawn[1, 10 - 1 - 3] == 1.0  # the mean of the place's two inputs; the last is 0 ms
    assert np.count_nonzero(drawn) == 1


def test_templates_without_inhibition_have_one_column():
    meta = {"region": ["basal"] * 3, "distance": [10.0, 30.0, 50.0], "exc": 3}
    figure = plot_templates(np.ones((2, 5, 3)), meta, width=20.0)
    drawn = [ax for ax in figure.axes if "filter" in _title(ax)]
    assert len(figure.axes) == 4  # two filters and their colour bars
    assert [tick.get_text() for tick in drawn[0].get_yticklabels()] == [
        "basal 0–20 µm", "basal 20–40 µm", "basal 40–60 µm",
    ]  # fmt: skip


def _title(ax):
    return ax.get_title("left")


def test_prediction():
    v = np.array([-70.0, -60.0, 20.0, -75.0])
    figure = plot_prediction(v, [0, 0, 1, 0], v + 1, [0, 0.1, 0.8, 0], start=500, threshold=0.3)
    top, bottom = figure.axes
    np.testing.assert_array_equal(top.lines[0].get_xdata(), [501, 502, 503, 504])
    assert top.lines[0].get_ydata().max() == -55.0
    assert top.lines[2].get_xdata() == [503]
    np.testing.assert_array_equal(bottom.lines[0].get_ydata(), [0, 0.1, 0.8, 0])
    with pytest.raises(ValueError, match="draws one simulation"):
        plot_prediction(v, [0, 0], v, v)


def test_unit_tells_its_exponentials():
    decay = np.exp(-np.arange(60) / 18)
    ax = plot_unit(np.stack([2 * decay, 2 * decay, -1.5 * decay], axis=1), exc=2)
    labels = [line.get_label() for line in ax.lines]
    assert "+2.00 mV, 18.0 ms" in labels
    assert "−1.50 mV, 18.0 ms" in labels
    assert ax.get_ylabel() == "filter (mV)"
