"""The published equations of every channel in plain float64 numpy, written out once more.

`GATES[name](v, c, t)` gives gate -> (steady state, time constant) at voltage `v` mV, calcium `c`
mM and temperature `t` °C; `CURRENT[name](v, x, c, t, e)` the outward current at states `x`, calcium
`c` inside and 2 mM outside, calcium reversal `e` mV. Default parameters are written in as numbers.
"""

import numpy as np
from numpy import exp

Q = 2.3**1.3
OUTSIDE = 2.0


def trap(x, y):
    """x / (exp(x / y) - 1), the form in which rates are published."""
    x = np.asarray(x, float)
    near = np.abs(x / y) < 1e-7
    return np.where(near, y * (1 - x / y / 2), x / np.expm1(np.where(near, 1.0, x) / y))


def rates(a, b, q=1.0):
    return a / (a + b), 1 / (a + b) / q


def hh(v, c, t):
    q = 3 ** ((t - 6.3) / 10)
    return {
        "m": rates(0.1 * trap(-(v + 40), 10), 4 * exp(-(v + 65) / 18), q),
        "h": rates(0.07 * exp(-(v + 65) / 20), 1 / (exp(-(v + 35) / 10) + 1), q),
        "n": rates(0.01 * trap(-(v + 55), 10), 0.125 * exp(-(v + 65) / 80), q),
    }


def traub(v, c, t):
    u, q = v + 50, 3**0.3
    return {
        "m": rates(0.32 * trap(13.1 - u, 4), 0.28 * trap(u - 40.1, 5), q),
        "h": rates(0.128 * exp((17 - u) / 18), 4 / (1 + exp((40 - u) / 5)), q),
        "n": rates(0.016 * trap(35.1 - u, 5), 0.25 * exp((20 - u) / 40), q),
    }


def wang_buzsaki(v, c, t):
    return {
        "h": rates(0.07 * exp(-(v + 58) / 20), 1 / (exp(-0.1 * (v + 28)) + 1), 5),
        "n": rates(0.01 * trap(-(v + 34), 10), 0.125 * exp(-(v + 44) / 80), 5),
    }


def transient(m, h):
    def gates(v, c, t):
        a, b = 0.182 * trap(-(v + m), 6), 0.124 * trap(v + m, 6)
        return {
            "m": rates(a, b, Q),
            "h": rates(0.015 * trap(v + h, 6), 0.015 * trap(-(v + h), 6), Q),
        }

    return gates


def nap(v, c, t):
    tau_m = 6 / (0.182 * trap(-(v + 38), 6) + 0.124 * trap(v + 38, 6)) / Q
    tau_h = 1 / (2.88e-6 * trap(v + 17, 4.63) + 6.94e-6 * trap(-(v + 64.4), 2.63)) / Q
    return {
        "m": (1 / (1 + exp((v + 52.6) / -4.6)), tau_m),
        "h": (1 / (1 + exp((v + 48.8) / 10)), tau_h),
    }


def kpst(v, c, t):
    w = v + 10
    tau = np.where(w < -50, 1.25 + 175.03 * exp(0.026 * w), 1.25 + 13 * exp(-0.026 * w)) / Q
    tau_h = (360 + (1010 + 24 * (w + 55)) * exp(-(((w + 75) / 48) ** 2))) / Q
    return {"m": (1 / (1 + exp(-(w + 1) / 12)), tau), "h": (1 / (1 + exp((w + 54) / 11)), tau_h)}


def ktst(v, c, t):
    w = v + 10
    return {
        "m": (1 / (1 + exp(-w / 19)), (0.34 + 0.92 * exp(-(((w + 71) / 59) ** 2))) / Q),
        "h": (1 / (1 + exp((w + 66) / 10)), (8 + 49 * exp(-(((w + 73) / 23) ** 2))) / Q),
    }


def skv3(v, c, t):
    return {"m": (1 / (1 + exp((v - 18.7) / -9.7)), 4 / (1 + exp((v + 46.56) / -44.14)))}


def sk(v, c, t):
    return {"z": (1 / (1 + (4.3e-4 / (c + 0 * v)) ** 4.8), 1 + 0 * v)}


