"""Least squares and quasi-Newton through optimistix, from several starts at once.

optimistix decides on every step; the model is evaluated out here, for all starts in one `jax.vmap`.
Each iteration gives a solver the affine function with the value and the derivative just found,
which is all that it looks at, so that a Jacobian is computed once, in whichever mode is cheaper,
and the solver's state stays small enough to be saved.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from jaxdend._same import once
from jaxdend.fitting._result import FitResult
from jaxdend.fitting._run import Callback, begin, watched
from jaxdend.fitting._space import ParameterSpace, describe_space
from jaxdend.fitting._starts import Starts, digest, starting_vectors
from jaxdend.runs import Loop, Rows, Run

Residuals = Callable[[dict[str, Array]], Array]
Evaluate = Callable[[Array], tuple[Array, Array]]  # z (p,) -> value (m,) or (), its derivative

LEAST_SQUARES = {
    "levenberg_marquardt": optx.LevenbergMarquardt,
    "gauss_newton": optx.GaussNewton,
    "dogleg": optx.Dogleg,
}
MINIMISERS = {"bfgs": optx.BFGS, "dfp": optx.DFP, "lbfgs": optx.LBFGS, "cg": optx.NonlinearCG}
DAMPING = 1e-3  # of the first Levenberg–Marquardt step, as a share of the largest (JᵀJ)ᵢᵢ
GOOD = 0.75  # share of the expected reduction from which on damping is lessened
FEW = 4  # residuals per parameter up to which a reverse-mode Jacobian is taken without being asked


class _State(eqx.Module):
    """Where `s` starts stand; all of it is saved and resumed."""

    y: Float[Array, "s p"]  # the last accepted point
    solver: PyTree  # the array leaves of optimistix's state, each (s, ...)
    done: Bool[Array, " s"]  # converged, or cannot go on


def least_squares(
    residuals: Residuals,
    space: ParameterSpace,
    *,
    method: Literal["levenberg_marquardt", "gauss_newton", "dogleg"] = "levenberg_marquardt",
    jacobian: Literal["auto", "forward", "reverse"] = "auto",
    starts: Starts = 10,
    steps: int = 50,
    key: ArrayLike = 0,
    max_step: float = 2.0,
    rtol: float = 1e-8,
    atol: float = 1e-8,
    chunk: int = 1,
    callback: Callback | None = None,
    run: Run | None = None,
) -> FitResult:
    """Minimise half the sum of squared residuals over a parameter space, from several starts.

    Every iteration evaluates the residuals and their Jacobian at all starts at once. The history
    holds every trial, also those that were turned down: `losses[i]` is half the sum of squares at
    `vectors[i]`. A trial that is not finite is turned down and a shorter step tried (not by
    `"gauss_newton"`, which takes every step, and stops there). No component moves by more than
    `max_step` at once. A start stops by itself when it moves by less than `atol + rtol |z|`; the
    run ends when all have stopped. Levenberg–Marquardt begins with a damping of a thousandth of the
    largest diagonal entry of `JᵀJ`, so that the scale of the residuals does not matter, and raises
    it where a step would be too long, so that what the data do not tell does not hold up the rest.

    For the Jacobian of a simulation, `residuals` should simulate with
    `simulate(..., adjoint=diffrax.ForwardMode())`: one forward pass for each parameter, at once.
    `simulate`'s default is for reverse mode only, which costs a backward pass for each *residual*:
    right for a few features of a trace, not for its samples.

    **Arguments:**

    - `residuals`: parameters, name -> array in the space's units, to an array of any shape.
    - `method`: `"levenberg_marquardt"`, `"gauss_newton"` or `"dogleg"`.
    - `jacobian`: `"forward"`, `"reverse"`, or `"auto"`: forward where the residuals allow it, else
      reverse if there are at most four of them per parameter.
    - `max_step`: in units of the unconstrained vector, where the whole of a range is about 8 wide.
    - `rtol`, `atol`: when a start has converged.
    - `starts`, `steps`, `key`, `chunk`, `callback`, `run`: as in `fit`. To go on, `starts` and
      `key` must be the same.

    **Raises:** `ValueError` for an unknown method, residuals that are not finite at any start or
    that cannot be differentiated in the mode asked for, and what does not fit a resume.
    """
    _check_method(LEAST_SQUARES, method)
    z = starting_vectors(space, starts, key)
    rules = _Rules(method, max_step, rtol, atol)
    loop = _loop("least_squares", rules, space, z, steps, chunk, callback, run)
    program = once(_compile_squares, residuals, space, jacobian, rules, chunk)
    return _minimise(program, space, z, loop)


def quasi_newton(
    loss: Callable[[dict[str, Array]], Array],
    space: ParameterSpace,
    *,
    method: Literal["bfgs", "dfp", "lbfgs", "cg"] = "bfgs",
    starts: Starts = 10,
    steps: int = 100,
    key: ArrayLike = 0,
    max_step: float = 2.0,
    rtol: float = 1e-8,
    atol: float = 1e-8,
    chunk: int = 1,
    callback: Callback | None = None,
    run: Run | None = None,
) -> FitResult:
    """Minimise a scalar loss by a quasi-Newton method with line search, from several starts.

    As `least_squares`, for a loss that is no sum of squares: each iteration costs one reverse-mode
    gradient for every start, and each row of the history is one trial of the line search. Best
    close to a minimum, to polish what `fit` found: `starts=result.best_vectors`.

    **Arguments:** `method`, `"bfgs"`, `"dfp"`, `"lbfgs"` (many parameters) or `"cg"` (nonlinear
    conjugate gradients); the others as in `least_squares`.

    **Raises:** `ValueError` for an unknown method, a loss that is not a scalar or not finite at any
    start, and what does not fit a resume.
    """
    _check_method(MINIMISERS, method)
    z = starting_vectors(space, starts, key)
    rules = _Rules(method, max_step, rtol, atol)
    loop = _loop("quasi_newton", rules, space, z, steps, chunk, callback, run)
    return _minimise(once(_compile_loss, loss, space, rules, chunk), space, z, loop)


class _Rules(NamedTuple):
    """How a method goes on and when it stops."""

    method: str
    max_step: float
    rtol: float
    atol: float


class _Program(NamedTuple):
    """What is compiled of a loss or residuals."""

    start: Callable[[Array], "_State"]  # z (s, p)
    go: Callable[["_State", Array], tuple["_State", Array, Array]]  # so many steps; what they saw


def _loop(
    name: str,
    rules: _Rules,
    space: ParameterSpace,
    z: Array,
    steps: int,
    chunk: int,
    callback: Callback | None,
    run: Run | None,
) -> Loop:
    header = {"run": name, "method": rules.method, "space": describe_space(space),
              "max_step": rules.max_step, "rtol": rules.rtol, "atol": rules.atol,
              "starts": digest(z)}  # fmt: skip
    watch = watched(callback)
    return Loop(
        steps, rules.method, Run.of(run), chunk=chunk, callback=watch, header=lambda: header
    )


def _compile_squares(
    residuals: Residuals, space: ParameterSpace, jacobian: str, rules: _Rules, chunk: int
) -> _Program:
    def values(z: Array) -> Array:
        return jnp.ravel(jnp.asarray(residuals(space.to_dict(z)))).astype(z.dtype)

    evaluate = _with_jacobian(values, jnp.zeros(space.size), jacobian)
    return _compile(evaluate, _half_squares, rules, chunk)


def _compile_loss(
    loss: Callable[[dict[str, Array]], Array], space: ParameterSpace, rules: _Rules, chunk: int
) -> _Program:
    def value(z: Array) -> Array:
        out = jnp.asarray(loss(space.to_dict(z)))
        if out.shape != ():
            raise ValueError(f"the loss must be a scalar, got shape {out.shape}")
        return out.astype(z.dtype)

    return _compile(jax.value_and_grad(value), lambda f: f, rules, chunk)


def _check_method(known: dict[str, Any], method: str) -> None:
    if method not in known:
        raise ValueError(f"method must be one of {', '.join(known)}; got {method!r}")


def _solver(rules: _Rules) -> Any:
    solver = (LEAST_SQUARES | MINIMISERS)[rules.method](rtol=rules.rtol, atol=rules.atol)
    if isinstance(solver, optx.LevenbergMarquardt):
        # optimistix's own cutoff, 0.99, keeps the damping of the first step almost for ever
        solver = eqx.tree_at(lambda s: s.search, solver, optx.ClassicalTrustRegion(GOOD))
    return solver


def _half_squares(residuals: Array) -> Array:
    return 0.5 * jnp.sum(residuals**2)


def _with_jacobian(values: Callable[[Array], Array], z: Array, mode: str) -> Evaluate:
    """Residuals `(m,)` and their Jacobian `(m, p)` at a vector, in the mode that works."""
    if mode not in ("auto", "forward", "reverse"):
        raise ValueError(f"jacobian must be 'auto', 'forward' or 'reverse', got {mode!r}")

    def repeated(z: Array) -> tuple[Array, Array]:
        out = values(z)
        return out, out

    def forward(z: Array) -> tuple[Array, Array]:
        jacobian, out = jax.jacfwd(repeated, has_aux=True)(z)
        return out, jacobian

    def reverse(z: Array) -> tuple[Array, Array]:
        jacobian, out = jax.jacrev(repeated, has_aux=True)(z)
        return out, jacobian

    if mode == "reverse":
        return reverse
    try:
        jax.eval_shape(forward, z)
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        count = jax.eval_shape(values, z).size
        if mode == "auto" and count <= FEW * z.size:
            return reverse
        raise ValueError(
            f"the {count} residuals of {z.size} parameters cannot be differentiated in forward "
            "mode; let them simulate with adjoint=diffrax.ForwardMode(), or pass "
            f"jacobian='reverse', at the cost of {count} backward passes for every Jacobian"
        ) from error
    return forward


def _compile(
    evaluate: Evaluate, loss_of: Callable[[Array], Array], rules: _Rules, chunk: int
) -> _Program:
    """What both have in common: how all starts begin, and a chunk of their iterations."""
    begun, iterate = _iteration(evaluate, loss_of, _solver(rules), rules.max_step)

    @jax.jit
    def go(state: _State, count: Array) -> tuple[_State, Array, Array]:
        z = state.y
        losses = jnp.zeros((chunk, z.shape[0]), z.dtype)
        vectors = jnp.zeros((chunk, *z.shape), z.dtype)

        def body(i: Array, carry: tuple) -> tuple:
            state, losses, vectors = carry
            state, loss, trial = jax.vmap(iterate)(state)
            return state, losses.at[i].set(loss), vectors.at[i].set(trial)

        return jax.lax.fori_loop(0, count, body, (state, losses, vectors))

    return _Program(jax.jit(jax.vmap(begun)), go)


def _minimise(program: _Program, space: ParameterSpace, z: Array, loop: Loop) -> FitResult:
    """Iterate from the starts `z (s, p)`, or from where an earlier part ended."""
    part = begin(loop, space, program.start(z))

    def advance(state: _State, count: int) -> tuple[_State, Rows, bool]:
        after, losses, vectors = program.go(state, jnp.asarray(count))
        rows = {"losses": np.asarray(losses)[:count], "vectors": np.asarray(vectors)[:count]}
        if not np.isfinite(rows["losses"][0]).any() and np.array_equal(rows["vectors"][0], z):
            raise ValueError(
                f"the loss or its derivative is not finite at any of the {z.shape[0]} starts; "
                "check it at one of them, or narrow the bounds"
            )
        return after, rows, bool(after.done.all())

    if part.steps and bool(np.all(part.state.done)):
        return FitResult.of(space, part)
    return FitResult.of(space, loop.go(advance, part))


def _damped(solver: Any, y: Array, state: Any, max_step: float) -> Any:
    """`state` with as much damping as keeps every component of the next step within `max_step`."""

    def too_long(carry: tuple) -> Array:
        return jnp.max(jnp.abs(carry[1])) > max_step

    def damped(carry: tuple) -> tuple:
        length = carry[0] / 2
        return length, solver.descent.step(length, state.descent_state)[0]

    first = state.search_state.step_size, state.y_eval - y
    length, move = jax.lax.while_loop(too_long, damped, first)
    return eqx.tree_at(lambda s: (s.search_state.step_size, s.y_eval), state, (length, y + move))


def _iteration(
    evaluate: Evaluate, loss_of: Callable[[Array], Array], solver: Any, max_step: float
) -> tuple[Callable[[Array], _State], Callable[[_State], tuple[_State, Array, Array]]]:
    """How one start begins, and one iteration of it: state -> state, loss and trial vector."""
    options = {"jac": "fwd"}
    tags = frozenset()

    def local(trial: Array, value: Array, slope: Array) -> Callable:
        return lambda y, args: (value + slope @ (y - trial), None)

    def initial(z: Array) -> Any:
        value, slope = jax.eval_shape(evaluate, z)
        fn = local(z, jnp.zeros(value.shape, z.dtype), jnp.zeros(slope.shape, z.dtype))
        return solver.init(fn, z, None, options, value, None, tags)

    def begun(z: Array) -> _State:
        return _State(z, eqx.filter(initial(z), eqx.is_array), jnp.asarray(False))

    def iterate(state: _State) -> tuple[_State, Array, Array]:
        # what is no array in optimistix's state (a jaxpr) belongs to this very trace
        static = eqx.filter(initial(state.y), eqx.is_array, inverse=True)
        before = eqx.combine(state.solver, static)
        trial = jnp.where(state.done, state.y, before.y_eval)
        value, slope = evaluate(trial)
        fine = jnp.isfinite(value).all() & jnp.isfinite(slope).all()
        value = jnp.where(fine, value, jnp.nan)
        slope = jnp.where(fine, slope, 0.0)
        fn = local(trial, value, slope)
        if isinstance(solver, optx.LevenbergMarquardt):
            largest = DAMPING * jnp.max(jnp.sum(slope**2, axis=0))
            first = 1.0 / jnp.where(largest > 0, largest, 1.0)
            length = jnp.where(before.first_step, first, before.search_state.step_size)
            before = eqx.tree_at(lambda s: s.search_state.step_size, before, length)
        y, after, _ = solver.step(fn, state.y, None, options, before, tags)
        converged, result = solver.terminate(fn, y, None, options, after, tags)
        if isinstance(solver, optx.LevenbergMarquardt):
            after = _damped(solver, y, after, max_step)
        move = after.y_eval - y
        # solvers compare with y_eval wherever it lies, so a step may be shortened here
        shorter = max_step / jnp.maximum(jnp.max(jnp.abs(move)), max_step)
        after = eqx.tree_at(lambda s: s.y_eval, after, y + shorter * move)
        if isinstance(solver.search, optx.BacktrackingArmijo):  # goes on from this length
            length = after.search_state.step_size * shorter
            after = eqx.tree_at(lambda s: s.search_state.step_size, after, length)
        still = jnp.all(jnp.abs(move) <= solver.atol + solver.rtol * jnp.abs(y))
        stuck = ~jnp.isfinite(move).all() | (result != optx.RESULTS.successful)
        new = _State(y, eqx.filter(after, eqx.is_array), converged | still | stuck)
        kept = jax.tree.map(lambda a, b: jnp.where(state.done, a, b), state, new)
        return kept, loss_of(value), trial

    return begun, iterate
