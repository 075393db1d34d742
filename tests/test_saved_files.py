"""Whatever happens to a saved file: the same content comes back, or one error with its path."""

import dataclasses
import json
import shutil
import zipfile
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdend as jd
from jaxdend import SavedFileError
from jaxdend.channels import HH, Leak
from jaxdend.dynamics import State
from jaxdend.emulator import Emulator
from jaxdend.emulator.networks import TCN
from jaxdend.files import read_arrays, read_npz, write_npz
from jaxdend.fitting import FitResult, Parameter, ParameterSpace
from jaxdend.io import load_cell, load_traces, save_cell, save_traces
from jaxdend.tasks import TaskResult
from jaxdend.traces import Traces

FLIPS, CUTS = 120, 25


def cell():
    bare = jd.Cell.from_compartments(
        parent=[-1, 0, 1, 1],
        axial_resistance=[0.0, 3.0, 5.0, 7.0],
        area=[900.0, 0.0, 300.0, 200.0],
    )
    return bare.insert(Leak(g=1e-4, e=-70.0)).insert(HH(gnabar=0.2), [0])


def traces():
    ts = jnp.linspace(0.0, 1.0, 5)
    state = State(jnp.arange(4.0), ({"m": jnp.ones(3)}, {}), ((),))
    return Traces(ts, ts[:, None] * jnp.array([1.0, -70.0]), jnp.array([0, 3]), {"µ": ts}, state)


def fit():
    space = ParameterSpace({"g": Parameter(0.1, 1.0), "e": Parameter(-80.0, -60.0, scale="linear")})
    losses = np.array([[2.0, 3.0], [1.0, np.nan], [0.5, 2.0]])
    vectors = np.arange(12.0).reshape(3, 2, 2)
    return FitResult(space, losses, vectors, np.array([0, 1]), (np.ones(3), np.array(7)), True, 2.5)


def emulator():
    return Emulator(TCN(3, channels=2, depth=2, span=8, dendrites=1, key=0), 0.2, {"exc": 2})


def task():
    params = {"g": np.array(0.2), "e": np.array(-70.0)}
    return TaskResult(
        "toy", 3, ("a", "b"), "mV", "mV", params, np.array([1.5, np.nan]), 0.5, 0.25, False,
        {"g": np.array(0.3), "e": np.array(-75.0)}, np.array([0.1, 2e-9]), -0.75,
        np.array([1.0, np.inf, 3.0]), fit(), 344, 12.125,
    )  # fmt: skip


KINDS = {  # what, how it is saved, loaded, and its file in the folder
    "cell": (cell, lambda x, to: save_cell(x, to / "x.npz"), lambda to: load_cell(to / "x.npz")),
    "traces": (
        traces, lambda x, to: save_traces(x, to / "x.npz"), lambda to: load_traces(to / "x.npz"),
    ),
    "fit": (fit, lambda x, to: x.save(to / "x.npz"), lambda to: FitResult.load(to / "x.npz")),
    "emulator": (
        emulator, lambda x, to: x.save(to / "x.npz"), lambda to: Emulator.load(to / "x.npz"),
    ),
    "task": (task, lambda x, to: x.save(to), TaskResult.load),
}  # fmt: skip
FILES = [(kind, "x.npz") for kind in KINDS if kind != "task"]
FILES += [("task", name) for name in ("result.json", "params.npz", "fit.npz")]


