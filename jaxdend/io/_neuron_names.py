"""What the library's channels are called in NEURON: suffix, parameters and where the file is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxdend.mechanisms.base import AbstractMechanism


@dataclass(frozen=True)
class Counterpart:
    """A mechanism of NEURON that has the equations of one of ours.

    Where copies of a published file disagree on a name, the alternatives are joined by `|`.
    """

    suffix: str  # NEURON's name of the mechanism
    source: str  # where its .mod file is published; "" where it is built in
    parameters: Mapping[str, str] = field(default_factory=dict)  # ours -> theirs
    ions: Mapping[str, str] = field(default_factory=dict)  # ours -> NEURON's, such as "ek"
    fixed: Mapping[str, float] = field(default_factory=dict)  # ours -> the value in the file
    start: Mapping[str, str] = field(default_factory=dict)  # ours -> a global of NEURON
    states: tuple[str, ...] = ()  # gates, of the same names, that do not start at rest there
    density: tuple[str, ...] = ()  # ours that are 0 where the mechanism is absent
    factor: float = 1.0  # from our densities to theirs
    table: bool = False  # whether the file has a TABLE, to be switched off


_HAY = "ModelDB 139653 (Hay et al. 2011)"
_MAINEN = "ModelDB 140828 (Branco et al. 2010), 2488 (Mainen & Sejnowski 1996)"
_POSPISCHIL = "ModelDB 123623 (Pospischil et al. 2008)"
_GIDON = "ModelDB 254217 (Gidon et al. 2020)"
_MIGLIORE = "ModelDB 2796, 55035 (Migliore et al. 1999, 2005)"
_SHAH = "ModelDB 112546 (Shah et al. 2008)"
_POIRAZI = "ModelDB 20212 (Poirazi et al. 2003)"


def _one(
    suffix: str, source: str, gbar: str = "gbar", ion: str = "", factor: float = 1.0, **more: Any
) -> Counterpart:
    """A mechanism with a single conductance `gbar`, and the reversal potential of `ion`."""
    named = {"gbar": gbar, **more.pop("parameters", {})}
    ions = {ion: ion} if ion else {}
    return Counterpart(suffix, source, named, ions, density=("gbar",), factor=factor, **more)


def _hay(suffix: str, ion: str = "", **more: Any) -> Counterpart:
    return _one(suffix, _HAY, f"g{suffix}bar", ion, **more)


def _mainen(suffix: str, ion: str = "", **more: Any) -> Counterpart:
    return _one(suffix, _MAINEN, "gbar", ion, factor=1e4, **more)  # pS/µm²


def _variant(mechanism_fixed: str, *values: float) -> dict[str, float]:
    return dict(zip(mechanism_fixed.split(), values, strict=True))


_KA = "vhalfn zetan gmn a0n nmin"
_CAR = "half_m slope_m tau_m half_h slope_h tau_h"
_BK = "abar bbar k1 k2"

# Name in `jaxdend.channels.CHANNELS` -> counterpart; variants of a class are told apart by `fixed`.
_NEURON: dict[str, Counterpart] = {
    "Leak": Counterpart("pas", "", {"g": "g", "e": "e"}, density=("g",)),
    "HH": Counterpart(
        "hh",
        "",
        {name: name for name in ("gnabar", "gkbar", "gl", "el")},
        {"ena": "ena", "ek": "ek"},
        density=("gnabar", "gkbar", "gl"),
        table=True,
    ),
    "Traub": Counterpart(
        "traub",
        _GIDON,
        {"gnabar": "gNabar", "gkbar": "gKbar", "gl": "gLbar", "ena": "eNa", "ek": "eK", "el": "eL"}
        | {"shift": "v_shft"},
        density=("gnabar", "gkbar", "gl"),
        table=True,
    ),
    "DCaAP": Counterpart(
        "dCaAP",
        _GIDON,
        {name: name for name in ("w", "vth", "vrest", "D", "tauA", "tauB")}
        | {"delay": "sigma_diff", "refractory": "refract_period"},
        fixed={"seed": 1e-3, "capacity": 0.5},
        density=("w",),
    ),
    "NaTa": _hay("NaTa_t", "ena", fixed={"half_m": -38.0, "half_h": -66.0}),
    "NaTs2": _hay("NaTs2_t", "ena", fixed={"half_m": -32.0, "half_h": -60.0}),
    "Nap": _hay("Nap_Et2", "ena"),
    "KPst": _hay("K_Pst", "ek"),
    "KTst": _hay("K_Tst", "ek"),
    "SKv3_1": _hay("SKv3_1", "ek"),
    "SK": _hay("SK_E2", "ek"),
    "Im": _hay("Im", "ek"),
    "Ih": _hay("Ih", parameters={"e": "ehcn"}),
    "CaHVA": _hay("Ca_HVA"),
    "CaLVA": _hay("Ca_LVAst"),
    "CalciumShell": Counterpart(
        "CaDynamics_E2",
        _HAY,
        {name: name for name in ("decay", "gamma", "depth", "minCai")},
        start={"cai": "cai0_ca_ion", "outside": "cao0_ca_ion"},
    ),
    "Na": _mainen("na", "ena", parameters={"vshift": "vshift"}, table=True),
    "Kv": _mainen("kv", "ek", table=True),
    "Km": _mainen("km", "ek", table=True),
    "KCa": _mainen("kca", "ek"),
    "Ca": _mainen("ca", table=True),
    "CaT": _one("it", _MAINEN, table=True),
    "PospischilNa": _one(
        "hh2", _POSPISCHIL, "gnabar", "ena", parameters={"vtraub": "vtraub"}, states=("m", "h")
    ),
    "PospischilK": _one(
        "hh2", _POSPISCHIL, "gkbar", "ek", parameters={"vtraub": "vtraub"}, states=("n",)
    ),
    "PospischilM": _one(
        "im", _POSPISCHIL, "gkbar", "ek", parameters={"taumax": "taumax"}, table=True, states=("m",)
    ),
    "PospischilT": _one(
        "it",
        f"{_POSPISCHIL}; its e_ca is the Nernst potential, without a pool too",
        "gcabar",
        parameters={"shift": "shift"},
        states=("h",),
    ),
    "NaCA1": _one("na3", _MIGLIORE, ion="ena", parameters={"ar": "ar|ar2", "sh": "sh"}),
    "KA.proximal": _one(
        "kap", _MIGLIORE, "gkabar", "ek", fixed=_variant(_KA, 11.0, -1.5, 0.55, 0.05, 0.1)
    ),
    "KA.distal": _one(
        "kad", _MIGLIORE, "gkabar", "ek", fixed=_variant(_KA, -1.0, -1.8, 0.39, 0.1, 0.2)
    ),
    "KdrCA1": _one("kdr", _MIGLIORE, "gkdrbar", "ek"),
    "HCN": _one("hd", _MIGLIORE, "ghdbar", parameters={"e": "ehd", "vhalfl": "vhalfl"}),
    "KmCA1": _one("km", _SHAH, ion="ek"),
    "CaLCA1": _one("cal", _SHAH, "gcalbar"),
    "CaNCA1": _one("can", _SHAH, "gcanbar"),
    "CaTCA1": _one("cat", _SHAH, "gcatbar"),
    "KAhp": _one("KahpM95", _SHAH, ion="ek"),
    "BK.migliore": _one(
        "cagk", _SHAH, "gbar|gkbar", "ek", fixed=_variant(_BK, 0.28, 0.48, 0.48e-3, 0.13e-6)
    ),
    "BK.poirazi": _one(
        "mykca", _POIRAZI, "gkbar|gbar", "ek", fixed=_variant(_BK, 0.48, 0.28, 0.18, 0.011)
    ),
    "SlowAhp": _one(
        "kca", _POIRAZI, ion="ek", parameters={"beta": "beta", "cac": "cac"}, states=("m",)
    ),
    "CaPoirazi.r_type": _one(
        "car",
        _POIRAZI,
        "gcabar",
        fixed=_variant(_CAR, -48.5, 3.0, 50.0, -53.0, 1.0, 5.0),
        states=("m", "h"),
    ),
    "CaPoirazi.r_type_soma": _one(
        "somacar",
        _POIRAZI,
        "gcabar",
        fixed=_variant(_CAR, -60.0, 3.0, 100.0, -62.0, 1.0, 5.0),
        states=("m", "h"),
    ),
    "CaPoirazi.spike": _one(
        "calH",
        _POIRAZI,
        "gcalbar",
        fixed=_variant(_CAR, -37.0, 1.0, 3.6, -41.0, 0.5, 29.0),
        states=("m", "h"),
    ),
    "IhHuman": _one("Ih_human", "Rich et al. 2021", "gIhbar", parameters={"e": "ehcn"}),
    "CaTGHK": Counterpart(
        "itGHK",
        "ModelDB 279 (Destexhe et al. 1998)",
        {"pbar": "pcabar", "shift": "shift", "actshift": "actshift"},
        density=("pbar",),
    ),
}


def candidates(mechanism: AbstractMechanism) -> list[Counterpart]:
    """What NEURON may call this mechanism: several where its class has published variants."""
    name = type(mechanism).__name__
    return [c for key, c in _NEURON.items() if key.split(".")[0] == name]


def densities(suffix: str, source: str) -> set[str]:
    """NEURON's names of the conductances of a mechanism, all 0 where nothing sets them."""
    same = [c for c in _NEURON.values() if (c.suffix, c.source) == (suffix, source)]
    return {c.parameters[name] for c in same for name in c.density}


def matches(counterpart: Counterpart, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """`(k,)` bool: where `values`, ours `(k,)` each, are those frozen in the file."""
    size = len(next(iter(values.values())))
    fits = np.ones(size, bool)
    for name, published in counterpart.fixed.items():
        fits &= np.isclose(values[name], published, rtol=1e-6, atol=0.0)
    return fits
