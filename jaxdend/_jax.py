"""All that jaxdend uses of JAX and Equinox beyond their public and stable interfaces.

No other file of the library imports `jax._src`, `jax.core`, `jax.extend`, `jax.interpreters` or
`equinox.internal`. These may change from one version to the next: where a name is gone, importing
jaxdend raises an `ImportError` that names it, the versions that are there and those that were
tested. What only sweeps of several processes need is looked up when it is first used.
"""

from importlib.metadata import version
from typing import Any

TESTED = {"jax": "0.10.2", "equinox": "0.13.8"}


def gone(error: Exception) -> ImportError:
    """The error to raise where a name is gone: it says which versions are there and were tested."""
    there = " and ".join(f"{name} {version(name)}" for name in TESTED)
    tested = " ".join(f'"{name}=={number}"' for name, number in TESTED.items())
    return ImportError(
        f"jaxdend needs a part of JAX or Equinox that is not in {there}: {error}. It is tested "
        f"with other versions, which you can install: pip install {tested}"
    )


try:
    # The largest number before another, for steps that end just before an edge
    # (`jaxdend.solvers.adaptive`). Without it there are no explicit adaptive solvers.
    from equinox.internal import prevbefore as prevbefore

    # What a traced value is, to look at numbers only where they are known: `is_concrete`. Without
    # it nothing could be checked outside `jit`.
    from jax.core import Tracer as Tracer

    # The program of a function, to see which state has a slope in which (`jaxdend._small.depends`).
    # Without them there is no sparse Jacobian, and so neither adaptive solvers nor `rest`.
    from jax.extend.core import ClosedJaxpr as ClosedJaxpr, Literal as Literal
except ImportError as error:
    raise gone(error) from error


def distributed_client() -> Any:
    """JAX's connection to the other processes, `None` where there is but this one.

    Through it the processes of a sweep wait for one another and leave each other texts. Without it
    a sweep runs in a single process only.

    **Raises:** `ImportError` where this version of JAX keeps it elsewhere.
    """
    try:
        from jax._src.distributed import global_state

        return global_state.client
    except (ImportError, AttributeError) as error:
        raise gone(error) from error
