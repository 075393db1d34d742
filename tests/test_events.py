"""Events of synapses: delivered at their exact times, or rounded as NEURON does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
import neuron_geometry as oracle
from helpers import approx, close, tol
from jaxdend.channels import Leak
from jaxdend.events import EventTable, delivery_step, widest_step
from jaxdend.synapses import AlphaSynapse, ExpSyn

H, STEPS = 0.025, 400
GRID = jnp.asarray(np.append(0.0, np.cumsum(np.full(2 * STEPS, H / 2))[1::2]))  # as NEURON adds
STARTS = np.asarray(GRID)
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
    h = jnp.asarray(H)
    table = EventTable.of(group, GRID, h, rounded, width)

    def step(z, n):
        z = table.due(n).deliver(z)
        return group.decay(z, h), group.conductance(z)

    z = EventTable.before(group, GRID[0], h, rounded)
    return np.asarray(jax.lax.scan(step, z, jnp.arange(STEPS))[1])


@pytest.mark.parametrize("group", groups(), ids=lambda group: type(group).__name__)
def test_carried_traces_equal_the_sum_over_events(group):
    """At mid-step, where the second-order scheme uses them; earlier events included."""
    mid = (np.arange(STEPS) + 0.5) * H
    expected = np.stack([np.asarray(group.summed(t)) for t in mid])
    width = widest_step(TIMES, STARTS, H)
    close(carried(group, False, width), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("rounded", [False, True])
def test_the_width_changes_nothing(rounded):
    for group in groups():
        some = carried(group, rounded, widest_step(TIMES, STARTS, H))
        np.testing.assert_array_equal(some, carried(group, rounded, None))


def test_known_and_traced_times_give_the_same_voltage():
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(Leak(g=1e-4, e=-65.0))

    def run(times):
        synapse = ExpSyn(np.array([0, 0]), WEIGHT, times, tau=3.0)
        return jd.simulate(cell, synapse, t1=10.0).v

    # a rounding of a time, times how fast the voltage moves
    close(run(TIMES), jax.jit(run)(TIMES), rtol=0, atol=tol(1e-12, 2e-3))


def test_an_event_belongs_to_the_step_nearest_to_it():
    times = jnp.array([0.0, 0.0124, 0.0126, 0.025, 0.0374, 0.0376, -0.02, 99.0, jnp.inf])
    steps = delivery_step(times, GRID, jnp.asarray(H))
    assert steps.tolist() == [0, 0, 1, 1, 1, 2, -1, STEPS, STEPS]


def test_widest_step_is_a_power_of_two_that_suffices():
    assert widest_step(np.array([np.inf]), STARTS, H) == 1
    assert widest_step(np.array([1.0, 2.0]), STARTS, H) == 1
    assert widest_step(np.array([1.0, 1.001, 1.002]), STARTS, H) == 4


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
    close(traces.v[:, 0], np.array(v), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dt", [0.05, 0.025, 0.001])
@pytest.mark.float64("it is float64's rounding that decides")
def test_half_way_between_steps_rounding_decides_as_in_neuron(dt):
    """Events at t + dt/2, which NEURON's sums of dt/2 miss by rounding, either way."""
    h = oracle.empty_neuron()
    h.celsius, h.secondorder, h.dt = 6.3, 0, dt
    soma = h.Section(name="soma")
    soma.L = soma.diam = 20.0
    soma.insert("pas")
    soma.g_pas, soma.e_pas = 1e-4, -65.0
    steps = 3000
    times = (np.random.default_rng(0).choice(steps - 1, 60, replace=False) + 0.5) * dt
    synapse = h.ExpSyn(soma(0.5))
    synapse.tau, synapse.e = 2.0, 0.0
    source = h.NetCon(None, synapse)
    source.weight[0], source.delay = 2e-4, 0.0
    v = h.Vector().record(soma(0.5)._ref_v)
    h.finitialize(-65.0)
    for time in times:
        source.event(time)
    for _ in range(steps):
        h.fadvance()
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(Leak(g=1e-4, e=-65.0))
    ours = ExpSyn(0, weight=2e-4, times=times, tau=2.0)
    traces = jd.simulate(cell, ours, t1=steps * dt, dt=dt, solver=jd.BackwardEuler())
    close(traces.v[:, 0], np.array(v), rtol=0, atol=1e-9)


def test_an_event_where_runs_join_is_delivered_once():
    """At the last half step, within rounding: by the first run, never by none or both."""
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(Leak(g=1e-4, e=-65.0))

    @jax.jit
    def halves(time):
        synapse = ExpSyn(0, weight=1e-3, times=time[None], tau=1e9, max_per_step=1)
        first = jd.simulate(cell, synapse, t1=3.0, dt=0.025, solver=jd.BackwardEuler(), throw=False)
        second = jd.simulate(
            cell, synapse, t0=3.0, t1=4.0, dt=0.025, solver=jd.BackwardEuler(), v0=first.final,
            throw=False,
        )  # fmt: skip
        return first.final.inputs[0][0][0], second.final.inputs[0][0][0]

    for shift in (-1e-3, -1e-12, 0.0, 1e-12, 1e-10, 1e-3):
        first, second = halves(jnp.asarray(3.0 - 0.0125 + shift))
        assert float(second) == approx(1e-3, rel=1e-6)
        assert (float(first) > 0) == (shift < 1e-4)


def test_float32_loses_no_event():
    """The bound on the events of a step holds for the steps of the run, rounded as they are."""
    with jax.enable_x64(False):
        rng = np.random.default_rng(0)
        steps, dt = 40000, 0.025
        near = (rng.choice(steps - 9, 3000) + 0.5) * dt + rng.normal(0.0, 2e-4, 3000)
        times = near.astype(np.float32).reshape(300, 10)
        group = ExpSyn(np.zeros(300, int), 1.0, times, tau=1.0)
        grid = np.append(0.0, np.cumsum(np.full(2 * steps, dt / 2))[1::2])
        step = delivery_step(group.times.reshape(-1), jnp.asarray(grid, float), jnp.asarray(dt))
        most = np.bincount(np.asarray(step)).max()
        assert most <= widest_step(np.asarray(group.times), np.asarray(grid), dt) < 2 * most
