"""Model, fit and sweep files in TOML: checked key by key, then built into cells and experiments."""

from jaxdend.config.fit import FitFile as FitFile, Problem as Problem
from jaxdend.config.model import (
    Experiment as Experiment,
    ModelFile as ModelFile,
    precision as precision,
)
from jaxdend.config.registry import example_morphology as example_morphology
from jaxdend.config.sweep import SweepFile as SweepFile
