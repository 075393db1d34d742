"""NEURON's fixed step in plain NumPy: REFERENCE.md written out once more, with nothing of jaxdend.

`run` integrates a tree of nodes (area 0: algebraic) with the mechanisms below by a dense solve.
Total current and its slope at the old voltage, by a central difference of 1e-3 mV (NMODL takes a
forward one, which is off by 1e-3 mV in the slope of a magnesium gate); backward Euler for the
voltage; concentrations, then gates, at the new one. Time is the sum of halves of the step.
"""

import numpy as np
from numpy import exp

from channels.formulas import GATES

F, R = 96485.33212331, 8.31446261815324
NERNST = R * (273.15 + 6.3) / (2 * F) * 1e3  # mV at 6.3 °C


class Gated:
    """`g` times powers of gates times `(v - e)`; `e` None takes that of calcium."""

    def __init__(self, at, name, g, e, pool=None, **powers):
        self.at, self.name, self.g, self.e = np.asarray(at), name, g, e
        self.pool, self.powers = pool, powers

    def gates(self, v):
        c = self.pool.inside[self.at] if self.pool else 5e-5
        return GATES[self.name](v[self.at], c, 6.3)

    def start(self, v):
        self.x = {k: inf + 0 * v[self.at] for k, (inf, _) in self.gates(v).items()}

    def current(self, v, out):
        e = self.pool.e[self.at] if self.e is None else self.e
        i = self.g * (v[self.at] - e) * np.prod([self.x[k] ** p for k, p in self.powers.items()], 0)
        out[self.at] += i
        if self.e is None:
            self.pool.current[self.at] += i

    def advance(self, v, h):
        for k, (inf, tau) in self.gates(v).items():
            self.x[k] = self.x[k] + (1 - exp(-h / tau)) * (inf - self.x[k])


class Shell:
    """Calcium of the compartments `at`, stepped exactly at the current of this step."""

    def __init__(self, at, n, decay, gamma):
        self.at, self.decay, self.gamma = np.asarray(at), decay, gamma
        self.current, self.inside = np.zeros(n), np.full(n, 5e-5)

    @property
    def e(self):
        return NERNST * np.log(2.0 / self.inside)

    def advance(self, h):
        goal = 1e-4 - self.decay * 1e4 * self.gamma * self.current[self.at] / (2 * F * 0.1)
        self.inside[self.at] = goal + (self.inside[self.at] - goal) * exp(-h / self.decay)


class DCaAP:
    """The event-triggered current, with the logistic as it effectively runs."""

    def __init__(self, at, w):
        self.at, self.w = at, w

    def start(self, v):
        self.A = self.B = self.K = 0.0
        self.last = -200.0

    def before(self, v, t):
        if t >= self.last + 200 and v[self.at] > -36:
            self.last, self.A, self.B = t, 1e-3, 0.0
            self.K = min(1.0, exp(-(v[self.at] + 36) / 11.7))
        if self.B == 0 and t >= self.last + 21:
            self.B = 1e-3

    def current(self, v, out):
        out[self.at] -= self.w * self.K * (self.A - self.B)

    def advance(self, v, h):
        self.A *= exp(h * (1 - 2 * self.A) / 3)
        self.B *= exp(h * (1 - 2 * self.B) / 0.4)


class Events:
    """Double exponential synapses `(site, weight µS, times)`, with a gate of magnesium or not."""

    def __init__(self, synapses, rise, decay, e, gamma=None):
        self.at = np.array([site for site, _, _ in synapses])
        self.rise, self.decay, self.e, self.gamma = rise, decay, e, gamma
        peak = rise * decay / (decay - rise) * np.log(decay / rise)
        unit = 1 / (exp(-peak / decay) - exp(-peak / rise))
        self.left = sorted((t, i, w * unit) for i, (_, w, ts) in enumerate(synapses) for t in ts)
        self.a, self.b = np.zeros(len(synapses)), np.zeros(len(synapses))

    def start(self, v):
        pass

    def current(self, v, out, t):
        while self.left and self.left[0][0] <= t:
            _, i, w = self.left.pop(0)
            self.a[i] += w
            self.b[i] += w
        g = self.b - self.a
        if self.gamma:
            g = g / (1 + exp(-self.gamma * v[self.at]) / 3.57)
        np.add.at(out, self.at, g * (v[self.at] - self.e))

    def advance(self, v, h, t):
        self.a, self.b = self.a * exp(-h / self.rise), self.b * exp(-h / self.decay)


