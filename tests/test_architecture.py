"""The shape of the package: imports point up the layers, classes are abstract or final."""

import ast
import graphlib
import importlib
import inspect
import math
import pkgutil
import re
from functools import cache
from pathlib import Path

import pytest

import jaxdend
from helpers import ROOT
from jaxdend import units

PACKAGE = ROOT / "jaxdend"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module imports only modules of its own or a lower layer. From layer 5 on, the modules of a layer
# do not import one another; only `cli` and `demo` import the edges of layer 8.
LAYERS = (
    {
        "units",
        "_jax",
        "_small",
        "_interrupts",
        "_types",
        "rates",
        "densities",
        "_errors",
        "_bars",
        "_subset",
        "_blown_up",
        "devices",
        "checkpoints",
        "files",
        "places",
        "_code",
        "_fingerprint",
        "_same",
        "runs",
    },
    {"morphology"},
    {"cable", "inputs", "mechanisms", "channels"},
    {"cell", "described", "inserted", "regions", "stack", "stimuli", "synapses"},
    {
        "_checks",
        "_run",
        "events",
        "order",
        "jacobian",
        "dynamics",
        "solvers",
        "simulate",
        "rest",
        "traces",
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

# Private modules and names that are entered from outside their package, although nobody should:
# (file, private module). A test may enter those of the package that its folder mirrors.
ENTERED = {
    # times the compiled program of the engine without its store
    ("scripts/bench_sweep.py", "jaxdend.sweep._memory"),
    ("scripts/bench_sweep.py", "jaxdend.sweep._prepare"),
    # random trees go from samples to sections to compartments
    ("tests/cable/test_compartments.py", "jaxdend.morphology._swc"),
    # what becomes of a place that is given as `site=`
    ("tests/test_places.py", "jaxdend._types"),
    # which globals a function reads decides whether two are the same
    ("tests/test_same.py", "jaxdend._code"),
}

# What only `jaxdend/_jax.py` may import.
UNSTABLE = ("jax._src", "jax.core", "jax.extend", "jax.interpreters", "equinox.internal")
LAYER_OF = {name: rank for rank, names in enumerate(LAYERS) for name in names}

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 70


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def unit_of(path: Path) -> str:
    """The first name below `jaxdend` on the way to a file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imported(path: Path) -> frozenset[str]:
    """All that a file imports, anywhere in it: modules, and `module.name` for each name."""
    names = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def imported_units(path: Path) -> set[str]:
    """The first names below `jaxdend` of everything that a file imports."""
    parts = [name.split(".") for name in imported(path)]
    assert ["jaxdend"] not in parts, f"{path} imports the whole package: name the module"
    return {name[1] for name in parts if name[0] == "jaxdend"}


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


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


def needed(module: str, files: dict[str, Path]) -> set[str]:
    """The modules that must have run before `module` can.

    To import `a.b.c` runs `a` and `a.b` first, unless `module` lies inside them and they are
    running already.
    """
    found = set()
    for name in imported(files[module]):
        parts = name.split(".")
        starts = [".".join(parts[: i + 1]) for i in range(1, len(parts))]
        known = [start for start in starts if start in files and start != module]
        found |= {s for s in known if s == known[-1] or not module.startswith(f"{s}.")}
    return found


def test_no_two_files_need_each_other():
    """Not even for a type, or inside a function."""
    files = {module_of(path): path for path in MODULES}
    graph = {module: needed(module, files) for module in files}
    assert sum(map(len, graph.values())) > len(files)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("these files import one another: " + " <- ".join(error.args[1]))


def home_of(name: str) -> str | None:
    """Where a private name below `jaxdend` belongs: its package, or its module at the top."""
    parts = name.split(".")
    private = [i for i, part in enumerate(parts) if part.startswith("_") and part[1:2] != "_"]
    if parts[0] != "jaxdend" or not private:
        return None
    home = parts[: private[0]]
    is_file = (ROOT / Path(*home)).with_suffix(".py").exists()
    return ".".join(home[:-1] if is_file and len(home) > 2 else home)


def entered(path: Path) -> set[tuple[str, str]]:
    """The private modules that a file enters from outside, as in `ENTERED`.

    `jaxdend/_x.py` is the whole library's, and of the tests only that of `tests/test_x.py`.
    """
    place = path.relative_to(ROOT)
    top, own = place.parts[0], f"jaxdend._{path.stem.removeprefix('test_')}"
    inside = {"jaxdend": module_of(path), "tests": ".".join(["jaxdend", *place.parts[1:-1]])}
    found = set()
    for name in imported(path):
        home = home_of(name)
        if home is None:
            continue
        if home == "jaxdend" and top != "jaxdend":
            allowed = name.startswith(own)
        else:
            allowed = f"{inside.get(top, top)}.".startswith(f"{home}.")
        if not allowed:
            found.add((place.as_posix(), name.rpartition(".")[0]))
    return found


def test_nobody_enters_a_private_module_from_outside():
    files = [p for folder in ("jaxdend", "tests", "scripts") for p in (ROOT / folder).rglob("*.py")]
    found = set().union(*map(entered, files))
    assert found == ENTERED
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "notebooks").glob("*.ipynb"))
    assert not re.findall(r"jaxdend(?:\.\w+)*\._[a-z]\w*|from jaxdend\S* import _\w+", code)


def test_only_one_file_leans_on_what_may_change():
    for path in MODULES:
        if path == PACKAGE / "_jax.py":
            continue
        names = imported(path) | {
            ast.unparse(node) for node in ast.walk(parse(path)) if isinstance(node, ast.Attribute)
        }
        aliases = {re.sub(r"^eqx\.", "equinox.", name) for name in names}
        wrong = [n for n in aliases if any(f"{n}.".startswith(f"{u}.") for u in UNSTABLE)]
        assert not wrong, f"{is_id(path)}: import {wrong} by jaxdend._jax"


@pytest.mark.parametrize("path", MODULES, ids=is_id)
def test_physical_constants_stand_in_one_file(path):
    """Channels may round them as their publications do, and say so in a comment or docstring."""
    constants = (units.F, units.R, units.ZERO_CELSIUS, 2 * math.pi, 1.602176634e-19)
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            near = [c for c in constants if math.isclose(node.value, c, rel_tol=1e-3)]
            rounded = "channels" in path.parts and re.search(r"as .*published|rounds it", text)
            assert not near or rounded or path.stem == "units", f"{path}:{node.lineno}: use `units`"


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


# Fragments that say something only beside the name they explain.
FRAGMENT = re.compile(r"(Of|As|By|Those|That of|Likewise)\b")
OTHER_DIALECT = re.compile(r"^ *(Args|Arguments|Returns?|Raises|Yields|Attributes|Notes?):", re.M)


@pytest.mark.parametrize("path", MODULES, ids=is_id)
def test_docstrings_are_sentences_of_one_dialect(path):
    for node in ast.walk(parse(path)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        text = ast.get_docstring(node)
        if text is None:
            continue
        where = f"{is_id(path)}:{node.lineno}: {node.name}: {text!r}"
        assert len(text.split()) >= 5, f"{where}: say it in a sentence"
        assert not FRAGMENT.match(text), f"{where}: begin with what it is or does"
        assert not OTHER_DIALECT.search(text), f"{where}: write **Arguments:**, **Returns:** …"
