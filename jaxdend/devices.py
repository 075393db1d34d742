"""Every core and every accelerator of a machine, and programs that outlive a process."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from jaxdend._same import Program

Axes = Any  # 0 or None, or a pytree of these


def use_all_cores() -> None:
    """Let JAX see every core of a CPU as a device, so that `batch` can share work out.

    Runs when jaxdend is imported. Nothing happens if JAX has started already, or where the number
    of devices was chosen, by `JAX_NUM_CPU_DEVICES`, `jax.config` or `XLA_FLAGS`.
    """
    chosen = jax.config.jax_num_cpu_devices != -1  # pyright: ignore[reportAttributeAccessIssue]
    if chosen or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    try:
        jax.config.update("jax_num_cpu_devices", _cores())
    except RuntimeError:  # JAX has started
        return


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def batch(f: Callable, in_axes: Axes = 0) -> Callable:
    """`jax.jit(jax.vmap(f, in_axes))`, shared out over all local devices: cores, GPUs or TPUs.

    Use it wherever `jax.vmap` would do, under `jax.jit` and `jax.grad` too. A batch that is not a
    multiple of the number of devices is filled up with copies of its last entry.

    ```python
    peaks = jd.batch(lambda g: jnp.max(simulated(g).v))(conductances)  # (B,)
    ```

    It is compiled once for arguments of the same shapes, also where these lines run again: a
    function whose code, and everything that the code refers to, is what it was finds the program
    made before. One that refers to something that cannot be compared is compiled anew.

    **Arguments:** `f`, a function of arrays or pytrees of them; `in_axes`, 0 or `None` for each
    argument, or a pytree of these, as for `jax.vmap`.

    **Returns:** a function of the same arguments, each mapped leaf with a leading axis B, whose
    results have a leading axis B.

    **Raises:** `ValueError` for any other axis, nothing to map over, or mapped axes of unequal
    length.
    """
    program = Program(_shared, f, in_axes, tuple(jax.local_devices()))

    def run(*args: Any) -> Any:
        return program.get()(*args)

    return run


def _shared(f: Callable, in_axes: Axes, devices: tuple[Any, ...]) -> Callable:
    """The compiled program of `batch`."""

    @jax.jit
    def run(*args: Any) -> Any:
        axes = _spread(in_axes, args)
        leaves, structure = jax.tree.flatten(args)
        size = _size(axes, leaves)
        if len(devices) == 1 or size == 1:
            return jax.vmap(f, in_axes)(*args)
        missing = -size % len(devices)
        filled = [
            _filled(a, missing) if axis == 0 else a for axis, a in zip(axes, leaves, strict=True)
        ]
        specs = [PartitionSpec("batch") if axis == 0 else PartitionSpec() for axis in axes]
        shared = jax.shard_map(
            lambda leaves: jax.vmap(f, in_axes)(*structure.unflatten(leaves)),
            mesh=Mesh(np.array(devices), ("batch",)),
            in_specs=(specs,),
            out_specs=PartitionSpec("batch"),
            check_vma=False,
        )
        return jax.tree.map(lambda a: a[:size], shared(filled))

    return run


def _spread(in_axes: Axes, args: tuple) -> list[int | None]:
    """The axis of every leaf of `args` that is spread over the devices."""
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not isinstance(in_axes, tuple):
        in_axes = (in_axes,) * len(args)
    if len(in_axes) != len(args):
        raise ValueError(
            f"batch: in_axes has {len(in_axes)} entries, but the function was given {len(args)} "
            "arguments; give one for each, or a single 0."
        )
    out: list[int | None] = []
    for axis, arg in zip(in_axes, args, strict=True):
        broadcast = partial(jax.tree.map, is_leaf=lambda x: x is None)
        filled = broadcast(lambda a, part: jax.tree.map(lambda _: -1 if a is None else a, part),
                           axis, arg)  # fmt: skip
        out += [None if a == -1 else a for a in jax.tree.leaves(filled)]
    if any(axis not in (0, None) for axis in out):
        raise ValueError(f"batch: in_axes may hold 0 and None only; got {in_axes!r}.")
    return out


def _size(axes: list[int | None], leaves: list[Any]) -> int:
    sizes = {
        jnp.shape(a)[0] if jnp.ndim(a) else None
        for axis, a in zip(axes, leaves, strict=True)
        if axis == 0
    }
    if len(sizes) != 1 or None in sizes:
        raise ValueError(
            "batch: every mapped argument needs a leading axis of one common length; got "
            f"{sorted(map(str, sizes)) or 'nothing to map over'}."
        )
    return int(sizes.pop() or 0)


def _filled(a: Any, missing: int) -> Any:
    a = jnp.asarray(a)
    return jnp.concatenate([a, jnp.repeat(a[-1:], missing, axis=0)]) if missing else a


def cache_programs(folder: str | Path | None = None) -> Path:
    """Keep compiled programs on disk: the next process that needs one reads it instead.

    **Arguments:** `folder`, made if it does not exist; by default `jaxdend` in the user's cache
    folder (`XDG_CACHE_HOME`, or `.cache` in the home folder). JAX drops no entry by itself: delete
    the folder to start again.

    **Returns:** the folder.

    **Raises:** `OSError` where it cannot be made.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(folder) if folder is not None else root / "jaxdend"
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder
