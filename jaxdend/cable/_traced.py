"""A tree as data: trees of different shape, padded to one size, share one compiled program.

`Tree` is static, so that XLA knows who is eliminated when. `TracedTree` holds the same plan as
arrays, which `jax.vmap` batches like any other. Nodes beyond the tree's own are isolated: none has
a parent, and the elimination stops before it reaches them.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxdend.cable.tree import Tree


class TracedPlan(NamedTuple):
    """A sequential elimination, as `Plan` without levels, of the first nodes of N."""

    order: Array | None  # (N,) node eliminated at each position; None if nodes stand in order
    position: Array | None  # (N,) inverse of order; likewise
    edge: Array | None  # (N,) entry of the user's edge array that leads up from each; likewise
    tail: Array  # (N,) parent of each position
    last: Array  # () position of the root: how many nodes are eliminated

    @property
    def ordered(self) -> bool:
        """Whether nodes are numbered in elimination order already."""
        return self.order is None

    @property
    def levels(self) -> tuple:
        """An empty tuple: the number and the sizes of levels would depend on the tree."""
        return ()


class TracedLevels(NamedTuple):
    """A tree cyclic reduction, as `Plan` with all levels, by node and not by position."""

    edge: Array  # (N,) entry of the user's edge array that leads up from each node
    above: Array  # (N,) node above each one when its turn comes; any node for the last
    below: Array  # (N,) its child then; N where there is none
    level: Array  # (N,) its turn; N for the last one and for padding, which have none
    count: Array  # () number of levels


class TracedTree(eqx.Module):
    """The topology of a tree whose arrays are leaves, padded with isolated nodes.

    Made by `TracedTree.of`; takes the place of `Tree` in `TreeMatrix`. By the sequential method the
    trees of a batch are solved one by one, by the reduction together.
    """

    parent: Int[Array, " N"]  # (N,) node above each node; -1 for the root and for padding
    sequential: TracedPlan  # (N,) each
    reduction: TracedLevels | None  # (N,) each; None in an `arranged` tree

    @classmethod
    def of(cls, tree: Tree, nodes: int) -> "TracedTree":
        """Lays out `tree` as arrays, padded to `nodes` nodes.

        **Raises:** `ValueError` for fewer `nodes` than the tree has.
        """
        if nodes < tree.n:
            raise ValueError(f"a tree of {tree.n} nodes cannot be padded to {nodes}.")
        plan, more = tree.plan("sequential"), np.arange(tree.n, nodes)

        def padded(index: np.ndarray, fill: np.ndarray | int = more) -> Array:
            return jnp.asarray(
                np.concatenate([index, np.broadcast_to(fill, more.shape)]), jnp.int32
            )

        sequential = TracedPlan(
            order=padded(plan.order),
            position=padded(plan.position),
            edge=padded(plan.edge),
            tail=padded(plan.tail),
            last=jnp.asarray(plan.last, jnp.int32),
        )
        reduction = tree.plan("reduction")
        above, below = np.zeros(tree.n, int), np.full(tree.n, nodes)
        turn, start = np.full(tree.n, nodes), 0
        for i, level in enumerate(reduction.levels):
            now, left = np.split(reduction.order[start:], [level.m])
            turn[now], above[now] = i, left[level.parent]
            below[now[level.leaves :]] = left[level.child]
            start += level.m
        levels = TracedLevels(
            edge=padded(reduction.edge[reduction.position]),
            above=padded(above),
            below=padded(below, nodes),
            level=padded(turn, nodes),
            count=jnp.asarray(len(reduction.levels), jnp.int32),
        )
        return cls(padded(tree.parent, -1), sequential, levels)

    @property
    def n(self) -> int:
        """The number of nodes in the tree, padding included."""
        return self.parent.shape[-1]

    @property
    def above(self) -> Array:
        """`(N,)` the node above each node, 0 where there is none."""
        return jnp.maximum(self.parent, 0)

    @property
    def joined(self) -> Array:
        """`(N,)` whether there is a node above each node."""
        return self.parent >= 0

    @property
    def arranged(self) -> "TracedTree":
        """The tree with its nodes in the order of elimination, for the sequential method only."""
        plan = self.sequential
        parent = jnp.where(jnp.arange(self.n) < plan.last, plan.tail, -1)
        return TracedTree(parent, plan._replace(order=None, position=None, edge=None), None)

    def plan(self, method: str) -> TracedPlan | TracedLevels:
        """The elimination plan of a method, "sequential" or "reduction", the first if arranged."""
        chosen = self.reduction if method == "reduction" else None
        return self.sequential if chosen is None else chosen
