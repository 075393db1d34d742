"""The order in which a model runs: an invertible map around model, state and recorder.

Where the tree is eliminated node by node, nodes stand in the order of elimination: the solve then
works through memory from front to back without gathering, and among the orders that are possible
one is taken that keeps compartments with the same mechanisms together, so that each mechanism works
on a few contiguous slices. Nodes without membrane that stand between two compartments of a
mechanism take part in it: with an area of 0 they contribute nothing.

Event synapses that share their kinetics and their compartment are carried as one: their states are
linear, so the sum over a compartment is all that its voltage feels, and ten thousand synapses cost
as much as there are compartments. The single ones are made again from their events where somebody
looks.

Only the loop over time sees this order; `undo(run(do(model)))` is `run(model)`.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._subset import Subset, on_cpu
from jaxdend.cable import TracedTree, Tree
from jaxdend.cell import Inserted
from jaxdend.dynamics import Model, State
from jaxdend.events import since_start
from jaxdend.inputs import Placed, Sites


class Order(eqx.Module):
    """The model as it runs, and the way there and back for states."""

    model: Model  # as it runs
    seating: Any  # where nodes stand: a `Layout`, `TracedLayout` or `Unchanged`
    # as model.placed: the states `(k,)` at the start of single inputs that follow from their events
    # alone, where the run does not carry them, or not exactly; else None
    begun: tuple
    h: Array  # () ms, the step whose events the state at its beginning counts as its own; or 0
    rounded: bool = eqx.field(static=True)

    def do(self, state: State) -> State:
        """Puts `state`, given as the cell has it, into this order."""
        inputs = [
            item.gather(x, len(self.model.area))
            for x, item in zip(state.inputs, self.model.placed, strict=True)
        ]
        out = self.seating.arranged(state)
        return State(out.v, out.mechanisms, inputs)

    def undo(self, t: Array, state: State) -> State:
        """Takes `state` at `t` ms, given in this order, back to that of the cell."""
        start = self.model.start
        inputs = [
            x if z is None else since_start(item.input, z, start, t, self.h, self.rounded)
            for x, z, item in zip(state.inputs, self.begun, self.model.placed, strict=True)
        ]
        out = self.seating.presented(state)
        return State(out.v, out.mechanisms, inputs)

    def voltage(self, state: State, nodes: Array) -> Array:
        """The voltages of `nodes`, `(r,)` mV, of a state in this order."""
        return state.v[self.seating.at(nodes)]


def elimination_order(model: Model, start: State, rounded: bool) -> Order:
    """The order in which fixed steps run fastest on JAX's default device, from `start`."""
    seating = _seating(model)
    size = len(model.area)
    moved = seating.model(model)
    placed, tables, begun = [], [], []
    for item, table, x in zip(model.placed, model.tables, start.inputs, strict=True):
        at = Sites(seating.at(item.at.index))
        merges = table is not None and item.input.merges and 2 * len(at.index) >= size
        everywhere = Placed(item.input, Subset(np.arange(size)), at)
        placed.append(everywhere if merges else Placed(item.input, at))
        tables.append(table.at_nodes(at.index, size) if table and merges else table)
        begun.append(x if merges else None)
    moved = replace(moved, placed=tuple(placed), tables=tuple(tables))
    return Order(moved, seating, tuple(begun), model.h, rounded)


def cell_order(model: Model, start: State) -> Order:
    """The order of the cell itself, for other solvers; what events alone make is summed anew."""
    begun = tuple(
        x if item.input.eventful and not item.input.coupled else None
        for item, x in zip(model.placed, start.inputs, strict=True)
    )
    return Order(model, Unchanged(), begun, jnp.zeros_like(model.h), True)


def _seating(model: Model) -> Any:
    if not on_cpu():
        return Unchanged()
    tree: Any = model.tree
    if jax.tree.leaves(tree):  # it is data
        return TracedLayout(tree)
    return layout(tree, model.membrane, tuple(item.at for item in model.inserted))


