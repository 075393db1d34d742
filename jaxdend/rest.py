"""`rest`: the steady state of a cell, found inside `jit`, with implicit gradients."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from jaxdend.cell import Cell
from jaxdend.dynamics import Model, State, build_model
from jaxdend.mechanisms.base import AbstractPool

Unknown = tuple[Array, list[Array]]  # (N,) mV and one (k,) mM per concentration mechanism


def rest(
    cell: Cell,
    *,
    v0: ArrayLike = -65.0,
    tolerance: float = 1e-9,
    max_steps: int = 200,
    throw: bool = True,
) -> State:
    """The state in which nothing moves, without inputs, reached from around `v0`.

    Newton's method on the balance of currents with every gate at its steady state and every
    concentration unknown beside the voltage; the Jacobian is the tree plus local terms. Gradients
    follow from the implicit function theorem, at the cost of one more solve.

    **Arguments:** `v0`, a number or `(n,)` mV, where to look; `tolerance` on the last step, mV (in
    float32 at least 1e-4); `max_steps` of Newton; `throw=False` returns a state of NaN where no
    steady state is found, so that it does not stop a batch.

    **Returns:** a `State` to pass to `simulate` as `v0=`.

    **Raises:** an `equinox` runtime error if no steady state is found near `v0`. A steady state
    need not be stable: a cell that fires by itself is balanced at one, too.
    """
    return _rest(cell, jnp.asarray(v0, float), tolerance, max_steps, throw)


@eqx.filter_jit
def _rest(cell: Cell, v0: Array, tolerance: float, max_steps: int, throw: bool) -> State:
    grid = jnp.asarray([0.0, 0.025], cell.area.dtype)
    model = build_model(cell, (), grid=grid, h=grid[1], rounded=True, widths=())
    begin = model.initial(v0, True)
    pools = tuple(isinstance(item.mechanism, AbstractPool) for item in cell.inserted)
    tolerance = max(tolerance, 1e3 * float(jnp.finfo(begin.v.dtype).eps))
    inside = [x["inside"] for x, pool in zip(begin.mechanisms, pools, strict=True) if pool]

    def residual(z: Unknown) -> Unknown:
        return _residual(model, z)

    def solve(f: Callable, z: Unknown) -> Unknown:
        return _newton(model, f, z, tolerance, max_steps)

    def tangent_solve(g: Callable, y: Unknown) -> Unknown:
        zero = jax.tree.map(jnp.zeros_like, y)
        return _local_solve(model, g, zero, y)

    v, inside = jax.lax.custom_root(residual, (begin.v, inside), solve, tangent_solve)
    state = _settled(model, v, inside)
    worst = jnp.max(jnp.abs(_local_solve_at(model, (v, inside))[0]))
    found = worst < 1e3 * tolerance
    if not throw:
        return jax.tree.map(lambda a: jnp.where(found, a, jnp.nan), state)  # all are floating
    message = (
        "rest: no steady state found near v0. Try another v0, or run "
        "jd.simulate for a while and pass on Traces.final."
    )
    return eqx.error_if(state, ~found, message)


def _settled(model: Model, v: Array, inside: list[Array]) -> State:
    """The state with every gate at rest at `v` and the given concentrations."""
    left = iter(inside)
    pools = tuple(
        {"inside": next(left)} if isinstance(item.mechanism, AbstractPool) else {}
        for item in model.inserted
    )
    envs = model.environments(State(v, pools, ()))
    mechanisms = tuple(
        x or item.mechanism.initial(item.at.take(v), env)
        for item, x, env in zip(model.inserted, pools, envs, strict=True)
    )
    return State(v, mechanisms, ())


def _residual(model: Model, z: Unknown) -> Unknown:
    """Current out of every node (nA) and the drift of every concentration (mM/ms)."""
    v, inside = z
    state = _settled(model, v, inside)
    outward, ions = model.membrane_current(v, state, model.environments(state), ())
    drift = [
        item.mechanism.pool_derivative(x["inside"], item.at.take(ions[item.mechanism.ion]))
        for item, x in zip(model.inserted, state.mechanisms, strict=True)
        if isinstance(item.mechanism, AbstractPool)
    ]
    return outward + model.axial_current(v), drift


def _local_solve(model: Model, f: Callable, z: Unknown, r: Unknown) -> Unknown:
    """Solve `J d = r` with `J` the Jacobian of `f` at `z`: a tree in v, local in concentrations.

    Concentrations are eliminated compartment by compartment; every entry of `J` off the tree comes
    from one `jax.jvp` with a tangent of ones.
    """
    (v, inside), (r_v, r_c) = z, r
    at = [i.at for i in model.inserted if isinstance(i.mechanism, AbstractPool)]
    nothing = (jnp.zeros_like(v), [jnp.zeros_like(c) for c in inside])

    def push(tangent: Unknown) -> Unknown:
        return jax.jvp(f, (z,), (tangent,))[1]

    # a constant shift of v leaves the axial currents alone: what comes back is the local slope
    slope, by_v = push((jnp.ones_like(v), nothing[1]))
    diagonal = model.axial + slope
    pivots = []
    for p, where in enumerate(at):
        ones = [jnp.ones_like(c) if q == p else jnp.zeros_like(c) for q, c in enumerate(inside)]
        to_v, to_c = push((nothing[0], ones))
        to_v, own = where.take(to_v), to_c[p]
        diagonal = where.add_to(diagonal, -to_v * by_v[p] / own)
        r_v = where.add_to(r_v, -to_v * r_c[p] / own)
        pivots.append(own)
    # compartments that pad a cell of a stack are isolated, have no conductance, and stay
    matrix = model.matrix(jnp.where(diagonal == 0.0, 1.0, diagonal))
    dv = jax.lax.custom_linear_solve(  # so that it can be transposed, for reverse mode
        matrix.mv, r_v, lambda _, b: matrix.solve(b), symmetric=True
    )
    dc = [
        (r - b * where.take(dv)) / own
        for r, b, where, own in zip(r_c, by_v, at, pivots, strict=True)
    ]
    return dv, dc


def _local_solve_at(model: Model, z: Unknown) -> Unknown:
    """The Newton step from `z`."""
    z = jax.lax.stop_gradient(z)
    frozen = jax.lax.stop_gradient(model)

    def f(z: Unknown) -> Unknown:
        return _residual(frozen, z)

    return _local_solve(frozen, f, z, f(z))


def _newton(model: Model, f: Callable, z: Unknown, tolerance: float, max_steps: int) -> Unknown:
    """Newton with steps of at most 5 mV, concentrations kept positive."""

    def moving(carry: tuple) -> Array:
        _, size, k = carry
        return (size > tolerance) & (k < max_steps)

    def step(carry: tuple) -> tuple:
        (v, inside), _, k = carry
        dv, dc = _local_solve(model, f, (v, inside), f((v, inside)))
        size = jnp.max(jnp.abs(dv))
        scale = jnp.minimum(1.0, 5.0 / jnp.maximum(size, 1e-30))
        inside = [jnp.maximum(c - scale * d, 0.1 * c) for c, d in zip(inside, dc, strict=True)]
        return (v - scale * dv, inside), size, k + 1

    start = (z, jnp.asarray(jnp.inf, z[0].dtype), 0)
    return jax.lax.while_loop(moving, step, start)[0]
