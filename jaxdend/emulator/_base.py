"""What all networks share: predictions, the meaning of the heads' numbers, how they are run."""

import abc
from collections.abc import Mapping
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

CLIP = -55.0  # mV, voltages are clipped here: spikes are the other head's
DENDRITE_CLIP = 2.0  # mV, dendritic voltages are clipped here
WHITE_CLIP = 3.0  # standard deviations, and their whitened components here

_Net = TypeVar("_Net", bound="AbstractNetwork")


class Prediction(eqx.Module):
    """What a network says of a simulation, of `bins` of 1 ms each."""

    spike: Float[Array, "*b bins"]  # logit of the probability of a spike in the bin
    v: Float[Array, "*b bins"]  # mV, soma, clipped at -55 mV
    # (*b, bins, d) whitened principal components of the dendritic voltages; `Scaling.dendrites`
    # makes mV of them; None for a network without the auxiliary head
    dendrites: Float[Array, "*b bins d"] | None = None

    @property
    def probability(self) -> Array:
        """The probability of a spike in every bin."""
        return jax.nn.sigmoid(jnp.asarray(self.spike))


class Scaling(eqx.Module):
    """What the numbers of the heads stand for, taken from the training data; never trained."""

    v: Float[Array, ""]  # mV, mean of the clipped voltage
    mean: Float[Array, " s"]  # mV, of the clipped dendritic voltages at `s` sites
    basis: Float[Array, "s d"]  # their principal components
    width: Float[Array, " d"]  # mV, the standard deviation along each

    def whitened(self, dendrites: ArrayLike) -> Array:
        """Whitens voltages `(..., s)` mV to `(..., d)`, clipped at 3 standard deviations."""
        v = jnp.minimum(jnp.asarray(dendrites, self.mean.dtype), DENDRITE_CLIP) - self.mean
        return jnp.clip((v @ self.basis) / self.width, -WHITE_CLIP, WHITE_CLIP)

    def dendrites(self, components: ArrayLike) -> Array:
        """Turns whitened components `(..., d)` back into voltages `(..., s)` mV."""
        return self.mean + (jnp.asarray(components) * self.width) @ self.basis.T


class Heads(eqx.Module):
    """The linear maps from `c` features to spike, voltage and dendrites."""

    weight: Float[Array, "c o"]  # o = 2 + d: logit; mV / unit; whitened components
    bias: Float[Array, " o"]
    unit: float = eqx.field(static=True)  # mV, of the voltage head's numbers

    def __call__(self, features: Array, scaling: Scaling) -> Prediction:
        out = features @ self.weight + self.bias
        v = jax.lax.stop_gradient(scaling.v) + self.unit * out[..., 1]
        return Prediction(out[..., 0], v, out[..., 2:] if out.shape[-1] > 2 else None)


class AbstractNetwork(eqx.Module):
    """A causal network from `k` input bits to the voltage and spikes of the same bin.

    All leaves are floating arrays, float32 unless another `dtype` was asked for, whatever JAX's
    precision is: rounding is far below what a network errs by, and float64 costs twice the time.
    """

    heads: eqx.AbstractVar[Heads]
    scaling: eqx.AbstractVar[Scaling]
    k: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def span(self) -> int | None:
        """How many bins of input an output sees; `None`: all there were."""

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """The arguments that build a network of this structure, as JSON has them."""

    @abc.abstractmethod
    def start(self, batch: int) -> PyTree:
        """What `run` carries on from before the first bin: no input until then."""

    @abc.abstractmethod
    def run(self, x: Array, carry: PyTree) -> tuple[Prediction, PyTree]:
        """`(b, bins, k)` input to predictions `(b, bins)`, and what the next bins go on from."""

    def learn(self: _Net, x: Array) -> tuple[Prediction, _Net]:
        """Runs from the start as in training; also returns the network with its new statistics."""
        return self.run(x, self.start(x.shape[0]))[0], self

    def renewed(self: _Net, other: _Net) -> _Net:
        """This network with the statistics of `other`, which are measured and not trained."""
        return self

    def fold(self) -> "AbstractNetwork":
        """The network for use, of the same predictions up to rounding."""
        return self

    def quick(self) -> "AbstractNetwork":
        """The network for long inputs, of the same predictions up to rounding; not to be saved."""
        return self

    def __call__(self, x: ArrayLike) -> Prediction:
        """The prediction for one simulation, `x (bins, k)`.

        **Raises:** `ValueError` for an input of another width.
        """
        x = jnp.asarray(x)
        check_input(x.shape, self.k, 2)
        return jax.tree.map(lambda y: y[0], run(self, x[None], self.start(1))[0])

    @property
    def dtype(self) -> Any:
        """The floating type of the network's numbers."""
        return self.heads.weight.dtype

    @property
    def parameters(self) -> int:
        """The number of trained numbers in the network."""
        return count_parameters(self)


@eqx.filter_jit
def run(net: AbstractNetwork, x: ArrayLike, carry: PyTree) -> tuple[Prediction, PyTree]:
    """Runs `net.run`, compiled once for every structure of network and shape of `x`."""
    return net.run(jnp.asarray(x), carry)


