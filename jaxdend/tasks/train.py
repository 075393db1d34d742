"""Training a task end to end: many random neurons in one batch, the best ones by gradient."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike

from jaxdend._bars import progress_bar
from jaxdend.fitting import FitResult, ParameterSpace, fit
from jaxdend.runs import Run, is_saved
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
    stop: bool = True,
    run: Run | None = None,
) -> TaskResult:
    """Train the neuron of `task`: conductances, synapse sites, weights and event times together.

    Random configurations come first, all patterns of `CHUNK` of them in one batch, and are pruned
    to the `training.starts` with the least loss; these descend the gradient as one batch
    (`fitting.fit`) until one is solved or the steps are used up.

    **Arguments:** `seed` of the random configurations; `training`, by default `task.training`;
    `optimizer`, any of optax in place of Adam; `stop=False` goes on after the task is solved;
    `run`, a `jaxdend.Run`: progress bars, and folder of checkpoints of the gradient descent (every
    10 steps if it does not say) to go on from; its `resume` may also be the `fit` of an interrupted
    result.

    **Returns:** `TaskResult`, the configuration with the best margin.

    **Raises:** `ValueError` where no random configuration has a finite loss, or what it resumes
    belongs to another task.
    """
    training = task.training if training is None else training
    space = task.neuron.space
    run = Run.of(run)
    reached = _reached(run)
    clock = time.perf_counter() - (0.0 if reached is None else reached.seconds)
    first = space.sample(seed, training.configs)
    losses = screen(task, first, progress=run.progress)
    if not np.isfinite(losses).any():
        raise ValueError(
            f"{task.name}: none of {training.configs} random configurations has a finite loss; "
            "narrow the bounds of the neuron's space."
        )
    chosen = np.argsort(np.where(np.isfinite(losses), losses, np.inf))[: training.starts]
    watch = _Watch(task, training.noise, seed, min(CHUNK, training.configs), stop)
    loss, copies = _objective(task, training, seed)
    ended = reached is not None and reached.space == space and watch.catch_up(reached)
    fitted = fit(
        loss,
        space,
        optimizer=optax.adam(training.rate, b2=0.9) if optimizer is None else optimizer,
        starts=first[jnp.asarray(chosen)],
        steps=reached.steps if reached is not None and ended else training.steps,
        callback=watch,
        run=run,
        about={"task": task.name, "seed": seed, "noise": training.noise, "copies": copies},
    )
    spent = training.configs + copies * fitted.evaluations + watch.looks
    return _result(task, seed, fitted, watch.winner, losses, spent, clock)


def _reached(run: Run) -> FitResult | None:
    """The part that `fit` will go on from."""
    if run.resume is True:
        return FitResult.load(run.folder) if run.folder and is_saved(run.folder) else None
    if run.resume is False:
        return None
    return run.resume if isinstance(run.resume, FitResult) else FitResult.load(run.resume)


def _objective(
    task: AbstractTask, training: Training, seed: int
) -> tuple[Callable[[Params], Array], int]:
    """The loss of one configuration, its mean over noisy copies where there is noise, and how many.

    The first copy is exact. The others are twice as noisy as a solution has to withstand: so few
    then show what many would.
    """
    factors = weight_noise(
        task.neuron.space, 2.0 * training.noise, training.copies, seed, first_exact=True
    )

    def one(params: Params) -> Array:
        return task.loss(task.responses(params))

    def mean(params: Params) -> Array:
        return jnp.mean(jax.vmap(lambda factor: one(scaled(params, factor)))(factors))

    return (mean, 1 + training.copies) if factors else (one, 1)


@dataclass
class _Watch:
    """The callback of the gradient steps: is the best of the starts a solution?"""

    task: AbstractTask
    noise: float  # that a solution has to withstand
    seed: int
    batch: int  # configurations in one call, those of the screening
    stop: bool  # at a solution
    winner: np.ndarray | None = None  # (p,) the vector that is one
    looks: int = 0  # configurations simulated

    def __call__(self, step: int, losses: np.ndarray, vectors: np.ndarray) -> bool:
        """Whether to stop after losses `(s,)` at `vectors (s, p)`."""
        best = self._best(losses)
        if best is None or not self._solved(self._params(vectors[best])):
            return False
        self.winner = vectors[best]
        return True

    def catch_up(self, fitted: FitResult) -> bool:
        """Whether the last step of an earlier part was a solution.

        The looks at all of its steps count, as if this run had taken them: of the steps before
        the last it is known that none was a solution, but not which of them were tried with noise,
        so those are found out again.
        """
        for losses, vectors in zip(fitted.losses[:-1], fitted.vectors[:-1], strict=True):
            best = self._best(losses)
            if best is None:
                continue
            self.looks += 1
            if self._noisy() and evaluate(self.task, self._params(vectors[best]))[1].solved:
                self.looks += self._repeats()
        return self(fitted.steps, fitted.losses[-1], fitted.vectors[-1])

    def _best(self, losses: np.ndarray) -> int | None:
        """The start to look at; `None` where there is nothing to look for."""
        best = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
        return best if self.stop and np.isfinite(losses[best]) else None

    def _params(self, vector: np.ndarray) -> Params:
        return self.task.neuron.space.to_dict(jnp.asarray(vector))

    def _noisy(self) -> bool:
        """Whether a solution has to withstand noise."""
        return bool(weight_noise(self.task.neuron.space, self.noise, 1, 0))

    def _repeats(self) -> int:
        """How many configurations the trial with noise simulates: whole batches."""
        return -(-CHUNK // self.batch) * self.batch

    def _solved(self, params: Params) -> bool:
        self.looks += 1
        if not evaluate(self.task, params)[1].solved:
            return False
        if not self._noisy():
            return True
        self.looks += self._repeats()
        options = {"noise": self.noise, "seed": self.seed + 1, "batch": self.batch}
        right, _ = robustness(self.task, params, repeats=CHUNK, **options)
        return right >= ROBUST


@eqx.filter_jit
def evaluate(task: AbstractTask, params: Params) -> tuple[Array, Score]:
    """The responses `(P,)` of one configuration and their `Score`."""
    responses = task.responses(params)
    return responses, task.score(responses)


@eqx.filter_jit
def _named(space: ParameterSpace, vectors: Array) -> Params:
    return space.to_dict(vectors)


@eqx.filter_jit
def _judge(task: AbstractTask, params: Params) -> tuple[Array, Array, Array]:
    """Responses `(n, P)`, losses `(n,)` and accuracies `(n,)` of a batch of configurations."""

    def one(p: Params) -> tuple[Array, Array, Array]:
        responses = task.responses(p)
        return responses, task.loss(responses), task.score(responses).accuracy

    return jax.vmap(one)(params)


def screen(task: AbstractTask, vectors: ArrayLike, *, progress: bool = False) -> np.ndarray:
    """The loss of many configurations, `vectors (n, p)` of the neuron's space: `(n,)`.

    They are simulated `CHUNK` at a time, as one batch with all patterns.
    """
    vectors = jnp.asarray(vectors)
    size, out = min(CHUNK, len(vectors)), []
    with progress_bar(len(vectors), "random", "neuron", show=progress) as bar:
        for i in range(0, len(vectors), size):
            part = vectors[i : i + size]
            filled = jnp.concatenate([part, jnp.repeat(part[-1:], size - len(part), axis=0)])
            losses = _judge(task, _named(task.neuron.space, filled))[1]
            out.append(np.asarray(losses)[: len(part)])
            bar.update(len(part))
    return np.concatenate(out)


def _result(
    task: AbstractTask,
    seed: int,
    fitted: FitResult,
    winner: np.ndarray | None,
    configs: np.ndarray,
    spent: int,
    clock: float,
) -> TaskResult:
    """The configuration that ended training, or else the most accurate, by the widest margin.

    `spent` counts the configurations simulated before; those compared here, the winner and the
    start it came from are added.
    """
    space = task.neuron.space
    ends = fitted.best_vectors
    if winner is None:
        scores = [evaluate(task, space.to_dict(jnp.asarray(z)))[1] for z in ends]
        spent += len(scores)
        worth = [tuple(np.nan_to_num([s.accuracy, s.margin], nan=-np.inf)) for s in scores]
        best = max(range(len(worth)), key=worth.__getitem__)
        winner = ends[best]
    else:  # stopped where it should
        fitted = dataclasses.replace(fitted, interrupted=False)
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
        margin_unit=task.margin_unit,
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
        simulations=(spent + 2) * len(task.labels),
        wall_s=time.perf_counter() - clock,
    )


def robustness(
    task: AbstractTask,
    params: Params,
    *,
    noise: float = 0.1,
    repeats: int = 200,
    seed: int = 0,
    batch: int = CHUNK,
) -> tuple[float, np.ndarray]:
    """How often every pattern is still right when each synaptic weight is off at random.

    **Arguments:** `noise`, standard deviation relative to the weight, of every parameter whose unit
    is `"uS"`; `repeats`; `seed`; `batch`, how many repeats one call of the program simulates.

    **Returns:** the fraction of repeats with all patterns right, and the responses
    `(repeats, P)`.
    """
    factors = weight_noise(task.neuron.space, noise, repeats, seed)
    if not factors:
        raise ValueError(f"{task.name}: no parameter of the neuron has the unit 'uS'.")
    params = {name: jnp.asarray(value) for name, value in params.items()}
    parts = []
    for i in range(0, repeats, batch):
        rows = jnp.minimum(jnp.arange(i, i + min(batch, repeats)), repeats - 1)
        several = {name: jnp.broadcast_to(x, (len(rows), *x.shape)) for name, x in params.items()}
        some = {name: f[rows] for name, f in factors.items()}
        parts.append(_judge(task, scaled(several, some)))  # the program of `screen`
    responses = np.concatenate([np.asarray(r) for r, _, _ in parts])[:repeats]
    right = np.concatenate([np.asarray(a) for _, _, a in parts])[:repeats]
    return float(np.mean(right == 1.0)), responses


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
    """Multiplies those of `params` that have a factor by it."""
    return {name: x * factors[name] if name in factors else x for name, x in params.items()}
