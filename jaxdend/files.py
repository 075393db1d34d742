"""Files that are there whole or not at all, whenever the process dies, and locks on folders."""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other runs from writing to a folder or file, which need not exist yet.

    The lock is a hidden file beside it, or in the folder where nothing can be written beside it.
    The system lets go of it whenever this process ends.

    **Raises:** `BlockingIOError` naming the process that holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    path = Path(path)
    file = _lock_file(path)
    while True:
        with file.open("a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                who = handle.read().strip() or "another process"
                raise BlockingIOError(
                    f"another run is writing to {path}: {who}. Wait until it has ended, or give "
                    "another place (--out)"
                ) from None
            except OSError:  # a file system without locks
                pass
            else:
                if not _is_there(file, handle):  # its owner has removed it since we opened it
                    continue
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}")
            handle.flush()
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
            return


def _lock_file(path: Path) -> Path:
    """Where the lock of a folder lies, whichever name of the folder is given."""
    path = path.resolve()
    if path.is_dir() and not os.access(path.parent, os.W_OK):
        return path / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.lock")


def _is_there(file: Path, handle: IO[str]) -> bool:
    """Whether an open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), file.stat())
    except FileNotFoundError:
        return False
