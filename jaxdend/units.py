"""The units of everything in jaxdend, and the physical constants it needs.

They are NEURON's. A quantity that is not in this table has its unit in its docstring.
"""

import difflib
import re

F = 96485.33212331  # C/mol, Faraday's constant (exact in SI 2019)
R = 8.31446261815324  # J/(mol K), the gas constant (exact in SI 2019)
ZERO_CELSIUS = 273.15  # K

UNITS = {
    "voltage": "mV",
    "time": "ms",
    "frequency": "Hz",
    "current": "nA",
    "conductance": "uS",
    "capacitance": "nF",
    "length": "um",
    "area": "um2",
    "conductance density": "S/cm2",
    "current density": "mA/cm2",
    "specific capacitance": "uF/cm2",
    "axial resistivity": "ohm cm",
    "axial resistance": "Mohm",
    "concentration": "mM",
    "permeability": "cm/s",
    "temperature": "degC",
}

CM_TO_NF = 1e-5  # uF/cm2 * um2 -> nF
DENSITY_TO_US = 1e-2  # S/cm2 * um2 -> uS
DENSITY_TO_NA = 1e-2  # mA/cm2 * um2 -> nA
RA_TO_MOHM = 1e-2  # ohm cm * um / um2 -> Mohm

_PREFIXES = ("", "p", "n", "u", "µ", "μ", "m", "c", "k", "M", "G")
_BASES = ("V", "A", "S", "F", "s", "Hz", "m", "M", "mol", "ohm", "Ω", "C", "J", "K")
_WORDS = ("1", "%", "degC", "°C", "rad", "deg", "spikes", "synapses", "events", "samples", "steps")
_ATOMS = frozenset(_WORDS) | {prefix + base for prefix in _PREFIXES for base in _BASES}
_POWER = re.compile(r"(.*?)(\^?-?[2-9]|[²³])?")


def check_unit(unit: str, where: str) -> str:
    """`unit`, if it is written in units that are known, such as `"S/cm2"`, `"1/ms"`, `"ohm cm"`.

    A unit is a product or quotient of V, A, S, F, s, Hz, m, M, mol, ohm, C, J and K with a prefix
    from p to G and a power, of counts such as spikes, and of `1`. An empty one says nothing.

    **Arguments:** `where` it was given, for the message.
    **Raises:** `ValueError` that names the part that is not known, and the units of jaxdend.
    """
    if not isinstance(unit, str):
        raise ValueError(f"{where}: unit must be a string such as 'S/cm2'; got {unit!r}.")
    for part in re.split(r"[\s/*·()]+", unit):
        matched = _POWER.fullmatch(part)
        atom = part if matched is None else matched[1]
        if part and part not in _ATOMS and atom not in _ATOMS:
            near = difflib.get_close_matches(unit, UNITS.values(), n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{where}: the unit {unit!r} is not known, because of {part!r}.{hint} The units of "
                f"jaxdend are {', '.join(UNITS.values())}; others are written in V, A, S, F, s, "
                "Hz, m, M, ohm and the like, as in '1/ms' or 'mA/(cm2 mV)'."
            )
    return unit
