"""Inputs of every kind with their equations written once more, in numpy, and who solves these.

Every case acts on a compartment of its own, with next to no current to its neighbours: one program
runs many cases, and each one's voltage and gradients have their own right values.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import jaxdend as jd
from jaxdend.synapses.kinetic import STEPS
from user_inputs import Electrode, Filter, Kick, Kicked, Relay, Saturating

C, G, E = 0.01, 1e-3, -65.0  # nF, µS, mV of every compartment
T1, DT, EVERY = 6.0, 0.025, 10
SAMPLES = np.arange(0, 241, EVERY) * DT
WEIGHTS = np.cos(np.arange(len(SAMPLES)) * 0.7) / len(SAMPLES)
NONE: np.ndarray = np.zeros(0)


class Case(NamedTuple):
    """An input `make(site, a, s)` and its equations; `a` scales it, `s` ms delays it."""

    make: Callable
    outward: Callable  # (v, x, t, a, s) -> nA, with numpy
    breaks: Callable  # s -> ms, where anything jumps
    start: np.ndarray = NONE  # own state at E
    slope: Callable = lambda v, x, t, a, s: NONE
    kicks: Callable = lambda s: ()  # s -> pairs (ms, what is added to the own state)


def right(case: Case, a: float, s: float) -> np.ndarray:
    """The voltage at `SAMPLES`."""

    def field(t, y, lo, hi):
        v, x, t = y[0], y[1:], np.clip(t, lo + 1e-9, hi - 1e-9)
        dv = (-G * (v - E) - case.outward(v, x, t, a, s)) / C
        return np.append(dv, case.slope(v, x, t, a, s))

    kicks = list(case.kicks(s))
    stops = [b for b in (*case.breaks(s), *(t for t, _ in kicks)) if 0 < b < T1]
    edges = np.unique(np.concatenate([[0.0, T1], stops]))
    y, out = np.append(E, case.start), np.full(len(SAMPLES), E)
    for lo, hi in zip(edges[:-1], edges[1:], strict=True):
        inside = (SAMPLES > lo) & (SAMPLES <= hi)
        for t, jump in kicks:
            y = y + np.append(0.0, jump) * (t == lo)
        seen = np.union1d(SAMPLES[inside], hi)
        done = solve_ivp(
            field, (lo, hi), y, "LSODA", t_eval=seen, rtol=1e-10, atol=1e-11, args=(lo, hi)
        )
        out[inside], y = done.y[0, : inside.sum()], done.y[:, -1]
    return out


def slopes(case: Case, a: float, s: float) -> tuple[float, float]:
    """The derivatives of `loss` by `a` and `s`, by central differences of fourth order."""

    def difference(f, h):
        near, far = f(h) - f(-h), f(2 * h) - f(-2 * h)
        return (8 * near - far) / (12 * h)

    def loss(v):
        return WEIGHTS @ v

    return (
        difference(lambda h: loss(right(case, a + h, s)), 2e-2),
        difference(lambda h: loss(right(case, a, s + h)), 1e-3),
    )


# --- numpy's view of the shapes -------------------------------------------------------------------


def on(t, begin, end):
    return float(begin <= t < end)


def dual(t, times, tau1, tau2):
    """A sum of peak-normalised dual exponentials."""
    top = np.log(tau2 / tau1) * tau1 * tau2 / (tau2 - tau1)
    peak = np.exp(-top / tau2) - np.exp(-top / tau1)
    lags = t - np.asarray(times)
    lags = lags[lags >= 0]
    return np.sum(np.exp(-lags / tau2) - np.exp(-lags / tau1)) / peak


def noise(site, a, s):
    return jd.Noise(site, 0.005, 0.02 * a, 2.0, onset=1.0 + s, duration=4.0, interval=0.5, seed=3)


@lru_cache
def drawn():
    return np.asarray(noise(0, 1.0, 0.0).draws)[0]


def noise_at(t, a, s):
    """Gillespie's recursion, with the numbers that the input itself has drawn."""
    draws = drawn()
    r, x = np.exp(-0.25), [draws[0]]
    for draw in draws[1:]:
        x.append(r * x[-1] + np.sqrt(1 - r * r) * draw)
    knots = 1.0 + s + 0.5 * np.arange(9)
    return np.interp(t, knots, 0.005 + 0.02 * a * np.array(x)) * on(t, knots[0], knots[-1])


