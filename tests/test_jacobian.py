"""The Jacobian and its elimination against `jax.jacobian`, on random cells of random parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxdend as jd
from jaxdend.channels import HH, SK, CaHVA, CalciumShell, Leak
from jaxdend.dynamics import State, build_model
from jaxdend.jacobian import linearise
from jaxdend.mechanisms.base import AbstractMechanism
from user_inputs import Filter, Kicked, Relay


class KPool(jd.AbstractPool):
    tau: jax.Array = jd.param(500.0, unit="ms")
    outside: jax.Array = jd.param(4.0, unit="mM")
    ion = "k"

    def pool_derivative(self, inside, current):
        return -2000.0 * current - (inside - 100.0) / self.tau

    def start(self, v):
        return jnp.full_like(v, 100.0)


class KCa(jd.AbstractChannel):
    """Reads two concentrations, and has two states that read one another."""

    g: jax.Array = jd.param(1e-3, unit="S/cm2")
    ion = "k"
    reads = ("ca", "k")

    def initial(self, v, env):
        m = 1.0 / (1.0 + jnp.exp(-(v + 30.0) / 8.0))
        return {"m": m, "o": m * env.inside["ca"] / (env.inside["ca"] + 1e-3)}

    def derivative(self, v, x, env):
        ca = env.inside["ca"]
        m = 1.0 / (1.0 + jnp.exp(-(v + 30.0) / 8.0))
        return {
            "m": (m - x["m"]) / 3.0,
            "o": x["m"] * ca / (ca + 1e-3) - x["o"],
        }

    def current(self, v, x, env):
        return self.g * (0.1 + x["o"]) * env.inside["ca"] / 1e-3 * (v - env.e["k"])


class Exchanger(AbstractMechanism):
    """Carries a current, and moves the same ion's concentration through a store: two states."""

    g: jax.Array = jd.param(2e-5, unit="S/cm2")
    reads = ("na",)

    @property
    def writes(self):
        return ("na",)

    def concentrations(self, x):
        return {"na": (x["inside"], jnp.full_like(x["inside"], 140.0))}

    def initial(self, v, env):
        return {"inside": jnp.full_like(v, 10.0), "store": jnp.full_like(v, 20.0)}

    def current(self, v, x, env):
        return {"na": self.g * x["inside"] / 10.0 * (v - env.e["na"]), None: 1e-6 * x["store"]}

    def derivative(self, v, x, env):
        flow = 0.05 * (x["inside"] - 0.5 * x["store"])
        return {
            "inside": -1000.0 * env.current["na"] - flow + 1e-3 * (10.0 - x["inside"]),
            "store": flow + 1e-3 * (20.0 - x["store"]),
        }


def random_cell(rng) -> jd.Cell:
    n = int(rng.integers(2, 6))
    parent = np.array([-1, *(rng.integers(0, i) for i in range(1, n))])
    area = rng.uniform(50.0, 500.0, n)
    if n > 3:
        area[rng.integers(1, n - 1)] = 0.0  # a node without membrane
    cell = jd.Cell.from_compartments(
        parent=parent, axial_resistance=rng.uniform(5.0, 200.0, n), area=area
    )
    everywhere = np.flatnonzero(area)

    def some():
        return rng.permutation(everywhere)[: rng.integers(1, len(everywhere) + 1)]

    cell = cell.insert(Leak(g=1e-4, e=-65.0), everywhere)
    for part in (HH(), CaHVA(1e-3), SK(1e-3), KCa(), Exchanger()):
        cell = cell.insert(part, some())
    return cell.insert(CalciumShell(decay=20.0), everywhere).insert(KPool(), everywhere)


def random_inputs(rng, n) -> tuple:
    def site():
        return jnp.asarray(rng.integers(0, n, 1))

    one = jnp.array(1.0)
    return (
        Relay(site(), jnp.array(1.5), one),
        Kicked(site(), jnp.array([1.0]), one),
        Filter(site(), jnp.array(1.0), one),
        jd.NMDAKinetic([*rng.integers(0, n, 2)], weight=2e-3, times=[1.8]),
        jd.VoltageClamp(int(rng.integers(0, n)), [-40.0], [50.0], rs=2.0),
        jd.NMDA(int(rng.integers(0, n)), 1e-3, [1.0]),
    )


