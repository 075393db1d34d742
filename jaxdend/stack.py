"""`stack`: cells of different shape as one pytree, for one `jax.vmap` over morphologies.

Sizes are padded and everything that tells one cell from another becomes data: the tree
(`TracedTree`), the compartments with membrane and those of each mechanism (`Mask`). Only the
number of nodes and the mechanisms that occur are part of the program.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._subset import HostData, Mask, is_concrete
from jaxdend.cable import TracedTree, Tree
from jaxdend.cell import Cell, Inserted
from jaxdend.mechanisms.base import AbstractMechanism

PAD = 1.0  # µm, µm² and µF/cm² of what pads: any positive number


def stack(cells: Sequence[Cell], *, nodes: int | None = None) -> Cell:
    """Cells of different morphology, discretisation and mechanisms as one cell to map over.

    ```python
    cells = jd.stack([small, large, reconstructed])
    sites = jnp.array([cell.locate("soma") for cell in (small, large, reconstructed)])

    def respond(cell, site):
        stim = jd.Step(site=site, onset=5.0, duration=30.0, amplitude=0.5)
        return jd.simulate(cell, stim, t1=40.0, record=site).v[:, 0]

    v = jax.jit(jax.vmap(respond))(cells, sites)  # (3, t) mV
    ```

    Each traces what it would alone (under an adaptive solver: within its tolerance). Another stack
    of as many cells and `nodes` runs in the program that is compiled already, given the same
    mechanisms, their parameters numbers or arrays as here, and compartments of area 0 in both
    stacks or in none.

    **Arguments:** `cells`; `nodes`, the size to pad to, at least that of the largest cell
    (`cell.tree.n`, which counts branch points; the default).

    **Returns:** a `Cell` whose arrays have a leading axis `(B, ...)`, for `jax.vmap`. Numbers of
    compartments are those of the single cells; past them come a cell's branch points, then isolated
    compartments that nothing reaches. Names and places (`region`, `locate`, ...) are the single
    cells' own. Mapped over, each still takes `insert`, `set` and `remove`, with `where=None` or a
    bool array `(nodes,)`, known or traced; setting a parameter where its mechanism is not changes
    nothing. A mechanism's parameter is `(B,)` where it is a number in every
    cell that has it, else `(B, nodes)`; the compartments that count are `inserted[i].at.inside`.
    Every mechanism is computed in all `nodes`: stack cells of like size.

    **Raises:** `TypeError` for anything but cells; `ValueError` for none, a cell that is a stack
    already, fewer `nodes` than a cell has, or one mechanism with different static settings.
    """
    cells = [cells] if isinstance(cells, Cell) else list(cells)
    if not cells:
        raise ValueError("stack needs at least one Cell.")
    trees = [_tree(i, cell) for i, cell in enumerate(cells)]
    largest = max(trees, key=len)
    size = largest.n if nodes is None else nodes
    if size < largest.n:
        raise ValueError(
            f"stack: nodes={nodes} is less than the {largest.n} of cells[{trees.index(largest)}], "
            "branch points included."
        )
    host = HostData(
        has_radius=all(cell.host["has_radius"] for cell in cells),
        exposed=any(cell.exposed for cell in cells),
    )
    numbers = [jax.tree.map(_known, cell) for cell in cells]
    by_kind = [_everywhere(kind, numbers, size) for kind in _kinds(numbers)]
    padded = [
        _padded(cell, tree, size)._replace(inserted=tuple(inserted), host=host)
        for cell, tree, *inserted in zip(numbers, trees, *by_kind, strict=True)
    ]
    return jax.tree.map(_stacked, *padded)


def _tree(i: int, cell: Cell) -> Tree:
    if not isinstance(cell, Cell):
        raise TypeError(f"stack takes Cells; cells[{i}] is {type(cell).__name__}.")
    if not isinstance(cell.tree, Tree):
        raise ValueError(f"stack: cells[{i}] comes from a stack already; stack the single cells.")
    return cell.tree


def _known(leaf: Array) -> Any:
    """A known array as one of numpy, which lays it out without compiling anything."""
    return np.asarray(leaf) if is_concrete(leaf) else leaf


def _stacked(*leaves: Any) -> Array:
    if all(isinstance(leaf, np.ndarray) for leaf in leaves):
        return jnp.asarray(np.stack(leaves))
    return jnp.stack([jnp.asarray(leaf) for leaf in leaves])


def _filled(x: Any, size: int, value: float) -> Any:
    """`x` followed by as many `value`s as make it of length `size`."""
    if isinstance(x, np.ndarray):
        return np.concatenate([x, np.full(size - len(x), value, x.dtype)])
    return jnp.concatenate([x, jnp.full(size - len(x), value, x.dtype)])


def _padded(cell: Cell, tree: Tree, size: int) -> Cell:
    """`cell` with all of its nodes as compartments, and isolated ones of area `PAD` after them."""
    membrane = np.ones(size, bool)
    membrane[: tree.n] = cell.membrane.mask(tree.n)
    return cell._replace(
        area=_filled(_filled(cell.area, tree.n, 0.0), size, PAD),
        radius=_filled(cell.radius, size, PAD),
        cm=_filled(cell.cm, size, PAD),
        ra=_filled(cell.ra, size, 0.0),
        own=_filled(cell.own, size, 0.0),
        via=_filled(cell.via, size, 0.0),
        tree=TracedTree.of(tree, size),
        membrane=Mask(jnp.asarray(membrane)),
    )


def _kinds(cells: list[Cell]) -> list[Any]:
    """The structures of the mechanisms that occur, by name: all but their numbers.

    **Raises:** `ValueError` for two of one name, since a cell has one mechanism of a name.
    """
    found: dict[str, tuple[Any, AbstractMechanism, int]] = {}
    for i, cell in enumerate(cells):
        for item in cell.inserted:
            kind = jax.tree.structure(item.mechanism)
            known, first, number = found.setdefault(item.name, (kind, item.mechanism, i))
            if known != kind:
                raise ValueError(
                    f"stack: {item.name} is not the same in cells[{number}], {_settings(first)}, "
                    f"and in cells[{i}], {_settings(item.mechanism)}. Give both the same static "
                    "settings, the same parameters as numbers or None, and one class."
                )
    return [found[name][0] for name in sorted(found)]


def _settings(mechanism: AbstractMechanism) -> str:
    """What tells a mechanism from others of its name: its module and all but its numbers."""
    values = {f.name: getattr(mechanism, f.name) for f in dataclasses.fields(mechanism)}
    own = [f"{k}={v!r}" for k, v in values.items() if not isinstance(v, np.ndarray | Array)]
    cls = type(mechanism)
    return f"{cls.__module__}.{cls.__name__}({', '.join(own)})"


def _everywhere(kind: Any, cells: list[Cell], size: int) -> list[Inserted]:
    """One mechanism in every cell, in all compartments, with a mask of those where it counts.

    Elsewhere it has the parameters of some compartment that has it: they are never seen, but
    nothing computed from them may overflow.
    """
    found = [
        next((i for i in cell.inserted if jax.tree.structure(i.mechanism) == kind), None)
        for cell in cells
    ]
    donor = next(item for item in found if item is not None)
    columns = zip(*(jax.tree.leaves(i.mechanism) for i in found if i is not None), strict=True)
    varies = [any(np.ndim(leaf) for leaf in column) for column in columns]
    out = []
    for item in found:
        inside, row = np.zeros(size, bool), np.zeros(size, int)  # row among the parameters
        if item is not None:
            inside[item.at.index] = True
            row[item.at.index] = np.arange(len(item.at))
        leaves = [
            (leaf[row] if np.ndim(leaf) else leaf + np.zeros(size, leaf.dtype)) if vary else leaf
            for leaf, vary in zip(jax.tree.leaves((item or donor).mechanism), varies, strict=True)
        ]
        out.append(Inserted(kind.unflatten(leaves), Mask(jnp.asarray(inside))))
    return out
