"""The twin in use: a trained network with what it takes to run, save and load it."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, PyTree

from jaxdend.emulator._base import AbstractNetwork, Prediction, check_input, describe, run
from jaxdend.emulator._build import build
from jaxdend.emulator._predict import BATCH, predict
from jaxdend.emulator.training import evaluate
from jaxdend.files import complete, numbered, read_npz, refuse_array, write_npz

_FORMAT, _WHAT = "jaxdend-emulator-1", "emulator file"
_SMALL = 10**7  # a size up to which it takes neither memory nor time to describe a network


@dataclass(frozen=True, eq=False)
class Emulator:
    """A network in place of a neuron: input bits of 1 ms to somatic voltage and spikes.

    `Emulator.of(result.net, valid_data)` makes one of a trained network.

    **Raises:** `ValueError` for a threshold that is no probability.
    """

    net: AbstractNetwork
    threshold: float = 0.5  # probability above which a bin has a spike
    # of the training data, as JSON has it: setup, names, sites, regions and distances of the inputs
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the threshold, and fold the network for use."""
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"the threshold is a probability, not {self.threshold}")
        object.__setattr__(self, "net", self.net.fold())

    @cached_property
    def long(self) -> AbstractNetwork:
        """The network that runs long inputs; its filters may take several times the memory."""
        return self.net.quick()

    @classmethod
    def of(cls, net: AbstractNetwork, data: Any, **options: Any) -> "Emulator":
        """An emulator of a trained network, with the threshold at .2 % false positives on `data`.

        **Arguments:** `data`, a `Dataset` that the network was not trained on; `options` as of
        `evaluate`.
        """
        return cls(net, evaluate(net, data, **options).threshold, dict(data.meta))

    @property
    def names(self) -> list[str]:
        """The names of the inputs, or their numbers where the data have no names."""
        return list(self.meta.get("names", [str(i) for i in range(self.net.k)]))

    @property
    def bin(self) -> float:
        """The width of a bin in ms."""
        return float(self.meta.get("bin_ms", 1.0))

    def __call__(self, x: ArrayLike, batch: int = BATCH) -> Prediction:
        """Voltage (mV) and spikes (logits) of simulations of any number and length.

        On a CPU, filters of many taps and inputs run by the fast Fourier transform: the answer is
        that of `step` up to rounding, some 1e-6 of its size.

        **Arguments:** `x (..., bins, k)`, 0 or 1; `batch`, how many run at a time.
        **Returns:** a `Prediction` of host arrays `(..., bins)`.
        **Raises:** `ValueError` for an input of another width, without bins, or with NaN.
        """
        x = np.asarray(x)
        check_input(x.shape, self.net.k)
        if x.size == 0:
            raise ValueError(f"there is nothing to predict in an input of shape {x.shape}")
        if x.dtype.kind == "f" and np.isnan(x).any():
            raise ValueError("the input has NaN; every entry is 0 or 1")
        found = predict(self.long, x.reshape(-1, *x.shape[-2:]), batch)
        return jax.tree.map(lambda y: y.reshape(*x.shape[:-2], *y.shape[1:]), found)

    def spikes(self, x: ArrayLike, batch: int = BATCH) -> np.ndarray:
        """Says which bins have a spike, `(..., bins)`: those more probable than the threshold."""
        return np.asarray(self(x, batch).probability) > self.threshold

    def start(self, batch: int = 1) -> PyTree:
        """What `step` carries on from before the first bin of `batch` streams."""
        return self.net.start(batch)

    def step(self, x: ArrayLike, carry: PyTree) -> tuple[Prediction, PyTree]:
        """The next bins of a stream: `x (b, bins, k)` after all that `carry` has seen.

        **Returns:** the prediction, device arrays `(b, bins)`, and the carry for what follows.
        """
        x = jnp.asarray(x)
        check_input(x.shape, self.net.k, 3)
        return run(self.net, x, carry)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything to one `.npz` file, whole or not at all; no pickle inside.

        **Returns:** the path written (`.npz` is appended where it is missing).

        **Raises:** `ValueError` for a network whose numbers are not of 32 or 64 bits.
        """
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self.net)]
        for i, leaf in enumerate(leaves):
            refuse_array(f"leaf_{i}", leaf)
        about = {"network": dict(describe(self.net)), "leaves": len(leaves)}
        about |= {"threshold": self.threshold, "meta": self.meta}
        arrays = {f"leaf_{i}": leaf for i, leaf in enumerate(leaves)}
        return write_npz(path, {"format": _FORMAT} | about, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Emulator":
        """Read what `save` wrote: its predictions are bit for bit those of the one saved.

        **Raises:** `FileNotFoundError`; `SavedFileError` for a file that is cut short, damaged, of
        another format, or something else.
        """
        header, arrays = read_npz(path, _WHAT, _FORMAT)
        with complete(path, _WHAT):
            leaves = numbered(arrays, "leaf", header["leaves"])
            if arrays:
                raise ValueError(f"it has other arrays: {', '.join(arrays)}")
            _check_sizes(header["network"], sum(leaf.size for leaf in leaves))
            like = eqx.filter_eval_shape(lambda: build(header["network"]))
            _check(leaves, like, np.dtype(header["network"]["dtype"]))
            if not isinstance(header["meta"], dict):
                raise ValueError(f"meta must be a dict; got {header['meta']!r}")
            net = jax.tree.unflatten(jax.tree.structure(like), [jnp.asarray(x) for x in leaves])
            return cls(net, float(header["threshold"]), header["meta"])


def _check_sizes(about: Any, most: int) -> None:
    """Refuse a description of a network with sizes that its numbers do not have.

    Building it, even without its arrays, would take long and much memory.
    """
    sizes = jax.tree.leaves(about, is_leaf=lambda x: x is None)
    if any(isinstance(x, int | float) and not abs(x) <= max(most, _SMALL) for x in sizes):
        raise ValueError(f"the network says larger sizes than its {most} numbers can have")


def _check(leaves: list[np.ndarray], like: AbstractNetwork, dtype: np.dtype) -> None:
    """Refuse leaves that are not those of `like`, up to the number of dendrites recorded."""
    wanted = jax.tree_util.tree_leaves_with_path(like)
    if len(leaves) != len(wanted):
        raise ValueError(f"the network has {len(wanted)} leaves; got {len(leaves)}")
    sites = set()
    for i, (leaf, (path, one)) in enumerate(zip(leaves, wanted, strict=True)):
        name, shape = jax.tree_util.keystr(path), one.shape
        if name in (".scaling.mean", ".scaling.basis") and leaf.ndim:
            sites.add(leaf.shape[0])
            shape = (leaf.shape[0], *shape[1:])
        if (leaf.shape, leaf.dtype) != (shape, dtype):
            raise ValueError(
                f"leaf_{i} must be {dtype} of shape {shape}; got {leaf.dtype} of {leaf.shape}"
            )
    if len(sites) > 1:
        raise ValueError(f"the scaling of dendrites is of {sorted(sites)} sites at once")


@dataclass(frozen=True)
class Speed:
    """How long a second of the neuron takes, simulated and emulated."""

    simulations: int  # at a time
    bins: int  # of each
    emulator: float  # s of wall time for a second of the neuron
    simulation: float  # s, likewise

    @property
    def ratio(self) -> float:
        """The factor by which the emulator is faster than the simulation."""
        return self.simulation / self.emulator

    def __str__(self) -> str:
        return (
            f"{self.ratio:.3g} times faster: {1e3 * self.emulator:.3g} ms instead of "
            f"{1e3 * self.simulation:.4g} ms a second of the neuron, {self.simulations} x "
            f"{self.bins} ms at a time"
        )


def speed(
    emulator: Emulator,
    x: ArrayLike,
    against: Any,
    *,
    repeats: int = 3,
) -> Speed:
    """Measure the emulator against the simulation on the same input, here and now.

    The fastest of `repeats` runs counts, compilation left out.

    **Arguments:** `x (n, bins, k)`; `against`, a setup of `emulator.data`, or a function of `x`
    that runs the simulations, or a number: wall seconds for a second of the neuron, as measured
    elsewhere (in NEURON).
    """
    x = jnp.asarray(x)
    check_input(x.shape, emulator.net.k, 3)
    n, bins, _ = x.shape
    total = n * bins * emulator.bin / 1000

    def twin(x: Array) -> Prediction:
        return run(emulator.long, x, emulator.start(n))[0]

    taken = _fastest(twin, x, repeats) / total
    if isinstance(against, int | float):
        return Speed(n, bins, taken, float(against))
    simulate = against
    if hasattr(against, "simulate"):
        simulate = jax.jit(jax.vmap(against.simulate))
    return Speed(n, bins, taken, _fastest(simulate, x, repeats) / total)


def _fastest(act: Callable[[Array], Any], x: Array, repeats: int) -> float:
    jax.block_until_ready(act(x))
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(act(x))
        times.append(time.perf_counter() - begin)
    return min(times)
