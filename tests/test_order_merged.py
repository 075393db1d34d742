"""Synapses of one compartment and one kinetics, carried as one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from helpers import close
from jaxdend.channels import HH, Leak

K = 300


@pytest.fixture(scope="module")
def cell():
    cell = jd.Cell(jd.pyramidal(seed=1), max_length=150.0, ra=150.0)
    return cell.insert(Leak(g=1e-4, e=-65.0)).insert(HH(), where="soma")


@pytest.fixture(scope="module")
def drawn(cell):
    rng = np.random.default_rng(0)
    return (
        rng.integers(0, cell.n, K),
        rng.uniform(1e-5, 1e-4, K),
        rng.uniform(-2.0, 8.0, (K, 2)),
    )


def run(cell, kind, drawn, many, **options):
    """With time constants for each synapse, none of them is merged."""
    site, weight, times = drawn
    shape = np.ones(K if many else ())
    synapses = kind(site, weight, times, tau1=0.3 * shape, tau2=3.0 * shape)
    return jd.simulate(cell, synapses, t1=8.0, dt=0.05, record=[0, 7], **options)


@pytest.mark.parametrize("solver", [jd.CrankNicolson(), jd.BackwardEuler()], ids=["cn", "be"])
@pytest.mark.parametrize("kind", [jd.AMPA, jd.NMDA])
def test_the_voltage_is_that_of_the_single_synapses(cell, drawn, kind, solver):
    merged, single = (run(cell, kind, drawn, many, solver=solver).v for many in (False, True))
    assert np.ptp(single) > 0.1
    close(merged, single, atol=1e-9)


def test_gradients_reach_every_weight_and_time(cell, drawn):
    site, weight, times = drawn

    def loss(weight, times, many):
        return jnp.mean(run(cell, jd.AMPA, (site, weight, times), many).v ** 2)

    for many, single in zip(
        jax.grad(loss, (0, 1))(weight, times, False),
        jax.grad(loss, (0, 1))(weight, times, True),
        strict=True,
    ):
        close(many, single, rtol=1e-8, atol=1e-10)


def test_a_run_goes_on_where_it_stopped(cell, drawn):
    site, weight, times = drawn
    synapses = jd.AMPA(site, weight, times)
    whole = jd.simulate(cell, synapses, t1=8.0, dt=0.05, record=[0])
    half = jd.simulate(cell, synapses, t1=4.0, dt=0.05, record=[0])
    assert half.final.inputs[0][0].shape == (K,)
    rest = jd.simulate(cell, synapses, t0=4.0, t1=8.0, dt=0.05, record=[0], v0=half.final)
    close(rest.v[-1], whole.v[-1], atol=1e-9)


def test_sites_may_be_mapped_over(cell, drawn):
    site, weight, times = drawn
    sites = np.stack([site, (site + 5) % cell.n])

    def one(site):
        return jd.simulate(cell, jd.AMPA(site, weight, times), t1=8.0, dt=0.05, record=[0]).v

    for row, alone in zip(jax.vmap(one)(jnp.asarray(sites)), sites, strict=True):
        close(row, one(alone), atol=1e-9)
