"""Training a network to predict a neuron, and measuring how well it does."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from jaxdend.emulator import _metrics
from jaxdend.emulator._base import CLIP, AbstractNetwork, check_input, describe, prepared
from jaxdend.emulator._build import build
from jaxdend.emulator._crops import Crops
from jaxdend.emulator._metrics import Metrics as Metrics
from jaxdend.emulator._predict import predict
from jaxdend.emulator._schedule import (
    ELM_PUBLISHED as ELM_PUBLISHED,
    PUBLISHED as PUBLISHED,
    QUICK as QUICK,
    Schedule as Schedule,
)
from jaxdend.runs import Advance, Loop, Part, Rows, Run, RunFolder, restored

DISCARD = 500  # ms at the beginning of every simulation that are not evaluated
MAX_SPIKES = 24  # simulations with more spikes are not evaluated


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained network and how it came about (`k` steps)."""

    net: AbstractNetwork
    history: dict[str, np.ndarray]  # (k,) loss, spike, v, dendrites; auc: NaN but where measured
    metrics: Metrics | None  # on all validation data, none left out for its spikes; None as loaded
    seconds: float = 0.0  # s, wall time, compilation and validation included
    interrupted: bool = False  # before the last step, by Ctrl-C or the callback

    @property
    def steps(self) -> int:
        """The number of steps that were taken."""
        return len(self.history["loss"])

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "TrainResult":
        """What a training has saved, as far as it came.

        **Raises:** `ValueError` for a folder of something else.
        """
        run = RunFolder(folder)
        if run.header.get("run") != "emulator":
            raise ValueError(
                f"{folder} holds no training of an emulator: {run.header.get('run')!r}"
            )
        net, part = build(run.header["network"]), run.load()
        leaves, structure = jax.tree.flatten(net)
        saved = part.state[1 : 1 + len(leaves)]
        found = [jnp.asarray(x) for x in saved]
        return _result(jax.tree.unflatten(structure, found), part, None)


class _State(eqx.Module):
    """Where a training stands; all of it is saved."""

    step: Array
    net: AbstractNetwork
    optimizer: PyTree


