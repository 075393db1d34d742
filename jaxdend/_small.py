"""Small linear systems, one in every compartment, and which entries of their matrices are not zero.

A matrix is a dict from `(row, column)` to arrays `(k,)`: only entries that are there cost anything.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend._jax import ClosedJaxpr, Literal

Matrix = dict[tuple[int, int], Array]  # the entries that are not zero, (k,) each

# Functions whose derivative is zero wherever it exists.
_FLAT = {"floor", "ceil", "round", "sign", "stop_gradient"}


def factorise(matrix: Matrix, size: int) -> Matrix:
    """Factorises `matrix` in place without pivoting; the inverse of each pivot is kept."""
    for p in range(size):
        matrix[p, p] = 1.0 / matrix[p, p]
        row = [j for j in range(p + 1, size) if (p, j) in matrix]
        for i in (i for i in range(p + 1, size) if (i, p) in matrix):
            matrix[i, p] = matrix[i, p] * matrix[p, p]
            for j in row:
                matrix[i, j] = matrix.get((i, j), 0.0) - matrix[i, p] * matrix[p, j]
    return matrix


def substitute(factors: Matrix, right: Sequence[Array]) -> list[Array]:
    """Solves a system with the factors that `factorise` returned."""
    x = list(right)
    for i in range(len(x)):
        for j in (j for j in range(i) if (i, j) in factors):
            x[i] = x[i] - factors[i, j] * x[j]
    for i in reversed(range(len(x))):
        for j in (j for j in range(i + 1, len(x)) if (i, j) in factors):
            x[i] = x[i] - factors[i, j] * x[j]
        x[i] = x[i] * factors[i, i]
    return x


def slope(f: Callable[[Array], Any], x: Array) -> Any:
    """The derivative of `f`, a function of `x (k,)` compartment by compartment."""
    return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def depends(f: Callable, *args: Any) -> list[set[int]]:
    """Finds for each array that `f` returns which arrays of `args`, by number, have a slope in it.

    Found from the program of `f` without running it, and on the safe side: a pair that is missing
    has a derivative of zero, one that is listed need not have another.
    """
    program: ClosedJaxpr = jax.make_jaxpr(f)(*args)
    reached: dict[Any, set[int]] = {v: {i} for i, v in enumerate(program.jaxpr.invars)}

    def known(v: Any) -> set[int]:
        return set() if isinstance(v, Literal) else reached.get(v, set())

    for equation in program.jaxpr.eqns:
        union = set().union(*map(known, equation.invars))
        for out in equation.outvars:
            smooth = jnp.issubdtype(out.aval.dtype, jnp.inexact)  # type: ignore[attr-defined]
            reached[out] = union if smooth and equation.primitive.name not in _FLAT else set()
    return [known(v) for v in program.jaxpr.outvars]
