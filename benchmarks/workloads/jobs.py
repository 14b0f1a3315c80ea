"""Jobs that several workloads use. Waits have no deadline of their own: the child process has one for each round."""

from __future__ import annotations

import threading
from time import perf_counter_ns

from contenders import Start


def nothing() -> None:
    """An empty job."""


class Countdown:
    """Two kinds of ``deliver`` that tell when they have been called often enough."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._delivered: list[int | None] = []  # list.append is atomic with and without the GIL
        self._finished = threading.Event()

    def _check(self) -> None:
        if len(self._delivered) >= self._count:
            self._finished.set()

    def deliver(self, result: object) -> None:
        """Count."""
        self._delivered.append(None)
        self._check()

    def deliver_and_note(self, result: object) -> None:
        """Count, and note the thread, which costs a system call (Python's own ids are used again after a thread)."""
        self._delivered.append(threading.get_native_id())
        self._check()

    def expect(self, count: int) -> None:
        """Wait for this many deliveries after all."""
        self._count = count  # before looking: a deliver looks after it has counted, so one of the two sees the other
        self._check()

    def wait(self) -> None:
        self._finished.wait()

    def threads(self) -> int:
        """How many threads delivered, if they were noted."""
        return len(set(self._delivered))


def all_at_once(start: Start, count: int) -> int:
    """Start ``count`` jobs, each blocking until all of them run; return the nanoseconds until they did.

    Returns when all have been delivered: a cache then has that many idle workers.
    """
    gate = threading.Lock()
    running: list[None] = []
    all_run = threading.Event()
    delivered = Countdown(count)

    def block() -> None:
        running.append(None)
        if len(running) == count:
            all_run.set()
        with gate:
            pass

    with gate:
        began = perf_counter_ns()
        for _ in range(count):
            start(block, delivered.deliver)
        all_run.wait()
        ended = perf_counter_ns()
    delivered.wait()
    return ended - began
