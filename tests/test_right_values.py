"""Right values where a part of the user's own meets the core, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import approx, close
from jaxdend.channels import HH, LIF, Leak
from jaxdend.stimuli import AbstractStimulus
from user_inputs import Saturating


def one() -> jd.Cell:
    return jd.Cell(jd.single_compartment(20.0, 20.0), max_length=30.0).insert(Leak(g=1e-4, e=-65.0))


def stick() -> jd.Cell:
    return jd.Cell(jd.ball_and_stick(15.0, 400.0, 1.0), max_length=101.0).insert(
        Leak(g=1e-4, e=-65.0)
    )


class Late(AbstractStimulus):
    """1 nA on [60, 61) ms."""

    site: jax.Array

    def current(self, t0, t1):
        width = jnp.where(t1 > t0, t1 - t0, 1.0)
        on = jnp.maximum(jnp.minimum(t1, 61.0) - jnp.maximum(t0, 60.0), 0.0) / width
        return self.spread(jnp.where(t1 > t0, on, (60.0 <= t0) & (t0 < 61.0)) * 1.0)

    def edges(self):
        return jnp.array([60.0, 61.0])


@pytest.mark.parametrize("solver", [jd.CrankNicolson(), jd.Rodas4P()], ids=["CN", "Rodas4P"])
def test_no_solver_steps_over_a_late_pulse_of_the_users(solver):
    v = jd.simulate(one(), Late(jnp.array([0])), t1=100.0, solver=solver, record=[0]).v
    assert float(v.max()) == approx(10.728, abs=1e-3)


def test_a_stimulus_without_edges_is_no_class():
    with pytest.raises(TypeError, match="Silent writes current but not edges"):

        class Silent(AbstractStimulus):
            site: jax.Array

            def current(self, t0, t1):
                return self.spread(0.0 * t0)


def test_two_contacts_that_saturate_are_two_groups_of_one():
    def run(*groups):
        return jd.simulate(one(), groups, t1=3.0, record=[0]).v

    two = jnp.array([[1.0], [1.0]])
    together = run(Saturating([0, 0], 1e-2, two))
    alone = [Saturating([0], 1e-2, two[:1]) for _ in range(2)]
    close(together, run(*alone), atol=1e-10)
    assert not Saturating([0, 0], 1e-2, two).merges


@pytest.mark.parametrize("make", [one, stick])
def test_a_silent_synapse_beside_another_has_no_state(make):
    pair = jd.ExpSyn(site=[0, 0], weight=1e-3, times=jnp.array([[1.0], [jnp.inf]]))
    traces = jd.simulate(make(), pair, t1=2.0, record=lambda t, y, model: y.inputs[0][0])
    seen, final = np.asarray(traces["values"][60]), np.asarray(traces.final.inputs[0][0])
    for state, t in ((seen, 1.5), (final, 2.0)):
        assert state[0] == approx(1e-3 * np.exp(-(t + 0.0125 - 1.0) / 0.1), rel=1e-9)
        assert state[1] == 0.0


@pytest.mark.parametrize("solver", [jd.CrankNicolson(), jd.Rodas4P()], ids=["CN", "Rodas4P"])
def test_a_site_of_minus_one_is_nowhere_and_one_past_the_end_fails(solver):
    cell = stick()

    @jax.jit
    def run(site):
        def end(site):
            step = jd.Step(site, 1.0, 4.0, 0.1)
            return jd.simulate(cell, step, t1=5.0, record=[0], solver=solver).v[-1, 0]

        return jax.vmap(end)(site)

    ends = run(jnp.array([0, cell.n - 1, -1]))
    assert float(ends[2]) == approx(-65.0, abs=1e-9)
    assert ends[0] > ends[1] > -64.0
    with pytest.raises(Exception, match="lies outside the cell"):
        jax.block_until_ready(run(jnp.array([0, 99, -1])))


def test_a_known_site_of_minus_one_is_nowhere_too():
    cell = stick()
    both = jd.AMPA([-1, 2], 1e-3, [[1.0], [1.5]])
    only = jd.AMPA([2], 1e-3, [[1.5]])
    found, right = (jd.simulate(cell, item, t1=3.0).v for item in (both, only))
    close(found, right, atol=1e-10)


def test_nowhere_cannot_be_recorded():
    with pytest.raises(ValueError, match="record= site -1 is outside"):
        jd.simulate(stick(), t1=1.0, record=[-1])
    with pytest.raises(Exception, match="cannot be recorded"):
        jax.vmap(lambda r: jd.simulate(stick(), t1=1.0, record=r).v)(jnp.array([0, -1]))


def test_one_time_for_each_synapse_may_mean_two_things():
    with pytest.raises(ValueError, match=r"times\[:, None\].*times\[None, :\]"):
        jd.ExpSyn(site=[3, 9], weight=[1e-3, 2e-3], times=[5.0, 15.0])


@pytest.mark.slow
@pytest.mark.parametrize("solver", [jd.Rodas4P(), jd.Rodas5P()], ids=["Rodas4P", "Rodas5P"])
def test_a_batch_of_gradients_is_its_members(solver):
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(HH())

    def loss(amplitude):
        step = jd.Step(0, 1.0, 5.0, amplitude)
        return jd.simulate(cell, step, t1=6.0, save_every=10, solver=solver).v.mean()

    gradient = jax.jit(jax.grad(loss))
    a = jnp.array([0.0, 0.03, 0.2, 0.4])
    many = jax.jit(jax.vmap(jax.grad(loss)))(a)
    close(many, [gradient(x) for x in a], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [jd.Rodas4P(), jd.Rodas5P()], ids=["Rodas4P", "Rodas5P"])
@pytest.mark.parametrize("rs", [1e-3, 1e-4])
def test_gates_relax_after_a_jump_of_a_stiff_clamp(solver, rs):
    cell = jd.Cell(jd.single_compartment(20.0, 20.0), max_length=30.0).insert(HH())
    clamp = jd.VoltageClamp(0, [-65.0, 0.0], [2.0, 10.0], rs=rs)
    gates = jd.simulate(
        cell, clamp, t1=6.0, dt=0.1, solver=solver, record=lambda t, y, model: y.mechanisms[0]
    )["values"]
    hh, env = cell.inserted[0].mechanism, jd.Env(jnp.array(6.3), {}, {}, {})
    before, after = (hh.gates(jnp.array([v]), env) for v in (-65.0, 0.0))
    lag = np.maximum(np.arange(61) * 0.1 - 2.0, 0.0)
    for name, x in gates.items():
        (start, _), (end, tau) = before[name], after[name]
        right = end + (start - end) * np.exp(-lag / tau)
        assert np.abs(x[:, 0] - right).max() <= 5e-3 * float(np.abs(end - start)[0])


@pytest.mark.parametrize("kind", ["clamp", "waveform"])
@pytest.mark.float64("differences of values drown in rounding in float32")
def test_the_times_of_jumps_have_gradients_under_crank_nicolson(kind):
    """On and off the grid, against differences of an adaptive solver."""
    cell = stick()

    def end(s, solver):
        if kind == "clamp":
            item = jd.VoltageClamp(0, [-70.0, -20.0, -60.0], jnp.array([1.0, 2.0, 9.0]) + s, 0.01)
        else:
            shift = jnp.concatenate([jnp.zeros(1), s[:1], s[:1], s[1:2], s[1:2], jnp.zeros(1)])
            times = jnp.array([0.0, 1.0, 1.0, 3.0, 3.0, 9.0]) + shift
            item = jd.Waveform(0, times, jnp.array([0.0, 0.0, 0.1, 0.1, -0.05, -0.05]))
        return jd.simulate(cell, item, t1=5.0, record=[cell.n - 1], solver=solver).v[-1, 0]

    found = jax.jit(lambda s: jax.grad(end)(s, jd.CrankNicolson()))
    fine = jax.jit(lambda s: end(s, jd.Rodas5P(1e-7)))
    for s in (jnp.zeros(3), jnp.array([0.0113, -0.0042, 0.0])):
        h = 1e-3 * jnp.eye(3)[:2]
        right = jnp.stack([(fine(s + e) - fine(s - e)) / 2e-3 for e in h])
        assert np.abs(right).min() > 0.05
        close(found(s)[:2], right, rtol=0.02)


def test_gradients_within_a_thousand_bytes():
    def end(amplitude, memory):
        step = jd.Step(0, 1.0, 1.0, amplitude)
        return jd.simulate(one(), step, t1=2.0, record=[0], memory=memory).v[-1, 0]

    tight, ample = (jax.grad(end)(0.1, memory) for memory in (1000, "64MB"))
    assert float(tight) == approx(float(ample), rel=1e-12)
    with pytest.raises(ValueError, match="it takes at least memory=[0-9]+ bytes"):
        jax.grad(end)(0.1, 20)


def test_a_point_neuron_elsewhere_leaves_the_numbers_of_a_compartment():
    """The floor of slopes is for compartments with a reset alone."""

    def peak(far):
        cell = jd.Cell.from_compartments(
            parent=[-1, 0], axial_resistance=[1.0, 1e12], area=[1000.0, 1000.0]
        ).insert(HH(), [0])
        step = jd.Step(0, 1.0, 5.0, 0.3)
        return jd.simulate(cell.insert(far, [1]), step, t1=6.0, dt=0.1, record=[0]).v

    with_reset, without = peak(LIF()), peak(Leak(g=1e-4, e=-70.0))
    assert float(without.max()) > 20.0
    close(with_reset, without, atol=1e-9)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # of compartment numbers
def test_precision_may_change_between_runs():
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(HH())
    step = jd.Step(0, 1.0, 1.0, 0.1)
    for x64 in (True, False, True):
        with jax.enable_x64(x64):
            state = jd.rest(cell)
            v = jd.simulate(cell, step, t1=2.0, solver=jd.Rodas4P(), v0=state).v
        dtype = jnp.float64 if x64 else jnp.float32
        assert state.v.dtype == dtype
        assert v.dtype == dtype
        assert float(v[0, 0]) == approx(-65.0, abs=0.5)
