"""What a network's first layer looks for: templates over time, and over the tree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.optimize import minimize_scalar

from jaxdend.emulator._base import AbstractNetwork
from jaxdend.emulator.networks import ELM, TCN, UnitNet

INTERVALS = (1, 2, 4, 8)  # ms between the inputs of a branch, in either order
SELECTIVE = 0.2  # index of direction from which on a filter counts as selective


def templates(net: AbstractNetwork, lags: int = 80) -> np.ndarray:
    """The first layer as spatiotemporal templates, `(filters, lag, k)`.

    Entry `[f, l, i]` is what a spike of input `i` adds to filter `f` after `l` ms: of a TCN
    before its ReLU, normalisation included; of one unit in mV of the voltage it predicts; of an
    ELM neuron to its branches, over `lags` ms.
    """
    if isinstance(net, TCN):
        return np.asarray(net.fold().convs[0].weight, float)[::-1].transpose(2, 0, 1)
    if isinstance(net, UnitNet):
        scale = float(net.heads.weight[0, 1]) * net.heads.unit
        return scale * np.asarray(net.conv.weight, float)[::-1].transpose(2, 0, 1)
    if isinstance(net, ELM):
        decay = float(net.leak) ** np.arange(lags)
        return np.asarray(net.weights(), float).T[:, None, :] * decay[:, None]
    raise ValueError(f"a {type(net).__name__} has no first layer of filters")


@dataclass(frozen=True)
class Places:
    """Templates laid over the tree: the mean over the inputs of every place."""

    excitatory: np.ndarray  # (p,) bool, the kind of the inputs of a place
    region: np.ndarray  # (p,) str
    distance: np.ndarray  # (p, 2) µm from the soma, from and to
    count: np.ndarray  # (p,) inputs there
    values: np.ndarray  # (filters, lag, p)


def by_place(templates: np.ndarray, meta: Mapping[str, Any], width: float = 100.0) -> Places:
    """Lay templates over excitation and inhibition, region, and distance in steps of `width` µm.

    **Arguments:** `templates (filters, lag, k)`; `meta` of the data set or emulator.
    **Raises:** `ValueError` for `meta` of other inputs, or without places.
    """
    region, distance, excitatory = _inputs(meta, templates.shape[-1])
    ring = np.floor(distance / width).astype(int)
    keys = sorted(set(zip(~excitatory, region, ring, strict=True)))
    masks = [(excitatory != k) & (region == r) & (ring == n) for k, r, n in keys]
    return Places(
        excitatory=np.array([not key[0] for key in keys]),
        region=np.array([key[1] for key in keys]),
        distance=width * np.array([[key[2], key[2] + 1] for key in keys], float),
        count=np.array([mask.sum() for mask in masks]),
        values=np.stack([templates[..., mask].mean(axis=-1) for mask in masks], axis=-1),
    )


def tuft_mass(
    templates: np.ndarray,
    meta: Mapping[str, Any],
    *,
    region: str = "tuft",
    smooth: int = 1,
) -> float:
    """The share of the templates' absolute mass that lies on inputs of the tuft.

    Templates alike everywhere have the share of inputs there, `tuft_share`. Weights that training
    has hardly moved from their random beginning count as mass, too; averaging over `smooth` ms
    first takes most of them out.

    **Arguments:** `templates (filters, lag, k)`, or one of them; `meta` as of `by_place`.
    **Raises:** `ValueError` for `meta` of other inputs, or a region without inputs.
    """
    there = _there(meta, templates.shape[-1], region)
    soft = uniform_filter1d(templates, smooth, axis=-2, mode="constant")
    mass = np.abs(soft).reshape(-1, len(there)).sum(axis=0)
    return float(mass[there].sum() / mass.sum())


def tuft_share(meta: Mapping[str, Any], *, region: str = "tuft") -> float:
    """The share of inputs that lie in the tuft."""
    return float(_there(meta, len(meta["region"]), region).mean())


def direction_selectivity(
    templates: np.ndarray, inward: Sequence[int] | np.ndarray, intervals: Sequence[int] = (2,)
) -> np.ndarray:
    """How much more every template likes its inputs in one order than in the other.

    The inputs `inward` (those of a branch, from its tip to the soma) are active one after the
    other at an interval of so many ms; the answer is the highest value that the template reaches,
    at least 0. The index is `(inward - outward) / (inward + outward)`: 1 for a template that
    answers to inputs that run towards the soma only, -1 for the opposite, 0 for neither.

    **Arguments:** `templates (filters, lag, k)`; `inward (n,)`, inputs by number.
    **Returns:** `(filters, intervals)`.
    **Raises:** `ValueError` for fewer than two inputs, or a negative interval.
    """
    order, steps = _order(inward, intervals)
    out = []
    for interval in steps:
        one = _response(templates, order, interval)
        two = _response(templates, order[::-1], interval)
        total = one + two
        out.append(np.where(total > 0, (one - two) / np.where(total > 0, total, 1.0), 0.0))
    return np.stack(out, axis=1)


def _order(
    inward: Sequence[int] | np.ndarray, intervals: Sequence[int]
) -> tuple[np.ndarray, list[int]]:
    order, steps = np.asarray(inward, int), [int(step) for step in intervals]
    if order.size < 2 or min(steps) < 0:
        raise ValueError(
            f"a direction needs two inputs or more and intervals >= 0 ms; got {order.size} and "
            f"{tuple(steps)}"
        )
    return order, steps


def _response(templates: np.ndarray, order: np.ndarray, interval: int) -> np.ndarray:
    """The highest value of every template, `(filters,)`, while the inputs follow one another."""
    filters, lags, _ = templates.shape
    sums = np.zeros((filters, lags + interval * (len(order) - 1)))
    for i, which in enumerate(order):
        sums[:, i * interval : i * interval + lags] += templates[:, :, which]
    return np.maximum(sums.max(axis=1), 0.0)


def preferred_direction(net: TCN, inward: Sequence[int]) -> np.ndarray:
    """The direction that each filter of a first layer prefers, and how much.

    The index of `direction_selectivity` with the largest absolute value among intervals of 1 to
    8 ms. A filter that inputs lower more than they raise it is turned over first: its index says
    which order lowers it more. NaN stands for a filter that carries less than half of an even share
    of the weight, where the weight is the filter's absolute mass times the larger of its weights
    for spike and voltage.

    **Arguments:** `inward`, the inputs of a branch from its tip to the soma.
    **Returns:** `(filters,)` from -1, outward only, to 1, inward only.
    """
    filters = templates(net)
    sums = filters.sum(axis=(1, 2), keepdims=True)
    index = direction_selectivity(np.where(sums < 0, -filters, filters), inward, INTERVALS)
    strongest = index[np.arange(len(index)), np.abs(index).argmax(axis=1)]
    out = np.abs(np.asarray(net.heads.weight, float)[:, :2]).max(axis=1)
    weight = np.abs(filters).sum(axis=(1, 2)) * out
    return np.where(weight >= 0.5 * weight.mean(), strongest, np.nan)


def order_response(
    act: Callable[[np.ndarray], Any],
    k: int,
    inward: Sequence[int],
    intervals: Sequence[int] = INTERVALS,
    *,
    rest: int = 50,
    after: int = 150,
) -> np.ndarray:
    """The peak of the voltage when the inputs of a branch are active one after the other.

    Branco, Clark & Häusser (2010, Science 329:1671) found that a dendrite answers most to inputs
    that run from its tip to the soma.

    **Arguments:** `act(x (n, bins, k)) -> v (n, bins)` mV, such as `lambda x: emulator(x).v`, or
    of a setup `lambda x: jax.vmap(setup.simulate)(x)["v"]`; `inward`, inputs from the tip to the
    soma; `intervals`, ms from one to the next; bins without input, `rest` before the first and
    `after` behind the last one.
    **Returns:** `(2, intervals)` mV: inward, outward.
    **Raises:** `ValueError` as `direction_selectivity`, and for inputs that are not among the `k`.
    """
    order, steps = _order(inward, intervals)
    if order.min() < 0 or order.max() >= k:
        raise ValueError(f"inputs must be in 0..{k - 1}; got {order.tolist()}")
    x = np.zeros((2, len(steps), rest + max(steps) * (order.size - 1) + 1 + after, k), bool)
    for way, inputs in enumerate((order, order[::-1])):
        for i, step in enumerate(steps):
            x[way, i, rest + step * np.arange(order.size), inputs] = True
    v = np.asarray(act(x.reshape(-1, *x.shape[2:])), float)
    return v[:, rest:].max(axis=1).reshape(2, len(steps))


@dataclass(frozen=True)
class Exponential:
    """A filter as `amplitude exp(-lag / tau)`."""

    tau: float  # ms
    amplitude: float  # of the present bin, in the filter's unit
    explained: float  # fraction of the filter's square that it accounts for


def exponential(template: np.ndarray) -> Exponential:
    """The exponential nearest to a filter `(lag,)`, by least squares.

    **Raises:** `ValueError` for a filter that is not finite, zero, or of fewer than 3 taps.
    """
    template = np.asarray(template, float)
    if template.ndim != 1 or template.size < 3 or not np.isfinite(template).all():
        raise ValueError(
            f"an exponential is fitted to 3 finite taps or more, not shape {template.shape}"
        )
    if not template.any():
        raise ValueError("the filter is zero everywhere")
    lag = np.arange(template.size)

    def left(log_tau: float) -> float:
        shape = np.exp(-lag / np.exp(log_tau))
        return -float((template @ shape) ** 2 / (shape @ shape))

    bounds = np.log([0.1, 100.0 * template.size])
    start = np.linspace(
        bounds[0], bounds[1], 60
    )  # a coarse look first: there may be several minima
    best = start[np.argmin([left(t) for t in start])]
    step = start[1] - start[0]
    found = minimize_scalar(left, bounds=(best - step, best + step), method="bounded")
    tau = float(np.exp(found.x))
    shape = np.exp(-lag / tau)
    amplitude = float(template @ shape / (shape @ shape))
    return Exponential(tau, amplitude, float(-found.fun / (template @ template)))


def unit_exponentials(net: UnitNet, exc: int) -> tuple[Exponential, Exponential]:
    """The mean filter of the first `exc` inputs and that of the others, mV, as exponentials.

    Of a network that was trained on an integrate-and-fire neuron: its postsynaptic potentials,
    of opposite signs, the time constant a little short of the membrane's, because of the resets.
    """
    if not 0 < exc < net.k:
        raise ValueError(f"exc must leave inputs of both kinds; got {exc} of {net.k}")
    (filters,) = templates(net)
    return exponential(filters[:, :exc].mean(axis=1)), exponential(filters[:, exc:].mean(axis=1))


def _inputs(meta: Mapping[str, Any], k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    missing = [name for name in ("region", "distance", "exc") if name not in meta]
    if missing:
        raise ValueError(f"the meta data do not say where inputs are: {', '.join(missing)} missing")
    region, distance = np.asarray(meta["region"], str), np.asarray(meta["distance"], float)
    if len(region) != k:
        raise ValueError(f"the meta data are of {len(region)} inputs, the templates of {k}")
    return region, distance, np.arange(k) < int(meta["exc"])


def _there(meta: Mapping[str, Any], k: int, region: str) -> np.ndarray:
    names, _, _ = _inputs(meta, k)
    there = names == region
    if not there.any():
        raise ValueError(f"no input lies in {region!r}; regions are {sorted(set(names))}")
    return there
