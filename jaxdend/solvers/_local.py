"""The exact Jacobian of a cell and the solution of `(c M - J) u = r` with one tree solve.

Everything but the axial current is local to a compartment. Gates and receptor states depend on
their own kind, the voltage and the concentrations there; concentrations on all of these. Hence the
order of elimination, compartment by compartment: gates, receptors, concentrations; what is left is
the tree of the cable with another diagonal. Every entry comes from a `jax.jvp` with a tangent of
ones through the equations of one mechanism.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.cable.tree import TreeFactor
from jaxdend.cell import Inserted
from jaxdend.dynamics import Model, State
from jaxdend.mechanisms.base import AbstractChannel, AbstractMechanism, AbstractPool, Env
from jaxdend.synapses import AbstractKineticSynapse, AbstractSynapse

Matrix = dict[tuple[int, int], Array]  # the entries that are not zero, (k,) each


def factorise(matrix: Matrix, size: int) -> Matrix:
    """LU factors without pivoting, in place of `matrix`; the inverse of each pivot is kept."""
    for p in range(size):
        matrix[p, p] = 1.0 / matrix[p, p]
        row = [j for j in range(p + 1, size) if (p, j) in matrix]
        for i in (i for i in range(p + 1, size) if (i, p) in matrix):
            matrix[i, p] = matrix[i, p] * matrix[p, p]
            for j in row:
                matrix[i, j] = matrix.get((i, j), 0.0) - matrix[i, p] * matrix[p, j]
    return matrix


def substitute(factors: Matrix, right: list[Array]) -> list[Array]:
    """Solve with the result of `factorise`."""
    x = list(right)
    for i in range(len(x)):
        for j in (j for j in range(i) if (i, j) in factors):
            x[i] = x[i] - factors[i, j] * x[j]
    for i in reversed(range(len(x))):
        for j in (j for j in range(i + 1, len(x)) if (i, j) in factors):
            x[i] = x[i] - factors[i, j] * x[j]
        x[i] = x[i] * factors[i, i]
    return x


class Unit(eqx.Module):
    """The states of one channel or receptor group, and how they hang together with the rest.

    `S` states, in the order of their names, in `k` places; `to_ion` and `by_ion` hold only the ions
    in which it takes part.
    """

    factors: Matrix  # of c - df/dx
    to_v: list[Array]  # S of (k,) nA, dI/dx
    to_ion: dict[str, list[Array]]  # ion -> S of (k,) mA/cm², di/dx
    by_v: list[Array]  # S of (k,) 1/(ms mV), (c - df/dx)⁻¹ df/dv
    by_ion: dict[str, list[Array]]  # ion -> S of (k,), (c - df/dx)⁻¹ df/d[ion]


class Local(eqx.Module):
    """`c M - J`, factorised; `solve` takes and gives trees like those of `State`.

    Where `State.inputs` is not a receptor's, there is None.
    """

    units: list[Unit | None]  # as model.inserted; None for pools and for channels without states
    receptors: list[Unit | None]  # as model.inputs
    influx: dict[str, Array]  # ion -> (N,), d(pool_derivative)/d(current); 0 without a pool
    pools: Matrix  # factors of the concentrations' block
    ion_to_v: dict[str, Array]  # ion -> (N,) nA/mM
    ion_by_v: dict[str, Array]  # ion -> (N,) mM/mV
    cable: TreeFactor

    def solve(self, model: Model, r: State) -> State:
        """The `u` of `(c M - J) u = r`."""
        right_v = r.v
        right_c = {ion: field(model, ion, r.mechanisms) for ion in self.influx}
        partial, hidden = [], []
        for item, unit, x in zip(model.inserted, self.units, r.mechanisms, strict=True):
            y = []
            if unit is not None:
                y = substitute(unit.factors, [x[name] for name in sorted(x)])
                right_v = item.at.add_to(right_v, -_dot(unit.to_v, y))
                for ion, to_ion in unit.to_ion.items():
                    pull = item.at.take(self.influx[ion]) * _dot(to_ion, y)
                    right_c[ion] = item.at.add_to(right_c[ion], pull)
            partial.append(y)
        for group, unit, x in zip(model.inputs, self.receptors, r.inputs, strict=True):
            y = []
            if unit is not None:
                y = substitute(unit.factors, list(x))
                right_v = right_v.at[group.site].add(-_dot(unit.to_v, y))
            hidden.append(y)
        ions = list(self.influx)
        c = dict(zip(ions, substitute(self.pools, [right_c[i] for i in ions]), strict=True))
        for ion in ions:
            right_v = right_v - self.ion_to_v[ion] * c[ion]
        v = self.cable.solve(right_v)
        c = {ion: c[ion] + self.ion_by_v[ion] * v for ion in ions}
        mechanisms = [
            self._states(item, unit, y, v, c, x)
            for item, unit, y, x in zip(
                model.inserted, self.units, partial, r.mechanisms, strict=True
            )
        ]
        inputs = [
            None
            if unit is None
            else jnp.stack([a + b * v[group.site] for a, b in zip(y, unit.by_v, strict=True)])
            for group, unit, y in zip(model.inputs, self.receptors, hidden, strict=True)
        ]
        return State(v, mechanisms, inputs)

    @staticmethod
    def _states(
        item: Inserted, unit: Unit | None, y: list[Array], v: Array, c: dict, x: dict[str, Array]
    ) -> dict[str, Array]:
        """The states of one mechanism, once voltages and concentrations are known."""
        if isinstance(item.mechanism, AbstractPool):
            return {"inside": item.at.take(c[item.mechanism.ion])}
        if unit is None:
            return x
        out = [a + b * item.at.take(v) for a, b in zip(y, unit.by_v, strict=True)]
        for ion, by_ion in unit.by_ion.items():
            out = [a + b * item.at.take(c[ion]) for a, b in zip(out, by_ion, strict=True)]
        return dict(zip(sorted(x), out, strict=True))


def field(model: Model, ion: str, mechanisms: list[dict[str, Array]]) -> Array:
    """What the pools of `ion` hold, laid out over all nodes `(N,)`, 0 where there is none."""
    out = jnp.zeros_like(model.area)
    for item, x in zip(model.inserted, mechanisms, strict=True):
        if isinstance(item.mechanism, AbstractPool) and item.mechanism.ion == ion:
            out = item.at.put(out, x["inside"])
    return out


def linearise(
    model: Model, state: State, t: Array, conductances: tuple, currents: dict[str, Array], c: Array
) -> Local:
    """Factorise `c M - J` at `state`, `c` in 1/ms.

    `conductances` are those of the event synapses at `t` and `currents (N,)` mA/cm² those of the
    pooled ions, as from `Model.membrane_current`.
    """
    density, diagonal = jnp.zeros_like(state.v), c * model.capacitance + model.axial
    if model.has_clamp:
        diagonal = diagonal + model.clamped(t)[0]
    ions = model.pooled
    block = {(p, q): jnp.zeros_like(state.v) for p in ions for q in ions}
    to_v = {p: jnp.zeros_like(state.v) for p in ions}
    by_v = {p: jnp.zeros_like(state.v) for p in ions}
    envs, directions = _surroundings(model, state)
    units = []
    for k, (item, x) in enumerate(zip(model.inserted, state.mechanisms, strict=True)):
        if not isinstance(item.mechanism, AbstractChannel):
            units.append(None)
            continue
        toward = {ion: d[k] for ion, d in directions.items() if ion in item.mechanism.reads}
        slopes = _channel(item.mechanism, item.at.take(state.v), x, envs[k], toward, ions, c)
        scale = 1e-2 * item.at.take(model.area)
        unit, slope, ion_slopes, own = _reduced(slopes, toward, scale)
        units.append(unit)
        density = item.at.add_to(density, slope)
        for p, value in ion_slopes.items():
            by_v[p] = item.at.add_to(by_v[p], value)
        for q, (total, by_ion) in own.items():
            to_v[q] = item.at.add_to(to_v[q], total * scale)
            for p, value in by_ion.items():
                block[p, q] = item.at.add_to(block[p, q], value)
    diagonal = diagonal + 1e-2 * model.area * density
    receptors = []
    for group, x, g in zip(model.inputs, state.inputs, conductances, strict=True):
        receptors.append(None)
        v = state.v[group.site]
        if isinstance(group, AbstractKineticSynapse):
            receptors[-1], slope = _receptor(group, v, x, t, c)
        elif isinstance(group, AbstractSynapse):
            slope = _slope(lambda u, s=group, g=g: s.current(u, g), v)
        else:
            continue
        diagonal = diagonal.at[group.site].add(slope)
    influx, matrix = _pools(model, state, currents, block, c)
    factors = factorise(
        {(ions.index(p), ions.index(q)): m for (p, q), m in matrix.items()}, len(ions)
    )
    drift = substitute(factors, [influx[p] * by_v[p] for p in ions])
    for p, value in zip(ions, drift, strict=True):
        diagonal = diagonal + to_v[p] * value
    return Local(
        units, receptors, influx, factors, to_v, dict(zip(ions, drift, strict=True)),
        model.matrix(diagonal).factor(),
    )  # fmt: skip


def _surroundings(model: Model, state: State) -> tuple[tuple[Env, ...], dict[str, tuple[Env, ...]]]:
    """What the mechanisms see, and its derivative by each pooled concentration."""
    directions = {}
    for ion in model.pooled:
        held = [
            isinstance(item.mechanism, AbstractPool) and item.mechanism.ion == ion
            for item in model.inserted
        ]

        def at(inside: list[Array], held: list[bool] = held) -> tuple[Env, ...]:
            left = iter(inside)
            swapped = [
                {"inside": next(left)} if mine else x
                for mine, x in zip(held, state.mechanisms, strict=True)
            ]
            return model.environments(State(state.v, swapped, []))

        inside = [x["inside"] for mine, x in zip(held, state.mechanisms, strict=True) if mine]
        directions[ion] = jax.jvp(at, (inside,), (jax.tree.map(jnp.ones_like, inside),))[1]
    return model.environments(state), directions


class _Slopes(eqx.Module):
    """Derivatives of one channel: of its current, its ions' currents and its states."""

    by_v: tuple  # (di, {ion: di}, {name: df})
    by_x: list[tuple]  # the same for every state
    by_ion: dict[str, tuple]  # and for every concentration it reads
    matrix: Matrix  # c - df/dx


