"""The exact Jacobian J of a model and the solution of `(c M - J) u = r` with one tree solve.

Everything but the axial current is local to a compartment. The states of a channel or an input
depend on their own kind, the voltage and the concentrations there; the states of a mechanism that
moves concentrations on all of these. Hence the order of elimination, compartment by compartment:
channels, inputs, concentrations; what is left is the tree of the cable with another diagonal. Every
entry comes from a `jax.jvp` with a tangent of ones through the equations of one mechanism or input.

The Rosenbrock methods solve with it at every step, `rest` finds the steady state with it (c = 0).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend._small import Matrix, depends, factorise, slope, substitute
from jaxdend.cable import TreeFactor
from jaxdend.cell import Inserted
from jaxdend.dynamics import Model, State
from jaxdend.inputs import Placed
from jaxdend.mechanisms.base import AbstractMechanism, Env
from jaxdend.units import DENSITY_TO_NA, DENSITY_TO_US

Slot = tuple[int, str]  # a state of a mechanism that moves concentrations: which one, its name
Way = tuple[Any, Env]  # a direction: of the mechanism's own state (None for 0), of what it sees


class Unit(eqx.Module):
    """The states of one channel or input, eliminated: how they hang together with the rest.

    `S` states in `k` places; `to_ion` and `by_slot` hold only those in which it takes part.
    """

    factors: Matrix  # of c - df/dx
    to_v: list[Array]  # S of (k,) nA, dI/dx
    to_ion: dict[str, list[Array]]  # ion -> S of (k,) mA/cm², di/dx
    by_v: list[Array]  # S of (k,) 1/(ms mV), (c - df/dx)⁻¹ df/dv
    by_slot: dict[Slot, list[Array]]  # slot -> S of (k,), (c - df/dx)⁻¹ df/d(slot)


class Local(eqx.Module):
    """The factors of `c M - J`; `solve` takes and gives trees like those of `State`.

    Where the voltage does not act on the state of an input, `State.inputs` holds None.
    """

    units: list[Unit | None]  # as model.inserted; None without states and for those that write
    receptors: list[Unit | None]  # as model.placed
    influx: dict[tuple[Slot, str], Array]  # (N,), d(slot's slope)/d(current of an ion)
    block: Matrix  # factors of the slots' block
    slot_to_v: dict[Slot, Array]  # (N,) nA per unit of the slot
    slot_by_v: dict[Slot, Array]  # (N,) per mV
    cable: TreeFactor

    def solve(self, model: Model, r: State) -> State:
        """The `u` of `(c M - J) u = r`."""
        slots = list(self.slot_to_v)
        right_v = r.v
        right = {slot: spread(model, slot, r.mechanisms) for slot in slots}
        partial, hidden = [], []
        for item, unit, x in zip(model.inserted, self.units, r.mechanisms, strict=True):
            y = []
            if unit is not None:
                y = substitute(unit.factors, [x[name] for name in sorted(x)])
                right_v = item.at.add_to(right_v, -_dot(unit.to_v, y))
                for ion, to_ion in unit.to_ion.items():
                    current = _dot(to_ion, y)
                    for slot in slots:
                        if (slot, ion) in self.influx:
                            pull = item.at.take(self.influx[slot, ion]) * current
                            right[slot] = item.at.add_to(right[slot], pull)
            partial.append(y)
        for item, unit, x in zip(model.placed, self.receptors, r.inputs, strict=True):
            y = []
            if unit is not None:
                y = substitute(unit.factors, jax.tree.leaves(x))
                right_v = item.at.add_to(right_v, -_dot(unit.to_v, y))
            hidden.append(y)
        w = dict(zip(slots, substitute(self.block, [right[s] for s in slots]), strict=True))
        for slot in slots:
            right_v = right_v - self.slot_to_v[slot] * w[slot]
        v = self.cable.solve(right_v)
        w = {slot: w[slot] + self.slot_by_v[slot] * v for slot in slots}
        mechanisms = [
            _filled(i, item, unit, y, v, w, x)
            for i, (item, unit, y, x) in enumerate(
                zip(model.inserted, self.units, partial, r.mechanisms, strict=True)
            )
        ]
        inputs = [
            None
            if x is None
            else jax.tree.structure(x).unflatten(
                [a + b * item.at.take(v) for a, b in zip(y, unit.by_v if unit else [], strict=True)]
            )
            for item, unit, y, x in zip(model.placed, self.receptors, hidden, r.inputs, strict=True)
        ]
        return State(v, mechanisms, inputs)


def _filled(
    i: int,
    item: Inserted,
    unit: Unit | None,
    y: list[Array],
    v: Array,
    w: dict[Slot, Array],
    x: Any,
) -> dict[str, Array]:
    """The states of the `i`-th mechanism, once voltages and slots are known."""
    if item.mechanism.writes:
        return {name: item.at.take(w[i, name]) for name in x}
    if unit is None:
        return x
    out = [a + b * item.at.take(v) for a, b in zip(y, unit.by_v, strict=True)]
    for slot, by_slot in unit.by_slot.items():
        out = [a + b * item.at.take(w[slot]) for a, b in zip(out, by_slot, strict=True)]
    return dict(zip(sorted(x), out, strict=True))


def spread(model: Model, slot: Slot, mechanisms: list[dict[str, Array]]) -> Array:
    """Lays out one slot of `mechanisms` over all nodes `(N,)`, 0 where the mechanism is not."""
    i, name = slot
    return model.inserted[i].at.put(jnp.zeros_like(model.area), mechanisms[i][name])


def linearise(model: Model, y: State, t: Array, c: Array, *, settled: bool = False) -> Local:
    """Factorise `c M - J` at `y` and `t`, `c` in 1/ms.

    `settled` takes every channel to be at its steady state, whatever the voltage and the
    concentrations: its states are then no unknowns.
    """
    slots = [
        (i, name)
        for i, item in enumerate(model.inserted)
        if item.mechanism.writes
        for name in sorted(y.mechanisms[i])
    ]
    envs = model.environments(y.mechanisms)
    _, ions = model.membrane_current(y.v, y.mechanisms, envs)
    envs = model.feel(envs, ions)
    ways = _ways(model, y, slots, ions)
    zero = jnp.zeros_like(y.v)
    density, to_v = zero, dict.fromkeys(slots, zero)
    ion_by_v = {ion: zero for ion in model.moved}
    ion_by_slot = {(ion, slot): zero for ion in model.moved for slot in slots}
    units = []
    for i, item in enumerate(model.inserted):
        x, scale = y.mechanisms[i], DENSITY_TO_NA * item.at.take(model.area)
        part = _Part(item.mechanism, item.at.take(y.v), x, envs[i], model.moved, settled)
        unit, by_v, by_slot = part.reduce(ways[i], scale, c)
        units.append(unit)
        density = item.at.add_to(density, by_v[0])
        for ion, di in by_v[1].items():
            ion_by_v[ion] = item.at.add_to(ion_by_v[ion], di)
        for slot, (total, own) in by_slot.items():
            to_v[slot] = item.at.add_to(to_v[slot], total * scale)
            for ion, di in own.items():
                ion_by_slot[ion, slot] = item.at.add_to(ion_by_slot[ion, slot], di)
    diagonal = c * model.capacitance + model.axial + DENSITY_TO_US * model.area * density
    receptors = []
    for item, x in zip(model.placed, y.inputs, strict=True):
        unit, by_v = _receptor(item, item.at.take(y.v), x, t, c)
        receptors.append(unit)
        if by_v is not None:
            diagonal = item.at.add_to(diagonal, by_v)
    influx, drift, matrix = _block(model, y, envs, ways, slots, ion_by_v, ion_by_slot, c)
    factors = factorise(matrix, len(slots))
    by_v = substitute(factors, [drift[slot] for slot in slots])
    for slot, value in zip(slots, by_v, strict=True):
        diagonal = diagonal + to_v[slot] * value
    # compartments that pad a cell of a stack are isolated, may have no conductance, and stay
    diagonal = jnp.where(diagonal == 0.0, 1.0, diagonal) if settled else diagonal
    cable = model.matrix(diagonal).factor()
    by_v = dict(zip(slots, by_v, strict=True))
    return Local(units, receptors, influx, factors, to_v, by_v, cable)


def _ways(model: Model, y: State, slots: list[Slot], ions: dict) -> list[dict[Slot, Way]]:
    """For every mechanism the directions in which its equations move with each slot.

    Only the slots that it can feel: its own, and those of the ions that it reads.
    """
    ways: list[dict[Slot, Way]] = [{} for _ in model.inserted]
    for j, name in slots:
        writer = model.inserted[j].mechanism

        def seen(value: Array, j: int = j, name: str = name) -> tuple[Env, ...]:
            states = list(y.mechanisms)
            states[j] = {**states[j], name: value}
            return model.feel(model.environments(states), ions)

        tangents = slope(seen, y.mechanisms[j][name])
        for i, item in enumerate(model.inserted):
            own = {name: jnp.ones_like(y.mechanisms[j][name])} if i == j else None
            if own or set(writer.writes) & set(item.mechanism.reads):
                ways[i][j, name] = own, tangents[i]
    return ways


class _Part:
    """The equations of one mechanism, and their derivatives."""

    def __init__(
        self, mechanism: AbstractMechanism, v: Array, x: dict[str, Array], env: Env,
        moved: tuple[str, ...], settled: bool,
    ):  # fmt: skip
        self.mechanism, self.v, self.x, self.env, self.moved = mechanism, v, x, env, moved
        self.hidden = settled and not mechanism.writes  # its states follow at once
        self.free = [] if mechanism.writes or settled else sorted(x)

    def equations(self, v: Array, x: dict[str, Array], env: Env) -> tuple:
        """The total current, that of every moved ion, the slopes of the states that are unknown."""
        x = self.mechanism.initial(v, env) if self.hidden else x
        currents = self.mechanism.currents(v, x, env)
        carried = {ion: i for ion, i in currents.items() if ion in self.moved}
        total = sum(currents.values(), jnp.zeros_like(v))
        free = set(self.free)
        slopes = self.mechanism.derivative(v, x, env) if free else {}
        return total, carried, {name: f for name, f in slopes.items() if name in free}

    def along(self, way: Way) -> tuple:
        """The derivative of `equations` in the direction `way`."""
        own, seen = way
        if own is None:
            return jax.jvp(lambda e: self.equations(self.v, self.x, e), (self.env,), (seen,))[1]
        start = {name: self.x[name] for name in own}
        return jax.jvp(
            lambda y, e: self.equations(self.v, {**self.x, **y}, e), (start, self.env), (own, seen)
        )[1]

    def reduce(self, ways: dict[Slot, Way], scale: Array, c: Array) -> tuple:
        """The unit of the free states, and the slopes that are left once they are eliminated.

        These are, by the voltage and by every slot, the slope of the current and those of the ions'
        currents.
        """
        by_v = slope(lambda u: self.equations(u, self.x, self.env), self.v)
        by_slot = {slot: self.along(way) for slot, way in ways.items()}
        if not self.free:
            return None, by_v[:2], {slot: part[:2] for slot, part in by_slot.items()}
        by_x = [
            slope(
                lambda y, n=name: self.equations(self.v, {**self.x, n: y}, self.env), self.x[name]
            )
            for name in self.free
        ]
        factors = factorise(self._matrix(by_x, c), len(by_x))
        to_i = [part[0] for part in by_x]
        to_ion = {ion: [part[1][ion] for part in by_x] for ion in by_v[1]}

        def through(part: tuple) -> tuple[Array, dict[str, Array], list[Array]]:
            moved = substitute(factors, [part[2][name] for name in self.free])
            ions = {ion: i + _dot(to_ion[ion], moved) for ion, i in part[1].items()}
            return part[0] + _dot(to_i, moved), ions, moved

        left_v = through(by_v)
        left = {slot: through(part) for slot, part in by_slot.items()}
        unit = Unit(
            factors, [i * scale for i in to_i], to_ion, left_v[2],
            {slot: part[2] for slot, part in left.items()},
        )  # fmt: skip
        return unit, left_v[:2], {slot: part[:2] for slot, part in left.items()}

    def _matrix(self, by_x: list[tuple], c: Array) -> Matrix:
        """`c - df/dx`, the entries that can differ from zero."""
        found = depends(
            lambda x: self.mechanism.derivative(self.v, x, self.env),
            {name: self.x[name] for name in self.free},
        )
        out = {}
        for i, name in enumerate(self.free):
            for j, (_, _, df) in enumerate(by_x):
                if i == j:
                    out[i, j] = c - df[name]
                elif j in found[i]:
                    out[i, j] = -df[name]
        return out


def _receptor(
    item: Placed, v: Array, x: Any, t: Array, c: Array
) -> tuple[Unit | None, Array | None]:
    """An input with its states eliminated, and its slope in µS; None where it has none."""
    leaves, structure = jax.tree.flatten(x)
    size = len(leaves)

    def current(v: Array, *x: Array) -> Array:
        return item.input.outward(v, structure.unflatten(x), t, t)

    def slopes(v: Array, *x: Array) -> list[Array]:
        return jax.tree.leaves(item.input.derivative(v, structure.unflatten(x), t))

    felt = depends(current, v, *leaves)[0]
    by_v = slope(lambda u: current(u, *leaves), v) if 0 in felt else None
    if not item.input.coupled or not size:
        return None, by_v

    def entry(f: Callable, j: int) -> Any:
        return slope(lambda y: f(v, *leaves[:j], y, *leaves[j + 1 :]), leaves[j])

    found = depends(slopes, v, *leaves)
    columns = [entry(slopes, j) for j in range(size)]
    matrix = {(i, i): c - columns[i][i] for i in range(size)}
    for i in range(size):
        for j in range(size):
            if i != j and j + 1 in found[i]:
                matrix[i, j] = -columns[j][i]
    factors = factorise(matrix, size)
    states_by_v = substitute(factors, slope(lambda u: slopes(u, *leaves), v))
    zero = jnp.zeros_like(v)
    to_v = [entry(current, j) if j + 1 in felt else zero for j in range(size)]
    total = _dot(to_v, states_by_v) + (0.0 if by_v is None else by_v)
    return Unit(factors, to_v, {}, states_by_v, {}), total


def _block(
    model: Model, y: State, envs: tuple[Env, ...], ways: list[dict[Slot, Way]], slots: list[Slot],
    ion_by_v: dict, ion_by_slot: dict, c: Array,
) -> tuple[dict, dict, Matrix]:  # fmt: skip
    """How the slots' slopes follow currents and voltage, and their block of `c - J`."""
    zero = jnp.zeros_like(y.v)
    influx, drift, matrix = {}, {}, {}
    for p, (i, name) in enumerate(slots):
        item, x, env = model.inserted[i], y.mechanisms[i], envs[i]
        v, f = item.at.take(y.v), item.mechanism.derivative

        def out(value: Array, item: Inserted = item) -> Array:
            return item.at.put(zero, value)

        drift[i, name] = out(slope(lambda u, f=f, x=x, e=env, n=name: f(u, x, e)[n], v))
        for ion in item.mechanism.writes:

            def felt(
                current: Array, f: Callable = f, v: Array = v, x: Any = x, e: Env = env,
                ion: str = ion, n: str = name,
            ) -> Array:  # fmt: skip
                return f(v, x, eqx.tree_at(lambda e: e.current[ion], e, current))[n]

            influx[(i, name), ion] = out(slope(felt, env.current[ion]))
            drift[i, name] = drift[i, name] + influx[(i, name), ion] * ion_by_v[ion]
        for q, other in enumerate(slots):
            entry = zero
            if other in ways[i]:
                own, seen = ways[i][other]

                def moved(y: Any, e: Env, f: Callable = f, v: Array = v, x: Any = x,
                          n: str = name) -> Array:  # fmt: skip
                    return f(v, {**x, **y}, e)[n]

                start = {n: x[n] for n in own or {}}
                entry = out(jax.jvp(moved, (start, env), (own or {}, seen))[1])
            for ion in item.mechanism.writes:
                entry = entry + influx[(i, name), ion] * ion_by_slot[ion, other]
            if p == q:  # where the mechanism is not, anything but 0
                inside = item.at.put(zero, jnp.ones_like(v))
                matrix[p, p] = jnp.where(inside > 0, c - entry, 1.0)
            else:
                matrix[p, q] = -entry
    return influx, drift, matrix


def _dot(a: list[Array], b: list[Array]) -> Array:
    return sum((p * q for p, q in zip(a[1:], b[1:], strict=True)), a[0] * b[0])
