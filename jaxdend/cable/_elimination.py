"""The arithmetic of a planned tree elimination, over arrays whose first axis is the node.

A node i with diagonal d, edge e to its parent and edge c to its only child (if any) satisfies
`x_i = r (b_i + e x_parent + c x_child)` with `r = 1/d`. Inserting that in the rows of its
neighbours takes `e² r` from the parent's diagonal, adds `e r b_i` to its right-hand side, the same
with c for the child, and joins the two by a new edge `e r c`. Matrices that are positive definite
stay so: no pivoting, and no cancellation beyond that of the diagonals themselves.

Trailing axes are batch axes (of size 1 or B each): rows are then contiguous vectors.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxdend.cable._plan import Level, Plan
from jaxdend.cable._traced import TracedPlan

AnyPlan = Plan | TracedPlan


class Coefficients(NamedTuple):
    """A factorisation in elimination order, with the batch axes of the matrix."""

    inverse: Array  # (N,) reciprocal pivots
    up: Array  # (N,) pivot-scaled edge to the parent
    down: Array  # (k,) pivot-scaled edge to the child, for nodes eliminated above a child


def _absorb(level: Level, survivors: Array, gifts: Array, sign: int) -> Array:
    """Adds `sign * gifts` (contributions, first axis as `Level` describes) to the survivors."""
    padded = jnp.concatenate([gifts, jnp.zeros_like(gifts[:1])])
    for slot in level.slots:
        survivors = survivors + sign * padded[slot]
    if len(level.hub_source):
        survivors = survivors.at[level.hub_target].add(sign * gifts[level.hub_source])
    return survivors


def _reduce_matrix(level: Level, d: Array, e: Array) -> tuple[Coefficients, Array, Array]:
    """Eliminates one level; returns its coefficients and the survivors' diagonals and edges."""
    m, survivors = level.m, e[level.m :]
    edge, child = e[:m], survivors[level.child]
    inverse = 1 / d[:m]
    up, down = edge * inverse, child * inverse[level.leaves :]
    d = _absorb(level, d[m:], jnp.concatenate([edge * up, child * down]), -1)
    rewired = jnp.concatenate([up[level.leaves :], jnp.ones_like(up[:1])])[level.rewired]
    return Coefficients(inverse, up, down), d, survivors * rewired


def _reduce_vector(level: Level, c: Coefficients, b: Array) -> tuple[Array, Array]:
    """Eliminates one level from a right-hand side; returns its own part and the survivors'."""
    own = b[: level.m]
    gifts = jnp.concatenate([c.up * own, c.down * own[level.leaves :]])
    return own * c.inverse, _absorb(level, b[level.m :], gifts, 1)


def _expand(level: Level, c: Coefficients, own: Array, x: Array) -> Array:
    """Back-substitutes one level: the solution at its nodes and at the survivors."""
    own = own + c.up * x[level.parent]
    if len(level.child):
        own = own.at[level.leaves :].add(c.down * x[level.child])
    return jnp.concatenate([own, x])


def _row(a: Array, i: Array) -> Array:
    return lax.dynamic_index_in_dim(a, i, keepdims=False)


def _add_row(a: Array, value: Array, i: Array) -> Array:
    return lax.dynamic_update_index_in_dim(a, _row(a, i) + value, i, 0)


