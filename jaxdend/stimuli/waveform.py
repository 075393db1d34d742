"""Currents given by samples: any array with its own time base, and coloured noise."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray

from jaxdend._subset import is_concrete
from jaxdend._types import as_leaf, as_sites, check_field, check_fields
from jaxdend.inputs import shifted
from jaxdend.stimuli.base import AbstractStimulus, fraction_on

Integrals = tuple[Array, Array]  # (..., m) each: a sum, and what rounding took from it


class Waveform(AbstractStimulus):
    """A current that is linear between samples at `times`, independent of the time step.

    Two equal times make a jump. Over `[t0, t1]` it has its exact mean. Before the first and from
    the last sample on it is zero, or with `hold=True` the first and the last value.

    **Raises:** `ValueError` for fewer than two samples, shapes that do not match, NaN or inf,
    times that go backwards.
    """

    site: Array = eqx.field(converter=as_sites)  # (k,) int
    times: Array = eqx.field(converter=as_leaf)  # (m,) ms, ascending
    values: Array = eqx.field(converter=as_leaf)  # (m,) or (k, m) nA
    hold: bool = eqx.field(default=False, static=True)

    def __check_init__(self) -> None:
        check_knots(self, "times", "values")

    def current(self, t0: Array, t1: Array) -> Array:
        """The mean current that `prepare()` gives, which is made anew at each call."""
        return Waveform.prepare(self).current(t0, t1)

    def edges(self) -> Array:
        return self.times

    def since(self, origin: Array) -> "Waveform":
        return shifted(self, origin, "times")

    def prepare(self) -> AbstractStimulus:
        return Sampled(self.site, self, integrals(self.times, self.values))


class Sampled(AbstractStimulus):
    """A `Waveform` with its integral up to every sample, as a run evaluates it."""

    site: Array  # (k,) int, as of the waveform
    wave: Waveform
    sums: Integrals

    def current(self, t0: Array, t1: Array) -> Array:
        times, values = self.wave.times, self.wave.values
        if self.wave.hold:
            return self.spread(mean_between(t0, t1, times, values, self.sums))
        first, last = times[0], times[-1]
        begin, end = jnp.clip(t0, first, last), jnp.clip(t1, first, last)
        value = mean_between(begin, end, times, values, self.sums)
        return self.spread(value * fraction_on(t0, t1, first, last - first))

    def edges(self) -> Array:
        return self.wave.times

    def since(self, origin: Array) -> "Sampled":
        return Sampled(self.site, self.wave.since(origin), self.sums)


MOST_SAMPLES = 100_000_000  # of one site of a `Noise`


class Noise(AbstractStimulus):
    """An Ornstein–Uhlenbeck current: Gaussian, with correlations `std² exp(-|lag| / tau)`.

    It is drawn, exactly, every `interval` ms from `onset` on and is linear in between, so that a
    different time step sees the same current. Between draws linear interpolation lowers the
    variance, to `std² (1 + exp(-interval / tau)) / 2` half way. Every site has its own noise.
    Only standard normal numbers are stored: gradients reach `mean`, `std` and `tau`.

    **Arguments:** `site` int or `(k,)`; `mean`, `std` (nA) and `tau` (ms), scalars or `(k,)`;
    `onset`, `duration` and `interval` in ms, the last two concrete, `duration` rounded up to a
    whole number of intervals; `seed`, an int, or `key`, a JAX key; both may be traced.
    **Raises:** `ValueError` for shapes that do not match, NaN or inf, `std < 0`, `tau <= 0`, and
    durations or intervals that are not positive or not concrete.
    Source: Gillespie 1996, Phys. Rev. E 54:2084, eq. 1.9.
    """

    site: Array  # (k,) int
    mean: Array  # () or (k,) nA
    std: Array  # () or (k,) nA
    tau: Array  # () or (k,) ms
    onset: Array  # () ms
    interval: Array  # () ms
    draws: Array  # (k, m), standard normal

    def __init__(
        self,
        site: ArrayLike,
        mean: ArrayLike,
        std: ArrayLike,
        tau: ArrayLike,
        onset: ArrayLike = 0.0,
        duration: float = 1000.0,
        *,
        seed: ArrayLike = 0,
        key: PRNGKeyArray | None = None,
        interval: float = 0.1,
    ):
        for name, value in (("duration", duration), ("interval", interval)):
            if not is_concrete(value) or not (0 < float(value) < math.inf):
                raise ValueError(
                    f"Noise.{name}: expected a known number > 0 in ms, because it sets how many "
                    f"samples are stored; got {value}."
                )
        samples = math.ceil(float(duration) / float(interval) - 1e-9) + 1
        if samples > MOST_SAMPLES:
            raise ValueError(
                f"Noise: {duration:g} ms, {interval:g} ms each, are {samples:.3g} samples; "
                f"at most {MOST_SAMPLES:.3g} are stored. Take a longer interval, or several runs."
            )
        self.site = as_sites(site)
        self.mean, self.std, self.tau = as_leaf(mean), as_leaf(std), as_leaf(tau)
        self.onset, self.interval = as_leaf(onset), as_leaf(interval)
        key = jax.random.key(seed) if key is None else key
        self.draws = jax.random.normal(key, (self.site.shape[0], samples))

    def __check_init__(self) -> None:
        check_fields(self, mean="finite", std="nonnegative", tau="positive")
        check_field(self, "onset", "finite", [()])

    def prepare(self) -> AbstractStimulus:
        return self.drawn().prepare()

    def drawn(self) -> Waveform:
        """The samples, by a parallel scan: `x[i+1] = r x[i] + sqrt(1 - r²) draw[i+1]`."""
        step = jnp.broadcast_to(self.interval / self.tau, self.site.shape)[:, None]
        ratio = jnp.broadcast_to(jnp.exp(-step), self.draws.shape).at[:, 0].set(0.0)
        kick = (self.draws * jnp.sqrt(-jnp.expm1(-2 * step))).at[:, 0].set(self.draws[:, 0])

        def follow(early: tuple[Array, Array], late: tuple[Array, Array]) -> tuple[Array, Array]:
            return early[0] * late[0], late[0] * early[1] + late[1]

        _, x = lax.associative_scan(follow, (ratio, kick), axis=1)
        mean, std = (jnp.broadcast_to(p, self.site.shape)[:, None] for p in (self.mean, self.std))
        return Waveform(self.site, self.edges(), mean + std * x)

    def current(self, t0: Array, t1: Array) -> Array:
        """The mean current that `prepare()` gives, which is made anew at each call."""
        return Noise.prepare(self).current(t0, t1)

    def edges(self) -> Array:
        count = jnp.arange(self.draws.shape[1], dtype=self.interval.dtype)
        return self.onset + self.interval * count

    def since(self, origin: Array) -> "Noise":
        return shifted(self, origin, "onset")


def interpolate(t: Array, times: Array, values: Array) -> Array:
    """`values (..., m)` at the scalar `t`, linear between `times (m,)`, constant outside.

    At a jump, two equal times, the later value counts.
    """
    right = jnp.searchsorted(times, t, side="right", method="scan_unrolled")
    right = jnp.clip(right, 1, times.shape[0] - 1)
    left = times[right - 1]
    span = times[right] - left
    wide = span > 0
    share = jnp.where(wide, (t - left) / jnp.where(wide, span, 1.0), 0.0)
    share = jnp.clip(share, 0.0, 1.0)
    return (1.0 - share) * values[..., right - 1] + share * values[..., right]


def integrals(times: Array, values: Array) -> Integrals:
    """The integral of `interpolate` from the first time to every other, as the sum of two numbers.

    The second keeps what rounding takes from the first (Knuth's exact sum), so that differences of
    distant integrals stay exact in float32.
    """
    pieces = 0.5 * (values[..., 1:] + values[..., :-1])
    pieces = pieces * jnp.broadcast_to(jnp.diff(times), pieces.shape)
    pieces = jnp.concatenate([jnp.zeros_like(pieces[..., :1]), pieces], axis=-1)

    def add(a: Integrals, b: Integrals) -> Integrals:
        total = a[0] + b[0]
        part = total - a[0]
        lost = (a[0] - (total - part)) + (b[0] - part)
        return total, a[1] + b[1] + lost

    return lax.associative_scan(add, (pieces, jnp.zeros_like(pieces)), axis=-1)


def mean_between(t0: Array, t1: Array, times: Array, values: Array, sums: Integrals) -> Array:
    """The mean of `interpolate` over `[t0, t1]`, exact; where both are equal, its value there.

    **Arguments:** scalars `t0 <= t1` ms; `times (m,)`, `values (..., m)`, and their `integrals`.
    """
    start, stop = (
        jnp.searchsorted(times, t, side="right", method="scan_unrolled") for t in (t0, t1)
    )
    last = times.shape[0] - 1
    after, before = jnp.clip(start, 0, last), jnp.clip(stop - 1, 0, last)
    middle = interpolate(0.5 * (t0 + t1), times, values)
    left = 0.5 * (interpolate(t0, times, values) + values[..., after]) * (times[after] - t0)
    # at a jump that ends the interval `interpolate` gives what comes after it: from the left, then
    right = 0.5 * (values[..., before] + interpolate(t1, times, values)) * (t1 - times[before])
    between = sum(s[..., before] - s[..., after] for s in sums)
    longer = t1 > t0
    several = longer & (start < stop) & (start <= last) & (stop >= 1)
    mean = (left + between + right) / jnp.where(longer, t1 - t0, 1.0)
    return jnp.where(several, mean, middle)


def check_knots(owner: AbstractStimulus | eqx.Module, times: str, values: str) -> None:
    """Refuse samples that cannot be interpolated: too few, backwards, of other shapes, NaN."""
    knots = getattr(owner, times)
    m = knots.shape[0] if isinstance(knots, jax.Array) and knots.ndim == 1 else 2
    check_field(owner, times, "finite", [(m,)])
    k = owner.site.shape[0]  # type: ignore[attr-defined]
    check_field(owner, values, "finite", [(m,), (k, m)])
    where = f"{type(owner).__name__}.{times}"
    if m < 2:
        raise ValueError(f"{where}: expected at least two samples; got {m}.")
    if is_concrete(knots):
        known = np.asarray(knots, float)
        back = known[1:] < known[:-1]
        if back.any():
            i = int(np.argmax(back))
            raise ValueError(
                f"{where}: expected ascending times; got {knots[i + 1]:g} after {knots[i]:g}."
            )
