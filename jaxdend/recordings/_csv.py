"""Recordings in text: one column of times, voltages and currents, units in the header."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxdend._errors import RecordingError
from jaxdend.recordings._recording import Recording
from jaxdend.recordings._units import MILLI, Units, declared, unit

Lines = list[tuple[int, list[str]]]  # number of each line, and its fields
Column = tuple[str, str, float]  # label, quantity, factor to ms, mV or nA

_HEADING = re.compile(r"^(?P<label>.*?)\s*[(\[]\s*(?P<unit>[^()\[\]]*)\s*[)\]]$")
_CURRENT = re.compile(r"^(i|cmd|stim|curr|inj)", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')
_SEPARATORS = "\t;,"


def read_csv(path: Path, units: Units | None) -> list[Recording]:
    """The sweeps of a text file.

    **Raises:** `RecordingError` naming the line and the column.
    """
    header, rows, start = _table(path)
    if not rows:
        raise RecordingError(f"{path.name}: the file holds no samples")
    columns = _columns(path, header, len(rows[0][1]), start, units)
    names = [label for label, quantity, _ in columns if quantity == "sweep"]
    for what in ("time", "voltage"):
        count = sum(quantity == what for _, quantity, _ in columns)
        if count == 0 or (what == "time" and count > 1):
            raise RecordingError(
                f"{path.name}, line {start}: expected one column of times and at least one of "
                f"voltages, got {count} of {what}: {', '.join(label for label, _, _ in columns)}"
            )
    sweeps: dict[str, Lines] = {}
    at = [quantity for _, quantity, _ in columns].index("sweep") if names else None
    last = None
    for number, fields in rows:
        name = path.stem if at is None else fields[at].strip()
        if name != last and name in sweeps:
            raise RecordingError(
                f"{path.name}, line {number}: sweep {name!r} comes again; keep each sweep's lines "
                "together"
            )
        sweeps.setdefault(name, []).append((number, fields))
        last = name
    return [_recording(path, name, columns, lines) for name, lines in sweeps.items()]


def write_csv(recordings: Sequence[Recording], path: Path) -> None:
    """Write a table, with a column `sweep` for several recordings. `meta` is not kept."""
    first = recordings[0]
    shape = (first.labels, first.current_labels)
    names = [r.name for r in recordings]
    for r in recordings:
        if (r.labels, r.current_labels) != shape:
            raise RecordingError(
                f"{path.name}: sweep {r.name!r} has other traces than {first.name!r}; a text file "
                "has the same columns throughout. Write .npz or .nwb, or one file each"
            )
    if len(set(names)) < len(names):
        raise RecordingError(f"{path.name}: sweeps need names that differ, got {names}")
    several = len(recordings) > 1
    header = ["t (ms)", *(f"{label} (mV)" for label in first.labels)]
    header += [f"{label} (nA)" for label in first.current_labels]
    header += ["sweep"] if several else []
    with path.open("w", newline="", encoding="utf-8") as file:
        clear = not any(s in text for s in "\t;" for text in header + names)
        quoting = csv.QUOTE_MINIMAL if clear else csv.QUOTE_NONNUMERIC
        writer = csv.writer(file, lineterminator="\n", quoting=quoting)
        writer.writerow(header)
        for r in recordings:
            parts = [r.ts[:, None], r.v, *([] if r.current is None else [r.current])]
            for row in np.concatenate(parts, axis=1).tolist():
                writer.writerow([*row, r.name] if several else row)


def _table(path: Path) -> tuple[list[str], Lines, int]:
    """Fields of the header (none: an empty list), the lines of samples, the header's line."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # a µ as older programs on Windows write it
    lines = [(i + 1, line.strip("\r\n")) for i, line in enumerate(text.split("\n"))]
    filled = [(i, line) for i, line in lines if line.strip()]
    comments = [(i, line.lstrip("# \t")) for i, line in filled if line.lstrip().startswith("#")]
    body = [(i, line) for i, line in filled if not line.lstrip().startswith("#")]
    if not body:
        raise RecordingError(f"{path.name}: the file is empty")
    ends = [_QUOTED.sub("", body[i][1]) for i in (0, -1)]
    separator = next((s for s in _SEPARATORS if all(s in line for line in ends)), ",")
    try:
        fields = list(csv.reader([line for _, line in body], delimiter=separator, strict=True))
    except csv.Error as error:
        raise RecordingError(f"{path.name}: not a table of columns: {error}") from error
    if len(fields) != len(body):
        raise RecordingError(f"{path.name}: a quoted field runs over the end of its line")
    if separator != ",":  # then it may be the decimal mark
        fields = [[cell.replace(",", ".") for cell in row] for row in fields]
    rows = [(i, row) for (i, _), row in zip(body, fields, strict=True)]
    before = [(i, line.split(separator)) for i, line in comments if i < rows[0][0]]
    if any(_is_number(cell) for cell in rows[0][1]):  # samples from the first line on
        start, header = before[-1] if before else (rows[0][0], [])
        return (header if len(header) == len(rows[0][1]) else []), rows, start
    return rows[0][1], rows[1:], rows[0][0]


