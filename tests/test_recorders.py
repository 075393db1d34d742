"""Recorders against the same quantities by hand, from the laws of conservation, and by NEURON."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
import neuron_geometry as oracle
from helpers import close, tol
from jaxdend.channels import HH, CaHVA, CalciumShell, Leak
from jaxdend.inputs import AbstractInput
from jaxdend.recorders import (
    AxialCurrent,
    CapacitiveCurrent,
    ClampCurrent,
    Conductance,
    Current,
    Gate,
    InputCurrent,
    Inside,
    IonCurrent,
    MembraneCurrent,
    Outside,
    ReversalPotential,
)

CALCIUM = np.array([4, 5, 9])
DT, END = 0.025, 3.0
SOLVERS = {
    "cn": jd.CrankNicolson(),
    "be": jd.BackwardEuler(),
    "rodas": jd.Rodas4P(tolerance=1e-6),
}
SITE = np.array([1, 4, 4, 6, 9, 5, 2, 0, 10, 4, 8, 9])  # of the synapses, more than half the nodes
WEIGHT = np.linspace(1e-4, 4e-4, len(SITE))
TIMES = np.stack([np.linspace(0.31, 1.79, len(SITE)), np.full(len(SITE), np.inf)], axis=1)
TIMES[3:5, 1] = [0.9, 1.2063]
TAU1, TAU2, E_REV = 0.5, 4.0, -10.0


class Adapting(AbstractInput):
    """A conductance of no known class, whose size is a state that the voltage drives."""

    site: jax.Array

    def init(self, v):
        return 0.0 * v + 1e-3

    def derivative(self, v, x, t):
        return (1e-3 + 1e-4 * (v + 65.0) - x) / 2.0

    def outward(self, v, x, t0, t1):
        return x * (v + 70.0)

    def edges(self):
        return jnp.empty(0)


@pytest.fixture(scope="module")
def cell() -> jd.Cell:
    """Three sections of three compartments with membrane and one without, and a branch point."""
    cell = jd.Cell(jd.y_tree(), ncomp=3, ra=120.0, end_nodes=True, celsius=20.0)
    assert (cell.n, cell.tree.n, int((cell.area == 0).sum())) == (12, 12, 3)
    cell = cell.insert(HH(), np.arange(3)).insert(Leak(g=1e-4, e=-65.0), np.arange(4, 11))
    for channel in (CaHVA(2e-4), CalciumShell()):
        cell = cell.insert(channel, CALCIUM)
    return cell


def group(merged: bool) -> jd.Exp2Syn:
    """Synapses that run as one in each compartment, unless they have kinetics of their own."""
    tau = 1.0 if merged else np.ones(len(SITE))
    return jd.Exp2Syn(SITE, WEIGHT, TIMES, E_REV, tau1=TAU1 * tau, tau2=TAU2 * tau)


def inputs_of(merged: bool) -> tuple[AbstractInput, ...]:
    return (
        jd.Step([0, 8, -1], 0.5, 1.0, [0.3, 0.02, 9.0]),
        group(merged),
        jd.AlphaSynapse(6, 1e-3, 0.4, tau=0.2, cutoff=5.0),
        jd.VoltageClamp(10, [-60.0, -40.0], [1.0, 10.0], rs=20.0, soft=True),
        Adapting(jnp.asarray([1, 9])),
    )


ELECTRODES = (0, 3)
CASES = [("cn", True), ("cn", False), ("be", True), ("rodas", True)]
_runs: dict = {}


@pytest.fixture(params=CASES, ids=lambda p: f"{p[0]}-{'merged' if p[1] else 'single'}")
def run(cell, request):
    """The solver's name, the inputs, and traces with everything recorded."""
    name, merged = request.param
    if request.param not in _runs:
        record = {"v": np.arange(cell.n), "g": Conductance(1), "clamp": ClampCurrent(3)}
        record["alpha"] = Conductance(2)
        for i in range(5):
            record[f"input{i}"] = InputCurrent(i)
        for kind, item in cell.mechanisms.items():
            if kind != "CalciumShell":
                record[kind] = Current(kind, item.at.index)
        for kind in (CapacitiveCurrent, AxialCurrent, MembraneCurrent):
            record[kind.__name__] = kind(np.arange(cell.n))
        record["e"] = ReversalPotential("ca", np.ones(cell.n, bool))
        record["inside"], record["outside"] = Inside("ca", CALCIUM), Outside("ca", CALCIUM)
        inputs = inputs_of(merged)
        solver = SOLVERS[name]
        _runs[request.param] = jd.simulate(
            cell, inputs, t1=END, dt=DT, record=record, solver=solver
        )
    return name, inputs_of(merged), _runs[request.param]


