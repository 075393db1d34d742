"""Objectives over several protocols: values by hand, batching, gradients, errors, recovery."""

from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import close
from jaxdend.cell import Cell
from jaxdend.channels import HH, Leak
from jaxdend.fitting import (
    FeatureTerm,
    Objective,
    Parameter,
    ParameterSpace,
    Protocol,
    fit,
    least_squares,
    mse,
    smoothed_rms,
)
from jaxdend.morphology import ball_and_stick, single_compartment
from jaxdend.simulate import simulate
from jaxdend.stimuli import Sine, Step
from jaxdend.synapses import ExpSyn
from running import QUIET

DT, T1 = 0.05, 20.0
TS = np.arange(0, 401) * DT
BARE = Cell(ball_and_stick(), ncomp=lambda _: 2, celsius=18.0)
SITES = (0, BARE.n - 1)
TRUE = {"gna": 0.12, "gk": 0.036, "g": 3e-4}


def neuron(p, bare=BARE):
    return bare.insert(HH(gnabar=p["gna"], gkbar=p["gk"], gl=0.0)).insert(Leak(g=p["g"], e=-60.0))


def step(amplitude, onset=2.0, duration=12.0):
    return Step(0, onset, duration, amplitude)


@pytest.fixture(scope="module")
def recorded():
    """`(t, r)` of three steps."""
    run = jax.jit(
        jax.vmap(
            lambda a: (
                simulate(neuron(TRUE), step(a), t1=T1, dt=DT, record=np.array(SITES), v0=-65.0).v
            )
        )
    )
    return dict(
        zip(("up", "down", "more"), np.asarray(run(jnp.array([0.4, -0.1, 0.9]))), strict=True)
    )


AMPLITUDES = {"up": 0.4, "down": -0.1, "more": 0.9}


def protocols(recorded, **options):
    return [
        Protocol(name, step(AMPLITUDES[name]), TS, v, SITES, **options)
        for name, v in recorded.items()
    ]


def params(**changed):
    return {k: jnp.asarray(changed.get(k, x)) for k, x in TRUE.items()}


def shifted(v, by):
    """`v` plus a known difference."""
    return {k: x + by for k, x in v.items()}


def test_weighted_mean_of_known_differences(recorded):
    items = [
        Protocol("up", step(0.4), TS, recorded["up"] + 1.0, SITES, weight=1.0),
        Protocol("down", step(-0.1), TS, recorded["down"] + 3.0, SITES, weight=2.0, scale=1.5),
        Protocol("more", step(0.9), TS, recorded["more"] + [2.0, 4.0], SITES, scale=[1.0, 2.0]),
    ]
    objective = Objective(neuron, items, dt=DT)
    assert len(objective.groups) == 1
    parts = jax.jit(objective.parts)(params())
    assert {k: round(float(x), 9) for k, x in parts.items()} == {"up": 1, "down": 4, "more": 4}
    value = jax.jit(objective)(params())
    close(value, (1 + 2 * 4 + 4) / 4, rtol=1e-9)
    residuals = jax.jit(objective.residuals)(params())
    assert residuals.shape == (3 * 401 * 2,)
    close(jnp.sum(residuals**2), value, rtol=1e-9)
    traces = jax.jit(objective.traces)(params())
    for name, v in recorded.items():
        close(traces[name], v, atol=1e-9)


def test_one_program_for_alike_protocols_and_two_for_others(recorded):
    alike = protocols(recorded)
    other = [
        *alike,
        Protocol("sine", Sine(0, 2.0, 10.0, 0.2, 50.0, 0.0, 0.0), TS, recorded["up"], SITES),
        Protocol("short", step(0.4), TS[:201], recorded["up"][:201], SITES),
    ]
    assert len(Objective(neuron, alike, dt=DT).groups) == 1
    objective = Objective(neuron, other, dt=DT)
    assert [g.names for g in objective.groups] == [("up", "down", "more"), ("sine",), ("short",)]
    parts = jax.jit(objective.parts)(params())
    assert set(parts) == {"up", "down", "more", "sine", "short"}
    assert float(parts["short"]) < 1e-18
    assert float(parts["sine"]) > 1


