"""jaxdend: differentiable simulation of neurons with active dendrites, in JAX."""
# ruff: noqa: E402

import importlib
from types import ModuleType

from jaxdend.devices import batch as batch, cache_programs as cache_programs, use_all_cores

use_all_cores()  # before anything below starts JAX

# isort: split
from jaxdend import (
    channels as channels,
    densities as densities,
    models as models,
    protocols as protocols,
)
from jaxdend._errors import (
    ConfigError as ConfigError,
    MorphologyError as MorphologyError,
    RecordingError as RecordingError,
    SavedFileError as SavedFileError,
    SimulationError as SimulationError,
)
from jaxdend.cable import Tree as Tree, TreeMatrix as TreeMatrix
from jaxdend.cell import Cell as Cell
from jaxdend.dynamics import Model as Model, State as State
from jaxdend.inputs import AbstractInput as AbstractInput
from jaxdend.mechanisms.base import (
    AbstractChannel as AbstractChannel,
    AbstractMechanism as AbstractMechanism,
    AbstractPool as AbstractPool,
    Env as Env,
    param as param,
)
from jaxdend.morphology import (
    Morphology as Morphology,
    MorphologyWarning as MorphologyWarning,
    ball_and_stick as ball_and_stick,
    pyramidal as pyramidal,
    rall_tree as rall_tree,
    read_morphology as read_morphology,
    single_compartment as single_compartment,
    y_tree as y_tree,
)
from jaxdend.recorders import (
    AxialCurrent as AxialCurrent,
    CapacitiveCurrent as CapacitiveCurrent,
    ClampCurrent as ClampCurrent,
    Conductance as Conductance,
    Current as Current,
    Gate as Gate,
    InputCurrent as InputCurrent,
    Inside as Inside,
    IonCurrent as IonCurrent,
    MembraneCurrent as MembraneCurrent,
    Outside as Outside,
    ReversalPotential as ReversalPotential,
)
from jaxdend.rest import rest as rest
from jaxdend.runs import Run as Run
from jaxdend.simulate import simulate as simulate, start as start, step as step
from jaxdend.solvers import (
    BackwardEuler as BackwardEuler,
    CrankNicolson as CrankNicolson,
    Rodas4P as Rodas4P,
    Rodas5P as Rodas5P,
)
from jaxdend.stack import stack as stack
from jaxdend.stimuli import (
    DualExponential as DualExponential,
    Noise as Noise,
    PulseTrain as PulseTrain,
    Ramp as Ramp,
    Sine as Sine,
    Step as Step,
    VoltageClamp as VoltageClamp,
    Waveform as Waveform,
)
from jaxdend.synapses import (
    AMPA as AMPA,
    GABAA as GABAA,
    GABAB as GABAB,
    NMDA as NMDA,
    AlphaSynapse as AlphaSynapse,
    Binned as Binned,
    Exp2Syn as Exp2Syn,
    ExpSyn as ExpSyn,
    NMDAKinetic as NMDAKinetic,
    binned_events as binned_events,
    events as events,
    poisson_events as poisson_events,
    tsodyks_markram as tsodyks_markram,
)
from jaxdend.traces import Traces as Traces, spike_times as spike_times

_ON_DEMAND = ("emulator", "fitting", "io", "plotting", "recordings", "sweep", "tasks")


def __getattr__(name: str) -> ModuleType:
    """Packages that a simulation does not need, imported when `jaxdend.<name>` is first used."""
    if name in _ON_DEMAND:
        return importlib.import_module(f"jaxdend.{name}")
    raise AttributeError(f"module 'jaxdend' has no attribute {name!r}")
