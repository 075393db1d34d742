"""Recordings in Neurodata Without Borders (NWB 2), through pynwb."""

import importlib
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdend._errors import RecordingError
from jaxdend.recordings._recording import Recording
from jaxdend.recordings._units import unit


class _Row(NamedTuple):
    """A response with its stimulus; rows of one `sweep` were measured together."""

    sweep: str
    response: Any  # CurrentClampSeries
    stimulus: Any  # CurrentClampStimulusSeries or None
    part: slice = slice(None)  # of the response's samples
    stimulus_part: slice = slice(None)


def read_nwb(path: Path) -> list[Recording]:
    """The current clamp sweeps of an `.nwb` file.

    **Raises:** `ImportError` without pynwb; `RecordingError` for a file that pynwb cannot read,
    without current clamp series, with other units or with responses and stimuli that do not fit.
    """
    pynwb = _pynwb()
    try:
        with pynwb.NWBHDF5IO(str(path), "r") as io:
            nwb = io.read()
            return [_recording(path, rows) for rows in _sweeps(path, nwb)]
    except RecordingError:
        raise
    except Exception as error:  # h5py and hdmf raise many kinds for a file cut short
        raise RecordingError(f"{path.name}: not a complete NWB file: {error}") from error


def write_nwb(recordings: Sequence[Recording], path: Path) -> None:
    """Write each recording as a simultaneous recording of the intracellular tables.

    Samples are stored in mV and nA with the conversion to volts and amperes that NWB asks for.
    """
    pynwb = _pynwb()
    nwb = pynwb.NWBFile(
        session_description="recordings written by jaxdend",
        identifier=path.stem,
        session_start_time=datetime(1970, 1, 1, tzinfo=UTC),
    )
    device = nwb.create_device(name="electrode")
    electrodes: dict[str, Any] = {}
    for number, r in enumerate(recordings):
        inputs = () if r.current is None else r.current.T
        rows = []
        for j in range(max(r.v.shape[1], len(inputs))):
            label = (*r.labels, *r.current_labels[len(r.labels) :])[j]
            if label not in electrodes:
                electrodes[label] = nwb.create_icephys_electrode(
                    name=label.replace("/", " "), description=label, device=device
                )
            common = {"electrode": electrodes[label], "sweep_number": np.uint32(number)} | _timing(
                r
            )
            stem = f"{number:04d}_{j}"
            row: dict[str, Any] = {"electrode": electrodes[label]}
            if j < r.v.shape[1]:
                row["response"] = pynwb.icephys.CurrentClampSeries(
                    name=f"v{stem}", data=r.v[:, j], conversion=1e-3, gain=1.0,
                    description=r.labels[j], comments=r.name or "no comments", **common,
                )  # fmt: skip
            if j < len(inputs):
                row["stimulus"] = pynwb.icephys.CurrentClampStimulusSeries(
                    name=f"i{stem}", data=inputs[j], conversion=1e-9, gain=1.0,
                    description=r.current_labels[j], **common,
                )  # fmt: skip
            rows.append(nwb.add_intracellular_recording(**row))
        nwb.add_icephys_simultaneous_recording(recordings=rows)
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)


def _pynwb() -> Any:
    try:
        return importlib.import_module("pynwb")
    except ImportError as error:
        raise ImportError('.nwb files need pynwb: pip install "jaxdend[recordings]"') from error


def _timing(r: Recording) -> dict[str, Any]:
    """Rate and start, or the times of an uneven recording; seconds."""
    try:
        return {"rate": r.rate, "starting_time": float(r.ts[0]) * 1e-3}
    except RecordingError:
        return {"timestamps": r.ts * 1e-3}


def _sweeps(path: Path, nwb: Any) -> list[list[_Row]]:
    """The rows of every sweep: those of the tables, then those that no table lists."""
    rows = _listed(nwb)
    known = {id(row.response) for row in rows} | {id(row.stimulus) for row in rows}
    series = [s for s in nwb.acquisition.values() if type(s).__name__ == "CurrentClampSeries"]
    stimuli = [
        s
        for s in nwb.stimulus.values()
        if type(s).__name__ == "CurrentClampStimulusSeries" and id(s) not in known
    ]
    free = [s for s in series if id(s) not in known]
    alone = len(free) == len(stimuli) == 1
    for response in free:
        number = response.sweep_number
        fit = [s for s in stimuli if number is not None and s.sweep_number == number]
        same = [s for s in fit if s.electrode is response.electrode]
        stimulus = next(iter(same or (fit if len(fit) == 1 else [])), stimuli[0] if alone else None)
        if stimulus is None and (stimuli if number is None else fit):
            warnings.warn(
                f"{path.name}, series {response.name!r}: neither a table nor a sweep number pairs "
                f"it with one of the {len(stimuli)} stimuli; its current is left out",
                stacklevel=4,
            )
        rows.append(_Row(response.name if number is None else f"{number}", response, stimulus))
    if not rows:
        found = {type(s).__name__ for s in nwb.acquisition.values()}
        raise RecordingError(
            f"{path.name}: no CurrentClampSeries; acquisition holds "
            f"{', '.join(sorted(found)) or 'nothing'}"
        )
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.sweep, []).append(row)
    return list(groups.values())


