"""Recording functions for `simulate(record={...})`: gates, currents, concentrations, conductances.

```python
traces = jd.simulate(cell, inputs, t1=50.0, record={"v": 0, "m": Gate("HH", "m", 0)})
traces["m"]  # (t,)
```

Sites are compartments, an int or `(r,)` int; the result has the shape of the sites. Known sites are
checked and part of the program; to change them without compiling anew, trace them (`jax.vmap`).
"""

from typing import Any, cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._subset import Mask, Subset, is_concrete
from jaxdend.cell import Inserted
from jaxdend.dynamics import Model, State
from jaxdend.mechanisms.base import AbstractChannel, AbstractPool, Env
from jaxdend.stimuli import VoltageClamp
from jaxdend.synapses import AbstractKineticSynapse, AbstractSynapse

Sites = int | tuple[int, ...] | Array


def _known(sites: ArrayLike) -> Sites:
    """Known sites as Python ints, which stay known inside `jit`; traced ones as they are."""
    if not is_concrete(sites):
        return jnp.asarray(sites)
    given = np.asarray(sites)
    if given.dtype.kind not in "iu" or given.ndim > 1:
        raise ValueError(f"a recorder's sites must be an int or (r,) ints; got {sites!r}.")
    return int(given) if given.ndim == 0 else tuple(int(i) for i in given)


class Gate(eqx.Module):
    """One state of a mechanism, such as the gate m of HH: 1, or mM for a concentration.

    **Arguments:** `mechanism`, its class name; `state`, the name of the state; `sites`.
    **Raises:** `ValueError` for a mechanism, state or site that is not there, listing what is.
    """

    mechanism: str = eqx.field(static=True)
    state: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_known)  # () or (r,) int, compartments

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The state, of the shape of `sites`."""
        i, item = _find(model, self.mechanism)
        held = state.mechanisms[i]
        if self.state not in held:
            raise ValueError(
                f"Gate: {self.mechanism} has no state {self.state!r}; it has {sorted(held)}."
            )
        return jnp.asarray(held[self.state])[_rows(item.at, self.sites, self.mechanism)]


class Current(eqx.Module):
    """Outward current density of one channel, mA/cm², summed over the ions that carry it.

    **Arguments:** `mechanism`, its class name; `sites`. Errors as for `Gate`.
    """

    mechanism: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_known)  # () or (r,) int, compartments

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current density, of the shape of `sites`."""
        i, item = _find(model, self.mechanism)
        if not isinstance(item.mechanism, AbstractChannel):
            raise ValueError(f"Current: {self.mechanism} carries no current; Inside(ion) reads it.")
        currents = _currents(item, state, model.environments(state.mechanisms)[i], i)
        density = jnp.asarray(sum(currents.values()))
        return density[_rows(item.at, self.sites, self.mechanism)]


class IonCurrent(eqx.Module):
    """Outward current density of one ion, mA/cm², summed over the channels; 0 where there are none.

    **Arguments:** `ion`, such as `"ca"`; `sites`.
    **Raises:** `ValueError` for an ion that no channel of the cell carries.
    """

    ion: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_known)  # () or (r,) int, compartments

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current density, of the shape of `sites`."""
        total = jnp.zeros(model.n, state.v.dtype)
        carried: set[str | None] = set()
        envs = model.environments(state.mechanisms)
        for i, item in enumerate(model.inserted):
            if isinstance(item.mechanism, AbstractChannel):
                currents = _currents(item, state, envs[i], i)
                carried |= set(currents)
                if self.ion in currents:
                    total = item.at.add_to(total, currents[self.ion])
        if self.ion not in carried:
            raise ValueError(
                f"IonCurrent: no channel carries {self.ion!r}; the cell's ions are "
                f"{sorted(ion for ion in carried if ion)}."
            )
        return total[_checked(self.sites, model.n)]


class Inside(eqx.Module):
    """Concentration of an ion inside the membrane, mM.

    **Arguments:** `ion`, such as `"ca"`; `sites`.
    **Raises:** `ValueError` for an ion whose concentration no mechanism moves.
    """

    ion: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_known)  # () or (r,) int, compartments

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The concentration, of the shape of `sites`."""
        for item, x in zip(model.inserted, state.mechanisms, strict=True):
            if isinstance(item.mechanism, AbstractPool) and item.mechanism.ion == self.ion:
                return x["inside"][_rows(item.at, self.sites, type(item.mechanism).__name__)]
        raise ValueError(
            f"Inside: no mechanism moves {self.ion!r}; insert one, such as CalciumShell. "
            f"Moved here: {list(model.moved)}."
        )


