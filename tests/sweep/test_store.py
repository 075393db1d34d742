"""The store of a sweep: what a reader sees, other configurations, full disks and damaged files."""

import errno
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
import zarr

from jaxdend import SavedFileError
from jaxdend.files import locked
from jaxdend.sweep import Store, _store, failed_points, grid, open_sweep, run_sweep
from small_sweep import TWO, Small, files, make

DESIGN = Small(60)
ABOUT = {"a": {"units": "nA", "long_name": "current"}, "last": {"units": "mV"}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("store") / "whole.zarr"
    run_sweep(make, DESIGN, out, chunk=10, progress=False, attributes=ABOUT)
    return out


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy.zarr")
    return tmp_path / "copy.zarr"


def go_on(out, design=DESIGN, make=make, **options):
    options = {"attributes": ABOUT, "progress": False, "resume": True} | options
    return run_sweep(make, design, out, **options)


def test_units_are_whole_chunks_of_every_array(whole):
    store = Store.open(whole)
    assert (store.n, store.lanes, store.units) == (60, 10, 6)
    for name, array in store.arrays.items():
        assert array.chunks[0] == 10, name
        assert len(list((whole / name / "c").iterdir())) == 6, name
    ds = xarray.open_zarr(whole)
    assert ds.a.attrs == ABOUT["a"]
    assert ds["last"].attrs == ABOUT["last"]


def test_a_running_sweep_can_be_read(tmp_path, monkeypatch):
    seen, write = [], Store.write

    def look(self, unit, *args):
        ds = xarray.open_zarr(self.path)
        seen.append(int((ds.status > 0).sum()))
        assert np.isnan(ds.a.values[ds.status.values == 0]).all()
        write(self, unit, *args)

    monkeypatch.setattr(Store, "write", look)
    run_sweep(make, DESIGN, tmp_path / "out", chunk=10, progress=False)
    assert seen == [0, 10, 20, 30, 40, 50]


def test_what_is_there_is_not_overwritten(copy, tmp_path):
    with pytest.raises(FileExistsError, match="resume"):
        go_on(copy, resume=False)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ValueError, match="not the store of a jaxdend sweep"):
        go_on(other)
    zarr.open_group(str(tmp_path / "theirs"), mode="w", attributes={"jaxdend": {"format": "x"}})
    with pytest.raises(ValueError, match="not the store"):
        go_on(tmp_path / "theirs")
    with pytest.raises(FileNotFoundError, match="no sweep"):
        open_sweep(tmp_path / "nothing")


def stronger(labels):
    f = make({"scale": 1.5})
    return lambda point: f(point)


def more(labels):
    return lambda point: make(labels)(point) | {"more": point["a"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"design": Small(70)}, "points: 60 in the store, 70 here"),
        ({"design": Small(60, note="x")}, r'design.note: "" in the store, "x" here'),
        ({"make": stronger}, "fingerprint: "),
        ({"make": more}, "arrays.more: not in the store"),
        ({"program": {"dt": 0.1}}, "program.dt: not in the store, here 0.1"),
        ({"chunk": 20}, "lanes: 10 in the store, 20 here"),
    ],
)
def test_another_configuration_is_refused(copy, options, message):
    before = files(copy)
    with pytest.raises(ValueError, match=message):
        go_on(copy, **options)
    assert files(copy) == before


def test_another_precision_is_refused(copy):
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match='"float64" in the store, "float32"'),
    ):
        go_on(copy)


def test_a_full_disk_loses_nothing(whole, tmp_path, monkeypatch):
    out, sync, calls = tmp_path / "out", _store._sync, []

    def full(path):
        calls.append(path)
        if path.parts[-3:] == ("last", "c", "3"):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    monkeypatch.setattr(_store, "_sync", full)
    with pytest.raises(
        OSError, match="the disk is full, writing points 30 to 39.*resume"
    ) as caught:
        go_on(out, chunk=10)
    assert caught.value.errno == errno.ENOSPC
    np.testing.assert_array_equal(Store.open(out).done(), [True] * 3 + [False] * 3)
    monkeypatch.setattr(_store, "_sync", sync)
    assert go_on(out).computed == 30
    assert files(out) == files(whole)


