"""Recording functions for `simulate(record={...})`: gates, currents, concentrations, conductances.

```python
record = {"v": 0, "m": Gate("HH", "m", "soma"), "out": MembraneCurrent(cell.region("apical"))}
traces = jd.simulate(cell, inputs, t1=50.0, record=record)
traces["m"]  # (t,)
```

Sites are a compartment number or a name, for results `(t,)`, or `(r,)` numbers, a bool array `(n,)`
or a list of these and names, for results `(t, r)`. Known ones are checked before the run
(`resolve`); they are data, so that other sites of the same shape run in the same program. At a
traced site that is not there the result is NaN.

Currents are outward: positive where charge leaves the compartment. Those through the membrane by
mechanism or ion are densities, mA/cm²; the others are nA. At every compartment with membrane

    mechanisms (mA/cm² · area · 1e-2) + CapacitiveCurrent + inputs (InputCurrent) + AxialCurrent = 0

All of them are those of the recorded state at `t`. `Rodas4P` and the solvers of diffrax hold all of
it at `t`. Under `CrankNicolson` gates, concentrations and receptors stand at `t + dt / 2`, half a
step ahead of the voltage; under `BackwardEuler` all stand at `t`. What follows from events alone,
as the conductance of a synapse, is summed over those up to `t` whichever the solver.
"""

import abc
from dataclasses import replace
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._subset import Mask, Subset, is_concrete
from jaxdend.cell import Cell, Inserted
from jaxdend.dynamics import Model, State
from jaxdend.inputs import AbstractInput
from jaxdend.mechanisms.base import Env
from jaxdend.mechanisms.ions import IONS, nernst
from jaxdend.places import Place, Places, numbers, split

Sites = Array | str | Places  # numbers () or (r,), a name, or names and masks


def _given(place: Place | Places) -> Sites:
    """Numbers as an array, `()` or `(r,)`, known where they are known; a name as it is."""
    if isinstance(place, str):
        return place
    parts = split(place)
    if parts is not None:
        return Places(parts)
    if not is_concrete(place):
        sites = jnp.asarray(place)
        if jnp.issubdtype(sites.dtype, jnp.integer) and sites.ndim < 2:
            return sites
        raise ValueError(
            f"a recorder's sites must be an int or (r,) ints; got {sites.dtype} of shape "
            f"{sites.shape}. For batches use jax.vmap."
        )
    known = numbers(place, "a recorder's sites")
    with jax.ensure_compile_time_eval():  # known numbers stay known inside `jit`
        return jnp.asarray(known if np.ndim(place) else known[0])  # type: ignore[arg-type]


class AbstractSiteRecorder(eqx.Module):
    """A recorder of some compartments. A subclass writes `__call__` and, if need be, `check`."""

    sites: eqx.AbstractVar[Sites]

    @abc.abstractmethod
    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """What is recorded at `t` ms, of the shape of `sites`."""

    def resolve(self, cell: Cell) -> Self:
        """The same recorder with the numbers of its sites in `cell`; `simulate` asks for it.

        **Raises:** `ValueError` for a site, mechanism or ion that is not there, listing what is.
        """
        try:
            sites = cell.sites(self.sites)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from error
        self.check(cell, np.asarray(sites) if is_concrete(sites) else None)
        alone = isinstance(self.sites, str) or self.sites.ndim == 0
        return replace(self, sites=sites[0] if alone else sites)

    def check(self, cell: Cell, sites: np.ndarray | None) -> None:
        """Refuse what `cell` does not have; `sites (r,)` are numbers of it, `None` if traced."""
        del cell, sites

    @property
    def at(self) -> Array:
        """The numbers of the sites, `()` or `(r,)`; `ValueError` where they are still names."""
        if not isinstance(self.sites, str | Places):
            return self.sites
        raise ValueError(
            f"{type(self).__name__}: {self.sites!r} has no numbers yet. record= finds them; in a "
            "function of your own write recorder.resolve(cell)(t, state, model)."
        )

    def pick(self, values: Array, model: Model) -> Array:
        """`values (N,)` at the sites; NaN where a traced site is no compartment."""
        near = jnp.clip(self.at, 0, model.n - 1)
        return jnp.where(near == self.at, values[near], jnp.nan)

    def pick_own(self, values: Array, at: Subset | Mask, model: Model) -> Array:
        """`values (k,)` in the compartments `at`, at the sites; NaN at a traced one without."""
        near = jnp.clip(self.at, 0, model.n - 1)
        row = jnp.minimum(jnp.searchsorted(jnp.asarray(at.index), near), len(at) - 1)
        here = (near == self.at) & jnp.asarray(at.mask(model.n))[near]
        return jnp.where(here, values[row], jnp.nan)