def im(v, c, t):
    return {"m": rates(3.3e-3 * exp(0.1 * (v + 35)), 3.3e-3 * exp(-0.1 * (v + 35)), Q)}


def ih(v, c, t):
    return {"m": rates(6.43e-3 * trap(v + 154.9, 11.9), 0.193 * exp(v / 33.1))}


def ih_human(v, c, t):
    tau = 1 / (exp(-23.428 - 0.21756 * v) + exp(0.082329 * v))
    return {"m": (1 / (1 + exp((v + 90.963) / 8.0775)), tau)}


def hcn(half):
    def gates(v, c, t):
        a, b = exp(0.0378 * 2.2 * (v + 75)), exp(0.0378 * 2.2 * 0.4 * (v + 75))
        tau = b / (4.5 ** ((t - 33) / 10) * 0.011 * (1 + a))
        return {"m": (1 / (1 + exp((v - half) / 8)), tau)}

    return gates


def reuveni(q):
    def gates(v, c, t):
        m = 0.055 * trap(-27 - v, 3.8), 0.94 * exp((-75 - v) / 17)
        h = 4.57e-4 * exp((-13 - v) / 50), 0.0065 / (exp((-v - 15) / 28) + 1)
        return {"m": rates(*m, q(t)), "h": rates(*h, q(t))}

    return gates


def calva(v, c, t):
    return {
        "m": (1 / (1 + exp((v + 40) / -6)), (5 + 20 / (1 + exp((v + 35) / 5))) / Q),
        "h": (1 / (1 + exp((v + 90) / 6.4)), (20 + 50 / (1 + exp((v + 50) / 7))) / Q),
    }


def catghk(v, c, t):
    u = v + 2
    tau_m = 0.612 + 1 / (exp(-(u + 132) / 16.7) + exp((u + 16.8) / 18.2))
    tau_h = np.where(u < -80, exp((u + 467) / 66.6), 28 + exp(-(u + 22) / 10.5))
    return {
        "m": (1 / (1 + exp(-(u + 57) / 6.2)), tau_m / 5 ** ((t - 24) / 10)),
        "h": (1 / (1 + exp((u + 81) / 4)), tau_h / 3 ** ((t - 24) / 10)),
    }


def mainen_speed(t):
    return 2.3 ** ((t - 23) / 10)


def mainen_na(v, c, t):
    u, q = v - 5, mainen_speed(t)
    tau = 1 / (0.024 * trap(-(u + 50), 5) + 0.0091 * trap(u + 75, 5)) / q
    return {
        "m": rates(0.182 * trap(-(u + 35), 9), 0.124 * trap(u + 35, 9), q),
        "h": (1 / (1 + exp((u + 65) / 6.2)), tau),
    }


def mainen_kv(v, c, t):
    return {"n": rates(0.02 * trap(25 - v, 9), 0.002 * trap(v - 25, 9), mainen_speed(t))}


def mainen_km(v, c, t):
    return {"n": rates(0.001 * trap(-30 - v, 9), 0.001 * trap(v + 30, 9), mainen_speed(t))}


def mainen_kca(v, c, t):
    return {"n": rates(0.01 * c + 0 * v, 0.02, mainen_speed(t))}


def mainen_cat(v, c, t):
    return {
        "m": (1 / (1 + exp(-(v + 50) / 7.4)), 3 + 1 / (exp((v + 25) / 20) + exp(-(v + 100) / 15))),
        "h": (1 / (1 + exp((v + 78) / 5)), 85 + 1 / (exp((v + 46) / 4) + exp(-(v + 405) / 50))),
    }


def pospischil_na(v, c, t):
    u, q = v + 55, 3 ** ((t - 36) / 10)
    return {
        "m": rates(0.32 * trap(13 - u, 4), 0.28 * trap(u - 40, 5), q),
        "h": rates(0.128 * exp((17 - u) / 18), 4 / (1 + exp((40 - u) / 5)), q),
    }