def test_numbers_do_not_recompile(recorded):
    traced = []

    def counted(p):
        traced.append(1)
        return neuron(p)

    @eqx.filter_jit
    def value(objective, p):
        return objective(p)

    first = Objective(counted, protocols(recorded), dt=DT)
    second = Objective(counted, protocols(shifted(recorded, 1.0), weight=3.0, scale=2.0), dt=DT)
    assert float(value(first, params())) < 1e-18
    close(value(second, params(g=3e-4)), 0.25, rtol=1e-9)
    value(second, params(gna=0.1))
    assert len(traced) == 1


def test_gradient_and_vmap(recorded):
    objective = Objective(neuron, protocols(recorded, scale="std"), dt=DT)
    one = params(gna=0.1)
    value, slope = jax.jit(jax.value_and_grad(objective))(one)
    h = 1e-6
    moved = [one] + [{**one, k: x * (1 + s * h)} for k, x in one.items() for s in (1, -1)]
    batch = jax.tree.map(lambda *x: jnp.stack(x), *moved)
    several = jax.jit(jax.vmap(objective))(batch)
    close(several[0], value, rtol=1e-9)
    for (name, x), up, down in zip(one.items(), several[1::2], several[2::2], strict=True):
        close(slope[name], (up - down) / (2 * h * x), rtol=1e-4)
    residuals = objective.residuals(one)
    close(jnp.sum(residuals**2), value, rtol=1e-9)


def test_recordings_with_their_own_sampling(recorded):
    """Uneven times, none of them on the simulation's grid, and steps that do not divide 20 ms."""
    ts = np.sort(np.random.default_rng(0).uniform(0.1, 19.9, 150))
    v = np.stack([np.interp(ts, TS, x) for x in recorded["up"].T], axis=1)
    items = [
        Protocol("own", step(0.4), ts, v, SITES),
        Protocol("coarse", step(0.4), TS[::3], recorded["up"][::3], SITES),
    ]
    parts = jax.jit(Objective(neuron, items, dt=DT).parts)(params())
    assert float(parts["own"]) < 1e-18
    assert float(parts["coarse"]) < 1e-18
    finer = jax.jit(Objective(neuron, items[:1], dt=0.03).traces)(params())["own"]
    made = simulate(neuron(TRUE), step(0.4), t1=20.01, dt=0.03, record=np.array(SITES), v0=-65.0)
    expected = np.stack([np.interp(ts, made.ts, x) for x in np.asarray(made.v).T], axis=1)
    close(finer, expected, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="even steps"):
        Objective(neuron, items, terms=partial(smoothed_rms, width=1.0), dt=DT)


def test_masked_samples_do_not_count(recorded):
    v = recorded["up"].copy()
    v[100:150] = np.nan
    with pytest.raises(
        ValueError, match="100 samples are not finite, the first in column 0 at 5 ms"
    ):
        Protocol("up", step(0.4), TS, v, SITES)
    objective = Objective(neuron, Protocol("up", step(0.4), TS, v, SITES, mask="nan"), dt=DT)
    assert float(objective(params())) < 1e-18
    used = TS < 5.0
    item = Protocol("up", step(0.4), TS, recorded["up"] + 5.0 * ~used[:, None], SITES, mask=used)
    value, slope = jax.value_and_grad(Objective(neuron, item, dt=DT))(params())
    assert float(value) < 1e-18
    assert all(bool(jnp.isfinite(x)) for x in slope.values())


@pytest.mark.slow
def test_feature_terms(recorded):
    features = FeatureTerm(
        ["spike_count_stimint", "peak_voltage", "voltage_base", "time_to_first_spike"],
        stim_start=2.0,
        stim_end=14.0,
        threshold=0.0,
        max_spikes=4,
    )
    items = protocols({k: recorded[k] for k in ("up", "more")})
    objective = Objective(neuron, items, terms=[(0.5, features), (2.0, mse)], dt=DT)
    assert len(objective.groups) == 1
    run = jax.jit(jax.value_and_grad(objective))
    value, slope = run(params(gna=0.1))
    assert float(value) > 0.01
    assert all(bool(jnp.isfinite(x) & (x != 0)) for x in slope.values())
    at_truth, _ = run(params())
    assert float(at_truth) < 1e-3
    assert jax.eval_shape(objective.residuals, params()).shape == (2 * (4 + 401 * 2),)
    given = FeatureTerm({"peak_voltage": (30.0, 5.0)}, stim_start=2.0, stim_end=14.0)
    literature = Protocol("paper", step(0.4), TS, None, 0, terms=given)
    assert float(Objective(neuron, literature, dt=DT)(params())) < 10
    with pytest.raises(ValueError, match="no recording"):
        Objective(neuron, Protocol("paper", step(0.4), TS, None, 0), dt=DT)
    with pytest.raises(ValueError, match="target trace has no .*peak_voltage"):
        Objective(neuron, protocols(recorded), terms=features, dt=DT)


