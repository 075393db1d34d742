"""Training a task end to end: many random neurons in one batch, the best ones by gradient."""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike
from tqdm import tqdm

from jaxdend.fitting import FitResult, ParameterSpace, fit
from jaxdend.tasks.base import AbstractTask, Params, Score, Training
from jaxdend.tasks.result import TaskResult, as_arrays

CHUNK = 64  # configurations in one call of the compiled program
ROBUST = 0.98  # of the noisy repeats must be right before training stops


def train(
    task: AbstractTask,
    *,
    seed: int = 0,
    training: Training | None = None,
    optimizer: optax.GradientTransformation | None = None,
    resume: FitResult | None = None,
    progress: bool = True,
    stop: bool = True,
) -> TaskResult:
    """Train the neuron of `task`: conductances, synapse sites, weights and event times together.

    Random configurations come first, all patterns of `CHUNK` of them in one batch, and are pruned
    to the `training.starts` with the least loss; these descend the gradient as one batch
    (`fitting.fit`) until one is solved or the steps are used up.

    **Arguments:** `seed` of the random configurations; `training`, by default `task.training`;
    `optimizer`, any of optax in place of Adam; `resume`, the `fit` of an interrupted result, to go
    on from; `stop=False` goes on after the task is solved.

    **Returns:** `TaskResult`, the configuration with the best margin.

    **Raises:** `ValueError` where no random configuration has a finite loss.
    """
    training = task.training if training is None else training
    clock, space = time.perf_counter(), task.neuron.space
    factors = weight_noise(space, training.noise, training.copies, seed, first_exact=True)
    first = space.sample(seed, training.configs)
    losses = screen(task, first, progress=progress)
    if not np.isfinite(losses).any():
        raise ValueError(
            f"{task.name}: none of {training.configs} random configurations has a finite loss; "
            "narrow the bounds of the neuron's space."
        )
    chosen = np.argsort(np.where(np.isfinite(losses), losses, np.inf))[: training.starts]
    copies = 1 + (training.copies if factors else 0)
    winner, least, looks = None, np.inf, 0

    def solved(step: int, now: np.ndarray, vectors: np.ndarray) -> bool:
        nonlocal winner, least, looks
        best = int(np.argmin(np.where(np.isfinite(now), now, np.inf)))
        if not stop or not now[best] < least:
            return False
        least, looks = float(now[best]), looks + 1
        params = space.to_dict(jnp.asarray(vectors[best]))
        if not evaluate(task, params)[1].solved:
            return False
        if factors:
            looks += CHUNK
            right, _ = robustness(task, params, noise=training.noise, repeats=CHUNK, seed=seed + 1)
            if right < ROBUST:
                return False
        winner = vectors[best]
        return True

    def loss(params: Params) -> Array:
        def one(factor: Params) -> Array:
            return task.loss(task.responses(scaled(params, factor)))

        return jnp.mean(jax.vmap(one)(factors)) if factors else one({})

    fitted = fit(
        loss,
        space,
        optimizer=optax.adam(training.rate, b2=0.9) if optimizer is None else optimizer,
        starts=first[jnp.asarray(chosen)],
        steps=training.steps,
        progress=progress,
        callback=solved,
        resume=resume,
    )
    spent = training.configs + copies * fitted.losses.size + looks + 2 * len(chosen)
    return _result(task, seed, fitted, winner, losses, spent * len(task.labels), clock)


@eqx.filter_jit
def evaluate(task: AbstractTask, params: Params) -> tuple[Array, Score]:
    """The responses `(P,)` of one configuration and their `Score`."""
    responses = task.responses(params)
    return responses, task.score(responses)


@eqx.filter_jit
def _losses(task: AbstractTask, space: ParameterSpace, vectors: Array) -> Array:
    def one(z: Array) -> Array:
        return task.loss(task.responses(space.to_dict(z)))

    return jax.vmap(one)(vectors)


def screen(task: AbstractTask, vectors: ArrayLike, *, progress: bool = False) -> np.ndarray:
    """The loss of many configurations, `vectors (n, p)` of the neuron's space: `(n,)`.

    They are simulated `CHUNK` at a time, as one batch with all patterns.
    """
    vectors = jnp.asarray(vectors)
    size, out = min(CHUNK, len(vectors)), []
    bar = tqdm(total=len(vectors), disable=not progress, desc="random", unit="neuron")
    with bar:
        for i in range(0, len(vectors), size):
            part = vectors[i : i + size]
            filled = jnp.concatenate([part, jnp.repeat(part[-1:], size - len(part), axis=0)])
            out.append(np.asarray(_losses(task, task.neuron.space, filled))[: len(part)])
            bar.update(len(part))
    return np.concatenate(out)


