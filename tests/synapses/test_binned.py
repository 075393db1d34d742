"""Counts in bins: the same events as one by one, for every solver, carried apart or merged."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import close
from jaxdend.channels import Leak
from jaxdend.morphology import ball_and_stick
from jaxdend.synapses import AMPA, NMDA, Binned, Exp2Syn, binned_events

COUNTS = np.random.default_rng(0).poisson(0.15, (30, 12)).astype(np.uint8)
WEIGHT = np.linspace(2e-4, 9e-4, 12)


@pytest.fixture(scope="module")
def cell():
    return jd.Cell(ball_and_stick(), max_length=40.0).insert(Leak(g=1e-4, e=-70.0))


def sites(cell, merged):
    """Twelve synapses spread over the cell, or on three compartments, which are not merged."""
    return np.arange(12) % (cell.n if merged else 3)


def both(kind, where, onset=2.0, **kinetics):
    """The same group, binned and event by event."""
    times, number = binned_events(COUNTS.T, 1.0, onset)
    return (
        kind(where, WEIGHT, Binned(COUNTS, onset=onset), **kinetics),
        kind(where, WEIGHT[:, None] * number, times, **kinetics),
    )


@pytest.mark.parametrize("solver", [jd.CrankNicolson(), jd.BackwardEuler()])
@pytest.mark.parametrize("onset", [0.0, 2.03])
def test_the_same_as_events(cell, solver, onset):
    pairs = [
        both(AMPA, sites(cell, True), onset),
        both(NMDA, sites(cell, True), onset),
        both(Exp2Syn, sites(cell, False), onset, tau1=np.linspace(0.2, 0.5, 12), tau2=3.0),
    ]
    one, other = (
        jd.simulate(cell, list(group), t1=35.0, dt=0.05, solver=solver, v0=-70.0).v
        for group in zip(*pairs, strict=True)
    )
    assert float(jnp.max(jnp.abs(other + 70.0))) > 5.0
    close(one, other, rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("solver", [jd.Rodas5P(), diffrax.Heun()])
def test_other_solvers_look_at_the_same_events(cell, solver):
    options = {"t1": 6.0, "dt": 0.01, "v0": -70.0, "solver": solver}
    one, other = (jd.simulate(cell, g, **options).v for g in both(AMPA, sites(cell, True)))
    close(one, other, rtol=0.0, atol=1e-9)


def test_the_gradient_reaches_weights_and_kinetics(cell):
    def loss(numbers, group):
        weight, tau2 = numbers
        group = eqx.tree_at(lambda g: (g.weight, g.tau2), group, (weight, tau2))
        return jnp.sum(jd.simulate(cell, group, t1=10.0, dt=0.1, v0=-70.0, record=[0, 5]).v ** 2)

    for merged in (True, False):
        binned, single = both(AMPA, sites(cell, merged))
        one = jax.grad(loss)((binned.weight, binned.tau2), binned)
        other = jax.grad(loss)((single.weight, single.tau2), single)
        number = COUNTS.T
        close(one[0], jnp.sum(other[0] * number.astype(float), 1), rtol=1e-9, atol=1e-12)
        close(one[1], other[1], rtol=1e-9)


def test_a_batch_of_counts(cell):
    batch = jnp.stack([jnp.asarray(COUNTS), jnp.asarray(COUNTS[::-1])])

    def peak(counts):
        group = AMPA(sites(cell, True), WEIGHT, Binned(counts))
        return jd.simulate(cell, group, t1=20.0, dt=0.1, v0=-70.0, record=0).v[:, 0]

    together = jax.vmap(peak)(batch)
    close(together[1], peak(batch[1]), rtol=0.0, atol=1e-10)


def test_a_run_goes_on_from_a_state(cell):
    group = both(AMPA, sites(cell, True))[0]
    whole = jd.simulate(cell, group, t1=20.0, dt=0.05, v0=-70.0)
    first = jd.simulate(cell, group, t1=7.5, dt=0.05, v0=-70.0)
    rest = jd.simulate(cell, group, t0=7.5, t1=20.0, dt=0.05, v0=first.final)
    close(rest.v[-1], whole.v[-1], rtol=0.0, atol=1e-9)
    with pytest.raises(ValueError, match="before t0"):
        jd.simulate(cell, group, t0=7.5, t1=20.0, dt=0.05, v0=-70.0)


def test_what_is_refused(cell):
    with pytest.raises(ValueError, match="whole numbers"):
        Binned(COUNTS.astype(float))
    with pytest.raises(ValueError, match="width"):
        Binned(COUNTS, width=0.0)
    with pytest.raises(ValueError, match="column for each of the 3"):
        AMPA([0, 1, 2], 1e-3, Binned(COUNTS))
    group = AMPA(sites(cell, True), WEIGHT, Binned(COUNTS))
    with pytest.raises(ValueError, match="divides it"):
        jd.simulate(cell, group, t1=1.2, dt=0.3)
