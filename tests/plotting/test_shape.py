"""Compartments along the real points of a morphology."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxdend.morphology import Branch, assemble
from jaxdend.plotting import plot_neuron
from jaxdend.plotting._shape import shape_of


@pytest.fixture
def morph():
    """A soma, and a dendrite that turns a corner and begins on the soma's surface."""
    soma = np.array([[-10.0, 0, 0, 20], [10.0, 0, 0, 20]])
    bent = np.array([[0.0, 10, 0, 4], [0.0, 40, 0, 2], [30.0, 40, 0, 2]])
    return assemble([Branch(soma, -1, 0.0, 1), Branch(bent, 0, 0.5, 3)])


def cut(morph, count: int, end_node: bool = False) -> SimpleNamespace:
    """A soma of one compartment and a dendrite of `count`, numbered from its tip."""
    x = (np.arange(count)[::-1] + 0.5) / count
    length = np.full(count, 60.0 / count)
    if end_node:
        x, length = np.append(x, 1.0), np.append(length, 0.0)
    m = len(x)
    return SimpleNamespace(
        morph=morph,
        section=np.array([0] + [1] * m),
        x=np.append(0.5, x),
        length=np.append(20.0, length),
        area=np.append(1256.6, 6.0 * length),
        kind=np.array([1] + [3] * m),
        parent=np.array([-1] + [0] * m),
        xyz=np.zeros((m + 1, 3)),
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("end_node", [False, True])
def test_every_compartment_gets_its_stretch_of_the_section(morph, count, end_node):
    shape = shape_of(cut(morph, count, end_node))
    pieces = np.linalg.norm(np.diff(shape.lines, axis=1)[:, 0], axis=1)
    joint = np.all(shape.lines[:, 0] == 0.0, axis=1)  # from the middle of the soma
    assert joint.sum() == 1
    assert shape.owner[joint][0] == count  # the compartment nearest to the soma
    total = np.bincount(shape.owner[~joint], pieces[~joint], count + 1 + end_node)
    np.testing.assert_allclose(total[1 : count + 1], 60.0 / count)
    ends = shape.lines[~joint]
    np.testing.assert_allclose(ends[0, 0], [0, 10, 0])
    np.testing.assert_allclose(ends[-1, 1], [30, 40, 0])
    np.testing.assert_allclose(ends[1:, 0], ends[:-1, 1])


def test_the_diameter_tapers_and_the_soma_is_a_disc(morph):
    shape = shape_of(cut(morph, 3))
    joint = np.all(shape.lines[:, 0] == 0.0, axis=1)
    np.testing.assert_allclose(shape.diameter[~joint], [4 - 2 / 3, 4 - 5 / 3, 2.0, 2.0])
    np.testing.assert_allclose(shape.radius, [10.0], rtol=1e-4)


def test_of_a_morphology_the_sections(morph):
    shape = shape_of(morph)
    assert set(shape.owner) == {1}
    np.testing.assert_allclose(shape.center, [[0.0, 0.0, 0.0]])
    np.testing.assert_allclose(shape.position[1], [0.0, 40.0, 0.0])
    ax = plot_neuron(morph, morph.lengths, label="length (µm)", sites={"tip": 1})
    np.testing.assert_allclose(ax.collections[0].get_array(), 60.0)
