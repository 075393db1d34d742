"""Where the nodes of a model stand while it runs: in the order in which the tree is eliminated.

The solve then works through memory from front to back without gathering, and among the orders that
are possible one is taken that keeps compartments with the same mechanisms together, so that each
mechanism works on a few contiguous slices. Nodes without membrane that stand between two
compartments of a mechanism take part in it: with an area of 0 they contribute nothing.

Only the loop over time sees this order; recordings and results are in that of the cell.
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
from jaxdend.cable.tree import TracedTree, Tree
from jaxdend.cell import Inserted
from jaxdend.dynamics import Model, State


@dataclass(frozen=True, eq=False)
class Seat:
    """Where a mechanism with `k` compartments sits in a layout."""

    at: Subset  # m >= k positions
    source: np.ndarray  # (m,) which of the k compartments lends each position its parameters
    own: np.ndarray  # (k,) where each compartment stands among the m


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
        """`model` in this layout."""
        inserted = tuple(
            Inserted(jax.tree.map(lambda leaf, s=seat: _spread(leaf, s), item.mechanism), seat.at)
            for item, seat in zip(model.inserted, self.seats, strict=True)
        )
        return Model(
            inserted=inserted,
            inputs=_placed(model.inputs, self),
            events=model.events,
            area=model.area[self.order],
            capacitance=model.capacitance[self.order],
            edge=model.edge[self.edge],
            axial=model.axial[self.order],
            celsius=model.celsius,
            start=model.start,
            h=model.h,
            tree=self.tree,
            membrane=self.membrane,
            n=len(self.order),
            exposed=model.exposed,
        )

    def at(self, nodes: Array) -> Array:
        """The positions of `nodes`."""
        return jnp.asarray(self.position)[nodes]

    def arranged(self, state: State) -> State:
        """`state`, given as the cell has it, in this layout."""
        mechanisms = [
            {name: x[seat.source] for name, x in states.items()}
            for states, seat in zip(state.mechanisms, self.seats, strict=True)
        ]
        return State(state.v[self.order], mechanisms, state.inputs)

    def presented(self, state: State) -> State:
        """`state`, given in this layout, as the cell has it."""
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
        """(N,) where each node stands."""
        return jnp.asarray(self.tree.sequential.position)

    def model(self, model: Model) -> Model:
        """`model` in this layout."""
        return replace(
            model,
            inserted=self._moved(model.inserted),
            inputs=_placed(model.inputs, self),
            area=self._moved(model.area),
            capacitance=self._moved(model.capacitance),
            edge=model.edge[self.tree.sequential.edge],
            axial=self._moved(model.axial),
            tree=self.tree.arranged,
            membrane=self._moved(model.membrane),
        )

    def at(self, nodes: Array) -> Array:
        """The positions of `nodes`."""
        return self.position[nodes]

    def arranged(self, state: State) -> State:
        """`state`, given as the cell has it, in this layout."""
        return State(self._moved(state.v), self._moved(state.mechanisms), state.inputs)

    def presented(self, state: State) -> State:
        """`state`, given in this layout, as the cell has it."""
        v, mechanisms = jax.tree.map(lambda x: x[self.position], (state.v, state.mechanisms))
        return State(v, mechanisms, state.inputs)

    def _moved(self, values: Any) -> Any:
        """Leaves `(N,)`, or numbers, in this layout."""
        return jax.tree.map(lambda x: x[self.tree.sequential.order] if jnp.ndim(x) else x, values)


class Unchanged:
    """No renumbering: where the solve works level by level."""

    def model(self, model: Model) -> Model:
        """`model` as it is; likewise the other methods."""
        return model

    def at(self, nodes: Array) -> Array:
        return nodes

    def arranged(self, state: State) -> State:
        return state

    presented = arranged


def arrangement(model: Model) -> Layout | TracedLayout | Unchanged:
    """The layout in which `model` runs fastest on JAX's default device."""
    if not on_cpu():
        return Unchanged()
    if isinstance(model.tree, TracedTree):
        return TracedLayout(model.tree)
    return layout(model.tree, model.membrane, tuple(item.at for item in model.inserted))


def _placed(inputs: tuple, order: Layout | TracedLayout) -> tuple:
    """`inputs` at the positions of their sites."""
    return tuple(eqx.tree_at(lambda i: i.site, group, order.at(group.site)) for group in inputs)


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
        runs = {int(k): _run(ready, up, kinds, waiting.copy(), k) for k in {*kinds[ready]}}
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