def content(value):
    """Everything in it, as plain data to compare: arrays by their bytes."""
    if isinstance(value, np.ndarray | jax.Array):
        value = np.asarray(value)
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, jd.Cell):
        return [content(x) for x in jax.tree.leaves(value)], jax.tree.structure(value)
    if isinstance(value, Emulator):
        leaves = [content(x) for x in jax.tree.leaves(value.net)]
        return leaves, jax.tree.structure(value.net), value.threshold, value.meta
    if dataclasses.is_dataclass(value):
        return [content(getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, dict):
        return [(k, content(x)) for k, x in value.items()]
    if isinstance(value, list | tuple):
        return [content(x) for x in value]
    return repr(value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """kind -> a folder with what was saved."""
    folders = {}
    for kind, (make, save, _) in KINDS.items():
        folders[kind] = tmp_path_factory.mktemp(kind)
        save(make(), folders[kind])
    return folders


def spoiled(data: bytes):
    """The file with one bit turned, or cut short, at places drawn at random and at its ends."""
    rng = np.random.default_rng(1)
    places = rng.integers(0, len(data), FLIPS).tolist() + list(range(len(data) - 12, len(data)))
    for place in places:
        turned = bytearray(data)
        turned[place] ^= 1 << int(rng.integers(8))
        yield bytes(turned)
    for length in [0, 1, *rng.integers(2, len(data), CUTS).tolist(), len(data) - 1]:
        yield data[:length]


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_bit_turned_or_a_file_cut_short_is_noticed(saved, tmp_path, kind, name):
    load, folder = KINDS[kind][2], tmp_path / "copy"
    shutil.copytree(saved[kind], folder)
    whole, data = content(load(folder)), (folder / name).read_bytes()
    noticed = 0
    for spoilt in spoiled(data):
        (folder / name).write_bytes(spoilt)
        found, said = attempt(kind, folder)
        assert str(folder) in said if found is None else content(found) == whole
        noticed += found is None
    assert noticed > FLIPS // 2


def attempt(kind, folder):
    """What is loaded, or `None` and what the error says. Any other error is not caught."""
    try:
        return KINDS[kind][2](folder), ""
    except SavedFileError as error:
        return None, str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_is_missing(tmp_path, kind):
    with pytest.raises(FileNotFoundError):
        KINDS[kind][2](tmp_path)


def rewritten(path, change):
    """The file with another header and other arrays, whole."""
    arrays = read_arrays(path)
    header = json.loads(str(arrays.pop("header")))
    change(header, arrays)
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


def nodes(value, path=()):
    """The places of everything in a description."""
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, x in inner:
        yield from nodes(x, (*path, key))


def put(header, path, value):
    for key in path[:-1]:
        header = header[key]
    header[path[-1]] = value


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "task"])
@pytest.mark.parametrize("other", [None, 7, "x", [], {}, {"a": 1, "b": 2}, [[1]], 1e300])
def test_a_damaged_description_is_one_error(saved, tmp_path, kind, other):
    """Any entry of the description becomes something else; what is free text may."""
    source = saved[kind] / "x.npz"
    header = json.loads(str(read_arrays(source)["header"]))
    places = [path for path in nodes(header) if path]
    rng = np.random.default_rng(0)
    noticed = 0
    for i in rng.permutation(len(places))[:40]:
        shutil.copy(source, tmp_path / "x.npz")
        rewritten(tmp_path / "x.npz", lambda h, arrays, i=i: put(h, places[i], other))
        found, said = attempt(kind, tmp_path)
        assert found is not None or "x.npz" in said
        noticed += found is None
    assert noticed > 5


CELLS = {
    "celsius": (np.array(np.nan), "celsius must be finite; got nan"),
    "cm": (np.ones((1, 4)), r"cm must be numbers of shape \(4,\); got float64 of shape \(1, 4\)"),
    "ra": (np.array(["a"] * 4), "the array ra is of <U1"),
    "area": (np.ones(4, np.float16), "the array area is of float16"),
    "radius": (np.ones(4, np.longdouble), "the array radius is of"),
    "own": (np.ones(3), "own must be"),
    "via": (np.ones(4, int), "via must be numbers of shape"),
    "membrane": (np.array([0, 3, 2]), "membrane must be compartments in 0..3, ascending"),
    "parent": (np.array([-1, 0, 1, 9]), r"parent\[3\] is 9"),
    "host.distance": (np.ones(5), "distance must be numbers"),
    "inserted.0.Leak.g": (np.array(np.nan), "Leak.g must be numbers; got nan"),
    "inserted.0.Leak.e": (np.ones(2), r"Leak.e must be numbers of shape \(3,\)"),
    "inserted.1.at": (np.array([4]), "the compartments of HH must be compartments in 0..3"),
}


@pytest.mark.parametrize("name", CELLS)
def test_numbers_that_no_cell_can_have(saved, tmp_path, name):
    shutil.copy(saved["cell"] / "x.npz", tmp_path / "x.npz")
    value, message = CELLS[name]
    assert name in read_arrays(tmp_path / "x.npz")
    rewritten(tmp_path / "x.npz", lambda header, arrays: arrays.update({name: value}))
    with pytest.raises(SavedFileError, match=f"x.npz is not a complete cell file.*{message}"):
        load_cell(tmp_path / "x.npz")


