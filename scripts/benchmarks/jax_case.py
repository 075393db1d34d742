"""What the two JAX simulators share: parameters, losses, compilation, memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.models import Neuron


@dataclass
class Prepared:
    """A compiled case: `run` waits for its result and keeps it for `trace`."""

    call: Callable[[], Any]
    dt: float
    info: dict[str, Any]
    latest: Any = None

    def run(self) -> None:
        """One run."""
        self.latest = jax.block_until_ready(self.call())

    def trace(self) -> tuple[np.ndarray, np.ndarray]:
        """`t` ms and `v` mV of the (first) simulation; for a gradient, place and derivative."""
        if isinstance(self.latest, tuple):
            derivative = np.asarray(self.latest[1], float)
            return np.arange(len(derivative)), derivative
        v = np.asarray(self.latest, float)
        v = v if v.ndim == 1 else v[0]
        return self.dt * np.arange(len(v)), v


def parameters(neuron: Neuron, case: dict[str, Any]) -> Array:
    """The parameter: a number; `(k,)`, by compartment, for a gradient; `(batch,)` for a batch.

    The members of a batch differ by up to 10 %.
    """
    values = neuron.densities[neuron.parameter]
    values = values[~np.isnan(values)]
    if case.get("mode", "forward") in ("batch", "sharded"):
        return jnp.asarray(values[0] * np.linspace(0.95, 1.05, case["batch"]), float)
    if case.get("mode") in ("value", "gradient") or not np.all(values == values[0]):
        return jnp.asarray(values, float)
    return jnp.asarray(values[0], float)


def loss_of(run: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The mean square of the trace, mV²."""
    return lambda x: jnp.mean(run(x) ** 2)


def measured(function: Any, x: tuple[Array, ...], neuron: Neuron, case: dict[str, Any]) -> Prepared:
    """Compile ahead of time, noting seconds and the memory that the program will ask for."""
    start = time.perf_counter()
    lower = getattr(function, "lower", None)
    info: dict[str, Any] = {
        "n": neuron.n,
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "dtype": str(x[0].dtype),
    }
    if lower is not None:
        lowered = lower(*x)
        traced = time.perf_counter()
        compiled = lowered.compile()
        info |= {"trace_seconds": traced - start, "compile_seconds": time.perf_counter() - traced}
        memory = compiled.memory_analysis()
        if memory is not None:
            info["temporary_bytes"] = int(memory.temp_size_in_bytes)
        function = compiled
    return Prepared(lambda: function(*x), case["dt"], info)