def test_initial_states(recorded):
    item = protocols(recorded)[1]
    found = {}
    for name, options in {
        "number": {},
        "rest": {"v0": "rest"},
        "settle": {"settle": 60.0},
    }.items():
        found[name] = np.asarray(
            jax.jit(Objective(neuron, item, dt=DT, **options).traces)(params())["down"]
        )
    close(found["rest"][0], found["settle"][0], atol=0.05)
    assert abs(found["number"][0, 0] + 65.0) < 1e-9
    assert abs(found["rest"][0, 0] + 65.0) > 0.1


def test_synapses_are_batched_with_a_bound_on_events(recorded):
    items = [
        Protocol(str(n), ExpSyn(0, 1e-3, times, tau=2.0), TS, recorded["up"], SITES)
        for n, times in enumerate(([3.0, 3.01, 3.02], [5.0, 8.0, 11.0]))
    ]
    objective = Objective(neuron, items, dt=DT)
    (group,) = objective.groups
    assert group.run.inputs[0].max_per_step in (3, 4)
    both = objective.traces(params())
    for item, v in zip(items, both.values(), strict=True):
        alone = simulate(
            neuron(TRUE), item.inputs, t1=T1, dt=DT, record=np.array(SITES), v0=-65.0
        ).v
        close(v, alone, atol=1e-9)


def test_inputs_from_parameters(recorded):
    def driven(p):
        return neuron(TRUE), step(p["amplitude"])

    item = Protocol("up", step(0.0), TS, recorded["up"], SITES)
    value, slope = jax.value_and_grad(Objective(driven, item, dt=DT))(
        {"amplitude": jnp.asarray(0.4)}
    )
    assert float(value) < 1e-18
    assert float(Objective(driven, item, dt=DT)({"amplitude": jnp.asarray(0.3)})) > 1
    assert bool(jnp.isfinite(slope["amplitude"]))


GOOD = {"ts": TS, "v": np.full((401, 2), -65.0), "sites": SITES}
BAD = {
    "volts": ({"v": GOOD["v"] * 1e-3}, "looks like volts"),
    "microvolts": ({"v": GOOD["v"] * 1e3}, "looks like microvolts"),
    "seconds": ({"ts": TS * 1e-3}, "looks like seconds"),
    "length": ({"v": GOOD["v"][:-1]}, r"v has shape \(400, 2\).*expected \(401, 2\)"),
    "one column": ({"v": GOOD["v"][:, 0]}, "expected"),
    "backwards": ({"ts": TS[::-1]}, "ts must increase"),
    "negative": ({"ts": TS - 1.0}, "before the simulation"),
    "too few": ({"ts": TS[:3]}, "at least 5"),
    "sites": ({"sites": (0.5, 1)}, "sites must be compartment numbers"),
    "weight": ({"weight": 0.0}, "weight must be"),
    "scale": ({"scale": [1.0, -1.0]}, "scale must be"),
    "flat": ({"scale": "std"}, "scale must be"),
    "mask": ({"mask": np.ones(7, bool)}, "mask must be"),
    "all masked": ({"mask": np.zeros(401, bool)}, "no sample left"),
}


@pytest.mark.parametrize(("changed", "message"), BAD.values(), ids=BAD)
def test_bad_recordings(changed, message):
    arguments = GOOD | changed
    with pytest.raises(ValueError, match=message) as info:
        Protocol("p1", step(0.1), arguments.pop("ts"), arguments.pop("v"), **arguments)
    assert "protocol 'p1'" in str(info.value)


