"""Files that are there whole or not at all, whenever the process dies; locks on folders."""

import io
import json
import math
import os
import socket
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxdend._errors import SavedFileError

_HEADER = "header"  # the array of an `.npz` file that holds its description as JSON
_DEFLATE = 1032  # how many times smaller compression makes a file at best
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


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
    return write_arrays(path, {_HEADER: np.array(json.dumps(header))} | dict(arrays))


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> Path:
    """Write named arrays, compressed, without a header: for other programs to read.

    **Returns:** the path written (`.npz` is appended where it is missing).
    """
    path, everything = Path(path), dict(arrays)
    path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
    return _replace(path, lambda file: np.savez_compressed(file, **everything))


def read_npz(
    path: str | os.PathLike[str], what: str, form: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a file that `write_npz` wrote, every byte of them checked.

    **Arguments:** `what` such a file is called in messages, such as `"cell file"`; `form`, the
    entry `format` that its header must have, a name with a version: `"jaxdend-cell-1"`.

    **Raises:** `FileNotFoundError`; `SavedFileError` for a file that is cut short, damaged, of
    another format or something else, or whose arrays are not numbers.
    """
    arrays = read_arrays(path, what)
    with complete(path, what):
        header = json.loads(arrays.pop(_HEADER).item())
        found = str(header["format"])
        if found == form:
            for name, array in arrays.items():
                refuse_array(name, array)
            return header, arrays
    ours, kind = form.rsplit("-", 1)[0], what.split()[0]
    known = f"which is not {'an' if kind[0] in 'aeiou' else 'a'} {kind}'" + "s" * (kind[-1] != "s")
    known = "of another version of jaxdend" if found.startswith(ours) else known
    raise SavedFileError(
        f"{path} has format {found!r}, {known}; this version reads {form!r}. Save it again with "
        "this version"
    )


def read_arrays(path: str | os.PathLike[str], what: str = "array file") -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file, numbers or texts, name -> array.

    An array must be as long as its description says, which is compared before memory is taken.

    **Raises:** `FileNotFoundError`; `SavedFileError` for a file that is cut short, damaged or
    something else, or has arrays of Python objects.
    """
    with complete(path, what), zipfile.ZipFile(path) as archive:
        arrays = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename or name in arrays:
                raise ValueError(f"{info.filename} is no array, or is there twice")
            arrays[name] = _member(archive, info)
        return arrays


@contextmanager
def complete(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into a `SavedFileError` with its path."""
    try:
        yield
    except (FileNotFoundError, SavedFileError):
        raise
    except Exception as error:  # zipfile, zlib, json and numpy have each their own
        reason = f"{type(error).__name__}: {error}"[:500]
        raise SavedFileError(f"{path} is not a complete {what}: {reason}") from error


def numbered(arrays: dict[str, np.ndarray], name: str, count: Any) -> list[np.ndarray]:
    """Take the arrays `name_0` to `name_{count - 1}` out of `arrays`.

    **Raises:** `ValueError` where there are not so many.
    """
    there = sum(found.startswith(name + "_") for found in arrays)
    if type(count) is not int or count != there:
        raise ValueError(f"it says that there are {count!r} arrays {name}_0, ...; it has {there}")
    return [arrays.pop(f"{name}_{i}") for i in range(count)]


def refuse_array(name: str, array: np.ndarray) -> None:
    """Refuse an array that is not of bools, integers, or numbers of 32 or 64 bits.

    **Raises:** `ValueError` naming the array.
    """
    each = array.dtype.itemsize // (2 if array.dtype.kind == "c" else 1)
    if array.dtype.kind not in "biufc" or (array.dtype.kind in "fc" and each not in (4, 8)):
        raise ValueError(
            f"the array {name} is of {array.dtype}; expected bools, integers, or numbers of 32 or "
            "64 bits"
        )


@contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = False) -> Iterator[None]:
    """Keep other runs from writing to a folder or file, which need not exist yet.

    The lock is a hidden file beside it, or in the folder where nothing can be written beside it.
    The system lets go of it whenever this process ends. `wait` until another run lets go of it.

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
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
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


def _replace(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return path


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array of an archive, after its checksum was compared."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise ValueError(f"{info.filename} is packed in a way in which jaxdend does not write")
    if info.file_size > _DEFLATE * (info.compress_size + 1):
        raise ValueError(
            f"{info.filename} claims {info.file_size} bytes in {info.compress_size}, more than "
            "compression can do"
        )
    content = archive.read(info)
    file = io.BytesIO(content)
    shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    begin, count = file.tell(), math.prod(shape)
    if dtype.kind not in "biufcU":
        raise ValueError(
            f"{info.filename} is of {dtype}; only numbers and texts are read (allow_pickle=False)"
        )
    if count * dtype.itemsize != len(content) - begin:
        raise ValueError(
            f"{info.filename} claims the shape {shape} of {dtype}, {count * dtype.itemsize} bytes; "
            f"it has {len(content) - begin}"
        )
    flat = np.frombuffer(content, dtype, count, begin) if count else np.empty(0, dtype)
    order: Any = "F" if fortran else "C"
    return np.array(flat.reshape(shape, order=order), dtype.newbyteorder("="))
