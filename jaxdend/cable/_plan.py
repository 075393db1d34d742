"""Host-side planning of tree eliminations: which node is eliminated when, and who absorbs it.

Everything here is numpy and Python, runs once per topology and is cached by `Tree`. A plan first
eliminates whole *levels* (independent sets of nodes of degree one or two, which keeps the graph a
tree: tree cyclic reduction) and leaves a *tail* that is eliminated one node at a time. No level
gives the sequential elimination, all levels leave a tail of one node.
"""

from dataclasses import dataclass

import jax
import numpy as np

_SLOTS = 3  # neighbours a survivor absorbs a level: two would cost a level more, four gain none
_HUB = 16  # nodes with more children than this absorb without limit, by a scatter


@dataclass(frozen=True, eq=False)
class Level:
    """One level: an independent set of nodes, numbered contiguously, and its survivors.

    Eliminated nodes are `leaves` leaves followed by `m - leaves` nodes with one child. Indices of
    survivors count from the first survivor. A level makes `2 m - leaves` contributions: one to the
    parent of each eliminated node, then one to the child of each one that has a child.
    """

    leaves: int  # eliminated nodes without a child
    parent: np.ndarray  # (m,) survivor above each eliminated node
    child: np.ndarray  # (m - leaves,) survivor below each eliminated node that has one
    slots: tuple[np.ndarray, ...]  # each (s,): contribution a survivor absorbs; 2m-leaves = none
    rewired: np.ndarray  # (s,) eliminated non-leaf between survivor and new parent; m-leaves = none
    hub_source: np.ndarray  # (h,) contributions beyond the slots, absorbed by hubs
    hub_target: np.ndarray  # (h,) survivors that absorb them

    @property
    def m(self) -> int:
        """The number of nodes that this level eliminates."""
        return len(self.parent)


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Plan:
    """A complete elimination: nodes are renumbered so that all of it works on slices."""

    order: np.ndarray  # (N,) node eliminated at each position
    position: np.ndarray  # (N,) inverse of order
    edge: np.ndarray  # (N,) entry of the user's edge array that leads up from each position
    levels: tuple[Level, ...]
    tail: np.ndarray  # (t,) parent of each tail position, counted within the tail; last is the root
    ordered: bool  # whether nodes are numbered in elimination order already

    @property
    def last(self) -> int:
        """The position of the root within the tail, which is how many nodes the tail eliminates."""
        return len(self.tail) - 1


def check_parent(parent: np.ndarray) -> None:
    """Raises `ValueError` unless `parent` describes exactly one tree."""
    n = len(parent)
    if n == 0:
        raise ValueError("A tree needs at least one node, but parent is empty.")
    bad = np.flatnonzero((parent < -1) | (parent >= n))
    if bad.size:
        raise ValueError(
            f"parent[{bad[0]}] is {parent[bad[0]]}, but must be -1 (root) or a node in [0, {n})."
        )
    roots = np.flatnonzero(parent == -1)
    if roots.size != 1:
        found = "none" if roots.size == 0 else f"{roots.size}: nodes {roots[:5].tolist()}"
        raise ValueError(
            f"A tree needs exactly one root (parent -1), but there are {found}. Connect each "
            "further part to the tree or build one tree for each."
        )
    # Pointer doubling: after k rounds each pointer has climbed 2**k edges or rests at the root.
    climb = np.where(parent == -1, roots[0], parent)
    for _ in range(n.bit_length()):
        climb = climb[climb]
    loose = np.flatnonzero(climb != roots[0])
    if loose.size:
        raise ValueError(
            f"parent contains a cycle: {loose.size} nodes never reach the root {roots[0]}, "
            f"the first is node {loose[0]} (parent {parent[loose[0]]})."
        )


def children_first(parent: np.ndarray) -> bool:
    """Whether every node but the last, which is the root, has a parent that comes after it."""
    return bool(parent[-1] < 0 and np.all(parent[:-1] > np.arange(len(parent) - 1)))


def centred(parent: np.ndarray) -> tuple[list[int], list[int]]:
    """Roots the tree at its centre by peeling leaves; returns peeling order and new parents.

    Nodes peeled in one round do not depend on each other, so that a processor overlaps their
    arithmetic; the centre as root makes the rounds as few as they can be.
    """
    n = len(parent)
    neighbours: list[list[int]] = [[] for _ in range(n)]
    for i, p in enumerate(parent.tolist()):
        if p >= 0:
            neighbours[i].append(p)
            neighbours[p].append(i)
    degree = [len(a) for a in neighbours]
    up = [-1] * n
    done = [False] * n
    order: list[int] = []
    ring = [i for i in range(n) if degree[i] <= 1]
    while ring:
        following = []
        for i in ring:
            done[i] = True
            order.append(i)
            for j in neighbours[i]:
                if not done[j]:
                    up[i] = j
                    degree[j] -= 1
                    if degree[j] == 1:
                        following.append(j)
        ring = following
    return order, up


