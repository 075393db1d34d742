from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.plotting import kymograph, plot_traces
from jaxdend.plotting.traces import nice_length

TS = np.linspace(0.0, 10.0, 41)
V = -65.0 + np.arange(3) + np.sin(TS)[:, None]


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_lines_labels_and_units():
    ax = plot_traces(
        SimpleNamespace(ts=jnp.asarray(TS), v=jnp.asarray(V), sites=jnp.array([0, 7, 9]))
    )
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines], V.T)
    assert legend(ax) == ["site 0", "site 7", "site 9"]
    assert ax.get_xlabel() == "time (ms)"
    assert ax.get_ylabel() == "voltage (mV)"
    assert legend(plot_traces(SimpleNamespace(ts=TS, v=V))) == ["site 0", "site 1", "site 2"]
    assert legend(plot_traces(SimpleNamespace(ts=TS, v=V), labels=list("abc"))) == list("abc")


def test_one_trace_has_no_legend_unless_named():
    assert plot_traces(SimpleNamespace(ts=TS, v=V[:, 0])).get_legend() is None
    assert legend(plot_traces(SimpleNamespace(ts=TS, v=V[:, 0]), labels=["soma"])) == ["soma"]


def test_stack_shifts_the_traces_and_shows_a_bar():
    ax = plot_traces(SimpleNamespace(ts=TS, v=V), stack=30.0, colors=["k", "r", "b"])
    np.testing.assert_allclose(ax.lines[2].get_ydata(), V[:, 2] - 60.0)
    assert [text.get_text() for text in ax.texts] == ["1 mV"]
    assert len(ax.get_yticks()) == 0


def test_shapes_that_do_not_match():
    with pytest.raises(ValueError, match=r"v must be \(t,\) or \(t, r\).*plot one member"):
        plot_traces(SimpleNamespace(ts=TS, v=np.zeros((5, 41, 3))))
    with pytest.raises(ValueError, match="t = len"):
        plot_traces(SimpleNamespace(ts=TS[:-1], v=V))
    with pytest.raises(ValueError, match="labels must be one a recorded site"):
        plot_traces(SimpleNamespace(ts=TS, v=V), labels=["a"])
    with pytest.raises(ValueError, match="labels must be one a recorded site"):
        plot_traces(SimpleNamespace(ts=TS, v=V), labels="abc")
    with pytest.raises(ValueError, match="colors must be one a site"):
        plot_traces(SimpleNamespace(ts=TS, v=V), colors=["k"])


def test_kymograph_sorts_by_distance():
    ax = kymograph(TS, V, [50.0, 0.0, 20.0])
    np.testing.assert_allclose(ax.collections[0].get_array(), V[:, [1, 2, 0]].T)
    assert ax.get_ylabel() == "distance from soma (µm)"
    assert ax.figure.axes[1].get_ylabel() == "voltage (mV)"
    with pytest.raises(ValueError, match=r"distance must be \(r,\) = \(3,\)"):
        kymograph(TS, V, [1.0, 2.0])


def test_kymograph_of_one_site():
    assert kymograph(TS, V[:, :1], [10.0]).collections[0].get_array().shape == (1, 41)


@pytest.mark.parametrize(
    ("extent", "length"), [(390.0, 50.0), (1000.0, 200.0), (4.0, 1.0), (0.9, 0.2)]
)
def test_nice_length(extent, length):
    assert nice_length(extent, 0.25) == pytest.approx(length)
