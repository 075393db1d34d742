"""Gradient descent from several starts at once, as one batch in one compiled program."""

import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree
from tqdm import tqdm

from jaxdend.fitting._result import FitResult
from jaxdend.fitting._space import ParameterSpace

Loss = Callable[[dict[str, Array]], Array]
Callback = Callable[[int, np.ndarray, np.ndarray], bool | None]
Log = list[tuple[np.ndarray, np.ndarray]]  # losses (c, s) and vectors (c, s, p) of every chunk


class _State(eqx.Module):
    """Where the loop stands, for `s` starts; all of it is saved and resumed."""

    step: Int[Array, ""]  # steps taken
    z: Float[Array, "s p"]  # where to evaluate next
    good: Float[Array, "s p"]  # the last point with a finite loss and gradient
    move: Float[Array, "s p"]  # the optimiser's update there
    fraction: Float[Array, " s"]  # of that move, halved at every failure and doubled back
    failures: Int[Array, " s"]  # evaluations that were not finite
    optimizer: PyTree  # optax state, every leaf (s, ...)


def default_optimizer(steps: int, rate: ArrayLike = 0.1) -> optax.GradientTransformation:
    """Adam, its rate falling as a cosine from `rate` to a hundredth of it over `steps`.

    The memory of its second moment is short (b2 = 0.9). A fit's gradients carry no noise and shrink
    by orders of magnitude on the way; with the customary 0.999 the first, large ones hold the steps
    down for the rest of the fit and correlated parameters stay unresolved.

    `rate` is in units of the unconstrained vector, where the whole of a range is about 8 wide.
    """
    return optax.adam(optax.cosine_decay_schedule(rate, steps, alpha=0.01), b2=0.9)


def fit(
    loss: Loss,
    space: ParameterSpace,
    *,
    optimizer: optax.GradientTransformation | None = None,
    starts: int | ArrayLike | Mapping[str, ArrayLike] = 10,
    steps: int = 200,
    key: ArrayLike = 0,
    clip: float | None = 1.0,
    chunk: int = 1,
    progress: bool = True,
    callback: Callback | None = None,
    resume: FitResult | None = None,
    save_to: str | os.PathLike[str] | None = None,
    save_every: int = 10,
) -> FitResult:
    """Minimise `loss` over a parameter space by gradient descent from several starts.

    Every step evaluates the loss and its gradient at all starts as one `jax.vmap`, compiled once.
    A start whose loss or gradient is not finite goes back to its last good point and tries half
    of the move; its failures are counted, its history shows the NaN, and a warning tells of it at
    the end. Ctrl-C returns what was reached so far, with `interrupted=True`.

    **Arguments:**

    - `loss`: parameters, name -> array in the space's units, to a scalar. Pure JAX.
    - `optimizer`: any optax transformation, `default_optimizer(steps)` if `None`; those that want
      the loss (such as `optax.polyak_sgd`) get it as `value`. Each start has its own state.
    - `starts`: how many to sample in the box, or vectors `(s, p)` of the space (for example the
      `best_vectors` of a coarser fit), or a dict name -> `(s, *shape)`.
    - `steps`: the total number, those before a `resume` included.
    - `key`: a JAX key or an integer seed for the sampled starts.
    - `clip`: the largest global norm of a start's gradient, `None` for no clipping.
    - `chunk`: steps per call of the compiled program; progress, callback, saving and Ctrl-C act
      between chunks. More than 1 saves call overhead for a cheap loss.
    - `progress`: show a bar with step, best loss, rate and time left.
    - `callback(step, losses (s,), vectors (s, p))`, called after each chunk with what its last
      step evaluated; returning `True` stops the fit.
    - `resume`: a result to go on from. With the same loss, space, optimizer and `steps` the
      history is bit for bit that of an uninterrupted fit; `starts` and `key` are not used.
    - `save_to`: an `.npz` file that always holds the result so far, whole: it is written every
      `save_every` steps and at the end. `resume=FitResult.load(save_to)` goes on after a crash.

    **Raises:** `ValueError` for a loss that is not a scalar or not finite at any start, starts of
    the wrong shape, or a result to resume that belongs to another space or optimiser.
    """
    if min(steps, chunk, save_every) < 1:
        raise ValueError(
            f"steps, chunk and save_every must be at least 1; got {steps}, {chunk} and {save_every}"
        )
    inner = _clipped(default_optimizer(steps) if optimizer is None else optimizer, clip)
    if resume is None:
        state = _begin(inner, _starting_vectors(space, starts, key))
    else:
        state = _restore(resume, space, inner)
        if resume.steps >= steps:
            return resume
    run = _compile(loss, space, inner, chunk)
    clock = time.perf_counter()

    def gather(state: _State, log: Log, interrupted: bool) -> FitResult:
        return _gather(space, state, log, interrupted, time.perf_counter() - clock, resume)

    look = _look(gather, save_to, save_every, callback)
    result = gather(*_loop(run, state, steps, chunk, progress, look))
    if save_to is not None:
        result.save(save_to)
    _report(result)
    return result


