"""What checks annotated shapes and types: a whole number is a number, as in every call."""

from collections.abc import Callable
from typing import Any, Never, Self, get_args

from beartype import BeartypeConf, beartype
from jax.typing import ArrayLike

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable) -> Callable:
    """`function`, which looks at its arguments and at what it returns.

    Left out are `ArrayLike` arguments, which are what users give: the library looks at them itself
    and takes lists as well; and what beartype refuses here, `Self`, known to it only where it
    decorates whole classes, and `Never`.
    """
    hints = getattr(function, "__annotations__", {})
    for name, hint in list(hints.items()):
        given = name != "return" and set(get_args(ArrayLike)) <= set(get_args(hint))
        if given or hint is Self or hint is Never:
            hints[name] = Any
    return _check(function)
