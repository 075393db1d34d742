"""Recordings in `.npz`: our own, those of `save_traces`, and plain arrays `t`, `v` and `i`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdend._errors import RecordingError, SavedFileError
from jaxdend.files import read_arrays, write_npz as write_arrays
from jaxdend.recordings._recording import Recording
from jaxdend.recordings._units import Units, declared

_FORMAT = "jaxdend-recordings-1"


def read_npz(path: Path, units: Units | None) -> list[Recording]:
    """The sweeps of an archive; its arrays are ms, mV and nA unless `units` says otherwise.

    **Raises:** `RecordingError` for a file that is cut short or has other arrays.
    """
    try:
        arrays = read_arrays(path)
    except SavedFileError as error:
        raise RecordingError(f"{path.name}: not a complete .npz file: {error}") from error
    header = _header(path, arrays)
    if header.get("format") == _FORMAT:
        return [_own(path, i, about, arrays) for i, about in enumerate(header["sweeps"])]
    named = {name: arrays[name] for name in ("t", "v", "i") if name in arrays}
    if "ts" in arrays:
        named["t"] = arrays["ts"]
    if not {"t", "v"} <= set(named):
        raise RecordingError(
            f"{path.name}: needs arrays t (t,) ms and v (t, r) mV, and may have i (t, k) nA; it "
            f"has {', '.join(arrays) or 'none'}"
        )
    factors = [declared(units or ("ms", "mV", "nA"), which)[1] for which in range(3)]
    sites = arrays.get("sites")
    labels = () if sites is None else tuple(f"site {i}" for i in np.atleast_1d(sites))
    current = named["i"] * factors[2] if "i" in named else None
    return [
        _made(path.name, named["t"] * factors[0], named["v"] * factors[1], current, path.stem,
              labels)
    ]  # fmt: skip


def write_npz(recordings: Sequence[Recording], path: Path) -> None:
    """Write recordings whole, `meta` included, so that they come back bit for bit."""
    arrays, sweeps = {}, []
    for i, r in enumerate(recordings):
        arrays |= {f"{i}.t": r.ts, f"{i}.v": r.v}
        if r.current is not None:
            arrays[f"{i}.i"] = r.current
        about = ("name", "labels", "current_labels", "meta")
        sweeps.append({field: getattr(r, field) for field in about})
    try:
        write_arrays(path, {"format": _FORMAT, "sweeps": sweeps}, arrays)
    except TypeError as error:
        raise RecordingError(
            f"{path.name}: meta must be numbers, texts, lists and dicts: {error}"
        ) from error


def _header(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The description inside, or nothing."""
    try:
        header = json.loads(str(arrays["header"])) if "header" in arrays else {}
    except ValueError:
        return {}
    found = str(header.get("format", "")) if isinstance(header, dict) else ""
    if found.startswith("jaxdend-recordings-") and found != _FORMAT:
        raise RecordingError(
            f"{path.name}: has format {found!r}, this version of jaxdend reads {_FORMAT!r}"
        )
    return header if isinstance(header, dict) else {}


def _own(path: Path, i: int, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Recording:
    where = f"{path.name}, sweep {about.get('name', i)!r}"
    if missing := {f"{i}.t", f"{i}.v"} - set(arrays):
        raise RecordingError(f"{where}: misses {', '.join(sorted(missing))}")
    fields = (arrays[f"{i}.t"], arrays[f"{i}.v"], arrays.get(f"{i}.i"))
    names = (tuple(about["labels"]), tuple(about["current_labels"]))
    return _made(where, *fields, about["name"], *names, about["meta"])


def _made(where: str, *fields: Any) -> Recording:
    """A recording; its errors name the place."""
    try:
        return Recording(*fields)
    except (RecordingError, TypeError, ValueError) as error:
        raise RecordingError(f"{where}: {error}") from error