EVENTS = np.array([1.1, 2.6, 2.85])


def synapse(kind, g, e_rev=0.0, block=lambda v: 1.0, breaks=lambda s: EVENTS + s, **options):
    """A case of an event synapse with conductance `g(lags)` per unit of weight."""

    def make(site, a, s):
        return kind([site], 2e-4 * a[..., None], EVENTS[None] + s, **options)

    def outward(v, x, t, a, s):
        return 2e-4 * a * g(t, EVENTS + s) * block(v) * (v - e_rev)

    return Case(make, outward, breaks)


def binned(site, a, s):
    train = jd.Binned(np.array([[0], [2], [1], [0]]), width=1.0, onset=0.1 + s)
    return jd.ExpSyn([site], 2e-4 * a[..., None], train, tau=1.5)


BINS = np.array([1.1, 1.1, 2.1])


def exponential(tau):
    def g(t, times):
        lags = t - times
        return np.sum(np.exp(-lags[lags >= 0] / tau))

    return g


def alpha(tau, cutoff=np.inf):
    def g(t, times):
        lags = t - times
        lags = lags[(lags >= 0) & (lags <= cutoff * tau)] / tau
        return np.sum(lags * np.exp(1 - lags))

    return g


KINETIC = jd.NMDAKinetic.states


def kinetic_slope(v, x, t, a, s):
    drive = 2.0 * any(on(t, b, b + 0.5) for b in EVENTS + s)
    block, unblock = np.exp(-1.6 * (v - 40.0) / 25.0), np.exp(0.4 * (v - 40.0) / 25.0)
    dx = np.zeros(10)
    for i, j, (there, back) in STEPS:
        if j == i + "Mg":
            there, back = there * block, back * unblock
        elif i in ("U", "UMg"):
            there = there * drive
        p, q = KINETIC.index(i), KINETIC.index(j)
        net = there * x[p] - back * x[q]
        dx[p], dx[q] = dx[p] - net, dx[q] + net
    return dx


def kinetic_start():
    """The null space of the scheme at E."""
    columns = [kinetic_slope(E, row, 0.0, 1.0, 0.0) for row in np.eye(10)]
    matrix = np.vstack([np.array(columns).T, np.ones(10)])
    return np.linalg.lstsq(matrix, np.append(np.zeros(10), 1.0), rcond=None)[0]


# --- what a user writes ---------------------------------------------------------------------------


def relay_slope(v, x, t, a, s):
    p, q = x
    return [(np.tanh((v + 60.0) / 5.0) - p) / 2.0 + np.clip(t - 1.1 - s, 0.0, 1.0), p**2 - q]


def electrode(rs):
    def outward(v, x, t, a, s):
        return on(t, 1.1 + s, 3.6 + s) * (v + 60.0 - 5.0 * a * (t - 1.1 - s)) / rs

    return Case(
        lambda site, a, s: Electrode(jnp.array([site]), 1.1 + s, a, rs),
        outward,
        lambda s: [1.1 + s, 3.6 + s],
    )


LEVELS, HOLDS = np.array([-60.0, -50.0, -63.0]), np.array([1.1, 1.7, 1.35])


