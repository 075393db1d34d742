"""Training finds an integrate-and-fire neuron, and goes on bit for bit after whatever ended it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

from jaxdend.emulator._base import prepared
from jaxdend.emulator._crops import Crops
from jaxdend.emulator.interpretation import unit_exponentials
from jaxdend.emulator.networks import ELM, TCN, UnitNet
from jaxdend.emulator.training import (
    ELM_PUBLISHED,
    PUBLISHED,
    QUICK,
    Schedule,
    TrainResult,
    evaluate,
    train,
)
from running import QUIET, in_a_run
from toy_neurons import integrate_and_fire

SMALL = replace(QUICK, crop=60, batch=4, burn_in=10)
STEPS = 24


@pytest.fixture(scope="module")
def data():
    return integrate_and_fire(6, 500, exc=8, inh=2, gain=16.0)


def tiny(dendrites=0):
    return TCN(10, channels=4, kernels=(8, 4), dendrites=dendrites, key=5)


def short(data, net=None, **options):
    options = in_a_run({"steps": STEPS, "chunk": 4, "schedule": SMALL} | options)
    return train(tiny() if net is None else net, data, data, **options)


@pytest.fixture(scope="module")
def whole(data):
    return short(data, every=8)


def same(a, b):
    for x, y in zip(jax.tree.leaves(a.net), jax.tree.leaves(b.net), strict=True):
        np.testing.assert_array_equal(x, y)
    assert a.history.keys() == b.history.keys()
    for name in a.history:
        np.testing.assert_array_equal(a.history[name], b.history[name])


def test_an_integrate_and_fire_neuron_is_one_unit():
    train_data = integrate_and_fire(60, 3000)
    valid_data = integrate_and_fire(24, 3000, seed=1)
    schedule = replace(QUICK, rates=(3e-2,))
    result = train(
        UnitNet(100), train_data, valid_data, steps=300, schedule=schedule, run=QUIET,
        validate_every=300, chunk=50,
    )  # fmt: skip
    metrics = evaluate(result.net, valid_data)
    assert metrics.auc > 0.99
    assert metrics.v_explained > 0.75
    assert metrics.ece < 0.01
    for found, sign in zip(unit_exponentials(result.net, 80), (1, -1), strict=True):
        assert 15 < found.tau < 20  # the membrane's 20 ms, shortened by resets
        assert sign * found.amplitude == pytest.approx(2.0, rel=0.15)  # mV, of the neuron
        assert found.explained > 0.95


class Killed(BaseException):
    """Nothing catches it: the process is gone."""


@pytest.mark.parametrize(("at", "chunk"), [(4, 4), (13, 5), (20, 1)])
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, data, whole, at, chunk):
    def kill(step, rows):
        if step >= at:
            raise Killed

    with pytest.raises(Killed):
        short(data, folder=tmp_path, every=8, callback=kill)
    result = short(data, folder=tmp_path, every=8, resume=True, chunk=chunk)
    same(result, whole)
    same(TrainResult.load(tmp_path), whole)


def test_the_callback_ends_it_and_the_folder_has_it(tmp_path, data, whole):
    seen = []

    def stop(step, rows):
        seen.append((step, rows["losses"].shape))
        return step >= 6

    part = short(data, folder=tmp_path, callback=stop)
    assert part.interrupted
    assert part.steps == 6 == seen[-1][0]  # a validation every 2 steps bounds the chunks
    same(short(data, folder=tmp_path, resume=True), whole)
    again = short(data, folder=tmp_path, resume=True)
    same(again, whole)
    assert again.metrics.auc == whole.metrics.auc


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"schedule": replace(SMALL, rates=(1e-3,))}, "schedule.rates"),
        ({"steps": 30}, "steps is 24 there and 30 here"),
        ({"net": TCN(10, channels=4, kernels=(8, 4), key=6)}, "weights"),
        ({"resume": False}, "already holds a run"),
    ],
)
def test_the_folder_of_another_training_is_refused(tmp_path_factory, data, options, message):
    folder = tmp_path_factory.mktemp("run") / "one"
    short(data, folder=folder, callback=lambda *_: True)
    with pytest.raises(ValueError, match=message):
        short(data, **({"folder": folder, "resume": True} | options))


def test_what_was_given_is_left_as_it_was(data):
    net = tiny()
    before = [np.array(leaf) for leaf in jax.tree.leaves(net)]
    short(data, net, steps=2)
    for x, y in zip(before, jax.tree.leaves(net), strict=True):
        np.testing.assert_array_equal(x, y)


def test_crops_are_a_pure_function_of_seed_and_step(data):
    one, two = (Crops(data, 3, 50, seed=4, dendrites=True) for _ in range(2))
    one.fetch(0, 5)
    for a, b in zip(one.take(3), two.take(3), strict=True):
        np.testing.assert_array_equal(a, b)
    x, spikes, v, dendrites = one.take(4)
    assert [a.shape for a in (x, spikes, v, dendrites)] == [
        (3, 50, 10), (3, 50), (3, 50), (3, 50, 3),
    ]  # fmt: skip
    assert v.max() <= -55
    other = Crops(data, 3, 50, seed=5, dendrites=False).take(3)
    assert not np.array_equal(other[2], two.take(3)[2])


def test_published_stages():
    steps = 1000
    rate, weights = PUBLISHED.rate(steps), PUBLISHED.loss_weights(steps)
    at = [0, 159, 160, 319, 320, 479, 480, 639, 640, 999]
    np.testing.assert_allclose(
        [rate(i) for i in at], np.repeat([1e-4, 3e-5, 1e-5, 3e-6, 1e-6], 2), rtol=1e-6
    )
    np.testing.assert_allclose(weights(0), [1, 0.02, 5e-6])
    np.testing.assert_allclose(weights(999), [9, 0.003, 1e-9])
    assert (PUBLISHED.batch, PUBLISHED.crop, PUBLISHED.optimizer) == (8, 400, "nadam")
    assert ELM_PUBLISHED.rate(steps)(0) == pytest.approx(5e-4)
    assert ELM_PUBLISHED.rate(steps)(steps) == pytest.approx(5e-6)


@pytest.mark.parametrize(
    ("net", "rate"),
    [(tiny(dendrites=2), 1e-2), (ELM(10, memory=2, branches=3), 3e-3), (UnitNet(10, span=9), 3e-2)],
)
def test_every_network_and_head_learns(data, net, rate):
    """In the median of three draws of crops: one training differs from processor to processor."""
    schedule = replace(SMALL, rates=(rate,), weights=((1.0, 0.02, 0.1),), begins=(0.0,))
    results = [
        short(data, net, steps=240, chunk=40, schedule=schedule, seed=seed, validate_every=80)
        for seed in range(3)
    ]
    untrained = evaluate(prepared(net, data), data, discard=0).v_rmse
    assert np.median([result.metrics.v_rmse for result in results]) < 0.9 * untrained
    for result in results:
        white = result.history["dendrites"]
        learned = white[-20:].mean() < 0.8 * white[:20].mean()
        assert learned if net.heads.bias.size > 2 else not white.any()
        assert np.isfinite(result.history["auc"][79::80]).all()


def test_the_published_schedule_runs(data):
    result = short(data, steps=10, schedule=replace(PUBLISHED, crop=100), validate_every=5)
    assert np.flatnonzero(np.isfinite(result.history["auc"])).tolist() == [4, 9]


def test_a_training_that_diverges_says_so(data, tmp_path):
    broken = eqx.tree_at(lambda n: n.heads.weight, tiny(), tiny().heads.weight.at[0, 1].set(np.nan))
    with pytest.raises(ValueError, match="loss is nan at step 0.*[Ll]ower the learning rate"):
        short(data, broken)


def with_nan(data):
    v = data.v.copy()
    v[:, 300:] = np.nan
    return replace(data, v=v)


def silent(data):
    return replace(data, spikes=np.zeros_like(data.spikes))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda d: train(UnitNet(9), d, d, steps=1), "9 inputs.*got 10"),
        (lambda d: short(silent(d)), "no spike"),
        (lambda d: train(tiny(), d, silent(d), steps=1), "valid_data have no spike"),
        (lambda d: short(with_nan(d)), "has NaN in its voltages"),
        (lambda d: evaluate(tiny(), with_nan(d), discard=0), "voltage of the data has NaN"),
        (lambda d: evaluate(tiny(), silent(d), discard=0), "has no spike"),
        (lambda d: evaluate(tiny(), d), "500 bins, of which the first 500"),
        (
            lambda d: evaluate(tiny(), d, discard=0, max_spikes=-1),
            "all 6 simulations have more than -1",
        ),
        (lambda d: short(d, schedule=replace(SMALL, crop=900)), "crops of 900 bins"),
        (lambda d: short(d.take([])), "no simulation"),
        (lambda d: Schedule(rates=(1.0,)), "weights and rates for each"),
        (lambda d: Schedule(optimizer="sgd"), "'adam' or 'nadam'"),
        (lambda d: replace(QUICK, burn_in=400), "burn_in less than the crop"),
        (lambda d: replace(PUBLISHED, begins=(0, 0.5, 0.2, 0.6, 0.7)), "ascend"),
    ],
)
def test_what_cannot_be_trained_is_refused(data, act, message):
    with pytest.raises(ValueError, match=message):
        act(data)


def test_evaluation_leaves_out_what_the_publication_does(data):
    counts = data.spikes.sum(axis=1)
    limit = int(np.median(counts))
    found = evaluate(tiny(), data, discard=100, max_spikes=limit)
    assert (found.simulations, found.left_out) == ((counts <= limit).sum(), (counts > limit).sum())
    assert found.bins == 400
    assert found.base_rate == pytest.approx(data.spikes[counts <= limit][:, 100:].mean())


def test_the_folder_of_something_else_is_no_training(tmp_path):
    from jaxdend.runs import RunFolder

    RunFolder(tmp_path / "fit", {"run": "fit"})
    with pytest.raises(ValueError, match="no training of an emulator"):
        TrainResult.load(tmp_path / "fit")


RUN = """
import sys
from dataclasses import replace
from jaxdend import Run
from jaxdend.emulator.networks import TCN
from jaxdend.emulator.training import QUICK, train
from toy_neurons import integrate_and_fire
data = integrate_and_fire(6, 500, exc=8, inh=2, gain=16.0)
train(
    TCN(10, channels=4, kernels=(8, 4), key=5), data, data, steps=24, chunk=4,
    schedule=replace(QUICK, crop=60, batch=4, burn_in=10),
    run=Run(sys.argv[1], every=8, resume=True, progress=False),
    callback=lambda step, rows: print(step, flush=True),
)
"""


def test_kill_9(tmp_path, data, whole):
    command = [sys.executable, "-c", RUN, str(tmp_path / "run")]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "JAX_ENABLE_X64": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        steps = 0
        while steps < 10:
            steps = int(process.stdout.readline())
        process.kill()
    part = TrainResult.load(tmp_path / "run")
    assert 8 <= part.steps < STEPS
    same(short(data, folder=tmp_path / "run", every=8, resume=True), whole)