class Gate(AbstractSiteRecorder):
    """One state of a mechanism, such as the gate m of HH: 1, or mM for a concentration.

    **Arguments:** `mechanism`, its class name; `state`, the name of the state; `sites`.
    **Raises:** `ValueError` for a mechanism, state or site that is not there, listing what is.
    """

    mechanism: str = eqx.field(static=True)
    state: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_given)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The state, of the shape of `sites`."""
        i, item = _find(model.inserted, self.mechanism, "Gate")
        held = state.mechanisms[i]
        if self.state not in held:
            raise ValueError(
                f"Gate: {self.mechanism} has no state {self.state!r}; it has {sorted(held)}."
            )
        return self.pick_own(held[self.state], item.at, model)

    def check(self, cell: Cell, sites: np.ndarray | None) -> None:
        _, item = _find(cell.inserted, self.mechanism, "Gate")
        _check_inside(self, [item], self.mechanism, sites)


class Current(AbstractSiteRecorder):
    """Outward current density of one mechanism, mA/cm², summed over the ions that carry it.

    **Arguments:** `mechanism`, its class name; `sites`. Errors as for `Gate`.
    """

    mechanism: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_given)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current density, of the shape of `sites`."""
        i, item = _find(model.inserted, self.mechanism, "Current")
        currents = _currents(item, state, model.environments(state.mechanisms)[i], i)
        if not currents:
            raise ValueError(f"Current: {self.mechanism} carries no current.")
        return self.pick_own(jnp.asarray(sum(currents.values())), item.at, model)

    def check(self, cell: Cell, sites: np.ndarray | None) -> None:
        _, item = _find(cell.inserted, self.mechanism, "Current")
        _check_inside(self, [item], self.mechanism, sites)


class IonCurrent(AbstractSiteRecorder):
    """Outward current density of one ion, mA/cm², over all mechanisms; 0 where there are none.

    **Arguments:** `ion`, such as `"ca"`; `sites`.
    **Raises:** `ValueError` for an ion that no mechanism of the cell carries.
    """

    ion: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_given)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current density, of the shape of `sites`."""
        total = jnp.zeros_like(state.v)
        carried: set[str | None] = set()
        envs = model.environments(state.mechanisms)
        for i, item in enumerate(model.inserted):
            currents = _currents(item, state, envs[i], i)
            carried |= set(currents)
            if self.ion in currents:
                total = item.at.add_to(total, currents[self.ion])
        if self.ion not in carried:
            raise ValueError(
                f"IonCurrent: no mechanism carries {self.ion!r}; the cell's ions are "
                f"{sorted(ion for ion in carried if ion)}."
            )
        return self.pick(total, model)


class Inside(AbstractSiteRecorder):
    """Concentration of an ion inside the membrane, mM.

    **Arguments:** `ion`, such as `"ca"`; `sites`.
    **Raises:** `ValueError` for an ion whose concentration no mechanism of the cell, or of one of
    the sites, moves.
    """

    ion: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_given)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The concentration, of the shape of `sites`."""
        return self.pick(_moved(model, state, self.ion)[0], model)

    def check(self, cell: Cell, sites: np.ndarray | None) -> None:
        _check_moved(self, cell, self.ion, sites)


