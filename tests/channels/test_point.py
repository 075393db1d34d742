"""Neurons with threshold and reset against closed forms and plain loops with small steps."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from channels.formulas import ADEX, IZHIKEVICH
from helpers import PRECISIONS, approx, close
from jaxdend.channels import CHANNELS, LIF, AdEx, Izhikevich, Leak
from jaxdend.mechanisms.base import Env

END = 100.0
SOLVERS = [jd.BackwardEuler(), jd.CrankNicolson()]
ENV = Env(jnp.asarray(20.0), {}, {}, {})
NF = 1e5  # µm² that make 1 nF at 1 µF/cm²
every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=["BE", "CN"])
DRIVE = dict.fromkeys(IZHIKEVICH, 10.0)


def single(mechanism) -> jd.Cell:
    cell = jd.Cell.from_compartments(parent=[-1], axial_resistance=[1.0], area=[NF], cm=1.0)
    return cell.insert(mechanism)


def run(mechanism, current, v0, solver, dt=0.025, t1=END, **more) -> jd.Traces:
    step = jd.Step(0, onset=0.0, duration=1e6, amplitude=current)  # nA on 1 nF: mV/ms
    return jd.simulate(single(mechanism), step, t1=t1, dt=dt, solver=solver, v0=v0, **more)


def all_of(mechanisms, currents, v0, threshold, solver, dt):
    """Spike times (preset, 64) and voltages of many neurons in one program."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *mechanisms)

    def one(mechanism, current, v0):
        traces = run(mechanism, current, v0, solver, dt)
        return jd.spike_times(traces, threshold, max_spikes=64), traces.v

    times, v = jax.vmap(one)(stacked, jnp.asarray(currents), jnp.asarray(v0))
    return np.asarray(times), np.asarray(v)


def march(slope, v, w, reset, increment, peak, h=1e-3) -> list[list[float]]:
    """Heun's method for many neurons at once; spike times of each."""
    times = [[] for _ in v]
    for k in range(round(END / h)):
        first = slope(v, w)
        second = slope(np.minimum(v + h * first[0], peak), w + h * first[1])
        v, w = v + h / 2 * (first[0] + second[0]), w + h / 2 * (first[1] + second[1])
        for i in np.flatnonzero(v >= peak):
            times[i].append((k + 1) * h)
            v[i], w[i] = reset[i], w[i] + increment[i]
    return times


@pytest.fixture(scope="module")
def izhikevich_times():
    a, b, c, d = np.array(list(IZHIKEVICH.values()), float).T
    current = np.array(list(DRIVE.values()))

    def slope(v, u):
        return 0.04 * v**2 + 5 * v + 140 - u + current, a * (b * v - u)

    v = np.full(len(a), -65.0)
    return march(slope, v, b * v, c, d, np.full(len(a), 30.0))


@pytest.fixture(scope="module")
def adex_times():
    c, g, e, vt, a, tau, b, vr, peak, current = np.array(list(ADEX.values()), float).T

    def slope(v, w):
        grown = g * 2 * np.exp(np.minimum((v - vt) / 2, 20))
        return (-g * (v - e) + grown - w + current) / c, (a * (v - e) - w) / tau

    return march(slope, e.copy(), 0 * e, vr, b, peak)


def compare(times, want, dt, chaotic=()):
    """Equal counts, and every spike late or early by at most 2.5 steps per spike so far."""
    for i, spikes in enumerate(want):
        found = times[i][times[i] < END - 3.0]
        spikes = np.array([t for t in spikes if t < END - 3.0])
        if i in chaotic:
            found, spikes = found[:3], spikes[:3]
        assert len(spikes) >= 2
        assert len(found) == len(spikes), i
        error = np.abs(found - spikes) / (1 + np.arange(len(spikes)))
        assert error.max() <= 2.5 * dt, (i, error)


