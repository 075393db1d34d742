"""Long runs: where they are saved, how they go on, what they show, and the loop around them."""

import os
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxdend._bars import progress_bar
from jaxdend.checkpoints import Checkpoints

_HISTORY = "history.bin"

Rows = dict[str, np.ndarray]  # name -> (c, s, ...), what c steps of s starts or chains left behind
# state, at most so many steps -> state, the rows of the steps taken, whether nothing is left to do
Advance = Callable[[PyTree, int], tuple[PyTree, Rows, bool]]
Log = list[tuple[int, Rows]]  # the rows of every chunk, and the steps before it


@dataclass(frozen=True)
class Run:
    """Where a long computation is saved, whether it goes on from there, and whether it shows a bar.

    Fits, searches, samplers and trainings take one as `run=`:

    ```python
    fit(loss, space, run=jd.Run("folder", resume=True))
    ```

    **Arguments:**

    - `folder`: gets a checkpoint every so often, on Ctrl-C and at the end; `None` saves nothing.
    - `every`: steps between two checkpoints; where it is `None`, each method chooses (it says so).
    - `resume`: `True` to go on from what the folder holds, or to begin where that is nothing. Some
      methods also take an earlier result to go on from, or its file or folder. The history is bit
      for bit that of a run that was never interrupted, also after `kill -9`, as long as the
      function, the devices and the precision are the same.
    - `progress`: whether to show a progress bar.

    **Raises:** `ValueError` for `every` less than 1, and for `resume=True` without a folder.
    """

    folder: str | os.PathLike[str] | None = None
    every: int | None = field(default=None, kw_only=True)  # steps
    resume: Any = field(default=False, kw_only=True)  # bool, or what to go on from
    progress: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse settings with which no run can work."""
        if self.every is not None and self.every < 1:
            raise ValueError(f"Run: every must be at least 1 step, got {self.every}")
        if self.resume is True and self.folder is None:
            raise ValueError("Run: resume=True goes on from the folder, which is not given")

    @classmethod
    def of(cls, given: "Run | None") -> "Run":
        """What a caller gave as `run=`: a plain run for `None`.

        **Raises:** `TypeError` for something else.
        """
        if given is None:
            return cls()
        if not isinstance(given, Run):
            raise TypeError(f"run= takes a jaxdend.Run, such as Run('folder'); got {given!r}")
        return given

    def within(self, name: str) -> "Run":
        """The same for one of several stages, saved in the folder `name` inside this one's.

        **Raises:** `ValueError` where `resume` is a result, for each stage has its own.
        """
        if not isinstance(self.resume, bool):
            raise ValueError("a run of several stages goes on from its folder only: resume=True")
        return self if self.folder is None else replace(self, folder=Path(self.folder) / name)


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

    **Arguments:** `folder`; `header`, what JSON can hold: which run the folder belongs to. Without
    a header the folder must exist already.

    **Raises:** `ValueError` for the folder of another run, or one that holds something else.
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


@dataclass
class Loop:
    """The loop around an optimiser, a sampler or a training, as `run` wants it.

    **Raises:** `ValueError` for counts that are not positive, and for a folder of another run.
    """

    steps: int  # the total number, those before a resume included
    label: str  # of the progress bar
    run: Run
    every: int = 10  # steps between two checkpoints, where the run does not say
    chunk: int = 1  # steps between two looks
    callback: Callable[[int, Rows], bool | None] | None = None  # after each chunk, its rows
    # what makes this run another than that one, as JSON has it; asked for if there is a folder
    header: Callable[[], Mapping[str, Any]] = dict
    more: Callable[[PyTree], dict[str, Any]] = lambda state: {}  # `Part.more` of a state
    # of a chunk's rows, what the bar says; the least loss so far if `None`
    shown: Callable[[Rows], dict[str, str]] | None = None
    folder: RunFolder | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Reject counts that are not positive; open the folder."""
        check_counts(self.steps, self.chunk)
        self.every = self.every if self.run.every is None else self.run.every
        if self.run.folder is not None:
            self.folder = RunFolder(self.run.folder, self.header())

    def before(self, read: Callable[[Any], Part] | None = None) -> Part | None:
        """The part to go on from, its state as leaves; `None` to begin.

        **Arguments:** `read`, for methods that also go on from a result: what makes a part of one.

        **Raises:** `ValueError` for a folder that is used already, or a `resume` that is neither
        `True` nor `False` where `read` is not given.
        """
        used = self.folder is not None and self.folder.used
        if self.run.resume is True and self.folder is not None:
            return self.folder.load() if used else None
        if used:
            raise ValueError(
                f"{self.run.folder} already holds a run: go on with it by resume=True, or give "
                "another folder, or delete this one"
            )
        if self.run.resume is False:
            return None
        if read is None:
            raise ValueError(
                f"this run goes on from its folder only: resume must be True or False, got "
                f"{self.run.resume!r}"
            )
        return read(self.run.resume)

    def save(self, part: Part) -> None:
        """Write a checkpoint of `part`, with the rows since the one before, if there is a folder.

        **Raises:** `OSError` where it cannot be written.
        """
        if self.folder is not None:
            state = tuple(np.asarray(leaf) for leaf in jax.tree.leaves(part.state))
            about = {"state": state, "seconds": part.seconds, "interrupted": part.interrupted}
            self.folder.save(about | part.more, part.rows)

    def go(self, advance: Advance, part: Part) -> Part:
        """Advance `part` to the last step, chunk by chunk.

        Ctrl-C and a `callback` that returns `True` end the run with what was reached; before the
        first chunk Ctrl-C is raised as usual.

        **Raises:** `BlockingIOError` where another run saves to the same folder.
        """
        with nullcontext() if self.folder is None else self.folder.writing():
            return self._go(advance, part)

    def _go(self, advance: Advance, part: Part) -> Part:
        first, clock = part.steps, time.perf_counter() - part.seconds
        log: Log = [(0, part.rows)] if part.rows else []
        at = part.state, first, False  # the state, its steps, whether that is all

        def so_far(begin: int) -> Part:
            state, done, finished = at
            interrupted = done < self.steps and not finished
            passed, more = time.perf_counter() - clock, self.more(state)
            return Part(_between(log, begin, done), state, passed, interrupted, more)

        def save() -> None:
            if self.folder is not None and self.folder.steps < at[1]:
                self.save(so_far(self.folder.steps))

        least = _least(np.inf, part.rows)
        show = self.run.progress
        with progress_bar(self.steps, self.label, "step", show=show, initial=first) as bar:
            try:
                while at[1] < self.steps and not at[2]:
                    state, done, _ = at
                    state, rows, finished = advance(state, min(self.chunk, self.steps - done))
                    count = len(next(iter(rows.values())))
                    log.append((done, rows))  # before the state: an interrupt here loses nothing
                    at = state, done + count, finished
                    least = _least(least, rows)
                    bar.set_postfix(self._said(least, rows), refresh=False)
                    bar.update(count)
                    if (done + count) // self.every > done // self.every:
                        save()
                    if self.callback is not None and self.callback(done + count, rows):
                        break
            except KeyboardInterrupt:
                if at[1] == first:
                    raise
        save()
        return so_far(0)

    def _said(self, least: float, rows: Rows) -> dict[str, str]:
        """What the bar says beside the count."""
        if self.shown is not None:
            return self.shown(rows)
        return {"loss": f"{least:.3g}"} if np.isfinite(least) else {}


