"""Distances between voltage traces, differentiable and finite everywhere.

Traces are `(t, r)`, samples by recording sites, mV, on one uniform time grid. Every loss has a
`scale`, a number or `(r,)` in mV, that says how large a difference counts as one at each site; all
return a scalar. They are ordered from coarse to fine: window moments and smoothed traces have a
wide basin, the plain mean square has a sharp minimum (a spike 1 ms late costs it 1e4 mV² a sample).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxdend._blown_up import unless_blown_up

Traces = Float[Array, "t r"]
Scalar = Float[Array, ""]


def mse(v: Traces, target: Traces, *, scale: ArrayLike = 1.0) -> Scalar:
    """Mean square difference, in units of `scale` squared."""
    v, target, s = _prepare(v, target, scale)
    return jnp.mean(((v - target) / s) ** 2)


def window_loss(
    v: Traces,
    target: Traces,
    *,
    windows: int | Sequence[tuple[int, int]] = 4,
    scale: ArrayLike = 8.0,
    std_scale: ArrayLike = 4.0,
) -> Scalar:
    """Mean absolute difference of the mean and standard deviation in windows.

    The loss with which Jaxley fits a pyramidal cell (Deistler et al. 2025, Nature Methods); the
    absolute value is rounded off below a thousandth, so that its slope is finite at a match.

    **Arguments:** `windows`, a number of equal windows, or sample ranges `(start, stop)`; `scale`
    and `std_scale`, mV, `()` or `(r,)`, for the means and the standard deviations.

    **Raises:** `ValueError` for windows that hold no sample.
    """
    v, target, s = _prepare(v, target, scale)
    _, _, s_std = _prepare(v, target, std_scale)
    steps = v.shape[0]
    if isinstance(windows, int):
        edges = np.linspace(0, steps, windows + 1).astype(int) if windows > 0 else np.zeros(1)
        windows = list(zip(edges[:-1], edges[1:], strict=True))
    if not windows or any(not 0 <= a < b <= steps for a, b in windows):
        raise ValueError(
            f"windows must be (start, stop) sample ranges within 0 … {steps}, got {windows}"
        )
    terms = []
    for a, b in windows:
        x, y = v[a:b], target[a:b]
        terms.append(_soft_abs((x.mean(0) - y.mean(0)) / s))
        terms.append(_soft_abs((_std(x) - _std(y)) / s_std))
    return jnp.mean(jnp.stack(terms))


def smoothed_mse(
    v: Traces,
    target: Traces,
    *,
    dt: ArrayLike,
    width: ArrayLike | Sequence[float],
    scale: ArrayLike = 1.0,
) -> Scalar:
    """Mean square difference after a Gaussian filter, in units of `scale` squared.

    **Arguments:** `dt`, ms between samples; `width`, ms, the standard deviation of the Gaussian,
    a number or `(w,)`, over which the mean is taken. Both may be arrays: they never recompile.
    """
    return jnp.mean(_smoothed(v, target, dt, width, scale))


def smoothed_rms(
    v: Traces,
    target: Traces,
    *,
    dt: ArrayLike,
    width: ArrayLike | Sequence[float] = (8.0, 3.0, 1.0, 0.3),
    scale: ArrayLike = 10.0,
) -> Scalar:
    """Root mean square difference after Gaussian filters, averaged over their widths.

    The loss to begin with for spiking traces. The coarse widths lead a start to the right number of
    spikes, the fine ones resolve their times, and the root keeps each of them pulling while others
    are large: after 100 steps, 15 of 20 random starts had recovered five conductances of a
    reconstructed cell to 5 % (9 of 20 with the mean squares), and all 20 after 160.

    **Arguments:** as `smoothed_mse`. The root is rounded off below a millionth of `scale`.
    """
    return jnp.mean(jnp.sqrt(_smoothed(v, target, dt, width, scale) + 1e-12)) - 1e-6


def soft_spikes(v: Traces, *, threshold: ArrayLike = -20.0, softness: ArrayLike = 5.0) -> Traces:
    """Upward crossings of a soft threshold: `(t, r)`, a clean spike sums to one.

    The rise of `sigmoid((v - threshold)/softness)` from one sample to the next. `threshold` and
    `softness` in mV, `()` or `(r,)`.
    """
    s = jax.nn.sigmoid((v - threshold) / softness)
    return jax.nn.relu(jnp.diff(s, axis=0, prepend=s[:1]))


def van_rossum(
    v: Traces,
    target: Traces,
    *,
    dt: ArrayLike,
    tau: ArrayLike = 5.0,
    threshold: ArrayLike = -20.0,
    softness: ArrayLike = 5.0,
    scale: ArrayLike = 1.0,
) -> Scalar:
    """Van Rossum's distance between spike trains, on soft spikes, summed over sites.

    `1/tau ∫ (f - g)² dt`, f and g the trains filtered by `exp(-t/tau)` (van Rossum 2001, Neural
    Computation 13:751, eq. 2.4): a spike too many costs 1/2, one moved by t costs `1-exp(-t/tau)`.

    **Arguments:** `dt`, ms between samples; `tau`, ms; `threshold` and `softness`, mV (see
    `soft_spikes`); `scale`, spikes, `()` or `(r,)`.

    **Returns:** a scalar; NaN if `v` is not finite: what blew up has no spikes to compare.
    """
    v, target, s = _prepare(v, target, scale)
    train = soft_spikes(v, threshold=threshold, softness=softness)
    other = soft_spikes(target, threshold=threshold, softness=softness)
    lag = _lags(v.shape[0]) * dt
    kernel = jnp.where(lag >= 0, jnp.exp(-jnp.abs(lag) / tau), 0.0)
    distance = jnp.sum((_filter(train - other, kernel) / s) ** 2) * (dt / tau)
    return unless_blown_up(distance, v, limit=jnp.inf)


def van_rossum_times(
    times: Float[ArrayLike, " s"], target: Float[ArrayLike, " u"], *, tau: ArrayLike = 5.0
) -> Scalar:
    """Van Rossum's distance between two trains of spike times, exactly.

    The integral of `van_rossum` without a trace: half the sum of `exp(-|a - b|/tau)` over all pairs
    within each train, less that over all pairs between them. The slope is that of the times, so
    a spike that comes or goes makes a step: `features.spike_times` has slopes, and NaN for padding.

    **Arguments:** `times` and `target`, ms, in any order; what is not finite is no spike. `tau`,
    ms.

    **Raises:** `ValueError` for times that are not one train each.
    """
    a, b = jnp.asarray(times), jnp.asarray(target)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"expected times (s,) and (u,), got {a.shape} and {b.shape}: use jax.vmap")
    both = jnp.concatenate([a, b]).astype(jnp.result_type(a, jnp.float32))
    there = jnp.isfinite(both)
    sign = jnp.where(jnp.arange(len(both)) < len(a), 1.0, -1.0)
    sign, both = jnp.where(there, sign, 0.0).astype(both.dtype), jnp.where(there, both, 0.0)
    near = jnp.exp(-jnp.abs(both[:, None] - both) / tau)
    return 0.5 * sign @ near @ sign


def soft_dtw(
    v: Traces,
    target: Traces,
    *,
    scale: ArrayLike = 1.0,
    time_scale: ArrayLike | None = None,
    gamma: ArrayLike = 0.1,
) -> Scalar:
    """Soft dynamic time warping, as a divergence: zero for equal traces, per sample.

    `s(v, w) - s(v, v)/2 - s(w, w)/2` with s of Cuturi & Blondel 2017 (algorithm 1), made a
    divergence by Blondel et al. 2021; the cost of matching samples i and j is the squared
    difference of all sites in units of `scale`, plus `((i - j)/time_scale)²`. It takes time and
    memory of t²: thin the traces to a few hundred samples first, as `v[::10]`.

    **Arguments:** `scale`, mV; `time_scale`, samples, or `None` for free warping; `gamma > 0`,
    the softness of the minimum, in units of the cost.
    """
    v, target, s = _prepare(v, target, scale)
    x, y = v / s, target / s
    step = jnp.arange(v.shape[0], dtype=v.dtype)
    softness = jnp.asarray(gamma, v.dtype)
    shift = 0.0 if time_scale is None else ((step[:, None] - step[None, :]) / time_scale) ** 2

    def distance(p: Traces, q: Traces) -> Scalar:
        return _warp(jnp.sum((p[:, None] - q[None, :]) ** 2, axis=-1) + shift, softness)

    return (distance(x, y) - (distance(x, x) + distance(y, y)) / 2) / v.shape[0]


def _warp(cost: Float[Array, "t t"], gamma: Array) -> Scalar:
    """Soft-minimal cost of a monotone path through a square matrix, by anti-diagonals."""
    t = cost.shape[0]
    far = 1e6 * (1 + jax.lax.stop_gradient(jnp.max(cost)))  # stands for infinity
    i = jnp.arange(t)

    def diagonal(carry: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], None]:
        two, one = carry  # diagonals k-2 and k-1 by row, padded in front with row -1
        j = k - i
        arrivals = jnp.stack([one[1:], one[:-1], two[:-1]])
        start = -gamma * jax.nn.logsumexp(-arrivals / gamma, axis=0)
        start = jnp.where(k == 0, 0.0, start)
        valid = (j >= 0) & (j < t)
        row = jnp.where(valid, cost[i, jnp.clip(j, 0, t - 1)] + start, far)
        return (one, jnp.concatenate([far[None], row])), None

    empty = jnp.full(t + 1, far)
    (_, last), _ = jax.lax.scan(diagonal, (empty, empty), jnp.arange(2 * t - 1))
    return last[-1]


def _prepare(v: Array, target: Array, scale: ArrayLike) -> tuple[Array, Array, Array]:
    """Check shapes; a `(t,)` trace becomes `(t, 1)`."""
    v, target = jnp.asarray(v), jnp.asarray(target)
    if v.shape != target.shape or v.ndim not in (1, 2) or v.shape[0] == 0:
        raise ValueError(
            f"expected two traces (t, r) of one shape, got {v.shape} and {target.shape}; "
            f"interpolate the data to the simulation's samples first"
        )
    if v.ndim == 1:
        v, target = v[:, None], target[:, None]
    s = jnp.asarray(scale, v.dtype)
    if s.shape not in ((), (1,), v.shape[1:]):
        raise ValueError(f"scale must be one number or ({v.shape[1]},), got shape {s.shape}")
    return v, target, s


def _std(x: Array) -> Array:
    """Standard deviation over time, with a finite slope at a constant trace."""
    return jnp.sqrt(jnp.var(x, axis=0) + 1e-6)


def _soft_abs(x: Array) -> Array:
    """|x|, rounded off below a thousandth."""
    return jnp.sqrt(x**2 + 1e-6) - 1e-3


def _lags(t: int) -> Array:
    """Lags 0, 1, …, t-1, -t, …, -1 of a circular filter padded to 2t samples."""
    return jnp.asarray(np.fft.fftfreq(2 * t, 1 / (2 * t)), jnp.result_type(float))


def _smoothed(
    v: Traces, target: Traces, dt: ArrayLike, width: Any, scale: ArrayLike
) -> Float[Array, " w"]:
    """Mean square of the filtered difference, for each width; filters renormalised at the ends."""
    v, target, s = _prepare(v, target, scale)
    lag = _lags(v.shape[0]) * dt
    difference, ones = (v - target) / s, jnp.ones_like(v[:, :1])

    def one(width: Array) -> Scalar:
        kernel = jnp.exp(-0.5 * (lag / width) ** 2)
        return jnp.mean((_filter(difference, kernel) / _filter(ones, kernel)) ** 2)

    return jax.vmap(one)(jnp.atleast_1d(jnp.asarray(width, v.dtype)))


def _filter(x: Traces, kernel: Float[Array, " two_t"]) -> Traces:
    """Each column convolved with a kernel given on `_lags(t)`; zero outside the trace."""
    t = x.shape[0]
    product = jnp.fft.rfft(x, 2 * t, axis=0) * jnp.fft.rfft(kernel.astype(x.dtype))[:, None]
    return jnp.fft.irfft(product, 2 * t, axis=0)[:t]