@every_solver
def test_izhikevich_spikes_as_a_fine_plain_loop(solver, izhikevich_times):
    made = [Izhikevich.preset(name) for name in IZHIKEVICH]
    currents, v0 = list(DRIVE.values()), np.full(len(made), -65.0)
    times, v = all_of(made, currents, v0, 30.0, solver, 0.025)
    compare(times, izhikevich_times, 0.025)
    assert np.isfinite(times).sum() == (v >= 30.0).sum()  # every spike is one sample
    times, v = all_of(made, currents, v0, 30.0, solver, 0.1)
    assert np.abs(v).max() < 200.0


@every_solver
def test_adex_spikes_as_a_fine_plain_loop(solver, adex_times):
    made = [AdEx.preset(name) for name in ADEX]
    rows = np.array(list(ADEX.values()))
    currents, v0 = rows[:, -1] / rows[:, 0], rows[:, 2]  # pA/pF
    times, v = all_of(made, currents, v0, -20.0, solver, 0.025)
    compare(times, adex_times, 0.025, chaotic=[list(ADEX).index("irregular")])
    assert np.isfinite(times).sum() == (v >= rows[:, 8, None, None]).sum()
    times, v = all_of(made, currents, v0, -20.0, solver, 0.1)
    assert np.abs(v).max() < 600.0


@pytest.mark.parametrize("pattern", ["adapting", "initial_burst", "regular_bursting"])
def test_adex_patterns(pattern, adex_times):
    gaps = np.diff(adex_times[list(ADEX).index(pattern)])
    if pattern == "adapting":
        assert (np.diff(gaps) > 0).all()
    if pattern == "initial_burst":
        assert gaps[0] < 0.5 * gaps[-1]
    if pattern == "regular_bursting":
        assert END - adex_times[list(ADEX).index(pattern)][-1] > 10 * gaps.min()


@every_solver
@pytest.mark.parametrize("name", ["LIF", "Izhikevich.CH", "AdEx.regular_bursting"])
def test_no_input_blows_up(name, solver):
    for dt in (0.025, 0.1):
        v = run(CHANNELS[name](), 300.0, -65.0, solver, dt, t1=20.0).v
        assert np.abs(v).max() < 1000.0


@every_solver
def test_lif_interval_is_the_closed_form(solver):
    g, e, vth, vreset, wait, tau = 1e-4, -70.0, -50.0, -65.0, 2.0, 10.0
    currents = np.array([2.2, 3.0, 5.0, 12.0])  # mV/ms
    made = [LIF(g, e, vth, vreset, wait)] * 4
    times, v = all_of(made, currents, np.full(4, e), vth, solver, 0.025)
    v_inf = e + currents * tau
    want = wait + tau * np.log((v_inf - vreset) / (v_inf - vth))
    for i in range(4):
        gaps = np.diff(times[i][np.isfinite(times[i])])
        assert len(gaps) == approx(END / want[i], abs=2.5)
        assert gaps == approx(want[i], abs=(1.2 + 2 * (not solver.second_order)) * 0.025)
        first = tau * np.log((v_inf[i] - e) / (v_inf[i] - vth))
        assert times[i][0] == approx(first, abs=5e-2)
    held = np.isclose(v[-1, :, 0], vreset, rtol=0, atol=1e-4).sum()
    assert held == np.isfinite(times[-1]).sum() * 80


@every_solver
def test_lif_slope_of_the_first_spike_time(solver):
    def first(current):
        traces = run(LIF(), current, -70.0, solver, t1=20.0, record=[0])
        return jd.spike_times(traces, -50.0, max_spikes=1)[0]

    want = 10.0 * (1 / 30.0 - 1 / 10.0) * 10.0  # of 10 ln(10 I / (10 I - 20)) at I = 3
    assert float(jax.grad(first)(3.0)) == approx(want, rel=5e-3)


def test_refractory_time_goes_on_from_the_final_state():
    channel, solver = LIF(refractory=3.0), jd.BackwardEuler()
    whole = run(channel, 6.0, -70.0, solver, t1=10.0)
    half = run(channel, 6.0, -70.0, solver, t1=5.0)
    assert float(half.final.mechanisms[0]["left"][0]) > 0.0  # in the middle of it
    rest = run(channel, 6.0, half.final, solver, t1=5.0)
    close(rest.v[1:], whole.v[201:], rtol=1e-12)


