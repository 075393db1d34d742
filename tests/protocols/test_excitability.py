"""Thresholds, refractoriness and firing rates of squid membrane, where it can against NEURON."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuron_geometry as oracle
from jaxdend.cell import Cell
from jaxdend.channels import HH
from jaxdend.morphology import single_compartment
from jaxdend.protocols import fi_curve, refractory_period, spike_threshold, threshold
from jaxdend.rest import rest
from jaxdend.solvers import BackwardEuler

CURRENTS = [0.02, 0.06, 0.1, 0.2, 0.4]  # nA


@pytest.fixture(scope="module")
def cell():
    return Cell(single_compartment(20.0, 20.0), max_length=100.0).insert(HH())


@pytest.fixture(scope="module")
def resting(cell):
    return rest(cell)


def neuron_compartment(width: float, amplitude: float, end: float) -> np.ndarray:
    """`(t,)` mV of the same compartment in NEURON, dt 0.025, pulse at 1 ms."""
    h = oracle.empty_neuron()
    section = h.Section(name="soma")
    section.L = section.diam = 20.0
    section.cm = 1.0
    section.insert("hh")
    clamp = h.IClamp(section(0.5))
    clamp.delay, clamp.dur, clamp.amp = 1.0, width, amplitude
    h.celsius, h.secondorder, h.dt, h.usetable_hh = 6.3, 0, 0.025, 0
    v = h.Vector().record(section(0.5)._ref_v)
    h.finitialize(-65.0)
    for _ in range(round(end / 0.025)):
        h.fadvance()
    return np.array(v)


@pytest.mark.parametrize("points", [1, 3, 7])
@pytest.mark.parametrize("at", [0.03, 1.234567, 1.97])
def test_threshold_of_a_known_jump(points, at):
    rounds = {1: 12, 3: 6, 7: 4}[points]

    @jax.jit
    def find(at):
        return threshold(
            lambda x: jnp.where(x >= at, 10 + x, x), 0.0, 2.0, level=5.0, rounds=rounds,
            points=points,
        )  # fmt: skip

    found = find(at)
    assert float(found.failing) < at <= float(found.value)
    assert float(found.value - found.failing) == pytest.approx(2.0 / 2**12)
    assert float(found.above) == pytest.approx(10 + float(found.value))
    assert float(found.below) == pytest.approx(float(found.failing))


def test_threshold_beyond_the_range():
    never = threshold(lambda x: x, 0.0, 1.0, level=5.0)
    assert float(never.value) == np.inf
    assert float(never.failing) == pytest.approx(1.0, abs=1e-3)
    assert np.isnan(never.above)
    always = threshold(lambda x: x + 9, 0.0, 1.0, level=5.0)
    assert float(always.value) < 1e-3
    assert np.isnan(always.below)


def test_a_spike_is_all_or_none_at_neurons_threshold(cell):
    found = spike_threshold(cell, 0, width=[0.5, 2.0], high=1.0, rounds=7, solver=BackwardEuler())
    gap = found.value - found.failing
    np.testing.assert_allclose(gap, 1 / 4**7)
    assert np.all(found.above > 20)
    assert np.all(found.below < -30)
    for k, width in enumerate([0.5, 2.0]):
        for current, response in ((found.value, found.above), (found.failing, found.below)):
            v = neuron_compartment(width, float(current[k]), 20.0)
            assert v.max() == pytest.approx(float(response[k]), abs=1e-6)
    charge = found.value * np.array([0.5, 2.0])
    assert charge[0] < charge[1] < 1.6 * charge[0]  # nearly constant for pulses this brief


def test_refractory_period(cell, resting):
    intervals = [4.0, 6.0, 8.0, 12.0, 40.0]
    found = refractory_period(cell, 0, intervals, first=1.0, high=3.0, rounds=5, dt=0.1, v0=resting)
    relative = np.asarray(found.relative)
    assert relative[0] == np.inf
    assert np.all(np.diff(relative[1:4]) < 0)
    assert np.all(relative[1:4] > 1.2)
    assert relative[-1] == pytest.approx(1.0, abs=0.1)
    assert 4.0 < float(found.absolute) < 6.0
    alone = spike_threshold(cell, 0, high=3.0, rounds=5, dt=0.1, v0=resting)
    assert float(found.alone.value) == pytest.approx(float(alone.value), abs=3 / 4**5)


def test_f_i_curve_is_neurons(cell):
    curve = fi_curve(
        cell, 0, CURRENTS, onset=1.0, duration=150.0, solver=BackwardEuler(), max_spikes=32
    )
    for k, current in enumerate(CURRENTS):
        v = neuron_compartment(150.0, current, 151.0)
        up = np.flatnonzero((v[:-1] < 0) & (v[1:] >= 0))
        times = 0.025 * (up + -v[up] / (v[up + 1] - v[up]))
        assert int(curve.count[k]) == len(times)
        assert float(curve.rate[k]) == pytest.approx(len(times) / 0.15)
        if len(times):
            assert float(curve.latency[k]) == pytest.approx(times[0] - 1.0, abs=1e-6)
        if len(times) > 1:
            assert float(curve.steady[k]) == pytest.approx(1e3 / (times[-1] - times[-2]), abs=1e-4)
    assert curve.count.tolist()[0] == 0
    assert curve.latency[0] == np.inf
    assert np.all(np.diff(curve.steady) >= 0)


def test_the_rate_has_a_gradient(cell, resting):
    def rate(gkbar):
        squid = cell.insert(HH(gkbar=gkbar))
        return fi_curve(squid, 0, [0.2], duration=60.0, dt=0.05, v0=resting).steady[0]

    slope = jax.grad(rate)(0.036)
    numeric = (rate(0.036 + 1e-6) - rate(0.036 - 1e-6)) / 2e-6
    assert float(slope) == pytest.approx(float(numeric), rel=1e-4)
