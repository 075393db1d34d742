"""Recorders against the same quantities computed by hand from the final state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import HH, CaHVA, CalciumShell, CaLVA, Leak
from jaxdend.recorders import ClampCurrent, Conductance, Current, Gate, Inside, IonCurrent

CALCIUM = np.array([3, 5])


@pytest.fixture(scope="module")
def cell() -> jd.Cell:
    cell = jd.Cell(jd.ball_and_stick(dendrite_length=200.0), ncomp=lambda x: 5 if x > 100 else 1)
    cell = cell.insert(HH(), "soma").insert(Leak(g=1e-4, e=-65.0), "dendrite")
    for channel in (CaHVA(1e-4), CaLVA(1e-4), CalciumShell()):
        cell = cell.insert(channel, CALCIUM)
    return cell


@pytest.fixture(scope="module")
def run(cell):
    inputs = (
        jd.Step(0, 0.2, 5.0, 0.3),
        jd.Exp2Syn([4, 2], [0.001, 0.002], [[0.3, 1.0]], tau1=0.5, tau2=4.0),
        jd.VoltageClamp(1, [-60.0, -40.0], [1.0, 10.0], rs=20.0),
    )
    record = {
        "v": np.arange(cell.n),
        "m": Gate("HH", "m", 0),
        "hh": Current("HH", [0]),
        "cahva": Current("CaHVA", CALCIUM[::-1]),
        "na": IonCurrent("na", [0, 1]),
        "ca": IonCurrent("ca", [5, 4]),
        "inside": Inside("ca", 5),
        "pool": Gate("CalciumShell", "inside", [5, 3]),
        "clamp": ClampCurrent(2),
        "g": Conductance(1),
    }
    return inputs, jd.simulate(cell, inputs, t1=3.0, record=record)


def test_gates_and_concentrations_are_the_state(cell, run):
    _, traces = run
    names = [type(item.mechanism).__name__ for item in cell.inserted]
    states = dict(zip(names, traces.final.mechanisms, strict=True))
    assert traces["m"].shape == (121,)
    np.testing.assert_array_equal(traces["m"][-1], states["HH"]["m"][0])
    np.testing.assert_array_equal(traces["inside"][-1], states["CalciumShell"]["inside"][1])
    np.testing.assert_array_equal(traces["pool"][-1], states["CalciumShell"]["inside"][::-1])
    assert float(traces["inside"][-1]) != float(traces["inside"][0])


def test_currents_by_hand(cell, run):
    _, traces = run
    hh = next(x for x in traces.final.mechanisms if set(x) == {"m", "h", "n"})
    v = float(traces.v[-1, 0])
    na = 0.12 * hh["m"][0] ** 3 * hh["h"][0] * (v - 50.0)
    total = na + 0.036 * hh["n"][0] ** 4 * (v + 77.0) + 0.0003 * (v + 54.3)
    assert traces["hh"].shape == (121, 1)
    np.testing.assert_allclose(traces["na"][-1], [na, 0.0], rtol=1e-12)
    np.testing.assert_allclose(traces["hh"][-1, 0], total, rtol=1e-12)
    one = jd.simulate(
        cell, run[0], t1=3.0, record={"a": Current("CaHVA", 5), "b": Current("CaLVA", 5)}
    )
    np.testing.assert_allclose(traces["ca"][:, 0], one["a"] + one["b"], rtol=1e-10)
    np.testing.assert_allclose(traces["cahva"][:, 0], one["a"], rtol=1e-10)
    assert np.all(traces["ca"][:, 1] == 0)


def test_conductance_and_clamp_current_by_hand(run):
    _, traces = run
    t = np.asarray(traces.ts)
    peak = np.log(4.0 / 0.5) * 0.5 * 4.0 / 3.5
    scale = 1 / (np.exp(-peak / 4.0) - np.exp(-peak / 0.5))
    g = 0.0
    for onset in (0.3, 1.0):
        lag = np.maximum(t - onset, 0.0)
        g = g + scale * (np.exp(-lag / 4.0) - np.exp(-lag / 0.5))
    np.testing.assert_allclose(traces["g"], g[:, None] * [0.001, 0.002], rtol=1e-9, atol=1e-15)
    command = np.where(t < 1.0, -60.0, -40.0)
    expected = (command - np.asarray(traces.v[:, 1])) / 20.0
    off = np.abs(t - 1.0) > 1e-6
    np.testing.assert_allclose(traces["clamp"][off, 0], expected[off], rtol=1e-12)


def test_sites_may_be_mapped(cell):
    def one(site):
        return jd.simulate(cell, t1=0.5, record={"x": Inside("ca", site)})["x"]

    mapped = jax.vmap(one)(jnp.asarray(CALCIUM))
    np.testing.assert_allclose(mapped.T, one(CALCIUM), rtol=1e-12)


@pytest.mark.parametrize(
    ("recorder", "message"),
    [
        (Gate("Kv", "n", 0), "no mechanism 'Kv'.*HH.*Leak"),
        (Gate("HH", "q", 0), "no state 'q'; it has .'h', 'm', 'n'."),
        (Gate("HH", "m", [0, 3]), "HH is not in compartment 3"),
        (Current("CalciumShell", 3), "carries no current"),
        (IonCurrent("cl", 3), "no channel carries 'cl'.*'ca', 'k', 'na'"),
        (IonCurrent("ca", 99), "must lie in 0..5"),
        (Inside("na", 3), "no mechanism moves 'na'.*'ca'"),
        (ClampCurrent(0), "needs a VoltageClamp; the inputs are .'0: Step'"),
        (Conductance(4), "needs a Synapse"),
    ],
)
def test_errors_say_what_there_is(cell, recorder, message):
    with pytest.raises(ValueError, match=message):
        jd.simulate(cell, jd.Step(0, 0.0, 1.0, 0.1), t1=0.1, record={"x": recorder})


def test_sites_must_be_whole_numbers():
    with pytest.raises(ValueError, match="must be an int"):
        Gate("HH", "m", 0.5)