class Alpha:
    """Branco's AMPA, one event each."""

    def __init__(self, at, weight, onset):
        self.at, self.weight, self.onset = np.asarray(at), weight, np.asarray(onset)

    def start(self, v):
        pass

    def current(self, v, out, t):
        s = (t - self.onset) / 2
        g = np.where((s >= 0) & (s <= 10), self.weight * s * exp(1 - s), 0.0)
        np.add.at(out, self.at, g * v[self.at])

    def advance(self, v, h, t):
        pass


class Receptor:
    """Branco's ten-state NMDA receptor."""

    STATES = ("U", "Cl", "O", "D1", "D2")
    FREE = {"UCl": (10.0, 0.02016), "ClO": (0.0465, 0.0916), "ClD1": (0.02266, 0.00736)}
    HELD = {"UCl": (10.0, 0.06156), "ClO": (0.0465, 0.0916), "ClD1": (0.02163, 0.004002)}
    LAST = ((0.004429, 0.0023), (0.002678, 0.001932))

    def __init__(self, at, weight, onset):
        self.at, self.weight, self.onset = np.asarray(at), weight, np.asarray(onset)

    def flow(self, v, c):
        q = np.zeros((10, 10))

        def pair(a, b, there, back):
            q[b, a] += there
            q[a, a] -= there
            q[a, b] += back
            q[b, b] -= back

        for shift, steps, last in ((0, self.FREE, self.LAST[0]), (5, self.HELD, self.LAST[1])):
            pair(shift, shift + 1, steps["UCl"][0] * c, steps["UCl"][1])
            pair(shift + 1, shift + 2, *steps["ClO"])
            pair(shift + 1, shift + 3, *steps["ClD1"])
            pair(shift + 3, shift + 4, *last)
        block, unblock = exp(-1.6 * (v - 40) / 25), exp(0.4 * (v - 40) / 25)
        for i, state in enumerate(self.STATES):
            there, back = (0.05, 12.8) if state == "O" else (5e-5, 0.06)
            pair(i, i + 5, there * block, back * unblock)
        return q

    def solve(self, matrix, right):
        matrix[-1], right[-1] = 1.0, 1.0
        return np.linalg.solve(matrix, right)

    def start(self, v):
        self.x = [self.solve(self.flow(v[i], 0.0), np.zeros(10)) for i in self.at]

    def current(self, v, out, t):
        opened = np.array([x[2] for x in self.x])
        np.add.at(out, self.at, self.weight * opened * (v[self.at] - 5))

    def advance(self, v, h, t):
        drive = np.where((self.onset < t) & (t < self.onset + 0.5), 2.0, 0.0)
        self.x = [
            self.solve(np.eye(10) - h * self.flow(v[i], c), x.copy())
            for i, c, x in zip(self.at, drive, self.x, strict=True)
        ]


def run(tree, membrane, points, injected, v0, t1, dt):
    """`(steps + 1, n)` mV; `tree` holds parent, resistance MΩ, area µm² and cm, `(n,)` each.

    `membrane` and `points` are mechanisms per area and in nA; `injected(t)` is `(n,)` nA.
    """
    parent, resistance, area, cm = tree
    n = len(parent)
    axial = np.zeros((n, n))
    for i in range(1, n):
        p, g = parent[i], 1 / resistance[i]
        axial[np.ix_([i, p], [i, p])] += [[g, -g], [-g, g]]
    pools = {id(m.pool): m.pool for m in membrane if getattr(m, "pool", None)}.values()
    v, t, seen = np.full(n, float(v0)), 0.0, [np.full(n, float(v0))]
    for item in (*membrane, *points):
        item.start(v)
    for _ in range(round(t1 / dt)):
        t += dt / 2
        for item in membrane:
            if isinstance(item, DCaAP):
                item.before(v, t)

        def outward(v, t=t):
            density, out = np.zeros(n), np.zeros(n)
            for pool in pools:
                pool.current[:] = 0
            for item in membrane:
                item.current(v, density)
            for item in points:
                item.current(v, out, t)
            return density * area * 1e-2 + out

        slope = (outward(v + 1e-3) - outward(v - 1e-3)) / 2e-3
        now = outward(v)
        matrix = np.diag(cm * area * 1e-5 / dt + slope) + axial
        v = v + np.linalg.solve(matrix, injected(t) - now - axial @ v)
        for pool in pools:
            pool.advance(dt)
        for item in membrane:
            item.advance(v, dt)
        for item in points:
            item.advance(v, dt, t)
        t += dt / 2
        seen.append(v)
    return np.array(seen)