def _channel(
    mechanism: AbstractChannel,
    v: Array,
    x: dict[str, Array],
    env: Env,
    toward: dict[str, Env],
    ions: tuple[str, ...],
    c: Array,
) -> _Slopes:
    def equations(v: Array, x: dict[str, Array], env: Env) -> tuple:
        current = mechanism.current(v, x, env)
        if not isinstance(current, dict):
            current = {mechanism.ion: current}
        carried = {ion: i for ion, i in current.items() if ion in ions}
        return jnp.asarray(sum(current.values())), carried, mechanism.derivative(v, x, env)

    def along(name: str) -> tuple:
        one = jnp.ones_like(x[name])
        return jax.jvp(lambda y: equations(v, {**x, name: y}, env), (x[name],), (one,))[1]

    by_v = jax.jvp(lambda u: equations(u, x, env), (v,), (jnp.ones_like(v),))[1]
    by_x = [along(name) for name in sorted(x)]
    by_ion = {
        ion: jax.jvp(lambda e: equations(v, x, e), (env,), (way,))[1] for ion, way in toward.items()
    }
    coupled = type(mechanism).derivative is not AbstractMechanism.derivative
    matrix = {}
    for j, (_, _, df) in enumerate(by_x):
        for i, name in enumerate(sorted(x)):
            if i == j:
                matrix[i, i] = c - df[name]
            elif coupled:
                matrix[i, j] = -df[name]
    return _Slopes(by_v, by_x, by_ion, matrix)


