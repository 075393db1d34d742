"""The loop around every optimiser and sampler: progress, Ctrl-C, history, checkpoints."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxdend._bars import progress_bar
from jaxdend.fitting._result import FitResult
from jaxdend.fitting._saving import Part, Rows, RunFolder
from jaxdend.fitting._space import ParameterSpace

# state, at most so many steps -> state, the rows of the steps taken, whether nothing is left to do
Advance = Callable[[PyTree, int], tuple[PyTree, Rows, bool]]
Callback = Callable[[int, np.ndarray, np.ndarray], bool | None]
Resume = bool | FitResult | str | os.PathLike[str]
Log = list[tuple[int, Rows]]  # the rows of every chunk, and the steps before it


@dataclass
class Loop:
    """How a run is shown, watched and saved; the same for every method."""

    steps: int  # the total number, those before a resume included
    label: str  # of the progress bar
    chunk: int = 1  # steps between two looks
    progress: bool = True
    callback: Callable[[int, Rows], bool | None] | None = None  # after each chunk, its rows
    save_to: str | os.PathLike[str] | None = None  # folder of checkpoints
    save_every: int = 10  # steps
    # what makes this run another than that one, as JSON has it; asked for if there is a folder
    header: Callable[[], Mapping[str, Any]] = dict
    more: Callable[[PyTree], dict[str, Any]] = lambda state: {}  # `Part.more` of a state
    folder: RunFolder | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Reject counts that are not positive; open the folder."""
        check_counts(self.steps, self.chunk, self.save_every)
        if self.save_to is not None:
            self.folder = RunFolder(self.save_to, self.header())

    def before(self, resume: Resume = False, space: ParameterSpace | None = None) -> Part | None:
        """The part to go on from, its state as leaves; `None` to begin.

        **Raises:** `ValueError` for `True` without a folder, a folder that is used already, or a
        result of another space.
        """
        used = self.folder is not None and self.folder.used
        if resume is True:
            if self.folder is None:
                raise ValueError("resume=True goes on from the folder save_to, which is not given")
            return self.folder.load() if used else None
        if used:
            raise ValueError(
                f"{self.save_to} already holds a run: go on with it by resume=True, or give "
                "another folder, or delete this one"
            )
        if resume is False:
            return None
        result = resume if isinstance(resume, FitResult) else FitResult.load(resume)
        if result.space != space:
            raise ValueError(
                f"cannot resume: the result belongs to {result.space}, this run has {space}"
            )
        return result.part

    def run(self, advance: Advance, part: Part) -> Part:
        """Advance `part` to the last step, chunk by chunk.

        Ctrl-C and a `callback` that returns `True` end the run with what was reached; before the
        first chunk Ctrl-C is raised as usual.

        **Raises:** `BlockingIOError` where another run saves to the same folder.
        """
        with nullcontext() if self.folder is None else self.folder.writing():
            return self._run(advance, part)

    def _run(self, advance: Advance, part: Part) -> Part:
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
                save_state(self.folder, so_far(self.folder.steps))

        least = _least(np.inf, part.rows)
        with progress_bar(self.steps, self.label, "step", show=self.progress, initial=first) as bar:
            try:
                while at[1] < self.steps and not at[2]:
                    state, done, _ = at
                    state, rows, finished = advance(state, min(self.chunk, self.steps - done))
                    count = len(next(iter(rows.values())))
                    log.append((done, rows))  # before the state: an interrupt here loses nothing
                    at = state, done + count, finished
                    least = _least(least, rows)
                    if np.isfinite(least):
                        bar.set_postfix(loss=f"{least:.3g}", refresh=False)
                    bar.update(count)
                    if (done + count) // self.save_every > done // self.save_every:
                        save()
                    if self.callback is not None and self.callback(done + count, rows):
                        break
            except KeyboardInterrupt:
                if at[1] == first:
                    raise
        save()
        return so_far(0)


def check_counts(steps: int, chunk: int, save_every: int) -> None:
    """Reject counts that are not positive."""
    if min(steps, chunk, save_every) < 1:
        raise ValueError(
            f"steps, chunk and save_every must be at least 1; got {steps}, {chunk} and {save_every}"
        )


def begin(loop: Loop, space: ParameterSpace, state: PyTree, resume: Resume) -> Part:
    """The part that a run ending in a `FitResult` starts from: without rows if it is new."""
    part = loop.before(resume, space)
    return Part({}, state) if part is None else restored(part, state)


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
    return Part(part.rows, state, part.seconds, part.interrupted, part.more)


def watched(callback: Callback | None) -> Callable[[int, Rows], bool | None] | None:
    """A callback of `(step, losses (s,), vectors (s, p))` in the form that `Loop` takes."""
    if callback is None:
        return None
    return lambda step, rows: callback(step, rows["losses"][-1], rows["vectors"][-1])


def save_state(folder: RunFolder, part: Part) -> None:
    """Write a checkpoint of `part`, with the rows since the one before."""
    state = tuple(np.asarray(leaf) for leaf in jax.tree.leaves(part.state))
    about = {"state": state, "seconds": part.seconds, "interrupted": part.interrupted}
    folder.save(about | part.more, part.rows)


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
