"""The dendritic calcium action potential: trigger, phases, refractoriness, surrogate gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import PRECISIONS, approx, close
from jaxdend.channels import DCaAP, Leak
from jaxdend.mechanisms.base import Env

H = 0.05
ENV = Env(jnp.asarray(35.0), {}, {}, {})


def march(channel, v, t1, start=None):
    """Times, and the states used at each step, under voltage `v(t)`, as the solver goes."""
    x = channel.initial(jnp.full(1, -75.0), ENV) if start is None else start
    times, seen, t = [], [], 0.0
    trigger, advance = eqx.filter_jit(channel.trigger), eqx.filter_jit(channel.advance)
    while t < t1 - H / 4:
        now = jnp.full(1, v(t))
        x = trigger(now, x, ENV, jnp.asarray(t + H / 2))
        seen.append({name: float(value[0]) for name, value in x.items()})
        times.append(t)
        x = advance(now, x, ENV, jnp.asarray(H))
        t = (t + H / 2) + H / 2
    return np.array(times), {name: np.array([s[name] for s in seen]) for name in seen[0]}


def test_amplitude_falls_with_the_overshoot():
    channel = DCaAP()
    x = channel.initial(jnp.full(3, -75.0), ENV)
    v = jnp.array([-36.0, -35.999, -24.3])
    x = channel.trigger(v, x, ENV, jnp.asarray(0.0))
    close(x["K"], [0.0, np.exp(-0.001 / 11.7), np.exp(-1.0)], rtol=1e-9)
    close(x["A"], [0.0, 1e-3, 1e-3])
    assert x["t_last"].tolist() == [-200.0, 0.0, 0.0]


def test_the_fall_starts_after_the_delay_and_the_next_after_the_refractory_period():
    times, x = march(DCaAP(), lambda t: -30.0, 230.0)
    at = np.unique(x["t_last"])
    assert at == approx([H / 2, 200.0 + H / 2], abs=1e-9)
    falls = times[np.argmax(x["B"] > 0)]
    assert falls == approx(21.0, abs=1.01 * H)  # a tie, decided by rounding
    before = x["A"][(times > 20.0) & (times < 21.0)]
    close(before, 0.5, rtol=0.4)
    assert x["A"][times < 200.0].max() <= 0.5
    close((x["A"] - x["B"])[(times > 150) & (times < 199)], 0.0, atol=1e-9)


def test_it_follows_the_effective_logistic():
    times, x = march(DCaAP(), lambda t: -30.0, 20.0)
    fine = 0.5 / (1 + 499 * np.exp(-times / 3))
    close(x["A"], fine, rtol=0.02)
    written = march(DCaAP(capacity=1.0), lambda t: -30.0, 20.0)[1]["A"]
    assert written[-1] > 0.4
    close(x["A"][1], 1e-3 * np.exp(H * (1 - 2e-3) / 3), rtol=1e-12)


def test_step_and_derivative_agree():
    channel = DCaAP()
    x = {"A": jnp.array([0.1]), "B": jnp.array([0.3]), "K": jnp.ones(1), "t_last": jnp.zeros(1)}
    v, h = jnp.full(1, -60.0), 1e-6
    slope, later = channel.derivative(v, x, ENV), channel.advance(v, x, ENV, jnp.asarray(h))
    for name in x:
        close((later[name] - x[name]) / h, slope[name], rtol=1e-5, atol=1e-8)
    close(channel.current(v, x, ENV), 1.6 * 0.2, rtol=1e-12)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("v", [-1000.0, -75.0, -36.0, -30.0, 1000.0])
def test_surrogate_changes_gradients_only(dtype, v):
    def used(v, surrogate):
        channel = jax.tree.map(lambda a: a.astype(dtype), DCaAP(surrogate=surrogate))
        return channel.trigger(v, channel.initial(v, ENV), ENV, jnp.asarray(1.0, dtype))

    v = jnp.full(1, v, dtype)
    plain, soft = used(v, False), used(v, True)
    for name in plain:
        assert plain[name].dtype == dtype
        np.testing.assert_array_equal(plain[name], soft[name])
    for surrogate in (False, True):
        slope = jax.jacobian(lambda v, s=surrogate: used(v, s))(v)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_surrogate_gradient_is_the_documented_one():
    channel = DCaAP(surrogate=True)

    def a(v):
        v = v[None]
        return channel.trigger(v, channel.initial(v, ENV), ENV, jnp.asarray(1.0))["A"][0]

    for v in (-35.0, -20.0):
        want = 1e-3 / (2.0 * (1 + (v + 36.0) / 2.0) ** 2)
        assert float(jax.grad(a)(jnp.asarray(v))) == approx(want, rel=1e-12)
    for v in (-36.0, -36.1, -40.0, -1000.0):  # no crossing, no gradient
        assert float(jax.grad(a)(jnp.asarray(v))) == 0.0
    plain = DCaAP()
    x = plain.trigger(jnp.full(1, -30.0), plain.initial(jnp.zeros(1), ENV), ENV, jnp.asarray(0.0))
    again = channel.trigger(jnp.full(1, -30.0), x, ENV, jnp.asarray(100.0))
    np.testing.assert_array_equal(again["t_last"], x["t_last"])


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("w", "t1"), [(2.5, 50.0), (0.5, 250.0), (1.0, 450.0)])
def test_gradients_are_finite_over_several_spikes(w, t1, wide):
    """One to three triggers, which a small change of w does not move."""
    with jax.enable_x64(wide):

        def mean(p, surrogate):
            cell = jd.Cell(jd.single_compartment(20.0, 20.0), max_length=50.0)
            channel = DCaAP(w=p["w"] * w * 0.02, surrogate=surrogate)
            cell = cell.insert(Leak(g=1 / 3700.0, e=-75.0)).insert(channel)
            run = jd.simulate(cell, jd.Step(0, 1.0, t1, p["i"]), t1=t1, dt=0.1, v0=-75.0, record=0)
            return jnp.mean(run.v)

        one = {"w": jnp.asarray(1.0), "i": jnp.asarray(0.2)}
        both = [jax.jit(jax.value_and_grad(lambda p, s=s: mean(p, s)))(one) for s in (False, True)]
        for _, slope in both:
            assert all(np.isfinite(x) for x in slope.values())
        assert float(both[0][0]) == approx(float(both[1][0]), rel=1e-12 if wide else 1e-4)
        assert abs(float(both[1][1]["i"])) < 1e6
        if wide:
            f = jax.jit(lambda x: mean(one | {"w": x}, False))
            difference = float(f(1.0 + 1e-5) - f(1.0 - 1e-5)) / 2e-5
            assert float(both[0][1]["w"]) == approx(difference, rel=1e-5)
