"""A dCaAP of three ordinary channels: its amplitude curve, knock-outs, robustness and gradients."""

import functools
import importlib
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jaxdend as jd
from helpers import ROOT
from jaxdend.channels import (
    DCAAP_SETS,
    CaHVAInactivating,
    KAFast,
    KSlow,
    Leak,
    Traub,
    dcaap_channels,
)
from jaxdend.mechanisms.base import Env
from jaxdend.synapses import AMPA, NMDA

THREE = (CaHVAInactivating, KAFast, KSlow)
ONSET, END = 10.0, 400.0  # ms
STRENGTHS = 0.014 * 1.01 ** np.arange(150)  # nA
TWICE = 70  # strengths of the grid from one to twice it, 1.01^70 = 2.007
BELOW = 5  # and to 0.95
BASE = jd.Cell(jd.morphology.single_compartment(30.0, 30.0), max_length=100.0, cm=0.45)
BASE = BASE.insert(Leak(g=1.0 / 37000.0, e=-75.0))


def neuron(ca=1.0, a=1.0, k=1.0, celsius=35.0):
    """The compartment, its densities multiplied."""
    cell = BASE.set(celsius=celsius)
    for channel, by in zip(dcaap_channels(), (ca, a, k), strict=True):
        cell = cell.insert(type(channel)(gbar=channel.gbar * by))
    return cell


def voltage(cell, current, dt=0.1):
    step = jd.Step(0, ONSET, END, current)
    traces = jd.simulate(cell, step, t1=END, dt=dt, v0=-75.0, record=[0], throw=False)
    return traces.v[round(ONSET / dt) :, 0]


@functools.partial(jax.jit, static_argnums=2)
def batch(changes, currents, dt=0.1):
    """`(variants, currents, t)` mV."""
    each = jax.vmap(lambda c, i: voltage(neuron(*c), i, dt), (None, 0))
    return jax.vmap(each, (0, None))(changes, currents)


def measured(v, dt=0.1):
    """Height of the first event above the level that follows, and its peak, mV; `v (..., t)`."""
    highest = np.maximum.accumulate(v, axis=-1)
    fallen = highest - v >= 10.0
    end = np.where(fallen.any(-1), fallen.argmax(-1), v.shape[-1] - 1)
    peak = np.take_along_axis(highest, end[..., None], -1)[..., 0]
    return peak - np.median(v[..., -round(100.0 / dt) :], axis=-1), peak


CHANGES = {
    "as it is": (1.0, 1.0, 1.0, 35.0),
    "2 degrees colder": (1.0, 1.0, 1.0, 33.0),
    "2 degrees warmer": (1.0, 1.0, 1.0, 37.0),
    "calcium -10 %": (0.9, 1.0, 1.0, 35.0),
    "calcium +10 %": (1.1, 1.0, 1.0, 35.0),
    "A-type -10 %": (1.0, 0.9, 1.0, 35.0),
    "A-type +10 %": (1.0, 1.1, 1.0, 35.0),
    "slow -10 %": (1.0, 1.0, 0.9, 35.0),
    "slow +10 %": (1.0, 1.0, 1.1, 35.0),
    "all -10 %": (0.9, 0.9, 0.9, 35.0),
    "all +10 %": (1.1, 1.1, 1.1, 35.0),
    "no calcium": (0.0, 1.0, 1.0, 35.0),
    "no A-type": (1.0, 0.0, 1.0, 35.0),
    "no slow": (1.0, 1.0, 0.0, 35.0),
}
INTACT = [name for name in CHANGES if not name.startswith("no ")]


@functools.cache
def curves():
    """Heights and peaks by variant, at all strengths."""
    v = np.asarray(batch(jnp.array(list(CHANGES.values())), jnp.asarray(STRENGTHS)))
    return dict(zip(CHANGES, zip(*measured(v), strict=True), strict=True))


def threshold(height):
    """The first strength of the grid with an event."""
    fires = height >= 30.0
    assert fires.any()
    return int(fires.argmax())


@pytest.mark.parametrize("name", INTACT)
def test_the_first_event_shrinks_as_the_input_grows(name):
    """The criterion of the search, everything at the variant's own threshold."""
    height, peak = curves()[name]
    one = threshold(height)
    assert height[: one - BELOW].max() < 5.0  # silent
    assert height[one + TWICE] < 0.5 * height[one]
    assert peak[one + TWICE] <= peak[one] - 10.0
    beyond = peak[one + TWICE :]
    assert beyond.max() <= peak[one] - 10.0  # nor does a large event come back further on


def test_the_documented_amplitude_curve():
    height, peak = curves()["as it is"]
    one = threshold(height)
    assert STRENGTHS[one] == pytest.approx(0.0236, rel=0.01)
    assert np.all(np.diff(peak[one : one + 40]) < 0.0)
    assert peak[one] == pytest.approx(33.0, abs=3.0)
    at = [threshold(height) + round(np.log(q) / np.log(1.01)) for q in (1.25, 1.5, 2.0)]
    assert height[at] == pytest.approx([14.0, 4.2, 0.0], abs=1.5)
    assert peak[at] == pytest.approx([-10.5, -20.5, -24.6], abs=1.5)


