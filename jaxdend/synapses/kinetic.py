"""Receptors as Markov schemes, driven by transmitter and voltage."""

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend._small import factorise, substitute
from jaxdend._types import as_leaf, as_row, as_sites, check_field, check_fields
from jaxdend.inputs import AbstractInput, shifted
from jaxdend.synapses.base import check_times, number

Transition = tuple[int, int, Array, Array]  # states a and b, rates a -> b and b -> a (k,) 1/ms


# Transitions of the NMDA scheme: from, to, (there, back) in 1/ms at 1 mM and 40 mV.
STEPS = (
    ("U", "Cl", (10.0, 0.02016)),
    ("Cl", "O", (0.0465, 0.0916)),
    ("Cl", "D1", (0.02266, 0.00736)),
    ("D1", "D2", (0.004429, 0.0023)),
    ("UMg", "ClMg", (10.0, 0.06156)),
    ("ClMg", "OMg", (0.0465, 0.0916)),
    ("ClMg", "D1Mg", (0.02163, 0.004002)),
    ("D1Mg", "D2Mg", (0.002678, 0.001932)),
    ("O", "OMg", (0.05, 12.8)),
    ("U", "UMg", (5e-5, 0.06)),
    ("Cl", "ClMg", (5e-5, 0.06)),
    ("D1", "D1Mg", (5e-5, 0.06)),
    ("D2", "D2Mg", (5e-5, 0.06)),
)


class AbstractKineticSynapse(AbstractInput):
    """A group of `k` receptors whose occupancies, a list of `(k,)`, follow a Markov scheme.

    Every event is a square pulse of transmitter; pulses that overlap saturate. A subclass names its
    `states` and writes `transitions`; the order of `states` is the order of elimination, so put
    those at the ends of the scheme first. Every number is an array leaf.

    **Arguments:** `site` int or `(k,)`; `weight` µS, the conductance with all channels open, a
    scalar or `(k,)`; `times (m,)` or `(k, m)` ms, in any order, padded with inf; `e_rev` mV,
    `transmitter` mM and `pulse` ms, scalars or `(k,)`.
    **Raises:** `ValueError` for shapes that do not match, NaN or inf, negative transmitter or
    pulse.
    """

    site: Array = eqx.field(converter=as_sites)  # (k,) int, compartments
    weight: Array = eqx.field(converter=as_row)  # (1,) or (k,) µS
    times: Array = eqx.field(converter=as_row)  # (m,) or (k, m) ms, inf where there is no event
    e_rev: Array = number(0.0)  # () or (k,) mV
    transmitter: Array = number(1.0)  # () or (k,) mM, during a pulse
    pulse: Array = number(1.0)  # () or (k,) ms, length of a pulse

    states: ClassVar[tuple[str, ...]]
    conducting: ClassVar[str]  # the open state
    timed: ClassVar[tuple[str, ...]] = (*AbstractInput.timed, "drive")

    def __check_init__(self) -> None:
        check_times(self)
        check_field(self, "weight", "finite", [(self.site.shape[0],), (1,)])
        check_fields(self, e_rev="finite", transmitter="nonnegative", pulse="nonnegative")

    @abc.abstractmethod
    def transitions(self, v: Array, drive: Array) -> list[Transition]:
        """The pairs of states with their rates at `v (k,)` mV and `drive (k,)` mM."""

    def init(self, v: Array) -> list[Array]:
        """Occupancies, one `(k,)` for each state, at rest at `v (k,)` mV without transmitter."""
        size = len(self.states)
        flow = jnp.zeros((v.shape[0], size, size), v.dtype)
        for a, b, there, back in self.transitions(v, jnp.zeros_like(v)):
            flow = flow.at[:, b, a].add(there).at[:, a, a].add(-there)
            flow = flow.at[:, a, b].add(back).at[:, b, b].add(-back)
        flow = flow.at[:, -1, :].set(1.0)  # instead of a redundant row: all occupancies add to 1
        one = jnp.zeros((v.shape[0], size, 1), v.dtype).at[:, -1].set(1.0)
        return list(jnp.linalg.solve(flow, one)[..., 0].T)

    def drive(self, t0: Array, t1: Array | None = None) -> Array:
        """Transmitter at `t0`, or its mean over `[t0, t1]` ms where that is longer: `(k,)` mM.

        At a point it is there iff `onset < t < onset + pulse`, and has no gradient with respect to
        event times; the mean has one. Solvers that do not round events, as `CrankNicolson`, take
        the mean over a step; those that do, as NEURON, the point in its middle.
        """
        times = jnp.broadcast_to(self.times, (self.site.shape[0], self.times.shape[-1]))
        pulse = jnp.broadcast_to(self.pulse, self.site.shape)[:, None]
        on = jnp.any((times < t0) & (t0 < times + pulse), axis=1).astype(times.dtype)
        if t1 is None:
            return self.transmitter * on
        longer = t1 > t0
        inside = jnp.maximum(jnp.minimum(t1, times + pulse) - jnp.maximum(t0, times), 0.0)
        mean = jnp.minimum(jnp.sum(inside, axis=1) / jnp.where(longer, t1 - t0, 1.0), 1.0)
        return self.transmitter * jnp.where(longer, mean, on)

    def derivative(self, v: Array, x: list[Array], t: Array) -> list[Array]:
        return self.flow(v, x, self.drive(t))

    def advance(self, v: Array, x: list[Array], t0: Array, t1: Array, h: Array) -> list[Array]:
        return self.relax(v, x, self.drive(t0, t1), h)

    def flow(self, v: Array, x: list[Array], drive: Array) -> list[Array]:
        """d(occupancies)/dt, a list of `(k,)` 1/ms, at `v (k,)` mV and `drive (k,)` mM."""
        flow = [jnp.zeros_like(v)] * len(self.states)
        for a, b, there, back in self.transitions(v, drive):
            net = there * x[a] - back * x[b]
            flow[a], flow[b] = flow[a] - net, flow[b] + net
        return flow

    def relax(self, v: Array, x: list[Array], drive: Array, h: Array) -> list[Array]:
        """Occupancies `h` ms later by one step of backward Euler at frozen `v` and `drive`.

        The system is eliminated without pivots, which an M-matrix allows, and without its zeros.
        It conserves the sum; dividing by it keeps rounding from adding up.
        """
        size = len(self.states)
        matrix = {(i, i): jnp.ones_like(v) for i in range(size)}
        for a, b, there, back in self.transitions(v, drive):
            matrix[a, a] = matrix[a, a] + h * there
            matrix[b, b] = matrix[b, b] + h * back
            matrix[b, a], matrix[a, b] = -h * there, -h * back
        solved = substitute(factorise(matrix, size), x)
        total = sum(solved[1:], solved[0])
        return [part / total for part in solved]

    def current(self, v: Array, x: list[Array]) -> Array:
        """Outward current `(k,)` nA at `v (k,)` mV and occupancies `x`, a list of `(k,)`."""
        return self.weight * x[self.states.index(self.conducting)] * (v - self.e_rev)

    def conductance_at(self, x: list[Array], t: Array) -> Array:
        del t
        return self.weight * x[self.states.index(self.conducting)]

    def outward(self, v: Array, x: list[Array], t0: Array, t1: Array) -> Array:
        del t0, t1
        return self.current(v, x)

    def edges(self) -> Array:
        """The times in ms at which the pulses of transmitter begin and end."""
        times = jnp.broadcast_to(self.times, (self.site.shape[0], self.times.shape[-1]))
        return jnp.stack([times, times + jnp.broadcast_to(self.pulse, self.site.shape)[:, None]])

    def since(self, origin: Array) -> "AbstractKineticSynapse":
        return shifted(self, origin, "times")