def test_a_disk_that_is_full_at_once(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_store, "_sync", full)
        with pytest.raises(OSError, match="the disk is full, creating the store"):
            go_on(tmp_path / "out", chunk=10)
    assert not (tmp_path / "out").exists()
    assert go_on(tmp_path / "out", chunk=10).complete


def test_missing_and_damaged_files_are_computed_again(whole, copy):
    (copy / "last" / "c" / "2").unlink()
    (copy / "a" / "c" / "4").write_bytes(b"")
    (copy / "status" / "c" / "5").write_bytes(b"12345")
    assert go_on(copy).computed == 30
    assert files(copy) == files(whole)
    damaged = copy / "trace" / "c" / "1" / "0"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(Exception, match="[Cc]hecksum"):
        xarray.open_zarr(copy).trace.load()
    assert go_on(copy).computed == 0  # only names and sizes are looked at
    assert go_on(copy, verify=True).computed == 10
    assert files(copy) == files(whole)


def test_what_killed_writers_leave_is_removed(whole, copy):
    (copy / "status" / "c" / "3").unlink()
    (copy / "status" / "c" / "3.0123.partial").write_bytes(b"half")
    draft = copy.parent / ".fresh.zarr.unfinished"
    draft.mkdir()
    (draft / "zarr.json").write_text("{")
    assert go_on(copy).computed == 10
    assert files(copy) == files(whole)
    assert go_on(copy.parent / "fresh.zarr", chunk=10).complete
    assert not draft.exists()


def test_two_runs_do_not_share_a_store(copy):
    with locked(copy), pytest.raises(BlockingIOError, match="another run"):
        go_on(copy)


def test_every_kind_of_output(tmp_path):
    def kinds(labels):
        return lambda p: {
            "flag": p["b"] == 2,
            "small": p["b"].astype(jnp.int8),
            "phase": jnp.exp(1j * p["a"]),
            "table": jnp.full((2, 3), p["a"], jnp.float32),
        }

    run_sweep(kinds, DESIGN, tmp_path / "out", chunk=25, progress=False)
    ds = xarray.open_zarr(tmp_path / "out").load()
    assert (ds.flag.dtype, ds.small.dtype, ds.phase.dtype) == (bool, np.int8, np.complex128)
    assert (ds.table.shape, ds.table.dtype) == ((60, 2, 3), np.float32)
    assert (ds.status == 1).all()
    assert run_sweep(kinds, DESIGN, tmp_path / "out", resume=True, progress=False).computed == 0
    with pytest.raises(ValueError, match="'x' has no elements"):
        run_sweep(lambda labels: lambda p: {"x": jnp.zeros((0,))}, DESIGN, tmp_path / "none")


