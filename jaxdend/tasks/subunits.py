"""What one nonlinear dendritic subunit adds to a linear neuron (Cazé, Humphries & Gutkin 2013).

A binary neuron answers `1[w·x + f(u·x) >= threshold]` with weights that are not negative: a linear
part and one dendritic subunit, `saturating` with `f = min(u·x, height)`, or `spiking` with
`f = height` where `u·x >= height` and 0 elsewhere. `solve` finds the weights for any positive
function of up to four inputs, or shows that there are none among small whole numbers; without a
subunit it settles linear separability.

The same with conductances: `SublinearBranches`, two passive dendrites on a soma that spikes. There,
summation saturates because the driving force is lost.
"""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

import itertools
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import HH, Leak
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import single_compartment
from jaxdend.simulate import simulate
from jaxdend.synapses import AMPA
from jaxdend.tasks.base import AbstractNeuron, Params, Placement, Training
from jaxdend.tasks.logic import Logic
from jaxdend.traces import Traces

Kind = Literal["linear", "saturating", "spiking"]

REST, START = -65.0, -68.0  # mV, of the leak; start
ONSET, T1, DT = 5.0, 25.0, 0.05  # ms
LARGEST = {"linear": (3,), "saturating": (2, 4), "spiking": (2,)}  # weights 0, 1, … up to this


def positive_classes(n: int) -> list[np.ndarray]:
    """One truth table of every class of positive functions that depend on all of `n` inputs.

    Positive: switching an input on never switches the answer off. A class holds the functions that
    are the same but for the order of the inputs. There are 2, 5 and 20 for n = 2, 3 and 4.

    **Returns:** tables `(2^n,)` bool, rows in the order of `itertools.product([False, True], ...)`.
    **Raises:** `ValueError` for n outside 1..4.
    """
    if n not in (1, 2, 3, 4):
        raise ValueError(f"positive_classes: expected 1 to 4 inputs; got {n}.")
    rows = patterns(n)
    orders = [
        [int(np.flatnonzero((rows == row[list(order)]).all(axis=1))[0]) for row in rows]
        for order in itertools.permutations(range(n))
    ]
    found: dict[tuple[bool, ...], np.ndarray] = {}
    for table in _monotone(n):
        depends = all((table[rows[:, i] == 1] != table[rows[:, i] == 0]).any() for i in range(n))
        least = min(tuple(table[order].tolist()) for order in orders)
        if depends:
            found.setdefault(least, np.array(least))
    return list(found.values())


def patterns(n: int) -> np.ndarray:
    """All patterns of `n` inputs as rows of 0 and 1, `(2^n, n)`."""
    return np.array(list(itertools.product([0, 1], repeat=n)))


def _monotone(n: int) -> list[np.ndarray]:
    """Every monotone table: a pair of monotone tables of one input less, the first below."""
    tables = [np.array([False]), np.array([True])]
    for _ in range(n):
        tables = [
            np.concatenate([low, high]) for low in tables for high in tables if np.all(low <= high)
        ]
    return tables


@dataclass(frozen=True)
class Solution:
    """Whole-number weights of a neuron with one subunit that compute a function."""

    linear: tuple[int, ...]  # weights of the linear part
    subunit: tuple[int, ...]  # weights of the subunit, zero where there is none
    height: int  # where the subunit saturates or spikes
    threshold: float  # between the least answer "yes" and the largest "no"


def solve(table: ArrayLike, kind: Kind) -> Solution | None:
    """A neuron of a linear part and one subunit of `kind` that computes `table (2^n,)`, or `None`.

    All whole-number weights up to `LARGEST` are tried, with every height of the subunit. Up to 3 is
    enough for every linearly separable function of four inputs.

    **Raises:** `ValueError` for an unknown kind or a table of another length than 2, 4, 8 or 16.
    """
    if kind not in LARGEST:
        raise ValueError(f"solve: expected one of {', '.join(LARGEST)}; got {kind!r}.")
    wanted = np.asarray(table, bool).reshape(-1)
    n = len(wanted).bit_length() - 1
    if len(wanted) not in (2, 4, 8, 16):
        raise ValueError(f"solve: a table of 1 to 4 inputs has 2 to 16 rows; got {len(wanted)}.")
    if wanted.all() or not wanted.any():
        return Solution((0,) * n, (0,) * n, 1, -0.5 if wanted.all() else 0.5)
    tries = (_search(wanted, n, kind, largest) for largest in LARGEST[kind])
    return next((found for found in tries if found is not None), None)


