"""Which names the arrays of a store may have."""

from collections.abc import Mapping
from typing import Any

RESERVED = ("status", "failed", "point")
_LONGEST = 255  # bytes of a file's name


def refuse_name(name: Any) -> None:
    """Refuse a name of an axis or output that a store cannot have.

    Every array of a store is a folder of that name, and a variable of an xarray dataset.

    **Raises:** `ValueError` saying what is wrong with it.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"{name!r} is no name: expected a text that is not empty")
    if name in RESERVED:
        raise ValueError(
            f"the name {name!r} is taken: {', '.join(RESERVED)} belong to the store itself; "
            "choose another one"
        )
    if "/" in name or "\\" in name or not name.isprintable() or name.startswith((".", "__")):
        raise ValueError(
            f"the name {name!r} cannot be that of a folder in a store: use no '/', no '\\' and "
            "no control characters, and do not begin with '.' or '__'"
        )
    if name == "zarr.json" or len(name.encode(errors="replace")) > _LONGEST:
        raise ValueError(
            f"the name {name[:40]!r} cannot be that of a folder in a store: it is zarr.json, or "
            f"has more than {_LONGEST} bytes"
        )


def refuse_names(outputs: Mapping[str, int], axes: list[str]) -> None:
    """Refuse outputs, name -> how many dimensions a point's array has, beside these axes.

    **Raises:** `ValueError` for a name that a store cannot have, or that two arrays share, or an
    array and a dimension.
    """
    for name in (*outputs, *axes):
        refuse_name(name)
        if name in outputs and name in axes:
            raise ValueError(
                f"the name {name!r} is taken: an axis and an output are both called {name!r}; give "
                "one of them another"
            )
    for name, count in outputs.items():
        for dimension in (f"{name}_{i}" for i in range(count)):
            if dimension in outputs or dimension in axes:
                raise ValueError(
                    f"the name {dimension!r} is taken: it is a dimension of the output {name!r}; "
                    "choose another one"
                )
