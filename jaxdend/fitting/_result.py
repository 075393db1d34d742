"""What a fit leaves behind: every start's path, the best parameters, and how to go on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike

from jaxdend.files import complete, numbered, read_npz, write_npz
from jaxdend.fitting._space import Parameter, ParameterSpace, describe_space, read_space
from jaxdend.runs import Part, RunFolder

_FORMAT, _WHAT = "jaxdend-fit-2", "fit file"
RUNS = ("fit", "least_squares", "quasi_newton", "search")  # that end in a FitResult
_ARRAYS = ("losses", "vectors", "failures", "interrupted", "seconds", "pruned")


@dataclass(frozen=True, eq=False)
class FitResult:
    """The history and the best parameters of a fit of `s` starts after `k` steps (host arrays).

    Row `i` of `losses` was measured at row `i` of `vectors`. A loss that was not finite is kept
    as it was: NaN or infinite. From the step after which a start was pruned its rows are NaN.
    """

    space: ParameterSpace
    losses: np.ndarray  # (k, s) loss at every step
    vectors: np.ndarray  # (k, s, p) unconstrained parameters at every step
    failures: np.ndarray  # (s,) steps whose loss or gradient was not finite
    state: tuple[np.ndarray, ...]  # where the loop stands: what `Run(resume=...)` continues from
    interrupted: bool = False  # stopped before its last step, by Ctrl-C or by the callback
    seconds: float = 0.0  # s, wall time, compilation included, summed over resumed parts
    # (s,) steps that a start took before it was pruned, -1 for one that was not; None: none was
    pruned: np.ndarray = None  # pyright: ignore[reportAssignmentType]

    def __post_init__(self) -> None:
        """Fill in that no start was pruned."""
        if self.pruned is None:
            object.__setattr__(self, "pruned", np.full(self.losses.shape[1], -1))

    @property
    def evaluations(self) -> int:
        """How often the loss was evaluated (with its gradient): every step of every start."""
        return int(np.where(self.pruned < 0, self.steps, self.pruned).sum())

    @property
    def steps(self) -> int:
        """The number of steps that were taken."""
        return self.losses.shape[0]

    @property
    def best_losses(self) -> np.ndarray:
        """The least loss of every start, `(s,)`; infinite for one that never was finite."""
        return np.where(np.isfinite(self.losses), self.losses, np.inf).min(axis=0)

    @property
    def best_vectors(self) -> np.ndarray:
        """The vector at every start's least loss, `(s, p)`."""
        at = np.where(np.isfinite(self.losses), self.losses, np.inf).argmin(axis=0)
        return self.vectors[at, np.arange(at.size)]

    @property
    def best_start(self) -> int:
        """The number of the start that reached the least loss."""
        return int(self.best_losses.argmin())

    @property
    def loss(self) -> float:
        """The least loss that any start reached."""
        return float(self.best_losses.min())

    @property
    def params(self) -> dict[str, np.ndarray]:
        """The best parameters of all, name -> `shape`, in the parameters' units."""
        return self._values(self.best_vectors[self.best_start])

    @property
    def all_params(self) -> dict[str, np.ndarray]:
        """The best parameters of every start, name -> `(s, *shape)`."""
        return self._values(self.best_vectors)

    @property
    def start_params(self) -> dict[str, np.ndarray]:
        """The parameters where every start began, by name, `(s, *shape)`."""
        return self._values(self.vectors[0])

    @property
    def history(self) -> dict[str, np.ndarray]:
        """The parameters at every step, name -> `(k, s, *shape)`."""
        return self._values(self.vectors)

    def errors(self, true: Mapping[str, ArrayLike]) -> np.ndarray:
        """Relative error of every start's best parameters against known ones, `(s, p)`.

        `|fitted - true| / |true|`; against a true value of 0, the fraction of the range.
        """
        fitted, truth = self._flat(self.all_params), self._true(true)
        width = np.concatenate([np.full(p.size, p.high - p.low) for p in self._entries()])
        return np.abs(fitted - truth) / np.where(truth == 0, width, np.abs(truth))

    def recovered(self, true: Mapping[str, ArrayLike], tolerance: float = 0.05) -> np.ndarray:
        """Which starts found every parameter within a relative `tolerance`, bool `(s,)`."""
        return np.all(self.errors(true) <= tolerance, axis=1)

    def table(self, true: Mapping[str, ArrayLike] | None = None) -> list[dict[str, Any]]:
        """A table with a row for each of the p components, of the best start.

        **Returns:** dicts with `parameter`, `unit`, `low`, `high`, `start`, `fitted`, and with
        known `true` parameters also `true`, `error` (relative) and `within_5_percent` (how many
        starts found this component to 5 %).
        """
        best = self.best_start
        start, fitted = self._flat(self.start_params)[best], self._flat(self.all_params)[best]
        entries = [p for p in self._entries() for _ in range(p.size)]
        rows: list[dict[str, Any]] = [
            {"parameter": label, "unit": p.unit, "low": p.low, "high": p.high}
            | {"start": float(start[i]), "fitted": float(fitted[i])}
            for i, (label, p) in enumerate(zip(self.space.labels, entries, strict=True))
        ]
        if true is not None:
            truth, errors = self._true(true), self.errors(true)
            for i, row in enumerate(rows):
                row["true"], row["error"] = float(truth[i]), float(errors[best, i])
                row["within_5_percent"] = int((errors[:, i] <= 0.05).sum())
        return rows

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything to one `.npz` file, whole or not at all; no pickle inside.

        **Returns:** the path written (`.npz` is appended where it is missing).
        """
        space = describe_space(self.space)
        header = {"format": _FORMAT, "space": space, "state": len(self.state)}
        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in _ARRAYS}
        arrays |= {f"state_{i}": leaf for i, leaf in enumerate(self.state)}
        return write_npz(path, header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "FitResult":
        """Read a file that `save` wrote, or a folder that a run saves to, as far as that came.

        The folders are those of `fit`, `search`, `least_squares` and `quasi_newton`.

        **Raises:** `FileNotFoundError`; `SavedFileError` for a file that is cut short, damaged, is
        something else, or was written by another version of the format; `ValueError` for the folder
        of a posterior.
        """
        if Path(path).is_dir():
            folder = RunFolder(path)
            if folder.header.get("run") not in RUNS:
                raise ValueError(
                    f"{path} is not the folder of a fit but of a {folder.header.get('run')}: there "
                    "is no FitResult in it"
                )
            with complete(path, "folder of a fit"):
                return cls.of(read_space(folder.header["space"]), folder.load())
        header, arrays = read_npz(path, _WHAT, _FORMAT)
        with complete(path, _WHAT):
            state = tuple(numbered(arrays, "state", header["state"]))
            if set(arrays) != set(_ARRAYS):
                raise ValueError(f"it has other arrays: {', '.join(set(arrays) ^ set(_ARRAYS))}")
            fields: dict[str, Any] = dict(arrays)
            fields |= {name: arrays[name].item() for name in ("interrupted", "seconds")}
            result = cls(space=read_space(header["space"]), state=state, **fields)
            result._check()
        return result

    def _check(self) -> None:
        """Refuse arrays that do not fit together."""
        k, s = self.losses.shape
        wanted = {
            "losses": ((k, s), "f"),
            "vectors": ((k, s, self.space.size), "f"),
            "failures": ((s,), "iu"),
            "pruned": ((s,), "iu"),
        }
        for name, (shape, kinds) in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind not in kinds:
                raise ValueError(f"{name} must be {shape}; got {array.dtype} of {array.shape}")
        if not (isinstance(self.interrupted, bool) and isinstance(self.seconds, int | float)):
            raise ValueError("interrupted must be a bool, and seconds a number")

    @classmethod
    def of(cls, space: ParameterSpace, part: Part) -> "FitResult":
        """A run with the rows `losses (k, s)` and `vectors (k, s, p)`, as far as it came."""
        losses, vectors = part.rows["losses"], part.rows["vectors"]
        state = tuple(np.asarray(leaf) for leaf in jax.tree.leaves(part.state))
        more = {"failures": (~np.isfinite(losses)).sum(axis=0)} | part.more
        about = {"interrupted": part.interrupted, "seconds": part.seconds}
        return cls(space, losses, vectors, state=state, **about, **more)

    @property
    def part(self) -> Part:
        """What a run goes on from."""
        rows = {"losses": self.losses, "vectors": self.vectors}
        more = {"failures": self.failures, "pruned": self.pruned}
        return Part(rows, self.state, self.seconds, self.interrupted, more)

    def _values(self, vectors: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(x) for name, x in self.space.to_dict(vectors).items()}

    def _entries(self) -> list[Parameter]:
        return [self.space[name] for name in self.space]

    def _flat(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Named values `(s, *shape)` side by side, `(s, p)`."""
        starts = self.losses.shape[1]
        return np.concatenate([values[n].reshape(starts, -1) for n in self.space.names], axis=1)

    def _true(self, true: Mapping[str, ArrayLike]) -> np.ndarray:
        """Known parameters as `(p,)`; those outside the bounds are allowed."""
        missing = [name for name in self.space.names if name not in true]
        if missing:
            raise ValueError(f"the true parameters lack {', '.join(missing)}")
        return np.concatenate(
            [
                np.broadcast_to(np.asarray(true[name], float), self.space[name].shape).ravel()
                for name in self.space.names
            ]
        )
