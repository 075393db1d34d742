"""Places on a cell: names, masks, numbers and lists of them, as compartment numbers.

A place is the name of a region, group or section, a compartment number, a boolean array `(n,)`, or
a list of these. Where compartments are asked for (`where=`), a name stands for all of its own;
where sites are asked for (`site=`, `record=`), for the one that `Cell.locate` gives.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._subset import is_concrete

Place = str | ArrayLike | Sequence[str | ArrayLike]

_BOOL = bool | np.bool_
_FORMS = (
    "a compartment number, the name of a region, group or section, a bool array with one entry "
    "per compartment, or a list of these"
)


@jax.tree_util.register_static
class Places:
    """Sites of an input that only a cell can tell: names, masks and numbers, in order.

    `site` of an input holds it until `Cell.sites` turns it into compartment numbers. It is static,
    compared and hashed by content. Its `shape` is `(k,)`: one site for each name and number, and
    one for each true entry of a mask.

    **Raises:** `ValueError` for what is no place, a mask without a true entry, or traced numbers.
    """

    __slots__ = ("items", "key")

    items: tuple[str | np.ndarray, ...]  # names, bool masks (n,) and numbers (j,)

    def __init__(self, items: Sequence[Any]):
        self.items = tuple(_item(x) for x in items)
        self.key = tuple(x if isinstance(x, str) else (x.dtype.kind, *x) for x in self.items)

    @property
    def shape(self) -> tuple[int]:
        """`(k,)`, the number of sites."""
        return (sum(_size(x) for x in self.items),)

    @property
    def ndim(self) -> int:
        """1: sites are a list."""
        return 1

    def __len__(self) -> int:
        return self.shape[0]

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places) and self.key == other.key

    def __repr__(self) -> str:
        shown = (f"mask of {_size(x)}" if _is_mask(x) else str(x) for x in self.items)
        return f"Places({', '.join(shown)})"


def split(place: Any) -> tuple[Any, ...] | None:
    """The parts of a place that has names or masks in it; `None` for numbers alone.

    **Raises:** `ValueError` for a mask that is traced or not of one dimension.
    """
    if isinstance(place, Places):
        return place.items
    if isinstance(place, str) or _is_mask(place):
        return (place,)
    if isinstance(place, np.ndarray) and place.dtype.kind in "UO":
        return tuple(place.ravel().tolist())
    if isinstance(place, list | tuple) and any(isinstance(x, str) or _is_mask(x) for x in place):
        return tuple(place)
    if isinstance(place, list | tuple) and place and all(isinstance(x, _BOOL) for x in place):
        return (np.asarray(place),)
    return None


def numbers(value: Any, name: str) -> np.ndarray:
    """Known whole numbers, `(k,)` int; `ValueError`, which begins with `name`, for others."""
    mixed = isinstance(value, list | tuple) and any(isinstance(x, _BOOL) for x in value)
    try:
        out = np.asarray(None if mixed else value)
    except ValueError:
        out = np.asarray(None)
    if out.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected {_FORMS}; got {value!r:.80}.")
    if out.ndim > 1:
        raise ValueError(f"{name}: expected {_FORMS}; got shape {out.shape}. Batches: jax.vmap.")
    return np.atleast_1d(out).astype(int)


def compartments(
    where: Any, n: int, region: Callable[[str], np.ndarray], name: str = "where"
) -> np.ndarray:
    """`(m,)` the compartments that `where` names, in its order; all `n` of them for `None`.

    **Arguments:** `region`, which gives the mask `(n,)` of a name; `name`, what errors call it.

    **Raises:** `ValueError` for what is no place of this cell, saying what a place is.
    """
    if where is None:
        return np.arange(n)
    if not is_concrete(where):
        raise ValueError(f"{name}= must be known when tracing; masks are static.")
    parts = split(where)
    found = [_compartments(x, n, region, name) for x in ([where] if parts is None else parts)]
    out = np.concatenate(found)
    bad = out[(out < 0) | (out >= n)]
    if bad.size:
        means = " In a list of an input's sites -1 means that no input sits there."
        raise ValueError(
            f"{name}= must hold compartment numbers in 0..{n - 1}; got {int(bad[0])}."
            f"{means if bad[0] == -1 else ''}"
        )
    return out


def sites(place: Any, n: int, locate: Callable[[str], int], *, padding: bool) -> np.ndarray | Array:
    """`(k,)` compartment numbers of a place; see `Cell.sites`."""
    parts = split(place)
    if parts is None and not is_concrete(place):
        return jnp.atleast_1d(jnp.asarray(place))
    out = np.concatenate([_sites(x, n, locate) for x in ([place] if parts is None else parts)])
    bad = out[(out < (-1 if padding else 0)) | (out >= n)]
    if bad.size:
        means = " For the site of an input, and there alone, -1 means that no input sits there."
        raise ValueError(
            f"site {int(bad[0])} is outside 0..{n - 1}: this cell has {n} compartments. Find sites "
            f"with cell.locate(...).{means if bad[0] == -1 else ''}"
        )
    return out


def _is_mask(x: Any) -> bool:
    """Whether `x` is an array of booleans."""
    if not (isinstance(x, np.ndarray | jax.Array) and x.dtype == bool):
        return False
    if not is_concrete(x):
        raise ValueError("a bool array of compartments must be known: it says how many there are.")
    if x.ndim != 1:
        raise ValueError(f"a bool array of compartments must have shape (n,); got {x.shape}.")
    return True


def _size(x: str | np.ndarray) -> int:
    return 1 if isinstance(x, str) else int(x.sum()) if _is_mask(x) else len(x)


def _item(x: Any) -> str | np.ndarray:
    """A part of `Places`: a name, or known numbers or a mask that nobody can change."""
    if isinstance(x, str):
        return str(x)
    mask = _is_mask(x)
    if not is_concrete(x):
        raise ValueError("site: names and masks cannot stand in one list with traced numbers.")
    out = np.array(x) if mask else numbers(x, "site")
    if mask and not out.any():
        raise ValueError("site: the bool array selects no compartment, all of it is False.")
    out.setflags(write=False)
    return out


def _masked(mask: Any, n: int, name: str) -> np.ndarray:
    if mask.shape != (n,):
        raise ValueError(f"{name}= must have shape ({n},) as a bool array; got {mask.shape}.")
    return np.flatnonzero(np.asarray(mask))


def _compartments(x: Any, n: int, region: Callable[[str], np.ndarray], name: str) -> np.ndarray:
    """The compartments of one part of `where=`."""
    if isinstance(x, str):
        return np.flatnonzero(region(x))
    return _masked(x, n, name) if _is_mask(x) else numbers(x, name)


def _sites(x: Any, n: int, locate: Callable[[str], int]) -> np.ndarray:
    """The sites of one part of a place."""
    if isinstance(x, str):
        return np.array([locate(x)])
    return _masked(x, n, "site") if _is_mask(x) else numbers(x, "site")
