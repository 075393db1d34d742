"""Voltage clamp through a series resistance."""

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxdend._types import as_leaf, as_row, as_sites, check_array, check_fields
from jaxdend.stimuli.waveform import check_knots, interpolate


class VoltageClamp(eqx.Module):
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
    voltage that the same steps would make by themselves, but rings where `rs` is small.
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

    def jumped(self, t0: Array, t1: Array) -> Array:
        """Whether the last knot in `[t0, t1]` switches the clamp or makes the command jump."""
        last = jnp.searchsorted(self.times, t1, side="right") - 1
        at = jnp.maximum(last, 0)
        end = self.times.shape[0] - 1
        edge = (at == 0) | (at == end) | (self.times[at] == self.times[jnp.maximum(at - 1, 0)])
        return (last >= 0) & (self.times[at] >= t0) & edge

    def current(self, t: Array, v: Array) -> Array:
        """The current that the clamp injects at `t` ms and `v (k,)` mV: `(k,)` nA."""
        return self.conductance(t) * (self.command(t) - v)


def level_knots(voltages: Array, durations: Array, k: int) -> tuple[Array, Array]:
    """Both ends of every level: times `(2m,)` ms from 0 on, and voltages `(2m,)` or `(k, 2m)`."""
    m = durations.shape[0] if isinstance(durations, Array) and durations.ndim == 1 else 1
    check_array("VoltageClamp.durations", durations, "nonnegative", [(m,)])
    check_array("VoltageClamp.voltages", voltages, "finite", [(m,), (k, m)])
    ends = jnp.cumsum(durations)
    starts = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    times = jnp.stack([starts, ends], axis=-1).reshape(-1)
    return times, jnp.repeat(voltages, 2, axis=-1)
