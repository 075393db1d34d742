"""What is read from a run that blew up is NaN, in every way of reading."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend._blown_up import unless_blown_up
from jaxdend.fitting import van_rossum
from jaxdend.fitting.features import (
    depol_block_bool,
    extract,
    feature_loss,
    feature_targets,
    soft_spike_count,
    spike_count,
    spike_count_stimint,
)

TS = np.arange(0.0, 60.0, 0.1)
QUIET = np.full(TS.size, -70.0)
BAD = [np.nan, np.inf, -np.inf, 1000.1, -1e5]


def spoilt(bad, at=500):
    v = QUIET.copy()
    v[at:] = bad
    return v


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", BAD)
def test_everything_becomes_nan(bad, dtype):
    value = {"count": jnp.asarray(3), "v": jnp.ones(2, dtype), "there": True}
    out = jax.jit(unless_blown_up)(value, spoilt(bad).astype(dtype))
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(out))
    assert out["v"].dtype == out["count"].dtype == dtype
    fine = unless_blown_up(value, QUIET.astype(dtype))
    assert (float(fine["count"]), fine["v"].tolist(), float(fine["there"])) == (3.0, [1, 1], 1.0)


def test_only_the_lanes_that_blew_up():
    v = np.stack([QUIET, spoilt(np.nan), np.full(TS.size, 1000.0), spoilt(2e3)])
    out = jax.vmap(lambda v: unless_blown_up(jnp.sum(v > 0.0), v))(v)
    np.testing.assert_array_equal(np.isnan(out), [False, True, False, True])


@pytest.mark.parametrize("bad", BAD)
def test_features_of_it_are_nan_and_no_silence(bad):
    v, window = spoilt(bad), (10.0, 40.0)
    for value in (
        spike_count(TS, v),
        spike_count_stimint(TS, v, *window),
        soft_spike_count(TS, v),
        depol_block_bool(TS, v, *window),
    ):
        assert np.isnan(value)
    stimulus = {"stim_start": 10.0, "stim_end": 40.0}
    names = ["spike_count", "soft_spike_count", "voltage_base", "maximum_voltage"]
    assert all(np.isnan(x).all() for x in extract(TS, v, names, **stimulus).values())
    targets = feature_targets(TS, QUIET, names, **stimulus)
    assert float(feature_loss(TS, QUIET, targets, **stimulus)) == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(feature_loss(TS, v, targets, **stimulus))


@pytest.mark.parametrize("bad", BAD[:3])
def test_it_is_no_silent_train(bad):
    assert float(van_rossum(QUIET, QUIET, dt=0.1)) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(van_rossum(spoilt(bad), QUIET, dt=0.1))