@every_solver
def test_a_reset_in_a_tree_does_not_ring(solver):
    """Branch points follow the reset at once: each stays within its neighbours."""
    cell = jd.Cell(jd.pyramidal(), max_length=200.0).insert(Leak(1e-4, -70.0))
    parent = cell.tree.parent
    hidden = np.arange(cell.n, len(parent))
    assert len(hidden)
    site = int(max(parent[hidden], key=lambda i: cell.area[i]))
    cell = cell.insert(Izhikevich(), np.array([site]))
    step = jd.Step(site, onset=0.0, duration=100.0, amplitude=5.0)
    v = np.asarray(
        jd.simulate(
            cell, step, t1=20.0, dt=0.025, solver=solver, record=lambda t, y, model: y.v, v0=-70.0
        )["values"]
    )
    spikes = np.flatnonzero(v[:, site] > 30.0)
    assert len(spikes) >= 1
    for node in hidden:
        near = np.append(np.flatnonzero(parent == node), parent[node])
        assert (v[:, node] <= v[:, near].max(axis=1) + 1e-6).all()
        assert (v[:, node] >= v[:, near].min(axis=1) - 1e-6).all()
    assert v[spikes[0] + 1, site] < v[spikes[0], site] - 30.0


def test_trigger_and_reset_see_the_same_moment():
    channel, x = Izhikevich(), {"u": jnp.array([3.0, 3.0])}
    v = jnp.array([29.9, 30.1])
    close(channel.trigger(v, x, ENV, 0.0)["u"], [3.0, 11.0])
    close(channel.reset(v, x, ENV, 0.0), [29.9, -65.0])
    neuron = AdEx.preset("tonic", b=1e-3)
    moved = neuron.trigger(jnp.array([1.0]), {"w": jnp.zeros(1)}, ENV, 0.0)
    close(moved["w"], 1e-3)
    held, free = {"left": jnp.array([0.1])}, {"left": jnp.zeros(1)}
    above = jnp.array([-40.0])
    close(LIF().trigger(above, held, ENV, 0.0)["left"], 0.1)
    close(LIF().trigger(above, free, ENV, 0.0)["left"], 2.0)
    for x in (held, free):
        close(LIF().reset(above, x, ENV, 0.0), -65.0)
    close(LIF().current(above, held, ENV), 1e-4 * 30 + 1e3 * 25)


