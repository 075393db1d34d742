"""Multiple shooting: a recording in segments, each simulated from an initial state of its own.

A simulation cannot drift far from the data within a short segment, so a wrong parameter shows as a
small error everywhere and not as spikes that are missing or late. The states at which segments
begin are parameters too, and a penalty draws the segments together (Bock 1981; for neurons
Toth et al. 2011, Biol Cybern 105:217).

It is not always worth its price. On 60 ms of a Hodgkin-Huxley soma with five spikes, 40 steps of
Levenberg-Marquardt from the same 8 random starts recovered three conductances to 1 % from 7 of them
both on the plain trace and with 30 segments, which took twelve times as long.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxdend.cell import Cell
from jaxdend.dynamics import Model, State, build_model, by_step
from jaxdend.fitting._forcing import Build, _Balance, _checked
from jaxdend.fitting._space import Parameter, ParameterSpace
from jaxdend.inputs import AbstractInput
from jaxdend.solvers import CrankNicolson

POOL = (1e-6, 10.0)  # mM, where a concentration may begin
VOLTAGE = (-130.0, 90.0)  # mV, where a voltage may begin


class Shooting:
    """A recording in segments, as a loss over an extended parameter space.

    ```python
    problem = Shooting(build, space, ts, v, inputs, segments=10)
    starts = problem.starts(space.to_dict(space.sample(0, 8)))
    result = least_squares(problem.residuals, problem.space, starts=starts)
    problem.only(result.params)                             # without the segments' states
    ```

    Fit `problem.loss` with `fit`, or `problem.residuals` (whose squares sum to the loss) with
    `least_squares`, which takes fewest steps; both differentiate in either mode. Then polish
    without segments, as the penalty leaves a small gap between them.

    **Arguments:**

    - `build`: parameters, name -> array in the space's units, to a `Cell`.
    - `space`: the parameters. `problem.space` adds the states of `segments - 1` beginnings: for
      each a voltage in every compartment, gates between 0 and 1, and concentrations.
    - `ts (t,)` ms, evenly spaced; the sampling interval is the time step. `v (t, r)` mV (or `(t,)`)
      at `sites (r,)`, by default at all compartments.
    - `inputs`: what was injected during the recording.
    - `segments`: how many; they must divide the `t - 1` intervals.
    - `weight`: of the penalty against that of the data. `scale`, mV, and `gate_scale`: how large a
      gap, or an error, counts as one; for concentrations `gate_scale` is relative.

    **Raises:** `ValueError` for arrays that do not fit, segments that do not divide the recording,
    states that are neither gates nor concentrations, and inputs as in `teacher_force`.
    """

    def __init__(
        self,
        build: Build,
        space: ParameterSpace,
        ts: ArrayLike,
        v: ArrayLike,
        inputs: AbstractInput | Sequence[AbstractInput] = (),
        *,
        sites: ArrayLike | None = None,
        segments: int = 10,
        weight: float = 1.0,
        scale: float = 5.0,
        gate_scale: float = 0.05,
    ):
        times, volts = _checked(ts, v, 0.0)
        inputs = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
        steps = len(times) - 1
        if segments < 2 or steps % segments:
            raise ValueError(
                f"segments must be at least 2 and divide the {steps} intervals, got {segments}"
            )
        n = build(space.to_dict(np.zeros(space.size))).n
        at = np.arange(n) if sites is None else np.atleast_1d(np.asarray(sites))
        if volts.shape[1] != len(at):
            raise ValueError(f"v has {volts.shape[1]} columns for {len(at)} sites")
        everywhere = np.repeat(volts.mean(axis=1, keepdims=True), n, axis=1)
        everywhere[:, at] = volts
        self._base, self._everywhere = space, everywhere
        self._begin = np.arange(1, segments) * (steps // segments)
        centre = space.to_dict(np.zeros(space.size))
        flat = np.concatenate([np.ravel(centre[name]) for name in space])
        self._balance = _Balance(build, space, times, everywhere, inputs, flat)
        cell = build(centre)
        self._pools = [bool(i.mechanism.writes) for i in cell.inserted]
        states = self._balance.states(flat)
        self._segments = _Segments(
            build, inputs, tuple(space), tuple(tuple(state) for state in states),
            tuple(self._pools), steps // segments, segments, (scale, gate_scale, weight),
            jnp.asarray(times, float), jnp.asarray(volts), jnp.asarray(everywhere[0]),
            jnp.asarray(at),
        )  # fmt: skip
        extra = {"segment_v": Parameter(*VOLTAGE, "linear", "mV", (segments - 1, n))}
        for i, (pool, state) in enumerate(zip(self._pools, states, strict=True)):
            for name, x in state.items():
                if not pool and not bool(jnp.all((x >= 0) & (x <= 1))):
                    raise ValueError(f"{name!r} of mechanism {i} is no gate between 0 and 1")
                shape = (segments - 1, x.shape[1])
                extra[f"segment_{i}_{name}"] = (
                    Parameter(*POOL, "log", "mM", shape)
                    if pool
                    else Parameter(0.0, 1.0, "linear", "1", shape)
                )
        self.space = ParameterSpace({name: space[name] for name in space} | extra)

    def starts(self, params: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """Starts for a fit: `params`, name -> `(s, *shape)`, with states that follow the recording.

        Voltages are the recorded ones (unrecorded compartments get the mean), and every mechanism
        is driven by them from the beginning of the recording.
        """
        given = {name: np.asarray(params[name], float) for name in self._base}
        rows = []
        for s in range(len(next(iter(given.values())))):
            one = {name: value[s] for name, value in given.items()}
            flat = np.concatenate([np.ravel(one[name]) for name in self._base])
            found = {"segment_v": np.clip(self._everywhere[self._begin], *VOLTAGE)}
            for i, state in enumerate(self._balance.states(flat)):
                low, high = POOL if self._pools[i] else (0.0, 1.0)
                for name, x in state.items():
                    found[f"segment_{i}_{name}"] = np.clip(np.asarray(x)[self._begin], low, high)
            rows.append(one | found)
        return {name: np.stack([row[name] for row in rows]) for name in self.space}

    def only(self, params: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """The parameters of the fit, `params` without the states of the segments."""
        return {name: np.asarray(params[name]) for name in self._base}

    @property
    def loss(self) -> Callable[[dict[str, Array]], Array]:
        """Parameters to the mean square error of the voltages plus `weight` times the gaps'."""
        return self._segments.loss

    @property
    def residuals(self) -> Callable[[dict[str, Array]], Array]:
        """Parameters to errors and gaps `(m,)`, scaled so that their squares sum to the loss."""
        return self._segments.residuals