def clamp(rs, soft):
    """Levels relative to E scaled by `a`; the middle one comes `s` later."""

    def make(site, a, s):
        durations = jnp.asarray(HOLDS).at[0].add(s)
        return jd.VoltageClamp(site, E + a * (LEVELS - E), durations, rs=rs, soft=soft)

    def outward(v, x, t, a, s):
        ends = np.cumsum(HOLDS) + s
        command = E + a * (LEVELS[min(np.searchsorted(ends, t, side="right"), 2)] - E)
        return (v - command) / rs if t < ends[-1] else 0.0

    return Case(make, outward, lambda s: np.cumsum(HOLDS) + s)


KNOTS = np.array([0.6, 1.6, 1.6, 3.1, 5.35])
VALUES = np.array([0.0, 0.03, -0.02, 0.03, 0.01])


def waveform_at(t, a, s, hold):
    knots = KNOTS + s
    if not knots[0] <= t < knots[-1]:
        return a * VALUES[0 if t < knots[0] else -1] * hold
    i = np.searchsorted(knots, t, side="right")
    share = (t - knots[i - 1]) / (knots[i] - knots[i - 1])
    return a * (VALUES[i - 1] + share * (VALUES[i] - VALUES[i - 1]))


def waveform(hold):
    return Case(
        lambda site, a, s: jd.Waveform(site, KNOTS + s, VALUES * a, hold=hold),
        lambda v, x, t, a, s: -waveform_at(t, a, s, hold),
        lambda s: KNOTS + s,
    )


def pulses(t):
    return any(on(t, begin, begin + 0.5) for begin in (0.6, 2.1, 3.6))


def ramp(t, a):
    return on(t, 0.0, 2.5) * (0.01 + (0.03 * a - 0.01) * t / 2.5)


def epsp(t, a, s):
    return 0.03 * a * dual(t, [1.1 + s], 0.5, 2.0)


def sine(t, a, s):
    return (0.01 + 0.02 * a * np.sin(0.5 * np.pi * (t - 1.1 - s) + 0.4)) * on(t, 1.1 + s, 4.6 + s)


