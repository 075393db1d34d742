"""Hay et al. 2011 against the published neuron in NEURON, backward Euler at equal time step."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.cell import Cell
from jaxdend.channels import Leak
from jaxdend.models import hay2011
from jaxdend.morphology import read_morphology
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.stimuli import DualExponential, Step
from jaxdend.traces import spike_times
from models.neurons import DENSITIES, graph_cell, placed

DT = 0.025
SPIKES = [297.9647, 308.1471, 327.1784]


@pytest.fixture(scope="module")
def bare(reference):
    return graph_cell(reference / "hay2011_graph.npz")


@pytest.fixture(scope="module")
def cell(bare):
    return hay2011(bare[0])


def bac(dendrite: int) -> list:
    return [Step(0, 295.0, 5.0, 1.9), DualExponential(dendrite, 300.0, 0.5, 0.5, 5.0)]


def test_densities_are_the_published_ones(bare, cell):
    _, graph = bare
    membrane = graph["area_um2"] > 0
    for name, (mechanism, field) in DENSITIES.items():
        want = np.where(membrane, graph[f"dens__{name}"], np.nan)
        np.testing.assert_array_equal(placed(cell, mechanism, field), want, err_msg=name)
    np.testing.assert_array_equal(cell.cm[membrane], graph["cm_uF_cm2"][membrane])


def test_back_propagation_activated_calcium_spike(reference, cell):
    want = np.load(reference / "hay2011_bac_dt0.025_float64.npz")
    traces = simulate(
        cell,
        bac(500),
        t1=400.0,
        dt=DT,
        solver=BackwardEuler(),
        record={
            "soma": 0,
            "apic620": 500,
            "cai": lambda t, y, model: _calcium(y, model)[0],
        },
        v0=-80.0,
    )
    np.testing.assert_allclose(spike_times(traces, -10.0), SPIKES, rtol=0, atol=1e-4)
    np.testing.assert_allclose(traces.v[:, 0], want["v_soma"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(traces.v[:, 1], want["v_apic620"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(traces["cai"], want["cai_soma"], rtol=1e-6)


def _calcium(state, model):
    names = [type(item.mechanism).__name__ for item in model.inserted]
    return state.mechanisms[names.index("CalciumShell")]["inside"]


@pytest.mark.slow
def test_step_current(reference, cell):
    want = np.load(reference / "hay2011_step_0.793nA_dt0.025.npz")
    traces = simulate(
        cell, Step(0, 700.0, 2000.0, 0.793), t1=1500.0, dt=DT, solver=BackwardEuler(),
        record=[0], v0=-80.0,
    )  # fmt: skip
    times = np.asarray(spike_times(traces, -10.0))
    published = want["spike_times_soma_ms"]
    assert len(times) >= 5
    np.testing.assert_allclose(times, published[published < 1500.0], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("measurement", "site"), [("soma_inj_-0.1nA", "soma"), ("apic620_inj_-0.1nA", "apic620")]
)
def test_passive_steady_state(reference, bare, measurement, site):
    """The leak alone, by one solve of the cable equation."""
    cell, graph = bare
    measured = json.loads((reference / "hay2011_passive.json").read_text())
    at = {
        name: cell.locate(section=where["section"], x=where["x"])
        for name, where in measured["sites"].items()
    }
    g = np.nan_to_num(graph["dens__g_pas"]) * graph["area_um2"] * 1e-2
    dv = _steady(cell, g, at[site], -0.1)
    for name, want in measured[measurement]["dV_ss_mV"].items():
        assert dv[at[name]] == pytest.approx(want, rel=1e-6)


def _steady(cell: Cell, g: np.ndarray, site: int, current: float) -> np.ndarray:
    from jaxdend.dynamics import build_model

    grid = jnp.asarray([0.0, DT])
    model = build_model(cell, (), start=grid[0], h=grid[1])
    right = jnp.zeros_like(model.area).at[site].set(current)
    return np.asarray(model.matrix(model.axial + g).solve(right))


def test_from_the_reconstruction(reference):
    cell = hay2011(read_morphology(reference / "hay2011_cell1.asc"))
    assert cell.n == 642
    assert float(cell.area[0]) == pytest.approx(1131.389, rel=1e-3)
    dendrite = int(cell.locate("apical", distance=620.0))
    traces = simulate(
        cell, bac(dendrite), t1=400.0, dt=DT, solver=BackwardEuler(), record=[0], v0=-80.0
    )
    times = np.asarray(spike_times(traces, -10.0))
    assert len(times) == 3
    np.testing.assert_allclose(times, SPIKES, rtol=0, atol=0.5)


def test_needs_regions_and_distances():
    graph = {"parent": [-1, 0], "axial_resistance": [1.0, 1.0], "area": [100.0, 100.0]}
    with pytest.raises(ValueError, match="needs a region 'soma'"):
        hay2011(Cell.from_compartments(**graph))
    with pytest.raises(ValueError, match="give distance="):
        hay2011(Cell.from_compartments(**graph, section=["soma[0]", "apic[0]"]))


def test_published_names_on_other_channels_are_untouched(bare):
    """Decorating twice changes nothing: `insert` sets parameters where a channel sits already."""
    once = hay2011(bare[0])
    twice = hay2011(once)
    assert once.mechanisms.keys() == twice.mechanisms.keys()
    assert isinstance(once.mechanisms["Leak"].mechanism, Leak)
    np.testing.assert_array_equal(placed(once, "Ih", "gbar"), placed(twice, "Ih", "gbar"))
