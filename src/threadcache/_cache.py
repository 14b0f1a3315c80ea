"""The thread cache.

It runs jobs in threads that it keeps: a job goes to the worker that became idle last, a new thread is started when
none is idle, and a worker that stays idle leaves. It is *not* a pool: it has no limit, no queue to fill up and no
futures. How many jobs may run at once is for the layer above to say.

Guarantees
==========

Tests cite these numbers (``test_g5_...``).

G1   An accepted job runs `fn` once, then `deliver` once, in the same worker. If `start_thread_soon` raises, neither
     runs.
G2   It may be called from anywhere: any thread, signal handlers, `__del__`, weakref callbacks, `deliver`. No lock
     is held while a thread is started; in fact this module has none.
G3   No job waits for another: any number of accepted jobs run at the same time (race 5 is the limit of that).
G4   Last idle, first used.
G5   A worker is listed as idle before it calls `deliver`: jobs submitted one after another need one worker.
G6   A worker that was idle for `idle_timeout` seconds leaves, by its own clock and without waking up before.
G7   Nothing of a job is kept once it is delivered, and `fn` not even until then. (Without the GIL, CPython itself
     may keep what one thread made and another let go until the first one runs again.)
G8   A `deliver` that raises is reported through `threading.excepthook` and costs nothing.
G9   No worker dies while it is listed, whatever is raised in it.
G10  KeyboardInterrupt at any bytecode of `start_thread_soon`: the job was taken or not, and no worker is lost for
     longer than its idle timeout.
G11  A forked child has empty caches, which work; a job is delivered in the parent alone.
G12  Workers never hold up the interpreter's exit. Jobs are taken while a worker can still run them, then refused.
G13  A job has a fresh context. Workers have the signal mask that the main thread had at import.
G14  A named job carries its name while it runs, an idle worker that of the cache; the operating system sees both.
G15  All of it without the GIL, on PyPy, and in sub-interpreters.
G16  It can be watched (`stats`, `jobs`), trimmed and drained, and none of that costs the hot path a shared lock.

The parts
=========

*line*: a deque of jobs, first in, first out. A job is accepted by being appended, and claimed by being popped; each
is one call of a C function, and so a job is in the line, or a worker's, and never both or neither.

*idle*: a dict of listed workers, with the mailbox that each had when it listed itself, the latest last. Adding,
`pop` and `popitem` are one call each, and whoever's call removes a worker has *claimed* it: nobody else can, and
the claimant puts into the mailbox that it found there.

*mailbox*: see `_mailbox`. What it hands over is no job but the word "get up and look at the line".

*_standby*: the latch of who was the last to begin to spin for a job's result. *_left*: whether a worker has left it to
a spinner to wake the next one. (Without that, a spinner would take the job that its own worker is about to claim for
one that nobody comes for, and start a thread: G5.)

*_quick_start*, *_quick_run*: with the native mailbox, the common case of submitting a job and of running it, in C
(`_quick.h`). What is told here is what they do too.

*_waking*: the worker that was last told so. Nothing depends on it being right or recent: it says whom to ask.

The states of a worker
======================

======== ======= ========== ======= =====================================================================
state    listed  delivering mailbox left by
======== ======= ========== ======= =====================================================================
starting no      no         full    its own thread, which takes the token (-> awake)
awake    no      no         empty   itself: claims a job (-> busy), or lists itself (-> parked), or leaves
busy     no      no         empty   itself: `fn` has ended, it lists itself (-> deliver.)
deliver. yes     yes        empty   itself: `deliver` is back (-> parked, or -> awake if there was more in
                                    the line); or a claimant (-> claimed)
parked   yes     no         empty   a claimant (-> claimed), or itself after `idle_timeout` (-> gone)
claimed  no      any        empty   the claimant, by the put (-> called), or itself after the timeout: race 4
called   no      any        full    itself, when back from `deliver`: takes the token (-> awake)
gone     no      no         empty
======== ======= ========== ======= =====================================================================

A worker is *on its way* if its mailbox is full and it is not delivering: then it takes the token and looks at the line.
Nothing stands in between but, in a new thread, a pause of some milliseconds at the most (`_worker.HOLD_BACK`), and
finalizers that the interpreter runs there: they may submit and wait, for nobody counts on being on the way himself, but
one that blocks for something else keeps those jobs waiting that were left to its worker. That is no fourth fact beside
the others but derived from them at each look, so that no exception can leave it behind wrong.

The rule
========

    Whoever appends a job, or leaves one in the line, makes sure *afterwards* that somebody is on the way, and wakes
    or starts one worker otherwise.

A submitter does it after appending; a worker that has claimed a job while there are more does it before it begins to
run its own. So of a thousand jobs submitted at a stroke the first wakes a worker and 999 get by without a system call,
and yet none of them waits for another to end: a worker that blocks in its job has woken its successor.

A worker may leave that to somebody who *stands by*: a thread that waits for a result, spins for it without the GIL, and
makes sure of the same when it has stopped (`_stand_by`). It is awake already, and mostly there is nothing left to be
done by then. If the worker's job blocks instead, its successor comes later by the rest of the spin. That a latch is
being spun on is said by the mailbox itself, from before its owner gives up the GIL until it has it again, so a spin
that has ended is nobody's promise any more. (Race 9 is the limit of that.)

Why that is enough. Let S append job J and then find W on its way. W takes its token and then pops. If W's pop came
before S's append, then so did its taking of the token, and S would have found the mailbox empty. So it comes after,
and finds J unless somebody claimed it already. (Without the GIL it is the deque's own lock that orders the pop and
the append, and with them what stands before the one and after the other. A plain look at the deque's length would
order nothing: it is popped.)

Races
=====

1. *A job arrives as its worker goes idle.* W finds the line empty (1), S appends and finds nobody idle or on the
   way (2), W lists itself (3): S starts a thread that was not needed. This takes a worker that came for a job and
   found none. One that has just run a job lists itself before `deliver` tells anybody, and helps itself from the
   line only if there was something in it before that; so a sequence of jobs never meets this race (G5).

2. *A job is claimed before its own wake-up.* S appends J (1), W, which was awake, claims it (2), S wakes X (3): X
   finds nothing and goes back. Before it starts a thread, which is dear, S looks whether the line is empty.

3. *Assigned while retiring.* W's time is up (1), S claims W (2), W tries to take itself off the list, fails, and so
   knows that it is claimed (3). Or 3 before 2: then S does not get W.

4. *Claimed, and no put comes*: the claimant was interrupted between the two (KeyboardInterrupt), or is only slow. W
   can't tell, and need not: it takes a new mailbox and looks at the line. A put that still comes goes into the old
   mailbox, which nobody looks at any more. The slow claimant's job was appended before the claim, so W, or somebody
   before it, finds it. (With an infinite `idle_timeout` an interrupted claim costs that one thread.)

5. *No thread to be had.* If a submitter gets none, it takes its job back out of the line and raises; if the job is
   gone from there, it has been claimed, and all is well. But if it is a worker that gets none for the job after its
   own, then that one has been accepted. It stays in the line, and goes to the first worker to become free (which
   lists itself and then looks at the line, while the one that got no thread leaves the job in the line and then looks
   at the list), or to that of the next call that gets a thread. A `RuntimeWarning` says so. Only here, where the
   system is out of threads, can a job wait for another.

6. *Starting, and interrupted.* The submitter lists the new worker in `_workers` (1), starts its thread (2), is
   interrupted (3), and can't know whether 2 took place. The token decides: the thread begins by taking it, so if the
   submitter gets it, there is no thread or none that will do anything. If not, the thread lives, and stays listed;
   or has already left again, which it says before it takes itself out. It may have run its job and been called for
   another by then; so the token of its beginning lies in a mailbox of its own.

7. *Fork.* The child has one thread, and new, empty structures before any code runs but at-fork hooks that were
   registered before ours. If that thread is a worker of the parent, its `line` is not the cache's, and it ends where
   it would have begun its job or delivered it. If it was in the middle of a submission, that is the parent's.

8. *A `deliver` that blocks.* Its worker may be called, but is not on its way, since it is delivering. So the job that
   it was called for may have to wait for it, and only until the next submission, which wakes somebody else, who takes
   that job first.

9. *Struck after standing by.* A spinner comes back (1), and makes sure that somebody is on the way (2). A signal
   handler or a finalizer that runs between the two, and waits there for a job that was left to the spinner, keeps (2)
   from happening: that job waits for the one before it, or for the next submission. If an exception is raised there,
   (2) is done all the same.
"""

