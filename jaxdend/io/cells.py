"""Cells in one `.npz` file, exactly: plain arrays and a description of how they hang together."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdend import channels as library
from jaxdend._subset import HostData, Mask, Subset, is_concrete
from jaxdend.cable import TracedTree, Tree
from jaxdend.cell import Cell, Inserted
from jaxdend.files import write_npz
from jaxdend.mechanisms.base import AbstractMechanism
from jaxdend.morphology import Morphology

_FORMAT = "jaxdend-cell-1"
_LEAVES = ("area", "radius", "cm", "ra", "own", "via", "celsius")
_BROKEN = (EOFError, OSError, KeyError, TypeError, AttributeError, zipfile.BadZipFile)


def save_cell(cell: Cell, path: str | os.PathLike[str]) -> Path:
    """Write a cell to one `.npz` file, whole or not at all: there is no pickle inside.

    It holds everything: compartments, regions and names, the morphology, and every mechanism by
    the name of its class, with the bits of its parameters.

    **Returns:** the path written (`.npz` is appended where it is missing).

    **Raises:** `ValueError` for a stack of cells, traced values, or a mechanism with a field that
    is not an array, number or text, or a tuple or dict of them.
    """
    refuse_stack(cell, "save_cell")
    arrays: dict[str, np.ndarray] = {}
    tree = {
        "leaves": {name: _describe(getattr(cell, name), name, arrays) for name in _LEAVES},
        "parent": _describe(cell.tree.parent, "parent", arrays),
        "membrane": _describe(cell.membrane.index, "membrane", arrays),
        "host": _describe(cell.host.data, "host", arrays),
        "inserted": [_inserted(x, f"inserted.{i}", arrays) for i, x in enumerate(cell.inserted)],
    }
    header = {"format": _FORMAT, "x64": bool(jax.config.jax_enable_x64), "cell": tree}  # pyright: ignore
    return write_npz(path, header, arrays)


def load_cell(path: str | os.PathLike[str], *, channels: Iterable[type] = ()) -> Cell:
    """Read a cell that `save_cell` wrote: it simulates bit for bit as the one that was saved.

    The two have the same structure, so that one compiled program serves both. Under another float
    precision than it was saved with, numbers are rounded or widened to the present one.

    **Arguments:** `channels`, the classes of mechanisms that are not jaxdend's own: a file cannot
    bring code along.

    **Raises:** `FileNotFoundError`; `ValueError` for a file that is cut short, of another format
    or something else, a mechanism whose class is not given, or one whose class has other fields.
    """
    own = _by_name(channels)
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            found = str(header["format"])
            arrays = {name: np.asarray(file[name]) for name in file.files if name != "header"}
    except FileNotFoundError:
        raise
    except (*_BROKEN, ValueError) as error:
        raise ValueError(f"{path} is not a complete cell file: {error}") from error
    if found != _FORMAT:
        ours = found.startswith("jaxdend-cell-")
        known = "of another version of jaxdend" if ours else "which is not a cell's"
        raise ValueError(
            f"{path} has format {found!r}, {known}; this version reads {_FORMAT!r}. "
            "Save the cell again with this version"
        )
    same = header["x64"] == bool(jax.config.jax_enable_x64)  # pyright: ignore
    try:
        return _assemble(header["cell"], arrays, same, own, str(path))
    except _BROKEN as error:
        raise ValueError(f"{path} is not a complete cell file: {error!r}") from error


def refuse_stack(cell: Cell, what: str) -> None:
    """Raises `ValueError` for a stack of cells, or a cell with unknown numbers."""
    stacked = isinstance(cell.membrane, Mask) or isinstance(cell.tree, TracedTree)
    if stacked or cell.area.ndim > 1:
        raise ValueError(f"{what} takes one cell, this is a stack: give its cells one by one")
    if not is_concrete(cell):
        raise ValueError(f"{what} needs known numbers: call it outside jit, grad and vmap")


def _inserted(item: Inserted, name: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    mechanism = item.mechanism
    kind = type(mechanism).__name__
    fields = {
        field.name: _describe(getattr(mechanism, field.name), f"{name}.{kind}.{field.name}", arrays)
        for field in dataclasses.fields(mechanism)
    }
    own = vars(library).get(kind) is type(mechanism)
    at = _describe(item.at.index, f"{name}.at", arrays)
    return {"class": kind, "own": own, "fields": fields, "at": at}


def _describe(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Put the arrays of `value` into `arrays` and return how to put them together again."""
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    if isinstance(value, np.ndarray | jax.Array) and value.dtype != object:
        arrays[name] = np.asarray(value)
        kind = "numpy" if isinstance(value, np.ndarray) else "jax"
        return {kind: name}
    if isinstance(value, Morphology):
        inner = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"morphology": _describe(inner, name, arrays)["dict"]}
    if isinstance(value, dict):
        return {"dict": {str(k): _describe(x, f"{name}.{k}", arrays) for k, x in value.items()}}
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_describe(x, f"{name}.{i}", arrays) for i, x in enumerate(value)]}
    raise ValueError(
        f"{name} cannot be saved: it is a {type(value).__name__}, neither an array, number or text "
        "nor a dict, list or tuple of them"
    )


