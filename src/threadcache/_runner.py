"""The runner that serves a pool's line. The model is told in the header of `_pool`."""

from __future__ import annotations

import threading
from concurrent.futures import InvalidStateError
from contextlib import suppress
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from outcome import Error

from ._threads import GIL, name_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outcome import Outcome

    from ._future import Future
    from ._pool import Pool


class Runner:
    """Serves a pool's line in a thread. That thread alone calls its methods, and writes its fields."""

    __slots__ = (
        "begun",  # empty while it is on its way, as it is while it is parked; read unlocked by `Pool.ensure`
        "borrowed",  # constant: its thread is a worker that the cache has given it
        "claim",  # constant: an iterator that claims futures
        "claiming",  # what it has claimed may not be in `future` yet; read unlocked at exit
        "current_name",  # of its thread
        "fn",  # what it calls now; read unlocked by `repr`, for `ThreadCache.jobs()`
        "future",  # claimed, and its callbacks not yet called to the end; read unlocked at exit
        "leave",  # what takes it out of those that are parked, if it may be among them
        "line",  # constant: the pool's line, and so the process, that it belongs to
        "lingers",  # constant: it spins for a moment before it gives its worker back
        "name",  # constant: what the cache was told, or None if the thread keeps the cache's name
        "number",  # what allows it to serve, or None
        "outer",  # within whose job this serves the line, or None
        "parked",  # it waits for the next future, or is about to; read unlocked by `Pool.is_busy`
        "pool",  # constant
        "resolving",  # the job has ended, and its future is being resolved; read unlocked at exit
        "stays",  # constant: it parks instead of giving its worker back
    )

    def __init__(self, pool: Pool, name: str | None = None, *, borrowed: bool = False) -> None:
        self.pool = pool
        self.line = pool.line
        self.claim: Iterator[Future[Any]] = iter(pool.line.popleft, None)
        self.borrowed = borrowed
        self.stays = borrowed and pool.lease
        self.lingers = borrowed and pool.cache._spins
        self.begun: list[bool] = []
        self.claiming = self.parked = self.resolving = False
        self.fn: Callable[..., object] | None = None
        self.leave: Callable[[], object] | None = None
        self.future: Future[Any] | None = None
        self.number: int | None = None
        self.outer: Runner | None = None
        self.name = self.current_name = name

    def __repr__(self) -> str:
        return f"<runner of {self.pool.prefix or 'an executor'} in {self.fn!r}>"

    def run(self) -> None:
        """Serve the line until it is empty. This is what a worker is borrowed for."""
        pool, ident = self.pool, get_ident()
        pool.running[ident] = self
        while True:
            numbered = self._take_number()
            self.begun.append(True)
            if numbered:
                if pool.initializer is None or pool.enter_thread():
                    self._serve()
                    self.begun.append(True)
                if self.line is not pool.line:
                    return  # race 7
                self.give_number_back()
            if pool.is_empty() or not (numbered or pool.numbers):  # race 2
                break
        if self.name is not None:
            self._rename(self.name)
        pool.running.pop(ident, None)
        pool.tell_waiting()

    def run_here(self) -> None:
        """Serve the line in a thread that is not borrowed, where an interrupt may end it."""
        try:
            self.run()
        except BaseException as error:
            self._put_right(error)
            raise

    def deliver(self, outcome: Outcome[None]) -> None:
        """What the worker does after `run`: report what has struck it, as of any `deliver`."""
        if isinstance(outcome, Error):
            self._put_right(outcome.error)
            outcome.unwrap()

    def _put_right(self, error: BaseException) -> None:
        """Leave as `run` would, from wherever an asynchronous exception has struck it.

        So has, in effect, whoever resolves a future that is ours to resolve.
        """
        pool = self.pool
        self.begun.append(True)
        if self.line is not pool.line:
            return  # race 7
        self._leave_future(error)
        self.parked = self.resolving = False
        if self.leave is not None:
            with suppress(ValueError):
                self.leave()
        pool.running.pop(get_ident(), None)
        self.give_number_back()
        if not pool.is_empty():
            with suppress(RuntimeError, MemoryError):
                pool.ensure()
        pool.tell_waiting()

    def _leave_future(self, error: BaseException) -> None:
        future, self.future, self.fn = self.future, None, None
        if future is not None and not future.done():
            if future.cached_call and not future.running():
                self.line.appendleft(future)
            else:
                with suppress(InvalidStateError):  # somebody has just cancelled it
                    latch = future.cached_resolve(None, error)
                    if latch is not None:
                        latch.put()

    def run_until(self, future: Future[Any], outer: Runner) -> None:
        """Serve the line inside of another runner, until a future is done or there is nothing more to serve."""
        running, ident = self.pool.running, get_ident()
        self.outer, self.number = outer, outer.number
        running[ident] = self
        try:
            while not future.done() and self.line is self.pool.line and self._claim():
                self._run_future()
        except BaseException as error:
            self._leave_future(error)
            raise
        finally:
            running[ident] = outer
            del future

    def give_number_back(self) -> None:
        """Allow another runner to serve. Whoever calls this looks at the line afterwards."""
        number, self.number = self.number, None
        if number is not None:
            self.pool.numbers.append(number)

    def _serve(self) -> None:
        pool = self.pool
        while self._claim() or self._park():
            if self.future is None:
                continue
            left = bool(pool.line)
            if not self.begun:
                self.begun.append(True)
                left = not pool.is_empty()  # race 8
            if left:
                pool.send_for_next()
            self._run_future()
            if self.line is not pool.line:
                return  # race 7
            if self.number is None and not self._take_number():  # a callback has given it back
                return

    def _rename(self, name: str) -> None:
        if name != self.current_name:
            self.current_name = name
            name_thread(threading.current_thread(), name)

    def _take_number(self) -> bool:
        try:
            for self.number in iter(self.pool.numbers.pop, None):  # noqa: B020 (as below)
                if self.name is not None:
                    self._rename(f"{self.pool.prefix}_{self.number}")
                return True
        except IndexError:
            pass
        return False

    def _claim(self) -> bool:
        if GIL and not self.line:
            return False  # cheaper than to try; without the GIL the try is what orders it (race 1)
        self.claiming = True
        try:
            # No asynchronous exception can strike between the call and the assignment; see `Worker._claim`.
            for self.future in self.claim:  # noqa: B020
                return True
        except IndexError:
            pass
        finally:
            self.claiming = False
        return False

    def _park(self) -> bool:
        """Wait in our thread for the next future, for a moment or until it comes. Return whether to look for it."""
        pool = self.pool
        if not self.stays and (pool.parked or not self.lingers):
            return False
        mailbox = pool.cache._new_mailbox()
        self.leave = partial(pool.parked.remove, mailbox.put)
        self.begun = pool.coming = []  # whoever is called is on its way
        pool.parked.append(mailbox.put)
        self.parked = True
        pool.tell_waiting()
        if pool.closed or not pool.is_empty() or not mailbox.get(True, -1 if self.stays else 0):  # race 5
            with suppress(ValueError):  # a put that comes yet harms nobody
                self.leave()
        self.parked = False
        self.leave = None
        self.begun.append(True)
        return not pool.is_empty() or (self.stays and not pool.closed)

    def _run_future(self) -> None:
        pool, future = self.pool, self.future
        assert future is not None
        if pool.closed and not future.cached_accepted:
            future.cancel()  # race 4
        call = future.cached_begin()
        if call is None:
            self.future = None
            return
        context, fn, args, kwargs = call
        result = failure = None
        self.fn = fn
        try:
            if context is None:
                context = pool.new_context()
            if kwargs:  # PyPy's `run` has a parameter of its own that is called self
                fn, args = partial(fn, *args, **kwargs), ()
            result = context.run(fn, *args)
        except BaseException as error:
            # Without this frame, which is no business of the reader's.
            failure = BaseException.with_traceback(error, error.__traceback__ and error.__traceback__.tb_next)
        # Let go before anybody hears of the result.
        self.fn = None
        del call, context, fn, args, kwargs
        if self.line is not pool.line:
            return  # race 7
        self.resolving = True
        latch = future.cached_resolve(result, failure)
        self.resolving = False
        self.future = None
        # An exception refers to the frames that its traceback names and these to their callers: to this one, where it
        # must not meet itself or its future.
        del result, failure, future
        if self.borrowed and not self.line and self.line is pool.line:
            self.begun = pool.coming = []  # race 8
        if latch is not None:
            latch.put()
