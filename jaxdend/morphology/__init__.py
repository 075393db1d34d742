"""Morphologies: read from files or grown by rules; numpy only."""

from jaxdend.morphology._branch import Branch as Branch
from jaxdend.morphology._morphology import (
    Morphology as Morphology,
    assemble as assemble,
)
from jaxdend.morphology._procedural import (
    PyramidalShape as PyramidalShape,
    ball_and_stick as ball_and_stick,
    pyramidal as pyramidal,
    rall_tree as rall_tree,
    single_compartment as single_compartment,
    y_tree as y_tree,
)
from jaxdend.morphology._read import read_morphology as read_morphology
from jaxdend.morphology._report import MorphologyWarning as MorphologyWarning
