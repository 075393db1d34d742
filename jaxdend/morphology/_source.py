"""Where a morphology comes from: a path or an open file, plain or gzipped, and its format."""

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxdend._errors import MorphologyError

FORMATS = {".swc": "swc", ".eswc": "swc", ".asc": "asc", ".h5": "h5"}
_HDF5, _GZIP = b"\x89HDF\r\n\x1a\n", b"\x1f\x8b"


@dataclass(frozen=True)
class Source:
    """The content of a file, with the names that errors and reports give it."""

    path: str  # as the user gave it, or the name of an open file
    name: str  # without its folder
    format: str  # swc, asc or h5
    data: bytes

    @property
    def text(self) -> str:
        """The content as text; what is not UTF-8 or UTF-16 by its mark is replaced."""
        wide = self.data[:2] in (b"\xff\xfe", b"\xfe\xff")
        return self.data.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def open_source(path: Any) -> Source:
    """Read a path or an open file, text or binary, whole.

    **Raises:** `MorphologyError` for a name with an unknown ending, or what cannot be read.
    """
    if hasattr(path, "read"):
        return _from_open_file(path)
    file = Path(path)
    format = _format(file)
    if format is None:
        raise MorphologyError(
            f"{file}: expected a name that ends in .swc, .asc or .h5 (or .eswc, and .gz behind "
            f"any of them), got {file.suffix or 'no ending'!r}. Convert the reconstruction to SWC, "
            "or open the file and give it in place of its name: its content then decides."
        )
    if not file.is_file():
        what = "this is a folder" if file.is_dir() else "there is no such file"
        raise MorphologyError(f"{file}: {what}. Relative paths start at {Path.cwd()}.")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise MorphologyError(f"{file}: cannot be read: {error.strerror}.") from None
    return Source(str(file), file.name, format, _unzipped(str(file), data))


def _from_open_file(file: Any) -> Source:
    """The rest of an open file; its content says the format where its name does not."""
    named = getattr(file, "name", None)
    path = os.fspath(named) if isinstance(named, str | os.PathLike) else "the open file"
    try:
        content = file.read()
    except OSError as error:
        raise MorphologyError(f"{path}: cannot be read: {error}.") from None
    except UnicodeDecodeError:
        raise MorphologyError(
            f"{path}: is open as text and holds something else. Open it with mode 'rb'."
        ) from None
    data = content.encode() if isinstance(content, str) else bytes(content)
    data = _unzipped(path, data)
    if not data.strip():
        raise MorphologyError(
            f"{path}: nothing is left to read. If it was read before, go back with file.seek(0)."
        )
    return Source(path, Path(path).name, _format(Path(path)) or _guess(data), data)


def _format(file: Path) -> str | None:
    bare = file.with_suffix("") if file.suffix.lower() == ".gz" else file
    return FORMATS.get(bare.suffix.lower())


def _unzipped(path: str, data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise MorphologyError(
            f"{path}: a damaged or cut off gzip file: {error}. Copy it again."
        ) from None


def _guess(data: bytes) -> str:
    """The format by content: HDF5 by its mark, ASC by its first bracket, else SWC."""
    if data.startswith(_HDF5):
        return "h5"
    lines = (line.strip() for line in data.removeprefix(b"\xef\xbb\xbf").splitlines())
    first = next((line for line in lines if line and not line.startswith((b";", b"#"))), b"")
    return "asc" if first.startswith(b"(") else "swc"
