"""The window of integration: feed-forward inhibition says how far apart two inputs may be.

An input that excites a neuron also excites interneurons, which inhibit it one or two synaptic
delays later. What the first of two inputs leaves behind for the second is cut short by then, so
that only inputs within a narrow window drive the neuron above threshold: less than 2 ms in
pyramidal cells of the hippocampus (Pouille & Scanziani 2001, Science 293:1159).
"""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

from typing import cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend.cell import Cell
from jaxdend.channels import Leak
from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.morphology import ball_and_stick
from jaxdend.simulate import simulate
from jaxdend.synapses import AMPA, GABAA
from jaxdend.tasks.base import AbstractNeuron, Params, Placement, Training
from jaxdend.tasks.logic import Logic
from jaxdend.traces import Traces

REST, THRESHOLD = -70.0, -55.0  # mV
ONSET, AFTER, DT = 5.0, 20.0, 0.1  # ms: the first input, what follows the last, time step
INTERVALS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 14.0, 18.0)  # ms, either input first
EXCITATION = 2e-3  # µS, of each input; alone it reaches -60 mV
INHIBITION = -80.0  # mV, its reversal potential


class FeedForward(AbstractNeuron):
    """Two inputs to the dendrite of a passive neuron, each followed by inhibition of the soma.

    Both inputs are equal, fixed and too weak to pass the threshold alone. Trained is their
    inhibition, the same after both: its `weight` (µS), the `delay` from excitation (ms), and the
    time constant of its decay, `tau` (ms). A pattern `(1,)` is the interval in ms from the first
    input to the second, negative where the second comes first. The response is the peak voltage of
    the soma, mV.

    **Arguments:** `longest`, the longest interval in ms.
    """

    cell: Cell
    sites: Array  # (2,) int, of the two inputs
    longest: float = eqx.field(static=True)  # ms

    def __init__(self, longest: float = max(INTERVALS)):
        cell = Cell(ball_and_stick(20.0, 200.0, 2.0), max_length=50.0, ra=150.0)
        self.cell = cell.insert(Leak(g=5e-5, e=REST))
        self.sites = jnp.array([cell.locate(section="dend[0]", x=x) for x in (0.4, 0.6)])
        self.longest = float(longest)

    @property
    def space(self) -> ParameterSpace:
        return ParameterSpace(
            {
                "weight": Parameter(1e-4, 5e-2, unit="uS"),
                "delay": Parameter(1.0, 5.0, unit="ms"),
                "tau": Parameter(1.0, 30.0, unit="ms"),
            }
        )

    def respond(self, params: Params, pattern: Array) -> Array:
        _, v = self.trace(params, pattern)
        return unless_blown_up(jnp.max(v), v)

    def trace(self, params: Params, pattern: Array) -> tuple[Array, Array]:
        traces = self.run(params, pattern)
        return traces.ts, cast(Array, traces.v)[:, 0]

    def run(self, params: Params, pattern: Array, cell: Cell | None = None) -> Traces:
        """The voltage of the soma, of another `cell` with the same compartments if one is given."""
        lag = pattern[0]
        times = ONSET + jnp.stack([jnp.maximum(-lag, 0.0), jnp.maximum(lag, 0.0)])[:, None]
        later = times + params["delay"]
        kinetics = {"e_rev": INHIBITION, "tau2": params["tau"]}
        synapses = (
            AMPA(self.sites, EXCITATION, times, max_per_step=2),
            GABAA(jnp.zeros(2, int), params["weight"], later, **kinetics, max_per_step=2),
        )
        t1 = ONSET + self.longest + AFTER
        cell = self.cell if cell is None else cell
        return simulate(cell, synapses, t1=t1, dt=DT, v0=REST, record=[0], throw=False)

    def placement(self, params: Params) -> Placement:
        sites = np.concatenate([np.asarray(self.sites), [0, 0]])
        weight = np.array([EXCITATION] * 2 + [-float(params["weight"])] * 2)
        return Placement(self.cell, sites, np.array([0, 1, 0, 1]), weight)


def integration_window(seed: int = 0, width: float = 2.0) -> Logic:
    """Only inputs at most 2 ms apart drive the neuron above threshold; its inhibition is learned.

    Without inhibition, inputs 18 ms apart do. `width` is how far apart they may be, ms. `seed` has
    no part in the task, only in its training.

    **Raises:** `ValueError` for a width that leaves no interval of `INTERVALS` inside or outside.
    """
    del seed
    apart = np.array(INTERVALS)
    if not apart[0] <= width < apart[-1]:
        raise ValueError(
            f"integration_window: width must be in [{apart[0]:g}, {apart[-1]:g}) ms; got {width}."
        )
    intervals = np.concatenate([-apart[:0:-1], apart])
    return Logic(
        "integration_window" if width == 2.0 else f"integration_window_{width:g}",
        FeedForward(),
        intervals[:, None],
        np.abs(intervals) <= width,
        threshold=THRESHOLD,
        margin=0.4,
        labels=tuple(f"{x:+g} ms" if x else "0 ms" for x in intervals),
        training=Training(configs=4, starts=4, steps=150, rate=0.1),
    )


def integration_window_10(seed: int = 0) -> Logic:
    """The task `integration_window` for inputs that are at most 10 ms apart."""
    return integration_window(seed, 10.0)


def measured_window(
    intervals: ArrayLike, responses: ArrayLike, threshold: float = THRESHOLD
) -> tuple[float, float]:
    """Where the responses fall below threshold on either side of interval 0, ms.

    **Arguments:** ascending `intervals (P,)` ms, 0 among them, and `responses (P,)` mV.

    **Returns:** the last interval above threshold on the negative and on the positive side,
    interpolated; the end of the intervals where the responses stay above, and 0 on both sides where
    the response to 0 is below.
    """
    x, above = np.asarray(intervals, float), np.asarray(responses, float) - threshold
    zero = int(np.flatnonzero(x == 0.0)[0])

    def edge(step: int) -> float:
        i, end = zero, 0 if step < 0 else len(x) - 1
        while i != end and above[i + step] >= 0:
            i += step
        if i == end:
            return float(x[end])
        part = above[i] / (above[i] - above[i + step])
        return float(x[i] + part * (x[i + step] - x[i]))

    return (0.0, 0.0) if above[zero] < 0 else (edge(-1), edge(1))
