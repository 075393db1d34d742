"""What checks annotated shapes and types: a whole number is a number, as in every call."""

import contextlib
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin

import numpy as np
from beartype import BeartypeConf, beartype
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import config

# They hand back what is no number as it came, for a check to name the field that it was given to.
CONVERTERS = ("as_leaf", "as_row", "as_times")

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable) -> Callable:
    """`function`, which looks at its arguments and at what it returns, with these exceptions.

    An argument that is an `Array` may be a number or numpy's array too, as in JAX's functions. Left
    out are the arguments of constructors and `ArrayLike` ones, which are what users give: the
    library looks at them itself, refuses them by name, and takes lists as well; what `CONVERTERS`
    return; and `Self`, which beartype knows only where it decorates whole classes.
    """
    hints = getattr(function, "__annotations__", {})
    for name, hint in list(hints.items()):
        parts = get_args(hint) or (hint,)
        if hint is Self:
            hints[name] = Any
        elif name == "return":
            hints[name] = Any if function.__qualname__ in CONVERTERS else hint
        elif function.__name__ == "__init__" or _given(hint):
            hints[name] = Any
        elif hint is Array or (Array in parts and get_origin(hint) in (Union, UnionType)):
            hints[name] = hint | np.ndarray | np.number | float
    return _check(function)


def _given(hint: Any) -> bool:
    """Whether an `ArrayLike` is in it."""
    parts = get_args(hint)
    return all(one in parts for one in get_args(ArrayLike)) or any(map(_given, parts))


def unchecked(raises: Callable) -> Callable:
    """`pytest.raises`, in which types are not looked at: there the library itself refuses them."""

    @contextlib.contextmanager
    def context(*args: Any, **options: Any) -> Iterator:
        with raises(*args, **options) as info:
            config.update("jaxtyping_disable", True)
            try:
                yield info
            finally:
                config.update("jaxtyping_disable", False)

    return context