def _reduced(
    slopes: _Slopes, toward: dict[str, Env], scale: Array
) -> tuple[Unit | None, Array, dict[str, Array], dict[str, tuple[Array, dict[str, Array]]]]:
    """A channel with its states eliminated: what is left are slopes by voltage and by ions."""
    total, by_pool, df = slopes.by_v
    if not slopes.by_x:
        return None, total, by_pool, {q: s[:2] for q, s in slopes.by_ion.items()}
    factors = factorise(slopes.matrix, len(slopes.by_x))
    to_i = [s[0] for s in slopes.by_x]
    to_ion = {ion: [s[1][ion] for s in slopes.by_x] for ion in by_pool}

    def through(part: tuple) -> tuple[Array, dict[str, Array], list[Array]]:
        moved = substitute(factors, [part[2][name] for name in sorted(part[2])])
        ions = {p: i + _dot(to_ion[p], moved) for p, i in part[1].items()}
        return part[0] + _dot(to_i, moved), ions, moved

    slope, ion_slopes, by_v = through(slopes.by_v)
    own = {q: through(slopes.by_ion[q]) for q in toward}
    unit = Unit(
        factors, [i * scale for i in to_i], to_ion, by_v, {q: part[2] for q, part in own.items()}
    )
    return unit, slope, ion_slopes, {q: part[:2] for q, part in own.items()}


