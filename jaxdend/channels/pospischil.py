"""Minimal channels for the classes of cortical neurons, and the published single-compartment cells.

Pospischil et al. (2008) Biol Cybern 99:427, ModelDB 123623. All at 36 °C there. The L-type calcium
current of that paper is `CaHVA`.
"""

from typing import Any

from jax import Array

from jaxdend.channels.calcium import CalciumShell
from jaxdend.channels.calcium_channels import CaHVA
from jaxdend.channels.leak import Leak
from jaxdend.mechanisms.base import AbstractChannel, AbstractMechanism, Env, Gates, States, param
from jaxdend.rates import boltzmann, bounded_exp, exp_over, from_rates, linoid, q10, sigmoid


class PospischilNa(AbstractChannel):
    """Sodium, `i = gbar m³ h (v - ena)`, published as part of `hh2`.

    With `u = v - vtraub`, `tau = 1 / (a + b) / 3^((T - 36) / 10)`,
    `E(x, y) = x / (1 - exp(-x / y))`: `m: a = 0.32 E(u - 13, 4), b = 0.28 E(40 - u, 5)`;
    `h: a = 0.128 exp((17 - u) / 18), b = 4 / (1 + exp((40 - u) / 5))`.
    Traub & Miles (1991) Neuronal Networks of the Hippocampus.
    """

    gbar: Array = param(0.05, unit="S/cm2", doc="conductance")
    ena: Array = param(50.0, unit="mV", doc="reversal potential")
    vtraub: Array = param(-55.0, unit="mV", doc="sets the threshold")

    ion = "na"

    def gates(self, v: Array, env: Env) -> Gates:
        u, speed = v - self.vtraub, q10(env.celsius, 36.0, 3.0)
        m = 0.32 * linoid(u - 13.0, 4.0), 0.28 * linoid(40.0 - u, 5.0)
        h = 0.128 * bounded_exp((17.0 - u) / 18.0), 4.0 * boltzmann(u, 40.0, 5.0)
        return {"m": from_rates(*m, speed), "h": from_rates(*h, speed)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] ** 3 * x["h"] * (v - self.ena)


class PospischilK(AbstractChannel):
    """Delayed rectifier, `i = gbar n⁴ (v - ek)`, published as part of `hh2`.

    With `u` and `tau` as for `PospischilNa`:
    `a = 0.032 E(u - 15, 5)`, `b = 0.5 exp((10 - u) / 40)`.
    """

    gbar: Array = param(0.005, unit="S/cm2", doc="conductance")
    ek: Array = param(-100.0, unit="mV", doc="reversal potential")
    vtraub: Array = param(-55.0, unit="mV", doc="sets the threshold")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        u, speed = v - self.vtraub, q10(env.celsius, 36.0, 3.0)
        opening, closing = 0.032 * linoid(u - 15.0, 5.0), 0.5 * bounded_exp((10.0 - u) / 40.0)
        return {"n": from_rates(opening, closing, speed)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["n"] ** 4 * (v - self.ek)


class PospischilM(AbstractChannel):
    """M current, `i = gbar m (v - ek)`, published as `im`.

    `m_inf = 1 / (1 + exp(-(v + 35) / 10))`,
    `tau = taumax / 2.3^((T - 36) / 10) / (3.3 exp((v + 35) / 20) + exp(-(v + 35) / 20))`.
    Yamada, Koch & Adams (1989) in Methods in Neuronal Modeling, MIT Press.
    """

    gbar: Array = param(7e-5, unit="S/cm2", doc="conductance")
    ek: Array = param(-100.0, unit="mV", doc="reversal potential")
    taumax: Array = param(1000.0, unit="ms", doc="scale of the time constant")

    ion = "k"

    def gates(self, v: Array, env: Env) -> Gates:
        e = bounded_exp((v + 35.0) / 20.0)
        tau = self.taumax / q10(env.celsius, 36.0, 2.3) / (3.3 * e + 1.0 / e)
        return {"m": (boltzmann(v, -35.0, 10.0), tau)}

    def current(self, v: Array, x: States, env: Env) -> Array:
        del env
        return self.gbar * x["m"] * (v - self.ek)


class PospischilT(AbstractChannel):
    """Low-threshold calcium, `i = gbar m_inf² h (v - e_ca)`, published as `it`.

    With `u = v + shift`: `m_inf = 1 / (1 + exp(-(u + 57) / 6.2))`, at once;
    `h_inf = 1 / (1 + exp((u + 81) / 4))`, `tau_h = (30.8 + (211.4 + exp((u + 113.2) / 5)) /
    (1 + exp((u + 84) / 3.2))) / 3^((T - 24) / 10)`.
    Huguenard & McCormick (1992) J Neurophysiol 68:1373; Destexhe et al. (1996).
    """

    gbar: Array = param(4e-4, unit="S/cm2", doc="conductance")
    shift: Array = param(2.0, unit="mV", doc="shift of all curves by screening charge")

    ion = "ca"
    reads = ("ca",)

    def gates(self, v: Array, env: Env) -> Gates:
        u = v + self.shift
        fall = (u + 84.0) / 3.2
        hump = 211.4 * sigmoid(-fall) + exp_over((u + 113.2) / 5.0, fall)
        return {"h": (boltzmann(u, -81.0, -4.0), (30.8 + hump) / q10(env.celsius, 24.0, 3.0))}

    def current(self, v: Array, x: States, env: Env) -> Array:
        m = boltzmann(v + self.shift, -57.0, 6.2)
        return self.gbar * m**2 * x["h"] * (v - env.e["ca"])


def _cell(leak: float, *, k: float = 0.005, m: float = 0.0, **calcium: float) -> dict[str, Any]:
    return {"leak": leak, "k": k, "m": m, **calcium}


# S/cm2, of the published demonstrations: regular and fast spiking, bursting, repetitively bursting,
# low-threshold spiking. Soma 96 um long and wide (fast spiking: 67), 1 uF/cm2.
_CELLS = {
    "RS": _cell(1e-4, m=7e-5),
    "FS": _cell(1.5e-4, k=0.01),
    "IB": _cell(1e-5, m=3e-5, l=1.7e-4),
    "IBR": _cell(1e-5, m=3e-5, l=2.2e-4),
    "LTS": _cell(1e-5, m=3e-5, t=4e-4),
}


def pospischil(kind: str) -> tuple[AbstractMechanism, ...]:
    """The mechanisms of a published single-compartment neuron, to insert one after the other.

    **Arguments:** `kind`, `"RS"`, `"FS"`, `"IB"`, `"IBR"` or `"LTS"`; all at 36 °C, on a cylinder
    96 µm long and wide (`"FS"`: 67 µm).
    **Raises:** `ValueError` for another kind.
    """
    if kind not in _CELLS:
        raise ValueError(f"pospischil: kind must be one of {', '.join(_CELLS)}; got {kind!r}.")
    g = _CELLS[kind]
    found: list[AbstractMechanism] = [Leak(g["leak"]), PospischilNa(), PospischilK(g["k"])]
    if g["m"]:
        found.append(PospischilM(g["m"]))
    if "l" in g:
        found.append(CaHVA(g["l"]))
    if "t" in g:
        found.append(PospischilT(g["t"]))
    if "l" in g or "t" in g:
        found.append(CalciumShell.destexhe(depth=1.0, minCai=2.4e-4, cai=2.4e-4))
    return tuple(found)
