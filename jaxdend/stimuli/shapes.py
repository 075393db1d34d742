"""Currents with a closed form, all of which integrate exactly: steps, ramps, sines, EPSPs."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxdend._types import as_leaf, as_sites, check_fields, check_order
from jaxdend.inputs import shifted
from jaxdend.stimuli.base import AbstractStimulus, ends, fraction_on, middle_on


class Step(AbstractStimulus):
    """A constant current, on iff `onset <= t < onset + duration` (NEURON's `IClamp`).

    **Raises:** `ValueError` for shapes that do not match, NaN or inf, a negative duration.
    """

    site: Array = eqx.field(converter=as_sites)  # (k,) int
    onset: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    duration: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    amplitude: Array = eqx.field(converter=as_leaf)  # () or (k,) nA

    def __check_init__(self) -> None:
        check_fields(self, onset="finite", duration="nonnegative", amplitude="finite")

    def current(self, t0: Array, t1: Array) -> Array:
        return self.spread(self.amplitude * fraction_on(t0, t1, self.onset, self.duration))

    def since(self, origin: Array) -> "Step":
        return shifted(self, origin, "onset")

    def edges(self) -> Array:
        return ends(self.onset, self.duration)


class PulseTrain(AbstractStimulus):
    """`count` pulses of `width` ms, one every `period` ms, the first at `onset`.

    The cost does not depend on `count`, which may be traced.

    **Raises:** `ValueError` for shapes that do not match, NaN or inf, a negative width, a count
    below 1 or not whole, a period that is not positive or shorter than the width.
    """

    site: Array = eqx.field(converter=as_sites)  # (k,) int
    onset: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    period: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    width: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    count: Array = eqx.field(converter=as_leaf)  # () or (k,), whole numbers
    amplitude: Array = eqx.field(converter=as_leaf)  # () or (k,) nA

    def __check_init__(self) -> None:
        check_fields(
            self,
            onset="finite",
            period="positive",
            width="nonnegative",
            count="count",
            amplitude="finite",
        )
        check_order(self, "width", "period", "pulses would overlap")

    def current(self, t0: Array, t1: Array) -> Array:
        """Pulses are counted from the one that is on, or was last on, at `t0`.

        Times since that pulse are small, so float32 stays accurate late in a long run.
        """
        last = lax.stop_gradient(self.count) - 1.0
        begun = jnp.clip(jnp.floor((t0 - self.onset) / self.period), 0.0, last)
        start = (t0 - self.onset) - begun * self.period
        stop = start + (t1 - t0)
        more = jnp.clip(jnp.floor(stop / self.period), 0.0, last - begun)
        on = more * self.width + self._within(stop - more * self.period) - self._within(start)
        longer = t1 > t0
        mean = on / jnp.where(longer, t1 - t0, 1.0)
        point = ((start >= 0) & (start < self.width)).astype(mean.dtype)
        return self.spread(self.amplitude * jnp.where(longer, mean, point))

    def edges(self) -> Array:
        """An empty array: `later_edge` counts the edges, however many there are."""
        return jnp.empty(0)

    @property
    def repeats(self) -> bool:
        return True

    def later_edge(self, t: Array) -> Array:
        now = lax.stop_gradient(t)
        now = now + 64 * jnp.finfo(now.dtype).eps * jnp.abs(now)  # never again the edge just met
        last = self.count - 1.0

        def first(start: Array) -> Array:
            passed = jnp.floor((now - start) / self.period) + 1.0
            number = lax.stop_gradient(jnp.maximum(passed, 0.0))
            return jnp.where(number <= last, start + number * self.period, jnp.inf)

        both = first(self.onset), first(self.onset + self.width)
        return jnp.min(jnp.minimum(*both))

    def _within(self, phase: Array) -> Array:
        """Time on since the start of a pulse, `phase` ms after it."""
        return jnp.minimum(jnp.maximum(phase, 0.0), self.width)

    def since(self, origin: Array) -> "PulseTrain":
        return shifted(self, origin, "onset")


class Ramp(AbstractStimulus):
    """A current that goes linearly from `start` to `stop` within `duration`, zero outside.

    **Raises:** `ValueError` for shapes that do not match, NaN or inf, a negative duration.
    """

    site: Array = eqx.field(converter=as_sites)  # (k,) int
    onset: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    duration: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    start: Array = eqx.field(converter=as_leaf)  # () or (k,) nA
    stop: Array = eqx.field(converter=as_leaf)  # () or (k,) nA

    def __check_init__(self) -> None:
        check_fields(self, onset="finite", duration="nonnegative", start="finite", stop="finite")

    def current(self, t0: Array, t1: Array) -> Array:
        middle = middle_on(t0, t1, self.onset, self.duration)
        lasts = self.duration > 0
        share = jnp.where(lasts, (middle - self.onset) / jnp.where(lasts, self.duration, 1.0), 0.0)
        mean = self.start + (self.stop - self.start) * share
        return self.spread(mean * fraction_on(t0, t1, self.onset, self.duration))

    def since(self, origin: Array) -> "Ramp":
        return shifted(self, origin, "onset")

    def edges(self) -> Array:
        return ends(self.onset, self.duration)


class Sine(AbstractStimulus):
    """`offset + amplitude sin(2π frequency (t - onset) / 1000 + phase)` while on, else zero.

    **Raises:** `ValueError` for shapes that do not match, NaN or inf, a negative duration.
    """

    site: Array = eqx.field(converter=as_sites)  # (k,) int
    onset: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    duration: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    amplitude: Array = eqx.field(converter=as_leaf)  # () or (k,) nA
    frequency: Array = eqx.field(converter=as_leaf)  # () or (k,) Hz
    phase: Array = eqx.field(default=0.0, converter=as_leaf)  # () or (k,) rad
    offset: Array = eqx.field(default=0.0, converter=as_leaf)  # () or (k,) nA

    def __check_init__(self) -> None:
        check_fields(
            self,
            onset="finite",
            duration="nonnegative",
            amplitude="finite",
            frequency="finite",
            phase="finite",
            offset="finite",
        )

    def current(self, t0: Array, t1: Array) -> Array:
        """The mean of a sine over an interval is its middle value times a `sinc`."""
        on = fraction_on(t0, t1, self.onset, self.duration)
        cycles = self.frequency * 1e-3
        middle = middle_on(t0, t1, self.onset, self.duration) - self.onset
        shrink = jnp.sinc(cycles * on * (t1 - t0))
        wave = jnp.sin(2 * jnp.pi * cycles * middle + self.phase)
        return self.spread(on * (self.offset + self.amplitude * shrink * wave))

    def since(self, origin: Array) -> "Sine":
        return shifted(self, origin, "onset")

    def edges(self) -> Array:
        return ends(self.onset, self.duration)


class DualExponential(AbstractStimulus):
    """The current of an EPSP: the difference of two exponentials, scaled so that it peaks at 1.

    `amplitude (exp(-s / tau_decay) - exp(-s / tau_rise)) / max`, `s` ms after `onset`; its maximum
    lies at `s = log(tau_decay / tau_rise) tau_rise tau_decay / (tau_decay - tau_rise)`.

    **Raises:** `ValueError` for shapes that do not match, NaN or inf, time constants that are not
    positive, and `tau_rise >= tau_decay` where both are known.
    Source: the current "epsp" of Hay et al. (2011) PLoS Comput Biol 7:e1002107.
    """

    site: Array = eqx.field(converter=as_sites)  # (k,) int
    onset: Array = eqx.field(converter=as_leaf)  # () or (k,) ms
    amplitude: Array = eqx.field(converter=as_leaf)  # () or (k,) nA, at the peak
    tau_rise: Array = eqx.field(default=0.5, converter=as_leaf)  # () or (k,) ms
    tau_decay: Array = eqx.field(default=5.0, converter=as_leaf)  # () or (k,) ms

    def __check_init__(self) -> None:
        check_fields(
            self, onset="finite", amplitude="finite", tau_rise="positive", tau_decay="positive"
        )
        check_order(self, "tau_rise", "tau_decay", "there is no slower decay", strict=True)

    def current(self, t0: Array, t1: Array) -> Array:
        """Means are differences of `expm1` over the part of the interval after the onset."""
        rise, decay = self.tau_rise, self.tau_decay
        top = jnp.log(decay / rise) * rise * decay / (decay - rise)
        scale = self.amplitude / (jnp.exp(-top / decay) - jnp.exp(-top / rise))
        start = jnp.maximum(t0 - self.onset, 0.0)
        lasts = jnp.maximum(t1 - self.onset, 0.0) - start
        longer = t1 > t0
        whole = jnp.where(longer, t1 - t0, 1.0)

        def mean(tau: Array) -> Array:
            over = jnp.where(longer, -tau * jnp.expm1(-lasts / tau) / whole, 1.0)
            return jnp.exp(-start / tau) * over

        return self.spread(scale * (mean(decay) - mean(rise)))

    def since(self, origin: Array) -> "DualExponential":
        return shifted(self, origin, "onset")

    def edges(self) -> Array:
        return self.onset
