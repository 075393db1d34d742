"""Dendritic events on small cells: what each protocol measures, and that it is differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.cell import Cell
from jaxdend.channels import HH, DCaAP, Leak
from jaxdend.morphology import ball_and_stick, single_compartment
from jaxdend.protocols import (
    Pairing,
    bac_firing,
    back_propagation,
    calcium_threshold,
    dcaap_curve,
    epsp,
    nmda_curve,
    resistances,
)
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.stimuli import DualExponential, Step
from jaxdend.synapses import AMPA, NMDA
from jaxdend.traces import spike_times


@pytest.fixture(scope="module")
def cell():
    """An excitable soma with a passive dendrite of 500 µm in 13 compartments."""
    bare = Cell(ball_and_stick(), max_length=40.0)
    return bare.insert(HH(), "soma").insert(Leak(g=1e-4, e=-65.0), "basal")


def test_a_back_propagating_spike_attenuates(cell):
    sites = [2, 6, 13]
    found = back_propagation(cell, sites, amplitude=1.0, width=2.0, t1=20.0)
    np.testing.assert_allclose(found.distance, cell.distance[sites])
    assert np.all(np.diff(found.attenuation) < 0)
    assert np.all(np.diff(found.delay) > 0)
    assert 0 < float(found.attenuation[-1]) < float(found.attenuation[0]) < 1
    pulse = Step(0, 0.0, 2.0, 1.0)
    v = simulate(cell, pulse, t1=20.0, record=[0, *sites]).v
    rise = (v - v[0]).max(axis=0)
    np.testing.assert_allclose(found.attenuation, rise[1:] / rise[0], rtol=1e-12)


def test_an_epsp_of_a_passive_cell_scales_and_attenuates():
    passive = Cell(ball_and_stick(), max_length=40.0).insert(Leak(g=1e-4, e=-65.0))

    def far(amplitude):
        current = DualExponential(13, 1.0, amplitude)
        return epsp(passive, current, 13, onset=1.0, t1=40.0, dt=0.05)

    found = jax.vmap(far)(jnp.asarray([0.01, 0.02]))
    np.testing.assert_allclose(found.local.amplitude[1], 2 * found.local.amplitude[0])
    np.testing.assert_allclose(found.soma.half_width[0], found.soma.half_width[1])
    assert float(found.soma.half_width[0]) > float(found.local.half_width[0])
    steady = float(resistances(passive, [13, 0]).attenuation[0, 1])
    assert 0 < float(found.attenuation[0]) < steady  # a transient attenuates more


def test_an_nmda_curve_is_that_of_its_synapses():
    """On a thin passive branch, which many synapses hold up as long as NMDA stays bound."""
    thin = Cell(ball_and_stick(20.0, 200.0, 0.5), max_length=40.0).insert(Leak(g=1e-4, e=-75.0))
    curve = nmda_curve(thin, 3, [2.0, 20.0], onset=1.0, t1=120.0, dt=0.1, v0=-75.0)
    inputs = [AMPA(3, 20 * 4e-4, 1.0), NMDA(3, 20 * 4e-4, 1.0)]
    v = simulate(thin, inputs, t1=120.0, dt=0.1, v0=-75.0, record=[3, 0]).v
    assert float(curve.local.peak[1]) == pytest.approx(float(v[:, 0].max()), abs=1e-9)
    assert float(curve.soma.peak[1]) == pytest.approx(float(v[:, 1].max()), abs=1e-9)
    assert curve.local.half_width[1] > 2 * curve.local.half_width[0]
    assert curve.local.half_width[1] > 2 * curve.local_ampa.half_width[1]
    assert np.all(curve.soma.amplitude > curve.soma_ampa.amplitude)


def test_the_width_of_an_nmda_spike_has_a_gradient():
    thin = Cell(ball_and_stick(20.0, 200.0, 0.5), max_length=70.0).insert(Leak(g=1e-4, e=-75.0))

    @jax.jit
    @jax.value_and_grad
    def width(weight):
        curve = nmda_curve(thin, 3, [20.0], weight=weight, t1=80.0, dt=0.1, v0=-75.0)
        return curve.local.half_width[0]

    (_, slope), (less, _), (more, _) = (width(4e-4 + dw) for dw in (0.0, -1e-9, 1e-9))
    assert float(slope) == pytest.approx(float(more - less) / 2e-9, rel=1e-4)


def test_pairing_a_pulse_with_a_dendritic_current(cell):
    """Against single runs of the same stimuli."""
    pairing = Pairing(pulse=0.6, width=2.0, spike=0.0, plateau=-55.0, onset=6.0, t1=50.0)
    found = bac_firing(cell, 13, [-5.0, 8.0], current=0.8, pairing=pairing, dt=0.05)
    for k, (interval, pulse, current) in enumerate(
        [(-5.0, 0.6, 0.8), (8.0, 0.6, 0.8), (0.0, 0.6, 0.0), (0.0, 0.0, 0.8)]
    ):
        inputs = [Step(0, 6.0, 2.0, pulse), DualExponential(13, 6.0 + interval, current)]
        traces = simulate(cell, inputs, t1=50.0, dt=0.05, record=[0, 13])
        spikes = jnp.append(found.spikes, found.spikes_alone)[k]
        plateau = jnp.append(found.plateau, found.plateau_alone)[k]
        assert int(spikes) == len(spike_times(traces))
        above = float(jnp.sum(traces.v[:, 1] > -55.0) * 0.05)
        assert float(plateau) == pytest.approx(above, abs=0.2)
    with pytest.raises(ValueError, match=r"give Pairing\(onset=...\) of at least 9 ms"):
        bac_firing(cell, 13, [-9.0], pairing=pairing)


def test_calcium_threshold_of_a_passive_dendrite_is_linear():
    """There the plateau depends on the current alone, and a longer one needs more."""
    passive = Cell(ball_and_stick(), max_length=40.0).insert(Leak(g=1e-4, e=-65.0))
    pairing = Pairing(pulse=0.3, width=2.0, plateau=-45.0, onset=5.0, t1=40.0)
    found = calcium_threshold(
        passive, 13, [0.0], least=5.0, high=4.0, rounds=7, pairing=pairing, dt=0.1
    )
    assert float(found.paired.value[0]) < float(found.alone.value) < np.inf
    assert float(found.alone.below) < 5.0 <= float(found.alone.above)
    inputs = DualExponential(13, 5.0, found.alone.value)
    v = simulate(passive, inputs, t1=40.0, dt=0.1, record=13).v[:, 0]
    assert int(jnp.sum(v > -45)) == pytest.approx(50, abs=1)


def test_dcaaps_shrink_with_the_current():
    one = Cell(single_compartment(20.0, 20.0), max_length=50.0)
    one = one.insert(Leak(g=5e-5, e=-75.0)).insert(DCaAP(w=0.05))
    curve = dcaap_curve(
        one, 0, [0.01, 0.03, 0.04, 0.06], onset=10.0, duration=300.0, v0=-75.0, dt=0.1,
        solver=BackwardEuler(),
    )  # fmt: skip
    assert curve.count.tolist() == [0, 2, 2, 2]
    assert np.isnan(curve.amplitude[0])
    assert np.all(np.diff(curve.k[1:]) < 0)
    np.testing.assert_allclose(curve.k, np.exp(-(curve.trigger + 36) / 11.7), rtol=1e-6)
    assert np.all(np.diff(curve.amplitude[1:]) < 0)
    np.testing.assert_array_equal(curve.soma_peak[1:] >= curve.peak[1:], True)
