"""The tasks by name."""

import difflib
from collections.abc import Callable

from jaxdend.tasks.base import AbstractTask
from jaxdend.tasks.baselines import xor_lif, xor_passive, xor_perceptron
from jaxdend.tasks.branches import (
    logic_and,
    logic_nand,
    logic_or,
    majority,
    parity,
    xor_sublinear,
)
from jaxdend.tasks.coincidence import bac_window, clustering
from jaxdend.tasks.interneurons import xor_nmda, xor_nmda_point, xor_nmda_without
from jaxdend.tasks.rall import rall
from jaxdend.tasks.sequence import (
    order,
    order_point,
    order_reverse,
    order_without_nmda,
    velocity_1ms,
    velocity_2ms,
    velocity_4ms,
)
from jaxdend.tasks.subunits import binding
from jaxdend.tasks.tuning import orientation
from jaxdend.tasks.two_layer import two_layer
from jaxdend.tasks.window import integration_window, integration_window_10
from jaxdend.tasks.xor import xor_channels, xor_dcaap, xor_passive_dendrite, xor_point

# name -> builder; its first paragraph of documentation describes the task
TASKS: dict[str, Callable[[int], AbstractTask]] = {
    "and": logic_and,
    "or": logic_or,
    "nand": logic_nand,
    "majority": majority,
    "parity": parity,
    "xor_dcaap": xor_dcaap,
    "xor_channels": xor_channels,
    "xor_nmda": xor_nmda,
    "xor_nmda_point": xor_nmda_point,
    "xor_nmda_without": xor_nmda_without,
    "xor_sublinear": xor_sublinear,
    "xor_perceptron": xor_perceptron,
    "xor_lif": xor_lif,
    "xor_passive": xor_passive,
    "xor_passive_dendrite": xor_passive_dendrite,
    "xor_point": xor_point,
    "rall": rall,
    "order": order,
    "order_reverse": order_reverse,
    "order_point": order_point,
    "order_without_nmda": order_without_nmda,
    "velocity_1ms": velocity_1ms,
    "velocity_2ms": velocity_2ms,
    "velocity_4ms": velocity_4ms,
    "binding": binding,
    "orientation": orientation,
    "integration_window": integration_window,
    "integration_window_10": integration_window_10,
    "bac_window": bac_window,
    "clustering": clustering,
    "two_layer": two_layer,
}


_TRAINS = ("xor_passive_dendrite", "xor_point", "xor_lif", "xor_passive", "xor_perceptron")

# task -> tasks that ask the same of a neuron that should not be able to
CONTROLS: dict[str, tuple[str, ...]] = {
    "xor_dcaap": _TRAINS,
    "xor_channels": _TRAINS,
    "xor_nmda": ("xor_nmda_point", "xor_nmda_without"),
    "order": ("order_point", "order_without_nmda"),
    "order_reverse": ("order_point", "order_without_nmda"),
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
