"""Ratios of medians over the rounds of one run, and how sure they are."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

RESAMPLES = 1_000  # enough for two digits of a 90 % interval


class Ratio(NamedTuple):
    """A ratio of medians, and the interval in which 90 % of such ratios would lie by the rounds' own scatter."""

    low: float
    value: float
    high: float


def ratio(ours: Sequence[float], peers: Sequence[float]) -> Ratio | None:
    """The median of ``ours`` by the median of ``peers``; None if there is no such thing.

    The interval is a bootstrap: rounds are drawn again, with replacement, and each is drawn for both sides at once,
    since the rounds are interleaved: what slows down a whole round (a busy machine, a slower clock) is on both sides.
    """
    if not ours or len(ours) != len(peers) or median(peers) <= 0:
        return None
    draw = random.Random(len(ours)).choices  # seeded: the same rounds give the same interval
    rounds = range(len(ours))
    drawn = []
    for _ in range(RESAMPLES):
        sample = draw(rounds, k=len(rounds))
        # A cost found by subtraction can come out at 0 or below, and there is no ratio to that.
        if (peer := median([peers[i] for i in sample])) > 0:
            drawn.append(median([ours[i] for i in sample]) / peer)
    drawn.sort()
    return Ratio(drawn[len(drawn) // 20], median(ours) / median(peers), drawn[-1 - len(drawn) // 20])