def test_two_resets_of_different_compartments():
    cell = jd.Cell.from_compartments(
        parent=[-1, 0], axial_resistance=[1.0, 1e9], area=[NF, NF], cm=1.0
    )
    cell = cell.insert(LIF(), np.array([0])).insert(Izhikevich(), np.array([1]))
    steps = [jd.Step(i, onset=0.0, duration=1e6, amplitude=10.0) for i in range(2)]
    both = jd.simulate(cell, steps, t1=20.0, v0=-65.0)
    for column, channel in enumerate((LIF(), Izhikevich())):
        alone = run(channel, 10.0, -65.0, jd.CrankNicolson(), t1=20.0)
        close(both.v[:, column], alone.v[:, 0], rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("made", [LIF, Izhikevich, AdEx])
def test_surrogate_changes_gradients_only(made, dtype):
    def after(v, surrogate):
        channel = jax.tree.map(lambda a: a.astype(dtype), made(surrogate=surrogate))
        x = channel.initial(v, ENV)
        return channel.reset(v, x, ENV, 0.0), channel.trigger(v, x, ENV, 0.0)

    v = jnp.asarray([-1000.0, -200.0, -50.0, 19.0, 31.0, 1000.0], dtype)
    for plain, soft in zip(*(jax.tree.leaves(after(v, s)) for s in (False, True)), strict=True):
        assert plain.dtype == dtype
        np.testing.assert_array_equal(plain, soft)
    for surrogate in (False, True):
        slopes = jax.jacobian(lambda v, s=surrogate: after(v, s))(v)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_surrogate_gradient_is_the_documented_one():
    channel = Izhikevich(surrogate=True, width=3.0)
    for v in (27.0, 30.0, 30.5, 32.0, 60.0):
        spikes = v > 30.0
        bump = -spikes / (3.0 * (1 + abs(v - 30.0) / 3.0) ** 2)

        def jumped(v, peak):
            moved = eqx.tree_at(lambda c: c.peak, channel, peak)
            u = moved.trigger(v, {"u": 0.0 * v}, ENV, 0.0)["u"]
            return jnp.stack([u, moved.reset(v, {}, ENV, 0.0)])

        by_v, by_peak = jax.jacobian(jumped, (0, 1))(jnp.asarray(v), jnp.asarray(30.0))
        close(by_peak, [8.0 * bump, (-65.0 - v) * bump], rtol=1e-12)
        np.testing.assert_array_equal(by_v, [0.0, not spikes])
    plain = jax.grad(lambda peak: Izhikevich(peak=peak).trigger(32.0, {"u": 0.0}, ENV, 0.0)["u"])
    assert plain(jnp.asarray(30.0)) == 0.0


NEURONS = {
    "LIF": (LIF, "g", 10.0),
    "LIF without a pause": (functools.partial(LIF, refractory=0.0), "g", 10.0),
    "Izhikevich": (Izhikevich, "b", 10.0),
    "AdEx": (functools.partial(AdEx.preset, "adapting"), "g", 25.0),
}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", NEURONS)
def test_gradients_do_not_grow_from_spike_to_spike(name, wide):
    """Of the last voltage of 300 ms; a change of a part in 1e7 moves no spike."""
    make, field, amplitude = NEURONS[name]
    with jax.enable_x64(wide):

        def last(x, surrogate):
            channel = make(surrogate=surrogate)
            value = getattr(channel, field) * x
            channel = eqx.tree_at(lambda c: getattr(c, field), channel, value)
            v = run(channel, amplitude, -65.0, jd.CrankNicolson(), t1=300.0, dt=0.1).v
            return v[-1, 0], jnp.sum(jnp.diff(v[:, 0]) < -5.0)

        one = jnp.asarray(1.0)
        for surrogate in (False, True):
            f = jax.jit(jax.value_and_grad(lambda x, s=surrogate: last(x, s), has_aux=True))
            (_, spikes), slope = f(one)
            assert spikes >= 4
            assert np.isfinite(slope)
            assert abs(slope) < 1e4
            if wide and not surrogate:
                up, down = (f(one + h)[0][0] for h in (1e-7, -1e-7))
                assert float(slope) == approx(float(up - down) / 2e-7, rel=1e-4, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("made", [LIF, Izhikevich, AdEx])
def test_gradients_through_spikes_are_finite(made, x64):
    with jax.enable_x64(x64):
        for surrogate in {x64, True}:  # without, in float32
            loss = eqx.filter_jit(
                eqx.filter_value_and_grad(
                    lambda c: jnp.mean(run(c, 8.0, -65.0, jd.CrankNicolson(), t1=10.0).v)
                )
            )
            value, slopes = loss(made(surrogate=surrogate))
            leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((value, slopes))]
            assert all(np.isfinite(leaf).all() for leaf in leaves)
            assert any((leaf != 0).any() for leaf in leaves[1:])


@pytest.mark.parametrize("made", [Izhikevich, AdEx])
def test_unknown_presets_are_named(made):
    with pytest.raises(ValueError, match=f"{made.__name__}.preset: expected one of .*; got 'XX'"):
        made.preset("XX")


def test_presets_take_changes():
    assert float(CHANNELS["Izhikevich.FS"](d=3.0).a) == 0.1
    assert float(CHANNELS["Izhikevich.FS"](d=3.0).d) == 3.0
    for name in ("g", "a", "b", "e", "vt", "tauw", "vreset", "peak"):
        want = getattr(AdEx(), name)
        close(getattr(AdEx.preset("brette_gerstner"), name), want)
