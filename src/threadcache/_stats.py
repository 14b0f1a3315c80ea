"""What can be seen of a cache from outside, and the counters behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable


class Stats(NamedTuple):
    """The numbers of a cache; exact while no job is being submitted, run or delivered.

    ``workers``, ``idle`` and ``busy`` are numbers of threads now; everything else counts since the cache was made, or
    since the process was forked.
    """

    workers: int
    """Threads that live, those that are just starting included."""
    idle: int
    """Workers that are listed as able to take a job. One that is running ``deliver`` is."""
    busy: int
    """Workers that are not idle."""
    peak: int
    """The most workers that lived at one time."""
    started: int
    """Workers that have begun to work."""
    retired: int
    """Workers that have ended."""
    jobs: int
    """Jobs whose ``fn`` has ended."""
    start_failures: int
    """Times that a thread was needed and the system gave none."""
    deliver_errors: int
    """Times that ``deliver`` raised."""


class JobInfo(NamedTuple):
    """A job whose ``fn`` is running."""

    fn: Callable[[], object]
    """What runs."""
    name: str
    """The job's name, or the name of the cache's idle workers if it has none."""
    thread: threading.Thread
    """Where it runs."""
    seconds: float
    """For how long it has been running."""


class Tally:
    """The counters of one worker, which alone writes them; sums are made by whoever asks.

    A tally outlives its worker and is passed on to a later one, so that there are as many as there were workers at
    the peak, nothing has to be merged, and counting needs no lock.
    """

    __slots__ = ("deliver_errors", "jobs", "peak", "start_failures", "started")

    def __init__(self) -> None:
        self.started = 0
        self.jobs = 0
        self.peak = 0
        self.start_failures = 0
        self.deliver_errors = 0
