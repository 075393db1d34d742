"""Ready-made neurons: each dendritic spike, and finite gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.models import l5pc
from jaxdend.simulate import simulate
from jaxdend.stimuli import Step, Waveform
from jaxdend.synapses import AMPA, NMDA
from jaxdend.traces import spike_times


@pytest.fixture(scope="module")
def cell():
    return l5pc()


def end_of_trunk(cell) -> int:
    trunk = np.flatnonzero(cell.region("trunk"))
    return int(trunk[np.argmax(cell.distance[trunk])])


def run(cell, pulse: float, epsp: float):
    site = end_of_trunk(cell)
    s = np.arange(0.0, 60.0, 0.05)
    current = np.exp(-s / 5) - np.exp(-s / 0.5)
    inputs = [Step(0, 55.0, 5.0, pulse), Waveform(site, 60 + s, epsp * current / current.max())]
    return simulate(cell, inputs, t1=120.0, dt=0.05, record=[0, site], v0=-80.0)


def test_coincidence_makes_a_calcium_spike(cell):
    def plateau(traces) -> float:
        return float(jnp.sum(traces.v[1000:, 1] > -40) * 0.05)

    back, apical, both = run(cell, 1.9, 0.0), run(cell, 0.0, 1.0), run(cell, 1.9, 1.0)
    assert len(spike_times(back, -10.0)) == 1
    assert len(spike_times(apical, -10.0)) == 0
    assert len(spike_times(both, -10.0)) >= 2
    assert plateau(back) + plateau(apical) < 1.0
    assert 15.0 < plateau(both) < 60.0
    assert float(back.v[1000:, 1].max()) > float(back.v[1000, 1]) + 10  # it does back-propagate


def test_nmda_spike_on_a_basal_branch(cell):
    basal = np.flatnonzero(cell.region("basal"))
    site = int(basal[np.argmax(cell.distance[basal])])

    def width(ampa: float, nmda: float) -> float:
        """How long the branch stays above half way, ms, after this many synapses."""
        inputs = [AMPA(site, 4e-4 * ampa, [40.0]), NMDA(site, 4e-4 * nmda, [40.0])]
        v = simulate(cell, inputs, t1=150.0, dt=0.05, record=[site], v0=-80.0).v[800:, 0]
        return float(jnp.sum(v > (v[0] + v.max()) / 2) * 0.05)

    assert width(2, 2) < 10.0
    assert width(40, 40) > 25.0
    assert width(40, 0) < 20.0


@pytest.mark.parametrize("region", ["basal", "tuft"])
def test_nmda_spike_lasts_50_to_150_ms(cell, region):
    """Forty synapses along a branch, NMDA to AMPA 2.5."""
    index = np.flatnonzero(cell.region(region))
    site = index[np.argmax(cell.distance[index])]
    branch = np.flatnonzero(cell.section == cell.section[site])
    at = np.full((len(branch), 1), 40.0)

    def width(nmda: float) -> float:
        weight = 40 * 4e-4 / len(branch)
        inputs = [AMPA(branch, weight, at), NMDA(branch, nmda * weight, at)]
        v = simulate(cell, inputs, t1=200.0, dt=0.05, record=[site], v0=-80.0).v[800:, 0]
        return float(jnp.sum(v > (v[0] + v.max()) / 2) * 0.05)

    assert 50.0 < width(2.5) < 150.0
    assert width(0.0) < 15.0


@pytest.mark.slow
@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_gradients_are_finite(double):
    """Through a somatic spike, by every number of the cell."""
    with jax.enable_x64(double):
        by = eqx.filter_jit(eqx.filter_grad(_mean_voltage))(l5pc())
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(by)]
    assert {leaf.dtype.name for leaf in leaves} == {"float64" if double else "float32"}
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert any((leaf != 0).any() for leaf in leaves)


def _mean_voltage(cell):
    traces = simulate(cell, Step(0, 1.0, 5.0, 1.9), t1=6.0, dt=0.05, record=[0], v0=-80.0)
    return jnp.mean(traces.v)
