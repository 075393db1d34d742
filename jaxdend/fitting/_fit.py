"""Gradient descent from several starts at once, as one batch in one compiled program."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from jaxdend._same import once
from jaxdend.fitting._prune import Prune
from jaxdend.fitting._result import FitResult
from jaxdend.fitting._run import Callback, before, watched
from jaxdend.fitting._space import ParameterSpace, describe_space
from jaxdend.fitting._starts import Starts, digest, key_numbers, starting_vectors
from jaxdend.runs import Advance, Loop, Part, Rows, Run, check_counts, restored

# parameters, and a key where every step draws anew, to a scalar
Loss = Callable[[dict[str, Array]], Array] | Callable[[dict[str, Array], Array], Array]


class _State(eqx.Module):
    """Where the loop stands, for the `a` of `s` starts that go on; all of it is saved."""

    step: Int[Array, ""]  # steps taken
    z: Float[Array, "a p"]  # where to evaluate next
    good: Float[Array, "a p"]  # the last point with a finite loss and gradient
    move: Float[Array, "a p"]  # the optimiser's update there
    fraction: Float[Array, " a"]  # of that move, halved at every failure and doubled back
    alive: Int[Array, " a"]  # which starts these are
    failures: Int[Array, " s"]  # evaluations that were not finite
    pruned: Int[Array, " s"]  # steps taken before it was pruned, -1 where it goes on
    optimizer: PyTree  # optax state, every leaf (a, ...)


# state, steps -> state, log
Steps = Callable[[_State, int], tuple[_State, tuple[Array, Array]]]


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
    starts: Starts = 10,
    steps: int = 200,
    key: ArrayLike = 0,
    clip: float | None = 1.0,
    prune: Prune | None = None,
    draws: ArrayLike | None = None,
    chunk: int = 1,
    callback: Callback | None = None,
    run: Run | None = None,
    about: Mapping[str, Any] | None = None,
) -> FitResult:
    """Minimise `loss` over a parameter space by gradient descent from several starts.

    Every step evaluates the loss and its gradient at all starts as one batch, compiled once and
    shared out over all local devices. Another fit compiles nothing if its loss is the same, or has
    the same code and refers to the same values. A start whose loss or gradient is not finite goes
    back to its last good point and tries half of the move; its failures are counted, its history
    shows the NaN, and a warning tells of it at the end. Ctrl-C returns what was reached,
    `interrupted=True`.

    **Arguments:**

    - `loss`: parameters, name -> array in the space's units, to a scalar. Pure JAX.
    - `optimizer`: any optax transformation, `default_optimizer(steps)` if `None`; those that want
      the loss (such as `optax.polyak_sgd`) get it as `value`. Each start has its own state.
    - `starts`: how many to sample in the box, or vectors `(s, p)` of the space (for example the
      `best_vectors` of a coarser fit), or a dict name -> `(s, *shape)`.
    - `steps`: the total number, those before a resume included.
    - `key`: a JAX key or an integer seed for the sampled starts.
    - `clip`: the largest global norm of a start's gradient, `None` for no clipping.
    - `prune`: after which steps to drop which share of the starts; `FitResult.pruned` tells them.
    - `draws`: a JAX key or an integer seed, for a loss that draws its inputs: the loss then takes a
      key as its second argument, another one at every step and the same for all starts.
    - `chunk`: steps per call of the compiled program; progress, callback, saving and Ctrl-C act
      between chunks. More than 1 saves call overhead for a cheap loss.
    - `callback(step, losses (s,), vectors (s, p))`, called after each chunk with what its last
      step evaluated; returning `True` stops the fit.
    - `run`: a `jaxdend.Run`: progress bar, folder of checkpoints (every 10 steps if it does not
      say; `FitResult.load(folder)` shows what it holds), and whether to go on, from the folder, a
      result or its file. A folder made with another space, starts, key, optimizer, clip, prune or
      `about` is refused (`steps` counts if the optimizer depends on it).
    - `about`: what else must be the same, as JSON has it, such as what the loss was made of.

    **Raises:** `ValueError` for a loss that is not a scalar or not finite at any start, starts of
    the wrong shape, a result or folder of another fit, or a folder that is used already;
    `OSError` where that cannot be written.
    """
    check_counts(steps, chunk)
    run = Run.of(run)
    inner = _clipped(default_optimizer(steps) if optimizer is None else optimizer, clip)
    z = starting_vectors(space, starts, key)

    def header() -> dict[str, Any]:
        drawn = key if isinstance(starts, int | np.integer) else None
        needed = steps if optimizer is None else None
        return _header(space, inner, z, drawn, needed, clip, prune, draws, about)

    watch = watched(callback)
    loop = Loop(steps, "fit", run, chunk=chunk, callback=watch, header=header, more=_more)
    part = before(loop, space)
    part = Part({}, _begin(inner, z)) if part is None else restored(part, _like(part, inner))
    if part.steps >= steps:
        return run.resume if isinstance(run.resume, FitResult) else FitResult.of(space, part)
    program = _drawing(once(_compile, loss, space, inner, chunk, draws is not None), draws)
    return _reported(FitResult.of(space, loop.go(_advancing(program, part, prune), part)))


def _header(
    space: ParameterSpace,
    optimizer: optax.GradientTransformationExtraArgs,
    z: Array,
    key: ArrayLike | None,
    steps: int | None,
    clip: float | None,
    prune: Prune | None,
    draws: ArrayLike | None,
    about: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What makes this fit another than that one, as far as it can be told.

    **Arguments:** as of `fit`; `z (s, p)`, the starts; `key`, if they are random; `steps`, where
    it matters.
    """
    drawn = None if key is None else {"starts": len(z), "key": key_numbers(key)}
    one = jnp.ones(space.size)
    memory = optimizer.init(one)
    move, _ = optimizer.update(one, memory, one, value=jnp.ones(()))
    leaves = jax.tree_util.tree_leaves_with_path(memory)
    return {
        "run": "fit",
        "space": describe_space(space),
        "begin": drawn or {"starts": len(z), "vectors": digest(z)},
        "optimizer": [f"{jax.tree_util.keystr(path)} {jnp.shape(x)}" for path, x in leaves],
        "first move": f"{float(jnp.linalg.norm(jnp.asarray(move))):.5g}",  # tells the rate
        "steps": steps,
        "clip": clip,
        "prune": None if prune is None else asdict(prune),
        "draws": None if draws is None else key_numbers(draws),
        "about": None if about is None else dict(about),
        "precision": jnp.result_type(float).name,
    }