def _tail_both(plan: AnyPlan, d: Array, e: Array, b: Array) -> tuple[Array, Array]:
    """Sequential elimination of matrix and right-hand side in one loop."""
    parent = jnp.asarray(plan.tail, jnp.int32)

    def body(j: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        d, b = carry
        p, edge = _row(parent, j), _row(e, j)
        up = edge / _row(d, j)
        return _add_row(d, -up * edge, p), _add_row(b, up * _row(b, j), p)

    return lax.fori_loop(0, plan.last, body, (d, b))


def _tail_matrix(plan: AnyPlan, d: Array, e: Array) -> Array:
    parent = jnp.asarray(plan.tail, jnp.int32)

    def body(j: Array, d: Array) -> Array:
        edge = _row(e, j)
        return _add_row(d, -edge * edge / _row(d, j), _row(parent, j))

    return lax.fori_loop(0, plan.last, body, d)


def _tail_vector(plan: AnyPlan, up: Array, b: Array) -> Array:
    parent = jnp.asarray(plan.tail, jnp.int32)

    def body(j: Array, b: Array) -> Array:
        return _add_row(b, _row(up, j) * _row(b, j), _row(parent, j))

    return lax.fori_loop(0, plan.last, body, b)


def _tail_back(plan: AnyPlan, up: Array, x: Array) -> Array:
    parent, last = jnp.asarray(plan.tail, jnp.int32), plan.last - 1

    def body(k: Array, x: Array) -> Array:
        j = last - k
        return _add_row(x, _row(up, j) * _row(x, _row(parent, j)), j)

    return lax.fori_loop(0, plan.last, body, x)


def solve(plan: AnyPlan, d: Array, e: Array, b: Array) -> tuple[Array, Coefficients]:
    """Factorises and solves; arrays `(N,)` or `(N, 1 or B)`, not yet in elimination order."""
    d = jnp.broadcast_to(d, jnp.broadcast_shapes(d.shape, e.shape))
    b = jnp.broadcast_to(b, jnp.broadcast_shapes(d.shape, b.shape))
    d, e, b = _ordered(plan, d), _ordered(plan, e, plan.edge), _ordered(plan, b)
    parts, owns = [], []
    for level in plan.levels:
        c, d, e = _reduce_matrix(level, d, e)
        own, b = _reduce_vector(level, c, b)
        parts.append(c)
        owns.append(own)
    d, b = _tail_both(plan, d, e, b)
    parts.append(_pivots(d, e))
    return _back(plan, parts, owns, b * parts[-1].inverse), _join(parts)


def factorise(plan: AnyPlan, d: Array, e: Array) -> Coefficients:
    """Factorises; arrays `(N,)` or `(N, 1 or B)`, not yet in elimination order."""
    d = jnp.broadcast_to(d, jnp.broadcast_shapes(d.shape, e.shape))
    d, e = _ordered(plan, d), _ordered(plan, e, plan.edge)
    parts = []
    for level in plan.levels:
        c, d, e = _reduce_matrix(level, d, e)
        parts.append(c)
    parts.append(_pivots(_tail_matrix(plan, d, e), e))
    return _join(parts)


def substitute(plan: AnyPlan, coefficients: Coefficients, b: Array) -> Array:
    """Solves with a factorisation; arrays `(N,)` or `(N, 1 or B)`."""
    shape = jnp.broadcast_shapes(b.shape, coefficients.inverse.shape)
    b = _ordered(plan, jnp.broadcast_to(b, shape))
    parts = _split(plan, coefficients)
    owns = []
    for level, c in zip(plan.levels, parts[:-1], strict=True):
        own, b = _reduce_vector(level, c, b)
        owns.append(own)
    b = _tail_vector(plan, parts[-1].up, b)
    return _back(plan, parts, owns, b * parts[-1].inverse)


def _ordered(plan: AnyPlan, a: Array, index: Any = None) -> Array:
    """`a` at `index`, by default the elimination order, where nodes do not stand in it already."""
    return a if plan.ordered else a[plan.order if index is None else index]


def _pivots(d: Array, e: Array) -> Coefficients:
    inverse = 1 / d
    return Coefficients(inverse, e * inverse, jnp.zeros_like(inverse[:0]))


def _back(plan: AnyPlan, parts: list[Coefficients], owns: list[Array], x: Array) -> Array:
    x = _tail_back(plan, parts[-1].up, x)
    for level, c, own in zip(plan.levels[::-1], parts[-2::-1], owns[::-1], strict=True):
        x = _expand(level, c, own, x)
    return _ordered(plan, x, plan.position)


def _join(parts: list[Coefficients]) -> Coefficients:
    return Coefficients(*(jnp.concatenate(kind) for kind in zip(*parts, strict=True)))


def _split(plan: AnyPlan, c: Coefficients) -> list[Coefficients]:
    parts, i, k = [], 0, 0
    for level in plan.levels:
        at, below = slice(i, i + level.m), slice(k, k + len(level.child))
        parts.append(Coefficients(c.inverse[at], c.up[at], c.down[below]))
        i, k = at.stop, below.stop
    return [*parts, Coefficients(c.inverse[i:], c.up[i:], c.down[k:])]
