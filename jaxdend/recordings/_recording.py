"""`Recording`: what an electrode measured during one sweep, on the host."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from jaxdend._errors import RecordingError
from jaxdend.stimuli import Waveform

_UNEVEN = 0.01  # of a sample interval; times in text files are rounded


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One sweep: voltages, and the current that was injected meanwhile, at common times.

    Arrays are numpy's, float64. `v (t,)` and `current (t,)` are taken as one trace.

    **Raises:** `RecordingError` for shapes that do not fit, fewer than two samples, values that are
    not numbers, times that do not increase.
    """

    ts: Float[np.ndarray, " t"]  # ms, ascending
    v: Float[np.ndarray, "t r"]  # mV
    current: Float[np.ndarray, "t k"] | None = None  # nA, positive depolarises
    name: str = ""  # of the sweep
    labels: tuple[str, ...] = ()  # (r,) names of the voltages
    current_labels: tuple[str, ...] = ()  # (k,) names of the currents
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)  # what else the file says

    def __post_init__(self) -> None:
        ts, v = np.asarray(self.ts, float), _columns(self.v)
        current = None if self.current is None else _columns(self.current)
        t = len(ts)
        if ts.ndim != 1 or v.ndim != 2 or len(v) != t or v.shape[1] == 0:
            raise RecordingError(f"expected ts (t,) and v (t, r), got {ts.shape} and {v.shape}")
        if current is not None and (current.ndim != 2 or len(current) != t):
            raise RecordingError(f"expected current ({t}, k) nA, got {current.shape}")
        if t < 2:
            raise RecordingError(f"expected at least two samples, got {t}")
        named = [("ts", ts, "ms"), ("v", v, "mV")]
        for field, x, unit in named + ([] if current is None else [("current", current, "nA")]):
            bad = np.argwhere(~np.isfinite(x))
            if len(bad):
                at = tuple(int(i) for i in bad[0])
                raise RecordingError(
                    f"{len(bad)} samples of {field} ({unit}) are not numbers, the first is "
                    f"{field}{list(at)} = {x[at]}; cut them out with another file or window"
                )
        back = np.flatnonzero(np.diff(ts) <= 0)
        if len(back):
            i = int(back[0])
            raise RecordingError(
                f"the times must increase: sample {i + 1} is at {ts[i + 1]:g} ms after {ts[i]:g} ms"
            )
        widths = {"labels": v.shape[1], "current_labels": 0 if current is None else len(current.T)}
        for field, count in widths.items():
            names = tuple(str(name) for name in getattr(self, field))
            stem = "v" if field == "labels" else "i"
            names = names or tuple(f"{stem}{i}" if count > 1 else stem for i in range(count))
            if len(names) != count:
                raise RecordingError(f"{field}: expected {count} names, got {names}")
            object.__setattr__(self, field, names)
        for field, value in (("ts", ts), ("v", v), ("current", current)):
            object.__setattr__(self, field, value)

    @property
    def dt(self) -> float:
        """The interval between samples, ms.

        **Raises:** `RecordingError` for uneven sampling: see `resample`.
        """
        steps = np.diff(self.ts)
        mean = float((self.ts[-1] - self.ts[0]) / len(steps))
        if np.abs(steps - mean).max() > _UNEVEN * mean:
            raise RecordingError(
                f"sweep {self.name!r} is sampled unevenly, every {steps.min():g} to "
                f"{steps.max():g} ms; take resample(dt) of it"
            )
        return mean

    @property
    def rate(self) -> float:
        """The number of samples per second in Hz; raises where `dt` does."""
        return 1e3 / self.dt

    @property
    def duration(self) -> float:
        """The time from the first to the last sample in ms."""
        return float(self.ts[-1] - self.ts[0])

    def window(self, t0: float, t1: float) -> "Recording":
        """The samples with `t0 <= t <= t1`, ms; the times stay as they are.

        **Raises:** `RecordingError` for a window with fewer than two samples.
        """
        inside = (self.ts >= t0) & (self.ts <= t1)
        if np.sum(inside) < 2:
            raise RecordingError(
                f"window {t0:g} to {t1:g} ms: sweep {self.name!r} has {np.sum(inside)} samples "
                f"there; it covers {self.ts[0]:g} to {self.ts[-1]:g} ms"
            )
        return self._sampled(lambda x: x[inside])

    def delayed(self, by: float) -> "Recording":
        """The recording `by` ms later; `delayed(-recording.ts[0])` makes it start at 0."""
        return dataclasses.replace(self, ts=self.ts + by)

    def resample(self, dt: float) -> "Recording":
        """Even samples every `dt` ms from the first time on.

        A coarser grid takes the mean over `dt` around each time, of the line through the samples,
        so that noise is averaged and not aliased (a box filter: -4 dB at the new Nyquist frequency;
        at `dt` 0.1 ms a spike of 1 ms half width loses some 0.2 mV). A finer one is linear.
        """
        if not 0 < dt <= self.duration:
            raise RecordingError(
                f"resample(dt): expected 0 < dt <= {self.duration:g} ms, got {dt!r}"
            )
        count = int(np.floor(self.duration / dt * (1 + 1e-12) + 1e-9)) + 1
        ts = self.ts[0] + dt * np.arange(count)
        coarser = dt > self.duration / (len(self.ts) - 1) * (1 + 1e-9)
        low = np.clip(ts - dt / 2, self.ts[0], None)
        high = np.clip(ts + dt / 2, None, self.ts[-1])

        def sampled(x: np.ndarray) -> np.ndarray:
            if x is self.ts:
                return ts
            if not coarser:
                return _each(lambda y: np.interp(ts, self.ts, y), x)
            return _each(lambda y: _integral(self.ts, y, low, high) / (high - low), x)

        return self._sampled(sampled)

    def correct_junction(self, potential: float) -> "Recording":
        """Voltages less the liquid junction `potential`, mV, that the amplifier did not subtract.

        Its sign is that of the bath relative to the pipette (Neher 1992, Methods Enzymol 207:123),
        some 10 to 15 mV for potassium gluconate: membrane potentials come out lower.
        """
        before = float(self.meta.get("junction_potential_mV", 0.0))
        meta = self.meta | {"junction_potential_mV": before + float(potential)}
        return dataclasses.replace(self, v=self.v - potential, meta=meta)

    def to_input(self, site: ArrayLike) -> Waveform:
        """The recorded current as a stimulus: linear between its samples, zero outside.

        **Arguments:** `site`, a compartment number, or one for each of the `k` currents.

        **Raises:** `RecordingError` without a current, or with more than one for a single site.
        """
        if self.current is None:
            raise RecordingError(f"sweep {self.name!r} has no recorded current to inject")
        if self.current.shape[1] != np.size(site):
            raise RecordingError(
                f"sweep {self.name!r} has {self.current.shape[1]} currents "
                f"({', '.join(self.current_labels)}); give one site for each, not {np.size(site)}"
            )
        values = self.current[:, 0] if self.current.shape[1] == 1 else self.current.T
        return Waveform(site, self.ts, values)  # pyright: ignore[reportArgumentType]

    def _sampled(self, f: Any) -> "Recording":
        """`f` of times, voltages and currents."""
        current = None if self.current is None else f(self.current)
        return dataclasses.replace(self, ts=f(self.ts), v=f(self.v), current=current)


def _columns(x: Any) -> np.ndarray:
    x = np.asarray(x, float)
    return x[:, None] if x.ndim == 1 else x


def _each(f: Any, x: np.ndarray) -> np.ndarray:
    return np.stack([f(column) for column in x.T], axis=1)


def _integral(ts: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """From `low` to `high`, of the line through `y` at `ts`."""
    steps = np.diff(ts)
    total = np.concatenate([[0.0], np.cumsum(steps * (y[1:] + y[:-1]) / 2)])

    def upto(t: np.ndarray) -> np.ndarray:
        i = np.clip(np.searchsorted(ts, t, side="right") - 1, 0, len(steps) - 1)
        part = t - ts[i]
        return total[i] + part * (y[i] + part * (y[i + 1] - y[i]) / (2 * steps[i]))

    return upto(high) - upto(low)
