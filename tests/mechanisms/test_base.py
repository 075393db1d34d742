"""The mechanism base class: parameters, and how states move."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from helpers import approx, close
from jaxdend.mechanisms.base import AbstractChannel, Env, exponential_euler, named, param

V = jnp.linspace(-100.0, 40.0, 29)
ENV = Env(jnp.asarray(6.3), {}, {}, {})


class Kdr(AbstractChannel):
    """A user's channel: steady state and time constant."""

    gbar: Array = param(0.01, unit="S/cm2")
    ek: Array = param(-90.0, unit="mV")
    ion = "k"

    def gates(self, v, env):
        return {"n": (1 / (1 + jnp.exp(-(v + 30) / 9)), 2 + 0 * v)}

    def current(self, v, x, env):
        return self.gbar * x["n"] ** 4 * (v - self.ek)


class Scheme(AbstractChannel):
    """A user's channel: C <-> O <-> I, with its derivative written out."""

    gbar: Array = param(0.01, unit="S/cm2")

    def initial(self, v, env):
        return {"o": jnp.zeros_like(v), "i": jnp.zeros_like(v)}

    def derivative(self, v, x, env):
        opening = jnp.exp(v / 40)
        return {
            "o": opening * (1 - x["o"] - x["i"]) - 2 * x["o"] + 0.1 * x["i"],
            "i": x["o"] - 0.1 * x["i"] - 0.2 * x["i"] ** 2,
        }

    def current(self, v, x, env):
        return self.gbar * x["o"] * v


def test_parameters_are_floating_leaves():
    for value in (1, 1.0, np.float32(1), [1, 2]):
        leaf = Kdr(gbar=value).gbar
        assert isinstance(leaf, jax.Array)
        assert leaf.dtype == jnp.result_type(float)
    assert len(jax.tree.leaves(Kdr())) == 2
    assert Kdr(gbar=jnp.ones(3, jnp.float32)).gbar.dtype == jnp.float32
    assert Kdr(gbar=None).gbar is None
    assert Kdr(gbar="0.1").gbar == "0.1"  # numpy would read the number; `Cell.insert` refuses it
    listed = jax.jit(lambda x: Kdr(gbar=[x, 2.0]).gbar)(1.0)
    np.testing.assert_array_equal(listed, [1.0, 2.0])


def test_what_is_named_is_known_and_no_part_of_the_tree():
    made = Kdr(0.02)
    assert named(made) == {"gbar"}
    assert named(Kdr(ek=-80.0)) == {"ek"}
    assert named(Kdr()) == frozenset()
    assert jax.tree.structure(made) == jax.tree.structure(Kdr())
    assert named(jax.tree.map(lambda x: x, made)) == {"gbar", "ek"}
    assert named(dataclasses.replace(made, ek=-80.0)) == {"gbar", "ek"}
    with pytest.raises(TypeError, match="Kdr has no parameter 'gbra'; it has gbar, ek. Did you"):
        Kdr(gbra=0.1)


def test_new_numbers_share_one_treedef_and_one_compilation():
    traced = []

    @jax.jit
    def f(channel):
        traced.append(1)
        return channel.current(V, {"n": V}, ENV).sum()

    f(Kdr(gbar=0.01))
    f(Kdr(gbar=0.02, ek=-70))
    assert len(traced) == 1


def test_parameters_survive_transformations():
    batch = jax.vmap(lambda g: Kdr(gbar=g))(jnp.arange(3.0))
    assert batch.gbar.shape == (3,)
    grads = jax.grad(lambda c: c.current(V, {"n": jnp.ones_like(V)}, ENV).sum())(Kdr())
    assert float(grads.ek) == approx(-0.01 * len(V))


def test_a_gate_rests_at_its_steady_state():
    channel = Kdr()
    x = channel.initial(V, ENV)
    close(channel.derivative(V, x, ENV)["n"], 0, atol=1e-15)
    close(channel.advance(V, x, ENV, 3.0)["n"], x["n"], atol=1e-15)


def test_advance_of_a_gate_is_exact():
    channel, h = Kdr(), 0.7
    inf, tau = channel.gates(V, ENV)["n"]
    start = 0.3 * jnp.ones_like(V)
    got = channel.advance(V, {"n": start}, ENV, h)["n"]
    close(got, inf + (start - inf) * np.exp(-h / tau), rtol=1e-13)


def test_exponential_euler_is_exact_for_a_linear_state():
    got = exponential_euler(lambda x: {"c": 3.0 - x["c"] / 20.0}, {"c": jnp.ones(4)}, 5.0)["c"]
    close(got, 60 - 59 * np.exp(-0.25), rtol=1e-13)


def test_exponential_euler_is_second_order_without_coupling():
    def error(steps):
        x, h = {"a": jnp.asarray(0.2)}, 2.0 / steps
        for _ in range(steps):
            x = exponential_euler(lambda y: {"a": y["a"] * (1 - y["a"])}, x, h)
        return abs(float(x["a"]) - 1 / (1 + 4 * np.exp(-2)))

    assert error(20) / error(40) == approx(4, rel=0.1)


@pytest.mark.float64("a difference over 1e-6 ms")
def test_a_scheme_advances_towards_its_derivative():
    channel = Scheme()
    x = {"o": jnp.full_like(V, 0.2), "i": jnp.full_like(V, 0.1)}
    h = 1e-6
    moved, slope = channel.advance(V, x, ENV, h), channel.derivative(V, x, ENV)
    for name in x:
        close((moved[name] - x[name]) / h, slope[name], rtol=1e-4)


def test_a_channel_needs_a_current():
    class Silent(AbstractChannel):
        pass

    with pytest.raises(TypeError, match="current"):
        Silent()


def test_gates_have_the_derivatives_of_their_formula():
    class Shifted(AbstractChannel):
        half: Array = param(-30.0, unit="mV")

        def gates(self, v, env):
            return {"n": (1 / (1 + jnp.exp(-(v - self.half) / 9)), 2 + 0.01 * (v - self.half) ** 2)}

        def current(self, v, x, env):
            return x["n"] * v

    env = Env(jnp.asarray(6.3), {}, {}, {})
    v, x = jnp.linspace(-80.0, 40.0, 7), {"n": jnp.linspace(0.1, 0.9, 7)}

    def moved(half, v, x, h, by_formula):
        channel = Shifted(half=half)
        if not by_formula:
            return channel.advance(v, x, env, h)["n"]
        inf, tau = channel.gates(v, env)["n"]
        return x["n"] + (inf - x["n"]) * (1 - jnp.exp(-h / tau))

    arguments = (jnp.linspace(-40.0, -20.0, 7), v, x, jnp.asarray(0.3))
    weights = jnp.arange(1.0, 8.0)
    for which in (0, 1, 2, 3, (0, 1, 2, 3)):
        found, expected = (
            jax.grad(lambda *a, f=f: jnp.sum(weights * moved(*a, f)), which)(*arguments)
            for f in (False, True)
        )
        jax.tree.map(lambda a, b: close(a, b, rtol=1e-9), found, expected)
    tangents = jax.tree.map(jnp.ones_like, arguments)
    (_, found), (_, expected) = (
        jax.jvp(lambda *a, f=f: moved(*a, f), arguments, tangents) for f in (False, True)
    )
    close(found, expected, rtol=1e-9)