def pospischil_k(v, c, t):
    u, q = v + 55, 3 ** ((t - 36) / 10)
    return {"n": rates(0.032 * trap(15 - u, 5), 0.5 * exp((10 - u) / 40), q)}


def pospischil_m(v, c, t):
    tau = 1000 / 2.3 ** ((t - 36) / 10) / (3.3 * exp((v + 35) / 20) + exp(-(v + 35) / 20))
    return {"m": (1 / (1 + exp(-(v + 35) / 10)), tau)}


def pospischil_t(v, c, t):
    u = v + 2
    tau = 30.8 + (211.4 + exp((u + 113.2) / 5)) / (1 + exp((u + 84) / 3.2))
    return {"h": (1 / (1 + exp((u + 81) / 4)), tau / 3 ** ((t - 24) / 10))}


def per_volt(t):
    return 1e-3 * 9.648e4 / (8.315 * (273.16 + t))


def ka(half, zeta0, gamma, rate, fastest):
    def gates(v, c, t):
        zeta = zeta0 - 1 / (1 + exp((v + 40) / 5))
        a = exp(zeta * (v - half) * per_volt(t))
        b = exp(zeta * gamma * (v - half) * per_volt(t))
        tau = np.maximum(b / (5 ** ((t - 24) / 10) * rate * (1 + a)), fastest)
        inf = 1 / (1 + exp(3 * (v + 56) * per_volt(t)))
        return {"n": (1 / (1 + a), tau), "l": (inf, np.maximum(0.26 * (v + 50), 2))}

    return gates


def kdr_ca1(v, c, t):
    a, b = exp(-3 * (v - 13) * per_volt(t)), exp(-3 * 0.7 * (v - 13) * per_volt(t))
    return {"n": (1 / (1 + a), np.maximum(b / (0.02 * (1 + a)), 2))}


def km_ca1(v, c, t):
    a, b = exp(0.0378 * 7 * (v + 42)), exp(0.0378 * 7 * 0.4 * (v + 42))
    return {"m": (1 / (1 + exp((v + 40) / -10)), 60 + b / (0.009 * (1 + a)))}


def na_ca1(ar):
    def gates(v, c, t):
        q = 2 ** ((t - 24) / 10)
        m, tau_m = rates(0.4 * trap(-30 - v, 7.2), 0.124 * trap(v + 30, 7.2), q)
        _, tau_h = rates(0.03 * trap(-45 - v, 1.5), 0.01 * trap(v + 45, 1.5), q)
        s = 1 / (1 + exp((v + 58) / 2))
        a, b = exp(12 * (v + 60) * per_volt(t)), exp(12 * 0.2 * (v + 60) * per_volt(t))
        return {
            "m": (m, np.maximum(tau_m, 0.02)),
            "h": (1 / (1 + exp((v + 50) / 4)), np.maximum(tau_h, 0.5)),
            "s": (s + ar * (1 - s), np.maximum(b / (0.0003 * (1 + a)), 10)),
        }

    return gates


def barrier(v, zeta, half, gamma, rate):
    x = 0.0378 * zeta * (v - half)
    return exp(gamma * x) / (rate * (1 + exp(x)))


def cal_ca1(v, c, t):
    inf, _ = rates(15.69 * trap(81.5 - v, 10), 0.29 * exp(-v / 10.86))
    q = 5 ** ((t - 25) / 10)
    return {"m": (inf, np.maximum(barrier(v, 2, -75, 0.6, 0.15) / q, 0.2 / q))}


def can_ca1(v, c, t):
    m, _ = rates(0.1967 * trap(19.88 - v, 10), 0.046 * exp(-v / 20.73))
    h, _ = rates(1.6e-4 * exp(-v / 48.4), 1 / (exp((-v + 39) / 10) + 1))
    q = 5 ** ((t - 25) / 10)
    return {"m": (m, np.maximum(barrier(v, 2, -75, 0.6, 0.055) / q, 0.2 / q)), "h": (h, 80 + 0 * v)}


