"""The drawings fit what the package itself builds."""

import numpy as np
import pytest

from jaxdend.cell import Cell
from jaxdend.morphology import pyramidal, read_morphology
from jaxdend.plotting import filmstrip, plot_dendrogram, plot_neuron
from jaxdend.plotting._shape import layout_of, shape_of


@pytest.fixture(params=["procedural", "end nodes", "reconstructed"])
def cell(request) -> Cell:
    if request.param == "reconstructed":
        path = request.getfixturevalue("bmtk_swc")("Rorb_325404214_m")
        return Cell(read_morphology(path), max_length=50.0)
    return Cell(pyramidal(seed=0), max_length=50.0, end_nodes=request.param == "end nodes")


def test_every_stretch_has_the_length_and_place_of_its_compartment(cell):
    shape = shape_of(cell)
    full = np.flatnonzero((cell.length > 0) & (cell.kind != 1))
    assert set(shape.owner) == set(full)
    pieces = np.linalg.norm(np.diff(shape.lines, axis=1)[:, 0], axis=1)
    first = np.array([cell.x[i] == cell.x[cell.section == cell.section[i]].min() for i in full])
    total = np.bincount(shape.owner, pieces, cell.n)[full]
    np.testing.assert_allclose(total[~first], cell.length[full][~first])  # no joints in these
    for i in full[~first]:
        ends = shape.lines[shape.owner == i]
        gap = np.linalg.norm(ends - cell.xyz[i], axis=-1).min()
        assert gap <= cell.length[i] / 2 + 1e-6


def test_the_dendrogram_reaches_as_far_as_the_cell(cell):
    layout = layout_of(cell)
    assert layout.metric
    np.testing.assert_allclose(layout.end.max(), (cell.distance + cell.length / 2).max())
    inner = layout.parent >= 0
    assert np.all(layout.end[inner] >= layout.start[inner])


def test_drawings(cell):
    site = cell.locate("apical")
    ax = plot_neuron(cell, cell.distance, label="µm", sites={"apical": site})
    np.testing.assert_allclose(ax.collections[2].get_offsets()[0], cell.xyz[site, :2])
    plot_dendrogram(cell, cell.region("apical"), label="apical")
    v = np.linspace(-70.0, 0.0, 3)[:, None] * np.ones(cell.n)
    figure, _ = filmstrip(cell, [0.0, 1.0, 2.0], v, [0.0, 2.0])
    figure.canvas.draw()


def test_a_cell_of_bare_compartments_is_a_dendrogram():
    cell = Cell.from_compartments(
        parent=[-1, 0, 0], axial_resistance=[0.0, 50.0, 50.0], area=[1000.0, 100.0, 100.0]
    )
    assert plot_neuron(cell, np.arange(3.0)).get_ylabel() == "steps from the root"
