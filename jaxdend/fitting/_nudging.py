"""Nudging: fit a neuron that is tied to its recording, then let go."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import ArrayLike

from jaxdend.fitting._objective import Objective
from jaxdend.fitting._quasi_newton import least_squares
from jaxdend.fitting._result import FitResult
from jaxdend.fitting._run import Callback
from jaxdend.fitting._space import ParameterSpace
from jaxdend.fitting._starts import Starts
from jaxdend.runs import Run

RESISTANCES = (3.0, 30.0, math.inf)  # MΩ


def nudging(
    objective: Objective,
    space: ParameterSpace,
    *,
    resistances: Sequence[float] = RESISTANCES,
    steps: int | Sequence[int] = 8,
    starts: Starts = 10,
    keep: float = 0.5,
    key: ArrayLike = 0,
    max_step: float = 1.0,
    callback: Callback | None = None,
    run: Run | None = None,
) -> list[FitResult]:
    """Fit spiking recordings: Levenberg–Marquardt behind voltage clamps that let go.

    A distance of spiking voltages is full of local minima, for a spike that comes late is as wrong
    as none. Here every recorded site is tied to its recording by a voltage clamp. Tied closely, no
    spike can be late, and what is left of the differences is nearly linear in conductances; the
    clamps' series resistance then grows, stage by stage, until the neuron is free (Abarbanel,
    Creveling, Farsian & Kostuk 2009, SIAM J Appl Dyn Syst 8:1341; Toth, Kostuk, Meliza, Margoliash
    & Abarbanel 2011, Biol Cybern 105:217). From each stage the best of the starts go on.

    The ties bias parameters where the model cannot be exactly right: believe the free stage. Where
    it can, as in tests on recordings that the model has made, the tied stages are the better ones:
    `resistances=(3.0, 3.0)` found 19 conductances of a layer 5 neuron from two voltages (median
    error 1 %, `scripts/fit_l5pc.py`), and further, looser stages only took it away again.

    **Arguments:**

    - `objective`: made with `adjoint=diffrax.ForwardMode()`; its `residuals` are minimised.
    - `resistances`: of the clamps in every stage, MΩ, equal ones to narrow down the starts; `inf`
        is a free neuron. To be compared with the neuron's input resistance.
    - `steps`: iterations in every stage, or of each.
    - `starts`, `key`: of the first stage, as in `fit`.
    - `keep`: the share of the starts that go on, the best ones, but at least two.
    - `max_step`, `callback`: as in `least_squares`.
    - `run`: a `jaxdend.Run`, whose folder gets a folder of checkpoints for each stage; it goes on
        from there only.

    **Returns:** the result of every stage; fewer after Ctrl-C or where `callback` returned `True`.

    **Raises:** `ValueError` for stages that do not make sense, and what `least_squares` raises.
    """
    counts = [steps] * len(resistances) if isinstance(steps, int) else list(steps)
    if not resistances or len(counts) != len(resistances) or not all(r > 0 for r in resistances):
        raise ValueError(
            "expected resistances > 0 in MΩ and as many steps, got "
            f"{tuple(resistances)} and {tuple(counts)}"
        )
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be a share of the starts in (0, 1], got {keep}")
    run, results = Run.of(run), []
    for i, (resistance, count) in enumerate(zip(resistances, counts, strict=True)):
        if results:
            starts = _best(results[-1], keep)
        tied = partial(objective.residuals, rs=resistance)
        result = least_squares(
            tied if math.isfinite(resistance) else objective.residuals, space,
            steps=count, starts=starts, key=key, max_step=max_step, callback=callback,
            run=run.within(f"{i}_{resistance:g}_MOhm"),
        )  # fmt: skip
        results.append(result)
        if result.interrupted:
            break
    return results


def _best(result: FitResult, keep: float) -> np.ndarray:
    """The vectors `(s, p)` that the next stage starts from."""
    order = np.argsort(result.best_losses)
    count = max(math.ceil(keep * len(order)), min(2, len(order)))
    return np.asarray(result.best_vectors)[order[:count]]