def model_and_state(rng, inputs=True):
    cell = random_cell(rng)
    items = random_inputs(rng, cell.n) if inputs else ()
    model = build_model(cell, items, start=jnp.zeros(()), h=jnp.asarray(0.025))
    y = model.initial(-45.0, True)
    wobble = [jax.tree.map(lambda a: a * (1.0 + 0.1 * rng.random(a.shape)), t)
              for t in (y.v, y.mechanisms, y.inputs)]  # fmt: skip
    return model, State(*wobble)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_elimination_solves_the_whole_system(seed):
    rng = np.random.default_rng(seed)
    model, y = model_and_state(rng)
    t, c = jnp.asarray(2.0), jnp.asarray(rng.uniform(5.0, 100.0))
    given = [(jnp.array([2e-3]), jnp.array([1e-3])) if i == 5 else x
             for i, x in enumerate(y.inputs)]  # fmt: skip
    coupled = [item.coupled for item in model.inputs]

    def full(x: State) -> State:
        inputs = [x if c else g for x, g, c in zip(x.inputs, given, coupled, strict=True)]
        return State(x.v, x.mechanisms, inputs)

    y = State(y.v, y.mechanisms, [x if c else None for x, c in zip(given, coupled, strict=True)])
    flat, back = ravel_pytree(y)
    right = jnp.asarray(rng.standard_normal(flat.shape))

    @jax.jit
    def both(flat):
        def balance(z):
            out = model.balance(t, full(back(z)))
            return ravel_pytree(State(out.v, out.mechanisms, out.inputs))[0]

        local = linearise(model, full(back(flat)), t, c)
        return jax.jacobian(balance)(flat), ravel_pytree(local.solve(model, back(right)))[0]

    slope, found = both(flat)
    ones = jax.tree.map(jnp.ones_like, y)
    mass = ravel_pytree(State(model.capacitance, ones.mechanisms, ones.inputs))[0]
    dense = np.linalg.solve(np.diag(c * mass) - slope, right)
    np.testing.assert_allclose(found, dense, rtol=1e-7, atol=1e-9 * np.abs(dense).max())


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), 2])
def test_settled_is_the_jacobian_of_the_system_without_gates(seed):
    """Voltages and concentrations alone are unknown; everything else is where these take it."""
    rng = np.random.default_rng(10 + seed)
    model, y = model_and_state(rng, inputs=False)
    zero = jnp.zeros(())
    writers = [
        x if item.mechanism.writes else {}
        for item, x in zip(model.inserted, y.mechanisms, strict=True)
    ]
    flat, back = ravel_pytree((y.v, writers))
    right = jnp.asarray(rng.standard_normal(flat.shape))

    def only(state: State):
        return state.v, [x if w else {} for x, w in zip(state.mechanisms, writers, strict=True)]

    @jax.jit
    def both(flat):
        def balance(z):
            v, moved = back(z)
            state = State(v, model.at_rest(v, moved), [])
            return ravel_pytree(only(model.balance(zero, state)))[0]

        v, moved = back(flat)
        state = State(v, model.at_rest(v, moved), [])
        local = linearise(model, state, zero, zero, settled=True)
        v, moved = back(right)
        filled = [m if w else x for m, w, x in zip(moved, writers, state.mechanisms, strict=True)]
        solved = local.solve(model, State(v, filled, []))
        return jax.jacobian(balance)(flat), ravel_pytree(only(solved))[0]

    slope, found = both(flat)
    dense = np.linalg.solve(-slope, right)
    np.testing.assert_allclose(found, dense, rtol=1e-6, atol=1e-8 * np.abs(dense).max())


def test_rest_has_the_right_derivatives_where_two_pools_read_one_another():
    """First and second, forwards and backwards; the right slope is 36.840."""

    class KCaLin(jd.AbstractChannel):
        g: jax.Array = jd.param(1e-3, unit="S/cm2")
        ion = "k"
        reads = ("ca", "k")

        def current(self, v, x, env):
            return self.g * env.inside["ca"] / 1e-3 * (v - env.e["k"])

    base = jd.Cell(jd.single_compartment(10.0, 10.0), max_length=20.0)
    base = base.insert(Leak(g=3e-4, e=-50.0)).insert(CalciumShell()).insert(KPool())
    base = base.insert(KCaLin())

    @jax.jit
    def rest(g):
        return jd.rest(base.insert(CaHVA(gbar=g)), v0=-60.0).v[0]

    g, h = 1e-3, 1e-5
    ahead, here, behind = rest(g + h), rest(g), rest(g - h)
    slope, bend = (ahead - behind) / (2 * h), (ahead - 2 * here + behind) / h**2
    assert float(slope) == pytest.approx(36.840, abs=1e-3)
    assert float(jax.grad(rest)(g)) == pytest.approx(float(slope), rel=1e-6)
    assert float(jax.jacfwd(rest)(g)) == pytest.approx(float(slope), rel=1e-6)
    assert float(jax.jacfwd(jax.grad(rest))(g)) == pytest.approx(float(bend), rel=1e-4)
