"""The folder of a run: checkpoints of its state, and its history, which only grows."""

import os
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from jaxdend.checkpoints import Checkpoints
from jaxdend.fitting._space import Parameter, ParameterSpace

_HISTORY = "history.bin"

Rows = dict[str, np.ndarray]  # name -> (c, s, ...), what c steps of s starts or chains left behind


@dataclass(frozen=True)
class Part:
    """A run as far as it came (host arrays)."""

    rows: Rows  # name -> (k, s, ...), the history
    state: PyTree  # of arrays: what the next step starts from
    seconds: float = 0.0  # s, wall time so far
    interrupted: bool = False  # stopped by Ctrl-C or by the callback
    more: dict[str, Any] = field(default_factory=dict)  # what a method says of its state

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return len(next(iter(self.rows.values()))) if self.rows else 0


class RunFolder:
    """Saves a run of `s` starts or chains so that every step is written once.

    `history.bin` holds `s` records for every step, each with the values of all rows: of a fit, the
    loss of each start before its vector. A checkpoint says how many steps belong to it, and their
    checksum. Rows beyond, of a process that died before its next checkpoint, are overwritten by
    the next one.
    """

    steps: int  # that are saved

    def __init__(self, folder: str | os.PathLike[str], header: Mapping[str, Any] | None = None):
        self._checkpoints = Checkpoints(folder, header=header)
        self.header = self._checkpoints.header
        self.path = Path(folder)
        self.steps, self._crc = 0, 0

    @property
    def used(self) -> bool:
        """Whether a run has been saved here."""
        return self._checkpoints.latest() is not None

    def writing(self, *, wait: bool = False) -> AbstractContextManager[None]:
        """Write to the folder as the only run that does, see `Checkpoints.writing`."""
        return self._checkpoints.writing(wait=wait)

    def save(self, tree: dict[str, Any], rows: Rows) -> None:
        """Append `rows`, name -> `(c, s, ...)`, to the history, then write the checkpoint `tree`.

        **Raises:** `OSError` where the disk is full; what was saved before is intact.
        `BlockingIOError` where another run saves here, whose files stay as they are.
        """
        with self.writing(wait=True):
            self._save(tree, rows)

    def _save(self, tree: dict[str, Any], rows: Rows) -> None:
        kind = [(name, a.dtype.name, a.shape[2:]) for name, a in rows.items()]
        shape = next(iter(rows.values())).shape[:2] if rows else (0, 0)
        records = np.empty(shape, np.dtype(kind))
        for name, a in rows.items():
            records[name] = a
        content, row = records.tobytes(), records.dtype.itemsize * shape[1]
        try:
            mode = "r+b" if (self.path / _HISTORY).exists() else "w+b"
            with (self.path / _HISTORY).open(mode) as file:
                file.truncate(self.steps * row)
                file.seek(self.steps * row)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(
                f"the history of a run could not be written to {self.path}: {error}; the first "
                f"{self.steps} steps are saved"
            ) from error
        crc, done = zlib.crc32(content, self._crc), self.steps + shape[0]
        about = {"rows": done, "shape": shape[1:], "dtype": kind, "crc32": crc}
        self._checkpoints.save(done, {"history": about} | tree)
        self.steps, self._crc = done, crc

    def load(self) -> Part:
        """The newest sound checkpoint, its state as leaves.

        **Raises:** `ValueError` where none is left.
        """
        found: dict[str, Rows] = {}

        def check(tree: dict[str, Any]) -> None:
            found["rows"] = self._history(tree["history"])

        self.steps, tree = self._checkpoints.load(check=check)
        self._crc = tree.pop("history")["crc32"]
        named = {name: tree.pop(name) for name in ("state", "seconds", "interrupted")}
        return Part(found["rows"], **named, more=tree)

    def _history(self, about: dict[str, Any]) -> Rows:
        kind, shape = about["dtype"], (about["rows"], *about["shape"])
        if isinstance(kind, str):  # as `fit` wrote it at first: the same bytes
            kind, shape = [("losses", kind, ()), ("vectors", kind, (shape[-1] - 1,))], shape[:-1]
        dtype = np.dtype([(name, of, tuple(each)) for name, of, each in kind])
        size = dtype.itemsize * int(np.prod(shape))
        with (self.path / _HISTORY).open("rb") as file:
            content = file.read(size)
        if len(content) < size:
            raise ValueError(f"{_HISTORY} is cut short: {len(content)} of {size} bytes")
        if zlib.crc32(content) != about["crc32"]:
            raise ValueError(f"the bytes of {_HISTORY} are not those that were written")
        records = np.frombuffer(content, dtype).reshape(shape) if size else np.empty(shape, dtype)
        return {name: records[name].copy() for name, *_ in kind}


def is_saved(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run, as far as it came."""
    return Path(folder).is_dir() and any(Path(folder).iterdir()) and RunFolder(folder).used


def describe_space(space: ParameterSpace) -> list[dict[str, Any]]:
    """A parameter space as JSON has it."""
    return [
        {"name": name} | asdict(space[name]) | {"shape": list(space[name].shape)} for name in space
    ]


def read_space(entries: list[dict[str, Any]]) -> ParameterSpace:
    """The parameter space that `describe_space` described."""
    return ParameterSpace(
        {
            entry["name"]: Parameter(
                **{k: v for k, v in entry.items() if k not in ("name", "shape")},
                shape=tuple(entry["shape"]),
            )
            for entry in entries
        }
    )
