"""Subthreshold: input and transfer resistance, attenuation, sag."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._blown_up import unless_blown_up
from jaxdend._subset import is_concrete
from jaxdend.cell import Cell
from jaxdend.mechanisms.base import AbstractChannel, Env, States, param
from jaxdend.protocols.measure import Numbers, known_sites, numbers
from jaxdend.rest import rest
from jaxdend.simulate import simulate
from jaxdend.stimuli import Step
from jaxdend.units import DENSITY_TO_NA


class Injection(AbstractChannel):
    """A constant current through the membrane, to ask `rest` how it moves the voltage."""

    density: Array = param(0.0, unit="mA/cm2", doc="inward current density")

    def current(self, v: Array, x: States, env: Env) -> Array:
        del x, env
        return -self.density * jnp.ones_like(v)


class Resistances(NamedTuple):
    """Steady voltage per steady current between k sites, for small currents around rest."""

    rest: Array  # (k,) mV
    input: Array  # (k,) MΩ
    transfer: Array  # (k, k) MΩ, [i, j]: voltage at j per current into i; symmetric if passive
    attenuation: Array  # (k, k), [i, j]: voltage at j over the voltage at i for current into i


def resistances(cell: Cell, sites: Numbers, *, v0: ArrayLike = -65.0) -> Resistances:
    """Input and transfer resistances at direct current, by one linear solve per site.

    The derivative of `jd.rest` with respect to a current: gates and concentrations follow to their
    steady states, so for an active cell it is the slope resistance, sag included. For a passive
    cell it is exact at any current. Differentiable.

    **Arguments:** `sites (k,)`, compartments with membrane; `v0` mV, where to look for rest.
    **Raises:** `ValueError` for sites outside the cell or without membrane, and as `jd.rest`.
    """
    sites = jnp.atleast_1d(known_sites(cell, sites, "sites"))
    if is_concrete(sites):
        bare = ~np.isin(np.asarray(sites), cell.membrane.index)
        if bare.any():
            raise ValueError(
                f"resistances: site {int(np.asarray(sites)[bare][0])} has no membrane; take the "
                "compartment next to it."
            )
    return _resistances(cell, sites, jnp.asarray(v0, float))


@eqx.filter_jit
def _resistances(cell: Cell, sites: Array, v0: Array) -> Resistances:
    def steady(current: Array) -> tuple[Array, Array]:
        density = jnp.zeros(cell.n).at[sites].add(current / (DENSITY_TO_NA * cell.area[sites]))
        v = rest(cell.insert(Injection(density=density)), v0=v0).v[sites]  # type: ignore[arg-type]
        return v, v

    moved, v = jax.jacfwd(steady, has_aux=True)(jnp.zeros(sites.shape))
    transfer = moved.T
    own = jnp.diagonal(transfer)
    return Resistances(v, own, transfer, transfer / own[:, None])


class StepResponse(NamedTuple):
    """Voltage per current during long steps, for a amplitudes at r sites; NaN if a run blew up."""

    amplitudes: Array  # (a,) nA
    base: Array  # (r,) mV, before the step
    peak: Array  # (a, r) MΩ, the largest deflection over the current
    steady: Array  # (a, r) MΩ, the deflection at the end over the current
    sag: Array  # (a, r), 1 - steady / peak


def step_response(
    cell: Cell,
    site: ArrayLike,
    amplitudes: Numbers = -0.05,
    *,
    sites: Numbers | None = None,
    duration: float = 1000.0,
    **options: Any,
) -> StepResponse:
    """Input resistance from steps of current at `site`, in one batch: peak and steady (the sag).

    At further `sites` the same numbers are transfer resistances; divided by those at `site` they
    are attenuations.

    **Arguments:** `amplitudes (a,)` nA, not 0; `sites (r,)`, by default `site`; `duration` ms of
    the step, which starts at once: give the resting state as `v0=jd.rest(cell)` or `settle`.

    **Raises:** `ValueError` for an amplitude of 0 or sites outside the cell, and as `jd.simulate`.
    """
    site = known_sites(cell, site, "site")
    sites = site if sites is None else known_sites(cell, sites, "sites")
    amplitudes = jnp.atleast_1d(jnp.asarray(amplitudes, float))
    if is_concrete(amplitudes) and not np.all(amplitudes):
        raise ValueError(
            "step_response: a resistance is voltage per current, so no amplitude may be 0 nA; got "
            f"{np.asarray(amplitudes).tolist()}."
        )
    return _step_response(cell, site, jnp.atleast_1d(sites), amplitudes, duration, numbers(options))


@eqx.filter_jit
def _step_response(
    cell: Cell, site: Array, sites: Array, amplitudes: Array, duration: float, options: dict
) -> StepResponse:
    def one(amplitude: Array) -> tuple[Array, Array, Array]:
        step = Step(site, 0.0, 2 * duration, amplitude)
        v = simulate(cell, step, t1=duration, record=sites, **options).v
        per_current = (v - v[0]) / amplitude  # type: ignore[index]
        found = v[0], jnp.max(per_current, axis=0), per_current[-1]  # type: ignore[index]
        return unless_blown_up(found, v)  # type: ignore[arg-type]

    base, peak, steady = jax.vmap(one)(amplitudes)
    return StepResponse(amplitudes, base[0], peak, steady, 1.0 - steady / peak)
