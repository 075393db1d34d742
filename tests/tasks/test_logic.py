import itertools

import jax
import numpy as np
import pytest

from jaxdend.tasks import FUNCTIONS, TASKS, Logic, make_task, truth_table
from jaxdend.tasks.logic import pattern_label
from toy_task import Veto, xor

ANSWERS = {  # written out by hand, patterns counting upwards in binary
    "AND": "0001",
    "OR": "0111",
    "NAND": "1110",
    "XOR": "0110",
    "AND3": "00000001",
    "OR3": "01111111",
    "NAND3": "11111110",
    "MAJORITY": "00010111",
    "PARITY": "01101001",
    "BINDING": "0000001101010111",
    "BINDING2": "0000011101110111",
    "BINDING3": "0000001101011111",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_truth_tables(name):
    patterns, answers = truth_table(name)
    inputs = FUNCTIONS[name][0]
    assert patterns.shape == (2**inputs, inputs)
    assert "".join(str(int(a)) for a in answers) == ANSWERS[name]


def separable(patterns: np.ndarray, answers: np.ndarray) -> bool:
    """Whether some threshold on some integer weights answers right."""
    inputs = patterns.shape[1]
    for weights in itertools.product(range(-3, 4), repeat=inputs):
        drive = patterns @ np.array(weights)
        if answers.all() or not answers.any() or drive[answers].min() > drive[~answers].max():
            return True
    return False


def test_which_functions_one_threshold_cannot_do():
    hard = {name for name in FUNCTIONS if not separable(*truth_table(name))}
    assert hard == {"XOR", "PARITY", "BINDING", "BINDING2", "BINDING3"} & hard
    assert {"XOR", "PARITY", "BINDING"} <= hard


def test_unknown_names():
    with pytest.raises(ValueError, match="expected one of AND, OR"):
        truth_table("XORR")
    near = next(iter(TASKS))
    with pytest.raises(ValueError, match=f"did you mean {near!r}"):
        make_task(near + "x")


def test_distance_score_and_loss():
    task = xor(threshold=-60.0, margin=4.0)
    right = np.array([-70.0, -55.0, -50.0, -66.0])
    np.testing.assert_allclose(task.distance(right), [10.0, 5.0, 10.0, 6.0])
    accuracy, margin, solved = task.score(right)
    assert (float(accuracy), float(margin), bool(solved)) == (1.0, 5.0, True)
    close = task.score(right - [0, 2, 0, 0])
    assert (float(close.accuracy), float(close.margin), bool(close.solved)) == (1.0, 3.0, False)
    wrong = task.score(right + [0, 0, 0, 10.0])
    assert (float(wrong.accuracy), float(wrong.margin)) == (0.75, -4.0)
    assert task.loss(right) < task.loss(right - [0, 2, 0, 0]) < task.loss(right + [0, 0, 0, 10.0])


def test_the_loss_pulls_on_what_is_short_of_the_margin():
    task = xor()
    pull = jax.grad(task.loss)(np.array([-70.0, -58.0, -30.0, -60.0]))
    assert pull[1] < 0 < pull[3]
    assert abs(pull[0]) < 0.05 * abs(pull[1])
    assert abs(pull[2]) < 0.05 * abs(pull[1])
    assert np.isfinite(jax.grad(task.loss)(np.array([-1e6, 1e6, 0.0, 0.0]))).all()


def test_labels():
    assert xor().labels == ("–", "Y", "X", "XY")
    assert pattern_label(np.array([0, 1, 0, 1, 1])) == "2 4 5"
    np.testing.assert_array_equal(xor().goal, [False, True, True, False])
    assert xor(labels=["a", "b", "c", "d"]).labels == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.0}, "margin must be > 0 mV; got 0"),
        ({"labels": ["a"]}, "XOR: 4 patterns need 4 labels; got 1: a"),
        ({"labels": ["a", "b", "b", "d"]}, "needs a label of its own; b occurs more than once"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        xor(**options)


def test_targets_of_another_number():
    with pytest.raises(ValueError, match="2 patterns need 2 targets; got 1"):
        Logic("x", Veto(), [[0, 1], [1, 0]], [True], threshold=0.0, margin=1.0)
