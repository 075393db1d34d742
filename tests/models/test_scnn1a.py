"""The channels of Hay et al. 2011 on a mouse layer 4 neuron that bmtk ships, against NEURON."""

import numpy as np
import pytest

from jaxdend.models import hay2011
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.stimuli import Step
from jaxdend.traces import spike_times
from models.neurons import DENSITIES, graph_cell, placed

SPIKES = [214.8724, 223.9756, 235.2343, 248.8637, 279.2057, 380.3553, 481.7531, 578.9658]


@pytest.fixture(scope="module")
def cell(reference):
    bare, graph = graph_cell(reference / "bsdmorph_scnn1a_graph.npz")
    return hay2011(bare, hot=(273.963, 373.586), as_published=False), graph


def test_densities_are_those_at_the_centres(cell):
    cell, graph = cell
    for name, (mechanism, field) in DENSITIES.items():
        want = np.where(graph["area_um2"] > 0, graph[f"dens__{name}"], np.nan)
        np.testing.assert_allclose(placed(cell, mechanism, field), want, rtol=1e-12, err_msg=name)


def test_spikes(reference, cell):
    want = np.load(reference / "bsdmorph_scnn1a_hayset_dt0.025.npz")
    traces = simulate(
        cell[0], Step(0, 200.0, 400.0, 0.2), t1=700.0, dt=0.025, solver=BackwardEuler(),
        record=[0], v0=-80.0,
    )  # fmt: skip
    np.testing.assert_allclose(spike_times(traces, -10.0), SPIKES, rtol=0, atol=1e-4)
    np.testing.assert_allclose(traces.v[:, 0], want["0.2nA_soma"], rtol=0, atol=1e-5)
