"""A small neuron to draw, and figures that do not outlive their test."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt


@pytest.fixture
def cell() -> SimpleNamespace:
    """Soma 0, axon 1, basal 2, apical trunk 3-4 that forks into 5 (long) and 6 (short)."""
    xyz = [
        [0, 0, 0],
        [0, -40, 0],
        [-30, -20, 0],
        [0, 30, 0],
        [0, 90, 5],
        [20, 150, 9],
        [-9, 110, 0],
    ]
    return SimpleNamespace(
        parent=np.array([-1, 0, 0, 0, 3, 4, 4]),
        kind=np.array([1, 2, 3, 4, 4, 4, 4]),
        xyz=np.array(xyz, float),
        area=np.array([1256.6, 100, 100, 200, 200, 100, 100]),
        radius=np.array([10.0, 0.5, 1.0, 2.0, 2.0, 1.0, 0.5]),
        length=np.array([20.0, 60, 50, 60, 60, 80, 30]),
        distance=np.array([0.0, 40, 35, 40, 100, 170, 145]),
        morph=None,
    )


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")