def _clipped(
    optimizer: optax.GradientTransformation, clip: float | None
) -> optax.GradientTransformationExtraArgs:
    """`optimizer` behind a bound on the gradient's norm."""
    if clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    return optax.with_extra_args_support(optimizer)


def _starting_vectors(
    space: ParameterSpace, starts: int | ArrayLike | Mapping[str, ArrayLike], key: ArrayLike
) -> Array:
    """The starts as vectors `(s, p)`."""
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


def _begin(optimizer: optax.GradientTransformationExtraArgs, z: Array) -> _State:
    return _State(
        step=jnp.zeros((), int),
        z=z,
        good=z,
        move=jnp.zeros_like(z),
        fraction=jnp.ones_like(z[:, 0]),
        failures=jnp.zeros(z.shape[0], int),
        optimizer=jax.vmap(optimizer.init)(z),
    )


def _restore(
    result: FitResult, space: ParameterSpace, optimizer: optax.GradientTransformationExtraArgs
) -> _State:
    """The state inside a result, checked against the space and optimiser of this call."""
    if result.space != space:
        raise ValueError(
            f"cannot resume: the result belongs to {result.space}, this fit has {space}"
        )
    like = _begin(optimizer, jnp.asarray(result.vectors[-1]))
    leaves, structure = jax.tree.flatten(like)
    wanted = [(leaf.shape, leaf.dtype) for leaf in leaves]
    found = [(leaf.shape, leaf.dtype) for leaf in result.state]
    if wanted != found:
        raise ValueError(
            "cannot resume: the saved optimiser state has other arrays than this optimiser's; "
            "pass the same optimizer, clip and float precision as in the first part"
        )
    return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in result.state])


def _compile(
    loss: Loss,
    space: ParameterSpace,
    optimizer: optax.GradientTransformationExtraArgs,
    chunk: int,
) -> Callable[[_State, Array], tuple[_State, tuple[Array, Array]]]:
    """The program that takes up to `chunk` steps; how many is an argument, never a recompile."""

    def objective(z: Array) -> Array:
        value = jnp.asarray(loss(space.to_dict(z)))
        if value.shape != ():
            raise ValueError(f"the loss must be a scalar, got shape {value.shape}")
        return value

    evaluate = jax.vmap(jax.value_and_grad(objective))

    @jax.jit
    def run(state: _State, count: Array) -> tuple[_State, tuple[Array, Array]]:
        starts, p = state.z.shape
        log = (
            jnp.zeros((chunk, starts), state.z.dtype),
            jnp.zeros((chunk, starts, p), state.z.dtype),
        )

        def body(i: Array, carry: tuple[_State, tuple[Array, Array]]) -> Any:
            state, (losses, vectors) = carry
            value, gradient = evaluate(state.z)
            value = value.astype(losses.dtype)
            log = (losses.at[i].set(value), vectors.at[i].set(state.z))
            return _advance(optimizer, state, value, gradient), log

        return jax.lax.fori_loop(0, count, body, (state, log))

    return run


