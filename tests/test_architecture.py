"""The shape of the package: imports point up the layers, classes are abstract or final."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import jaxdend
from helpers import ROOT

PACKAGE = ROOT / "jaxdend"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module imports only modules of its own or a lower layer. From layer 5 on, the modules of a layer
# do not import one another; only `cli` and `demo` import the edges of layer 8.
LAYERS = (
    {
        "units",
        "_small",
        "_types",
        "rates",
        "densities",
        "_errors",
        "_subset",
        "devices",
        "checkpoints",
        "files",
        "places",
    },
    {"morphology"},
    {"cable", "mechanisms", "channels"},
    {"cell", "described", "inserted", "regions", "stack", "stimuli", "synapses"},
    {
        "_checks",
        "events",
        "inputs",
        "order",
        "jacobian",
        "dynamics",
        "solvers",
        "simulate",
        "rest",
        "traces",
        "spikes",
        "recorders",
        "recordings",
    },
    {"fitting", "models", "protocols"},
    {"sweep", "tasks"},
    {"emulator"},
    {"io", "plotting", "config"},
    {"cli", "demo"},
)
SIDEWAYS = {("cli", "demo")}
LAYER_OF = {name: rank for rank, names in enumerate(LAYERS) for name in names}

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 70


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def unit_of(path: Path) -> str:
    """The first name below `jaxdend` on the way to a file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_units(path: Path) -> set[str]:
    """The first names below `jaxdend` of everything that a file imports."""
    names = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write imports in full"
            if node.module == "jaxdend":
                names |= {f"jaxdend.{alias.name}" for alias in node.names}
            elif node.module:
                names.add(node.module)
    parts = [name.split(".") for name in names]
    assert ["jaxdend"] not in parts, f"{path} imports the whole package: name the module"
    return {name[1] for name in parts if name[0] == "jaxdend"}


def is_id(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", [p for p in MODULES if unit_of(p) != "__init__"], ids=is_id)
def test_imports_point_up_the_layers(path):
    unit = unit_of(path)
    assert unit in LAYER_OF, f"give {unit!r} a layer in {Path(__file__).name}"
    rank = LAYER_OF[unit]
    for other in imported_units(path) - {unit}:
        assert other in LAYER_OF, f"give {other!r} a layer in {Path(__file__).name}"
        assert LAYER_OF[other] <= rank, f"{unit} (layer {rank}) imports {other}"
        if rank >= 5 and (unit, other) not in SIDEWAYS:
            assert LAYER_OF[other] < rank, f"{unit} imports its neighbour {other}"


@pytest.mark.parametrize("path", MODULES, ids=is_id)
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=is_id)
def test_no_print_and_no_assert(path):
    for node in ast.walk(parse(path)):
        assert not isinstance(node, ast.Assert), f"{path.name}:{node.lineno}: raise an error"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path.name}:{node.lineno}: the library is silent"


def classes() -> set[type]:
    found = set()
    for info in pkgutil.walk_packages(jaxdend.__path__, prefix="jaxdend."):
        module = importlib.import_module(info.name)
        found |= {c for _, c in inspect.getmembers(module, inspect.isclass) if is_own(c)}
    return found


def is_own(cls: type) -> bool:
    return cls.__module__.split(".")[0] == "jaxdend"


def is_abstract(cls: type) -> bool:
    return cls.__name__.lstrip("_").startswith("Abstract")


def test_classes_are_abstract_or_final():
    found = classes()
    assert found
    wrong = [
        f"{cls.__qualname__} inherits the concrete {base.__qualname__}"
        for cls in found
        for base in cls.__bases__
        if is_own(base) and not is_abstract(base)
    ]
    assert not wrong
