"""Stimuli, clamps and synapses as NEURON's point processes: plain data for the script."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxdend.stimuli import (
    AbstractStimulus,
    DualExponential,
    Noise,
    PulseTrain,
    Ramp,
    Sine,
    Step,
    VoltageClamp,
    Waveform,
)
from jaxdend.synapses import (
    AMPA,
    GABAA,
    GABAB,
    AbstractSynapse,
    AlphaSynapse,
    Exp2Syn,
    ExpSyn,
)

Place = tuple[str, float]
_DUAL = (Exp2Syn, AMPA, GABAA, GABAB)


@dataclass
class Inputs:
    """What goes into the script; places are a section's name and x."""

    steps: list[tuple] = field(default_factory=list)  # place, delay, duration ms, nA
    played: list[tuple] = field(default_factory=list)  # place, name of a shape, its parameters
    clamps: list[tuple] = field(default_factory=list)  # place, rs MΩ, [(duration ms, mV)]
    played_clamps: list[tuple] = field(default_factory=list)  # place, rs, times ms, mV
    synapses: list[tuple] = field(default_factory=list)  # place, NEURON's name, {}, events


def add_input(out: Inputs, group: Any, places: list[Place]) -> None:
    """Put an input group into `out`; `places (k,)` are those of its sites.

    **Raises:** `ValueError` for one that NEURON has no built-in counterpart of.
    """
    if isinstance(group, Noise):
        group = group.drawn()
    if isinstance(group, Step):
        for place, p in _each(group, places, "onset", "duration", "amplitude"):
            out.steps.append((place, p["onset"], p["duration"], p["amplitude"]))
    elif isinstance(group, Waveform):
        times, values = np.asarray(group.times), np.asarray(group.values)
        for place, row in zip(places, _rows(values, len(places)), strict=True):
            shape = {"times": times.tolist(), "values": row.tolist(), "hold": bool(group.hold)}
            out.played.append((place, "waveform", shape))
    elif isinstance(group, AbstractStimulus) and type(group) in _SHAPES:
        name, fields = _SHAPES[type(group)]
        out.played += [(place, name, p) for place, p in _each(group, places, *fields)]
    elif isinstance(group, VoltageClamp):
        _add_clamp(out, group, places)
    elif isinstance(group, AbstractSynapse) and type(group) in _SYNAPSES:
        _SYNAPSES[type(group)](out, group, places)
    else:
        raise ValueError(
            f"NEURON has no built-in counterpart of {type(group).__name__}. There are "
            f"{', '.join(sorted(t.__name__ for t in (Step, Waveform, Noise, *_SHAPES)))}, "
            f"VoltageClamp, {', '.join(sorted(t.__name__ for t in _SYNAPSES))}; unknown='skip' "
            "leaves the others out."
        )


_SHAPES: dict[type, tuple[str, tuple[str, ...]]] = {
    PulseTrain: ("pulse_train", ("onset", "period", "width", "count", "amplitude")),
    Ramp: ("ramp", ("onset", "duration", "start", "stop")),
    Sine: ("sine", ("onset", "duration", "amplitude", "frequency", "phase", "offset")),
    DualExponential: ("dual_exponential", ("onset", "amplitude", "tau_rise", "tau_decay")),
}


def _each(group: Any, places: list[Place], *names: str) -> list[tuple[Place, dict[str, float]]]:
    """Every site with its own numbers."""
    rows = {name: np.broadcast_to(np.asarray(getattr(group, name)), len(places)) for name in names}
    return [(place, {n: float(rows[n][i]) for n in names}) for i, place in enumerate(places)]


def _rows(values: np.ndarray, k: int) -> np.ndarray:
    return np.broadcast_to(values, (k, values.shape[-1]))


def _add_clamp(out: Inputs, group: VoltageClamp, places: list[Place]) -> None:
    """Up to three levels from t = 0 on are an `SEClamp`'s own; any other command is played."""
    times = np.asarray(group.times)
    rows = _rows(np.asarray(group.values), len(places))
    for (place, p), row in zip(_each(group, places, "rs"), rows, strict=True):
        starts, ends = times[::2], times[1::2]
        levels = len(starts) == len(ends) <= 3 and starts[0] == 0
        if levels and np.all(starts[1:] == ends[:-1]) and np.all(row[::2] == row[1::2]):
            steps = zip((ends - starts).tolist(), row[::2].tolist(), strict=True)
            out.clamps.append((place, p["rs"], list(steps)))
        else:
            out.played_clamps.append((place, p["rs"], times.tolist(), row.tolist()))


def _events(group: AbstractSynapse, i: int) -> list[tuple[float, list[float]]]:
    """Events of synapse `i`: the times, ms, that share a weight, µS.

    **Raises:** `ValueError` for events before 0 ms, which NEURON cannot deliver.
    """
    times, weights = (np.asarray(a)[i] for a in group.schedule())
    if np.any(times < 0):
        raise ValueError(
            f"{type(group).__name__}: an event at {times.min():g} ms is before the start, 0 ms; "
            "NEURON delivers none of those."
        )
    finite = np.isfinite(times) & (weights != 0)
    return [
        (float(w), np.sort(times[finite & (weights == w)]).tolist())
        for w in np.unique(weights[finite])
    ]


def _linear(neuron: str, **names: str) -> Callable[[Inputs, Any, list[Place]], None]:
    def add(out: Inputs, group: Any, places: list[Place]) -> None:
        for i, (place, p) in enumerate(_each(group, places, *names)):
            own = {theirs: p[ours] for ours, theirs in names.items()}
            out.synapses.append((place, neuron, own, _events(group, i)))

    return add


def _alpha(out: Inputs, group: AlphaSynapse, places: list[Place]) -> None:
    """NEURON's has one event each, and ends after ten time constants."""
    if group.cutoff is None or not np.allclose(np.asarray(group.cutoff), 10.0):
        raise ValueError(
            "NEURON's AlphaSynapse ends after 10 tau: only AlphaSynapse(..., cutoff=10) has a "
            "built-in counterpart; unknown='skip' leaves this one out."
        )
    for i, (place, p) in enumerate(_each(group, places, "tau", "e_rev")):
        for weight, times in _events(group, i):
            for onset in times:
                own = {"onset": onset, "tau": p["tau"], "gmax": weight, "e": p["e_rev"]}
                out.synapses.append((place, "AlphaSynapse", own, []))


_SYNAPSES: dict[type, Callable[[Inputs, Any, list[Place]], None]] = {
    ExpSyn: _linear("ExpSyn", tau="tau", e_rev="e"),
    AlphaSynapse: _alpha,
    **{kind: _linear("Exp2Syn", tau1="tau1", tau2="tau2", e_rev="e") for kind in _DUAL},
}