def _advance(
    optimizer: optax.GradientTransformationExtraArgs, state: _State, value: Array, gradient: Array
) -> _State:
    """One step of every start: the optimiser's where all is finite, else half of the last one."""
    ok = jnp.isfinite(value) & jnp.isfinite(gradient).all(axis=1)
    safe = jnp.where(ok[:, None], gradient, 0.0)

    def update(g: Array, memory: PyTree, z: Array, y: Array) -> tuple[Array, PyTree]:
        move, memory = optimizer.update(g, memory, z, value=y)
        return jnp.asarray(move), memory

    move, memory = jax.vmap(update)(safe, state.optimizer, state.z, jnp.where(ok, value, 0.0))
    ok &= jnp.isfinite(move).all(axis=1)
    move = _where(ok, move, state.move)
    good = _where(ok, state.z, state.good)
    fraction = jnp.where(ok, jnp.minimum(2 * state.fraction, 1.0), state.fraction / 2)
    return _State(
        step=state.step + 1,
        z=good + fraction[:, None] * move,
        good=good,
        move=move,
        fraction=fraction,
        failures=state.failures + ~ok,
        optimizer=jax.tree.map(lambda new, old: _where(ok, new, old), memory, state.optimizer),
    )


def _where(ok: Bool[Array, " s"], new: Array, old: Array) -> Array:
    """Row by row, whatever the trailing axes."""
    return jnp.where(ok.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _look(
    gather: Callable[[_State, Log, bool], FitResult],
    save_to: str | os.PathLike[str] | None,
    every: int,
    callback: Callback | None,
) -> Callable[[_State, Log], bool | None]:
    """What happens after a chunk: the result so far is saved when it is time, then `callback`."""

    def look(state: _State, log: Log) -> bool | None:
        done, (losses, vectors) = int(state.step), log[-1]
        if save_to is not None and done // every > (done - len(losses)) // every:
            gather(state, log, True).save(save_to)
        return None if callback is None else callback(done, losses[-1], vectors[-1])

    return look


def _loop(
    run: Callable[[_State, Array], tuple[_State, tuple[Array, Array]]],
    state: _State,
    steps: int,
    chunk: int,
    progress: bool,
    look: Callable[[_State, Log], bool | None],
) -> tuple[_State, Log, bool]:
    """Run chunk by chunk until the last step, Ctrl-C, or a `look` that has seen enough."""
    first = done = int(state.step)
    log: Log = []
    best = np.inf
    with tqdm(total=steps, initial=first, disable=not progress, desc="fit", unit="step") as bar:
        try:
            while done < steps:
                count = min(chunk, steps - done)
                new, (losses, vectors) = run(state, jnp.asarray(count))
                rows = np.asarray(losses)[:count], np.asarray(vectors)[:count]
                log.append(rows)  # before the state: an interrupt between the two loses nothing
                state, done = new, done + count
                finite = np.isfinite(rows[0])
                if not log[1:] and first == 0 and not finite[0].any():
                    raise ValueError(
                        f"the loss is not finite at any of the {finite.shape[1]} starts; "
                        f"check it at one of them, or narrow the bounds"
                    )
                best = min(best, rows[0][finite].min(initial=np.inf))
                bar.set_postfix(loss=f"{best:.3g}", refresh=False)
                bar.update(count)
                if look(state, log):
                    return state, log, done < steps
        except KeyboardInterrupt:
            if int(state.step) == first:
                raise
            return state, log, True
    return state, log, False


def _gather(
    space: ParameterSpace,
    state: _State,
    log: Log,
    interrupted: bool,
    seconds: float,
    resume: FitResult | None,
) -> FitResult:
    """The result of this part of the fit, behind that of the part before."""
    taken = int(state.step) - (0 if resume is None else resume.steps)
    losses, vectors = (np.concatenate(rows)[:taken] for rows in zip(*log, strict=True))
    if resume is not None:
        losses = np.concatenate([resume.losses, losses])
        vectors = np.concatenate([resume.vectors, vectors])
        seconds += resume.seconds
    return FitResult(
        space=space,
        losses=losses,
        vectors=vectors,
        failures=np.asarray(state.failures),
        state=tuple(np.asarray(leaf) for leaf in jax.tree.leaves(state)),
        interrupted=interrupted,
        seconds=seconds,
    )


def _report(result: FitResult) -> None:
    """Warn of starts that failed on the way, and of those that never worked."""
    failed = np.flatnonzero(result.failures)
    if failed.size == 0:
        return
    dead = np.flatnonzero(~np.isfinite(result.best_losses))
    text = ", ".join(f"start {i}: {result.failures[i]}" for i in failed[:8])
    warnings.warn(
        f"loss or gradient was not finite in some of the {result.steps} steps ({text}"
        + (", …" if failed.size > 8 else "")
        + f"); {dead.size} of {result.failures.size} starts never had a finite loss",
        stacklevel=3,
    )