def train(
    net: AbstractNetwork,
    train_data: Any,
    valid_data: Any,
    *,
    steps: int,
    schedule: Schedule = PUBLISHED,
    seed: int = 0,
    chunk: int = 10,
    validate_every: int | None = None,
    validate: int = 16,
    callback: Callable[[int, Rows], bool | None] | None = None,
    run: Run | None = None,
) -> TrainResult:
    """Train `net` on random crops of the training data.

    The crops of a step are a pure function of `seed` and the step, so that a resumed training
    ends bit for bit as one that was not interrupted, also after `kill -9`. Before the first step
    the spikes' bias is set to the logit of the base rate (`prepared`), and the dendrites' principal
    components are measured. Ctrl-C returns what was reached. Several networks are trained one
    after the other, with one compilation: as one vmapped batch, three took 3.2 to 11 times as long
    as one on a CPU.

    **Arguments:**

    - `train_data`, `valid_data`: each a `Dataset`. Only crops of the first are read, so that it
      may be larger than the memory.
    - `steps`: the total number, those before a resume included.
    - `chunk`: steps between two looks at progress, callback and Ctrl-C; the crops of the next
      chunk are read while the last steps run.
    - `validate_every`: steps between two measurements of the AUC on the first `validate`
      simulations of the validation data; a tenth of all if `None`.
    - `callback(step, rows)`: called after each chunk with its losses, name -> `(c, 1)`; returning
      `True` stops the training.
    - `run`: a `jaxdend.Run`: progress bar, and folder of checkpoints (every 100 steps if it does
      not say) to go on from.

    **Raises:** `ValueError` for data of another width, without a spike, with NaN, or too short;
    for a loss that is not finite; for a folder that is used or of another training.
    """
    check_data(net, train_data, "train_data")
    check_data(net, valid_data, "valid_data")
    burn_in = _burn_in(net, schedule)
    dendrites = net.heads.bias.shape[0] > 2
    crops = Crops(train_data, schedule.batch, schedule.crop, seed, dendrites)
    some = _with_spikes(valid_data, validate)
    given = net
    net = prepared(net, train_data)
    optimizer = schedule.transformation(steps)
    every = max(1, steps // 10) if validate_every is None else validate_every

    def header() -> dict[str, Any]:
        return _header(given, train_data, schedule, steps, seed, every, validate)

    loop = Loop(
        steps, "train", Run.of(run), every=100, chunk=chunk, callback=callback, header=header,
        shown=_Shown(),
    )  # fmt: skip
    before = loop.before()
    params: Any = net
    state = _State(jnp.zeros((), jnp.int32), net, optimizer.init(params))
    part = Part({}, state) if before is None else restored(before, state)
    if part.steps < steps:
        program = _compile(schedule, steps, burn_in)
        part = loop.go(_advancing(program, crops, some, steps, every, chunk), part)
    return _result(part.state.net, part, valid_data)


def evaluate(
    net: AbstractNetwork,
    data: Any,
    *,
    discard: int = DISCARD,
    max_spikes: int | None = MAX_SPIKES,
    batch: int = 16,
) -> Metrics:
    """How well `net` predicts `data`, bin by bin of 1 ms.

    As published, the first `discard` ms of every simulation and simulations with more than
    `max_spikes` spikes are left out.

    **Raises:** `ValueError` for data of another width, too short, without a spike in what is left,
    or with NaN.
    """
    check_data(net, data, "data")
    if data.bins <= discard:
        raise ValueError(
            f"the simulations have {data.bins} bins, of which the first {discard} are discarded: "
            "record longer, or pass discard="
        )
    spikes = np.asarray(data.spikes[:], bool)
    good = np.full(data.n, True) if max_spikes is None else spikes.sum(axis=1) <= max_spikes
    if not good.any():
        raise ValueError(
            f"all {data.n} simulations have more than {max_spikes} spikes: pass max_spikes="
        )
    spikes = spikes[good, discard:]
    truth = np.minimum(np.asarray(data.v[:])[good, discard:].astype(np.float32), CLIP)
    if not np.isfinite(truth).all():
        raise ValueError("the voltage of the data has NaN: leave those simulations out, data.take")
    found = predict(net.quick(), data.x, batch)
    logit, v = np.asarray(found.spike)[good, discard:], np.asarray(found.v)[good, discard:]
    probability = 1 / (1 + np.exp(-logit.astype(float)))
    return _metrics.measure(probability, v, spikes, truth, int((~good).sum()))


def check_data(net: AbstractNetwork, data: Any, name: str) -> None:
    """Refuse a data set that `net` cannot read, or without the dendrites that it predicts."""
    if data.n < 1:
        raise ValueError(f"{name} has no simulation")
    check_input((int(data.n), int(data.bins), int(data.x.shape[-1])), net.k, 3)


def _burn_in(net: AbstractNetwork, schedule: Schedule) -> int:
    if schedule.burn_in is not None:
        return schedule.burn_in
    lacking = 150 if net.span is None else net.span - 1
    return min(lacking, schedule.crop // 2)


def _with_spikes(data: Any, validate: int) -> Any:
    """The first simulations, or all where those have no spike."""
    spikes = np.asarray(data.spikes[:], bool)[:, _discard(data) :]
    if not spikes.any():
        raise ValueError(
            f"the {data.n} simulations of valid_data have no spike after the first "
            f"{_discard(data)} ms: the AUC is not defined; validate on more of them"
        )
    first = np.arange(min(validate, data.n))
    if not spikes[first].any():
        first = np.append(first, spikes.any(axis=1).argmax())
    return data.take(first).load()


def _discard(data: Any) -> int:
    return DISCARD if data.bins > DISCARD else 0


@lru_cache(maxsize=16)  # several networks of one structure share it
def _compile(schedule: Schedule, steps: int, burn_in: int) -> Callable[..., Any]:
    """The program that takes one step.

    Several in a loop inside of it would be slower: there, XLA's CPU convolutions take another
    path (one unit of 80 taps x 100 inputs: 75 ms a step instead of 10).
    """
    optimizer, weigh = schedule.transformation(steps), schedule.loss_weights(steps)

    def objective(net: AbstractNetwork, batch: tuple[Array, ...], weights: Array) -> Any:
        found, learned = net.learn(batch[0])
        spike, v = found.spike[:, burn_in:], found.v[:, burn_in:]
        fired = batch[1][:, burn_in:].astype(spike.dtype)
        bce = jnp.mean(jax.nn.softplus(spike) - fired * spike)
        mse = jnp.mean((v - batch[2][:, burn_in:]) ** 2)
        white = jnp.zeros_like(mse)
        if found.dendrites is not None:
            scaling = jax.lax.stop_gradient(net.scaling)
            white = jnp.mean((found.dendrites - scaling.whitened(batch[3]))[:, burn_in:] ** 2)
        parts = jnp.stack([bce, mse, white])
        loss = weights.astype(parts.dtype) @ parts + schedule.l2 * _squares(net)
        return loss, (jnp.concatenate([loss[None], parts]), learned)

    @jax.jit
    def run(state: _State, batch: tuple[Array, ...]) -> tuple[_State, Array]:
        grad = jax.grad(objective, has_aux=True)
        gradient, (parts, learned) = grad(state.net, batch, weigh(state.step))
        params: Any = state.net
        updates, memory = optimizer.update(gradient, state.optimizer, params)
        net: Any = optax.apply_updates(params, updates)
        return _State(state.step + 1, net.renewed(learned), memory), parts

    return run


def _squares(net: AbstractNetwork) -> Array:
    """The sum of all squared weights, biases left out."""
    trained = eqx.tree_at(lambda n: n.scaling, net, None)
    leaves = [leaf for leaf in jax.tree.leaves(trained) if leaf.ndim > 1]
    return sum((jnp.sum(leaf**2) for leaf in leaves), jnp.zeros((), net.dtype))


def _advancing(
    program: Callable[..., Any],
    crops: Crops,
    valid: Any,
    steps: int,
    every: int,
    chunk: int,
) -> Advance:
    """Up to a chunk of steps, none of them beyond the next validation."""

    def advance(state: _State, most: int) -> tuple[_State, Rows, bool]:
        done = int(state.step)
        count = min(most, every - done % every)
        log = []
        for step in range(done, done + count):
            state, parts = program(state, crops.take(step))
            log.append(parts)
        after = done + count
        crops.fetch(after, min(chunk, steps - after, every - after % every))
        log = np.stack([np.asarray(parts) for parts in log])
        bad = np.flatnonzero(~np.isfinite(log[:, 0]))
        if bad.size:
            raise ValueError(
                f"the loss is {log[bad[0], 0]} at step {done + bad[0]}: the training diverged. "
                "Lower the learning rate (Schedule.rates); the steps saved before are intact"
            )
        auc = np.full(count, np.nan, log.dtype)
        if after % every == 0 or after == steps:
            auc[-1] = evaluate(state.net, valid, discard=_discard(valid), max_spikes=None).auc
        columns = np.concatenate([log, auc[:, None]], axis=1)[:, :, None]  # one network
        return state, {name: columns[:, i] for i, name in enumerate(_ROWS)}, False

    return advance


class _Shown:
    """What the progress bar tells: the last loss, and the last AUC that was measured."""

    def __init__(self) -> None:
        self._auc: dict[str, str] = {}

    def __call__(self, rows: Rows) -> dict[str, str]:
        """The words for a chunk of `rows`."""
        auc = rows["auc"][-1, 0]
        if np.isfinite(auc):
            self._auc = {"auc": f"{auc:.4f}"}
        return {"loss": f"{rows['losses'][-1, 0]:.4g}"} | self._auc


_ROWS = ("losses", "spike", "v", "dendrites", "auc")


def _result(net: AbstractNetwork, part: Part, valid: Any) -> TrainResult:
    history = {name.replace("losses", "loss"): part.rows[name][:, 0] for name in part.rows}
    metrics = None
    if valid is not None:
        metrics = evaluate(net, valid, discard=_discard(valid), max_spikes=None)
    return TrainResult(net, history, metrics, part.seconds, part.interrupted)


def _header(
    net: AbstractNetwork,
    data: Any,
    schedule: Schedule,
    steps: int,
    seed: int,
    every: int,
    validate: int,
) -> dict[str, Any]:
    """What makes this training another than that one, as far as it can be told."""
    weights = hashlib.sha256()
    for leaf in jax.tree.leaves(net):
        weights.update(np.asarray(leaf).tobytes())
    sample = hashlib.sha256(np.asarray(data.v[0], np.float32).tobytes())
    sample.update(np.asarray(data.x[0], bool).tobytes())
    entries = {f.name: getattr(schedule, f.name) for f in fields(schedule)}
    return {
        "run": "emulator",
        "network": dict(describe(net)),
        "weights": weights.hexdigest()[:16],
        "data": {"n": int(data.n), "bins": int(data.bins), "first": sample.hexdigest()[:16]},
        "schedule": json.loads(json.dumps(asdict(schedule) | entries)),
        "steps": steps,
        "seed": seed,
        "validate": [every, validate],
        "precision": str(net.dtype),
    }
