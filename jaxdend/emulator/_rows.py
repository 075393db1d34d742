"""What is measured of a trained network, as numbers for a table, and how tables are written."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from jaxdend.emulator._base import AbstractNetwork
from jaxdend.emulator._dataset import Dataset
from jaxdend.emulator._emulator import Emulator
from jaxdend.emulator.interpretation import (
    SELECTIVE,
    preferred_direction,
    templates,
    tuft_mass,
    tuft_share,
    unit_exponentials,
)
from jaxdend.emulator.networks import TCN, UnitNet
from jaxdend.emulator.training import DISCARD, MAX_SPIKES, evaluate
from jaxdend.files import write_whole

SMOOTH = 9  # ms, over which templates are averaged before their mass is taken


def measured(net: AbstractNetwork, data: Dataset) -> dict[str, float]:
    """The metrics of `net` on `data` as published; nothing where no spike is left to predict.

    Where every simulation has more spikes than the publication evaluates, all of them count.
    """
    discard = DISCARD if data.bins > DISCARD else 0
    spikes = np.asarray(data.spikes[:], bool)
    few = spikes.sum(axis=1) <= MAX_SPIKES
    most = MAX_SPIKES if few.any() else None
    left = spikes[few if few.any() else slice(None), discard:]
    if not left.any():
        return {}
    return evaluate(net, data, discard=discard, max_spikes=most).row()


def first_layer(twin: Emulator) -> dict[str, float]:
    """Measures a first layer: exponentials of one unit, tuft mass or direction of a TCN."""
    net, meta = twin.net, twin.meta
    if isinstance(net, UnitNet):
        exc, inh = unit_exponentials(net, int(meta["exc"]))
        return {
            "tau_exc": exc.tau, "tau_inh": inh.tau,
            "amplitude_exc": exc.amplitude, "amplitude_inh": inh.amplitude,
        }  # fmt: skip
    if isinstance(net, TCN) and "inward" in meta:
        index = preferred_direction(net, meta["inward"])
        index = index[np.isfinite(index)]
        return {
            "direction": float(index[np.abs(index).argmax()]),
            "selective": int((np.abs(index) >= SELECTIVE).sum()),
            "filters": len(index),
        }
    if isinstance(net, TCN) and "tuft" in meta["region"]:
        mass = tuft_mass(templates(net), meta, smooth=SMOOTH)
        return {"tuft_mass": mass, "tuft_share": tuft_share(meta)}
    return {}


def finite(row: dict[str, Any]) -> dict[str, Any]:
    """`row` with `None` for NaN and infinity, which JSON does not have."""
    return {k: None if isinstance(x, float) and not math.isfinite(x) else x for k, x in row.items()}


def filled(row: dict[str, Any]) -> dict[str, Any]:
    """`row` with NaN for the `None` that stands for it in JSON."""
    return {k: math.nan if x is None else x for k, x in row.items()}


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    write_whole(path, json.dumps(content, indent=1) + "\n")
