import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import close
from jaxdend.fitting import (
    mse,
    smoothed_mse,
    smoothed_rms,
    soft_dtw,
    soft_spikes,
    van_rossum,
    van_rossum_times,
    window_loss,
)

DT = 0.5  # ms


def spikes(*times, t=120, height=110.0):
    """A trace at -70 mV with Gaussian spikes 1 ms wide."""
    ts = jnp.arange(t) * DT
    bumps = sum(jnp.exp(-(((ts - time) / 1.0) ** 2)) for time in times)
    return (-70.0 + height * bumps)[:, None] if times else jnp.full((t, 1), -70.0)


LOSSES = {
    "mse": mse,
    "window": window_loss,
    "smoothed": lambda v, w, **k: smoothed_mse(v, w, dt=DT, width=2.0, **k),
    "rms": lambda v, w, **k: smoothed_rms(v, w, dt=DT, **k),
    "van_rossum": lambda v, w, **k: van_rossum(v, w, dt=DT, **k),
    "soft_dtw": soft_dtw,
}
LOSSES = {name: jax.jit(loss) for name, loss in LOSSES.items()}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_zero_at_a_match_positive_elsewhere_finite_slopes(loss, dtype):
    target = jnp.concatenate([spikes(20.0), spikes()], axis=1).astype(dtype)
    other = jnp.concatenate([spikes(24.0, 40.0), spikes() + 3], axis=1).astype(dtype)
    value, slope = jax.value_and_grad(loss)(target, target)
    assert value.shape == ()
    assert value.dtype == dtype
    assert abs(float(value)) < 1e-3
    assert bool(jnp.isfinite(slope).all())
    assert bool((jnp.abs(slope) < 1e-2).all())
    value, slope = jax.value_and_grad(loss)(other, target)
    assert float(value) > 0.01
    assert bool(jnp.isfinite(slope).all())
    assert bool((slope != 0).any())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.float64("differences of values drown in rounding in float32")