class Outside(AbstractSiteRecorder):
    """Concentration of an ion outside the membrane, mM. Arguments and errors as for `Inside`."""

    ion: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_given)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The concentration, of the shape of `sites`."""
        return self.pick(_moved(model, state, self.ion)[1], model)

    def check(self, cell: Cell, sites: np.ndarray | None) -> None:
        _check_moved(self, cell, self.ion, sites)


class ReversalPotential(AbstractSiteRecorder):
    """Reversal potential of an ion as mechanisms that read the ion see it, mV.

    Nernst's where a mechanism moves or reads the concentrations, else the usual one. A channel with
    a reversal potential among its own parameters, such as `ena` of `HH`, does not look at it.

    **Arguments:** `ion`, such as `"ca"`; `sites`.
    **Raises:** `ValueError` for an unknown ion.
    """

    ion: str = eqx.field(static=True)
    sites: Sites = eqx.field(converter=_given)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The potential, of the shape of `sites`."""
        e = model.e.get(self.ion, jnp.full_like(state.v, IONS[self.ion].reversal))
        for item, x in zip(model.inserted, state.mechanisms, strict=True):
            pair = item.mechanism.concentrations(x).get(self.ion)
            if pair is not None:
                e = item.at.put(e, nernst(IONS[self.ion].charge, *pair, model.celsius))
        for item in model.inserted:
            fixed = item.mechanism.reversal_potentials().get(self.ion)
            e = e if fixed is None else item.at.put(e, fixed)
        return self.pick(e, model)

    def check(self, cell: Cell, sites: np.ndarray | None) -> None:
        if self.ion not in IONS:
            raise ValueError(
                f"ReversalPotential: unknown ion {self.ion!r}; there are {', '.join(sorted(IONS))}."
            )


class CapacitiveCurrent(AbstractSiteRecorder):
    """Current that charges the membrane, `C dv/dt`, nA; 0 where there is no membrane.

    What the equations give for the recorded state: under `Rodas4P` the slope of the voltage at `t`,
    under the staggered solvers one that is off by a term of the order of `dt` (see the top).

    **Arguments:** `sites`.
    """

    sites: Sites = eqx.field(converter=_given)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current, of the shape of `sites`."""
        envs = model.environments(state.mechanisms)
        outward, _ = model.membrane_current(state.v, state.mechanisms, envs)
        inputs = model.recall(t, state.inputs)
        outward = model.add_inputs(state.v, inputs, t, t, outward)
        balance = -outward - model.axial_current(state.v)
        return self.pick(jnp.where(model.capacitance > 0, balance, 0.0), model)


class AxialCurrent(AbstractSiteRecorder):
    """Net current that leaves a compartment along the cable, nA, from the voltage at `t`.

    **Arguments:** `sites`.
    """

    sites: Sites = eqx.field(converter=_given)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current, of the shape of `sites`."""
        return self.pick(model.axial_current(state.v), model)


class MembraneCurrent(AbstractSiteRecorder):
    """Total current through the membrane, nA: ionic, capacitive and synaptic.

    NEURON's `i_membrane_`, of which extracellular potentials are made: it holds no electrodes, so
    that over a whole cell it adds up to what they inject. It is computed from the voltage at `t` as
    that minus the axial current. Electrodes are all stimuli and clamps (`AbstractInput.electrode`).

    **Arguments:** `sites`.
    """

    sites: Sites = eqx.field(converter=_given)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current, of the shape of `sites`."""
        outward = model.axial_current(state.v)
        for item, x in zip(model.placed, state.inputs, strict=True):
            if item.input.electrode:
                near = item.at.take(state.v)
                outward = item.at.add_to(outward, item.input.outward(near, x, t, t))
        return self.pick(-outward, model)


class InputCurrent(eqx.Module):
    """Outward current of one input, `(k,)` nA: of each synapse, stimulus or clamp of a group.

    A depolarising stimulus is negative; an input that is nowhere has 0.

    **Arguments:** `index`, its position among the inputs of `simulate`.
    **Raises:** `ValueError` where there is no such input.
    """

    index: int = eqx.field(static=True)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current, `(k,)` nA, from the state at `t`."""
        item = _input(model, self.index, "InputCurrent")
        near = model.placed[self.index].at.take(state.v)
        x = model.recall(t, state.inputs)[self.index]
        return jnp.where(item.site < 0, 0.0, item.outward(near, x, t, t))


