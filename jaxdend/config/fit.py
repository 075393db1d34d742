"""Fit files: a model file, the parameters to find, the target and the stages of the descent.

```toml
model = "model.toml"              # or the tables of a model file, here

[[parameter]]
path = "soma_hh.gnabar"           # the channel or name of an [[insert]], and what to vary there
bounds = [0.01, 0.5]
true = 0.12                       # only where the target is simulated
[target]
file = "recording.npz"            # t (t,) ms and v (t, r) mV; or .csv, .nwb; else simulated
[fit]
starts = 10
[[stage]]
loss = "smoothed_rms"
steps = 150
[[stage]]                         # from the best points of the stage before
loss = "mse"
rate = 0.02
steps = 50
```
"""

import dataclasses
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdend.config import registry
from jaxdend.config.model import SECTIONS, Experiment, ModelFile, beside, insert_name, located
from jaxdend.config.schema import (
    Key,
    Place,
    Table,
    check_table,
    check_tables,
    integer,
    nearest,
    number,
    pair,
    read_toml,
    text,
)
from jaxdend.fitting import FitResult, Parameter, ParameterSpace, default_optimizer, fit
from jaxdend.recordings import read_recordings
from jaxdend.runs import Run

Callback = Callable[[int, int, np.ndarray], None]  # stage, step, losses (s,)

_PARAMETER = {
    "path": Key(text(), required=True),
    "name": Key(text()),
    "bounds": Key(pair(), required=True),
    "scale": Key(text(("log", "linear")), default="log"),
    "true": Key(number()),
}
_TARGET = {
    "file": Key(text()),
    "noise": Key(number("mV", least=0.0), default=0.0),
    "seed": Key(integer(least=0), default=0),
}
_FIT = {
    "starts": Key(integer(least=1, most=10**6), default=10),
    "seed": Key(integer(least=0), default=0),
    "clip": Key(number(above=0.0), default=1.0),
    "chunk": Key(integer(least=1), default=1),
}
_STAGE = {
    "loss": Key(text(registry.LOSSES), default="smoothed_rms"),
    "steps": Key(integer(least=1), default=200),
    "rate": Key(number(above=0.0), default=0.1),
}
_CELL_PATHS = {"cell.ra": "Ω·cm", "cell.cm": "µF/cm²", "cell.celsius": "°C"}


