"""A neuron as a deep network: simulate it, train a network to predict it, and measure its depth.

After Beniaguev, Segev & London (2021), Neuron 109:2727. A detailed cell is driven by random
synaptic input, one bit for each synapse and millisecond; a causal network learns the soma's
voltage and its spikes; how deep it must be says how much the dendrites compute.

- `data`: random input, cells to drive (`SETUPS`), `generate` into a store, `open_data`.
- `networks`: causal convolutions (`TCN`), one unit (`UnitNet`), the `ELM` neuron.
- `training`: `train`, which goes on where it stopped; `evaluate`; schedules.
- `interpretation`: what the first layer looks for, laid over time and the tree.
- `experiments`: the published ones, scaled to a budget of time.
- `Emulator`: a trained network in place of the cell; `speed` measures what that saves.

Everywhere, inputs are `(..., bins, k)` of 0 and 1 in bins of 1 ms, excitatory synapses first;
voltages `(..., bins)` mV; spikes `(..., bins)` of 0 and 1; dendrites `(..., bins, d)` mV.
"""

import importlib
from typing import Any

_MODULES = ("data", "experiments", "interpretation", "networks", "training")
_NAMES = ("Emulator", "Speed", "speed")


def __getattr__(name: str) -> Any:
    """Modules and names, imported when they are first used: figures need networks but no sweeps."""
    if name in _MODULES:
        return importlib.import_module(f"jaxdend.emulator.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module("jaxdend.emulator._emulator"), name)
    raise AttributeError(f"module 'jaxdend.emulator' has no attribute {name!r}")
