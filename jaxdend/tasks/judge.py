"""Judging what a task's neuron answers: on which draws, how robustly, and which look was best."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend.fitting import FitResult, ParameterSpace
from jaxdend.tasks.base import AbstractTask, Params, Score, Training

CHUNK = 64  # configurations in one call of the compiled program
ROBUST = 0.98  # of the noisy repeats must be right before training stops
SCREEN, CHOOSE, TRAIN, VALIDATE, TEST, SHAKE = range(6)  # which draws are made for what


def key_for(seed: int, purpose: int) -> Array:
    """The key that all draws for one purpose of a training come from."""
    return jax.random.fold_in(jax.random.key(seed), purpose)


def draws_of(task: AbstractTask, seed: int, purpose: int, count: int) -> Array | None:
    """The keys `(count,)` of the draws for one purpose; `None` where the task draws nothing."""
    return jax.random.split(key_for(seed, purpose), count) if task.random else None


def held_out(task: AbstractTask, seed: int, count: int | None = None) -> Array | None:
    """The keys of the draws that a training with `seed` is scored on, `training.test` of them."""
    return draws_of(task, seed, TEST, task.training.test if count is None else count)


@eqx.filter_jit
def evaluate(task: AbstractTask, params: Params, key: Array | None = None) -> tuple[Array, Score]:
    """The responses `(P,)` of one configuration, to one draw, and their `Score`."""
    responses = task.responses(params, key)
    return responses, task.score(responses)


@eqx.filter_jit
def _checked(task: AbstractTask, params: Params) -> Score:
    """The score by which training stops and chooses."""
    return task.check(task.responses(params))


@eqx.filter_jit
def named(space: ParameterSpace, vectors: Array) -> Params:
    """Vectors of the space as parameters by name."""
    return space.to_dict(vectors)


@eqx.filter_jit
def respond_to(task: AbstractTask, params: Params, keys: Array | None) -> Array:
    """Responses `(n, D, P)` of a batch of configurations; D is 1 where the task draws nothing."""

    def one(p: Params) -> Array:
        if keys is None:
            return task.responses(p)[None]
        return jax.vmap(lambda key: task.responses(p, key))(keys)

    return jax.vmap(one)(params)


def respond_all(task: AbstractTask, vectors: ArrayLike, keys: Array | None = None) -> np.ndarray:
    """The responses of several configurations, `vectors (n, p)`, to all draws: `(n, D, P)`."""
    return np.asarray(respond_to(task, named(task.neuron.space, jnp.asarray(vectors)), keys))


def judged(task: AbstractTask, responses: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Which draws have all their patterns right, `(D,)` bool, and the margins `(D,)`.

    **Arguments:** `task`, with whatever validation has to decide; `responses (D, P)`.
    """
    score = jax.vmap(task.score)(jnp.asarray(responses))
    return np.asarray(score.accuracy) == 1.0, np.asarray(score.margin)


@dataclass
class Watch:
    """The callback of the gradient steps: is the best of the starts a solution?"""

    task: AbstractTask
    noise: float  # that a solution has to withstand
    seed: int
    batch: int  # configurations in one call, those of the screening
    stop: bool  # at a solution
    winner: np.ndarray | None = None  # (p,) the vector that is one
    looks: int = 0  # configurations simulated

    @classmethod
    def of(cls, task: AbstractTask, seed: int, training: Training, stop: bool) -> "Watch":
        """The callback of a task that draws nothing."""
        return cls(task, training.noise, seed, min(CHUNK, training.configs), stop)

    def enough(self, starts: np.ndarray) -> bool:
        """Whether the starts need no descent: they are looked at with the first step."""
        del starts
        return False

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
            if self._noisy() and _checked(self.task, self._params(vectors[best])).solved:
                self.looks += self._repeats()
        return self(fitted.steps, fitted.losses[-1], fitted.vectors[-1])

    def choose(self, fitted: FitResult) -> np.ndarray:
        """The vector `(p,)` that ended training, or else the most accurate, by the widest margin.

        Those compared here are counted.
        """
        if self.winner is not None:
            return self.winner
        ends = fitted.best_vectors
        scores = [_checked(self.task, self._params(z)) for z in ends]
        self.looks += len(scores)
        worth = [tuple(np.nan_to_num([s.accuracy, s.margin], nan=-np.inf)) for s in scores]
        return ends[max(range(len(worth)), key=worth.__getitem__)]

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
        if not _checked(self.task, params).solved:
            return False
        if not self._noisy():
            return True
        self.looks += self._repeats()
        options = {"noise": self.noise, "seed": self.seed + 1, "batch": self.batch}
        right, _ = robustness(self.task, params, repeats=CHUNK, **options)
        return right >= ROBUST