def over_cell(cell, sites, values) -> np.ndarray:
    """`values (t, k)` summed over the compartments of `sites`, `(t, n)`."""
    out = np.zeros((len(values), cell.n))
    for site, column in zip(np.asarray(sites), np.asarray(values).T, strict=True):
        if site >= 0:
            out[:, site] += column
    return out


def ionic(cell, traces) -> np.ndarray:
    """`(t, n)` nA through all mechanisms."""
    out = np.zeros((len(traces.ts), cell.n))
    for name, item in cell.mechanisms.items():
        if name in traces.values:
            out += over_cell(cell, item.at.index, traces[name])
    return out * np.asarray(cell.area) * 1e-2


def test_currents_add_up_to_nothing_everywhere(cell, run):
    _, inputs, traces = run
    parts = [over_cell(cell, item.site, traces[f"input{i}"]) for i, item in enumerate(inputs)]
    through, cap, along = ionic(cell, traces), traces["CapacitiveCurrent"], traces["AxialCurrent"]
    membrane = np.asarray(cell.area) > 0
    balance = through + cap + along + sum(parts)
    assert min(np.ptp(x[:, 4]) for x in (through, cap, along, sum(parts))) > 1e-3
    assert np.abs(balance[:, membrane]).max() < tol(1e-13, 1e-5)
    assert np.all(cap[:, ~membrane] == 0)
    synaptic = sum(part for i, part in enumerate(parts) if i not in ELECTRODES)
    total = traces["MembraneCurrent"]
    close(total[:, membrane], (through + cap + synaptic)[:, membrane], atol=1e-13)
    electrodes = sum(-parts[i].sum(axis=1) for i in ELECTRODES)  # what they inject leaves somewhere
    close(total.sum(axis=1), electrodes, atol=1e-12)


def test_axial_current_by_hand(cell, run):
    _, _, traces = run
    v, ra = np.asarray(traces.final.v), np.asarray(cell.ra)
    out = np.zeros(cell.tree.n)
    for child, parent in enumerate(cell.tree.parent):
        if parent >= 0:
            across = ra[child] * cell.own[child] + ra[parent] * cell.via[child]
            flow = (v[child] - v[parent]) / across
            out[child], out[parent] = out[child] + flow, out[parent] - flow
    close(traces["AxialCurrent"][-1], out[: cell.n], atol=1e-13)


def test_capacitive_current_is_the_slope_of_the_voltage(cell, run):
    name, _, traces = run
    v, c = np.asarray(traces.v), np.asarray(cell.area * cell.cm) * 1e-5
    slope = c * (v[:-4] - 8 * v[1:-3] + 8 * v[3:-1] - v[4:]) / (12 * DT)  # fourth order
    got = np.asarray(traces["CapacitiveCurrent"][2:-2])
    quiet = np.asarray(traces.ts[2:-2]) > 2.0  # no event, no edge
    error = np.abs(got - slope)[quiet].max() / np.abs(slope[quiet]).max()
    assert error < {"rodas": 1e-3, "cn": 0.1, "be": 0.2}[name]  # of the order of dt


def conductance_by_hand(t: np.ndarray) -> np.ndarray:
    """`(t, k)` µS, the sum over the events up to `t`."""
    peak = np.log(TAU2 / TAU1) * TAU1 * TAU2 / (TAU2 - TAU1)
    scale = 1 / (np.exp(-peak / TAU2) - np.exp(-peak / TAU1))
    now = t[:, None, None]
    lag = np.where(TIMES[None] <= now, now - TIMES[None], 0.0)
    each = np.exp(-lag / TAU2) - np.exp(-lag / TAU1)
    return WEIGHT * scale * each.sum(axis=2)