def _listed(nwb: Any) -> list[_Row]:
    """The current clamp rows of the intracellular recordings table."""
    table = nwb.intracellular_recordings
    if table is None:
        return []
    group = {i: f"row {i}" for i in range(len(table))}
    together = nwb.icephys_simultaneous_recordings
    index: Any = None if together is None else together["recordings"]
    for j in range(0 if together is None else len(together)):
        for i in np.asarray(index.target.data)[_span(index, j)]:
            group[int(i)] = f"{j}"
    rows = []
    for i in range(len(table)):
        answer = table.category_tables["responses"]["response"].data[i]
        asked = table.category_tables["stimuli"]["stimulus"].data[i]
        response, part = _reference(answer)
        stimulus, stimulus_part = _reference(asked)
        kinds = type(response).__name__, type(stimulus).__name__
        if kinds[0] == "CurrentClampSeries" or (
            response is None and kinds[1] == "CurrentClampStimulusSeries"
        ):
            stimulus = stimulus if kinds[1] == "CurrentClampStimulusSeries" else None
            rows.append(_Row(group[i], response, stimulus, part, stimulus_part))
    return rows


def _span(index: Any, j: int) -> slice:
    """Where row `j` of an indexed column lies."""
    ends = np.asarray(index.data)
    return slice(int(ends[j - 1]) if j else 0, int(ends[j]))


def _reference(entry: Any) -> tuple[Any, slice]:
    """A series and the part of it that a row of the table means; none where the count is 0."""
    start, count, series = entry[0], entry[1], entry[2]
    if series is None or count < 0:
        return None, slice(None)
    return series, slice(int(start), int(start) + int(count))


def _recording(path: Path, rows: list[_Row]) -> Recording:
    answered = [row for row in rows if row.response is not None]
    if not answered:
        raise RecordingError(f"{path.name}, sweep {rows[0].sweep}: a stimulus without a response")
    first = answered[0].response
    where = f"{path.name}, sweep {rows[0].sweep} ({first.name})"
    ts = _times(first, answered[0].part, where)
    v, labels, currents, current_labels = [], [], [], []
    for row in answered:
        values = _values(row.response, row.part, "voltage", where)
        if len(values) != len(ts) or not np.allclose(_times(row.response, row.part, where), ts):
            raise RecordingError(
                f"{where}: {row.response.name} ({len(values)} samples) was sampled at other times "
                f"than {first.name} ({len(ts)})"
            )
        v.append(values)
        labels.append(_label(row.response))
    for row in rows:
        if row.stimulus is not None:
            values = _values(row.stimulus, row.stimulus_part, "current", where)
            times = _times(row.stimulus, row.stimulus_part, where)
            currents.append(_onto(ts, times, values, f"{where}: stimulus {row.stimulus.name}"))
            current_labels.append(_label(row.stimulus))
    try:
        return Recording(
            (ts - ts[0]) * 1e3,
            np.stack(v, axis=1),
            np.stack(currents, axis=1) if currents else None,
            first.comments if first.comments not in ("no comments", "") else rows[0].sweep,
            tuple(labels),
            tuple(current_labels),
            {"start_s": float(ts[0])} | _settings(first),
        )
    except RecordingError as error:
        raise RecordingError(f"{where}: {error}") from error


def _times(series: Any, part: slice, where: str) -> np.ndarray:
    """The times of the samples in seconds."""
    if series.timestamps is not None:
        ts = np.asarray(series.timestamps, float)[part]
    elif series.rate:
        count = np.arange(len(series.data))[part]
        ts = (series.starting_time or 0.0) + count / series.rate
    else:
        raise RecordingError(f"{where}: {series.name} has neither a rate nor timestamps")
    if len(ts) == 0:
        raise RecordingError(f"{where}: {series.name} holds no samples")
    return ts


def _values(series: Any, part: slice, quantity: str, where: str) -> np.ndarray:
    """`(t,)` mV or nA: stored times the conversion, plus the offset, in the unit of the series."""
    found, factor = unit(str(series.unit), f"{where}: {series.name}")
    if found != quantity:
        raise RecordingError(
            f"{where}: {series.name} is in {series.unit}, expected a unit of {quantity}"
        )
    data = np.asarray(series.data, float)[part]
    if data.ndim != 1:
        raise RecordingError(f"{where}: {series.name} has shape {data.shape}, expected (t,)")
    # factors first: mV that were stored as mV with conversion 1e-3 come back bit for bit
    return data * (series.conversion * factor) + (series.offset or 0.0) * factor


def _onto(ts: np.ndarray, times: np.ndarray, values: np.ndarray, where: str) -> np.ndarray:
    """A stimulus at the times of its response."""
    if len(times) == len(ts) and np.allclose(times, ts, rtol=0.0, atol=1e-7):
        return values
    step = (ts[-1] - ts[0]) / max(len(ts) - 1, 1)
    if times[0] > ts[0] + step or times[-1] < ts[-1] - step:
        raise RecordingError(
            f"{where} covers {times[0]:g} to {times[-1]:g} s, its response {ts[0]:g} to "
            f"{ts[-1]:g} s: lengths do not fit"
        )
    return np.interp(ts, times, values)


def _label(series: Any) -> str:
    named = series.description not in ("no description", "")
    return str(series.description if named else series.electrode.name)


def _settings(series: Any) -> dict[str, float]:
    """What the amplifier compensated, in the file's units."""
    names = ("bias_current", "bridge_balance", "capacitance_compensation", "gain")
    found = {name: getattr(series, name, None) for name in names}
    return {name: float(value) for name, value in found.items() if value is not None}
