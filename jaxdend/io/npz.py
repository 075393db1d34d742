"""Traces in one `.npz` file: plain arrays and a description of how they hang together."""

import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdend.dynamics import State
from jaxdend.files import complete, read_npz, refuse_array, write_npz
from jaxdend.traces import Traces

_FORMAT, _WHAT = "jaxdend-traces-1", "traces file"


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

    **Raises:** `FileNotFoundError`; `SavedFileError` for a file that is cut short, damaged or
    something else.
    """
    header, arrays = read_npz(path, _WHAT, _FORMAT)
    with complete(path, _WHAT):
        fields = {name: _rebuild(node, arrays) for name, node in header["tree"].items()}
        if arrays:
            raise ValueError(f"the description does not mention {', '.join(arrays)}")
        traces = Traces(**fields)
        _check(traces)
    return traces


def _check(traces: Traces) -> None:
    """Refuse traces whose arrays do not fit together."""
    if not isinstance(traces.final, State) or not isinstance(traces.values, dict):
        raise ValueError("final must be a state, and values a dict")
    times, v, sites = (
        None if x is None else np.shape(x) for x in (traces.ts, traces.v, traces.sites)
    )
    if not times:
        raise ValueError(f"ts must be times (t,); got {times}")
    if v is not None and v[:-1] != times:
        raise ValueError(f"v must be {(*times, 'r')} for ts {times}; got {v}")
    if v is not None and sites is not None and sites[-1:] != v[-1:]:
        raise ValueError(f"sites must be {v[-1:]} for v {v}; got {sites}")


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
    try:
        refuse_array(name, array)
    except ValueError as error:
        raise ValueError(
            f"{name} cannot be saved: it is a {type(value).__name__}, neither an array of numbers "
            f"nor a dict, list or tuple of them: {error}"
        ) from None
    arrays[name] = array
    return name


def _rebuild(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    """What `_describe` described; the arrays that are used are taken out."""
    if node is None:
        return None
    if isinstance(node, str):
        return jnp.asarray(arrays.pop(node))
    ((kind, inner),) = node.items()
    if kind == "state":
        return State(**_rebuild(inner, arrays))
    if kind == "dict":
        return {name: _rebuild(x, arrays) for name, x in inner.items()}
    parts = {"list": list, "tuple": tuple}[kind]
    return parts(_rebuild(x, arrays) for x in inner)