def test_each_channel_knocked_out():
    """Calcium makes the spike, A-type makes it shrink, slow potassium only shapes it."""
    (no_ca, ca_peak), (no_a, a_peak) = curves()["no calcium"], curves()["no A-type"]
    assert no_ca.max() < 5.0
    assert ca_peak[TWICE] < curves()["as it is"][1].max() - 50.0
    one = threshold(no_a)
    assert STRENGTHS[one] < 0.0236  # it fires earlier
    assert a_peak[one + TWICE] > a_peak[one] - 5.0  # and does not shrink
    assert no_a[one + TWICE] > 0.9 * no_a[one]
    no_k, k_peak = curves()["no slow"]
    steep = np.argmax(np.diff(k_peak) > 20.0) + 1
    assert k_peak[steep + TWICE] < k_peak[steep] - 10.0


@pytest.mark.parametrize(("kind", "one"), [("compartment", 0.02366), ("returning", 0.0239)])
def test_which_sets_come_back_to_rest(kind, one):
    """A lone compartment of the first set stays up after strong input; the other one does not."""
    cell = BASE.set(celsius=35.0)
    for channel in dcaap_channels(kind):
        cell = cell.insert(channel)

    @jax.jit
    @jax.vmap
    def run(current):
        step = jd.Step(0, ONSET, 300.0, current)
        traces = jd.simulate(cell, step, t1=460.0, dt=0.1, v0=-75.0, record=[0], throw=False)
        return traces.v[round(ONSET / 0.1) :, 0]

    v = np.asarray(run(one * jnp.array([0.95, 1.0, 1.25, 1.5, 2.0, 3.0])))
    height, peak = measured(v[:, :3000])
    assert height[0] < 5.0
    assert height[1] > 30.0
    assert height[4] < 0.5 * height[1]
    assert np.all(np.diff(peak[1:5]) < -3.0)
    assert peak[4] < peak[1] - 30.0
    if kind == "returning":
        np.testing.assert_allclose(v[:, -1], -75.0, atol=5.0)
    else:
        np.testing.assert_allclose(v[:2, -1], -75.0, atol=5.0)
        np.testing.assert_allclose(v[3:, -1], -25.0, atol=2.0)


def test_half_the_step_changes_it_by_less_than_a_millivolt():
    currents = jnp.asarray(0.02366 * np.array([0.95, 1.0, 1.25, 1.5, 2.0]))
    whole, half = (
        np.array(measured(np.asarray(batch(jnp.array([CHANGES["as it is"]]), currents, dt)), dt))
        for dt in (0.1, 0.05)
    )
    np.testing.assert_allclose(half, whole, atol=0.5)


def test_it_is_the_solution_of_its_equations():
    """Against scipy: the equations of the docstrings, written once more."""

    def gate(v, half, slope):
        return 1.0 / (1.0 + np.exp((half - v) / slope))

    def rates(t, y, current):
        v, m, h, a, b, n = y
        i = 5.417e-3 * m**2 * h * (v - 100.0) + (1.349e-2 * a * b + 1.244e-3 * n) * (v + 85.0)
        i += (v + 75.0) / 37000.0
        density = current * 1e-6 / (np.pi * 30.0 * 30.0 * 1e-8)  # nA to mA/cm²
        return [
            (density - i) * 1e3 / 0.45,
            (gate(v, -29.75, 4.696) - m) / 4.65,
            (gate(v, -41.25, -5.521) - h) / 10.0,
            (gate(v, -23.82, 4.0) - a) / 0.5467,
            (gate(v, -68.56, -6.235) - b) / 30.32,
            (gate(v, -17.34, 6.175) - n) / 31.73,
        ]

    curves = [(-29.75, 4.696), (-41.25, -5.521), (-23.82, 4.0), (-68.56, -6.235), (-17.34, 6.175)]
    start = [-75.0, *(gate(-75.0, *curve) for curve in curves)]
    times = np.arange(0.0, 200.0, 0.05)
    for current in (0.024, 0.03, 0.05):
        span = (0.0, times[-1])
        exact = solve_ivp(
            rates, span, start, "LSODA", times, args=(current,), rtol=1e-8, atol=1e-8
        ).y[0]
        got = np.asarray(voltage(neuron(), current, 0.05))[: len(times)]
        np.testing.assert_allclose(got, exact, atol=0.6)


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_gradients_are_finite_and_right(double):
    """Through a whole dCaAP, by every number of the three channels."""
    with jax.enable_x64(double):
        channels = dcaap_channels()

        def peak(channels, current):
            cell = BASE.set(celsius=35.0)
            for channel in channels:
                cell = cell.insert(channel)
            return jnp.max(voltage(cell, current))

        slope = jax.jit(jax.grad(peak))
        for current in (0.0245, 0.03, 0.05):
            leaves = jax.tree.leaves(slope(channels, current))
            assert {leaf.dtype.name for leaf in leaves} == {"float64" if double else "float32"}
            assert all(np.isfinite(leaf).all() for leaf in leaves)
            assert sum(float(np.abs(leaf).sum()) for leaf in leaves) > 0.0
        if double:
            by = slope(channels, 0.03)[1].gbar
            size = 1e-6 * float(channels[1].gbar)

            def moved(sign):
                a_type = KAFast(gbar=channels[1].gbar + sign * size)
                return float(peak((channels[0], a_type, channels[2]), 0.03))

            assert float(by) == pytest.approx((moved(1) - moved(-1)) / (2 * size), rel=1e-3)