def _select(order: list[int], up: list[int], down: list[set[int]]) -> dict[int, list[int]]:
    """Picks an independent set of removable nodes; maps each to the nodes that absorb it.

    A survivor absorbs at most `_SLOTS` neighbours unless it is a hub. In `order` children come
    first.
    """
    absorbed: dict[int, int] = {}
    picked: dict[int, list[int]] = {}
    for i in order:
        children = down[i]
        if up[i] < 0 or len(children) > 1:
            continue
        takers = [up[i], *children]
        if any(c in picked for c in children):
            continue
        if any(absorbed.get(t, 0) >= _SLOTS and len(down[t]) <= _HUB for t in takers):
            continue
        for t in takers:
            absorbed[t] = absorbed.get(t, 0) + 1
        picked[i] = takers
    return picked


def _level(
    eliminated: list[int], takers: dict[int, list[int]], local: np.ndarray, survivors: int
) -> Level:
    """Turns one selection (leaves first) into index arrays; `local` numbers the survivors."""
    m = len(eliminated)
    leaves = sum(len(takers[i]) == 1 for i in eliminated)
    parent = local[[takers[i][0] for i in eliminated]]
    child = local[np.array([takers[i][1] for i in eliminated[leaves:]], int)]
    targets = np.concatenate([parent, child])
    # rank of a contribution among those to the same survivor
    by_target = np.argsort(targets, kind="stable")
    ordered = targets[by_target]
    rank = np.empty(len(targets), int)
    rank[by_target] = np.arange(len(targets)) - np.searchsorted(ordered, ordered)
    slots = []
    for k in range(min(_SLOTS, int(rank.max()) + 1)):
        slot = np.full(survivors, len(targets))
        slot[targets[rank == k]] = np.flatnonzero(rank == k)
        slots.append(slot)
    rewired = np.full(survivors, m - leaves)
    rewired[child] = np.arange(m - leaves)
    source = np.flatnonzero(rank >= _SLOTS)
    return Level(leaves, parent, child, tuple(slots), rewired, source, targets[source])


def make_plan(parent: np.ndarray, max_levels: int | None) -> Plan:
    """Plans an elimination with at most `max_levels` levels (None: until one node is left)."""
    n = len(parent)
    if max_levels == 0 and children_first(parent):
        every = np.arange(n)
        return Plan(every, every, every, (), np.maximum(parent, 0), True)
    order, up = centred(parent)
    edge = np.array([i if parent[i] == up[i] else up[i] for i in range(n)])
    edge[order[-1]] = parent.argmin()  # the centre has no edge upwards; the root's is unused
    down: list[set[int]] = [set() for _ in range(n)]
    for i, p in enumerate(up):
        if p >= 0:
            down[p].add(i)
    alive = order
    selections: list[tuple[list[int], dict[int, list[int]]]] = []
    while len(alive) > 1 and (max_levels is None or len(selections) < max_levels):
        picked = _select(alive, up, down)
        eliminated = sorted(picked, key=lambda i: len(picked[i]))
        for i in eliminated:
            down[up[i]].discard(i)
            for c in down[i]:
                up[c] = up[i]
                down[up[i]].add(c)
        selections.append((eliminated, picked))
        alive = [i for i in alive if i not in picked]
    tail = _by_height(alive, up)
    numbering = np.array([i for chosen, _ in selections for i in chosen] + tail)
    position = np.empty(n, int)
    position[numbering] = np.arange(n)
    levels = []
    start = 0
    for eliminated, picked in selections:
        start += len(eliminated)
        levels.append(_level(eliminated, picked, position - start, n - start))
    tail_parent = np.array([position[up[i]] - start if up[i] >= 0 else 0 for i in tail])
    return Plan(numbering, position, edge[numbering], tuple(levels), tail_parent, False)


def _by_height(nodes: list[int], up: list[int]) -> list[int]:
    """Sorts nodes (children first) by the length of the longest path below them."""
    height = dict.fromkeys(nodes, 0)
    for i in nodes:
        if up[i] >= 0:
            height[up[i]] = max(height[up[i]], height[i] + 1)
    return sorted(nodes, key=height.__getitem__)
