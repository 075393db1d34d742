"""Batches over all devices, and programs on disk."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend.channels import HH


@pytest.fixture(scope="module")
def neuron():
    cell = jd.Cell(jd.pyramidal(seed=1), max_length=300.0, ra=150.0)

    def last(gnabar, amplitude):
        step = jd.Step(site=0, onset=0.5, duration=3.0, amplitude=amplitude)
        model = cell.insert(HH(gnabar=gnabar))
        return jd.simulate(model, step, t1=3.0, dt=0.05, record=[0]).v[-1, 0]

    return last


def test_cores_are_devices_that_share_a_batch(neuron):
    assert jax.local_device_count() > 1 or len(os.sched_getaffinity(0)) == 1
    g, amplitudes = jnp.linspace(0.1, 0.14, 5), jnp.linspace(0.2, 0.6, 5)
    np.testing.assert_allclose(
        jd.batch(neuron)(g, amplitudes), jax.vmap(neuron)(g, amplitudes), atol=1e-10
    )
    np.testing.assert_allclose(
        jd.batch(neuron, (None, 0))(0.12, amplitudes),
        jax.vmap(neuron, (None, 0))(0.12, amplitudes),
        atol=1e-10,
    )


def test_a_batch_has_gradients(neuron):
    amplitudes = jnp.linspace(0.2, 0.6, 4)

    def total(g, mapped):
        return jnp.sum(mapped(lambda a: neuron(g, a))(amplitudes))

    np.testing.assert_allclose(
        jax.grad(total)(0.12, jd.batch), jax.grad(total)(0.12, jax.vmap), rtol=1e-8
    )


def test_trees_of_arrays_and_results():
    out = jd.batch(lambda x, scale: {"sum": x["a"] + x["b"], "scaled": scale * x["a"]}, (0, None))(
        {"a": jnp.arange(3.0), "b": jnp.ones(3)}, 2.0
    )
    np.testing.assert_array_equal(out["sum"], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(out["scaled"], [0.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("axes", "args", "message"),
    [
        (1, (np.ones((2, 3)),), "0 and None only"),
        (None, (np.ones(3),), "nothing to map over"),
        ((0, 0), (np.ones(3), np.ones(4)), "one common length"),
        ((0,), (np.ones(3), np.ones(3)), "in_axes has 1 entries"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(axes, args, message):
    with pytest.raises(ValueError, match=message):
        jd.batch(lambda *x: x[0], axes)(*args)


def devices(**environment):
    code = "import jaxdend, jax; print(jax.local_device_count())"
    # the number of cores may be 1 here: count as if there were three
    code = "import os; os.sched_getaffinity = lambda pid: {0, 1, 2}; " + code
    env = {k: v for k, v in os.environ.items() if k not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_the_choice_of_the_user_holds():
    assert devices() == 3
    assert devices(JAX_NUM_CPU_DEVICES="2") == 2


def test_programs_are_kept_on_disk(tmp_path):
    # this small program compiles in less than the tenth of a second from which one is kept
    code = (
        "import jax, jaxdend as jd; print(jd.cache_programs()); "
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0); "
        "c = jd.Cell(jd.single_compartment(), max_length=50.0).insert(jd.channels.HH()); "
        "jd.simulate(c, t1=1.0)"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env | {"XDG_CACHE_HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "jaxdend")
    assert any((tmp_path / "jaxdend").iterdir())