def test_conductances_and_currents_of_inputs_by_hand(cell, run):
    _, _, traces = run
    t, v = np.asarray(traces.ts), np.asarray(traces.v)
    g = conductance_by_hand(t)
    close(traces["g"], g, rtol=1e-9, atol=1e-16)
    close(traces["input1"], g * (v[:, SITE] - E_REV), rtol=1e-9, atol=1e-15)
    on, off = (t > 0.5) & (t < 1.5), np.minimum(np.abs(t - 0.5), np.abs(t - 1.5)) > 1e-6
    np.testing.assert_array_equal(traces["input0"][off], -np.outer(on, [0.3, 0.02, 0.0])[off])
    off = np.abs(t - 1.0) > 1e-6
    injected = (np.where(t < 1.0, -60.0, -40.0) - v[:, 10]) / 20.0
    close(traces["clamp"][off, 0], injected[off], rtol=1e-12)
    np.testing.assert_array_equal(traces["clamp"], -traces["input3"])
    lag = (t - 0.4) / 0.2
    alpha = np.where((lag >= 0) & (lag <= 5.0), 1e-3 * lag * np.exp(1 - lag), 0.0)
    inside = np.abs(lag - 5.0) > 1e-6
    close(traces["alpha"][inside, 0], alpha[inside], atol=1e-15)
    close(traces["input2"][:, 0], traces["alpha"][:, 0] * v[:, 6], rtol=1e-12)
    own = np.asarray(traces.final.inputs[4])
    close(traces["input4"][-1], own * (v[-1, [1, 9]] + 70.0), rtol=1e-12)


def test_reversal_potentials_and_concentrations(cell, run):
    _, _, traces = run
    states = dict(zip(cell.mechanisms, traces.final.mechanisms, strict=True))
    inside = np.asarray(states["CalciumShell"]["inside"])
    np.testing.assert_array_equal(traces["inside"][-1], inside)
    assert np.ptp(traces["inside"], axis=0).min() > 0
    assert np.all(traces["outside"] == 2.0)
    nernst = 8.314462618 * 293.15 / (2 * 96485.33212) * 1e3 * np.log(2.0 / inside)
    close(traces["e"][-1, CALCIUM], nernst, rtol=1e-9)
    elsewhere = np.setdiff1d(np.arange(cell.n), CALCIUM)
    close(traces["e"][:, elsewhere], 132.4579341637009, rtol=1e-12)


def test_gates_and_densities_by_hand(cell):
    record = {
        "m": Gate("HH", "m", 0),
        "hh": Current("HH", [2, 0]),
        "na": IonCurrent("na", [0, 1, 7]),
        "ca": IonCurrent("ca", [5, 8]),
        "hh_k": IonCurrent("k", 0),
        "pool": Gate("CalciumShell", "inside", CALCIUM[::-1]),
        "hva": Current("CaHVA", 5),
        "k": ReversalPotential("k", 3),
    }
    traces = jd.simulate(cell, jd.Step(0, 0.2, 5.0, 0.3), t1=END, record={"v": [0]} | record)
    states = dict(zip(cell.mechanisms, traces.final.mechanisms, strict=True))
    hh, v = states["HH"], np.asarray(traces.final.v)[:3]
    assert traces["m"].shape == (121,)
    assert traces["hh"].shape == (121, 2)
    np.testing.assert_array_equal(traces["m"][-1], hh["m"][0])
    np.testing.assert_array_equal(traces["pool"][-1], states["CalciumShell"]["inside"][::-1])
    na = 0.12 * hh["m"] ** 3 * hh["h"] * (v - 50.0)
    total = na + 0.036 * hh["n"] ** 4 * (v + 77.0) + 0.0003 * (v + 54.3)
    close(traces["na"][-1], [na[0], na[1], 0.0], rtol=1e-12)
    close(traces["hh"][-1], total[np.array([2, 0])], rtol=1e-12)
    close(traces["ca"][:, 0], traces["hva"], rtol=1e-12)
    close(traces["hh_k"][-1], 0.036 * hh["n"][0] ** 4 * (v[0] + 77.0))
    assert np.all(traces["ca"][:, 1] == 0)
    assert np.all(traces["k"] == -77.0)  # read by nobody