def _rebuild(node: dict[str, Any], arrays: dict[str, np.ndarray], same: bool) -> Any:
    ((kind, inner),) = node.items()
    if kind == "value":
        return inner
    if kind == "numpy":
        return arrays[inner]
    if kind == "jax":
        array = arrays[inner]
        return jnp.asarray(array, None if same or array.dtype.kind != "f" else float)
    if kind in ("dict", "morphology"):
        out = {name: _rebuild(x, arrays, same) for name, x in inner.items()}
        return out if kind == "dict" else Morphology(**out)
    parts = [_rebuild(x, arrays, same) for x in inner]
    return tuple(parts) if kind == "tuple" else parts


def _assemble(
    tree: dict[str, Any], arrays: dict[str, np.ndarray], same: bool, own: dict[str, type], path: str
) -> Cell:
    fields = {name: _rebuild(node, arrays, same) for name, node in tree["leaves"].items()}
    fields["tree"] = Tree(_rebuild(tree["parent"], arrays, same))
    fields["membrane"] = Subset(_rebuild(tree["membrane"], arrays, same))
    fields["host"] = HostData(**_rebuild(tree["host"], arrays, same))
    inserted = []
    for item in tree["inserted"]:
        cls = _class(item, own, path)
        values = {name: _rebuild(node, arrays, same) for name, node in item["fields"].items()}
        at = Subset(_rebuild(item["at"], arrays, same))
        inserted.append(Inserted(_filled(cls, values), at))
    return _filled(Cell, fields | {"inserted": tuple(inserted)})


def _by_name(channels: Iterable[type]) -> dict[str, type]:
    own = {}
    for cls in channels:
        if not (isinstance(cls, type) and issubclass(cls, AbstractMechanism)):
            raise TypeError(f"channels= takes classes of mechanisms, not {cls!r}")
        own[cls.__name__] = cls
    return own


def _class(item: dict[str, Any], own: dict[str, type], path: str) -> type:
    """The class of a mechanism, whose fields are those in the file."""
    name = item["class"]
    cls = getattr(library, name, None) if item["own"] else own.get(name)
    if cls is None and item["own"]:
        raise ValueError(f"{path}: this version of jaxdend has no channel {name!r}")
    if cls is None:
        raise ValueError(
            f"{path} holds the mechanism {name!r}, which is not jaxdend's own: import its class "
            f"and pass it, load_cell(path, channels=[{name}])"
        )
    wanted, found = {f.name for f in dataclasses.fields(cls)}, set(item["fields"])
    if wanted != found:
        raise ValueError(
            f"{path}: the class {name} has changed since: its fields are {sorted(wanted)}, the "
            f"file has {sorted(found)}"
        )
    return cls


def _filled(cls: type, fields: dict[str, Any]) -> Any:
    """An instance with these very fields: nothing is converted."""
    out = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(out, name, value)
    return out
