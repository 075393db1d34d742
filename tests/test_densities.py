"""Density laws: values, edges, gradients, NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.densities import constant, exponential, hot_zone, linear, sigmoid, step

D = np.array([0.0, 50.0, 100.0, 200.0])
LAWS = [
    (constant, (3.0,), [3.0, 3.0, 3.0, 3.0]),
    (linear, (1.0, 0.02), [1.0, 2.0, 3.0, 5.0]),
    (exponential, (-1.0, 2.0, 100.0), -1 + 2 * np.exp(D / 100)),
    (sigmoid, (1.0, 5.0, 100.0, 10.0), 1 + 4 / (1 + np.exp(-(D - 100) / 10))),
    (step, (1.0, 2.0, 100.0), [1.0, 1.0, 2.0, 2.0]),
    (hot_zone, (9.0, 1.0, 0.0, 200.0), [1.0, 9.0, 9.0, 1.0]),
]
each = pytest.mark.parametrize(("law", "numbers", "want"), LAWS, ids=[x[0].__name__ for x in LAWS])


@each
def test_values(law, numbers, want):
    np.testing.assert_allclose(law(D, *numbers), want, rtol=1e-14)


@each
def test_unknown_distance_stays_unknown(law, numbers, want):
    del want
    found = law(np.array([np.nan, 50.0]), *numbers)
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


@each
def test_gradients_are_finite_in_float32(law, numbers, want):
    del want
    d = jnp.asarray(D, jnp.float32)
    args = [jnp.asarray(x, jnp.float32) for x in numbers]
    by = jax.grad(lambda args: jnp.sum(law(d, *args)))(args)
    assert all(np.isfinite(x) for x in by)
    assert by[0] != 0
