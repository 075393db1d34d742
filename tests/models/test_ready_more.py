"""Ready-made neurons of human layer 2/3 and CA1: each dendritic event, and finite gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.channels import DCaAP
from jaxdend.models import ca1, dcaap_sites, l23_human
from jaxdend.simulate import simulate
from jaxdend.stimuli import DualExponential, Step
from jaxdend.synapses import AMPA, NMDA
from jaxdend.traces import spike_times

# human layer 2/3


@pytest.fixture(scope="module", params=[0, 1], ids="seed{}".format)
def human(request):
    return l23_human(request.param)


def dcaaps(cell) -> list[int]:
    return [int(i) for i in cell.mechanisms["DCaAP"].at.index]


def human_step(cell, site: int, amplitude: float, duration: float = 260.0):
    """Traces of the soma, the coupled and the uncoupled site."""
    step = Step(site, 20.0, duration, amplitude)
    record = [0, *dcaaps(cell)]
    return simulate(cell, step, t1=280.0, dt=0.05, record=record, v0=-74.0)


def test_human_neuron_has_two_dcaaps(human):
    coupled, uncoupled = dcaaps(human)
    assert human.distance[[coupled, uncoupled]] == pytest.approx([420.0, 532.0], abs=20)
    by_side = human.section[[coupled, uncoupled]]
    assert by_side[0] < np.median(np.unique(human.section[human.region("tuft")])) < by_side[1]
    assert 15_000 < human.length[human.region("dendrite")].sum() < 20_000


def test_human_soma_fires_once_and_triggers_no_dcaap(human):
    traces = human_step(human, 0, 3.0, 3.0)
    assert len(spike_times(traces, -10.0)) == 1
    assert float(traces.v[:, 1:].max()) < -36.0


def test_dcaap_shrinks_with_the_strength_of_its_input(human):
    """The second of a step, 200 ms after the first, above the voltage before it."""

    def second(amplitude: float) -> tuple[float, float]:
        traces = human_step(human, dcaaps(human)[1], amplitude)
        v = np.asarray(traces.v)
        first = int(np.argmax(v[:, 2] > -36.0))
        before = first + 3990
        assert len(spike_times(traces, -10.0)) == 0
        return v[:3900, 2].max(), v[before:, 2].max() - v[before, 2]

    full, amplitudes = zip(*(second(x) for x in (0.18, 0.22, 0.28)), strict=True)
    assert min(full) > 15.0  # the first is always full
    assert amplitudes[0] > 20.0
    assert amplitudes[0] > amplitudes[1] + 5 > amplitudes[2] + 10


def test_coupled_dcaap_fires_the_soma(human):
    at = dcaaps(human)
    silent = human.insert(DCaAP(w=0.0), np.array(at))
    with_it, without = (human_step(cell, at[0], 0.3) for cell in (human, silent))
    assert float(with_it.v[:, 1].max()) > float(without.v[:, 1].max()) + 40
    assert 1 <= len(spike_times(with_it, -10.0)) <= 2
    assert len(spike_times(without, -10.0)) == 0


def test_dcaap_sites_are_those_of_the_formula(human):
    assert list(dcaap_sites(human)) == dcaaps(human)


def first_peak(v) -> float:
    """The largest voltage before the first fall by 10 mV."""
    highest = np.maximum.accumulate(v)
    fallen = highest - v >= 10.0
    return float(highest[np.argmax(fallen)] if fallen.any() else v.max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "which", "threshold"),
    [(0, 0, 0.190), (0, 1, 0.138), (1, 0, 0.1695), (1, 1, 0.097)],
)
def test_human_dcaap_of_channels_shrinks_from_the_first_event_on(seed, which, threshold):
    cell = l23_human(seed, 60.0, dcaap="channels")
    assert "DCaAP" not in cell.mechanisms
    site = dcaap_sites(cell)[which]

    @jax.jit
    @jax.vmap
    def run(current):
        step = Step(site, 10.0, 250.0, current)
        return simulate(cell, step, t1=250.0, dt=0.1, v0=-74.0, record=[site, 0]).v[100:]

    v = np.asarray(run(threshold * jnp.array([0.9, 1.01, 1.25, 2.0])))
    first = np.array([first_peak(x[:, 0]) for x in v])
    height = first - np.median(v[:, -500:, 0], axis=1)
    assert height[0] < 5.0
    assert height[1] > 30.0
    assert height[3] < height[2] + 1.0 < 0.5 * height[1]
    assert np.all(first[2:] < first[1] - 10.0)


def test_human_soma_fires_once_with_dcaaps_of_channels():
    cell = l23_human(0, 60.0, dcaap="channels")
    step, sites = Step(0, 20.0, 3.0, 3.0), list(dcaap_sites(cell))
    traces = simulate(cell, step, t1=150.0, dt=0.05, v0=-74.0, record=[0, *sites])
    assert len(spike_times(traces, -10.0)) == 1
    assert float(traces.v[:, 1:].max()) < -45.0  # no dCaAP
    np.testing.assert_allclose(traces.v[-1], -74.0, atol=0.1)


def test_l23_human_knows_its_dcaaps():
    with pytest.raises(ValueError, match="dcaap must be 'formula' or 'channels'; got 'channel'"):
        l23_human(dcaap="channel")


# CA1


@pytest.fixture(scope="module")
def pyramid():
    return ca1()


def at_distance(cell, region: str, distance: float) -> int:
    index = np.flatnonzero(cell.region(region))
    return int(index[np.argmin(np.abs(cell.distance[index] - distance))])


def tip_of_oblique(cell) -> int:
    oblique = np.flatnonzero(cell.region("oblique") & (cell.distance < 280.0))
    return int(oblique[np.argmax(cell.distance[oblique])])


def ca1_run(cell, inputs, record, t1: float = 30.0):
    return simulate(cell, inputs, t1=t1, dt=0.05, record=record, v0=-65.0)


def half_width(v: np.ndarray) -> float:
    """Ms above half way from the first value to the peak."""
    return float((v > (v[0] + v.max()) / 2).sum() * 0.05)


def scaled(cell, name: str, by):
    """The cell with the conductance of one channel multiplied."""
    return eqx.tree_at(
        lambda c: c.mechanisms[name].mechanism.gbar,
        cell,
        cell.mechanisms[name].mechanism.gbar * by,
    )


def test_ca1_rests(pyramid):
    traces = ca1_run(pyramid, (), np.arange(pyramid.n))
    np.testing.assert_allclose(traces.v[-1], -65.0, atol=0.1)


def test_a_current_and_distance_attenuate_the_ca1_spike(pyramid):
    sites = [0, *(at_distance(pyramid, "trunk", d) for d in (50.0, 150.0, 270.0))]
    den = pyramid.region("dendrite")[pyramid.mechanisms["KA"].at.index]
    pulse = Step(0, 5.0, 1.5, 2.5)
    control = ca1_run(pyramid, pulse, sites)
    blocked = ca1_run(scaled(pyramid, "KA", np.where(den, 0.2, 1.0)), pulse, sites)
    assert len(spike_times(control, -10.0)) == 1  # blocked, it bursts
    peak = np.asarray(control.v.max(axis=0))
    assert np.all(np.diff(peak) < -5.0)
    assert np.all(np.asarray(blocked.v[:200].max(axis=0))[2:] > peak[2:] + 15.0)


def test_sodium_spikelet_and_nmda_spike_on_a_ca1_oblique(pyramid):
    site = tip_of_oblique(pyramid)
    branch = np.flatnonzero(pyramid.section == pyramid.section[site])
    k = len(branch)

    def run(ampa: float, nmda: float) -> np.ndarray:
        at = np.full((k, 1), 5.0)
        share = np.where(branch == site, 1.0, 0.0) if nmda == 0 else np.full(k, 1 / k)
        inputs = [AMPA(branch, 5e-4 * ampa * share, at), NMDA(branch, 1.25e-3 * nmda * share, at)]
        return np.asarray(ca1_run(pyramid, inputs, [site, 0], 150.0).v)

    epsp, spikelet, plateau = run(3, 0), run(6, 0), run(40, 40)
    assert half_width(epsp[:, 0]) > 3.0
    assert epsp[:, 0].max() < -40.0
    assert 0.7 < half_width(spikelet[:, 0]) < 2.0
    assert spikelet[:, 0].max() > -20.0
    assert spikelet[:, 1].max() < -60.0  # the soma hardly sees it
    assert 50.0 < half_width(plateau[:, 0]) < 150.0
    assert half_width(run(40, 0)[:, 0]) < 15.0


def test_calcium_plateau_in_the_ca1_tuft(pyramid):
    site = at_distance(pyramid, "tuft", 0.0)

    def above(cell, amplitude: float) -> tuple[float, int]:
        epsp = DualExponential(site, 5.0, amplitude, 1.0, 10.0)
        traces = ca1_run(cell, epsp, [0, site], 100.0)
        return float((traces.v[:, 1] > -40).sum() * 0.05), len(spike_times(traces, -10.0))

    assert above(pyramid, 0.3) == (0.0, 0)
    plateau, spikes = above(pyramid, 1.2)
    assert 30.0 < plateau < 90.0
    assert spikes >= 2
    assert above(scaled(pyramid, "CaPoirazi", 0.0), 1.2)[0] < 15.0


@pytest.mark.slow
@pytest.mark.parametrize("build", [ca1, l23_human], ids=["ca1", "l23_human"])
def test_gradients_are_finite(build):
    """In float32, through a somatic spike, by every number of the cell."""

    def loss(cell):
        traces = simulate(cell, Step(0, 0.5, 3.0, 3.0), t1=5.0, dt=0.05, record=[0], v0=-70.0)
        return jnp.mean(traces.v)

    with jax.enable_x64(False):
        by = eqx.filter_jit(eqx.filter_grad(loss))(build())
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(by)]
    assert {leaf.dtype.name for leaf in leaves} == {"float32"}
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert any((leaf != 0).any() for leaf in leaves)
