"""Teacher forcing: hold the model at the recorded voltage and ask which currents are missing.

At a known voltage the gates follow by themselves, and what is left is linear in the maximal
conductances: no simulation can run away, and no spike can be late. A good start for a fit.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxdend.cell import Cell
from jaxdend.dynamics import Model, build_model, by_step
from jaxdend.fitting._space import ParameterSpace
from jaxdend.inputs import AbstractInput
from jaxdend.mechanisms.base import overrides

Build = Callable[[dict[str, Array]], Cell]

ENTRIES = 4_000_000  # of the linear system at once
SWEEPS = 8  # at most, where concentrations depend on the conductances


def teacher_force(
    build: Build,
    space: ParameterSpace,
    ts: ArrayLike,
    v: Float[ArrayLike, "t n"],
    inputs: AbstractInput | Sequence[AbstractInput] = (),
    *,
    smooth: float = 0.0,
) -> dict[str, np.ndarray]:
    """The maximal conductances that balance the currents at a recorded voltage.

    Every gate is driven by the recorded voltage from its steady state at the first sample. The
    balance `C dv/dt + axial + membrane - injected = 0` over each sampling interval, with the
    scheme of `CrankNicolson`, is linear in conductances: a least squares problem within the bounds
    of the space (Huys, Ahrens & Paninski 2006, J Neurophysiol 96:872). Voltages that `simulate`
    made with `dt` equal to the sampling interval give the parameters exactly.

    Where concentrations move, they depend on the conductances: the problem is then solved a few
    times, with the concentrations of the solution before.

    **Arguments:**

    - `build`: parameters, name -> array in the space's units, to a `Cell`. Currents must be linear
      in all parameters together: maximal conductances, or a common factor of some, but neither
      reversal potentials nor kinetics.
    - `ts (t,)` ms, evenly spaced; `v (t, n)` mV of *every* compartment (`(t,)` for one).
    - `inputs`: what was injected during the recording.
    - `smooth`: width in ms of a Savitzky–Golay filter of third order over the voltage, 0 for none.
      The derivative of a noisy voltage is noisier, and the bias grows with it.

    **Returns:** name -> array, inside the bounds. As starts of a fit of one start:
    `{name: value[None] for name, value in found.items()}`.

    **Raises:** `ValueError` for arrays that do not fit, parameters that the currents are not linear
    in, and cells or inputs that a voltage does not determine: voltage clamps, kinetic synapses,
    resets, inputs to compartments of area 0.
    """
    inputs = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
    times, volts = _checked(ts, v, smooth)
    low, high, centre = _box(space)
    balance = _Balance(build, space, times, volts, inputs, centre)
    x, states = centre, balance.states(centre)
    other = balance.states(np.sqrt(centre * high) if np.all(centre > 0) else (centre + high) / 2)
    moving = not jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), states, other))
    if moving and not balance.pooled:
        raise ValueError(
            "the kinetics of the cell depend on the parameters; teacher_force takes maximal "
            "conductances only"
        )
    for _ in range(SWEEPS if moving else 1):
        before, x = x, balance.solved(x, states, low, high)
        if not moving or np.all(np.abs(x - before) <= 1e-6 * np.abs(x)):
            break
        states = balance.states(x)
    return {name: np.asarray(value) for name, value in balance.named(x).items()}


def _checked(ts: ArrayLike, v: ArrayLike, smooth: float) -> tuple[np.ndarray, np.ndarray]:
    """Times `(t,)` and voltages `(t, n)`, smoothed."""
    times, volts = np.asarray(ts, float), np.asarray(v, float)
    volts = volts[:, None] if volts.ndim == 1 else volts
    if times.ndim != 1 or volts.ndim != 2 or len(times) != len(volts) or len(times) < 3:
        raise ValueError(
            f"expected ts (t,) and v (t, n) with t >= 3, got {times.shape} and {np.shape(v)}"
        )
    if not (np.isfinite(times).all() and np.isfinite(volts).all()):
        raise ValueError("ts and v must be finite, got NaN or infinity")
    gaps = np.diff(times)
    if gaps[0] <= 0 or not np.allclose(gaps, gaps.mean(), rtol=1e-3):
        raise ValueError(
            f"ts must be evenly spaced and ascending, got intervals from {gaps.min():g} to "
            f"{gaps.max():g} ms"
        )
    if smooth > 0:
        window = 2 * int(np.ceil(smooth / gaps.mean() / 2)) + 1
        if not 5 <= window <= len(times):
            raise ValueError(f"smooth = {smooth:g} ms are {window} samples of {len(times)}")
        from scipy.signal import savgol_filter  # slow to import

        volts = np.asarray(savgol_filter(volts, window, 3, axis=0))
    return times, volts


def _box(space: ParameterSpace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds and centre of the box, `(p,)`, in the parameters' units."""
    entries = [space[name] for name in space]
    low = np.concatenate([np.full(p.size, p.low) for p in entries])
    high = np.concatenate([np.full(p.size, p.high) for p in entries])
    centre = space.to_dict(np.zeros(space.size))
    return low, high, np.concatenate([np.ravel(centre[name]) for name in space])


