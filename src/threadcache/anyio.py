"""AnyIO on the process-wide cache, on both of its backends: its threads come from there, and the rest stays AnyIO's.

On Trio, AnyIO uses Trio's threads, so this installs `threadcache.trio` too. On asyncio it keeps threads of its own, a
set for each event loop: objects of a class ``WorkerThread``, which have a queue and a method ``run`` that serves it.
`install` puts another class in its place, whose one object for each loop has no thread and is always idle: what is put
into its queue becomes a job of the cache's, and that job is AnyIO's own ``run``, on a queue of one. So what a call sees
in its thread, and how its result is treated, is decided by AnyIO's code, of whatever version.

There is one difference: ``run`` reports its result before it returns, and so before its worker could be listed as idle.
What it takes for the loop, once it has its call, is therefore a stand-in that keeps the report until the worker is.

The loops' present worker threads are left with what they run, since new calls look in new places for idle ones. They
end with their loop, as they always did.
"""

from __future__ import annotations

import itertools
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import trio as _trio
from ._borrowing import FROM_THE_CACHE
from ._switch import Switch, names_in, parameters_of, refusal, turn_off, turn_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from outcome import Outcome

    from ._borrowing import Borrowing

__all__ = ["install", "uninstall"]

_MODULE = "anyio._backends._asyncio"
_RUN_VARS = ("_threadpool_idle_workers", "_threadpool_workers")
_THREAD_NAME = "AnyIO worker thread"
_installations = itertools.count(1)

# What AnyIO 4.6 (2024) to 4.16 (2026) call in the function that makes and uses workers, and in a worker.
_USES = {"WorkerThread", *_RUN_VARS, "start", "add", "pop", "queue", "put_nowait", "add_done_callback", "stop"}
_TAKES = ("self", "root_task", "workers", "idle_workers")
_RUNS = {"claim_worker_thread", "loop", "queue", "get", "call_soon_threadsafe", "_report_result", "is_closed"}
_REPORTS = {"idle_since", "stopping"}


class _LateLoop:
    """Keeps what a call reports to its loop until the call's worker is listed as idle."""

    __slots__ = ("_loop", "report")

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self.report: tuple[Any, ...] | None = None

    def is_closed(self) -> bool:
        closed: bool = self._loop.is_closed()
        return closed

    def call_soon_threadsafe(self, *report: Any) -> None:
        self.report = report

    def deliver(self, outcome: Outcome[None]) -> None:
        report, self.report = self.report, None
        if report is not None:
            try:
                self._loop.call_soon_threadsafe(*report)
            except RuntimeError:
                if not self._loop.is_closed():
                    raise
        outcome.unwrap()


class Call:
    """One call, as AnyIO's ``run`` wants to see it: a worker that gets one item from its queue, and then is stopped."""

    __slots__ = ("_items", "_late", "idle_since", "loop")

    stopping: bool = True  # so it is not put among the idle workers
    _run: Callable[[Call], None]  # AnyIO's, like the next; see _turn_on
    _report_result: Callable[..., None]

    def __init__(self, loop: Any, late: _LateLoop, item: Any) -> None:
        self.loop: Any = loop
        self._late = late
        self._items = [None, item]

    def __call__(self) -> None:
        """Run it, under AnyIO's name for the thread. The operating system is told only where AnyIO would tell it."""
        thread = threading.current_thread()
        name, thread.name = thread.name, _THREAD_NAME
        try:
            self._run(self)
        finally:
            thread.name = name

    @property
    def queue(self) -> Call:
        return self

    @property
    def function(self) -> Callable[..., object]:
        """What is called."""
        function: Callable[..., object] = self._items[-1][1]
        return function

    def get(self) -> Any:
        self.loop = self._late  # whoever calls into the real loop has got hold of it before
        return self._items.pop()

    def task_done(self) -> None:
        pass


