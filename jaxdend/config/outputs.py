"""What the `[[output]]` tables of a sweep file keep of every point."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from jaxdend.config import registry
from jaxdend.config.model import located
from jaxdend.config.schema import Key, Place, Table, check_table, check_tables, integer, text
from jaxdend.fitting import features
from jaxdend.sweep import OUTPUTS, refuse_name

DEFAULT = [{"kind": "peak"}, {"kind": "spike_count"}]
_LONGEST = 10**6  # numbers that an output can have
_WHOLE = ("every", "most", "max_spikes")
_UNITS = (
    {name.lower(): feature.unit for name, feature in features.FEATURES.items()}
    | {"mean_in_window": "mV", "sd_in_window": "mV"}
    | {name: unit for name, (_, unit) in OUTPUTS.items()}
)
_FEATURES = {name: getattr(features, name) for name in _UNITS if hasattr(features, name)}
KINDS: dict[str, Callable[..., Array]] = _FEATURES | {name: f for name, (f, _) in OUTPUTS.items()}


def check_outputs(top: Place, value: Any, sites: int) -> list[Table]:
    """The `[[output]]` tables with their names filled in; `sites` is how many are recorded.

    **Raises:** `ConfigError` naming the file, the output and the key.
    """
    out: list[Table] = []
    for i, table in enumerate(check_tables(top.within("[[output]]"), value)):
        place = top.within(f"[[output]] {i + 1}")
        chosen = {k: v for k, v in table.items() if k == "kind"} if isinstance(table, dict) else {}
        kind = check_table(place, chosen, {"kind": Key(text(KINDS), required=True)})["kind"]
        keys = {
            "kind": Key(text(), required=True),
            "name": Key(text()),
            "record": Key(integer(least=1), default=1),
        }
        item = check_table(place, table, keys | _arguments(KINDS[kind]))
        if item["record"] > sites:
            raise place.error(
                f"record: [simulate] record names {sites} sites, numbered from 1; "
                f"got {item['record']}"
            )
        item.setdefault("name", kind if item["record"] == 1 else f"{kind}_{item['record']}")
        with located(place):
            refuse_name(item["name"])
        if any(item["name"] == other["name"] for other in out):
            raise place.error(f"name {item['name']!r} is taken; give each output its own name")
        out.append(item)
    return out


def output(item: Table) -> Callable[[Array, Array], Array]:
    """The function of `ts (t,)` and `v (t,)` that a checked output stands for."""
    arguments = {k: v for k, v in item.items() if k not in ("kind", "name", "record")}
    return lambda ts, v: KINDS[item["kind"]](ts, v, **arguments)


def attributes(item: Table, label: str, keys: Table) -> dict[str, Any]:
    """What a store says of an output: units, a description, and the times of a trace.

    **Arguments:** `label`, where it was recorded; `keys`, the model's `[simulate]`.
    """
    function = KINDS[item["kind"]]
    first = (inspect.getdoc(function) or item["kind"]).split("\n\n")[0].replace("\n", " ")
    out: dict[str, Any] = {"long_name": first.removesuffix("."), "recorded_at": label}
    if unit := _UNITS[item["kind"]]:
        out["units"] = unit
    if item["kind"] == "voltage":
        out["first_ms"] = keys["t0"]
        out["step_ms"] = keys["dt"] * keys["save_every"] * item["every"]
    given = {
        k: str(v) if isinstance(v, float) and not math.isfinite(v) else v  # JSON has no infinity
        for k, v in item.items()
        if k not in ("kind", "name", "record")
    }
    return out | ({"arguments": given} if given else {})


def _arguments(function: Callable[..., Any]) -> dict[str, Key]:
    """What a file can give to an output, the options of the search for spikes included."""
    keys = registry.call_keys(function)
    found = inspect.signature(function).parameters.values()
    if any(x.kind is x.VAR_KEYWORD for x in found):
        keys = registry.call_keys(features.find_spikes) | keys
    keys = {name: key for name, key in keys.items() if name not in ("ts", "v")}
    for name in _WHOLE:
        if name in keys:
            keys[name] = Key(integer(least=1, most=_LONGEST), default=keys[name].default)
    return keys
