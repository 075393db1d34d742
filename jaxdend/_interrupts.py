"""Ctrl-C ends a program that runs, not only the wait for it.

A program of JAX goes on in the background when Python stops waiting for it. A long run therefore
asks, a hundred times in all, whether it is still wanted.
"""

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

T = TypeVar("T")
_numbers = itertools.count(1)
_unwanted: set[int] = set()  # numbers of runs that were interrupted


class Watch(diffrax.AbstractProgressMeter):
    """A progress meter around another one that ends the run `number` once it is unwanted."""

    meter: diffrax.AbstractProgressMeter
    number: Array  # () int

    def init(self) -> tuple[Array, Any]:
        """When it last asked, as a share of the run, and the state of the meter."""
        return jnp.zeros(()), self.meter.init()

    def step(self, state: tuple[Array, Any], progress: Any) -> tuple[Array, Any]:
        """Ask, if another hundredth of the run is done."""
        last, inner = state
        progress = jnp.asarray(progress, last.dtype)

        def ask() -> Array:
            shape = jax.ShapeDtypeStruct((), last.dtype)
            return jax.pure_callback(_still_wanted, shape, self.number, progress)

        last = jax.lax.cond(progress >= last + 0.01, ask, lambda: last)
        return last, self.meter.step(inner, progress)

    def close(self, state: tuple[Array, Any]) -> None:
        """Closes the progress meter when the run has ended."""
        self.meter.close(state[1])


def _still_wanted(number: Any, progress: Any) -> np.ndarray:
    if int(number) in _unwanted:
        raise KeyboardInterrupt
    return np.asarray(progress)


def interruptible(run: Callable[[Callable], T], meter: diffrax.AbstractProgressMeter) -> T:
    """`run(meter)`, waited for, with a meter that ends it when the user presses Ctrl-C.

    **Raises:** `KeyboardInterrupt`, once Python may, whatever the program makes of it.
    """
    number = next(_numbers)
    try:
        return jax.block_until_ready(run(Watch(meter, jnp.asarray(number))))  # type: ignore[arg-type]
    except KeyboardInterrupt:
        _unwanted.add(number)
        raise
    except jax.errors.JaxRuntimeError as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from None
        raise