def cat_ca1(v, c, t):
    q = 5 ** ((t - 25) / 10)
    return {
        "m": (1 / (1 + exp(-(v + 60) / 10)), np.maximum(barrier(v, 2, -28, 0.61, 0.04) / q, 0.2)),
        "h": (1 / (1 + exp((v + 85) / 10)), np.maximum(barrier(v, 3.5, -75, 0.6, 0.015), 10)),
    }


def fixed(half_m, slope_m, tau_m, half_h, slope_h, tau_h):
    def gates(v, c, t):
        m, h = 1 / (1 + exp(-(v - half_m) / slope_m)), 1 / (1 + exp((v - half_h) / slope_h))
        return {"m": (m, tau_m + 0 * v), "h": (h, tau_h + 0 * v)}

    return gates


def at35(**gates):
    """Gates of half, slope and a time constant at 35 °C, three times as fast every 10 °C."""

    def found(v, c, t):
        speed = 3 ** ((t - 35) / 10)
        return {
            name: (1 / (1 + exp((half - v) / slope)), tau / speed + 0 * v)
            for name, (half, slope, tau) in gates.items()
        }

    return found


def bk(abar, bbar, k1, k2):
    def gates(v, c, t):
        def k(k0, d):
            return k0 * exp(-2 * d * 96.48533212331 * v / 8.313424 / (273.15 + t))

        return {"o": rates(c * abar / (c + k(k1, 0.84)), bbar / (1 + c / k(k2, 1.0)))}

    return gates


def kahp(v, c, t):
    return {"w": rates(1e8 * c**4 + 0 * v, 0.005, 3 ** ((t - 24) / 10))}


def slow_ahp(v, c, t):
    r = (c / 0.025) ** 2 + 0 * v
    return {"m": (r / (1 + r), np.maximum(1 / 0.03 / (1 + r) / 3 ** ((t - 22) / 10), 0.5))}


IZHIKEVICH = {  # a, b, c, d
    "RS": (0.02, 0.2, -65, 8),
    "IB": (0.02, 0.2, -55, 4),
    "CH": (0.02, 0.2, -50, 2),
    "FS": (0.1, 0.2, -65, 2),
    "LTS": (0.02, 0.25, -65, 2),
    "TC": (0.02, 0.25, -65, 0.05),
    "RZ": (0.1, 0.26, -65, 2),
}
ADEX = {  # C pF, gL nS, EL mV, VT mV, a nS, tau_w ms, b pA, Vr mV, peak mV, current pA
    "brette_gerstner": (281, 30, -70.6, -50.4, 4, 144, 80.5, -70.6, 20, 1000),
    "tonic": (200, 10, -70, -50, 2, 30, 0, -58, 0, 500),
    "adapting": (200, 12, -70, -50, 2, 300, 60, -58, 0, 500),
    "initial_burst": (130, 18, -58, -50, 4, 150, 120, -50, 0, 400),
    "regular_bursting": (200, 10, -58, -50, 2, 120, 100, -46, 0, 210),
    "delayed_accelerating": (200, 12, -70, -50, -10, 300, 0, -58, 0, 300),
    "irregular": (100, 12, -60, -50, -11, 130, 30, -48, 0, 160),
}


def izhikevich(a, b, c, d):
    def gates(v, cai, t):
        return {"u": (b * np.where(v > 30, (30 + c) / 2, v), 1 / a + 0 * v)}

    return gates


def izhikevich_current(v, x, c, t, e_ca):
    v = np.minimum(v, 30)
    return -1e-3 * (0.04 * v**2 + 5 * v + 140 - x["u"])


def adex(c, g, e, vt, a, tau, b, vr, peak, i):
    def gates(v, cai, t):
        seen = np.where(v > peak, (peak + vr) / 2, v)
        return {"w": (1e-3 * a / c * (seen - e), tau + 0 * v)}

    return gates


def adex_current(c, g, e, vt, *others):
    def current(v, x, cai, t, e_ca):
        grown = np.minimum(1e-3 * g / c * 2 * exp((v - vt) / 2), 2.0)
        return 1e-3 * g / c * (v - e) - grown + x["w"]

    return current


def ohmic(g, e, **powers):
    def current(v, x, c, t, e_ca):
        gate = np.prod([x[name] ** p for name, p in powers.items()], axis=0)
        return g * gate * (v - (e_ca if e == "ca" else e))

    return current


