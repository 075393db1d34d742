import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.dynamics import State
from jaxdend.io import load_traces, save_traces
from jaxdend.traces import Traces


@pytest.fixture
def traces() -> Traces:
    """Five times of two sites, and everything that a state may hold."""
    ts = jnp.linspace(0.0, 1.0, 5)
    state = State(
        jnp.arange(4.0), ({"m": jnp.ones(3), "h": jnp.zeros(3)}, {}), ((), (jnp.ones(2),))
    )
    values = {"ca": jnp.ones((5, 7)), "both": (ts, [ts, None])}
    return Traces(ts, ts[:, None] * jnp.array([1.0, -70.0]), jnp.array([0, 3]), values, state)


def test_round_trip(traces, tmp_path):
    path = save_traces(traces, tmp_path / "new" / "run")
    assert path.name == "run.npz"
    loaded = load_traces(path)
    assert jax.tree.structure(loaded) == jax.tree.structure(traces)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(traces), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == ["run.npz"]


def test_plain_numpy_reads_it(traces, tmp_path):
    with np.load(save_traces(traces, tmp_path / "run.npz"), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["v"], traces.v)
        np.testing.assert_array_equal(file["values.ca"], traces.values["ca"])


def test_without_recorded_sites(traces, tmp_path):
    bare = Traces(traces.ts, None, None, {}, traces.final)
    assert load_traces(save_traces(bare, tmp_path / "run.npz")).v is None


def test_what_cannot_be_saved_leaves_no_file(traces, tmp_path):
    odd = Traces(traces.ts, traces.v, traces.sites, {"f": lambda x: x}, traces.final)
    with pytest.raises(ValueError, match=r"values\.f cannot be saved: it is a function"):
        save_traces(odd, tmp_path / "run.npz")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_traces(traces, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_traces(tmp_path / "none.npz")
    whole = save_traces(traces, tmp_path / "run.npz").read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.npz is not a complete traces file"):
            load_traces(path)
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="is not a complete traces file"):
        load_traces(tmp_path / "other.npz")
