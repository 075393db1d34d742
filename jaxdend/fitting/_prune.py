"""Early pruning: of many starts, only the promising ones go on."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Prune:
    """Which share of the starts goes on after certain steps (successive halving).

    `Prune(at=(20, 50), keep=(0.5, 0.2))` drops half of the starts after step 20, and after step 50
    all but a fifth of those there were at first: those with the least loss so far stay, at least
    one. What is left is a smaller batch; its program is compiled anew, once for each entry of `at`.

    **Raises:** `ValueError` unless `at` ascends, `keep` descends between 1 and 0, and both are as
    long.
    """

    at: tuple[int, ...]  # steps
    keep: tuple[float, ...]  # of the starts at first

    def __post_init__(self) -> None:
        """Refuse counts and shares that cannot be."""
        at, keep = tuple(self.at), tuple(float(x) for x in self.keep)
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "keep", keep)
        if not at or len(at) != len(keep):
            raise ValueError(f"Prune: at and keep need one entry for each cut; got {at} and {keep}")
        if at[0] < 1 or any(b <= a for a, b in zip(at, at[1:], strict=False)):
            raise ValueError(f"Prune: at must be ascending steps from 1 on, got {at}")
        between = all(0.0 < x < 1.0 for x in keep)
        if not between or any(b >= a for a, b in zip(keep, keep[1:], strict=False)):
            raise ValueError(f"Prune: keep must be descending shares between 1 and 0, got {keep}")

    def left(self, step: int, starts: int) -> int:
        """How many of `starts` go on after `step` steps."""
        shares = [keep for at, keep in zip(self.at, self.keep, strict=True) if at <= step]
        return max(1, math.ceil(shares[-1] * starts - 1e-9)) if shares else starts

    def next(self, step: int) -> float:
        """The first cut after `step`; infinite if there is none."""
        return min((at for at in self.at if at > step), default=math.inf)
