"""Figures: traces, neurons in 2-D, dendrograms, films, kymographs, fits, tasks, sweeps, emulators.

Every function takes plain arrays or the objects of this package, draws into `ax=` where it is
given and otherwise into a new figure of one consistent style, and returns what it drew into.
No global matplotlib setting is changed and no backend is forced.
"""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        'jaxdend.plotting needs matplotlib, which is an extra: pip install "jaxdend[plotting]"'
    ) from error

from jaxdend.plotting.dendrogram import plot_dendrogram
from jaxdend.plotting.emulator import (
    plot_depth,
    plot_generalisation,
    plot_memory,
    plot_order,
    plot_prediction,
    plot_templates,
    plot_tuft,
    plot_unit,
    plot_units,
)
from jaxdend.plotting.film import filmstrip, movie
from jaxdend.plotting.fit import plot_fit
from jaxdend.plotting.neuron import plot_neuron
from jaxdend.plotting.style import COLORS, context, literal, savefig
from jaxdend.plotting.sweep import plot_sweep
from jaxdend.plotting.task import compare_responses, plot_responses, plot_task
from jaxdend.plotting.traces import kymograph, plot_traces

__all__ = [
    "COLORS",
    "compare_responses",
    "context",
    "filmstrip",
    "kymograph",
    "movie",
    "plot_dendrogram",
    "plot_depth",
    "plot_fit",
    "plot_generalisation",
    "plot_memory",
    "plot_neuron",
    "plot_order",
    "plot_prediction",
    "plot_responses",
    "plot_sweep",
    "plot_task",
    "plot_templates",
    "plot_traces",
    "plot_tuft",
    "plot_unit",
    "plot_units",
    "literal",
    "savefig",
]
