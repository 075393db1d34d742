"""Features by name: a table of one trace, and its distance from target means and deviations."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxdend._blown_up import unless_blown_up
from jaxdend._subset import is_concrete
from jaxdend.fitting.features import _rhythm, _spikes, _subthreshold
from jaxdend.fitting.features._spikes import find_spikes
from jaxdend.fitting.features._trace import Scalar, Trace, known_trace


class Feature(NamedTuple):
    """One feature of the table, with its unit and its function."""

    function: Callable[..., Array]  # (ts, v, ...) -> () or (s,)
    unit: str
    fewer: int | None = None  # entries less than there are spikes; None for a scalar
    smooth: str | None = None  # the feature that a loss takes in its place


FEATURES: dict[str, Feature] = {
    "spike_count": Feature(_rhythm.spike_count, "spikes", smooth="soft_spike_count"),
    "spike_count_stimint": Feature(
        _rhythm.spike_count_stimint, "spikes", smooth="soft_spike_count_stimint"
    ),
    "soft_spike_count": Feature(
        lambda ts, v, threshold=-20.0: _spikes.soft_spike_count(ts, v, threshold=threshold),
        "spikes",
    ),
    "soft_spike_count_stimint": Feature(_spikes.soft_spike_count, "spikes"),
    "spike_times": Feature(_spikes.spike_times, "ms", 0),
    "peak_time": Feature(_spikes.peak_time, "ms", 0),
    "peak_voltage": Feature(_spikes.peak_voltage, "mV", 0),
    "time_to_first_spike": Feature(_rhythm.time_to_first_spike, "ms"),
    "time_to_last_spike": Feature(_rhythm.time_to_last_spike, "ms"),
    "mean_frequency": Feature(_rhythm.mean_frequency, "Hz"),
    "all_ISI_values": Feature(_rhythm.all_isi_values, "ms", 1),
    "ISI_values": Feature(_rhythm.isi_values, "ms", 2),
    "ISI_mean": Feature(_rhythm.isi_mean, "ms"),
    "ISI_CV": Feature(_rhythm.isi_cv, ""),
    "inv_first_ISI": Feature(_rhythm.inv_first_isi, "Hz"),
    "adaptation_index": Feature(_rhythm.adaptation_index, ""),
    "AP_begin_time": Feature(_spikes.ap_begin_time, "ms", 0),
    "AP_begin_voltage": Feature(_spikes.ap_begin_voltage, "mV", 0),
    "AP_amplitude": Feature(_spikes.ap_amplitude, "mV", 0),
    "AP_width": Feature(_spikes.ap_width, "ms", 0),
    "AP_duration_half_width": Feature(_spikes.ap_duration_half_width, "ms", 0),
    "spike_half_width": Feature(_spikes.spike_half_width, "ms", 0),
    "min_AHP_values": Feature(_spikes.min_ahp_values, "mV", 0),
    "AHP_depth": Feature(_spikes.ahp_depth, "mV", 0),
    "AHP_depth_from_peak": Feature(_spikes.ahp_depth_from_peak, "mV", 0),
    "AHP_time_from_peak": Feature(_spikes.ahp_time_from_peak, "ms", 0),
    "depol_block_bool": Feature(_rhythm.depol_block_bool, ""),
    "voltage_base": Feature(_subthreshold.voltage_base, "mV"),
    "steady_state_voltage": Feature(_subthreshold.steady_state_voltage, "mV"),
    "steady_state_voltage_stimend": Feature(_subthreshold.steady_state_voltage_stimend, "mV"),
    "voltage_after_stim": Feature(_subthreshold.voltage_after_stim, "mV"),
    "maximum_voltage": Feature(_subthreshold.maximum_voltage, "mV"),
    "minimum_voltage": Feature(_subthreshold.minimum_voltage, "mV"),
    "voltage_deflection": Feature(_subthreshold.voltage_deflection, "mV"),
    "voltage_deflection_vb_ssse": Feature(_subthreshold.voltage_deflection_vb_ssse, "mV"),
    "sag_amplitude": Feature(_subthreshold.sag_amplitude, "mV"),
    "sag_ratio1": Feature(_subthreshold.sag_ratio1, ""),
    "sag_ratio2": Feature(_subthreshold.sag_ratio2, ""),
    "ohmic_input_resistance": Feature(_subthreshold.ohmic_input_resistance, "MΩ"),
    "ohmic_input_resistance_vb_ssse": Feature(_subthreshold.ohmic_input_resistance_vb_ssse, "MΩ"),
    "decay_time_constant_after_stim": Feature(_subthreshold.decay_time_constant_after_stim, "ms"),
}

# How far a feature may be off by default, in its unit
DEVIATIONS = {"mV": 2.0, "ms": 2.0, "Hz": 2.0, "spikes": 0.5, "MΩ": 10.0, "": 0.1}


def extract(
    ts: Trace,
    v: Trace,
    names: Iterable[str] | None = None,
    *,
    stim_start: ArrayLike,
    stim_end: ArrayLike,
    current: ArrayLike | None = None,
    max_spikes: int | None = None,
    refine: bool = True,
    **options: Any,
) -> dict[str, Array]:
    """A table of features of one trace, by the names they have in eFEL, in the order of `names`.

    What a trace does not have is NaN (eFEL's `None`), and has no slope; a trace that is not finite,
    or passes 1000 mV, has nothing. Features with a value for
    each spike are as long as there are spikes if the trace is known, and `max_spikes` long, filled
    with NaN, if that is given or in `jit`, `vmap` or `grad` (64 then unless given).

    **Arguments:**

    - `ts (t,)` ms, `v (t,)` mV.
    - `names`: keys of `FEATURES`; all of them if `None`.
    - `stim_start`, `stim_end`: of the stimulus, ms.
    - `current`: of the step, nA, for the resistances.
    - `max_spikes`, `refine` and `options` (`threshold`, `slope`, `down_slope`): of `find_spikes`.

    **Raises:** `ValueError` for unknown names (with the nearest that exists), a resistance without
    `current`, and traces of other shapes.
    """
    ts, v = known_trace(ts, v)
    wanted = _known_names(names, current)
    given = {"stim_start": stim_start, "stim_end": stim_end, **options}
    given = {k: jnp.asarray(x, v.dtype) for k, x in given.items()}
    if current is not None:
        given["current"] = jnp.asarray(current, v.dtype)
    if max_spikes is not None or not is_concrete((ts, v, given)):
        out = _extract(ts, v, wanted, given, max_spikes, refine)
        return {name: out[name] for name in wanted}  # jit sorts them
    count = int(find_spikes(ts, v, threshold=given.get("threshold", -20.0)).count)
    room = max(4, 1 << (count - 1).bit_length() if count else 0)  # few programs for many counts
    found = _extract(ts, v, wanted, given, room, refine)
    out = {}
    for name in wanted:
        fewer = FEATURES[name].fewer
        out[name] = found[name] if fewer is None else found[name][: max(count - fewer, 0)]
    return out


@eqx.filter_jit
def _extract(
    ts: Trace,
    v: Trace,
    names: tuple[str, ...],
    given: dict[str, Array],
    max_spikes: int | None,
    refine: bool,
) -> dict[str, Array]:
    options = {k: given[k] for k in ("threshold", "slope", "down_slope") if k in given}
    options |= {"max_spikes": max_spikes, "refine": refine}
    out = {}
    for name in names:
        function = FEATURES[name].function
        parameters = inspect.signature(function).parameters
        known = {k: x for k, x in given.items() if k in parameters}
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            known |= options
        out[name] = unless_blown_up(function(ts, v, **known), v)
    return out


def feature_targets(
    ts: Trace,
    v: Trace,
    names: Iterable[str],
    *,
    sd: Mapping[str, ArrayLike] | None = None,
    **arguments: Any,
) -> dict[str, tuple[Array, Array]]:
    """Targets for `feature_loss` from one recorded trace: name -> (mean, SD).

    The target of a count of spikes is its smooth form, so that the trace itself scores 0.

    **Arguments:** `sd`, by name, in the feature's unit; by default 2 mV, 2 ms, 2 Hz, half a spike,
    10 MΩ, 0.1 for ratios; `arguments` of `extract`.

    **Raises:** `ValueError` for a feature that the trace does not have, and as `extract`.
    """
    sd = {} if sd is None else sd
    names = tuple(names)
    taken = {name: FEATURES[name].smooth or name for name in _known_names(names, 0.0)}
    found = extract(ts, v, dict.fromkeys(taken.values()), **arguments)
    values = {name: _reduced(found[taken[name]]) for name in names}
    lacking = [name for name, x in values.items() if is_concrete(x) and np.isnan(x)]
    if lacking:
        raise ValueError(
            f"the target trace has no {', '.join(lacking)}: leave these features out, or give "
            "their mean and SD"
        )
    return {
        name: (x, jnp.asarray(sd.get(name, DEVIATIONS[FEATURES[name].unit]), x.dtype))
        for name, x in values.items()
    }


def feature_scores(
    ts: Trace,
    v: Trace,
    targets: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    missing: ArrayLike = 10.0,
    **arguments: Any,
) -> Float[Array, " f"]:
    """How many SDs each feature of a trace lies from its target, in the order of `targets`.

    A feature with a value for each spike counts with its mean over the spikes, a count of spikes
    with its smooth form. A feature that the trace does not have scores `missing`. A trace that is
    not finite or passes 1000 mV scores NaN throughout, which is no fit: never better than another.

    **Arguments:** `targets`, name -> (mean, SD); `arguments` of `extract`.
    """
    taken = {name: FEATURES[name].smooth or name for name in _known_names(targets, 0.0)}
    values = extract(ts, v, dict.fromkeys(taken.values()), **arguments)
    scores = []
    for name, (mean, sd) in targets.items():
        x = _reduced(values[taken[name]])
        there = ~jnp.isnan(x)
        score = (jnp.where(there, x, 0.0) - mean) / sd
        scores.append(jnp.where(there, score, missing))
    return unless_blown_up(jnp.stack(scores), v)


def feature_loss(
    ts: Trace,
    v: Trace,
    targets: Mapping[str, tuple[ArrayLike, ArrayLike]],
    **arguments: Any,
) -> Scalar:
    """The mean of the features' distances in SDs, `|z|` rounded off near 0: `sqrt(1 + z²) - 1`.

    **Arguments:** as `feature_scores`.
    """
    return jnp.mean(rounded(feature_scores(ts, v, targets, **arguments)))


def rounded(z: Array) -> Array:
    """A distance that is about `|z|` in the large and `z²/2` in the small."""
    return jnp.sqrt(1 + z**2) - 1


def _reduced(x: Array) -> Scalar:
    """A scalar as it is; else the mean of what is not NaN."""
    there = ~jnp.isnan(x)
    count = jnp.sum(there)
    mean = jnp.sum(jnp.where(there, x, 0.0)) / jnp.maximum(count, 1)
    return jnp.where(count > 0, mean, jnp.nan)


def _known_names(names: Iterable[str] | None, current: ArrayLike | None) -> tuple[str, ...]:
    """The names, checked; all that can be computed for `None`."""
    with_current = [k for k, f in FEATURES.items() if "current" in _parameters(f)]
    if names is None:
        return tuple(k for k in FEATURES if current is not None or k not in with_current)
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in FEATURES:
            near = difflib.get_close_matches(str(name), FEATURES, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"unknown feature {name!r}{hint} There are: {', '.join(FEATURES)}")
        if current is None and name in with_current:
            raise ValueError(f"{name} needs current=, the amplitude of the step in nA")
    return names


def _parameters(feature: Feature) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(feature.function).parameters
