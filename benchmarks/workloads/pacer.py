"""Jobs submitted evenly, so many a second, by a thread that sleeps in between."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from contenders import Start
from workloads.jobs import Countdown, nothing

PATIENCE = 1.5  # times the time that the jobs should take; then the pacer gives up on the rest of them


class Paced(NamedTuple):
    """What became of one paced run."""

    jobs: int
    cpu: float  # seconds of CPU time of the whole process, from the first job's start to the last one's delivery
    sleeps: int  # how often the pacer slept: less than once a job where it was late
    kept: float  # the rate at which jobs were submitted, as a share of the one wanted


def sharpen_sleep() -> None:
    """Let sleeps of this thread, and of those it starts, end when they should.

    Linux otherwise adds up to 50 µs, which is a whole period at 20,000 jobs a second.
    """
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/timerslack_ns").write_text("1")


def no_start(fn: Callable[[], object], deliver: Callable[[Any], object]) -> None:
    """Stand in for a contender where the pacer is to be measured alone."""
    deliver(None)


def pace(start: Start, rate: float, seconds: float) -> Paced:
    """Start ``rate`` empty jobs a second for so many seconds, and wait for all of them.

    Jobs keep to a timetable: a late one is submitted at once, and does not move those after it.
    """
    jobs = max(1, int(rate * seconds))
    countdown = Countdown(jobs)
    deliver, now, sleep = countdown.deliver, time.perf_counter, time.sleep
    sleeps = submitted = 0
    cpu = time.process_time()
    began = now()
    give_up = began + PATIENCE * seconds
    while submitted < jobs:
        time_now = now()
        wait = began + submitted / rate - time_now
        if wait > 0:
            sleep(wait)
            sleeps += 1
        elif time_now > give_up:
            countdown.expect(submitted)
            break
        start(nothing, deliver)
        submitted += 1
    kept = submitted / rate / (now() - began)
    countdown.wait()
    return Paced(submitted, time.process_time() - cpu, sleeps, min(1.0, kept))
