"""The work that is timed: one idea a file.

A workload is a function that takes a contender's adapter and the measurement's parameters, gets ready (warm workers,
if that is what the row is about), and returns a function that does one round and returns its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Params = Mapping[str, float]
Numbers = dict[str, float]
# What a round returns: numbers, and where every call has been timed, the list of its times as SAMPLES, in nanoseconds.
Answer = Mapping[str, float | list[int]]
Round = Callable[[], Answer]

SAMPLES = "samples ns"
