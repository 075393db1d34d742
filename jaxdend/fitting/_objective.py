"""Several protocols as one number: the weighted mean of how far a neuron is from its recordings."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxdend._subset import is_concrete
from jaxdend._types import as_leaf
from jaxdend.cell import Cell
from jaxdend.dynamics import State
from jaxdend.events import widest_step
from jaxdend.fitting._losses import mse
from jaxdend.fitting._protocol import FeatureTerm, Loss, Protocol, Terms
from jaxdend.fitting.features import rounded
from jaxdend.rest import rest
from jaxdend.simulate import simulate
from jaxdend.stimuli import VoltageClamp
from jaxdend.synapses import AbstractSynapse, Binned

Params = Mapping[str, Array]
Neuron = Callable[[Any], Any]  # parameters -> Cell, or (Cell, inputs of every protocol)


class _LossTerm(eqx.Module):
    """A distance of traces, with its weight."""

    weight: Float[Array, ""]
    loss: Loss = eqx.field(static=True)
    wants: tuple[str, ...] = eqx.field(static=True)  # which of scale and dt it takes

    def value(self, ts: Array, v: Array, target: Array, scale: Array) -> Array:
        known = {"scale": scale, "dt": ts[1] - ts[0]}
        return self.weight * self.loss(v, target, **{k: known[k] for k in self.wants})

    def residuals(self, ts: Array, v: Array, target: Array, scale: Array) -> Array:
        del ts
        return jnp.sqrt(self.weight / v.size) * ((v - target) / scale).reshape(-1)


class _ScoreTerm(eqx.Module):
    """A term of the objective that compares features, with its weight."""

    weight: Float[Array, ""]
    term: FeatureTerm

    def value(self, ts: Array, v: Array, target: Array, scale: Array) -> Array:
        del target, scale
        return self.weight * jnp.mean(rounded(self.term.scores(ts, v)))

    def residuals(self, ts: Array, v: Array, target: Array, scale: Array) -> Array:
        del target, scale
        z = self.term.scores(ts, v)
        return jnp.sqrt(self.weight / z.size) * z


class _Run(eqx.Module):
    """One protocol, prepared; in a `_Group` every array has the batch in front."""

    inputs: tuple[Any, ...]
    step: Array  # (t,) int, the simulation's sample before each of the recording's
    share: Array  # (t,) of the way to the next one
    ts: Array  # (t,) ms
    target: Array  # (t, r) mV
    used: Array  # (t, r) bool
    scale: Array  # (r,) mV
    weight: Array  # ()
    terms: tuple[_LossTerm | _ScoreTerm, ...]

    def sampled(self, v: Array) -> Array:
        """The simulation `v (steps + 1, r)` at the recording's times, `(t, r)`."""
        return v[self.step] + self.share[:, None] * (v[self.step + 1] - v[self.step])

    def loss(self, v: Array) -> Array:
        """Distance of `v (t, r)` from the recording."""
        return sum(
            (term.value(self.ts, v, self._target(v), self.scale) for term in self.terms),
            start=jnp.zeros((), v.dtype),
        )

    def residuals(self, v: Array) -> Array:
        """All terms of the distance, whose squares it sums."""
        return jnp.concatenate(
            [term.residuals(self.ts, v, self._target(v), self.scale) for term in self.terms]
        )

    def _target(self, v: Array) -> Array:
        return jnp.where(self.used, self.target, v)


class _Group(eqx.Module):
    """Protocols that run as one vmapped simulation."""

    run: _Run  # every array (b, ...)
    names: tuple[str, ...] = eqx.field(static=True)  # (b,)
    sites: tuple[int, ...] = eqx.field(static=True)  # (r,)
    steps: int = eqx.field(static=True)
    farthest: int = eqx.field(static=True)  # the largest compartment number that is used


