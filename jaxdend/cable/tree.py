"""Trees: which node stands above which, and how a tree is eliminated."""

import hashlib

import jax
import numpy as np
from jaxtyping import ArrayLike

from jaxdend.cable._plan import Plan, centred, check_parent, make_plan

_MOST_LEVELS = {"sequential": 0, "reduction": None}  # of a plan; None: as many as there are


@jax.tree_util.register_static
class Tree:
    """The topology of a tree: immutable, host-side, hashed and compared by content.

    Two equal trees share one compiled program. Any numbering is accepted: a parent may have a
    larger index than its children.

    **Arguments:** `parent (N,)` integers, the node above each node; -1 for the root, of which there
    must be exactly one.

    **Raises:** `ValueError` if `parent` is not a one-dimensional integer array, has an entry out of
    range, no root, several roots, or a cycle.
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
        self._plans: dict[str, Plan] = {}

    @property
    def n(self) -> int:
        """The number of nodes in the tree."""
        return len(self.parent)

    @property
    def above(self) -> np.ndarray:
        """`(N,)` the node above each node, 0 where there is none."""
        return np.maximum(self.parent, 0)

    @property
    def joined(self) -> np.ndarray:
        """`(N,)` whether there is a node above each node."""
        return self.parent >= 0

    @property
    def root(self) -> int:
        """The number of the node that has no parent."""
        return int(self.parent.argmin())

    @property
    def centred(self) -> tuple[list[int], list[int]]:
        """The nodes from the leaves inwards, and the parent of each if the centre were the root.

        The centre has the smallest distance to the farthest leaf; its parent is -1.
        """
        return centred(self.parent)

    @property
    def depth(self) -> int:
        """The number of levels of the tree cyclic reduction, about log2(N) for a neuron."""
        return len(self.plan("reduction").levels)

    def plan(self, method: str) -> Plan:
        """The elimination plan of a method, made at the first call; see `TreeMatrix.solve`.

        **Arguments:** `method` "sequential" or "reduction".

        **Raises:** `ValueError` for any other method.
        """
        if method not in _MOST_LEVELS:
            raise ValueError(f"method must be 'sequential' or 'reduction', but is {method!r}.")
        if method not in self._plans:
            self._plans[method] = make_plan(self.parent, _MOST_LEVELS[method])
        return self._plans[method]

    def __len__(self) -> int:
        return len(self.parent)

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self._digest == other._digest

    def __repr__(self) -> str:
        return f"Tree({self.n} nodes, root {self.root})"
