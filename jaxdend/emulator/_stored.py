"""What the experiments gave where the library was made, for those who do not want to wait."""

import json
from importlib.resources import files
from typing import Any

from jaxdend.emulator._rows import filled


def stored_rows(name: str) -> list[dict[str, Any]]:
    """The `rows` of an experiment as measured once, in the budget of an hour on two cores.

    They were written by `jaxdend emulate data|train|evaluate --experiment NAME --budget 1h`, and
    are what `jaxdend.plotting.plot_depth` and its like draw.

    **Raises:** `ValueError` for an experiment of which none are stored.
    """
    folder = files("jaxdend.emulator") / "results"
    there = sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".json"))
    if name not in there:
        raise ValueError(f"results are stored of {', '.join(there)}; got {name!r}")
    found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return [filled(row) for row in found["networks"].values()]
