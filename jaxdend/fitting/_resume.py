"""What a saved fit must have in common with the one that goes on from it."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike

from jaxdend.fitting._prune import Prune
from jaxdend.fitting._result import FitResult
from jaxdend.fitting._saving import RunFolder, describe_space
from jaxdend.fitting._space import ParameterSpace


def header(
    space: ParameterSpace,
    optimizer: optax.GradientTransformationExtraArgs,
    z: Array,
    drawn: int | None,
    key: ArrayLike,
    steps: int | None,
    clip: float | None,
    prune: Prune | None,
    about: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What makes this fit another than that one, as far as it can be told.

    **Arguments:** as of `fit`; `z (s, p)`, the starts; `drawn`, how many of them are random;
    `steps`, where it matters.
    """
    if drawn is not None:
        begin: Any = {"starts": drawn, "key": _key_numbers(key)}
    else:
        digest = hashlib.sha256(np.asarray(z).tobytes()).hexdigest()[:16]
        begin = {"starts": len(z), "vectors": digest}
    one = jnp.ones(space.size)
    memory = optimizer.init(one)
    move, _ = optimizer.update(one, memory, one, value=jnp.ones(()))
    leaves = jax.tree_util.tree_leaves_with_path(memory)
    return {
        "run": "fit",
        "space": describe_space(space),
        "begin": begin,
        "optimizer": [f"{jax.tree_util.keystr(path)} {jnp.shape(x)}" for path, x in leaves],
        "first move": f"{float(jnp.linalg.norm(jnp.asarray(move))):.5g}",  # tells the rate
        "steps": steps,
        "clip": clip,
        "prune": None if prune is None else dataclasses.asdict(prune),
        "about": None if about is None else dict(about),
        "precision": jnp.result_type(float).name,
    }


def _key_numbers(key: ArrayLike) -> list[int]:
    key = jnp.asarray(key)
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key(key) if key.ndim == 0 else jax.random.wrap_key_data(key)
    return np.asarray(jax.random.key_data(key)).tolist()


def part_before(
    resume: bool | FitResult | str | os.PathLike[str], folder: RunFolder | None
) -> FitResult | None:
    """The part to go on from; `None` to begin."""
    if resume is True:
        if folder is None:
            raise ValueError("resume=True goes on from the folder save_to, which is not given")
        return FitResult.read(folder) if folder.used else None
    if folder is not None and folder.used:
        raise ValueError(
            f"{folder.path} holds a fit already: go on with it by resume=True, or give another "
            "folder, or delete this one"
        )
    if resume is False or isinstance(resume, FitResult):
        return resume or None
    return FitResult.load(resume)
