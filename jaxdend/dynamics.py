"""The equations of a cell under its inputs: `State`, `Model` and the vector field.

    C dv/dt = - area Σ i(v, x, ions) - Σ inputs' outward currents + axial currents    (nF, mV, nA)
    dx/dt   = f(v, x, ions)                                          every mechanism, every input

Branch points and compartments of area 0 have C = 0: their voltage follows from the others. The same
`Model` serves the staggered steps, the Rosenbrock methods, `rest` and any solver of diffrax.

Words: a *compartment* is a piece of membrane, numbered `0 … n - 1` for users. A *node* has a
voltage of its own: compartments first, then branch points, `0 … N - 1`. A *position* is where a
node stands while a model runs, the affair of `order` alone. A *place* is how a user names
compartments (region, number, mask). A *site* is the compartment that one of the `k` elements of an
input acts on, or that a recorder looks at; -1 is nowhere. A *slot* `(mechanism, name)` is a state
that other mechanisms feel too, a concentration.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._small import depends
from jaxdend._subset import Mask, Subset, is_concrete, whole
from jaxdend.cable import TracedTree, Tree, TreeMatrix
from jaxdend.cell import STACKED, Cell, Inserted
from jaxdend.events import table_of, traces_at
from jaxdend.inputs import AbstractInput, Own, Placed, Sites
from jaxdend.mechanisms.base import Env, concentrations_read
from jaxdend.mechanisms.ions import IONS, nernst
from jaxdend.units import CM_TO_NF, DENSITY_TO_NA

Currents = dict[str, Array]  # ion -> (N,) mA/cm²


class State(eqx.Module):
    """Everything that evolves: `v (N,)` mV, the mechanisms' states, the inputs' states.

    `v[:n]` are the cell's compartments; the rest are branch points.
    """

    v: Array  # (N,) mV
    # Lists: equinox takes an empty tuple for a leaf, and diffrax's Runge-Kutta solvers then fail.
    mechanisms: list[dict[str, Array]] = eqx.field(converter=list)  # as cell.inserted, (k,) each
    inputs: list = eqx.field(converter=list)  # as model.inputs; None for inputs without state


class Model(eqx.Module):
    """A cell and its inputs, laid out for integration; travels as diffrax's `args`."""

    inserted: tuple[Inserted, ...]
    placed: tuple[Placed, ...]
    tables: tuple  # as placed: what delivers an input's events to the solver, or None
    edges: Any  # when inputs jump, for solvers that choose their own steps; else None
    area: Array  # (N,) µm²
    capacitance: Array  # (N,) nF
    edge: Array  # (N,) µS, conductance to the parent node
    axial: Array  # (N,) µS, sum of axial conductances at every node
    e: dict[str, Array]  # ion -> (N,) mV, reversal potential where no mechanism moves the ion
    celsius: Array  # () °C
    start: Array  # () ms
    h: Array  # () ms, the time step
    tree: Tree | TracedTree
    membrane: Subset | Mask  # compartments of area > 0
    n: int = eqx.field(static=True)
    exposed: bool = eqx.field(static=True)  # whether compartments of area 0 may carry inputs

    @property
    def inputs(self) -> tuple[AbstractInput, ...]:
        """The inputs, in the order in which they were given."""
        return tuple(item.input for item in self.placed)

    @property
    def moved(self) -> tuple[str, ...]:
        """The ions whose concentration some mechanism moves."""
        return tuple(sorted({ion for item in self.inserted for ion in item.mechanism.writes}))

    @property
    def stiff(self) -> bool:
        """Whether an input may be faster than any step, as a voltage clamp."""
        return any(item.input.stiff for item in self.placed)

    # --- surroundings -----------------------------------------------------------------------

    def environments(self, mechanisms: list[dict[str, Array]]) -> tuple[Env, ...]:
        """What each mechanism sees where the mechanisms have these states."""
        inside = {ion: jnp.full_like(e, IONS[ion].inside) for ion, e in self.e.items()}
        outside = {ion: jnp.full_like(e, IONS[ion].outside) for ion, e in self.e.items()}
        potential = dict(self.e)
        for item, x in zip(self.inserted, mechanisms, strict=True):
            for ion, (within, without) in item.mechanism.concentrations(x).items():
                e = nernst(IONS[ion].charge, within, without, self.celsius)
                inside[ion] = item.at.put(inside[ion], within)
                outside[ion] = item.at.put(outside[ion], without)
                potential[ion] = item.at.put(potential[ion], e)
        for item in self.inserted:
            for ion, e in item.mechanism.reversal_potentials().items():
                if ion in potential:
                    potential[ion] = item.at.put(potential[ion], e)

        def near(item: Inserted, values: dict[str, Array]) -> dict[str, Array]:
            return {ion: item.at.take(values[ion]) for ion in item.mechanism.reads}

        return tuple(
            Env(self.celsius, near(item, potential), near(item, inside), near(item, outside))
            for item in self.inserted
        )

    def feel(self, envs: tuple[Env, ...], ions: Currents) -> tuple[Env, ...]:
        """`envs` with the currents of the ions that each mechanism moves."""
        return tuple(
            eqx.tree_at(
                lambda env: env.current,
                env,
                {ion: item.at.take(ions[ion]) for ion in item.mechanism.writes},
            )
            if item.mechanism.writes
            else env
            for item, env in zip(self.inserted, envs, strict=True)
        )

    # --- currents ---------------------------------------------------------------------------

    def membrane_current(
        self, v: Array, mechanisms: list[dict[str, Array]], envs: tuple[Env, ...]
    ) -> tuple[Array, Currents]:
        """Outward current of the mechanisms at `v (N,)`: `(N,)` nA, and density by moved ion."""
        density = jnp.zeros_like(v)
        ions = {ion: jnp.zeros_like(v) for ion in self.moved}
        for item, x, env in zip(self.inserted, mechanisms, envs, strict=True):
            currents = item.mechanism.currents(item.at.take(v), x, env)
            for ion, i in currents.items():
                if ion in ions:
                    ions[ion] = item.at.add_to(ions[ion], i)
            if currents:
                density = item.at.add_to(density, jnp.asarray(sum(currents.values())))
        if any(len(item.at) < len(v) for item in self.inserted):
            density = whole(density)
        return density * self.area * DENSITY_TO_NA, ions

    def linearise(
        self, v: Array, mechanisms: list[dict[str, Array]], envs: tuple[Env, ...]
    ) -> tuple[tuple[Array, Currents], tuple[Array, Currents]]:
        """`membrane_current` at `v` and its exact slope, node by node, in µS."""
        return jax.jvp(
            lambda v: self.membrane_current(v, mechanisms, envs), (v,), (jnp.ones_like(v),)
        )

    def add_inputs(
        self,
        v: Array,
        inputs: list,
        t0: Array,
        t1: Array,
        outward: Array,
        stiff: bool | None = None,
    ) -> Array:
        """`outward (N,)` nA plus the inputs' currents over `[t0, t1]`; `stiff` asks for these."""
        chosen = self._chosen(inputs, stiff)
        outward = whole(outward) if any(i.scattered for i, _ in chosen) else outward
        for item, x in chosen:
            outward = item.at.add_to(outward, item.input.outward(item.at.take(v), x, t0, t1))
        return outward

    def source(
        self, v: Array, inputs: list, t0: Array, t1: Array, outward: Array, slopes: Array,
        stiff: bool | None = None,
    ) -> tuple[Array, Array]:  # fmt: skip
        """`slopes v - outward` (N,) nA and `slopes` (N,) µS with the inputs' currents in both.

        **Arguments:** as of `add_inputs`; `outward` and `slopes` of everything else at `v`.
        """
        late = []  # what does not look at the voltage
        for item, x in self._chosen(inputs, stiff):
            near = item.at.take(v)

            def current(u: Array, item: Placed = item, x: Own = x) -> Array:
                return item.input.outward(u, x, t0, t1)

            if depends(current, near)[0]:
                i, by_v = jax.jvp(current, (near,), (jnp.ones_like(near),))
                outward, slopes = item.at.add_to(outward, i), item.at.add_to(slopes, by_v)
            else:
                late.append((item, current(near)))
        total = slopes * v - outward
        total = whole(total) if any(item.scattered for item, _ in late) else total
        for item, i in late:
            total = item.at.add_to(total, -i)
        return total, slopes

    def _chosen(self, inputs: list, stiff: bool | None) -> list[tuple[Placed, Own]]:
        pairs = zip(self.placed, inputs, strict=True)
        return [(i, x) for i, x in pairs if stiff is None or i.input.stiff == stiff]

    # --- cable ------------------------------------------------------------------------------

    def matrix(self, diagonal: Array) -> TreeMatrix:
        """The tree matrix with `diagonal (N,)` µS and the axial couplings off the diagonal."""
        return TreeMatrix(diagonal, self.edge, self.tree)

    def axial_current(self, v: Array) -> Array:
        """Current that leaves each node along the cable, nA."""
        return self.matrix(self.axial).mv(v)

    def complete(self, v: Array, extra: Array, current: Array) -> Array:
        """`v` with its algebraic nodes solved for, at `extra` slope (µS), `current` (nA)."""
        fixed = self.membrane.mask(self.tree.n)
        if is_concrete(fixed) and np.all(fixed):
            return v
        free_edge = jnp.where(~fixed & ~fixed[self.tree.above], self.edge, 0.0)
        known = jnp.where(fixed, v, 0.0)
        pull = -self.matrix(jnp.zeros_like(v)).mv(known)  # Σ g v over known neighbours
        diagonal = jnp.where(fixed, 1.0, self.axial + extra)
        matrix = TreeMatrix(diagonal, free_edge, self.tree)
        return jnp.where(fixed, v, matrix.solve(jnp.where(fixed, 0.0, pull + current)))

    def settle(self, v: Array, inputs: list, t: Array) -> Array:
        """`v` with its algebraic nodes in balance at `t`; the inputs' currents there by Newton."""
        zero = jnp.zeros_like(self.area)
        if not self.placed or not self.exposed:
            return self.complete(v, zero, zero)
        for _ in range(3):
            source, by_v = self.source(v, inputs, t, t, zero, zero)
            v = self.complete(v, by_v, source)
        return v

    # --- time -------------------------------------------------------------------------------

    def initial(self, v0: Array, rounded: bool, staggered: bool = False) -> State:
        """The state at `start` for `v0`, a number or `(n,)` mV: every gate at rest there."""
        spread = jnp.broadcast_to(v0, (self.n,)).astype(self.area.dtype)
        hidden = jnp.full(len(self.area) - self.n, jnp.mean(spread))
        zero = jnp.zeros_like(self.area)
        v = self.complete(jnp.concatenate([spread, hidden]), zero, zero)
        return State(v, self.at_rest(v, None), self.initial_inputs(v, rounded, staggered))

    def at_rest(self, v: Array, writers: list[dict[str, Array]] | None) -> list[dict[str, Array]]:
        """The mechanisms' states at rest at `v (N,)` mV.

        Those that move concentrations have the states in `writers` or, for `None`, their own.
        """
        if writers is None:
            e = self.e
            default = {ion: jnp.full_like(e[ion], IONS[ion].inside) for ion in e}
            around = {ion: jnp.full_like(e[ion], IONS[ion].outside) for ion in e}
            zero = jnp.zeros_like(v)

            def see(item: Inserted) -> Env:
                near = [
                    {ion: item.at.take(values[ion]) for ion in item.mechanism.reads}
                    for values in (e, default, around)
                ]
                still = {ion: item.at.take(zero) for ion in item.mechanism.writes}
                return Env(self.celsius, near[0], near[1], near[2], still)

            writers = [
                item.mechanism.initial(item.at.take(v), see(item)) if item.mechanism.writes else {}
                for item in self.inserted
            ]
        blank = [
            x if item.mechanism.writes else {}
            for item, x in zip(self.inserted, writers, strict=True)
        ]
        envs = self.environments(blank)
        return [
            x if item.mechanism.writes else item.mechanism.initial(item.at.take(v), env)
            for item, x, env in zip(self.inserted, blank, envs, strict=True)
        ]

    def initial_inputs(self, v: Array, rounded: bool, staggered: bool = False) -> list:
        """What `State.inputs` holds at `start`, at `v (N,)` mV.

        Where steps are `staggered` and not `rounded`, states live half a step ahead of the voltage.
        """
        lag = self.h / 2
        out = []
        for item, table in zip(self.placed, self.tables, strict=True):
            near, x = item.at.take(v), None
            if table is None or item.input.coupled:
                x = item.input.init(near)
                if jax.tree.leaves(x) and staggered and not rounded:
                    x = item.input.advance(near, x, self.start, self.start + lag, lag)
            if table is not None:
                past = table.before(item.input, self.start, self.h, rounded)
                x = past if x is None else jax.tree.map(jnp.add, x, past)
            out.append(x)
        return out

    def advance(
        self, v: Array, mechanisms: list[dict[str, Array]], ions: Currents, h: Array
    ) -> list[dict[str, Array]]:
        """Mechanism states `h` ms later at frozen `v`: concentrations first, then their readers."""
        writing = [bool(item.mechanism.writes) for item in self.inserted]
        if any(writing):
            envs = self.feel(self.environments(mechanisms), ions)
            mechanisms = [
                item.mechanism.advance(item.at.take(v), x, env, h) if now else x
                for item, x, env, now in zip(self.inserted, mechanisms, envs, writing, strict=True)
            ]
        envs = self.environments(mechanisms)
        return [
            x if done else item.mechanism.advance(item.at.take(v), x, env, h)
            for item, x, env, done in zip(self.inserted, mechanisms, envs, writing, strict=True)
        ]

    def balance(self, t: Array, y: State) -> State:
        """The current into every node, nA, and the slope of every state, at `t`.

        The state of an input that the voltage does not act on has no slope: None.
        """
        envs = self.environments(y.mechanisms)
        outward, ions = self.membrane_current(y.v, y.mechanisms, envs)
        outward = self.add_inputs(y.v, y.inputs, t, t, outward)
        envs = self.feel(envs, ions)
        mechanisms = [
            item.mechanism.derivative(item.at.take(y.v), x, env)
            for item, x, env in zip(self.inserted, y.mechanisms, envs, strict=True)
        ]
        inputs = [
            item.input.derivative(item.at.take(y.v), x, t) if item.input.coupled else None
            for item, x in zip(self.placed, y.inputs, strict=True)
        ]
        return State(-outward - self.axial_current(y.v), mechanisms, inputs)

    def recall(self, t: Array, inputs: list) -> list:
        """`inputs` with the states that events alone make summed over all of these up to `t`."""
        return [
            item.gather(traces_at(item.input, t), len(self.area))
            if item.input.eventful and not item.input.coupled
            else x
            for item, x in zip(self.placed, inputs, strict=True)
        ]

    def completed(self, t: Array, y: State) -> State:
        """`y` with its algebraic voltages filled in, as a generic solver leaves them."""
        inputs = self.recall(t, y.inputs)
        return State(self.settle(y.v, inputs, t), y.mechanisms, inputs)


