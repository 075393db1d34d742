"""Folders of checkpoints, written by orbax: whole or not at all, whenever the process dies."""

import json
import logging
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxdend._errors import SavedFileError
from jaxdend.files import locked, write_whole

_T = TypeVar("_T")
_FORMAT = "jaxdend-checkpoints-1"
_HEADER = "header.json"
_SUMS = "checksums.json"  # of the files of one checkpoint


class Checkpoints:
    """The last few states of a long computation, each in a folder of its own, by its step.

    A checkpoint is a tree of str-keyed dicts, tuples and lists, with arrays, JAX random keys,
    numbers, strings and `None` at its ends. What comes back is that tree, bit for bit, whatever
    JAX's precision: arrays as numpy arrays of the dtype they had, keys as keys. Every array's
    checksum is verified.

    `header`, anything that JSON can hold, says which computation the folder belongs to. Opening it
    with another one is refused, so that the states of two are never mixed. Without a `header`
    the folder must exist already.

    **Raises:** `ValueError` for a folder of another computation, or one that holds something else.
    """

    folder: Path
    header: dict[str, Any]  # as in the folder's header.json

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep: int = 2,
        header: Mapping[str, Any] | None = None,
    ):
        if keep < 1:
            raise ValueError(f"keep must be at least 1 checkpoint, got {keep}")
        self.folder, self._keep = Path(folder).absolute(), keep
        self._seen = self.steps if self.folder.is_dir() else []
        self._writing = False
        if header is None or (self.folder / _HEADER).exists():
            self.header = read_header(self.folder)
            if header is not None:
                self._compare(header)
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{folder} is a file; checkpoints need a folder")
        if self.folder.exists() and any(p.name != _HEADER + ".part" for p in self.folder.iterdir()):
            raise ValueError(
                f"{folder} is not a folder of checkpoints: it holds other files and no {_HEADER}; "
                "give an empty or a new folder"
            )
        self.header = json.loads(json.dumps(dict(header)))
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {"format": _FORMAT, "header": self.header, "crc32": _sum(self.header)}
        text = json.dumps(about, indent=1)
        write_whole(self.folder / _HEADER, text)

    @property
    def steps(self) -> list[int]:
        """The steps with a checkpoint, ascending."""
        names = (p.name for p in self.folder.iterdir() if p.is_dir())
        return sorted(int(name) for name in names if name.isdecimal())

    def latest(self) -> int | None:
        """The newest step with a checkpoint, sound or not; `None` where there is none yet."""
        return max(self.steps, default=None)

    @contextmanager
    def writing(self, *, wait: bool = False) -> Iterator[None]:
        """Write to the folder as the only run that does; `wait` for another that writes just now.

        **Raises:** `BlockingIOError` where another run writes here, or has saved since this one was
        opened, loaded or saved; what that one saved stays as it is.
        """
        if self._writing:
            yield
            return
        with locked(self.folder, wait=wait):
            if self.steps != self._seen:
                raise BlockingIOError(
                    f"another run saves to {self.folder}: it holds the steps {self.steps}, of "
                    f"which this run knows {self._seen}. Give each run a folder of its own"
                )
            self._writing = True
            try:
                yield
            finally:
                self._writing, self._seen = False, self.steps

    def save(self, step: int, tree: Any) -> None:
        """Write `tree` as the checkpoint of `step` and wait until it is on disk.

        One of the same step is replaced. Those of later steps are dropped, as they belong to a
        path that was left, and then all but the newest `keep`. A Ctrl-C takes effect after.

        **Raises:** `ValueError` for a tree with something else in it; `OSError` where it cannot be
        written, for example on a full disk: what was saved before is still there;
        `BlockingIOError` where another run saves here.
        """
        with self.writing(wait=True):
            self._save(step, tree)

    def _save(self, step: int, tree: Any) -> None:
        arrays: dict[str, np.ndarray] = {}
        structure = _describe(tree, "tree", arrays)
        sums = {name: zlib.crc32(a.tobytes()) for name, a in arrays.items()}
        text = json.dumps({"format": _FORMAT, "structure": structure, "crc32": sums})
        arrays["structure"] = np.frombuffer(text.encode(), np.uint8)
        path = self.folder / str(int(step))

        def write() -> None:
            self._clean()
            if path.exists():
                self._drop(path)
            with _checkpointer() as (checkpointer, args):
                checkpointer.save(path, args=args.StandardSave(arrays))
            write_whole(path / _SUMS, json.dumps(_file_sums(path)))
            steps = self.steps
            kept = [s for s in steps if s <= step][-self._keep :]
            for other in set(steps) - set(kept):
                self._drop(self.folder / str(other))

        try:
            _in_thread(write)
        except Exception as error:
            self._clean()
            left = f"that of step {self.latest()} is intact" if self.steps else "there is no other"
            raise OSError(
                f"the checkpoint of step {step} could not be written to {self.folder}: "
                f"{_first_line(error)}; {left}"
            ) from error

    def load(
        self, step: int | None = None, *, check: Callable[[Any], None] | None = None
    ) -> tuple[int, Any]:
        """The newest sound checkpoint, or that of `step`: `(step, tree)`.

        A newest one that is damaged is passed over for the one before, with a warning. So is one
        whose tree makes `check` raise.

        **Raises:** `ValueError` where none is left, or that of `step` is missing or damaged.
        """
        if step is not None and step not in self.steps:
            raise ValueError(f"{self.folder} has no checkpoint of step {step}, but {self.steps}")
        if not self.steps:
            raise ValueError(f"{self.folder} holds no checkpoint yet")
        self._seen, damage = self.steps, list[str]()
        for one in reversed(self.steps) if step is None else [step]:
            try:
                tree = self._read(one)
                if check is not None:
                    check(tree)
            except Exception as error:  # whatever orbax makes of a file that is cut short
                damage.append(f"step {one} ({_first_line(error)})")
                continue
            if damage:
                warnings.warn(
                    f"{self.folder}: damaged checkpoints were passed over: {', '.join(damage)}; "
                    f"going on from step {one}",
                    stacklevel=2,
                )
            return one, tree
        raise ValueError(f"{self.folder}: no sound checkpoint is left: {', '.join(damage)}")

    def close(self) -> None:
        """Drop what an interrupted write has left behind."""
        self._clean()

    def _compare(self, header: Mapping[str, Any]) -> None:
        there, here = _flat(self.header), _flat(json.loads(json.dumps(dict(header))))
        keys = [k for k in there | here if there.get(k) != here.get(k)]
        if keys:
            text = "; ".join(
                f"{k} is {_short(there.get(k))} there and {_short(here.get(k))} here"
                for k in keys[:4]
            ) + ("; …" if len(keys) > 4 else "")
            raise ValueError(
                f"{self.folder} holds the checkpoints of another configuration: {text}. Give the "
                "same one, or another folder"
            )

    def _read(self, step: int) -> Any:
        path = self.folder / str(step)
        _check_files(path)

        def read() -> Any:
            with _checkpointer() as (checkpointer, args):
                return checkpointer.restore(path, args=args.StandardRestore())

        arrays = _in_thread(read)
        text = json.loads(np.asarray(arrays["structure"]).tobytes())
        if text["format"] != _FORMAT:
            raise ValueError(f"format {text['format']!r} instead of {_FORMAT!r}")
        for name, crc in text["crc32"].items():
            if zlib.crc32(np.asarray(arrays[name]).tobytes()) != crc:
                raise ValueError(f"the bytes of {name} are not those that were written")
        return _rebuild(text["structure"], arrays)

    def _drop(self, path: Path) -> None:
        """Remove a checkpoint; while half of it is gone, it no longer looks like one."""
        gone = path.with_name(path.name + ".gone")
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
        shutil.rmtree(gone)

    def _clean(self) -> None:
        for path in self.folder.iterdir():
            if path.name.endswith(".gone") or ".orbax-checkpoint-tmp" in path.name:
                shutil.rmtree(path, ignore_errors=True)


