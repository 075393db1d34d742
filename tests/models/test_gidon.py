"""Gidon et al. 2020 against the published neuron in NEURON at equal time step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import REFERENCE
from jaxdend.cell import Cell
from jaxdend.models import gidon2020
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.stimuli import Step
from jaxdend.synapses import AMPA, NMDA
from models.neurons import graph_cell

DT = 0.05
X_TIMES = [491.325, 773.975, 974.025, 1818.575, 2417.575, 2863.375, 3352.475]


@pytest.fixture(scope="module")
def published(reference):
    bare, graph = graph_cell(reference / "gidon2020_graph.npz")
    site = bare.locate(section="apic[76]", x=0.214)
    return gidon2020(bare, site), site, graph


def events_of(file) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sites `(k,)`, times `(k, m)` ms and which `(k,)` have NMDA too: all but the background."""
    given = np.load(file)
    offsets = given["event_offsets"]
    times = np.full((len(offsets) - 1, np.diff(offsets).max()), np.inf)
    for i, (a, b) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        times[i, : b - a] = given["event_times"][a:b]
    return given["node"], times, given["group"] != "plex_bg"


def synapses(node, times, paired, most=None) -> list:
    """AMPA everywhere and NMDA where `paired`, at most so many events in a step."""
    return [
        AMPA.preset("gidon2020", node, 7e-4, times, max_per_step=most),
        NMDA.preset("gidon2020", node, 1.3e-3 * paired, times, max_per_step=most),
    ]


def as_one(parts) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], int]:
    """Several of `events_of` filled up to one shape, and the most events in a step."""
    k, m = np.max([times.shape for _, times, _ in parts], axis=0)
    out = []
    for node, times, paired in parts:
        more = k - len(node)
        late = ((0, more), (0, m - times.shape[1]))
        times = np.pad(times, late, constant_values=np.inf)
        out.append((np.pad(node, (0, more)), times, np.pad(paired, (0, more))))
    steps = [np.floor(times[np.isfinite(times)] / DT + 0.5).astype(int) for _, times, _ in out]
    most = 2 * max(np.bincount(s).max() for s in steps)  # however a step rounds
    return tuple(np.stack(column) for column in zip(*out, strict=True)), int(most)


def dcaap(name: str):
    def record(t, state, model):
        del t, model
        return next(x[name][0] for x in state.mechanisms if "t_last" in x)

    return record


def run(cell, site, inputs, t1):
    record = {"dcaap": site, "soma": 0} | {name: dcaap(name) for name in ("A", "B", "K", "t_last")}
    return simulate(cell, inputs, t1=t1, dt=DT, solver=BackwardEuler(), record=record, v0=-75.0)


def events(traces) -> tuple[np.ndarray, np.ndarray]:
    """Times of the dCaAPs and their K."""
    last = np.asarray(traces["t_last"])
    start = np.flatnonzero(np.diff(last) != 0) + 1
    return last[start], np.asarray(traces["K"])[start]


def test_one_compartment_has_the_current(published):
    cell, site, graph = published
    (at,) = np.flatnonzero(np.nan_to_num(graph["dens__w_dCaAP"]))
    assert site == at
    assert cell.mechanisms["DCaAP"].at.index.tolist() == [site]
    assert float(cell.mechanisms["DCaAP"].mechanism.w) == pytest.approx(graph["dens__w_dCaAP"][at])


