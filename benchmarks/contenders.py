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
from typing import Any, Generic, TypeVar

from goals import Mailbox

Adapter = TypeVar("Adapter")

# start(fn, deliver): run fn in some thread, then call deliver there with its outcome; return at once.
Start = Callable[[Callable[[], object], Callable[[Any], object]], None]

# new(max_workers): make an executor.
NewExecutor = Callable[[int | None], Executor]

# As many threads as any row needs at once, so that no contender makes a job wait for another one.
ENOUGH_THREADS = 1_000


@dataclass(frozen=True)
class Contender(Generic[Adapter]):
    """One way of doing the work.

    ``program``, if given, is run in place of ``make``: any command that takes a measurement's name and its parameters
    (a JSON object) as its two last arguments, and answers each line it reads with one line, a JSON object of numbers.
    ``mailbox`` marks a contender as ours and says which goals hold for it; everyone else is a peer.
    """

    name: str
    make: Callable[[], Adapter]
    modules: tuple[str, ...] = ()  # must be importable for this contender to take part
    mailbox: Mailbox | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ()

    def is_installed(self) -> bool:
        return all(importlib.util.find_spec(module) is not None for module in self.modules)


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


def _thread() -> Start:
    from outcome import capture

    def run(fn: Callable[[], object], deliver: Callable[[Any], object]) -> None:
        deliver(capture(fn))

    def start(fn: Callable[[], object], deliver: Callable[[Any], object]) -> None:
        threading.Thread(target=run, args=(fn, deliver), daemon=True).start()

    return start


THREADCACHE = Contender("threadcache", _threadcache, modules=("threadcache",), mailbox="pure")
TRIO = Contender("trio", _trio, modules=("trio",))
EXECUTOR = Contender("executor", lambda: _executor(ENOUGH_THREADS))
EXECUTOR_DEFAULT = Contender("executor (default size)", lambda: _executor(None))
THREAD = Contender("thread", _thread, modules=("outcome",))

CACHED_EXECUTOR = Contender("cached executor", _new_cached_executor, modules=("threadcache",), mailbox="pure")
NEW_EXECUTOR = Contender("executor (own threads)", _new_executor)
