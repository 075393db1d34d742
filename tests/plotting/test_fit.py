from types import SimpleNamespace

import numpy as np
import pytest

from jaxdend.plotting import plot_fit
from running import QUIET

TS = np.linspace(0.0, 10.0, 21)
TRUE = {"gna": 0.12, "gk": np.array([0.03, 0.04]), "e": -65.0}


@pytest.fixture
def result() -> SimpleNamespace:
    """Six steps of three starts, of which the second (1) ends best."""
    losses = np.array([10.0, 8.0, 9.0]) * np.array([1.0, 0.1, 0.5]) ** np.arange(6)[:, None]
    losses[2, 0] = np.nan
    start = {name: np.stack([np.asarray(x) * k for k in (0.5, 2, 3)]) for name, x in TRUE.items()}
    fitted = {
        name: np.stack([np.asarray(x) * k for k in (0.9, 1, 1.2)]) for name, x in TRUE.items()
    }
    return SimpleNamespace(losses=losses, start_params=start, all_params=fitted)


def dots(ax, label: str) -> np.ndarray:
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(line.get_xdata(), float)


def test_loss_and_parameters(result):
    _, axes = plot_fit(result, TRUE)
    assert axes["traces"] == []
    assert axes["loss"].get_yscale() == "log"
    (best,) = [line for line in axes["loss"].lines if line.get_label() == "best of 3 starts"]
    np.testing.assert_allclose(best.get_ydata(), result.losses[:, 1])
    ax = axes["parameters"]
    assert ax.get_xscale() == "log"
    np.testing.assert_allclose(dots(ax, "best"), 1.0)
    np.testing.assert_allclose(dots(ax, "start").reshape(4, 3), [[0.5, 2.0, 3.0]] * 4)
    names = [t.get_text().split("\n")[0] for t in ax.get_yticklabels()]
    assert names == ["gna", "gk[0]", "gk[1]", "e"]


def test_traces_are_drawn_for_every_site(result):
    v = np.sin(TS)[:, None] * np.ones(2)
    figure, axes = plot_fit(
        result, TRUE, ts=TS, target=v, before=v + 1, after=v, labels=["soma", "tip"]
    )
    assert len(axes["traces"]) == 2
    for ax, title in zip(axes["traces"], ["soma", "tip"], strict=True):
        assert [line.get_label() for line in ax.lines] == ["target", "start", "fitted"]
        assert ax.get_title("left") == title
    np.testing.assert_allclose(axes["traces"][1].lines[1].get_ydata(), v[:, 1] + 1)
    figure.canvas.draw()


def test_at_most_four_sites(result):
    _, axes = plot_fit(result, ts=TS, target=np.zeros((21, 9)))
    assert len(axes["traces"]) == 4


def test_without_true_parameters_the_values_themselves(result):
    _, axes = plot_fit(result)
    ax = axes["parameters"]
    assert ax.get_xlabel() == "value (6 of other sign not shown)"  # e, three starts and three ends
    np.testing.assert_allclose(dots(ax, "start")[:3], [0.06, 0.24, 0.36])


def test_a_true_zero_is_left_out_not_an_error(result):
    _, axes = plot_fit(result, TRUE | {"e": 0.0})
    assert "6 of other sign not shown" in axes["parameters"].get_xlabel()


def test_units_come_from_the_space(result):
    result.space = {name: SimpleNamespace(unit="S/cm2") for name in TRUE}
    _, axes = plot_fit(result, TRUE)
    assert axes["parameters"].get_yticklabels()[0].get_text() == "gna\n0.12 S/cm²"


def test_one_start_and_a_flat_history(result):
    one = SimpleNamespace(losses=np.ones(5), start_params={"g": [1.0]}, all_params={"g": [2.0]})
    _, axes = plot_fit(one)
    assert axes["loss"].get_legend() is None
    never = SimpleNamespace(losses=np.full((5, 1), np.nan), start_params={"g": [1.0]},
                            all_params={"g": [2.0]})  # fmt: skip
    plot_fit(never)[0].canvas.draw()


def test_bad_input(result):
    with pytest.raises(ValueError, match="the true parameters lack gk, e"):
        plot_fit(result, {"gna": 0.12})
    with pytest.raises(ValueError, match=r"needs ts= \(t,\) ms to draw target"):
        plot_fit(result, target=np.zeros(21))
    with pytest.raises(ValueError, match=r"one shape; got target \(21, 1\), fitted \(21, 2\)"):
        plot_fit(result, ts=TS, target=np.zeros(21), after=np.zeros((21, 2)))
    with pytest.raises(ValueError, match="target must be"):
        plot_fit(result, ts=TS, target=np.zeros(20))
    with pytest.raises(ValueError, match="labels must be one a recorded site"):
        plot_fit(result, ts=TS, target=np.zeros((21, 2)), labels=["a"])
    with pytest.raises(ValueError, match="no parameters"):
        plot_fit(SimpleNamespace(losses=np.ones(3), start_params={}, all_params={}))


def test_a_result_of_the_fitting_loop():
    import jax.numpy as jnp

    from jaxdend.fitting import Parameter, ParameterSpace, fit

    space = ParameterSpace(
        {
            "g": Parameter(0.01, 1.0, unit="S/cm2"),
            "e": Parameter(-90.0, -50.0, "linear", "mV", (2,)),
        }
    )

    def loss(p):
        return jnp.log(p["g"] / 0.1) ** 2 + jnp.sum((p["e"] + 70.0) ** 2)

    found = fit(loss, space, starts=4, steps=10, run=QUIET)
    figure, axes = plot_fit(found, {"g": 0.1, "e": -70.0})
    figure.canvas.draw()
    names = [t.get_text() for t in axes["parameters"].get_yticklabels()]
    assert names == ["g\n0.1 S/cm²", "e[0]\n-70 mV", "e[1]\n-70 mV"]
