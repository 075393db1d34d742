"""Running a network over simulations of any number and length, in batches and blocks."""

from typing import Any

import jax
import numpy as np

from jaxdend.emulator._base import AbstractNetwork, Prediction, check_input, run

BLOCK = 2000  # bins at a time
BATCH = 16  # simulations at a time


def predict(net: AbstractNetwork, x: Any, batch: int = BATCH, block: int = BLOCK) -> Prediction:
    """Predictions of simulations `x (n, bins, k)`, read batch by batch: host arrays `(n, bins)`.

    Long ones run in blocks, one going on where the other stopped: there are few programs to
    compile, whatever the number and the length.

    **Raises:** `ValueError` for an input of another width.
    """
    check_input(tuple(x.shape), net.k, 3)
    n, bins = int(x.shape[0]), int(x.shape[1])
    batch, block = min(batch, n), min(block, bins)
    parts = []
    for first in range(0, n, batch):
        some = np.asarray(x[first : first + batch])
        count = len(some)
        if count < batch:
            some = np.concatenate([some, np.zeros((batch - count, *some.shape[1:]), some.dtype)])
        found = _blocks(net, some, block)
        parts.append(jax.tree.map(lambda y, m=count: y[:m], found))
    return jax.tree.map(lambda *ys: np.concatenate(ys), *parts)


def _blocks(net: AbstractNetwork, x: np.ndarray, block: int) -> Prediction:
    carry, parts = net.start(len(x)), []
    for first in range(0, x.shape[1], block):
        some = x[:, first : first + block]
        missing = block - some.shape[1]
        if missing:
            some = np.pad(some, ((0, 0), (0, missing), (0, 0)))
        found, carry = run(net, some, carry)
        parts.append(jax.tree.map(lambda y, m=block - missing: np.asarray(y)[:, :m], found))
    return jax.tree.map(lambda *ys: np.concatenate(ys, axis=1), *parts)
