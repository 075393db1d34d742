"""Mechanisms in compartments: how they get in, how their parameters change, how they get out."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._subset import Mask, Subset, is_concrete
from jaxdend._types import as_leaf
from jaxdend.mechanisms.base import AbstractMechanism, named


class Inserted(eqx.Module):
    """A mechanism and the compartments it sits in; its parameters are scalars or `(k,)`."""

    mechanism: AbstractMechanism
    at: Subset | Mask  # k compartments; static as a `Subset`

    @property
    def name(self) -> str:
        """The name of the mechanism's class."""
        return type(self.mechanism).__name__


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The compartments of a `where=`, and the order in which it names them."""

    at: Subset | Mask  # k compartments, ascending
    order: np.ndarray  # (m,) as the caller names them, those without membrane included
    n: int  # compartments of the cell

    @classmethod
    def all_of(cls, n: int) -> "Chosen":
        """All `n` compartments, in the order of their numbers."""
        return cls(Subset(np.arange(n)), np.arange(n), n)

    def spread(self, value: Array) -> Array:
        """`value`, a scalar or `(k,)`, as `(k,)`; known where it is known."""
        if not is_concrete(value):
            return jnp.broadcast_to(value, (len(self.at),))
        with jax.ensure_compile_time_eval():
            return jnp.broadcast_to(value, (len(self.at),))

    def rows(self, name: str, value: Array) -> Array:
        """`value`, scalar, `(n,)` by number or `(m,)` in the caller's order, as scalar or `(k,)`.

        **Raises:** `ValueError` for another shape, or values for a compartment named twice.
        """
        n, m = self.n, len(self.order)
        if value.ndim == 0:
            return value
        if value.shape not in ((n,), (m,)):
            listed = f", or ({m},), one per compartment of where=" if m != n else ""
            raise ValueError(
                f"{name} must be a number or have shape ({n},), one value per compartment{listed}; "
                f"got {value.shape}."
            )
        if isinstance(self.at, Mask) or np.array_equal(self.order, np.arange(n)):
            return self.at.take(value)
        if value.shape == (n,) and m != n:
            return self.at.take(value)
        places, first, count = np.unique(self.order, return_index=True, return_counts=True)
        if np.any(count > 1):
            raise ValueError(
                f"{name} has one value for each compartment of where=, which names compartment "
                f"{places[count > 1][0]} more than once. Name every compartment once."
            )
        if m == n:
            raise ValueError(
                f"{name} has {n} values, and where= lists all {n} compartments in another order "
                "than that of their numbers, so that it is not clear which order the values have. "
                "Leave where= out and give the values by compartment number: values as they are "
                "for the one meaning, values[np.argsort(where)] for that of the list."
            )
        rows = first[np.searchsorted(places, self.at.index)]
        return value if np.array_equal(rows, np.arange(m)) else value[rows]


def number_array(name: str, value: ArrayLike) -> Array:
    """`value` as an array of the present float precision, known where it is known.

    **Raises:** `ValueError` that calls it `name` for what is no number or array of numbers.
    """
    leaf = as_leaf(value)
    if not isinstance(leaf, jax.Array) or jnp.iscomplexobj(leaf):
        raise ValueError(f"{name} must be a number or an array of numbers; got {value!r:.80}.")
    if leaf.dtype == jnp.result_type(float):
        return leaf
    if not is_concrete(leaf):
        return leaf.astype(jnp.result_type(float))
    with jax.ensure_compile_time_eval():  # known numbers stay known inside `jit`
        return leaf.astype(jnp.result_type(float))


def positive(name: str, value: ArrayLike, chosen: Chosen) -> Array:
    """`value` as a scalar or `(k,)` for the chosen compartments, checked where it is known.

    **Raises:** `ValueError` for a shape that does not fit, or numbers that are not finite and > 0.
    """
    leaf = number_array(name, value)
    if not is_concrete(leaf, chosen.at):
        return chosen.rows(name, leaf)
    with jax.ensure_compile_time_eval():
        rows = chosen.rows(name, leaf)
    numbers = np.asarray(rows)
    bad = ~(np.isfinite(numbers) & (numbers > 0))
    if bad.any():
        first = int(np.argmax(bad))
        place = f"; compartment {chosen.at.index[first]} has" if bad.ndim else "; got"
        raise ValueError(f"{name} must be finite and > 0{place} {numbers.ravel()[first]}.")
    return rows


def placed(mechanism: AbstractMechanism, chosen: Chosen) -> Inserted:
    """A mechanism as it was constructed, in the chosen compartments.

    **Raises:** `ValueError` naming the field that is no array of numbers, has another shape, or is
    NaN where it is used.
    """
    owner = type(mechanism).__name__
    fields = {}
    for field in dataclasses.fields(mechanism):
        value = getattr(mechanism, field.name)
        if not field.metadata.get("static", False):
            name = f"{owner}: {field.name}"
            optional = field.default is None or field.default is dataclasses.MISSING
            if "unit" in field.metadata and not (value is None and optional):
                value = _row(name, field, value, chosen)
            else:
                value = jax.tree.map(lambda leaf, x=name, f=field: _row(x, f, leaf, chosen), value)
        fields[field.name] = value
    return Inserted(with_fields(mechanism, fields), chosen.at)


def _row(name: str, field: dataclasses.Field, leaf: Any, chosen: Chosen) -> Array:
    if not isinstance(leaf, jax.Array) or jnp.iscomplexobj(leaf):
        if "unit" in field.metadata:
            raise ValueError(
                f"{name} must be a number or an array of numbers; got {leaf!r:.80}. For values "
                "that vary along the cell give an array: f(cell.distance), not f."
            )
        raise ValueError(
            f"{name} is {leaf!r:.80}, which is not an array. Declare a parameter as "
            f"{field.name}: Array = param(default, unit=...), and a setting that is part of the "
            "program with eqx.field(default=..., static=True)."
        )
    if not is_concrete(leaf, chosen.at):
        return chosen.rows(name, leaf)
    with jax.ensure_compile_time_eval():
        rows = chosen.rows(name, leaf)
    bad = np.isnan(np.asarray(rows))
    if bad.any():
        where = f" at compartment {chosen.at.index[np.argmax(bad)]}" if bad.ndim else ""
        raise ValueError(
            f"{name} is NaN{where}. Leave those compartments out with where=~np.isnan(values)."
        )
    return rows


def with_fields(mechanism: AbstractMechanism, fields: Mapping[str, Any]) -> AbstractMechanism:
    """A copy of a mechanism with other values in some of its fields, nothing converted."""
    out = object.__new__(type(mechanism))
    for field in dataclasses.fields(mechanism):
        value = fields.get(field.name, getattr(mechanism, field.name))
        object.__setattr__(out, field.name, value)
    return out


def added(
    items: tuple[Inserted, ...], mechanism: AbstractMechanism, chosen: Chosen
) -> tuple[Inserted, ...]:
    """`items` and a mechanism in the chosen compartments; see `Cell.insert`.

    **Raises:** `ValueError` as `placed`, and for a mechanism that cannot be one with what is there.
    """
    new = placed(mechanism, chosen)
    for i, old in enumerate(items):
        if old.name == new.name:
            _check_one(old.mechanism, mechanism)
            merged = _merged(old, new, named(mechanism))
            return (*items[:i], merged, *items[i + 1 :])
    return (*items, new)


def _check_one(old: AbstractMechanism, new: AbstractMechanism) -> None:
    """Refuse two mechanisms of one name that are not the same class with the same settings."""
    name = type(new).__name__
    if type(old) is not type(new):
        raise ValueError(
            f"insert: this cell holds another class {name}, of {type(old).__module__}; the one "
            f"given is of {type(new).__module__}, or was defined anew. Rename one of them, or take "
            f'the first out before: cell.remove("{name}").'
        )
    for field in dataclasses.fields(new):
        if field.metadata.get("static", False):
            before, after = getattr(old, field.name), getattr(new, field.name)
            if before != after:
                raise ValueError(
                    f"insert: this cell holds {name}({field.name}={before!r}), and "
                    f"{name}({field.name}={after!r}) is another program: a cell has one of them. "
                    f"Write {field.name}={before!r}, or take the first out before: "
                    f'cell.remove("{name}").'
                )


def _merged(old: Inserted, new: Inserted, names: frozenset[str]) -> Inserted:
    """One mechanism over the union: the fields `names` as in `new`, others as in `old` there."""
    both = isinstance(old.at, Subset) and isinstance(new.at, Subset)
    union = old.at.union(new.at)
    whole = {"old": both and union == old.at, "new": both and union == new.at}
    n = _size(union)

    def join(under: Inserted, a: Array, over: Inserted, b: Array) -> Array:
        dtype = jnp.result_type(a, b)
        spread = under.at.spread(jnp.asarray(a, dtype), n)
        return union.take(over.at.put(spread, jnp.asarray(b, dtype)))

    fields = {}
    for field in dataclasses.fields(new.mechanism):
        key = field.name
        before, after = getattr(old.mechanism, key), getattr(new.mechanism, key)
        under, over = (old, new) if key in names else (new, old)
        a, b = (before, after) if key in names else (after, before)
        if field.metadata.get("static", False) or whole["new" if over is new else "old"]:
            fields[key] = b
        elif jax.tree.structure(a) == jax.tree.structure(b):
            fields[key] = jax.tree.map(lambda x, y, u=under, o=over: join(u, x, o, y), a, b)
        else:
            raise ValueError(
                f"insert: {new.name} has {key}={_kind(before)} in this cell and {key}="
                f"{_kind(after)} in the one given: give all of its compartments one or the other."
            )
    return Inserted(with_fields(new.mechanism, fields), union)


def _size(at: Subset | Mask) -> int:
    """How long an array must be to have all compartments of `at` in it."""
    return len(at) if isinstance(at, Mask) else int(at.index[-1]) + 1


def _kind(value: Any) -> str:
    return "None" if value is None else "<numbers>"


def changed(
    items: tuple[Inserted, ...],
    name: str,
    values: Any,
    choose: Callable[[Inserted], Chosen],
) -> tuple[Inserted, ...]:
    """`items` with other `values` of parameters of the mechanism `name`; see `Cell.set`.

    **Arguments:** `choose`, from an inserted mechanism to the compartments that are set.

    **Raises:** `ValueError` for a mechanism, parameter or compartment that is not there.
    """
    i = find(items, name, "set")
    item, chosen = items[i], choose(items[i])
    fields_of = dataclasses.fields(item.mechanism)
    known = {f.name: f for f in fields_of if not f.metadata.get("static", False)}
    if not isinstance(values, Mapping) or not values:
        example = f'{name}={{"{next(iter(known))}": 0.1}}'
        raise ValueError(
            f"set: {name} takes the parameters to set, such as {example}; got {values!r:.80}."
        )
    _check_inside(item, chosen)
    fields = {}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"set: {name} has no parameter {key!r}; it has {', '.join(known)}.")
        leaf = getattr(item.mechanism, key)
        if not isinstance(leaf, jax.Array | np.ndarray):
            raise ValueError(
                f"set: {name}.{key} is {leaf!r:.80} in this cell, not numbers of its compartments: "
                f"insert {name}({key}=...) instead."
            )
        given = number_array(f"{name}: {key}", value)
        rows = _row(f"{name}: {key}", known[key], given, chosen)
        fields[key] = _put(item, jnp.asarray(leaf), rows, chosen)
    mechanism = with_fields(item.mechanism, fields)
    return (*items[:i], Inserted(mechanism, item.at), *items[i + 1 :])


def _put(item: Inserted, leaf: Array, rows: Array, chosen: Chosen) -> Array:
    """A parameter with `rows` at the chosen compartments, which lie in those of `item`."""
    if isinstance(item.at, Subset) and chosen.at == item.at:
        return rows
    if isinstance(item.at, Mask) and chosen.at is item.at and rows.ndim == 0:
        return rows
    leaf = leaf.astype(jnp.result_type(leaf, rows))
    return item.at.take(chosen.at.put(item.at.spread(leaf, _size(item.at)), rows))


def _check_inside(item: Inserted, chosen: Chosen) -> None:
    if isinstance(item.at, Mask) or isinstance(chosen.at, Mask):
        return
    absent = np.setdiff1d(chosen.at.index, item.at.index)
    if absent.size:
        raise ValueError(
            f"set: {item.name} does not sit in compartment {absent[0]}, one of {len(absent)} of "
            "where= that lack it: insert it there first, or leave them out."
        )


def removed(
    items: tuple[Inserted, ...], name: str, where: Subset | Mask | None
) -> tuple[Inserted, ...]:
    """`items` without the mechanism `name`, in `where` or everywhere; see `Cell.remove`.

    **Raises:** `ValueError` for a mechanism that is not there, or in none of `where`.
    """
    i = find(items, name, "remove")
    item = items[i]
    if where is None:
        return (*items[:i], *items[i + 1 :])
    if isinstance(item.at, Mask):
        out = Mask(item.at.inside & ~where.mask(len(item.at)))
        return (*items[:i], Inserted(item.mechanism, out), *items[i + 1 :])
    keep = ~np.isin(item.at.index, where.index)
    if keep.all():
        raise ValueError(f"remove: {name} sits in none of the compartments of where=.")
    if not keep.any():
        return (*items[:i], *items[i + 1 :])
    rows = np.flatnonzero(keep)
    mechanism = jax.tree.map(lambda a: a[rows] if jnp.ndim(a) else a, item.mechanism)
    return (*items[:i], Inserted(mechanism, Subset(item.at.index[keep])), *items[i + 1 :])


def find(items: tuple[Inserted, ...], name: str, what: str) -> int:
    """The number of the mechanism `name`; `ValueError` listing those that the cell has."""
    names = [item.name for item in items]
    if name not in names:
        raise ValueError(
            f"{what}: no mechanism {name!r:.80} in this cell; it has "
            f"{', '.join(names) or 'none, insert one first'}."
        )
    return names.index(name)
