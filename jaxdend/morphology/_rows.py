"""The rows of an SWC file, read in one go, with line numbers only where one is asked for."""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from jaxdend._errors import MorphologyError
from jaxdend.morphology._options import REPAIRS
from jaxdend.morphology._report import Notes
from jaxdend.morphology._source import Source

COLUMNS = ("id", "type", "x", "y", "z", "radius", "parent")
_SHOWN = 5  # lines listed in an error


class Rows:
    """The samples of a file, `values (n, 7)`, and errors and remarks that point at their lines."""

    def __init__(self, source: Source, notes: Notes, repair: frozenset[str] = frozenset()):
        self.path = source.path
        self.notes = notes
        self.repair = repair
        self.text = source.text.splitlines()
        self._lines: np.ndarray | None = None
        self.values = self._parse()
        if not len(self.values):
            self.fail("no samples in it", "Each needs seven columns: " + " ".join(COLUMNS) + ".")

    def lines(self, rows: Sequence[int] | np.ndarray) -> list[int]:
        """The numbers of the lines that rows stand on, from 1."""
        if self._lines is None:
            self._lines = np.array([n for n, line in enumerate(self.text, 1) if _fields(line)])
        return self._lines[np.asarray(rows, int)].tolist()

    def keep(self, chosen: np.ndarray) -> None:
        """Leave out all rows but the chosen ones, `(n,)` bool."""
        self.lines([])
        lines = self._lines
        self.values = self.values[chosen]
        self._lines = None if lines is None else lines[chosen]

    def fail(
        self,
        problem: str,
        mend: str,
        rows: Sequence[int] | np.ndarray = (),
        repair: str = "",
    ) -> NoReturn:
        """Refuse the file, showing rows of it and the cure; `repair` would mend it."""
        rows = np.asarray(rows, int)
        shown = [f"  line {n}: {self.text[n - 1].strip()[:80]}" for n in self.lines(rows[:_SHOWN])]
        if len(rows) > _SHOWN:
            shown.append(f"  … and {len(rows) - _SHOWN} more")
        if repair:
            mend += f" Or read it with repair={repair!r}: {REPAIRS[repair]}."
        raise MorphologyError("\n".join([f"{self.path}: {problem}.", *shown, mend]))

    def _parse(self) -> np.ndarray:
        first = next((_fields(line) for line in self.text if _fields(line)), [])
        if not first:
            return np.empty((0, 7))
        if len(first) > 7:
            self.notes.note(f"{len(first) - 7} columns after the seventh are not read.")
        try:
            values = np.loadtxt(self.text, comments="#", usecols=range(7), ndmin=2)
            good = _is_sample(values)
            if good.all():
                return values
        except ValueError:
            pass
        return self._parse_line_by_line()

    def _parse_line_by_line(self) -> np.ndarray:
        """The values, slowly: lines that are no samples are refused, or left out if asked for."""
        values, numbers, bad = [], [], []
        for number, line in enumerate(self.text, start=1):
            fields = _fields(line)
            if not fields:
                continue
            problem, mend, row = _read_line(fields)
            if problem and "lines" not in self.repair:
                self._lines = np.array([number])
                self.fail(problem, mend, [0], "lines")
            if problem:
                bad.append(number)
            else:
                values.append(row)
                numbers.append(number)
        if bad:
            self.notes.note("these lines are no samples and are left out.", bad)
        self._lines = np.array(numbers, int)
        return np.array(values).reshape(-1, 7)


def _fields(line: str) -> list[str]:
    return line.split("#", 1)[0].split()


def _read_line(fields: list[str]) -> tuple[str, str, list[float]]:
    """What is wrong with a line, what to do about it, and its numbers."""
    if len(fields) < len(COLUMNS):
        return (
            f"expected seven columns ({' '.join(COLUMNS)}), got {len(fields)}",
            "Separate the columns by blanks, one sample a line; comments start with #.",
            [],
        )
    numbers = [_number(field) for field in fields[:7]]
    bad = next((i for i, number in enumerate(numbers) if number is None), None)
    if bad is not None:
        return (
            f"{COLUMNS[bad]} (column {bad + 1}) must be a number, got {fields[bad][:40]!r}",
            "Correct the field, or start the line with # if it is a comment.",
            [],
        )
    row = [number for number in numbers if number is not None]
    if not _is_sample(np.array([row]))[0]:
        whole = "id, type and parent must be whole numbers, the rest finite numbers"
        return whole, "Correct the line.", []
    return "", "", row


def _number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _is_sample(values: np.ndarray) -> np.ndarray:
    """Which rows have whole ids, types and parents and finite places; radii are seen to later."""
    whole = values[:, [0, 1, 6]]
    finite = np.isfinite(values[:, [0, 1, 2, 3, 4, 6]]).all(axis=1)
    with np.errstate(invalid="ignore"):
        return finite & (whole % 1 == 0).all(axis=1) & (np.abs(whole) < 2**53).all(axis=1)
