"""Synapse sites that gradients can move.

A synapse at a real-valued position along a path of compartments is two synapses, on the two
compartments around it, that share its weight in proportion (`along`). The response is continuous
in the position, so a gradient moves the synapse along its branch; at whole numbers it sits on one
compartment. Which branch it is on is a choice without a gradient: give each branch its own path
and let training choose (`choose`), or draw placements at random and prune, as `train` does.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend.cell import Cell
from jaxdend.morphology import single_compartment


def path(cell: Cell, tip: int, start: int | None = None) -> np.ndarray:
    """The compartments with membrane from `start` (default: the root) out to `tip`, `(S,)` int.

    **Raises:** `ValueError` where `start` does not lie between the root and `tip`.
    """
    sites, area = [int(tip)], np.asarray(cell.area)
    while cell.parent[sites[-1]] >= 0 and sites[-1] != start:
        sites.append(int(cell.parent[sites[-1]]))
    if start is not None and sites[-1] != start:
        raise ValueError(f"path: compartment {start} is not between the root and {tip}.")
    return np.array([site for site in reversed(sites) if area[site] > 0])


def fan(
    branches: int,
    *,
    soma: float,
    length: float = 150.0,
    diameter: float = 0.7,
    max_length: float = 30.0,
    spread: float = 360.0,
) -> tuple[Cell, tuple[tuple[int, ...], ...]]:
    """A soma with equal branches, and the path of each branch from the soma outwards.

    **Arguments:** `soma`, its length and its diameter; `length` and `diameter` of a branch;
    `max_length` of compartments, all µm; `spread` in degrees, over which the branches fan out in
    figures.
    """
    morphology = single_compartment(soma, soma)
    for i in range(branches):
        angle = np.deg2rad(spread) * (0.5 + i) / branches
        way = (np.cos(angle), np.sin(angle), 0.0)
        morphology = morphology.with_cylinder(
            3, length, diameter, parent=morphology.soma, direction=way
        )
    cell = Cell(morphology, max_length=max_length, ra=150.0)
    tips = [cell.locate(section=f"dend[{i}]", x=1.0) for i in range(branches)]
    return cell, tuple(tuple(int(s) for s in path(cell, tip)[1:]) for tip in tips)


def along(sites: ArrayLike | Sequence[int], position: Array) -> tuple[Array, Array]:
    """Two neighbouring compartments for every synapse, and its share on each.

    **Arguments:** `sites (S,)`, the compartments of a path, at least two; `position (...)`, 0 at
    the first of them and 1 at the last.

    **Returns:** sites `(..., 2)` int and shares `(..., 2)` that add up to 1.
    """
    sites = jnp.asarray(sites, int)
    if sites.ndim != 1 or sites.shape[0] < 2:
        raise ValueError(f"along: a path needs two compartments or more; got {sites.shape}.")
    place = jnp.clip(position, 0.0, 1.0) * (sites.shape[0] - 1)
    low = jnp.clip(jnp.floor(jax.lax.stop_gradient(place)), 0, sites.shape[0] - 2).astype(int)
    share = place - low
    return jnp.stack([sites[low], sites[low + 1]], -1), jnp.stack([1.0 - share, share], -1)


def nearest(sites: ArrayLike | Sequence[int], position: ArrayLike) -> np.ndarray:
    """The compartment of the path `sites (S,)` that a synapse is nearest to, `(...)` int.

    **Arguments:** `position (...)`, 0 at the first of them and 1 at the last, as in `along`.
    """
    sites = np.asarray(sites, int)
    place = np.clip(np.asarray(position), 0.0, 1.0) * (len(sites) - 1)
    return sites[np.rint(place).astype(int)]


def choose(score: Array, temperature: ArrayLike = 1.0, *, hard: bool = False) -> Array:
    """Shares of a synapse on each of S candidates, `(..., S)`, from `score (..., S)`.

    A softmax; with `hard` all of it goes to the best candidate, and the gradient is that of the
    softmax (straight-through: Bengio et al. 2013, arXiv:1308.3432).
    """
    soft = jax.nn.softmax(score / temperature, axis=-1)
    if not hard:
        return soft
    best = jax.nn.one_hot(jnp.argmax(score, axis=-1), score.shape[-1], dtype=soft.dtype)
    return soft + jax.lax.stop_gradient(best - soft)
