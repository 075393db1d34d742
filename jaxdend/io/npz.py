"""Traces in one `.npz` file: plain arrays and a description of how they hang together."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdend.dynamics import State
from jaxdend.files import write_npz
from jaxdend.traces import Traces

_FORMAT = "jaxdend-traces-1"


def save_traces(traces: Traces, path: str | os.PathLike[str]) -> Path:
    """Write `traces`, the final state included, to one `.npz` file, whole or not at all.

    `ts`, `v` and `sites` have those names in the file, so that anything that reads `.npz` can plot
    it. There is no pickle inside.

    **Returns:** the path written (`.npz` is appended where it is missing).

    **Raises:** `ValueError` for recordings that are not arrays or dicts, lists and tuples of them.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = {
        name: _describe(getattr(traces, name), name, arrays)
        for name in ("ts", "v", "sites", "values", "final")
    }
    return write_npz(path, {"format": _FORMAT, "tree": tree}, arrays)


def load_traces(path: str | os.PathLike[str]) -> Traces:
    """Read a file that `save_traces` wrote; numbers take JAX's present precision.

    **Raises:** `FileNotFoundError`; `ValueError` for a file that is cut short or something else.
    """
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            if header["format"] != _FORMAT:
                raise ValueError(f"format {header['format']!r} instead of {_FORMAT!r}")
            tree = {name: _rebuild(node, file) for name, node in header["tree"].items()}
            return Traces(**tree)
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a complete traces file: {error}") from error


def _describe(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Put the arrays of `value` into `arrays` and return how to put them together again."""
    if value is None:
        return None
    if isinstance(value, State):
        inner = {"v": value.v, "mechanisms": value.mechanisms, "inputs": value.inputs}
        return {"state": _describe(inner, name, arrays)}
    if isinstance(value, dict):
        return {"dict": {k: _describe(x, f"{name}.{k}", arrays) for k, x in value.items()}}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_describe(x, f"{name}.{i}", arrays) for i, x in enumerate(value)]}
    array = np.asarray(value)
    if array.dtype == object:
        raise ValueError(
            f"{name} cannot be saved: it is a {type(value).__name__}, neither an array nor a dict, "
            "list or tuple of arrays."
        )
    arrays[name] = array
    return name


def _rebuild(node: Any, file: Any) -> Any:
    if node is None:
        return None
    if isinstance(node, str):
        return jnp.asarray(file[node])
    ((kind, inner),) = node.items()
    if kind == "state":
        return State(**_rebuild(inner, file))
    if kind == "dict":
        return {name: _rebuild(x, file) for name, x in inner.items()}
    parts = [_rebuild(x, file) for x in inner]
    return parts if kind == "list" else tuple(parts)
