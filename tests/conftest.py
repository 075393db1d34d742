"""Shared settings and fixtures: precision, seeds, and where the data lie.

Two switches, which the second pass of `scripts/test` turns on:

- `JAXDEND_TEST_PRECISION=float32` runs in the precision and with the XLA flags that users have;
- `JAXDEND_TEST_STRICT=promotion` refuses every implicit promotion of types and of ranks,
  `JAXDEND_TEST_STRICT=types` checks the annotated shapes and types of every call in the library,
  and `JAXDEND_TEST_STRICT=promotion,types` does both.
"""

import atexit
import os
import random
import shutil
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")

# Programs that took long to compile are compiled once for all modules, workers, notebooks and
# commands of a session, which inherit the folder.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _programs = tempfile.mkdtemp(prefix="jaxdend-programs-")
    atexit.register(shutil.rmtree, _programs, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

# Nearly all time is compilation. XLA's older code for loops over arrays compiles twice as fast, and
# here runs as fast; numbers differ in the last digits. `XLA_FLAGS= pytest` runs what users run, and
# so do the tests in float32.
# A JAX that does not know a flag aborts, so it is set only where it is known.
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    if os.environ.get("JAXDEND_TEST_PRECISION") != "float32":
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

from helpers import REFERENCE, bmtk_morphologies

PRECISION = os.environ.get("JAXDEND_TEST_PRECISION", "float64")
STRICT = set(filter(None, os.environ.get("JAXDEND_TEST_STRICT", "").split(",")))
if PRECISION not in ("float32", "float64") or not STRICT <= {"promotion", "types"}:
    raise ValueError(
        f"JAXDEND_TEST_PRECISION is float32 or float64, got {PRECISION!r}; JAXDEND_TEST_STRICT is "
        f"made of promotion and types, got {','.join(sorted(STRICT))!r}"
    )

if "types" in STRICT:  # before anything of jaxdend is imported
    from strict import unchecked

    install_import_hook("jaxdend", "strict.checked")
    pytest.raises = unchecked(pytest.raises)
jax.config.update("jax_enable_x64", PRECISION == "float64")
if "promotion" in STRICT:
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several workers take the files with the most slow tests first: none ends with one alone."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


def pytest_terminal_summary(terminalreporter) -> None:
    """Say on which data the tests ran; a header would not show under -q."""
    reference = f"found at {REFERENCE}" if REFERENCE.is_dir() else f"NOT FOUND at {REFERENCE}"
    bmtk = bmtk_morphologies() or "NOT FOUND: install jaxdend[examples]"
    terminalreporter.write_line("")
    terminalreporter.write_line(f"reference data: {reference}")
    terminalreporter.write_line(f"bmtk morphologies: {bmtk}")
    terminalreporter.write_line(f"jax {jax.__version__} on {jax.default_backend()}, {PRECISION}")


@pytest.fixture(autouse=True)
def _seed() -> None:
    """The same random numbers whichever tests run, and in whatever order."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Give back the memory of a module's compiled programs: all of them take 6 GB."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference data measured in NEURON, which the project cannot redistribute."""
    if not REFERENCE.is_dir():
        pytest.skip(f"the reference data are not at {REFERENCE}")
    return REFERENCE


@pytest.fixture(scope="session")
def bmtk_swc():
    """Path of a bmtk reconstruction by name: `bmtk_swc("Rorb_325404214_m")`."""

    def path(name: str) -> Path:
        folder = bmtk_morphologies()
        if folder is None:
            pytest.skip("bmtk is not installed: pip install 'jaxdend[examples]'")
        file = folder / f"{name}.swc"
        if not file.is_file():
            raise FileNotFoundError(f"bmtk ships no {file.name}; it has {sorted(folder.iterdir())}")
        return file

    return path