class _Segments(eqx.Module):
    """What the loss and the residuals are made of."""

    build: Build = eqx.field(static=True)
    inputs: tuple[Any, ...]
    base: tuple[str, ...] = eqx.field(static=True)  # the parameters without the segments' states
    names: tuple[tuple[str, ...], ...] = eqx.field(static=True)  # of the states of each mechanism
    pools: tuple[bool, ...] = eqx.field(static=True)  # which mechanisms are pools
    steps: int = eqx.field(static=True)  # of each segment
    segments: int = eqx.field(static=True)
    scales: tuple[float, float, float] = eqx.field(static=True)  # voltage, gates, weight
    times: Array  # (t,) ms
    volts: Array  # (t, r) mV
    first: Array  # (n,) mV, at the first sample
    sites: Array  # (r,)

    def loss(self, params: dict[str, Array]) -> Array:
        """Mean square error of the voltages plus `weight` times that of the gaps, a scalar."""
        return jnp.sum(self.residuals(params) ** 2)

    def residuals(self, params: dict[str, Array]) -> Array:
        """Errors and gaps `(m,)`, scaled so that their squares sum to the loss."""
        scale, gate_scale, weight = self.scales
        shown, ends, begins = self._simulated(params)
        error = (shown - self.volts[1:]) / scale
        gaps = [(ends.v[:, : begins.v.shape[1]] - begins.v) / scale]
        for pool, end, begin in zip(self.pools, ends.mechanisms, begins.mechanisms, strict=True):
            for name in end:
                a, b = (jnp.log(x[name]) if pool else x[name] for x in (end, begin))
                gaps.append((a - b) / gate_scale)
        size = weight / sum(g.size for g in gaps)
        parts = [error / np.sqrt(error.size)] + [g * np.sqrt(size) for g in gaps]
        return jnp.concatenate([jnp.ravel(part) for part in parts])

    def _simulated(self, params: dict[str, Array]) -> tuple[Array, State, State]:
        """Voltages `(t - 1, r)`, where segments but the last end, and where the next begin."""
        grid = self.times
        cell = self.build({name: params[name] for name in self.base})
        mechanisms = [
            {name: params[f"segment_{i}_{name}"] for name in names}
            for i, names in enumerate(self.names)
        ]
        begins = State(params["segment_v"], mechanisms, [])
        whole = self._model(cell, grid[: self.steps + 1])
        start = whole.initial(self.first, False)
        first = State(start.v[: cell.n], start.mechanisms, [])
        every = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, begins)
        at = np.arange(self.segments)[:, None] * self.steps + np.arange(self.steps + 1)

        def segment(begin: State, grid: Array) -> tuple[Array, State]:
            model = self._model(cell, grid)
            hidden = jnp.zeros(len(model.area) - model.n)
            zero = jnp.zeros_like(model.area)
            v = model.complete(jnp.concatenate([begin.v, hidden]), zero, zero)
            state = State(v, begin.mechanisms, model.initial_inputs(v, False))

            def step(state: State, k: Array) -> tuple[State, Array]:
                due = tuple(None if t is None else t.due(k) for t in model.tables)
                state = CrankNicolson().advance(model, state, grid[k], due, None)
                return state, state.v[self.sites]

            state, shown = jax.lax.scan(step, state, jnp.arange(self.steps))
            return shown, State(state.v, state.mechanisms, [])

        shown, ends = jax.vmap(segment)(every, grid[at])
        last = jax.tree.map(lambda a: a[:-1], ends)
        return shown.reshape(-1, shown.shape[-1]), last, begins

    def _model(self, cell: Cell, grid: Array) -> Model:
        model = build_model(cell, self.inputs, start=grid[0], h=self.times[1] - self.times[0])
        return by_step(model, grid, False, (None,) * len(self.inputs))
