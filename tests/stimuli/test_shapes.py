"""Closed-form currents against the definition: their value at a point, integrated numerically."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax.test_util import check_grads

from helpers import approx, close
from jaxdend.stimuli import DualExponential, PulseTrain, Ramp, Sine, Step

STIMULI = {
    "step": Step(0, 1.3, 2.4, 0.7),
    "train": PulseTrain(0, 1.3, 1.7, 0.6, 4, 0.7),
    "full train": PulseTrain(0, 1.3, 1.7, 1.7, 4, 0.7),
    "ramp": Ramp(0, 1.3, 4.2, -0.3, 0.9),
    "sine": Sine(0, 1.3, 5.1, 0.7, 180.0, 0.4, 0.2),
    "epsp": DualExponential(0, 1.3, 0.7, 0.4, 2.0),
}


def points(stimulus, ts):
    return jax.vmap(lambda t: stimulus.current(t, t))(jnp.asarray(ts))


@pytest.mark.parametrize("name", STIMULI)
@settings(max_examples=15, deadline=None)
@given(t0=st.floats(0.0, 9.0), length=st.floats(1e-3, 6.0))
def test_mean_is_the_integral_of_the_points(name, t0, length):
    stimulus, size = STIMULI[name], 20_000
    ts = t0 + length * (np.arange(size) + 0.5) / size
    mean = stimulus.current(jnp.asarray(t0), jnp.asarray(t0 + length))
    assert mean.shape == (1,)
    # an edge may fall anywhere within a sample
    close(mean, points(stimulus, ts).mean(axis=0), atol=10 / size)


@pytest.mark.parametrize("name", STIMULI)
def test_gradients_are_finite_and_right(name):
    stimulus = STIMULI[name]
    numbers = [x for x in jax.tree.leaves(stimulus) if jnp.issubdtype(x.dtype, jnp.inexact)]

    @jax.jit
    def mean(numbers, t0, t1):
        return type(stimulus)(stimulus.site, *numbers).current(t0, t1)[0]

    check_grads(lambda n: mean(n, 1.1, 5.85), (numbers,), 1, ["rev"])
    for t in (0.0, 1.3, 3.7, 20.0):
        assert all(np.isfinite(g).all() for g in jax.grad(mean)(numbers, t, t))


def test_step_edges():
    step = Step(site=[2, 5], onset=[5.0, 6.0], duration=1.0, amplitude=[0.5, -1.0])
    ts = [4.999, 5.0, 5.999, 6.0, 6.999, 7.0]
    expected = [[0, 0], [0.5, 0], [0.5, 0], [0, -1], [0, -1], [0, 0]]
    np.testing.assert_array_equal(points(step, ts), expected)
    close(step.current(4.5, 5.25), [0.5 / 3, 0.0])


def test_dual_exponential_peaks_at_its_amplitude():
    stimulus = DualExponential([3, 4], [0.0, 2.0], [0.5, -1.0], tau_rise=0.5, tau_decay=5.0)
    ts = np.arange(0.0, 60.0, 0.001)
    values = points(stimulus, ts)
    close([values[:, 0].max(), values[:, 1].min()], [0.5, -1.0], rtol=1e-6)
    close(ts[jnp.argmax(values[:, 0])], np.log(10) * 2.5 / 4.5, atol=1e-3)
    np.testing.assert_array_equal(values[ts <= 2.0, 1], 0.0)
    later = np.arange(2.0, 60.0, 0.025)
    wave = np.exp(-(later - 2) / 5) - np.exp(-(later - 2) / 0.5)
    top = np.log(10) / 1.8
    wave /= np.exp(-top / 5) - np.exp(-top / 0.5)
    close(points(stimulus, later)[:, 1], -wave, atol=1e-12)


def test_derivative_of_the_charge_at_an_aligned_onset():
    """The onset lies on a step boundary: the two neighbours share the derivative."""
    edges = jnp.arange(41.0) * 0.25

    def charge(onset):
        means = jax.vmap(Step(0, onset, 3.0, 2.0).current)(edges[:-1], edges[1:])[:, 0]
        return jnp.sum(means * edges[1:]) * 0.25

    check_grads(charge, (jnp.asarray(5.0),), 1, ["fwd", "rev"], eps=1e-4)
    assert float(jax.grad(charge)(5.0)) == approx(6.0)


@pytest.mark.parametrize("late", [0.0, 1e4])
def test_float32_late_in_a_run(late):
    """Fully on is exactly on, and a train is as accurate late as early."""
    f32 = np.float32
    with jax.enable_x64(False):
        t0, t1 = f32(late + 103.0), f32(late + 103.025)
        step = Step(0, f32(late + 50.0), 100.0, 1.0)
        assert float(step.current(t0, t1)[0]) == 1.0
        epsp = DualExponential(0, f32(late + 101.0), 1.0)
        with jax.enable_x64(True):
            exact = DualExponential(0, late + 101.0, 1.0).current(float(t0), float(t1))[0]
        assert float(epsp.current(t0, t1)[0]) == approx(float(exact), rel=1e-4)
        train = PulseTrain(0, f32(late + 50.0), 50.0, 10.0, 9, 1.0)
        assert train.current(t0, t1).dtype == jnp.float32
        close(train.current(t0, t1), 1.0, atol=1e-3)


def test_train_cost_does_not_depend_on_count_and_count_may_be_traced():
    def size(count):
        return len(str(jax.make_jaxpr(PulseTrain(0, 0, 10, 2, count, 1).current)(0.0, 1.0)))

    assert size(3) == size(300_000)
    counts = jnp.asarray([1.0, 2.0, 5.0])
    total = jax.vmap(lambda n: PulseTrain(0, 0.0, 10.0, 2.0, n, 1.0).current(0.0, 100.0)[0] * 100)
    close(total(counts), 2 * counts)


def test_vmap_over_sites_and_numbers_with_one_compilation():
    traces = []

    @jax.jit
    def into_cell(site, amplitude):
        traces.append(1)
        step = Step(site, 1.0, 2.0, amplitude)
        return jnp.zeros(6).at[step.site].add(step.current(1.0, 2.0))

    batch = jax.vmap(into_cell)(jnp.asarray([4, 1]), jnp.asarray([0.1, 0.2]))
    close(batch, [[0, 0, 0, 0, 0.1, 0], [0, 0.2, 0, 0, 0, 0]])
    into_cell(3, 0.5)
    into_cell(2, 0.7)
    assert len(traces) <= 2  # once batched, once not


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Step(0, 1.0, -1.0, 1.0), "Step.duration: expected finite numbers >= 0; got -1"),
        (lambda: Step(0, jnp.nan, 1.0, 1.0), "Step.onset: expected finite numbers; got nan"),
        (lambda: Step(0, 1.0, 1.0, jnp.inf), "Step.amplitude"),
        (
            lambda: Step([0, 1], 1.0, 1.0, [1.0, 2.0, 3.0]),
            r"expected shape \(\) or \(2,\); got \(3,\)",
        ),
        (lambda: Step(0.5, 1.0, 1.0, 1.0), "site: expected a compartment number"),
        (lambda: Step(True, 1.0, 1.0, 1.0), "site: expected a compartment number"),
        (lambda: Step(-2, 1.0, 1.0, 1.0), "count from 0"),
        (lambda: Step([[0]], 1.0, 1.0, 1.0), r"shape \(1, 1\)"),
        (lambda: Step([[0], [1, 2]], 1.0, 1.0, 1.0), "site: expected"),
        (lambda: Step(0, "soon", 1.0, 1.0), "Step.onset: expected a number.*'soon'"),
        (lambda: PulseTrain(0, 0, 10, 2, 0, 1), "PulseTrain.count: expected whole numbers >= 1"),
        (lambda: PulseTrain(0, 0, 10, 2, 1.5, 1), "PulseTrain.count"),
        (lambda: PulseTrain(0, 0, 1, 2, 3, 1), "expected width <= period"),
        (lambda: PulseTrain(0, 0, 0, 0, 3, 1), "PulseTrain.period"),
        (lambda: DualExponential(0, 0, 1, -0.5), "DualExponential.tau_rise: expected finite num"),
        (lambda: DualExponential(0, 0, 1, 5.0, 5.0), "expected tau_rise < tau_decay"),
        (lambda: DualExponential(0, 0, [1, 2]), "DualExponential.amplitude: expected shape"),
        (lambda: Ramp(0, 0, -1, 0, 1), "Ramp.duration"),
        (lambda: Sine(0, 0, 1, 1, np.inf), "Sine.frequency"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
