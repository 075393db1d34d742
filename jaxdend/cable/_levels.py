"""Tree cyclic reduction whose levels are data: full-length arrays, and a mask for every level.

The arithmetic is that of `_elimination`, in the numbering of the nodes. Every level costs a pass
over all nodes, about log2(N) passes in all; on an accelerator, where a pass costs a few launches
whatever its length, that is of little account. `vmap` needs no care here.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxdend.cable._elimination import Coefficients
from jaxdend.cable._traced import TracedLevels


def solve(plan: TracedLevels, d: Array, e: Array, b: Array) -> tuple[Array, Coefficients]:
    """Factorises a matrix and solves with it, level by level, for arrays `(N,)`."""
    coefficients = factorise(plan, d, e)
    return substitute(plan, coefficients, b), coefficients


def factorise(plan: TracedLevels, d: Array, e: Array) -> Coefficients:
    """Factorises; arrays `(N,)`, and the coefficients are, too."""
    e = e[plan.edge]

    def eliminate(level: Array, carry: tuple[Array, Array, Array]) -> tuple:
        d, e, c = carry
        here = plan.level == level
        c = jnp.where(here, e.at[plan.below].get(mode="fill", fill_value=0), c)
        up, down = (jnp.where(here, a / d, 0) for a in (e, c))
        rewired = jnp.where(here, plan.below, len(d))
        e_below = up * c
        d = _absorbed(plan, d, -up * jnp.where(here, e, 0), -down * c)
        return d, e.at[rewired].set(e_below, mode="drop"), c

    d, e, c = lax.fori_loop(0, plan.count, eliminate, (d, e, jnp.zeros_like(d)))
    inverse = 1 / d
    return Coefficients(inverse, jnp.where(plan.level < plan.count, e * inverse, 0), c * inverse)


def substitute(plan: TracedLevels, coefficients: Coefficients, b: Array) -> Array:
    """Solves with a factorisation that `factorise` made, for arrays `(N,)`."""
    inverse, up, down = coefficients

    def reduce(level: Array, b: Array) -> Array:
        own = jnp.where(plan.level == level, b, 0)
        return _absorbed(plan, b, up * own, down * own)

    def expand(k: Array, x: Array) -> Array:
        below = x.at[plan.below].get(mode="fill", fill_value=0)
        return jnp.where(plan.level == plan.count - 1 - k, x + up * x[plan.above] + down * below, x)

    b = lax.fori_loop(0, plan.count, reduce, b)
    return lax.fori_loop(0, plan.count, expand, b * inverse)


def _absorbed(plan: TracedLevels, x: Array, above: Array, below: Array) -> Array:
    """`x` with the gifts of every node added to those that absorb it."""
    return x.at[plan.above].add(above).at[plan.below].add(below, mode="drop")
