"""Executors that own no threads: their jobs borrow workers of a thread cache, and give them back.

The model is told in the header of `_pool`.
"""

from __future__ import annotations

import concurrent.futures
import math
import os
import sys
import threading
import time
from collections import deque
from contextvars import copy_context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from . import _exit, default_cache  # noqa: F401 (_exit registers itself)
from ._cache import ThreadCache, check_number
from ._pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["CachedThreadPoolExecutor", "SerialExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class CachedThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    """A `concurrent.futures.ThreadPoolExecutor` whose jobs borrow their threads from a thread cache.

    It owns no threads: making and closing one costs next to nothing, and a thread that it does not use serves others.
    Jobs begin in the order of submission, up to ``max_workers`` of them at a time; with `math.inf` a job never waits
    for another. With ``max_workers=1`` it keeps its one worker from the first job until `shutdown`.

    Callbacks of futures run after their job, and before its thread is given back; they may submit and wait for the
    result. A job that waits for another one in the same executor needs a limit that admits both, as always.

    Args:
        max_workers: How many jobs may run at a time; None: as `concurrent.futures.ThreadPoolExecutor` has it.
        thread_name_prefix: Threads are called this, "_" and a number while they run jobs. Without it, they keep the
            name that the cache gives them, which is cheaper.
        initializer: Called in each thread before the first job that it runs for this executor. Context variables that
            it sets are seen by the jobs there. If it raises, the executor is broken, and its futures fail with
            `concurrent.futures.thread.BrokenThreadPool`.
        initargs: The initializer's arguments.
        at_exit: What the interpreter's exit does about jobs that have not ended: ``"wait"`` for them, ``"abandon"``
            them, or wait for this many seconds. It says on stderr what it abandons. Ctrl-C ends the wait.
        context: ``"copy"`` runs each job in a copy of the `contextvars` context of its submission. None: in a fresh
            one.
        cache: The thread cache to borrow from; None: `threadcache.default_cache`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``max_workers`` is not greater than 0, or another argument is none of what it may be.

    All methods may be called from any thread, and `submit` from signal handlers and finalizers too. In a forked child
    an executor is empty and can be used.
    """

    def __init__(
        self,
        max_workers: float | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        at_exit: Literal["wait", "abandon"] | float = "wait",
        context: Literal["copy"] | None = None,
        cache: ThreadCache | None = None,
    ) -> None:
        # The base class makes a pool of threads in its own; what is inherited is the type, and `Executor`.
        if context not in {None, "copy"}:
            raise ValueError(f'context must be None or "copy", not {context!r}')
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if cache is not None and not isinstance(cache, ThreadCache):
            raise TypeError(f"cache must be a ThreadCache, not {type(cache).__name__}")
        limit = _limit(max_workers)
        self._max_workers: Any = limit  # clients read this
        self.__copies = context == "copy"
        self.__pool = Pool(
            limit,
            str(thread_name_prefix or ""),
            None if initializer is None else partial(initializer, *initargs),
            _seconds_at_exit(at_exit),
            default_cache if cache is None else cache,
        )

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called in a worker thread, and return the future of what it returns.

        Raises:
            RuntimeError: The executor has been shut down or is broken, no thread could be started, or the interpreter
                is shutting down and no thread runs any more. The call is not made then.
            MemoryError: There was no memory for a thread. The call is not made.
        """
        return self.__pool.submit((copy_context() if self.__copies else None, fn, args, kwargs))

    if sys.version_info < (3, 14):

        def map(
            self,
            fn: Callable[..., T],
            *iterables: Iterable[Any],
            timeout: float | None = None,
            chunksize: int = 1,
            buffersize: int | None = None,
        ) -> Iterator[T]:
            """Like ``map(fn, *iterables)``, with the calls made in worker threads; results come in order.

            Args:
                fn: What to call.
                iterables: Where its arguments come from.
                timeout: Seconds from now until when all results must be there, or iterating raises `TimeoutError`.
                chunksize: Ignored, as by every executor of threads.
                buffersize: How many calls may be submitted whose results have not been taken yet. None: all calls are
                    submitted at once.

            Raises:
                TypeError: ``buffersize`` is no `int`.
                ValueError: ``buffersize`` is below 1.
            """
            if buffersize is None:
                return super().map(fn, *iterables, timeout=timeout, chunksize=chunksize)
            if not isinstance(buffersize, int):
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
            deadline = None if timeout is None else time.monotonic() + timeout
            calls = zip(*iterables, strict=False)
            submit = partial(self.submit, fn)
            return _results(submit, calls, deque(submit(*call) for call in islice(calls, buffersize)), deadline)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no calls any more; those that were submitted are run.

        Args:
            wait: Return only when all of them have ended, and their futures' callbacks have been called.
            cancel_futures: Cancel those that have not begun.

        Raises:
            RuntimeError: It would wait for the job that it is called in. The executor is shut down all the same.
        """
        self.__pool.close()
        if cancel_futures:
            self.__pool.drop_line(None)
        if wait:
            self.__pool.wait()

    def __del__(self) -> None:
        pool = getattr(self, "_CachedThreadPoolExecutor__pool", None)  # a subclass may not have got that far
        if pool is not None:
            pool.close()

    if not TYPE_CHECKING:
        # What programs that watch an executor read of the standard library's.

        @property
        def _work_queue(self) -> _LineView:
            return _LineView(self.__pool)

        @property
        def _threads(self) -> set[threading.Thread]:
            running = self.__pool.running
            return {thread for thread in threading.enumerate() if thread.ident in running}

        @property
        def _shutdown(self) -> bool:
            return self.__pool.closed

        @property
        def _thread_name_prefix(self) -> str:
            return self.__pool.prefix


class SerialExecutor(CachedThreadPoolExecutor):
    """An executor with one leased thread: every job runs on it, one after the other, in the order of submission.

    It is a `CachedThreadPoolExecutor` with ``max_workers=1``, by name. The thread is borrowed at the first job, and
    given back by `shutdown` or when the executor is garbage-collected. If a job, or a callback, waits for the result
    of a later job of the same executor, which could otherwise never run, that job runs within the wait.

    The arguments are those of `CachedThreadPoolExecutor`.
    """

    def __init__(
        self,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        at_exit: Literal["wait", "abandon"] | float = "wait",
        context: Literal["copy"] | None = None,
        cache: ThreadCache | None = None,
    ) -> None:
        super().__init__(1, thread_name_prefix, initializer, initargs, at_exit=at_exit, context=context, cache=cache)


class _LineView:
    """What can be asked of an executor's queue."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def qsize(self) -> int:
        return len(self._pool.line)

    def empty(self) -> bool:
        return not self._pool.line


def _results(
    submit: Callable[..., Future[T]],
    calls: Iterator[tuple[Any, ...]],
    futures: deque[Future[T]],
    deadline: float | None,
) -> Iterator[T]:
    try:
        while futures:
            for call in islice(calls, 1):
                futures.append(submit(*call))
            # Nothing here must hold on to a future whose result is being used.
            yield _result(futures.popleft(), deadline)
    finally:
        for future in futures:
            future.cancel()


def _result(future: Future[T], deadline: float | None) -> T:
    try:
        return future.result(None if deadline is None else deadline - time.monotonic())
    finally:
        future.cancel()
        del future  # it is in this frame's traceback


def default_limit() -> int:
    """How many jobs may run at a time if nobody says so; the number is that of `concurrent.futures`."""
    return min(32, (getattr(os, "process_cpu_count", os.cpu_count)() or 1) + 4)


def _limit(max_workers: float | None) -> float:
    if max_workers is None:
        return default_limit()
    if max_workers <= 0 or math.isnan(max_workers):
        raise ValueError("max_workers must be greater than 0")
    # Linux numbers its threads up to 2 ** 22 (PID_MAX_LIMIT), and no system has more.
    return math.ceil(max_workers) if max_workers <= 2**22 else math.inf


def _seconds_at_exit(at_exit: str | float) -> float:
    if isinstance(at_exit, str):
        if at_exit not in {"wait", "abandon"}:
            raise ValueError(f'at_exit must be "wait", "abandon" or a number of seconds, not {at_exit!r}')
        return math.inf if at_exit == "wait" else 0
    return check_number("at_exit", at_exit)


for _public in (CachedThreadPoolExecutor, SerialExecutor):
    _public.__module__ = "threadcache"
del _public
