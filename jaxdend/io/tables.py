"""A cell's numbers as a table, to look at and for other programs."""

import csv
import dataclasses
import io
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxdend.cell import Cell
from jaxdend.files import write_whole
from jaxdend.io.cells import refuse_stack

By = Literal["compartment", "region"]


def cell_table(cell: Cell, by: By = "compartment") -> list[dict[str, Any]]:
    """The parameters of a cell as rows, name -> value; units stand in the names.

    `by="compartment"`: one row each, with section, `x`, regions, path distance from the soma, size,
    `cm`, `ra` and every parameter of every mechanism, such as `NaTa.gbar (S/cm2)`, `None` where it
    is not inserted. `by="region"`: one row for each region, mechanism and parameter, with the
    smallest, the largest and the mean value over the membrane area that has the mechanism.

    **Raises:** `ValueError` for a stack of cells or traced numbers.
    """
    refuse_stack(cell, "cell_table")
    if by not in ("compartment", "region"):
        raise ValueError(f"by= must be 'compartment' or 'region', got {by!r}")
    return _compartments(cell) if by == "compartment" else _regions(cell)


def write_table(cell: Cell, path: str | os.PathLike[str], by: By = "compartment") -> Path:
    """Write `cell_table` as comma-separated text, all digits, whole or not at all."""
    rows, text = cell_table(cell, by), io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_whole(path, text.getvalue())


def _parameters(cell: Cell) -> list[tuple[str, str, str, np.ndarray]]:
    """Mechanism, parameter, unit and `(n,)` values, NaN where it is not inserted."""
    out = []
    for name, item in cell.mechanisms.items():
        for field in dataclasses.fields(item.mechanism):
            value = getattr(item.mechanism, field.name)
            if value is None or np.shape(value) not in ((), (len(item.at),)):
                continue
            value = np.asarray(value)
            if value.dtype.kind == "f":
                whole = np.full(cell.n, np.nan)
                whole[item.at.index] = value
                out.append((name, field.name, field.metadata.get("unit", ""), whole))
    return out


def _compartments(cell: Cell) -> list[dict[str, Any]]:
    names = cell.section_names
    regions = [name for name in cell.regions if name != "all"]
    inside = np.array([cell.region(name) for name in regions], bool).reshape(-1, cell.n)
    columns: dict[str, Any] = {
        "compartment": range(cell.n),
        "section": [names[i] if names else int(i) for i in cell.section],
        "x": cell.x,
        "regions": [" ".join(np.array(regions)[mask]) for mask in inside.T],
        "distance (um)": cell.distance,
        "length (um)": cell.length,
        "radius (um)": cell.radius,
        "area (um2)": cell.area,
        "cm (uF/cm2)": cell.cm,
        "ra (ohm cm)": cell.ra,
    }
    for mechanism, name, unit, values in _parameters(cell):
        columns[f"{mechanism}.{name} ({unit})"] = values
    listed = [_plain(column) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*listed, strict=True)]


def _plain(column: Any) -> list[Any]:
    """Python values; `None` for NaN."""
    if isinstance(column, list | range):
        return list(column)
    return [None if x != x else x for x in np.asarray(column).tolist()]


def _regions(cell: Cell) -> list[dict[str, Any]]:
    area = np.asarray(cell.area, float)
    parameters = [
        ("cell", "cm", "uF/cm2", np.asarray(cell.cm, float)),
        ("cell", "ra", "ohm cm", np.asarray(cell.ra, float)),
        *_parameters(cell),
    ]
    rows = []
    for region in cell.regions:
        for mechanism, name, unit, values in parameters:
            there = cell.region(region) & np.isfinite(values) & (area > 0)
            if there.any():
                rows.append(
                    {
                        "region": region,
                        "mechanism": mechanism,
                        "parameter": name,
                        "unit": unit,
                        "compartments": int(there.sum()),
                        "min": float(values[there].min()),
                        "mean": float(np.average(values[there], weights=area[there])),
                        "max": float(values[there].max()),
                    }
                )
    return rows
