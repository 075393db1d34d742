"""Units of recordings, and whether numbers can be what their unit says."""

import numpy as np

from jaxdend._errors import RecordingError
from jaxdend.recordings._recording import Recording

Units = tuple[str, str, str]  # of times, voltages and currents, where a file states none

MILLI = {"time": "ms", "voltage": "mV", "current": "nA"}  # what a `Recording` holds
FACTORS = {  # unit -> quantity, factor to ms, mV or nA
    "s": ("time", 1e3),
    "ms": ("time", 1.0),
    "us": ("time", 1e-3),
    "V": ("voltage", 1e3),
    "mV": ("voltage", 1.0),
    "uV": ("voltage", 1e-3),
    "A": ("current", 1e9),
    "mA": ("current", 1e6),
    "uA": ("current", 1e3),
    "nA": ("current", 1.0),
    "pA": ("current", 1e-3),
}
_SPELLINGS = {
    "sec": "s", "second": "s", "seconds": "s", "msec": "ms", "milliseconds": "ms",
    "volt": "V", "volts": "V", "millivolts": "mV",
    "ampere": "A", "amperes": "A", "amp": "A", "amps": "A",
}  # fmt: skip
_FASTEST = 5e-4  # ms: 2 MHz, which is 2 kHz where seconds are taken for milliseconds
_SLOWEST = 10.0  # ms: 100 Hz, which is 100 kHz where milliseconds are taken for seconds
_LARGEST_V, _SMALLEST_V = 1e3, 0.5  # mV
_LARGEST_I, _SMALLEST_I = 100.0, 1e-5  # nA


def unit(text: str, where: str) -> tuple[str, float]:
    """The quantity of a unit, `"time"`, `"voltage"` or `"current"`, and its factor to ms, mV, nA.

    **Raises:** `RecordingError` for any other unit.
    """
    name = text.strip().replace("µ", "u").replace("μ", "u")  # the micro sign, and the Greek letter
    name = _SPELLINGS.get(name.lower(), name)
    if name not in FACTORS:
        raise RecordingError(f"{where}: unknown unit {text!r}; known are {', '.join(FACTORS)}")
    return FACTORS[name]


def declared(units: Units, which: int) -> tuple[str, float]:
    """What the user's `units` say of times (0), voltages (1) or currents (2)."""
    quantity, factor = unit(units[which], "units=")
    if quantity != list(MILLI)[which]:
        known = ", ".join(name for name, (q, _) in FACTORS.items() if q == list(MILLI)[which])
        raise RecordingError(
            f"units={units}: expected a unit of {list(MILLI)[which]} ({known}) at place {which + 1}"
        )
    return quantity, factor


def check_plausible(recording: Recording, where: str) -> Recording:
    """Returns `recording`, if its numbers can be ms, mV and nA.

    **Raises:** `RecordingError` where they look like another unit than the one declared.
    """
    step = float(np.median(np.diff(recording.ts)))
    if not _FASTEST <= step <= _SLOWEST:
        raise _odd(where, "samples", f"{step:g} ms apart", "seconds or milliseconds", "times")
    v = float(np.abs(recording.v).max())
    if v > _LARGEST_V or 0 < v < _SMALLEST_V:
        guess = "millivolts declared as volts" if v > _LARGEST_V else "volts declared as mV"
        raise _odd(where, "voltages", f"of up to {v:g} mV", guess, "voltages")
    i = 0.0 if recording.current is None else float(np.abs(recording.current).max(initial=0.0))
    if i > _LARGEST_I or 0 < i < _SMALLEST_I:
        guess = "pA declared as nA, or nA as A" if i > _LARGEST_I else "amperes declared as nA"
        raise _odd(where, "currents", f"of up to {i:g} nA", guess, "currents")
    return recording


def _odd(where: str, what: str, found: str, guess: str, which: str) -> RecordingError:
    return RecordingError(
        f"{where}: {what} {found} look like a mistaken unit ({guess}). Correct the unit that the "
        f"file states, give units= for one that states none, or pass check=False if these {which} "
        "are right"
    )
