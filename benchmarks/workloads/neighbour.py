"""What a thread that computes loses to jobs run beside it.

The thread runs Python code and never waits. In every other slice of the time the pacer starts jobs, in those between
it only keeps time: what the thread computes less in the former is the jobs' doing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from contenders import Start
from workloads import Numbers, Params, Round
from workloads.pacer import no_start, pace, sharpen_sleep

UNIT = 200  # additions between two counts, some 10 µs: short beside a slice


class Neighbour(threading.Thread):
    """Counts how much it has computed."""

    def __init__(self) -> None:
        super().__init__(name="neighbour", daemon=True)
        self.units = 0  # written by this thread alone
        self.stop = False

    def run(self) -> None:
        total = 0
        while not self.stop:
            for number in range(UNIT):
                total += number
            self.units += 1


class Slice(NamedTuple):
    speed: float  # units a second
    seconds: float
    jobs: int
    kept: float


@contextmanager
def _computing() -> Iterator[Neighbour]:
    thread = Neighbour()
    thread.start()
    try:
        yield thread
    finally:
        thread.stop = True
        thread.join()


def neighbour(start: Start, params: Params) -> Round:
    rate, seconds, slices = params["rate"], params["slice seconds"], int(params["slices"])
    sharpen_sleep()

    def measure(thread: Neighbour, starter: Start) -> Slice:
        units, began = thread.units, time.perf_counter()
        paced = pace(starter, rate, seconds)
        elapsed = time.perf_counter() - began
        return Slice((thread.units - units) / elapsed, elapsed, paced.jobs, paced.kept)

    def one_round() -> Numbers:
        alone: list[Slice] = []
        beside: list[Slice] = []
        with _computing() as thread:
            measure(thread, start)  # warm up
            for _ in range(slices):
                alone.append(measure(thread, no_start))
                beside.append(measure(thread, start))
        lost = sum((1 - b.speed / a.speed) * b.seconds for a, b in zip(alone, beside, strict=True))
        return {
            "job us": lost / sum(one.jobs for one in beside) * 1e6,
            "loss %": lost / sum(one.seconds for one in beside) * 100,
            "kept": sum(one.kept for one in beside) / slices,
        }

    return one_round
