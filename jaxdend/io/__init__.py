"""Files and other libraries' objects: traces, recordings, xarray."""

from jaxdend.io.neuron import export_neuron
from jaxdend.io.npz import load_traces, save_traces
from jaxdend.io.xarray import to_xarray
from jaxdend.recordings import Recording, read_recordings, write_recordings

__all__ = [
    "Recording",
    "export_neuron",
    "load_traces",
    "read_recordings",
    "save_traces",
    "to_xarray",
    "write_recordings",
]