class Objective(eqx.Module):
    """How far a neuron is from recordings under several protocols: `objective(params) -> scalar`.

    The weighted mean over protocols of what `terms` say. A pure function: `jax.jit`, `jax.grad` and
    `jax.vmap` it, or give it to `fit`. Protocols with inputs of the same kinds and shapes, the same
    sites and recordings of one length run as one vmapped simulation.

    ```python
    def neuron(params):
        return cell.insert(HH(gnabar=params["gna"], gkbar=params["gk"]))

    objective = Objective(neuron, [
        Protocol("up", Step(0, 5.0, 40.0, 0.3), ts, v_up, sites=0),
        Protocol("down", Step(0, 5.0, 40.0, -0.1), ts, v_down, sites=0, weight=2.0),
    ])
    result = fit(objective, space)
    ```

    With `rs`, a resistance in MΩ, every recorded site is tied to its recording by a voltage clamp
    (linear between samples, also across those that are masked): far from the truth no spike can be
    late, and at the truth the clamp has nothing to do. See `nudging`.

    **Arguments:**

    - `neuron(params)`: a `Cell`, or a pair of a `Cell` and inputs that every protocol gets besides
        its own, for parameters of synapses or stimuli. Pure JAX.
    - `terms`: for protocols without their own: a loss of this package such as `mse` or
        `smoothed_rms`, or any `(v (t, r), target (t, r), *, scale, dt) -> scalar` (the keywords it
        has, it gets; `functools.partial` sets others), a `FeatureTerm`, or a sequence of
        `(weight, term)`, which are summed.
    - `dt`: ms; `solver` and `options` (`memory`, `adjoint`, `max_steps`): of `jd.simulate`.
    - `v0`: the initial voltage, a number or `(n,)` mV, a `State`, or `"rest"`, which finds the
        steady state of each set of parameters (an error if there is none).
    - `settle`: ms to simulate without inputs first, from `v0`.

    **Raises:** `ValueError` for protocols without names of their own, a loss that needs even sample
    times where they are not, a site outside the cell; `TypeError` for a neuron that makes no cell.
    A simulation that fails gives NaN.
    """

    neuron: Neuron = eqx.field(static=True)
    groups: tuple[_Group, ...]
    names: tuple[str, ...] = eqx.field(static=True)  # the protocols, in their order
    dt: float = eqx.field(static=True)  # ms
    solver: diffrax.AbstractSolver | None
    v0: Array | State | Literal["rest"]
    settle: float = eqx.field(static=True)  # ms
    options: dict[str, Any]

    def __init__(
        self,
        neuron: Neuron,
        protocols: Protocol | Sequence[Protocol],
        *,
        terms: Terms = mse,
        dt: float = 0.025,
        solver: diffrax.AbstractSolver | None = None,
        v0: ArrayLike | State | Literal["rest"] = -65.0,
        settle: float = 0.0,
        **options: Any,
    ):
        protocols = (protocols,) if isinstance(protocols, Protocol) else tuple(protocols)
        self.names = tuple(p.name for p in protocols)
        if not protocols or len(set(self.names)) < len(protocols):
            raise ValueError(f"protocols need at least one, each with its name; got {self.names}")
        if not (math.isfinite(dt) and dt > 0 and math.isfinite(settle) and settle >= 0):
            raise ValueError(f"expected dt > 0 and settle >= 0 in ms, got {dt} and {settle}")
        if isinstance(v0, str) and v0 != "rest":
            raise ValueError(f"v0 must be mV, a State or 'rest', got {v0!r}")
        self.neuron, self.dt, self.solver, self.settle = neuron, dt, solver, settle
        self.v0 = v0 if isinstance(v0, State | str) else as_leaf(v0)
        self.options = options
        self.groups = _grouped([(p, _prepared(p, terms, dt), _steps(p, dt)) for p in protocols], dt)

    def __hash__(self) -> int:
        """Hashes the object by its identity, so that `jax.jit(objective)` works."""
        return id(self)

    def __call__(self, params: Params, *, rs: ArrayLike | None = None) -> Float[Array, ""]:
        """The weighted mean of the protocols' losses."""
        total = weights = jnp.zeros(())
        for group, v in self._simulated(params, rs):
            losses = jax.vmap(_Run.loss)(group.run, v)
            total += jnp.sum(group.run.weight * losses)
            weights += jnp.sum(group.run.weight)
        return total / weights

    def parts(self, params: Params, *, rs: ArrayLike | None = None) -> dict[str, Float[Array, ""]]:
        """The loss of each protocol by name, without its weight."""
        found = {}
        for group, v in self._simulated(params, rs):
            losses = jax.vmap(_Run.loss)(group.run, v)
            found |= dict(zip(group.names, losses, strict=True))
        return {name: found[name] for name in self.names}

    def traces(
        self, params: Params, *, rs: ArrayLike | None = None
    ) -> dict[str, Float[Array, "t r"]]:
        """The simulation of each protocol by name, `(t, r)` mV at its recording's times."""
        found = {}
        for group, v in self._simulated(params, rs):
            found |= dict(zip(group.names, v, strict=True))
        return {name: found[name] for name in self.names}

    def residuals(self, params: Params, *, rs: ArrayLike | None = None) -> Float[Array, " m"]:
        """All normalised differences in one vector, for Levenberg–Marquardt.

        Differences of traces over `scale` and scores of features, weighted so that their squares
        add up to the objective if its only term is `mse`. Whatever another loss makes of the
        traces, it is their plain differences that stand here.
        """
        total = sum((jnp.sum(group.run.weight) for group in self.groups), start=jnp.zeros(()))
        rows = []
        for group, v in self._simulated(params, rs):
            r = jax.vmap(_Run.residuals)(group.run, v)
            rows.append((jnp.sqrt(group.run.weight / total)[:, None] * r).reshape(-1))
        return jnp.concatenate(rows)

    def _simulated(self, params: Params, rs: ArrayLike | None) -> list[tuple[_Group, Array]]:
        """Each group with its simulations at the recordings' times, `(b, t, r)`."""
        made = self.neuron(params)
        cell, extra = made if isinstance(made, tuple) else (made, ())
        if not isinstance(cell, Cell):
            raise TypeError(f"neuron(params) must return a Cell, got {type(cell).__name__}")
        extra = tuple(extra) if isinstance(extra, Sequence) else (extra,)
        for group in self.groups:
            if group.farthest >= cell.n:
                raise ValueError(
                    f"protocols {', '.join(group.names)}: site {group.farthest} is outside "
                    f"0..{cell.n - 1} of the cell; find sites with cell.locate(...)"
                )
            used = group.run.used
            if rs is not None and is_concrete(used) and not np.asarray(used).any(axis=(1, 2)).all():
                raise ValueError(
                    f"protocols {', '.join(group.names)}: a clamp needs a recording to tie the "
                    "neuron to; leave protocols without one out, or pass no rs"
                )
        start = self._start(cell)
        common = {"dt": self.dt, "solver": self.solver, "throw": False, **self.options}
        out = []
        for group in self.groups:
            t1, sites = group.steps * self.dt, np.array(group.sites)

            def one(run: _Run, t1: float = t1, sites: np.ndarray = sites) -> Array:
                inputs = run.inputs + extra
                if rs is not None:
                    clamp = VoltageClamp.from_waveform(sites, run.ts, run.target.T, rs, soft=True)
                    inputs += (clamp,)
                traces = simulate(cell, inputs, t1=t1, v0=start, record=sites, **common)
                return run.sampled(jnp.asarray(traces.v))

            out.append((group, jax.vmap(one)(group.run)))
        return out

    def _start(self, cell: Cell) -> Array | State:
        if isinstance(self.v0, str):
            start = rest(cell)
        else:
            start = self.v0
        if self.settle == 0:
            return start
        t1 = math.ceil(self.settle / self.dt - 1e-9) * self.dt
        common = {"dt": self.dt, "solver": self.solver, "throw": False, **self.options}
        return simulate(cell, t1=t1, v0=start, record=0, **common).final


