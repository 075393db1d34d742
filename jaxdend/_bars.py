"""Progress bars: a bar in a terminal or a notebook, else a short line now and then."""

import io
import sys
from typing import Any

from tqdm import tqdm

_EVERY = 30.0  # s between two lines
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}s, {elapsed} so far, {remaining} left{postfix}"


def progress_bar(total: int, desc: str, unit: str, *, show: bool, initial: int = 0) -> tqdm:
    """A bar of `tqdm` on stderr, to be used in a `with` statement; nothing unless `show`.

    Where stderr is neither a terminal nor a notebook, as in a log file, it writes plain lines of
    at most a hundred characters: at the beginning, every 30 s and at the end.
    """
    options: dict[str, Any] = {"total": total, "desc": desc, "unit": unit, "initial": initial}
    if not show or sys.stderr.isatty() or _in_notebook():
        return tqdm(**options, disable=not show)
    return tqdm(**options, file=_Lines(), bar_format=_LINE, mininterval=_EVERY, miniters=1)


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, not one that has only imported it."""
    ipykernel = sys.modules.get("ipykernel.kernelapp")
    return ipykernel is not None and ipykernel.IPKernelApp.initialized()


class _Lines(io.TextIOBase):
    """A file that takes what a bar draws over and over, and writes each new text as a line."""

    last = ""

    def write(self, text: str) -> int:
        """Write a line, unless it is empty or was the last one."""
        line = text.strip("\r\n ")
        if line and line != self.last:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
            self.last = line
        return len(text)
