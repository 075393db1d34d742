"""Synapses: groups of conductances that events open."""

from jaxdend.synapses.base import AbstractDualExponential, AbstractSynapse
from jaxdend.synapses.binned import Binned
from jaxdend.synapses.kinetic import AbstractKineticSynapse, NMDAKinetic
from jaxdend.synapses.linear import (
    AMPA,
    GABAA,
    GABAB,
    NMDA,
    AlphaSynapse,
    Exp2Syn,
    ExpSyn,
    mg_block,
)
from jaxdend.synapses.plasticity import tsodyks_markram
from jaxdend.synapses.trains import binned_events, events, poisson_events

__all__ = [
    "AMPA",
    "GABAA",
    "GABAB",
    "NMDA",
    "AbstractDualExponential",
    "AbstractKineticSynapse",
    "AbstractSynapse",
    "AlphaSynapse",
    "Binned",
    "Exp2Syn",
    "ExpSyn",
    "NMDAKinetic",
    "binned_events",
    "events",
    "mg_block",
    "poisson_events",
    "tsodyks_markram",
]
