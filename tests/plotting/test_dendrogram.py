import numpy as np
import pytest

from jaxdend.plotting import plot_dendrogram
from jaxdend.plotting._shape import layout_of


def test_layout(cell):
    layout = layout_of(cell)
    assert layout.metric
    assert list(layout.slot[[1, 2, 6, 5]]) == [0.0, 1.0, 2.0, 3.0]  # short branches left
    assert layout.slot[4] == layout.slot[3] == 2.5
    np.testing.assert_allclose(layout.end, [10.0, 70.0, 60.0, 70.0, 130.0, 210.0, 160.0])
    np.testing.assert_allclose(layout.start[[4, 5, 6]], [70.0, 130.0, 130.0])
    np.testing.assert_allclose(layout.start[:4], 0.0)


def test_any_numbering(cell):
    order = np.array([5, 3, 0, 6, 2, 1, 4])  # new -> old
    new = np.argsort(order)
    parent = cell.parent
    for name in vars(cell):
        if name != "morph":
            setattr(cell, name, getattr(cell, name)[order])
    cell.parent = np.where(parent[order] < 0, -1, new[parent[order]])
    layout = layout_of(cell)
    np.testing.assert_allclose(layout.slot[new], [1.25, 0.0, 1.0, 2.5, 2.5, 3.0, 2.0])


def test_a_soma_of_several_compartments_is_one_root(cell):
    cell.kind = np.array([1, 1, 3, 4, 4, 4, 4])
    cell.parent = np.array([-1, 0, 1, 1, 3, 4, 4])
    layout = layout_of(cell)
    assert layout.root == 0
    assert list(layout.parent) == [-1, -1, 0, 0, 3, 4, 4]
    assert layout.slot[1] == layout.slot[0]


def test_without_distances_steps_from_the_root(cell):
    cell.distance = np.full(7, np.nan)
    cell.kind = np.zeros(7, int)
    layout = layout_of(cell)
    assert not layout.metric
    assert list(layout.end) == [0, 1, 1, 1, 2, 3, 3]
    assert plot_dendrogram(cell).get_ylabel() == "steps from the root"


def test_a_deep_unbranched_cable():
    from types import SimpleNamespace

    n = 5000
    cable = SimpleNamespace(
        parent=np.arange(n) - 1, kind=np.zeros(n, int), distance=np.arange(n) * 1.0,
        length=np.ones(n),
    )  # fmt: skip
    assert np.all(layout_of(cable).slot == 0.0)


def test_values_regions_and_sites(cell):
    ax = plot_dendrogram(cell, np.arange(7.0), label="V (mV)", sites={"tip": 5, "syn": [1, 2]})
    soma, lines = ax.collections[:2]
    assert sorted(lines.get_array()) == [1, 2, 3, 4, 5, 6]
    assert list(soma.get_array()) == [0.0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["axon", "basal", "apical"]
    assert ax.figure.axes[1].get_ylabel() == "V (mV)"
    assert [t.get_text() for t in ax.texts] == ["tip"]
    with pytest.raises(ValueError, match="values must be"):
        plot_dendrogram(cell, np.zeros(3))


def test_regions_are_named_below_and_need_no_legend(cell):
    assert plot_dendrogram(cell).get_legend() is None
