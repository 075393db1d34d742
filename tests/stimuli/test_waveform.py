"""Sampled currents against `numpy.interp`; coloured noise against its statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxdend as jd
from helpers import approx, close
from jaxdend.stimuli import Noise, Waveform

TIMES = np.array([1.0, 1.5, 3.0, 3.0, 4.0])
VALUES = np.array([[0.0, 1.0, -0.5, 2.0, 1.0], [1.0, 1.0, 3.0, 0.0, 0.0]])


def points(stimulus, ts):
    return jax.vmap(lambda t: stimulus.current(t, t))(jnp.asarray(ts))


def test_waveform_is_linear_in_between_and_zero_outside():
    wave = Waveform([3, 1], TIMES, VALUES)
    ts = np.array([0.0, 0.999, 1.0, 1.2, 2.9, 3.0, 3.5, 3.999, 4.0, 9.0])
    on = (ts >= 1.0) & (ts < 4.0)
    # a jump takes the later value
    expected = [np.interp(ts, TIMES + [0, 0, -1e-12, 0, 0], row) * on for row in VALUES]
    close(points(wave, ts), np.transpose(expected), atol=1e-9)
    held = Waveform([3, 1], TIMES, VALUES, hold=True)
    close(points(held, [-5.0, 9.0]), [[0.0, 1.0], [1.0, 0.0]])


def test_waveform_does_not_depend_on_the_step():
    """Means over intervals without a sample inside are exact, whatever the interval."""
    wave = Waveform(0, TIMES, VALUES[0])
    charge = 0.25 + 0.375 + 1.5
    for steps in (12, 24, 100):
        edges = jnp.linspace(0.0, 6.0, steps + 1)
        means = jax.vmap(wave.current)(edges[:-1], edges[1:])
        close(jnp.sum(means) * 6.0 / steps, charge, atol=6e-3 * (steps == 100))


def test_waveform_gradients():
    @jax.jit
    def mean(times, values):
        return Waveform(0, times, values).current(2.0, 2.4)

    check_grads(mean, (jnp.asarray(TIMES), jnp.asarray(VALUES[0])), 1, ["fwd", "rev"])
    for t in (0.0, 3.0, 4.0, 5.0):
        grads = jax.grad(lambda x, y, t=t: Waveform(0, x, y).current(t, t)[0], (0, 1))(
            jnp.asarray(TIMES), jnp.asarray(VALUES[0])
        )
        assert all(np.isfinite(g).all() for g in grads)


def test_waveform_in_float32_late_in_a_long_run():
    with jax.enable_x64(False):
        ts = np.arange(100_001, dtype=np.float32) * 0.1
        wave = Waveform(0, ts, np.sin(ts / 50))
        t = np.float32(9876.54)
        got = wave.current(t, t + np.float32(0.025))
        assert got.dtype == jnp.float32
        close(got, np.sin(9876.55 / 50), atol=1e-3)


def test_noise_has_the_mean_spread_and_correlation_asked_for():
    noise = Noise(np.arange(60), 0.3, 0.2, 5.0, duration=500.0, interval=0.5, seed=1).drawn()
    x = np.asarray(noise.values)
    assert x.shape == (60, 1001)
    assert x.mean() == approx(0.3, abs=0.01)
    assert x.std() == approx(0.2, rel=0.03)
    for lag in (1, 10, 20):
        r = np.mean((x[:, lag:] - 0.3) * (x[:, :-lag] - 0.3)) / x.var()
        assert r == approx(np.exp(-lag * 0.5 / 5.0), abs=0.03)
    across = np.corrcoef(x)[np.triu_indices(60, 1)]
    assert abs(across.mean()) < 0.02


def test_noise_follows_its_recursion():
    noise = Noise(0, 0.1, 0.4, 3.0, onset=2.0, duration=2.0, interval=0.25, seed=7)
    draws, r, x = np.asarray(noise.draws[0]), np.exp(-0.25 / 3.0), []
    for i, draw in enumerate(draws):
        x.append(draw if i == 0 else r * x[-1] + np.sqrt(1 - r * r) * draw)
    wave = noise.drawn()
    close(wave.values[0], 0.1 + 0.4 * np.array(x), rtol=1e-12)
    close(wave.times, 2.0 + 0.25 * np.arange(9))
    close(noise.current(2.1, 2.2), wave.current(2.1, 2.2))


def test_noise_is_seeded_and_differentiable():
    @jax.jit
    def value(mean, std, tau, seed=3):
        return Noise(0, mean, std, tau, duration=20.0, seed=seed).current(12.3, 12.4)

    assert value(0.0, 1.0, 5.0) == value(0.0, 1.0, 5.0)
    assert value(0.0, 1.0, 5.0) != value(0.0, 1.0, 5.0, seed=4)
    by_key = Noise(0, 0.0, 1.0, 5.0, duration=20.0, key=jax.random.key(3)).current(12.3, 12.4)
    close(by_key, value(0.0, 1.0, 5.0))
    check_grads(value, tuple(map(jnp.asarray, (0.1, 0.5, 4.0))), 1, ["rev"], eps=1e-5)
    batch = jax.vmap(lambda s: value(0.0, 1.0, 5.0, s))(jnp.arange(3, 5))
    close(batch[0], value(0.0, 1.0, 5.0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Waveform(0, [0.0], [1.0]), "at least two samples; got 1"),
        (lambda: Waveform(0, [0.0, 2.0, 1.0], [1.0] * 3), "ascending times; got 1 after 2"),
        (lambda: Waveform(0, [0.0, 1.0], [1.0] * 3), r"Waveform.values: expected shape \(2,\)"),
        (lambda: Waveform(0, [0.0, np.nan], [1.0] * 2), "Waveform.times: expected finite"),
        (lambda: Waveform(0, [0.0, 1.0], [1.0, np.nan]), r"Waveform.values: .* got nan at \(1,\)"),
        (lambda: Noise(0, 0.0, 1.0, 0.0), "Noise.tau: expected finite numbers > 0"),
        (lambda: Noise(0, 0.0, -1.0, 1.0), "Noise.std"),
        (lambda: Noise(0, 0.0, 1.0, 1.0, duration=np.inf), "Noise.duration"),
        (lambda: Noise(0, 0.0, 1.0, 1.0, interval=0.0), "Noise.interval"),
        (lambda: Noise(0, [0.0, 1.0], 1.0, 1.0), "Noise.mean: expected shape"),
        (lambda: jax.jit(lambda d: Noise(0, 0.0, 1.0, 1.0, duration=d))(5.0), "Noise.duration"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_noise_of_more_samples_than_fit_is_refused():
    with pytest.raises(ValueError, match="samples; at most 1e\\+08 are stored"):
        Noise(0, 0.0, 1.0, 5.0, duration=1e12)


def test_a_class_on_top_of_one_that_is_prepared_is_asked_itself():
    class Halved(Waveform):
        def current(self, t0, t1):
            return 0.5 * super().current(t0, t1)

        def edges(self):
            return self.times

    ts, values = [0.0, 1.0, 2.0], [0.0, 1.0, 0.0]
    whole, half = Waveform(0, ts, values), Halved(0, ts, values)
    close(half.prepare().current(0.2, 0.6), 0.5 * whole.prepare().current(0.2, 0.6))
    with pytest.raises(TypeError, match="Ramped writes command or conductance"):

        class Ramped(jd.VoltageClamp):
            def command(self, t):
                return t
