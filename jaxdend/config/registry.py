"""What a configuration file can name: channels, inputs, procedural trees, example neurons.

Keys, their defaults and units are read off the classes themselves, so that a new channel or
stimulus is available in model files without a line here.
"""

import dataclasses
import importlib.util
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jaxdend import channels, fitting, morphology, stimuli, synapses
from jaxdend._errors import MorphologyError
from jaxdend.config.schema import Check, Key, flag, integer, number, numbers, text
from jaxdend.stimuli import AbstractStimulus, VoltageClamp
from jaxdend.synapses import AbstractKineticSynapse, AbstractSynapse

PROCEDURAL = ("pyramidal", "ball_and_stick", "y_tree", "rall_tree")
EXAMPLE_PREFIX = "bmtk:"

_INPUTS = (AbstractStimulus, VoltageClamp, AbstractSynapse, AbstractKineticSynapse)
_NOT_IN_FILES = {"site", "key", "max_per_step", "v", "target"}
LOSSES = {
    loss.__name__: loss
    for loss in (
        fitting.mse,
        fitting.smoothed_mse,
        fitting.smoothed_rms,
        fitting.window_loss,
        fitting.van_rossum,
        fitting.soft_dtw,
    )
}
_NON_NEGATIVE = {"S/cm2", "cm/s", "mM"}


def concrete(module: ModuleType, bases: tuple[type, ...]) -> dict[str, type]:
    """The concrete subclasses of `bases` that `module` offers, by name."""
    return {
        name: value
        for name, value in sorted(vars(module).items())
        if inspect.isclass(value)
        and issubclass(value, bases)
        and not name.startswith(("_", "Abstract"))
    }


CHANNELS = channels.CHANNELS
STIMULI = concrete(stimuli, _INPUTS)
SYNAPSES = concrete(synapses, _INPUTS)


def parameters(channel: str) -> dict[str, str]:
    """The units of the parameters of a channel or pool, by name."""
    made = CHANNELS[channel]
    method = made.func if isinstance(made, partial) else made  # a variant is a class method
    cls: Any = method if inspect.isclass(method) else method.__self__
    fields = dataclasses.fields(cls)
    return {field.name: field.metadata["unit"] for field in fields if "unit" in field.metadata}


def mechanism_keys(channel: str) -> dict[str, Key]:
    """The parameters of a channel or pool, one number each; a variant brings its own defaults."""
    made = CHANNELS[channel]
    fields = {f.name: f for f in dataclasses.fields(made)} if inspect.isclass(made) else {}
    keys = {}
    for name, unit in parameters(channel).items():
        check = number(unit, least=0.0) if unit in _NON_NEGATIVE else number(unit)
        if unit == "ms":
            check = number(unit, above=0.0)
        default = fields[name].default if name in fields else None
        missing = default is dataclasses.MISSING
        default = None if missing or default is None else _plain(default)
        keys[name] = Key(check, default=default, required=missing)
    return keys


def input_keys(kind: str, preset: Any = None) -> dict[str, Key]:
    """What a stimulus or synapse takes; the defaults are those of the published `preset`."""
    cls = (STIMULI | SYNAPSES)[kind]
    keys, presets = call_keys(cls), getattr(cls, "presets", {})
    if presets:
        keys["preset"] = Key(text(presets))
    for name, value in presets.get(preset, {}).items() if isinstance(preset, str) else ():
        keys[name] = dataclasses.replace(keys[name], default=value, required=False)
    return keys


def call_keys(call: Callable[..., Any]) -> dict[str, Key]:
    """The arguments of a stimulus, synapse, procedural tree or loss that a file can give."""
    keys = {}
    for name, argument in inspect.signature(call).parameters.items():
        if name in _NOT_IN_FILES or argument.kind in (
            argument.VAR_KEYWORD,
            argument.VAR_POSITIONAL,
        ):
            continue
        missing = argument.default is inspect.Parameter.empty
        default = None if missing else _plain(argument.default)
        keys[name] = Key(_check_like(name, argument.default), default=default, required=missing)
    return keys


def example_morphology(name: str) -> Path:
    """The SWC file of an example neuron in the installed `bmtk` package, which is not imported.

    **Raises:** `MorphologyError` if `bmtk` is not installed or has no neuron of that name.
    """
    spec = importlib.util.find_spec("bmtk")
    if spec is None or spec.origin is None:
        raise MorphologyError(
            f"the example neuron {name!r} comes with the package bmtk, which is not installed: "
            'pip install "jaxdend[examples]"'
        )
    folder = Path(spec.origin).parent / "utils" / "scripts" / "bionet" / "morphologies"
    file = folder / f"{name}.swc"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.swc")))
        raise MorphologyError(f"bmtk has no neuron {name!r}; it has {known}")
    return file


def read_source(file: str) -> morphology.Morphology:
    """The morphology in `file`, a path or `bmtk:NAME`."""
    if file.startswith(EXAMPLE_PREFIX):
        return morphology.read_morphology(example_morphology(file.removeprefix(EXAMPLE_PREFIX)))
    return morphology.read_morphology(file)


def procedural(name: str) -> Callable[..., morphology.Morphology]:
    """The function that grows the procedural tree `name`."""
    return getattr(morphology, name)


def _check_like(name: str, default: Any) -> Check:
    if isinstance(default, str):
        return text()
    if isinstance(default, bool):
        return flag()
    if name in ("seed", "count", "windows"):
        return integer(least=0)
    return numbers()


def _plain(value: Any) -> Any:
    """A default as TOML can hold it, or `None`."""
    if isinstance(value, bool | str | int):
        return value
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return None
    return array.tolist() if np.all(np.isfinite(array)) else None
