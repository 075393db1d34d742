"""What training a task leaves behind, on disk too."""

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxdend.files import write_whole
from jaxdend.fitting import FitResult
from jaxdend.tasks.base import Params

_FORMAT = "jaxdend-task-1"


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
            "responses": dict(zip(self.labels, after, strict=True)),
            "start_responses": dict(zip(self.labels, before, strict=True)),
            "start_margin": start_margin,
            "steps": self.fit.steps,
            "interrupted": self.fit.interrupted,
            "simulations": self.simulations,
            "wall_s": round(self.wall_s, 3),
        }

    def save(self, folder: str | os.PathLike[str], **extra: Any) -> Path:
        """Write `result.json`, `params.npz` (the best) and `fit.npz` (every step) to a folder.

        **Arguments:** `extra`, more entries for `result.json`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.fit.save(folder / "fit.npz")
        arrays = {f"best/{name}": value for name, value in self.params.items()}
        arrays |= {f"start/{name}": value for name, value in self.start_params.items()}
        np.savez(folder / "params.npz", configs=self.configs, **arrays)  # type: ignore[arg-type]
        write_whole(folder / "result.json", json.dumps(self.summary | extra, indent=2) + "\n")
        return folder

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "TaskResult":
        """Read a folder that `save` wrote.

        **Raises:** `FileNotFoundError`; `ValueError` for a folder that is incomplete or of another
        format.
        """
        folder = Path(folder)
        about = read_summary(folder)
        best, start = {}, {}
        try:
            with (folder / "params.npz").open("rb") as raw, np.load(raw) as file:
                configs = file["configs"]
                for key in file.files:
                    group, _, name = key.partition("/")
                    if group in ("best", "start"):
                        (best if group == "best" else start)[name] = file[key]
            return cls(
                task=about["task"],
                seed=about["seed"],
                labels=tuple(about["responses"]),
                unit=about["unit"],
                margin_unit=about["margin_unit"],
                params=best,
                responses=np.array(list(about["responses"].values()), float),
                accuracy=about["accuracy"],
                margin=float(np.array(about["margin"], float)),
                solved=about["solved"],
                start_params=start,
                start_responses=np.array(list(about["start_responses"].values()), float),
                start_margin=float(np.array(about["start_margin"], float)),
                configs=configs,
                fit=FitResult.load(folder / "fit.npz"),
                simulations=about["simulations"],
                wall_s=about["wall_s"],
            )
        except (KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"{folder} is not a complete task folder: {error!r}") from error


def read_summary(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of `result.json` in a folder.

    **Raises:** `FileNotFoundError`; `ValueError` for a file that is something else.
    """
    path = Path(folder) / "result.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise ValueError(f"{path} is not the result of a task (format {_FORMAT!r} expected).")
    return about


def _numbers(values: np.ndarray) -> list[float | None]:
    """The numbers as JSON has them, with `None` for NaN and infinity."""
    return [float(x) if np.isfinite(x) else None for x in values]


def as_arrays(params: Params) -> dict[str, np.ndarray]:
    """The parameters as NumPy arrays on the host."""
    return {name: np.asarray(value) for name, value in params.items()}
