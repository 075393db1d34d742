"""Recordings in Axon Binary Format, through pyabf."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxdend._errors import RecordingError
from jaxdend.recordings._recording import Recording
from jaxdend.recordings._units import unit


def read_abf(path: Path) -> list[Recording]:
    """The sweeps of an `.abf` file, version 1 or 2.

    **Raises:** `ImportError` without pyabf; `RecordingError` for a file that pyabf cannot read or
    that holds no voltage.
    """
    try:
        import pyabf
    except ImportError as error:
        raise ImportError('.abf files need pyabf: pip install "jaxdend[abf]"') from error
    try:
        abf = pyabf.ABF(str(path))
        return [_sweep(path, abf, number) for number in abf.sweepList]
    except RecordingError:
        raise
    except Exception as error:  # pyabf raises bare exceptions, and whatever struct and numpy do
        raise RecordingError(f"{path.name}: not a complete .abf file: {error}") from error


def _sweep(path: Path, abf: Any, number: int) -> Recording:
    where = f"{path.name}, sweep {number}"
    kinds: dict[str, list[tuple[str, np.ndarray]]] = {"voltage": [], "current": []}
    command: list[tuple[str, np.ndarray]] = []
    ts = np.zeros(0)
    for channel in abf.channelList:
        abf.setSweep(number, channel=channel)
        label = str(abf.adcNames[channel]).strip(" \x00") or f"channel {channel}"
        quantity, factor = unit(abf.sweepUnitsY, f"{where}, channel {channel} ({label!r})")
        kinds.setdefault(quantity, []).append((label, np.array(abf.sweepY, float) * factor))
        ts = np.array(abf.sweepX, float) * 1e3
        if abf.sweepUnitsC in ("pA", "nA", "uA", "A"):
            values = np.array(abf.sweepC, float) * unit(abf.sweepUnitsC, where)[1]
            if np.isfinite(values).all():  # pyabf gives NaN for a protocol that it does not know
                command.append((f"command {channel}", values))
    if not kinds["voltage"]:
        raise RecordingError(f"{where}: no channel of voltages; is it a voltage clamp recording?")
    currents = kinds["current"] or command
    try:
        return Recording(
            ts - ts[0],
            np.stack([y for _, y in kinds["voltage"]], axis=1),
            np.stack([y for _, y in currents], axis=1) if currents else None,
            str(number),
            tuple(label for label, _ in kinds["voltage"]),
            tuple(label for label, _ in currents),
            {"protocol": str(abf.protocol), "abf": str(abf.abfVersionString)},
        )
    except RecordingError as error:
        raise RecordingError(f"{where}: {error}") from error
