"""A neuron as a network of two layers (Poirazi, Brannon & Mel 2003): can it predict a firing rate?

Three models of the rate of a cell whose branches hold `n (B,)` synapses, all with the same sigmoid
output `top sigmoid(x - offset)`:

- `"count"`: `x = gain Σ n_j`, a point neuron;
- `"linear"`: `x = Σ w_j n_j`, one free weight per branch. This is THE linear baseline: it knows how
  strongly each branch couples to the soma, and only lacks the nonlinearity;
- `"two-layer"`: `x = Σ α_j s(n_j)` with `s(n) = n^h / (n^h + k^h)`, one threshold k and one
  steepness h for all branches.

At a constant number of synapses the count says nothing, and what is left is where they are.
"""

from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend.fitting import Parameter, ParameterSpace
from jaxdend.tasks.base import AbstractNeuron, AbstractTask, Params, Score, Training
from jaxdend.tasks.thin_branches import place, random_branches, responses, thin_branches

Kind = Literal["count", "linear", "two-layer"]
KINDS: tuple[Kind, ...] = get_args(Kind)

NUMBER, PLACEMENTS = 30, 200  # synapses, and placements of them, in the task
FOLDS, STARTS, STEPS = 5, 6, 60  # of `cross_validate`
SPREAD = 0.3  # of its starts about the middle of the box; at the edges sigmoids saturate
RIDGE = 1e-3  # on the unconstrained vector, where 1 is the variance of the rates


class RateModel(AbstractNeuron):
    """A model of a firing rate (Hz, or any number from 0 on) from the synapses on B branches."""

    kind: Kind = eqx.field(static=True)
    branches: int = eqx.field(static=True)  # B
    largest: float = eqx.field(static=True)  # Hz, of the rates to be described
    unit = "Hz"

    def __check_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"RateModel: expected one of {', '.join(KINDS)}; got {self.kind!r}.")

    @property
    def space(self) -> ParameterSpace:
        inner = {
            "count": {"gain": Parameter(1e-3, 3.0)},
            "linear": {"weight": Parameter(-1.5, 1.5, "linear", shape=(self.branches,))},
            "two-layer": {
                "alpha": Parameter(0.02, 5.0, shape=(self.branches,)),
                "threshold": Parameter(1.0, 20.0, unit="synapses"),
                "slope": Parameter(0.7, 8.0),
            },
        }[self.kind]
        output = {
            "top": Parameter(1.1 * self.largest, 4.0 * self.largest, unit="Hz"),
            "offset": Parameter(-15.0, 15.0, "linear"),
        }
        return ParameterSpace(inner | output)

    def respond(self, params: Params, pattern: Array) -> Array:
        if self.kind == "count":
            x = params["gain"] * jnp.sum(pattern)
        elif self.kind == "linear":
            x = jnp.sum(params["weight"] * pattern)
        else:
            x = jnp.sum(params["alpha"] * subunit(pattern, params["threshold"], params["slope"]))
        return params["top"] * jax.nn.sigmoid(x - params["offset"])


def subunit(n: Array, threshold: ArrayLike, slope: ArrayLike) -> Array:
    """The branch nonlinearity `n^slope / (n^slope + threshold^slope)`, 0 to 1, of any shape."""
    some = n > 0
    ratio = jnp.log(jnp.where(some, n, 1.0) / threshold)
    return jnp.where(some, jax.nn.sigmoid(slope * ratio), 0.0)


def r_squared(predicted: ArrayLike, measured: ArrayLike, where: ArrayLike = True) -> Array:
    """Share of the variance of `measured (P,)` that `predicted (P,)` explains, over `where`."""
    predicted, measured = jnp.asarray(predicted), jnp.asarray(measured)
    count = jnp.sum(jnp.broadcast_to(where, measured.shape))
    mean = jnp.sum(jnp.where(where, measured, 0.0)) / count
    rest = jnp.sum(jnp.where(where, (measured - predicted) ** 2, 0.0))
    return 1.0 - rest / jnp.sum(jnp.where(where, (measured - mean) ** 2, 0.0))


class CrossValidated(NamedTuple):
    """A model of the rates, each rate predicted by a fit that has not seen it."""

    r2: float  # of all held-out predictions together
    predicted: np.ndarray  # (P,) Hz, held out
    params: dict[str, np.ndarray]  # of the first fold


