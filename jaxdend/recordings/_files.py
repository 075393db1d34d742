"""`read_recordings` and `write_recordings`: the format is the file's suffix."""

import os
from collections.abc import Sequence
from pathlib import Path

from jaxdend._errors import RecordingError
from jaxdend.recordings._abf import read_abf
from jaxdend.recordings._csv import read_csv, write_csv
from jaxdend.recordings._npz import read_npz, write_npz
from jaxdend.recordings._nwb import read_nwb, write_nwb
from jaxdend.recordings._recording import Recording
from jaxdend.recordings._units import Units, check_plausible

_TEXT = (".csv", ".tsv", ".txt")


def read_recordings(
    path: str | os.PathLike[str], *, units: Units | None = None, check: bool = True
) -> list[Recording]:
    """The sweeps of a file, in its order, in ms, mV and nA.

    - `.csv`, `.tsv`, `.txt`: a header with units such as `t (ms), soma (mV), i (nA)`, in any of
        s, ms, µs, V, mV, µV, A, µA, nA, pA; separated by `,`, `;` or tabs; a comma may be the
        decimal mark where it does not separate. A column `sweep` tells several sweeps apart. Lines
        that start with `#` are comments; the last before the samples may be the header.
    - `.npz`: what `write_recordings` and `save_traces` write, or arrays `t (t,)`, `v (t, r)` and
        `i (t, k)`, which are ms, mV and nA.
    - `.nwb`: current clamp series with their stimuli, paired by the intracellular tables, or by
        sweep number. Each sweep starts at 0; `meta["start_s"]` is where it did in the file. Needs
        `pip install "jaxdend[recordings]"`.
    - `.abf`: channels in volts and amperes; where no current was recorded, the command. Needs
        `pip install "jaxdend[abf]"`.

    **Arguments:** `units` of times, voltages and currents, for text whose header states none and
    for plain arrays; `check=False` accepts numbers that look like another unit.

    **Raises:** `FileNotFoundError`; `RecordingError` naming the file and the line and column or
    the sweep: unknown, missing or mistaken units, times that do not increase, samples that are not
    numbers, ragged or empty files, files cut short; `ImportError` without the extra.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if path.stat().st_size == 0:
        raise RecordingError(f"{path.name}: the file is empty")
    if suffix in _TEXT:
        recordings = read_csv(path, units)
    elif suffix == ".npz":
        recordings = read_npz(path, units)
    elif suffix == ".nwb":
        recordings = read_nwb(path)
    elif suffix == ".abf":
        recordings = read_abf(path)
    else:
        raise RecordingError(f"{path.name}: expected a .csv, .tsv, .txt, .npz, .nwb or .abf file")
    if check:
        for recording in recordings:
            check_plausible(recording, f"{path.name}, sweep {recording.name!r}")
    return recordings


def write_recordings(
    recordings: Recording | Sequence[Recording], path: str | os.PathLike[str]
) -> Path:
    """Write sweeps to a `.csv`, `.npz` or `.nwb` file, whole or not at all; returns its path.

    `.npz` keeps everything bit for bit; text has all digits but no `meta`; NWB the samples bit for
    bit, the times to rounding, each sweep counted from its start.

    **Raises:** `RecordingError` for another suffix, no recordings, or what the format cannot hold.
    """
    path = Path(path)
    writers = {".csv": write_csv, ".npz": write_npz, ".nwb": write_nwb}
    listed = [recordings] if isinstance(recordings, Recording) else list(recordings)
    if path.suffix.lower() not in writers:
        raise RecordingError(f"{path.name}: recordings are written to .csv, .npz or .nwb")
    if not listed:
        raise RecordingError(f"{path.name}: there are no recordings to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        writers[path.suffix.lower()](listed, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
