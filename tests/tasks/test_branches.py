"""Logic with branches that excite, saturate and are inhibited."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import evaluate, make_task, train
from jaxdend.tasks.branches import Branches, branch_logic
from running import QUIET


def wired(excitation, inhibition, somatic=1e-5, tonic=1e-4):
    """Parameters (µS, nA) of a neuron with two inputs and two branches."""
    return {
        "excitation": jnp.asarray(excitation),
        "inhibition": jnp.asarray(inhibition),
        "somatic": jnp.full(2, somatic),
        "position": jnp.full((2, 2), 0.6),
        "tonic": jnp.asarray(tonic),
    }


def test_xor_by_nmda_spikes_that_each_other_s_input_vetoes():
    task = branch_logic("XOR")
    own, other = [[8e-3, 1e-5], [1e-5, 8e-3]], [[1e-5, 2e-2], [2e-2, 1e-5]]
    score = evaluate(task, wired(own, other))[1]
    assert score.solved
    silent = [[1e-5, 1e-5], [1e-5, 1e-5]]
    responses = np.asarray(evaluate(task, wired(own, silent))[0])
    assert responses[3] > max(responses[1:3])  # without inhibition it is OR, or AND


def test_nmda_makes_a_branch_amplify_and_ampa_alone_saturates():
    """Two inputs on one branch give more than twice one of them, or less."""

    def gain(nmda, g):
        neuron = Branches(2, nmda=nmda)
        params = wired([[g, 1e-6], [g, 1e-6]], np.full((2, 2), 1e-7), 1e-7, 1e-6)
        rest, one, both = (
            float(neuron.respond(params, jnp.array(p)))
            for p in ([0.0, 0.0], [1.0, 0.0], [1.0, 1.0])
        )
        return (both - rest) / (2 * (one - rest))

    assert gain(True, 1.1e-3) > 1.2
    assert gain(False, 1.1e-3) < 0.8


def test_patterns_of_three_inputs_are_all_there():
    assert make_task("majority").labels == ("–", "Z", "Y", "YZ", "X", "XZ", "XY", "XYZ")
    assert sum(make_task("parity").targets) == 4


def test_random_wirings_do_not_solve_xor():
    task = branch_logic("XOR")
    space = task.neuron.space

    @jax.jit
    @jax.vmap
    def score(z):
        return task.score(task.responses(space.to_dict(z)))

    found = score(space.sample(0, 64))
    assert np.all(np.isfinite(found.margin))
    assert not found.solved.any()
    assert found.accuracy.max() <= 0.75  # of four patterns


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["and", "or", "nand", "majority", "parity", "xor_sublinear"])
def test_training_finds_the_wiring(name):
    task = make_task(name)
    result = train(task, seed=1, run=QUIET)
    assert result.start_margin < result.margin
    assert result.solved


@pytest.mark.slow
def test_training_finds_a_wiring_for_nand():
    result = train(make_task("nand"), seed=1, run=QUIET)
    assert result.start_margin < result.margin
    assert result.solved
