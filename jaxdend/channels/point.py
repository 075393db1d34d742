"""Point neurons with a threshold and a reset: LIF, Izhikevich, AdEx.

Each is the whole membrane of its compartment, and sits in a cell like any channel: dendrites, other
channels and synapses can be attached. Equations written for a point are taken per area here; a
compartment of area `A` µm² at `cm` µF/cm² has a capacitance of `1e-5 cm A` nF.

Threshold and reset are looked at at the start of a step: the sample past the threshold stays in the
trace, so `jd.spike_times(traces, threshold)` with a threshold below the model's own, and
`save_every=1`, finds every spike. A spike waits for the next step: intervals are whole numbers of
steps, on average half a step too long each. Only `BackwardEuler` and `CrankNicolson` look.

A reset has no gradient with respect to when it happens. With `surrogate=True` values stay the same,
but at the step that crosses a spike has the gradient `-1 / (width (1 + (v - threshold) / width)²)`
with respect to its threshold (Zenke & Ganguli 2018, Neural Comput 30:1514). The voltage that led to
it is taken as it is, as there, where the reset is left out of the gradient: through the voltage
every spike would multiply the gradient, by the steepness of its upstroke, to 1e280 in a second.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from jaxdend.mechanisms.base import AbstractChannel, Env, Gates, States, crossed, param


class LIF(AbstractChannel):
    """Leaky integrate-and-fire, `i = g (v - e)`: past `vth`, `v = vreset` for `refractory` ms.

    Its membrane time constant is `1e-3 cm / g` ms. Under a constant current that would take it to
    `v_inf` it fires every `refractory + tau ln((v_inf - vreset) / (v_inf - vth))`. The refractory
    period is rounded to whole steps and lasts at least one, unless it is 0; a conductance `hold`
    keeps the voltage there against any input, as a voltage clamp does.
    Lapicque (1907) J Physiol Pathol Gen 9:620; Burkitt (2006) Biol Cybern 95:1.
    """

    g: Array = param(1e-4, unit="S/cm2", doc="leak conductance")
    e: Array = param(-70.0, unit="mV", doc="reversal potential of the leak")
    vth: Array = param(-50.0, unit="mV", doc="threshold")
    vreset: Array = param(-65.0, unit="mV", doc="voltage after a spike")
    refractory: Array = param(2.0, unit="ms", doc="how long the voltage is held after a spike")
    hold: Array = param(1e3, unit="S/cm2", doc="conductance that holds it")
    width: Array = param(2.0, unit="mV", doc="width of the surrogate gradient")
    surrogate: bool = eqx.field(default=False, static=True)
    """Whether the threshold has the surrogate gradient."""

    def initial(self, v: Array, env: Env) -> States:
        """The state in which the neuron is ready to fire."""
        del env
        return {"left": jnp.zeros_like(v)}

    def _fired(self, v: Array, x: States) -> Array:
        fired = _spike(v, self.vth, self.width, self.surrogate)
        return jnp.where(x["left"] > 0.0, 0.0, fired)

    def trigger(self, v: Array, x: States, env: Env, t: Array) -> States:
        """A spike starts the refractory period."""
        del env, t
        return {"left": jnp.where(self._fired(v, x) > 0.5, self.refractory, x["left"])}

    def reset(self, v: Array, x: States, env: Env, t: Array) -> Array:
        """The voltage after the jump: `vreset` at a spike and while the neuron is refractory."""
        del env, t
        after = v + self._fired(v, x) * (self.vreset - v)
        return jnp.where(x["left"] > 0.0, self.vreset, after)

    def derivative(self, v: Array, x: States, env: Env) -> States:
        del v, env
        return {"left": -(x["left"] > 0.0).astype(x["left"].dtype)}

    def advance(self, v: Array, x: States, env: Env, h: Array) -> States:
        """Takes `h` ms off the waiting time; less than half a step counts as nothing."""
        del v, env
        left = x["left"] - h
        return {"left": jnp.where(left > h / 2, left, 0.0)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        held = jnp.where(x["left"] > 0.0, self.hold, 0.0)
        return self.g * (v - self.e) + held * (v - self.vreset)


class Izhikevich(AbstractChannel):
    """`v' = 0.04 v² + 5 v + 140 - u + I`, `u' = a (b v - u)`; past `peak`, `v = c` and `u += d`.

    With `cap` equal to the cell's `cm`, time is in ms and the published, dimensionless `I` is the
    input in nA per nF: 1 nA for an area of 1e5 µm² at `cm` 1. Published cells: `Izhikevich.preset`
    with one of `presets`, regular spiking, intrinsically bursting, chattering, fast spiking,
    low-threshold spiking, thalamo-cortical, resonator; the defaults are regular spiking.

    Above `peak`, where v is only in the one sample that shows the spike, `i` stays what it is at
    `peak`, so that no step can blow up, and `u` relaxes as at the mean of `peak` and `c`.
    Izhikevich (2003) IEEE Trans Neural Netw 14:1569.
    """

    a: Array = param(0.02, unit="1/ms", doc="rate of recovery")
    b: Array = param(0.2, unit="1/ms", doc="sensitivity of the recovery to the voltage")
    c: Array = param(-65.0, unit="mV", doc="voltage after a spike")
    d: Array = param(8.0, unit="mV/ms", doc="what a spike adds to the recovery")
    peak: Array = param(30.0, unit="mV", doc="top of a spike, where the reset is")
    cap: Array = param(1.0, unit="uF/cm2", doc="capacitance of the equations: the cell's cm")
    width: Array = param(2.0, unit="mV", doc="width of the surrogate gradient")
    surrogate: bool = eqx.field(default=False, static=True)
    """Whether the reset has the surrogate gradient."""

    presets: ClassVar[dict[str, dict[str, float]]] = {
        "RS": {"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0},
        "IB": {"a": 0.02, "b": 0.2, "c": -55.0, "d": 4.0},
        "CH": {"a": 0.02, "b": 0.2, "c": -50.0, "d": 2.0},
        "FS": {"a": 0.1, "b": 0.2, "c": -65.0, "d": 2.0},
        "LTS": {"a": 0.02, "b": 0.25, "c": -65.0, "d": 2.0},
        "TC": {"a": 0.02, "b": 0.25, "c": -65.0, "d": 0.05},
        "RZ": {"a": 0.1, "b": 0.26, "c": -65.0, "d": 2.0},
    }

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "Izhikevich":
        """A published neuron, one of `presets`, with `changes` on top.

        **Raises:** `ValueError` for another name.
        """
        return cls(**{**_known(cls.__name__, cls.presets, name), **changes})

    def gates(self, v: Array, env: Env) -> Gates:
        """The recovery `u`, mV/ms; not a fraction."""
        del env
        v = _around_reset(v, self.peak, self.c)
        return {"u": (self.b * v, 1.0 / self.a + 0.0 * v)}

    def trigger(self, v: Array, x: States, env: Env, t: Array) -> States:
        """A spike adds `d` to the recovery."""
        del env, t
        return {"u": x["u"] + self.d * _spike(v, self.peak, self.width, self.surrogate)}

    def reset(self, v: Array, x: States, env: Env, t: Array) -> Array:
        """The voltage after the jump: `c` where the peak is passed."""
        del x, env, t
        return v + _spike(v, self.peak, self.width, self.surrogate) * (self.c - v)

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        v = jnp.minimum(v, self.peak)
        return -1e-3 * self.cap * (0.04 * v**2 + 5.0 * v + 140.0 - x["u"])


class AdEx(AbstractChannel):
    """Adaptive exponential integrate-and-fire, `i = g (v - e) - g delta exp((v - vt) / delta) + w`.

    `tauw w' = a (v - e) - w`; past `peak`, `v = vreset` and `w += b`. Published cells:
    `AdEx.preset` with one of `presets`, where they stand in the published units: `c` pF, `g` and
    `a` nS, `b` pA, and the current `i` pA that shows the pattern. `preset` divides by `c`, for
    `cm` 1: give the compartment an area of `100 c` µm² and the published currents hold as they are,
    for example 2e4 µm² for 200 pF. The defaults are the neuron of Brette & Gerstner.

    The exponential current stops growing at `imax`: at the default, 2 V/ms at `cm` 1, a step of 0.1
    ms ends below 500 mV and a spike comes 0.03 ms late. Above `peak`, where v is only in the one
    sample that shows the spike, w relaxes as at the mean of `peak` and `vreset`.
    Brette & Gerstner (2005) J Neurophysiol 94:3637; Naud, Marcille, Clopath & Gerstner (2008) Biol
    Cybern 99:335, Table 1.
    """

    g: Array = param(30e-3 / 281, unit="S/cm2", doc="leak conductance")
    e: Array = param(-70.6, unit="mV", doc="reversal potential of the leak")
    vt: Array = param(-50.4, unit="mV", doc="where the exponential takes off")
    delta: Array = param(2.0, unit="mV", doc="sharpness of the take-off, > 0")
    a: Array = param(4e-3 / 281, unit="mA/(cm2 mV)", doc="adaptation below threshold")
    tauw: Array = param(144.0, unit="ms", doc="time constant of the adaptation")
    b: Array = param(80.5e-3 / 281, unit="mA/cm2", doc="what a spike adds to the adaptation")
    vreset: Array = param(-70.6, unit="mV", doc="voltage after a spike")
    peak: Array = param(20.0, unit="mV", doc="top of a spike, where the reset is")
    imax: Array = param(2.0, unit="mA/cm2", doc="largest exponential current")
    width: Array = param(2.0, unit="mV", doc="width of the surrogate gradient")
    surrogate: bool = eqx.field(default=False, static=True)
    """Whether the reset has the surrogate gradient."""

    presets: ClassVar[dict[str, dict[str, float]]] = {
        "brette_gerstner": {
            "c": 281, "g": 30, "e": -70.6, "vt": -50.4, "a": 4, "tauw": 144, "b": 80.5,
            "vreset": -70.6, "peak": 20, "i": 1000,
        },
        "tonic": {
            "c": 200, "g": 10, "e": -70, "vt": -50, "a": 2, "tauw": 30, "b": 0,
            "vreset": -58, "peak": 0, "i": 500,
        },
        "adapting": {
            "c": 200, "g": 12, "e": -70, "vt": -50, "a": 2, "tauw": 300, "b": 60,
            "vreset": -58, "peak": 0, "i": 500,
        },
        "initial_burst": {
            "c": 130, "g": 18, "e": -58, "vt": -50, "a": 4, "tauw": 150, "b": 120,
            "vreset": -50, "peak": 0, "i": 400,
        },
        "regular_bursting": {
            "c": 200, "g": 10, "e": -58, "vt": -50, "a": 2, "tauw": 120, "b": 100,
            "vreset": -46, "peak": 0, "i": 210,
        },
        "delayed_accelerating": {
            "c": 200, "g": 12, "e": -70, "vt": -50, "a": -10, "tauw": 300, "b": 0,
            "vreset": -58, "peak": 0, "i": 300,
        },
        "irregular": {
            "c": 100, "g": 12, "e": -60, "vt": -50, "a": -11, "tauw": 130, "b": 30,
            "vreset": -48, "peak": 0, "i": 160,
        },
    }  # fmt: skip

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "AdEx":
        """A published neuron, one of `presets`, with `changes` on top, in this class's units.

        **Raises:** `ValueError` for another name.
        """
        found = dict(_known(cls.__name__, cls.presets, name))
        capacitance = found.pop("c")
        del found["i"]
        for density in ("g", "a", "b"):
            found[density] *= 1e-3 / capacitance
        return cls(**{**found, **changes})

    def gates(self, v: Array, env: Env) -> Gates:
        """The adaptation `w`, mA/cm²; not a fraction."""
        del env
        v = _around_reset(v, self.peak, self.vreset)
        return {"w": (self.a * (v - self.e), self.tauw + 0.0 * v)}

    def trigger(self, v: Array, x: States, env: Env, t: Array) -> States:
        """A spike adds `b` to the adaptation."""
        del env, t
        return {"w": x["w"] + self.b * _spike(v, self.peak, self.width, self.surrogate)}

    def reset(self, v: Array, x: States, env: Env, t: Array) -> Array:
        """The voltage after the jump: `vreset` where the peak is passed."""
        del x, env, t
        return v + _spike(v, self.peak, self.width, self.surrogate) * (self.vreset - v)

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        scale = self.g * self.delta
        growth = jnp.minimum((v - self.vt) / self.delta, jnp.log(self.imax / scale))
        return self.g * (v - self.e) - scale * jnp.exp(growth) + x["w"]


def _spike(v: Array, threshold: Array, width: Array, surrogate: bool) -> Array:
    """1 where `v` is past the threshold, else 0; the surrogate gradient is the threshold's."""
    return crossed(jax.lax.stop_gradient(v) - threshold, width, surrogate)


def _around_reset(v: Array, peak: Array, after: Array) -> Array:
    """`v`, or past the peak, where half of the step lies behind the reset, the mean of both."""
    return jnp.where(v > peak, 0.5 * (peak + after), v)


def _known(owner: str, presets: dict[str, dict[str, float]], name: str) -> dict[str, float]:
    if name not in presets:
        raise ValueError(f"{owner}.preset: expected one of {', '.join(presets)}; got {name!r}.")
    return presets[name]
