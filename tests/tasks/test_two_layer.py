"""The two-layer model of a neuron's rate, on made-up rates and on simulated ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.tasks import evaluate, train
from jaxdend.tasks.thin_branches import (
    BRANCHES,
    WEAK,
    branch_curves,
    branch_sites,
    place,
    random_branches,
    responses,
    thin_branches,
)
from jaxdend.tasks.two_layer import (
    KINDS,
    RateModel,
    TwoLayer,
    cross_validate,
    r_squared,
    subunit,
    two_layer,
)
from running import QUIET

B = len(BRANCHES)


@pytest.fixture(scope="module")
def counts():
    branch = random_branches(np.full(150, 30), 0, most=30)
    return np.stack([(branch == j).sum(axis=1) for j in range(B)], axis=1)


@pytest.fixture(scope="module")
def rates(counts):
    """What a network of two layers with known parameters answers, and some noise."""
    alpha = np.linspace(0.5, 1.5, B)
    x = (alpha * np.asarray(subunit(jnp.asarray(counts, float), 6.0, 4.0))).sum(axis=1)
    noise = np.random.default_rng(0).normal(size=len(x))
    return 60.0 / (1.0 + np.exp(2.0 - x)) + 0.5 * noise


def test_subunit_is_a_sigmoid():
    n = jnp.array([0.0, 3.0, 6.0, 12.0])
    found, slope = subunit(n, 6.0, 4.0), jax.vmap(jax.grad(subunit), (0, None, None))(n, 6.0, 4.0)
    np.testing.assert_allclose(found, n**4 / (n**4 + 6.0**4), rtol=1e-6)
    assert np.all(np.isfinite(slope))


def test_r_squared_is_of_the_rows_asked_for():
    measured = jnp.array([1.0, 2.0, 3.0, 100.0])
    where = jnp.array([True, True, True, False])
    assert float(r_squared(measured, measured)) == 1.0
    assert float(r_squared(jnp.full(4, 2.0), measured, where)) == pytest.approx(0.0)


def test_models_of_made_up_rates(counts, rates):
    found = {kind: cross_validate(kind, counts, rates) for kind in KINDS}
    assert found["two-layer"].r2 > 0.95
    assert found["two-layer"].params["threshold"] == pytest.approx(6.0, rel=0.2)
    assert found["two-layer"].r2 - found["linear"].r2 > 0.1
    assert abs(found["count"].r2) < 0.1  # the number is constant
    held = found["two-layer"].predicted
    assert found["two-layer"].r2 == pytest.approx(float(r_squared(held, rates)))


def test_the_linear_baseline_is_as_good_as_least_squares(counts):
    """On rates that are linear in the synapses of every branch, the linear model is right."""
    weights = np.linspace(0.5, 2.0, B)
    found = cross_validate("linear", counts, counts @ weights)
    assert found.r2 > 0.98


def made_up(seed):
    """Rates in whole spikes of a cell that adds up its branches, and their least-squares R²."""
    branch = random_branches(np.full(200, 30), seed, most=30)
    n = np.stack([(branch == j).sum(1) for j in range(B)], 1).astype(float)
    rng = np.random.default_rng(seed)
    y = 12 + (n - 3) @ rng.uniform(0.3, 1.5, B) + rng.normal(0, 4, 200)
    y = np.round(np.clip(y, 0, None) / 1.667) * 1.667
    held, design = np.arange(200) % 4 == 3, np.c_[np.ones(200), n]
    weights = np.linalg.lstsq(design[~held], y[~held], rcond=None)[0]
    rest = ((y - design @ weights)[held] ** 2).sum()
    return n, y, 1 - rest / ((y[held] - y[held].mean()) ** 2).sum()


@pytest.mark.parametrize("seed", [11, 104])
def test_the_baseline_is_the_same_in_both_precisions_and_no_worse_than_least_squares(seed):
    n, y, least_squares = made_up(seed)
    found = {}
    for wide in (False, True):
        with jax.enable_x64(wide):
            found[wide] = float(TwoLayer(n, y).linear_r2), cross_validate("linear", n, y).predicted
    assert found[False][0] == pytest.approx(found[True][0], abs=1e-6)
    np.testing.assert_array_equal(found[False][1], found[True][1])
    assert found[False][0] >= least_squares - 1e-6


def test_the_task(counts, rates):
    task = TwoLayer(counts, rates)
    assert task.held_out.sum() == len(rates) // 4
    truth = {
        "alpha": jnp.linspace(0.5, 1.5, B),
        "threshold": jnp.asarray(6.0),
        "slope": jnp.asarray(4.0),
        "top": jnp.asarray(60.0),
        "offset": jnp.asarray(2.0),
    }
    _, score = evaluate(task, truth)
    assert bool(score.solved)
    assert float(score.margin) == pytest.approx(float(score.accuracy - task.linear_r2))
    result = train(task, seed=0, run=QUIET)
    assert result.solved
    assert result.start_margin < result.margin


def test_placements():
    cell = thin_branches(spiking=False)
    branch = random_branches([12, 30], 3, most=30)
    placed = place(cell, branch, 3)
    np.testing.assert_array_equal(placed.counts.sum(axis=1), [12, 30])
    np.testing.assert_array_equal(placed.live.sum(axis=1), [12, 30])
    sites = branch_sites(cell)
    assert sites.shape == (B, 2)
    assert np.isin(placed.sites[1], sites).all()


def test_one_branch_is_sigmoidal_with_nmda_and_not_without():
    cell = thin_branches(spiking=False)
    curve = branch_curves(cell, [0, 3, 6, 9, 12], repeats=1).mean(axis=0)
    steps = np.diff(curve)
    assert steps.argmax() in (1, 2)  # 3 -> 6 or 6 -> 9 synapses
    assert steps.max() > 1.4 * steps[0]
    assert steps.max() > 1.4 * steps[-1]
    plain = np.diff(branch_curves(cell, [0, 3, 6, 9, 12], ratio=0.0, repeats=1).mean(axis=0))
    assert plain.max() < 1.35 * plain.min()


@pytest.mark.slow
def test_simulated_rates_want_two_layers():
    """At constant number; the full comparison is scripts/figure_poirazi.py."""
    task = two_layer(0, placements=160)
    found = {kind: cross_validate(kind, task.patterns, task.rates).r2 for kind in KINDS}
    assert found["two-layer"] - found["linear"] >= 0.1
    assert found["two-layer"] - found["count"] >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("constant", [True, False])
def test_passive_dendrites_need_one_layer(constant):
    """The control: no NMDA, no spikes, and synapses so weak that they add up linearly.

    At a constant number what is left to predict is the noise of the trains, and all models fail
    alike (gaps to linear -0.015 to 0.031 over seven seeds). With `WEIGHT` a cluster takes some of
    its own driving force away, which two layers see (gaps up to 0.05, 0.15 at other settings). At a
    varying number the linear model predicts nearly everything.
    """
    cell = thin_branches(spiking=False)
    number = 30 if constant else np.random.default_rng(0).integers(5, 31, 256)
    placed = place(cell, random_branches(np.broadcast_to(number, 256), 0, most=30))
    measured = responses(cell, placed, ratio=0.0, weight=WEAK).depolarisation
    found = {kind: cross_validate(kind, placed.counts, measured).r2 for kind in KINDS}
    assert found["two-layer"] - found["linear"] <= 0.05
    assert found["two-layer"] - found["count"] <= 0.2
    assert constant or found["linear"] >= 0.95


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: RateModel("cubic", 3, 10.0), "two-layer"),
        (lambda: random_branches([0]), "1 to 60"),
        (lambda: cross_validate("count", np.ones((4, 2)), np.ones(4)), "at least 10"),
    ],
)
def test_refusals(call, match):
    with pytest.raises(ValueError, match=match):
        call()
