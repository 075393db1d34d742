"""Files and other libraries' objects: traces, recordings, cells, tables, xarray, NEURON."""

from jaxdend.io.cells import load_cell, save_cell
from jaxdend.io.neuron import export_neuron
from jaxdend.io.npz import load_traces, save_traces
from jaxdend.io.tables import cell_table, write_table
from jaxdend.io.xarray import to_xarray
from jaxdend.recordings import Recording, read_recordings, write_recordings

__all__ = [
    "Recording",
    "cell_table",
    "export_neuron",
    "load_cell",
    "load_traces",
    "read_recordings",
    "save_cell",
    "save_traces",
    "to_xarray",
    "write_recordings",
    "write_table",
]
