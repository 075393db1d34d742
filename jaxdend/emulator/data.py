"""Data for emulators: cells driven by random input, many simulations at a time, into a store.

```python
setup = data.SETUPS["reduced"](receptors="nmda")
data.generate(setup, 300, "out/nmda.zarr", seconds=6.0, seed=0)
train, valid, test = data.open_data("out/nmda.zarr").split((0.8, 0.1, 0.1))
```
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend.emulator._dataset import Dataset, Stored, open_data
from jaxdend.emulator._sampling import KINDS, Kind, Sampling, sample_input
from jaxdend.emulator._setups import (
    RECEPTORS,
    SETUPS,
    AbstractSetup,
    IntegrateAndFire,
    Neuron,
    passive_dendrites,
)
from jaxdend.emulator._spikes import spikes_of
from jaxdend.sweep import FAILED, OK, Summary, grid, run_sweep

__all__ = [
    "KINDS",
    "RECEPTORS",
    "SETUPS",
    "AbstractSetup",
    "Dataset",
    "IntegrateAndFire",
    "Neuron",
    "Sampling",
    "Stored",
    "generate",
    "open_data",
    "passive_dendrites",
    "sample_input",
    "simulation",
    "spikes_of",
]

ATTRIBUTES = {
    "x": {"long_name": "active synapses, packed: eight a byte, the first in the highest bit"},
    "v": {"units": "mV", "long_name": "soma at the end of each bin of 1 ms"},
    "spikes": {"long_name": "whether the cell fired in each bin of 1 ms"},
    "dendrites": {"units": "mV", "long_name": "dendrites at the end of each bin of 1 ms"},
    "count": {"long_name": "spikes of the simulation"},
    "simulation": {"long_name": "number of the simulation, which with the seed makes its input"},
}


def simulation(
    setup: AbstractSetup, bins: int, seed: int = 0, kind: Kind = "default"
) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """The function that `generate` sweeps: of `{"simulation": number}` to what is stored.

    Its input is `sample_input(fold_in(key(seed), number), ...)`, whatever runs beside it.
    """

    def run(point: dict[str, Array]) -> dict[str, Array]:
        key = jax.random.fold_in(jax.random.key(seed), point["simulation"])
        x = sample_input(key, setup.sampling, bins, kind)
        out = setup.simulate(x)
        stored = {
            "x": jnp.packbits(x, axis=1),
            "v": out["v"],
            "spikes": out["spikes"],
            "count": jnp.sum(out["spikes"]),
            "status": jnp.where(out["failed"], FAILED, OK),
        }
        return stored | ({"dendrites": out["dendrites"]} if setup.recorded else {})

    return run


def generate(
    setup: AbstractSetup,
    n: int,
    out: str | Path,
    *,
    seconds: float = 6.0,
    seed: int = 0,
    sampling: Kind = "default",
    resume: bool = False,
    chunk: int | None = None,
    memory: int | None = None,
    progress: bool = True,
) -> Summary:
    """Simulate a cell under random input `n` times and store input and answer.

    A sweep over the number of the simulation, see `jaxdend.sweep.run_sweep`: vmapped, shared out
    over devices and processes, and after any end the same with `resume=True` goes on. A store takes
    about a bit for each synapse and millisecond, 4 bytes for each recorded voltage, before they are
    compressed. Simulations that fail are recorded as such, and `open_data` leaves them out.

    **Arguments:** `setup`, one of `SETUPS`, such as `SETUPS["reduced"](receptors="nmda")`; `out`,
    the store; `seconds` of each simulation; `seed` of all input; `sampling`, `"default"` as
    published, or input unlike it, see `Sampling`; `chunk`, simulations that a device computes at a
    time, on a CPU by default 16 or as many as there are; `resume`, `memory` and `progress` as of
    `run_sweep`.
    **Returns:** counts and rate.
    **Raises:** `ValueError` for bad numbers; what `run_sweep` raises.
    """
    bins = round(seconds * 1000)
    if bins < 1 or n < 1:
        raise ValueError(f"n and seconds must be positive; got n = {n}, seconds = {seconds}")
    if sampling not in KINDS:
        raise ValueError(f"sampling must be one of {', '.join(KINDS)}; got {sampling!r}")
    devices = jax.local_devices()
    if chunk is None and memory is None and devices[0].platform == "cpu":
        chunk = min(16, math.ceil(n / len(devices)))
    program: dict[str, Any] = {
        "emulator": setup.meta(),
        "seconds": bins / 1000,
        "seed": seed,
        "kind": cast(str, sampling),
    }
    f = simulation(setup, bins, seed, sampling)
    return run_sweep(
        lambda labels: f,
        grid({"simulation": range(n)}),
        out,
        program=program,
        attributes=ATTRIBUTES,
        chunk=chunk,
        memory=memory,
        resume=resume,
        progress=progress,
    )
