"""Experiments as functions: a `Cell` and sites in, a small record of arrays out.

Every protocol runs as one compiled batch over its amplitudes or intervals, and takes the `dt`,
`solver`, `v0` and further options of `jd.simulate`. Times start at 0: begin from the resting state,
`v0=jd.rest(cell)` or `v0=settle(cell, 300.0)`, or give an onset late enough.
"""

from jaxdend.protocols.axons import (
    Conduction,
    bare_axon,
    conduction_velocity,
    myelinated_axon,
)
from jaxdend.protocols.dendrites import (
    EPSP,
    BACFiring,
    BackPropagation,
    CalciumThreshold,
    DCaAPCurve,
    NMDACurve,
    Pairing,
    bac_firing,
    back_propagation,
    calcium_threshold,
    dcaap_curve,
    epsp,
    nmda_curve,
)
from jaxdend.protocols.excitability import (
    FICurve,
    Refractoriness,
    Threshold,
    fi_curve,
    refractory_period,
    spike_threshold,
    threshold,
)
from jaxdend.protocols.measure import (
    Response,
    measured,
    response,
    settle,
    spike_count,
    time_above,
)
from jaxdend.protocols.resistance import (
    Resistances,
    StepResponse,
    resistances,
    step_response,
)

__all__ = [
    "EPSP",
    "BACFiring",
    "BackPropagation",
    "CalciumThreshold",
    "Conduction",
    "DCaAPCurve",
    "FICurve",
    "NMDACurve",
    "Pairing",
    "Refractoriness",
    "Resistances",
    "Response",
    "StepResponse",
    "Threshold",
    "back_propagation",
    "bac_firing",
    "bare_axon",
    "calcium_threshold",
    "conduction_velocity",
    "dcaap_curve",
    "epsp",
    "fi_curve",
    "measured",
    "myelinated_axon",
    "nmda_curve",
    "refractory_period",
    "resistances",
    "response",
    "settle",
    "spike_count",
    "spike_threshold",
    "step_response",
    "threshold",
    "time_above",
]
