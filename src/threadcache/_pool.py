"""What is behind an executor: futures that wait in a line, and runners that serve it in borrowed workers.

A *pool* has a line of futures and a number of *runners* that it may have at a time, its limit. A runner is a job of
the cache's: it takes futures from the line and runs them, one after the other, until there are none, and then gives
its worker back. So a thousand futures cost a few jobs of the cache's, and a pool without work costs nothing.

The facts
=========

``line``     a deque of futures, first in, first out. A future is accepted by being appended, and claimed by being
             popped.
``numbers``  those that no runner has. A runner needs one to serve the line, so the limit is how many there are. It is
             the runner that takes it, in its worker, and not the submitter, who may be interrupted anywhere.
``running``  the runners that have begun, by their thread's ident. Written by the runner.
``coming``   whether the runner that was last asked for, has parked or has resolved a future has ``begun`` anything
             since. Until then it is *on its way*.
``parked``   mailboxes of runners that wait for the next future, still with their worker and number. In a pool of one
             the runner keeps its worker (*lease*) and waits there; in others one that finds nobody there spins before
             it gives its worker back: what is submitted in that moment costs neither a job of the cache's nor a runner.
``standby``  the latch of who was the last to begin to spin for a future; ``left``, whether a runner has left it to a
             spinner to send for the next one.
``closed``   no future is accepted any more. Set once, never taken back; so is ``broken``, by a failing initializer.
``waiting``  mailboxes of those that wait until a closed pool is done. A runner that parks or ends fills them.

Every operation on a list, dict or deque here is one call of a C function; there is no lock, so `submit` may be
interrupted and re-entered anywhere, as `start_thread_soon` may.

The rule
========

    Whoever leaves a future in the line makes sure *afterwards* that a runner is on its way, or that all numbers are
    taken; and whoever gives a number back looks at the line *afterwards*.

The first is `Pool.ensure`: submitters do it after appending, a runner that has claimed a future while there are more
does it before it begins to run its own. So of a thousand futures submitted at a stroke the first asks for a runner and
999 are only appended, and yet as many run at a time as may: a runner that blocks has sent for the next one. Unless
somebody *stands by*, who spins for a future and then follows the rule, as for the cache's workers (see `_cache`).

Races
=====

1. *A number comes back as a future arrives.* R finds the line empty (1), S appends and finds no number free (2), R
   gives its number back (3) and looks at the line (4): it finds the future. In any other order S finds the number. The
   look is ``line[0]``, for which the line's own lock is taken without the GIL too; so it is ordered after S's append,
   or S's look at the numbers is ordered after R's giving back.

2. *A runner that finds no number.* Each of those who have one looks at the line after giving it back. But S may have
   appended after that, and count on the runner. So this says that it has begun, and looks at the line and the numbers
   once more. (It says so after it has taken a number, or S would send for another one in between.)

3. *The runner on its way is underneath.* Between the worker's claim of the cache's job and ``begun``, the garbage
   collector may run a finalizer that submits and waits. It must not count on the runner that it has interrupted. So
   a thread of any cache's counts on ``coming`` only if there is a runner of this pool underneath which has begun. The
   same goes for a runner that parks, and for its mailbox; only runners in a thread of a cache's park.

4. *Closing.* S finds the pool open (1), C closes it, finds nothing in the line and nobody running, and says that all
   is done (2), S appends (3). S looks once more after appending, and takes the future back. A runner that comes
   between the two must not run it: S says that a future is ``accepted`` only after the second look, and in a closed
   pool a runner cancels what has not been. That may still be on its way to be said, so S looks for a third time, and
   then cancels the future itself if nobody runs it. If it is after this that C closes, it finds an accepted future.

5. *Parking.* A runner makes itself one that is on its way (1), puts its mailbox into ``parked`` (2), and then looks at
   the line and at ``closed`` (3). Who appends or closes looks at ``parked`` afterwards, and takes the mailbox out and
   puts into it in one call. So either the runner sees the reason to go on, or is woken. Who finds ``parked`` empty, and
   counts on the runner since (1), is right: after it has said that it is not on its way any more, the runner looks at
   the line. A put that comes later goes into a mailbox that nobody looks at any more.

6. *No thread to be had.* A submitter takes its future back and raises; if it has been claimed, all is well. If it is a
   runner that gets no successor, it goes on serving the line itself after its future.

7. *Fork.* In the child all this is replaced. A runner that finds that its line is not the pool's any more ends.

8. *Between one future and the next.* Who takes a result as soon as it is there, and submits again, is faster than the
   runner R is in parking, and would send for another. So if R has resolved a future and finds the line empty, it makes
   itself one that is on its way (1), before it tells who spins for the result (2), and stays that until it has claimed
   a future (3) or parks or leaves. What it lets go is gone before (1), and it calls nothing in between. After (3) it
   says that it has begun, and looks at the line once more (with the line's lock, as in race 1), for what was appended
   between the two. Who sees that the future is done without waiting for (2) may send for another runner.

9. *A finalizer on the way.* The interpreter may run anybody's finalizers in any thread. One that blocks in a runner's
   that is on its way keeps that from coming, and what counts on it waits for as long.

Callbacks
=========

A future is resolved, and its callbacks are called, while the runner still has its worker: so a callback can block
without anybody's job waiting behind it. It may submit and wait, too: submitting from a callback gives its runner's
number back, since the job has ended. In a pool of one, where all jobs belong to one thread, waiting for a future in
that very thread serves the line meanwhile (`help`).

What strikes from outside
=========================

An asynchronous exception ends the runner, as it would any job of the cache's. `Runner.deliver` then puts right what is
left: its future is failed if it had begun and goes back to the line if not, its number is given back, and the rule is
followed. An exception in a job is the job's own and ends nothing.
"""

