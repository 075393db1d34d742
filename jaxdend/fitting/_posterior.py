"""Samples of a posterior over a parameter space, by gradient-based Monte Carlo with blackjax."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend._same import once
from jaxdend.fitting._space import ParameterSpace, describe_space
from jaxdend.fitting._starts import digest, key_numbers, starting_vectors
from jaxdend.runs import Advance, Loop, Part, Rows, Run, restored

LogLikelihood = Callable[[dict[str, Array]], Array]


@dataclass(frozen=True, eq=False)
class Posterior:
    """The `k` samples of each of `c` chains, as host arrays."""

    space: ParameterSpace
    vectors: np.ndarray  # (k, c, p) unconstrained parameters
    log_density: np.ndarray  # (k, c) log likelihood plus log prior there, up to a constant
    divergent: np.ndarray  # (k, c) bool, transitions whose energy error was too large to trust
    acceptance: np.ndarray  # (k, c) acceptance rate of every transition
    step_size: np.ndarray  # (c,) of the integrator, after warm-up
    interrupted: bool = False  # stopped before its last sample
    seconds: float = 0.0  # s, wall time, compilation and warm-up included

    @property
    def params(self) -> dict[str, np.ndarray]:
        """All samples by name, `(k, c, *shape)`, in the parameters' units."""
        return {name: np.asarray(x) for name, x in self.space.to_dict(self.vectors).items()}

    @property
    def divergences(self) -> int:
        """How many transitions were divergent: with more than a few, samples are biased."""
        return int(self.divergent.sum())

    @property
    def rhat(self) -> np.ndarray:
        """Potential scale reduction of every component, `(p,)`; near 1 if the chains agree."""
        return self._diagnosed("potential_scale_reduction")

    @property
    def ess(self) -> np.ndarray:
        """Effective number of independent samples of every component, over all chains, `(p,)`."""
        return self._diagnosed("effective_sample_size")

    def table(self) -> list[dict[str, Any]]:
        """A table with a row for each component: median, central 90 % interval, R-hat and ESS."""
        values = self.params
        flat = np.concatenate(
            [values[n].reshape(self.vectors.shape[0] * self.vectors.shape[1], -1) for n in values],
            axis=1,
        )
        low, middle, high = np.quantile(flat, [0.05, 0.5, 0.95], axis=0)
        units = [self.space[n].unit for n in self.space for _ in range(self.space[n].size)]
        columns = zip(self.space.labels, units, middle, low, high, self.rhat, self.ess, strict=True)
        names = ("parameter", "unit", "median", "from", "to", "rhat", "ess")
        return [dict(zip(names, row, strict=True)) for row in columns]

    def _diagnosed(self, name: str) -> np.ndarray:
        if self.vectors.shape[0] < 4 or self.vectors.shape[1] < 2:
            return np.full(self.space.size, np.nan)
        function = getattr(_blackjax().diagnostics, name)
        return np.asarray(function(np.swapaxes(self.vectors, 0, 1)))


