"""When the libraries would have started threads of their own: each one's rule, applied to jobs as they came and went.

This is how `run --report` counts the threads that a program would have started without the cache. Nothing is estimated:
a rule is told of each job's submission and end, in the order in which they happened, and starts and reuses imaginary
threads as the library's code does with real ones. What it cannot know is that the jobs might have taken other times
there.

Sources: ``_adjust_thread_count`` and ``_worker`` in CPython's ``concurrent/futures/thread.py`` (3.11 to 3.15), Trio's
``_core/_thread_cache.py`` (0.27 to 0.35), and ``run_sync_in_worker_thread`` in AnyIO's ``_backends/_asyncio.py``
(4.6 to 4.16).
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Protocol

__all__ = ["AnyioRule", "ExecutorRule", "Rule", "TrioRule"]

_KEEP_ALIVE = 10.0  # seconds; IDLE_TIMEOUT in Trio, MAX_IDLE_TIME in AnyIO


class Rule(Protocol):
    """Says for each job whether the library would have started a thread."""

    def submitted(self, now: float) -> bool:
        """A job was submitted, at ``now`` seconds of some clock; return whether a thread is started."""

    def ended(self, now: float) -> None:
        """A job has ended, or was cancelled before it began."""

    def refused(self, now: float, started: bool) -> None:
        """A job was not accepted after all; ``started`` is what `submitted` returned for it."""


class ExecutorRule:
    """`concurrent.futures.ThreadPoolExecutor`: a thread more for each job that finds none idle, up to the limit."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._threads = 0
        self._idle = 0
        self._jobs = 0  # that have not ended

    def submitted(self, now: float) -> bool:
        self._jobs += 1
        if self._idle:
            self._idle -= 1
            return False
        if self._threads >= self._limit:
            return False
        self._threads += 1
        return True

    def ended(self, now: float) -> None:
        self._jobs -= 1
        # If one waits in the queue the thread takes it. Before 3.12 it said all the same that it was idle.
        if self._jobs < self._threads or sys.version_info < (3, 12):
            self._idle += 1

    def refused(self, now: float, started: bool) -> None:
        if started:
            self._jobs -= 1
            self._threads -= 1
        else:
            self.ended(now)


class TrioRule:
    """Trio's cache: the thread that became idle last, or a new one; idle ones leave after ten seconds."""

    def __init__(self) -> None:
        self._idle: deque[float] = deque()  # since when, the longest first

    def submitted(self, now: float) -> bool:
        self._expire(now)
        if self._idle:
            self._idle.pop()
            return False
        return True

    def _expire(self, now: float) -> None:
        while self._idle and now - self._idle[0] >= _KEEP_ALIVE:
            self._idle.popleft()

    def ended(self, now: float) -> None:
        self._idle.append(now)

    def refused(self, now: float, started: bool) -> None:
        if not started:
            self._idle.append(now)


class AnyioRule(TrioRule):
    """AnyIO's threads of one event loop: the same, but idle ones leave only when another one is put to work."""

    def submitted(self, now: float) -> bool:
        if self._idle:
            self._idle.pop()
            self._expire(now)
            return False
        return True
