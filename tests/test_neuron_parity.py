"""Against live NEURON at equal dt, both schemes; and the numbers of the built-in checks."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
import neuron_geometry as oracle
from jaxdend.channels import HH, Leak

DT, END = 0.025, 100.0
SCHEMES = [(0, jd.BackwardEuler()), (2, jd.CrankNicolson())]
CASES = [
    # name, HH everywhere, pulses nA
    ("Rorb_325404214_m", False, 1.0),
    ("Pvalb_469628681_m", False, 1.0),
    ("Rorb_325404214_m", True, 3.0),
]


def record_neuron(cell: jd.Cell, path, sites, *, everywhere: bool, amplitude: float, order: int):
    """`(t, r)` mV of the same cell in NEURON, cut into the same compartments."""
    template, sections = oracle.import_file(path)
    from neuron import h

    h.celsius, h.secondorder, h.dt, h.usetable_hh = 6.3, order, DT, 0
    for number, name in enumerate(cell.section_names):
        section = sections[name]
        section.nseg, section.Ra, section.cm = int(np.sum(cell.section == number)), 100.0, 1.0
        if everywhere or name.startswith(("soma", "axon")):
            section.insert("hh")
        else:
            section.insert("pas")
            for segment in section:
                segment.pas.g, segment.pas.e = 1e-4, -65.0
    where = [sections[cell.section_names[cell.section[i]]](cell.x[i]) for i in sites]
    clamps = [h.IClamp(where[0]) for _ in range(5)]
    for k, clamp in enumerate(clamps):
        clamp.delay, clamp.dur, clamp.amp = 5.0 + 20.0 * k, 2.0, amplitude
    vectors = [h.Vector().record(segment._ref_v) for segment in where]
    try:
        h.finitialize(-65.0)
        for _ in range(round(END / DT)):
            h.fadvance()
    finally:
        h.secondorder = 0
    del template
    return np.stack([np.array(vector) for vector in vectors], axis=1)


@pytest.mark.parametrize(("order", "solver"), SCHEMES, ids=["backward_euler", "crank_nicolson"])
@pytest.mark.parametrize(("name", "everywhere", "amplitude"), CASES)
def test_a_real_cell_spikes_as_in_neuron(bmtk_swc, name, everywhere, amplitude, order, solver):
    path = bmtk_swc(name)
    cell = jd.Cell(jd.read_morphology(path), max_length=40.0)
    active = np.isin(cell.kind, [1, 2]) | everywhere
    cell = cell.insert(HH(), active)
    if not everywhere:
        cell = cell.insert(Leak(g=1e-4, e=-65.0), ~active)
    dendrite = np.where(np.isin(cell.kind, [3, 4]), cell.distance, -1.0)
    near = int(np.argmin(np.where(dendrite > 0, np.abs(dendrite - 50.0), np.inf)))
    sites = [cell.locate("soma"), near, int(np.argmax(dendrite))]
    expected = record_neuron(
        cell, path, sites, everywhere=everywhere, amplitude=amplitude, order=order
    )
    step = jd.PulseTrain(sites[0], onset=5.0, period=20.0, width=2.0, count=5, amplitude=amplitude)
    traces = jd.simulate(cell, step, t1=END, dt=DT, solver=solver, record=sites)
    assert len(jd.spike_times(traces)) >= 2
    assert expected[:, 0].max() > 10.0
    worst = np.max(np.abs(traces.v - expected))
    print(name, everywhere, order, "worst", worst, "mV;", len(jd.spike_times(traces)), "spikes")
    assert worst <= 1e-5


def soma_cell() -> jd.Cell:
    return jd.Cell(jd.single_compartment(20.0, 20.0), max_length=100.0).insert(HH())


@pytest.mark.parametrize(
    ("dt", "times", "peak"),
    [
        (0.025, [6.7265, 20.8562, 34.6657, 48.4597, 62.2524, 76.0450], 40.0129),
        (0.001, [6.7074, 20.7732, 34.5211, 48.2536, 61.9848, 75.7159], 40.4900),
    ],
)
def test_one_hh_compartment_has_the_spikes_of_neuron(dt, times, peak):
    step = jd.Step(0, onset=5.0, duration=80.0, amplitude=0.15)
    traces = jd.simulate(soma_cell(), step, t1=85.0, dt=dt, solver=jd.BackwardEuler())
    np.testing.assert_allclose(jd.spike_times(traces), times, atol=5.1e-5)
    assert float(traces.v.max()) == pytest.approx(peak, abs=5.1e-5)


@pytest.mark.parametrize(
    ("dt", "times"),
    [
        (0.025, [6.2597, 18.3085, 29.6871, 40.9934, 52.2857]),
        (0.001, [6.2399, 18.2187, 29.5321, 40.7764, 52.0072]),
    ],
)
def test_ball_and_stick_has_the_spikes_of_neuron(dt, times):
    cell = jd.Cell(jd.ball_and_stick(), max_length=21.0)  # 1 + 25 compartments
    assert cell.n == 26
    cell = cell.insert(HH(), "soma").insert(Leak(g=1e-4, e=-65.0), "basal")
    step = jd.Step(0, onset=5.0, duration=50.0, amplitude=0.5)
    sites = [cell.locate(section="dend[0]", x=x) for x in (0.1, 0.5, 0.98)]
    traces = jd.simulate(cell, step, t1=55.0, dt=dt, solver=jd.BackwardEuler(), record=[0, *sites])
    np.testing.assert_allclose(jd.spike_times(traces), times, atol=5.1e-5)
    if dt == 0.025:
        peaks = [36.791, 17.327, -19.989, -25.906]
        np.testing.assert_allclose(traces.v.max(axis=0), peaks, atol=5.1e-4)


@pytest.mark.parametrize(
    ("dt", "peaks"),
    [
        (0.025, [-49.51702, -52.78077, -53.24890, -53.30588]),
        (0.001, [-49.51555, -52.76910, -53.23645, -53.29333]),
    ],
)
def test_a_synapse_on_a_y_tree_has_the_peaks_of_neuron(dt, peaks):
    cell = jd.Cell(jd.y_tree(), max_length=10.0, ra=150.0, end_nodes=True)  # 21, 15, 15
    cell = cell.insert(Leak(g=5e-5, e=-70.0))
    at = cell.locate(section="dend[1]", x=0.7)
    sites = [
        at,
        cell.locate(section="dend[0]", x=1.0),
        cell.locate(section="dend[2]", x=1.0),
        cell.locate(section="dend[0]", x=0.0),
    ]
    synapse = jd.Exp2Syn(at, weight=0.002, times=[10.0], tau1=0.5, tau2=5.0)
    traces = jd.simulate(
        cell, synapse, t1=25.0, dt=dt, v0=-70.0, solver=jd.BackwardEuler(), record=sites
    )
    np.testing.assert_allclose(traces.v.max(axis=0), peaks, atol=5.1e-6)
    if dt == 0.025:
        when = traces.ts[jnp.argmax(traces.v, axis=0)]
        np.testing.assert_allclose(when, [16.125, 19.725, 20.275, 20.35], atol=1e-9)


def sealed_cable(ncomp: int) -> jd.Cell:
    """L 500, d 2 µm, cut into `ncomp`, with a node of area 0 at either end."""
    length = 500.0 / ncomp
    half = 0.01 * 100.0 * (length / 2) / np.pi  # MΩ
    resistance = np.full(ncomp + 2, 2 * half)
    resistance[[1, -1]] = half
    area = np.full(ncomp + 2, np.pi * 2.0 * length)
    area[[0, -1]] = 0.0
    parent = np.arange(-1, ncomp + 1)
    cell = jd.Cell.from_compartments(parent=parent, axial_resistance=resistance, area=area)
    return cell.insert(Leak(g=1e-4, e=-65.0))


@pytest.mark.parametrize(
    ("ncomp", "resistance", "transfer"),
    [(5, 370.8218, 0.793562), (25, 369.7193, 0.793290), (125, 369.67518, 0.793279)],
)
def test_the_sealed_cable_has_its_input_resistance(ncomp, resistance, transfer):
    """Infinite-time response to a constant current; analytic value in the limit of fine cuts."""
    cell = sealed_cable(ncomp)
    first, last = 0, cell.n - 1
    start = jd.rest(cell, v0=-65.0)
    step = jd.Step(first, onset=0.0, duration=1e9, amplitude=0.01)
    traces = jd.simulate(
        cell, step, t1=3600.0, dt=60.0, v0=start, solver=jd.BackwardEuler(), record=[first, last]
    )
    shift = np.asarray(traces.v[-1] + 65.0)
    assert shift[0] / 0.01 == pytest.approx(resistance, abs=5.1e-5)
    assert shift[1] / shift[0] == pytest.approx(transfer, abs=5.1e-7)
    lam = np.sqrt(1e4 * 2e-4 / (4 * 100.0))  # cm: sqrt(rm d / 4 ra)
    end = 1e4 * lam / (np.pi * 2e-4 * lam**2) * 1e-6  # MΩ, of the half-infinite cable
    exact = end / np.tanh(0.05 / lam)
    assert exact == pytest.approx(369.67335, abs=5.1e-6)
    assert abs(shift[0] / 0.01 / exact - 1.0) < 0.08 / ncomp**2
