"""Exported scripts run in live NEURON, in a process of their own, and agree with `simulate`."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxdend as jd
from helpers import ROOT
from jaxdend import channels
from jaxdend.channels import (
    CHANNELS,
    HH,
    KA,
    CaHVA,
    CalciumShell,
    CaT,
    Km,
    KmCA1,
    Leak,
    PospischilK,
    PospischilNa,
    PospischilT,
    SKv3_1,
)
from jaxdend.io import export_neuron
from jaxdend.io._neuron_names import _NEURON
from jaxdend.mechanisms.base import Env
from jaxdend.models import hay2011

pytest.importorskip("neuron", reason="live NEURON: pip install 'jaxdend[validation]'")


def run(path, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, encoding="utf-8", cwd=cwd or path.parent
    )


def table(path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", skiprows=1)


def checked(folder, cell, inputs, sites, *, t1=40.0, solver=None, cwd=None, **options):
    """Largest difference (mV) of the exported script to `simulate`, and the traces."""
    solver = jd.BackwardEuler() if solver is None else solver
    v0 = options.get("v0", -65.0)
    traces = jd.simulate(cell, inputs, t1=t1, solver=solver, record=sites, v0=v0)
    path = export_neuron(
        cell, folder / "cell", inputs=inputs, traces=traces, solver=solver, **options
    )
    done = run(path, cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    found = table(folder / "cell_neuron.csv")
    assert found.shape == (round(t1 / 0.025) + 1, len(sites) + 1)
    worst = np.max(np.abs(found[:, 1:] - np.asarray(traces.v)))
    assert f"max |ΔV| = {worst:.3g} mV" in done.stdout  # what its user reads
    print(path.name, cell.n, "compartments; worst", worst, "mV")
    return worst, traces


def ball_and_stick() -> jd.Cell:
    cell = jd.Cell(jd.ball_and_stick(), max_length=21.0)
    return cell.insert(HH(), "soma").insert(Leak(g=1e-4, e=-65.0), "basal")


STEP = jd.Step(0, onset=5.0, duration=30.0, amplitude=0.5)
SYNAPSE = jd.Exp2Syn([10], weight=0.002, times=[10.0, 17.3], tau1=0.5, tau2=5.0)


@pytest.mark.parametrize(
    ("solver", "layout"),
    [
        (jd.BackwardEuler(), "sections"),
        (jd.CrankNicolson(round_events=True), "compartments"),
    ],
    ids=["backward_euler", "crank_nicolson"],
)
def test_ball_and_stick_spikes_as_in_neuron(tmp_path, solver, layout):
    worst, traces = checked(
        tmp_path, ball_and_stick(), [STEP, SYNAPSE], [0, 10, 25], solver=solver, layout=layout
    )
    assert len(jd.spike_times(traces)) == 3
    assert worst <= 1e-9


@pytest.mark.parametrize("layout", ["sections", "compartments"])
def test_a_real_cell_with_densities_by_region_spikes_as_in_neuron(tmp_path, bmtk_swc, layout):
    cell = jd.Cell(jd.read_morphology(bmtk_swc("Rorb_325404214_m")), max_length=40.0)
    apical, trunk = cell.region("apical"), np.isin(cell.kind, [1, 2])
    gnabar = 0.03 * np.exp(-cell.distance / 300.0)
    cell = cell.insert(HH(), trunk).insert(HH(gnabar=gnabar, gkbar=0.01, gl=1e-4), apical)
    cell = cell.insert(Leak(g=1e-4, e=-65.0), ~trunk & ~apical)
    sites = [cell.locate("soma"), int(np.argmax(cell.distance)), cell.n - 1]
    pulses = jd.PulseTrain(sites[0], onset=5.0, period=12.0, width=2.0, count=3, amplitude=3.0)
    synapse = jd.Exp2Syn(sites[1], weight=0.002, times=[10.0, 17.3], tau1=0.5, tau2=5.0)
    worst, traces = checked(tmp_path, cell, [pulses, synapse], sites, layout=layout)
    assert len(jd.spike_times(traces)) == 3
    assert worst <= 1e-9


def test_every_stimulus_and_synapse_does_in_neuron_what_it_does_here(tmp_path):
    inputs = [
        jd.Ramp([0, 3], onset=2.0, duration=20.0, start=0.0, stop=0.6),
        jd.Sine(5, onset=3.0, duration=20.0, amplitude=0.1, frequency=100.0, phase=0.3, offset=0.1),
        jd.Waveform(7, times=[0.0, 5.0, 5.0, 30.0], values=[0.0, 0.1, 0.2, 0.0]),
        jd.Noise(4, mean=0.1, std=0.05, tau=3.0, duration=30.0, seed=1),
        jd.DualExponential(6, onset=8.0, amplitude=0.3),
        jd.AMPA([3, 9], weight=[1e-3, 2e-3], times=[[5.0, 9.0], [3.0, np.inf]]),
        jd.GABAA(12, weight=1e-3, times=[12.0]),
        jd.ExpSyn(2, weight=0.003, times=[4.0, 20.0], tau=2.0),
        jd.AlphaSynapse(8, weight=0.002, times=[6.0, 14.0], tau=1.5, cutoff=10.0),
    ]
    start = -65.0 + 0.1 * np.arange(26)
    worst, traces = checked(tmp_path, ball_and_stick(), inputs, [0, 10, 25], v0=start)
    assert len(jd.spike_times(traces)) >= 1
    assert worst <= 1e-9


@pytest.mark.parametrize(
    "clamp",
    [
        jd.VoltageClamp(0, voltages=[-70.0, -20.0, -65.0], durations=[2.0, 5.0, 3.0], rs=0.5),
        jd.VoltageClamp.from_waveform(0, [3.0, 10.0, 10.0, 20.0], [-70.0, -20.0, -65.0, -40.0]),
    ],
    ids=["levels", "waveform"],
)
def test_voltage_clamps_hold_as_in_neuron(tmp_path, clamp):
    worst, _ = checked(tmp_path, ball_and_stick(), [clamp], [0, 25], t1=30.0)
    assert worst <= 1e-8  # NEURON's is never quite off


def graph() -> jd.Cell:
    """A graph of compartments without a morphology, one of them without membrane."""
    return jd.Cell.from_compartments(
        parent=[-1, 0, 0, 1, 1, 0],
        axial_resistance=[1.0, 20.0, 30.0, 40.0, 10.0, 50.0],
        area=[1000.0, 200.0, 300.0, 0.0, 150.0, 400.0],
        ra=120.0,
    ).insert(HH())


def uneven() -> jd.Cell:
    """A morphology whose compartments are no longer those that NEURON would cut."""
    cell = ball_and_stick()
    return cell.set(cell.distance > 300.0, radius=1.7).set(cell.distance > 100.0, ra=150.0)


@pytest.mark.parametrize("make", [graph, uneven], ids=["graph", "uneven"])
def test_a_cell_that_is_no_set_of_sections_gets_one_for_each_compartment(tmp_path, make):
    cell = make()
    inputs = [
        jd.Step(0, onset=2.0, duration=30.0, amplitude=0.3),
        jd.ExpSyn(3, weight=0.003, times=[4.0, 20.0], tau=2.0),
    ]
    worst, traces = checked(tmp_path, cell, inputs, [0, 3, cell.n - 1])
    assert traces.v.max() > 0.0
    assert worst <= 1e-9
    with pytest.raises(ValueError, match="layout='compartments' does"):
        export_neuron(cell, tmp_path / "no", layout="sections")


def test_a_channel_in_a_part_of_a_section_is_in_that_part_only(tmp_path):
    far = ball_and_stick().distance > 250.0
    cell = ball_and_stick().insert(HH(gnabar=0.2), far)
    worst, traces = checked(tmp_path, cell, [STEP], [0, 10, 25], layout="sections")
    assert traces.v[:, 2].max() > 0.0
    assert worst <= 1e-9


def test_a_synapse_at_the_end_of_a_section(tmp_path):
    cell = jd.Cell(jd.y_tree(), max_length=30.0, end_nodes=True).insert(Leak(g=5e-5, e=-70.0))
    at = cell.locate(section="dend[1]", x=1.0)
    synapse = jd.Exp2Syn(at, weight=0.002, times=[10.0], tau1=0.5, tau2=5.0)
    worst, _ = checked(tmp_path, cell, synapse, [0, at])
    assert worst <= 1e-5  # points are no single-precision numbers, as NEURON keeps them


def test_build_can_be_imported_and_says_what_differs(tmp_path):
    """A wrong reference is reported, none is said to be missing."""
    cell = ball_and_stick()
    path = export_neuron(cell, tmp_path / "cell.py", inputs=[STEP], t1=10.0)
    assert "There is no cell_reference.csv" in run(path).stdout
    code = "import cell; m = cell.build(); print(len(m.sections), m.sections['dend[0]'].nseg)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=tmp_path, text=True
    )
    assert done.stdout.split() == ["2", "25"], done.stderr
    rows = (tmp_path / "cell_neuron.csv").read_text().splitlines()
    rows[9] = f"{rows[9].split(',')[0]},1000.0"
    (tmp_path / "cell_reference.csv").write_text("\n".join(rows))
    assert "max |ΔV| = 1.06e+03 mV, at soma[0](0.5) and t = 0.2 ms" in run(path).stdout


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_every_channel_is_exported_or_refused_by_name(tmp_path, name):
    cell = jd.Cell(jd.single_compartment(), max_length=100.0)
    mechanism = CHANNELS[name]()
    known = any(key.split(".")[0] == type(mechanism).__name__ for key in _NEURON)
    cell = cell.insert(mechanism)
    if known:
        text = export_neuron(cell, tmp_path / "cell").read_text()
        compile(text, "cell.py", "exec")
        counterparts = [c for key, c in _NEURON.items() if name in (key, key.split(".")[0])]
        assert not counterparts or any(f"('{c.suffix}', [" in text for c in counterparts)
        return
    with pytest.raises(ValueError, match=f"{type(mechanism).__name__} has no published NEURON"):
        export_neuron(cell, tmp_path / "cell")
    with pytest.warns(UserWarning, match="left out"):
        text = export_neuron(cell, tmp_path / "cell", unknown="skip").read_text()
    assert "LEFT OUT" in text
    assert type(mechanism).__name__ in text


def test_the_table_names_channels_and_parameters_that_exist():
    for key, counterpart in _NEURON.items():
        mechanism = CHANNELS.get(key, getattr(channels, key.split(".")[0]))()
        ours = {*counterpart.parameters, *counterpart.ions, *counterpart.fixed, *counterpart.start}
        assert {n for n in ours if not hasattr(mechanism, n)} == set(), key
        for name, value in counterpart.fixed.items():  # the defaults are the published numbers
            assert float(getattr(mechanism, name)) == pytest.approx(value), (key, name)


def one(*mechanisms) -> jd.Cell:
    cell = jd.Cell(jd.single_compartment(), max_length=100.0)
    for mechanism in mechanisms:
        cell = cell.insert(mechanism)
    return cell


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        (one(HH(), SKv3_1()), {}, "SKv3_1 sets ek to -85 at compartment 0, but HH to -77"),
        (one(Km(), KmCA1()), {}, "two different mechanisms are published as km"),
        (one(KA(vhalfn=3.0)), {}, "KA at compartment 0 has vhalfn = 3.*kap.*kad"),
        (one(Leak()), {"inputs": jd.NMDA(0, 1e-3, [1.0])}, "no built-in counterpart of NMDA"),
        (one(Leak()), {"inputs": jd.AlphaSynapse(0, 1e-3, [1.0])}, "cutoff=10"),
        (one(Leak()), {"inputs": jd.ExpSyn(0, 1e-3, [-1.0])}, "before the start"),
        (one(Leak()), {"inputs": jd.Step(4, 0.0, 1.0, 1.0)}, r"Step.site: .* 0..0; got \[4\]"),
        (one(Leak()), {"record": [7]}, r"record: .* 0..0; got \[7\]"),
        (one(Leak()), {"v0": jd.rest(one(Leak()))}, "v0 must be a number"),
        (one(Leak()), {"solver": jd.Rodas5P()}, "got Rodas5P"),
        (one(Leak()), {"layout": "tree"}, "layout is one of"),
        (one(Leak()), {"dt": 0.0}, "must be > 0"),
    ],
)
def test_what_neuron_cannot_do_is_refused(tmp_path, cell, options, message):
    with pytest.raises(ValueError, match=message):
        export_neuron(cell, tmp_path / "cell", **options)
    assert not list(tmp_path.iterdir())


def test_a_missing_mechanism_is_named_with_its_file(tmp_path):
    path = export_neuron(one(SKv3_1()), tmp_path / "cell")
    done = run(path)
    assert done.returncode != 0
    assert "NEURON does not know SKv3_1 (SKv3_1.mod or similar, from ModelDB 139653" in done.stderr
    assert "nrnivmodl" in done.stderr


def test_gates_that_a_published_file_starts_elsewhere_are_set(tmp_path):
    cell = one(PospischilNa(), PospischilK())
    text = export_neuron(cell, tmp_path / "cell", v0=-70.0).read_text()
    ((suffix, sections, gates), *rest) = (
        row for row in ast.literal_eval(re.search(r"^GATES = (\[.*?^\])", text, re.M | re.S)[1])
    )
    assert (suffix, sections, rest) == ("hh2", ["soma[0]"], [])
    env = Env(cell.celsius, {}, {}, {})
    expected = {
        name: float(value)
        for mechanism in (PospischilNa(), PospischilK())
        for name, value in mechanism.initial(np.float64(-70.0), env).items()
    }
    assert gates == pytest.approx(expected)


def test_mechanisms_of_one_name_from_two_sources_keep_their_own_parameters(tmp_path):
    texts = [export_neuron(one(c), tmp_path / "cell").read_text() for c in (CaT(), PospischilT())]
    assert ["'gcabar'" in text for text in texts] == [False, True]
    assert ["'gbar'" in text for text in texts] == [True, False]


@pytest.fixture(scope="module")
def hay_files(tmp_path_factory) -> Path:
    """A folder where jaxdend's own NMODL of Hay's set is compiled under the published names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        nmodl = importlib.import_module("benchmarks.nmodl")
    folder = tmp_path_factory.mktemp("hay")
    files = {name: nmodl.text(name) for name in nmodl.CHANNELS} | {"CalciumShell": nmodl.POOL}
    for name, text in files.items():
        suffix = _NEURON[name].suffix
        text = text.replace(f"SUFFIX jd{name}", f"SUFFIX {suffix}")
        text = text.replace("RANGE decay, gamma", "RANGE decay, gamma, depth, minCai")
        text = re.sub(r"\bgbar\b", f"g{suffix}bar", text)
        text = re.sub(r" Q = \S+", "", text).replace("/Q", "/2.3^1.3")  # a default has 6 digits
        (folder / f"{suffix}.mod").write_text(text)
    tool = Path(sys.executable).parent / "nrnivmodl"
    done = subprocess.run([str(tool)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    return folder


def small_hay() -> jd.Cell:
    """Soma, axon, a basal and an apical dendrite with the channels and pools of Hay et al. 2011."""
    morph = jd.single_compartment(20.0, 20.0).with_cylinder(2, 60.0, 1.0, parent="soma[0]")
    morph = morph.with_cylinder(3, 200.0, 2.0, parent="soma[0]")
    morph = morph.with_cylinder(4, 800.0, 3.0, parent="soma[0]", parent_x=1.0)
    cell = jd.Cell(morph, max_length=40.0, ra=100.0)
    cell = hay2011(cell, hot=(500.0, 700.0), as_published=False)
    own = {"cai": 8e-5, "outside": 1.8, "depth": 0.12}
    cell = cell.insert(CalciumShell(decay=460.0, gamma=5.01e-4, **own), "soma")
    cell = cell.insert(CalciumShell(decay=122.0, gamma=5.09e-4, **own), "apical")
    return cell.insert(CaHVA(gbar=1e-5), "basal")  # calcium at rest: no pool there


@pytest.mark.slow
def test_channels_of_hay_spike_under_their_published_names(tmp_path, hay_files):
    cell = small_hay()
    sites = [0, cell.locate("apical", distance=600.0), cell.n - 1, cell.locate("basal")]
    inputs = [
        jd.Step(0, onset=10.0, duration=60.0, amplitude=0.9),
        jd.Exp2Syn(sites[1], weight=0.01, times=[30.0], tau1=0.5, tau2=5.0),
    ]
    worst, traces = checked(
        tmp_path, cell, inputs, sites, t1=80.0, v0=-80.0, celsius=6.3, cwd=hay_files
    )
    ours = np.asarray(jd.spike_times(traces))
    found = table(tmp_path / "cell_neuron.csv")
    up = np.flatnonzero((found[:-1, 1] < 0) & (found[1:, 1] >= 0))
    rise = found[up + 1, 1] - found[up, 1]
    theirs = found[up, 0] + 0.025 * -found[up, 1] / rise
    assert len(ours) >= 3
    print("spike times differ by at most", np.max(np.abs(ours - theirs)), "ms")
    assert np.max(np.abs(ours - theirs)) <= 1e-6
    assert worst <= 1e-6
