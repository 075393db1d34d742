"""Cells in one `.npz` file, exactly: plain arrays and a description of how they hang together."""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdend import channels as library
from jaxdend._errors import SavedFileError
from jaxdend._subset import HostData, Mask, Subset, is_concrete
from jaxdend.cable import TracedTree, Tree
from jaxdend.cell import Cell, Inserted
from jaxdend.files import complete, read_npz, refuse_array, write_npz
from jaxdend.mechanisms.base import AbstractMechanism
from jaxdend.morphology import Morphology

_FORMAT, _WHAT = "jaxdend-cell-1", "cell file"
_LEAVES = ("area", "radius", "cm", "ra", "own", "via", "celsius")


def save_cell(cell: Cell, path: str | os.PathLike[str]) -> Path:
    """Write a cell to one `.npz` file, whole or not at all: there is no pickle inside.

    It holds everything: compartments, regions and names, the morphology, and every mechanism by
    the name of its class, with the bits of its parameters.

    **Returns:** the path written (`.npz` is appended where it is missing).

    **Raises:** `ValueError` for a stack of cells, traced values, numbers that are not finite, or a
    mechanism with a field that is not an array, number or text, or a tuple or dict of them.
    """
    refuse_stack(cell, "save_cell")
    check_numbers(cell)
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

    **Raises:** `FileNotFoundError`; `SavedFileError` for a file that is cut short, damaged, of
    another format or something else, for numbers that no cell can have, a mechanism whose class is
    not given, or one whose class has other fields.
    """
    own = _by_name(channels)
    header, arrays = read_npz(path, _WHAT, _FORMAT)
    with complete(path, _WHAT):
        same = header["x64"] == bool(jax.config.jax_enable_x64)  # pyright: ignore
        cell = _assemble(header["cell"], arrays, same, own, str(path))
        if arrays:
            raise ValueError(f"the description does not mention {', '.join(arrays)}")
        check_numbers(cell)
    return cell


def refuse_stack(cell: Cell, what: str) -> None:
    """Raises `ValueError` for a stack of cells, or a cell with unknown numbers."""
    stacked = isinstance(cell.membrane, Mask) or isinstance(cell.tree, TracedTree)
    if stacked or cell.area.ndim > 1:
        raise ValueError(f"{what} takes one cell, this is a stack: give its cells one by one")
    if not is_concrete(cell):
        raise ValueError(f"{what} needs known numbers: call it outside jit, grad and vmap")


def check_numbers(cell: Cell) -> None:
    """Refuse a cell whose arrays do not fit together, or hold numbers that no cell can have.

    **Raises:** `ValueError` naming the array, what was expected and what it is.
    """
    n, nodes = cell.area.shape[-1], len(cell.tree.parent)
    sizes = {"own": (nodes,), "via": (nodes,), "celsius": ()}
    for name in _LEAVES:
        value = np.asarray(getattr(cell, name))
        _check_array(name, value, sizes.get(name, (n,)), "f")
        if not np.isfinite(value).all():
            raise ValueError(f"{name} must be finite; got {value[~np.isfinite(value)][0]}")
        if name in ("radius", "cm", "ra") and not np.all(value > 0):
            raise ValueError(f"{name} must be > 0; got {value.min()}")
    if n > nodes or np.any(np.asarray(cell.area) < 0):
        raise ValueError(f"area must be >= 0, of at most {nodes} compartments; got {n}")
    _check_host(cell.host.data, n)
    _check_index("membrane", cell.membrane.index, n)
    for item in cell.inserted:
        kind, mechanism = type(item.mechanism).__name__, item.mechanism
        _check_index(f"the compartments of {kind}", item.at.index, n)
        for field in dataclasses.fields(mechanism):
            value = getattr(mechanism, field.name)
            if "unit" not in field.metadata or value is None:
                continue
            each = () if np.ndim(value) == 0 else (len(item.at),)
            _check_array(f"{kind}.{field.name}", np.asarray(value), each, "f")
            if np.isnan(value).any():
                raise ValueError(f"{kind}.{field.name} must be numbers; got nan")


def _check_array(name: str, value: Any, shape: tuple[int, ...], kind: str) -> None:
    """Refuse what is no array of this shape and kind of numbers."""
    found = getattr(value, "shape", None), getattr(getattr(value, "dtype", None), "kind", "")
    if found != (shape, kind):
        said = f"{value.dtype} of shape {found[0]}" if found[0] is not None else repr(value)[:80]
        names = {"f": "numbers", "i": "whole numbers", "b": "bools"}
        raise ValueError(f"{name} must be {names[kind]} of shape {shape}; got {said}")


def _check_index(name: str, index: np.ndarray, n: int) -> None:
    """Refuse what are no compartments in ascending order."""
    _check_array(name, index, (len(index),), "i")
    if len(index) and (index[0] < 0 or index[-1] >= n or np.any(np.diff(index) <= 0)):
        raise ValueError(f"{name} must be compartments in 0..{n - 1}, ascending, each once")


def _check_host(data: dict[str, Any], n: int) -> None:
    """Refuse names, places and regions that are not those of a cell of `n` compartments."""
    one = np.ones(1)
    like = Cell.from_compartments(parent=np.array([-1]), axial_resistance=one, area=one).host.data
    if set(data) != set(like):
        raise ValueError(
            f"a cell has {', '.join(sorted(like))}; here are {', '.join(sorted(data))}"
        )
    for name, value in like.items():
        if isinstance(value, np.ndarray):
            _check_array(name, data[name], (n, *value.shape[1:]), value.dtype.kind)
        elif name == "morph":
            if not isinstance(data[name], Morphology | None):
                raise ValueError(f"{name} must be a morphology; got {type(data[name]).__name__}")
        elif not isinstance(data[name], type(value)):
            kind, found = type(value).__name__, type(data[name]).__name__
            raise ValueError(f"{name} must be a {kind}; got a {found}")
    for name, inside in data["regions"].items():
        _check_array(f"the region {name}", inside, (n,), "b")


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
    if isinstance(value, np.ndarray | jax.Array):
        refuse_array(name, np.asarray(value))
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
        return arrays.pop(inner)
    if kind == "jax":
        array = arrays.pop(inner)
        return jnp.asarray(array, None if same or array.dtype.kind != "f" else float)
    if kind in ("dict", "morphology"):
        out = {name: _rebuild(x, arrays, same) for name, x in inner.items()}
        return out if kind == "dict" else Morphology(**out)
    parts = {"list": list, "tuple": tuple}[kind]
    return parts(_rebuild(x, arrays, same) for x in inner)


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
        raise SavedFileError(f"{path}: this version of jaxdend has no channel {name!r}")
    if cls is None:
        raise SavedFileError(
            f"{path} holds the mechanism {name!r}, which is not jaxdend's own: import its class "
            f"and pass it, load_cell(path, channels=[{name}])"
        )
    wanted, found = {f.name for f in dataclasses.fields(cls)}, set(item["fields"])
    if wanted != found:
        raise SavedFileError(
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
