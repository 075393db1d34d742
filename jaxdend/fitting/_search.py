"""Searches without gradients, the baselines of a fit: CMA-ES, a genetic algorithm, random points.

What a search does next follows from its seed and the losses so far. So its history is all that a
checkpoint needs: the method is run again over the recorded losses, which takes no simulation.
"""

from collections.abc import Callable, Generator
from typing import Literal

import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend.devices import batch
from jaxdend.fitting._result import FitResult
from jaxdend.fitting._run import Callback, begin, watched
from jaxdend.fitting._space import ParameterSpace, describe_space
from jaxdend.fitting._starts import Starts, digest, key_numbers, starting_vectors
from jaxdend.runs import Loop, Rows, Run

# yields unit vectors (s, p) to evaluate, is sent their losses (s,)
Asking = Generator[np.ndarray, np.ndarray, None]

CROWDING = 10.0  # distribution index of crossover and mutation, BluePyOpt's default
MUTATED = 0.5  # probability of each component to be mutated, BluePyOpt's default
SPREAD = 0.25  # first standard deviation of CMA-ES, as a fraction of every range
EDGE = 1e-6  # a unit vector stays this far inside (0, 1)


def search(
    loss: Callable[[dict[str, Array]], Array],
    space: ParameterSpace,
    *,
    method: Literal["cma_es", "genetic", "random"] = "cma_es",
    population: int = 16,
    steps: int | None = None,
    evaluations: int | None = None,
    starts: Starts = 1,
    key: ArrayLike = 0,
    callback: Callback | None = None,
    run: Run | None = None,
) -> FitResult:
    """Look for the least loss without gradients, a whole population in one `jaxdend.batch`.

    All methods work in the box as the space measures it, in logarithms where the scale is log. A
    loss that is not finite counts as the worst.

    - `"cma_es"`: covariance matrix adaptation (Hansen 2016, arXiv 1604.00772) by the package `cma`.
      It begins at the start, with a standard deviation of a quarter of every range; when it has
      converged it begins anew at a random point.
    - `"genetic"`: the best `population` of all so far are the parents of the next (μ + λ).
      Tournaments of two choose them; simulated binary crossover and polynomial mutation (Deb &
      Agrawal 1995, Complex Systems 9:115), index 10, make the offspring, as BluePyOpt does (Van
      Geit et al. 2016, doi:10.3389/fninf.2016.00017), here for one objective.
    - `"random"`: uniform points, the least that another method must beat.

    **Arguments:**

    - `loss`: parameters, name -> array in the space's units, to a scalar. Pure JAX.
    - `population`: evaluations in a generation, at least 4.
    - `steps` generations, or `evaluations` in all (rounded up to whole generations): one of them.
    - `starts`: as in `fit`. The first generation of `"genetic"` and `"random"` begins with them;
      `"cma_es"` uses the first.
    - `callback`, `run`: as in `fit`; in generations.

    **Returns:** a `FitResult`, a row for each generation, a column for each of its population.

    **Raises:** `ImportError` without `cma`; `ValueError` for an unknown method, counts that are too
    small, or what does not fit a resume.
    """
    steps = _generations(steps, evaluations, population)
    z = np.asarray(starting_vectors(space, starts, key))
    if len(z) > population:
        raise ValueError(f"{len(z)} starts do not fit into a population of {population}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    sampled = isinstance(starts, int | np.integer) and method != "cma_es"
    asking = METHODS[method](_unit(z[:0] if sampled else z), population, key_numbers(key))
    evaluate = batch(lambda z: loss(space.to_dict(z)))
    header = {"run": "search", "method": method, "space": describe_space(space),
              "key": key_numbers(key), "population": population, "starts": digest(z)}  # fmt: skip
    watch = watched(callback)
    loop = Loop(steps, method, Run.of(run), callback=watch, header=lambda: header)
    part = begin(loop, space, ())
    pending = _replayed(asking, part.rows, z.dtype)

    def advance(state: tuple, count: int) -> tuple[tuple, Rows, bool]:
        nonlocal pending
        vectors = _vectors(pending, z.dtype)
        losses = np.asarray(evaluate(vectors), z.dtype)
        if losses.shape != (population,):
            raise ValueError(f"the loss must be a scalar, got shape {losses.shape[1:]}")
        pending = asking.send(_ranked(losses))
        return state, {"losses": losses[None], "vectors": vectors[None]}, False

    return FitResult.of(space, loop.go(advance, part))


def _generations(steps: int | None, evaluations: int | None, population: int) -> int:
    if population < 4:
        raise ValueError(f"population must be at least 4, got {population}")
    if (steps is None) == (evaluations is None):
        raise ValueError("give either steps, in generations, or evaluations")
    return int(steps) if steps is not None else -(-int(evaluations or 0) // population)


def _unit(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.asarray(z, float)))


def _vectors(unit: np.ndarray, dtype: np.dtype) -> np.ndarray:
    unit = np.clip(unit, EDGE, 1 - EDGE)
    return (np.log(unit) - np.log1p(-unit)).astype(dtype)


def _ranked(losses: np.ndarray) -> np.ndarray:
    """`losses` with the largest of numbers for those that are not finite."""
    return np.where(np.isfinite(losses), losses, np.finfo(float).max / 1e3).astype(float)


def _replayed(asking: Asking, rows: Rows, dtype: np.dtype) -> np.ndarray:
    """Let the method go through a recorded history; what it would evaluate next."""
    pending = next(asking)
    for losses, vectors in zip(rows.get("losses", ()), rows.get("vectors", ()), strict=True):
        if not np.array_equal(_vectors(pending, dtype), vectors):
            raise ValueError(
                "cannot resume: the method would not have evaluated what was recorded; pass the "
                "same starts and key, and use the same version of its package"
            )
        pending = asking.send(_ranked(losses))
    return pending


def _random(first: np.ndarray, population: int, seed: list[int]) -> Asking:
    rng = np.random.default_rng(seed)
    while True:
        drawn = rng.random((population - len(first), first.shape[1]))
        yield np.concatenate([first, drawn])
        first = first[:0]


def _cma_es(first: np.ndarray, population: int, seed: list[int]) -> Asking:
    try:
        import cma
    except ImportError as error:
        raise ImportError('method="cma_es" needs cma: pip install "jaxdend[search]"') from error
    rng = np.random.default_rng(seed)
    options = {
        "popsize": population,
        "bounds": [0.0, 1.0],
        "randn": lambda *shape: rng.standard_normal(shape),
        "seed": np.nan,  # leaves numpy's global generator alone
        "verbose": -9,
        "CMA_diagonal": 0,
    }
    begin = first[0]
    while True:
        strategy = cma.CMAEvolutionStrategy(np.clip(begin, 0.01, 0.99), SPREAD, options)
        while not strategy.stop():
            asked = strategy.ask()
            losses = yield np.asarray(asked)
            strategy.tell(asked, losses.tolist())
        begin = rng.random(first.shape[1])


def _genetic(first: np.ndarray, population: int, seed: list[int]) -> Asking:
    rng = np.random.default_rng(seed)
    size = first.shape[1]
    drawn = rng.random((population - len(first), size))
    parents = np.concatenate([first, drawn])
    worth = yield parents
    while True:
        rivals = rng.integers(population, size=(2, population))
        chosen = parents[np.where(worth[rivals[0]] <= worth[rivals[1]], *rivals)]
        half = (population + 1) // 2
        mates = chosen[:half], chosen[population - half :]
        offspring = np.concatenate(_crossed(rng, *mates))[:population]
        offspring = _mutated(rng, offspring)
        losses = yield offspring
        everyone = np.concatenate([parents, offspring])
        worth = np.concatenate([worth, losses])
        best = np.argsort(worth, kind="stable")[:population]
        parents, worth = everyone[best], worth[best]


def _crossed(rng: np.random.Generator, a: np.ndarray, b: np.ndarray) -> tuple:
    """Simulated binary crossover: each component, with probability one half, of both parents."""
    u = rng.random(a.shape)
    spread = np.where(u <= 0.5, 2 * u, 0.5 / np.maximum(1 - u, 1e-12)) ** (1 / (CROWDING + 1))
    spread = np.where(rng.random(a.shape) < 0.5, spread, 1.0)
    middle, away = (a + b) / 2, spread * (a - b) / 2
    return np.clip(middle + away, 0, 1), np.clip(middle - away, 0, 1)


def _mutated(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Polynomial mutation within the bounds 0 and 1."""
    u, power = rng.random(x.shape), CROWDING + 1
    low, high = np.minimum(u, 0.5), np.maximum(u, 0.5)  # each side is real on its own half
    down = (2 * low + (1 - 2 * low) * (1 - x) ** power) ** (1 / power) - 1
    up = 1 - (2 * (1 - high) + (2 * high - 1) * x**power) ** (1 / power)
    moved = x + np.where(u < 0.5, down, up)
    return np.clip(np.where(rng.random(x.shape) < MUTATED, moved, x), 0, 1)


METHODS = {"cma_es": _cma_es, "genetic": _genetic, "random": _random}
