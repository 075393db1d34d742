"""Where the data lie, and tolerances that follow the precision in which the tests run."""

import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT.parent / "shared" / "reference"

# What is asked at most of float32, whose numbers are 6e-8 of themselves apart: a hundred roundings
# for each number, and ten of the largest, of which small differences are made.
SINGLE_RTOL, SINGLE_ATOL = 1e-5, 1e-6

# for what is tested in both; there is no float64 in the pass in float32
PRECISIONS = [
    jnp.float32,
    pytest.param(jnp.float64, marks=pytest.mark.float64("its numbers are float64")),
]


def tol(f64: float, f32: float) -> float:
    """The tolerance of the precision in which the tests run."""
    return f64 if jax.config.jax_enable_x64 else f32


def _tolerances(desired: Any, rtol: float, atol: float) -> tuple[float, float]:
    known = np.abs(np.asarray(desired, float).ravel())
    largest = np.max(known[np.isfinite(known)], initial=0.0)
    return max(rtol, tol(0.0, SINGLE_RTOL)), max(atol, tol(0.0, SINGLE_ATOL) * largest)


def close(actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0.0, **options: Any) -> None:
    """numpy's `assert_allclose`, which asks of float32 what float32 can give."""
    rtol, atol = _tolerances(desired, rtol, atol)
    np.testing.assert_allclose(actual, desired, rtol, atol, **options)


def approx(desired: Any, rel: float | None = None, abs: float | None = None) -> Any:  # noqa: A002
    """pytest's `approx`, which asks of float32 what float32 can give."""
    if jax.config.jax_enable_x64:
        return pytest.approx(desired, rel=rel, abs=abs)
    # as pytest has it: one number given stands alone
    rel = (1e-6 if abs is None else 0.0) if rel is None else rel
    rel, abs = _tolerances(desired, rel, 1e-12 if abs is None else abs)
    return pytest.approx(desired, rel=rel, abs=abs)


def bmtk_morphologies() -> Path | None:
    """The folder of SWC files in the installed bmtk package, found without importing it."""
    spec = importlib.util.find_spec("bmtk")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "utils" / "scripts" / "bionet" / "morphologies"