class ClampCurrent(eqx.Module):
    """Current that a voltage clamp injects, `(k,)` nA.

    **Arguments:** `index`, its position among the inputs of `simulate`.
    **Raises:** `ValueError` where that input has no `command`, as only clamps have.
    """

    index: int = eqx.field(static=True)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The current, `(k,)` nA, from the voltage at `t`."""
        _input(model, self.index, "ClampCurrent", "VoltageClamp", "command")
        return -InputCurrent(self.index)(t, state, model)


class Conductance(eqx.Module):
    """Conductance of a group of synapses, `(k,)` µS, before any voltage-dependent block.

    It is summed over the events up to `t`, hence exact whichever the solver; that of a kinetic
    synapse is its state.

    **Arguments:** `index`, its position among the inputs of `simulate`.
    **Raises:** `ValueError` where that input is no synapse.
    """

    index: int = eqx.field(static=True)

    def __call__(self, t: Array, state: State, model: Model) -> Array:
        """The conductance of the group at time `t`, `(k,)` µS."""
        item = _input(model, self.index, "Conductance")
        try:
            return item.conductance_at(state.inputs[self.index], t)
        except ValueError as error:
            raise ValueError(f"Conductance({self.index}): {error}") from None


def _find(items: tuple[Inserted, ...], name: str, what: str) -> tuple[int, Inserted]:
    names = [item.name for item in items]
    if name not in names:
        raise ValueError(f"{what}: no mechanism {name!r} in this cell; it has {sorted(names)}.")
    return names.index(name), items[names.index(name)]


def _currents(item: Inserted, state: State, env: Env, i: int) -> dict[str | None, Array]:
    v = item.at.take(state.v)
    currents = item.mechanism.currents(v, state.mechanisms[i], env)
    k = len(item.at)
    return {ion: jnp.broadcast_to(density, (k,)) for ion, density in currents.items()}


def _moved(model: Model, state: State, ion: str) -> tuple[Array, Array]:
    """The concentrations in and outside, `(N,)` mM, where a mechanism moves them; else NaN."""
    inside = outside = jnp.full_like(state.v, jnp.nan)
    for item, x in zip(model.inserted, state.mechanisms, strict=True):
        pair = item.mechanism.concentrations(x).get(ion)
        if pair is not None:
            inside, outside = item.at.put(inside, pair[0]), item.at.put(outside, pair[1])
    return inside, outside


def _input(model: Model, index: int, what: str, kind: str = "", *has: str) -> AbstractInput:
    """The input number `index`, one with what it `has`, of the kind that errors call `kind`."""
    inputs = model.inputs
    there = isinstance(index, int) and 0 <= index < len(inputs)
    if there and (not has or any(hasattr(inputs[index], name) for name in has)):
        return inputs[index]
    known = [f"{i}: {type(item).__name__}" for i, item in enumerate(inputs)]
    need = f"needs a {kind}" if kind else "needs the position of an input"
    raise ValueError(f"{what}({index!r}) {need}; the inputs are {known}.")


def _check_moved(
    recorder: AbstractSiteRecorder, cell: Cell, ion: str, sites: np.ndarray | None
) -> None:
    movers = [item for item in cell.inserted if ion in item.mechanism.writes]
    if not movers:
        moved = sorted({ion for item in cell.inserted for ion in item.mechanism.writes})
        raise ValueError(
            f"{type(recorder).__name__}: no mechanism moves {ion!r}; insert one, such as "
            f"CalciumShell. Moved here: {moved}."
        )
    _check_inside(recorder, movers, "what moves " + repr(ion), sites)


def _check_inside(
    recorder: AbstractSiteRecorder, items: list[Inserted], name: str, sites: np.ndarray | None
) -> None:
    """Refuse known sites at which none of `items` sits."""
    if sites is None or any(isinstance(item.at, Mask) for item in items):
        return
    index = np.unique(np.concatenate([item.at.index for item in items]))
    missing = np.setdiff1d(sites, index)
    if len(missing):
        raise ValueError(
            f"{type(recorder).__name__}: {name} is not in compartment {missing[0]}; it sits in "
            f"{len(index)} compartments from {index[0]} to {index[-1]}."
        )