def vector_field(t: Array, y: State, args: Model) -> State:
    """d(state)/dt in the form that `diffrax.ODETerm` takes, algebraic voltages solved for."""
    full = args.completed(t, y)
    slopes = args.balance(t, full)
    live = args.capacitance > 0
    dv = jnp.where(live, slopes.v / jnp.where(live, args.capacitance, 1.0), 0.0)
    inputs = [
        dx
        if dx is not None
        else jax.tree.map(jnp.zeros_like, x)  # follows from the events alone
        if item.input.eventful
        else item.input.derivative(item.at.take(full.v), x, t)
        for item, x, dx in zip(args.placed, y.inputs, slopes.inputs, strict=True)
    ]
    return State(dv, slopes.mechanisms, inputs)


def build_model(cell: Cell, inputs: tuple, *, start: Array, h: Array) -> Model:
    """Lay out `cell` and `inputs` for a run from `start` in steps of `h` ms, without tables yet."""
    if cell.area.ndim > 1:
        raise ValueError(STACKED.format(len(cell.area)).capitalize())
    padding = jnp.zeros(cell.tree.n - cell.n, cell.area.dtype)
    area = jnp.concatenate([cell.area, padding])
    ra = jnp.concatenate([cell.ra, padding])
    along = ra * cell.own + ra[cell.tree.above] * cell.via
    resistance = jnp.where(cell.tree.joined, along, 1.0)
    edge = jnp.where(cell.tree.joined, 1.0 / resistance, 0.0)
    return Model(
        inserted=cell.inserted,
        placed=tuple(Placed(item, Sites(_nodes(item.site, len(area)))) for item in inputs),
        tables=(None,) * len(inputs),
        edges=None,
        area=area,
        capacitance=area * jnp.concatenate([cell.cm, padding]) * CM_TO_NF,
        edge=edge,
        axial=edge.at[cell.tree.above].add(edge),
        e=_potentials(cell, jnp.zeros_like(area)),
        celsius=cell.celsius,
        start=start,
        h=h,
        tree=cell.tree,
        membrane=cell.membrane,
        n=cell.n,
        exposed=cell.exposed,
    )