@pytest.mark.slow
def test_a_soma_fires_for_either_input_but_not_for_both():
    """The set `"dendrite"` in the outer 300 µm of a dendrite; two draws of Poisson trains."""
    cell = jd.Cell(jd.ball_and_stick(50.0, 500.0, 2.0), max_length=100.0, ra=316.0, cm=0.45)
    soma = cell.region("soma")
    outer = np.flatnonzero((cell.distance > 200.0) & (np.asarray(cell.area) > 0))
    cell = cell.set(celsius=35.0).insert(Leak(g=1.0 / 37000.0, e=-74.0), ~soma)
    cell = cell.insert(Traub(gl=9.682e-5), soma)
    for channel in dcaap_channels("dendrite"):
        cell = cell.insert(channel, outer)
    sites, share = jnp.array([*outer[:2]] * 2), jnp.array([0.416, 0.584] * 2)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def spikes(key, active):
        arrivals = 20.0 + jd.synapses.poisson_events(key, 500.0, 980.0, 2, max_events=620)
        weight = 5.558e-4 * jnp.repeat(active, 2) * share
        at = jnp.repeat(arrivals, 2, axis=0)
        given = [AMPA.preset("gidon2020", sites, weight, at)]
        given.append(NMDA.preset("gidon2020", sites, 0.6712 * weight, at))
        v = jd.simulate(cell, given, t1=1000.0, dt=0.1, v0=-74.0, record=[0],
                        solver=jd.BackwardEuler(), throw=False).v[:, 0]  # fmt: skip
        return jnp.sum((v[1:] > -10.0) & (v[:-1] <= -10.0))

    patterns = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    counts = np.asarray(spikes(jax.vmap(jax.random.key)(jnp.arange(1000, 1002)), patterns))
    assert np.all(counts[:, [0, 3]] == 0)
    assert np.all(counts[:, [1, 2]] >= 2)


def test_a_set_replaces_another_and_is_scaled():
    cell = BASE
    for kind in ("returning", "dendrite", "compartment"):
        for channel in dcaap_channels(kind):
            cell = cell.insert(channel)
    for cls, channel in zip(THREE, dcaap_channels(), strict=True):
        there = cell.mechanisms[cls.__name__].mechanism
        assert type(channel) is cls
        for a, b in zip(jax.tree.leaves(there), jax.tree.leaves(channel), strict=True):
            np.testing.assert_array_equal(np.ravel(a), np.ravel(b))
    for kind in DCAAP_SETS:
        one, two = dcaap_channels(kind), dcaap_channels(kind, scale=np.array([0.5, 2.0]))
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(b.gbar, np.array([0.5, 2.0]) * float(a.gbar), rtol=1e-6)
            assert float(a.q10) == 3.0
    with pytest.raises(ValueError, match="one of compartment, dendrite, returning; got 'soma'"):
        dcaap_channels("soma")


def test_warmth_speeds_up_the_rates_and_nothing_else():
    v = jnp.array([-60.0, -20.0])
    cold, warm = (Env(jnp.asarray(t), {}, {}, {}) for t in (35.0, 45.0))
    for channel in dcaap_channels():
        for name, (inf, tau) in channel.gates(v, cold).items():
            inf_warm, tau_warm = channel.gates(v, warm)[name]
            np.testing.assert_array_equal(inf, inf_warm)
            np.testing.assert_allclose(tau_warm, tau / 3.0, rtol=1e-6)
        state = channel.initial(v, cold)
        np.testing.assert_array_equal(channel.current(v, state, cold),
                                      channel.current(v, state, warm))  # fmt: skip


@pytest.mark.nightly
def test_the_search_finds_one_and_goes_on_from_its_folder(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="pip install 'jaxdend[plotting]'")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = importlib.import_module("find_dcaap")
    told = ["find_dcaap", "--seeds", "3", "--screened", "2048", "--starts", "8", "--steps", "20"]
    monkeypatch.setattr(sys, "argv", [*told, "--out", str(tmp_path)])
    script.main()
    first = json.loads((tmp_path / "find_dcaap_step.json").read_text(encoding="utf-8"))
    assert first["found"] >= 2
    assert (tmp_path / "find_dcaap_step.png").exists()
    script.main()  # from the folder: nothing is searched again
    again = json.loads((tmp_path / "find_dcaap_step.json").read_text(encoding="utf-8"))
    for a, b in zip(first["runs"], again["runs"], strict=True):
        assert a["params"] == b["params"]
        assert a["height_mV"] == b["height_mV"]
    assert "of 3 seeds found one" in capsys.readouterr().out