def _clipped(
    optimizer: optax.GradientTransformation, clip: float | None
) -> optax.GradientTransformationExtraArgs:
    """`optimizer` behind a bound on the gradient's norm."""
    if clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    return optax.with_extra_args_support(optimizer)


def _begin(optimizer: optax.GradientTransformationExtraArgs, z: Array) -> _State:
    return _State(
        step=jnp.zeros((), int),
        z=z,
        good=z,
        move=jnp.zeros_like(z),
        fraction=jnp.ones_like(z[:, 0]),
        alive=jnp.arange(z.shape[0]),
        failures=jnp.zeros(z.shape[0], int),
        pruned=jnp.full(z.shape[0], -1),
        optimizer=jax.vmap(optimizer.init)(z),
    )


def _like(part: Part, optimizer: optax.GradientTransformationExtraArgs) -> _State:
    """A state as that inside `part` must be."""
    everyone = jnp.asarray(part.rows["vectors"][0])
    return _kept(_begin(optimizer, everyone), np.flatnonzero(part.more["pruned"] < 0))


def _compile(
    loss: Loss,
    space: ParameterSpace,
    optimizer: optax.GradientTransformationExtraArgs,
    chunk: int,
    draws: bool,
) -> Callable[[np.ndarray, _State, int], tuple[_State, tuple[Array, Array]]]:
    """The program that takes up to `chunk` steps; how many is an argument, never a recompile.

    So are the numbers of the key that draws begin from. `draws`, whether there are any.
    """

    def objective(z: Array, key: Array) -> Array:
        value = jnp.asarray(loss(space.to_dict(z), *([jax.random.wrap_key_data(key)] * draws)))
        if value.shape != ():
            raise ValueError(f"the loss must be a scalar, got shape {value.shape}")
        return value

    def run(numbers: Array, state: _State, count: Array) -> tuple[_State, tuple[Array, Array]]:
        alive, starts = state.alive, len(state.pruned)
        evaluate = _shared(jax.value_and_grad(objective), _devices(len(alive)))
        log = (
            jnp.full((chunk, starts), jnp.nan, state.z.dtype),
            jnp.full((chunk, starts, space.size), jnp.nan, state.z.dtype),
        )

        def body(i: Array, carry: tuple[_State, tuple[Array, Array]]) -> Any:
            state, (losses, vectors) = carry
            key = jax.random.fold_in(jax.random.wrap_key_data(numbers), state.step)
            value, gradient = evaluate(state.z, jax.random.key_data(key))
            value = value.astype(losses.dtype)
            log = (losses.at[i, alive].set(value), vectors.at[i, alive].set(state.z))
            return _advance(optimizer, state, value, gradient), log

        return jax.lax.fori_loop(0, count, body, (state, log))

    compiled = jax.jit(run)

    def placed(
        numbers: np.ndarray, state: _State, count: int
    ) -> tuple[_State, tuple[Array, Array]]:
        devices = _devices(len(state.alive))
        everywhere = NamedSharding(Mesh(np.array(devices), ("starts",)), PartitionSpec())
        return compiled(*(jax.device_put(x, everywhere) for x in (numbers, state, count)))

    return placed


