"""A future that waits in a pool's line, and the runner that serves it. The model is told in the header of `_pool`."""

from __future__ import annotations

import concurrent.futures
import threading
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from ._threads import name_thread, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._pool import Pool

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """A future that waits in a pool's line together with what it is to run."""

    def __init__(self, pool: Pool, call: tuple[Any, ...]) -> None:
        super().__init__()
        self.cached_pool = pool
        self.cached_call: tuple[Any, ...] | None = call  # (context, fn, args, kwargs), until it begins or is cancelled
        self.cached_accepted = False  # race 4

    def cancel(self) -> bool:
        """Cancel the future if it has not begun, and let go of what it was to run."""
        cancelled = super().cancel()
        if cancelled:
            self.cached_call = None
        return cancelled

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, or raise what the call has raised; see `concurrent.futures.Future.result`."""
        try:
            self._help(timeout)
            return super().result(timeout)
        finally:
            del self  # the exception's traceback refers to this frame, which must not lead back to the exception

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for what the call has raised; see `concurrent.futures.Future.exception`."""
        self._help(timeout)
        return super().exception(timeout)

    def _help(self, timeout: float | None) -> None:
        """Where nobody but the calling thread could ever run this future, run it."""
        pool = self.cached_pool
        if pool.lease and timeout is None and not self.done() and get_ident() in pool.running:
            Runner(pool).run_until(self)


class Runner:
    """Serves a pool's line in a thread. That thread alone calls its methods, and writes its fields."""

    __slots__ = (
        "begun",  # empty until it is not on its way any more; read unlocked by `Pool.ensure`
        "claim",  # constant: an iterator that claims futures
        "fn",  # what it calls now; read unlocked by `repr`, for `ThreadCache.jobs()`
        "future",  # claimed, and its callbacks not yet called to the end; read unlocked at exit
        "line",  # constant: the pool's line, and so the process, that it belongs to
        "number",  # what allows it to serve, or None
        "number_in_name",  # that the cache was told, or None if the thread keeps the cache's name
        "pool",  # constant
        "resolving",  # the job has ended, and its future is being resolved; read unlocked at exit
        "stays",  # constant: it parks instead of giving its worker back
    )

    def __init__(self, pool: Pool, *, stays: bool = False) -> None:
        self.pool = pool
        self.line = pool.line
        self.claim: Iterator[Future[Any]] = iter(pool.line.popleft, None)
        self.stays = stays
        self.begun: list[bool] = []
        self.resolving = False
        self.fn: Callable[..., object] | None = None
        self.future: Future[Any] | None = None
        self.number: int | None = None
        self.number_in_name: float | None = None

    def __repr__(self) -> str:
        return f"<runner of {self.pool.prefix or 'an executor'} in {self.fn!r}>"

    def run(self) -> None:
        """Serve the line until it is empty. This is what a worker is borrowed for."""
        self.begun.append(True)
        pool, ident = self.pool, get_ident()
        while self.line is pool.line and not pool.is_empty():
            try:
                self.number = pool.numbers.pop()
            except IndexError:
                break  # race 2
            try:
                pool.running[ident] = self
                if pool.enter_thread():
                    self._serve()
            except BaseException as error:
                # An asynchronous exception, or somebody else has resolved our future.
                report(error)
                if self.future is not None and not self.future.done():
                    self.future.set_exception(error)
            finally:
                self.fn = None
                self.resolving = False
                if self.line is pool.line:
                    self.future = None
                    pool.running.pop(ident, None)
                    self.give_number_back()
        pool.tell_waiting()

    def run_until(self, future: Future[Any]) -> None:
        """Serve the line inside of one of its own jobs, until a future is done or there is nothing more to serve."""
        running, ident = self.pool.running, get_ident()
        outer = running[ident]
        running[ident] = self
        try:
            while not future.done() and self._claim():
                self._run_future()
        finally:
            running[ident] = outer

    def give_number_back(self) -> None:
        """Allow another runner to serve. Whoever calls this looks at the line afterwards."""
        number, self.number = self.number, None
        if number is not None:
            self.pool.numbers.append(number)

    def _serve(self) -> None:
        pool = self.pool
        if self.number_in_name is not None and self.number_in_name != self.number:
            self.number_in_name = self.number
            name_thread(threading.current_thread(), f"{pool.prefix}_{self.number}")
        while self._claim() or (self.stays and self._park()):
            if self.future is None:
                continue
            if pool.line and pool.numbers:
                with suppress(RuntimeError, MemoryError):  # race 6
                    pool.ensure()
            self._run_future()
            if self.line is not pool.line:
                return  # race 7
            if self.number is None:  # a callback has given it back
                try:
                    self.number = pool.numbers.pop()
                except IndexError:
                    return

    def _claim(self) -> bool:
        try:
            # No asynchronous exception can strike between the call and the assignment; see `Worker._claim`.
            for self.future in self.claim:  # noqa: B020
                return True
        except IndexError:
            pass
        return False

    def _park(self) -> bool:
        """Wait in our thread for the next future. Return False if there will be none."""
        pool, ident = self.pool, get_ident()
        pool.running.pop(ident, None)
        pool.tell_waiting()
        mailbox = pool.cache._new_mailbox()
        pool.parked.append(mailbox.put)
        called = True
        if pool.closed or not pool.is_empty():  # race 5
            with suppress(IndexError):
                pool.parked.pop()
                called = False
        if called:
            mailbox.get(True, -1)
        pool.running[ident] = self
        return not (pool.closed and pool.is_empty())

    def _run_future(self) -> None:
        pool, future = self.pool, self.future
        assert future is not None
        if pool.closed and not future.cached_accepted:
            future.cancel()  # race 4
        if not future.set_running_or_notify_cancel():
            self.future = None
            return
        assert future.cached_call is not None
        (context, fn, args, kwargs), future.cached_call = future.cached_call, None
        failure = None
        self.fn = fn
        try:
            result = (context or pool.new_context()).run(fn, *args, **kwargs)
        except BaseException as error:
            # Without this frame, in which the traceback would meet the future.
            failure = BaseException.with_traceback(error, error.__traceback__ and error.__traceback__.tb_next)
        # Let go before anybody hears of the result.
        self.fn = None
        del context, fn, args, kwargs
        if self.line is not pool.line:
            return  # race 7
        self.resolving = True
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)
        del failure
        self.resolving = False
        self.future = None
