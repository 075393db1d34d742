"""Voltage clamps in a simulation: no ringing, the right current, NEURON's traces, second order."""

import diffrax
import numpy as np
import pytest

import jaxdend as jd
import neuron_geometry as oracle
from jaxdend.channels import HH, Leak


def fine_cell() -> jd.Cell:
    """20 compartments of 5 µm: axial conductances far above C / h."""
    return jd.Cell(jd.single_compartment(100.0, 2.0), ncomp=lambda _: 21).insert(
        Leak(g=1e-4, e=-65.0)
    )


def test_a_stiff_clamp_does_not_ring():
    cell = fine_cell()
    clamp = jd.VoltageClamp(10, voltages=[-65.0, -20.0], durations=[1.0, 9.0], rs=1e-3)
    v = np.asarray(jd.simulate(cell, clamp, t1=9.0).v)
    assert v[-1, 10] == pytest.approx(-20.0, abs=1e-3)
    after = v[41:]  # the command jumps at row 40
    for site in range(cell.n):
        moves = np.diff(v[:, site])
        assert moves.min() > -0.01  # up, and never back
    assert v.max() < -20.0 + 0.01
    assert np.abs(np.diff(after[20:, 10])).max() < 1e-3  # settled within 0.5 ms


@pytest.mark.parametrize("step", [True, False])
def test_a_clamp_that_disagrees_with_the_start_does_not_ring(step):
    """On from the beginning, through a finite and a tiny resistance, by levels or a waveform."""
    cell = fine_cell()
    for rs in (1e-3, 1.0):
        clamp = (
            jd.VoltageClamp(0, voltages=[-20.0], durations=[100.0], rs=rs)
            if step
            else jd.VoltageClamp.from_waveform(0, [-1.0, 9.0], [-20.0, -20.0], rs=rs)
        )
        v = np.asarray(jd.simulate(cell, clamp, t1=5.0).v)
        assert np.diff(v, axis=0).min() > -0.01


def clamp_current(clamp):
    return lambda t, y, model: clamp.current(t, y.v[clamp.site])


@pytest.mark.parametrize("solver", [jd.BackwardEuler(), jd.CrankNicolson()])
def test_the_steady_current_is_the_analytic_one(solver):
    cell = jd.Cell(jd.single_compartment(), max_length=30.0).insert(Leak(g=1e-4, e=-65.0))
    clamp = jd.VoltageClamp(0, voltages=[-20.0], durations=[1e3], rs=10.0)
    traces = jd.simulate(
        cell, clamp, t1=150.0, solver=solver, record={"v": [0], "i": clamp_current(clamp)}
    )
    g = 1e-4 * float(cell.area[0]) * 1e-2  # µS
    assert float(traces["i"][-1, 0]) == pytest.approx(45.0 / (10.0 + 1 / g), rel=1e-9)
    assert float(traces.v[-1, 0]) == pytest.approx(-65.0 + 45.0 / (1 + 10.0 * g), abs=1e-6)


def test_backward_euler_clamps_as_neuron():
    h = oracle.empty_neuron()
    h.celsius, h.secondorder, h.dt, h.usetable_hh = 6.3, 0, 0.025, 0
    cell = jd.Cell(jd.ball_and_stick(), max_length=51.0).insert(HH())
    sections = oracle.build(cell.morph)
    for number, name in enumerate(cell.section_names):
        section = sections[name]
        section.nseg, section.Ra, section.cm = int(np.sum(cell.section == number)), 100.0, 1.0
        section.insert("hh")
    clamp = h.SEClamp(sections["soma[0]"](0.5))
    clamp.rs = 0.5
    clamp.dur1, clamp.amp1, clamp.dur2, clamp.amp2 = 2.0, -70.0, 5.0, -20.0
    clamp.dur3, clamp.amp3 = 3.0, -65.0
    sites = [0, cell.locate("basal", distance=100.0)]
    where = [sections[cell.section_names[cell.section[i]]](cell.x[i]) for i in sites]
    vectors = [h.Vector().record(segment._ref_v) for segment in where]
    h.finitialize(-65.0)
    for _ in range(600):
        h.fadvance()
    expected = np.stack([np.array(vector) for vector in vectors], axis=1)
    ours = jd.VoltageClamp(0, voltages=[-70.0, -20.0, -65.0], durations=[2.0, 5.0, 3.0], rs=0.5)
    v = jd.simulate(cell, ours, t1=15.0, solver=jd.BackwardEuler(), record=sites).v
    worst = np.max(np.abs(v - expected), axis=1)
    print("clamp vs NEURON", worst.max(), np.argmax(worst > 1e-6))
    assert worst.max() <= 1e-6


def test_a_clamped_cell_converges_at_second_order():
    """On a smooth command, 2 ms past the start and its steps of backward Euler."""
    cell = jd.Cell(jd.ball_and_stick(), max_length=101.0).insert(HH(), "soma")
    cell = cell.insert(Leak(g=1e-4, e=-65.0), "basal")
    clamp = jd.VoltageClamp.from_waveform(0, [-1.0, 100.0], [-66.0, 35.0], rs=5.0)  # a ramp
    control = diffrax.PIDController(rtol=1e-9, atol=1e-9)
    exact = jd.simulate(
        cell, clamp, t1=6.0, dt=0.1, solver=diffrax.Tsit5(), controller=control,
        max_steps=20_000, adjoint=diffrax.ForwardMode(),
    ).v  # fmt: skip
    errors = []
    for dt in (0.05, 0.0125):
        v = jd.simulate(cell, clamp, t1=6.0, dt=dt, save_every=round(0.1 / dt)).v
        errors.append(float(np.sqrt(np.mean((v - exact)[20:] ** 2))))
    slope = np.log(errors[0] / errors[1]) / np.log(4.0)
    print("clamp order", slope, errors)
    assert slope == pytest.approx(2.0, abs=0.15)


def test_a_soft_clamp_has_nothing_to_do_where_the_model_is_right():
    """Its step is the free one: it imposes nothing on the voltage that these steps made."""
    cell = jd.Cell(jd.ball_and_stick(dendrite_length=200.0), ncomp=lambda _: 4).insert(HH())
    step = jd.Step(0, 1.0, 8.0, 0.5)
    free = jd.simulate(cell, step, t1=10.0, dt=0.05, record=[0, 3])
    assert free.v.max() > 0
    for rs in (0.3, 30.0):
        clamp = jd.VoltageClamp.from_waveform([0, 3], free.ts, free.v.T, rs, soft=True)
        tied = jd.simulate(cell, (step, clamp), t1=10.0, dt=0.05, record=[0, 3])
        np.testing.assert_allclose(tied.v, free.v, rtol=0, atol=1e-9)