def _search(wanted: np.ndarray, n: int, kind: Kind, largest: int) -> Solution | None:
    weights = np.array(list(itertools.product(range(largest + 1), repeat=n)), np.int16)  # (W, n)
    sums = weights @ patterns(n).T.astype(np.int16)  # (W, P)
    heights = [1] if kind == "linear" else range(1, int(sums.max()) + 1)
    for height in heights:
        parts = _subunit(sums, height, kind)
        yes = (sums[:, None, wanted] + parts[None, :, wanted]).min(axis=-1)  # (W, W or 1)
        no = (sums[:, None, ~wanted] + parts[None, :, ~wanted]).max(axis=-1)
        right = np.argwhere(yes > no)
        if len(right):
            i, j = right[0]
            subunit = tuple(weights[j].tolist()) if kind != "linear" else (0,) * n
            threshold = (int(yes[i, j]) + int(no[i, j])) / 2
            return Solution(tuple(weights[i].tolist()), subunit, height, threshold)
    return None


def answers(solution: Solution, kind: Kind) -> np.ndarray:
    """The truth table `(2^n,)` that a solution computes."""
    rows = patterns(len(solution.linear))
    part = _subunit(rows @ np.array(solution.subunit), solution.height, kind)
    return rows @ np.array(solution.linear) + part >= solution.threshold


def _subunit(sums: np.ndarray, height: int, kind: Kind) -> np.ndarray:
    if kind == "saturating":
        return np.minimum(sums, height)
    if kind == "spiking":
        return height * (sums >= height)
    return np.zeros_like(sums[:1])


class SublinearBranches(AbstractNeuron):
    """Two passive dendrites on a soma of Hodgkin and Huxley, and inputs on both.

    Each of four inputs has a synapse at the tip of either dendrite (L 50, d 0.4 µm, Ra 150 Ω·cm,
    1e-4 S/cm²; soma 10 µm). Together on one dendrite two of them take each other's driving force,
    so that they depolarise the soma less than on two. Trained are the weights of the eight synapses
    and the leak of the soma, which sets the threshold. The response is the peak of the soma.
    """

    cell: Cell
    tips: tuple[int, ...] = eqx.field(static=True)

    def __init__(self):
        morphology = single_compartment(10.0, 10.0)
        for side in (-1.0, 1.0):
            way = (side, 0.0, 0.0)
            morphology = morphology.with_cylinder(3, 50.0, 0.4, direction=way)
        cell = Cell(morphology, max_length=17.0, ra=150.0)
        self.cell = cell.insert(Leak(g=1e-4, e=REST), "dendrite")
        self.tips = tuple(cell.locate(section=f"dend[{i}]", x=1.0) for i in range(2))

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace(
            {
                "weight": Parameter(1e-5, 6e-3, unit="uS", shape=(2, 4)),
                "leak": Parameter(1e-3, 1e-2, unit="S/cm2"),
            }
        )

    def run(self, params: Params, pattern: Array) -> Traces:
        """The voltage of the soma and both tips; `pattern (4,)`, 1 where an input is active."""
        cell = self.cell.insert(HH(gl=params["leak"], el=REST), "soma")
        synapses = AMPA(self.tips, params["weight"] @ pattern, [ONSET])
        record = [0, *self.tips]
        return simulate(cell, synapses, t1=T1, dt=DT, v0=START, record=record, throw=False)

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        return unless_blown_up(jnp.max(v), v)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        traces = self.run(params, pattern)
        return traces.ts, jnp.asarray(traces.v)[:, 0]

    def placement(self, params: Params) -> Placement:
        weight = np.asarray(params["weight"]).reshape(-1)
        return Placement(self.cell, np.repeat(self.tips, 4), np.tile(np.arange(4), 2), weight)


def binding(seed: int = 0) -> Logic:
    """Feature binding, x1 x4 + x2 x3, by dendrites that saturate; `seed` has no part in it."""
    del seed
    training = Training(configs=512, starts=8, steps=150, rate=0.05)
    return Logic.of("BINDING", SublinearBranches(), threshold=-30.0, margin=10.0, training=training)
