import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend import Run
from jaxdend.channels import HH
from jaxdend.fitting import (
    FeatureTerm,
    Objective,
    Parameter,
    ParameterSpace,
    Protocol,
    least_squares,
    nudging,
)
from running import QUIET

SPACE = ParameterSpace({"gna": Parameter(0.02, 0.7), "gk": Parameter(0.006, 0.2),
                        "gl": Parameter(5e-5, 2e-3)})  # fmt: skip
TRUE = {"gna": jnp.asarray(0.12), "gk": jnp.asarray(0.036), "gl": jnp.asarray(3e-4)}
DT = 0.05


def soma(p):
    cell = jd.Cell(jd.single_compartment(), ncomp=lambda _: 1)
    return cell.insert(HH(gnabar=p["gna"], gkbar=p["gk"], gl=p["gl"]))


@pytest.fixture(scope="module")
def objective():
    steps = [jd.Step(0, 2.0, 40.0, i) for i in (0.1, 0.2)]
    made = [jd.simulate(soma(TRUE), step, t1=40.0, dt=DT) for step in steps]
    return Objective(
        soma,
        [
            Protocol(str(i), step, x.ts, x.v, 0, scale=10.0)
            for i, (step, x) in enumerate(zip(steps, made, strict=True))
        ],
        dt=DT,
        adjoint=diffrax.ForwardMode(),
    )


def test_tied_to_its_recording_a_neuron_gets_better_all_the_way_to_the_truth(objective):
    """Along a line on which the number of spikes changes."""
    factor = jnp.asarray([0.2, 0.3, 0.45, 0.7, 1.0, 1.4, 2.0, 3.0])
    line = {k: v * (factor if k == "gna" else jnp.ones(8)) for k, v in TRUE.items()}
    tied = jax.jit(jax.vmap(lambda p: objective(p, rs=1.0)))(line)
    free = jax.jit(jax.vmap(objective))(line)
    assert np.all(np.diff(tied[:5]) < 0)
    assert np.all(np.diff(tied[4:]) > 0)
    assert tied[4] < 1e-3 * tied[0]  # lines between samples are all that is left at the truth
    assert free[4] < 1e-12


@pytest.mark.slow
def test_a_spiking_neuron_is_found_from_starts_that_plain_least_squares_leaves(objective, tmp_path):
    starts = SPACE.sample(0, 4)
    options = {"starts": starts}
    plain = least_squares(objective.residuals, SPACE, steps=18, run=QUIET, **options)
    stages = {"resistances": (1.0, 10.0, np.inf), "steps": 6}
    found = nudging(objective, SPACE, **stages, run=Run(tmp_path, progress=False), **options)
    assert [r.losses.shape[1] for r in found] == [4, 2, 2]
    assert np.sum(plain.best_losses > 0.1) >= 1
    assert np.all(found[0].best_losses < 1e-3)
    assert np.all(found[-1].best_losses < 1e-9)
    for name, value in TRUE.items():
        np.testing.assert_allclose(found[-1].params[name], value, rtol=1e-5)
    run = Run(tmp_path, resume=True, progress=False)
    again = nudging(objective, SPACE, **stages, run=run, **options)
    np.testing.assert_array_equal(again[-1].losses, found[-1].losses)


@pytest.mark.slow
def test_a_callback_ends_all_stages(objective):
    stopped = nudging(
        objective, SPACE, resistances=(1.0, np.inf), starts=2, callback=lambda *_: True,
        run=QUIET,
    )  # fmt: skip
    assert len(stopped) == 1
    assert stopped[0].interrupted
    assert stopped[0].losses.shape == (1, 2)


def test_a_protocol_without_a_recording_cannot_be_tied():
    term = FeatureTerm({"spike_count": (2.0, 1.0)}, stim_start=2.0, stim_end=40.0)
    bare = Protocol("paper", jd.Step(0, 2.0, 40.0, 0.1), np.arange(0, 40, DT), None, 0, terms=term)
    with pytest.raises(ValueError, match="paper: a clamp needs a recording"):
        Objective(soma, bare, dt=DT)(TRUE, rs=3.0)


def test_bad_stages_are_refused(objective):
    with pytest.raises(ValueError, match="resistances > 0"):
        nudging(objective, SPACE, resistances=(1.0, 0.0), run=QUIET)
    with pytest.raises(ValueError, match="as many steps"):
        nudging(objective, SPACE, resistances=(1.0, 2.0), steps=(3,), run=QUIET)
    with pytest.raises(ValueError, match="share"):
        nudging(objective, SPACE, keep=0.0, run=QUIET)
