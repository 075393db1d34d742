"""Small data sets for networks: an integrate-and-fire neuron, in numpy, in a moment."""

import numpy as np

from jaxdend.emulator.data import Dataset


def integrate_and_fire(n, bins, exc=80, inh=20, seed=0, tau=20.0, gain=2.0):
    """Leaky integrate-and-fire: rest -75, threshold -55, reset -75 mV; every input is +-2 mV.

    Rates are constant over 200 ms, excitation up to 6 spikes/s an input, inhibition
    up to 20.
    """
    rng = np.random.default_rng(seed)
    windows = -(-bins // 200)
    e = np.repeat(rng.uniform(0, 0.006, (n, windows)), 200, axis=1)[:, :bins, None]
    i = np.repeat(rng.uniform(0, 0.02, (n, windows)), 200, axis=1)[:, :bins, None]
    x = np.concatenate([rng.random((n, bins, exc)) < e, rng.random((n, bins, inh)) < i], axis=2)
    weight = gain * np.where(np.arange(exc + inh) < exc, 1.0, -1.0)
    drive = x @ weight
    v, trace, spikes = np.full(n, -75.0), np.empty((n, bins)), np.zeros((n, bins), bool)
    for t in range(bins):
        v = -75.0 + (v + 75.0) * np.exp(-1 / tau) + drive[:, t]
        spikes[:, t] = v > -55.0
        trace[:, t] = np.where(spikes[:, t], 30.0, v)
        v = np.where(spikes[:, t], -75.0, v)
    dendrites = trace[..., None] * np.array([0.5, 0.3, 0.1]) - 30.0
    return Dataset(x, trace.astype(np.float32), spikes, dendrites.astype(np.float32), {})
