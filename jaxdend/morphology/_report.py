"""What a reader saw and did: remarks for `Morphology.report`, and warnings of what is doubtful."""

import warnings
from collections.abc import Callable, Sequence

from jaxdend._errors import MorphologyError

_SHOWN = 6  # lines named in one remark
_LOOKED_UP = 50


class MorphologyWarning(UserWarning):
    """A morphology that was read, but holds something doubtful: says the file, line and cure."""


class Notes:
    """Collects what a reader saw in one file; doubtful things are warned of, or refused."""

    def __init__(self, source: str):
        self.source = source
        self.remarks: list[str] = []
        self.doubts: list[str] = []

    def note(self, text: str, lines: Sequence[int] = ()) -> None:
        """Something that the reader did and that leaves no doubt, for the report alone."""
        self.remarks.append(self.said(text, lines))

    def doubt(self, text: str, cure: str, lines: Sequence[int] = ()) -> None:
        """Something doubtful: for the report and for a warning, with what to do about it."""
        said = f"{self.said(text, lines)} {cure}"
        self.remarks.append(said)
        self.doubts.append(said)

    def made(self, asked: bool, text: str, cure: str, lines: Sequence[int] = ()) -> None:
        """Something made up: doubtful unless it was asked for."""
        if asked:
            self.note(text, lines)
        else:
            self.doubt(text, cure, lines)

    def fail(self, problem: str, mend: str, lines: Sequence[int] = ()) -> MorphologyError:
        """The error for something that cannot be read, to be raised."""
        return MorphologyError(f"{self.said(problem, lines)} {mend}")

    def said(self, text: str, lines: Sequence[int] = ()) -> str:
        """A text behind the file and the lines that it speaks of."""
        return f"{self.source}{at_lines(lines)}: {text}"

    def close(self, strict: bool, stacklevel: int) -> tuple[str, ...]:
        """The report; every doubt becomes a `MorphologyWarning`, or one error if `strict`."""
        if strict and self.doubts:
            listed = "".join(f"\n- {said}" for said in self.doubts)
            raise MorphologyError(
                f"{self.source}: strict=True refuses what is doubtful:{listed}\n"
                "Mend the file, give the arguments named, or read it without strict=True."
            )
        for said in self.doubts:
            warnings.warn(said, MorphologyWarning, stacklevel=stacklevel + 1)
        return tuple(self.remarks)


class Lines:
    """The lines on which samples or sections begin, looked up only when one is asked for."""

    def __init__(self, find: Callable[[int], list[int]]):
        self._find = find

    def of(self, numbers: Sequence[int]) -> list[int]:
        """The lines of some of them, at most the first fifty."""
        return [line for i in numbers[:_LOOKED_UP] for line in self._find(int(i))]

    def picked(self, order: Sequence[int]) -> "Lines":
        """The lines of those in another order, or of fewer."""
        return Lines(lambda i: self._find(order[i]))


def at_lines(lines: Sequence[int]) -> str:
    """`, line 5` or `, lines 5, 7 and 12 more`, or nothing."""
    if not len(lines):
        return ""
    named = ", ".join(str(int(line)) for line in lines[:_SHOWN])
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f", line{'s' if len(lines) > 1 else ''} {named}{more}"