from __future__ import annotations

import itertools
import logging
import math
import operator
import os
import sys
import threading
import weakref
from collections import deque
from concurrent.futures.thread import BrokenThreadPool
from contextlib import suppress
from contextvars import Context
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar

from ._future import new_future
from ._runner import Runner
from ._threads import GIL
from ._worker import worker_idents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._cache import ThreadCache
    from ._future import Future
    from ._mailbox import MailboxLike

BROKEN = "A thread initializer failed, the thread pool is not usable anymore"
CLOSED = "cannot schedule new futures after shutdown"
EXITED = "cannot schedule new futures after interpreter shutdown"
"""Programs match on these, which are the standard library's."""


class Numbers:
    """Runners' numbers without a limit; what a pool needs of a list of them."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._next = itertools.count()

    def pop(self) -> int:
        """Take the number that was given back last, or a new one."""
        try:
            return self._free.pop()
        except IndexError:
            return next(self._next)

    def append(self, number: int) -> None:
        """Give a number back."""
        self._free.append(number)

    def __bool__(self) -> bool:
        return True


class Pool:
    """The state of an executor. It outlives the executor for as long as there is something to run."""

    exiting: ClassVar[deque[Future[Any]] | None] = None
    """Of all pools, what the interpreter's exit has still to wait for; None before that."""

    new_future: type[Future[Any]] = new_future
    """What makes futures. A seam for tests."""

    def __init__(
        self,
        limit: float,
        prefix: str,
        initializer: Callable[[], object] | None,
        at_exit: float,
        cache: ThreadCache,
    ) -> None:
        self.limit = limit
        self.lease = limit == 1
        self.prefix = prefix
        self.initializer = initializer
        self.at_exit = at_exit  # seconds that the interpreter's exit waits
        self.cache = cache
        self.closed = self.broken = False
        self.reset()
        pools.add(self)

    def reset(self) -> None:
        """Become empty: at the beginning, and in a forked child."""
        self.line: deque[Future[Any]] = deque()
        self.numbers = Numbers() if self.limit == math.inf else list(range(int(self.limit) - 1, -1, -1))
        self.running: dict[int, Runner] = {}
        self.parked: list[Callable[[], object]] = []
        # `next(unpark)` takes the mailbox out and puts into it, or raises IndexError.
        self.unpark: Iterator[object] = map(operator.call, iter(self.parked.pop, None))
        self.coming = [True]  # nobody is on the way
        self.standby = self.cache._new_latch()
        self.left = False
        self.initialized = threading.local()  # `context`, as the initializer has left it in a thread
        # The same of those that wait until a closed pool is done.
        self.waiting: list[Callable[[], object]] = []
        self.tell: Iterator[object] = map(operator.call, iter(self.waiting.pop, None))

    def submit(self, call: tuple[Any, ...]) -> Future[Any]:
        """Accept ``(context, fn, args, kwargs)``, or raise and have done nothing."""
        self.check()
        future = self.new_future(self, call)
        try:
            self.line.append(future)
            future.cached_accepted = not (self.closed or self.broken)
            if self.closed or self.broken:  # race 4
                if future.cancel():
                    self.check()
                return future  # it has begun, or has been told that the pool is broken
            self._step_aside()
            self.ensure()
        except BaseException as error:
            try:
                self.line.remove(future)
            except ValueError:
                if isinstance(error, (RuntimeError, MemoryError)) and not future.cancelled():
                    return future  # it has been claimed: so there was a thread after all
            if isinstance(error, RuntimeError) and sys.is_finalizing():
                raise RuntimeError(EXITED) from None
            raise
        if Pool.exiting is not None and get_ident() in worker_idents:
            Pool.exiting.append(future)
        return future

    def check(self) -> None:
        """Raise if nothing can be submitted any more."""
        if self.broken:
            raise BrokenThreadPool(BROKEN)
        if self.closed:
            raise RuntimeError(CLOSED)
        if sys.is_finalizing():
            raise RuntimeError(EXITED)

    def _step_aside(self) -> None:
        """In a callback of one of our futures, whose job has ended: make room for the job that is submitted there."""
        runner = self.running.get(get_ident())
        if runner is not None and runner.resolving and not self.lease:
            runner.give_number_back()

    def ensure(self) -> None:
        """See to it that somebody comes for the line, if anybody may. Whoever leaves a future there calls this.

        Raises:
            RuntimeError, MemoryError: No thread could be started.
        """
        if self.unparked():
            underneath = self.running.get(get_ident())
            if underneath is None or underneath.begun:
                return
            # Race 3: it is the runner that parks underneath who has been called.
        if not self.numbers:
            return
        if not self.coming:
            ident = get_ident()
            underneath = self.running.get(ident)
            if ident not in worker_idents or (underneath is not None and underneath.begun):  # race 3
                return
        if not self.line:
            return  # what was there has been claimed meanwhile
        # The number is the most likely one.
        name = f"{self.prefix}_{min(len(self.running), self.limit - 1)}" if self.prefix else None
        runner = Runner(self, name, borrowed=True)
        self.cache.start_thread_soon(runner.run, runner.deliver, name)
        # Only now: nobody must count on a start that may fail, or that they have interrupted.
        self.coming = runner.begun

    def send_for_next(self) -> None:
        """What a runner does that leaves futures in the line, and who has stood by."""
        self.left = True  # in the order of `ThreadCache._wake_next`
        if self.standby.is_spinning():
            return
        self.left = False
        if self.line and self.numbers:
            with suppress(RuntimeError, MemoryError):  # race 6
                self.ensure()

    def stand_by(self, latch: MailboxLike) -> None:
        """Spin for what a runner puts into ``latch``, and send for another one if a runner has left that to us."""
        try:
            try:
                self.standby = latch
                latch.get(True, 0)
            finally:
                if self.left:
                    self.send_for_next()
        except BaseException:
            self.send_for_next()  # that may have been interrupted
            raise

    def unparked(self) -> bool:
        """Wake the runner that has parked, and return whether there was one."""
        if not self.parked:
            return False
        try:
            next(self.unpark)
        except IndexError:
            return False
        return True

    def is_empty(self) -> bool:
        """Whether the line is; asked so that the line's lock is taken (race 1)."""
        if GIL:
            return not self.line
        try:
            self.line[0]
        except IndexError:
            return True
        return False

    def is_busy(self) -> bool:
        """Whether a runner may have a future, or may be calling callbacks. Look at the line before."""
        return not all(runner.parked for runner in list(self.running.values()))

    def close(self) -> None:
        """Accept nothing any more, and let the runner go that keeps its worker."""
        self.closed = True
        self.unparked()

    def drop_line(self, error: BaseException | None) -> None:
        """Cancel what waits in the line, or fail it with an error."""
        with suppress(IndexError):
            while True:
                future = self.line.popleft()
                if error is None:
                    future.cancel()
                # This also tells `wait` and `as_completed` of a future that is cancelled.
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)

    def wait(self) -> None:
        """Wait until a closed pool has nothing to do any more.

        Raises:
            RuntimeError: It would wait for the calling thread itself.
        """
        if get_ident() in self.running:
            raise RuntimeError("cannot join current thread")  # in the standard library's words
        while True:
            mailbox = self.cache._new_latch()
            self.waiting.append(mailbox.put)
            if not self.is_empty():
                self.ensure_or_serve()
            elif not self.is_busy():
                break
            mailbox.get(True, -1)
        with suppress(ValueError):
            self.waiting.remove(mailbox.put)

    def ensure_or_serve(self) -> None:
        """See to it that somebody serves the line, or do it here where there is no thread to be had."""
        try:
            self.ensure()
        except (RuntimeError, MemoryError):
            Runner(self).run_here()

    def help(self, future: Future[Any]) -> None:
        """Where nobody but the calling thread could ever run a future, run it."""
        runner = self.running.get(get_ident())
        if runner is not None and runner.number is not None and not future.done():
            Runner(self).run_until(future, runner)

    def tell_waiting(self) -> None:
        """Have those who `wait` look again."""
        if self.closed:
            with suppress(IndexError):
                while True:
                    next(self.tell)

    def enter_thread(self) -> bool:
        """Call the initializer if this thread has not seen it. If it fails, break the pool and return False."""
        assert self.initializer is not None
        if hasattr(self.initialized, "context"):
            return True
        if self.broken:
            self.drop_line(BrokenThreadPool(BROKEN))
            return False
        context = Context()
        try:
            context.run(self.initializer)
        except BaseException:
            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            self.broken = True
            self.drop_line(BrokenThreadPool(BROKEN))
            return False
        self.initialized.context = context
        return True

    def new_context(self) -> Context:
        """A context for a job in this thread: empty, but for what the initializer has set."""
        return Context() if self.initializer is None else self.initialized.context.copy()


pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def all_pools() -> list[Pool]:
    """Every pool that has an executor or something to run."""
    while True:
        try:
            return list(pools)
        except RuntimeError:  # another thread has just made one
            continue


def _after_fork_in_child() -> None:
    for pool in all_pools():
        pool.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
