"""Everything the reference cells are made of, on a small tree, against NEURON's scheme in NumPy.

The same protocols on the whole reference cells take minutes in NumPy; their results are numbers in
the tests of each model.
"""

import numpy as np
import pytest

from jaxdend import channels
from jaxdend.cell import Cell
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler
from jaxdend.stimuli import Step
from jaxdend.synapses import AMPA, GABAA, NMDA, AlphaSynapse, NMDAKinetic
from models import scheme

# soma, its end, a dendrite, its end, a thin branch with the dCaAP, its end, a sister, its end
PARENT = np.array([-1, 0, 1, 2, 3, 4, 3, 6])
RESISTANCE = np.array([np.nan, 0.1, 15.0, 14.0, 90.0, 80.0, 40.0, 38.0])  # MΩ
AREA = np.array([1200.0, 0.0, 900.0, 0.0, 80.0, 0.0, 300.0, 0.0])  # µm²
CM = np.array([1.0, 1.0, 2.0, 1.0, 0.45, 1.0, 2.0, 1.0])  # µF/cm²
TREE = PARENT, RESISTANCE, AREA, CM
SOMA = {
    "NaTa": (2.04, 50.0, {"m": 3, "h": 1}),
    "Nap": (1.72e-3, 50.0, {"m": 3, "h": 1}),
    "KPst": (2.23e-3, -85.0, {"m": 2, "h": 1}),
    "KTst": (0.0812, -85.0, {"m": 4, "h": 1}),
    "SKv3_1": (0.693, -85.0, {"m": 1}),
    "SK": (0.0441, -85.0, {"z": 1}),
    "CaHVA": (9.92e-4, None, {"m": 2, "h": 1}),
    "CaLVA": (3.43e-3, None, {"m": 2, "h": 1}),
}
EXCITED = [  # site, µS, ms: twice at once, two synapses at one site, ends of sections, too late
    (2, 3e-4, [0.0, 4.0, 4.0, 9.013]),
    (2, 5e-4, [4.0, 4.001, 250.0, 251.0]),
    (5, 4e-4, [6.3, 33.3, 34.9]),
    (7, 4e-4, [10.007]),
    (0, 6e-4, [0.024]),
]
INHIBITED = [(4, 5e-4, [60.0, 61.7]), (3, 5e-4, [12.3, 65.0]), (0, 1e-3, [80.0])]
KINETIC = np.array([7, 5, 2, 7]), np.array([70.0, 72.01, 74.03, 76.0])
STEPS = [(0, 20.0, 15.0, 0.35), (4, 40.0, 25.0, 0.25)]  # site, onset, duration, nA


def written():
    """The tree's mechanisms in NumPy."""
    shell = scheme.Shell([0], len(PARENT), 460.0, 5.01e-4)
    live = np.flatnonzero(AREA)
    membrane = [scheme.Gated(live, "Leak", 5e-5, -80.0), scheme.DCaAP(4, 4.0)]
    membrane += [
        scheme.Gated([0], name, g, e, shell if e is None or name == "SK" else None, **powers)
        for name, (g, e, powers) in SOMA.items()
    ]
    membrane += [
        scheme.Gated([2], "Im", 6.75e-5, -85.0, m=1),
        scheme.Gated([2, 6], "Ih", 2e-3, -45.0, m=1),
    ]
    points = [
        scheme.Events(EXCITED, 0.3, 1.8, 0.0),
        scheme.Events(EXCITED, 8.0, 35.0, 0.0, gamma=0.077),
        scheme.Events(INHIBITED, 2.0, 23.0, -75.0),
        scheme.Events(INHIBITED, 0.5, 5.0, -75.0),
        scheme.Alpha(KINETIC[0], 5e-4, KINETIC[1]),
        scheme.Receptor(KINETIC[0], 8e-3, KINETIC[1]),
    ]
    return membrane, points


def injected(t):
    out = np.zeros(len(PARENT))
    for site, onset, duration, amplitude in STEPS:
        out[site] += amplitude * (onset <= t < onset + duration)
    return out


def cell() -> Cell:
    bare = Cell.from_compartments(
        parent=PARENT, axial_resistance=np.nan_to_num(RESISTANCE), area=AREA, cm=CM, celsius=6.3
    )
    out = bare.insert(channels.Leak(g=5e-5, e=-80.0)).insert(channels.DCaAP(w=4.0), np.array([4]))
    soma = np.array([0])
    for name, (gbar, _, _) in SOMA.items():
        out = out.insert(getattr(channels, name)(gbar=gbar), soma)
    out = out.insert(channels.CalciumShell(decay=460.0, gamma=5.01e-4), soma)
    out = out.insert(channels.Im(gbar=6.75e-5), np.array([2]))
    return out.insert(channels.Ih(gbar=2e-3), np.array([2, 6]))


def group(kind, preset, synapses):
    width = max(len(times) for _, _, times in synapses)
    times = np.full((len(synapses), width), np.inf)
    for row, (_, _, given) in zip(times, synapses, strict=True):
        row[: len(given)] = given
    sites, weights = [s for s, _, _ in synapses], [w for _, w, _ in synapses]
    return kind.preset(preset, np.array(sites), np.array(weights), times)


def inputs() -> list:
    sites, onset = KINETIC
    return [
        *(Step(*step) for step in STEPS),
        group(AMPA, "gidon2020", EXCITED),
        group(NMDA, "gidon2020", EXCITED),
        group(GABAA, "gidon2020_distal", INHIBITED),
        group(GABAA, "gidon2020_proximal", INHIBITED),
        AlphaSynapse(sites, 5e-4, onset[:, None], tau=2.0, cutoff=10.0),
        NMDAKinetic(sites, 8e-3, onset[:, None]),
    ]


@pytest.mark.parametrize(("dt", "t1"), [(0.05, 260.0), (0.025, 85.0)])
def test_every_current_event_and_end_of_section(dt, t1):
    want = scheme.run(TREE, *written(), injected, -75.0, t1, dt)
    found = simulate(cell(), inputs(), t1=t1, dt=dt, solver=BackwardEuler(), v0=-75.0).v
    assert want[:, 0].max() > 20.0  # it spikes
    assert want[:, 4].max() > 0.0  # the dCaAP fires
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-5)


def test_a_run_in_two_parts_is_one_run():
    """Gates, synapses, receptors and the dCaAP's refractory period go on where they were."""
    how = {"dt": 0.05, "solver": BackwardEuler()}
    whole = simulate(cell(), inputs(), t1=100.0, v0=-75.0, **how)
    first = simulate(cell(), inputs(), t1=50.0, v0=-75.0, **how)
    second = simulate(cell(), inputs(), t0=50.0, t1=100.0, v0=first.final, **how)
    parts = np.concatenate([first.v, second.v[1:]])
    np.testing.assert_allclose(parts, whole.v, rtol=0, atol=1e-8)
