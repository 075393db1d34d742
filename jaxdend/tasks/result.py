"""What training a task leaves behind, on disk too."""

import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxdend._errors import SavedFileError
from jaxdend.files import complete, read_arrays, refuse_array, write_npz, write_whole
from jaxdend.fitting import FitResult
from jaxdend.tasks.base import AbstractTask, Params

T = TypeVar("T", bound=AbstractTask)
_FORMAT, _WHAT = "jaxdend-task-1", "task folder"
_PARAMS_FORMAT = "jaxdend-task-params-1"
_ABOUT, _PARAMS, _FIT = "result.json", "params.npz", "fit.npz"


@dataclass(frozen=True, eq=False)
class TaskResult:
    """The best configuration of a training run, its responses, and how it came about."""

    task: str
    seed: int
    labels: tuple[str, ...]  # P patterns
    unit: str  # of responses
    margin_unit: str
    params: dict[str, np.ndarray]  # the best configuration
    responses: np.ndarray  # (P,) of the best configuration
    accuracy: float
    margin: float
    solved: bool
    start_params: dict[str, np.ndarray]  # where gradient descent began for it
    start_responses: np.ndarray  # (P,)
    start_margin: float
    configs: np.ndarray  # (n,) loss of every random configuration
    fit: FitResult
    simulations: int  # of one pattern; one with its gradient counts as one
    wall_s: float
    # of a task that draws its inputs: what the test draws told, which nothing was chosen by
    draws: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))  # (D, P) responses
    right: int = 0  # draws with all patterns right
    start_right: int = 0  # the same before training
    threshold: float | None = None  # fixed by validation draws, or given
    accuracy_unit: str = "right"  # what the accuracy is a fraction of

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the fraction of draws that are right (Wilson 1927)."""
        return wilson(self.right, len(self.draws))

    def task_of(self, task: T) -> T:
        """`task` with the threshold that this result's validation fixed."""
        if self.threshold is None or getattr(task, "threshold", 0.0) is not None:
            return task
        value = jnp.asarray(self.threshold, float)
        return eqx.tree_at(lambda t: t.threshold, task, value, is_leaf=lambda x: x is None)

    @property
    def summary(self) -> dict[str, Any]:
        """The figures as plain Python, as `result.json` has them."""
        after, before = map(_numbers, (self.responses, self.start_responses))
        margin, start_margin = _numbers(np.array([self.margin, self.start_margin]))
        return {
            "format": _FORMAT,
            "task": self.task,
            "seed": self.seed,
            "solved": self.solved,
            "accuracy": self.accuracy,
            "margin": margin,
            "unit": self.unit,
            "margin_unit": self.margin_unit,
            "accuracy_unit": self.accuracy_unit,
            "responses": dict(zip(self.labels, after, strict=True)),
            "start_responses": dict(zip(self.labels, before, strict=True)),
            "start_margin": start_margin,
            "threshold": self.threshold,
            "draws": len(self.draws),
            "right": self.right,
            "start_right": self.start_right,
            "interval": [round(x, 4) for x in self.interval] if len(self.draws) else None,
            "steps": self.fit.steps,
            "interrupted": self.fit.interrupted,
            "simulations": self.simulations,
            "wall_s": round(self.wall_s, 3),
        }

    def save(self, folder: str | os.PathLike[str], **extra: Any) -> Path:
        """Write `result.json`, `params.npz` (the best) and `fit.npz` (every step) to a folder.

        Each is there whole or not at all. `result.json` comes last, with the checksums of all
        three, so that files of two runs are never taken for one result.

        **Arguments:** `extra`, more entries for `result.json`.
        """
        folder = Path(folder)
        self.fit.save(folder / _FIT)
        arrays = {f"best/{name}": value for name, value in self.params.items()}
        arrays |= {f"start/{name}": value for name, value in self.start_params.items()}
        arrays |= {"configs": self.configs, "draws": self.draws}
        write_npz(folder / _PARAMS, {"format": _PARAMS_FORMAT}, arrays)
        about = json.loads(json.dumps(self.summary | extra))
        sums = {name: zlib.crc32((folder / name).read_bytes()) for name in (_PARAMS, _FIT)}
        about["crc32"] = sums | {_ABOUT: _sum(about)}
        write_whole(folder / _ABOUT, json.dumps(about, indent=2) + "\n")
        return folder

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "TaskResult":
        """Read a folder that `save` wrote.

        **Raises:** `FileNotFoundError`; `SavedFileError` for a folder that is incomplete, damaged,
        of several runs or of another format.
        """
        folder = Path(folder)
        about = _checked(folder)
        with complete(folder, _WHAT):
            arrays = read_arrays(folder / _PARAMS, "file of parameters")
            arrays.pop("header", None)  # which those of version 0.1.0 do not have
            configs, fit = arrays.pop("configs"), FitResult.load(folder / _FIT)
            draws = arrays.pop("draws", np.empty((0, len(about["responses"]))))
            groups: dict[str, dict[str, np.ndarray]] = {"best": {}, "start": {}}
            for key, array in arrays.items():
                group, name = key.split("/", 1)
                groups[group][name] = array
            result = cls(
                task=about["task"],
                seed=about["seed"],
                labels=tuple(about["responses"]),
                unit=about["unit"],
                margin_unit=about["margin_unit"],
                params=groups["best"],
                responses=np.array(list(about["responses"].values()), float),
                accuracy=about["accuracy"],
                margin=float(np.array(about["margin"], float)),
                solved=about["solved"],
                start_params=groups["start"],
                start_responses=np.array(list(about["start_responses"].values()), float),
                start_margin=float(np.array(about["start_margin"], float)),
                configs=configs,
                fit=fit,
                simulations=about["simulations"],
                wall_s=about["wall_s"],
                draws=draws,
                right=about.get("right", 0),
                start_right=about.get("start_right", 0),
                threshold=about.get("threshold"),
                accuracy_unit=about.get("accuracy_unit", "right"),
            )
            result._check()
        return result

    def _check(self) -> None:
        """Refuse entries of another type, or arrays that do not fit together."""
        texts = ("task", "unit", "margin_unit", "accuracy_unit")
        whole = ("seed", "simulations", "right", "start_right")
        kinds: dict[str, Any] = dict.fromkeys(texts, str)
        kinds |= dict.fromkeys(whole, int)
        kinds |= {"solved": bool, "accuracy": int | float, "wall_s": int | float}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
                raise ValueError(f"{name} has the wrong type: {value!r}")
        shapes = {name: self.fit.space[name].shape for name in self.fit.space}
        for group, params in (("best", self.params), ("start", self.start_params)):
            for name, value in params.items():
                refuse_array(f"{group}/{name}", value)
            if {name: value.shape for name, value in params.items()} != shapes:
                raise ValueError(f"the parameters {group} are not those of fit.npz, {shapes}")
        if self.responses.shape != self.start_responses.shape or self.configs.ndim != 1:
            raise ValueError("there must be as many start_responses as responses")
        if self.draws.ndim != 2 or not 0 <= self.right <= max(len(self.draws), 1):
            raise ValueError(f"{self.right} draws are right, of {self.draws.shape}")


