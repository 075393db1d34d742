"""What a fit compares: a stimulation protocol with its recording, and what is asked of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxdend._types import as_leaf
from jaxdend.fitting.features import feature_scores, feature_targets
from jaxdend.inputs import AbstractInput

Loss = Callable[..., Array]  # (v (t, r), target (t, r), *, scale, dt) -> scalar, as `mse`


class FeatureTerm(eqx.Module):
    """Features of a recording as a part of an objective, in SDs from their targets.

    ```python
    FeatureTerm(["spike_count", "AP_amplitude"], stim_start=20.0, stim_end=120.0)
    FeatureTerm({"AP_amplitude": (80.0, 4.0)}, stim_start=20.0, stim_end=120.0)
    ```

    **Arguments:**

    - `targets`: name -> (mean, SD), or names alone, whose means are then those of each protocol's
        own recording (at least one spike for features of spikes), with `sd` or `feature_targets`'
        deviations.
    - `stim_start`, `stim_end` ms and `current` nA (for resistances): of the step.
    - `sd`: name -> SD, where only names are given.
    - `column`: which of the protocol's sites.
    - `missing`: the score of a feature that the simulation does not have, SDs.
    - `max_spikes`: a bound on the spikes looked at.
    - `options`: `threshold`, `slope` and `down_slope` of `features.find_spikes`.

    **Raises:** `ValueError` for unknown features, and where the recording does not have one.
    """

    targets: dict[str, tuple[Array, Array]] | None  # name -> mean and SD, in the feature's unit
    names: tuple[str, ...] = eqx.field(static=True)  # in order
    numbers: dict[str, Array]  # stim_start and stim_end ms, current nA, missing SDs, options
    sd: dict[str, Array]  # by name, in the feature's unit
    column: int = eqx.field(static=True)
    max_spikes: int = eqx.field(static=True)

    def __init__(
        self,
        targets: Mapping[str, tuple[ArrayLike, ArrayLike]] | Iterable[str],
        *,
        stim_start: ArrayLike,
        stim_end: ArrayLike,
        current: ArrayLike | None = None,
        sd: Mapping[str, ArrayLike] | None = None,
        column: int = 0,
        missing: ArrayLike = 10.0,
        max_spikes: int = 64,
        **options: ArrayLike,
    ):
        self.names = tuple(targets)
        self.targets = None
        if isinstance(targets, Mapping):
            self.targets = {k: (as_leaf(m), as_leaf(s)) for k, (m, s) in targets.items()}
        given = {"stim_start": stim_start, "stim_end": stim_end, "missing": missing, **options}
        given |= {} if current is None else {"current": current}
        self.numbers = {k: as_leaf(x) for k, x in given.items()}
        self.sd = {k: as_leaf(x) for k, x in (sd or {}).items()}
        self.column, self.max_spikes = column, max_spikes

    def aimed(self, ts: np.ndarray, v: np.ndarray) -> "FeatureTerm":
        """This term with the means of a recording `v (t, r)` for targets, if it has only names."""
        if self.targets is not None:
            return self
        numbers = {k: x for k, x in self.numbers.items() if k != "missing"}
        found = feature_targets(
            jnp.asarray(ts), jnp.asarray(v[:, self.column]), self.names, sd=self.sd, **numbers
        )
        return FeatureTerm(
            found, column=self.column, max_spikes=self.max_spikes, sd=self.sd, **self.numbers
        )

    def scores(self, ts: Array, v: Array) -> Float[Array, " f"]:
        """How many SDs the features of `v (t, r)` lie from their targets."""
        if self.targets is None:
            raise ValueError("FeatureTerm: give means and SDs, or `aimed` it at a recording first")
        return feature_scores(
            ts, v[:, self.column], self.targets, max_spikes=self.max_spikes, **self.numbers
        )


Term = Loss | FeatureTerm
Terms = Term | Sequence[tuple[ArrayLike, Term]]


class Protocol(eqx.Module):
    """A stimulation together with what was recorded under it.

    **Arguments:**

    - `name`: for tables and errors.
    - `inputs`: a stimulus, clamp or synapse group, or a sequence of them.
    - `ts (t,)` ms from the start of the simulation, increasing, in any steps: the simulation is
        interpolated to them.
    - `v (t, r)` mV at the sites, or `(t,)` for one site; `None` if only features with given targets
        are compared.
    - `sites`: a compartment number or `(r,)` of them.
    - `weight`: of this protocol in the objective's mean.
    - `scale`: which difference counts as one: mV, a number or `(r,)`, such as the SD of the noise;
        or `"std"`, the standard deviation over time of each recorded trace.
    - `mask`: `(t,)` or `(t, r)` bool, which samples to compare; `"nan"` leaves out those that are
        NaN. What is left out counts as a match.
    - `terms`: what to compare, if not the objective's `terms`.

    **Raises:** `ValueError` for arrays that do not fit one another, times that do not increase or
    begin before 0, samples that are not finite and not masked, times that look like seconds,
    voltages that look like volts, and weights or scales that are not positive.
    """

    name: str = eqx.field(static=True)
    inputs: tuple[AbstractInput, ...]
    ts: Float[Array, " t"]  # (t,) ms
    v: Float[Array, "t r"]  # (t, r) mV, interpolated over what is masked
    used: Bool[Array, "t r"]  # (t, r)
    sites: tuple[int, ...] = eqx.field(static=True)  # (r,)
    weight: Float[Array, ""]
    scale: Float[Array, " r"]  # (r,) mV
    terms: Terms | None = eqx.field(static=False)

    def __init__(
        self,
        name: str,
        inputs: AbstractInput | Sequence[AbstractInput],
        ts: ArrayLike,
        v: ArrayLike | None,
        sites: int | Sequence[int] | np.ndarray,
        *,
        weight: ArrayLike = 1.0,
        scale: ArrayLike | Literal["std"] = 1.0,
        mask: ArrayLike | Literal["nan"] | None = None,
        terms: Terms | None = None,
    ):
        times = _known_times(name, ts)
        where = np.atleast_1d(np.asarray(sites))
        if where.dtype.kind not in "iu" or where.ndim != 1 or np.any(where < 0):
            raise _error(name, f"sites must be compartment numbers, got {sites!r}")
        shape = (len(times), len(where))
        if v is None:
            voltage, used = np.zeros(shape), np.zeros(shape, bool)
        else:
            voltage, used = _known_voltage(name, times, v, shape, mask)
        self.name, self.inputs = name, _as_inputs(inputs)
        self.ts, self.v = as_leaf(times), as_leaf(voltage)
        self.used = jnp.asarray(used)
        self.sites = tuple(int(k) for k in where)
        self.weight = as_leaf(_positive(name, "weight", weight, ()))
        if isinstance(scale, str):
            if scale != "std" or v is None:
                raise _error(name, f"scale must be mV or 'std' of a recording, got {scale!r}")
            scale = np.array([np.std(x[u]) for x, u in zip(voltage.T, used.T, strict=True)])
        self.scale = as_leaf(_positive(name, "scale", scale, shape[1:]))
        self.terms = terms


def _as_inputs(inputs: Any) -> tuple[AbstractInput, ...]:
    return tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)


def _error(name: str, text: str) -> ValueError:
    return ValueError(f"protocol {name!r}: {text}")


def _positive(name: str, what: str, value: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    number = np.asarray(value, dtype=float)
    if number.shape not in ((), shape) or not np.all(np.isfinite(number) & (number > 0)):
        wanted = f" or {shape}" if shape else ""
        raise _error(name, f"{what} must be a positive number{wanted}, got {value!r}")
    return np.broadcast_to(number, shape)


def _known_times(name: str, ts: ArrayLike) -> np.ndarray:
    """Sample times `(t,)` ms, checked."""
    times = np.asarray(ts, dtype=float)
    if times.ndim != 1 or len(times) < 5 or not np.all(np.isfinite(times)):
        raise _error(name, f"ts must hold at least 5 finite times (t,), got shape {times.shape}")
    steps = np.diff(times)
    if np.any(steps <= 0):
        k = int(np.argmax(steps <= 0))
        raise _error(
            name, f"ts must increase; sample {k + 1} at {times[k + 1]:g} ms follows {times[k]:g} ms"
        )
    if times[0] < 0:
        raise _error(
            name,
            f"ts begins at {times[0]:g} ms, before the simulation does: shift it so that 0 is "
            "where the simulation starts",
        )
    if np.median(steps) < 1e-3 or times[-1] - times[0] < 1.0:
        raise _error(
            name,
            f"the recording lasts {times[-1] - times[0]:g} ms in steps of {np.median(steps):g} ms, "
            "which looks like seconds: ts must be in ms (multiply by 1000)",
        )
    return times


def _known_voltage(
    name: str,
    times: np.ndarray,
    v: ArrayLike,
    shape: tuple[int, int],
    mask: ArrayLike | str | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The recording `(t, r)` mV, gaps filled, and which samples to use."""
    voltage = np.asarray(v, dtype=float)
    voltage = voltage[:, None] if voltage.ndim == 1 else voltage
    if voltage.shape != shape:
        raise _error(
            name,
            f"v has shape {np.shape(v)}, but there are {shape[0]} sample times and {shape[1]} "
            f"sites: expected {shape}",
        )
    finite = np.isfinite(voltage)
    if isinstance(mask, str):
        if mask != "nan":
            raise _error(name, f"mask must be an array or 'nan', got {mask!r}")
        used = finite
    else:
        given = np.ones(shape, bool) if mask is None else np.asarray(mask)
        given = given[:, None] if given.ndim == 1 else given
        if given.dtype != bool or given.shape not in (shape, (shape[0], 1)):
            raise _error(
                name,
                f"mask must be bool {shape[:1]} or {shape}, got {given.dtype} {given.shape}",
            )
        used = np.broadcast_to(given, shape)
    bad = used & ~finite
    if bad.any():
        k, site = (int(i) for i in np.argwhere(bad)[0])
        raise _error(
            name,
            f"{int(bad.sum())} samples are not finite, the first in column {site} at "
            f"{times[k]:g} ms; leave them out with mask='nan', or mend the recording",
        )
    if not used.any(axis=0).all():
        raise _error(name, "a column of v has no sample left: leave the site out")
    largest = float(np.max(np.abs(voltage[used])))
    if not 1.0 <= largest <= 1e3:
        raise _error(
            name,
            f"the largest voltage is {largest:g} mV, which looks like "
            f"{'volts' if largest < 1 else 'microvolts'}: v must be the membrane potential in mV",
        )
    filled = [np.interp(times, times[u], x[u]) for x, u in zip(voltage.T, used.T, strict=True)]
    return np.stack(filled, axis=1), used