@pytest.mark.parametrize("kind", ["traces", "fit", "emulator"])
@pytest.mark.parametrize("change", ["half", "text", "shape", "more", "fewer"])
def test_arrays_of_another_kind_or_shape(saved, tmp_path, kind, change):
    shutil.copy(saved[kind] / "x.npz", tmp_path / "x.npz")
    name = {"traces": "v", "fit": "losses", "emulator": "leaf_0"}[kind]

    def spoil(header, arrays):
        array = arrays[name]
        if change == "half":
            arrays[name] = array.astype(np.float16)
        elif change == "text":
            arrays[name] = array.astype(str)
        elif change == "shape":
            arrays[name] = array[:-1]
        elif change == "more":
            arrays["more"] = array
        else:
            del arrays[name]

    rewritten(tmp_path / "x.npz", spoil)
    with pytest.raises(SavedFileError, match=f"x.npz is not a complete {kind} file"):
        KINDS[kind][2](tmp_path)


def test_what_cannot_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="celsius must be finite"):
        save_cell(cell().set(celsius=np.nan), tmp_path / "x.npz")
    odd = dataclasses.replace(traces(), v=jnp.ones((5, 2), jnp.float16))
    with pytest.raises(ValueError, match="v cannot be saved.*float16"):
        save_traces(odd, tmp_path / "x.npz")
    half = Emulator(TCN(3, channels=2, depth=2, span=8, dendrites=1, key=0, dtype=jnp.bfloat16))
    with pytest.raises(ValueError, match="leaf_0 is of bfloat16"):
        half.save(tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


def claim(path, shape, dtype="<f8", version=b"\x01\x00"):
    """A file whose array says that it is larger than it is."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (len(text) + 10) % 64) + "\n"
    data = b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode() + b"\0" * 80
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", data)


@pytest.mark.parametrize("shape", [(10**11,), (10**6, 10**6), (11,), (9,), (0, 10**30), (-10,)])
def test_a_size_that_is_not_there_takes_no_memory(tmp_path, shape):
    claim(tmp_path / "x.npz", shape)
    with pytest.raises(SavedFileError, match=r"x\.npz is not a complete cell file: ValueError"):
        load_cell(tmp_path / "x.npz")


def test_a_member_that_claims_more_than_compression_can_do(tmp_path):
    path = write_npz(tmp_path / "x.npz", {"format": "f-1"}, {"a": np.zeros(100)})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")  # the last entry of the table: its uncompressed size
    data[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(SavedFileError, match="claims 2147483648 bytes in"):
        read_npz(path, "test file", "f-1")


def test_files_of_other_formats(tmp_path):
    path = write_npz(tmp_path / "x.npz", {"format": "jaxdend-cell-0"}, {})
    with pytest.raises(SavedFileError, match=r"x.npz has format 'jaxdend-cell-0', of another ver"):
        load_cell(path)
    with pytest.raises(SavedFileError, match="which is not a traces'; this version reads"):
        load_traces(path)
    with pytest.raises(SavedFileError, match="which is not an emulator's"):
        Emulator.load(path)
    with pytest.raises(SavedFileError, match="is not a complete cell file"):
        load_cell(tmp_path)  # a folder


def test_files_of_two_runs_are_not_one_result(saved, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(saved["task"], folder)
    other = dataclasses.replace(fit(), seconds=3.0)
    other.save(folder / "fit.npz")
    with pytest.raises(SavedFileError, match="fit.npz is not as it was written with result.json"):
        TaskResult.load(folder)


def test_results_without_checksums_are_read(saved, tmp_path):
    """As version 0.1.0 wrote them."""
    folder = tmp_path / "copy"
    shutil.copytree(saved["task"], folder)
    about = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert about["crc32"]["fit.npz"] == zlib.crc32((folder / "fit.npz").read_bytes())
    del about["crc32"]
    (folder / "result.json").write_text(json.dumps(about), encoding="utf-8")
    arrays = read_arrays(folder / "params.npz")
    del arrays["header"]
    np.savez(folder / "params.npz", **arrays)
    assert content(TaskResult.load(folder)) == content(TaskResult.load(saved["task"]))
