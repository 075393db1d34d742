"""A soma contour as a stack of frusta. The comparison with NEURON is in test_read.py."""

import numpy as np
import pytest

from jaxdend.morphology._contour import contour_centre, contour_to_stack

ANGLE = np.linspace(0, 2 * np.pi, 200, endpoint=False)


def ellipse(a, b, turn=0.0, centre=(0.0, 0.0, 0.0)):
    x, y = a * np.cos(ANGLE), b * np.sin(ANGLE)
    c, s = np.cos(turn), np.sin(turn)
    return np.column_stack([c * x - s * y, s * x + c * y, 0 * x]) + centre


def test_an_ellipse_becomes_its_solid_of_revolution():
    stack = contour_to_stack(ellipse(12, 6, turn=0.4, centre=(100, -50, 7)))
    assert stack.shape == (21, 4)
    along = (stack[:, :3] - stack[:, :3].mean(axis=0)) @ [np.cos(0.4), np.sin(0.4), 0]
    np.testing.assert_allclose(stack[:, :3].mean(axis=0), [100, -50, 7], atol=0.3)
    assert np.ptp(along) == pytest.approx(24, rel=0.02)
    inner = slice(2, -2)
    np.testing.assert_allclose(
        stack[inner, 3], 12 * np.sqrt(1 - (along[inner] / 12) ** 2), rtol=0.05
    )
    assert np.all(stack[:, 3] > 0)


def test_centre_weights_by_length_not_by_points():
    corners = np.array([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0], [0, 0.001, 0]], float)
    crowded = np.insert(corners, 1, [[x, 0, 0] for x in np.linspace(0.1, 5, 60)], axis=0)
    np.testing.assert_allclose(contour_centre(crowded)[0], [5, 5, 0], atol=0.1)


def test_a_star_is_made_to_advance():
    radius = 8 + 4 * np.cos(5 * ANGLE)
    star = np.column_stack([1.5 * radius * np.cos(ANGLE), radius * np.sin(ANGLE), 0 * ANGLE])
    stack = contour_to_stack(star)
    steps = np.diff(stack[:, :3], axis=0)
    assert np.all(np.linalg.norm(steps, axis=1) > 0)
    assert np.isfinite(stack).all()


@pytest.mark.parametrize("contour", [np.zeros((5, 3)), np.arange(5)[:, None] * [0.0, 0.0, 1.0]])
def test_points_that_enclose_nothing(contour):
    with pytest.raises(ValueError, match="do not enclose an area"):
        contour_to_stack(contour)
