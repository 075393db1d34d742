"""Three ordinary channels that together make a dCaAP: calcium, fast A-type and slow potassium.

Nothing here was measured in a human dendrite. The numbers were found by search, so that one
compartment answers a step of current just above its threshold with a large calcium spike and a step
of twice that strength with a small one, the first event included. All gates are first-order with a
Boltzmann steady state `1 / (1 + exp(-(v - half) / slope))` and a time constant that does not depend
on voltage, given at 35 °C; rates grow `q10`-fold every 10 °C, conductances do not.
"""

# pyright: reportArgumentType=false
# a parameter takes any number and converts it to an array; its type says what it becomes

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike

from jaxdend.mechanisms.base import AbstractChannel, AbstractMechanism, Env, Gates, States, param
from jaxdend.rates import boltzmann, q10

CELSIUS = 35.0  # °C, where the time constants hold


def _gate(v: Array, half: Array, slope: Array, tau: Array, speed: Array) -> tuple[Array, Array]:
    """Steady state and time constant of a gate, `speed`-fold, at every `v`."""
    return boltzmann(v, half, slope), jnp.broadcast_to(tau / speed, v.shape)


class CaHVAInactivating(AbstractChannel):
    """High-voltage-activated calcium that inactivates with voltage, `i = gbar m² h (v - eca)`.

    Kinetics of a kind that R- and N-type channels have, and of no channel in particular. The
    reversal potential is a parameter, not Nernst's; the current counts as calcium for pools.

    It carries the upstroke of the calcium spike. Sensible ranges: `gbar` 1e-4 to 2e-2 S/cm²,
    `half_m` -40 to 0 mV, `tau_m` 0.5 to 10 ms, `half_h` -60 to -30 mV, `tau_h` 5 to 100 ms.
    """

    gbar: Array = param(5.417e-3, unit="S/cm2", doc="conductance")
    eca: Array = param(100.0, unit="mV", doc="reversal potential")
    half_m: Array = param(-29.75, unit="mV", doc="half activation")
    slope_m: Array = param(4.696, unit="mV", doc="slope of activation")
    tau_m: Array = param(4.65, unit="ms", doc="time constant of activation at 35 °C")
    half_h: Array = param(-41.25, unit="mV", doc="half inactivation")
    slope_h: Array = param(-5.521, unit="mV", doc="slope of inactivation, negative")
    tau_h: Array = param(10.0, unit="ms", doc="time constant of inactivation at 35 °C")
    q10: Array = param(3.0, unit="1", doc="factor of the rates every 10 °C")

    ion = "ca"

    def gates(self, v: Array, env: Env) -> Gates:
        speed = q10(env.celsius, CELSIUS, self.q10)
        return {
            "m": _gate(v, self.half_m, self.slope_m, self.tau_m, speed),
            "h": _gate(v, self.half_h, self.slope_h, self.tau_h, speed),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] ** 2 * x["h"] * (v - self.eca)


class KAFast(AbstractChannel):
    """A-type potassium, fast to activate and to inactivate, `i = gbar a b (v - ek)`.

    As A-type channels do, it activates within a millisecond, sooner than calcium does, and is
    inactivated by tens of milliseconds at a voltage that is still below threshold. In a dCaAP it
    stops the calcium spike when the input is strong and the voltage rises faster than `b` falls.

    Sensible ranges: `gbar` 1e-3 to 5e-2 S/cm², `half_a` -40 to 0 mV, `tau_a` 0.2 to 2 ms,
    `half_b` -80 to -50 mV, `tau_b` 5 to 100 ms.
    """

    gbar: Array = param(1.349e-2, unit="S/cm2", doc="conductance")
    ek: Array = param(-85.0, unit="mV", doc="reversal potential")
    half_a: Array = param(-23.82, unit="mV", doc="half activation")
    slope_a: Array = param(4.0, unit="mV", doc="slope of activation")
    tau_a: Array = param(0.5467, unit="ms", doc="time constant of activation at 35 °C")
    half_b: Array = param(-68.56, unit="mV", doc="half inactivation")
    slope_b: Array = param(-6.235, unit="mV", doc="slope of inactivation, negative")
    tau_b: Array = param(30.32, unit="ms", doc="time constant of inactivation at 35 °C")
    q10: Array = param(3.0, unit="1", doc="factor of the rates every 10 °C")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        speed = q10(env.celsius, CELSIUS, self.q10)
        return {
            "a": _gate(v, self.half_a, self.slope_a, self.tau_a, speed),
            "b": _gate(v, self.half_b, self.slope_b, self.tau_b, speed),
        }

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["a"] * x["b"] * (v - self.ek)


