"""The mechanisms of a cell under NEURON's names, compartment by compartment."""

import warnings
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from jaxdend.cell import Cell, Inserted
from jaxdend.dynamics import build_model
from jaxdend.io._neuron_names import Counterpart, candidates, densities, matches


@dataclass
class Membrane:
    """What NEURON's membrane needs; arrays are `(n,)`, NaN where nothing is set."""

    n: int
    files: dict[str, str] = field(default_factory=dict)  # suffix -> source, "" if built in
    present: dict[str, np.ndarray] = field(default_factory=dict)  # suffix -> bool
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # suffix, parameter
    ions: dict[str, np.ndarray] = field(default_factory=dict)  # such as "ek"
    gates: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # suffix, gate: at t = 0
    owner: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # who set it
    numbers: dict[str, float] = field(default_factory=dict)  # globals of NEURON
    skipped: list[str] = field(default_factory=list)  # mechanisms left out
    calcium: np.ndarray = field(init=False)  # bool: somebody carries or reads calcium
    pool: np.ndarray = field(init=False)  # bool: calcium moves

    def __post_init__(self) -> None:
        self.calcium = np.zeros(self.n, bool)
        self.pool = np.zeros(self.n, bool)

    def whole(self, suffix: str) -> bool:
        """Whether the mechanism cannot be turned off within a section."""
        return not densities(suffix, self.files[suffix])


def gather(cell: Cell, unknown: str, v0: np.ndarray) -> Membrane:
    """Every mechanism under the names of its NEURON counterpart; `v0` () or `(n,)` mV.

    **Raises:** `ValueError`, naming the mechanism, where there is none (with `unknown="skip"` a
    warning instead) and where two mechanisms want one variable of NEURON to differ.
    """
    out = Membrane(cell.n)
    for number, item in enumerate(cell.inserted):
        name = type(item.mechanism).__name__
        try:
            found = _choose(item)
        except ValueError as error:
            if unknown != "skip":
                raise
            warnings.warn(f"{error} It is left out of the script.", stacklevel=4)
            out.skipped.append(f"{name}: {error}")
            continue
        for counterpart, rows in found:
            _put(out, item, counterpart, rows)
            if counterpart.states:
                _start(out, cell, number, counterpart, rows, v0)
        at = item.at.index
        mechanism = item.mechanism
        if mechanism.writes:
            out.pool[at] = True
        if "ca" in mechanism.reads or getattr(mechanism, "ion", None) == "ca":
            out.calcium[at] = True
    for suffix in out.present:
        for parameter in densities(suffix, out.files[suffix]):
            values = out.values[suffix].setdefault(parameter, np.full(cell.n, np.nan))
            values[np.isnan(values)] = 0.0  # in the rest of a section, too
    return out


def _numbers(item: Inserted, name: str) -> np.ndarray:
    """A parameter as an array `(k,)`, one number for each compartment."""
    return np.broadcast_to(np.asarray(getattr(item.mechanism, name), float), len(item.at))


def _choose(item: Inserted) -> list[tuple[Counterpart, np.ndarray]]:
    """The counterparts of a mechanism, each with the rows, of its `k`, that it fits."""
    name, known = type(item.mechanism).__name__, candidates(item.mechanism)
    if not known:
        raise ValueError(
            f"{name} has no published NEURON mechanism that jaxdend knows; unknown='skip' leaves "
            "it out."
        )
    left, out = np.ones(len(item.at), bool), []
    for counterpart in known:
        values = {n: _numbers(item, n) for n in (*counterpart.parameters, *counterpart.fixed)}
        values = values or {"": np.zeros(len(item.at))}
        fits = left & matches(counterpart, values)
        if fits.any():
            out.append((counterpart, np.flatnonzero(fits)))
        left &= ~fits
    if left.any():
        row = int(np.argmax(left))
        sets = "; ".join(
            f"{c.suffix}: " + ", ".join(f"{n} = {v:g}" for n, v in c.fixed.items()) for c in known
        )
        have = ", ".join(f"{n} = {_numbers(item, n)[row]:g}" for n in known[0].fixed)
        raise ValueError(
            f"{name} at compartment {item.at.index[row]} has {have}, which no published NEURON "
            f"mechanism has ({sets}); unknown='skip' leaves it out."
        )
    return out


def _put(out: Membrane, item: Inserted, counterpart: Counterpart, rows: np.ndarray) -> None:
    """The parameters of a mechanism under their names in NEURON."""
    suffix, at = counterpart.suffix, item.at.index[rows]
    name = type(item.mechanism).__name__
    if out.files.setdefault(suffix, counterpart.source) != counterpart.source:
        raise ValueError(
            f"{name}: two different mechanisms are published as {suffix}, from {out.files[suffix]} "
            f"and from {counterpart.source}; NEURON can load one of them only."
        )
    out.present.setdefault(suffix, np.zeros(out.n, bool))[at] = True
    values = out.values.setdefault(suffix, {})
    for ours, theirs in counterpart.parameters.items():
        scale = counterpart.factor if ours in counterpart.density else 1.0
        target = values.setdefault(theirs, np.full(out.n, np.nan))
        alone = ours in counterpart.density
        _set(out, name, suffix, theirs, target, at, scale * _numbers(item, ours)[rows], alone)
    for ours, theirs in counterpart.ions.items():
        target = out.ions.setdefault(theirs, np.full(out.n, np.nan))
        _set(out, name, "ion", theirs, target, at, _numbers(item, ours)[rows], alone=False)
    if counterpart.table:
        on = float(getattr(item.mechanism, "table", False))
        _number(out, name, f"usetable_{suffix}", np.array([on]))
    for ours, theirs in counterpart.start.items():
        _number(out, name, theirs, _numbers(item, ours)[rows])


def _start(
    out: Membrane,
    cell: Cell,
    number: int,
    counterpart: Counterpart,
    rows: np.ndarray,
    v0: np.ndarray,
) -> None:
    """Where gates start, for the files that do not start them at rest."""
    item = cell.inserted[number]
    model = build_model(cell, (), start=jnp.asarray(0.0), h=jnp.asarray(1.0))
    state = model.initial(jnp.asarray(v0), True).mechanisms[number]
    gates = out.gates.setdefault(counterpart.suffix, {})
    for name in counterpart.states:
        values = np.broadcast_to(np.asarray(state[name]), len(item.at))
        gates.setdefault(name, np.full(out.n, np.nan))[item.at.index[rows]] = values[rows]


def _set(
    out: Membrane,
    who: str,
    what: str,
    name: str,
    target: np.ndarray,
    at: np.ndarray,
    values: np.ndarray,
    alone: bool,
) -> None:
    """Write into `target`, unless somebody else did: a density is set once, others must agree."""
    before = target[at]
    clash = ~np.isnan(before) & (alone | (before != values))
    others = out.owner.setdefault((what, name), [])
    if clash.any():
        i = int(np.argmax(clash))
        raise ValueError(
            f"{who} sets {name} to {values[i]:g} at compartment {at[i]}, but {' or '.join(others)} "
            f"to {before[i]:g}: NEURON has one {name} for each compartment."
        )
    target[at] = values
    others.append(who)


def _number(out: Membrane, who: str, name: str, values: np.ndarray) -> None:
    """A number that NEURON has once for all compartments."""
    if np.any(values != out.numbers.setdefault(name, float(values[0]))):
        raise ValueError(
            f"{who}: {name} is one number for the whole neuron in NEURON; here it differs."
        )
