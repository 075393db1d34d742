"""The equations of a cell under its inputs: `State`, `Model` and the vector field.

    C dv/dt = - area Σ i(v, x, ions) - Σ synapses + stimuli + axial currents          (nF, mV, nA)
    dx/dt   = f(v, x, ions)                                                       every mechanism

Branch points and compartments of area 0 have C = 0: their voltage follows from the others. The
same `Model` serves the fast staggered solvers and, through `vector_field`, any solver of diffrax.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._subset import Mask, Subset, whole
from jaxdend.cable.tree import TracedTree, Tree, TreeMatrix
from jaxdend.cell import STACKED, Cell, Inserted
from jaxdend.events import table_of
from jaxdend.mechanisms.base import AbstractChannel, AbstractPool, Env, exponential_euler
from jaxdend.mechanisms.ions import IONS, nernst
from jaxdend.stimuli import AbstractStimulus, VoltageClamp
from jaxdend.synapses import AbstractKineticSynapse, AbstractSynapse

Currents = dict[str, Array]  # ion -> (N,) mA/cm²


class State(eqx.Module):
    """Everything that evolves: `v (N,)` mV, the mechanisms' states, the synapses' states.

    `v[:n]` are the cell's compartments; the rest are branch points.
    """

    v: Array  # (N,) mV
    # Lists: equinox takes an empty tuple for a leaf, and diffrax's Runge-Kutta solvers then fail.
    mechanisms: list[dict[str, Array]] = eqx.field(converter=list)  # as cell.inserted, (k,) each
    inputs: list = eqx.field(converter=list)  # as model.inputs; None for inputs without state


class Model(eqx.Module):
    """A cell and its inputs, laid out for integration; travels as diffrax's `args`."""

    inserted: tuple[Inserted, ...]
    inputs: tuple
    events: tuple  # aligned with inputs: a table of a carried synapse group, or None
    area: Array  # (N,) µm²
    capacitance: Array  # (N,) nF
    edge: Array  # (N,) µS, conductance to the parent node
    axial: Array  # (N,) µS, sum of axial conductances at every node
    celsius: Array  # () °C
    start: Array  # () ms
    h: Array  # () ms, the time step
    tree: Tree | TracedTree
    membrane: Subset | Mask  # compartments of area > 0
    n: int = eqx.field(static=True)
    exposed: bool = eqx.field(static=True)  # whether compartments of area 0 may carry inputs

    @property
    def ions(self) -> tuple[str, ...]:
        """Ions whose concentrations somebody reads or moves."""
        read = {ion for item in self.inserted for ion in item.mechanism.reads}
        return tuple(sorted(read | set(self.pooled)))

    @property
    def pooled(self) -> tuple[str, ...]:
        """Ions with a concentration mechanism."""
        found = {i.mechanism.ion for i in self.inserted if isinstance(i.mechanism, AbstractPool)}
        return tuple(sorted(found))

    # --- surroundings -----------------------------------------------------------------------

    def environments(self, state: State) -> tuple[Env, ...]:
        """What each mechanism sees at the concentrations of `state`."""
        inside, outside, e = {}, {}, {}
        for ion in self.ions:
            default = IONS[ion]
            inside[ion] = jnp.full(self.n, default.inside, self.area.dtype)
            outside[ion] = jnp.full(self.n, default.outside, self.area.dtype)
            e[ion] = jnp.full(self.n, default.reversal, self.area.dtype)
        for item, x in zip(self.inserted, state.mechanisms, strict=True):
            pool = item.mechanism
            if isinstance(pool, AbstractPool):
                ion = pool.ion
                potential = nernst(IONS[ion].charge, x["inside"], pool.outside, self.celsius)
                inside[ion] = item.at.put(inside[ion], x["inside"])
                outside[ion] = item.at.put(outside[ion], pool.outside)
                e[ion] = item.at.put(e[ion], potential)

        def near(item: Inserted, values: dict[str, Array]) -> dict[str, Array]:
            return {ion: item.at.take(values[ion]) for ion in item.mechanism.reads}

        return tuple(
            Env(self.celsius, near(item, e), near(item, inside), near(item, outside))
            for item in self.inserted
        )

    # --- currents ---------------------------------------------------------------------------

    def membrane_current(
        self, v: Array, state: State, envs: tuple[Env, ...], conductances: tuple
    ) -> tuple[Array, Currents]:
        """Outward current of channels and synapses at `v (N,)`: `(N,)` nA, and density by ion."""
        density = jnp.zeros_like(v)
        ions = {ion: jnp.zeros_like(v) for ion in self.pooled}
        for item, x, env in zip(self.inserted, state.mechanisms, envs, strict=True):
            if not isinstance(item.mechanism, AbstractChannel):
                continue
            current = item.mechanism.current(item.at.take(v), x, env)
            if not isinstance(current, dict):
                current = {item.mechanism.ion: current}
            for ion, i in current.items():
                if ion in ions:
                    ions[ion] = item.at.add_to(ions[ion], i)
            density = item.at.add_to(density, jnp.asarray(sum(current.values())))
        if any(len(item.at) < len(v) for item in self.inserted):
            density = whole(density)
        total = density * self.area * 1e-2
        for group, x, g in zip(self.inputs, state.inputs, conductances, strict=True):
            if isinstance(group, AbstractSynapse):
                total = total.at[group.site].add(group.current(v[group.site], g))
            elif isinstance(group, AbstractKineticSynapse):
                total = total.at[group.site].add(group.current(v[group.site], x))
        return total, ions

    def linearised(
        self, state: State, envs: tuple[Env, ...], conductances: tuple
    ) -> tuple[tuple[Array, Currents], tuple[Array, Currents]]:
        """`membrane_current` at `state.v` and its exact slope, per compartment, in µS."""
        return jax.jvp(
            lambda v: self.membrane_current(v, state, envs, conductances),
            (state.v,),
            (jnp.ones_like(state.v),),
        )

    def injected(self, t0: Array, t1: Array, onto: Array | None = None) -> Array:
        """Mean current of the stimuli over `[t0, t1]`, added to `onto`, `(N,)` nA."""
        stimuli = [i for i in self.inputs if isinstance(i, AbstractStimulus)]
        total = jnp.zeros_like(self.area) if onto is None else onto
        total = whole(total) if stimuli else total
        for stimulus in stimuli:
            total = total.at[stimulus.site].add(stimulus.current(t0, t1))
        return total

    def clamped(self, t: Array) -> tuple[Array, Array]:
        """Clamp conductance `(N,)` µS and conductance times command `(N,)` nA at `t`."""
        g, drive = jnp.zeros_like(self.area), jnp.zeros_like(self.area)
        for clamp in self.inputs:
            if isinstance(clamp, VoltageClamp):
                at = clamp.conductance(t)
                g = g.at[clamp.site].add(at)
                drive = drive.at[clamp.site].add(at * clamp.command(t))
        return g, drive

    @property
    def has_clamp(self) -> bool:
        """Whether a voltage clamp is among the inputs."""
        return any(isinstance(i, VoltageClamp) for i in self.inputs)

    @property
    def has_stiff_clamp(self) -> bool:
        """Whether a voltage clamp is more than a soft one."""
        return any(isinstance(i, VoltageClamp) and not i.soft for i in self.inputs)

    def conductances(self, state: State, t: Array, carried: bool) -> tuple:
        """Per synapse group `(k,)` µS: from the carried traces, or summed over events at `t`."""

        def one(group, x):  # noqa: ANN001, ANN202
            if not isinstance(group, AbstractSynapse):
                return ()
            return group.conductance(x) if carried and not group.explicit else group.summed(t)

        return tuple(one(g, x) for g, x in zip(self.inputs, state.inputs, strict=True))

    # --- cable ------------------------------------------------------------------------------

    def matrix(self, diagonal: Array) -> TreeMatrix:
        """The tree matrix with `diagonal (N,)` µS and the axial couplings off the diagonal."""
        return TreeMatrix(diagonal, self.edge, self.tree)

    def complete(self, v: Array, extra: Array, current: Array) -> Array:
        """`v` with its algebraic nodes solved for, at `extra` slope (µS), `current` (nA)."""
        fixed = self.membrane.mask(self.tree.n)
        if isinstance(fixed, np.ndarray) and fixed.all():
            return v
        free_edge = jnp.where(~fixed & ~fixed[self.tree.above], self.edge, 0.0)
        known = jnp.where(fixed, v, 0.0)
        pull = -self.matrix(jnp.zeros_like(v)).mv(known)  # Σ g v over known neighbours
        diagonal = jnp.where(fixed, 1.0, self.axial + extra)
        matrix = TreeMatrix(diagonal, free_edge, self.tree)
        return jnp.where(fixed, v, matrix.solve(jnp.where(fixed, 0.0, pull + current)))

    # --- time -------------------------------------------------------------------------------

    def initial(self, v0: Array, rounded: bool) -> State:
        """The state at `start` for `v0`, a number or `(n,)` mV: every gate at rest there."""
        spread = jnp.broadcast_to(v0, (self.n,)).astype(self.area.dtype)
        hidden = jnp.full(len(self.area) - self.n, jnp.mean(spread))
        zero = jnp.zeros_like(self.area)
        v = self.complete(jnp.concatenate([spread, hidden]), zero, zero)
        mechanisms = tuple(
            {"inside": item.mechanism.start(item.at.take(v))}
            if isinstance(item.mechanism, AbstractPool)
            else {}
            for item in self.inserted
        )
        envs = self.environments(State(v, mechanisms, ()))
        mechanisms = tuple(
            x or item.mechanism.initial(item.at.take(v), env)
            for item, x, env in zip(self.inserted, mechanisms, envs, strict=True)
        )
        return State(v, mechanisms, self.initial_inputs(v, rounded))

    def initial_inputs(self, v: Array, rounded: bool) -> list:
        """What `State.inputs` holds at `start`, at `v (N,)` mV."""
        inputs = []
        for group, table in zip(self.inputs, self.events, strict=True):
            if isinstance(group, AbstractKineticSynapse):
                inputs.append(group.initial(v[group.site]))
            elif table is None:
                inputs.append(None)
            else:
                inputs.append(table.before(group, self.start, self.h, rounded))
        return inputs

    def advance(
        self, v: Array, state: State, ions: Currents, h: Array
    ) -> tuple[dict[str, Array], ...]:
        """Mechanism states `h` ms later at frozen `v`: concentrations first, then their readers."""
        moved = []
        for item, x in zip(self.inserted, state.mechanisms, strict=True):
            pool = item.mechanism
            if isinstance(pool, AbstractPool):
                current = item.at.take(ions[pool.ion])
                x = exponential_euler(
                    lambda y, pool=pool, current=current: {
                        "inside": pool.pool_derivative(y["inside"], current)
                    },
                    x,
                    h,
                )
            moved.append(x)
        envs = self.environments(State(v, tuple(moved), ()))
        return tuple(
            x
            if isinstance(item.mechanism, AbstractPool)
            else item.mechanism.advance(item.at.take(v), x, env, h)
            for item, x, env in zip(self.inserted, moved, envs, strict=True)
        )

    def derivative(self, t: Array, state: State) -> State:
        """The vector field: d(state)/dt, with algebraic voltages solved for, not integrated."""
        envs = self.environments(state)
        conductances = self.conductances(state, t, carried=False)
        v = self.at_nodes(t, state, envs, conductances)
        outward, ions = self.membrane_current(v, state, envs, conductances)
        g_clamp, drive = self.clamped(t)
        net = self.injected(t, t, drive - g_clamp * v - outward - self.axial_current(v))
        live = self.capacitance > 0
        dv = jnp.where(live, net / jnp.where(live, self.capacitance, 1.0), 0.0)
        mechanisms = []
        for item, x, env in zip(self.inserted, state.mechanisms, envs, strict=True):
            mechanism = item.mechanism
            if isinstance(mechanism, AbstractPool):
                current = item.at.take(ions[mechanism.ion])
                mechanisms.append({"inside": mechanism.pool_derivative(x["inside"], current)})
            else:
                mechanisms.append(mechanism.derivative(item.at.take(v), x, env))
        inputs = tuple(
            group.derivative(v[group.site], x, group.drive(t))
            if isinstance(group, AbstractKineticSynapse)
            else jax.tree.map(jnp.zeros_like, x)
            for group, x in zip(self.inputs, state.inputs, strict=True)
        )
        return State(dv, tuple(mechanisms), inputs)

    def completed(self, t: Array, state: State) -> State:
        """`state` with its algebraic voltages filled in, as a generic solver leaves them."""
        envs = self.environments(state)
        v = self.at_nodes(t, state, envs, self.conductances(state, t, carried=False))
        return State(v, state.mechanisms, state.inputs)

    def axial_current(self, v: Array) -> Array:
        """Current leaving each node along the cable, `(N,)` nA."""
        return self.matrix(self.axial).mv(v)

    def at_nodes(self, t: Array, state: State, envs: tuple[Env, ...], conductances: tuple) -> Array:
        """`state.v` with its algebraic nodes in balance at `t`; point currents there by Newton."""
        zero = jnp.zeros_like(self.area)
        if not self.inputs or not self.exposed:
            return self.complete(state.v, zero, zero)
        g_clamp, drive = self.clamped(t)
        push = self.injected(t, t, drive)
        v = state.v
        for _ in range(3):
            guess = eqx.tree_at(lambda s: s.v, state, v)
            (outward, _), (slope, _) = self.linearised(guess, envs, conductances)
            v = self.complete(v, slope + g_clamp, push - outward + slope * v)
        return v


