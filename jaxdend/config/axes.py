"""What the `[[axis]]` tables of a sweep file vary: checked, and turned into values for a model.

A path is that of a parameter (`HH.gnabar`, `cell.ra`), of a number of an input
(`stimulus.1.amplitude`, `synapse.2.weight`), `.at` or `.delay` of an input, or anything else in the
tables of the model (`morphology.file`, `simulate.dt`), which then takes a program for each value.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend.cell import Cell
from jaxdend.config import registry
from jaxdend.config.model import CELL, ModelFile, describe, insert_name, located
from jaxdend.config.schema import (
    Key,
    Place,
    Table,
    check_table,
    check_tables,
    flag,
    integer,
    names,
    nearest,
    pair,
    places,
    text,
)
from jaxdend.sweep import refuse_name
from jaxdend.synapses import AbstractSynapse

Change = Callable[[Array], dict[str, Any]]  # value of an axis -> paths of a model and their values

STRUCTURE = ("morphology", "cell", "insert", "stimulus", "synapse", "simulate")
DISTANCES = 0.5  # µm: to what a distance that is drawn from a range is rounded
_LISTED = 10**7  # points of one axis, which are listed
_UNITS = {  # of the numbers of inputs
    **dict.fromkeys(["amplitude", "start", "stop", "offset", "mean", "std"], "nA"),
    **dict.fromkeys(["onset", "duration", "period", "width", "pulse"], "ms"),
    **dict.fromkeys(["tau", "tau1", "tau2", "tau_rise", "tau_decay"], "ms"),
    **{"weight": "µS", "e_rev": "mV", "mg": "mM", "transmitter": "mM"},
    **{"frequency": "Hz", "phase": "rad", "rs": "MΩ"},
}


def _values(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of numbers or of texts")
    for item in value:
        if not isinstance(item, int | float | str) or isinstance(item, bool):
            raise ValueError("expected a list of numbers or of texts")
    return value


_AXIS = {
    "path": Key(names(), required=True),
    "name": Key(text()),
    "values": Key(_values),
    "range": Key(pair()),
    "points": Key(integer(least=1, most=_LISTED)),
    "scale": Key(text(("linear", "log")), default="linear"),
    "relative": Key(flag(), default=False),
    "fixed": Key(flag(), default=False),
    "region": Key(text()),
    "places": Key(places()),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """What one path of an axis leads to in the model."""

    kind: str  # "parameter", "number", "site", "delay" or "structure"
    unit: str = ""
    check: Callable[[Any], Any] | None = None  # of a value
    base: Any = None  # what the model file has there, if numbers


def check_axes(top: Place, value: Any, model: ModelFile) -> list[Table]:
    """The `[[axis]]` tables with names, units and whether they are fixed filled in.

    **Raises:** `ConfigError` naming the file, the axis and the key.
    """
    tables = check_tables(top.within("[[axis]]"), value)
    if not tables:
        raise top.error("names no [[axis]] to vary")
    out: list[Table] = []
    for i, table in enumerate(tables):
        place = top.within(f"[[axis]] {i + 1}")
        item = check_table(place, table, _AXIS)
        item.setdefault("name", item["path"][0])
        with located(place):
            refuse_name(item["name"])
        if any(item["name"] == other["name"] for other in out):
            raise place.error(f"name {item['name']!r} is taken; give each axis its own name")
        taken = {path for other in out for path in other["path"]}
        for path in item["path"]:
            if path in taken or item["path"].count(path) > 1:
                raise place.error(f"path {path!r} is varied already")
        _check_axis(place, item, [find_target(place, path, model) for path in item["path"]])
        out.append(item)
    return out


def find_target(place: Place, path: str, model: ModelFile) -> Target:
    """What there is at `path`.

    **Raises:** `ConfigError` with the nearest path, where there is nothing.
    """
    known = targets(model)
    if path in known:
        return known[path]
    head, *rest = path.split(".")
    if head in STRUCTURE and _reaches(model.resolved, head, rest):
        return Target("structure")
    raise place.error(f"path: nothing to vary at {path!r}; " + nearest(path, known))


def targets(model: ModelFile) -> dict[str, Target]:
    """Every number of a model that varies without another program, as a target by its path."""
    out = {}
    for item in model.resolved.get("insert", []):
        keys = registry.mechanism_keys(item["channel"])
        for name, unit in registry.parameters(item["channel"]).items():
            path = f"{insert_name(item)}.{name}"
            out[path] = Target("parameter", unit, keys[name].check, item.get(name))
    for name, unit in (("cm", "µF/cm²"), ("ra", "Ω·cm"), ("celsius", "°C")):
        out[f"cell.{name}"] = Target(
            "parameter", unit, CELL[name].check, model.resolved["cell"][name]
        )
    for table, i, item in model.inputs():
        path = f"{table}.{i + 1}"
        for name, key in registry.input_keys(item["kind"], item.get("preset")).items():
            base = item.get(name)
            if isinstance(base, int | float | list) and not isinstance(base, bool):
                out[f"{path}.{name}"] = Target("number", _UNITS.get(name, ""), key.check, base)
        out[f"{path}.at"] = Target("site", base=item["at"])
        if table == "synapse":
            out[f"{path}.delay"] = Target("delay", "ms", base=item["times"])
    return out


def change(item: Table, model: ModelFile, cell: Cell, place: Place) -> Change:
    """A pure function from the value of an axis to what it changes in `model`.

    **Arguments:** `item`, a checked axis that is not fixed; `cell`, on which places are looked up.

    **Raises:** `ConfigError` for places that the cell does not have.
    """
    parts = []
    for path in item["path"]:
        target = find_target(place, path, model)
        if target.kind == "site":
            parts.append(_move(path, item, cell, place))
        elif target.kind == "delay":
            parts.append(_shift(path, target, model))
        elif item["relative"]:
            base = np.asarray(target.base, float)
            parts.append(lambda x, path=path, base=base: {path: x * base})
        else:
            parts.append(lambda x, path=path: {path: x})

    def changed(x: Array) -> dict[str, Any]:
        return {path: value for part in parts for path, value in part(x).items()}

    return changed


def substituted(tables: Table, path: str, value: Any) -> Table:
    """Copies the tables of a model with `value` at `path`."""
    head, *rest = path.split(".")
    if len(rest) == 1:
        return tables | {head: dict(tables.get(head, {})) | {rest[0]: value}}
    items = tables[head] if isinstance(tables[head], list) else [tables[head]]
    at = int(rest[0]) - 1
    return tables | {head: [x | {rest[1]: value} if i == at else x for i, x in enumerate(items)]}


def _reaches(resolved: Table, head: str, rest: list[str]) -> bool:
    """Whether `head.rest` is `table.key` or `table.number.key` of the model."""
    inside = resolved.get(head)
    if isinstance(inside, dict):
        return len(rest) == 1
    if not isinstance(inside, list) or len(rest) != 2 or not rest[0].isdecimal():
        return False
    return 1 <= int(rest[0]) <= len(inside)


def _check_axis(place: Place, item: Table, found: list[Target]) -> None:
    """Refuse keys that do not go together; fill in what follows from the paths."""
    kinds = {target.kind for target in found}
    texts = any(isinstance(value, str) for value in item.get("values", []))
    if len(kinds & {"site", "structure", "delay"}) and len(kinds) > 1:
        raise place.error(f"path: {', '.join(item['path'])} cannot share their values")
    item["fixed"] = item["fixed"] or "structure" in kinds
    item["unit"] = "" if item["relative"] else found[0].unit
    if texts and not item["fixed"]:
        raise place.error(f"values: {item['path'][0]} takes numbers, got {item['values']!r}")
    if item["fixed"] and ("values" not in item or kinds & {"delay"}):
        raise place.error("an axis that takes a program for each value needs values = [...]")
    if "site" in kinds:
        return _check_site(place, item, found)
    for key in ("region", "places"):
        if key in item:
            raise place.error(f"{key} belongs to a path that ends in .at")
    given = [key for key in ("values", "range") if key in item]
    if len(given) > 1 or ("points" in item and "range" not in item):
        raise place.error("takes values = [...], or range = [low, high] with points = n, not both")
    if item["scale"] == "log" and "range" in item and item["range"][0] <= 0:
        raise place.error(f"range: a log scale needs low > 0, got {item['range']!r}")
    for path, target in zip(item["path"], found, strict=True):
        _check_values(place, item, path, target)
    return None


def _check_values(place: Place, item: Table, path: str, target: Target) -> None:
    if item["relative"] and (target.base is None or target.kind not in ("parameter", "number")):
        raise place.error(f"relative: the model has no number at {path} to multiply")
    if target.kind == "number" and isinstance(target.base, list) and not item["relative"]:
        raise place.error(
            f"path: {path} is a list in the model; vary it as a whole with relative = true, whose "
            "values multiply it"
        )
    if target.check is None or item["relative"]:
        return
    for value in item.get("values", item.get("range", [])):
        try:
            target.check(value)
        except ValueError as error:
            raise place.error(f"values of {path}: {error}, got {value!r}") from None


def _check_site(place: Place, item: Table, found: list[Target]) -> None:
    if item["fixed"] or item["relative"]:
        raise place.error("a place varies without another program: leave out fixed and relative")
    for path, target in zip(item["path"], found, strict=True):
        if len(target.base) != 1:
            raise place.error(f"path: {path} has {len(target.base)} places; an axis moves one")
    if "places" in item:
        if extra := [key for key in ("values", "range", "points", "region") if key in item]:
            raise place.error(f"places stand alone, without {', '.join(extra)}")
        item["values"] = list(range(len(item["places"])))
        return
    if "region" not in item or not {"values", "range"} & set(item):
        raise place.error(
            'takes region = "apical" with values or a range of distances in µm, or '
            'places = [{region = "apical", distance = 100}, ...]'
        )
    item["unit"] = "µm"


def _move(path: str, item: Table, cell: Cell, place: Place) -> Change:
    """The compartment at a distance, or that of the place of a number."""
    if "places" in item:
        with located(place):
            found = [x["site"] if "site" in x else cell.locate(**x) for x in item["places"]]
            for site, where in zip(found, item["places"], strict=True):
                if not 0 <= site < cell.n:
                    raise ValueError(f"{describe(where)} is outside 0..{cell.n - 1} of this cell")
        return lambda x: {path: jnp.asarray(found)[jnp.asarray(x, int)]}
    if "values" in item:
        knots = np.unique(np.asarray(item["values"], float))
    else:
        low, high = item["range"]
        knots = np.linspace(low, high, int(np.ceil((high - low) / DISTANCES)) + 1)
    with located(place):
        sites = [cell.locate(item["region"], distance=float(d)) for d in knots]
    middle = (knots[1:] + knots[:-1]) / 2
    return lambda x: {path: jnp.asarray(sites)[jnp.searchsorted(jnp.asarray(middle), x)]}


def _shift(path: str, target: Target, model: ModelFile) -> Change:
    """All events of a group later by the same time."""
    start, number, _ = path.split(".")
    times = np.asarray(target.base, float)
    item = model.resolved[start][int(number) - 1]
    extra: Mapping[str, Any] = {}
    if issubclass(registry.SYNAPSES[item["kind"]], AbstractSynapse):
        events = np.broadcast_to(times, (len(item["at"]), times.shape[-1]) if times.ndim else (1,))
        crowd = _crowd(events, model.resolved["simulate"]["dt"])
        extra = {f"{start}.{number}.max_per_step": crowd}
    return lambda x: {f"{start}.{number}.times": times + x, **extra}


def _crowd(times: np.ndarray, dt: float) -> int:
    """A bound on the events of a group within one step, wherever the steps lie."""
    row = np.sort(times[np.isfinite(times)])
    within = np.searchsorted(row, row + 1.01 * dt, side="right") - np.arange(len(row))
    return int(within.max(initial=1))
