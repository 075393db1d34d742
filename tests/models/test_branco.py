"""Branco et al. 2010 against the published neuron in NEURON at equal time step."""

import jax
import numpy as np
import pytest

from jaxdend.models import branco2010
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.synapses import AlphaSynapse, NMDAKinetic
from models.neurons import graph_cell, placed

PEAKS = {  # interval ms: soma EPSP in mV, inwards, outwards, and both with AMPA alone
    0.0: (9.7363, 9.7363, 5.6373, 5.6373),
    2.0: (10.4760, 9.0011, 4.4612, 3.7674),
    4.0: (10.2485, 7.9637, 2.8756, 2.4767),
    8.0: (6.4020, 5.7817, 1.7191, 1.5648),
    # not published: the scheme of NEURON in plain NumPy on the same graph
    1.0: (10.1569, 9.4244, 5.4758, 4.9415),
    3.0: (10.4989, 8.4962, 3.5313, 2.9877),
    6.0: (8.7837, 6.8936, 2.1115, 1.8777),
}


@pytest.fixture(scope="module")
def bare(reference):
    return graph_cell(reference / "branco2010_graph.npz", ra=150.0)


def sites(cell) -> np.ndarray:
    """Distal first; x = 0 of the dendrite is the end of its parent."""
    along = [cell.locate(section="dend[13]", x=1 - i / 8) for i in range(8)]
    return np.array([*along, cell.locate(section="dend[12]", x=1.0)])


def onsets(interval, outwards=False) -> np.ndarray:
    """`(9, 1)` ms, when each input comes."""
    onset = 50.0 + interval * np.arange(9.0)
    return (onset[::-1] if outwards else onset)[:, None]


def run(cell, onset, t1, nmda=8e-3):
    """The trial of nine inputs at `onset (9, 1)`, with AMPA alone where `nmda` is None."""
    at, most = sites(cell), len(onset)
    inputs = [AlphaSynapse(at, 5e-4, onset, tau=2.0, cutoff=10.0, max_per_step=most)]
    record = {"soma": cell.locate("soma"), "mid": int(at[4]), "tip": int(at[0])}
    if nmda:
        inputs.append(NMDAKinetic(at, nmda, onset))
        record["O4"] = lambda t, y, model: y.inputs[1][NMDAKinetic.states.index("O")][4]
        record["UMg4"] = lambda t, y, model: y.inputs[1][NMDAKinetic.states.index("UMg")][4]
    return simulate(cell, inputs, t1=t1, dt=0.025, solver=BackwardEuler(), record=record, v0=-75.0)


def peaks(cell, intervals, nmda) -> np.ndarray:
    """Peak EPSPs `(intervals, 2)` mV at the soma, inwards and outwards, as one batch."""
    onset = np.stack([onsets(i, way) for i in intervals for way in (False, True)])
    v = jax.vmap(lambda onset: run(cell, onset, 150.0, nmda).v[:, 0])(onset)
    return np.asarray(v.max(axis=1) + 75.0).reshape(-1, 2)


def test_leak_and_capacitance(bare):
    cell, graph = bare
    membrane = graph["area_um2"] > 0
    decorated = branco2010(cell.set(cm=2.0))
    want = np.where(membrane, graph["dens__g_pas"], np.nan)
    np.testing.assert_array_equal(placed(decorated, "Leak", "g"), want)
    assert (decorated.cm == 1.0).all()


def test_inwards_at_4_ms(reference, bare):
    want = np.load(reference / "branco2010_in_4ms_float64.npz")
    traces = run(branco2010(bare[0]), onsets(4.0), 200.0)
    for column, name in enumerate(("v_soma", "v_d13mid", "v_d13_1")):
        np.testing.assert_allclose(traces.v[:, column], want[name], rtol=0, atol=1e-7)
    for name in ("O4", "UMg4"):
        np.testing.assert_allclose(traces[name], want[name], rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(("nmda", "columns"), [(8e-3, slice(0, 2)), (None, slice(2, 4))])
def test_sequences(bare, nmda, columns):
    found = peaks(branco2010(bare[0]), list(PEAKS), nmda)
    want = np.array(list(PEAKS.values()))[:, columns]
    np.testing.assert_allclose(found, want, rtol=0, atol=2e-4)


@pytest.mark.slow
def test_active(bare):
    found = peaks(branco2010(bare[0], active=True), [4.0], 5e-3)
    np.testing.assert_allclose(found, [[8.6517, 6.1723]], rtol=0, atol=2e-4)
