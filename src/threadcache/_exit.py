"""What the interpreter's exit does about the jobs of executors: wait for them, or say that they are left.

The standard library waits for its own through a private hook of `threading`. Here it is `atexit`, which comes a moment
later: `threading` has by then waited for the threads that are not daemons, and the callbacks that the program
registered after importing this have run. They may still submit, and wait for results.

A process that multiprocessing has forked ends without `atexit`, but has a list of its own of what is to be done, and
`_at_exit` is put on that. It does no harm where it is called twice.

What is waited for: the jobs that had been submitted when the wait begins, and those that they submit. Other threads
may go on submitting as well; their jobs run, for as long as the process lives.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections import deque
from concurrent.futures import wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ._pool import Pool, all_pools
from ._runner import Runner
from ._threads import DAEMON, on_shutdown

if TYPE_CHECKING:
    from ._future import Future

POLL = 0.001
"""Seconds between two looks at whether callbacks have been called. Nobody can tell us, and it is for once a process."""

PATIENCE = 1
"""Seconds that a job may wait for the thread that was asked for, before it is run here. At exit the system, or Python
3.12, may give us none, and the cache says so only if nobody else is on the way. The number itself has no reason."""


def _unfinished(pool: Pool) -> tuple[list[Future[Any]], list[Future[Any]]]:
    """Futures that are running, and futures that wait in line."""
    running: list[Future[Any]] = []
    while True:
        try:
            waiting = list(pool.line)  # first, or one that is claimed meanwhile would be in neither
            break
        except RuntimeError:  # somebody has just submitted
            continue
    for innermost in list(pool.running.values()):
        runner: Runner | None = innermost
        while innermost.claiming:
            time.sleep(0)
        while runner is not None:
            future = runner.future
            if future is not None and future not in waiting:
                running.append(future)
            runner = runner.outer
    return running, waiting


def _finish(future: Future[Any], deadline: float) -> None:
    """Wait until a future is done, or until the deadline."""
    pool = future.cached_pool
    while not future.done() and time.monotonic() < deadline:
        if not pool.is_empty():
            pool.ensure_or_serve()
        late = wait([future], min(PATIENCE, max(0, deadline - time.monotonic()))).not_done
        if late and not pool.is_empty() and pool.numbers:
            Runner(pool).run_here()


def _finish_callbacks(pool: Pool, deadline: float) -> None:
    """Wait until those callbacks have been called that were being called, or until the deadline."""
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
    futures: deque[Future[Any]] = deque()
    Pool.exiting = futures
    for pool in sorted(all_pools(), key=lambda pool: pool.at_exit):
        for some in _unfinished(pool):
            futures.extend(some)
    with suppress(KeyboardInterrupt):
        more = True
        while more:
            while futures:
                future = futures.popleft()
                _finish(future, start + future.cached_pool.at_exit)
            for pool in all_pools():
                _finish_callbacks(pool, start + pool.at_exit)
            more = bool(futures)
    for pool in all_pools():
        _say_what_is_left(pool)
        if not DAEMON:
            pool.close()  # the interpreter waits for every thread, also for one that a pool keeps


def _after_fork_in_child() -> None:
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # Its list is emptied first, and then filled by these. 100 is before what the module itself has to do.
        util.register_after_fork(_at_exit, lambda _: util.Finalize(None, _at_exit, exitpriority=100))


if DAEMON:
    atexit.register(_at_exit)
else:
    on_shutdown(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
