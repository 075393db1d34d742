"""Running a sweep: what is computed, where, how much at a time, and how it stops."""

import math
import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from jaxdend import SimulationError
from jaxdend.sweep import _engine, _memory, failed_points, open_sweep, run_sweep
from jaxdend.sweep._program import Program
from small_sweep import TWO, Small, files, make


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep `TWO`, uninterrupted."""
    out = tmp_path_factory.mktemp("sweep") / "two.zarr"
    return run_sweep(make, TWO, out, chunk=10, progress=False)


def expected(design, name):
    rows = []
    for labels, start, stop in design.groups:
        points = design.points(np.arange(start, stop))
        rows.append(np.asarray(jax.vmap(make(labels))(points)[name]))
    return np.concatenate(rows)


def test_every_point_is_what_its_function_says(whole):
    ds = xarray.open_zarr(whole.out)  # warnings are errors: none while opening
    status = ds.status.values
    b = np.arange(333) % 7
    np.testing.assert_array_equal(status, np.where(b == 5, 3, np.where(b == 3, 2, 1)))
    good = status != 3
    np.testing.assert_allclose(ds.trace.values[good], expected(TWO, "trace")[good], rtol=1e-12)
    np.testing.assert_array_equal(ds["count"].values, expected(TWO, "count"))
    assert np.isnan(ds.trace.values[~good]).all()
    np.testing.assert_array_equal(ds.a.values, 0.1 * np.arange(333))
    np.testing.assert_array_equal(ds.scale.values, np.where(np.arange(333) < 100, 1.0, 2.0))
    assert ds.trace.dims == ("point", "trace_0")
    assert ds.trace.dtype == jnp.result_type(float)
    assert ds.attrs["jaxdend"]["precision"] == "float64"
    assert "not_finite" in ds.status.attrs["flag_meanings"]


def test_summary_and_failed_points(whole):
    b = np.arange(333) % 7
    assert whole.complete
    assert not whole.interrupted
    assert whole.computed == whole.points == 333
    assert whole.counts["simulation_failed"] == np.sum(b == 5)
    assert whole.failed == np.sum((b == 5) | (b == 3))
    rows = failed_points(whole.out, most=40)
    assert rows[0] == {
        "point": 3, "status": "not_finite", "a": pytest.approx(0.3), "b": 3, "cell": "one",
        "scale": 1.0,
    }  # fmt: skip
    assert rows[1]["status"] == "simulation_failed"
    assert len(rows) == 40
    assert list(np.unique(open_sweep(whole.out).cell)) == ["one", "two"]


@pytest.mark.parametrize("devices", [1, 2])
def test_the_store_does_not_depend_on_the_number_of_devices(whole, tmp_path, devices, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:devices])
    run_sweep(make, TWO, tmp_path / "out", chunk=10, progress=False)
    assert files(tmp_path / "out") == files(whole.out)


def test_finished_is_finished(whole):
    before = files(whole.out)
    again = run_sweep(make, TWO, whole.out, resume=True, progress=False)
    assert (again.computed, again.complete) == (0, True)
    assert files(whole.out) == before


def test_a_sweep_of_labels_alone(tmp_path):
    class Labels(Small):
        def points(self, indices):
            return {}

    design = Labels(2, (1, 1), ({"k": 1}, {"k": 2}))
    run_sweep(
        lambda labels: lambda point: {"square": jnp.asarray(labels["k"] ** 2)},
        design, tmp_path / "out", progress=False,
    )  # fmt: skip
    np.testing.assert_array_equal(xarray.open_zarr(tmp_path / "out").square, [1, 4])


def test_a_point_can_say_what_became_of_it(tmp_path):
    """NaN may be a good answer; a status that means nothing is a failure."""

    def judge(labels):
        return lambda p: {"x": jnp.log(p["a"] - 0.35), "status": p["b"]}

    summary = run_sweep(judge, Small(7), tmp_path / "out", progress=False)
    ds = xarray.open_zarr(tmp_path / "out")
    np.testing.assert_array_equal(ds.status, [3, 1, 2, 3, 3, 3, 3])
    assert np.isnan(ds.x.values).all()
    assert summary.rate > 0


def test_ctrl_c_stops_after_the_chunk_and_resume_goes_on(whole, tmp_path, monkeypatch, capsys):
    out, write, calls = tmp_path / "out", _engine.Store.write, []

    def interrupted(*args):
        calls.append(None)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        write(*args)

    monkeypatch.setattr(_engine.Store, "write", interrupted)
    first = run_sweep(make, TWO, out, chunk=10)
    assert first.interrupted
    assert 0 < first.computed < 333
    assert "resume" in capsys.readouterr().err
    second = run_sweep(make, TWO, out, resume=True, progress=False)
    assert second.complete
    assert second.computed == 333 - first.computed
    assert files(out) == files(whole.out)
    assert "stopped" in (tmp_path / "out.log").read_text()


def test_in_another_thread_there_are_no_signals(tmp_path):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(
            run_sweep(make, Small(20), tmp_path / "out", chunk=10, progress=False)
        )
    )
    thread.start()
    thread.join()
    assert results[0].complete


def test_errors_of_a_group_come_before_anything_is_computed(tmp_path):
    def broken(labels):
        if labels["cell"] == "two":
            raise ValueError("no such file")
        return make(labels)

    with pytest.raises(ValueError, match="'two'.*no such file"):
        run_sweep(broken, TWO, tmp_path / "out")

    def uneven(labels):
        return lambda point: {"x": jnp.zeros(2 if labels["cell"] == "two" else 3)}

    with pytest.raises(ValueError, match="same arrays"):
        run_sweep(uneven, TWO, tmp_path / "out")
    with pytest.raises(ValueError, match="returns a dict"):
        run_sweep(lambda labels: lambda p: p["a"], TWO, tmp_path / "out")
    with pytest.raises(ValueError, match="'a' is taken"):
        run_sweep(lambda labels: lambda p: {"a": p["a"]}, TWO, tmp_path / "out")
    with pytest.raises(ValueError, match="chunk must be"):
        run_sweep(make, TWO, tmp_path / "out", chunk=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("message", "kind", "advice"),
    [
        ("INTERNAL: blown up", SimulationError, "throw=False"),
        ("RESOURCE_EXHAUSTED: out of memory", MemoryError, "smaller chunk"),
    ],
)
def test_a_program_that_fails(tmp_path, monkeypatch, message, kind, advice):
    def fails(*args):
        raise jax.errors.JaxRuntimeError(message)

    monkeypatch.setattr(Program, "__call__", fails)
    with pytest.raises(kind, match=advice):
        run_sweep(make, Small(20), tmp_path / "out", chunk=5, progress=False)
    assert message in (tmp_path / "out.log").read_text()


def test_size_fills_the_memory(tmp_path):
    """A trace of 80 kB a point: as many as fit, none too many, and an error where none does."""

    def traces(labels):
        return lambda p: {"x": jnp.cumsum(jnp.full(10_000, p["a"]))}

    design = Small(400)
    with pytest.raises(MemoryError, match=r"one point .* needs .* GiB"):
        run_sweep(traces, design, tmp_path / "none", memory=50_000)
    assert not (tmp_path / "none").exists()
    some = run_sweep(traces, design, tmp_path / "some", memory=6_000_000, progress=False)
    assert 5 <= some.lanes <= 40
    assert some.complete


def test_size_takes_its_time():
    class Fake:
        def __init__(self, size):
            self.size = size
            self.bytes_needed, self.bytes_out = 1000 * size.lanes, 8 * size.lanes

        def __call__(self, points):
            return np.zeros(1)

    def cost(program, points):  # cheapest at 32 abreast
        lanes = program.size.lanes
        return lanes * (0.01 if lanes == 32 else 0.02)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_memory, "_time", cost)
        size = _memory.choose_size(Fake, lambda n: {}, 10**6, 10**9, 10.0, 2)
        assert (size.lanes, size.rounds) == (pytest.approx(1000, rel=0.01), 32)
        few = _memory.choose_size(Fake, lambda n: {}, 100, 10**9, 10.0, 2)
        assert few.lanes == 32
        some = _memory.choose_size(Fake, lambda n: {}, 1000, 10**9, 10.0, 2)
        assert math.ceil(500 / some.lanes) == 8
        tight = _memory.choose_size(Fake, lambda n: {}, 10**6, 20_000, 10.0, 2)
        assert tight.lanes / tight.rounds <= 20


def test_free_memory_is_known():
    assert 2**20 < _memory.free_memory(jax.devices()[0]) < 2**46
