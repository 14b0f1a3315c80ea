"""The slow calls among the many: percentiles of all the calls of all rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = (50.0, 90.0, 99.0, 99.9)

# Those of the curve that is drawn: as many for the slowest tenth as for the nine before, and so on.
CURVE = (
    *(float(percent) for percent in range(2, 90, 2)),
    *(90 + tenth / 2 for tenth in range(18)),
    *(99 + hundredth / 20 for hundredth in range(18)),
    99.9,
    99.95,
    100.0,
)


@dataclass(frozen=True)
class Latency:
    """How long one contender's calls took."""

    calls: int
    curve: tuple[float, ...]  # in microseconds, one for each percentage of CURVE

    def at(self, percent: float) -> float:
        return self.curve[CURVE.index(percent)]


def _nearest_rank(ordered: Sequence[int], percent: float) -> float:
    """A time that was measured, not one between two."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)] / 1e3


def latency(samples: Sequence[int]) -> Latency:
    """Of times in nanoseconds, in any order."""
    ordered = sorted(samples)
    return Latency(len(ordered), tuple(_nearest_rank(ordered, percent) for percent in CURVE))
