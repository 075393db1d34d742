"""Units: what is written with known symbols passes, a slip is named."""

import dataclasses

import pytest

from jaxdend.channels import CHANNELS
from jaxdend.fitting import Parameter
from jaxdend.units import UNITS, check_unit

GOOD = [
    *UNITS.values(), "", "1", "1/ms", "mA/(cm2 mV)", "mV/ms", "S/cm²", "S/cm^2", "µS", "MΩ", "pA",
    "S cm-2", "°C", "synapses", "spikes", "mol/(m3 s)", "Ω·cm",
]  # fmt: skip
BAD = ["S/cmm2", "mv", "S/cm22", "milliS", "foo", "S//cmm", "m/sec", "S-cm2", "22"]


@pytest.mark.parametrize("unit", GOOD)
def test_known(unit):
    assert check_unit(unit, "x") == unit
    assert Parameter(1.0, 2.0, unit=unit).unit == unit


@pytest.mark.parametrize("unit", BAD)
def test_a_slip_is_refused_by_name(unit):
    with pytest.raises(ValueError, match=r"Parameter: the unit .* is not known, because of"):
        Parameter(1.0, 2.0, unit=unit)


def test_the_message_helps():
    with pytest.raises(ValueError, match=r"because of 'cmm2'\. Did you mean 'S/cm2'\?.*uF/cm2"):
        Parameter(1.0, 2.0, unit="S/cmm2")
    with pytest.raises(ValueError, match="must be a string such as 'S/cm2'; got 3"):
        Parameter(1.0, 2.0, unit=3)


@pytest.mark.parametrize("name", CHANNELS)
def test_all_channels_have_known_units(name):
    for field in dataclasses.fields(CHANNELS[name]()):
        if "unit" in field.metadata:
            check_unit(field.metadata["unit"], f"{name}.{field.name}")
