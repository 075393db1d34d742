"""Where a run begins, and what tells it from one that begins elsewhere."""

import hashlib
from collections.abc import Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend.fitting._space import ParameterSpace

Starts: TypeAlias = int | ArrayLike | Mapping[str, ArrayLike]


def starting_vectors(space: ParameterSpace, starts: Starts, key: ArrayLike) -> Array:
    """The starts as vectors `(s, p)`; refuses what is no parameter space."""
    if not isinstance(space, ParameterSpace):
        raise TypeError(
            "a fit needs a ParameterSpace, as ParameterSpace({'gnabar': Parameter(0.01, 0.5)}); "
            f"got {space!r}"
        )
    if isinstance(starts, int | np.integer):
        return space.sample(key, int(starts))
    if isinstance(starts, Mapping):
        z = space.to_vector(starts)
    else:
        z = jnp.asarray(starts, dtype=jnp.result_type(float))
    if z.ndim != 2 or z.shape[1] != space.size or z.shape[0] == 0:
        raise ValueError(
            f"starts must be a number, vectors (s, {space.size}), or a dict of arrays with a "
            f"leading axis s; got the shape {z.shape}"
        )
    if not bool(jnp.isfinite(z).all()):
        raise ValueError("every start must be finite, got NaN or infinity")
    return z


def digest(z: ArrayLike) -> str:
    """A short text that differs for other starting vectors."""
    return hashlib.sha256(np.asarray(z).tobytes()).hexdigest()[:16]


def key_numbers(key: ArrayLike) -> list[int]:
    """What a JAX key or an integer seed consists of."""
    key = jnp.asarray(key)
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key(key) if key.ndim == 0 else jax.random.wrap_key_data(key)
    return np.asarray(jax.random.key_data(key)).tolist()
