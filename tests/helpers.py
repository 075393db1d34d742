"""Where the data lie."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT.parent / "shared" / "reference"


def bmtk_morphologies() -> Path | None:
    """The folder of SWC files in the installed bmtk package, found without importing it."""
    spec = importlib.util.find_spec("bmtk")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "utils" / "scripts" / "bionet" / "morphologies"