def test_slope_is_that_of_finite_differences(loss):
    target, v = spikes(20.0), spikes(21.0, 40.0)
    v = v + jnp.sin(jnp.arange(v.shape[0]))[:, None]  # off the corner of a flat trace
    towards = jax.random.normal(jax.random.key(0), v.shape)
    slope = jnp.sum(jax.grad(loss)(v, target) * towards)
    h = 1e-4
    centred = (loss(v + h * towards, target) - loss(v - h * towards, target)) / (2 * h)
    close(slope, centred, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_flat_and_extreme_traces_stay_finite(loss):
    flat = jnp.zeros((40, 2))
    for v in (flat, flat + 1e4, flat.at[7].set(-1e5)):
        value, slope = jax.value_and_grad(loss)(v, flat)
        assert bool(jnp.isfinite(value))
        assert bool(jnp.isfinite(slope).all())


def test_scale_by_site():
    target = jnp.zeros((60, 2))
    v = target + jnp.array([1.0, 10.0])
    close(mse(v, target, scale=jnp.array([1.0, 10.0])), 1.0)
    close(mse(v, target), (1 + 100) / 2)
    close(window_loss(v, target, scale=jnp.array([1.0, 10.0])), 0.5, rtol=2e-3)
    close(smoothed_mse(v, target, dt=DT, width=2.0, scale=jnp.array([1.0, 10.0])), 1.0, rtol=1e-9)


def test_window_loss_by_hand():
    v = jnp.array([0.0, 2.0, 4.0, 8.0])
    target = jnp.array([0.0, 0.0, 6.0, 6.0])
    value = window_loss(v, target, windows=[(0, 2), (2, 4)], scale=2.0, std_scale=4.0)
    close(value, np.mean([1 / 2, 1 / 4, 0.0, 2 / 4]), atol=2e-3)


def test_smoothing_is_the_gaussian_filter():
    v = jax.random.normal(jax.random.key(1), (50, 1))
    lag = np.subtract.outer(np.arange(50), np.arange(50)) * DT
    weights = np.exp(-0.5 * (lag / 3.0) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.mean((weights @ np.asarray(v)) ** 2)
    close(smoothed_mse(v, 0 * v, dt=DT, width=3.0), expected, rtol=1e-10)


def test_several_widths_are_averaged():
    v, target = spikes(20.0), spikes(26.0)
    each = [smoothed_mse(v, target, dt=DT, width=w) for w in (8.0, 1.0)]
    both = smoothed_mse(v, target, dt=DT, width=[8.0, 1.0])
    close(both, np.mean(each), rtol=1e-12)


def test_roots_are_averaged():
    v, target = spikes(20.0), spikes(26.0)
    each = [smoothed_mse(v, target, dt=DT, width=w, scale=5.0) for w in (8.0, 1.0)]
    both = smoothed_rms(v, target, dt=DT, width=[8.0, 1.0], scale=5.0)
    close(both, np.mean(np.sqrt(each)), atol=2e-6)


def test_smoothing_widens_the_basin():
    target = spikes(30.0)
    near, far = spikes(34.0), spikes(42.0)
    assert mse(near, target) > 0.99 * mse(far, target)  # no overlap: flat
    wide = [smoothed_mse(v, target, dt=DT, width=8.0) for v in (near, far)]
    assert wide[0] < 0.4 * wide[1]


def test_soft_spikes_count_upward_crossings():
    counts = soft_spikes(jnp.concatenate([spikes(20.0, 40.0), spikes()], axis=1)).sum(0)
    close(counts, [2.0, 0.0], atol=1e-2)


def test_van_rossum_values():
    tau, t, dt = 5.0, 8000, 0.01
    ts = jnp.arange(t) * dt

    def train(*times):
        return jnp.where(sum((jnp.abs(ts - x) < 0.5) for x in times) > 0, 60.0, -100.0)[:, None]

    def distance(a, b):
        return van_rossum(a, b, dt=dt, tau=tau)

    close(distance(train(20, 40), train(20)), 0.5, rtol=1e-2)
    close(distance(train(23), train(20)), 1 - np.exp(-3 / tau), rtol=1e-2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_van_rossum_of_exact_times(dtype):
    tau, none = 5.0, jnp.nan
    distance = jax.jit(jax.value_and_grad(van_rossum_times))
    tight = 1e-6 if dtype == jnp.float32 else 1e-12
    cases = [
        ([20.0, 40.0], [20.0, none], 0.5),
        ([23.0, none], [20.0, none], 1 - np.exp(-3 / tau)),
        ([40.0, 20.0], [20.0, 40.0], 0.0),
        ([none, jnp.inf], [none, none], 0.0),
    ]
    for times, target, expected in cases:
        value, slope = distance(jnp.asarray(times, dtype), jnp.asarray(target, dtype))
        assert value.dtype == dtype
        close(value, expected, atol=tight)
        assert bool(jnp.isfinite(slope).all())
    _, slope = distance(jnp.asarray([23.0, none], dtype), jnp.asarray([20.0, none], dtype))
    close(slope, [np.exp(-3 / tau) / tau, 0.0], rtol=1e-5)
    with pytest.raises(ValueError, match="expected times"):
        van_rossum_times(jnp.zeros((2, 3)), jnp.zeros(3))


def test_the_integral_agrees_with_exact_times():
    dt = 0.02
    ts = jnp.arange(6000) * dt

    def trace(times):
        return (-70.0 + 110.0 * sum(jnp.exp(-(((ts - x) / 0.5) ** 2)) for x in times))[:, None]

    a, b = jnp.asarray([20.0, 33.0, 51.0]), jnp.asarray([22.0, 60.0])
    soft = van_rossum(trace(a), trace(b), dt=dt, tau=8.0)
    close(soft, van_rossum_times(a, b, tau=8.0), rtol=0.02)


def test_soft_dtw_is_dynamic_time_warping_when_hard():
    x, y = (jax.random.normal(jax.random.key(k), (12, 2)) for k in (0, 1))
    cost = np.sum((np.asarray(x)[:, None] - np.asarray(y)[None]) ** 2, axis=-1)
    best = np.full((13, 13), np.inf)
    best[0, 0] = 0.0
    for i in range(12):
        for j in range(12):
            best[i + 1, j + 1] = cost[i, j] + min(best[i, j], best[i, j + 1], best[i + 1, j])
    close(soft_dtw(x, y, gamma=1e-3) * 12, best[-1, -1], rtol=1e-3)


def test_soft_dtw_forgives_a_shift_unless_time_counts():
    target, shifted = spikes(20.0), spikes(25.0)
    free = soft_dtw(shifted, target, scale=10.0)
    timed = soft_dtw(shifted, target, scale=10.0, time_scale=2.0)
    assert float(free) < 0.02 * float(mse(shifted, target, scale=10.0))
    assert float(timed) > 10 * float(free)


def test_one_site_may_be_a_vector():
    v, target = spikes(20.0), spikes(22.0)
    close(mse(v[:, 0], target[:, 0]), mse(v, target))


def test_widths_do_not_recompile():
    traces = []

    @jax.jit
    def run(width):
        traces.append(1)
        return smoothed_mse(spikes(20.0), spikes(22.0), dt=DT, width=width)

    assert run(1.0) > run(8.0)
    assert len(traces) == 1


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_bad_shapes(loss):
    with pytest.raises(ValueError, match=r"one shape, got \(4, 2\) and \(5, 2\)"):
        loss(jnp.zeros((4, 2)), jnp.zeros((5, 2)))
    with pytest.raises(ValueError, match="scale must be"):
        loss(jnp.zeros((9, 2)), jnp.zeros((9, 2)), scale=jnp.ones(3))


@pytest.mark.parametrize("windows", [0, -1, 99, [(0, 20)], [(3, 3)], []])
def test_bad_windows(windows):
    with pytest.raises(ValueError, match="windows must be"):
        window_loss(jnp.zeros((9, 1)), jnp.zeros((9, 1)), windows=windows)