def sample_posterior(
    log_likelihood: LogLikelihood,
    space: ParameterSpace,
    *,
    method: Literal["nuts", "hmc", "mala"] = "nuts",
    chains: int = 4,
    samples: int = 500,
    warmup: int = 300,
    starts: ArrayLike | Mapping[str, ArrayLike] | None = None,
    key: ArrayLike = 0,
    step_size: float | None = None,
    integration_steps: int = 10,
    max_doublings: int = 8,
    chunk: int = 10,
    callback: Callable[[int, Rows], bool | None] | None = None,
    run: Run | None = None,
) -> Posterior:
    """Draw samples of the parameters given data, from several chains at once.

    The prior is uniform in the box as the space measures it: in the logarithm where the scale is
    log. The chains walk in the space's unconstrained vector, with the Jacobian of the box included.
    Step size and diagonal mass matrix of every chain are adapted during the warm-up (Stan's
    window adaptation). A log likelihood that is not finite counts as impossible.

    **Arguments:**

    - `log_likelihood`: parameters, name -> array in the space's units, to a scalar, up to a
      constant. Pure JAX, differentiable in reverse mode.
    - `method`: `"nuts"`, `"hmc"` with `integration_steps`, or `"mala"`, which needs a `step_size`
      (of the order of a variance of the unconstrained vector) and has no warm-up.
    - `chains`, `samples` of each, `warmup` transitions before them.
    - `starts`: vectors `(chains, p)` or a dict of arrays `(chains, *shape)`, for example the best
      of a fit; sampled from the prior if `None`.
    - `key`: a JAX key or an integer seed. The same key gives the same samples.
    - `max_doublings`: of the trajectory of `"nuts"`: at most `2 ** max_doublings` gradients.
    - `chunk`: samples between two looks of progress, callback, saving and Ctrl-C.
    - `callback(step, rows)`, called after each chunk with its samples, name -> `(c, chains, ...)`;
      returning `True` stops the run.
    - `run`: a `jaxdend.Run`: progress bar, and folder of checkpoints (every 50 samples if it does
      not say) to go on from. The first of them holds the end of the warm-up; a run killed before
      that begins again.

    **Returns:** a `Posterior`.

    **Raises:** `ImportError` without `blackjax`; `ValueError` for an unknown method, a log
    likelihood that is not finite at some start, or what does not fit a resume.
    """
    _blackjax()
    options = _options(method, step_size, integration_steps, max_doublings)
    walk = _Walk(method, warmup, step_size, options)
    if min(chains, samples) < 1 or warmup < 0:
        raise ValueError(f"need at least 1 chain and sample, got {chains}, {samples} and {warmup}")
    key = jax.random.key(key) if isinstance(key, int | np.integer) else jnp.asarray(key)
    z = starting_vectors(space, chains if starts is None else starts, key)
    header = {"run": "posterior", "method": method, "space": describe_space(space),
              "starts": digest(z), "warmup": warmup, "key": key_numbers(key),
              "options": options}  # fmt: skip
    loop = Loop(
        samples, method, Run.of(run), every=50, chunk=chunk, callback=callback,
        header=lambda: header,
    )  # fmt: skip
    program = once(_compile, log_likelihood, space, walk, chunk)
    part = _begun(loop, program, key, z, chains)
    part = loop.go(_advance(program.draw, key, part.steps), part)
    step = np.asarray(part.state[1]["step_size"])
    return Posterior(space, **part.rows, step_size=step, interrupted=part.interrupted,
                     seconds=part.seconds)  # fmt: skip


class _Walk(NamedTuple):
    """The way in which the chains of a sampler move."""

    method: str
    warmup: int
    step_size: float | None
    options: dict[str, Any]  # of blackjax's algorithm


class _Program(NamedTuple):
    """What is compiled of a log likelihood, for any key."""

    density: Callable[[Array], Array]  # z (c, p) -> (c,)
    warm: Callable[[Array, Array], Any]  # key, z (c, p) -> chains and what they were tuned to
    draw: Callable[..., Any]  # keys, chains, first sample, how many -> chains, rows


def _compile(
    log_likelihood: LogLikelihood, space: ParameterSpace, walk: _Walk, chunk: int
) -> _Program:
    density, kernel = _density(log_likelihood, space), _kernel(walk)
    return _Program(
        jax.jit(jax.vmap(density)),
        jax.jit(partial(_warmed, walk, kernel, density)),
        jax.jit(partial(_drawn, kernel, density, chunk)),
    )


def _begun(loop: Loop, program: _Program, key: Array, z: Array, chains: int) -> Part:
    """What was saved, or the chains after their warm-up."""
    if len(z) != chains:
        raise ValueError(f"expected {chains} starts, one for each chain, got {len(z)}")
    part = loop.before()
    if part is not None:
        return restored(part, jax.eval_shape(program.warm, key, z))
    if not bool(jnp.isfinite(program.density(z)).all()):
        raise ValueError(
            "the log likelihood is not finite at some start; give starts where it is, such as "
            "the best parameters of a fit"
        )
    clock = time.perf_counter()
    part = Part({}, jax.block_until_ready(program.warm(key, z)), interrupted=True)
    part = replace(part, seconds=time.perf_counter() - clock)
    loop.save(part)
    return part


def _blackjax() -> Any:
    try:
        import blackjax
    except ImportError as error:
        raise ImportError(
            'posterior sampling needs blackjax: pip install "jaxdend[posterior]"'
        ) from error
    return blackjax


def _options(
    method: str, step_size: float | None, integration_steps: int, max_doublings: int
) -> dict[str, Any]:
    """What blackjax's algorithm is made with."""
    if method not in ("nuts", "hmc", "mala"):
        raise ValueError(f"method must be 'nuts', 'hmc' or 'mala'; got {method!r}")
    if method == "mala":
        if step_size is None:
            raise ValueError("method='mala' is not adapted: give it a step_size")
        return {"step_size": step_size}
    if method == "nuts":
        return {"max_num_doublings": max_doublings}
    return {"num_integration_steps": integration_steps}