def check_input(shape: tuple[int, ...], k: int, axes: int | None = None) -> None:
    """Refuse an input that is not `(..., bins, k)`, with so many axes if that is given."""
    if len(shape) < 2 or (axes is not None and len(shape) != axes):
        wanted = "(bins, k)" if axes == 2 else "(..., bins, k)"
        raise ValueError(f"the input must be {wanted} with k = {k}; got the shape {shape}.")
    if shape[-1] != k:
        raise ValueError(
            f"the network has {k} inputs, excitatory ones first; got {shape[-1]} in the last axis "
            f"of {shape}. Bins come before inputs: (..., bins, k)."
        )


def count_parameters(net: AbstractNetwork) -> int:
    """How many numbers a network has that are trained."""
    fixed = (net.scaling, *getattr(net, "fixed", ()))
    size = sum(leaf.size for leaf in jax.tree.leaves(net))
    return int(size - sum(leaf.size for leaf in jax.tree.leaves(fixed)))


def new_heads(
    key: PRNGKeyArray, features: int, dendrites: int, unit: float, dtype: DTypeLike
) -> Heads:
    """Heads as published: truncated normal weights of width .001, .03 and .05, all biases 0.

    The bias of the spikes is set by `prepared`, before training.
    """
    width = jnp.asarray([0.001, 0.03 / unit] + [0.05] * dendrites, dtype)
    draw = jax.random.truncated_normal(key, -2, 2, (features, 2 + dendrites), dtype)
    return Heads(draw * width, jnp.zeros(2 + dendrites, dtype), unit)


def no_scaling(dendrites: int, dtype: DTypeLike, sites: int | None = None) -> Scaling:
    """The scaling of outputs for a network that has seen no data."""
    s = dendrites if sites is None else sites
    return Scaling(
        jnp.asarray(-67.7, dtype), jnp.zeros(s, dtype), jnp.eye(s, dendrites, dtype=dtype),
        jnp.ones(dendrites, dtype),
    )  # fmt: skip


def prepared(net: _Net, data: Any, sample: int = 64) -> _Net:
    """Prepares `net` to be trained on data: spike bias, mean voltage, dendritic components.

    The spikes' bias becomes the logit of the base rate. From an even chance instead, the first
    steps only push the probability down, through every filter as well. One unit after 500 steps
    on an integrate-and-fire neuron (`QUICK`, rate .01, validation): AUC .985 from the logit, .951
    from an even chance; without the voltage's loss, which tells the signs, .875 and .641.

    **Arguments:** `sample`, how many simulations to look at.

    **Raises:** `ValueError` for data without a spike, or with fewer dendritic sites than outputs.
    """
    some = slice(0, min(sample, data.n))
    spikes = np.asarray(data.spikes[some], float)
    if not spikes.any():
        spikes = np.asarray(data.spikes[:], float)
    if not spikes.any():
        raise ValueError(
            f"none of the {data.n} simulations has a spike: there is nothing to learn of them; "
            "drive the cell harder, or generate more"
        )
    if not spikes.mean() < 1:
        raise ValueError("every bin has a spike; spikes are 0 or 1 in bins of 1 ms")
    rate, dtype = spikes.mean(), net.dtype
    v = np.minimum(np.asarray(data.v[some], float), CLIP).mean()
    d = net.heads.bias.shape[0] - 2
    scaling = net.scaling if d == 0 else _components(np.asarray(data.dendrites[some], float), d)
    scaling = eqx.tree_at(lambda s: s.v, scaling, jnp.asarray(v))
    scaling = jax.tree.map(lambda x: jnp.asarray(x, dtype), scaling)
    bias = net.heads.bias.at[0].set(np.log(rate / (1 - rate)).astype(dtype))
    return eqx.tree_at(lambda n: (n.heads.bias, n.scaling), net, (bias, scaling))


def _components(dendrites: np.ndarray, d: int) -> Scaling:
    """The first `d` principal components of dendritic voltages `(n, bins, s)`."""
    v = np.minimum(dendrites.reshape(-1, dendrites.shape[-1]), DENDRITE_CLIP)
    if v.shape[1] < d:
        raise ValueError(
            f"the network has {d} dendritic outputs, the data {v.shape[1]} recorded sites: "
            f"build it with dendrites={v.shape[1]} or fewer"
        )
    mean = v.mean(axis=0)
    values, basis = np.linalg.eigh(np.cov(v - mean, rowvar=False).reshape(v.shape[1], -1))
    order = np.argsort(values)[::-1][:d]
    width = np.sqrt(np.maximum(values[order], 1e-6))
    return Scaling(
        jnp.zeros(()), jnp.asarray(mean), jnp.asarray(basis[:, order]), jnp.asarray(width)
    )


def describe(net: AbstractNetwork) -> Mapping[str, Any]:
    """The class of a network and the arguments of its constructor."""
    return {"network": type(net).__name__} | net.config() | {"dtype": net.dtype.name}
