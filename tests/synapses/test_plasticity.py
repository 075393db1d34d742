"""Short-term plasticity against its differential equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from helpers import approx, close
from jaxdend.synapses import tsodyks_markram

TRAIN = [5.0, 20.0, 21.0, 21.0, 60.0, 400.0]


def integrated(times, u, tau_rec, tau_facil, h=1e-3):
    """Small classical steps of the two relaxations, with jumps at events."""
    y, r, t, out = 0.0, 1.0, 0.0, []
    for event in times:
        for _ in range(round((event - t) / h)):
            y += (
                h
                * (-y / tau_facil if tau_facil else 0.0)
                * (1 - h / tau_facil / 2 if tau_facil else 1)
            )
            slope = (1 - r) / tau_rec if tau_rec else 0.0
            r += h * slope * (1 - h / tau_rec / 2 if tau_rec else 1)
        t = event
        y = y if tau_facil else 0.0
        r = r if tau_rec else 1.0
        y += u * (1 - y)
        out.append(y * r)
        r -= y * r
    return out


@pytest.mark.parametrize(
    ("u", "tau_rec", "tau_facil"),
    [(0.5, 800.0, 0.0), (0.1, 100.0, 1000.0), (0.04, 0.0, 300.0), (1.0, 20.0, 5.0)],
)
def test_against_the_differential_equations(u, tau_rec, tau_facil):
    expected = integrated(TRAIN if tau_rec else [5.0, 20.0, 60.0], u, tau_rec, tau_facil)
    times = TRAIN if tau_rec else [5.0, 20.0, 60.0]
    got = tsodyks_markram(times, u, tau_rec, tau_facil)
    assert got.shape == (1, len(times))
    close(got[0], expected, rtol=1e-6)


def test_steady_state_of_a_regular_train():
    """Tsodyks & Markram 1997, eq. 3: pure depression at a fixed rate."""
    times = np.arange(400) * 50.0
    got = tsodyks_markram(times, 0.4, 300.0, 0.0)[0, -1]
    left = np.exp(-50.0 / 300.0)
    assert float(got) == approx(0.4 * (1 - left) / (1 - 0.6 * left), rel=1e-12)


def test_order_padding_and_parameters_per_synapse():
    times = jnp.asarray([[60.0, jnp.inf, 5.0, 20.0], [1.0, 2.0, jnp.inf, jnp.inf], [jnp.inf] * 4])
    got = tsodyks_markram(times, [0.5, 0.2, 0.9], 100.0, [0.0, 50.0, 10.0])
    first = tsodyks_markram([5.0, 20.0, 60.0], 0.5, 100.0, 0.0)[0]
    close(got[0], [first[2], 0.0, first[0], first[1]])
    second = tsodyks_markram([1.0, 2.0], 0.2, 100.0, 50.0)[0]
    close(got[1], [*second, 0.0, 0.0])
    np.testing.assert_array_equal(got[2], 0.0)


def test_gradients():
    def released(times, u, rec, facil):
        return tsodyks_markram(times, u, rec, facil)

    times = jnp.asarray([[30.0, 5.0, 20.0], [1.0, 2.0, 9.0]])
    args = times, jnp.asarray(0.3), jnp.asarray([100.0, 50.0]), jnp.asarray(40.0)
    check_grads(released, args, 1, ["rev"])
    padded = times.at[0, 1].set(jnp.inf).at[1].set(jnp.inf)
    for rec, facil in ((0.0, 0.0), (100.0, 40.0)):
        grads = jax.grad(lambda *a: jnp.sum(released(*a)), (0, 1, 2, 3))(padded, 0.3, rec, facil)
        assert all(np.isfinite(g).all() for g in grads)


def test_float32():
    with jax.enable_x64(False):
        got = tsodyks_markram(np.asarray(TRAIN), 0.5, 800.0, 100.0)
        assert got.dtype == jnp.float32
    close(got, tsodyks_markram(TRAIN, 0.5, 800.0, 100.0), rtol=1e-5)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match="tsodyks_markram: expected times"):
        tsodyks_markram(np.zeros((2, 3)), [0.1, 0.2, 0.3], 1.0, 1.0)
