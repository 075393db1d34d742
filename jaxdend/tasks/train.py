"""Training a task end to end: many random neurons in one batch, the best ones by gradient."""

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike

from jaxdend._bars import progress_bar
from jaxdend.fitting import FitResult, ParameterSpace, fit
from jaxdend.runs import Run, is_saved
from jaxdend.tasks.base import AbstractTask, Params, Training
from jaxdend.tasks.judge import (
    CHOOSE,
    CHUNK,
    SCREEN,
    SHAKE,
    TEST,
    TRAIN,
    VALIDATE,
    Validation,
    Watch,
    draws_of,
    key_for,
    named,
    respond_all,
    respond_to,
    scaled,
    weight_noise,
)
from jaxdend.tasks.result import TaskResult, as_arrays

FINALISTS = 16  # for every start, chosen by the screening, judged again on more draws


def train(
    task: AbstractTask,
    *,
    seed: int = 0,
    training: Training | None = None,
    optimizer: optax.GradientTransformation | None = None,
    stop: bool = True,
    run: Run | None = None,
) -> TaskResult:
    """Train the neuron of `task`: conductances, synapse sites, weights and event times together.

    Random configurations come first, all patterns of `CHUNK` of them in one batch, and are pruned
    to the `training.starts` with the least loss; these descend the gradient as one batch
    (`fitting.fit`) until one is solved or the steps are used up.

    No gradient is taken where `training.steps` is 0, or the starts are solutions already.

    Where the task draws its inputs, every configuration is screened on `training.screen` draws, the
    best are compared on `training.draws` others, every gradient step sees `training.draws` new
    ones, every `training.look` steps the starts are judged on the `training.validation` draws, the
    best look of all is the result, with the threshold that fits these draws; and what the result
    tells of it are its answers to `training.test` draws which nothing was chosen by.

    **Arguments:** `seed` of the random configurations and of the draws; `training`, by default
    `task.training`; `optimizer`, any of optax in place of Adam; `stop=False` goes on after the task
    is solved; `run`, a `jaxdend.Run`: progress bars, and folder of checkpoints of the gradient
    descent (every 10 steps if it does not say) to go on from; its `resume` may also be the `fit` of
    an interrupted result.

    **Returns:** `TaskResult`, the configuration with the best margin.

    **Raises:** `ValueError` where no random configuration has a finite loss, or what it resumes
    belongs to another task.
    """
    training = task.training if training is None else training
    space = task.neuron.space
    run = Run.of(run)
    reached = _reached(run)
    clock = time.perf_counter() - (0.0 if reached is None else reached.seconds)
    found = _screened(task, seed, training, run.progress)
    judge = (
        Validation(task, seed, training, stop)
        if task.random
        else Watch.of(task, seed, training, stop)
    )
    enough = reached is None and judge.enough(found.starts)
    if enough or training.steps == 0:
        fitted = _undescended(space, found)
        return _result(task, seed, training, fitted, judge, found, 0, clock)
    loss, copies = _objective(task, training, seed)
    ended = reached is not None and reached.space == space and judge.catch_up(reached)
    fitted = fit(
        loss,
        space,
        optimizer=optax.adam(training.rate, b2=0.9) if optimizer is None else optimizer,
        starts=found.starts,
        steps=reached.steps if reached is not None and ended else training.steps,
        draws=key_for(seed, TRAIN) if task.random else None,
        callback=judge,
        run=run,
        about={"task": task.name, "seed": seed, "noise": training.noise, "copies": copies},
    )
    spent = copies * fitted.evaluations
    return _result(task, seed, training, fitted, judge, found, spent, clock)


class _Screened(NamedTuple):
    """What the random configurations came to."""

    losses: np.ndarray  # (n,) of all
    starts: np.ndarray  # (s, p), the best
    start_losses: np.ndarray  # (s,)
    spent: int  # configurations simulated, times draws


def _screened(task: AbstractTask, seed: int, training: Training, progress: bool) -> _Screened:
    """Random configurations and the best of them.

    **Raises:** `ValueError` where none has a finite loss.
    """
    first = np.asarray(task.neuron.space.sample(seed, training.configs))
    losses = screen(task, first, draws_of(task, seed, SCREEN, training.screen), progress)
    if not np.isfinite(losses).any():
        raise ValueError(
            f"{task.name}: none of {training.configs} random configurations has a finite loss; "
            "narrow the bounds of the neuron's space."
        )
    best, spent = _ascending(losses), training.configs * (training.screen if task.random else 1)
    if not task.random:
        best = best[: training.starts]
        return _Screened(losses, first[best], losses[best], spent)
    best = best[: FINALISTS * training.starts]
    again = screen(task, first[best], draws_of(task, seed, CHOOSE, training.draws))
    order = _ascending(again)[: training.starts]
    spent += len(best) * training.draws
    return _Screened(losses, first[best[order]], again[order], spent)


def _ascending(losses: np.ndarray) -> np.ndarray:
    return np.argsort(np.where(np.isfinite(losses), losses, np.inf))


def _undescended(space: ParameterSpace, found: _Screened) -> FitResult:
    """The history of starts of which none descended."""
    still = np.zeros(len(found.starts), int)
    return FitResult(space, found.start_losses[None], found.starts[None], still, ())


def _reached(run: Run) -> FitResult | None:
    """The part that `fit` will go on from."""
    if run.resume is True:
        return FitResult.load(run.folder) if run.folder and is_saved(run.folder) else None
    if run.resume is False:
        return None
    return run.resume if isinstance(run.resume, FitResult) else FitResult.load(run.resume)


