"""The loop around every optimiser and sampler: progress, Ctrl-C, history, checkpoints."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PyTree
from tqdm import tqdm

from jaxdend.checkpoints import Checkpoints
from jaxdend.fitting._result import FitResult
from jaxdend.fitting._space import ParameterSpace

Rows = dict[str, np.ndarray]  # name -> (c, ...), what c steps left behind
Advance = Callable[[PyTree, int], tuple[PyTree, Rows, bool]]
Callback = Callable[[int, np.ndarray, np.ndarray], bool | None]


@dataclass(frozen=True)
class Part:
    """A run as far as it came (host arrays)."""

    rows: Rows  # name -> (k, ...), the history
    state: PyTree  # of arrays: what the next step starts from
    seconds: float = 0.0  # s, wall time so far
    interrupted: bool = False  # stopped by Ctrl-C or by the callback

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return len(next(iter(self.rows.values()))) if self.rows else 0


@dataclass(frozen=True)
class Loop:
    """How a run is shown, watched and saved; the same for every method."""

    steps: int  # the total number, those before a resume included
    label: str  # of the progress bar
    chunk: int = 1  # steps between two looks
    progress: bool = True
    callback: Callable[[int, Rows], bool | None] | None = None  # after each chunk, its rows
    save_to: str | os.PathLike[str] | None = None  # folder of checkpoints
    save_every: int = 10  # steps

    def __post_init__(self) -> None:
        """Reject counts that are not positive."""
        if min(self.steps, self.chunk, self.save_every) < 1:
            raise ValueError(
                f"steps, chunk and save_every must be at least 1; got {self.steps}, {self.chunk} "
                f"and {self.save_every}"
            )

    def run(self, advance: Advance, part: Part, header: dict[str, Any]) -> Part:
        """Advance `part` to the last step, chunk by chunk.

        `advance(state, count)` gives the next state, the rows of up to `count` steps, and whether
        there is nothing left to do. Ctrl-C and a `callback` that returns `True` end the run with
        what was reached; before the first chunk Ctrl-C is raised as usual.
        """
        folder = None if self.save_to is None else Checkpoints(self.save_to, header=header)
        try:
            return self._run(advance, part, folder)
        finally:
            if folder is not None:
                folder.close()

    def _run(self, advance: Advance, part: Part, folder: Checkpoints | None) -> Part:
        first, clock, new = part, time.perf_counter(), []
        done, finished, interrupted, state = part.steps, False, False, part.state

        def so_far(interrupted: bool) -> Part:
            passed = first.seconds + time.perf_counter() - clock
            return Part(_joined([first.rows, *new]), state, passed, interrupted)

        bar = tqdm(total=self.steps, initial=done, disable=not self.progress, desc=self.label)
        with bar:
            try:
                while done < self.steps and not finished:
                    begun = done
                    after, rows, finished = advance(state, min(self.chunk, self.steps - done))
                    state, new = after, [*new, rows]
                    done += len(next(iter(rows.values())))
                    _show(bar, rows, done - begun)
                    stop = self.callback is not None and self.callback(done, rows)
                    if folder is not None and done // self.save_every > begun // self.save_every:
                        _save(folder, so_far(True))
                    if stop:
                        interrupted = done < self.steps and not finished
                        break
            except KeyboardInterrupt:
                if done == 0:
                    raise
                interrupted = True
        part = so_far(interrupted)
        if folder is not None and new:
            _save(folder, part)
        return part

    def saved(self, header: dict[str, Any], state: PyTree) -> Part | None:
        """The newest checkpoint in `save_to`, its state in the form of `state`; `None` if none.

        **Raises:** `ValueError` without a folder, or for a folder of another run.
        """
        if self.save_to is None:
            raise ValueError("resume=True needs save_to=, the folder that the first part saved to")
        folder = Checkpoints(self.save_to, header=header)
        try:
            if folder.latest() is None:
                return None
            _, tree = folder.load()
        finally:
            folder.close()
        rows = {name: np.asarray(value) for name, value in tree["rows"].items()}
        leaves = [tree["state"][name] for name in sorted(tree["state"])]
        return Part(rows, matched(leaves, state), float(tree["seconds"]))

    def check_empty(self, header: dict[str, Any]) -> None:
        """Refuse to write a new run into a folder that holds one."""
        if self.save_to is None:
            return
        folder = Checkpoints(self.save_to, header=header)
        try:
            latest = folder.latest()
        finally:
            folder.close()
        if latest is not None:
            raise ValueError(
                f"{self.save_to} already holds a run, saved at step {latest}; pass resume=True "
                "to go on with it, or another folder"
            )


def matched(leaves: list[Any] | tuple[Any, ...], like: PyTree) -> PyTree:
    """`leaves` in the form of `like`, arrays or their shapes; checked for number, shape, type."""
    wanted, structure = jax.tree.flatten(like)
    found = [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]
    if found != [(leaf.shape, leaf.dtype) for leaf in wanted]:
        raise ValueError(
            "cannot resume: the saved state has other arrays than this run's; pass the same "
            "method, options, data and float precision as in the first part"
        )
    return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves])


def begin(
    loop: Loop,
    space: ParameterSpace,
    state: PyTree,
    resume: bool | FitResult,
    header: dict[str, Any],
) -> Part:
    """The part that a run ending in a `FitResult` starts from: without rows if it is new."""
    if isinstance(resume, FitResult):
        if resume.space != space:
            raise ValueError(
                f"cannot resume: the result belongs to {resume.space}, this run has {space}"
            )
        rows = {"losses": resume.losses, "vectors": resume.vectors}
        return Part(rows, matched(resume.state, state), resume.seconds)
    if resume:
        return loop.saved(header, state) or Part({}, state)
    loop.check_empty(header)
    return Part({}, state)


def described(space: ParameterSpace) -> list[dict[str, Any]]:
    """The space in a form that JSON takes, for the header of a folder of checkpoints."""
    return [{"name": name} | asdict(space[name]) | {"shape": list(space[name].shape)}
            for name in space]  # fmt: skip


def digest(z: ArrayLike) -> str:
    """Short, and different for other starting vectors."""
    return hashlib.sha256(np.asarray(z).tobytes()).hexdigest()[:16]


def as_result(space: ParameterSpace, part: Part) -> FitResult:
    """The `FitResult` of a part with the rows `losses (k, s)` and `vectors (k, s, p)`."""
    losses = part.rows["losses"]
    return FitResult(
        space=space,
        losses=losses,
        vectors=part.rows["vectors"],
        failures=(~np.isfinite(losses)).sum(axis=0),
        state=tuple(np.asarray(leaf) for leaf in jax.tree.leaves(part.state)),
        interrupted=part.interrupted,
        seconds=part.seconds,
    )


def watched(callback: Callback | None) -> Callable[[int, Rows], bool | None] | None:
    """A callback of `(step, losses (s,), vectors (s, p))` in the form that `Loop` takes."""
    if callback is None:
        return None
    return lambda step, rows: callback(step, rows["losses"][-1], rows["vectors"][-1])


def _save(folder: Checkpoints, part: Part) -> None:
    leaves = {f"{i:04d}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(part.state))}
    tree = {"rows": part.rows, "state": leaves, "seconds": np.asarray(part.seconds)}
    folder.save(part.steps, tree)


def _joined(parts: list[Rows]) -> Rows:
    parts = [rows for rows in parts if rows]
    return {name: np.concatenate([rows[name] for rows in parts]) for name in parts[0]}


def _show(bar: tqdm, rows: Rows, count: int) -> None:
    losses = rows.get("losses")
    if losses is not None and np.isfinite(losses).any():
        bar.set_postfix(loss=f"{losses[np.isfinite(losses)].min():.3g}", refresh=False)
    bar.update(count)