from __future__ import annotations

import builtins
import math
import operator
import os
import sys
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from outcome import Error, Value

from . import _debug
from ._backend import LONGEST, MOST_SPIN, SPIN, Mailbox, quick
from ._stats import JobInfo, Stats, Tally
from ._threads import DAEMON, HOOK_NAMES, on_shutdown, report, start_thread, wait_for_end, warn
from ._worker import Worker, new_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from outcome import Outcome

    from ._mailbox import MailboxLike

T = TypeVar("T")


Job = tuple[object, "Callable[[], Any]", "Callable[[Outcome[Any]], object]", "str | None"]
"""``(identity, fn, deliver, name)``. The first is an `object` of the job's own: it makes jobs differ at the first look,
so that one can be taken back out of the line without asking what `fn` thinks of being compared."""


class ThreadCache:
    """A cache of threads that runs jobs at once, in a thread each.

    Most programs need no cache of their own: `threadcache.default_cache` is the one that everything in the process
    shares, and `threadcache.start_thread_soon` its method.

    All methods may be called from any thread at any time. The threads are daemon threads, except in sub-interpreters
    that allow none. In those that do allow them, drain the cache before they end: CPython aborts if a thread is left.

    Args:
        idle_timeout: Seconds that a worker stays without a job before it leaves; 0 keeps no idle worker, `math.inf`
            keeps them for ever. Ten seconds is Trio's number; it is long for a burst and short for a process.
        max_idle: A worker that would be idle beside this many leaves at once. None: no such limit.
        name: The name of idle workers, and of busy ones whose job has none.
        on_worker_start: Called in each new worker, without arguments, before its first job. What it raises is reported
            through `threading.excepthook`.
        on_worker_exit: The same, in a worker that leaves; not in workers that the interpreter's exit cuts off.
        warn_at: Issue one `RuntimeWarning` when this many threads live. Nothing but a warning: the cache has no limit.
        spin: Microseconds that the warmest idle worker looks for its next job before it parks; so does who waits for a
            front end's result. While the two find each other so, three times as long (four without the GIL); after a
            spin in vain, up to four times. 0: never. None: what ``THREADCACHE_SPIN`` says, or 20. Only the native
            mailbox spins, and not on a single core, nor where it rarely finds anything.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is negative or not a number, or ``warn_at`` is below 1.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        # What `_quick.h` reads and writes.
        "_clock",
        "_idle",
        "_left",
        "_line",
        "_standby",
        "_waking",
    )

    def __init__(
        self,
        *,
        idle_timeout: float = 10.0,
        max_idle: int | None = None,
        name: str = "threadcache worker",
        on_worker_start: Callable[[], object] | None = None,
        on_worker_exit: Callable[[], object] | None = None,
        warn_at: float = 1000,
        spin: float | None = None,
        _clock: Callable[[], float] = time.monotonic,
        _new_mailbox: Callable[[float, bool], MailboxLike] = Mailbox,
        _start_thread: Callable[[Callable[[], object], tuple[()]], object] = start_thread,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, not {type(name).__name__}")
        for hook in (on_worker_start, on_worker_exit):
            if hook is not None and not callable(hook):
                raise TypeError(f"a hook must be callable, not {type(hook).__name__}")
        self.idle_timeout = idle_timeout
        self.max_idle = max_idle
        self._name = str(name)
        self._on_worker_start = on_worker_start
        self._on_worker_exit = on_worker_exit
        self._warn_at = check_number("warn_at", warn_at, least=1)
        self._unwarned = [True]  # until the warning has been issued
        self._debug = _debug.enabled()
        self._clock = _clock
        self._spin = SPIN if spin is None else check_number("spin", spin)
        if self._spin > MOST_SPIN:
            raise ValueError(f"spin must be at most {MOST_SPIN} microseconds, not {spin}")
        self._longest_spin = self._spin * LONGEST * 1e-6  # seconds
        self._spins = self._longest_spin > 0
        self._new_mailbox = partial(_new_mailbox, self._spin, False)
        self._new_latch = partial(_new_mailbox, self._spin, True)
        self._start_thread = _start_thread
        # The module's globals may be gone when these are needed.
        self._is_finalizing = sys.is_finalizing
        self._finalization_error: type[RuntimeError] = getattr(builtins, "PythonFinalizationError", RuntimeError)
        self._reset()
        # These rely on the slots, which are there now.
        self._quick_start, self._quick_run = None, None
        if quick is not None and _new_mailbox is Mailbox and not self._debug:
            self._quick_start, self._quick_run = quick.start, quick.run
        _caches.add(self)

    def _reset(self) -> None:
        """Become empty: at the beginning, and in a forked child."""
        self._line: deque[Job] = deque()
        self._idle: dict[Worker, MailboxLike] = {}
        self._workers: dict[Worker, None] = {}
        self._drains: dict[object, SimpleQueue[None]] = {}  # while there are any, nobody parks
        # The system's numbers of threads that may not have ended yet; more of them at a time are not to be expected.
        self._ending: deque[int] = deque(maxlen=1000)
        self._tallies: list[Tally] = []
        self._spare_tallies: deque[Tally] = deque()
        self._standby = self._new_latch()
        self._left = False
        self._waking = Worker(self)  # never started, and not on its way
        self._waking.mailbox.get(False, -1)
        self._spare_tallies.append(self._waking.tally)

    @property
    def idle_timeout(self) -> float:
        """Seconds that a worker stays without a job; a new value holds for workers that become idle afterwards."""
        return self._idle_timeout

    @idle_timeout.setter
    def idle_timeout(self, seconds: float) -> None:
        self._idle_timeout = seconds = check_number("idle_timeout", seconds)
        self._keep_alive = seconds if seconds <= threading.TIMEOUT_MAX else -1

    @property
    def max_idle(self) -> int | None:
        """How many workers may be idle; a new value holds for workers that become idle afterwards."""
        return self._max_idle if isinstance(self._max_idle, int) else None

    @max_idle.setter
    def max_idle(self, workers: int | None) -> None:
        limit = math.inf if workers is None else operator.index(workers)
        if limit < 0:
            raise ValueError(f"max_idle must be 0 or more workers, not {limit}")
        self._max_idle = limit

    def start_thread_soon(
        self,
        fn: Callable[[], T],
        deliver: Callable[[Outcome[T]], object],
        name: str | None = None,
    ) -> None:
        """Run ``deliver(outcome.capture(fn))`` in a worker thread, and return at once.

        It is what `trio.lowlevel.start_thread_soon` is in Trio: a low-level call, for building others upon.

        Args:
            fn: Does some blocking work. It may raise anything; that is an outcome like any other. It runs in an empty
                `contextvars.Context`, in a thread that had other jobs before and keeps their `threading.local` values.
            deliver: Takes the outcome to whoever waits for it. It must not block: the next job may be waiting for its
                thread. What it raises is reported through `threading.excepthook`.
            name: The thread's name while ``fn`` runs.

        Raises:
            TypeError: ``fn`` or ``deliver`` is not callable, or ``name`` is no `str`.
            RuntimeError: No thread could be started; or the interpreter is shutting down and no thread runs any more
                (on Python 3.13 and later this is a `PythonFinalizationError`).
            MemoryError: There was no memory for a thread.

            Whatever it raises, neither ``fn`` nor ``deliver`` is called. Only what a signal handler raises, such as
            KeyboardInterrupt, leaves that open.

        May be called from any thread, from signal handlers, from ``__del__``, and from ``deliver`` and ``fn``. Who
        submits a job in ``deliver``, or in a ``__del__`` that may run there, must not wait for it.
        """
        if self._quick_start is not None and self._quick_start(self, fn, deliver, name):
            return
        if not callable(fn):
            raise TypeError(f"fn must be callable, not {type(fn).__name__}")
        if not callable(deliver):
            raise TypeError(f"deliver must be callable, not {type(deliver).__name__}")
        if name is not None and type(name) is not str:
            if not isinstance(name, str):
                raise TypeError(f"name must be a str or None, not {type(name).__name__}")
            name = str.__str__(name)  # nobody's own method, and exactly a str: it can't fail later, in the worker
        if self._is_finalizing():
            raise self._finalization_error("cannot start a job at interpreter shutdown")
        job = object(), fn, deliver, name
        line = self._line
        refusal = None
        try:
            line.append(job)
            # Nobody is on the way; or it is us, and this is a finalizer that runs while we hold back.
            waking = self._waking
            if waking.mailbox.is_empty() or waking.delivering or waking.ident == get_ident():
                refusal = self._wake(by_worker=False)
                if refusal is not None:
                    raise refusal
        except BaseException as error:
            refused, refusal = error is refusal, None  # or the error would refer to this frame, and that to the error
            try:
                line.remove(job)
            except ValueError:
                if refused:
                    return  # somebody has claimed it: so there was a worker after all
            raise

    def _wake_next(self, by_worker: bool = True) -> None:
        """What a worker does that leaves jobs in the line, and who has stood by."""
        self._left = True  # before the look: a spinner that ends then finds it
        if self._standby.is_spinning():
            return
        self._left = False  # before the look at whom to wake: what others have left there is seen to as well
        if not self._line:
            return  # a worker that is woken for nothing takes the GIL from those who have something to do
        refusal = None
        waking = self._waking
        if waking.mailbox.is_empty() or waking.delivering or waking.ident == get_ident():
            refusal = self._wake(by_worker)
        if refusal is not None and self._idle:  # who has listed itself since may have seen an empty line before
            refusal = self._wake(by_worker)
        if refusal is not None:
            # The jobs in the line have been accepted, and nobody is left to be told: race 5.
            warn(f"{self!r} got no thread ({refusal}): {len(self._line)} jobs wait for a worker to become free")

    def _stand_by(self, latch: MailboxLike) -> bool:
        """Spin for what a job puts into ``latch``, and wake somebody afterwards if a worker has left that to us."""
        try:
            try:
                self._standby = latch
                return latch.get(True, 0)
            finally:
                if self._left:
                    self._wake_next(by_worker=False)
        except BaseException:
            if self._line:
                self._wake_next(by_worker=False)  # that may have been interrupted
            raise

    def _wake(self, by_worker: bool) -> Exception | None:
        """Wake the worker that became idle last, or start one. Return why there was no thread to be had, if so."""
        try:
            worker, mailbox = self._idle.popitem()
        except KeyError:
            worker = None
        if worker is not None:
            mailbox.put()
            self._waking = worker
        elif self._line:  # race 2
            return self._start_worker(by_worker)
        return None

    def _start_worker(self, by_worker: bool) -> Exception | None:
        worker = Worker(self)
        start, target, mailbox = self._start_thread, worker.target(), worker.mailbox
        try:
            self._workers[worker] = None
            if by_worker:
                # Others need not start one too meanwhile: without the GIL, all that are awake would, and in the end
                # nobody did anything else. Should it fail, there is still the worker that does this (race 5). No call
                # stands between this and the next line, so nothing can interrupt, submit a job and wait for it.
                self._waking = worker
            start(target, ())
        except BaseException as error:  # race 6
            self._workers.pop(worker, None)
            if mailbox.get(False, -1):
                self._spare_tallies.append(worker.tally)
                if isinstance(error, (RuntimeError, MemoryError)):
                    worker.tally.start_failures += 1
                    return error
            else:
                self._workers[worker] = None
                if worker.gone:
                    self._workers.pop(worker, None)
            raise
        # A submitter says so only now: a job that counted on a start which then failed would have nobody at all, and a
        # signal handler that interrupts the start may submit a job and wait for it.
        self._waking = worker
        return None

    def _borrow_tally(self) -> Tally:
        try:
            return self._spare_tallies.pop()
        except IndexError:
            tally = Tally()
            self._tallies.append(tally)
            return tally

    def stats(self) -> Stats:
        """Count; see `Stats`. It takes no lock, and some microseconds, more with more workers."""
        tallies = list(self._tallies)
        workers, idle = len(self._workers), len(self._idle)
        started = sum(tally.started for tally in tallies)
        return Stats(
            workers=workers,
            idle=idle,
            busy=max(0, workers - idle),
            peak=max((tally.peak for tally in tallies), default=0),
            started=started,
            retired=max(0, started - workers),
            jobs=sum(tally.jobs for tally in tallies),
            start_failures=sum(tally.start_failures for tally in tallies),
            deliver_errors=sum(tally.deliver_errors for tally in tallies),
        )

    def jobs(self) -> list[JobInfo]:
        """What is running now, the job that has been running longest first."""
        now = self._clock()
        found = []
        for worker in list(self._workers):
            running = worker.running
            if running is not None:
                fn, name, start = running
                found.append(JobInfo(fn, self._name if name is None else name, worker.thread, now - start))
        return sorted(found, key=lambda job: -job.seconds)

    def trim(self, keep: int = 0) -> int:
        """Let idle workers go now, the coldest first, and return how many were told to.

        Args:
            keep: How many of them may stay, the warmest ones.

        Raises:
            TypeError: ``keep`` is no `int`.
            ValueError: ``keep`` is negative.
        """
        keep = operator.index(keep)
        if keep < 0:
            raise ValueError(f"keep must be 0 or more workers, not {keep}")
        told = 0
        listed = list(self._idle)
        for worker in listed[: max(0, len(listed) - keep)]:
            mailbox = self._idle.pop(worker, None)
            if mailbox is not None:
                worker.retiring = True
                mailbox.put()
                told += 1
        return told

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until every job has ended and every worker has left; the cache can be used again afterwards.

        Jobs that are submitted meanwhile are run and waited for as well.

        Args:
            timeout: Seconds to wait at the most. None: as long as it takes.

        Returns:
            Whether no thread of the cache is left. If False, jobs are still running; idle workers have been let go.

        Raises:
            RuntimeError: It was called in one of the cache's own workers, so that it would wait for itself.
            TypeError: ``timeout`` is no number.
            ValueError: ``timeout`` is negative or not a number.
        """
        seconds = math.inf if timeout is None else check_number("timeout", timeout)
        if get_ident() in [worker.ident for worker in list(self._workers)]:
            raise RuntimeError("drain() was called in a worker of the cache, and would wait for itself")
        from queue import Empty, SimpleQueue  # here, for the sake of the import's weight

        deadline = time.monotonic() + seconds
        nudge: SimpleQueue[None] = SimpleQueue()
        try:
            self._drains[nudge] = nudge
            self.trim()
            while self._workers:
                left = deadline - time.monotonic()
                nudge.get(timeout=max(0, left) if left <= threading.TIMEOUT_MAX else None)
        except Empty:
            return False
        finally:
            self._drains.pop(nudge, None)
        ended = True
        with suppress(IndexError):  # another drain may take the last one
            while ended:
                ended = wait_for_end(self._ending.popleft(), deadline)
        return ended

    def __repr__(self) -> str:
        return f"<ThreadCache {self._name!r} workers={len(self._workers)} idle={len(self._idle)}>"


def check_number(name: str, value: float, least: float = 0) -> float:
    """Check a number that a caller has given, and return it as what the system's calls take."""
    try:
        if math.isnan(value) or value < least:
            raise ValueError(f"{name} must be {least} or more, not {value}")
        return float(value)
    except TypeError:
        raise TypeError(f"{name} must be a number, not {type(value).__name__}") from None
    except OverflowError:
        raise ValueError(f"{name} is too large: {value}") from None


_caches: weakref.WeakSet[ThreadCache] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for cache in list(_caches):
        cache._reset()


def _before_shutdown() -> None:
    """Where workers can't be daemon threads, let the idle ones go and keep none from now on."""
    from queue import SimpleQueue

    for cache in list(_caches):
        cache._drains[_before_shutdown] = SimpleQueue()
        cache.trim()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
if not DAEMON:
    on_shutdown(_before_shutdown)
if new_value is Value or None in HOOK_NAMES:
    quick = None  # it would not know how to make one, or where to look
if quick is not None:
    quick.bind(
        (Worker, ThreadCache, Tally, Value),
        (
            *(Error, vars(threading), *HOOK_NAMES, report, lambda: None),
            *(deque.append, deque.popleft, dict.popitem),
        ),
    )
