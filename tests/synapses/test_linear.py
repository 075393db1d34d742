"""Event synapses against closed forms, NEURON, and central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax.test_util import check_grads

from helpers import close
from jaxdend.synapses import (
    AMPA,
    GABAA,
    GABAB,
    NMDA,
    AlphaSynapse,
    Exp2Syn,
    ExpSyn,
    binned_events,
    events,
    mg_block,
)

SITES = [3, 0, 5]
TIMES = events([[4.0, 1.0], [], [2.5, 2.5, 9.0]])
WEIGHT = jnp.asarray([1e-3, 2e-3, 5e-4])
GROUPS = {
    "exp": lambda **kw: ExpSyn(SITES, WEIGHT, TIMES, **({"tau": [0.5, 2.0, 3.0]} | kw)),
    "exp2": lambda **kw: Exp2Syn(SITES, WEIGHT, TIMES, **({"tau1": 0.5, "tau2": 5.0} | kw)),
    "per site": lambda **kw: Exp2Syn(
        SITES, WEIGHT, TIMES, **({"tau1": [0.1, 0.5, 0.9], "tau2": [1.0, 5.0, 1.1]} | kw)
    ),
    "alpha": lambda **kw: AlphaSynapse(SITES, WEIGHT, TIMES, **({"tau": [0.5, 2.0, 3.0]} | kw)),
    "nmda": lambda **kw: NMDA(SITES, WEIGHT, TIMES, **kw),
}


def dual(s, tau1, tau2):
    """NEURON's formula, as written in exp2syn.mod."""
    tp = tau1 * tau2 / (tau2 - tau1) * np.log(tau2 / tau1)
    return (np.exp(-s / tau2) - np.exp(-s / tau1)) / (np.exp(-tp / tau2) - np.exp(-tp / tau1))


@pytest.mark.parametrize(
    ("synapse", "tau1", "tau2", "e_rev"),
    [
        (AMPA, 0.3, 3.0, 0.0),
        (NMDA, 2.0, 70.0, 0.0),
        (GABAA, 0.2, 8.0, -80.0),
        (GABAB, 3.5, 260.9, -97.0),
        (Exp2Syn, 0.1, 10.0, 0.0),
    ],
)
def test_dual_exponentials(synapse, tau1, tau2, e_rev):
    group = synapse(0, 1.0, [0.0])
    s = np.linspace(0.0, 5 * tau2, 400)
    close(group.kernel(jnp.asarray(s)), dual(s, tau1, tau2), atol=1e-13)
    peak = tau1 * tau2 / (tau2 - tau1) * np.log(tau2 / tau1)
    close(group.kernel(jnp.asarray(peak)), 1.0, rtol=1e-14)
    assert float(group.e_rev) == e_rev


def test_single_exponential_and_alpha():
    s = np.linspace(0.0, 30.0, 100)
    exp, alpha = ExpSyn(0, 1.0, [0.0], tau=2.0), AlphaSynapse(0, 1.0, [0.0], tau=2.0)
    close(exp.kernel(jnp.asarray(s)), np.exp(-s / 2))
    close(alpha.kernel(jnp.asarray(s)), s / 2 * np.exp(1 - s / 2))
    cut = AlphaSynapse(0, 1.0, [0.0], tau=2.0, cutoff=10.0)
    assert cut.explicit
    assert not alpha.explicit
    expected = s / 2 * np.exp(1 - s / 2) * (s <= 20.0)
    close(cut.kernel(jnp.asarray(s)), expected)
    close(cut.summed(jnp.asarray(20.1)), 0.0)