@dataclasses.dataclass(frozen=True)
class FitFile:
    """A checked fit file: `resolved` holds every key, defaults filled in, the model's included."""

    file: Path
    model: ModelFile
    resolved: Table

    @classmethod
    def read(cls, file: str | Path) -> "FitFile":
        """Read and check a fit file and the model file that it names.

        **Raises:** `ConfigError` naming the file, the key and what it takes.
        """
        file = Path(file)
        return cls.check(file, read_toml(file))

    @classmethod
    def check(cls, file: Path, tables: Table) -> "FitFile":
        """Check tables that stand in `file`."""
        top, own = Place(file), ("model", "parameter", "target", "fit", "stage")
        for name in tables:
            if name not in own + SECTIONS:
                raise top.error(f"unknown table [{name}]; {nearest(name, own + SECTIONS)}")
        model = _read_model(top, {k: v for k, v in tables.items() if k not in own}, tables)
        resolved = dict(model.resolved)
        resolved["parameter"] = _check_parameters(top, tables.get("parameter", []), model)
        target = check_table(top.within("[target]"), tables.get("target", {}), _TARGET)
        if "file" in target:
            target["file"] = beside(top, target["file"])
        resolved["target"] = target
        for i, item in enumerate(resolved["parameter"]):
            if "file" not in target and "true" not in item:
                raise top.within(f"[[parameter]] {i + 1}").error(
                    "key 'true' is missing: without a file in [target], the target is simulated "
                    "with the true value of every parameter"
                )
        resolved["fit"] = check_table(top.within("[fit]"), tables.get("fit", {}), _FIT)
        stages = check_tables(top.within("[[stage]]"), tables.get("stage", [{}]))
        resolved["stage"] = [
            _check_stage(top.within(f"[[stage]] {i + 1}"), item) for i, item in enumerate(stages)
        ]
        return cls(file, model, resolved)

    def build(self) -> "Problem":
        """The experiment, the parameter space and the target, in JAX's current precision."""
        experiment = self.model.build()
        items = self.resolved["parameter"]
        entries = {}
        for i, item in enumerate(items):
            with located(Place(self.file, f"[[parameter]] {i + 1}")):
                low, high = item["bounds"]
                unit = _paths(self.model)[item["path"]]
                entries[item["name"]] = Parameter(low, high, scale=item["scale"], unit=unit)
        true = {item["name"]: item["true"] for item in items if "true" in item}
        problem = Problem(self, experiment, ParameterSpace(entries), true, np.zeros(0), np.zeros(0))
        ts, v = problem.measured()
        return dataclasses.replace(problem, ts=ts, target=v)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A fit that a file describes, built and ready to run."""

    file: FitFile
    experiment: Experiment
    space: ParameterSpace
    true: dict[str, float]  # known values, where the target is simulated
    ts: Float[np.ndarray, " t"]  # ms
    target: Float[np.ndarray, "t r"]  # mV

    def voltage(self, theta: dict[str, Array]) -> Float[Array, "t r"]:
        """The recorded voltage of the model with parameters `theta`, name -> value; mV."""
        paths = {item["name"]: item["path"] for item in self.file.resolved["parameter"]}
        cell = self.experiment.neuron({paths[name]: value for name, value in theta.items()})
        traces = self.experiment.simulate(cell, throw=False)
        return jnp.asarray(traces.v)

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        """The sample times `(t,)` ms and the target `(t, r)` mV, read or simulated."""
        keys = self.file.resolved["target"]
        place = Place(self.file.file, "[target]")
        ts = self.experiment.times()
        if "file" in keys:
            with located(place):
                v = _read_recording(Path(keys["file"]), ts)
            if v.shape[1] != len(self.experiment.sites):
                raise place.error(
                    f"{keys['file']} has {v.shape[1]} traces, but [simulate] record names "
                    f"{len(self.experiment.sites)} sites"
                )
        else:
            theta = {name: jnp.asarray(value) for name, value in self.true.items()}
            v = np.asarray(jax.jit(self.voltage)(theta))
        noise = np.random.default_rng(keys["seed"]).normal(size=v.shape)
        return ts, v + keys["noise"] * noise

    def run(
        self,
        callback: Callback | None = None,
        *,
        run: Run | None = None,
    ) -> list[FitResult]:
        """Runs all stages, each from the best points of the one before; returns one result a stage.

        **Arguments:** `callback(stage, step, losses (s,))`; `run`, a `jaxdend.Run`, whose folder
        gets a folder of checkpoints for every stage; without one no progress bar is shown.

        **Raises:** `ValueError` where the folder holds a fit of another file, or holds one that is
        not to be resumed.
        """
        run = Run(progress=False) if run is None else Run.of(run)
        options, results = self.file.resolved["fit"], []
        starts: Any = options["starts"]
        dt = float(self.ts[1] - self.ts[0])
        target = jnp.asarray(self.target)
        for number_, stage in enumerate(self.file.resolved["stage"]):
            arguments = {k: v for k, v in stage.items() if k not in _STAGE}
            distance = registry.LOSSES[stage["loss"]]
            if "dt" in inspect.signature(distance).parameters:
                arguments["dt"] = dt

            def loss(theta, distance=distance, arguments=arguments):  # noqa: ANN001, ANN202
                return distance(self.voltage(theta), target, **arguments)

            def report(step, losses, vectors, number_=number_):  # noqa: ANN001, ANN202
                del vectors
                if callback is not None:
                    callback(number_, step, losses)

            result = fit(
                loss,
                self.space,
                optimizer=default_optimizer(stage["steps"], stage["rate"]),
                starts=starts,
                steps=stage["steps"],
                key=options["seed"],
                clip=options["clip"],
                chunk=options["chunk"],
                callback=report,
                run=run.within(f"stage_{number_ + 1}"),
                about=self._about(stage),
            )
            results.append(result)
            starts = result.best_vectors
            if result.interrupted:
                break
        return results

    def _about(self, stage: Table) -> Table:
        """What makes a stage of this fit another than that one."""
        about = self.file.resolved | {"stage": stage}
        if "file" in self.file.resolved["target"]:
            about["recording"] = hashlib.sha256(self.target.tobytes()).hexdigest()[:16]
        return about


def _read_model(top: Place, tables: Table, given: Table) -> ModelFile:
    if "model" not in given:
        return ModelFile.check(top.file, tables)
    if tables:
        raise top.error(f"takes model = or the model's own tables, not both: {', '.join(tables)}")
    name = check_table(top, {"model": given["model"]}, {"model": Key(text())})["model"]
    return ModelFile.read(top.file.parent / name)


def _paths(model: ModelFile) -> dict[str, str]:
    """Path -> unit of everything that a fit can vary."""
    paths = {}
    for item in model.resolved.get("insert", []):
        for name, unit in registry.parameters(item["channel"]).items():
            paths[f"{insert_name(item)}.{name}"] = unit
    return paths | _CELL_PATHS


def _check_parameters(top: Place, value: Any, model: ModelFile) -> list[Table]:
    tables = check_tables(top.within("[[parameter]]"), value)
    if not tables:
        raise top.error("names no [[parameter]] to fit")
    known, out = _paths(model), []
    for i, table in enumerate(tables):
        place = top.within(f"[[parameter]] {i + 1}")
        item = check_table(place, table, _PARAMETER)
        if item["path"] not in known:
            raise place.error(
                f"path: nothing to vary at {item['path']!r}; " + nearest(item["path"], known)
            )
        item.setdefault("name", item["path"])
        if any(item["name"] == other["name"] for other in out):
            raise place.error(f"name {item['name']!r} is taken; give each parameter its own name")
        if any(item["path"] == other["path"] for other in out):
            raise place.error(f"path {item['path']!r} is varied already")
        out.append(item)
    return out


def _check_stage(place: Place, table: Any) -> Table:
    chosen = {k: v for k, v in table.items() if k == "loss"} if isinstance(table, dict) else {}
    loss = check_table(place, chosen, _STAGE)["loss"]
    keys = {k: v for k, v in registry.call_keys(registry.LOSSES[loss]).items() if k != "dt"}
    return check_table(place, table, _STAGE | keys)


def _read_recording(file: Path, ts: np.ndarray) -> np.ndarray:
    """The traces in `file` at the times `ts`, `(t, r)` mV."""
    sweeps = read_recordings(file, units=("ms", "mV", "nA"))
    if len(sweeps) != 1:
        raise ValueError(
            f"{file.name} holds {len(sweeps)} sweeps: write the one to fit to a file of its own"
        )
    t = sweeps[0].ts
    if t[0] > ts[0] + 1e-6 or t[-1] < ts[-1] - 1e-6:
        raise ValueError(
            f"{file.name} covers {t[0]:g} to {t[-1]:g} ms, "
            f"the simulation {ts[0]:g} to {ts[-1]:g} ms"
        )
    return np.stack([np.interp(ts, t, column) for column in sweeps[0].v.T], axis=1)