@dataclass
class Validation:
    """The callback of the gradient steps where inputs are drawn: which look was the best?"""

    task: AbstractTask
    seed: int
    training: Training
    stop: bool  # as soon as every validation draw is right, half of them with the margin
    winner: np.ndarray | None = None  # (p,) the vector of the best look
    worth: tuple[float, float] = (-1.0, -np.inf)  # of that: draws right, median margin
    looks: int = 0  # configurations simulated, times draws

    def __call__(self, step: int, losses: np.ndarray, vectors: np.ndarray) -> bool:
        """Whether to stop after `step` steps, the last of them at `vectors (s, p)`."""
        del losses
        if step % self.training.look and step != self.training.steps:
            return False
        return self._look(vectors)

    def enough(self, starts: np.ndarray) -> bool:
        """Whether one of the starts `(s, p)` is a solution already."""
        return self._look(starts)

    def _look(self, vectors: np.ndarray) -> bool:
        """Whether to stop, with the best of the looks so far and of these `vectors (s, p)`."""
        keys = draws_of(self.task, self.seed, VALIDATE, self.training.validation)
        responses = respond_all(self.task, vectors, keys)  # (s, D, P)
        self.looks += responses.shape[0] * responses.shape[1]
        for vector, drawn in zip(vectors, responses, strict=True):
            right, margins = judged(self.task.decide(drawn), drawn)
            worth = (float(np.mean(right)), float(np.median(np.nan_to_num(margins, nan=-1e9))))
            if worth > self.worth:
                self.winner, self.worth = np.asarray(vector), worth
        enough = float(getattr(self.task, "margin", 0.0))
        return self.stop and self.worth[0] == 1.0 and self.worth[1] >= enough

    def catch_up(self, fitted: FitResult) -> bool:
        """Look again at the starts and the steps of an earlier part; whether that ended it."""
        self._look(fitted.vectors[0])
        steps = range(1, fitted.steps + 1)
        rows = zip(steps, fitted.losses, fitted.vectors, strict=True)
        return any([self(step, losses, vectors) for step, losses, vectors in rows][-1:])

    def choose(self, fitted: FitResult) -> np.ndarray:
        """The vector `(p,)` of the best look; the least loss where nothing was looked at."""
        return fitted.best_vectors[0] if self.winner is None else self.winner


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

    Where the task draws its inputs, every repeat is a test draw of `seed` besides.

    **Arguments:** `task`, with whatever validation has to decide (`TaskResult.task_of`); `noise`,
    standard deviation relative to the weight, of every parameter whose unit is `"uS"`; `repeats`;
    `seed`; `batch`, how many repeats one call of the program simulates.

    **Returns:** the fraction of repeats with all patterns right, and the responses
    `(repeats, P)`.
    """
    factors = weight_noise(task.neuron.space, noise, repeats, seed)
    if not factors:
        raise ValueError(f"{task.name}: no parameter of the neuron has the unit 'uS'.")
    params = {name: jnp.asarray(value) for name, value in params.items()}
    keys = draws_of(task, seed, TEST, repeats)
    parts = []
    for i in range(0, repeats, batch):
        rows = jnp.minimum(jnp.arange(i, i + min(batch, repeats)), repeats - 1)
        several = {name: jnp.broadcast_to(x, (len(rows), *x.shape)) for name, x in params.items()}
        some = {name: f[rows] for name, f in factors.items()}
        parts.append(_shaken(task, scaled(several, some), None if keys is None else keys[rows]))
    responses = np.concatenate(parts)[:repeats]
    return float(np.mean(judged(task, responses)[0])), responses


def _shaken(task: AbstractTask, several: Params, keys: Array | None) -> np.ndarray:
    """The responses `(n, P)` of every configuration, each to a draw of its own."""
    if keys is None:
        return np.asarray(respond_to(task, several, None))[:, 0]  # the program of `screen`
    return np.asarray(_each(task, several, keys))


@eqx.filter_jit
def _each(task: AbstractTask, several: Params, keys: Array) -> Array:
    return jax.vmap(task.responses)(several, keys)


def weight_noise(
    space: ParameterSpace,
    noise: float,
    copies: int,
    seed: ArrayLike,
    *,
    first_exact: bool = False,
) -> Params:
    """Random factors `(copies, *shape)` for every synaptic weight, `max(0, 1 + noise N(0, 1))`.

    A weight is a parameter of the unit `"uS"`. With `first_exact` a row of ones comes first.
    Without noise, or weights, there are no factors: `{}`.
    """
    names = [name for name in space if space[name].unit == "uS"]
    if noise == 0.0:
        return {}
    factors = {}
    key = seed if jnp.issubdtype(jnp.result_type(seed), jax.dtypes.prng_key) else None
    first = jax.random.key(seed) if key is None else key
    for name, key in zip(names, jax.random.split(first, len(names)), strict=True):
        normal = jax.random.normal(key, (copies, *space[name].shape))
        factor = jnp.maximum(1.0 + noise * normal, 0.0)
        exact = jnp.ones((int(first_exact), *factor.shape[1:]), factor.dtype)
        factors[name] = jnp.concatenate([exact, factor])
    return factors


def scaled(params: Params, factors: Params) -> Params:
    """Multiplies those of `params` that have a factor by it."""
    return {name: x * factors[name] if name in factors else x for name, x in params.items()}