def cross_validate(
    kind: Kind,
    counts: ArrayLike,
    rates: ArrayLike,
    *,
    folds: int = FOLDS,
    starts: int = STARTS,
    steps: int = STEPS,
    seed: int = 0,
) -> CrossValidated:
    """Fit a model to all folds but one and predict that one, for each: all fits as one batch.

    **Arguments:** `kind`, one of `KINDS`; `counts (P, B)`; `rates (P,)`; `starts` random beginnings
    of each fit, of which the one with the least training error counts; `steps` of descent.
    """
    counts, rates = np.asarray(counts, float), np.asarray(rates, float)
    if counts.ndim != 2 or rates.shape != counts.shape[:1] or len(rates) < 2 * folds:
        raise ValueError(
            f"cross_validate: expected counts (P, B) and rates (P,), P of at least {2 * folds}; "
            f"got {counts.shape} and {rates.shape}."
        )
    _check_finite("cross_validate", rates)
    fold = np.random.default_rng(seed).permutation(np.arange(len(rates)) % folds)
    train = fold != np.arange(folds)[:, None]  # (F, P)
    params, predicted = _fitted(kind, counts, rates, train, seed, starts, steps)
    held = predicted[fold, np.arange(len(rates))]
    return CrossValidated(_explained(held, rates), held, params)


def _check_finite(owner: str, rates: np.ndarray) -> None:
    """Refuse rates of simulations that blew up: they say nothing."""
    if not np.isfinite(rates).all():
        bad = np.flatnonzero(~np.isfinite(rates))
        raise ValueError(
            f"{owner}: rates must be finite; {len(bad)} of {len(rates)} are not, the first is "
            f"rates[{bad[0]}] = {rates[bad[0]]}. Leave out the placements whose simulation failed."
        )


def _explained(predicted: np.ndarray, rates: np.ndarray, where: np.ndarray | None = None) -> float:
    """`r_squared` in float64 on the host."""
    some = np.ones(len(rates), bool) if where is None else where
    rest = np.sum((rates[some] - predicted[some]) ** 2)
    return float(1.0 - rest / np.sum((rates[some] - rates[some].mean()) ** 2))