def fast(g, e, **powers):
    still = ohmic(g, e, **powers)
    return lambda v, x, c, t, e_ca: mainen_speed(t) * still(v, x, c, t, e_ca)


def three(na, k, leak):
    return lambda *args: {"na": na(*args), "k": k(*args), None: leak(*args)}


def drive(g, h2, **powers):
    """Conductance times the driving force of the CA1 calcium channels."""

    def current(v, x, c, t, e_ca):
        f = 25 / 293.15 * (t + 273.15) / 2
        force = -(1 - c / OUTSIDE * exp(v / f)) * trap(v, f)
        gate = np.prod([x[name] ** p for name, p in powers.items()], axis=0)
        return g * gate * (0.001 / (0.001 + c) if h2 else 1.0) * force

    return current


def catghk_current(v, x, c, t, e_ca):
    z = 2e-3 * 96485.33212331 * v / (8.31446261815324 * (t + 273.15))
    flux = 2e-3 * 96485.33212331 * (c * trap(-z, 1) - OUTSIDE * trap(z, 1))
    return 2e-4 * x["m"] ** 2 * x["h"] * flux


def wang_buzsaki_na(v, x, c, t, e_ca):
    m, _ = rates(0.1 * trap(-(v + 35), 10), 4 * exp(-(v + 60) / 18))
    return 0.035 * m**3 * x["h"] * (v - 55)


def pospischil_t_current(v, x, c, t, e_ca):
    return 4e-4 / (1 + exp(-(v + 59) / 6.2)) ** 2 * x["h"] * (v - e_ca)


GATES = {
    "Leak": lambda v, c, t: {},
    "HH": hh,
    "Traub": traub,
    "WangBuzsaki": wang_buzsaki,
    "NaTa": transient(38, 66),
    "NaTs2": transient(32, 60),
    "Nap": nap,
    "KPst": kpst,
    "KTst": ktst,
    "SKv3_1": skv3,
    "SK": sk,
    "Im": im,
    "Ih": ih,
    "CaHVA": reuveni(lambda t: 1.0),
    "CaLVA": calva,
    "Na": mainen_na,
    "Kv": mainen_kv,
    "Km": mainen_km,
    "KCa": mainen_kca,
    "Ca": reuveni(mainen_speed),
    "CaT": mainen_cat,
    "PospischilNa": pospischil_na,
    "PospischilK": pospischil_k,
    "PospischilM": pospischil_m,
    "PospischilT": pospischil_t,
    "CaHVAInactivating": at35(m=(-29.75, 4.696, 4.65), h=(-41.25, -5.521, 10)),
    "KAFast": at35(a=(-23.82, 4, 0.5467), b=(-68.56, -6.235, 30.32)),
    "KSlow": at35(n=(-17.34, 6.175, 31.73)),
    "KdrCA1": kdr_ca1,
    "KmCA1": km_ca1,
    "CaLCA1": cal_ca1,
    "CaNCA1": can_ca1,
    "CaTCA1": cat_ca1,
    "IhHuman": ih_human,
    "CaTGHK": catghk,
    "KAhp": kahp,
    "SlowAhp": slow_ahp,
    "NaCA1.soma": na_ca1(1.0),
    "NaCA1.dendrite": na_ca1(0.5),
    "KA.proximal": ka(11, -1.5, 0.55, 0.05, 0.1),
    "KA.distal": ka(-1, -1.8, 0.39, 0.1, 0.2),
    "HCN.proximal": hcn(-73),
    "HCN.distal": hcn(-81),
    "BK.migliore": bk(0.28, 0.48, 0.48e-3, 0.13e-6),
    "BK.poirazi": bk(0.48, 0.28, 0.18, 0.011),
    "CaPoirazi.r_type": fixed(-48.5, 3, 50, -53, 1, 5),
    "CaPoirazi.r_type_soma": fixed(-60, 3, 100, -62, 1, 5),
    "CaPoirazi.spike": fixed(-37, 1, 3.6, -41, 0.5, 29),
    "LIF": lambda v, c, t: {},
    **{f"Izhikevich.{name}": izhikevich(*row) for name, row in IZHIKEVICH.items()},
    **{f"AdEx.{name}": adex(*row) for name, row in ADEX.items()},
}

