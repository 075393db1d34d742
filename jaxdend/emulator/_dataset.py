"""What an emulator learns from and is tested on: input and answer of many simulations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxdend.sweep import open_sweep

OK = 1  # the status of a simulation that went well


class Stored:
    """An array of a store along its first axis: some of its rows, read when they are indexed.

    Behaves as a numpy array where it is indexed, has `shape`, `dtype` and `len`; `np.asarray` reads
    everything.
    """

    def __init__(self, source: Any, rows: np.ndarray, first: int = 0, k: int | None = None) -> None:
        self.source, self.rows, self.first, self.k = source, rows, first, k
        tail = list(source.shape[1:])
        tail[0] -= first
        if k is not None:  # eight bits a byte
            tail[1] = k
        self.shape = (len(rows), *tail)
        self.dtype = np.dtype(bool) if k is not None else source.dtype

    @property
    def ndim(self) -> int:
        """The number of axes of the stored array."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        rows = np.atleast_1d(self.rows[first])
        distinct, back = np.unique(rows, return_inverse=True)
        if len(distinct) and distinct[-1] - distinct[0] + 1 == len(distinct):
            block = np.asarray(self.source[int(distinct[0]) : int(distinct[-1]) + 1])
        else:
            block = np.asarray(self.source.oindex[distinct])
        block = block[back, self.first :]
        if self.k is not None:
            block = np.unpackbits(block, axis=-1, count=self.k).astype(bool)
        block = block[0] if np.ndim(self.rows[first]) == 0 else block
        where = () if np.ndim(self.rows[first]) == 0 else (slice(None),)
        return block[(*where, *rest)] if rest else block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy
        return np.asarray(self[:], dtype)

    def take(self, rows: np.ndarray) -> "Stored":
        """Some of the rows, by number or as a mask, still in the store."""
        return Stored(self.source, self.rows[rows], self.first, self.k)


@dataclass(frozen=True)
class Dataset:
    """The input and the answer of `n` simulations of `bins` ms each.

    The arrays are numpy's, or read from a store when they are indexed: `load` reads all of them.
    """

    x: Any  # (n, bins, k) bool, whether a synapse is active in a bin of 1 ms, excitatory first
    v: Any  # (n, bins) mV, the soma at the end of each bin
    spikes: Any  # (n, bins) bool, whether the cell fired in it
    dendrites: Any  # (n, bins, d) mV
    meta: dict[str, Any]  # setup, names and places of inputs and recordings, as JSON

    @property
    def n(self) -> int:
        """The number of simulations in the data."""
        return self.x.shape[0]

    @property
    def bins(self) -> int:
        """The number of bins of 1 ms in every simulation."""
        return self.x.shape[1]

    @property
    def k(self) -> int:
        """The number of inputs, excitatory and inhibitory."""
        return self.x.shape[2]

    def take(self, indices: Sequence[int] | np.ndarray) -> "Dataset":
        """A part of the simulations, chosen by number or by a mask."""
        rows = np.asarray(indices)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(int)

        def some(array: Any) -> Any:
            return array.take(rows) if isinstance(array, Stored) else array[rows]

        arrays = (self.x, self.v, self.spikes, self.dendrites)
        x, v, spikes, dendrites = (some(a) for a in arrays)
        return replace(self, x=x, v=v, spikes=spikes, dendrites=dendrites)

    def split(self, fractions: Sequence[float], seed: int = 0) -> tuple["Dataset", ...]:
        """Splits the simulations at random into parts that have none in common.

        **Arguments:** `fractions`, of each part, such as `(0.8, 0.1, 0.1)`; they may add up to
        less than 1.
        **Raises:** `ValueError` for fractions that are negative or add up to more than 1, and for
        parts without a simulation.
        """
        if min(fractions) < 0 or sum(fractions) > 1 + 1e-9:
            raise ValueError(f"fractions must be positive and add up to 1 at most; got {fractions}")
        order = np.random.default_rng(seed).permutation(self.n)
        ends = np.round(np.cumsum(fractions) * self.n).astype(int)
        parts = np.split(order[: ends[-1]], ends[:-1])
        if any(len(part) == 0 for part in parts):
            raise ValueError(
                f"{self.n} simulations are too few for parts of {tuple(fractions)}: one is empty"
            )
        return tuple(self.take(np.sort(part)) for part in parts)

    def load(self) -> "Dataset":
        """The same data in memory, where an input takes a byte for every bin."""
        return replace(
            self,
            x=np.asarray(self.x[:]),
            v=np.asarray(self.v[:]),
            spikes=np.asarray(self.spikes[:]),
            dendrites=np.asarray(self.dendrites[:]),
        )

    @property
    def rate(self) -> float:
        """The mean rate of the neuron's spikes, in Hz."""
        return float(np.mean(self.spikes[:])) * 1000.0


def open_data(out: str | Path, *, discard: int = 0, max_spikes: int | None = None) -> Dataset:
    """What `generate` has stored so far, without simulations that failed.

    **Arguments:** `discard`, ms at the beginning of each simulation, and `max_spikes`, above which
    a simulation is left out: the publication evaluates with 500 and 24.
    **Raises:** `ImportError` without zarr; `FileNotFoundError` or `ValueError` where there is no
    data.
    """
    import zarr

    sweep = open_sweep(out)
    program = sweep.attrs["jaxdend"]["program"]
    if "emulator" not in program:
        raise ValueError(f"{out} is a sweep, but not one that `generate` has made")
    meta = program["emulator"] | {"seconds": program["seconds"], "sampling_kind": program["kind"]}
    group: Any = zarr.open_group(str(out), mode="r")
    rows = np.flatnonzero(sweep["status"].values == OK)
    if max_spikes is not None:
        counts = np.asarray(group["count"])[rows]
        rows = rows[counts <= max_spikes]
    if not 0 <= discard < group["v"].shape[1]:
        raise ValueError(f"discard must be in 0..{group['v'].shape[1] - 1} ms; got {discard}")
    k, d = meta["k"], len(meta["dendrites"]["site"])
    v = Stored(group["v"], rows, discard)
    return Dataset(
        x=Stored(group["x"], rows, discard, k),
        v=v,
        spikes=Stored(group["spikes"], rows, discard),
        dendrites=Stored(group["dendrites"], rows, discard)
        if d
        else np.zeros((*v.shape, 0), np.float32),
        meta=meta,
    )
