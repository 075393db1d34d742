"""One compiled program for all the points of a group, shared out over the local devices."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxdend.sweep._store import FAILED, NOT_FINITE, OK, Field

Point = Callable[[dict[str, Array]], Mapping[str, Array]]
_LANE = ""  # the name of a parameter that no function sees
FAILURE = "failed"  # the output by which a simulation says that it failed
JUDGED = "status"  # the output by which it says all: OK, or NOT_FINITE, or FAILED


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program: points, name -> `(devices * lanes,)`, to outputs with that first axis."""

    compiled: Any
    sharding: NamedSharding
    lanes: int  # of all devices
    bytes_needed: int  # of one device, arguments and results included
    bytes_out: int  # of one device's results

    def __call__(self, points: Mapping[str, np.ndarray]) -> dict[str, Array]:
        """Start the program; what it returns may not be computed yet."""
        narrow = {name: np.asarray(value, _dtype(value)) for name, value in points.items()}
        narrow[_LANE] = np.zeros(self.lanes, bool)
        return self.compiled(jax.device_put(narrow, self.sharding))


def output_fields(f: Point, points: Mapping[str, np.ndarray]) -> dict[str, Field]:
    """The arrays that `f` returns for one point.

    **Raises:** `ValueError` where it does not return a dict of arrays; what `f` raises.
    """
    one = {name: jax.ShapeDtypeStruct((), _dtype(value)) for name, value in points.items()}
    outputs = jax.eval_shape(f, one)
    if not isinstance(outputs, Mapping) or not all(hasattr(a, "shape") for a in outputs.values()):
        raise ValueError(
            "a point's function returns a dict, name -> array; it returned "
            f"{jax.tree.map(lambda a: a.shape, outputs)}"
        )
    said = (FAILURE, JUDGED)
    fields = {name: Field(a.shape, a.dtype.name) for name, a in outputs.items() if name not in said}
    if not fields:
        raise ValueError("a point's function must return at least one output")
    for name, a in outputs.items():
        if a.dtype.kind not in "fciub":
            raise ValueError(f"output {name!r} has the dtype {a.dtype}, which a store cannot hold")
        if a.size == 0:
            raise ValueError(f"output {name!r} has no elements; its shape is {a.shape}")
    for name in said:
        if name in outputs and outputs[name].shape != ():
            raise ValueError(f"output {name!r} says what became of the simulation: one number")
    return fields


def build_program(
    f: Point, points: Mapping[str, np.ndarray], lanes: int, rounds: int, devices: Sequence[Any]
) -> Program:
    """Compile `f` for `lanes` points on each device, vmapped in `rounds` batches.

    What a lane computes, to the last bit, depends on `lanes` and `rounds` and on its place among
    them, not on the number of devices.
    """
    mesh = Mesh(np.array(devices), ("lane",))
    shared = jax.jit(
        jax.shard_map(
            _mapped(f, lanes, rounds),
            mesh=mesh,
            in_specs=(PartitionSpec("lane"),),
            out_specs=PartitionSpec("lane"),
            check_vma=False,
        )
    )
    sharding = NamedSharding(mesh, PartitionSpec("lane"))
    dtypes = {name: _dtype(value) for name, value in _with_lane(points).items()}
    everywhere = {
        k: jax.ShapeDtypeStruct((lanes * len(devices),), dtype, sharding=sharding)
        for k, dtype in dtypes.items()
    }
    compiled = shared.lower(everywhere).compile()
    memory: Any = compiled.memory_analysis()
    out = memory.output_size_in_bytes
    return Program(
        compiled,
        sharding,
        lanes * len(devices),
        memory.argument_size_in_bytes + out + memory.temp_size_in_bytes,
        out,
    )


def fingerprint(f: Point, points: Mapping[str, np.ndarray], lanes: int, rounds: int) -> str:
    """A digest of what a device computes, "" where it calls back into Python."""
    here = {k: jax.ShapeDtypeStruct((lanes,), _dtype(v)) for k, v in _with_lane(points).items()}
    text = jax.jit(_mapped(f, lanes, rounds)).lower(here).as_text()
    return "" if "callback" in text else hashlib.sha256(text.encode()).hexdigest()[:16]


def _with_lane(points: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The points and one more entry, for a design without parameters."""
    count = max((len(value) for value in points.values()), default=1)
    return {**points, _LANE: np.zeros(count, bool)}


def _mapped(f: Point, lanes: int, rounds: int) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """`f` and its status for all points of a device."""

    def point(values: dict[str, Array]) -> dict[str, Array]:
        return _judged(f({name: value for name, value in values.items() if name != _LANE}))

    one = jax.vmap(point)
    if rounds == 1:
        return one
    width = math.ceil(lanes / rounds)

    def several(points: dict[str, Array]) -> dict[str, Array]:
        cut = {
            name: jnp.pad(a, (0, rounds * width - lanes), mode="edge").reshape(rounds, width)
            for name, a in points.items()
        }
        outputs = jax.lax.map(one, cut)
        return {
            name: a.reshape(rounds * width, *a.shape[2:])[:lanes] for name, a in outputs.items()
        }

    return several


def _judged(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs and the point's `status`; those of a failed simulation are NaN."""
    failed = jnp.asarray(outputs.get(FAILURE, False), bool)
    if JUDGED in outputs:
        failed |= (outputs[JUDGED] < OK) | (outputs[JUDGED] >= FAILED)  # or no such code
    out, finite = {}, jnp.asarray(True)
    for name, value in outputs.items():
        if name in (FAILURE, JUDGED):
            continue
        value = jnp.asarray(value)
        if jnp.issubdtype(value.dtype, jnp.inexact):
            finite &= jnp.all(jnp.isfinite(value))
            value = jnp.where(failed, jnp.nan, value)
        out[name] = value
    status = outputs.get(JUDGED, jnp.where(finite, OK, NOT_FINITE))
    out["status"] = jnp.where(failed, FAILED, status).astype(jnp.int8)
    return out


def _dtype(value: np.ndarray) -> np.dtype:
    """What a parameter is in the program: JAX's float, int or bool."""
    kind = np.asarray(value).dtype.kind
    if kind not in "fiub":
        raise ValueError(f"a parameter must be a number or a bool; got {np.asarray(value).dtype}")
    default = {"f": float, "i": int, "u": int, "b": bool}[kind]
    return np.dtype(jnp.result_type(default))
