"""The library of channels and pools: `from jaxdend.channels import HH, Leak`."""

from jaxdend.channels.calcium import CalciumShell as CalciumShell
from jaxdend.channels.hh import HH as HH
from jaxdend.channels.leak import Leak as Leak
