"""The units of everything in jaxdend, and the physical constants it needs.

They are NEURON's. A quantity that is not in this table has its unit in its docstring.
"""

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