CURRENT = {
    "Leak": ohmic(1e-3, -70),
    "HH": three(ohmic(0.12, 50, m=3, h=1), ohmic(0.036, -77, n=4), ohmic(3e-4, -54.3)),
    "Traub": three(ohmic(0.1, 90, m=2, h=1), ohmic(0.045, -80, n=1), ohmic(1 / 37000, -74)),
    "WangBuzsaki": three(wang_buzsaki_na, ohmic(0.009, -90, n=4), ohmic(1e-4, -65)),
    "NaTa": ohmic(1e-5, 50, m=3, h=1),
    "NaTs2": ohmic(1e-5, 50, m=3, h=1),
    "Nap": ohmic(1e-5, 50, m=3, h=1),
    "KPst": ohmic(1e-5, -85, m=2, h=1),
    "KTst": ohmic(1e-5, -85, m=4, h=1),
    "SKv3_1": ohmic(1e-5, -85, m=1),
    "SK": ohmic(1e-6, -85, z=1),
    "Im": ohmic(1e-5, -85, m=1),
    "Ih": ohmic(1e-5, -45, m=1),
    "CaHVA": ohmic(1e-5, "ca", m=2, h=1),
    "CaLVA": ohmic(1e-5, "ca", m=2, h=1),
    "Na": fast(0.1, 60, m=3, h=1),
    "Kv": fast(5e-4, -90, n=1),
    "Km": fast(1e-3, -90, n=1),
    "KCa": fast(1e-3, -90, n=1),
    "Ca": fast(1e-5, "ca", m=2, h=1),
    "CaT": ohmic(8e-4, "ca", m=2, h=1),
    "PospischilNa": ohmic(0.05, 50, m=3, h=1),
    "PospischilK": ohmic(0.005, -100, n=4),
    "PospischilM": ohmic(7e-5, -100, m=1),
    "PospischilT": pospischil_t_current,
    "CaHVAInactivating": ohmic(5.417e-3, 100, m=2, h=1),
    "KAFast": ohmic(1.349e-2, -85, a=1, b=1),
    "KSlow": ohmic(1.244e-3, -85, n=1),
    "KdrCA1": ohmic(0.003, -90, n=1),
    "KmCA1": ohmic(1e-4, -90, m=1),
    "CaLCA1": drive(0.003, True, m=2),
    "CaNCA1": drive(0.0003, True, m=2, h=1),
    "CaTCA1": drive(0.003, False, m=2, h=1),
    "IhHuman": ohmic(1e-5, -49.765, m=1),
    "CaTGHK": catghk_current,
    "KAhp": ohmic(0.003, -90, w=1),
    "SlowAhp": ohmic(0.01, -80, m=3),
    "NaCA1.soma": ohmic(0.01, 55, m=3, h=1, s=1),
    "NaCA1.dendrite": ohmic(0.01, 55, m=3, h=1, s=1),
    "KA.proximal": ohmic(0.008, -90, n=1, l=1),
    "KA.distal": ohmic(0.008, -90, n=1, l=1),
    "HCN.proximal": ohmic(1e-4, -30, m=1),
    "HCN.distal": ohmic(1e-4, -30, m=1),
    "BK.migliore": ohmic(0.01, -90, o=1),
    "BK.poirazi": ohmic(0.01, -90, o=1),
    "CaPoirazi.r_type": ohmic(1e-5, "ca", m=3, h=1),
    "CaPoirazi.r_type_soma": ohmic(1e-5, "ca", m=3, h=1),
    "CaPoirazi.spike": ohmic(1e-5, "ca", m=3, h=1),
    "LIF": ohmic(1e-4, -70),
    **{f"Izhikevich.{name}": izhikevich_current for name in IZHIKEVICH},
    **{f"AdEx.{name}": adex_current(*row) for name, row in ADEX.items()},
}
