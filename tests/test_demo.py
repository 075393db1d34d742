"""The main job: hidden conductances are found again, and a dendrite learns XOR."""

import numpy as np
import pytest

from jaxdend.config import precision
from jaxdend.demo import HIDDEN, demo_file, demo_xor


def test_hides_conductances_in_soma_and_dendrites():
    paths = [path for path, _, _ in HIDDEN]
    assert len(paths) >= 4
    assert {path.split(".")[0] for path in paths} >= {"soma_hh", "dend_hh"}
    for _, true, (low, high) in HIDDEN:
        assert low < true < high


@pytest.mark.slow
def test_every_conductance_is_found_from_eight_of_ten_starts(bmtk_swc):
    bmtk_swc("Rorb_325404214_m")
    file = demo_file()
    with precision(file.model.precision):
        problem = file.build()
        (result,) = problem.run()
    errors = result.errors(problem.true)
    assert errors.shape == (10, len(HIDDEN))
    start = np.stack([result.start_params[name] for name in problem.space.names], axis=1)
    away = np.abs(start / list(problem.true.values()) - 1).max(axis=1)
    assert np.all(away > 0.2)  # no start begins at the answer
    assert (errors.max(axis=1) <= 0.05).sum() >= 8


@pytest.mark.slow
def test_the_dendrite_learns_xor_and_the_perceptron_does_not():
    trained = demo_xor(seed=1)
    _, dendrite = trained["dendrite"]
    assert len(dendrite.draws) == 24
    assert dendrite.right >= 18
    _, perceptron = trained["perceptron"]
    assert not perceptron.solved
    assert perceptron.right <= 2
