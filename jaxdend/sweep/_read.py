"""Read a sweep, finished or not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdend.sweep._store import NOT_DONE, OK, STATUS, Store, import_zarr

if TYPE_CHECKING:
    from xarray import Dataset


def open_sweep(out: str | Path) -> Dataset:
    """The store of a sweep as an xarray dataset, whether or not it is finished.

    Like `xarray.open_zarr(out)`, which works too, but texts, such as the names of morphologies, are
    there as such, rather than as numbers with the texts in the attribute `labels`, and a voltage
    that a sweep file keeps has the times of its samples. Points of which files are missing, as
    after an interrupted copy, have the status 0, with a warning; `open_zarr` takes them for done.
    Everything else is read when it is used.

    **Returns:** a dataset with the dimension `point`; parameters, labels and `status` are
    coordinates.

    **Raises:** `ImportError` without xarray; `FileNotFoundError` or `SavedFileError` where there is
    no sweep; `SavedFileError` naming the file when a damaged one is read.
    """
    import_zarr()
    import xarray

    from jaxdend.sweep._zarr import CheckedStore

    store = Store.open(Path(out))
    dataset = xarray.open_zarr(CheckedStore(Path(out)), chunks=None)  # type: ignore[arg-type]
    dataset = dataset.set_coords([name for name in store.axes if name in dataset])
    if lost := store.lost():
        warnings.warn(said_of_lost(store, lost), stacklevel=2)
        status = dataset["status"].copy(data=dataset["status"].values.copy())
        for unit in lost:
            status[slice(*store.bounds(unit))] = NOT_DONE
        dataset = dataset.assign_coords({"status": status})
    for name, variable in dataset.coords.items():
        labels = variable.attrs.get("labels")
        if labels is not None:
            texts = np.asarray(labels)[variable.values]
            dataset = dataset.assign_coords({str(name): ("point", texts)})
    for variable in dataset.data_vars.values():
        if "step_ms" in variable.attrs:
            first, step = (variable.attrs[key] for key in ("first_ms", "step_ms"))
            times = first + step * np.arange(variable.shape[1])
            about = {"units": "ms", "long_name": "time"}
            dataset = dataset.assign_coords({variable.dims[1]: (variable.dims[1], times, about)})
    return dataset


def said_of_lost(store: Store, lost: list[int]) -> str:
    """What to say of units of which files are missing."""
    points = sum(stop - start for start, stop in map(store.bounds, lost))
    return (
        f"{store.path} has lost files of {points} points, which count as not done, as after a copy "
        "that was interrupted: copy it again, or go on with the sweep by resume=True (--resume)"
    )


def failed_points(out: str | Path, most: int | None = None) -> list[dict[str, Any]]:
    """All points that are done but not ok, with their parameters.

    **Arguments:** `out`, the store; `most`, how many to list, the first ones.

    **Returns:** a row for each: `point`, its number; `status`, `"not_finite"` or
    `"simulation_failed"`; its labels and parameters.
    """
    dataset = open_sweep(out)
    status = dataset["status"].values
    points = np.flatnonzero((status != OK) & (status != NOT_DONE))[:most]
    names = [str(k) for k, x in dataset.coords.items() if k != "status" and x.dims == ("point",)]
    columns = {name: dataset[name].values[points] for name in names}
    return [
        {"point": int(point), "status": STATUS[int(status[point])]}
        | {name: columns[name][row].item() for name in names}
        for row, point in enumerate(points)
    ]
