"""Step-size controllers of adaptive solvers: by a shift in time, and with an end at every edge.

A step ends where an input jumps, and events are delivered between steps, so that every step sees
smooth equations. Its length follows the largest error by proportional-integral control (Hairer &
Wanner IV.2; Söderlind 2003, ACM Trans Math Softw 29:1), with the coefficients 0.3 and 0.4.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array

from jaxdend._jax import prevbefore
from jaxdend.dynamics import Model, State
from jaxdend.solvers.rosenbrock import error_norm

FIRST = 0.01  # ms, the first step tried


class TimeShift(diffrax.AbstractAdaptiveStepSizeController):
    """Accepts a step whose error amounts to at most `tolerance` ms; see `AbstractRosenbrock`."""

    tolerance: Array = eqx.field(kw_only=True)  # () ms
    rtol: float = 0.0
    atol: float = 0.0
    norm: Callable = optimistix.rms_norm

    def wrap(self, direction: Any) -> "TimeShift":
        """Returns the controller itself, since time runs only forwards."""
        del direction
        return self

    def init(
        self, terms: Any, t0: Array, t1: Array, y0: State, dt0: Array | None, args: Model,
        func: Any, error_order: Any,
    ) -> tuple[Array, Array]:  # fmt: skip
        """The first step's end, and the error of the last step, as a multiple of the allowed."""
        del terms, t1, y0, args, func, error_order
        return t0 + (FIRST if dt0 is None else dt0), jnp.ones_like(t0)

    def adapt_step_size(
        self, t0: Array, t1: Array, y0: State, y1_candidate: State, args: Model, y_error: State,
        error_order: Any, controller_state: Array,
    ) -> tuple[Array, Array, Array, bool, Array, Any]:  # fmt: skip
        """Whether to take the step, and where the next begins and ends."""
        h = t1 - t0
        safe = jnp.where(h > 0, h, 1.0)
        size = error_norm(args, y0, y1_candidate, y_error, safe, self.tolerance)
        size = jax.lax.stop_gradient(size)
        fine = size <= 1.0
        growth = 0.9 * jnp.maximum(size, 1e-10) ** (-0.7 / error_order)
        growth = growth * controller_state ** (0.3 / error_order)
        growth = jnp.where(jnp.isfinite(size), jnp.clip(growth, 0.2, 10.0), 0.1)
        new = jnp.where(fine, growth, jnp.minimum(growth, 0.9)) * h
        tiny = 8 * jnp.finfo(h.dtype).eps * jnp.maximum(jnp.abs(t0), 1e-3)
        results: Any = diffrax.RESULTS
        stuck = ~fine & (new < tiny)
        result = results.where(stuck, results.dt_min_reached, results.successful)
        start = jnp.where(fine, t1, t0)
        last = jnp.where(fine, jnp.maximum(size, 1e-4), controller_state)
        end = start + jax.lax.stop_gradient(new)
        return fine, start, end, False, last, result


class AtEdges(diffrax.AbstractAdaptiveStepSizeController):
    """Another controller whose steps end at every edge of the inputs (`Model.edges`).

    `short`: at the number before the edge, for solvers that evaluate at the very end of a step;
    the next one starts from the edge.
    """

    controller: Any
    short: bool
    rtol: Any  # these three as of the controller: implicit solvers ask for them
    atol: Any
    norm: Any

    @classmethod
    def of(cls, controller: Any, *, short: bool) -> "AtEdges":
        """`controller`, with an end at every edge."""
        rtol, atol, norm = (getattr(controller, n, None) for n in ("rtol", "atol", "norm"))
        return cls(controller=controller, short=short, rtol=rtol, atol=atol, norm=norm)

    def wrap(self, direction: Any) -> "AtEdges":
        """Wraps the inner controller; time runs only forwards."""
        return AtEdges.of(self.controller.wrap(direction), short=self.short)

    def init(
        self, terms: Any, t0: Array, t1: Array, y0: State, dt0: Array | None, args: Model,
        func: Any, error_order: Any,
    ) -> tuple[Array, tuple]:  # fmt: skip
        """The first step's end; the controller's own state, and how long it wished the step."""
        end, inner = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return jnp.minimum(end, self._stop(args, t0)), (inner, end - t0)

    def adapt_step_size(
        self, t0: Array, t1: Array, y0: State, y1_candidate: State, args: Model, y_error: State,
        error_order: Any, controller_state: tuple,
    ) -> tuple[Array, Array, Array, Array, tuple, Any]:  # fmt: skip
        """Does what the controller says, but ends no step beyond an edge or just before it."""
        inner, wished = controller_state
        fine, start, end, jumped, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, inner
        )
        h, new = t1 - t0, jax.lax.stop_gradient(end - start)
        # a step that was cut short does not tell how long the next may be
        new = jnp.where(fine & (h < wished), jnp.maximum(new, wished), new)
        met = fine & (t1 == self._stop(args, t0))
        start = jnp.where(met, args.edges.after(t0), start) if self.short else start
        stop = self._stop(args, start)
        left = stop - start
        reached = new >= left
        step = jnp.where(2 * new > left, 0.5 * left, new)
        end = jnp.where(reached, stop, start + step)
        return fine, start, end, jumped | met, (inner, jax.lax.stop_gradient(new)), result

    def _stop(self, model: Model, t: Array) -> Array:
        edge = model.edges.after(t)
        return jnp.maximum(prevbefore(edge), t) if self.short else edge