def _steps(protocol: Protocol, dt: float) -> int:
    """How many steps reach the last sample."""
    return max(1, math.ceil(float(protocol.ts[-1]) / dt - 1e-6))


def _prepared(protocol: Protocol, terms: Terms, dt: float) -> _Run:
    ts = np.asarray(protocol.ts, dtype=float)
    place = ts / dt
    whole = np.round(place)
    place = np.where(np.abs(place - whole) < 1e-6 * np.maximum(whole, 1), whole, place)
    step = np.minimum(np.floor(place), _steps(protocol, dt) - 1).astype(int)
    return _Run(
        inputs=protocol.inputs,
        step=jnp.asarray(step),
        share=as_leaf(place - step),
        ts=protocol.ts,
        target=protocol.v,
        used=protocol.used,
        scale=protocol.scale,
        weight=protocol.weight,
        terms=_known_terms(protocol, terms),
    )


def _known_terms(protocol: Protocol, terms: Terms) -> tuple[_LossTerm | _ScoreTerm, ...]:
    """The terms of a protocol, aimed at its recording."""
    given = terms if protocol.terms is None else protocol.terms
    single = isinstance(given, str | FeatureTerm) or not isinstance(given, Sequence)
    pairs: Any = [(1.0, given)] if single else given
    ts, v = np.asarray(protocol.ts), np.asarray(protocol.v)
    recorded = bool(np.any(np.asarray(protocol.used)))
    made = []
    for weight, term in pairs:
        if isinstance(term, FeatureTerm):
            if not recorded and term.targets is None:
                raise ValueError(
                    f"protocol {protocol.name!r} has no recording: give its features targets, "
                    "name -> (mean, SD)"
                )
            made.append(_ScoreTerm(as_leaf(weight), term.aimed(ts, v)))
            continue
        if not recorded:
            raise ValueError(f"protocol {protocol.name!r} has no recording to compare traces with")
        wants = _wanted(term)
        steps = np.diff(ts)
        if "dt" in wants and np.ptp(steps) > 1e-3 * np.mean(steps):
            raise ValueError(
                f"protocol {protocol.name!r}: the samples are {steps.min():g} to {steps.max():g} "
                "ms apart, but this loss needs even steps: interpolate the recording, or use mse"
            )
        made.append(_LossTerm(as_leaf(weight), term, wants))
    return tuple(made)


