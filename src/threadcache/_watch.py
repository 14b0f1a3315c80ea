"""Watching what a program does with its threads, for ``python -m threadcache run --report`` and ``--trace``.

A `Watcher` stands between the switches and the cache (see `_borrowing`), and notes when each job was submitted, began
and ended, and when threads began and ended. Notes go to a deque; whoever finds enough of them, and nobody at it,
*folds* them into the numbers of the report and the lines of the trace. So a note costs little, there is no lock to wait
for (a job may be submitted from a signal handler or a finalizer, in the middle of a fold), and few notes are kept.

The order of the notes in the deque is the order of what happened, as far as two threads can tell.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from . import default_cache
from ._borrowing import Borrowing, LoopExecutor
from ._rules import AnyioRule, ExecutorRule, Rule, TrioRule
from .anyio import Call
from .futures import CachedThreadPoolExecutor, default_limit

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["FrontEnd", "Watcher"]

P = ParamSpec("P")
T = TypeVar("T")

_FOLD_AT = 1_000  # notes; they take some milliseconds


class _Note(NamedTuple):
    what: Callable[..., None]  # a method of Watcher that takes the rest
    when: float  # seconds of time.perf_counter
    job: Any
    thread: int


class _Job:
    """One call of a front end."""

    __slots__ = ("began", "front_end", "name", "rule", "started", "submitted")

    def __init__(self, front_end: FrontEnd, rule: Rule, name: str) -> None:
        self.front_end = front_end
        self.rule = rule
        self.name = name
        self.started = False  # whether its library would have started a thread for it
        self.submitted = self.began = 0.0


@dataclass
class FrontEnd:
    """What is reported of one front end. Written by whoever folds."""

    name: str
    jobs: int = 0
    """Jobs that have begun."""
    threads: int = 0
    """Threads started for it: those whose first job was one of its."""
    running: int = 0
    peak: int = 0
    """The most of its jobs that ran at a time."""
    longest: float = 0.0
    """Seconds that its longest job took."""
    longest_name: str = ""
    idle: float = 0.0
    """Seconds that threads waited after a job of its, summed over the threads."""
    without: int = 0
    """Threads that its library would have started."""


class _Thread:
    __slots__ = ("idle_since", "job", "last")

    def __init__(self, idle_since: float) -> None:
        self.idle_since = idle_since
        self.job: _Job | None = None  # what it runs
        self.last: FrontEnd | None = None  # whose job it had last


class Watcher:
    """Sees the jobs and threads of the process-wide cache; must be made before it has any.

    Args:
        trace: A file descriptor to write the trace to, in the Trace Event Format, which Perfetto and Chromium show.
    """

    def __init__(self, trace: int | None = None) -> None:
        self.front_ends: dict[str, FrontEnd] = {}
        self.trace_error: OSError | None = None
        self._trace = trace
        self._file = None if trace is None else _file(trace)
        self._lines: list[str] = []
        self._notes: deque[_Note] = deque()
        self._folding = threading.Lock()
        self._threads: dict[int, _Thread] = {}
        self._loops: WeakKeyDictionary[Any, AnyioRule] = WeakKeyDictionary()
        self._trio = TrioRule()
        self._pid = os.getpid()
        self._began = time.perf_counter()
        default_cache._on_worker_start = partial(self._note, self._thread_began, None)
        default_cache._on_worker_exit = partial(self._note, self._thread_ended, None)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
        if trace is not None:
            self._write("[\n")

    # Called by front ends, in any thread.

    def borrowing(self) -> Borrowing:
        """What the switches are to be given."""
        return Borrowing(self._start, self._executor(CachedThreadPoolExecutor), self._executor(LoopExecutor))

    def _start(self, front_end: str, owner: Any) -> Callable[..., None]:
        rule = self._trio if owner is None else self._loops.setdefault(owner, AnyioRule())

        def start_thread_soon(
            fn: Callable[[], object], deliver: Callable[..., object], name: str | None = None
        ) -> None:
            job = _Job(self._front_end(front_end), rule, name or _name(fn))
            self._note(self._submitted, job)
            try:
                default_cache.start_thread_soon(partial(self._run, job, fn), deliver, name)
            except BaseException:
                self._note(self._refused, job)
                raise

        return start_thread_soon

    def _executor(watcher, base: type[Any]) -> type[Any]:  # noqa: N805 (the class below has a self of its own)
        front_end = "asyncio" if base is LoopExecutor else "futures"

        class Watched(base):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                limit = default_limit() if base is LoopExecutor else self._max_workers
                self._watched_rule = ExecutorRule(limit)

            def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
                job = _Job(watcher._front_end(front_end), self._watched_rule, _name(fn))
                watcher._note(watcher._submitted, job)
                try:
                    future: Future[T] = super().submit(watcher._run, job, fn, *args, **kwargs)
                except BaseException:
                    watcher._note(watcher._refused, job)
                    raise
                future.add_done_callback(partial(watcher._done, job))
                return future

        Watched.__name__ = Watched.__qualname__ = base.__name__
        Watched.__module__ = base.__module__
        return Watched

    def _front_end(self, name: str) -> FrontEnd:
        return self.front_ends.setdefault(name, FrontEnd(name))

    def _run(self, job: _Job, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        self._note(self._job_began, job)
        try:
            return fn(*args, **kwargs)
        finally:
            self._note(self._job_ended, job)

    def _done(self, job: _Job, future: Future[Any]) -> None:
        if future.cancelled():
            self._note(self._withdrawn, job)

    def _note(self, what: Callable[..., None], job: Any) -> None:
        self._notes.append(_Note(what, time.perf_counter(), job, threading.get_ident()))
        if len(self._notes) >= _FOLD_AT:
            self.fold()

    # Called by whoever folds.

    def fold(self) -> None:
        """Work off some notes, unless somebody is at it."""
        if self._folding.acquire(blocking=False):
            try:
                # More than have made it begin, or they might pile up; and not all, or others might keep it at it.
                for _ in range(min(len(self._notes), 4 * _FOLD_AT)):
                    note = self._notes.popleft()
                    note.what(note.when, note.job, note.thread)
                self._write("".join(self._lines))
                self._lines.clear()
            finally:
                self._folding.release()

    def _submitted(self, when: float, job: _Job, thread: int) -> None:
        job.submitted = when
        job.started = job.rule.submitted(when)
        job.front_end.without += job.started

    def _refused(self, when: float, job: _Job, thread: int) -> None:
        job.rule.refused(when, job.started)
        job.front_end.without -= job.started

    def _withdrawn(self, when: float, job: _Job, thread: int) -> None:
        job.rule.ended(when)

    def _job_began(self, when: float, job: _Job, ident: int) -> None:
        job.began = when
        front_end = job.front_end
        front_end.jobs += 1
        front_end.running += 1
        front_end.peak = max(front_end.peak, front_end.running)
        thread = self._threads.setdefault(ident, _Thread(when))
        if thread.last is None:
            front_end.threads += 1
        else:
            thread.last.idle += when - thread.idle_since
        thread.last = front_end
        thread.job = job

    def _job_ended(self, when: float, job: _Job, ident: int) -> None:
        job.rule.ended(when)
        front_end = job.front_end
        front_end.running -= 1
        self._took(job, when)
        if ident in self._threads:
            self._threads[ident].idle_since = when
            self._threads[ident].job = None
        if self._trace is not None:
            self._event(
                ident, ph="X", name=job.name, ts=self._us(job.began), dur=_us(when - job.began),
                args={"front end": front_end.name, "waited (us)": _us(job.began - job.submitted)},
            )  # fmt: skip

    def _took(self, job: _Job, when: float) -> None:
        front_end = job.front_end
        if when - job.began > front_end.longest:
            front_end.longest, front_end.longest_name = when - job.began, job.name

    def _thread_began(self, when: float, job: None, ident: int) -> None:
        self._threads[ident] = _Thread(when)
        if self._trace is not None:
            self._event(ident, ph="M", name="thread_name", args={"name": f"{default_cache._name} {ident}"})

    def _thread_ended(self, when: float, job: None, ident: int) -> None:
        thread = self._threads.pop(ident, None)
        if thread is None or thread.last is None:
            return
        if thread.job is not None:  # it runs still, as the program ends
            self._took(thread.job, when)
        else:
            thread.last.idle += when - thread.idle_since

    def finish(self) -> bool:
        """Say that the program has ended, and whether this is the process in which it was begun."""
        if os.getpid() != self._pid:
            return False
        for _ in range(len(self._notes) // _FOLD_AT + 1):
            self.fold()
        now = time.perf_counter()
        for ident in list(self._threads):
            self._thread_ended(now, None, ident)
        if self._trace is not None:
            self._event(0, ph="M", name="process_name", args={"name": "threadcache"})
            self._write("".join(self._lines).rstrip(",\n") + "\n]\n")
        if self._trace is not None:
            os.close(self._trace)
            self._trace = None
        return True

    def _us(self, when: float) -> float:
        return _us(when - self._began)

    def _event(self, ident: int, **event: Any) -> None:
        self._lines.append(json.dumps({"pid": self._pid, "tid": ident, **event}) + ",\n")

    def _write(self, text: str) -> None:
        data = text.encode()
        try:
            while data and self._trace is not None:
                if _file(self._trace) != self._file:  # the program closes what it finds open, as daemons do
                    raise OSError("its file has been closed")
                data = data[os.write(self._trace, data) :]
        except OSError as error:  # the disk is full, say: no matter of the job's that happens to fold
            self._trace, self.trace_error = None, error

    def _forked(self) -> None:
        self._trace = None
        self._notes.clear()
        self._folding = threading.Lock()


def _file(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 1)


def _name(fn: object) -> str:
    """What a job is called in the report."""
    try:
        if isinstance(fn, Call):
            fn = fn.function
        while isinstance(fn, partial):
            # asyncio.to_thread passes Context.run with what is to be called as its first argument.
            fn = fn.args[0] if fn.args and isinstance(getattr(fn.func, "__self__", None), Context) else fn.func
        return str(getattr(fn, "__qualname__", None) or type(fn).__qualname__)
    except Exception:  # of a proxy's, say; that is no matter of the job's
        return type(fn).__qualname__
