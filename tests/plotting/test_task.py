import dataclasses

import numpy as np
import pytest

from jaxdend.plotting import plot_responses, plot_task
from jaxdend.plotting.task import HIGH, LOW, TRACES
from jaxdend.tasks import AbstractNeuron, Placement, train
from running import QUIET
from toy_task import TRAINING, DrawnVeto, Rising, Veto, xor

FEW = dataclasses.replace(TRAINING, steps=4)


def trained(task):
    return train(task, seed=2, training=FEW, run=QUIET)


@pytest.fixture(scope="module")
def drawn():
    """A task whose neuron has a cell and traces, trained."""
    task = xor(DrawnVeto())
    return task, trained(task)


def dots(ax) -> list[np.ndarray]:
    """Heights of the open and of the filled dots."""
    return [np.asarray(c.get_offsets())[:, 1] for c in ax.collections if len(c.get_offsets()) == 4]


def test_a_neuron_with_everything(drawn):
    task, result = drawn
    figure, axes = plot_task(result, task)
    figure.canvas.draw()
    before, after = dots(axes["responses"])
    np.testing.assert_allclose(before, result.start_responses)
    np.testing.assert_allclose(after, result.responses)
    ax = axes["responses"]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(task.labels)
    assert ax.get_ylabel() == "response (mV)"
    assert [t.get_text() for t in ax.get_legend().get_texts()][-1] == "wanted"
    assert len(axes["traces"]) == 4
    for panel, label, wanted in zip(axes["traces"], task.labels, task.goal, strict=True):
        assert panel.get_title() == label
        assert panel.lines[0].get_color() == (HIGH if wanted else LOW)
        np.testing.assert_allclose(panel.lines[2].get_ydata(), -60.0)  # the threshold
    names = [t.get_text() for t in axes["placement"].get_legend().get_texts()]
    assert names == ["input X", "input Y"]


def test_losses_of_all_neurons(drawn):
    task, result = drawn
    ax = plot_task(result, task)[1]["learning"]
    random, *starts = ax.lines
    np.testing.assert_allclose(random.get_ydata(), result.configs)
    assert np.all(np.asarray(random.get_xdata()) < 0)
    shown = sorted(line.get_ydata()[-1] for line in starts)
    np.testing.assert_allclose(shown, np.sort(result.fit.losses[-1]))
    assert starts[-1].get_label() == "best"
    assert ax.get_title("left") == f"{result.simulations:,} simulations"


def test_synapses_stand_beside_their_branch(drawn):
    task, result = drawn

    class Crowded(AbstractNeuron):
        @property
        def space(self):
            return Veto().space

        def respond(self, params, pattern):
            return Veto().respond(params, pattern)

        def placement(self, params):
            weight = np.linspace(-1e-3, 2e-3, 30)
            sites, group = np.arange(30) % 4 + 1, np.arange(30) % 10
            return Placement(task.neuron.cell, sites, group, weight)

    figure, axes = plot_task(result, xor(Crowded()))
    figure.canvas.draw()
    ax = axes["placement"]
    marks = [c for c in ax.collections if c.get_offset_transform() != ax.transData][-30:]
    at = [c.get_offset_transform().transform(c.get_offsets())[0] for c in marks]
    assert len({tuple(np.round(p, 3)) for p in at}) == 30  # none hides another
    assert ax.get_title() == "30 synapses, up to 2 nS"
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert names[0] == "input X"
    assert names[-1] == "inhibition"
    assert len(names) <= 7
    assert axes["traces"] == []


def test_a_neuron_without_cell_or_traces():
    task = xor()
    figure, axes = plot_task(trained(task), task)
    figure.canvas.draw()
    assert axes["placement"] is None
    assert axes["traces"] == []


def test_a_task_without_threshold_or_goal():
    task = Rising(DrawnVeto(), 40)
    result = trained(task)
    figure, axes = plot_task(result, task)
    figure.canvas.draw()
    assert len(axes["traces"]) == TRACES
    for panel, i in zip(axes["traces"], [0, 6, 11, 17, 22, 28, 33, 39], strict=True):
        trace, dot = panel.lines
        assert panel.get_title() == task.labels[i]
        assert dot.get_ydata()[0] == pytest.approx(result.responses[i])
        assert dot.get_ydata()[0] in trace.get_ydata()
    assert len(axes["responses"].get_xticks()) <= 16
    texts = [t.get_text() for t in axes["responses"].get_legend().get_texts()]
    assert texts == ["before", "after training"]


def test_a_threshold_of_another_quantity_is_not_drawn_in_traces(drawn):
    task, result = drawn
    other = dataclasses.replace(result, responses=result.responses + 300.0)
    assert all(len(panel.lines) == 1 for panel in plot_task(other, task)[1]["traces"])


def test_responses_alone(drawn):
    task, result = drawn
    ax = plot_responses(result, task)
    assert ax.get_title("left").startswith("XOR: ")
    assert plot_responses(result, task, ax) is ax


def test_responses_that_are_not_finite(drawn):
    task, result = drawn
    broken = dataclasses.replace(result, responses=np.full(4, np.nan), configs=np.full(20, np.nan))
    plot_task(broken, task)[0].canvas.draw()