def _columns(
    path: Path, header: list[str], width: int, line: int, units: Units | None
) -> list[Column]:
    """What each column holds, from the header or, where it states no unit, from `units`."""
    out = []
    for i, heading in enumerate(header or [""] * width):
        where = f"{path.name}, line {line}, column {i + 1} ({heading.strip()!r})"
        match = _HEADING.match(heading.strip())
        label = match["label"].strip() if match else heading.strip()
        if label.lower() == "sweep" and match is None:
            out.append((label, "sweep", 1.0))
        elif match:
            out.append((label, *unit(match["unit"], where)))
        elif units is None:
            raise RecordingError(
                f"{where} states no unit. Write a header such as 't (ms), soma (mV), i (nA)', or "
                "pass units=('ms', 'mV', 'nA') for times, voltages and currents"
            )
        else:
            timed = any(quantity == "time" for _, quantity, _ in out)
            which = 0 if not timed else 2 if _CURRENT.match(label) else 1
            out.append((label or f"v{i - 1}", *declared(units, which)))
    return out


def _recording(path: Path, name: str, columns: list[Column], lines: Lines) -> Recording:
    kept = [i for i, (_, quantity, _) in enumerate(columns) if quantity != "sweep"]
    table = np.empty((len(lines), len(kept)))
    for row, (number, fields) in zip(table, lines, strict=True):
        if len(fields) != len(columns):
            end = "; was the file cut short?" if number == lines[-1][0] else ""
            raise RecordingError(
                f"{path.name}, line {number}: expected {len(columns)} columns, "
                f"got {len(fields)}{end}"
            )
        try:
            row[:] = [float(fields[i]) for i in kept]
            finite = np.isfinite(row).all()
        except ValueError:
            finite = False
        if not finite:
            raise _not_a_number(path, number, columns, fields, kept)
    whole = dict(zip(kept, table.T, strict=True))
    parts = {
        what: [whole[i] * factor for i, (_, q, factor) in enumerate(columns) if q == what]
        for what in MILLI
    }
    labels = {what: tuple(label for label, q, _ in columns if q == what) for what in MILLI}
    ts = parts["time"][0]
    back = np.flatnonzero(np.diff(ts) <= 0)
    if len(back):
        i = int(back[0])
        raise RecordingError(
            f"{path.name}, line {lines[i + 1][0]}: the times must increase, got {ts[i + 1]:g} ms "
            f"after {ts[i]:g} ms"
        )
    if len(ts) < 2:
        raise RecordingError(f"{path.name}, sweep {name!r}: expected at least two samples, got 1")
    current = np.stack(parts["current"], axis=1) if parts["current"] else None
    return Recording(
        ts, np.stack(parts["voltage"], axis=1), current, name, labels["voltage"], labels["current"]
    )


def _not_a_number(
    path: Path, number: int, columns: list[Column], fields: list[str], kept: list[int]
) -> RecordingError:
    for i in kept:
        if not (_is_number(fields[i]) and np.isfinite(float(fields[i]))):
            return RecordingError(
                f"{path.name}, line {number}, column {i + 1} ({columns[i][0]!r}): "
                f"{fields[i].strip()!r} is not a number; all samples must be (not numbers: NaN, "
                "empty fields)"
            )
    return RecordingError(f"{path.name}, line {number}: not numbers")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