def _at(position: Array, nodes: Array) -> Array:
    """The positions of `nodes`; a number past the last node, which is nowhere, stays one."""
    size = len(position)
    return jnp.where(nodes < size, position.at[nodes].get(mode="clip"), size)


@dataclass(frozen=True, eq=False)
class Seat:
    """Where a mechanism with `k` compartments sits in a layout."""

    at: Subset  # m >= k positions
    source: np.ndarray  # (m,) which of the k compartments lends each position its parameters
    own: np.ndarray  # (k,) where each compartment stands among the m


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Layout:
    """A renumbering of the nodes of a model, all of it known before anything runs."""

    order: np.ndarray  # (N,) node at each position, children before their parents
    position: np.ndarray  # (N,) its inverse
    edge: np.ndarray  # (N,) node whose edge leads up from each position
    tree: Tree  # in positions, rooted at the last
    membrane: Subset  # positions with area
    seats: tuple[Seat, ...]  # as model.inserted

    def model(self, model: Model) -> Model:
        """The model with its nodes and mechanisms in this layout."""
        inserted = tuple(
            Inserted(jax.tree.map(lambda leaf, s=seat: _spread(leaf, s), item.mechanism), seat.at)
            for item, seat in zip(model.inserted, self.seats, strict=True)
        )
        return replace(
            model,
            inserted=inserted,
            area=model.area[self.order],
            capacitance=model.capacitance[self.order],
            edge=model.edge[self.edge],
            axial=model.axial[self.order],
            e={ion: e[self.order] for ion, e in model.e.items()},
            tree=self.tree,
            membrane=self.membrane,
            n=len(self.order),
        )

    def at(self, nodes: Array) -> Array:
        """The positions in this layout of the given `nodes`."""
        return _at(jnp.asarray(self.position), nodes)

    def arranged(self, state: State) -> State:
        """Puts `state`, given as the cell has it, into this layout."""
        mechanisms = [
            {name: x[seat.source] for name, x in states.items()}
            for states, seat in zip(state.mechanisms, self.seats, strict=True)
        ]
        return State(state.v[self.order], mechanisms, state.inputs)

    def presented(self, state: State) -> State:
        """Takes `state`, given in this layout, back to that of the cell."""
        mechanisms = [
            {name: x[seat.own] for name, x in states.items()}
            for states, seat in zip(state.mechanisms, self.seats, strict=True)
        ]
        return State(state.v[self.position], mechanisms, state.inputs)


class TracedLayout(eqx.Module):
    """The order in which a tree that is data is eliminated, as in a stack of cells.

    Mechanisms are computed in all nodes, wherever these stand: only the solve gains.
    """

    tree: TracedTree

    @property
    def position(self) -> Array:
        """The position of every node in this layout, `(N,)`."""
        return jnp.asarray(self.tree.sequential.position)

    def model(self, model: Model) -> Model:
        """The model with its nodes in this layout."""
        return replace(
            model,
            inserted=self._moved(model.inserted),
            area=self._moved(model.area),
            capacitance=self._moved(model.capacitance),
            edge=model.edge[self.tree.sequential.edge],
            axial=self._moved(model.axial),
            e=self._moved(model.e),
            tree=self.tree.arranged,
            membrane=self._moved(model.membrane),
        )

    def at(self, nodes: Array) -> Array:
        """The positions in this layout of the given `nodes`."""
        return _at(self.position, nodes)

    def arranged(self, state: State) -> State:
        """Puts `state`, given as the cell has it, into this layout."""
        return State(self._moved(state.v), self._moved(state.mechanisms), state.inputs)

    def presented(self, state: State) -> State:
        """Takes `state`, given in this layout, back to that of the cell."""
        v, mechanisms = jax.tree.map(lambda x: x[self.position], (state.v, state.mechanisms))
        return State(v, mechanisms, state.inputs)

    def _moved(self, values: Any) -> Any:
        """Leaves `(N,)`, or numbers, in this layout."""
        return jax.tree.map(lambda x: x[self.tree.sequential.order] if jnp.ndim(x) else x, values)