@pytest.mark.parametrize("name", GROUPS)
@settings(max_examples=20, deadline=None)
@given(a=st.floats(0.0, 50.0), b=st.floats(0.0, 50.0))
def test_decay_continues_impulse(name, a, b):
    group = GROUPS[name]()
    lag, h = jnp.full(3, a), jnp.asarray(b)
    later, once = group.decay(group.impulse(lag), h), group.impulse(lag + h)
    for x, y in zip(later, once, strict=True):
        close(x, y, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", GROUPS)
def test_carried_state_equals_the_sum_over_events(name):
    """Exact lags, whatever the step."""
    group, h = GROUPS[name](), 0.7
    times, weights = group.schedule()
    z = tuple(jnp.zeros(3) for _ in group.impulse(jnp.zeros(3)))
    for n in range(1, 20):
        t = n * h
        due = (times > t - h) & (times <= t)
        kick = group.impulse(jnp.where(due, t - times, 0.0))
        z = tuple(
            x + jnp.sum(jnp.where(due, weights * k, 0.0), axis=1)
            for x, k in zip(group.decay(z, h), kick, strict=True)
        )
        close(group.conductance(z), group.summed(t), rtol=1e-11, atol=1e-17)


@pytest.mark.parametrize("name", GROUPS)
def test_layouts_of_lag_agree(name):
    group = GROUPS[name]()
    lag = jnp.linspace(0.0, 8.0, 12).reshape(3, 4)
    full, flat = group.impulse(lag), group.impulse(lag.reshape(-1))
    for i in range(4):
        for x, y, z in zip(full, flat, group.impulse(lag[:, i]), strict=True):
            np.testing.assert_array_equal(x.reshape(-1), y)
            close(x[:, i], z, rtol=1e-14)


@pytest.mark.parametrize("name", GROUPS)
def test_gradients_with_respect_to_times_weights_and_kinetics(name):
    group = GROUPS[name]()
    taus = {f: getattr(group, f) for f in ("tau", "tau1", "tau2") if hasattr(group, f)}
    real = jnp.isfinite(TIMES)

    @jax.jit
    def conductance(shift, weight, taus):
        times = jnp.where(real, TIMES + shift, TIMES)
        return type(group)(SITES, weight, times, **taus).summed(jnp.asarray(7.3))

    check_grads(conductance, (jnp.zeros(TIMES.shape), WEIGHT, taus), 1, ["fwd", "rev"])

    def total(group, t):
        return jnp.sum(group.summed(t))

    for t in (0.0, 2.5, 4.0, 1e4):
        grads = jax.grad(total, allow_int=True)(group, jnp.asarray(t))
        floats = [g for g in jax.tree.leaves(grads) if g.dtype == jnp.float64]
        assert all(np.isfinite(g).all() for g in floats)


@pytest.mark.parametrize("ratio", [1.0, 1 - 1e-12, 1 - 1e-6, 1 - 1e-4, 1 + 1e-4])
@pytest.mark.float64("differences of values drown in rounding in float32")
def test_equal_time_constants(ratio):
    """The limit is the alpha function; gradients agree with central differences through it."""
    s = jnp.linspace(0.0, 20.0, 50)

    @jax.jit
    def kernel(tau1, tau2, s):
        return Exp2Syn(0, 1.0, [0.0], tau1=tau1, tau2=tau2).kernel(s)

    tau = jnp.asarray(3.0)
    alpha = s / 3.0 * np.exp(1 - s / 3.0)
    close(kernel(tau * ratio, tau, s), alpha, atol=1.1 * abs(1 - ratio) + 1e-14)
    check_grads(kernel, (tau * ratio, tau, s[1:]), 1, ["fwd", "rev"], eps=1e-5)


def test_mg_block():
    v = jnp.linspace(-120.0, 60.0, 50)
    jahr = NMDA.preset("jahr_stevens1990", 0, 1e-3, [0.0])
    block = 1 / (1 + np.exp(-0.062 * np.asarray(v)) * 1.0 / 3.57)
    g = jnp.full(50, 2e-3)
    close(jahr.current(v, g), 2e-3 * block * np.asarray(v))
    hay = 1 / (1 + np.exp(-0.08 * np.asarray(v)) * 1.0 / 3.57)
    close(NMDA(0, 1e-3, [0.0]).current(v, g), 2e-3 * hay * np.asarray(v))
    np.testing.assert_array_equal(mg_block(v, jnp.asarray(0.0), jnp.asarray(0.08), 3.57), 1.0)
    check_grads(mg_block, (v, 1.0, 0.08, 3.57), 1, ["rev"])
    close(GABAA(0, 1.0, [0.0]).current(-60.0, 0.5), 10.0)


def test_presets_are_data():
    gidon = NMDA.preset("gidon2020", [1, 2], 1.3e-3, [5.0], mg=2.0, max_per_step=4)
    found = (gidon.tau1, gidon.tau2, gidon.gamma, gidon.mg)
    close(found, (8.0, 35.0, 0.077, 2.0), rtol=0)
    assert gidon.max_per_step == 4
    for synapse in (AMPA, NMDA, GABAA, GABAB):
        for name in synapse.presets:
            synapse.preset(name, 0, 1e-3, [0.0])
        default = jax.tree.leaves(synapse(0, 1e-3, [0.0]))
        assert default == jax.tree.leaves(synapse.preset("beniaguev2021", 0, 1e-3, [0.0]))
    with pytest.raises(ValueError, match="AMPA.preset: expected one of .*gidon2020.*; got 'hay'"):
        AMPA.preset("hay", 0, 1e-3, [0.0])


def test_weights_per_event_and_shared_times():
    counts = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]])
    times, number = binned_events(counts, width=1.0, onset=2.0)
    group = ExpSyn([0, 1], jnp.asarray([1e-3, 2e-3])[:, None] * number, times, tau=2.0)
    decays = np.exp(-(6.0 - np.array([2.0, 3.0, 4.0])) / 2.0)
    close(group.summed(6.0), [1e-3, 2e-3] * (counts @ decays))
    shared = ExpSyn([0, 1, 2], 1e-3, 2.0, tau=2.0)
    close(shared.summed(6.0), np.full(3, 1e-3 * np.exp(-2.0)))


