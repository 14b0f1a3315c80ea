"""What the interpreter's exit does about the jobs of executors: wait for them, or say that they are left.

The standard library waits for its own through a private hook of `threading`. Here it is `atexit`, which comes a moment
later: `threading` has by then waited for the threads that are not daemons, and the callbacks that the program
registered after importing this have run. They may still submit, and wait for results.

What is waited for: the jobs that had been submitted when the wait begins, and those that they submit. Other threads
may go on submitting as well; their jobs run, for as long as the process lives.
"""

from __future__ import annotations

import atexit
import math
import sys
import time
from collections import deque
from concurrent.futures import wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ._pool import all_pools
from ._threads import DAEMON, on_shutdown

if TYPE_CHECKING:
    from ._pool import Pool
    from ._runner import Future

POLL = 0.001
"""Seconds between two looks at whether callbacks have been called. Nobody can tell us, and it is for once a process."""


def _unfinished(pool: Pool) -> tuple[list[Future[Any]], list[Future[Any]]]:
    """Futures that are running, and futures that wait in line."""
    waiting = list(pool.line.copy())  # first, or one that is claimed meanwhile would be in neither
    running = [runner.future for runner in list(pool.running.values())]
    return [future for future in running if future is not None and future not in waiting], waiting


def _finish(pool: Pool, deadline: float) -> None:
    """Wait until a pool has run what it was given, or until the deadline."""
    running, waiting = _unfinished(pool)
    pool.exiting = deque([*running, *waiting])
    while pool.exiting and time.monotonic() < deadline:
        if not pool.is_empty():
            pool.ensure_or_serve()
        left = deadline - time.monotonic()
        if not wait([pool.exiting[0]], None if left == math.inf else max(0, left)).not_done:
            pool.exiting.popleft()
    for runner, future in [(runner, runner.future) for runner in list(pool.running.values()) if runner.resolving]:
        while runner.future is future and time.monotonic() < deadline:
            time.sleep(POLL)


def _say_what_is_left(pool: Pool) -> None:
    running, waiting = (len([future for future in futures if not future.done()]) for futures in _unfinished(pool))
    if running or waiting:
        executor = pool.prefix or "an executor"
        with suppress(Exception):  # there may be no stderr any more
            sys.stderr.write(
                f"threadcache: exit leaves {running} running and {waiting} waiting jobs of {executor} unfinished\n"
            )


def _at_exit() -> None:
    start = time.monotonic()
    left = sorted(all_pools(), key=lambda pool: pool.at_exit)
    try:
        for pool in left:
            _finish(pool, start + pool.at_exit)
    except KeyboardInterrupt:
        pass
    for pool in left:
        _say_what_is_left(pool)
        if not DAEMON:
            pool.close()  # the interpreter waits for every thread, also for one that a pool keeps


if DAEMON:
    atexit.register(_at_exit)
else:
    on_shutdown(_at_exit)
