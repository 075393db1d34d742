"""The demonstration: hidden conductances recovered by gradient descent, and a dendrite that learns.

The first part is a fit file like any other: `jaxdend demo` writes it to its output folder as
`resolved.toml`, from where `jaxdend fit resolved.toml` repeats it, with whatever was changed in
between. The second part is the task `xor_dcaap`, and the same task with a perceptron: `jaxdend task
run` repeats them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxdend.config import FitFile
from jaxdend.tasks import Logic, TaskResult, train
from jaxdend.tasks.baselines import xor_perceptron
from jaxdend.tasks.xor import TRAINING, xor_dcaap

NEURON = "bmtk:Rorb_325404214_m"  # a mouse visual cortex neuron of the Allen Institute, BSD licence

STORY = (
    "Five conductances of a neuron are hidden: sodium and potassium in soma and axon, sodium and "
    "potassium in the dendrites, and the leak. All that is known is the voltage at three sites "
    "during two current steps. Gradient descent finds them again, from random starts at once."
)

XOR_STORY = (
    "Exclusive or: fire for X alone and for Y alone, but not for both. A perceptron cannot. A "
    "neuron with a calcium spike in its dendrite that shrinks with its input can. Both are trained "
    "on Poisson trains drawn anew at every step, and scored on trains that training never saw."
)
XOR_TASKS = {"dendrite": xor_dcaap, "perceptron": xor_perceptron}

# path, true value and bounds, S/cm²
HIDDEN = (
    ("soma_hh.gnabar", 0.12, [0.03, 0.4]),
    ("soma_hh.gkbar", 0.036, [0.01, 0.12]),
    ("dend_hh.gnabar", 0.02, [0.004, 0.06]),
    ("dend_hh.gkbar", 0.006, [0.0015, 0.02]),
    ("Leak.g", 1e-4, [3e-5, 4e-4]),
)


def demo_tables(*, embedded: bool = False, seed: int = 0, starts: int = 10) -> dict[str, Any]:
    """The tables of the demonstration's fit file.

    **Arguments:** `embedded`, take the procedural cell, which needs no file; `seed` of the random
    starts; `starts`, how many.
    """
    tree = {"procedural": "pyramidal", "seed": 0} if embedded else {"file": NEURON}
    down, up = (-0.5, 1.5) if embedded else (-0.1, 0.3)  # nA
    return {
        "morphology": tree,
        "cell": {"max_length": 80.0 if embedded else 40.0, "cm": 1.0, "ra": 150.0, "celsius": 6.3},
        "insert": [
            {"channel": "Leak", "e": -65.0},
            {"channel": "HH", "name": "soma_hh", "where": ["soma", "axon"], "gl": 0.0},
            {"channel": "HH", "name": "dend_hh", "where": ["dendrite"], "gl": 0.0},
        ],
        "stimulus": [
            {"kind": "Step", "at": {"region": "soma"}}
            | {"onset": 2.0, "duration": 10.0, "amplitude": down},
            {"kind": "Step", "at": {"region": "soma"}}
            | {"onset": 15.0, "duration": 25.0, "amplitude": up},
        ],
        "simulate": {
            "t1": 42.0,
            "dt": 0.05,
            "v0": -65.0,
            "precision": "float64",
            "record": [
                {"region": "soma"},
                {"region": "apical", "distance": 250.0},
                {"region": "basal", "distance": 80.0},
            ],
        },
        "parameter": [
            {"path": path, "true": true, "bounds": bounds} for path, true, bounds in HIDDEN
        ],
        "fit": {"starts": starts, "seed": seed},
        "stage": [{"loss": "smoothed_rms", "steps": 150, "rate": 0.4}],
    }


def demo_file(
    *, embedded: bool = False, seed: int = 0, starts: int = 10, steps: int | None = None
) -> FitFile:
    """The demonstration as a checked fit file; `steps` replaces the steps of every stage."""
    tables = demo_tables(embedded=embedded, seed=seed, starts=starts)
    if steps is not None:
        for stage in tables["stage"]:
            stage["steps"] = steps
    return FitFile.check(Path("demo"), tables)


def demo_xor(*, seed: int = 0, steps: int | None = None) -> dict[str, tuple[Logic, TaskResult]]:
    """Train the dendrite and the perceptron on XOR, from as many random neurons.

    Random neurons and validation alone do here; `jaxdend task run` descends the gradient besides.

    **Arguments:** `seed` of the random neurons and of the draws; `steps` of gradient at most, by
    default none.
    """
    few = replace(TRAINING, steps=0 if steps is None else steps)
    trained = {}
    for name, builder in XOR_TASKS.items():
        task = builder()
        trained[name] = task, train(task, seed=seed, training=few)
    return trained