def read_header(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a folder of checkpoints.

    **Raises:** `SavedFileError` for a folder that is missing, damaged or something else.
    """
    path = Path(folder) / _HEADER
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']!r} instead of {_FORMAT!r}")
        header = dict(content["header"])
        if content.get("crc32", _sum(header)) != _sum(header):  # which 0.1.0 did not write
            raise ValueError(f"{path} is not as it was written")
        return header
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SavedFileError(f"{folder} is not a folder of checkpoints: {error}") from error


def _sum(header: dict[str, Any]) -> int:
    """The checksum of a header."""
    return zlib.crc32(json.dumps(header, sort_keys=True).encode())


def _file_sums(path: Path) -> dict[str, int]:
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return {str(file.relative_to(path)): zlib.crc32(file.read_bytes()) for file in files}


def _check_files(path: Path) -> None:
    """Keep damage away from orbax.

    When one of its reads fails it leaves the others behind, which later find their event loop
    closed: an exception for each, in no one's hands. A process that died right after orbax was
    done has left no checksums; then those of the arrays are all there is.
    """
    if not (path / _SUMS).exists():
        return
    there = _file_sums(path)
    for name, crc in json.loads((path / _SUMS).read_bytes()).items():
        if there.get(name) != crc:
            raise ValueError(f"{name} is missing or not as it was written")


@contextmanager
def _checkpointer() -> Iterator[tuple[Any, Any]]:
    """An orbax checkpointer, quiet: its errors are raised here, and its remarks are nobody's."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        import orbax.checkpoint as ocp  # slow to import, and only needed here

        checkpointer = ocp.Checkpointer(ocp.StandardCheckpointHandler())
        try:
            yield checkpointer, ocp.args
        finally:
            checkpointer.close()
    finally:
        logger.setLevel(level)


def _in_thread(work: Callable[[], _T]) -> _T:
    """Run `work` to its end in another thread.

    Its event loop is none of Jupyter's there, and a Ctrl-C waits for it.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def _describe(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Put the arrays of `value` into `arrays` and return how to put them together again."""
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name} cannot be saved: the keys of its dicts must be strings")
        return {"dict": {k: _describe(x, f"{name}.{k}", arrays) for k, x in value.items()}}
    if type(value) in (list, tuple):
        kind = type(value).__name__
        return {kind: [_describe(x, f"{name}.{i}", arrays) for i, x in enumerate(value)]}
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = _describe(jax.random.key_data(value), name, arrays)
        return {"key": data, "impl": str(jax.random.key_impl(value))}
    array = np.asarray(value)
    if array.dtype.kind in "OSUMm" or not array.dtype.isnative:
        raise ValueError(
            f"{name} cannot be saved: it is a {type(value).__name__} of dtype {array.dtype}, not "
            "an array of numbers, a dict, list or tuple of them, a number or a string"
        )
    if array.size == 0:  # which orbax refuses
        return {"empty": list(array.shape), "dtype": array.dtype.name}
    arrays[name] = array
    return {"array": name}


def _rebuild(node: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    if "value" in node:
        return node["value"]
    if "array" in node:
        return np.asarray(arrays[node["array"]])
    if "empty" in node:
        return np.zeros(node["empty"], np.dtype(node["dtype"]))
    if "key" in node:
        return jax.random.wrap_key_data(_rebuild(node["key"], arrays), impl=node["impl"])
    ((kind, inner),) = node.items()
    if kind == "dict":
        return {name: _rebuild(x, arrays) for name, x in inner.items()}
    parts = [_rebuild(x, arrays) for x in inner]
    return parts if kind == "list" else tuple(parts)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """What JSON can hold, by the dotted names of its ends."""
    if isinstance(value, list) and any(isinstance(x, dict) for x in value):
        value = {str(i + 1): x for i, x in enumerate(value)}
    if not isinstance(value, dict):
        return {name: value}
    inner = (_flat(x, f"{name}.{k}" if name else k) for k, x in value.items())
    return {k: x for part in inner for k, x in part.items()}


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    if "No space left on device" in text:  # orbax names the file that it wrote at length before
        return "No space left on device"
    return text.splitlines()[0][:200]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
