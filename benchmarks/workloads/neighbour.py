"""What threads that compute lose to jobs run beside them.

They never wait. In every other slice of the time the pacer starts jobs, in those between it only keeps time: what is
computed less in the former is the jobs' doing. There are two kinds of neighbours:

- one thread that runs Python code: jobs take the GIL from it, and a core only where there is none left;
- as many as there are cores, of threads that compute without the GIL: whoever spins takes a core from one of them.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from contenders import Start
from workloads import Numbers, Params, Round
from workloads.pacer import no_start, pace, sharpen_sleep

UNIT = 200  # additions between two counts, some 10 µs: short beside a slice
BLOCK = bytes(64 * 1024)  # hashed between two counts, some 100 µs; hashlib lets go of the GIL from 2 KiB


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


class HashingNeighbour(Neighbour):
    """Holds the GIL only to count."""

    def run(self) -> None:
        update = hashlib.sha256().update
        while not self.stop:
            update(BLOCK)
            self.units += 1


class Slice(NamedTuple):
    speed: float  # units a second
    seconds: float
    jobs: int
    kept: float


@contextmanager
def _computing(threads: list[Neighbour]) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stop = True
        for thread in threads:
            thread.join()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _beside(kind: type[Neighbour], count: int, start: Start, params: Params) -> Round:
    rate, seconds, slices = params["rate"], params["slice seconds"], int(params["slices"])
    sharpen_sleep()

    def measure(threads: list[Neighbour], starter: Start) -> Slice:
        units, began = sum(thread.units for thread in threads), time.perf_counter()
        paced = pace(starter, rate, seconds)
        elapsed = time.perf_counter() - began
        return Slice((sum(thread.units for thread in threads) - units) / elapsed, elapsed, paced.jobs, paced.kept)

    def one_round() -> Numbers:
        alone: list[Slice] = []
        beside: list[Slice] = []
        threads = [kind() for _ in range(count)]
        with _computing(threads):
            measure(threads, start)  # warm up
            for _ in range(slices):
                alone.append(measure(threads, no_start))
                beside.append(measure(threads, start))
        lost = count * sum((1 - b.speed / a.speed) * b.seconds for a, b in zip(alone, beside, strict=True))
        return {
            "job us": lost / sum(one.jobs for one in beside) * 1e6,
            "loss %": lost / count / sum(one.seconds for one in beside) * 100,
            "threads": count,
            "kept": sum(one.kept for one in beside) / slices,
        }

    return one_round


def neighbour(start: Start, params: Params) -> Round:
    """Jobs beside a thread that computes in Python."""
    return _beside(Neighbour, 1, start, params)


def neighbours_without_gil(start: Start, params: Params) -> Round:
    """Jobs beside threads that compute without the GIL, one for each core."""
    return _beside(HashingNeighbour, _cores(), start, params)
