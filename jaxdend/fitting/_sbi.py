"""A simulator and a prior in the form that simulation-based inference takes (package `sbi`)."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend.devices import batch
from jaxdend.fitting._space import ParameterSpace


def sbi_simulator(
    model: Callable[[dict[str, Array]], Array],
    space: ParameterSpace,
    *,
    summary: Callable[[Array], Array] | None = None,
    chunk: int = 256,
) -> tuple[Callable[[int, int], np.ndarray], Callable[[Any], np.ndarray]]:
    """A prior to draw from, and a simulator of whole batches, on numpy arrays.

    Both speak of `theta (b, p)`, one column for each component of the space in its order: the value
    where the scale is linear, its natural logarithm where it is log. In these the prior is uniform
    in a box, that of `sbi_prior`. `sbi_params` translates `theta` back.

    ```python
    draw, simulator = sbi_simulator(traces, space, summary=features)
    theta = draw(10_000, 0)
    x = simulator(theta)                                    # (10000, d), failed ones NaN
    inference = sbi.inference.NPE(sbi_prior(space))
    inference.append_simulations(torch.as_tensor(theta, dtype=torch.float32),
                                 torch.as_tensor(x, dtype=torch.float32))
    ```

    **Arguments:**

    - `model`: parameters, name -> array in the space's units, to an array. Pure JAX; it should
      simulate with `throw=False`.
    - `summary`: applied to what `model` returns, in the same program.
    - `chunk`: simulations at once, shared out over all devices.

    **Returns:** `draw(n, seed) -> (n, p)` and `simulator(theta) -> (b, d)`, results flattened. A
    row that is not finite comes back as NaN throughout, which `sbi` leaves out. `theta` may be
    anything that numpy takes, a torch tensor on the CPU included; one `(p,)` gives `(1, d)`.

    **Raises:** `ValueError` in `simulator` for a `theta` of another width, or outside the prior.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    low, high = _bounds(space)

    def one(theta: Array) -> Array:
        out = model(sbi_params(space, theta))
        return jnp.ravel(out if summary is None else summary(out))

    run = batch(one)

    def draw(n: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).uniform(low, high, (n, space.size))

    def simulator(theta: Any) -> np.ndarray:
        theta = np.atleast_2d(np.asarray(theta, float))
        if theta.ndim != 2 or theta.shape[1] != space.size:
            raise ValueError(f"expected theta (b, {space.size}), got shape {theta.shape}")
        slack = 1e-5 * (high - low)  # of float32
        if not np.all((theta >= low - slack) & (theta <= high + slack)):
            raise ValueError("theta has values outside the bounds of the space, or NaN")
        theta = np.clip(theta, low, high)
        size = min(chunk, 1 << (len(theta) - 1).bit_length())  # few programs for all lengths
        filled = np.concatenate([theta, np.repeat(theta[-1:], -len(theta) % size, axis=0)])
        parts = [np.asarray(run(filled[i : i + size])) for i in range(0, len(filled), size)]
        x = np.concatenate(parts)[: len(theta)]
        return np.where(np.isfinite(x).all(axis=1, keepdims=True), x, np.nan)

    return draw, simulator


def sbi_params(space: ParameterSpace, theta: ArrayLike) -> dict[str, Array]:
    """The parameters, name -> `(..., *shape)`, of `theta (..., p)` as `sbi_simulator` means it."""
    theta, out, start = jnp.asarray(theta, float), {}, 0
    for name in space:
        p = space[name]
        x = theta[..., start : start + p.size].reshape(theta.shape[:-1] + p.shape)
        out[name] = jnp.exp(x) if p.scale == "log" else x
        start += p.size
    return out


def sbi_prior(space: ParameterSpace) -> Any:
    """The uniform prior over `theta` of `sbi_simulator`, as `sbi` wants it.

    **Returns:** `torch.distributions.Independent(Uniform(low, high), 1)`, float32.

    **Raises:** `ImportError` where torch, which jaxdend does not bring, is not installed.
    """
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("sbi_prior needs torch: pip install torch, or sbi") from error
    low, high = (torch.as_tensor(b, dtype=torch.float32) for b in _bounds(space))
    return torch.distributions.Independent(torch.distributions.Uniform(low, high), 1)


def _bounds(space: ParameterSpace) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of `theta`, each `(p,)`."""
    entries = [space[name] for name in space for _ in range(space[name].size)]
    logs = np.asarray([p.scale == "log" for p in entries])
    low, high = (np.asarray([getattr(p, end) for p in entries]) for end in ("low", "high"))
    return (np.where(logs, np.log(np.where(logs, low, 1.0)), low),
            np.where(logs, np.log(np.where(logs, high, 1.0)), high))  # fmt: skip