def _objective(task: AbstractTask, training: Training, seed: int) -> tuple[Callable, int]:
    """What `fit` makes small, and how many configurations one evaluation simulates.

    Where a solution has to withstand noise, that is the mean over noisy copies of the weights. The
    first copy is exact. The others are twice as noisy as a solution has to withstand: so few then
    show what many would. Where inputs are drawn, every draw has weights of its own.
    """
    if task.random:

        def drawn(params: Params, key: Array) -> Array:
            keys = jax.random.split(key, training.draws)
            factors = weight_noise(
                task.neuron.space, 2.0 * training.noise, training.draws, _shaking(key)
            )
            respond = jax.vmap(lambda k, factor: task.responses(scaled(params, factor), k))
            return task.loss_of_draws(respond(keys, factors))

        return drawn, training.draws
    factors = weight_noise(
        task.neuron.space, 2.0 * training.noise, training.copies, seed, first_exact=True
    )

    def one(params: Params) -> Array:
        return task.loss(task.responses(params))

    def mean(params: Params) -> Array:
        return jnp.mean(jax.vmap(lambda factor: one(scaled(params, factor)))(factors))

    return (mean, 1 + training.copies) if factors else (one, 1)


def _shaking(key: Array) -> Array:
    return jax.random.fold_in(key, SHAKE)


def screen(
    task: AbstractTask, vectors: ArrayLike, keys: Array | None = None, progress: bool = False
) -> np.ndarray:
    """The loss of many configurations, `vectors (n, p)` of the neuron's space: `(n,)`.

    They are simulated `CHUNK` at a time, as one batch with all patterns and all draws of `keys`,
    which a task that draws its inputs needs.
    """
    vectors = jnp.asarray(vectors)
    size, out = min(CHUNK, len(vectors)), []
    with progress_bar(len(vectors), "random", "neuron", show=progress) as bar:
        for i in range(0, len(vectors), size):
            part = vectors[i : i + size]
            filled = jnp.concatenate([part, jnp.repeat(part[-1:], size - len(part), axis=0)])
            losses = _losses(task, respond_to(task, named(task.neuron.space, filled), keys))
            out.append(np.asarray(losses)[: len(part)])
            bar.update(len(part))
    return np.concatenate(out)


@eqx.filter_jit
def _losses(task: AbstractTask, responses: Array) -> Array:
    return jax.vmap(task.loss_of_draws)(responses)


def _result(
    task: AbstractTask,
    seed: int,
    training: Training,
    fitted: FitResult,
    judge: Watch | Validation,
    found: _Screened,
    spent: int,
    clock: float,
) -> TaskResult:
    """The configuration that was chosen, and the start it came from, on the test draws.

    `spent` counts the configurations simulated in the descent; those compared here, the winner and
    the start it came from are added.
    """
    space = task.neuron.space
    if judge.winner is not None and judge.stop:  # stopped where it should
        fitted = dataclasses.replace(fitted, interrupted=False)
    winner = judge.choose(fitted)
    best = int(np.argmin(np.abs(fitted.vectors - winner).max(axis=-1).min(axis=0)))
    start = fitted.vectors[0][best]
    both = np.stack([winner, start])
    seen = respond_all(task, both, draws_of(task, seed, VALIDATE, training.validation))
    told = (
        respond_all(task, both, draws_of(task, seed, TEST, training.test)) if task.random else seen
    )
    after, before = (_scored(task, s, t, training) for s, t in zip(seen, told, strict=True))
    looked = seen.shape[1] + told.shape[1] if task.random else 1
    return TaskResult(
        task=task.name,
        seed=seed,
        labels=task.labels,
        unit=task.neuron.unit,
        margin_unit=task.margin_unit,
        accuracy_unit=task.accuracy_unit,
        params=as_arrays(space.to_dict(jnp.asarray(winner))),
        responses=after.responses,
        accuracy=after.accuracy,
        margin=after.margin,
        solved=after.solved,
        start_params=as_arrays(space.to_dict(jnp.asarray(start))),
        start_responses=before.responses,
        start_margin=before.margin,
        configs=found.losses,
        fit=fitted,
        simulations=(found.spent + spent + judge.looks + 2 * looked) * len(task.labels),
        wall_s=time.perf_counter() - clock,
        draws=told[0] if task.random else np.empty((0, len(task.labels))),
        right=after.right,
        start_right=before.right,
        threshold=after.threshold,
    )


class _Scored(NamedTuple):
    """What is told of a configuration."""

    responses: np.ndarray  # (P,) mean over the draws
    accuracy: float
    margin: float  # median over the draws
    solved: bool
    right: int  # draws
    threshold: float | None


def _scored(task: AbstractTask, seen: np.ndarray, told: np.ndarray, training: Training) -> _Scored:
    """How good the responses `told (D, P)` are, by what those of validation, `seen`, decide."""
    decided = task.decide(jnp.asarray(seen))
    score = jax.vmap(decided.score)(jnp.asarray(told))
    right = np.asarray(score.accuracy) == 1.0
    margin = float(np.median(score.margin))
    solved = bool(right.mean() >= training.least) if task.random else bool(score.solved[0])
    threshold = getattr(decided, "threshold", None)
    if threshold is not None:
        threshold = float(threshold) if np.ndim(threshold) == 0 else None
    return _Scored(
        responses=told.mean(axis=0),
        accuracy=float(np.mean(score.accuracy)),
        margin=margin,
        solved=solved,
        right=int(right.sum()),
        threshold=threshold,
    )