def _drawing(program: Callable[..., Any], draws: ArrayLike | None) -> Steps:
    """The program with the numbers of the key that draws begin from; any where there are none."""
    return partial(program, np.array(key_numbers(0 if draws is None else draws), np.uint32))


def _devices(starts: int) -> list[Any]:
    """The fewest local devices that have the least to do for one step of so many starts."""
    each = -(-starts // len(jax.local_devices()))
    return jax.local_devices()[: -(-starts // each)]


def _shared(
    f: Callable[[Array, Array], tuple[Array, Array]], devices: list[Any]
) -> Callable[[Array, Array], tuple[Array, Array]]:
    """`f` of every row of an array and a key, once each, the rows shared out over the devices."""
    each = jax.vmap(f, (0, None))
    if len(devices) == 1:
        return each

    def everyone(z: Array, key: Array) -> tuple[Array, Array]:
        missing = -len(z) % len(devices)  # rows that the last device has less
        filled = jnp.concatenate([z, jnp.repeat(z[-1:], missing, axis=0)])
        rows = PartitionSpec("starts")

        def fewer(z: Array, key: Array) -> tuple[Array, Array]:
            value, gradient = each(z[: len(z) - missing], key)
            return jnp.pad(value, (0, missing)), jnp.pad(gradient, ((0, missing), (0, 0)))

        def mine(z: Array, key: Array) -> tuple[Array, Array]:
            last = jax.lax.axis_index("starts") == len(devices) - 1
            return jax.lax.cond(last, fewer, each, z, key) if missing else each(z, key)

        shared = jax.shard_map(
            mine,
            mesh=Mesh(np.array(devices), ("starts",)),
            in_specs=(rows, PartitionSpec()),
            out_specs=rows,
            check_vma=False,
        )
        value, gradient = shared(filled, key)
        return value[: len(z)], gradient[: len(z)]

    return everyone


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
        alive=state.alive,
        failures=state.failures.at[state.alive].add((~ok).astype(int)),
        pruned=state.pruned,
        optimizer=jax.tree.map(lambda new, old: _where(ok, new, old), memory, state.optimizer),
    )


def _where(ok: Bool[Array, " s"], new: Array, old: Array) -> Array:
    """Row by row, whatever the trailing axes."""
    return jnp.where(ok.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _kept(state: _State, rows: np.ndarray) -> _State:
    """The state of some of the starts that go on, by their rows in it."""
    if len(rows) == len(state.alive):
        return state
    each = (state.z, state.good, state.move, state.fraction, state.alive, state.optimizer)
    z, good, move, fraction, alive, optimizer = jax.tree.map(lambda x: x[rows], each)
    gone = np.setdiff1d(np.asarray(state.alive), np.asarray(alive))
    return _State(
        state.step, z, good, move, fraction, alive, state.failures,
        state.pruned.at[gone].set(state.step), optimizer,
    )  # fmt: skip


def _advancing(program: Steps, part: Part, prune: Prune | None) -> Advance:
    """Up to a chunk of steps, none of them beyond the next cut."""
    best = np.full(len(part.state.pruned), np.inf)
    best = _least(best, part.rows["losses"]) if part.rows else best

    def advance(state: _State, count: int) -> tuple[_State, Rows, bool]:
        nonlocal best
        done = int(state.step)
        cut = np.inf if prune is None else prune.next(done)
        count = int(min(count, cut - done))
        state, (losses, vectors) = program(state, count)
        rows = {"losses": np.asarray(losses)[:count], "vectors": np.asarray(vectors)[:count]}
        best = _least(best, rows["losses"])
        if done == 0 and not np.isfinite(rows["losses"][0]).any():
            raise ValueError(
                f"the loss is not finite at any of the {len(best)} starts; "
                f"check it at one of them, or narrow the bounds"
            )
        if prune is not None and done + count == cut:
            order = np.argsort(best[np.asarray(state.alive)], kind="stable")
            state = _kept(state, np.sort(order[: prune.left(int(cut), len(best))]))
        return state, rows, False

    return advance


def _least(best: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The least finite loss of every start, `(s,)`."""
    return np.minimum(best, np.where(np.isfinite(losses), losses, np.inf).min(axis=0))


def _more(state: _State) -> dict[str, np.ndarray]:
    """What a `FitResult` tells beside the history."""
    return {"failures": np.asarray(state.failures), "pruned": np.asarray(state.pruned)}


def _reported(result: FitResult) -> FitResult:
    """`result`, with a warning of starts that failed on the way, and of those that never worked."""
    failed = np.flatnonzero(result.failures)
    if failed.size == 0:
        return result
    dead = np.flatnonzero(~np.isfinite(result.best_losses))
    text = ", ".join(f"start {i}: {result.failures[i]}" for i in failed[:8])
    warnings.warn(
        f"loss or gradient was not finite in some of the {result.steps} steps ({text}"
        + (", …" if failed.size > 8 else "")
        + f"); {dead.size} of {result.failures.size} starts never had a finite loss",
        stacklevel=3,
    )
    return result