class Unchanged(eqx.Module):
    """A layout that renumbers nothing, where the solve works level by level."""

    def model(self, model: Model) -> Model:
        """The model as it is; the other methods change nothing either."""
        return model

    def at(self, nodes: Array) -> Array:
        return nodes

    def arranged(self, state: State) -> State:
        return state

    def presented(self, state: State) -> State:
        return state


def _spread(leaf: Array, seat: Seat) -> Array:
    """A parameter, scalar or `(k,)`, on the positions of `seat`."""
    return leaf[seat.source] if jnp.ndim(leaf) else leaf


@lru_cache(maxsize=64)
def layout(tree: Tree, membrane: Subset, where: tuple[Subset, ...]) -> Layout:
    """The layout of a tree whose mechanisms sit at `where`; equal arguments share one."""
    inside = np.zeros((len(where), tree.n), bool)
    for row, at in zip(inside, where, strict=True):
        row[at.index] = True
    kinds = np.unique(inside, axis=1, return_inverse=True)[1].reshape(-1)
    kinds = np.where(np.isin(np.arange(tree.n), membrane.index), kinds, -1)
    order, up = tree.centred
    order = np.array(_in_runs(order, up, kinds))
    position = np.empty(tree.n, int)
    position[order] = np.arange(tree.n)
    above = np.asarray(up)[order]
    edge = np.where(tree.parent[order] == above, order, above)
    edge[-1] = tree.root  # unused
    parent = np.where(above >= 0, position[above], -1)
    blank = ~np.isin(order, membrane.index)
    seats = tuple(
        _seat(row[order], blank, position[at.index]) for row, at in zip(inside, where, strict=True)
    )
    order, position, edge = (a.astype(np.int32) for a in (order, position, edge))
    return Layout(
        order, position, edge, Tree(parent), Subset(np.sort(position[membrane.index])), seats
    )


def _in_runs(order: list[int], up: list[int], kinds: np.ndarray) -> list[int]:
    """The nodes, children before parents, in few runs of one kind; kind -1 fits into any run."""
    waiting = np.zeros(len(order), int)  # children not yet placed
    for i in order:
        if up[i] >= 0:
            waiting[up[i]] += 1
    ready = [i for i in order if waiting[i] == 0]
    out: list[int] = []
    while ready:
        runs = {k: _run(ready, up, kinds, waiting.copy(), k) for k in {*kinds[ready].tolist()}}
        run = max(runs.values(), key=len)
        for i in run:
            waiting[i] = -1
            if up[i] >= 0:
                waiting[up[i]] -= 1
        out += run
        ready = [i for i in order if waiting[i] == 0]
    return out


def _run(
    ready: list[int], up: list[int], kinds: np.ndarray, waiting: np.ndarray, kind: int
) -> list[int]:
    """All that can be placed from `ready` without leaving `kind`, generation by generation."""
    run: list[int] = []
    ring = [i for i in ready if kinds[i] in (kind, -1)]
    while ring:
        run += ring
        following = []
        for i in ring:
            above = up[i]
            if above >= 0:
                waiting[above] -= 1
                if waiting[above] == 0 and kinds[above] in (kind, -1):
                    following.append(above)
        ring = following
    return run


def _seat(inside: np.ndarray, blank: np.ndarray, own: np.ndarray) -> Seat:
    """The seat of a mechanism `inside` whose `k` compartments stand at the positions `own`."""
    covered = np.flatnonzero(inside)
    held = inside.copy()
    for before, after in zip(covered[:-1], covered[1:], strict=True):
        if blank[before + 1 : after].all():
            held[before:after] = True
    at = Subset(np.flatnonzero(held))
    if at.runs is None:  # scattered: gathered anyway, so without the blanks
        at = Subset(covered)
    compartment = np.empty(len(inside), int)
    compartment[own] = np.arange(len(own))
    lender = covered[np.searchsorted(covered, at.index, side="right") - 1]
    source, own = compartment[lender], np.searchsorted(at.index, own)
    return Seat(at, source.astype(np.int32), own.astype(np.int32))