def test_pathway_x(reference, published):
    cell, site, _ = published
    want = np.load(reference / "gidon2020_x_dt0.05_float64.npz")
    inputs = synapses(*events_of(reference / "gidon2020_inputs_X.npz"))
    traces = run(cell, site, inputs, 900.0)
    n = len(want["v_soma"])
    np.testing.assert_allclose(traces.v[:n, 0], want["v_dcaap"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(traces.v[:n, 1], want["v_soma"], rtol=0, atol=5e-6)
    for name in "ABK":
        np.testing.assert_allclose(traces[name][1:n], want[name][1:], rtol=0, atol=1e-6)
    np.testing.assert_allclose(events(traces)[0], X_TIMES[:2], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_exclusive_or(reference, published):
    """Full events for either pathway, suppressed ones for both."""
    cell, site, _ = published
    files = [reference / f"gidon2020_inputs_{pathway}.npz" for pathway in ("X", "Y", "XY")]
    given, most = as_one([events_of(file) for file in files])
    batch = jax.vmap(lambda *given: run(cell, site, synapses(*given, most), 4000.0))(*given)
    found = [events(row(batch, i)) for i in range(3)]
    assert [len(times) for times, _ in found] == [7, 13, 20]
    assert [int(np.sum(k > 0.5)) for _, k in found] == [7, 12, 1]
    np.testing.assert_allclose(
        [np.mean(k) for _, k in found], [0.996, 0.928, 0.205], rtol=0, atol=6e-4
    )
    np.testing.assert_allclose(found[0][0], X_TIMES, rtol=0, atol=1e-6)


def row(batch, i):
    return jax.tree.map(lambda a: a[i], batch)


def steps(cell, site, currents):
    """Steps of current from 200 ms on, until 520 ms, as one batch."""
    currents = jnp.asarray(currents)
    batch = jax.vmap(lambda i: run(cell, site, Step(site, 200.0, 1000.0, i), 520.0))(currents)
    return [row(batch, i) for i in range(len(currents))]


BELOW = {False: (0.21, -36.132809), True: (0.48, -36.177173)}  # nA, and the peak in plain NumPy


def assert_no_event(traces, top):
    """One step of 0.01 or 0.02 nA lower than the first event."""
    assert len(events(traces)[0]) == 0
    assert float(traces.v[:, 0].max()) == pytest.approx(top, abs=1e-5)


def test_amplitude_falls_with_strength(published):
    """The second event of a step; the first has K near 1."""
    cell, site, _ = published
    below, *batch = steps(cell, site, [BELOW[False][0], 0.22, 0.26, 0.30])
    assert_no_event(below, BELOW[False][1])
    want = [(0.867, -34.33, 15.59), (0.468, -27.12, -0.17), (0.253, -19.91, -5.36)]
    for traces, (k, v, peak) in zip(batch, want, strict=True):
        times, ks = events(traces)
        assert len(times) == 2
        assert ks[1] == pytest.approx(k, abs=1e-3)
        start = round(times[1] / DT)
        local = np.asarray(traces.v[start:, 0])
        assert float(traces.v[int(times[1] / DT), 0]) == pytest.approx(v, abs=0.02)
        assert local.max() == pytest.approx(peak, abs=0.02)


def coupled_cell() -> tuple[Cell, int]:
    bare, _ = graph_cell(REFERENCE / "gidon2020_graph.npz")
    site = bare.locate(section="apic[60]", x=0.99)
    assert float(bare.distance[site]) == pytest.approx(267.0, abs=0.05)
    return gidon2020(bare, site, coupled=True), site


def test_coupled_events(reference):
    """Currents of the coupled cell, of which 0.6 nA makes the soma fire; from plain NumPy."""
    del reference  # there
    want = {  # nA: start of the first, K of the second, peaks of both and of the soma
        0.50: (241.425, 0.88773, 32.78369, 25.53147, -48.54745),
        0.56: (219.625, 0.59354, 35.92417, 10.31525, -47.64431),
        0.60: (214.425, 0.45372, 38.45582, 3.99240, 33.86254),
    }
    below, *batch = steps(*coupled_cell(), [BELOW[True][0], *want])
    assert_no_event(below, BELOW[True][1])
    for traces, (start, k, *peaks) in zip(batch, want.values(), strict=True):
        times, ks = events(traces)
        np.testing.assert_allclose(times, [start, start + 200.05], rtol=0, atol=1e-6)
        assert ks[1] == pytest.approx(k, abs=1e-5)
        split = round(times[1] / DT)
        local, body = np.asarray(traces.v[:, 0]), np.asarray(traces.v[:, 1])
        found = [local[:split].max(), local[split:].max(), body.max()]
        np.testing.assert_allclose(found, peaks, rtol=0, atol=2e-5)


def test_refuses_a_site_without_membrane(published):
    cell, _, _ = published
    bare = Cell.from_compartments(
        parent=[-1, 0], axial_resistance=[1.0, 1.0], area=[1.0, 0.0], section=["soma", "soma"]
    )
    with pytest.raises(ValueError, match="with membrane in 0..1; got 1"):
        gidon2020(bare, 1)
    with pytest.raises(ValueError, match=f"in 0..{cell.n - 1}; got {cell.n}"):
        gidon2020(cell, cell.n)