class _Worker:
    """What stands in for all worker threads of a loop."""

    MAX_IDLE_TIME = 10  # AnyIO compares `idle_since` with it to see whose time is up; ours never is
    _call: type[Call]
    _start: Callable[[str, object], Callable[..., None]]
    _installed = True

    def __init__(self, root_task: Any, workers: set[Any], idle_workers: Any) -> None:
        self.root_task = root_task
        self.loop = root_task.get_loop()
        self._workers = workers
        self._idle_workers = idle_workers
        self._start_thread_soon = self._start("anyio", self.loop)

    @property
    def idle_since(self) -> float:
        now: float = self.loop.time()
        return now

    def start(self) -> None:
        pass

    def stop(self, task: object = None) -> None:
        """Be found no more, now that the root task has ended: AnyIO's variables are kept, and would keep the loop."""
        self._workers.discard(self)
        if self in self._idle_workers:
            self._idle_workers.remove(self)

    @property
    def queue(self) -> _Worker:
        return self

    def put_nowait(self, item: Any) -> None:
        if type(self)._installed:  # or a call that has waited for its limiter meanwhile has found us
            self._idle_workers.append(self)
        late = _LateLoop(self.loop)
        self._start_thread_soon(self._call(self.loop, late, item), late.deliver)


def _turn_on(borrowing: Borrowing) -> Callable[[], object]:
    module: Any = sys.modules[_MODULE]
    missing = _missing(module)
    if missing:
        raise refusal("anyio", missing)
    original = module.WorkerThread
    places = {name: getattr(module, name) for name in _RUN_VARS}
    # Up to 4.10, what has the same name is in the same place.
    installation = next(_installations)
    our_places = {name: type(place)(f"{name}, threadcache {installation}") for name, place in places.items()}
    theirs = {"_run": staticmethod(original.run), "_report_result": original._report_result}
    call = type("Call", (Call,), {"__slots__": (), **theirs})
    ours = type("WorkerThread", (_Worker,), {"_call": call, "_start": staticmethod(borrowing.start)})

    def undo() -> None:
        ours._installed = False  # type: ignore[attr-defined]
        module.WorkerThread = original
        vars(module).update(places)

    module.WorkerThread = ours
    vars(module).update(our_places)
    return undo


def _missing(module: Any) -> str | None:
    """What is not there of the shape that AnyIO's worker threads have had from 4.6 (2024) to 4.16 (2026)."""
    thread = getattr(module, "WorkerThread", None)
    uses = getattr(getattr(module, "AsyncIOBackend", None), "run_sync_in_worker_thread", None)
    shapes = {
        "AsyncIOBackend.run_sync_in_worker_thread": (uses, _USES),
        "WorkerThread.run": (getattr(thread, "run", None), _RUNS),
        "WorkerThread._report_result": (getattr(thread, "_report_result", None), _REPORTS),
    }
    for name in ("WorkerThread", *_RUN_VARS):
        if not hasattr(module, name):
            return f"{_MODULE} has no {name}"
    for name, (function, names) in shapes.items():
        if not names <= names_in(function):
            return f"{_MODULE}.{name} does not use {', '.join(sorted(names - names_in(function)))}"
    if parameters_of(getattr(thread, "__init__", None)) != _TAKES:
        return f"{_MODULE}.WorkerThread does not take {', '.join(_TAKES[1:])}"
    return None


SWITCH = Switch("anyio", _MODULE, _turn_on)


def install() -> None:
    """Have AnyIO take its threads from the cache, on asyncio and on Trio. Doing it again does nothing.

    Raises:
        ImportError: AnyIO is not installed.
        RuntimeError: This version of AnyIO, or of Trio, has another shape than those that are known; the text says
            which version, and what was missing.

    May be called from any thread, and while AnyIO runs.
    """
    import anyio._backends._asyncio  # noqa: F401 (so that it is not waited for)

    turn_on(__name__, FROM_THE_CACHE, SWITCH, _trio.SWITCH)


def uninstall() -> None:
    """Have AnyIO take its threads from where it took them before, unless something else has installed ours as well.

    May be called from any thread, while AnyIO runs, and if nothing is installed.
    """
    turn_off(__name__, SWITCH, _trio.SWITCH)
