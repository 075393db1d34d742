"""What the fields of inputs share: conversion to array leaves, and checks that name the field.

Shapes and dtypes are always checked; numbers only where they are known, not under `jit` or `vmap`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxdend._subset import is_concrete
from jaxdend.places import Place, Places, numbers, split

Shape = tuple[int, ...]

_RULES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "finite": (np.isfinite, "finite numbers"),
    "nonnegative": (lambda x: np.isfinite(x) & (x >= 0), "finite numbers >= 0"),
    "positive": (lambda x: np.isfinite(x) & (x > 0), "finite numbers > 0"),
    "count": (
        lambda x: np.isfinite(x) & (x >= 1) & (x == np.round(x)),
        "whole numbers >= 1",
    ),
    "times": (lambda x: x > -np.inf, "times in ms, or inf for no event"),
}


def as_leaf(value: ArrayLike) -> Array:
    """A floating array leaf, so that a new number never recompiles.

    What is no number comes back unchanged, for `check_fields` to name the field it was given to.
    """
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.inexact):
        return value
    try:
        if not is_concrete(value):
            return jnp.asarray(value, dtype=jnp.result_type(float))
        if np.asarray(value).dtype.kind in "SUOc":  # numpy would read a number in a text
            return value  # type: ignore[return-value]
        with jax.ensure_compile_time_eval():  # known numbers stay known inside `jit`
            return jnp.asarray(value, dtype=jnp.result_type(float))
    except (TypeError, ValueError):
        return value  # type: ignore[return-value]


def in_current_precision(numbers: Any) -> Any:
    """`numbers` with floating leaves in JAX's precision; a cell may be older than its choice."""

    def cast(leaf: Any) -> Any:
        other = isinstance(leaf, jax.Array) and leaf.dtype != jnp.result_type(float)
        return leaf.astype(float) if other and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, numbers)


def as_row(value: ArrayLike) -> Array:
    """Does what `as_leaf` does, and turns a number into an array of shape `(1,)`."""
    leaf = as_leaf(value)
    return leaf[None] if isinstance(leaf, jax.Array) and leaf.ndim == 0 else leaf


def as_sites(value: Place | Places) -> Any:  # an Array, or Places, which a cell makes one
    """Compartment numbers `(k,)` from an int or ints, or `Places` that a cell has yet to tell.

    Names of regions, groups and sections, a boolean array `(n,)`, and lists of names, numbers and
    boolean arrays become `Places`. A site of -1 means that no input sits there.

    **Raises:** `ValueError` for anything else, and for known numbers below -1.
    """
    parts = split(value)
    if parts is not None:
        return value if isinstance(value, Places) else Places(parts)
    if is_concrete(value):
        known = numbers(value, "site")
        if np.any(known < -1):
            raise ValueError(
                "site: compartment numbers, as cell.locate(...) gives them, count from 0; got "
                f"{int(known.min())}. Only -1 is allowed, which means that no input sits there."
            )
        with jax.ensure_compile_time_eval():  # known numbers stay known inside `jit`
            return jnp.asarray(known, dtype=jnp.result_type(int))
    sites = jnp.asarray(value)
    if not jnp.issubdtype(sites.dtype, jnp.integer) or sites.ndim > 1:
        raise ValueError(
            f"site: expected a compartment number or (k,) of them; got {sites.dtype} of shape "
            f"{sites.shape}. For batches use jax.vmap."
        )
    return jnp.atleast_1d(sites.astype(jnp.result_type(int)))


def check_fields(owner: Any, **rules: str) -> None:
    """Refuse fields of `owner` that are not a number or `(k,)`, or that break their rule.

    **Arguments:** `owner`, with `site (k,)`; per field one of `"finite"`, `"nonnegative"`,
    `"positive"`, `"count"`.
    **Raises:** `ValueError` that names class, field, what was expected and what came.
    """
    k = owner.site.shape[0]  # known for `Places`, too
    for field, rule in rules.items():
        check_field(owner, field, rule, [(), (k,)])


def check_field(owner: Any, field: str, rule: str, shapes: list[Shape]) -> None:
    """Refuse `owner.field` unless its shape is one of `shapes` and its numbers obey `rule`."""
    check_array(f"{type(owner).__name__}.{field}", getattr(owner, field), rule, shapes)


def check_array(name: str, value: Any, rule: str, shapes: list[Shape]) -> None:
    """Refuse `value`, called `name`, unless its shape is one of `shapes` and it obeys `rule`."""
    if not isinstance(value, jax.Array) or jnp.iscomplexobj(value):
        raise ValueError(f"{name}: expected a number or an array of numbers; got {value!r}.")
    if value.shape not in shapes:
        known = " or ".join(str(s) for s in dict.fromkeys(shapes))
        raise ValueError(
            f"{name}: expected shape {known}; got {value.shape}. Per-site values need one entry "
            "for each site."
        )
    if is_concrete(value):
        allowed, words = _RULES[rule]
        numbers = np.asarray(value)
        bad = ~allowed(numbers)
        if bad.any():
            entry = np.unravel_index(int(np.argmax(bad)), bad.shape)
            place = f" at {tuple(int(i) for i in entry)}" if bad.ndim else ""
            raise ValueError(f"{name}: expected {words}; got {numbers[entry]:g}{place}.")


def check_order(owner: Any, low: str, high: str, why: str, *, strict: bool = False) -> None:
    """Refuse `owner.low > owner.high`, or with `strict` `>=`, where both numbers are known."""
    below, above = getattr(owner, low), getattr(owner, high)
    if not is_concrete(below, above):
        return
    below, above = np.broadcast_arrays(np.asarray(below), np.asarray(above))
    bad = below >= above if strict else below > above
    if bad.any():
        i = np.unravel_index(int(np.argmax(bad)), bad.shape)
        sign = "<" if strict else "<="
        raise ValueError(
            f"{type(owner).__name__}: expected {low} {sign} {high}, else {why}; "
            f"got {low} {below[i]:g} and {high} {above[i]:g}."
        )
