"""The folder of a running fit: checkpoints of its state, and its history, which only grows."""

import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from jaxdend.checkpoints import Checkpoints
from jaxdend.fitting._space import Parameter, ParameterSpace

_HISTORY = "history.bin"


class RunFolder:
    """Saves a fit of `s` starts so that every step is written once.

    `history.bin` holds a row `(s, 1 + p)` for every step: the loss of each start before its
    vector. A checkpoint says how many rows belong to it, and their checksum. Rows beyond, of a
    process that died before its next checkpoint, are overwritten by the next one.
    """

    steps: int  # that are saved

    def __init__(self, folder: str | os.PathLike[str], header: Mapping[str, Any] | None = None):
        self._checkpoints = Checkpoints(folder, header=header)
        self.header = self._checkpoints.header
        self.path = Path(folder)
        self.steps, self._crc = 0, 0

    @property
    def used(self) -> bool:
        """Whether a fit has been saved here."""
        return self._checkpoints.latest() is not None

    def save(self, tree: dict[str, Any], losses: np.ndarray, vectors: np.ndarray) -> None:
        """Append rows `(c, s)` and `(c, s, p)` to the history, then write the checkpoint `tree`.

        **Raises:** `OSError` where the disk is full; what was saved before is intact.
        """
        rows = np.concatenate([losses[..., None], vectors], axis=-1)
        content, row = rows.tobytes(), rows[:1].nbytes
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
                f"the history of a fit could not be written to {self.path}: {error}; the first "
                f"{self.steps} steps are saved"
            ) from error
        crc = zlib.crc32(content, self._crc)
        done = self.steps + len(rows)
        about = {"rows": done, "shape": rows.shape[1:], "dtype": rows.dtype.name, "crc32": crc}
        self._checkpoints.save(done, {"history": about} | tree)
        self.steps, self._crc = done, crc

    def load(self) -> dict[str, Any]:
        """The newest sound checkpoint, with its `losses (k, s)` and `vectors (k, s, p)`.

        **Raises:** `ValueError` where none is left.
        """
        found: dict[str, Any] = {}

        def check(tree: dict[str, Any]) -> None:
            found["rows"] = self._history(tree["history"])

        self.steps, tree = self._checkpoints.load(check=check)
        self._crc = tree["history"]["crc32"]
        rows = found["rows"]
        return tree | {"losses": rows[..., 0].copy(), "vectors": rows[..., 1:].copy()}

    def _history(self, about: dict[str, Any]) -> np.ndarray:
        dtype, shape = np.dtype(about["dtype"]), (about["rows"], *about["shape"])
        size = dtype.itemsize * int(np.prod(shape))
        with (self.path / _HISTORY).open("rb") as file:
            content = file.read(size)
        if len(content) < size:
            raise ValueError(f"{_HISTORY} is cut short: {len(content)} of {size} bytes")
        if zlib.crc32(content) != about["crc32"]:
            raise ValueError(f"the bytes of {_HISTORY} are not those that were written")
        return np.frombuffer(content, dtype).reshape(shape)


def is_saved(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a fit, as far as it came."""
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
