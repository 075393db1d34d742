"""Templates say what a network looks for, where and when."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.emulator.interpretation import (
    by_place,
    direction_selectivity,
    exponential,
    order_response,
    preferred_direction,
    templates,
    tuft_mass,
    tuft_share,
    unit_exponentials,
)
from jaxdend.emulator.networks import ELM, TCN, UnitNet

META = {
    "exc": 4,
    "region": ["basal", "basal", "tuft", "tuft", "basal", "tuft"],
    "distance": [20.0, 120.0, 310.0, 390.0, 50.0, 410.0],
}


def answer(net, i, bins=20):
    """Of the first layer to one spike of input `i` in the first bin."""
    x = np.zeros((1, bins, net.k), np.float32)
    x[0, 0, i] = 1
    conv = net.fold().convs[0]
    y, _ = conv(jnp.asarray(x), conv.start(1))
    return np.asarray(y[0]) - np.asarray(conv.bias)


def test_templates_are_answers_to_single_spikes():
    net = TCN(6, channels=3, kernels=(5, 4))
    _, net = net.learn(jnp.asarray(np.random.default_rng(0).random((3, 30, 6)) < 0.3))
    found = templates(net)
    assert found.shape == (3, 5, 6)
    for i in range(6):
        np.testing.assert_allclose(found[:, :, i].T, answer(net, i)[:5], rtol=1e-4, atol=1e-6)


def test_a_unit_s_template_is_the_voltage_it_predicts():
    net = eqx.tree_at(lambda n: n.heads.weight, UnitNet(6, span=5), jnp.asarray([[0.5, -3.0]]))
    x = np.zeros((9, 6))
    x[0, 2] = 1
    (found,) = templates(net)
    v = np.asarray(net(x).v) - np.asarray(net(0 * x).v)
    np.testing.assert_allclose(found[:, 2], v[:5], atol=2e-5)


def test_an_elm_neuron_s_templates_are_its_branches():
    net = ELM(6, memory=2, branches=3, synapses=2)
    found = templates(net, lags=7)
    assert found.shape == (3, 7, 6)
    np.testing.assert_allclose(found[:, 0], np.asarray(net.weights()).T)
    np.testing.assert_allclose(found[:, 5], found[:, 0] * np.exp(-1), rtol=1e-6)
    assert np.all(found[:, 0, :3] >= 0)
    assert np.all(found[:, 0, 3:] <= 0)


def test_templates_are_laid_over_the_tree():
    w = np.random.default_rng(0).normal(size=(2, 3, 6))
    found = by_place(w, META)
    places = list(zip(found.excitatory, found.region, found.distance[:, 0], found.count))  # noqa: B905
    assert places == [
        (True, "basal", 0, 1),
        (True, "basal", 100, 1),
        (True, "tuft", 300, 2),
        (False, "basal", 0, 1),
        (False, "tuft", 400, 1),
    ]
    np.testing.assert_allclose(found.values[..., 2], w[..., 2:4].mean(axis=-1))
    np.testing.assert_array_equal(found.values[..., 3], w[..., 4])


def test_the_mass_on_the_tuft():
    w = np.zeros((2, 4, 6))
    w[0, 1, 2], w[1, 2, 5], w[0, 0, 0] = 3.0, -3.0, 2.0
    assert tuft_mass(w, META) == pytest.approx(0.75)
    assert tuft_mass(w, META, region="basal") == pytest.approx(0.25)
    assert tuft_mass(np.ones((1, 4, 6)), META) == pytest.approx(tuft_share(META))
    noise = np.random.default_rng(0).normal(size=(1, 80, 6))
    slow = np.zeros((1, 80, 6))
    slow[..., 2] = 1.0
    assert tuft_mass(slow + noise, META, smooth=20) > tuft_mass(slow + noise, META) + 0.1


def test_a_template_of_an_order_is_selective_for_it():
    w = np.zeros((3, 12, 4))
    for i in range(4):
        w[0, 2 * (3 - i), i] = 1.0  # the first input's spike is the oldest
        w[1, 2 * i, i] = 1.0
        w[2, :, i] = 1.0
    found = direction_selectivity(w, [0, 1, 2, 3], intervals=(0, 2))
    assert found.shape == (3, 2)
    np.testing.assert_allclose(found[:, 0], 0.0)
    np.testing.assert_allclose(found[:, 1], [0.6, -0.6, 0.0])
    assert not direction_selectivity(-np.ones((1, 3, 4)), [0, 1]).any()


def test_filters_that_carry_weight_have_a_direction():
    """Inward, outward turned over, neither; and one that is not read out."""
    w = np.zeros((4, 12, 4))
    for i in range(4):
        w[0, 2 * (3 - i), i] = w[3, 2 * i, i] = 1.0
        w[1, 2 * i, i] = -1.0
    w[2, 0] = 1.0
    net = TCN(4, channels=4, kernels=(12,)).fold()
    net = eqx.tree_at(
        lambda n: (n.convs[0].weight, n.heads.weight),
        net,
        (jnp.asarray(w.transpose(1, 2, 0)[::-1]), jnp.asarray([[1, 0], [0, -1], [1, 1], [0, 0.1]])),
    )
    np.testing.assert_allclose(templates(net), w)
    np.testing.assert_allclose(preferred_direction(net, [0, 1, 2, 3]), [0.6, -0.6, 0, np.nan])


def test_peaks_of_sequences_inward_and_outward():
    """A toy that adds what came 3 ms before at the input farther out."""

    def act(x):
        hit = np.zeros(x.shape[:2])
        hit[:, 3:] = (x[:, :-3, 1:] & x[:, 3:, :-1]).sum(axis=2)
        return hit.cumsum(axis=1) - 70.0

    found = order_response(act, 5, [4, 3, 2, 1, 0], (1, 3, 5))
    np.testing.assert_array_equal(found, [[-70, -66, -70], [-70, -70, -70]])
    seen = []
    order_response(lambda x: seen.append(x) or x.sum(2), 5, [3, 1], (0, 2), rest=4, after=6)
    assert seen[0].shape == (4, 4 + 2 + 1 + 6, 5)
    assert np.argwhere(seen[0][1]).tolist() == [[4, 3], [6, 1]]
    assert np.argwhere(seen[0][2]).tolist() == [[4, 1], [4, 3]]


@pytest.mark.parametrize("tau", [0.7, 15.0, 200.0])
@pytest.mark.parametrize("amplitude", [2.0, -0.3])
def test_an_exponential_is_recovered(tau, amplitude):
    found = exponential(amplitude * np.exp(-np.arange(80) / tau))
    assert found.tau == pytest.approx(tau, rel=1e-4)
    assert found.amplitude == pytest.approx(amplitude, rel=1e-4)
    assert found.explained == pytest.approx(1.0)


def test_a_unit_s_exponentials():
    lag = np.arange(40)[::-1, None]
    w = np.concatenate([0.5 * np.exp(-lag / 10) * np.ones(3), -0.2 * np.exp(-lag / 20)], axis=1)
    net = eqx.tree_at(lambda n: n.conv.weight, UnitNet(4, span=40), jnp.asarray(w[:, :, None]))
    exc, inh = unit_exponentials(net, 3)
    assert (exc.tau, exc.amplitude) == pytest.approx((10, 0.5), rel=1e-4)
    assert (inh.tau, inh.amplitude) == pytest.approx((20, -0.2), rel=1e-4)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda w: by_place(w, {}), "region, distance, exc missing"),
        (lambda w: by_place(w[..., :5], META), "of 6 inputs, the templates of 5"),
        (lambda w: tuft_mass(w, META, region="oblique"), "no input lies in 'oblique'.*tuft"),
        (lambda w: direction_selectivity(w, [1]), "two inputs or more"),
        (lambda w: order_response(lambda x: x, 3, [1, 3]), r"in 0\.\.2; got \[1, 3\]"),
        (lambda w: order_response(lambda x: x, 3, [1, 2], (-1,)), "intervals >= 0 ms"),
        (lambda w: exponential(np.zeros(5)), "zero everywhere"),
        (lambda w: exponential(np.full(5, np.nan)), "3 finite taps"),
        (lambda w: unit_exponentials(UnitNet(4), 4), "inputs of both kinds"),
    ],
)
def test_what_cannot_be_read_is_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act(np.ones((2, 3, 6)))
