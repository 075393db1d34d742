"""Several processes on one machine or many: who they are, and what they agree on."""

import atexit
import dataclasses
import itertools
import os
import socket
from collections.abc import Callable
from typing import Any

import jax

from jaxdend._jax import distributed_client

_RUN = itertools.count()  # sweeps of this process: all processes begin the same ones
_FOREVER = 7 * 24 * 3600 * 1000  # ms; the heartbeats end a wait for a process that is lost
_ENVIRONMENT = ("JAXDEND_COORDINATOR", "JAXDEND_PROCESSES", "JAXDEND_PROCESS")
_RECOVERY = "jax_enable_recoverability"  # an experimental setting of JAX
_LAUNCHERS = (
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
)


@dataclasses.dataclass(frozen=True)
class Processes:
    """The processes of one sweep; `client` is JAX's, `None` for a single process."""

    index: int
    count: int
    client: Any = None
    run: str = ""  # a name of this sweep that all processes know

    @property
    def first(self) -> bool:
        """Whether this is the process that creates the store and reports."""
        return self.index == 0

    def barrier(self) -> None:
        """Wait until every process is here that is not lost."""
        if self.client is not None:
            self.client.get_live_nodes(list(range(self.count)))

    def tell(self, name: str, text: str) -> None:
        """Leave a text for the other processes."""
        if self.client is not None:
            self.client.key_value_set(f"{self.run}/{name}", text)

    def hear(self, name: str) -> str:
        """Wait for a text of process 0."""
        return self.client.blocking_key_value_get(f"{self.run}/{name}", _FOREVER)

    def neighbours(self) -> int:
        """How many of the processes run on this machine, this one included. Every one must ask."""
        if self.client is None:
            return 1
        self.tell(f"host/{self.index}", socket.gethostname())
        self.barrier()
        hosts = self.client.key_value_dir_get(f"{self.run}/host/")
        return sum(host == socket.gethostname() for _, host in hosts)

    def counter(self, name: str) -> Callable[[int], int]:
        """A function that adds to a counter of all processes and returns what it was before."""
        if self.client is None:
            state = [0]

            def take(step: int) -> int:
                state[0] += step
                return state[0] - step

            return take
        key = f"{self.run}/{name}"
        return lambda step: self.client.key_value_increment(key, step) - step


def current_processes() -> Processes:
    """The processes that `start_processes` or `jax.distributed.initialize` has brought together."""
    if not jax.distributed.is_initialized() or jax.process_count() == 1:
        return Processes(0, 1)
    run = f"jaxdend/{next(_RUN)}"
    return Processes(jax.process_index(), jax.process_count(), distributed_client(), run)


def start_processes(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    timeout: float = 300.0,
    heartbeat: float = 100.0,
) -> bool:
    """Join the other processes of a sweep, before JAX computes anything.

    What is not given comes from the environment: `JAXDEND_COORDINATOR`, `JAXDEND_PROCESSES` and
    `JAXDEND_PROCESS`, or from Slurm (`srun`) or Open MPI, whose tasks need nothing at all.
    Nothing happens where none of this is present, or when JAX's processes have met already.

    **Arguments:** `coordinator`, `"host:port"` of process 0, a port that is free there;
    `processes`, how many there are; `process`, which of them this is, from 0; `timeout`, how long
    to wait for the others, s; `heartbeat`, after how many seconds of silence a process counts as
    lost. The others go on without it, and `resume` makes up for what it was computing; where
    process 0 is lost, all end, and `resume` goes on.

    **Returns:** whether there is more than one process.

    **Raises:** `ValueError` where only some of the three are known, or they do not fit;
    `RuntimeError` where JAX has computed before, or the others do not come.
    """
    if jax.distributed.is_initialized():
        return jax.process_count() > 1
    given = _settings(coordinator, processes, process)
    if given is None:
        if not any(int(os.environ.get(size, "1")) > 1 and rank in os.environ
                   for size, rank in _LAUNCHERS):  # fmt: skip
            return False
        given = (None, None, None)
    if hasattr(jax.config, _RECOVERY):  # else a lost process ends the others too
        jax.config.update(_RECOVERY, True)
    jax.distributed.initialize(
        *given,
        cluster_detection_method="deactivate" if given[0] else None,
        initialization_timeout=int(timeout),
        heartbeat_timeout_seconds=int(heartbeat),
    )
    if jax.process_index() == 0:  # the others end with it, so it leaves last
        atexit.register(Processes(0, jax.process_count(), distributed_client()).barrier)
    return jax.process_count() > 1


def _settings(
    coordinator: str | None, processes: int | None, process: int | None
) -> tuple[str, int, int] | None:
    """All three, or `None` for none of them."""
    given = (coordinator, processes, process)
    found = [
        os.environ.get(name) if value is None else value
        for name, value in zip(_ENVIRONMENT, given, strict=True)
    ]
    if all(value is None for value in found):
        return None
    names = "coordinator ({}), processes ({}) and process ({})".format(*_ENVIRONMENT)
    missing = [name for name, value in zip(_ENVIRONMENT, found, strict=True) if value is None]
    if missing:
        raise ValueError(f"several processes need {names}; missing: {', '.join(missing)}")
    try:
        address, count, index = str(found[0]), int(str(found[1])), int(str(found[2]))
    except ValueError:
        raise ValueError(f"{names}: the last two are whole numbers; got {found[1:]}") from None
    if ":" not in address or not address.rsplit(":", 1)[1].isdecimal():
        raise ValueError(f"the coordinator is host:port, such as 10.0.0.1:1234; got {address!r}")
    if not 0 <= index < count:
        raise ValueError(f"process must lie in 0..{count - 1} for {count} processes; got {index}")
    return address, count, index