class ClampCurrent(eqx.Module):
    """Current that a voltage clamp injects, `(k,)` nA.

    **Arguments:** `index`, its position among the inputs of `simulate`.
    **Raises:** `ValueError` where that input is no `VoltageClamp`.
    """

    index: int = eqx.field(static=True)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current, `(k,)` nA, from the voltage at `t`."""
        clamp = _input(model, self.index, (VoltageClamp,), "ClampCurrent")
        return clamp.current(t, state.v[clamp.site])


class Conductance(eqx.Module):
    """Conductance of a group of event synapses, `(k,)` µS, before any voltage-dependent block.

    It is summed over the events up to `t`, hence exact whichever the solver; that of a kinetic
    synapse is its state.

    **Arguments:** `index`, its position among the inputs of `simulate`.
    **Raises:** `ValueError` where that input is no event synapse.
    """

    index: int = eqx.field(static=True)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The conductance of the group at time `t`, `(k,)` µS."""
        group = _input(model, self.index, (AbstractSynapse, AbstractKineticSynapse), "Conductance")
        if isinstance(group, AbstractSynapse):
            return group.summed(t)
        x = state.inputs[self.index]
        return group.weight * x[group.states.index(group.conducting)]


def _find(model: Model, name: str) -> tuple[int, Inserted]:
    names = [type(item.mechanism).__name__ for item in model.inserted]
    if name not in names:
        raise ValueError(f"no mechanism {name!r} in this cell; it has {sorted(names)}.")
    return names.index(name), model.inserted[names.index(name)]


def _currents(item: Inserted, state: State, env: Env, i: int) -> dict[str | None, Array]:
    v, channel = item.at.take(state.v), cast(AbstractChannel, item.mechanism)
    current = channel.current(v, state.mechanisms[i], env)
    given = current if isinstance(current, dict) else {channel.ion: current}
    return {ion: jnp.broadcast_to(density, v.shape) for ion, density in given.items()}


def _input(model: Model, index: int, kinds: tuple[type, ...], what: str) -> Any:
    if not 0 <= index < len(model.inputs) or not isinstance(model.inputs[index], kinds):
        there = [f"{i}: {type(item).__name__}" for i, item in enumerate(model.inputs)]
        wanted = " or ".join(kind.__name__.removeprefix("Abstract") for kind in kinds)
        raise ValueError(f"{what}({index}) needs a {wanted}; the inputs are {there}.")
    return model.inputs[index]


def _checked(sites: Sites, n: int) -> Array:
    if is_concrete(sites):
        given = np.asarray(sites)
        if np.any((given < 0) | (given >= n)):
            raise ValueError(f"a recorder's sites must lie in 0..{n - 1}; got {given.tolist()}.")
    return jnp.asarray(sites)


def _rows(at: Subset | Mask, sites: Sites, name: str) -> Array:
    """Where `sites` stand among the mechanism's own compartments."""
    if is_concrete(sites):
        missing = np.setdiff1d(np.asarray(sites), at.index)
        if len(missing):
            raise ValueError(
                f"{name} is not in compartment {missing[0]}; it sits in {len(at)} compartments "
                f"from {at.index[0]} to {at.index[-1]}."
            )
    return jnp.searchsorted(jnp.asarray(at.index), jnp.asarray(sites))