# --- NEURON -----------------------------------------------------------------------------------


def test_membrane_current_and_conductance_are_those_of_neuron():
    """NEURON computes `i_membrane_` from the step itself: at its end, or with order 2 mid-step."""
    morph, ncomp = jd.y_tree(), 3
    cell = jd.Cell(morph, ncomp=ncomp, ra=120.0)
    cell = cell.insert(HH(), np.arange(3)).insert(Leak(g=1e-4, e=-60.0), np.arange(3, 9))
    sections = oracle.build(morph)
    from neuron import h

    h.celsius, h.dt, h.usetable_hh = 6.3, DT, 0
    for name, section in sections.items():
        section.nseg, section.Ra, section.cm = ncomp, 120.0, 1.0
        passive = name != cell.section_names[0]
        section.insert("pas" if passive else "hh")
        for segment in section if passive else ():
            segment.pas.g, segment.pas.e = 1e-4, -60.0
    segments = [sections[cell.section_names[cell.section[i]]](cell.x[i]) for i in range(cell.n)]
    stim, clamp = h.IClamp(segments[0]), h.SEClamp(segments[8])
    stim.delay, stim.dur, stim.amp = 0.5, 10.0, 0.4
    clamp.rs, clamp.amp1, clamp.dur1 = 20.0, -50.0, 100.0
    synapse, source = h.Exp2Syn(segments[5]), h.NetStim()
    synapse.tau1, synapse.tau2, synapse.e = 0.5, 3.0, 0.0
    source.number, source.start, source.noise = 1, 1.0, 0
    wire = h.NetCon(source, synapse)
    wire.weight[0], wire.delay = 0.002, 0.0
    h.CVode().use_fast_imem(1)
    places = [s._ref_i_membrane_ for s in segments] + [synapse._ref_A, synapse._ref_B]
    vectors = [h.Vector().record(place) for place in places]
    inputs = (
        jd.Step(0, 0.5, 10.0, 0.4),
        jd.Exp2Syn(5, 0.002, 1.0, tau1=0.5, tau2=3.0),
        jd.VoltageClamp(8, -50.0, 100.0, rs=20.0, soft=True),
    )
    record = {"i": MembraneCurrent(np.arange(9)), "g": Conductance(1)}
    results = []
    for order in (0, 2):
        h.secondorder = order
        h.finitialize(-65.0)
        for _ in range(160):
            h.fadvance()
        results.append(np.stack([np.array(vector) for vector in vectors], axis=1))
    h.secondorder = 0
    del vectors
    h.CVode().use_fast_imem(0)
    for order, theirs in zip((0, 2), results, strict=True):
        solver = jd.CrankNicolson(round_events=True) if order else jd.BackwardEuler()
        traces = jd.simulate(cell, inputs, t1=4.0, dt=DT, solver=solver, record=record)
        ours = np.asarray(traces["i"])
        ours = 0.5 * (ours[1:] + ours[:-1]) if order else ours[1:]
        compared = np.arange(len(ours)) != 19  # at its end, 0.5 ms, the stimulus begins
        assert np.abs(theirs[:, :9]).max() > 0.5
        close(ours[compared], theirs[1:, :9][compared], atol=1e-7)
        close(traces["g"][:, 0], theirs[:, 10] - theirs[:, 9], atol=1e-11)


