"""Sweeps: millions of points over all devices of one machine or many, into one store.

Needs zarr and xarray: `pip install "jaxdend[sweep]"`.
"""

from jaxdend.sweep._design import Design, grid, random, read_table, sobol, table
from jaxdend.sweep._distributed import start_processes
from jaxdend.sweep._engine import Summary, run_sweep
from jaxdend.sweep._names import refuse_name, refuse_names
from jaxdend.sweep._outputs import OUTPUTS
from jaxdend.sweep._read import failed_points, open_sweep, said_of_lost
from jaxdend.sweep._store import FAILED, OK, STATUS, Store

__all__ = [
    "FAILED",
    "OK",
    "OUTPUTS",
    "STATUS",
    "Design",
    "Store",
    "Summary",
    "failed_points",
    "grid",
    "open_sweep",
    "random",
    "read_table",
    "refuse_name",
    "refuse_names",
    "run_sweep",
    "said_of_lost",
    "sobol",
    "start_processes",
    "table",
]