class NMDAKinetic(AbstractKineticSynapse):
    """The NMDA receptor of Branco et al. 2010: ten states, two of them a trapping block's.

    Unbound, closed, desensitised (two) and open, each with and without magnesium in the pore.
    `rates` holds, per row, the constants of a step there and back; see `STEPS`. With binding in
    mM⁻¹ ms⁻¹, magnesium steps in ms⁻¹ at 1 mM and 40 mV, all else in ms⁻¹.

    Source: Branco, Clark & Häusser 2010 (Science 329:1671), after Kampa et al. 2004 (J Physiol
    556:337).
    """

    e_rev: Array = number(5.0)  # () or (k,) mV
    transmitter: Array = number(2.0)  # () or (k,) mM, during a pulse
    pulse: Array = number(0.5)  # () or (k,) ms
    mg: Array = number(1.0)  # () or (k,) mM, magnesium outside
    rates: Array = eqx.field(
        default_factory=lambda: [rate for _, _, rate in STEPS], converter=as_leaf
    )  # (13, 2), there and back

    states: ClassVar[tuple[str, ...]] = (
        "D2",
        "D2Mg",
        "D1",
        "D1Mg",
        "O",
        "OMg",
        "Cl",
        "ClMg",
        "U",
        "UMg",
    )
    conducting: ClassVar[str] = "O"

    def __check_init__(self) -> None:
        check_fields(self, mg="nonnegative")
        check_field(self, "rates", "nonnegative", [(len(STEPS), 2)])

    def transitions(self, v: Array, drive: Array) -> list[Transition]:
        block = self.mg * jnp.exp(-1.6 * (v - 40.0) / 25.0)
        unblock = jnp.exp(0.4 * (v - 40.0) / 25.0)
        found = []
        for (a, b, _), (there, back) in zip(STEPS, self.rates, strict=True):
            if b == a + "Mg":
                there, back = there * block, back * unblock
            elif a in ("U", "UMg"):
                there = there * drive
            found.append((self.states.index(a), self.states.index(b), there, back))
        return found