def test_vmap_over_sites_weights_and_times_with_one_compilation():
    traces = []

    @jax.jit
    def injected(site, weight, times):
        traces.append(1)
        group = AMPA(site, weight, times)
        v = jnp.linspace(-70.0, -60.0, 6)
        out = group.current(v[group.site], group.summed(jnp.asarray(5.0)))
        return jnp.zeros(6).at[group.site].add(out)

    sites = jnp.asarray([[0, 1], [4, 4], [5, 2]])
    weights, times = jnp.full((3, 2), 1e-3), jnp.asarray([[[3.0], [4.0]]] * 3)
    batch = jax.vmap(injected)(sites, weights, times)
    for i in range(3):
        close(batch[i], injected(sites[i], weights[i], times[i]))
    assert len(traces) <= 2  # once batched, once not


@pytest.mark.parametrize("name", GROUPS)
def test_float32(name):
    exact = GROUPS[name]().summed(jnp.asarray(7.3))
    with jax.enable_x64(False):
        times = np.asarray(TIMES, np.float32)
        group = GROUPS[name]()
        group = type(group)(
            SITES,
            np.asarray(WEIGHT),
            times + np.float32(9e3),
            **{
                f: np.asarray(getattr(group, f))
                for f in ("tau", "tau1", "tau2")
                if hasattr(group, f)
            },
        )
        got = group.summed(jnp.asarray(9007.3))
        assert got.dtype == jnp.float32
        close(got, exact, rtol=2e-3, atol=1e-9)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(jax.jacrev(group.summed)(9007.3)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AMPA([0, 1], [1.0] * 3, [1.0]), r"AMPA.weight: expected shape \(2,\)"),
        (
            lambda: AMPA([0, 1], 1.0, [[1.0]] * 3),
            r"AMPA.times: expected shape \(1,\) or \(1, 1\) or \(2, 1\)",
        ),
        (lambda: AMPA(0, 1.0, [np.nan]), "AMPA.times: expected times in ms"),
        (lambda: AMPA(0, 1.0, [-np.inf]), "AMPA.times"),
        (lambda: AMPA(0, np.inf, [1.0]), "AMPA.weight: expected finite"),
        (lambda: AMPA(0, 1.0, [1.0], tau1=0.0), "AMPA.tau1: expected finite numbers > 0"),
        (lambda: AMPA(0, 1.0, [1.0], tau1=3.0), "AMPA: expected tau1 < tau2"),
        (lambda: AMPA([0, 1], 1.0, [1.0], e_rev=[0.0] * 3), "AMPA.e_rev: expected shape"),
        (lambda: AMPA(1.0, 1.0, [1.0]), "site: expected a compartment number"),
        (lambda: AMPA(0, 1.0, [1.0], max_per_step=0), "AMPA.max_per_step"),
        (lambda: ExpSyn(0, 1.0, [1.0], tau=-1.0), "ExpSyn.tau"),
        (lambda: AlphaSynapse(0, 1.0, [1.0], tau=0.0), "AlphaSynapse.tau"),
        (lambda: AlphaSynapse(0, 1.0, [1.0], cutoff=0.0), "AlphaSynapse.cutoff"),
        (lambda: NMDA(0, 1.0, [1.0], mg=-1.0), "NMDA.mg"),
        (lambda: NMDA(0, 1.0, [[1.0], [2.0, 3.0]]), "NMDA.times"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(("tau1", "tau2"), [(0.5, 5.0), (2.0, 70.0)])
def test_conductance_against_neuron(tau1, tau2):
    neuron = pytest.importorskip("neuron", reason="install jaxdend[validation]")
    h = neuron.h
    h.load_file("stdrun.hoc")
    soma = h.Section(name="soma")
    soma.L = soma.diam = 20.0
    synapse, kept = h.Exp2Syn(soma(0.5)), []
    synapse.tau1, synapse.tau2 = tau1, tau2
    for onset in (5.0, 7.5, 7.5, 30.0):
        source = h.NetStim()
        source.start, source.number = onset, 1
        link = h.NetCon(source, synapse)
        link.delay, link.weight[0] = 0.0, 2e-3
        kept.append((source, link))
    rise, fall = (h.Vector().record(getattr(synapse, f"_ref_{x}")) for x in "AB")
    ts = h.Vector().record(h._ref_t)
    h.dt, h.steps_per_ms = 0.025, 40
    h.finitialize(-65.0)
    h.continuerun(60.0)
    measured = np.array(fall) - np.array(rise)
    group = Exp2Syn(0, 2e-3, [5.0, 7.5, 7.5, 30.0], tau1=tau1, tau2=tau2)
    ours = jax.vmap(group.summed)(jnp.asarray(np.round(np.array(ts) / 0.025) * 0.025))[:, 0]
    close(ours, measured, atol=1e-16, rtol=1e-10)
    assert measured.max() > 2e-3
