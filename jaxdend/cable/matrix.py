"""Symmetric matrices that live on trees, solved directly in linear work."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxdend._subset import on_cpu
from jaxdend.cable import _solve
from jaxdend.cable._elimination import Coefficients
from jaxdend.cable._traced import TracedTree
from jaxdend.cable.tree import Tree

Method = Literal["auto", "sequential", "reduction"]


def resolve_method(method: Method) -> Method:
    """What "auto" stands for on JAX's default device; the other methods stand for themselves.

    **Raises:** `ValueError` for a method that `TreeMatrix.solve` does not know.
    """
    if method not in ("auto", "sequential", "reduction"):
        raise ValueError(f"method must be 'auto', 'sequential' or 'reduction', but is {method!r}.")
    if method != "auto":
        return method
    return "sequential" if on_cpu() else "reduction"


class TreeMatrix(eqx.Module):
    """A symmetric matrix whose graph is a tree.

    `A[i, i] = diagonal[i]` and `A[i, parent[i]] = A[parent[i], i] = -edge[i]`. A cable's
    `C/h + G`, its rows scaled by area, is of this form: `edge` are axial conductances in µS, the
    diagonal is the sum of a node's axial, membrane and capacitive conductances. A node without
    area has just the sum of its edges there.
    """

    diagonal: Array  # (N,) any unit
    edge: Array  # (N,) same unit; the root's entry is ignored
    tree: Tree | TracedTree  # static as a `Tree`, a leaf for every index as a `TracedTree`

    def mv(self, x: Array) -> Array:
        """The product of the matrix with a vector `x (N,)`.

        **Raises:** `ValueError` for a shape that is not `(N,)`.
        """
        return _solve.multiply(self.tree, *self._checked(x))

    def to_dense(self) -> Array:
        """The matrix as an `(N, N)` array."""
        return jax.vmap(self.mv, out_axes=1)(jnp.eye(self.tree.n, dtype=self.diagonal.dtype))

    def solve(self, b: Array, method: Method = "auto") -> Array:
        """Solves A x = b in linear work, without pivoting: A must be positive definite.

        Exactly differentiable (forward, reverse, any order) in diagonal, edge and b by one more
        substitution with the same factorisation. `vmap` over any of them; several right-hand sides
        of one matrix share one factorisation.

        **Arguments:** `b (N,)`, the right-hand side. `method` "sequential" eliminates node by node,
        in an order that lets a processor overlap independent branches; "reduction" eliminates
        independent sets of nodes, level by level, in about log2(N) vectorised steps (tree cyclic
        reduction); "auto" takes the first on a CPU and the second on an accelerator, by JAX's
        default device at tracing time.

        **Returns:** the solution `(N,)`.

        **Raises:** `ValueError` for a shape that is not `(N,)`, or an unknown method.
        """
        return _solve.solve(self.tree, self._plan(method), *self._checked(b))[0]

    def solved(self, b: Array, x: Array) -> Array:
        """`x`, already known to solve A x = b, with the reverse mode derivatives of `solve`.

        **Raises:** `ValueError` for a shape that is not `(N,)`.
        """
        diagonal, edge, b = self._checked(b)
        return _solve.solved(self.tree, self._plan("auto"), diagonal, edge, b, x)

    def factor(self, method: Method = "auto") -> "TreeFactor":
        """Factorises once for several right-hand sides that are not known together.

        **Raises:** `ValueError` for a shape that is not `(N,)`, or an unknown method.
        """
        resolved = resolve_method(method)
        diagonal, edge, _ = self._checked(self.diagonal)
        return TreeFactor(
            self, _solve.factorise(self.tree.plan(resolved), diagonal, edge), resolved
        )

    def _plan(self, method: Method) -> _solve.Elimination:
        return self.tree.plan(resolve_method(method))

    def _checked(self, x: Array) -> tuple[Array, Array, Array]:
        """Diagonal, edge and x as arrays of one floating type, their shapes checked."""
        n = self.tree.n
        for name, a in (("diagonal", self.diagonal), ("edge", self.edge), ("the vector", x)):
            if jnp.shape(a) != (n,):
                raise ValueError(
                    f"{name} must have shape ({n},), one entry a node of the tree, but has shape "
                    f"{jnp.shape(a)}. For a batch use jax.vmap."
                )
        dtype = jnp.result_type(self.diagonal, self.edge, x, float)
        return (
            jnp.asarray(self.diagonal, dtype),
            jnp.asarray(self.edge, dtype),
            jnp.asarray(x, dtype),
        )


class TreeFactor(eqx.Module):
    """A factorised `TreeMatrix`, made by `TreeMatrix.factor`."""

    matrix: TreeMatrix  # the matrix that was factorised
    coefficients: Coefficients  # (N,) each, in elimination order
    method: Method = eqx.field(static=True)  # how it was factorised, never "auto"

    def solve(self, b: Array) -> Array:
        """Solves A x = b for `b (N,)`, with the derivatives that `TreeMatrix.solve` has.

        **Raises:** `ValueError` for a shape that is not `(N,)`.
        """
        tree = self.matrix.tree
        diagonal, edge, b = self.matrix._checked(b)
        return _solve.resolve(tree, tree.plan(self.method), diagonal, edge, self.coefficients, b)