def _kernel(walk: _Walk) -> Callable:
    """`(density, tuned) -> sampling algorithm`."""
    algorithm = getattr(_blackjax(), walk.method)
    more = {} if walk.method == "mala" else walk.options  # its step size is among the tuned
    return lambda density, tuned: algorithm(density, **tuned, **more)


def _density(log_likelihood: LogLikelihood, space: ParameterSpace) -> Callable[[Array], Array]:
    """The log posterior of an unconstrained vector: uniform in the box, so the box's Jacobian."""

    def density(z: Array) -> Array:
        value = jnp.asarray(log_likelihood(space.to_dict(z)))
        if value.shape != ():
            raise ValueError(f"the log likelihood must be a scalar, got shape {value.shape}")
        prior = jnp.sum(jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z))
        return jnp.where(jnp.isfinite(value), value, -jnp.inf) + prior

    return density


def _warmed(
    walk: _Walk, kernel: Callable, density: Callable[[Array], Array], key: Array, z: Array
) -> tuple[Any, dict[str, Array]]:
    """Chains after the warm-up and what they were tuned to, every leaf `(chains, ...)`."""
    first = 0.1 if walk.step_size is None else walk.step_size
    if walk.method == "mala" or walk.warmup == 0:
        tuned = {"step_size": jnp.full(len(z), first, z.dtype)}
        if walk.method != "mala":
            tuned |= {"inverse_mass_matrix": jnp.ones_like(z)}
        return jax.vmap(lambda z, tuned: kernel(density, tuned).init(z))(z, tuned), tuned
    adaptation = _blackjax().window_adaptation(
        getattr(_blackjax(), walk.method),
        density,
        initial_step_size=first,
        adaptation_info_fn=lambda *_: None,
        **walk.options,
    )

    def one(key: Array, z: Array) -> tuple[Any, dict[str, Array]]:
        (state, tuned), _ = adaptation.run(key, z, walk.warmup)
        names = ("step_size", "inverse_mass_matrix")
        return state, {name: jnp.asarray(tuned[name]) for name in names}

    return jax.vmap(one)(jax.random.split(jax.random.fold_in(key, 1), len(z)), z)


def _drawn(
    kernel: Callable,
    density: Callable[[Array], Array],
    chunk: int,
    keys: Array,
    state: Any,
    first: Array,
    count: Array,
) -> tuple[Any, dict[str, Array]]:
    """Up to `chunk` transitions of every chain; sample i has its own key, whatever the chunk."""
    chains, tuned = state
    size = len(tuned["step_size"])

    def one(state: Any, tuned: dict[str, Array], key: Array) -> tuple[Any, dict[str, Array]]:
        state, info = kernel(density, tuned).step(key, state)
        row = {
            "vectors": state.position,
            "log_density": state.logdensity,
            "divergent": jnp.asarray(getattr(info, "is_divergent", False)),
            "acceptance": info.acceptance_rate,
        }
        return state, row

    def draw(chains: Any, i: Array) -> tuple[Any, dict[str, Array]]:
        mine = jax.random.split(jax.random.fold_in(keys, i), size)
        return jax.vmap(one)(chains, tuned, mine)

    like = jax.eval_shape(draw, chains, first)[1]
    rows = jax.tree.map(lambda a: jnp.zeros((chunk, *a.shape), a.dtype), like)

    def body(i: Array, carry: tuple) -> tuple:
        chains, row = draw(carry[0], first + i)
        return chains, jax.tree.map(lambda a, b: a.at[i].set(b), carry[1], row)

    chains, rows = jax.lax.fori_loop(0, count, body, (chains, rows))
    return (chains, tuned), rows


def _advance(draw: Callable[..., Any], key: Array, done: int) -> Advance:
    """The next samples, after the first `done`."""
    keys = jax.random.fold_in(key, 2)

    def advance(state: Any, count: int) -> tuple[Any, Rows, bool]:
        nonlocal done
        state, rows = draw(keys, state, jnp.asarray(done), jnp.asarray(count))
        kept = {name: np.asarray(value)[:count] for name, value in rows.items()}
        done += count
        return state, kept, False

    return advance
