"""Sweeps: millions of points over all devices of one machine or many, into one store.

Needs zarr and xarray: `pip install "jaxdend[sweep]"`.
"""

from jaxdend.sweep._distributed import start_processes
from jaxdend.sweep._engine import Summary, run_sweep
from jaxdend.sweep._read import failed_points, open_sweep

__all__ = ["Summary", "failed_points", "open_sweep", "run_sweep", "start_processes"]
