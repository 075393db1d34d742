"""What `simulate` refuses before it starts, and why."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxdend._subset import is_concrete
from jaxdend.cell import Cell
from jaxdend.inputs import AbstractInput
from jaxdend.mechanisms.base import overrides
from jaxdend.places import Places
from jaxdend.solvers.manner import manner_of
from jaxdend.synapses import Binned


def count_steps(t0: float, t1: float, dt: float, save_every: int) -> int:
    """The number of steps from `t0` to `t1`, ms; `ValueError` where it is not a whole one."""
    for name, value in (("t0", t0), ("t1", t1), ("dt", dt)):
        if not is_concrete(value):
            raise ValueError(
                f"simulate: {name} must be a known number: it fixes how many steps to take."
            )
        if not np.isfinite(value):
            raise ValueError(f"simulate: {name} must be finite; got {value}.")
    if dt <= 0:
        raise ValueError(f"simulate: dt must be > 0 ms; got {dt}.")
    if t1 <= t0:
        raise ValueError(f"simulate: t1 must lie after t0 = {t0} ms; got {t1}.")
    steps = int(round((t1 - t0) / dt))
    if steps < 1 or abs(steps * dt - (t1 - t0)) > 1e-6 * dt * max(steps, 1):
        raise ValueError(
            f"simulate: t1 - t0 = {t1 - t0} ms is not a whole number of steps of dt = {dt} ms; "
            f"use t1 = {t0 + max(steps, 1) * dt:.10g} or change dt."
        )
    if save_every not in range(1, steps + 1) or steps % save_every:
        raise ValueError(
            f"simulate: save_every must be a whole number that divides the {steps} steps; "
            f"got {save_every}."
        )
    return steps


def check(cell: Cell, inputs: tuple, solver: diffrax.AbstractSolver) -> tuple:
    """The inputs at numbers of compartments; refuses what `cell` cannot be simulated with.

    Raises what the functions below say.
    """
    _expect(
        cell, Cell,
        f"expected a Cell first; got {type(cell).__name__}. A Morphology becomes one by "
        "jd.Cell(morph, max_length=20.0).",
    )  # fmt: skip
    _expect(
        solver, diffrax.AbstractSolver,
        "solver= takes a solver such as jd.BackwardEuler(), with parentheses, or one of diffrax; "
        f"got {solver!r}.",
    )  # fmt: skip
    inputs = placed_inputs(cell, inputs)
    check_solver(cell, inputs, solver)
    check_numbers(cell, inputs)
    return inputs


def _expect(value: Any, kind: type, message: str) -> None:
    """Refuse a `value` that is not of the `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"simulate: {message}")


def check_solver(cell: Cell, inputs: tuple, solver: diffrax.AbstractSolver) -> None:
    """Refuse a solver that would never look at sudden changes of the cell or an input."""
    manner = manner_of(solver)
    if manner.staggered:
        return
    for item in cell.inserted:
        name = type(item.mechanism).__name__
        for method in ("trigger", "reset"):
            if overrides(item.mechanism, method):
                raise ValueError(
                    f"simulate: {name} changes suddenly (it has a {method}), which "
                    f"{type(solver).__name__} never looks at: it would never fire. Use "
                    "CrankNicolson() or BackwardEuler(), or leave the mechanism out."
                )
    for item in inputs:
        if item.eventful and item.coupled and not manner.rosenbrock:
            raise ValueError(
                f"simulate: events make the state of {type(item).__name__} jump, and the voltage "
                f"acts on it, which {type(solver).__name__} cannot follow. Use CrankNicolson(), "
                "BackwardEuler(), Rodas4P() or Rodas5P()."
            )


def placed_inputs(cell: Cell, inputs: tuple) -> tuple:
    """`inputs` with their sites as numbers; refuses what is no input and sites outside."""
    for i, item in enumerate(inputs):
        _expect(
            item, AbstractInput,
            f"inputs[{i}] must be a stimulus, clamp or synapse group, an AbstractInput; "
            f"got {item!r}.",
        )  # fmt: skip
    return tuple(_placed(cell, i, item) for i, item in enumerate(inputs))


def _placed(cell: Cell, i: int, item: AbstractInput) -> AbstractInput:
    def named(leaf: Any) -> bool:
        return isinstance(leaf, Places)

    def number(leaf: Any) -> Any:
        return jnp.asarray(cell.sites(leaf, padding=True)) if named(leaf) else leaf

    if is_concrete(item.site) and not named(item.site):
        known = np.asarray(item.site)
        bad = known[(known < -1) | (known >= cell.n)]
        if bad.size:
            raise ValueError(
                f"simulate: {type(item).__name__} (inputs[{i}]) has site {bad[0]}, outside "
                f"0..{cell.n - 1} of this cell (-1 stands for nowhere); find sites with "
                "cell.locate(...)."
            )
    try:
        return jax.tree.map(number, item, is_leaf=named)
    except ValueError as error:
        name = type(item).__name__
        raise ValueError(f"simulate: {name} (inputs[{i}]): {error}") from None


def check_bins(train: Binned, name: str, begin: float, dt: float) -> None:
    """Refuse events in bins that no time step delivers, or from before `begin` ms."""
    if not is_concrete(train.width, train.onset):
        return
    width, onset = float(train.width), float(train.onset)
    steps = width / dt
    if round(steps) < 1 or abs(steps - round(steps)) > 1e-4 * steps:
        raise ValueError(
            f"simulate: the bins of {name} are {width:g} ms wide, which is not a whole number of "
            f"steps of dt = {dt:g} ms; choose a dt that divides it."
        )
    if onset < begin - 0.5 * dt:
        raise ValueError(
            f"simulate: the bins of {name} begin at {onset:g} ms, before t0 = {begin:g} ms; cut "
            "them off, or go on from the State of the run that delivered them."
        )


def check_numbers(cell: Cell, inputs: tuple) -> None:
    """Refuse NaN before it spreads; traced numbers are looked at by the solve itself."""
    for path, leaf in jax.tree_util.tree_leaves_with_path((cell, inputs)):
        number = isinstance(leaf, float) or eqx.is_inexact_array(leaf)
        if number and is_concrete(leaf):
            bad = np.isnan(np.asarray(leaf))
            if bad.any():
                where = f" (entry {int(np.argmax(bad))})" if bad.ndim else ""
                owner = ("cell", "inputs")[path[0].idx] + jax.tree_util.keystr(path[1:])
                raise ValueError(
                    f"simulate: {owner} is NaN{where}; every parameter must be a number."
                )
