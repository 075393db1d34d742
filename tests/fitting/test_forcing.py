import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import HH, CaLCA1, CalciumShell, KAhp, Leak
from jaxdend.fitting import Parameter, ParameterSpace, teacher_force

DT = 0.05
SOMA = ParameterSpace({"gna": Parameter(0.01, 1.0), "gk": Parameter(0.003, 0.3),
                       "gl": Parameter(1e-5, 1e-2)})  # fmt: skip
TRUE = {"gna": jnp.asarray(0.12), "gk": jnp.asarray(0.036), "gl": jnp.asarray(3e-4)}
PULSE = jd.Step(0, 1.0, 8.0, 0.2)


def soma(p):
    cell = jd.Cell(jd.single_compartment(), ncomp=lambda _: 1)
    return cell.insert(HH(gnabar=p["gna"], gkbar=p["gk"], gl=p["gl"]))


@pytest.fixture(scope="module")
def recorded():
    return jd.simulate(soma(TRUE), PULSE, t1=12.0, dt=DT)


def test_a_soma_is_recovered_exactly(recorded):
    assert recorded.v.max() > 0
    found = teacher_force(soma, SOMA, recorded.ts, recorded.v[:, 0], PULSE)
    for name, value in TRUE.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)


def test_a_coarser_sampling_and_noise_are_close(recorded):
    fine = jd.simulate(soma(TRUE), PULSE, t1=12.0, dt=0.0125, save_every=2)
    found = teacher_force(soma, SOMA, fine.ts, fine.v, PULSE)
    for name, value in TRUE.items():
        np.testing.assert_allclose(found[name], value, rtol=0.02)
    noise = 0.1 * np.random.default_rng(0).standard_normal(fine.v.shape)
    noisy = teacher_force(soma, SOMA, fine.ts, fine.v + noise, PULSE, smooth=0.4)
    for name in ("gna", "gk"):
        np.testing.assert_allclose(noisy[name], TRUE[name], rtol=0.2)


def test_bounds_hold(recorded):
    narrow = ParameterSpace({"gna": Parameter(0.2, 1.0), "gk": SOMA["gk"], "gl": SOMA["gl"]})
    found = teacher_force(soma, narrow, recorded.ts, recorded.v, PULSE)
    np.testing.assert_allclose(found["gna"], 0.2)


@pytest.mark.slow
def test_branchwise_densities_of_a_tree_with_synapses():
    """Three densities in every compartment, hidden branch nodes and events between samples."""
    bare = jd.Cell(jd.pyramidal(0), max_length=400.0)
    rng = np.random.default_rng(1)
    shape = (bare.n,)
    true = {
        "gna": 0.1 * rng.uniform(0.5, 2.0, shape),
        "gk": 0.03 * rng.uniform(0.5, 2.0, shape),
        "g_pas": 1e-4 * rng.uniform(0.5, 2.0, shape),
    }
    space = ParameterSpace({k: Parameter(0.05 * v.mean(), 20 * v.mean(), shape=shape)
                            for k, v in true.items()})  # fmt: skip

    def build(p):
        cell = bare.insert(HH(gnabar=p["gna"], gkbar=p["gk"], gl=0.0))
        return cell.insert(Leak(g=p["g_pas"], e=-70.0))

    inputs = [jd.Step(0, 1.0, 4.0, 2.0), jd.AMPA(bare.n - 1, 0.01, [1.23, 3.456])]
    traces = jd.simulate(build(true), inputs, t1=6.0, dt=DT)
    found = teacher_force(build, space, traces.ts, traces.v, inputs)
    for name, value in true.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, err_msg=name)


def test_concentrations_that_depend_on_the_conductances():
    space = ParameterSpace({"gna": SOMA["gna"], "gk": SOMA["gk"], "gca": Parameter(1e-5, 0.01),
                            "gahp": Parameter(1e-4, 0.1)})  # fmt: skip
    true = {"gna": 0.12, "gk": 0.036, "gca": 2e-3, "gahp": 5e-3}

    def build(p):
        cell = jd.Cell(jd.single_compartment(), ncomp=lambda _: 1).insert(CalciumShell.destexhe())
        cell = cell.insert(HH(gnabar=p["gna"], gkbar=p["gk"]))
        return cell.insert(CaLCA1(gbar=p["gca"])).insert(KAhp(gbar=p["gahp"]))

    traces = jd.simulate(build(true), PULSE, t1=15.0, dt=DT)
    found = teacher_force(build, space, traces.ts, traces.v, PULSE)
    for name, value in true.items():
        np.testing.assert_allclose(found[name], value, rtol=0.01, err_msg=name)


def test_what_is_not_linear_is_named(recorded):
    space = ParameterSpace({"gna": SOMA["gna"], "el": Parameter(-80.0, -40.0, scale="linear"),
                            "gl": SOMA["gl"]})  # fmt: skip

    def with_reversal(p):
        cell = jd.Cell(jd.single_compartment(), ncomp=lambda _: 1)
        return cell.insert(HH(gnabar=p["gna"], gl=p["gl"], el=p["el"]))

    with pytest.raises(ValueError, match="together"):
        teacher_force(with_reversal, space, recorded.ts, recorded.v, PULSE)

    def squared(p):
        return soma(p | {"gk": 10 * p["gk"] ** 2})

    with pytest.raises(ValueError, match="'gk'"):
        teacher_force(squared, SOMA, recorded.ts, recorded.v, PULSE)


def test_bad_input(recorded):
    ts, v = np.asarray(recorded.ts), np.asarray(recorded.v)
    with pytest.raises(ValueError, match="compartments"):
        teacher_force(soma, SOMA, ts, np.repeat(v, 2, axis=1))
    with pytest.raises(ValueError, match="evenly"):
        teacher_force(soma, SOMA, ts**1.5, v)
    with pytest.raises(ValueError, match="finite"):
        teacher_force(soma, SOMA, ts, np.where(ts[:, None] > 3, np.nan, v))
    with pytest.raises(ValueError, match="VoltageClamp"):
        teacher_force(soma, SOMA, ts, v, jd.VoltageClamp(0, [-65.0], [5.0]))
    with pytest.raises(ValueError, match=r"\(t,\)"):
        teacher_force(soma, SOMA, ts[:-1], v)
