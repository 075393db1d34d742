"""Files that are there whole or not at all, whenever the process dies."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write a small file, text as UTF-8, and its folder where that is missing.

    **Returns:** the path.
    """
    data = content.encode() if isinstance(content, str) else content
    return _replace(Path(path), lambda file: file.write(data))


def write_npz(
    path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, Any]
) -> Path:
    """Write named arrays, compressed, and what JSON says of them as the array `header`.

    **Returns:** the path written (`.npz` is appended where it is missing).

    **Raises:** `TypeError` for a header that JSON cannot hold.
    """
    path = Path(path)
    path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
    everything: dict[str, Any] = {"header": np.array(json.dumps(header))} | dict(arrays)
    return _replace(path, lambda file: np.savez_compressed(file, **everything))


def _replace(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return path
