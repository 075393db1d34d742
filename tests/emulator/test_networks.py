"""Networks are causal, go on where they stopped, and are those that were published."""

from dataclasses import replace
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdend.emulator._base import describe, prepared, run
from jaxdend.emulator._build import build
from jaxdend.emulator._elm import routing
from jaxdend.emulator._predict import predict
from jaxdend.emulator.networks import ELM, TCN, UnitNet, kernels_of
from toy_neurons import integrate_and_fire

K, BINS = 6, 40
NETS = {
    "tcn": TCN(K, channels=5, kernels=(7, 4, 3), dendrites=2, key=1),
    "fcn": TCN(K, channels=5, depth=1, span=9, key=2),
    "unit": UnitNet(K, span=11, key=3),
    "elm": ELM(K, memory=3, branches=4, key=4),
}
every_net = pytest.mark.parametrize("name", NETS)


def bits(*shape, seed=0, p=0.3):
    return np.random.default_rng(seed).random(shape) < p


@cache
def trained(name):
    """With statistics, scaling and biases that are no longer those of a new network."""
    _, net = eqx.filter_jit(lambda net, x: net.learn(x))(NETS[name], bits(4, BINS, K))
    rng = np.random.default_rng(9)
    return jax.tree.map(lambda x: x + 0.1 * rng.random(x.shape).astype(x.dtype), net)


@every_net
def test_nothing_depends_on_what_comes_later_or_lies_beyond_the_span(name):
    net = trained(name)
    x = bits(BINS, K)
    other = x.copy()
    other[15] = ~other[15]
    a, b = net(x), net(other)
    for name in ("spike", "v"):
        differs = np.flatnonzero(np.asarray(getattr(a, name)) != np.asarray(getattr(b, name)))
        assert differs.min() >= 15
        if net.span is not None:
            assert differs.max() <= 15 + net.span - 1


def test_the_span_is_reached():
    net = eqx.tree_at(lambda n: n.heads.weight, NETS["unit"], jnp.ones((1, 2)))
    x = np.zeros((BINS, K))
    other = x.copy()
    other[5] = 1
    differs = np.flatnonzero(np.asarray(net(x).spike) != np.asarray(net(other).spike))
    assert differs.tolist() == list(range(5, 5 + net.span))


@every_net
def test_a_stream_is_the_whole(name):
    net = trained(name)
    x = jnp.asarray(bits(2, BINS, K))
    whole, _ = run(net, x, net.start(2))
    carry, parts = net.start(2), []
    for first, last in ((0, 2), (2, 4), (4, BINS)):
        part, carry = run(net, x[:, first:last], carry)
        parts.append(part)
    stream = jax.tree.map(lambda *ys: np.concatenate(ys, axis=1), *parts)
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(stream), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


@every_net
def test_folded_it_says_the_same(name):
    net = trained(name)
    x = bits(BINS, K)
    whole, folded = net(x), net.fold()(x)
    assert not getattr(net.fold(), "norms", ())
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(folded), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)
    assert describe(net.fold().fold()) == describe(net.fold())


@every_net
def test_predictions_in_batches_and_blocks(name):
    net = trained(name)
    x = bits(5, BINS, K)
    found = predict(net, x, batch=2, block=16)
    for i in range(5):
        np.testing.assert_allclose(found.v[i], net(x[i]).v, rtol=1e-5)
        np.testing.assert_allclose(found.spike[i], net(x[i]).spike, rtol=1e-4, atol=1e-5)
    assert found.v.shape == (5, BINS)


@every_net
def test_a_network_is_built_again_from_its_description(name):
    net = NETS[name]
    again = build(describe(net))
    assert jax.tree.structure(again) == jax.tree.structure(net)
    assert [x.shape for x in jax.tree.leaves(again)] == [x.shape for x in jax.tree.leaves(net)]
    assert describe(again) == describe(net)


def test_numbers_are_single_precision_unless_asked_otherwise():
    assert {x.dtype for net in NETS.values() for x in jax.tree.leaves(net)} == {np.dtype("float32")}
    net = TCN(K, channels=2, depth=1, span=3, dtype=jnp.float64)
    assert net(bits(BINS, K)).v.dtype == np.float64


def test_a_convolution_is_the_sum_it_stands_for():
    net = TCN(K, channels=3, depth=1, span=4, dtype=jnp.float64, folded=True)
    x = bits(BINS, K)
    weight = np.asarray(net.convs[0].weight)
    hidden = np.zeros((BINS, 3))
    for t in range(BINS):
        for lag in range(min(4, t + 1)):
            hidden[t] += x[t - lag] @ weight[3 - lag]
    out = np.maximum(hidden, 0) @ np.asarray(net.heads.weight)
    np.testing.assert_allclose(net(x).spike, out[:, 0], rtol=1e-12, atol=1e-15)


