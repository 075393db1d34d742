"""How good a prediction of spikes and voltage is, as published and as it is."""

from dataclasses import dataclass

import numpy as np

RATE = 0.002  # false positives per bin without a spike, at which spikes are called
_LEVELS = 20  # of the reliability curve


@dataclass(frozen=True)
class Metrics:
    """How well a network predicts the spikes and the voltage of simulations it has not seen.

    Voltages are clipped at -55 mV, in the simulation as in the prediction's target. The realigned
    ones come after giving the prediction the mean and standard deviation of the truth, as the
    publication does, which flatters it a little.
    """

    auc: float  # area under the ROC curve of spikes in bins of 1 ms
    v_rmse: float  # mV
    v_explained: float  # fraction of variance, 1 - mean squared error / variance
    v_rmse_realigned: float  # mV
    v_explained_realigned: float
    hits: float  # fraction of spikes that are called at `RATE` false positives
    threshold: float  # probability of a spike from which on one is called at that rate
    ece: float  # expected calibration error: mean |predicted - observed| over all bins
    predicted: np.ndarray  # (20,) mean probability of the bins at each level of probability,
    observed: np.ndarray  # (20,) the fraction of them with a spike; NaN where there are none
    count: np.ndarray  # (20,) and how many there are
    base_rate: float  # spikes per bin
    simulations: int  # that were looked at
    left_out: int  # with more spikes than allowed
    bins: int  # of each that were looked at

    def row(self) -> dict[str, float]:
        """The metrics that are single numbers, as a row of a table."""
        names = (
            "auc", "v_rmse", "v_explained", "v_rmse_realigned", "v_explained_realigned", "hits",
            "threshold", "ece", "base_rate", "simulations", "left_out",
        )  # fmt: skip
        return {name: float(getattr(self, name)) for name in names}


def auc(scores: np.ndarray, spikes: np.ndarray) -> float:
    """The chance that a bin with a spike scores higher than one without; ties count half.

    By ranks: exact, whatever the number of bins.

    **Raises:** `ValueError` where there is no spike, or nothing else, and for a score of NaN.
    """
    scores, positive = np.ravel(scores), np.ravel(spikes).astype(bool)
    if np.isnan(scores).any():
        raise ValueError("a score is NaN: the network has diverged, or its input has NaN")
    n = int(positive.sum())
    if n == 0 or n == positive.size:
        which = "has no spike" if n == 0 else "has a spike in every bin"
        raise ValueError(
            f"the area under the ROC curve is not defined: the data {which} ({positive.size} bins)"
        )
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # of equal scores their mean
    return float((rank[place][positive].sum() - n * (n + 1) / 2) / (n * (positive.size - n)))


def hits_at(probability: np.ndarray, spikes: np.ndarray, rate: float = RATE) -> tuple[float, float]:
    """The fraction of spikes called at a rate of false positives, and the threshold for it.

    A spike is called where the probability exceeds the threshold.
    """
    positive = np.ravel(spikes).astype(bool)
    probability = np.ravel(probability)
    others = np.sort(probability[~positive])
    threshold = float(others[max(int(np.ceil(others.size * (1 - rate))) - 1, 0)])
    return float((probability[positive] > threshold).mean()), threshold


def voltage(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The root mean squared error in mV, and the fraction of variance explained."""
    error = float(np.mean(np.square(predicted - truth, dtype=float)))
    variance = float(np.var(truth, dtype=float))
    return error**0.5, 1 - error / variance if variance > 0 else float("nan")


def realigned(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The prediction with the mean and standard deviation of the truth."""
    spread = predicted.std(dtype=float)
    scale = truth.std(dtype=float) / spread if spread > 0 else 1.0
    return (predicted - predicted.mean(dtype=float)) * scale + truth.mean(dtype=float)


def reliability(
    probability: np.ndarray, spikes: np.ndarray, levels: int = _LEVELS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, fraction with a spike and number of bins at each level of probability."""
    probability, spikes = np.ravel(probability).astype(float), np.ravel(spikes).astype(float)
    at = np.minimum((probability * levels).astype(int), levels - 1)
    count = np.bincount(at, minlength=levels)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(at, probability, levels) / count
        observed = np.bincount(at, spikes, levels) / count
    return predicted, observed, count


def measure(
    probability: np.ndarray, v: np.ndarray, spikes: np.ndarray, truth: np.ndarray, left_out: int
) -> Metrics:
    """Measures all metrics of predictions against the clipped truth, each `(n, bins)`."""
    area = auc(probability, spikes)
    raw, aligned = voltage(v, truth), voltage(realigned(v, truth), truth)
    hits, threshold = hits_at(probability, spikes)
    predicted, observed, count = reliability(probability, spikes)
    gaps = np.abs(predicted - observed)[count > 0]
    return Metrics(
        auc=area,
        v_rmse=raw[0],
        v_explained=raw[1],
        v_rmse_realigned=aligned[0],
        v_explained_realigned=aligned[1],
        hits=hits,
        threshold=threshold,
        ece=float(gaps @ count[count > 0] / count.sum()),
        predicted=predicted,
        observed=observed,
        count=count,
        base_rate=float(np.mean(spikes, dtype=float)),
        simulations=len(spikes),
        left_out=left_out,
        bins=spikes.shape[1],
    )
