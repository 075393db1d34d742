"""Model files: a cell, its inputs and one simulation, in TOML.

```toml
[morphology]
file = "cell.swc"                 # beside this file; or procedural = "pyramidal", seed = 0
[cell]
max_length = 20.0                 # µm; or d_lambda = 0.1
[[insert]]
channel = "HH"
where = ["soma", "axon"]          # everywhere if left out
gnabar = 0.12
[[stimulus]]
kind = "Step"
at = {region = "soma"}
onset = 5.0
duration = 30.0
amplitude = 0.5
[simulate]
t1 = 40.0
record = ["soma", {region = "apical", distance = 300.0}]
```

A place is the name of a region or section, a compartment number, or a table that says where.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.errors import JaxRuntimeError
from jaxtyping import ArrayLike, Float

from jaxdend._errors import ConfigError, MorphologyError
from jaxdend.cell import Cell
from jaxdend.config import registry
from jaxdend.config.schema import (
    Key,
    Place,
    Table,
    check_table,
    check_tables,
    integer,
    names,
    nearest,
    number,
    number_or,
    places,
    read_toml,
    text,
)
from jaxdend.inputs import AbstractInput
from jaxdend.rest import rest
from jaxdend.simulate import Record, simulate
from jaxdend.solvers import BackwardEuler, CrankNicolson
from jaxdend.traces import Traces
from jaxdend.units import ZERO_CELSIUS

SECTIONS = ("morphology", "cell", "set", "insert", "stimulus", "synapse", "simulate")
SOLVERS = {"CrankNicolson": CrankNicolson, "BackwardEuler": BackwardEuler}

_DRAWS = 10**8  # random numbers that an input can hold
_STEPS = 2**31 - 1  # of a simulation: they are counted with 32 bits

_MEMBRANE = {
    "cm": Key(number("µF/cm²", above=0.0)),
    "ra": Key(number("Ω·cm", above=0.0)),
}
CELL = {
    "max_length": Key(number("µm", above=0.0)),
    "d_lambda": Key(number(above=0.0)),
    "cm": Key(number("µF/cm²", above=0.0), default=1.0),
    "ra": Key(number("Ω·cm", above=0.0), default=100.0),
    "celsius": Key(number("°C", above=-ZERO_CELSIUS), default=6.3),
}
_SIMULATE = {
    "t1": Key(number("ms"), required=True),
    "t0": Key(number("ms"), default=0.0),
    "dt": Key(number("ms", above=0.0), default=0.025),
    "v0": Key(number_or("rest", unit="mV"), default=-65.0),
    "solver": Key(text(SOLVERS), default="CrankNicolson"),
    "precision": Key(text(("float64", "float32")), default="float64"),
    "save_every": Key(integer(least=1), default=1),
    "record": Key(places(), default=[{"region": "soma"}]),
}


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A checked model file: `resolved` holds every key, defaults filled in."""

    file: Path
    resolved: Table

    @classmethod
    def read(cls, file: str | Path) -> "ModelFile":
        """Read and check a model file.

        **Raises:** `ConfigError` naming the file, the key and what it takes.
        """
        file = Path(file)
        return cls.check(file, read_toml(file))

    @classmethod
    def check(cls, file: Path, tables: Table) -> "ModelFile":
        """Check tables that stand in `file`."""
        top = Place(file)
        for name in tables:
            if name not in SECTIONS:
                raise top.error(f"unknown table [{name}]; {nearest(name, SECTIONS)}")
        for name in ("morphology", "simulate"):
            if name not in tables:
                raise top.error(f"table [{name}] is missing")
        resolved: Table = {"morphology": _check_morphology(top, tables["morphology"])}
        resolved["cell"] = _check_cell(top, tables.get("cell", {}))
        checks = {
            "set": lambda place, item: check_table(
                place, item, {"where": Key(names(), required=True), **_MEMBRANE}
            ),
            "insert": _check_insert,
            "stimulus": lambda place, item: _check_input(place, item, registry.STIMULI),
            "synapse": lambda place, item: _check_input(place, item, registry.SYNAPSES),
        }
        for name, check in checks.items():
            if name in tables:
                items = check_tables(top.within(f"[[{name}]]"), tables[name])
                resolved[name] = [check(_item(top, name, i), x) for i, x in enumerate(items)]
        resolved["simulate"] = _check_simulate(top.within("[simulate]"), tables["simulate"])
        return cls(file, resolved)

    @property
    def precision(self) -> str:
        """The precision that the file asks for, `"float64"` or `"float32"`."""
        return self.resolved["simulate"]["precision"]

    def build(self) -> "Experiment":
        """The cell, the inputs and the recording sites, in JAX's current precision."""
        top = Place(self.file)
        base = self._base()
        cell = Experiment(self, base, (), (), ()).neuron({})
        inputs = []
        for name, i, item in self.inputs():
            sites = _sites(_item(top, name, i), cell, item["at"])
            inputs.append(self._input(name, i, item, np.asarray(sites), {}))
        record = self.resolved["simulate"]["record"]
        sites = _sites(top.within("[simulate] record"), cell, record)
        labels = tuple(describe(where) for where in record)
        return Experiment(self, base, tuple(inputs), tuple(sites), labels)

    def inputs(self) -> list[tuple[str, int, Table]]:
        """The name of the table, the number in it from 0 and the keys of every input."""
        names = ("stimulus", "synapse")
        return [(x, i, item) for x in names for i, item in enumerate(self.resolved.get(x, []))]

    def _input(
        self, name: str, i: int, item: Table, sites: ArrayLike, theta: Mapping[str, ArrayLike]
    ) -> AbstractInput:
        """Builds one input of the file, with what `theta` has for it."""
        path = f"{name}.{i + 1}."
        arguments = {k: v for k, v in item.items() if k not in ("kind", "at", "preset")}
        with located(_item(Place(self.file), name, i)):
            arguments = {k: _array(v) for k, v in arguments.items()}
            given = {k.removeprefix(path): v for k, v in theta.items() if k.startswith(path)}
            sites = given.pop("at", sites)
            known = registry.STIMULI | registry.SYNAPSES
            return known[item["kind"]](site=sites, **arguments | given)

    def _base(self) -> Cell:
        """Builds the bare cell, without any mechanism."""
        top, tree = Place(self.file), dict(self.resolved["morphology"])
        with located(top.within("[morphology]")):
            if "file" in tree:
                morph = registry.read_source(tree["file"])
            else:
                morph = registry.procedural(tree.pop("procedural"))(**tree)
        with located(top.within("[cell]")):
            cell = Cell(morph, **self.resolved["cell"])
        for i, item in enumerate(self.resolved.get("set", [])):
            place = _item(top, "set", i)
            values = {k: v for k, v in item.items() if k != "where"}
            with located(place):
                cell = cell.set(mask(cell, item["where"]), **values)
        return cell


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a model file describes, built and ready to run."""

    model: ModelFile
    base: Cell  # without mechanisms
    inputs: tuple[AbstractInput, ...]
    sites: tuple[int, ...]  # recorded compartments
    labels: tuple[str, ...]  # one for each of them

    def neuron(self, theta: Mapping[str, ArrayLike]) -> Cell:
        """The cell with mechanisms; `theta` maps paths such as `"HH.gnabar"` to other values.

        A pure function of `theta`: `jax.jit`, `jax.grad` and `jax.vmap` work on it.
        """
        cell = self.base
        settings: Any = {k.split(".")[1]: v for k, v in theta.items() if k.startswith("cell.")}
        if settings:
            cell = cell.set(**settings)
        for i, item in enumerate(self.model.resolved.get("insert", [])):
            values = {k: v for k, v in item.items() if k not in ("channel", "where", "name")}
            for name in values:
                values[name] = theta.get(f"{insert_name(item)}.{name}", values[name])
            with located(_item(Place(self.model.file), "insert", i)):
                mechanism = registry.CHANNELS[item["channel"]](**values)
                cell = cell.insert(mechanism, mask(cell, item.get("where")))
        return cell

    def drive(self, theta: Mapping[str, ArrayLike]) -> tuple[AbstractInput, ...]:
        """The inputs; `theta` maps paths such as `"stimulus.1.amplitude"` to other values.

        `"synapse.2.at"` is a compartment, or one for every place of that input. As pure as
        `neuron`: sites and numbers may be traced.
        """
        made = zip(self.model.inputs(), self.inputs, strict=True)
        return tuple(
            self.model._input(name, i, item, known.site, theta) for (name, i, item), known in made
        )

    def times(self) -> Float[np.ndarray, " t"]:
        """The times in ms of the samples that `simulate` saves."""
        keys = self.model.resolved["simulate"]
        spacing = keys["dt"] * keys["save_every"]
        count = round((keys["t1"] - keys["t0"]) / spacing)
        return keys["t0"] + spacing * np.arange(count + 1)

    def simulate(
        self,
        cell: Cell | None = None,
        inputs: tuple[AbstractInput, ...] | None = None,
        *,
        record: Record = None,
        progress: bool = False,
        throw: bool = True,
    ) -> Traces:
        """Run the simulation that `[simulate]` describes, on `neuron({})` or on `cell`.

        **Arguments:** `inputs`, what `drive` made, instead of the file's; `record`, instead of
        the sites of the file, as `jaxdend.simulate` takes it.

        **Raises:** `ConfigError` for times and steps that do not fit; `SimulationError`.
        """
        cell = self.neuron({}) if cell is None else cell
        keys = self.model.resolved["simulate"]
        with located(Place(self.model.file, "[simulate]")):
            return simulate(
                cell,
                self.inputs if inputs is None else inputs,
                t0=keys["t0"],
                t1=keys["t1"],
                dt=keys["dt"],
                v0=rest(cell, throw=throw) if keys["v0"] == "rest" else keys["v0"],
                solver=SOLVERS[keys["solver"]](),
                save_every=keys["save_every"],
                record=np.asarray(self.sites) if record is None else record,
                progress=progress,
                throw=throw,
            )


@contextmanager
def precision(name: str) -> Iterator[None]:
    """A context in which JAX computes in `"float64"` or `"float32"`."""
    with jax.enable_x64(name == "float64"):
        yield


def insert_name(item: Table) -> str:
    """The name by which parameter paths call an `[[insert]]` table."""
    return item.get("name", item["channel"])


def describe(where: Table) -> str:
    """A short label for a place on the cell."""
    if "site" in where:
        return f"site {where['site']}"
    if "section" in where:
        return f"{where['section']}({where.get('x', 0.5):g})"
    if "xyz" in where:
        return "({:g}, {:g}, {:g})".format(*where["xyz"])
    distance = f" {where['distance']:g} µm" if "distance" in where else ""
    return where.get("region", "") + distance


def mask(cell: Cell, regions: list[str] | None) -> np.ndarray | None:
    """`(n,)` bool, the union of the regions; `None` for everywhere."""
    if regions is None:
        return None
    return np.any([cell.region(name) for name in regions], axis=0)


@contextmanager
def located(place: Place) -> Iterator[None]:
    """Turn what the library objects to into an error about a place in the file."""
    try:
        yield
    except ConfigError:
        raise
    except MorphologyError as error:
        raise place.error(str(error)) from error
    except (MemoryError, JaxRuntimeError) as error:
        if isinstance(error, JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise place.error(f"it takes more memory than there is: {error}") from error
    except (ValueError, TypeError, OSError, OverflowError) as error:
        raise place.error(str(error)) from error


def beside(place: Place, file: str) -> str:
    """The full path of a file that is named relative to the configuration file."""
    return str((place.file.parent / file).resolve())


def _item(top: Place, name: str, i: int) -> Place:
    return top.within(f"[[{name}]] {i + 1}")


def _check_simulate(place: Place, table: Any) -> Table:
    out = check_table(place, table, _SIMULATE)
    steps = (out["t1"] - out["t0"]) / out["dt"]
    if not steps <= _STEPS:
        raise place.error(
            f"t1: {steps:.3g} steps of dt = {out['dt']:g} ms from t0 = {out['t0']:g} to t1 = "
            f"{out['t1']:g} ms are more than {_STEPS}"
        )
    return out


def _check_morphology(top: Place, table: Any) -> Table:
    place = top.within("[morphology]")
    grown = table.get("procedural") if isinstance(table, dict) else None
    if grown is None:
        keys = {"file": Key(text()), "procedural": Key(text(registry.PROCEDURAL))}
        out = check_table(place, table, keys)
        if not out:
            raise place.error('needs file = "cell.swc" or procedural = "pyramidal"')
        if not out["file"].startswith(registry.EXAMPLE_PREFIX):
            out["file"] = beside(place, out["file"])
        return out
    keys = {"procedural": Key(text(registry.PROCEDURAL), required=True)}
    check_table(place, {"procedural": grown}, keys)
    return check_table(place, table, keys | registry.call_keys(registry.procedural(grown)))


def _check_cell(top: Place, table: Any) -> Table:
    place = top.within("[cell]")
    out = check_table(place, table, CELL)
    if "max_length" in out and "d_lambda" in out:
        raise place.error("takes max_length or d_lambda, not both")
    if "max_length" not in out and "d_lambda" not in out:
        out = {"max_length": 20.0, **out}
    return out


def _check_insert(place: Place, table: Any) -> Table:
    channel = _named(place, table, "channel", registry.CHANNELS)
    keys = {
        "channel": Key(text(), required=True),
        "name": Key(_plain_name),
        "where": Key(names()),
        **registry.mechanism_keys(channel),
    }
    return check_table(place, table, keys)


def _check_input(place: Place, table: Any, known: Mapping[str, type]) -> Table:
    kind = _named(place, table, "kind", known)
    keys = {
        "kind": Key(text(), required=True),
        "at": Key(places(), required=True),
        **registry.input_keys(kind, table.get("preset")),
    }
    out = check_table(place, table, keys)
    duration, interval = out.get("duration"), out.get("interval")
    if (
        isinstance(duration, int | float)
        and isinstance(interval, int | float)
        and duration > _DRAWS * abs(interval)
    ):
        raise place.error(
            f"duration: {duration:g} ms are more than {_DRAWS} draws, one every interval = "
            f"{interval:g} ms"
        )
    return out


def _named(place: Place, table: Any, key: str, known: Mapping[str, Any]) -> str:
    """The value of `key`, checked before the other keys, which depend on it."""
    if not isinstance(table, dict):
        raise place.error(f"expected a table, got {table!r}")
    chosen = {k: v for k, v in table.items() if k == key}
    return check_table(place, chosen, {key: Key(text(known), required=True)})[key]


def _plain_name(value: Any) -> str:
    if not isinstance(value, str) or not value.replace("_", "a").isalnum() or value == "cell":
        raise ValueError('expected a name of letters, digits and "_", other than "cell"')
    return value


def _sites(place: Place, cell: Cell, where: list[Table]) -> list[int]:
    found = []
    for item in where:
        with located(place):
            site = item["site"] if "site" in item else cell.locate(**item)
            if not 0 <= site < cell.n:
                raise ValueError(f"site {site} is outside 0..{cell.n - 1} of this cell")
        found.append(int(site))
    return found


def _array(value: Any) -> Any:
    """Lists become arrays; a ragged one is an error of the file."""
    return np.asarray(value, dtype=float) if isinstance(value, list) else value
