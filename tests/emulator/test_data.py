"""Stores of simulations: what `generate` writes, `open_data` reads back, whatever interrupts it."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.emulator import data
from jaxdend.emulator.networks import UnitNet
from jaxdend.emulator.training import QUICK, train
from running import QUIET

pytest.importorskip("zarr")
BINS = 300


@pytest.fixture(scope="module")
def setup():
    return data.SETUPS["integrate_and_fire"]()


@pytest.fixture(scope="module")
def store(setup, tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "if.zarr"
    summary = data.generate(setup, 6, out, seconds=BINS / 1000, seed=3, chunk=2, progress=False)
    assert summary.complete
    assert summary.failed == 0
    return out


def test_the_store_holds_what_the_key_says(setup, store):
    found = data.open_data(store)
    assert found.x.shape == (6, BINS, 100)
    assert found.v.shape == found.spikes.shape == (6, BINS)
    assert found.dendrites.shape == (6, BINS, 0)
    key = jax.random.fold_in(jax.random.key(3), 4)
    x = jax.jit(lambda key: data.sample_input(key, setup.sampling, BINS))(key)
    np.testing.assert_array_equal(found.x[4], x)
    answer = jax.jit(setup.simulate)(x)
    np.testing.assert_allclose(found.v[4], answer["v"], rtol=1e-12)
    np.testing.assert_array_equal(found.spikes[4], answer["spikes"])


def test_indexing_reads_what_numpy_would(store):
    found = data.open_data(store, discard=20)
    whole = found.load()
    assert isinstance(whole.x, np.ndarray)
    assert whole.bins == found.bins == BINS - 20
    rows = np.array([5, 0, 3])
    for index in (2, -1, slice(1, 4), rows, (slice(None), slice(5, 9)), (2, slice(3), 7)):
        np.testing.assert_array_equal(found.x[index], whole.x[index])
    np.testing.assert_array_equal(found.v[rows], whole.v[rows])
    np.testing.assert_array_equal(np.asarray(found.spikes), whole.spikes)
    assert found.rate == whole.rate


def test_training_from_a_store_is_training_from_memory(setup, tmp_path):
    out = tmp_path / "long.zarr"
    data.generate(setup, 6, out, seconds=2.0, seed=3, chunk=3, progress=False)
    found = data.open_data(out)
    loaded = found.load()
    schedule = dataclasses.replace(QUICK, crop=60, batch=3)

    def trained(learn):
        net = UnitNet(100, span=20)
        return train(net, learn, loaded, steps=6, schedule=schedule, run=QUIET)

    one, two = trained(found), trained(loaded)
    assert not isinstance(found.x, np.ndarray)
    for a, b in zip(jax.tree.leaves(one.net), jax.tree.leaves(two.net), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parts_are_of_whole_simulations(store):
    parts = data.open_data(store).split((0.5, 0.3, 0.2), seed=1)
    assert [part.n for part in parts] == [3, 2, 1]
    v = np.concatenate([part.load().v for part in parts])
    assert len(np.unique(v, axis=0)) == 6
    again = data.open_data(store).split((0.5, 0.3, 0.2), seed=1)
    np.testing.assert_array_equal(parts[1].v[:], again[1].v[:])
    mask = np.arange(6) == 2
    np.testing.assert_array_equal(data.open_data(store).take(mask).v[0], data.open_data(store).v[2])
    with pytest.raises(ValueError, match="too few"):
        parts[2].split((0.5, 0.5))
    with pytest.raises(ValueError, match="add up"):
        parts[0].split((0.8, 0.5))


def test_what_the_store_says_of_itself(setup, store):
    meta = data.open_data(store).meta
    assert meta["k"] == 100
    assert meta["exc"] == 80
    assert meta["names"][80] == "inh0"
    assert meta["setup"] == "integrate_and_fire"
    assert meta["sampling_kind"] == "default"
    assert len(meta["region"]) == len(meta["distance"]) == len(meta["tree"]) == 100
    counts = data.open_data(store).load().spikes.sum(1)
    few = data.open_data(store, max_spikes=int(counts.min()))
    assert few.n == np.sum(counts <= counts.min())


def test_a_store_cut_short_goes_on_to_the_same_bits(setup, store, tmp_path):
    """A unit that was never written, as a killed process leaves it, is computed again."""
    out = tmp_path / "again.zarr"
    options = {"seconds": BINS / 1000, "seed": 3, "chunk": 2, "progress": False}
    data.generate(setup, 6, out, **options)
    (out / "status" / "c" / "1").unlink()
    assert data.open_data(out).n == 4
    summary = data.generate(setup, 6, out, resume=True, **options)
    assert summary.written == 2
    for name in ("x", "v", "spikes"):
        one, other = (getattr(data.open_data(o), name)[:] for o in (out, store))
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="seed"):
        data.generate(setup, 6, out, resume=True, **(options | {"seed": 4}))


KILLED = """
import sys
from jaxdend.emulator import data
setup = data.SETUPS["integrate_and_fire"]()
print("begin", flush=True)
data.generate(setup, 300, sys.argv[1], seconds=0.3, seed=3, chunk=2, progress=False)
"""


@pytest.mark.slow
def test_killed_on_the_way(setup, store, tmp_path):
    out = tmp_path / "killed.zarr"
    environment = os.environ | {"JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-c", KILLED, str(out)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        while not any(out.glob("status/c/*")):
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate(timeout=60)
    done = data.open_data(out).n
    assert 0 < done < 300
    options = {"seconds": BINS / 1000, "seed": 3, "chunk": 2, "progress": False}
    summary = data.generate(setup, 300, out, resume=True, **options)
    assert summary.complete
    assert summary.computed <= 300 - done
    for name in ("x", "v", "spikes"):
        one, other = (getattr(data.open_data(o), name) for o in (out, store))
        np.testing.assert_array_equal(one[:6], other[:])


@dataclasses.dataclass(frozen=True)
class Failing(data.AbstractSetup):
    """Fails where the first bin has an odd number of spikes."""

    sampling: data.Sampling
    name: str = "failing"
    receptors: str = "none"
    recorded = 1

    def simulate(self, x):
        failed = jnp.sum(x[0]) % 2 == 1
        v = jnp.full(len(x), -70.0)
        return {"v": v, "spikes": x[:, 0], "dendrites": v[:, None], "failed": failed}

    def meta(self):
        return {"k": 100, "dendrites": {"site": [0]}}


def test_failed_simulations_are_recorded_and_left_out(setup, tmp_path):
    out = tmp_path / "failing.zarr"
    summary = data.generate(Failing(setup.sampling), 8, out, seconds=0.05, progress=False)
    assert 0 < summary.failed < 8
    found = data.open_data(out)
    assert found.n == 8 - summary.failed
    assert found.dendrites.shape[2] == 1
    assert np.all(found.x[:, 0].sum(1) % 2 == 0)


def test_what_is_refused(setup, store, tmp_path):
    with pytest.raises(ValueError, match="positive"):
        data.generate(setup, 0, tmp_path / "none.zarr")
    with pytest.raises(ValueError, match="sampling must be one of"):
        data.generate(setup, 1, tmp_path / "none.zarr", sampling="loud")  # type: ignore[arg-type]
    with pytest.raises(FileExistsError):
        data.generate(setup, 6, store, seconds=BINS / 1000, seed=3, chunk=2, progress=False)
    with pytest.raises(ValueError, match="discard"):
        data.open_data(store, discard=BINS)
