"""Events of synapses: delivered at their exact times, or rounded as NEURON does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
import neuron_geometry as oracle
from jaxdend.channels import Leak
from jaxdend.events import EventTable, delivery_step, widest_step
from jaxdend.synapses import AlphaSynapse, ExpSyn

H, STEPS = 0.025, 400
TIMES = np.array([[0.0, 0.5013, 2.3377, 2.3378, np.inf], [-3.2, -0.001, 4.9, 9.9871, 20.0]])
WEIGHT = np.array([[1.0, 2.0, 0.5, 1.0, 1.0], [1.0, 0.3, 2.0, 1.0, 1.0]]) * 1e-3


def groups():
    sites = np.array([0, 0])
    return [
        ExpSyn(sites, WEIGHT, TIMES, tau=3.0),
        jd.Exp2Syn(sites, WEIGHT, TIMES, tau1=0.5, tau2=4.0),
        AlphaSynapse(sites, WEIGHT, TIMES, tau=1.5),
    ]


def carried(group, rounded: bool, width: int | None) -> np.ndarray:
    """`(steps, k)` µS, the conductance that each step uses."""
    start, h = jnp.zeros(()), jnp.asarray(H)
    table = EventTable.of(group, start, h, STEPS, rounded, width)

    def step(z, n):
        z = table.deliver(z, n)
        return group.decay(z, h), group.conductance(z)

    z = EventTable.before(group, start, h, rounded)
    return np.asarray(jax.lax.scan(step, z, jnp.arange(STEPS))[1])


@pytest.mark.parametrize("group", groups(), ids=lambda group: type(group).__name__)
def test_carried_traces_equal_the_sum_over_events(group):
    """At mid-step, where the second-order scheme uses them; earlier events included."""
    mid = (np.arange(STEPS) + 0.5) * H
    expected = np.stack([np.asarray(group.summed(t)) for t in mid])
    width = widest_step(TIMES, 0.0, H, STEPS)
    np.testing.assert_allclose(carried(group, False, width), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("rounded", [False, True])
def test_the_width_changes_nothing(rounded):
    for group in groups():
        some = carried(group, rounded, widest_step(TIMES, 0.0, H, STEPS))
        np.testing.assert_array_equal(some, carried(group, rounded, None))


def test_known_and_traced_times_give_the_same_voltage():
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(Leak(g=1e-4, e=-65.0))

    def run(times):
        synapse = ExpSyn(np.array([0, 0]), WEIGHT, times, tau=3.0)
        return jd.simulate(cell, synapse, t1=10.0).v

    np.testing.assert_allclose(run(TIMES), jax.jit(run)(TIMES), rtol=0, atol=1e-12)


def test_an_event_belongs_to_the_step_nearest_to_it():
    times = jnp.array([0.0, 0.0124, 0.0126, 0.025, 0.0374, 0.0376, -0.02, 99.0, jnp.inf])
    steps = delivery_step(times, jnp.zeros(()), jnp.asarray(H), STEPS)
    assert steps.tolist() == [0, 0, 1, 1, 1, 2, -1, STEPS, STEPS]


def test_widest_step_is_a_power_of_two_that_suffices():
    assert widest_step(np.array([np.inf]), 0.0, H, STEPS) == 1
    assert widest_step(np.array([1.0, 2.0]), 0.0, H, STEPS) == 1
    assert widest_step(np.array([1.0, 1.001, 1.002]), 0.0, H, STEPS) == 4


def test_rounding_is_that_of_neuron():
    """Events on the grid, off it, and two in one step; equal voltages at every step."""
    h = oracle.empty_neuron()
    h.celsius, h.secondorder, h.dt = 6.3, 0, H
    soma = h.Section(name="soma")
    soma.L = soma.diam = 20.0
    soma.insert("pas")
    soma.g_pas, soma.e_pas = 1e-4, -65.0
    times = [1.0, 2.0061, 2.0186, 3.3131, 3.3132, 5.037]
    synapse = h.Exp2Syn(soma(0.5))
    synapse.tau1, synapse.tau2, synapse.e = 0.5, 4.0, 0.0
    source = h.NetCon(None, synapse)
    source.weight[0], source.delay = 2e-3, 0.0
    v = h.Vector().record(soma(0.5)._ref_v)
    h.finitialize(-65.0)
    for time in times:
        source.event(time)
    for _ in range(STEPS):
        h.fadvance()
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(Leak(g=1e-4, e=-65.0))
    ours = jd.Exp2Syn(0, weight=2e-3, times=times, tau1=0.5, tau2=4.0)
    traces = jd.simulate(cell, ours, t1=STEPS * H, solver=jd.BackwardEuler())
    np.testing.assert_allclose(traces.v[:, 0], np.array(v), rtol=0, atol=1e-9)
