"""Numbers read off a trace, against traces of a known shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend import protocols
from jaxdend.cell import Cell
from jaxdend.channels import Leak
from jaxdend.morphology import single_compartment
from jaxdend.protocols import measured, spike_count, time_above
from jaxdend.stimuli import DualExponential, Step


def test_peak_and_half_width_of_a_triangle():
    ts = np.arange(0.0, 20.0, 0.1)
    v = np.stack([-70 + 10 * np.maximum(0, 1 - abs(ts - 8) / 3.03), 0 * ts - 60], axis=1)
    v[0] = 50.0  # before the onset
    found = measured(jnp.asarray(ts), jnp.asarray(v), 2.0)
    np.testing.assert_allclose(found.base, [-70, -60])
    np.testing.assert_allclose(found.amplitude, [10, 0], atol=1e-9)
    np.testing.assert_allclose(found.time[0], 6.0)
    np.testing.assert_allclose(found.half_width[0], 3.03, rtol=1e-9)


def test_half_width_is_infinite_without_a_return():
    ts = jnp.arange(0.0, 10.0, 0.5)
    assert measured(ts, -70 + ts[:, None], 0.0).half_width[0] == jnp.inf


def test_time_above_and_spike_count():
    ts = jnp.linspace(0.0, 100.0, 1001)
    v = -40 + 20 * jnp.sin(2 * jnp.pi * ts / 25 + 0.1)
    assert float(time_above(ts, v, -40.0)) == pytest.approx(50.0, abs=1e-2)
    assert float(time_above(ts, v, -30.0)) == pytest.approx(100 / 3, abs=1e-2)
    assert int(spike_count(v, -30.0)) == 4
    assert float(time_above(ts, jnp.full_like(ts, -50.0), -40.0)) == 0.0


@pytest.fixture(scope="module")
def cell():
    return Cell(single_compartment(20.0, 20.0), max_length=50.0).insert(Leak(g=1e-4, e=-65.0))


def test_response_of_an_rc_circuit_and_its_gradient(cell):
    """10 ms time constant; the peak is where the current equals the leak, a known integral."""
    tau, area = 10.0, float(cell.area[0])

    def peak(amplitude):
        pulse = DualExponential(0, 0.0, amplitude, 0.5, 5.0)
        return protocols.response(cell, pulse, 0, t1=60.0, dt=0.05).amplitude[0]

    s = np.arange(0.0, 60.0, 0.001)
    top = np.log(10) / 1.8
    scale = 0.01 / (np.exp(-top / 5) - np.exp(-top / 0.5)) / (area * 1e-5)

    def filtered(decay):  # the RC circuit's answer to exp(-s / decay)
        return (np.exp(-s / tau) - np.exp(-s / decay)) / (1 / decay - 1 / tau)

    exact = scale * np.max(filtered(5.0) - filtered(0.5))
    value, slope = jax.value_and_grad(peak)(0.01)
    assert float(value) == pytest.approx(exact, rel=2e-4)
    assert float(slope) == pytest.approx(exact / 0.01, rel=2e-4)
    batch = jax.vmap(peak)(jnp.asarray([0.01, 0.02]))
    np.testing.assert_allclose(batch, [value, 2 * value], rtol=1e-9)


def test_a_settled_state_is_where_a_run_without_inputs_ends(cell):
    state = protocols.settle(cell, 25.0, v0=-55.0, dt=0.1)
    assert float(state.v[0]) == pytest.approx(-65 + 10 * np.exp(-2.5), abs=1e-3)
    base = protocols.response(cell, Step(0, 0.0, 1.0, 0.0), 0, t1=1.0, v0=state).base
    np.testing.assert_array_equal(base[0], state.v[0])


def test_sites_outside_the_cell_are_named(cell):
    with pytest.raises(ValueError, match=r"sites: expected compartment numbers in 0..0.*got \[3\]"):
        protocols.response(cell, (), [3], t1=1.0)
    with pytest.raises(ValueError, match="sites: expected compartment numbers"):
        protocols.resistances(cell, 0.5)
