"""Current and voltage applied through electrodes."""

from jaxdend.stimuli.base import AbstractStimulus
from jaxdend.stimuli.clamp import VoltageClamp
from jaxdend.stimuli.shapes import DualExponential, PulseTrain, Ramp, Sine, Step
from jaxdend.stimuli.waveform import Noise, Waveform

__all__ = [
    "AbstractStimulus",
    "DualExponential",
    "Noise",
    "PulseTrain",
    "Ramp",
    "Sine",
    "Step",
    "VoltageClamp",
    "Waveform",
]
