"""The metrics are what they are called, ties and rare spikes included."""

import numpy as np
import pytest

from jaxdend.emulator._metrics import auc, hits_at, measure, realigned, reliability, voltage


def brute(scores, spikes):
    positive, negative = scores[spikes], scores[~spikes]
    return np.mean([(p > negative).mean() + 0.5 * (p == negative).mean() for p in positive])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [2, 5, None])
def test_auc_is_the_chance_to_rank_right(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(4, 60))
    if levels:
        scores = np.round(scores * levels / 4)
    spikes = rng.random((4, 60)) < 0.1 + 0.2 * (scores > 0)
    assert auc(scores, spikes) == pytest.approx(brute(scores.ravel(), spikes.ravel()), abs=1e-14)


def test_auc_at_its_ends():
    spikes = np.array([0, 0, 1, 1])
    assert auc(np.arange(4.0), spikes) == 1.0
    assert auc(-np.arange(4.0), spikes) == 0.0
    assert auc(np.zeros(4), spikes) == 0.5


@pytest.mark.parametrize(
    ("spikes", "scores", "message"),
    [
        ([0, 0], [0.1, 0.2], "has no spike"),
        ([1, 1], [0.1, 0.2], "a spike in every bin"),
        ([0, 1], [0.1, np.nan], "NaN"),
    ],
)
def test_auc_that_is_not_defined(spikes, scores, message):
    with pytest.raises(ValueError, match=message):
        auc(np.array(scores), np.array(spikes))


def test_hits_at_a_rate_of_false_positives():
    rng = np.random.default_rng(0)
    spikes = np.arange(10_000) < 100
    probability = np.where(spikes, rng.uniform(0.5, 1, 10_000), rng.uniform(0, 0.6, 10_000))
    hits, threshold = hits_at(probability, spikes, rate=0.002)
    assert (probability[~spikes] > threshold).sum() <= 0.002 * 9900
    assert (probability[~spikes] >= threshold).sum() >= 0.002 * 9900
    assert hits == pytest.approx((probability[spikes] > threshold).mean())
    assert hits_at(np.array([0.1, 0.2, 0.9]), np.array([0, 0, 1])) == (1.0, 0.2)


def test_voltage_raw_and_realigned():
    truth = np.random.default_rng(0).normal(-65, 4, (3, 1000))
    assert voltage(truth, truth) == (0.0, 1.0)
    assert voltage(np.full_like(truth, truth.mean()), truth)[1] == pytest.approx(0.0, abs=1e-12)
    wrong = 0.5 * truth + 7
    assert voltage(wrong, truth)[0] > 20
    assert voltage(realigned(wrong, truth), truth)[1] == pytest.approx(1.0, abs=1e-12)
    assert voltage(truth + 2.0, truth)[0] == pytest.approx(2.0)


def test_a_calibrated_prediction_has_no_calibration_error():
    rng = np.random.default_rng(0)
    probability = rng.random((20, 5000))
    spikes = rng.random(probability.shape) < probability
    truth = rng.normal(-60, 3, probability.shape)
    good = measure(probability, truth, spikes, truth, 0)
    assert good.ece < 0.01
    np.testing.assert_allclose(good.observed, good.predicted, atol=0.03)
    assert good.count.sum() == spikes.size
    bad = measure(probability**2, truth, spikes, truth, 3)
    assert bad.ece == pytest.approx(np.mean(probability - probability**2), abs=0.01)
    assert bad.auc == good.auc
    assert (bad.left_out, bad.simulations, bad.bins) == (3, 20, 5000)
    assert bad.row()["auc"] == bad.auc


def test_levels_without_bins_are_nan():
    predicted, observed, count = reliability(np.array([0.01, 1.0]), np.array([0, 1]), levels=4)
    np.testing.assert_array_equal(count, [1, 0, 0, 1])
    np.testing.assert_array_equal(predicted, [0.01, np.nan, np.nan, 1.0])
    np.testing.assert_array_equal(observed, [0.0, np.nan, np.nan, 1.0])