def test_bad_objectives(recorded):
    items = protocols(recorded)
    with pytest.raises(ValueError, match="each with its name"):
        Objective(neuron, [items[0], items[0]])
    with pytest.raises(ValueError, match="at least one"):
        Objective(neuron, [])
    with pytest.raises(ValueError, match="v0 must be"):
        Objective(neuron, items, v0="rested")
    with pytest.raises(ValueError, match="dt > 0"):
        Objective(neuron, items, dt=0.0)
    with pytest.raises(TypeError, match="a term is a loss"):
        Objective(neuron, items, terms="mse")
    with pytest.raises(TypeError, match="must return a Cell"):
        Objective(lambda p: p, items, dt=DT)(params())
    far = Protocol("far", Step(99, 0.0, 1.0, 0.1), TS, recorded["up"], SITES)
    with pytest.raises(ValueError, match=rf"far: site 99 is outside 0\.\.{BARE.n - 1}"):
        Objective(neuron, far, dt=DT)(params())
    with pytest.raises(ValueError, match="site 99"):
        Objective(neuron, Protocol("far", step(0.1), TS, recorded["up"], (0, 99)), dt=DT)(params())


def test_least_squares_on_the_residuals_of_a_tiny_cell():
    """Levenberg-Marquardt in forward mode finds a leak and its reversal."""

    def passive(p):
        soma = Cell(single_compartment(), ncomp=lambda _: 1)
        return soma.insert(Leak(g=p["g"], e=p["e"]))

    true = {"g": 3e-4, "e": -68.0}
    made = simulate(passive(true), step(0.05), t1=T1, dt=DT, record=0, v0=-65.0).v
    item = Protocol("down", step(0.05), TS, made, 0, scale=2.0)
    base = FeatureTerm(["maximum_voltage"], stim_start=2.0, stim_end=14.0)
    objective = Objective(
        passive, item, terms=[(1.0, mse), (0.1, base)], dt=DT, adjoint=diffrax.ForwardMode()
    )
    space = ParameterSpace({"g": Parameter(1e-5, 1e-2), "e": Parameter(-90.0, -50.0, "linear")})
    result = least_squares(objective.residuals, space, starts=3, steps=15, run=QUIET)
    close(result.best_losses, 0.0, atol=1e-12)
    for name, value in true.items():
        close(result.params[name], value, rtol=1e-6)


def test_in_single_precision(recorded):
    """Losses, slopes and residuals stay float32, and are those of float64."""
    found = []
    for wide in (True, False):
        with jax.enable_x64(wide):
            one = {k: jnp.asarray(x) for k, x in (TRUE | {"gna": 0.1}).items()}
            bare = Cell(ball_and_stick(), ncomp=lambda _: 2, celsius=18.0)  # of this precision
            peak = FeatureTerm({"maximum_voltage": (30.0, 5.0)}, stim_start=2.0, stim_end=14.0)
            objective = Objective(
                partial(neuron, bare=bare),
                protocols(recorded),
                terms=[(1.0, smoothed_rms), (0.1, peak)],
                dt=DT,
            )
            value, slope = jax.jit(jax.value_and_grad(objective))(one)
            assert value.dtype == (jnp.float64 if wide else jnp.float32)
            assert all(x.dtype == value.dtype for x in slope.values())
            found.append((float(value), {k: float(x) for k, x in slope.items()}))
    (value, slope), (narrow, rough) = found
    close(narrow, value, rtol=1e-3)
    for name, x in slope.items():
        close(rough[name], x, rtol=0.02)


@pytest.mark.slow
def test_recovers_three_conductances_from_three_protocols(recorded):
    noise = np.random.default_rng(1).normal(size=(3, 401, 2))
    noisy = {k: v + 0.2 * e for (k, v), e in zip(recorded.items(), noise, strict=True)}
    objective = Objective(
        neuron, protocols(noisy), terms=partial(smoothed_rms, width=(3.0, 1.0, 0.3)), dt=DT
    )
    space = ParameterSpace(
        {
            "gna": Parameter(0.03, 0.4, unit="S/cm2"),
            "gk": Parameter(0.01, 0.12, unit="S/cm2"),
            "g": Parameter(1e-4, 1e-3, unit="S/cm2"),
        }
    )
    result = fit(objective, space, starts=4, steps=80, chunk=40, run=QUIET)
    assert result.recovered(TRUE, 0.03)[result.best_start]