def test_kinetic_and_blocked_synapses():
    cell = jd.Cell(jd.single_compartment(20.0, 20.0), ncomp=1).insert(Leak(g=1e-4, e=-65.0))
    inputs = jd.NMDAKinetic([0, 0], [1e-3, 2e-3], [[0.1], [0.3]]), jd.NMDA(0, 1e-3, 0.2)
    record = {"v": 0, "g0": Conductance(0), "i0": InputCurrent(0)}
    record |= {"g1": Conductance(1), "i1": InputCurrent(1), "all": MembraneCurrent(0)}
    traces = jd.simulate(cell, inputs, t1=1.0, record=record)
    v, x = np.asarray(traces["v"]), traces.final.inputs
    open_ = np.asarray(x[0][jd.NMDAKinetic.states.index("O")])
    assert open_.min() > 1e-6
    close(traces["g0"][-1], [1e-3, 2e-3] * open_, rtol=1e-12)
    close(traces["i0"], traces["g0"] * (v[:, None] - 5.0), rtol=1e-12)
    lag = np.maximum(np.asarray(traces.ts) - 0.2, 0.0)  # of NMDA, 2 and 70 ms
    peak = np.log(35.0) * 2.0 * 70.0 / 68.0
    scale = 1e-3 / (np.exp(-peak / 70.0) - np.exp(-peak / 2.0))
    g = scale * (np.exp(-lag / 70.0) - np.exp(-lag / 2.0))
    close(traces["g1"][:, 0], g, rtol=1e-9, atol=1e-18)
    block = 1 / (1 + np.exp(-0.08 * v) / 3.57)
    close(traces["i1"][:, 0], traces["g1"][:, 0] * block * v, rtol=1e-12)
    close(traces["all"], 0.0, atol=1e-15)  # no cable, no electrode


# --- sites ------------------------------------------------------------------------------------


def made(site, mechanism_site=None) -> dict:
    """One recorder of every kind at a site; some of calcium at another."""
    other = site if mechanism_site is None else mechanism_site
    return {
        "gate": Gate("CaHVA", "m", other),
        "current": Current("CaHVA", other),
        "ion": IonCurrent("ca", site),
        "inside": Inside("ca", other),
        "outside": Outside("ca", other),
        "e": ReversalPotential("ca", site),
        "cap": CapacitiveCurrent(site),
        "axial": AxialCurrent(site),
        "membrane": MembraneCurrent(site),
    }


