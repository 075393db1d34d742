"""Batching and derivatives of the tree solve.

Under `vmap` the batch axis is moved behind the node axis, so that the arithmetic of one node is a
vector operation on a contiguous row; operands that are not batched keep a row of one. On a CPU the
sequential loops then run over chunks of lanes: XLA compiles a while loop to one native loop only
if its body touches fewer than 1,024 bytes, and falls back to interpreting it, several times
slower, beyond.

Derivatives never pass through the elimination: `dx = A⁻¹ (db - dA x)` with the factorisation that
the solution left behind, and its transpose is the same solve since A is symmetric.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from jaxdend.cable import _elimination
from jaxdend.cable._elimination import Coefficients
from jaxdend.cable._plan import Plan

if TYPE_CHECKING:
    from jaxdend.cable.tree import Tree

_ROW_BYTES = 32  # widest row for which the bodies of the sequential loops stay native


def multiply(tree: "Tree", diagonal: Array, edge: Array, x: Array) -> Array:
    """A x for arrays `(N,)`."""
    return diagonal * x - _couple(tree, edge, x)


def _couple(tree: "Tree", edge: Array, x: Array) -> Array:
    """Sum over neighbours of `edge * x`, for arrays `(N,)`; the root's edge is ignored."""
    above = tree.parent.clip(0)
    edge = jnp.where(tree.parent >= 0, edge, 0)
    return (edge * x[above]).at[above].add(edge * x)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def solve(
    tree: "Tree", plan: Plan, diagonal: Array, edge: Array, b: Array
) -> tuple[Array, Coefficients]:
    """Solution and factorisation; the derivative of the factorisation is defined as zero."""
    return _batched_solve(plan)(diagonal, edge, b)


@partial(solve.defjvp, symbolic_zeros=True)
def _solve_jvp(tree: "Tree", plan: Plan, primals: tuple, tangents: tuple) -> tuple:
    diagonal, edge, b = primals
    x, coefficients = solve(tree, plan, diagonal, edge, b)
    d_diagonal, d_edge, d_b = tangents
    rhs = jnp.zeros_like(b) if isinstance(d_b, SymbolicZero) else d_b
    if not isinstance(d_diagonal, SymbolicZero):
        rhs = rhs - d_diagonal * x
    if not isinstance(d_edge, SymbolicZero):
        rhs = rhs + _couple(tree, d_edge, x)
    dx = resolve(tree, plan, diagonal, edge, coefficients, rhs)
    return (x, coefficients), (dx, jax.tree.map(jnp.zeros_like, coefficients))


def factorise(plan: Plan, diagonal: Array, edge: Array) -> Coefficients:
    """Factorisation for `resolve`, which supplies all derivatives."""
    diagonal, edge = lax.stop_gradient((diagonal, edge))
    return _batched(partial(_elimination.factorise, plan), plan)(diagonal, edge)


def resolve(
    tree: "Tree", plan: Plan, diagonal: Array, edge: Array, coefficients: Coefficients, b: Array
) -> Array:
    """Solves with a factorisation of the matrix, exact in all derivatives."""
    substitute = _batched(partial(_substitute, plan), plan)
    return lax.custom_linear_solve(
        partial(multiply, tree, diagonal, edge),
        b,
        solve=lambda _, rhs: substitute(*coefficients, rhs),
        symmetric=True,
    )


def _substitute(plan: Plan, inverse: Array, up: Array, down: Array, b: Array) -> Array:
    return _elimination.substitute(plan, Coefficients(inverse, up, down), b)


def _batched_solve(plan: Plan) -> Callable[..., tuple[Array, Coefficients]]:
    """`_elimination.solve` that, for one matrix and many right-hand sides, factorises once."""
    core = partial(_elimination.solve, plan)
    single = custom_vmap(core)

    @single.def_vmap
    def rule(size: int, batched: list[bool], *operands: Array) -> Any:
        if not (batched[0] or batched[1]):
            coefficients = factorise(plan, *operands[:2])
            x = jax.vmap(partial(_batched(partial(_substitute, plan), plan), *coefficients))(
                operands[2]
            )
            return (x, coefficients), (True, jax.tree.map(lambda _: False, coefficients))
        out = _rows(core, plan)(*_as_rows(batched, operands))
        return out, jax.tree.map(lambda _: True, out)

    return single


def _batched(core: Callable, plan: Plan) -> Callable:
    """`core` on arrays `(N,)`, with the batching described at the top."""
    single = custom_vmap(core)

    @single.def_vmap
    def rule(size: int, batched: list[bool], *operands: Array) -> Any:
        out = _rows(core, plan)(*_as_rows(batched, operands))
        return out, jax.tree.map(lambda _: True, out)

    return single


def _as_rows(batched: list[bool], operands: tuple[Array, ...]) -> list[Array]:
    return [a if is_batched else a[None] for a, is_batched in zip(operands, batched, strict=True)]


def _rows(core: Callable, plan: Plan) -> Callable:
    """`core` on operands `(1 or B, N)`, results `(B, N)`; further batch axes are merged into B."""
    rows = custom_vmap(partial(_in_lanes, core, plan))

    @rows.def_vmap
    def rule(size: int, batched: list[bool], *operands: Array) -> Any:
        inner = max(
            a.shape[1] if is_batched else a.shape[0]
            for a, is_batched in zip(operands, batched, strict=True)
        )
        merged = []
        for a, is_batched in zip(operands, batched, strict=True):
            if is_batched or a.shape[0] > 1:
                a = jnp.broadcast_to(a, (size, inner, a.shape[-1])).reshape(size * inner, -1)
            merged.append(a)
        out = _rows(core, plan)(*merged)
        out = jax.tree.map(lambda a: a.reshape(size, inner, -1), out)
        return out, jax.tree.map(lambda _: True, out)

    return rows


def _in_lanes(core: Callable, plan: Plan, *operands: Array) -> Any:
    """`core` with the batch axis trailing, in chunks of lanes where `plan` has a long tail."""

    def columns(*rows: Array) -> Any:
        return jax.tree.map(jnp.transpose, core(*map(jnp.transpose, rows)))

    size = max(a.shape[0] for a in operands)
    lanes = _ROW_BYTES // operands[0].dtype.itemsize
    if size <= lanes or len(plan.tail) == 1:
        return columns(*operands)
    chunks = -(-size // lanes)
    wide = [a.shape[0] == size for a in operands]
    split = [
        jnp.pad(a, ((0, chunks * lanes - size), (0, 0)), mode="edge").reshape(chunks, lanes, -1)
        for a, is_wide in zip(operands, wide, strict=True)
        if is_wide
    ]

    def chunk(parts: list[Array]) -> Any:
        remaining = iter(parts)
        return columns(
            *(next(remaining) if is_wide else a for a, is_wide in zip(operands, wide, strict=True))
        )

    out = lax.map(chunk, split)
    return jax.tree.map(lambda a: a.reshape(chunks * lanes, -1)[:size], out)