def check_counts(steps: int, chunk: int) -> None:
    """Reject counts that are not positive."""
    if min(steps, chunk) < 1:
        raise ValueError(f"steps and chunk must be at least 1; got {steps} and {chunk}")


def is_saved(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run, as far as it came."""
    return Path(folder).is_dir() and any(Path(folder).iterdir()) and RunFolder(folder).used


def restored(part: Part, like: PyTree) -> Part:
    """`part` with its leaves in the form of `like`, arrays or their shapes.

    **Raises:** `ValueError` where they differ in number, shape or type.
    """
    wanted, structure = jax.tree.flatten(like)
    found = [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in part.state]
    if found != [(leaf.shape, leaf.dtype) for leaf in wanted]:
        raise ValueError(
            "cannot resume: the saved state has other arrays than this run's; pass the same "
            "optimizer or method, options, data and float precision as in the first part"
        )
    state = jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in part.state])
    return replace(part, state=state)


def _between(log: Log, first: int, last: int) -> Rows:
    """The rows of the steps from `first` to before `last`."""
    parts: list[Rows] = []
    for begin, rows in reversed(log):
        wanted = slice(max(first - begin, 0), max(last - begin, 0))
        parts.insert(0, {name: a[wanted] for name, a in rows.items()})
        if begin <= first:
            break
    return {name: np.concatenate([rows[name] for rows in parts]) for name in parts[0]}


def _least(least: float, rows: Rows) -> float:
    """The least finite loss so far."""
    losses = rows.get("losses", np.empty(0))
    return float(np.min(losses, initial=least, where=np.isfinite(losses)))