def _wanted(loss: Any) -> tuple[str, ...]:
    """Which of `scale` and `dt` a loss takes and has not been given."""
    if not callable(loss):
        raise TypeError(f"a term is a loss such as mse, or a FeatureTerm; got {loss!r}")
    parameters = inspect.signature(loss).parameters
    fixed = getattr(loss, "keywords", {})
    return tuple(k for k in ("scale", "dt") if k in parameters and k not in fixed)


def _grouped(items: list[tuple[Protocol, _Run, int]], dt: float) -> tuple[_Group, ...]:
    """Protocols of the same structure, shapes, sites and length, stacked."""
    kinds: dict[Any, list[tuple[Protocol, _Run, int]]] = {}
    for item in items:
        protocol, run, steps = item
        leaves, structure = jax.tree.flatten(run)
        shapes = tuple((jnp.shape(x), str(jnp.result_type(x))) for x in leaves)
        kinds.setdefault((structure, shapes, protocol.sites, steps), []).append(item)
    groups = []
    for (_, _, sites, steps), members in kinds.items():
        runs = [run for _, run, _ in members]
        columns = zip(*(run.inputs for run in runs), strict=True)
        shared = [_bounded(column, steps, dt) for column in columns]
        inputs = list(zip(*shared, strict=True)) if shared else [()] * len(runs)
        runs = [dataclasses.replace(r, inputs=x) for r, x in zip(runs, inputs, strict=True)]
        used = [np.asarray(x.site).max(initial=0) for r in runs for x in r.inputs]
        groups.append(
            _Group(
                run=jax.tree.map(lambda *x: jnp.stack(x), *runs),
                names=tuple(p.name for p, _, _ in members),
                sites=sites,
                steps=steps,
                farthest=int(max(*sites, 0, *used)),
            )
        )
    return tuple(groups)


def _bounded(same: tuple[Any, ...], steps: int, dt: float) -> tuple[Any, ...]:
    """One input of several protocols, with a bound on events in a step that holds for all."""
    first = same[0]
    known = isinstance(first, AbstractSynapse) and is_concrete([x.times for x in same])
    if not known or first.explicit or first.max_per_step is not None:
        return same
    if any(isinstance(x.times, Binned) for x in same):
        return same
    grid = np.append(0.0, np.cumsum(np.full(2 * steps, dt / 2))[1::2])
    width = 1
    for x in same:
        times = np.broadcast_to(x.times, (x.site.shape[0], x.times.shape[-1]))
        width = max(width, widest_step(times, grid, dt))
    return tuple(dataclasses.replace(x, max_per_step=width) for x in same)