def _receptor(
    group: AbstractKineticSynapse, v: Array, x: Array, t: Array, c: Array
) -> tuple[Unit, Array]:
    """A group of receptors with its occupancies eliminated, and its slope in µS."""
    drive, size = group.drive(t), len(group.states)
    matrix = {(i, i): c + jnp.zeros_like(v) for i in range(size)}
    for a, b, there, back in group.transitions(v, drive):
        matrix[a, a], matrix[b, b] = matrix[a, a] + there, matrix[b, b] + back
        matrix[b, a], matrix[a, b] = -there, -back
    factors = factorise(matrix, size)
    by_v = substitute(factors, list(_slope(lambda u: group.derivative(u, x, drive), v)))
    one = np.eye(size)[:, :, None] * jnp.ones_like(v)
    to_v = list(
        jax.vmap(lambda tangent: jax.jvp(lambda y: group.current(v, y), (x,), (tangent,))[1])(one)
    )
    slope = _slope(lambda u: group.current(u, x), v) + _dot(to_v, by_v)
    return Unit(factors, to_v, {}, by_v, {}), slope


def _pools(
    model: Model, state: State, currents: dict[str, Array], block: dict, c: Array
) -> tuple[dict[str, Array], dict]:
    """How concentrations follow their currents, `(N,)`, and the block of `c - J` they make."""
    influx = {ion: jnp.zeros_like(state.v) for ion in model.pooled}
    own = dict(influx)
    for item, x in zip(model.inserted, state.mechanisms, strict=True):
        pool = item.mechanism
        if isinstance(pool, AbstractPool):
            current = item.at.take(currents[pool.ion])
            move = _slope(lambda i, p=pool, y=x: p.pool_derivative(y["inside"], i), current)
            stay = _slope(lambda y, p=pool, i=current: p.pool_derivative(y, i), x["inside"])
            influx[pool.ion] = item.at.put(influx[pool.ion], move)
            own[pool.ion] = item.at.put(own[pool.ion], stay)
    matrix = {(p, q): (c - own[p] if p == q else 0.0) - influx[p] * block[p, q] for p, q in block}
    return influx, matrix


def _slope(f: Callable[[Array], Array], x: Array) -> Array:
    """The derivative of an elementwise function."""
    return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def _dot(a: list[Array], b: list[Array]) -> Array:
    return sum((p * q for p, q in zip(a[1:], b[1:], strict=True)), a[0] * b[0])
