"""What a running sweep tells: a bar in a terminal, else a line now and then, and a log file."""

import datetime
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

_EVERY = 30.0  # s between lines where there is no terminal


class Progress:
    """Points done, points a second, time left and failures of this process."""

    def __init__(self, path: Path, total: int, done: int, show: bool, process: str) -> None:
        self.path = path
        self.total = total
        self.before = done  # by an earlier run
        self.done = 0
        self.failed = 0
        self.process = process
        self.first = (0, 0.0)  # points of the first chunk, and when it was computed
        self.start = self.said = time.monotonic()
        terminal = sys.stderr.isatty()
        self.lines = show and not terminal
        self.bar: Any = tqdm(
            total=total, initial=done, unit="point", desc="sweep", disable=not (show and terminal),
            smoothing=0.1,
        )  # fmt: skip

    def add(self, points: int, failed: int, remaining: int) -> None:
        """Count points that are written; `remaining`, those of all processes still to be begun."""
        self.done += points
        self.failed += failed
        if not self.bar.disable:
            self.bar.set_postfix(failed=self.failed, refresh=False)
            self.bar.update(max(self.total - remaining - self.bar.n, 0))
        now = time.monotonic()
        if now - self.said > _EVERY:
            self.said = now
            self.say(self.line(remaining))

    def warm(self, points: int) -> None:
        """The first chunk, of so many points, is computed: compiling no longer counts."""
        self.first = points, time.monotonic()

    @property
    def rate(self) -> float:
        """Points a second of this process, from its first chunk on where there are more."""
        points, since = self.first
        if self.done <= points:
            points, since = 0, self.start
        return (self.done - points) / max(time.monotonic() - since, 1e-9)

    def line(self, remaining: int) -> str:
        """One line of text that says how far the sweep is."""
        here = self.total - remaining
        spent = time.monotonic() - self.start
        fresh = here - self.before
        left = spent * remaining / fresh if fresh > 0 else 0.0
        return (
            f"{here:,} of {self.total:,} points ({here / self.total:.1%}), {self.rate:.3g} "
            f"points/s, {datetime.timedelta(seconds=round(left))} left, {self.failed:,} failed"
        )

    def say(self, text: str, aloud: bool = True) -> None:
        """A line in the log file, and where there is no terminal on stderr."""
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with suppress(OSError), self.path.open("a", encoding="utf-8") as file:  # a full disk
            file.write(f"{stamp} {socket.gethostname()}:{os.getpid()} {self.process}{text}\n")
        if aloud and self.lines:
            sys.stderr.write(f"sweep: {self.process}{text}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Finish the progress bar and leave its last state on the screen."""
        self.bar.close()


class Interruption:
    """Whether the user, or the queue of a cluster, wants the sweep to stop."""

    def __init__(self) -> None:
        self.wanted = False


@contextmanager
def interruption() -> Iterator[Interruption]:
    """The first SIGINT or SIGTERM stops after the current chunk, the second at once."""
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return

    def stop(number: int, frame: Any) -> None:
        del frame
        if state.wanted:
            raise KeyboardInterrupt
        state.wanted = True
        name = signal.Signals(number).name
        sys.stderr.write(f"\nsweep: {name}: stopping after this chunk; once more: at once\n")

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield state
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
