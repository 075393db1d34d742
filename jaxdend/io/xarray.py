"""Traces as labelled arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxdend.traces import Traces

if TYPE_CHECKING:
    from xarray import Dataset

    from jaxdend.cell import Cell


def to_xarray(traces: Traces, cell: Cell | None = None) -> Dataset:
    """A `Dataset` with coordinates and units: `dataset.v.sel(site=12, time=5.0)`.

    **Arguments:** `traces` of one simulation, or of a `jax.vmap`, whose batch axes come first as
    `batch` (`batch_0`, `batch_1`, … where there are several); `cell`, to add where each site is:
    its `region`, `distance` (µm), `section` and `x`.

    **Returns:** a dataset of the voltage `v`, dimensions `time` (ms) and `site` (compartments), and
    one variable for every other recording, its further axes called `<name>_0`, ….

    **Raises:** `ImportError` without xarray; `ValueError` for a recording whose name is taken.
    """
    try:
        import xarray
    except ImportError as error:
        raise ImportError(
            'to_xarray needs xarray, which is an extra: pip install "jaxdend[xarray]"'
        ) from error
    ts = np.asarray(traces.ts)
    batch = _batch(ts.ndim - 1)
    coords: dict[str, Any] = {"time": ("time", ts.reshape(-1, ts.shape[-1])[0], {"units": "ms"})}
    variables: dict[str, Any] = {}
    if traces.v is not None:
        v = np.asarray(traces.v)
        long = {"units": "mV", "long_name": "membrane voltage"}
        variables["v"] = ((*batch, "time", "site"), v, long)
        coords |= _sites(traces, v.shape[-1], batch, cell)
    for name, value in _recordings(traces.values, batch).items():
        if name in variables or name in coords:
            raise ValueError(
                f"the recording {name!r} has the name of another variable of the dataset; "
                "give it another one in record={...}."
            )
        variables[name] = value
    return xarray.Dataset(variables, coords)


def _batch(count: int) -> tuple[str, ...]:
    return ("batch",) if count == 1 else tuple(f"batch_{i}" for i in range(count))


def _sites(traces: Traces, count: int, batch: tuple[str, ...], cell: Cell | None) -> dict[str, Any]:
    """The compartment of every site and its place; one row a simulation where they differ."""
    given = np.asarray(traces.sites)
    sites = given.reshape(-1, count)
    alike = bool(np.all(sites == sites[0]))
    dims = ("site",) if alike else (*batch, "site")
    sites = sites[0] if alike else given
    name = "site" if alike else "compartment"
    coords: dict[str, Any] = {name: (dims, sites, {"long_name": "compartment number"})}
    if cell is not None:
        coords["region"] = (dims, _regions(cell)[sites])
        coords["distance"] = (
            dims,
            np.asarray(cell.distance)[sites],
            {"units": "µm", "long_name": "path distance from the soma"},
        )
        coords["section"] = (dims, np.asarray(cell.section)[sites])
        coords["x"] = (dims, np.asarray(cell.x)[sites], {"long_name": "position along the section"})
    return coords


def _regions(cell: Cell) -> np.ndarray:
    """The name of every compartment's region, "" where it is in none."""
    names = np.full(cell.n, "", dtype=object)
    for region in ("soma", "axon", "basal", "apical"):
        if region in cell.regions:
            names[cell.region(region)] = region
    return names.astype(str)


def _recordings(values: dict[str, Any], batch: tuple[str, ...]) -> dict[str, Any]:
    """Name -> (dimensions, array); the leaves of a tree of arrays get their path appended."""
    out = {}
    for name, value in values.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(value):
            full, array = name + jax.tree_util.keystr(path), np.asarray(leaf)
            free = array.ndim - len(batch) - 1
            out[full] = ((*batch, "time", *(f"{full}_{i}" for i in range(free))), array)
    return out
