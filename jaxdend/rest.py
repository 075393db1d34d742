"""`rest`: the steady state of a cell, found inside `jit`, with implicit gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from jaxdend._types import in_current_precision
from jaxdend.cell import Cell
from jaxdend.dynamics import Model, State, build_model
from jaxdend.jacobian import linearise


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
    concentration unknown beside the voltage; the Jacobian is that of the Rosenbrock methods.
    Derivatives, up to the third, are those of the implicit function theorem: they come from two
    more steps of Newton from the steady state, where a step's own error is of second order.

    **Arguments:** `v0`, a number or `(n,)` mV, where to look; `tolerance` on the last step, mV (in
    float32 at least 1e-4); `max_steps` of Newton; `throw=False` returns a state of NaN where no
    steady state is found, so that it does not stop a batch.

    **Returns:** a `State` to pass to `simulate` as `v0=`.

    **Raises:** an `equinox` runtime error if no steady state is found near `v0`. A steady state
    need not be stable: a cell that fires by itself is balanced at one, too.
    """
    return _rest(in_current_precision(cell), jnp.asarray(v0, float), tolerance, max_steps, throw)


@eqx.filter_jit
def _rest(cell: Cell, v0: Array, tolerance: float, max_steps: int, throw: bool) -> State:
    zero = jnp.zeros((), cell.area.dtype)
    model = build_model(cell, (), start=zero, h=zero + 0.025)
    begin = model.initial(v0, True)
    tolerance = max(tolerance, 1e3 * float(jnp.finfo(begin.v.dtype).eps))
    writers = [
        x if item.mechanism.writes else {}
        for item, x in zip(model.inserted, begin.mechanisms, strict=True)
    ]
    frozen = jax.lax.stop_gradient(model)

    def moving(carry: tuple) -> Array:
        _, size, k, _ = carry
        return (size > tolerance) & (k < max_steps)

    def step(carry: tuple) -> tuple:
        z, _, k, halfway = carry
        z, size = _newton(frozen, *z)
        return z, size, k + 1, jnp.where(k < max_steps // 2, z[0], halfway)

    start = jax.lax.stop_gradient((begin.v, writers)), jnp.asarray(jnp.inf, begin.v.dtype), 0
    z, last, _, halfway = jax.lax.while_loop(moving, step, (*start, start[0][0]))
    # steps of float32 never end near a steady state, but lead nowhere; without one they add up
    size = jnp.where(last > tolerance, jnp.max(jnp.abs(z[0] - halfway)), 0.0)
    v, writers = z
    for _ in range(2):
        (v, writers), moved = _newton(model, v, writers)
        size = jnp.maximum(size, moved)
    state = State(v, model.at_rest(v, writers), [])
    found = jax.lax.stop_gradient(size) < 1e3 * tolerance
    if not throw:
        return jax.tree.map(lambda a: jnp.where(found, a, jnp.nan), state)  # all are floating
    message = (
        "rest: no steady state found near v0. Try another v0, or run "
        "jd.simulate for a while and pass on Traces.final."
    )
    return eqx.error_if(state, ~found, message)


def _newton(model: Model, v: Array, writers: list[dict[str, Array]]) -> tuple[tuple, Array]:
    """One step of at most 5 mV from voltages and concentrations, which stay positive; its size."""
    zero = jnp.zeros_like(v[0])
    state = State(v, model.at_rest(v, writers), [])
    slopes = model.balance(zero, state)
    change = linearise(model, state, zero, zero, settled=True).solve(model, slopes)
    size = jnp.max(jnp.abs(change.v))
    scale = jnp.minimum(1.0, 5.0 / jnp.maximum(jax.lax.stop_gradient(size), 1e-30))
    moved = [
        {
            # every state of a mechanism that writes is a concentration or follows one
            name: jnp.where(x[name] > 0, jnp.maximum(x[name] + scale * d[name], 0.1 * x[name]),
                            x[name] + scale * d[name])
            for name in x
        }
        for x, d in zip(writers, change.mechanisms, strict=True)
    ]  # fmt: skip
    return (v + scale * change.v, moved), size
