"""Sweep files: a model file, the axes to vary, what to keep of every point, and how to run.

```toml
model = "model.toml"              # or the tables of a model file, here

[[axis]]
path = "HH.gnabar"                # a parameter; or cell.ra, stimulus.1.amplitude, synapse.1.weight
range = [0.05, 0.2]
points = 20                       # with scale = "log" evenly on a log scale; or values = [...]
scale = "log"
[[axis]]
path = "synapse.1.at"             # where an input sits; .delay: when its events come
region = "apical"
values = [50.0, 100.0, 150.0]     # µm from the soma
[[axis]]
path = "morphology.file"          # anything else in the model: one program for each value
values = ["a.swc", "b.swc"]
[design]
kind = "grid"                     # or "sobol" or "random", with points and a seed, for the ranges;
                                  # or "table", with file = "points.csv" for axes without values
[[output]]
kind = "spike_times"              # or voltage, spike_count, peak, …, or a feature of fitting
most = 10
[run]
memory = "2GB"                    # of a chunk; found out if left out
```
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdend._errors import ConfigError
from jaxdend.config.axes import change, check_axes, substituted
from jaxdend.config.model import SECTIONS, ModelFile, beside, describe, located
from jaxdend.config.outputs import DEFAULT, attributes, check_outputs, output
from jaxdend.config.schema import (
    Key,
    Place,
    Table,
    check_table,
    integer,
    nearest,
    read_toml,
    text,
)
from jaxdend.dynamics import Model, State
from jaxdend.fitting import Parameter
from jaxdend.solvers.march import in_bytes
from jaxdend.solvers.stepwise import LIMIT
from jaxdend.sweep import FAILED, OK, Design, grid, random, read_table, refuse_names, sobol

Point = Mapping[str, Array]
Function = Callable[[Point], dict[str, Array]]  # one point -> what to keep of it

OWN = ("model", "axis", "design", "output", "run")
_DESIGN = {
    "kind": Key(text(("grid", "random", "sobol", "table")), default="grid"),
    "points": Key(integer(least=1)),
    "seed": Key(integer(least=0)),
    "file": Key(text()),
}
_DRAWN = ("random", "sobol")


def _memory(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('expected bytes, as a number or such as "2GB"')
    try:
        return int(in_bytes(value))
    except OverflowError:
        raise ValueError('expected bytes, as a number or such as "2GB"') from None


_RUN = {
    "chunk": Key(integer(least=1, most=2**31 - 1)),
    "memory": Key(_memory),
    "precision": Key(text(("float64", "float32"))),
    "store": Key(text()),
}


@dataclasses.dataclass(frozen=True)
class SweepFile:
    """A checked sweep file: `resolved` holds every key, defaults filled in, the model's included.

    `design` says which points there are, `make` what to compute of one; `jaxdend.sweep.run_sweep`
    takes both.
    """

    file: Path
    model: ModelFile
    tables: Table  # of the model, as they were written
    resolved: Table
    design: Design

    @classmethod
    def read(cls, file: str | Path) -> "SweepFile":
        """Read and check a sweep file and the model file that it names.

        **Raises:** `ConfigError` naming the file, the key and what it takes.
        """
        file = Path(file)
        return cls.check(file, read_toml(file))

    @classmethod
    def check(cls, file: Path, tables: Table) -> "SweepFile":
        """Check tables that stand in `file`."""
        top = Place(file)
        for name in tables:
            if name not in OWN + SECTIONS:
                raise top.error(f"unknown table [{name}]; {nearest(name, OWN + SECTIONS)}")
        source, written = _model_tables(top, tables)
        run = check_table(top.within("[run]"), tables.get("run", {}), _RUN)
        if "precision" in run and isinstance(written.get("simulate"), dict):
            written = substituted(written, "simulate.precision", run["precision"])
        model = ModelFile.check(source, written)
        run["precision"] = model.precision
        if "store" in run:
            run["store"] = beside(top, run["store"])
        resolved = dict(model.resolved)
        resolved["axis"] = check_axes(top, tables.get("axis", []), model)
        settings = check_table(top.within("[design]"), tables.get("design", {}), _DESIGN)
        design = _design(top, settings, resolved["axis"])
        resolved["design"] = settings
        recorded = len(model.resolved["simulate"]["record"])
        resolved["output"] = check_outputs(top, tables.get("output", DEFAULT), recorded)
        with located(top):
            names = [item["name"] for item in resolved["output"]]
            refuse_names(dict.fromkeys(names, 0), [axis.name for axis in design.axes])
        resolved["run"] = run
        checked = cls(file, model, written, resolved, design)
        for i, item in enumerate(resolved["axis"]):
            if item["fixed"]:
                for value in item["values"]:
                    try:
                        checked.variant({item["name"]: value})
                    except ConfigError as error:
                        at = top.within(f"[[axis]] {i + 1}")
                        raise at.error(f"values: {value!r}: {error}") from None
        return checked

    @property
    def precision(self) -> str:
        """The precision that the file asks for, `"float64"` or `"float32"`."""
        return self.model.precision

    def variant(self, labels: Mapping[str, Any]) -> ModelFile:
        """The model with the fixed axes at `labels`.

        **Raises:** `ConfigError` for values that the model does not take.
        """
        tables = self.tables
        for item in self.resolved["axis"]:
            if item["name"] in labels:
                for path in item["path"]:
                    tables = substituted(tables, path, labels[item["name"]])
        return ModelFile.check(self.model.file, tables)

    def make(self, labels: Mapping[str, Any]) -> Function:
        """The pure function of one point, for one group of the design.

        **Arguments:** `labels`, name -> value of every fixed axis, as in `design.groups`.

        **Returns:** a function of name -> number of the other axes, which gives name -> array of
        the outputs, and `status`: 1, or 3 where the voltage was not finite or passed 1000 mV.
        Compiles once: all numbers, sites included, are traced.
        """
        model = self.variant(labels)
        experiment = model.build()
        cell, top = experiment.neuron({}), Place(self.file)
        changes = [
            (item["name"], change(item, model, cell, top.within(f"[[axis]] {i + 1}")))
            for i, item in enumerate(self.resolved["axis"])
            if not item["fixed"]
        ]
        kept = [
            (item["name"], item["record"] - 1, output(item)) for item in self.resolved["output"]
        ]
        record = {"sites": np.asarray(experiment.sites), "extent": _extent}

        def f(point: Point) -> dict[str, Array]:
            theta: dict[str, Any] = {}
            for name, changed in changes:
                theta |= changed(point[name])
            traces = experiment.simulate(
                experiment.neuron(theta), experiment.drive(theta), record=record, throw=False
            )
            last = jnp.max(jnp.abs(traces.final.v))
            good = (jnp.max(traces["extent"]) <= LIMIT) & (last <= LIMIT)
            voltages = traces["sites"]
            out = {name: keep(traces.ts, voltages[:, r]) for name, r, keep in kept}
            return {**out, "status": jnp.where(good, OK, FAILED)}

        return f

    def attributes(self) -> dict[str, dict[str, Any]]:
        """What the store says of every axis and output, by name: units, description and more."""
        out: dict[str, dict[str, Any]] = {}
        for item in self.resolved["axis"]:
            about: dict[str, Any] = {"long_name": ", ".join(item["path"])}
            if item["relative"]:
                about["long_name"] += ", times what the model has"
            if "region" in item:
                about["long_name"] += f": distance from the soma in {item['region']}"
            if "places" in item:
                about["places"] = item["places"]
            if item["unit"]:
                about["units"] = item["unit"]
            out[item["name"]] = about
        keys = self.model.resolved["simulate"]
        for item in self.resolved["output"]:
            label = describe(keys["record"][item["record"] - 1])
            out[item["name"]] = attributes(item, label, keys)
        return out

    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """The shape and type of the outputs of one point of the first group, by name."""
        f = self.make(self.design.groups[0][0])
        first = {k: jnp.asarray(x[0]) for k, x in self.design.points([0]).items()}
        return jax.eval_shape(f, first)


def _model_tables(top: Place, tables: Table) -> tuple[Path, Table]:
    """The file that the model stands in, and its tables."""
    own = {k: v for k, v in tables.items() if k not in OWN}
    if "model" not in tables:
        return top.file, own
    if own:
        raise top.error(f"takes model = or the model's own tables, not both: {', '.join(own)}")
    name = check_table(top, {"model": tables["model"]}, {"model": Key(text())})["model"]
    file = top.file.parent / name
    return file, read_toml(file)


def _design(top: Place, settings: Table, axes: list[Table]) -> Design:
    """The points: fixed axes, then listed values, then what is drawn or read, fastest last."""
    place, kind = top.within("[design]"), settings["kind"]
    if kind in _DRAWN:
        if "points" not in settings:
            raise place.error(f"key 'points' is missing: how many a {kind} design has")
        settings.setdefault("seed", 0)
    for key, kinds in (("points", _DRAWN), ("seed", _DRAWN), ("file", ("table",))):
        if key in settings and kind not in kinds:
            raise place.error(f"{key}: belongs to a design of kind {' or '.join(kinds)}")
    listed, units, drawn = {}, {}, {}
    for i, item in enumerate(axes):
        at, name = top.within(f"[[axis]] {i + 1}"), item["name"]
        if "values" in item or "points" in item:
            with located(at):
                listed[name], units[name] = _list(item), item["unit"]
        elif "range" in item and kind in _DRAWN:
            drawn[name] = Parameter(*item["range"], scale=item["scale"], unit=item["unit"])
        elif "range" in item and kind == "grid":
            raise at.error("key 'points' is missing: into how many a grid divides the range")
        elif kind != "table":
            raise at.error("takes values = [...], or range = [low, high] with points = n")
        else:
            drawn[name] = None
    parts = []
    fixed = [item["name"] for item in axes if item["fixed"]]
    with located(place):
        if listed:
            parts.append(grid(listed, units=units, fixed=fixed))
        if kind in _DRAWN and not drawn:
            raise place.error(f"a {kind} design needs an axis with a range and without points")
        if kind in _DRAWN:
            draw = sobol if kind == "sobol" else random
            parts.append(draw(drawn, settings["points"], settings["seed"]))
        if kind == "table":
            parts.append(_read(top, settings, drawn))
    design = parts[0]
    for part in parts[1:]:
        design = design * part
    return design


def _list(item: Table) -> Any:
    """The values of an axis, whole numbers only where they number something."""
    if "values" in item:
        numbers = not item["fixed"] and "places" not in item
        whole = numbers and all(path.endswith(".seed") for path in item["path"])
        return [float(x) for x in item["values"]] if numbers and not whole else item["values"]
    low, high = item["range"]
    spaced = np.geomspace if item["scale"] == "log" else np.linspace
    return spaced(low, high, item["points"])


def _read(top: Place, settings: Table, drawn: Table) -> Design:
    """The points in the file of `[design]`, whose columns are the axes without values."""
    place = top.within("[design]")
    if "file" not in settings:
        raise place.error("key 'file' is missing: a table of points, .csv or .npz")
    settings["file"] = beside(top, settings["file"])
    with located(place.within("[design] file")):
        read = read_table(settings["file"])
    if set(read.names) != set(drawn):
        raise place.error(
            f"file: its columns are {', '.join(read.names)}; "
            f"the axes without values are {', '.join(drawn) or 'none'}"
        )
    return read


def _extent(t: Array, y: State, model: Model) -> Array:
    """The largest absolute voltage of the cell, NaN where one is."""
    del t, model
    return jnp.max(jnp.abs(y.v))
