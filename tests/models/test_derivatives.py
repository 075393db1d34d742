"""Gradients through the reference cells: finite in both precisions, equal to central differences.

Every number of the cell and of its inputs is multiplied by a factor of its own; the gradient is
that with respect to the factors, up to the first spike.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.models import branco2010, gidon2020, hay2011
from jaxdend.simulate import simulate
from jaxdend.solvers import BackwardEuler, CrankNicolson
from jaxdend.stimuli import Step
from jaxdend.synapses import AMPA, GABAA, NMDA, AlphaSynapse, NMDAKinetic
from models.neurons import graph_cell

NEVER = np.inf
BE, CN = BackwardEuler(), CrankNicolson()


def hay(folder, solver):
    """Into the upstroke of the somatic spike, with synapses on a basal and an apical branch."""
    cell = hay2011(graph_cell(folder / "hay2011_graph.npz")[0])
    sites = np.array([cell.locate(section="dend[72]", x=0.6), 500])
    inputs = [
        Step(0, 0.51, 5.0, 2.1),
        AMPA.preset("beniaguev2021", sites, 1e-3, [0.513, 1.013, NEVER]),
        NMDA.preset("beniaguev2021", sites, 1e-3, [0.513, 1.013, NEVER]),
    ]
    return cell, inputs, (0, 500, int(sites[0])), 3.0, 0.025, -77.0, solver


def gidon(folder, coupled):
    """Through the trigger of the dCaAP, whose step stays the same, into its rise."""
    bare, _ = graph_cell(folder / "gidon2020_graph.npz")
    x = ("apic[60]", 0.99) if coupled else ("apic[76]", 0.214)
    site = bare.locate(section=x[0], x=x[1])
    cell = gidon2020(bare, site, coupled)
    inputs = [
        Step(site, 1.0, 40.0, 1.2 if coupled else 0.6),
        AMPA.preset("gidon2020", site - 1, 1e-3, [2.0, NEVER]),
        NMDA.preset("gidon2020", site - 1, 1e-3, [2.0, NEVER]),
        GABAA.preset("gidon2020_distal", site - 2, 1e-3, [3.0, NEVER]),
    ]
    return cell, inputs, (0, site), 20.0, 0.05, -75.0, BE


def branco(folder, active):
    """The sequence towards the soma, 1 ms apart, from the area-0 end of the branch."""
    bare, _ = graph_cell(folder / "branco2010_graph.npz", ra=150.0)
    cell = branco2010(bare, active)
    along = [cell.locate(section="dend[13]", x=1 - i / 8) for i in range(8)]
    sites = np.array([*along, cell.locate(section="dend[12]", x=1.0)])
    onset = (0.512 + np.arange(9.0))[:, None]
    inputs = [
        AlphaSynapse(sites, 5e-4, onset, tau=2.0, cutoff=10.0),
        NMDAKinetic(sites, 8e-3, onset),
        Step(0, 0.51, 40.0, 0.1),
    ]
    return cell, inputs, (0, int(sites[0]), int(sites[4])), 15.0, 0.025, -75.0, BE


CASES: dict[str, Callable] = {
    "hay, backward Euler": lambda folder: hay(folder, BE),
    "hay, Crank-Nicolson": lambda folder: hay(folder, CN),
    "gidon, uncoupled": lambda folder: gidon(folder, False),
    "gidon, coupled": lambda folder: gidon(folder, True),
    "branco, passive": lambda folder: branco(folder, False),
    "branco, active": lambda folder: branco(folder, True),
}

FIXED = {  # what NEURON's rounding moves in whole steps: no derivative under backward Euler
    BE: ("times", "onset", "duration", "pulse"),
    CN: (),
}
UNSEEN = ("radius", "celsius", "delay", "refractory", "width", "cutoff")


def problem(case, folder):
    """The numbers of a case, their names, and a scalar outcome as a function of them."""
    cell, inputs, sites, t1, dt, v0, solver = CASES[case](folder)
    numbers, rest = eqx.partition((cell, inputs), eqx.is_inexact_array)

    def outcome(numbers):
        cell, inputs = eqx.combine(numbers, rest)
        how = {"t1": t1, "dt": dt, "v0": v0, "solver": solver}
        v = simulate(cell, inputs, record=list(sites), throw=False, **how).v
        weight = jnp.linspace(0.5, 1.5, v.size, dtype=v.dtype).reshape(v.shape)
        return jnp.mean(weight * v) + v[-1, 0]

    names = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(numbers)]
    return numbers, names, outcome, FIXED[solver]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_central_differences(reference, case):
    numbers, names, outcome, fixed = problem(case, reference)
    leaves, tree = jax.tree.flatten(numbers)
    by = jax.tree.leaves(jax.jit(jax.grad(outcome))(numbers))
    assert all(np.isfinite(b).all() for b in by)
    scaled = [np.where(np.isfinite(a), a, 0.0) for a in leaves]
    slopes = np.array([np.sum(a * b) for a, b in zip(scaled, by, strict=True)])
    run = jax.jit(outcome)

    def at(i, shift):
        moved = [a * (1 + shift) if j == i else a for j, a in enumerate(leaves)]
        return float(run(jax.tree.unflatten(tree, moved)))

    seen = 0
    for i, (name, slope) in enumerate(zip(names, slopes, strict=True)):
        if name.rpartition(".")[2] in (*fixed, *UNSEEN):
            continue
        h = 1e-5
        near, far = (at(i, h) - at(i, -h)) / (2 * h), (at(i, 2 * h) - at(i, -2 * h)) / (4 * h)
        difference = (4 * near - far) / 3  # fourth order
        noise = 1e-9 * np.abs(slopes).max()  # of the differences, by rounding
        assert slope == pytest.approx(difference, rel=1e-4, abs=noise), name
        seen += abs(slope) > 1e3 * noise
    assert seen >= 10


@pytest.mark.slow
@pytest.mark.parametrize("case", ["hay, Crank-Nicolson", "gidon, coupled", "branco, active"])
def test_gradients_are_finite_in_float32(reference, case):
    with jax.enable_x64(False):
        numbers, names, outcome, _ = problem(case, reference)
        by = jax.tree.leaves(jax.jit(jax.grad(outcome))(numbers))
        assert any(np.any(b != 0) for b in by)
        for name, b in zip(names, by, strict=True):
            assert b.dtype == np.float32
            assert np.isfinite(b).all(), name