def vector_field(t: Array, y: State, args: Model) -> State:
    """`Model.derivative` in the form that `diffrax.ODETerm` takes."""
    return args.derivative(t, y)


def build_model(
    cell: Cell, inputs: tuple, *, grid: Array, h: Array, rounded: bool, widths: tuple
) -> Model:
    """Lay out `cell` and `inputs` for steps of `h` ms at the times `grid (steps + 1,)` ms.

    `rounded` delivers events at the nearest step, as NEURON does, instead of at their exact time;
    `widths` bounds the events of each input that fall into one step (`None` for all of them).
    """
    if cell.area.ndim > 1:
        raise ValueError(STACKED.format(len(cell.area)).capitalize())
    padding = jnp.zeros(cell.tree.n - cell.n, cell.area.dtype)
    area = jnp.concatenate([cell.area, padding])
    ra = jnp.concatenate([cell.ra, padding])
    along = ra * cell.own + ra[cell.tree.above] * cell.via
    resistance = jnp.where(cell.tree.joined, along, 1.0)
    edge = jnp.where(cell.tree.joined, 1.0 / resistance, 0.0)
    inputs = tuple(i.prepare() if isinstance(i, AbstractStimulus) else i for i in inputs)
    events = tuple(
        table_of(group, grid, h, rounded, width)
        if isinstance(group, AbstractSynapse) and not group.explicit
        else None
        for group, width in zip(inputs, widths, strict=True)
    )
    return Model(
        inserted=cell.inserted,
        inputs=inputs,
        events=events,
        area=area,
        capacitance=area * jnp.concatenate([cell.cm, padding]) * 1e-5,
        edge=edge,
        axial=edge.at[cell.tree.above].add(edge),
        celsius=cell.celsius,
        start=grid[0],
        h=h,
        tree=cell.tree,
        membrane=cell.membrane,
        n=cell.n,
        exposed=cell.exposed,
    )
