"""Spike times against numpy, and what is said of recordings that are very large."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend import traces as module
from jaxdend.channels import Leak
from jaxdend.traces import Traces, expected_bytes

MEASURED = 52e6  # bytes that `spike_times` takes beside the 102 MB of voltages of a batch


def made(v, ts=None) -> Traces:
    """Traces with the voltages `v`, `(t,)` or `(t, r)` mV, at whole ms."""
    v = jnp.asarray(v, float)
    v = v[:, None] if v.ndim == 1 else v
    ts = jnp.arange(len(v), dtype=float) if ts is None else jnp.asarray(ts)
    return Traces(ts, v, None, {}, None)  # type: ignore[arg-type]


def by_numpy(ts, v, threshold=0.0):
    i = np.flatnonzero((v[:-1] < threshold) & (v[1:] >= threshold))
    return ts[i] + (ts[i + 1] - ts[i]) * (threshold - v[i]) / (v[i + 1] - v[i])


@pytest.mark.parametrize("length", [1, 2, 3, 256, 257, 258, 513, 1000])
def test_every_crossing_of_noise_is_found(length):
    rng = np.random.default_rng(length)
    v = rng.normal(-5.0, 20.0, (length, 2))
    ts = np.cumsum(rng.uniform(0.01, 0.1, length))
    for column in (0, 1, -1):
        want = by_numpy(ts, v[:, column], 1.0)
        got = jd.spike_times(made(v, ts), 1.0, column)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-13)
        first = jd.spike_times(made(v, ts), 1.0, column, max_spikes=5)
        padded = np.concatenate([want, np.full(5, np.inf)])[:5]
        np.testing.assert_allclose(first, padded, rtol=1e-13)


def test_as_many_crossings_as_there_can_be():
    v = np.tile([-1.0, 1.0], 400)
    np.testing.assert_allclose(jd.spike_times(made(v)), np.arange(400) * 2 + 0.5)
    assert jd.spike_times(made(v), max_spikes=0).shape == (0,)
    traced = jax.jit(jd.spike_times)(made(v))
    np.testing.assert_allclose(traced, np.arange(64) * 2 + 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_makes_no_spike(dtype):
    bad = [-60, 20, -60, np.nan, 20, -60, np.nan, -60, np.inf, -np.inf, 20, -60, 20, np.nan]
    v = np.asarray(bad, dtype)
    ts = np.arange(len(v), dtype=dtype)
    ts[-1] = np.inf  # a row that was not reached
    traces = Traces(jnp.asarray(ts), jnp.asarray(v)[:, None], None, {}, None)  # type: ignore[arg-type]
    times = jd.spike_times(traces)
    assert times.dtype == dtype
    np.testing.assert_allclose(times, [0.75, 11.75])

    def total(traces):
        times = jd.spike_times(traces, max_spikes=6)
        return jnp.sum(jnp.where(times < jnp.inf, times, 0.0))

    slope = eqx.filter_grad(total)(traces).v[:, 0]
    expected = np.zeros(len(v))  # of t = low / (low - high), at (-60, 20)
    expected[[0, 11]], expected[[1, 12]] = -20 / 80**2, -60 / 80**2
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_a_batch_is_its_single_traces():
    rng = np.random.default_rng(0)
    v = jnp.asarray(rng.normal(-20.0, 20.0, (5, 700, 1)))
    batch = Traces(jnp.tile(jnp.arange(700.0), (5, 1)), v, None, {}, None)  # type: ignore[arg-type]
    times = jax.vmap(lambda one: jd.spike_times(one, max_spikes=30))(batch)
    for row, one in zip(times, v, strict=True):
        np.testing.assert_allclose(row, by_numpy(np.arange(700.0), np.asarray(one[:, 0]))[:30])


def test_a_batch_takes_half_the_memory_of_its_voltages():
    lanes, length = 256, 100_001

    def times(ts, v):
        return jd.spike_times(Traces(ts, v, None, {}, None), max_spikes=64)  # type: ignore[arg-type]

    shapes = [jax.ShapeDtypeStruct((lanes, length, *r), jnp.float32) for r in ((), (1,))]
    program = jax.jit(jax.vmap(times)).lower(*shapes).compile()
    assert program.memory_analysis().temp_size_in_bytes <= 1.1 * MEASURED


def test_one_program_for_every_number_of_spikes(caplog):
    v = np.tile([-1.0, 1.0], 100)

    def compiled(traces, **options):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level("WARNING"):
            jd.spike_times(traces, **options)
        return [r.message for r in caplog.records if r.message.startswith("Compiling ")]

    jax.clear_caches()
    assert len(compiled(made(v[:120]))) == 1
    assert compiled(made(np.flip(v[:120]) + 0.3)) == []
    assert compiled(made(-np.ones(120)), threshold=-3.0) == []
    assert compiled(made(v[:120]), threshold=0) == []
    assert compiled(made(np.stack([v[:120], v[:120]], 1))) != []


def test_what_spike_times_takes():
    traces = made(-np.ones((5, 2)))
    for wrong, message in (
        (traces.v, r"takes the Traces.*Got ArrayImpl of shape \(5, 2\)"),
        (np.ones(3), r"Got ndarray of shape \(3,\)"),
        ([1.0], "Got list"),
    ):
        with pytest.raises(TypeError, match=message):
            jd.spike_times(wrong)  # type: ignore[arg-type]
    for column in (2, -3):
        with pytest.raises(ValueError, match=rf"column={column} of 2 recorded sites"):
            jd.spike_times(traces, column=column)
    for many in (-1, 2.0, True):
        with pytest.raises(ValueError, match="max_spikes must be"):
            jd.spike_times(traces, max_spikes=many)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"one simulation, v \(t, r\); got \(3, 5, 1\)"):
        jd.spike_times(eqx.tree_at(lambda t: t.v, traces, jnp.ones((3, 5, 1))))


# --- size -------------------------------------------------------------------------------------


def test_bytes_of_recordings():
    shapes = {"v": jax.ShapeDtypeStruct((100, 3), jnp.float32), "x": [np.zeros((100, 2, 2))]}
    assert expected_bytes(shapes) == 100 * 3 * 4 + 100 * 4 * 8
    assert expected_bytes(None) == 0


def test_very_large_recordings_are_said_so_before_they_are_made(monkeypatch):
    """With limits that are a thousandth of a thousandth of the real ones."""
    monkeypatch.setattr(module, "LARGE", 1e3)
    monkeypatch.setattr(module, "LARGE_BATCH", 4e3)
    cell = jd.Cell(jd.single_compartment(20.0, 20.0), ncomp=5).insert(Leak(g=1e-4, e=-65.0))

    def run(amplitude, t1=2.0, **options):
        stim = jd.Step(0, 0.5, 1.0, amplitude)
        return jd.simulate(cell, stim, t1=t1, dt=0.1, **options).ts

    def said(f):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            f()
        assert all(issubclass(w.category, UserWarning) for w in caught)
        return [str(w.message) for w in caught]

    assert said(lambda: run(0.1)) == []  # 5 x 21 numbers, 840 bytes
    (message,) = said(lambda: run(0.1, t1=4.0))
    assert all(x in message for x in ("5 numbers at 41 times.", "record=", "save_every="))
    assert said(lambda: run(0.2, t1=4.0)) == []  # once
    assert said(lambda: run(0.1, t1=4.0, save_every=2)) == []
    (message,) = said(lambda: run(0.1, record={"x": lambda t, y, model: jnp.zeros((3, 5))}))
    assert "15 numbers at 2" in message
    amplitudes = jnp.linspace(0.0, 0.1, 9)
    assert said(lambda: jax.vmap(run)(amplitudes[:4])) == []
    (message,) = said(lambda: jax.vmap(jax.vmap(run))(amplitudes[:8].reshape(4, 2)))
    assert "5 numbers at 21 times in each of 8 simulations" in message


def test_spikes_after_a_failure_are_unknown():
    cell = jd.Cell.from_compartments(parent=[-1], axial_resistance=[1.0], area=[1000.0])
    cell = cell.insert(Leak(g=1e-3, e=-65.0))

    def one(amplitude):
        step = jd.Step(site=0, onset=1.0, duration=5.0, amplitude=amplitude)
        traces = jd.simulate(cell, step, t1=8.0, throw=False)
        return traces, jd.spike_times(traces, max_spikes=3), jd.spike_times(traces)

    amplitudes = jnp.asarray([0.0, 1.2, 1e4])
    traces, some, many = jax.vmap(one)(amplitudes)
    for times in (some, many):
        assert np.all(np.isinf(times[0]))  # at rest: no spike
        assert 1.0 < times[1, 0] < 8.0
        assert np.all(np.isinf(times[1, 1:]))
        assert np.all(np.isnan(times[2, 1:]))  # nobody knows
    failed = np.asarray(traces.stats["failed_at"])
    np.testing.assert_array_equal(np.isfinite(failed), [False, False, True])
    # what was seen before the failure stays, with its derivative
    by_threshold = jax.jacfwd(lambda x: jd.spike_times(one(1e4)[0], x, max_spikes=2))(0.0)
    alone = one(1e4)[1]
    np.testing.assert_array_equal(alone, some[2])
    assert np.all(np.isfinite(by_threshold[: int(np.sum(np.isfinite(alone)))]))
