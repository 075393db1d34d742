"""Read a sweep, finished or not."""

from __future__ import annotations

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
    that a sweep file keeps has the times of its samples. Everything else is read when it is used.

    **Returns:** a dataset with the dimension `point`; parameters, labels and `status` are
    coordinates.

    **Raises:** `ImportError` without xarray; `FileNotFoundError` or `ValueError` where there is no
    sweep.
    """
    import_zarr()
    import xarray

    Store.open(Path(out))
    dataset = xarray.open_zarr(str(out), chunks=None)
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