class KSlow(AbstractChannel):
    """Slow potassium that does not inactivate, `i = gbar n (v - ek)`.

    A delayed rectifier of high threshold and tens of milliseconds. In a dCaAP it ends the spike and
    holds the voltage down during what follows.

    Sensible ranges: `gbar` 1e-4 to 1e-2 S/cm², `half_n` -40 to 0 mV, `tau_n` 5 to 100 ms.
    """

    gbar: Array = param(1.244e-3, unit="S/cm2", doc="conductance")
    ek: Array = param(-85.0, unit="mV", doc="reversal potential")
    half_n: Array = param(-17.34, unit="mV", doc="half activation")
    slope_n: Array = param(6.175, unit="mV", doc="slope of activation")
    tau_n: Array = param(31.73, unit="ms", doc="time constant of activation at 35 °C")
    q10: Array = param(3.0, unit="1", doc="factor of the rates every 10 °C")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        speed = q10(env.celsius, CELSIUS, self.q10)
        return {"n": _gate(v, self.half_n, self.slope_n, self.tau_n, speed)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["n"] * (v - self.ek)


# what differs from the defaults, by the name of the class
_SETS: dict[str, dict[str, dict[str, float]]] = {
    "compartment": {"CaHVAInactivating": {}, "KAFast": {}, "KSlow": {}},
    "dendrite": {
        "CaHVAInactivating": {"gbar": 0.8415 * 5.417e-3},
        "KAFast": {"gbar": 0.8415 * 0.6667 * 1.349e-2},
        "KSlow": {"gbar": 0.8415 * 1.244e-3},
    },
    "returning": {
        "CaHVAInactivating": {
            "gbar": 0.000926,
            "half_m": -21.1,
            "slope_m": 8.07,
            "tau_m": 6.5,
            "half_h": -46.0,
            "slope_h": -9.6,
            "tau_h": 18.7,
        },
        "KAFast": {
            "gbar": 0.00862,
            "half_a": -1.34,
            "slope_a": 8.33,
            "tau_a": 0.471,
            "half_b": -67.6,
            "slope_b": -4.37,
            "tau_b": 26.9,
        },
        "KSlow": {
            "gbar": 0.000184,
            "half_n": -0.871,
            "slope_n": 12.0,
            "tau_n": 89.5,
        },
    },
}
DCAAP_SETS = tuple(_SETS)


def dcaap_channels(
    kind: str = "compartment", scale: ArrayLike = 1.0
) -> tuple[AbstractMechanism, ...]:
    """The three channels of a dCaAP, `CaHVAInactivating`, `KAFast` and `KSlow`, to insert together.

    ```python
    for channel in dcaap_channels("dendrite"):
        cell = cell.insert(channel, "tuft")
    ```

    **Arguments:** `kind`, one of `DCAAP_SETS`: `"compartment"` for a neuron of one compartment, or
    `"dendrite"`, with less A-type potassium, for the outer 300 µm of a dendrite of 500 µm and 2 µm
    that ends in a soma; after strong input a lone compartment of these two stays near -25 mV for
    good, and a dendrite is pulled back by the rest of the neuron. `"returning"`, for one
    compartment, comes back to rest by itself. All are for membranes of 0.45 µF/cm², a leak of
    1/37000 S/cm² and a rest of -75 mV at 35 °C. `scale`, a number or one for each
    compartment, multiplies all three densities.
    **Raises:** `ValueError` for another kind.
    """
    if kind not in _SETS:
        raise ValueError(
            f"dcaap_channels: kind must be one of {', '.join(DCAAP_SETS)}; got {kind!r}."
        )
    found = []
    for cls in (CaHVAInactivating, KAFast, KSlow):
        default: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(cls)}
        values = default | _SETS[kind][cls.__name__]  # all by name: they replace another set
        found.append(cls(**{**values, "gbar": scale * values["gbar"]}))
    return tuple(found)
