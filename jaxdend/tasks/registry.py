"""The tasks by name."""

import difflib
from collections.abc import Callable

from jaxdend.tasks.base import AbstractTask
from jaxdend.tasks.xor import xor_dcaap

# name -> builder; its first paragraph of documentation describes the task
TASKS: dict[str, Callable[[int], AbstractTask]] = {
    "xor_dcaap": xor_dcaap,
}


def make_task(name: str, seed: int = 0) -> AbstractTask:
    """The task called `name`; `seed` draws whatever is random in the task itself.

    **Raises:** `ValueError` for a name that is not in `TASKS`.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown task {name!r}; {hint}There are {', '.join(TASKS)}.")
    return TASKS[name](seed)