def read_summary(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of `result.json` in a folder.

    **Raises:** `FileNotFoundError`; `SavedFileError` for a file that is damaged or something else.
    """
    path = Path(folder) / _ABOUT
    try:
        about = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SavedFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise SavedFileError(f"{path} is not the result of a task (format {_FORMAT!r} expected).")
    return about


def _checked(folder: Path) -> dict[str, Any]:
    """The contents of `result.json`, whose checksums are those of the files, if it has some."""
    about = read_summary(folder)
    sums = about.pop("crc32", {})  # which those of version 0.1.0 do not have
    with complete(folder, _WHAT):
        if sums and set(sums) != {_ABOUT, _PARAMS, _FIT}:
            raise ValueError(f"{_ABOUT} has the checksums of other files: {', '.join(sums)}")
        found = {
            name: _sum(about) if name == _ABOUT else zlib.crc32((folder / name).read_bytes())
            for name in sums
        }
        if wrong := [name for name in sums if found[name] != sums[name]]:
            raise ValueError(
                f"{', '.join(wrong)} is not as it was written with {_ABOUT}: it was damaged, or "
                "belongs to another run"
            )
    return about


def _sum(about: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a fraction of which `right` of `count` were counted; all of it for none.

    Wilson (1927) J Am Stat Assoc 22:209; 95 % for `z` 1.96.
    """
    if count == 0:
        return (0.0, 1.0)
    p, spread = right / count, z * z / count
    middle = (p + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (p * (1 - p) + spread / 4)) / (1 + spread)
    return (float(middle - half), float(middle + half))


def _numbers(values: np.ndarray) -> list[float | None]:
    """The numbers as JSON has them, with `None` for NaN and infinity."""
    return [float(x) if np.isfinite(x) else None for x in values]


def as_arrays(params: Params) -> dict[str, np.ndarray]:
    """The parameters as NumPy arrays on the host."""
    return {name: np.asarray(value) for name, value in params.items()}
