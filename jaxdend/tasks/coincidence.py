"""Coincidence: of a somatic spike and a dendritic input, and of two inputs on one branch.

*BAC firing* (Larkum, Zhu & Sakmann 1999, Nature 398:338): a spike of the soma that runs back into
the dendrite lowers the threshold of a calcium spike there, so that a dendritic input makes a burst
if it comes within a few milliseconds of it. *Clustering* (Polsky, Mel & Schiller 2004, Nat Neurosci
7:621): two inputs add up to more than their sum on one branch, by an NMDA spike, and to
their sum on two.
"""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import CaHVA, CalciumShell, CaLVA, Im, Leak, NaTa, SKv3_1
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import single_compartment
from jaxdend.protocols.measure import time_above
from jaxdend.simulate import simulate
from jaxdend.stimuli import DualExponential, Step
from jaxdend.synapses import AMPA, NMDA
from jaxdend.tasks.base import AbstractNeuron, AbstractTask, Params, Placement, Score, Training
from jaxdend.tasks.logic import Logic
from jaxdend.tasks.thin_branches import REST, branch_sites, thin_branches
from jaxdend.traces import Traces

PULSE, ONSET, START = 1.9, 40.0, -80.0  # nA into the soma for 5 ms; ms; mV
PLATEAU = -40.0  # mV, above which the dendrite is in a calcium spike
INSIDE = (-3.0, 0.0, 5.0, 10.0)  # ms, dendritic input after the somatic pulse
OUTSIDE = (-30.0, -15.0, 25.0, 35.0)  # ms


class CalciumZone(AbstractNeuron):
    """A soma with sodium and potassium, a trunk, and a zone of calcium channels at its end.

    A pattern is the interval from the somatic pulse to the dendritic EPSP current (ms) and whether
    each of them comes: `(interval, soma, dendrite)`. Trained are the EPSP's peak current and the
    calcium, potassium and M conductances of the zone, and the trunk's sodium. The response is how
    long the zone lies above -40 mV, ms. Channels are those of Hay et al. (2011).
    """

    cell: Cell
    unit = "ms"

    def __init__(self):
        morphology = single_compartment(25.0, 25.0)
        up = (0.0, 1.0, 0.0)
        for i, (length, diameter) in enumerate(((150.0, 5.0), (150.0, 5.0), (100.0, 4.0))):
            parent = "soma[0]" if i == 0 else f"apic[{i - 1}]"
            morphology = morphology.with_cylinder(4, length, diameter, parent, 1.0, up)
        cell = Cell(morphology, max_length=1e3, ra=100.0, celsius=34.0)
        cell = cell.set("apical", cm=2.0).insert(Leak(g=1e-4, e=-85.0))
        cell = cell.insert(NaTa(gbar=2.0), "soma").insert(SKv3_1(gbar=0.7), "soma")
        self.cell = cell.insert(SKv3_1(gbar=1e-3), [1, 2])

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace(
            {
                "epsp": Parameter(0.1, 3.0, unit="nA"),
                "sodium": Parameter(3e-3, 0.05, unit="S/cm2"),
                "high": Parameter(1e-4, 1e-2, unit="S/cm2"),
                "low": Parameter(1e-3, 5e-2, unit="S/cm2"),
                "potassium": Parameter(1e-4, 2e-2, unit="S/cm2"),
                "m": Parameter(1e-5, 3e-3, unit="S/cm2"),
            }
        )

    def run(self, params: Params, pattern: Array) -> Traces:
        """The voltage of the soma and of the zone."""
        cell, zone = self.cell.insert(NaTa(gbar=params["sodium"]), [1, 2]), [3]
        for channel, name in ((CaHVA, "high"), (CaLVA, "low"), (SKv3_1, "potassium"), (Im, "m")):
            cell = cell.insert(channel(gbar=params[name]), zone)
        cell = cell.insert(CalciumShell(decay=122.0, gamma=5e-4), zone)
        interval, soma, dendrite = pattern
        inputs = (
            Step(0, ONSET, 5.0, PULSE * soma),
            DualExponential(3, ONSET + interval, params["epsp"] * dendrite, 0.5, 5.0),
        )
        return simulate(cell, inputs, t1=140.0, dt=0.05, v0=START, record=[0, 3], throw=False)

    def respond(self, params: Params, pattern: Array) -> Array:
        ts, v = self.trace(params, pattern)
        return unless_blown_up(time_above(ts, v, PLATEAU), v)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        traces = self.run(params, pattern)
        return traces.ts, jnp.asarray(traces.v)[:, 1]