GROUPS: dict[str, dict[str, Case]] = {
    "stimuli": {
        "Step": Case(
            lambda i, a, s: jd.Step(i, 1.1 + s, 2.0, 0.02 * a),
            lambda v, x, t, a, s: -0.02 * a * on(t, 1.1 + s, 3.1 + s),
            lambda s: [1.1 + s, 3.1 + s],
        ),
        "PulseTrain": Case(
            lambda i, a, s: jd.PulseTrain(i, 0.6 + s, 1.5, 0.5, 3, 0.03 * a),
            lambda v, x, t, a, s: -0.03 * a * pulses(t - s),
            lambda s: np.array([0.6, 1.1, 2.1, 2.6, 3.6, 4.1]) + s,
        ),
        "Ramp": Case(
            lambda i, a, s: jd.Ramp(i, 1.1 + s, 2.5, 0.01, 0.03 * a),
            lambda v, x, t, a, s: -ramp(t - 1.1 - s, a),
            lambda s: [1.1 + s, 3.6 + s],
        ),
        "Sine": Case(
            lambda i, a, s: jd.Sine(i, 1.1 + s, 3.5, 0.02 * a, 250.0, phase=0.4, offset=0.01),
            lambda v, x, t, a, s: -sine(t, a, s),
            lambda s: [1.1 + s, 4.6 + s],
        ),
        "Noise": Case(
            noise,
            lambda v, x, t, a, s: -noise_at(t, a, s),
            lambda s: 1.0 + s + 0.5 * np.arange(9),
        ),
        "DualExponential": Case(
            lambda i, a, s: jd.DualExponential(i, 1.1 + s, 0.03 * a, 0.5, 2.0),
            lambda v, x, t, a, s: -epsp(t, a, s),
            lambda s: [1.1 + s],
        ),
        "Waveform": waveform(False),
        "Waveform that holds": waveform(True),
        "soft VoltageClamp": clamp(200.0, True),
        "a user's stimulus": Case(
            lambda i, a, s: Kick(jnp.array([i]), 1.1 + s, 0.01 * a),
            lambda v, x, t, a, s: -0.01 * a * max(t - 1.1 - s, 0.0),
            lambda s: [1.1 + s],
        ),
        "a user's soft clamp": electrode(200.0),
    },
    "synapses": {
        "ExpSyn": synapse(jd.ExpSyn, exponential(1.5), tau=1.5),
        "Exp2Syn": synapse(jd.Exp2Syn, lambda t, e: dual(t, e, 0.4, 3.0), tau1=0.4, tau2=3.0),
        "AlphaSynapse": synapse(jd.AlphaSynapse, alpha(0.7), tau=0.7),
        "AlphaSynapse with a cutoff": synapse(
            jd.AlphaSynapse, alpha(0.7, 2.0), breaks=lambda s: [*(EVENTS + s), *(EVENTS + s + 1.4)],
            tau=0.7, cutoff=2.0,
        ),
        "AMPA": synapse(jd.AMPA, lambda t, e: dual(t, e, 0.3, 3.0)),
        "NMDA": synapse(
            jd.NMDA, lambda t, e: dual(t, e, 2.0, 70.0),
            block=lambda v: 1 / (1 + np.exp(-0.08 * v) / 3.57),
        ),
        "GABAA": synapse(jd.GABAA, lambda t, e: dual(t, e, 0.2, 8.0), e_rev=-80.0),
        "GABAB": synapse(jd.GABAB, lambda t, e: dual(t, e, 3.5, 260.9), e_rev=-97.0),
        "Binned": Case(
            binned,
            lambda v, x, t, a, s: 2e-4 * a * exponential(1.5)(t, BINS + s) * v,
            lambda s: BINS + s,
        ),
        "a user's synapse": synapse(Saturating, exponential(1.5), tau=1.5)._replace(
            outward=lambda v, x, t, a, s: (
                lambda g: g / (1 + g / 1e-4) * v
            )(2e-4 * a * exponential(1.5)(t, EVENTS + s))
        ),
    },
    "states": {
        "NMDAKinetic": Case(
            lambda i, a, s: jd.NMDAKinetic([i], 5e-3 * a[..., None], EVENTS[None] + s),
            lambda v, x, t, a, s: 5e-3 * a * x[KINETIC.index("O")] * (v - 5.0),
            lambda s: [*(EVENTS + s), *(EVENTS + s + 0.5)],
            kinetic_start(),
            kinetic_slope,
        ),
        "a user's input with a state": Case(
            lambda i, a, s: Relay(jnp.array([i]), 1.1 + s, a),
            lambda v, x, t, a, s: 1e-3 * a * x[1] * (v + 20.0),
            lambda s: [1.1 + s, 2.1 + s],
            np.array([np.tanh(-1.0), np.tanh(-1.0) ** 2]),
            relay_slope,
        ),
        "a user's input with events": Case(
            lambda i, a, s: Kicked(jnp.array([i]), jnp.asarray(EVENTS) + s, a),
            lambda v, x, t, a, s: 2e-4 * a * x[0] * (v + 10.0),
            lambda s: EVENTS + s,
            np.array([0.3]),
            lambda v, x, t, a, s: [(0.3 - x[0]) * np.exp((v + 65.0) / 20.0)],
            lambda s: [(t, np.ones(1)) for t in EVENTS + s],
        ),
        "a user's filter": Case(
            lambda i, a, s: Filter(jnp.array([i]), 1.1 + s, a),
            lambda v, x, t, a, s: -0.02 * a * x[0],
            lambda s: [1.1 + s],
            np.array([0.2]),
            lambda v, x, t, a, s: [float(t >= 1.1 + s) - x[0]],
        ),
    },
    "clamps": {
        "VoltageClamp": clamp(0.5, False),
        "stiff VoltageClamp": clamp(1e-3, False),
        "a user's clamp": electrode(0.5),
        "a user's stiff clamp": electrode(1e-3),
    },
}  # fmt: skip
