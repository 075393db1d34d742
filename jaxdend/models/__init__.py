"""Published neurons as decorated `Cell`s: `from jaxdend.models import hay2011`."""

from jaxdend.models.branco import branco2010 as branco2010
from jaxdend.models.gidon import gidon2020 as gidon2020
from jaxdend.models.hay import hay2011 as hay2011
from jaxdend.models.ready import (
    ca1 as ca1,
    dcaap_sites as dcaap_sites,
    l5pc as l5pc,
    l23_human as l23_human,
)