def _fitted(
    kind: Kind,
    counts: np.ndarray,
    rates: np.ndarray,
    train: np.ndarray,
    seed: int,
    starts: int,
    steps: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The parameters of the first of the fits `train (F, P)`, and the predictions of all, `(F, P)`.

    Always in float64, whatever the precision of the session: where every placement has as many
    synapses, the weights of all branches together and the offset say the same, and the equations of
    a descent step are known to no digit of float32.
    """
    with jax.enable_x64(True):
        model = RateModel(kind, counts.shape[1], float(rates.max()))
        first = _starts(model, seed, starts)
        data = jnp.asarray(counts, float), jnp.asarray(rates, float), jnp.asarray(train)
        vectors, predicted = _fit(model, first, *data, steps)
        params = {name: np.asarray(x) for name, x in model.space.to_dict(vectors[0]).items()}
    return params, np.asarray(predicted)


def _starts(model: RateModel, seed: int, starts: int) -> Array:
    """The middle of the box, where no sigmoid is saturated, and points around it, `(S, p)`."""
    return SPREAD * model.space.sample(seed, starts).at[0].set(0.0)


@eqx.filter_jit
def _fit(
    model: RateModel, first: Array, counts: Array, rates: Array, train: Array, steps: int
) -> tuple[Array, Array]:
    """The best vector of every fold `(F, p)`, and its predictions `(F, P)`: Levenberg–Marquardt."""

    def predict(z: Array) -> Array:
        params = model.space.to_dict(z)
        return jax.vmap(lambda n: model.respond(params, n))(counts)

    def descend(z: Array, where: Array) -> tuple[Array, Array]:
        scale = jnp.sqrt(jnp.sum(where)) * jnp.std(rates, where=where)

        def residuals(z: Array) -> Array:
            errors = jnp.where(where, predict(z) - rates, 0.0) / scale
            return jnp.concatenate([errors, jnp.sqrt(RIDGE / len(z)) * z])

        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            z, damping, least = carry
            slope = jax.jacfwd(residuals)(z)
            square = slope.T @ slope
            damped = square + damping * jnp.diag(jnp.diag(square))
            trial = z - jnp.linalg.solve(damped, slope.T @ residuals(z))
            loss = jnp.sum(residuals(trial) ** 2)
            better = loss < least
            z, least = jnp.where(better, trial, z), jnp.where(better, loss, least)
            return (z, jnp.where(better, damping / 3.0, damping * 4.0), least), None

        first = (z, jnp.ones_like(z[0]), jnp.sum(residuals(z) ** 2))
        (z, _, loss), _ = jax.lax.scan(step, first, length=steps)
        return z, loss

    def fold(where: Array) -> tuple[Array, Array]:
        z, loss = jax.vmap(lambda z: descend(z, where))(first)
        best = z[jnp.argmin(jnp.where(jnp.isfinite(loss), loss, jnp.inf))]
        return best, predict(best)

    return jax.vmap(fold)(train)


def _linear(counts: np.ndarray, rates: np.ndarray, held_out: np.ndarray) -> float:
    """The held-out R² of one weight per branch: the larger of sigmoid output and straight line.

    The straight line is there so that nothing can be gained over a baseline that descended badly.
    """
    _, fitted = _fitted("linear", counts, rates, ~held_out[None], 0, STARTS, STEPS)
    design = np.concatenate([np.ones((len(rates), 1)), counts], axis=1)
    weights = np.linalg.lstsq(design[~held_out], rates[~held_out], rcond=None)[0]
    return max(_explained(x, rates, held_out) for x in (fitted[0], design @ weights))


class TwoLayer(AbstractTask):
    """Predict the firing rates of a detailed cell by a network of two layers.

    Patterns are the synapses on every branch, `(P, B)`, targets the simulated rates `(P,)`. Of
    every eight, two are held out, and one more validates: training chooses by that one.
    The score's accuracy is the held-out R², its margin the advantage over `linear_r2`, that of the
    model with one linear weight per branch on the same rates, with the sigmoid output or, where
    that predicts the held-out rates better, as plain least squares. Solved by `margin` (0.1) at an
    accuracy of `least` (0.6).
    """

    name: str = eqx.field(static=True)
    neuron: RateModel
    patterns: Array  # (P, B)
    rates: Array  # (P,) Hz
    linear_r2: Array  # ()
    margin: Array  # ()
    least: Array  # ()
    labels: tuple[str, ...] = eqx.field(static=True)
    training: Training = eqx.field(static=True)

    def __init__(
        self,
        counts: ArrayLike,
        rates: ArrayLike,
        *,
        margin: ArrayLike = 0.1,
        least: ArrayLike = 0.6,
    ):
        self.name = "two_layer"
        measured = np.asarray(rates, float)
        _check_finite("TwoLayer", measured)
        self.patterns, self.rates = jnp.asarray(counts, float), jnp.asarray(rates, float)
        self.neuron = RateModel("two-layer", self.patterns.shape[1], float(self.rates.max()))
        self.margin, self.least = jnp.asarray(margin, float), jnp.asarray(least, float)
        self.labels = tuple(f"placement {i + 1}" for i in range(len(self.rates)))
        self.training = Training(configs=128, starts=4, steps=200, rate=0.2)
        self.linear_r2 = jnp.asarray(_linear(np.asarray(counts, float), measured, self.held_out))

    @property
    def held_out(self) -> np.ndarray:
        """`(P,)` bool, the placements that training does not see."""
        return np.arange(len(self.labels)) % 4 == 3

    @property
    def validation(self) -> np.ndarray:
        """`(P,)` bool, the placements by which training chooses."""
        return np.arange(len(self.labels)) % 8 == 2

    @property
    def accuracy_unit(self) -> str:
        return "of the variance"

    @property
    def margin_unit(self) -> str:
        return "of R²"

    def loss(self, responses: Array) -> Array:
        return 1.0 - r_squared(responses, self.rates, ~(self.held_out | self.validation))

    def check(self, responses: Array) -> Score:
        """The R² of the validation placements alone: no step is the last, and the best is chosen.

        `linear_r2` has no part in it, as it was measured on the placements that are held out.
        """
        accuracy = r_squared(responses, self.rates, self.validation)
        return Score(accuracy, accuracy - self.least, jnp.asarray(False))

    def score(self, responses: Array) -> Score:
        accuracy = r_squared(responses, self.rates, self.held_out)
        margin = accuracy - self.linear_r2
        return Score(accuracy, margin, (margin >= self.margin) & (accuracy >= self.least))


def two_layer(seed: int = 0, placements: int = PLACEMENTS) -> TwoLayer:
    """The rate of a cell with NMDA spikes, from the number of synapses on each thin branch.

    `placements` of 30 synapses, clusters mixed with scatter, are drawn from `seed` and simulated
    for 600 ms (a quarter of a minute in all); the task is to predict their rates.
    """
    cell = thin_branches()
    placed = place(cell, random_branches(np.full(placements, NUMBER), seed, most=NUMBER), seed)
    return TwoLayer(placed.counts, responses(cell, placed, seed=seed).rate)
