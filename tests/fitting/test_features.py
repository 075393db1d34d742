"""Features by hand: values, slopes, padding and what is not there. test_efel.py has the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import close
from jaxdend.fitting import features
from jaxdend.fitting.features import FEATURES, extract, feature_loss, feature_targets

TS = np.arange(0, 1601) * 0.0625  # ms
STIM = {"stim_start": 20.0, "stim_end": 80.0}
TIMES = (30.0, 45.0, 62.0)


def spiking(times=TIMES, height=110.0, sag=0.0):
    """Spikes of Gaussian shape on -70 mV, each followed by a slower trough."""
    v = np.full(len(TS), -70.0) - sag * ((TS >= 20) & (TS < 80))
    for t in times:
        v += height * np.exp(-(((TS - t) / 0.8) ** 2)) - 12.0 * np.exp(-(((TS - t - 5) / 2.0) ** 2))
    return v


@jax.jit
def table(v):
    """Everything of traces `(b, t)`, at most four spikes, and the slope of its sum `(b, t)`."""

    def total(x):
        found = extract(TS, x, current=-0.1, max_spikes=4, **STIM)
        return sum(jnp.nansum(x) for x in found.values()), found

    return jax.vmap(jax.grad(total, has_aux=True))(v)


FLAT = np.full(len(TS), -70.0)
TRACES = np.stack([spiking(), FLAT, spiking((), sag=5.0), FLAT + 60.0, spiking((30.0,), 45.0)])


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float32, marks=pytest.mark.slow), jnp.float64])
def test_values_and_finite_slopes_with_and_without_spikes(dtype):
    slope, found = table(jnp.asarray(TRACES, dtype))
    assert bool(jnp.isfinite(slope).all())
    assert all(x.dtype == dtype for x in found.values() if jnp.issubdtype(x.dtype, jnp.floating))
    tight = 1e-3 if dtype == jnp.float32 else 1e-6
    close(found["peak_time"][0, :3], TIMES, atol=0.01)
    close(found["all_ISI_values"][0, :2], [15.0, 17.0], atol=0.01)
    close(found["time_to_first_spike"][0], 10.0, atol=0.01)
    close(found["soft_spike_count_stimint"][0], 3.0, atol=0.01)
    close(found["AHP_depth"][0, :3], -12.0, atol=0.1)
    close(found["sag_amplitude"][2], 0.0, atol=tight)
    close(found["ohmic_input_resistance"][2], 50.0, rtol=1e-3)
    width = 2 * 0.8 * np.sqrt(np.log(110.0 / 50.0))  # where the Gaussian is 50 mV high
    close(found["AP_width"][0, 0], width, atol=0.02)
    np.testing.assert_array_equal(found["spike_count"], [3, 0, 0, 0, 0])
    for name, x in found.items():
        if FEATURES[name].fewer is not None:
            assert bool(jnp.isnan(x[1]).all()), name
            assert bool(jnp.isnan(x[0, 3 - FEATURES[name].fewer :]).all()), name


def test_slopes_are_those_of_finite_differences():
    """Moving the second spike moves every time that depends on it."""
    names = ("peak_time", "all_ISI_values", "spike_times", "AP_begin_time", "AP_amplitude",
             "AP_duration_half_width", "AP_width", "soft_spike_count", "ISI_mean")  # fmt: skip

    @jax.jit
    def values(shift, height):
        t = TIMES[1] + shift
        v = spiking((TIMES[0], TIMES[2])) + height * jnp.exp(-(((TS - t) / 0.8) ** 2))
        found = extract(TS, v, names, max_spikes=3, **STIM)
        return jnp.concatenate([jnp.ravel(found[name]) for name in names])

    forward = jax.jit(jax.jacfwd(values, argnums=(0, 1)))(0.013, 100.0)
    for slope, h in zip(forward, (np.array([1e-5, 0]), np.array([0, 1e-5])), strict=True):
        centred = (values(0.013 + h[0], 100.0 + h[1]) - values(0.013 - h[0], 100.0 - h[1])) / 2e-5
        close(slope, centred, atol=1e-5)


def test_a_known_trace_gives_as_many_values_as_spikes():
    names = ["peak_time", "all_ISI_values", "ISI_values", "AP_amplitude"]
    found = extract(TS, spiking(), names, **STIM)
    assert [found[name].shape for name in names] == [(3,), (2,), (1,), (3,)]
    assert extract(TS, FLAT, names, **STIM)["peak_time"].shape == (0,)
    close(features.peak_time(TS, spiking()), found["peak_time"])
    assert features.all_isi_values(TS, FLAT).shape == (0,)


def test_the_table_is_in_the_order_asked_for():
    names = ["voltage_base", "maximum_voltage", "minimum_voltage", "AP_amplitude"]
    for order in (names, names[::-1]):
        assert list(extract(TS, FLAT, order, **STIM)) == order
        assert list(extract(TS, FLAT, order, max_spikes=4, **STIM)) == order
    everything = jax.eval_shape(lambda v: extract(TS, v, **STIM), jnp.asarray(FLAT))
    assert set(FEATURES) - set(everything) == {
        "ohmic_input_resistance",
        "ohmic_input_resistance_vb_ssse",
    }


def test_windows_and_attenuation():
    v = np.where(TS < 50, -70.0, -60.0)
    close(features.mean_in_window(TS, v, 10.0, 40.0), -70.0)
    close(features.sd_in_window(TS, v, 40.0, 59.9375), 5.0, rtol=1e-6)
    assert np.isnan(features.mean_in_window(TS, v, 200.0, 300.0))
    assert float(jnp.max(jnp.abs(jax.grad(features.sd_in_window, 1)(TS, FLAT, 1.0, 9.0)))) == 0
    sites = np.stack([spiking(height=h) for h in (100.0, 50.0, 20.0)], axis=1)
    close(features.attenuation(TS, sites, 20.0), [1, 2, 5], rtol=1e-3)


def test_loss_is_zero_at_its_target_and_leads_to_it():
    names = ["spike_count_stimint", "peak_voltage", "time_to_first_spike", "inv_first_ISI"]
    targets = feature_targets(TS, spiking(), names, sd={"peak_voltage": 5.0}, **STIM)
    assert float(targets["peak_voltage"][1]) == 5.0

    @jax.jit
    def loss(height):
        v = FLAT + (spiking() - FLAT) * height / 110.0
        return feature_loss(TS, v, targets, max_spikes=8, **STIM)

    assert float(loss(110.0)) < 1e-9
    assert float(loss(100.0)) > 0.1
    steepness = jax.jit(jax.grad(loss))
    for height in (100.0, 60.0, 42.0):  # spikes, and too low for spikes
        slope = steepness(height)
        assert np.isfinite(slope)
        assert slope < 0
    with pytest.raises(ValueError, match="target trace has no peak_voltage"):
        feature_targets(TS, FLAT, names, **STIM)


def test_bad_input():
    with pytest.raises(ValueError, match=r"unknown feature 'AP_amplitud'; did you mean 'AP_ampl"):
        extract(TS, FLAT, ["AP_amplitud"], **STIM)
    with pytest.raises(ValueError, match="needs current="):
        extract(TS, FLAT, "ohmic_input_resistance", **STIM)
    with pytest.raises(ValueError, match=r"one trace.*jax\.vmap"):
        extract(TS, TRACES, **STIM)
    with pytest.raises(ValueError, match="at least 5 samples"):
        features.peak_time(TS[:3], FLAT[:3])
