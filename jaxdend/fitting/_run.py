"""What the methods that end in a `FitResult` share around `jaxdend.runs.Loop`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import PyTree

from jaxdend.fitting._result import FitResult
from jaxdend.fitting._space import ParameterSpace
from jaxdend.runs import Loop, Part, Rows, restored

Callback = Callable[[int, np.ndarray, np.ndarray], bool | None]


def before(loop: Loop, space: ParameterSpace) -> Part | None:
    """The part to go on from, of the folder, a result or its file; `None` to begin.

    **Raises:** `ValueError` for a folder that is used already, or a result of another space.
    """

    def read(earlier: Any) -> Part:
        result = earlier if isinstance(earlier, FitResult) else FitResult.load(earlier)
        if result.space != space:
            raise ValueError(
                f"cannot resume: the result belongs to {result.space}, this run has {space}"
            )
        return result.part

    return loop.before(read)


def begin(loop: Loop, space: ParameterSpace, state: PyTree) -> Part:
    """The part that a run starts from: without rows, and with `state`, if it is new."""
    part = before(loop, space)
    return Part({}, state) if part is None else restored(part, state)


def watched(callback: Callback | None) -> Callable[[int, Rows], bool | None] | None:
    """A callback of `(step, losses (s,), vectors (s, p))` in the form that `Loop` takes."""
    if callback is None:
        return None
    return lambda step, rows: callback(step, rows["losses"][-1], rows["vectors"][-1])