class Counter:
    """Counts how often the program that it is part of is traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, t, state, model):
        self.traces += 1
        return t


def test_another_site_is_no_new_program_and_mapped_sites_are_the_single_ones(cell):
    counter = Counter()

    def one(site):
        record = made(site) | {"count": counter}
        return jd.simulate(cell, group(True), t1=0.5, dt=0.05, record=record).values

    singles = [one(int(site)) for site in CALCIUM]
    traced = counter.traces
    assert one(np.int32(4))["gate"].shape == (11,)
    assert one(cell.section_names[1])["e"].shape == (11,)  # its middle, 5, by name
    assert counter.traces == traced
    many = one([*CALCIUM[::-1], 4])
    assert counter.traces > traced  # another shape
    traced = counter.traces
    np.testing.assert_array_equal(one([5, 5, 4, 9])["cap"][:, 3], many["cap"][:, 0])
    assert counter.traces == traced
    mapped = jax.jit(jax.vmap(one))(jnp.asarray([*CALCIUM, 7, -1, 12]))
    for name in made(4):
        single = np.stack([x[name] for x in singles])
        assert np.ptp(single[:, -1]) > 0 or name == "outside"
        close(many[name][:, :3].T[::-1], single, rtol=1e-9, atol=1e-15)
        close(mapped[name][:3], single, rtol=1e-9, atol=1e-15)
        assert np.all(np.isnan(mapped[name][4:]))  # outside the cell
        assert np.all(np.isnan(mapped[name][3])) == (
            name in {"gate", "current", "inside", "outside"}
        )


def test_sites_by_name_mask_and_list(cell):
    named = cell.group("hot", [5, 9])
    mask = np.isin(np.arange(cell.n), CALCIUM)
    record = {
        "name": Gate("HH", "m", "dend[0]"),
        "group": Inside("ca", "hot"),
        "mask": Inside("ca", mask),
        "list": AxialCurrent(["dend[1]", 0, mask, "hot"]),
        "numbers": AxialCurrent([5, 0, 4, 5, 9, named.locate("hot")]),
        "all": AxialCurrent(np.ones(cell.n, bool)),
    }
    traces = jd.simulate(named, jd.Step(0, 0.1, 1.0, 0.3), t1=0.5, record=record)
    shapes = {name: x.shape[1:] for name, x in traces.values.items()}
    assert shapes == {
        "name": (), "group": (), "mask": (3,), "list": (6,), "numbers": (6,), "all": (12,)
    }  # fmt: skip
    np.testing.assert_array_equal(traces["list"], traces["numbers"])
    np.testing.assert_array_equal(traces["all"][:, [5, 0]], traces["numbers"][:, :2])
    place = int(np.flatnonzero(CALCIUM == named.locate("hot"))[0])
    np.testing.assert_array_equal(traces["group"], traces["mask"][:, place])


def test_a_recorder_in_a_function_of_ones_own(cell):
    def m(t, state, model):
        return Gate("HH", "m", 1)(t, state, model), resolved(t, state, model)

    resolved = Gate("HH", "m", "dend[0]").resolve(cell)
    one, two = jd.simulate(cell, t1=0.2, record=m)["values"]
    np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match=r"Gate: 'dend\[0\]' has no numbers yet.*resolve\(cell\)"):
        jd.simulate(cell, t1=0.2, record=lambda *a: Gate("HH", "m", "dend[0]")(*a))


@pytest.mark.parametrize(
    ("recorder", "message"),
    [
        (Gate("Kv", "n", 0), "Gate: no mechanism 'Kv'.*HH.*Leak"),
        (Gate("HH", "q", 0), "no state 'q'; it has .'h', 'm', 'n'."),
        (Gate("HH", "m", [0, 3]), "HH is not in compartment 3"),
        (Gate("HH", "m", "apical"), "Gate: no region 'apical' in this cell; it has"),
        (Current("CalciumShell", 4), "CalciumShell carries no current"),
        (Current("HH", [2, 4]), "HH is not in compartment 4"),
        (IonCurrent("cl", 3), "no mechanism carries 'cl'.*'ca', 'k', 'na'"),
        (IonCurrent("ca", 99), "IonCurrent: site 99 is outside 0..11"),
        (AxialCurrent([0, -1]), "AxialCurrent: site -1 is outside 0..11"),
        (MembraneCurrent(np.ones(3, bool)), r"MembraneCurrent: .*\(12,\)"),
        (Inside("na", 4), "Inside: no mechanism moves 'na'.*'ca'"),
        (Outside("ca", 3), "Outside: what moves 'ca' is not in compartment 3; it sits in 3"),
        (ReversalPotential("mg", 3), "unknown ion 'mg'; there are ca, cl, k, na"),
        (ClampCurrent(0), "needs a VoltageClamp; the inputs are .'0: Step'"),
        (Conductance(0), "Step is no synapse"),
        (Conductance(4), "needs"),
        (InputCurrent(1), r"InputCurrent\(1\) needs the position of an input"),
        (InputCurrent(-1), r"InputCurrent\(-1\) needs"),
    ],
)
def test_errors_say_what_there_is(cell, recorder, message):
    with pytest.raises(ValueError, match=message):
        jd.simulate(cell, jd.Step(0, 0.0, 1.0, 0.1), t1=0.1, record={"x": recorder})


@pytest.mark.parametrize("sites", [0.5, [1.0], [[1, 2]], None, [], [True, 2], jnp.ones(2)])
def test_sites_must_be_places(sites):
    message = re.escape("a recorder's sites: expected a compartment number, the name")
    with pytest.raises(ValueError, match=message):
        AxialCurrent(sites)


def test_traced_sites_must_be_whole_numbers(cell):
    with pytest.raises(ValueError, match="sites must be an int.*float64"):
        jax.vmap(AxialCurrent)(jnp.ones(2))
    with pytest.raises(ValueError, match=r"shape \(1, 2\). For batches use jax.vmap"):
        jax.jit(AxialCurrent)(jnp.ones((1, 2), int))
