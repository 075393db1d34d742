"""The store of a sweep: one zarr group, whole after every write, readable while it grows."""

import dataclasses
import errno
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from jaxdend._errors import SavedFileError

FORMAT = "jaxdend sweep"
VERSION = 1
NOT_DONE, OK, NOT_FINITE, FAILED = 0, 1, 2, 3
STATUS = {
    NOT_DONE: "not_done",
    OK: "ok",
    NOT_FINITE: "not_finite",
    FAILED: "simulation_failed",
}
_KEY = "jaxdend"  # the attribute that holds the header
_AXES = "jaxdend_axes"  # the one that names the arrays that are coordinates


@dataclasses.dataclass(frozen=True)
class Field:
    """An array of a store, described without its point axis."""

    shape: tuple[int, ...]
    dtype: str  # numpy's name of it
    attrs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def header(self) -> dict[str, Any]:
        """The description that identifies the array, as JSON has it."""
        return {"shape": list(self.shape), "dtype": self.dtype}


@dataclasses.dataclass(frozen=True)
class Store:
    """A sweep's store, of `n` points in units of `lanes`.

    A unit is one zarr chunk of every array, so two writers never share one. Its `status` is
    written last, when all else is on the disk: a unit is done exactly if all its chunks exist.
    """

    path: Path
    header: dict[str, Any]
    arrays: dict[str, Any]  # name -> zarr array
    axes: tuple[str, ...] = ()  # the arrays that are coordinates

    @property
    def n(self) -> int:
        """The number of points in the sweep."""
        return self.header["points"]

    @property
    def lanes(self) -> int:
        """The number of points in a unit of the store."""
        return self.header["lanes"]

    @property
    def units(self) -> int:
        """The number of units that the points fill."""
        return math.ceil(self.n / self.lanes)

    @classmethod
    def create(
        cls,
        path: Path,
        header: Mapping[str, Any],
        coordinates: Mapping[str, Field],
        outputs: Mapping[str, Field],
    ) -> "Store":
        """A new, empty store; it appears at `path` whole or not at all.

        **Raises:** `FileExistsError` where `path` exists; `OSError` where it cannot be written.
        """
        zarr = import_zarr()
        draft = _draft(path)
        shutil.rmtree(draft, ignore_errors=True)  # what a killed process left
        path.parent.mkdir(parents=True, exist_ok=True)
        status = Field((), "int8", _status_attributes())
        n, lanes = header["points"], header["lanes"]
        names = ["status", *coordinates]
        plain = [name for name in names if len(name.split()) == 1]  # as the CF conventions have it
        attrs = {_KEY: dict(header), "coordinates": " ".join(plain), _AXES: names}
        with explained(path, "creating the store"):
            group = zarr.open_group(str(draft), mode="w", zarr_format=3, attributes=attrs)
            for name, field in {**outputs, **coordinates, "status": status}.items():
                axes = [f"{name}_{i}" for i in range(len(field.shape))]
                group.create_array(
                    name,
                    shape=(n, *field.shape),
                    chunks=(lanes, *(max(size, 1) for size in field.shape)),
                    dtype=field.dtype,
                    fill_value=_fill(field.dtype),
                    serializer=zarr.codecs.BytesCodec(endian=None)
                    if np.dtype(field.dtype).itemsize == 1
                    else "auto",
                    compressors=[zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()],
                    dimension_names=["point", *axes],
                    attributes=dict(field.attrs),
                )
            with warnings.catch_warnings():
                # no part of the format yet, but xarray warns of a store without it
                warnings.filterwarnings("ignore", "Consolidated metadata")
                zarr.consolidate_metadata(str(draft))
            _sync_tree(draft)
            os.rename(draft, path)
            _sync(path.parent)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The store at `path`.

        **Raises:** `FileNotFoundError` where there is none; `ValueError` for something else.
        """
        zarr = import_zarr()
        from jaxdend.sweep._zarr import CheckedStore

        if not path.exists():
            raise FileNotFoundError(f"there is no sweep at {path}")
        try:
            group = zarr.open_group(CheckedStore(path), mode="r+", zarr_format=3)
            header = group.attrs.asdict()[_KEY]
            if header["format"] != FORMAT:
                raise KeyError(header["format"])
        except Exception as error:
            raise SavedFileError(
                f"{path} exists, but it is not the store of a jaxdend sweep; choose another place"
            ) from error
        if header["version"] != VERSION:
            raise SavedFileError(
                f"{path} has version {header['version']} of the layout of sweeps; this jaxdend "
                f"reads version {VERSION}"
            )
        try:
            with zarr.config.set({"array.write_empty_chunks": True}):
                arrays = {name: group[name] for name in header["arrays"]}
            n, lanes = header["points"], header["lanes"]
            if wrong := [x for x, a in arrays.items() if a.shape[0] != n or a.chunks[0] != lanes]:
                raise ValueError(f"{', '.join(wrong)} are not of {n} points, {lanes} in a chunk")
        except Exception as error:  # whatever zarr says of damaged descriptions
            raise SavedFileError(
                f"{path} is not a complete store of a sweep: {type(error).__name__}: {error}; copy "
                "it again, or compute it again in another place"
            ) from error
        return cls(path, header, arrays, tuple(group.attrs.asdict().get(_AXES, ())))

    def check(self, header: Mapping[str, Any]) -> None:
        """Compare with the header of the sweep that is to go on here.

        **Raises:** `ValueError` naming every entry that differs, and both values.
        """
        wanted = json.loads(json.dumps(dict(header)))
        lines = list(_differences(self.header, wanted))
        if lines:
            raise ValueError(
                f"{self.path} holds a sweep of another configuration, which cannot go on with "
                "this one:\n" + "\n".join(f"  {line}" for line in lines[:20]) + "\nUse the "
                "configuration of the store, or another place for the results."
            )

    def bounds(self, unit: int) -> tuple[int, int]:
        """The first point of a unit, and the one behind its last."""
        return unit * self.lanes, min((unit + 1) * self.lanes, self.n)

    def done(self) -> np.ndarray:
        """Whether each unit is done, `(units,)` of bool: the files of all its arrays are there."""
        return np.all([self._there(name) for name in self.arrays], axis=0)

    def lost(self) -> list[int]:
        """Units that were done, and of which files are missing since."""
        return np.flatnonzero(self._there("status") & ~self.done()).tolist()

    def times(self) -> list[float]:
        """When each unit that is done was written, seconds since 1970, ascending."""
        files = (self._file("status", int(unit)) for unit in np.flatnonzero(self.done()))
        return sorted(file.stat().st_mtime for file in files)

    def _there(self, name: str) -> np.ndarray:
        """`(units,)` whether the file of each unit of an array is there, and not empty."""
        out, folder = np.zeros(self.units, bool), self.path / name / "c"
        inner = "/".join(["0"] * (self.arrays[name].ndim - 1))
        with suppress(FileNotFoundError, NotADirectoryError):
            for entry in os.scandir(folder):
                unit = int(entry.name) if entry.name.isdecimal() else -1
                if 0 <= unit < self.units and str(unit) == entry.name:
                    file = os.path.join(entry.path, inner) if inner else entry.path
                    out[unit] = _size(file) > 0
        return out

    def write(self, unit: int, values: Mapping[str, np.ndarray], status: np.ndarray) -> None:
        """Write a unit: all arrays, first axis as long as the unit, then their status.

        **Raises:** `OSError` where the disk is full or fails; the unit is not done then.
        """
        start, stop = self.bounds(unit)
        with explained(self.path, f"writing points {start} to {stop - 1}"):
            for name, value in values.items():
                self.arrays[name][start:stop] = value
            for name in values:
                _sync(self._file(name, unit))
            self.arrays["status"][start:stop] = status
            _sync(self._file("status", unit))

    def read(self, name: str, unit: int) -> np.ndarray:
        """The rows of one array that belong to a unit."""
        start, stop = self.bounds(unit)
        return np.asarray(self.arrays[name][start:stop])

    def counts(self) -> dict[int, int]:
        """The number of points for every status code."""
        out = dict.fromkeys(STATUS, 0)
        for unit in np.flatnonzero(self.done()):
            codes, counts = np.unique(self.read("status", int(unit)), return_counts=True)
            for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
                out[code] += count
        out[NOT_DONE] = self.n - sum(out.values())
        return out

    def tidy(self) -> None:
        """Remove what a killed writer left. Only while nobody writes."""
        for part in self.path.rglob("*.partial"):
            part.unlink(missing_ok=True)

    def repair(self, deep: bool = False) -> list[int]:
        """Mark units whose files are missing as not done; `deep` reads and checks all of them.

        **Returns:** the units that are to be computed again.
        """
        written = np.flatnonzero(self._there("status")).tolist()
        damaged = [unit for unit in written if not self._whole(unit, deep)]
        for unit in damaged:
            for name in ("status", *self.arrays):  # the status first: what says that it is done
                self._file(name, unit).unlink(missing_ok=True)
        return damaged

    def _whole(self, unit: int, deep: bool) -> bool:
        for name in self.arrays:
            file = self._file(name, unit)
            if not file.is_file() or file.stat().st_size == 0:
                return False
            if deep or name == "status":
                try:
                    value = self.read(name, unit)
                except Exception:  # whatever a decoder says of damaged bytes
                    return False
                if name == "status" and not np.isin(value, [OK, NOT_FINITE, FAILED]).all():
                    return False
        return True

    def _file(self, name: str, unit: int) -> Path:
        """The file of a unit."""
        zeros = ["0"] * (self.arrays[name].ndim - 1)
        return self.path.joinpath(name, "c", str(unit), *zeros)


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Say what a failing disk means for the sweep."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full"
        text = (
            f"{reason}, {doing} of the sweep {path}. What was written before is whole: mend this "
            "and run the same again with resume (--resume) to go on from there"
        )
        raise OSError(error.errno or errno.EIO, text) from error


def import_zarr() -> Any:
    """Imports the zarr package, which is an optional extra.

    **Raises:** `ImportError` naming the extra.
    """
    try:
        import zarr
        import zarr.codecs
    except ImportError as error:
        raise ImportError(
            'sweeps need zarr and xarray, which are an extra: pip install "jaxdend[sweep]"'
        ) from error
    return zarr


def _status_attributes() -> dict[str, Any]:
    return {
        "long_name": "what became of the point",
        "flag_values": list(STATUS),
        "flag_meanings": " ".join(STATUS.values()),
    }


def _fill(dtype: str) -> Any:
    kind = np.dtype(dtype).kind
    return np.nan if kind in "fc" else (False if kind == "b" else 0)


def _differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """A line for each entry that is not the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            inner = f"{where}.{key}" if where else str(key)
            if key not in old:
                yield f"{inner}: not in the store, here {_short(new[key])}"
            elif key not in new:
                yield f"{inner}: {_short(old[key])} in the store, not here"
            else:
                yield from _differences(old[key], new[key], inner)
    elif old != new:
        yield f"{where}: {_short(old)} in the store, {_short(new)} here"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _draft(path: Path) -> Path:
    """Where a store is made before it gets its name."""
    return path.with_name(f".{path.name}.unfinished")


def _sync(path: Path) -> None:
    """Bring a file or folder to the disk, where the system can."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder, on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _size(path: str) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
