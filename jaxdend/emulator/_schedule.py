"""Losses, learning rates and batches of a training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array


@dataclass(frozen=True)
class Schedule:
    """Losses, rates and batches of a training; those of Beniaguev et al. (2021) as they stand.

    The loss is `w_s BCE(spikes) + w_v MSE(voltage, mV²) + w_d MSE(dendrites) + l2 |weights|²`.
    """

    rates: tuple[float, ...] = (1e-4, 3e-5, 1e-5, 3e-6, 1e-6)  # learning rate of every stage
    weights: tuple[tuple[float, float, float], ...] = (  # w_s, w_v, w_d of every stage
        (1.0, 0.02, 5e-6),
        (2.0, 0.01, 3e-6),
        (4.0, 0.01, 1e-6),
        (8.0, 0.01, 1e-8),
        (9.0, 0.003, 1e-9),
    )
    begins: tuple[float, ...] = (0.0, 0.16, 0.32, 0.48, 0.64)  # of all steps, ascending from 0
    cosine: bool = False  # the rate falls from rates[0] to a hundredth, without stages
    optimizer: str = "nadam"  # or "adam"
    batch: int = 8  # crops in a step
    crop: int = 400  # bins
    burn_in: int | None = (
        0  # bins of a crop that are not scored; None: what the network's span lacks
    )
    l2: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse stages that do not match one another."""
        stages = len(self.begins)
        if len(self.weights) != stages or (len(self.rates) != stages and not self.cosine):
            raise ValueError(
                f"a schedule needs weights and rates for each of its {stages} stages; got "
                f"{len(self.weights)} and {len(self.rates)}"
            )
        if self.begins[0] != 0 or list(self.begins) != sorted(self.begins):
            raise ValueError(f"stages must begin at 0 and ascend, got {self.begins}")
        if self.optimizer not in ("adam", "nadam"):
            raise ValueError(f"optimizer must be 'adam' or 'nadam', got {self.optimizer!r}")
        if min(self.batch, self.crop) < 1 or (self.burn_in or 0) >= self.crop:
            raise ValueError(
                f"batch and crop must be at least 1 and burn_in less than the crop; got "
                f"{self.batch}, {self.crop} and {self.burn_in}"
            )

    def transformation(self, steps: int) -> optax.GradientTransformation:
        """The optimiser with the learning rates of this schedule."""
        return {"adam": optax.adam, "nadam": optax.nadam}[self.optimizer](self.rate(steps))

    def rate(self, steps: int) -> optax.Schedule:
        """The learning rate as a function of the step."""
        if self.cosine:
            return optax.cosine_decay_schedule(self.rates[0], steps, alpha=0.01)
        return self._staged(jnp.asarray(self.rates), steps)

    def loss_weights(self, steps: int) -> Callable[[Array], Array]:
        """The weights `(w_s, w_v, w_d)` of the losses as a function of the step."""
        return self._staged(jnp.asarray(self.weights), steps)

    def _staged(self, values: Array, steps: int) -> Callable[[Any], Array]:
        begins = np.round(np.asarray(self.begins) * steps).astype(int)
        return lambda step: values[jnp.sum(step >= begins) - 1]


PUBLISHED = Schedule()
# for budgets of thousands of steps instead of millions
QUICK = Schedule(
    rates=(3e-3,),
    weights=((1.0, 0.02, 0.002), (4.0, 0.01, 0.001)),
    begins=(0.0, 0.5),
    cosine=True,
    optimizer="adam",
    burn_in=None,
)
# of Spieler et al. (2024): 1/2 BCE + 1/2 MSE of the voltage in units of 10 mV
ELM_PUBLISHED = Schedule(
    rates=(5e-4,),
    weights=((0.5, 0.005, 0.0),),
    begins=(0.0,),
    cosine=True,
    optimizer="adam",
    crop=500,
    burn_in=150,
)
