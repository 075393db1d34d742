"""Trees and the symmetric matrices that live on them, with a direct solve in linear work."""

import hashlib
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._subset import on_cpu
from jaxdend.cable import _solve
from jaxdend.cable._elimination import Coefficients
from jaxdend.cable._plan import Plan, centred, check_parent, make_plan
from jaxdend.cable._traced import TracedTree

Method = Literal["auto", "sequential", "reduction"]


def resolve_method(method: Method) -> Method:
    """What "auto" stands for on JAX's default device: see `TreeMatrix.solve`.

    Raises:
        ValueError: unknown method.
    """
    if method not in ("auto", "sequential", "reduction"):
        raise ValueError(f"method must be 'auto', 'sequential' or 'reduction', but is {method!r}.")
    if method != "auto":
        return method
    return "sequential" if on_cpu() else "reduction"


@jax.tree_util.register_static
class Tree:
    """The topology of a tree: immutable, host-side, hashed and compared by content.

    Two equal trees share one compiled program. Any numbering is accepted: a parent may have a
    larger index than its children.

    Args:
        parent: (N,) integers, the node above each node; -1 for the root, which must be unique.

    Raises:
        ValueError: `parent` is not a one-dimensional integer array, has an entry out of range, no
            root, several roots, or a cycle.
    """

    __slots__ = ("_digest", "_plans", "parent")

    parent: np.ndarray  # (N,) int32, read-only

    def __init__(self, parent: ArrayLike):
        given = np.asarray(parent)
        if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
            raise ValueError(
                "Tree(parent) expects a one-dimensional array of integers, got "
                f"{given.dtype} of shape {given.shape}."
            )
        check_parent(given.astype(np.int64))
        self.parent = given.astype(np.int32)
        self.parent.setflags(write=False)
        self._digest = hashlib.sha256(self.parent.tobytes()).digest()
        self._plans: dict[int | None, Plan] = {}

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.parent)

    @property
    def above(self) -> np.ndarray:
        """(N,) node above each node, 0 where there is none."""
        return np.maximum(self.parent, 0)

    @property
    def joined(self) -> np.ndarray:
        """(N,) whether there is a node above."""
        return self.parent >= 0

    @property
    def root(self) -> int:
        """The node without a parent."""
        return int(self.parent.argmin())

    @property
    def centred(self) -> tuple[list[int], list[int]]:
        """Nodes from the leaves inwards, and the parent of each if the centre were the root.

        The centre has the smallest distance to the farthest leaf; its parent is -1.
        """
        return centred(self.parent)

    @property
    def depth(self) -> int:
        """Number of levels of the tree cyclic reduction; about log2(N) for a neuron."""
        return len(self.plan("reduction").levels)

    def plan(self, method: Method = "auto") -> Plan:
        """The elimination plan of a method, made at the first call; see `TreeMatrix.solve`.

        Raises:
            ValueError: unknown method.
        """
        max_levels = 0 if resolve_method(method) == "sequential" else None
        if max_levels not in self._plans:
            self._plans[max_levels] = make_plan(self.parent, max_levels)
        return self._plans[max_levels]

    def __len__(self) -> int:
        return len(self.parent)

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self._digest == other._digest

    def __repr__(self) -> str:
        return f"Tree({self.n} nodes, root {self.root})"


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
        """The product A x, `(N,)`.

        Raises:
            ValueError: a shape that is not `(N,)`.
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

        Args:
            b: (N,) right-hand side.
            method: "sequential" eliminates node by node, in an order that lets a processor overlap
                independent branches; "reduction" eliminates independent sets of nodes, level by
                level, in about log2(N) vectorised steps (tree cyclic reduction). "auto" takes the
                first on a CPU and the second on an accelerator, by JAX's default device at
                tracing time.

        Returns:
            (N,) solution.

        Raises:
            ValueError: a shape that is not `(N,)`, or an unknown method.
        """
        return _solve.solve(self.tree, self._plan(method), *self._checked(b))[0]

    def solved(self, b: Array, x: Array) -> Array:
        """`x`, already known to solve A x = b, with the reverse mode derivatives of `solve`.

        Raises:
            ValueError: a shape that is not `(N,)`.
        """
        diagonal, edge, b = self._checked(b)
        return _solve.solved(self.tree, self._plan("auto"), diagonal, edge, b, x)

    def factor(self, method: Method = "auto") -> "TreeFactor":
        """Factorises once for several right-hand sides that are not known together.

        Raises:
            ValueError: a shape that is not `(N,)`, or an unknown method.
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
        """Solves A x = b, `(N,)`; derivatives as in `TreeMatrix.solve`.

        Raises:
            ValueError: a shape that is not `(N,)`.
        """
        tree = self.matrix.tree
        diagonal, edge, b = self.matrix._checked(b)
        return _solve.resolve(tree, tree.plan(self.method), diagonal, edge, self.coefficients, b)
