"""The usual conductance synapses. Variants are data: see each class's `presets`.

Published sets, all peak-normalised dual exponentials:

- `beniaguev2021`: Beniaguev, Segev & London 2021 (Neuron 109:2727), after Hay et al. 2011.
- `gidon2020`: Gidon et al. 2020 (Science 367:83).
- `jahr_stevens1990`: the magnesium block of Jahr & Stevens 1990 (J Neurosci 10:3178) with the time
  constants of `beniaguev2021`.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend._types import as_leaf, check_fields
from jaxdend.synapses.base import AbstractDualExponential, AbstractSynapse, Kinetics, number


class ExpSyn(AbstractSynapse):
    """A conductance that jumps by the weight and decays with `tau` (NEURON's `ExpSyn`)."""

    tau: Array = number(0.1)  # () or (k,) ms

    linear: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_fields(self, tau="positive")

    def impulse(self, lag: Array) -> Kinetics:
        return (jnp.exp(-lag / self.spread(self.tau, lag)),)

    def decay(self, z: Kinetics, h: Array) -> Kinetics:
        return (z[0] * jnp.exp(-h / self.spread(self.tau, z[0])),)

    def conductance(self, z: Kinetics) -> Array:
        return z[0]


class AlphaSynapse(AbstractSynapse):
    """`(s / tau) exp(1 - s / tau)` at `s` ms after an event: peak 1, at `s = tau`.

    With `cutoff`, in units of `tau`, the conductance ends at `s = cutoff tau` (Branco et al. 2010
    and NEURON's `AlphaSynapse` use 10). No linear state can end, so the group is then `explicit`:
    solvers evaluate the sum over its events at every step.
    """

    tau: Array = number(1.0)  # () or (k,) ms
    cutoff: Array | None = eqx.field(
        default=None, converter=lambda x: None if x is None else as_leaf(x)
    )  # () or (k,), or None for a full tail

    linear: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_fields(self, tau="positive")
        if self.cutoff is not None:
            check_fields(self, cutoff="positive")

    @property
    def explicit(self) -> bool:
        return self.cutoff is not None

    def impulse(self, lag: Array) -> Kinetics:
        tau = self.spread(self.tau, lag)
        rise = jnp.exp(1.0 - lag / tau) / tau
        return rise, lag * rise

    def decay(self, z: Kinetics, h: Array) -> Kinetics:
        gone = jnp.exp(-h / self.spread(self.tau, z[0]))
        return z[0] * gone, (z[1] + h * z[0]) * gone

    def conductance(self, z: Kinetics) -> Array:
        return z[1]

    def since(self, origin: Array) -> AbstractSynapse:
        return AbstractSynapse.since(self, origin)

    def edges(self) -> Array:
        """The event times and, with a cutoff, where the conductances end."""
        times = self.schedule()[0]
        if self.cutoff is None:
            return times
        lasts = jnp.broadcast_to(self.cutoff * self.tau, self.site.shape)
        return jnp.stack([times, times + lasts[:, None]])

    def kernel(self, lag: Array) -> Array:
        g = self.conductance(self.impulse(lag))
        if self.cutoff is None:
            return g
        return jnp.where(lag <= self.spread(self.cutoff * self.tau, lag), g, 0.0)


class Exp2Syn(AbstractDualExponential):
    """NEURON's `Exp2Syn`, with its defaults: `tau1` 0.1 ms, `tau2` 10 ms, `e_rev` 0 mV."""


class AMPA(AbstractDualExponential):
    """Fast excitation, by default that of Beniaguev et al. 2021."""

    tau1: Array = number(0.3)  # () or (k,) ms, rise
    tau2: Array = number(3.0)  # () or (k,) ms, decay

    presets: ClassVar[dict[str, dict[str, float]]] = {
        "beniaguev2021": {"tau1": 0.3, "tau2": 3.0, "e_rev": 0.0},
        "gidon2020": {"tau1": 0.3, "tau2": 1.8, "e_rev": 0.0},
    }


class NMDA(AbstractDualExponential):
    """Slow excitation behind a magnesium block, by default that of Beniaguev et al. 2021.

    `i = g (v - e_rev) mg_block(v, mg, gamma, mg_half)`. Both usual forms of the block are presets:
    Jahr & Stevens with 0.062 /mV (`jahr_stevens1990`), and steeper ones with 0.08 and 0.077 /mV.
    """

    tau1: Array = number(2.0)  # () or (k,) ms, rise
    tau2: Array = number(70.0)  # () or (k,) ms, decay
    mg: Array = number(1.0)  # () or (k,) mM, magnesium outside
    gamma: Array = number(0.08)  # () or (k,) 1/mV, steepness of the block
    mg_half: Array = number(3.57)  # () or (k,) mM, magnesium that blocks half at 0 mV

    linear: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, float]]] = {
        "beniaguev2021": {"tau1": 2.0, "tau2": 70.0, "gamma": 0.08},
        "gidon2020": {"tau1": 8.0, "tau2": 35.0, "gamma": 0.077},
        "jahr_stevens1990": {"tau1": 2.0, "tau2": 70.0, "gamma": 0.062},
    }

    def __check_init__(self) -> None:
        check_fields(self, mg="nonnegative", gamma="finite", mg_half="positive")

    def current(self, v: Array, g: Array) -> Array:
        """Outward current at `v (k,)` mV, `(k,)` nA; `g (k,)` µS is that of the unblocked pore."""
        return g * mg_block(v, self.mg, self.gamma, self.mg_half) * (v - self.e_rev)


class GABAA(AbstractDualExponential):
    """Fast inhibition, by default that of Beniaguev et al. 2021."""

    e_rev: Array = number(-80.0)  # () or (k,) mV
    tau1: Array = number(0.2)  # () or (k,) ms, rise
    tau2: Array = number(8.0)  # () or (k,) ms, decay

    presets: ClassVar[dict[str, dict[str, float]]] = {
        "beniaguev2021": {"tau1": 0.2, "tau2": 8.0, "e_rev": -80.0},
        "gidon2020_distal": {"tau1": 2.0, "tau2": 23.0, "e_rev": -75.0},
        "gidon2020_proximal": {"tau1": 0.5, "tau2": 5.0, "e_rev": -75.0},
    }


class GABAB(AbstractDualExponential):
    """Slow inhibition, by default that of Beniaguev et al. 2021."""

    e_rev: Array = number(-97.0)  # () or (k,) mV
    tau1: Array = number(3.5)  # () or (k,) ms, rise
    tau2: Array = number(260.9)  # () or (k,) ms, decay

    presets: ClassVar[dict[str, dict[str, float]]] = {
        "beniaguev2021": {"tau1": 3.5, "tau2": 260.9, "e_rev": -97.0},
    }


def mg_block(v: Array, mg: Array, gamma: Array, mg_half: Array) -> Array:
    """The open fraction of NMDA pores, `1 / (1 + exp(-gamma v) mg / mg_half)`.

    **Arguments:** `v` mV, any shape; `mg` and `mg_half` mM and `gamma` 1/mV, broadcast against it.
    **Returns:** an array of the broadcast shape, between 0 and 1.
    Source: Jahr & Stevens 1990, eq. 4a, with `gamma` 0.062 /mV and `mg_half` 3.57 mM.
    """
    return 1.0 / (1.0 + jnp.exp(-gamma * v) * mg / mg_half)
