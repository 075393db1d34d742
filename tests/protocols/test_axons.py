"""Conduction along axons: against live NEURON, and the laws of bare and myelinated fibres."""

import jax
import numpy as np
import pytest

import neuron_geometry as oracle
from jaxdend.protocols import bare_axon, conduction_velocity, myelinated_axon
from jaxdend.solvers import BackwardEuler


def at(cell, distance: float) -> int:
    return int(np.argmin(np.abs(cell.distance - distance)))


@pytest.fixture(scope="module")
def axon():
    return bare_axon(1000.0)


def test_a_bare_axon_conducts_as_in_neuron(axon):
    pair = [at(axon, 300.0), at(axon, 700.0)]
    h = oracle.empty_neuron()
    first, rest = h.Section(name="first"), h.Section(name="rest")
    rest.connect(first(1), 0)
    for section, length in ((first, 20.0), (rest, 1000.0)):
        section.L, section.diam, section.Ra, section.cm = length, 1.0, 35.4, 1.0
        section.nseg = 1 if section is first else axon.n - 1
        section.insert("hh")
    clamp = h.IClamp(first(0.5))
    clamp.delay, clamp.dur, clamp.amp = 0.5, 0.5, 1.0
    h.celsius, h.secondorder, h.dt, h.usetable_hh = 6.3, 0, 0.025, 0
    vectors = [h.Vector().record(rest(float(axon.x[i]))._ref_v) for i in pair]
    h.finitialize(-65.0)
    for _ in range(200):
        h.fadvance()
    times = []
    for v in map(np.array, vectors):
        i = int(np.argmax(v >= 0)) - 1
        times.append(0.025 * (i - v[i] / (v[i + 1] - v[i])))
    found = conduction_velocity(axon, *pair, t1=5.0, solver=BackwardEuler())
    np.testing.assert_allclose(found.times, times, rtol=0, atol=1e-6)
    distance = float(axon.distance[pair[1]] - axon.distance[pair[0]])
    assert float(found.velocity) == pytest.approx(1e-3 * distance / (times[1] - times[0]), rel=1e-6)


def test_velocity_of_a_bare_axon_grows_with_the_root_of_its_diameter(axon):
    """For any membrane of the Hodgkin–Huxley form, velocity² / diameter is a constant."""
    pair = [at(axon, 400.0), at(axon, 700.0)]

    @jax.jit
    @jax.value_and_grad
    def velocity(diameter):
        thick = axon.set(radius=diameter / 2)
        return conduction_velocity(thick, *pair, t1=4.0, dt=0.05).velocity

    (value, slope), (thin, _) = velocity(1.0), velocity(0.5)
    assert float(slope) == pytest.approx(0.5 * float(value), rel=0.05)
    assert float(thin) == pytest.approx(float(value) / np.sqrt(2), rel=0.03)


def test_myelin_speeds_a_spike_up(axon):
    fibre = myelinated_axon(12)
    nodes = np.flatnonzero(fibre.region("node"))
    assert len(nodes) == 13
    np.testing.assert_allclose(np.diff(fibre.distance[nodes]), 151.0)
    assert float(fibre.cm[nodes[1]]) == 1.0
    assert float(fibre.cm[nodes[1] + 1]) == pytest.approx(0.01)
    pair = int(nodes[4]), int(nodes[8])
    fast = conduction_velocity(fibre, *pair, t1=5.0).velocity
    bare = conduction_velocity(axon, at(axon, 300.0), at(axon, 700.0), t1=5.0).velocity
    assert float(fast) > 4 * float(bare)
    thinner = fibre.set("internode", cm=0.03)
    slower = conduction_velocity(thinner, *pair, t1=5.0).velocity
    assert 0.4 * float(fast) < float(slower) < 0.9 * float(fast)


@pytest.mark.parametrize("internodes", [0, 2.5])
def test_an_axon_without_internodes_is_refused(internodes):
    with pytest.raises(ValueError, match="internodes must be a whole number of at least 1"):
        myelinated_axon(internodes)


def test_no_spike_has_no_velocity(axon):
    found = conduction_velocity(axon, at(axon, 300.0), at(axon, 700.0), t1=5.0, amplitude=1e-3)
    assert np.isnan(found.velocity)
    assert np.all(found.times == np.inf)
