"""The one file that leans on what JAX and Equinox may change: what it says when they do."""

import importlib.util
import sys
from importlib.metadata import version
from types import ModuleType

import jax
import jax.numpy as jnp
import pytest

from jaxdend import _jax
from jaxdend._jax import TESTED, Tracer, distributed_client, prevbefore


def loaded_anew():
    """A second copy of the file, run now."""
    spec = importlib.util.spec_from_file_location("a_second_copy", _jax.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("equinox.internal", "prevbefore"),
        ("jax.core", "Tracer"),
        ("jax.extend.core", "ClosedJaxpr"),
    ],
)
def test_a_name_that_is_gone_is_named_with_the_versions(monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    with pytest.raises(ImportError, match=f"{name}.* from '{module}'") as error:
        loaded_anew()
    for package, number in TESTED.items():
        assert f"{package} {version(package)}" in str(error.value)
        assert f'"{package}=={number}"' in str(error.value)


def test_a_module_that_is_gone_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax.extend.core", None)
    with pytest.raises(ImportError, match=r"jax\.extend\.core.*pip install"):
        loaded_anew()


def test_only_sweeps_of_several_processes_miss_the_distributed_client(monkeypatch):
    assert distributed_client() is None
    module = "jax._src.distributed"
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    second = loaded_anew()  # all else is there
    with pytest.raises(ImportError, match="global_state.*pip install"):
        second.distributed_client()


def test_they_are_what_they_are_taken_for():
    seen = []
    jax.jit(lambda x: seen.append(isinstance(x, Tracer)) or x)(1.0)
    assert seen == [True]
    assert not isinstance(jnp.ones(2), Tracer)
    before = prevbefore(jnp.float32(1.0))
    assert before < 1.0
    assert jnp.nextafter(before, jnp.float32(2.0)) == 1.0