def by_step(model: Model, grid: Array, rounded: bool, widths: tuple[int | None, ...]) -> Model:
    """`model` ready for steps at the times `grid (steps + 1,)` ms: inputs prepared, events sorted.

    `rounded` delivers events at the nearest step, as NEURON does, instead of at their exact time;
    `widths` bounds the events of each input that fall into one step (`None` for all of them).
    """
    placed = tuple(Placed(item.input.prepare(), item.at) for item in model.placed)
    tables = tuple(
        table_of(item.input, grid, model.h, rounded, width) if item.input.eventful else None
        for item, width in zip(placed, widths, strict=True)
    )
    return replace(model, placed=placed, tables=tables)


def _nodes(site: Array, size: int) -> Array:
    """The sites of an input, where -1, which is nowhere, becomes a number past the last node."""
    return jnp.where(site < 0, size, site)


def _potentials(cell: Cell, like: Array) -> dict[str, Array]:
    """Reversal potentials where no mechanism moves the ion, for all ions that are read, `(N,)` mV.

    By NEURON's rule: the usual one, unless some mechanism of the compartment reads or moves the
    concentrations; then Nernst's, of the usual concentrations at the cell's temperature.
    """
    needed = {i for item in cell.inserted for i in (*item.mechanism.reads, *item.mechanism.writes)}
    out = {}
    for ion in sorted(needed):
        if ion not in IONS:
            raise ValueError(f"unknown ion {ion!r}; there are {', '.join(sorted(IONS))}.")
        default = IONS[ion]
        e = jnp.full_like(like, default.reversal)
        potential = nernst(default.charge, default.inside, default.outside, cell.celsius)
        for item in cell.inserted:
            if ion in concentrations_read(item.mechanism) or ion in item.mechanism.writes:
                e = item.at.put(e, potential)
        out[ion] = e
    return out
