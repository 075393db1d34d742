"""Voltage clamp through a series resistance."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxdend._types import as_leaf, as_row, as_sites, check_array, check_fields
from jaxdend.inputs import AbstractInput, Own, shifted
from jaxdend.stimuli.base import fraction_on
from jaxdend.stimuli.waveform import Integrals, check_knots, integrals, interpolate, mean_between


class VoltageClamp(AbstractInput):
    """A single-electrode voltage clamp (NEURON's `SEClamp`): `(command - v) / rs` is injected.

    It is a conductance `1 / rs` towards the command, part of the implicit solve, and off before the
    first and from the last knot on.

    ```python
    VoltageClamp(site, voltages=[-70.0, -10.0, -70.0], durations=[10.0, 20.0, 10.0])
    VoltageClamp.from_waveform(site, times=ts, values=recorded, rs=0.5)
    ```

    **Arguments:** `site` int or `(k,)`; `voltages (m,)` or `(k, m)` mV, held one after the other
    for `durations (m,)` ms from t = 0; `rs` a scalar or `(k,)` MΩ. Instead of `durations`, `times`
    `(m,)` ms makes `voltages` the knots of a command that is linear in between. A `soft` clamp is a
    conductance like any other in the step of `CrankNicolson`, which then has nothing to impose on a
    voltage that the same steps would make by themselves, but rings where `rs` is small. Where a
    jump falls inside a step, gates behind a clamp see the mean of the command instead of the mean
    of their rates: under `CrankNicolson` their derivative by the time of a jump is right only on
    average over its place in the step; `Rodas4P` and `Rodas5P` have it right.
    **Raises:** `ValueError` for shapes that do not match, NaN or inf, a negative duration, and
    `rs <= 0`.
    """

    site: Array  # (k,) int
    times: Array  # (j,) ms, ascending knots of the command; two equal ones make a jump
    values: Array  # (j,) or (k, j) mV, the command at the knots
    rs: Array  # () or (k,) MΩ
    soft: bool = eqx.field(static=True)

    def __init__(
        self,
        site: ArrayLike,
        voltages: ArrayLike,
        durations: ArrayLike | None = None,
        rs: ArrayLike = 1.0,
        *,
        times: ArrayLike | None = None,
        soft: bool = False,
    ):
        self.soft = soft
        self.site, self.rs = as_sites(site), as_leaf(rs)
        if times is not None and durations is None:
            self.times, self.values = as_leaf(times), as_leaf(voltages)
        elif durations is not None and times is None:
            k = self.site.shape[0]
            self.times, self.values = level_knots(as_row(voltages), as_row(durations), k)
        else:
            raise ValueError("VoltageClamp: expected either durations of levels or times of knots.")

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if ("command" in own or "conductance" in own) and "outward" not in own:
            raise TypeError(
                f"{cls.__name__} writes command or conductance, which a run does not ask for: "
                "write outward(v, x, t0, t1), and edges, instead."
            )

    def __check_init__(self) -> None:
        check_fields(self, rs="positive")
        check_knots(self, "times", "values")

    @classmethod
    def from_waveform(
        cls,
        site: ArrayLike,
        times: ArrayLike,
        values: ArrayLike,
        rs: ArrayLike = 1.0,
        *,
        soft: bool = False,
    ) -> "VoltageClamp":
        """A clamp whose command is linear between `values (m,)` or `(k, m)` mV at `times (m,)` ms.

        It is on from the first to the last time. Errors as for the class.
        """
        return cls(site, values, rs=rs, times=times, soft=soft)

    def command(self, t: Array) -> Array:
        """The command voltage at `t` ms, `(k,)` mV; the nearest knot's before and after."""
        return jnp.broadcast_to(interpolate(t, self.times, self.values), self.site.shape)

    def conductance(self, t: Array) -> Array:
        """`1 / rs` while on, else 0: `(k,)` µS."""
        on = (self.times[0] <= t) & (t < self.times[-1])
        return jnp.broadcast_to(jnp.where(on, 1.0 / self.rs, 0.0), self.site.shape)

    def outward(self, v: Array, x: Own, t0: Array, t1: Array) -> Array:
        """`(v - command) / rs` while on: exactly linear in `v`, with the mean of the command."""
        return VoltageClamp.prepare(self).outward(v, x, t0, t1)

    def prepare(self) -> AbstractInput:
        twice = self.times[1:] == self.times[:-1]
        jumps = jnp.concatenate([jnp.ones(1, bool), twice]).at[-1].set(True)
        return Ready(self.site, self, integrals(self.times, self.values), jnp.cumsum(jumps))

    def edges(self) -> Array:
        return self.times

    def since(self, origin: Array) -> "VoltageClamp":
        return shifted(self, origin, "times")

    @property
    def electrode(self) -> bool:
        return True

    @property
    def stiff(self) -> bool:
        return not self.soft

    def current(self, t: Array, v: Array) -> Array:
        """The current that the clamp injects at `t` ms and `v (k,)` mV: `(k,)` nA."""
        return self.conductance(t) * (self.command(t) - v)


class Ready(AbstractInput):
    """A `VoltageClamp` with the integral of its command, as a run evaluates it."""

    site: Array  # (k,) int, as of the clamp
    clamp: VoltageClamp
    sums: Integrals
    jumps_before: Array  # (j,) int, how many knots up to each one switch it or make a jump

    def outward(self, v: Array, x: Own, t0: Array, t1: Array) -> Array:
        del x
        times, values = self.clamp.times, self.clamp.values
        first, last = times[0], times[-1]
        on = fraction_on(t0, t1, first, last - first)
        begin, end = jnp.clip(t0, first, last), jnp.clip(t1, first, last)
        command = mean_between(begin, end, times, values, self.sums)
        return jnp.broadcast_to(on * (v - command) / self.clamp.rs, self.site.shape)

    def edges(self) -> Array:
        return self.clamp.times

    def since(self, origin: Array) -> "Ready":
        return Ready(self.site, self.clamp.since(origin), self.sums, self.jumps_before)

    def jumps(self, t0: Array, t1: Array) -> Array:
        """Whether a knot in `[t0, t1]` switches the clamp or makes the command jump."""
        before = jnp.searchsorted(self.clamp.times, t0, side="left")
        behind = jnp.searchsorted(self.clamp.times, t1, side="right")
        count = jnp.concatenate([jnp.zeros(1, self.jumps_before.dtype), self.jumps_before])
        return count[behind] > count[before]

    @property
    def electrode(self) -> bool:
        return True

    @property
    def stiff(self) -> bool:
        return self.clamp.stiff


def level_knots(voltages: Array, durations: Array, k: int) -> tuple[Array, Array]:
    """Both ends of every level: times `(2m,)` ms from 0 on, and voltages `(2m,)` or `(k, 2m)`."""
    m = durations.shape[0] if isinstance(durations, Array) and durations.ndim == 1 else 1
    check_array("VoltageClamp.durations", durations, "nonnegative", [(m,)])
    check_array("VoltageClamp.voltages", voltages, "finite", [(m,), (k, m)])
    ends = jnp.cumsum(durations)
    starts = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    times = jnp.stack([starts, ends], axis=-1).reshape(-1)
    return times, jnp.repeat(voltages, 2, axis=-1)
