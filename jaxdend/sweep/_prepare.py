"""What happens before a sweep computes: its programs, its size, its store."""

import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxdend._errors import SimulationError
from jaxdend.sweep._memory import Size, choose_size, free_memory, given_size
from jaxdend.sweep._names import refuse_names
from jaxdend.sweep._program import Point, Program, build_program, fingerprint, output_fields
from jaxdend.sweep._store import FORMAT, VERSION, Field, Store

Labels = dict[str, Any]
Make = Callable[[Labels], Point]
Attributes = Mapping[str, Mapping[str, Any]]  # array -> what the store says of it


@runtime_checkable
class Points(Protocol):
    """What a sweep needs to know of a design."""

    @property
    def n(self) -> int:
        """The number of points in the design."""
        ...

    @property
    def groups(self) -> list[tuple[Labels, int, int]]:
        """The labels, the first point and the one behind the last of all that share a program."""
        ...

    def points(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The values at each of these points by name, in any order."""
        ...

    def header(self) -> dict[str, Any]:
        """The description that identifies the design, as JSON has it."""
        ...


class Runner:
    """The programs of a sweep and the points that they take; one program at a time is kept."""

    def __init__(self, make: Make, design: Points, sharing: int = 1) -> None:
        self.make = make
        self.design = design
        self.devices = jax.local_devices()
        self.sharing = sharing  # processes on this machine
        self.groups = list(design.groups)
        self.starts = np.array([start for _, start, _ in self.groups])
        self._kept: tuple[Any, Program | None] = (None, None)
        edges = [0, *(stop for _, _, stop in self.groups)]
        if edges[-1] != design.n or [start for _, start, _ in self.groups] != edges[:-1]:
            raise ValueError(f"the groups of the design must cover its {design.n} points in order")

    def given_size(self, chunk: int) -> Size:
        """The size for a number of points set by the caller."""
        return given_size(chunk, self.devices[0])

    def function(self, group: int) -> Point:
        """The function of a point of a group."""
        labels = self.groups[group][0]
        try:
            return self.make(dict(labels))
        except Exception as error:
            raise _blamed(labels, error) from error

    def sample(self, group: int, count: int = 1) -> dict[str, np.ndarray]:
        """The first points of a group, the last of them repeated where there are fewer."""
        _, start, stop = self.groups[group]
        return self.design.points(np.minimum(start + np.arange(count), stop - 1))

    def fields(self, group: int) -> dict[str, Field]:
        """The output arrays of a group's points."""
        f, labels = self.function(group), self.groups[group][0]
        try:
            return output_fields(f, self.sample(group))
        except Exception as error:
            raise _blamed(labels, error) from error

    def program(self, group: int, size: Size) -> Program:
        """The compiled program of a group."""
        key = group, size
        if self._kept[0] != key:
            self._kept = (None, None)  # gives its memory back first
            f, points = self.function(group), self.sample(group)
            self._kept = key, build_program(f, points, size.lanes, size.rounds, self.devices)
        program = self._kept[1]
        if program is None:
            raise RuntimeError("no program was built")
        return program

    def compute(self, store: Store, units: np.ndarray) -> tuple[np.ndarray, Mapping[str, Any]]:
        """The numbers of the points in these units, a row of lanes each, and their outputs.

        A unit that lies in two groups is computed by the programs of both; every point keeps the
        lane that it has.
        """
        rows = np.resize(units, len(self.devices))  # a program always has work for every device
        indices = (rows[:, None] * store.lanes + np.arange(store.lanes)).ravel()
        indices = np.minimum(indices, self.design.n - 1)
        size = Size(store.lanes, store.header["rounds"])
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        groups = np.unique(owner).tolist()
        outputs: dict[str, Any] = {}
        for group in groups:
            mine = owner == group
            inside = np.where(mine, indices, self.starts[group])
            part = self._call(group, size, self.design.points(inside))
            if len(groups) == 1:
                return indices, part
            for name, value in part.items():
                whole = outputs.setdefault(name, np.zeros_like(value))
                whole[mine] = np.asarray(value)[mine]
        return indices, outputs

    def _call(self, group: int, size: Size, points: dict[str, np.ndarray]) -> Mapping[str, Any]:
        try:
            return jax.block_until_ready(self.program(group, size)(points))
        except jax.errors.JaxRuntimeError as error:
            labels = self.groups[group][0]
            text = f"the program{_where(labels)} failed: {str(error)[:500]}"
            if "RESOURCE_EXHAUSTED" in str(error):
                raise MemoryError(
                    f"{text}\nThe memory of a device ran out at {size.lanes} points at a time; "
                    "begin another store with a smaller chunk= or memory="
                ) from error
            raise SimulationError(
                f"{text}\nIn a sweep a simulation must not throw: use throw=False and return "
                "whether it failed as the output 'failed'"
            ) from error

    def coordinates(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters and the labels of the points."""
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        out = dict(self.design.points(indices))
        for name, (codes, values) in self.labels().items():
            out[name] = (codes if _is_text(values) else np.asarray(values)[codes])[owner]
        return out

    def labels(self) -> dict[str, tuple[np.ndarray, list[Any]]]:
        """Label -> `(groups,)` which value each group has, and the values."""
        out = {}
        for name in self.groups[0][0]:
            given = [labels[name] for labels, _, _ in self.groups]
            values = list(dict.fromkeys(given))
            place = {value: i for i, value in enumerate(values)}
            out[name] = np.array([place[value] for value in given], np.int32), values
        return out


def prepare(
    runner: Runner,
    out: Path,
    size: Size | None,
    program: dict[str, Any],
    attributes: Attributes,
    *,
    workers: int,
    memory: int | None,
    seconds: float,
    resume: bool,
    verify: bool,
) -> Store:
    """The store at `out`, made, or checked where it is to go on. See `run_sweep`."""
    if out.exists():
        store = Store.open(out)
        if not resume:
            raise FileExistsError(
                f"the sweep {out} exists; go on with it by resume=True (--resume), or choose "
                "another place or delete it"
            )
        found = Size(store.lanes, store.header["rounds"])
        if size is not None and size.lanes == store.lanes:
            size = found
        store.check(_header(runner, size or found, program, *_arrays(runner, attributes, range(1))))
        store.tidy()
        store.repair(deep=verify)
        return store
    outputs, coordinates = _arrays(runner, attributes, range(len(runner.groups)))
    if size is None:
        size = choose_size(
            lambda trial: runner.program(0, trial),
            lambda count: runner.sample(0, count * len(runner.devices)),
            runner.design.n,
            memory or int(free_memory(runner.devices[0], runner.sharing)),
            seconds,
            workers,
        )
    header = _header(runner, size, program, outputs, coordinates)
    return Store.create(out, header, coordinates, outputs)


def _arrays(
    runner: Runner, attributes: Attributes, groups: range
) -> tuple[dict[str, Field], dict[str, Field]]:
    """Outputs and coordinates; every one of `groups` must have the same."""
    outputs = runner.fields(groups[0])
    for group in groups[1:]:
        if (other := runner.fields(group)) != outputs:
            raise ValueError(
                f"every group of a sweep must return the same arrays: the first returns {outputs}, "
                f"but{_where(runner.groups[group][0])} it is {other}"
            )
    coordinates = {
        name: Field((), np.asarray(value).dtype.name, attributes.get(name, {}))
        for name, value in runner.sample(0).items()
    }
    for name, (codes, values) in runner.labels().items():
        if _is_text(values):
            attrs = {"flag_values": list(range(len(values))), "labels": [str(v) for v in values]}
            coordinates[name] = Field((), codes.dtype.name, {**attributes.get(name, {}), **attrs})
        else:
            dtype = np.asarray(values).dtype.name
            coordinates[name] = Field((), dtype, attributes.get(name, {}))
    refuse_names({name: len(field.shape) for name, field in outputs.items()}, list(coordinates))
    outputs = {
        name: Field(f.shape, f.dtype, attributes.get(name, {})) for name, f in outputs.items()
    }
    return outputs, coordinates


def _header(
    runner: Runner,
    size: Size,
    program: dict[str, Any],
    outputs: dict[str, Field],
    coordinates: dict[str, Field],
) -> dict[str, Any]:
    """All that makes the numbers of a store what they are."""
    arrays = {**outputs, **coordinates, "status": Field((), "int8")}
    return {
        "format": FORMAT,
        "version": VERSION,
        "points": runner.design.n,
        "design": runner.design.header(),
        "program": program,
        "fingerprint": fingerprint(runner.function(0), runner.sample(0), size.lanes, size.rounds),
        "arrays": {name: field.header() for name, field in arrays.items()},
        "lanes": size.lanes,
        "rounds": size.rounds,
        "precision": jnp.result_type(float).name,
        "platform": runner.devices[0].platform,
        "versions": {"jaxdend": _version("jaxdend"), "jax": jax.__version__},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a folder
        return "unknown"


def _is_text(values: list[Any]) -> bool:
    return not all(isinstance(v, bool | int | float | np.number | np.bool_) for v in values)


def _where(labels: Labels) -> str:
    return f" for {labels}" if labels else ""


def _blamed(labels: Labels, error: Exception) -> Exception:
    """The same kind of error, which says for which group it happened."""
    text = f"the sweep cannot begin: the point function{_where(labels)} fails: {error}"
    return (
        ValueError(text)
        if isinstance(error, ValueError)
        else RuntimeError(f"{text} ({type(error).__name__})")
    )