def test_without_zarr(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(ImportError, match=r"jaxdend\[sweep\]"):
        run_sweep(make, TWO, tmp_path / "out")


def lose(store, name, unit):
    """Remove a file as an interrupted copy does."""
    file = store / name / "c" / str(unit)
    (file / "0" if file.is_dir() else file).unlink()


@pytest.mark.parametrize("name", ["trace", "last", "count", "a", "b"])
@pytest.mark.parametrize("empty", [False, True])
def test_points_that_lost_files_are_not_done_for_every_reader(whole, copy, name, empty):
    lose(copy, name, 2)
    if empty:
        file = copy / name / "c" / "2"
        (file / "0" if file.is_dir() else file).write_bytes(b"")
    store = Store.open(copy)
    assert store.lost() == [2]
    np.testing.assert_array_equal(np.flatnonzero(~store.done()), [2])
    assert store.counts()[0] == 10
    with pytest.warns(UserWarning, match=r"copy\.zarr has lost files of 10 points.*--resume"):
        ds = open_sweep(copy)
    np.testing.assert_array_equal(np.flatnonzero(ds.status.values == 0), np.arange(20, 30))
    good = open_sweep(whole)
    kept = np.r_[0:20, 30:60]
    np.testing.assert_array_equal(ds.status.values[kept], good.status.values[kept])
    with pytest.warns(UserWarning, match="lost files"):
        assert [row["point"] for row in failed_points(copy) if 20 <= row["point"] < 30] == []
    assert go_on(copy).computed == 10
    assert files(copy) == files(whole)


def test_files_that_are_no_units_are_passed_over(whole, copy):
    for name in ("99", "6", "007", "-1", "٣", "x", ".DS_Store"):
        (copy / "status" / "c" / name).write_bytes(b"stray")
    store = Store.open(copy)
    assert store.done().all()
    assert store.counts() == Store.open(whole).counts()
    assert len(store.times()) == 6
    np.testing.assert_array_equal(open_sweep(copy).status, open_sweep(whole).status)
    assert go_on(copy).computed == 0


@pytest.mark.parametrize(("name", "file"), [("status", "3"), ("last", "3"), ("trace", "3/0")])
def test_a_damaged_file_is_named_to_every_reader(whole, copy, name, file):
    path = copy / name / "c" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    said = rf"{name}/c/{file} is damaged.*--resume --verify"
    with pytest.raises(SavedFileError, match=said):
        open_sweep(copy)[name].load()
    store = Store.open(copy)
    with pytest.raises(SavedFileError, match=said):
        store.read(name, 3)
    if name == "status":
        with pytest.raises(SavedFileError, match=said):
            store.counts()
    assert go_on(copy, verify=True).computed == 10
    assert files(copy) == files(whole)


@pytest.mark.parametrize("how", ["array description", "unlike"])
def test_a_damaged_description_is_an_error_with_the_path(copy, how):
    described = json.loads((copy / "zarr.json").read_text(encoding="utf-8"))
    inner = described["consolidated_metadata"]["metadata"]
    if how == "unlike":
        inner["last"]["shape"] = [7]
    else:
        del inner["last"]
        (copy / "last" / "zarr.json").unlink()
    (copy / "zarr.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(SavedFileError, match=r"copy\.zarr is not a complete store"):
        open_sweep(copy)


WRONG = {
    "status": "is taken",
    "point": "is taken",
    "a/b": "use no '/'",
    "a\\b": "use no '/'",
    "a\0b": "no control characters",
    "..": "begin with",
    ".hidden": "begin with",
    "__x": "begin with",
    "zarr.json": "zarr.json",
    "µ" * 128: "255 bytes",
    "trace_0": "dimension of the output 'trace'",
    "a": "an axis and an output are both called 'a'",
}


@pytest.mark.parametrize("name", WRONG)
def test_names_that_a_store_cannot_have_are_refused_before_anything_runs(tmp_path, name):
    if name not in ("status",):  # which says what became of the point, see `run_sweep`
        asked = []

        def named(labels):
            asked.append(labels)
            return lambda p: {"trace": jnp.zeros(3), name: p["a"]}

        with pytest.raises(ValueError, match=WRONG[name]):
            run_sweep(named, DESIGN, tmp_path / "out", progress=False)
        assert len(asked) == 1  # to look at the shapes
    if name not in ("trace_0", "a"):
        with pytest.raises(ValueError, match=WRONG[name]):
            run_sweep(
                lambda labels: lambda p: {"x": p[name]}, grid({name: [1.0, 2.0]}),
                tmp_path / "out", progress=False,
            )  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["x[b]", "p$_{$", "a b", "µ", "c", "x.y:z", "0", "a'\"b", "%s{}"])
def test_any_other_name_comes_back(tmp_path, name):
    run_sweep(
        lambda labels: lambda p: {f"out {name}": 2 * p[name]}, grid({name: [1.0, 2.0, 3.0]}),
        tmp_path / "out", chunk=2, progress=False,
    )  # fmt: skip
    ds = open_sweep(tmp_path / "out")
    assert set(ds.coords) == {name, "status"}
    np.testing.assert_array_equal(ds[name], [1, 2, 3])
    np.testing.assert_array_equal(ds[f"out {name}"], [2, 4, 6])
