"""Who is compared: one small adapter each, so that everyone does the same work.

A contender's adapter is made in a child process, which is why it imports its library only there. There is one shape
of adapter for each kind of interface, `Start`, `NewExecutor` and (in async_contenders.py) `Front`, and each has
contenders of its own.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from goals import MAILBOXES, Mailbox

Adapter = TypeVar("Adapter")

# start(fn, deliver): run fn in some thread, then call deliver there with its outcome; return at once.
Start = Callable[[Callable[[], object], Callable[[Any], object]], None]

# new(max_workers): make an executor.
NewExecutor = Callable[[int | None], Executor]

# As many threads as any row needs at once, so that no contender makes a job wait for another one.
ENOUGH_THREADS = 1_001


class LeftOutError(Exception):
    """A contender cannot take part; the text says why."""


@dataclass(frozen=True)
class Contender(Generic[Adapter]):
    """One way of doing the work.

    ``program``, if given, takes the place of ``make``: it builds a program in a folder, and returns the command. The
    command gets a measurement's name and its parameters (a JSON object) as its two last arguments, and answers each
    line that it reads with one line, a JSON object of what the workload's round would have returned.
    ``mailbox`` marks a contender as ours, and says which one it must have and which goals hold for it. ``limit`` marks
    what nobody competes with, but which shows how far one could get. Everyone else is a peer.
    """

    name: str
    make: Callable[[], Adapter] | None
    modules: tuple[str, ...] = ()  # must be importable for this contender to take part
    mailbox: Mailbox | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Callable[[Path], tuple[str, ...]] | None = None
    limit: bool = False
    cores: int = 1  # with fewer, what it does means nothing

    def check(self, cores: int) -> None:
        """See that it can take part on a machine of so many cores.

        Raises:
            LeftOutError: It cannot.
        """
        if cores < self.cores:
            raise LeftOutError(f"wants {self.cores} cores")
        for module in self.modules:
            try:
                found = importlib.util.find_spec(module) is not None
            except ImportError as error:  # of the package that the module is in
                raise LeftOutError(f"{module}: {error}") from None
            if not found:
                raise LeftOutError(f"{module} is not installed")


def both(name: str, make: Callable[[], Adapter], *modules: str) -> tuple[Contender[Adapter], Contender[Adapter]]:
    """One of ours, once with each mailbox."""
    pure, native = (
        Contender(
            f"{name} ({mailbox})",
            make,
            ("threadcache", *(["threadcache._native"] if mailbox == "native" else []), *modules),
            mailbox,
            {"THREADCACHE_MAILBOX": mailbox},
        )
        for mailbox in MAILBOXES
    )
    return pure, native


def _threadcache() -> Start:
    from threadcache import ThreadCache

    # A cache of our own, since a thousand blocked jobs are meant here and nobody should be warned of them.
    return ThreadCache(warn_at=10 * ENOUGH_THREADS).start_thread_soon


def _trio() -> Start:
    from trio.lowlevel import start_thread_soon

    return start_thread_soon


def _executor(max_workers: int | None) -> Start:
    from concurrent.futures import ThreadPoolExecutor

    submit = ThreadPoolExecutor(max_workers).submit

    def start(fn: Callable[[], object], deliver: Callable[[Any], object]) -> None:
        submit(fn).add_done_callback(deliver)

    return start


def _new_executor() -> NewExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor


def _new_cached_executor() -> NewExecutor:
    from threadcache import CachedThreadPoolExecutor

    return CachedThreadPoolExecutor


def _twisted() -> Start:
    from twisted.python.threadpool import ThreadPool

    pool = ThreadPool(maxthreads=ENOUGH_THREADS)
    pool.start()
    call = pool.callInThreadWithCallback

    def start(fn: Callable[[], object], deliver: Callable[[Any], object]) -> None:
        call(lambda success, result: deliver(result), fn)

    return start


def _gevent() -> Start:
    from gevent.monkey import patch_thread, patch_time
    from gevent.threadpool import ThreadPool

    # Results come through the hub, which runs while the thread that made the pool waits, if it waits as gevent does.
    patch_thread()
    patch_time()
    spawn = ThreadPool(ENOUGH_THREADS).spawn

    def start(fn: Callable[[], object], deliver: Callable[[Any], object]) -> None:
        spawn(fn).rawlink(deliver)

    return start


def _new_gevent_executor() -> NewExecutor:
    from gevent.threadpool import ThreadPoolExecutor

    new: NewExecutor = ThreadPoolExecutor  # has no types
    return new


def _thread() -> Start:
    from outcome import capture

    def run(fn: Callable[[], object], deliver: Callable[[Any], object]) -> None:
        deliver(capture(fn))

    def start(fn: Callable[[], object], deliver: Callable[[Any], object]) -> None:
        threading.Thread(target=run, args=(fn, deliver), daemon=True).start()

    return start


THREADCACHE = both("threadcache", _threadcache)
TRIO = Contender("trio", _trio, modules=("trio",))
TWISTED_POOL = Contender("twisted pool", _twisted, modules=("twisted",))
GEVENT_POOL = Contender("gevent pool", _gevent, modules=("gevent",))
EXECUTOR = Contender("executor", lambda: _executor(ENOUGH_THREADS))
EXECUTOR_DEFAULT = Contender("executor (default size)", lambda: _executor(None))
THREAD = Contender("thread", _thread, modules=("outcome",))

CACHED_EXECUTOR = both("cached executor", _new_cached_executor)
NEW_EXECUTOR = Contender("executor (own threads)", _new_executor)
GEVENT_EXECUTOR = Contender("gevent executor", _new_gevent_executor, modules=("gevent",))
