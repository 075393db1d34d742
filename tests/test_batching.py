"""`vmap` over sites and numbers equals a loop, and only new structure compiles anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import HH, Leak

T1, DT = 6.0, 0.05


class Counter:
    """Records the voltage of compartment 0 and counts how often its program is traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, t, state, model):
        self.traces += 1
        return state.v[0]


def build() -> jd.Cell:
    cell = jd.Cell(jd.y_tree(), max_length=40.0).insert(Leak(g=1e-4, e=-65.0))
    return cell.insert(HH(), np.arange(3))


@pytest.fixture(scope="module")
def cell() -> jd.Cell:
    return build()


def run(cell, site=5, weight=0.005, time=1.013, counter=None):
    synapse = jd.Exp2Syn(site, weight, time, tau1=0.5, tau2=3.0, max_per_step=1)
    record = 0 if counter is None else {"v": counter}
    traces = jd.simulate(cell, synapse, t1=T1, dt=DT, record=record)
    return traces.v[:, 0] if counter is None else traces["v"]


@pytest.fixture(scope="module")
def looped(cell) -> Counter:
    """A counter whose program has been traced once, by a plain run."""
    counter = Counter()
    run(cell, counter=counter)
    return counter


def test_eight_placements_in_one_program(cell):
    counter = Counter()
    sites = jnp.asarray(np.linspace(0, cell.n - 1, 8).astype(int))
    placed = jax.jit(jax.vmap(lambda site: run(cell, site, counter=counter)))
    batch = placed(sites)
    traced = counter.traces
    again = placed(sites[::-1])
    assert counter.traces == traced
    assert placed._cache_size() == 1
    np.testing.assert_array_equal(again, batch[::-1])
    loop = np.stack([run(cell, int(site)) for site in sites])
    assert np.ptp(loop[:, -1]) > 0.1  # the place matters
    np.testing.assert_allclose(batch, loop, rtol=0, atol=1e-6)


def test_weights_times_and_conductances_in_one_batch(cell):
    def one(weight, time, g):
        return run(cell.insert(HH(gnabar=g), np.arange(3)), 5, weight, time)

    weight = jnp.asarray([0.002, 0.005, 0.01])
    time = jnp.asarray([0.51, 1.0, 2.34])
    g = jnp.asarray([0.08, 0.12, 0.16])
    batch = jax.vmap(one)(weight, time, g)
    loop = np.stack([one(*(float(x) for x in row)) for row in zip(weight, time, g, strict=True)])
    assert np.ptp(loop, axis=0).max() > 1.0
    np.testing.assert_allclose(batch, loop, rtol=0, atol=1e-6)


def test_new_numbers_sites_and_equal_cells_do_not_trace_again(cell, looped):
    counter, once = looped, looped.traces
    reference = run(cell, counter=counter)
    changes = [
        run(cell, 9, counter=counter),
        run(cell, weight=0.01, counter=counter),
        run(cell, time=2.2, counter=counter),
        run(cell.insert(HH(gnabar=0.2), np.arange(3)), counter=counter),
        run(cell.set(cm=2.0, ra=50.0), counter=counter),
        run(cell.set(radius=0.7), counter=counter),
        run(cell.set(celsius=12.0), counter=counter),
    ]
    same = run(build(), counter=counter)
    assert counter.traces == once
    np.testing.assert_array_equal(same, reference)
    assert all(np.max(np.abs(v - reference)) > 1e-3 for v in changes)


def test_a_new_mask_does_trace_again(cell, looped):
    once = looped.traces
    run(cell.insert(HH(), np.arange(4)), counter=looped)
    assert looped.traces > once