def bac_window(seed: int = 0) -> Logic:
    """A calcium spike only if the dendritic input comes from 3 ms before to 10 ms after the soma's.

    Not 15 ms before or 25 ms after, nor by the pulse or the dendritic input alone. `seed` has no
    part in it.
    """
    del seed
    intervals = INSIDE + OUTSIDE
    patterns = [(dt, 1.0, 1.0) for dt in intervals] + [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    labels = [f"{dt:+.0f} ms" for dt in intervals] + ["soma alone", "dendrite alone"]
    targets = [dt in INSIDE for dt in intervals] + [False, False]
    return Logic(
        "bac_window",
        CalciumZone(),
        patterns,
        targets,
        threshold=15.0,
        margin=4.0,
        labels=labels,
        training=Training(configs=256, starts=4, steps=60),
    )


class ThreeInputs(AbstractNeuron):
    """Three inputs on passive branches: the first two share a branch, the third has another.

    The cell is that of the two-layer model without spikes. Trained are the weights of the inputs
    (AMPA, µS) and their share of NMDA. The response is the peak EPSP of the soma.
    """

    cell: Cell
    sites: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, same: int = 4, other: int = 8):
        self.cell = thin_branches(spiking=False)
        branches = branch_sites(self.cell)
        self.sites = (*(int(i) for i in branches[same]), int(branches[other][0]))

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace(
            {
                "weight": Parameter(1e-5, 1e-2, unit="uS", shape=(3,)),
                "nmda": Parameter(0.05, 5.0),
            }
        )

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        return unless_blown_up(jnp.max(v) - REST, v)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        weight = params["weight"] * pattern
        synapses = (
            AMPA(self.sites, weight, [5.0]),
            NMDA(self.sites, params["nmda"] * weight, [5.0]),
        )
        traces = simulate(self.cell, synapses, t1=60.0, dt=0.1, v0=REST, record=[0], throw=False)
        return traces.ts, jnp.asarray(traces.v)[:, 0]

    def placement(self, params: Params) -> Placement:
        weight = np.asarray(params["weight"])
        return Placement(self.cell, np.array(self.sites), np.arange(3), weight)


class Clustering(AbstractTask):
    """Two inputs on one branch exceed their sum, by `margin` mV more than two on different ones.

    Patterns are the three inputs of `ThreeInputs` alone, and the first with either of the others.
    The accuracy is the share of the two conditions that hold: the excess within the branch is at
    least the margin, and that across branches at most `tolerance` of its sum.
    """

    name: str = eqx.field(static=True)
    neuron: ThreeInputs
    patterns: Array  # (5, 3)
    margin: Array  # () mV
    tolerance: Array  # ()
    labels: tuple[str, ...] = eqx.field(static=True)
    training: Training = eqx.field(static=True)

    def __init__(self, margin: ArrayLike = 1.0, tolerance: ArrayLike = 0.1):
        self.name, self.neuron = "clustering", ThreeInputs()
        self.patterns = jnp.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1]], float)
        self.margin, self.tolerance = jnp.asarray(margin, float), jnp.asarray(tolerance, float)
        self.labels = ("X", "same branch", "other branch", "X + same", "X + other")
        self.training = Training(configs=64, starts=4, steps=60)

    def excess(self, responses: Array) -> tuple[Array, Array, Array]:
        """Response minus sum of parts, mV, within and across branches; and the latter's sum."""
        x, same, other, within, across = responses
        return within - x - same, across - x - other, x + other

    def loss(self, responses: Array) -> Array:
        within, across, total = self.excess(responses)
        short = self.margin * 1.25 - within
        over = jnp.abs(across) / total - 0.5 * self.tolerance
        uneven = jnp.abs(jnp.log(responses[2] / responses[1]))  # the parts are comparable
        small = jax.nn.softplus(4.0 * (0.3 - responses[:3]))  # and not nothing
        return jax.nn.softplus(short) + 10.0 * jax.nn.relu(over) + 0.3 * uneven + jnp.mean(small)

    def score(self, responses: Array) -> Score:
        within, across, total = self.excess(responses)
        right = jnp.stack([within >= self.margin, jnp.abs(across) <= self.tolerance * total])
        return Score(jnp.mean(right), within - jnp.abs(across), jnp.all(right))


def clustering(seed: int = 0) -> Clustering:
    """Supralinear within a branch, linear across branches (Polsky 2004); `seed` has no part."""
    del seed
    return Clustering()


class Summation(NamedTuple):
    """Measured against expected somatic EPSPs, mV, for inputs of growing strength."""

    expected_within: Array  # (d,) sum of the two alone
    within: Array  # (d,) both on one branch
    expected_across: Array  # (d,)
    across: Array  # (d,) on two branches


@eqx.filter_jit
def summation(task: Clustering, params: Params, drives: ArrayLike) -> Summation:
    """The arithmetic of two inputs whose weights are multiplied by `drives (d,)`."""

    def one(drive: Array) -> Summation:
        x, same, other, within, across = jax.vmap(
            lambda pattern: task.neuron.respond(params, drive * pattern)
        )(task.patterns)
        return Summation(x + same, within, x + other, across)

    return jax.vmap(one)(jnp.asarray(drives, float))
