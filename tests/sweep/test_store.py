"""The store of a sweep: what a reader sees, other configurations, full disks and damaged files."""

import errno
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
import zarr

from jaxdend.sweep import Store, _store, open_sweep, run_sweep
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
    with _store.locked(copy), pytest.raises(BlockingIOError, match="another run"):
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
