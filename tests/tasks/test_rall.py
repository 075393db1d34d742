"""Rall 1964 by its numbers, and places for inputs that are learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import train
from jaxdend.tasks.base import Training
from jaxdend.tasks.rall import PATTERNS, TAU, RallChain, rall
from running import QUIET

EPSILON = (0.25, 1.0, 2.0)
# rows: proximal first, distal first, together; columns: EPSILON; NaN where none is known
PEAKS = [[0.0228, 0.0870, 0.1637], [0.0418, 0.1523, 0.2714], [np.nan, 0.1067, np.nan]]


@pytest.fixture(scope="module")
def voltage():
    """Time in units of the membrane time constant, voltages `(patterns, epsilon, t)`."""
    chain = RallChain()
    patterns = jnp.array(list(PATTERNS.values()))
    params = jax.vmap(chain.published)(jnp.array(EPSILON))
    over = jax.vmap(jax.vmap(chain.trace, (0, None)), (None, 0))
    ts, v = jax.jit(over)(params, patterns)
    return np.asarray(ts)[0, 0] / TAU, np.asarray(v)


def test_peaks(voltage):
    _, v = voltage
    known = np.isfinite(PEAKS)
    np.testing.assert_allclose(v.max(axis=-1)[known], np.array(PEAKS)[known], rtol=0, atol=1e-4)


def test_peak_times(voltage):
    ts, v = voltage
    np.testing.assert_allclose(ts[v[:2, 1].argmax(axis=-1)], [0.268, 1.010], rtol=0, atol=1e-3)


def test_distal_first_is_higher_but_not_larger(voltage):
    ts, v = voltage
    peak = v[:, 1].max(axis=-1)
    area = np.trapezoid(v[:, 1], ts, axis=-1)
    assert peak[1] / peak[0] == pytest.approx(1.75, abs=5e-3)
    np.testing.assert_allclose(area[:2], [0.1566, 0.1533], rtol=0, atol=1e-4)
    assert area[0] / area[1] == pytest.approx(1.0, abs=0.03)


@pytest.mark.slow
def test_an_input_between_two_compartments_is_shared(voltage):
    chain = RallChain()
    pattern = jnp.array(PATTERNS["distal first"])
    params = chain.published(1.0)
    moved = {**params, "position": params["position"].at[0].add(1e-6)}
    slope = jax.grad(lambda p: chain.respond(p, pattern))(params)["position"][0]
    rise = chain.respond(moved, pattern) - chain.respond(params, pattern)
    assert float(rise) / 1e-6 == pytest.approx(float(slope), rel=1e-4)
    assert float(slope) < 0  # towards the tip


def test_the_published_arrangement_scores_as_published():
    task = rall()
    responses = task.responses(task.neuron.published(1.0))
    assert float(task.selectivity(responses[::-1])) == pytest.approx(0.273, abs=1e-3)
    assert not task.score(responses).solved  # input 1 is the proximal one there


@pytest.mark.slow
def test_learns_where_inputs_go():
    result = train(rall(), seed=0, training=Training(configs=2, starts=2, steps=60), run=QUIET)
    assert result.margin > result.start_margin + 0.1
    assert result.params["position"][0] > result.params["position"][2]