def test_normalisation_measures_what_it_normalises_by():
    net = TCN(K, channels=3, depth=1, span=4, dtype=jnp.float64)
    batches = [jnp.asarray(bits(4, BINS, K, seed=s)) for s in range(3)]
    raw = [np.asarray(net.convs[0](x, net.convs[0].start(4))[0]) for x in batches]
    learn = eqx.filter_jit(lambda net, x: net.learn(x))
    for x in batches:
        _, net = learn(net, x)
    (norm,) = net.norms
    np.testing.assert_allclose(norm.mean, np.mean([h.mean((0, 1)) for h in raw], 0), rtol=1e-10)
    np.testing.assert_allclose(norm.var, np.mean([h.var((0, 1)) for h in raw], 0), rtol=1e-10)
    with pytest.raises(ValueError, match="folded network cannot be trained"):
        net.fold().learn(batches[0])


def test_published_sizes():
    net = eqx.filter_eval_shape(TCN, 1278)
    assert net.kernels == (54, 18, 18, 18, 17, 17, 17)
    assert (net.span, round(net.parameters / 1e6, 2)) == (153, 10.56)
    counts = {1: 4601, 2: 4708, 3: 4823, 5: 5077, 7: 5363, 10: 5852, 15: 6827, 20: 8002, 100: 54002}
    found = {m: eqx.filter_eval_shape(ELM, 1278, memory=m).parameters for m in counts}
    assert found == counts


def test_layers_share_the_span():
    for depth in (1, 2, 3, 7):
        for span in (20, 80, 153):
            kernels = kernels_of(depth, span)
            assert (len(kernels), 1 + sum(n - 1 for n in kernels)) == (depth, span)
    with pytest.raises(ValueError, match="span of at least 12"):
        kernels_of(7, 11)


def test_the_elm_neuron_is_its_equations():
    net = ELM(K, memory=3, branches=4, synapses=2, excitatory=4, dtype=jnp.float64, key=3)
    x = bits(BINS, K)
    place, w = routing(K, 4, 4, 2), np.maximum(np.asarray(net.w), 0)
    keep, leak = np.exp(-1 / np.logspace(0, np.log10(150), 3)), np.exp(-1 / 5)
    s, m, logits = np.zeros(4), np.zeros(3), []
    for t in range(BINS):
        s = leak * s + (w * x[t, place] * np.where(place < 4, 1, -1)).sum(axis=1)
        h = np.maximum(s @ net.branch + keep * m @ net.recall + net.bias, 0)
        m = keep * m + 5 * (1 - keep) * 1.7159 * np.tanh((h @ net.out + net.out_bias) * 2 / 3)
        logits.append(m @ net.heads.weight[:, 0] + net.heads.bias[0])
    np.testing.assert_allclose(net(x).spike, logits, rtol=1e-10)


def test_branches_overlap_and_take_both_kinds():
    place = routing(1278, 639, 45, 100)
    assert place.shape == (45, 100)
    assert set(place.ravel()) == set(range(1278))
    assert np.all((place < 639).sum(axis=1) == 50)
    uneven = routing(100, 80, 10, 20)
    assert np.all(np.abs((uneven < 80).sum(axis=1) - 16) <= 1)


def test_the_spike_head_begins_at_the_base_rate_and_the_voltage_at_its_mean():
    data = integrate_and_fire(4, 800, exc=8, inh=2, gain=12.0)
    net = prepared(TCN(10, channels=3, depth=1, span=5, dendrites=2), data)
    rate = data.spikes.mean()
    assert 0 < rate < 0.1
    np.testing.assert_allclose(jax.nn.sigmoid(net.heads.bias[0]), rate, rtol=1e-5)
    np.testing.assert_allclose(net.scaling.v, np.minimum(data.v, -55).mean(), rtol=1e-5)


def test_dendrites_are_whitened_by_their_components():
    data = integrate_and_fire(2, 500, exc=8, inh=2, gain=12.0)
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(2, 500, 2)) @ rng.normal(size=(2, 3)) - 60
    data = replace(data, dendrites=latent)
    net = prepared(TCN(10, channels=3, depth=1, span=5, dendrites=2, dtype=jnp.float64), data)
    basis = (latent - net.scaling.mean) @ net.scaling.basis / net.scaling.width
    np.testing.assert_allclose(basis.reshape(-1, 2).std(axis=0), 1.0, rtol=1e-2)
    white = net.scaling.whitened(latent)
    assert float(jnp.abs(white).max()) == 3.0
    inside = np.asarray(jnp.abs(white).max(axis=-1) < 3)
    np.testing.assert_allclose(net.scaling.dendrites(white)[inside], latent[inside], rtol=1e-6)
    with pytest.raises(ValueError, match="3 recorded sites"):
        prepared(TCN(10, channels=3, depth=1, span=5, dendrites=4), data)


def test_data_without_a_spike_teach_nothing():
    data = integrate_and_fire(2, 300, exc=8, inh=2, gain=0.1)
    with pytest.raises(ValueError, match="none of the 2 simulations has a spike"):
        prepared(UnitNet(10), data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NETS["tcn"](bits(BINS, K + 1)), "6 inputs.*got 7"),
        (lambda: NETS["elm"](bits(K)), "must be .bins, k."),
        (lambda: predict(NETS["unit"], bits(2, 3, BINS, K)), "the shape"),
        (lambda: TCN(0), "k must be at least 1"),
        (lambda: TCN(3, kernels=()), "depth must be"),
        (lambda: ELM(4, synapses=5), "synapses=5"),
        (lambda: build({"network": "LSTM"}), "no network 'LSTM'"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