def _result(
    task: AbstractTask,
    seed: int,
    fitted: FitResult,
    winner: np.ndarray | None,
    configs: np.ndarray,
    simulations: int,
    clock: float,
) -> TaskResult:
    """The configuration that ended training, or else the best point with the widest margin."""
    space = task.neuron.space
    ends = fitted.best_vectors
    if winner is None:
        margins = [float(evaluate(task, space.to_dict(jnp.asarray(z)))[1].margin) for z in ends]
        best = int(np.nanargmax(margins))
        winner = ends[best]
    else:
        best = int(np.argmin(np.abs(fitted.vectors - winner).max(axis=-1).min(axis=0)))
    params = space.to_dict(jnp.asarray(winner))
    responses, score = evaluate(task, params)
    start = space.to_dict(jnp.asarray(fitted.vectors[0][best]))
    before, start_score = evaluate(task, start)
    return TaskResult(
        task=task.name,
        seed=seed,
        labels=task.labels,
        unit=task.neuron.unit,
        params=as_arrays(params),
        responses=np.asarray(responses),
        accuracy=float(score.accuracy),
        margin=float(score.margin),
        solved=bool(score.solved),
        start_params=as_arrays(start),
        start_responses=np.asarray(before),
        start_margin=float(start_score.margin),
        configs=configs,
        fit=fitted,
        simulations=simulations,
        wall_s=time.perf_counter() - clock,
    )


def robustness(
    task: AbstractTask, params: Params, *, noise: float = 0.1, repeats: int = 200, seed: int = 0
) -> tuple[float, np.ndarray]:
    """How often every pattern is still right when each synaptic weight is off at random.

    **Arguments:** `noise`, standard deviation relative to the weight, of every parameter whose unit
    is `"uS"`; `repeats`; `seed`.

    **Returns:** the fraction of repeats with all patterns right, and the responses
    `(repeats, P)`.
    """
    factors = weight_noise(task.neuron.space, noise, repeats, seed)
    if not factors:
        raise ValueError(f"{task.name}: no parameter of the neuron has the unit 'uS'.")
    params = {name: jnp.asarray(value) for name, value in params.items()}
    parts = []
    for i in range(0, repeats, CHUNK):
        rows = jnp.minimum(jnp.arange(i, i + min(CHUNK, repeats)), repeats - 1)
        parts.append(_noisy(task, params, {name: f[rows] for name, f in factors.items()}))
    responses = np.concatenate([np.asarray(r) for r, _ in parts])[:repeats]
    right = np.concatenate([np.asarray(a) for _, a in parts])[:repeats]
    return float(np.mean(right == 1.0)), responses


@eqx.filter_jit
def _noisy(task: AbstractTask, params: Params, factors: Params) -> tuple[Array, Array]:
    def one(factor: Params) -> tuple[Array, Array]:
        responses = task.responses(scaled(params, factor))
        return responses, task.score(responses).accuracy

    return jax.vmap(one)(factors)


def weight_noise(
    space: ParameterSpace, noise: float, copies: int, seed: int, *, first_exact: bool = False
) -> Params:
    """Random factors `(copies, *shape)` for every synaptic weight, `max(0, 1 + noise N(0, 1))`.

    A weight is a parameter of the unit `"uS"`. With `first_exact` a row of ones comes first.
    Without noise, or weights, there are no factors: `{}`.
    """
    names = [name for name in space if space[name].unit == "uS"]
    if noise == 0.0:
        return {}
    factors = {}
    for name, key in zip(names, jax.random.split(jax.random.key(seed), len(names)), strict=True):
        normal = jax.random.normal(key, (copies, *space[name].shape))
        factor = jnp.maximum(1.0 + noise * normal, 0.0)
        exact = jnp.ones((int(first_exact), *factor.shape[1:]), factor.dtype)
        factors[name] = jnp.concatenate([exact, factor])
    return factors


def scaled(params: Params, factors: Params) -> Params:
    """`params` with those that have a factor multiplied by it."""
    return {name: x * factors[name] if name in factors else x for name, x in params.items()}
