"""An emulator is saved and loaded exactly, and runs on whatever comes."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.emulator import Emulator, Speed, speed
from jaxdend.emulator._base import prepared
from jaxdend.emulator.networks import ELM, TCN, UnitNet
from jaxdend.emulator.training import evaluate
from toy_neurons import integrate_and_fire

META = {"names": [f"i{i}" for i in range(10)], "bin_ms": 1.0, "region": ["tuft"] * 10}


@pytest.fixture(scope="module")
def data():
    return integrate_and_fire(5, 60, exc=8, inh=2, gain=30.0)


@pytest.fixture(scope="module")
def emulator(data):
    net = prepared(TCN(10, channels=3, kernels=(4, 3), dendrites=2), data)
    _, net = net.learn(jnp.asarray(data.x))
    return Emulator(net, 0.2, META)


@pytest.mark.parametrize("kind", ["tcn", "unit", "elm"])
def test_what_is_loaded_is_what_was_saved(tmp_path, data, emulator, kind):
    nets = {"unit": UnitNet(10, span=7), "elm": ELM(10, memory=2, branches=3)}
    one = Emulator(nets[kind], 0.3, META) if kind in nets else emulator
    path = one.save(tmp_path / "twin")
    assert path.name == "twin.npz"
    assert [p.name for p in tmp_path.iterdir()] == ["twin.npz"]
    two = Emulator.load(path)
    assert (two.threshold, two.meta, two.names) == (one.threshold, META, META["names"])
    assert jax.tree.structure(two.net) == jax.tree.structure(one.net)
    for a, b in zip(jax.tree.leaves(one.net), jax.tree.leaves(two.net), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    for a, b in zip(jax.tree.leaves(one(data.x)), jax.tree.leaves(two(data.x)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_number_and_length(data, emulator):
    whole = emulator(data.x)
    assert whole.v.shape == (5, 60)
    assert whole.dendrites.shape == (5, 60, 2)
    np.testing.assert_array_equal(emulator(data.x.reshape(5, 1, 60, 10)).v[:, 0], whole.v)
    np.testing.assert_allclose(emulator(data.x[0]).v, whole.v[0], rtol=1e-6)
    np.testing.assert_allclose(emulator(data.x, batch=2).v, whole.v, rtol=1e-6)
    np.testing.assert_allclose(emulator(data.x[:, :17]).v, whole.v[:, :17], rtol=1e-6)


def test_a_stream_is_the_whole(data, emulator):
    whole, carry, parts = emulator(data.x), emulator.start(5), []
    for first in range(0, 60, 20):
        part, carry = emulator.step(data.x[:, first : first + 20], carry)
        parts.append(part.v)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole.v, rtol=1e-6)


def test_spikes_are_what_exceeds_the_threshold(data, emulator):
    probability = np.asarray(emulator(data.x).probability)
    np.testing.assert_array_equal(emulator.spikes(data.x), probability > 0.2)
    assert emulator.spikes(data.x[0]).shape == (60,)


def test_the_threshold_of_an_emulator_made_of_data(data, emulator):
    made = Emulator.of(emulator.net, data, discard=10)
    assert made.threshold == evaluate(emulator.net, data, discard=10).threshold
    assert made.meta == data.meta
    assert made.names == [str(i) for i in range(10)]
    assert not made.net.norms


def test_another_process_says_the_same(tmp_path, data, emulator):
    path = emulator.save(tmp_path / "twin")
    np.save(tmp_path / "x.npy", data.x)
    code = (
        "import sys, numpy as np; from jaxdend.emulator._emulator import Emulator; "
        "f = sys.argv[1]; y = Emulator.load(f + '/twin.npz')(np.load(f + '/x.npy')); "
        "np.save(f + '/v.npy', y.v)"
    )
    subprocess.run([sys.executable, "-c", code, str(path.parent)], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), emulator(data.x).v)


def rewritten(path, **changes):
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"])) | changes
    np.savez(path, **(arrays | {"header": np.array(json.dumps(header))}))


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "not a complete emulator file"),
        (lambda p: p.write_text("nothing"), "not a complete emulator file"),
        (lambda p: rewritten(p, format="jaxdend-emulator-9"), "another version of jaxdend"),
        (lambda p: rewritten(p, format="jaxdend-cell-1"), "not an emulator's"),
        (lambda p: rewritten(p, leaves=99), "not a complete emulator file.*leaf_"),
        (lambda p: rewritten(p, leaves=3), "not a complete emulator file"),
        (lambda p: rewritten(p, network={"network": "LSTM"}), "no network 'LSTM'"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, emulator, damage, message):
    path = emulator.save(tmp_path / "twin")
    damage(path)
    with pytest.raises(ValueError, match=message):
        Emulator.load(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        Emulator.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda e: e(np.zeros((2, 5, 9))), "10 inputs.*got 9"),
        (lambda e: e(np.zeros((2, 0, 10))), "nothing to predict"),
        (lambda e: e(np.full((5, 10), np.nan)), "input has NaN"),
        (lambda e: e.step(np.zeros((5, 10)), e.start()), "must be .*k = 10"),
        (lambda e: Emulator(e.net, 2.0), "threshold is a probability"),
    ],
)
def test_what_cannot_be_emulated_is_refused(emulator, act, message):
    with pytest.raises(ValueError, match=message):
        act(emulator)


def test_speed_is_measured_and_said(data, emulator):
    class Setup:
        def simulate(self, x):
            return jnp.cumsum(x.sum(axis=1))

    for against in (Setup(), lambda x: x.sum(), 15.0):
        found = speed(emulator, data.x, against, repeats=1)
        assert (found.simulations, found.bins) == (5, 60)
        assert min(found.emulator, found.simulation) > 0
    assert found.ratio == 15.0 / found.emulator
    assert str(Speed(4, 1000, 0.01, 2.0)) == (
        "200 times faster: 10 ms instead of 2000 ms a second of the neuron, 4 x 1000 ms at a time"
    )