class _Balance:
    """The balance of currents along a recording, as a linear system for the parameters."""

    def __init__(
        self,
        build: Build,
        space: ParameterSpace,
        times: np.ndarray,
        volts: np.ndarray,
        inputs: tuple,
        x: np.ndarray,
    ):
        self._build, self._space, self._inputs, self._times = build, space, inputs, times
        cell = build(self.named(x))
        _check_determined(cell, inputs)
        if volts.shape[1] != cell.n:
            raise ValueError(
                f"v has {volts.shape[1]} columns, but the cell {cell.n} compartments: teacher "
                "forcing needs them all; nudging takes some"
            )
        self.pooled = any(i.mechanism.writes for i in cell.inserted)
        model = self._model(jnp.asarray(x))
        hidden = np.zeros((len(volts), len(model.area) - cell.n))
        zero = jnp.zeros_like(model.area)
        nodes = jnp.asarray(np.concatenate([volts, hidden], axis=1), model.area.dtype)
        self._v = jax.vmap(lambda v: model.complete(v, zero, zero))(nodes)  # (t, N) mV
        self._states = jax.jit(self._driven)
        self._rows = jax.jit(self._linear)
        self._missing = jax.jit(self._residual)

    def named(self, x: Any) -> dict[str, Array]:
        """A flat vector `(p,)` in the parameters' units, by name."""
        out, start = {}, 0
        for name in self._space:
            p = self._space[name]
            out[name] = jnp.asarray(x[start : start + p.size]).reshape(p.shape)
            start += p.size
        return out

    def states(self, x: np.ndarray) -> list:
        """The mechanisms' states at the start of each interval, leaves `(t - 1, k)`."""
        return self._states(jnp.asarray(x))

    def solved(self, x: np.ndarray, states: list, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The parameters within the bounds that balance the currents best at these states."""
        from scipy.optimize import lsq_linear  # slow to import

        steps, size = len(self._times) - 1, len(x)
        block = max(1, min(steps, ENTRIES // (self._v.shape[1] * (size + 1))))
        triangle = np.zeros((0, size + 1))
        for first in range(0, steps, block):
            part = np.minimum(np.arange(first, first + block), steps - 1)
            at = jax.tree.map(lambda a, part=part: a[part], states)
            matrix, rest = self._rows(jnp.asarray(x), at, jnp.asarray(part))
            matrix, rest = (np.asarray(a, float)[: steps - first] for a in (matrix, rest))
            if first == 0:
                self._check_linear(x, at, part, matrix, rest)
            matrix = matrix.reshape(-1, size)
            right = matrix @ x - rest.reshape(-1)
            rows = np.concatenate([matrix * high, right[:, None]], axis=1)
            triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, rows]), mode="r"))
        found = lsq_linear(triangle[:, :-1], triangle[:, -1], (low / high, np.ones(size)))
        return np.clip(found.x * high, low, high)

    def _model(self, x: Array) -> Model:
        grid = jnp.asarray(self._times, float)
        cell = self._build(self.named(x))
        model = build_model(cell, self._inputs, start=grid[0], h=grid[1] - grid[0])
        return by_step(model, grid, False, (None,) * len(self._inputs))

    def _driven(self, x: Array) -> list:
        model = self._model(x)
        start = model.initial(self._v[0, : model.n], False)

        def step(mechanisms: list, inputs: tuple) -> tuple[list, list]:
            now, after, t = inputs
            _, ions = self._current(model, mechanisms, start.inputs, now, after, t)
            return model.advance(after, mechanisms, ions, model.h), mechanisms

        along = self._v[:-1], self._v[1:], jnp.asarray(self._times[:-1], float)
        return jax.lax.scan(step, start.mechanisms, along)[1]

    def _current(
        self, model: Model, mechanisms: list, inputs: list, now: Array, after: Array, t: Array
    ) -> tuple:
        """Outward current (nA), ions' densities in mid-interval, as the solver takes them."""
        envs = model.environments(mechanisms)
        (outward, ions), (slope, ion_slopes) = model.linearise(now, mechanisms, envs)
        inputs = model.recall(t + model.h / 2, inputs)
        source, slope = model.source(now, inputs, t, t + model.h, outward, slope)
        outward, used = slope * now - source, (after - now) / 2
        ions = {ion: i + ion_slopes[ion] * used for ion, i in ions.items()}
        return outward + slope * used, ions

    def _residual(self, x: Array, states: list, k: Array) -> Array:
        """What is missing in the balance of intervals `k (c,)`, `(c, n)` mV/ms."""
        model = self._model(x)
        times = jnp.asarray(self._times, float)
        inputs = model.initial_inputs(self._v[0], False)

        def one(mechanisms: list, k: Array) -> Array:
            now, after, t = self._v[k], self._v[k + 1], times[k]
            outward, _ = self._current(model, mechanisms, inputs, now, after, t)
            net = outward + model.axial_current((now + after) / 2)
            return ((after - now) / model.h)[: model.n] + (
                net[: model.n] / model.capacitance[: model.n]
            )

        return jax.vmap(one)(states, k)

    def _linear(self, x: Array, states: list, k: Array) -> tuple[Array, Array]:
        """Derivative `(c, n, p)` and value `(c, n)` of the residual."""
        return jax.jacfwd(self._residual)(x, states, k), self._residual(x, states, k)

    def _check_linear(
        self, x: np.ndarray, states: list, k: np.ndarray, matrix: np.ndarray, rest: np.ndarray
    ) -> None:
        """Refuse parameters that the residual is not affine in, by name if one is to blame."""
        names = np.repeat(list(self._space), [self._space[n].size for n in self._space])
        for name in (*self._space, None):
            moved = x * np.where((names == name) | (name is None), 1.5, 1.0)
            there = np.asarray(self._missing(jnp.asarray(moved), states, jnp.asarray(k)), float)
            there = there[: len(rest)]
            expected = rest + matrix @ (moved - x)
            size = np.abs(there - rest).max()
            if np.abs(there - expected).max() > 1e-3 * size + 1e-6:
                blame = "these parameters together" if name is None else f"parameter {name!r}"
                raise ValueError(
                    f"the currents are not linear in {blame}; teacher_force takes maximal "
                    "conductances, with reversal potentials and kinetics fixed"
                )


def _check_determined(cell: Cell, inputs: tuple) -> None:
    """Refuse what the voltage alone does not determine."""
    for item in inputs:
        hidden = item.coupled and item.init(jnp.zeros(item.site.shape)) is not None
        if item.stiff or hidden:
            raise ValueError(f"teacher_force cannot know the current of a {type(item).__name__}")
    if any(overrides(item.mechanism, "reset") for item in cell.inserted):
        raise ValueError("teacher_force cannot follow a mechanism that resets the voltage")
    if cell.exposed:
        raise ValueError("teacher_force needs a cell whose compartments all have an area")
