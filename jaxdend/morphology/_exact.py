"""Sections kept word for word in a comment of an SWC file, where its samples cannot say them."""

import hashlib
import json
from typing import Any

import numpy as np

from jaxdend.morphology._branch import Branch
from jaxdend.morphology._report import Notes
from jaxdend.morphology._source import Source

MARK = "# jaxdend sections: "


def digest(rows: str) -> str:
    """A fingerprint of the lines with samples, blanks aside."""
    lines = (line.split("#", 1)[0].split() for line in rows.splitlines())
    plain = "\n".join(" ".join(fields) for fields in lines if fields)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def comment(branches: list[Branch], rows: str) -> str:
    """The line that holds branches word for word, valid while the samples stay as they are."""
    points = np.concatenate([b.points for b in branches])
    data = {
        "of": digest(rows),
        "type": str(points.dtype),
        "count": [len(b.points) for b in branches],
        "parent": [b.parent for b in branches],
        "x": [b.parent_x for b in branches],
        "kind": [b.kind for b in branches],
        "regions": [list(b.regions) for b in branches],
        "points": [repr(float(x)) for x in points.ravel()],
    }
    return MARK + json.dumps(data, separators=(",", ":"))


def exact_branches(source: Source, notes: Notes, plain: bool) -> list[Branch] | None:
    """The branches of such a comment; `None` without one, or where samples have changed since.

    Also none unless the file is to be read `plain`, without anything that the user asks for.
    """
    if source.format != "swc" or MARK.encode() not in source.data:
        return None
    if not plain:
        notes.note(
            "read by NEURON's rules, not from the comment of the file, as options are given."
        )
        return None
    line = next((x for x in source.text.splitlines() if x.startswith(MARK)), None)
    try:
        data: dict[str, Any] = json.loads((line or "").removeprefix(MARK))
        good = data["of"] == digest(source.text)
        counts = np.array(data["count"])
        points = np.array(data["points"], data["type"]).reshape(-1, 4)
        parts = np.split(points, np.cumsum(counts)[:-1])
        rows = zip(parts, data["parent"], data["x"], data["kind"], data["regions"], strict=True)
        branches = [Branch(p, i, x, k, tuple(regions)) for p, i, x, k, regions in rows]
    except (ValueError, KeyError, TypeError):
        good, branches = False, []
    if not good:
        notes.doubt(
            "the comment that holds the sections word for word is not that of these samples, which "
            "are read by NEURON's rules.",
            "Delete the comment.",
        )
        return None
    notes.note("sections as they were written by jaxdend, from the comment of the file.")
    return branches
