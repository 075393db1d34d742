import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import Training, evaluate, make_task, train
from jaxdend.tasks.window import (
    EXCITATION,
    INTERVALS,
    THRESHOLD,
    integration_window,
    integration_window_10,
    measured_window,
)
from running import QUIET

NARROW, BROAD = integration_window(), integration_window_10()
X = np.asarray(NARROW.patterns)[:, 0]  # ms
FAST = {"weight": 2.4e-3, "delay": 3.0, "tau": 13.0}
SLOW = {"weight": 6e-4, "delay": 1.0, "tau": 24.0}
RESPOND = jax.jit(jax.value_and_grad(NARROW.neuron.respond))


def inhibited(**params: float):
    return {name: jnp.asarray(value) for name, value in params.items()}


def responses(**params: float) -> np.ndarray:
    return np.asarray(evaluate(NARROW, inhibited(**params))[0])


def test_patterns_are_intervals_and_targets_lie_inside():
    assert make_task("integration_window").labels[7:10] == ("-1 ms", "0 ms", "+1 ms")
    np.testing.assert_array_equal(X, [*(-x for x in INTERVALS[:0:-1]), *INTERVALS])
    np.testing.assert_array_equal(NARROW.goal, np.abs(X) <= 2)
    np.testing.assert_array_equal(BROAD.goal, np.abs(X) <= 10)
    with pytest.raises(ValueError, match=r"width must be in \[0, 18\) ms; got 18"):
        integration_window(width=18.0)


def test_inhibition_closes_the_window_sooner_when_it_is_stronger_or_earlier():
    def width(weight, delay):
        return np.ptp(measured_window(X, responses(weight=weight, delay=delay, tau=10.0)))

    assert width(1e-9, 2.0) == 36.0  # all of them
    assert width(6e-4, 2.0) > 1.5 * width(1e-3, 2.0) > 25.0
    assert width(1e-3, 1.0) < width(1e-3, 2.0) - 2.0 < width(1e-3, 3.0) - 6.0


def test_one_input_alone_never_passes_the_threshold():
    alone, _ = RESPOND(inhibited(weight=1e-9, delay=1.0, tau=10.0), jnp.array([1000.0]))
    assert THRESHOLD - 5.0 < alone < THRESHOLD - 1.0


def test_the_response_is_the_peak_of_the_trace():
    pattern = jnp.array([-4.0])
    ts, v = NARROW.neuron.trace(inhibited(**FAST), pattern)
    assert ts.shape == v.shape
    assert float(ts[-1]) == 43.0
    np.testing.assert_allclose(RESPOND(inhibited(**FAST), pattern)[0], v.max(), rtol=1e-9)


def test_gradient_is_that_of_differences():
    pattern = jnp.array([4.0])
    _, gradient = RESPOND(inhibited(**SLOW), pattern)
    for name, at in SLOW.items():
        h = 1e-4 * at
        up, down = (RESPOND(inhibited(**SLOW | {name: x}), pattern)[0] for x in (at + h, at - h))
        np.testing.assert_allclose(gradient[name], (up - down) / (2 * h), rtol=1e-4)


def test_measured_window():
    x = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
    assert measured_window(x, [-1, 1, 3, 1, -3], 0.0) == (-3.0, 2.5)
    assert measured_window(x, [1, 1, 3, 1, 0], 0.0) == (-4.0, 4.0)
    assert measured_window(x, [1, -1, 3, -1, 5], 0.0) == (-1.5, 1.5)
    assert measured_window(x, [1, 1, -1, 1, 1], 0.0) == (0.0, 0.0)


def test_placement():
    placed = BROAD.neuron.placement(inhibited(**SLOW))
    np.testing.assert_array_equal(placed.sites[2:], 0)
    np.testing.assert_allclose(placed.weight, [EXCITATION, EXCITATION, -6e-4, -6e-4])


@pytest.mark.slow
def test_both_windows_are_learned_from_the_same_start():
    one = Training(configs=1, starts=1, steps=150, rate=0.1)
    narrow = train(NARROW, seed=6, training=one, run=QUIET)
    broad = train(BROAD, seed=6, training=one, run=QUIET)
    assert all(narrow.start_params[name] == broad.start_params[name] for name in FAST)
    assert max(narrow.start_margin, broad.start_margin) < 0
    assert (narrow.solved, broad.solved) == (True, True)
    np.testing.assert_allclose(measured_window(X, narrow.responses), [-3, 3], atol=1.0)
    np.testing.assert_allclose(measured_window(X, broad.responses), [-12, 12], atol=2.0)
