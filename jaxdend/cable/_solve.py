"""Batching and derivatives of the tree solve.

Under `vmap` the batch axis is moved behind the node axis, so that the arithmetic of one node is a
vector operation on a contiguous row; operands that are not batched keep a row of one. On a CPU the
sequential loops then run over chunks of lanes: XLA compiles a while loop to one native loop only
if its body touches fewer than 1,024 bytes, and falls back to interpreting it, several times
slower, beyond. Where the tree itself is batched (`TracedTree`), nodes of different lanes do not
stand in rows: the trees are worked through one by one, but for the reduction (`_levels`).

Derivatives never pass through the elimination: `dx = A⁻¹ (db - dA x)` with the factorisation that
the solution left behind, and its transpose is the same solve since A is symmetric.

A plan is an operand like any other: that of a `Tree` is a pytree without leaves.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from jaxdend.cable import _elimination, _levels
from jaxdend.cable._elimination import AnyPlan, Coefficients
from jaxdend.cable._traced import TracedLevels, TracedTree
from jaxdend.cable.tree import Tree

Elimination = AnyPlan | TracedLevels

_ROW_BYTES = 32  # widest row for which the bodies of the sequential loops stay native


def multiply(tree: Tree | TracedTree, diagonal: Array, edge: Array, x: Array) -> Array:
    """The product A x of the matrix with a vector, for arrays `(N,)`."""
    return diagonal * x - _couple(tree, edge, x)


def _couple(tree: Tree | TracedTree, edge: Array, x: Array) -> Array:
    """Sum over neighbours of `edge * x`, for arrays `(N,)`; the edge of a root is ignored."""
    edge = jnp.where(tree.joined, edge, 0)
    return (edge * x[tree.above]).at[tree.above].add(edge * x)


@jax.custom_jvp
def solve(
    tree: Tree | TracedTree, plan: Elimination, diagonal: Array, edge: Array, b: Array
) -> tuple[Array, Coefficients]:
    """Solves and returns the factorisation too, whose derivative is defined as zero."""
    return _solve(plan, diagonal, edge, b)


@partial(solve.defjvp, symbolic_zeros=True)
def _solve_jvp(primals: tuple, tangents: tuple) -> tuple:
    tree, plan, diagonal, edge, b = primals
    x, coefficients = solve(tree, plan, diagonal, edge, b)
    *_, d_diagonal, d_edge, d_b = tangents
    rhs = jnp.zeros_like(b) if isinstance(d_b, SymbolicZero) else d_b
    if not isinstance(d_diagonal, SymbolicZero):
        rhs = rhs - d_diagonal * x
    if not isinstance(d_edge, SymbolicZero):
        rhs = rhs + _couple(tree, d_edge, x)
    dx = resolve(tree, plan, diagonal, edge, coefficients, rhs)
    return (x, coefficients), (dx, jax.tree.map(jnp.zeros_like, coefficients))


@jax.custom_vjp
def solved(
    tree: Tree | TracedTree, plan: Elimination, diagonal: Array, edge: Array, b: Array, x: Array
) -> Array:
    """`x` as the solution of A x = b: its transpose is a solve, itself it costs nothing."""
    del tree, plan, diagonal, edge, b
    return x


def _solved_fwd(tree: Any, plan: Any, diagonal: Array, edge: Array, b: Array, x: Array) -> tuple:
    return x, (tree, plan, diagonal, edge, x)


def _solved_bwd(residuals: tuple, x_bar: Array) -> tuple:
    tree, plan, diagonal, edge, x = residuals
    b_bar = _solve(plan, diagonal, edge, x_bar)[0]
    above = tree.parent.clip(0)
    edge_bar = jnp.where(tree.parent >= 0, b_bar * x[above] + b_bar[above] * x, 0.0)
    return None, None, -b_bar * x, edge_bar, b_bar, None


solved.defvjp(_solved_fwd, _solved_bwd)


def factorise(plan: Elimination, diagonal: Array, edge: Array) -> Coefficients:
    """The factorisation that `resolve` takes, which supplies all derivatives."""
    fixed = lax.stop_gradient((diagonal, edge))
    if isinstance(plan, TracedLevels):
        return _levels.factorise(plan, *fixed)
    return _factorise_rows(plan, *fixed)


def resolve(
    tree: Tree | TracedTree,
    plan: Elimination,
    diagonal: Array,
    edge: Array,
    coefficients: Coefficients,
    b: Array,
) -> Array:
    """Solves with a factorisation of the matrix, exact in all derivatives."""
    return lax.custom_linear_solve(
        partial(multiply, tree, diagonal, edge),
        b,
        solve=lambda _, rhs: _substitute(plan, coefficients, rhs),
        symmetric=True,
    )


def _solve(plan: Elimination, diagonal: Array, edge: Array, b: Array) -> tuple[Array, Coefficients]:
    if isinstance(plan, TracedLevels):
        return _levels.solve(plan, diagonal, edge, b)
    return _solve_rows(plan, diagonal, edge, b)


def _substitute(plan: Elimination, coefficients: Coefficients, b: Array) -> Array:
    if isinstance(plan, TracedLevels):
        return _levels.substitute(plan, coefficients, b)
    return _substitute_rows(plan, *coefficients, b)


def _batched(core: Callable) -> Callable:
    """`core(plan, *operands (N,))` with the batching described at the top."""
    single, rows = custom_vmap(core), _rows(core)

    @single.def_vmap
    def rule(size: int, batched: list, plan: AnyPlan, *operands: Array) -> Any:
        if any(jax.tree.leaves(batched[0])):
            out = _one_by_one(single, batched, (plan, *operands))
        else:
            out = rows(plan, *_as_rows(batched[1:], operands))
        return out, jax.tree.map(lambda _: True, out)

    return single


def _as_rows(batched: list[bool], operands: tuple[Array, ...]) -> list[Array]:
    return [a if is_batched else a[None] for a, is_batched in zip(operands, batched, strict=True)]


def _one_by_one(f: Callable, batched: Any, operands: tuple) -> Any:
    """`f` of one batch entry after another, where `batched` says which leaves have an axis."""
    leaves, structure = jax.tree.flatten(operands)
    flags = jax.tree.leaves(batched)

    def one(parts: list[Array]) -> Any:
        left = iter(parts)
        mixed = [next(left) if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]
        return f(*structure.unflatten(mixed))

    return lax.map(one, [leaf for leaf, flag in zip(leaves, flags, strict=True) if flag])


def _rows(core: Callable) -> Callable:
    """`core` on operands `(1 or B, N)`, results `(B, N)`; further batch axes are merged into B."""
    rows = custom_vmap(partial(_in_lanes, core))

    @rows.def_vmap
    def rule(size: int, batched: list, plan: AnyPlan, *operands: Array) -> Any:
        if any(jax.tree.leaves(batched[0])):
            out = _one_by_one(rows, batched, (plan, *operands))
            return out, jax.tree.map(lambda _: True, out)
        inner = max(
            a.shape[1] if is_batched else a.shape[0]
            for a, is_batched in zip(operands, batched[1:], strict=True)
        )
        merged = []
        for a, is_batched in zip(operands, batched[1:], strict=True):
            if is_batched or a.shape[0] > 1:
                a = jnp.broadcast_to(a, (size, inner, a.shape[-1])).reshape(size * inner, -1)
            merged.append(a)
        out = rows(plan, *merged)
        out = jax.tree.map(lambda a: a.reshape(size, inner, -1), out)
        return out, jax.tree.map(lambda _: True, out)

    return rows


def _in_lanes(core: Callable, plan: AnyPlan, *operands: Array) -> Any:
    """`core` with the batch axis trailing, in chunks of lanes where `plan` has a long tail.

    There are at least two: of a single chunk XLA would keep the lanes strided.
    """

    def columns(*rows: Array) -> Any:
        return jax.tree.map(jnp.transpose, core(plan, *map(jnp.transpose, rows)))

    size = max(a.shape[0] for a in operands)
    lanes = min(_ROW_BYTES // operands[0].dtype.itemsize, -(-size // 2))
    if size == 1 or len(plan.tail) == 1:
        return columns(*operands)
    chunks = -(-size // lanes)
    wide = [a.shape[0] == size for a in operands]
    split = tuple(
        jnp.pad(a, ((0, chunks * lanes - size), (0, 0)), mode="edge").reshape(chunks, lanes, -1)
        if is_wide
        else a
        for a, is_wide in zip(operands, wide, strict=True)
    )
    out = _one_by_one(columns, wide, split)
    return jax.tree.map(lambda a: a.reshape(chunks * lanes, -1)[:size], out)


def _substitution(plan: AnyPlan, inverse: Array, up: Array, down: Array, b: Array) -> Array:
    return _elimination.substitute(plan, Coefficients(inverse, up, down), b)


_factorise_rows = _batched(_elimination.factorise)
_substitute_rows = _batched(_substitution)
_rows_solve = _rows(_elimination.solve)
_solve_rows = custom_vmap(_elimination.solve)


@_solve_rows.def_vmap
def _solve_rule(size: int, batched: list, plan: AnyPlan, *operands: Array) -> Any:
    """Does what `_batched` does, but factorises a matrix with many right-hand sides only once."""
    by_tree, by_diagonal, by_edge, by_b = (any(jax.tree.leaves(each)) for each in batched)
    if by_tree:
        out = _one_by_one(_solve_rows, batched, (plan, *operands))
    elif by_diagonal or by_edge:
        out = _rows_solve(plan, *_as_rows([by_diagonal, by_edge, by_b], operands))
    else:
        coefficients = _factorise_rows(plan, *operands[:2])
        x = jax.vmap(partial(_substitute_rows, plan, *coefficients))(operands[2])
        return (x, coefficients), (True, jax.tree.map(lambda _: False, coefficients))
    return out, jax.tree.map(lambda _: True, out)
