"""Crops of simulations for training, each a pure function of the seed and the step."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxdend.emulator._base import CLIP

_FROM = 500  # ms, no crop ends earlier: the published discard


@dataclass
class Crops:
    """Random stretches of random simulations, read when they are needed.

    The next ones can be read while the device computes: `fetch` remembers what it read.
    """

    data: Any  # Dataset
    batch: int
    crop: int  # bins
    seed: int
    dendrites: bool  # whether they are wanted

    def __post_init__(self) -> None:
        """Refuse simulations shorter than a crop, and none at all."""
        if self.data.n < 1 or self.data.bins < self.crop:
            raise ValueError(
                f"crops of {self.crop} bins cannot be drawn from {self.data.n} simulations of "
                f"{self.data.bins} bins: record longer, or train with a shorter crop"
            )
        self._ready: dict[int, tuple[np.ndarray, ...]] = {}

    def fetch(self, first: int, count: int) -> None:
        """Read the crops of the steps from `first` on and keep them."""
        for step in range(first, first + count):
            if step not in self._ready:
                self._ready[step] = self._read(step)

    def take(self, step: int) -> tuple[np.ndarray, ...]:
        """The input, spikes, voltage and dendrites of a step, `(batch, crop, ...)` each."""
        self.fetch(step, 1)
        return self._ready.pop(step)

    def _read(self, step: int) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng([self.seed, step])
        which = rng.integers(self.data.n, size=self.batch)
        least = max(self.crop, min(_FROM, self.data.bins))
        ends = rng.integers(least, self.data.bins + 1, size=self.batch)
        places = [
            (int(i), slice(int(end) - self.crop, int(end)))
            for i, end in zip(which, ends, strict=True)
        ]

        def read(array: Any, dtype: Any) -> np.ndarray:
            return np.stack([np.asarray(array[place]) for place in places]).astype(dtype)

        v = np.minimum(read(self.data.v, np.float32), CLIP)
        out = read(self.data.x, bool), read(self.data.spikes, bool), v
        if self.dendrites:
            out = (*out, read(self.data.dendrites, np.float32))
        bad = [place[0] for i, place in enumerate(places) if not _finite(out[2:], i)]
        if bad:
            raise ValueError(
                f"simulation {bad[0]} of the training data has NaN in its voltages: leave it out, "
                "data.take([...])"
            )
        return out


def _finite(arrays: tuple[np.ndarray, ...], i: int) -> bool:
    return all(bool(np.isfinite(a[i]).all()) for a in arrays)
