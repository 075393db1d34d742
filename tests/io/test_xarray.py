import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.dynamics import State
from jaxdend.io import to_xarray
from jaxdend.traces import Traces

TS = jnp.linspace(0.0, 1.0, 5)
V = jnp.arange(10.0).reshape(5, 2) - 70.0


def traces(**changes) -> Traces:
    fields = {
        "ts": TS,
        "v": V,
        "sites": jnp.array([0, 3]),
        "values": {},
        "final": State(V[0], (), ()),
    }
    return Traces(**fields | changes)


@pytest.fixture
def cell() -> SimpleNamespace:
    """Four compartments, the last without a region."""
    kind = np.array([1, 3, 3, 0])
    masks = {"soma": kind == 1, "basal": kind == 3, "all": kind >= 0}
    return SimpleNamespace(
        n=4,
        regions=tuple(masks),
        region=masks.__getitem__,
        distance=np.array([0.0, 20, 40, 99]),
        section=np.array([0, 1, 1, 2]),
        x=np.array([0.5, 0.25, 0.75, 0.5]),
    )


def test_voltage_with_coordinates_and_units():
    data = to_xarray(traces())
    assert dict(data.sizes) == {"time": 5, "site": 2}
    assert float(data.v.sel(site=3, time=0.25)) == -67.0
    assert data.v.attrs["units"] == "mV"
    assert data.time.attrs["units"] == "ms"
    np.testing.assert_array_equal(data.site, [0, 3])


def test_the_cell_says_where_the_sites_are(cell):
    data = to_xarray(traces(), cell)
    assert list(data.region.values) == ["soma", ""]
    np.testing.assert_array_equal(data.distance, [0.0, 99.0])
    np.testing.assert_array_equal(data.section, [0, 2])
    assert data.distance.attrs["units"] == "µm"
    assert data.v.swap_dims(site="distance").sel(distance=99.0).shape == (5,)


def test_other_recordings():
    values = {"ca": jnp.ones((5, 7)), "gates": {"m": jnp.zeros(5), "h": jnp.ones(5)}}
    data = to_xarray(traces(values=values, v=None, sites=None))
    assert data["ca"].dims == ("time", "ca_0")
    assert data["gates['h']"].dims == ("time",)
    assert "v" not in data


@pytest.mark.parametrize("name", ["v", "time", "site"])
def test_a_name_that_is_taken(name):
    with pytest.raises(ValueError, match=f"the recording '{name}' has the name of another"):
        to_xarray(traces(values={name: jnp.ones(5)}))


def test_a_batch_comes_first():
    batch = traces(ts=jnp.stack([TS] * 3), v=jnp.stack([V] * 3), sites=jnp.array([[0, 3]] * 3),
                   values={"ca": jnp.ones((3, 5, 7))})  # fmt: skip
    data = to_xarray(batch)
    assert data.v.dims == ("batch", "time", "site")
    assert data.ca.dims == ("batch", "time", "ca_0")
    assert data.time.dims == ("time",)
    np.testing.assert_array_equal(data.site, [0, 3])


def test_a_batch_of_batches_with_different_sites(cell):
    sites = jnp.arange(4).reshape(2, 2, 1)
    batch = traces(ts=jnp.broadcast_to(TS, (2, 2, 5)), v=jnp.zeros((2, 2, 5, 1)), sites=sites)
    data = to_xarray(batch, cell)
    assert data.v.dims == ("batch_0", "batch_1", "time", "site")
    assert data.region.values[..., 0].tolist() == [["soma", "basal"], ["basal", ""]]
    np.testing.assert_array_equal(data.compartment, sites)


def test_without_xarray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r'pip install "jaxdend\[xarray\]"'):
        to_xarray(traces())
