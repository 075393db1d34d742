"""Files and other libraries' objects: traces to xarray, traces to and from `.npz`."""

from jaxdend.io.npz import load_traces, save_traces
from jaxdend.io.xarray import to_xarray

__all__ = ["load_traces", "save_traces", "to_xarray"]
