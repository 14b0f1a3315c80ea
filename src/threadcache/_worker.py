"""A worker: one thread, the jobs it runs, and how it parks and leaves. The model is told in the header of `_cache`."""

from __future__ import annotations

import os
import sys
import threading
import time
import types
from contextvars import Context
from functools import partial
from itertools import chain, islice, repeat, starmap
from threading import getprofile, gettrace
from typing import TYPE_CHECKING, Any

from outcome import Error, Outcome, Value

from . import _debug
from ._backend import quick
from ._threads import GIL, adopt_thread, forget_thread, name_thread, report, set_signal_mask, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._cache import Job, ThreadCache

HOLD_BACK = () if GIL else (0, 0.0001, 0.001, 0.005)
"""Seconds between looks at the line, at which a thread that has just been started lets others serve it.

With fewer cores than threads that could run, one thread more is no help to those that serve a flood of small jobs, and
a thousand hinder them: whatever lock one needs, its holder waits for a core. On two cores without the GIL (3.13),
30,000 empty jobs at once took 2.4 to 35 us each on 94 to 1,337 threads; with this, 1.7 to 2.3 us on 27 to 93. With the
pure mailbox, whose jobs take longer, it went from 7 to 78 us on 259 to 5,184 to 4 to 60 us on 7 to 2,827. PyPy
went from up to 124 us and 1,177 threads to 36 us and 109. If the line stands still at the first look, as it does when
jobs block, it costs a yield, or with the pure mailbox a short sleep. CPython's GIL has the same effect by itself: 3 us
on 4 to 9 threads.
"""


_yield = os.sched_yield if quick and hasattr(os, "sched_yield") else partial(time.sleep, 0)
# On Linux, `time.sleep(0)` sleeps as long as the shortest sleep: 85 us. The twins' jobs take that long to be headway.


worker_idents: dict[int, bool] = {}
"""Python's numbers of the threads of all caches. A thread adds and removes itself; a stale one does no harm."""


def _value_maker() -> Callable[[Any], Value[Any]]:
    """What makes a `Value` without the price of a constructor that is written in Python, if it knows all its parts."""
    parts = {
        name: part
        for kind in Value.__mro__
        for name, part in vars(kind).items()
        if isinstance(part, types.MemberDescriptorType)
    }
    if parts.keys() != {"value", "_unwrapped"}:
        return Value
    new, set_value, set_unwrapped = object.__new__, parts["value"].__set__, parts["_unwrapped"].__set__

    def make(value: Any) -> Value[Any]:
        made: Value[Any] = new(Value)
        set_value(made, value)
        set_unwrapped(made, False)
        return made

    return make


new_value = _value_maker()


class Worker:
    """One thread of a cache. Its own thread alone calls its methods, and writes its fields but ``retiring``."""

    __slots__ = (
        "cache",  # constant
        "deliver",  # what a job that has begun is still to be delivered to
        "delivering",  # it listed itself and has not come back from `deliver`; read unlocked by others
        "gone",  # it is leaving
        "ident",  # Python's number of its thread, from when it has begun
        "job",  # claimed from the line and not yet begun
        "line",  # constant: the cache's line, and so the process, that it belongs to
        "mailbox",  # its present mailbox; read unlocked by others
        "native_id",  # the operating system's number of its thread
        "next_job",  # constant: an iterator that takes jobs from the line
        "profile",  # the profile function in force in its thread
        "retiring",  # it has been claimed in order to leave; written by the claimant, before the put
        "running",  # (fn, name, start in seconds) while `fn` runs; read unlocked by `jobs()`
        "tally",  # its counters; read unlocked by `stats()`
        "thread",  # its thread's object, from when it has begun
        "trace",  # the trace function in force in its thread
    )

    thread: threading.Thread

    def __init__(self, cache: ThreadCache) -> None:
        self.cache = cache
        self.line = cache._line
        self.next_job: Iterator[Job] = iter(cache._line.popleft, None)
        self.mailbox = cache._new_mailbox()
        self.mailbox.put()  # a worker that is being started is on its way, like one that has been woken
        self.tally = cache._borrow_tally()
        self.job: Job | None = None
        self.deliver: Callable[[Outcome[Any]], object] | None = None
        self.running: tuple[Callable[[], object], str | None, float] | None = None
        self.trace: Any = None
        self.profile: Any = None
        self.delivering = self.retiring = self.gone = False
        self.ident = self.native_id = 0

    def target(self) -> Callable[[], object]:
        """What the thread is to run: it takes the token and then, only if there was one, calls `main`.

        The first bytecode of Python may run the garbage collector, and with it a finalizer that submits a job and waits
        for it. By then this worker must not pass for being on its way, and must be known for a worker; so it takes the
        token and enters its number before, in C: `all` goes on as long as what it is given is true. A starter that
        takes the token back thus knows that `main` never runs.
        """
        take = starmap(self.mailbox.get, ((False, -1),))
        enter = map(worker_idents.setdefault, islice(iter(threading.get_ident, None), 1), repeat(True))
        return partial(all, chain(take, enter, starmap(self.main, ((),))))

    def main(self) -> None:
        """The worker's life."""
        starting, leaving = True, False
        try:
            self._begin()
            while True:
                try:
                    if starting:
                        # First the job, and with it the next worker's wake-up: the hook may take its time.
                        if self.job is None:
                            self._claim()
                        self.thread = adopt_thread(self.cache._name)
                        starting = False
                        self._greet()
                    if not leaving:
                        self._serve()
                        leaving = True
                        self._clean_up()
                    break
                except BaseException as error:
                    # Nothing in there raises: this is an asynchronous exception, aimed at a job that has ended.
                    report(error)
                    self._recover(error)
        finally:
            try:
                self._leave()
            except BaseException as error:  # the same once more
                report(error)
                self._leave()

    def _begin(self) -> None:
        """Become known. Nothing has been claimed yet, so whatever fails here costs a thread and no job."""
        self.ident, self.native_id = threading.get_ident(), threading.get_native_id()
        set_signal_mask()
        self.mailbox = self.cache._new_mailbox()  # the first token was for whoever got it (race 6)
        self.tally.started += 1
        self.tally.peak = max(self.tally.peak, len(self.cache._workers))
        if HOLD_BACK:
            self._hold_back()

    def _hold_back(self) -> None:
        """Be on our way while others make headway with the line, but not for long."""
        self.mailbox.put()
        self.cache._waking = self
        try:
            for pause in HOLD_BACK:
                head = self.line[0][0]  # its identity; the job itself is not ours to keep
                time.sleep(pause) if pause else _yield()
                if self.line[0][0] is head:
                    break
        except IndexError:
            pass
        self.mailbox.get(False, -1)

    def _greet(self) -> None:
        cache = self.cache
        alive = len(cache._workers)
        if alive >= cache._warn_at and cache._unwarned:
            cache._unwarned.clear()
            warn(f"{cache!r} has {alive} threads: nothing but the layer above it limits them")
        if cache._on_worker_start is not None:
            _call_reporting(cache._on_worker_start)

    def _serve(self) -> None:
        """Run jobs and park, until it is time to leave. Entered awake and unlisted; left unlisted."""
        cache = self.cache
        idle = cache._idle
        run = cache._quick_run
        more: bool | None
        while True:
            if self.job is None and not self._claim():
                idle[self] = self.mailbox
                more = True
            else:
                more = None if run is None else run(self)
                if more is None:
                    more = Context().run(self._run_job)
                if self.line is not cache._line:
                    return  # race 7
            if more and self.line and idle.pop(self, None) is not None:
                self.delivering = False
                continue  # no need to be woken for it
            # Listed; or claimed since, and then a put is coming.
            if (cache._drains or len(idle) > cache._max_idle) and idle.pop(self, None) is not None:
                return
            # Not waiting is tried first because it is cheaper, and enough where `deliver` submits the next job.
            if not self.mailbox.get(False, -1):
                # From here on we count as on our way if we are called. There is no call between this and the next line.
                self.delivering = False
                if not self.mailbox.get(True, cache._keep_alive):
                    if idle.pop(self, None) is not None:
                        return  # nobody can have claimed us, and nobody can any more
                    self.mailbox = cache._new_mailbox()  # race 4
            self.delivering = False
            if self.retiring:
                self.retiring = False
                if not self._claim():
                    return

    def _claim(self) -> bool:
        """Take a job from the line, and see to it that somebody comes for the next one."""
        try:
            # This is `self.job = self.line.popleft()`, which would lose the job to an asynchronous exception: those
            # are raised when a call returns, and between an iterator and the target of its `for` there is no call.
            for self.job in self.next_job:  # noqa: B020 (two attributes of self, not self)
                break
        except IndexError:
            return False
        if self.line:
            self.cache._wake_next()
        return True

    def _run_job(self) -> bool:
        """Run the claimed job: ``fn``, then list ourselves, then ``deliver``. Raises nothing.

        Wherever an asynchronous exception strikes, neither `fn` nor `deliver` is called twice, and the job is
        delivered: the exception becomes the outcome until there is one, and is reported from then on. (It strikes
        when a call returns. So there is no call outside of a `try`, nor in the handler of the first. Python 3.12 looks
        at the end of a handler too: see `_recover`.)

        Return whether there was more in the line after we were listed and before `deliver` was called. Only then may
        we help ourselves to it afterwards: what `deliver` has led to is for whoever submits it to hand to us, or it
        would start a thread (G5).
        """
        cache = self.cache
        if self.line is not cache._line:
            return False  # race 7: a hook has forked
        assert self.job is not None
        fn: Callable[[], object] | None
        result: Outcome[object] | None = None
        failure: BaseException | None = None
        more = False
        _, fn, self.deliver, name = self.job
        try:
            self.job = None  # begun
            if gettrace() is not self.trace or getprofile() is not self.profile:
                self._follow_tracing()
            if name is not None:
                name_thread(self.thread, name)
            self.running = fn, name, cache._clock()
            # This is `outcome.capture(fn)` without the price of a call with any arguments.
            result = new_value(_debug.watch(fn) if cache._debug else fn())
        except BaseException as error:
            self.job = None
            failure, traceback = error, error.__traceback__
        # `fn` is let go before anybody hears of the result, or it would live on until this thread is scheduled again.
        fn = self.running = None
        if self.line is not cache._line:
            self.deliver = None
            return False  # race 7
        self.tally.jobs += 1
        while self.deliver is not None:
            try:
                if failure is not None:
                    # The base class's method, since another may be the job's own.
                    result = Error(BaseException.with_traceback(failure, traceback and traceback.tb_next))
                    failure = traceback = None
                if name is not None:
                    name_thread(self.thread, cache._name)
                if not self.delivering:
                    self.delivering = True
                    cache._idle[self] = self.mailbox
                    more = not not self.line  # noqa: SIM208 (a call to bool would be one)
                assert result is not None
                call, self.deliver = self.deliver, None
                if cache._debug:
                    _debug.deliver(call, result)
                else:
                    call(result)
            except BaseException as error:
                self.tally.deliver_errors += self.deliver is None
                report(error)
        # A frame lives as long as a traceback that somebody keeps, and so would these.
        del call, result
        return more

    def _follow_tracing(self) -> None:
        """Use the functions of `threading.settrace` and `threading.setprofile`, also if they were set since."""
        if gettrace() is not self.trace:
            self.trace = gettrace()
            sys.settrace(self.trace)
        if getprofile() is not self.profile:
            self.profile = getprofile()
            sys.setprofile(self.profile)

    def _recover(self, error: BaseException) -> None:
        """Come back to the state that `_serve` is entered in, from wherever it was left."""
        if self.job is None and self.deliver is not None:
            call, self.deliver = self.deliver, None
            self.tally.jobs += 1
            _call_reporting(partial(call, Error(BaseException.with_traceback(error, None))))
        self.running = None
        self.cache._idle.pop(self, None)
        self.mailbox = self.cache._new_mailbox()  # for if we had been claimed; the rest is as in race 4
        self.delivering = self.retiring = False
        if self.job is not None and self.line:
            self.cache._wake_next()  # it may be that we were about to

    def _clean_up(self) -> None:
        if self.cache._on_worker_exit is not None and self.line is self.cache._line:
            _call_reporting(self.cache._on_worker_exit)

    def _leave(self) -> None:
        """Become unknown. Each step may be repeated, since the whole is if an asynchronous exception strikes."""
        cache = self.cache
        if self.line is not cache._line:
            return  # race 7
        # After `_serve` has returned these do nothing. They are for a thread that dies before it has begun, or of
        # two asynchronous exceptions in a row: what was counting on it must not wait for ever. A late put (race 4) may
        # yet fill the mailbox; one that is delivering is not on its way.
        self.delivering = True
        cache._idle.pop(self, None)
        if self.job is not None:
            job, self.job = self.job, None
            self.line.appendleft(job)
        if self.line:
            self.cache._wake_next()
        forget_thread()
        worker_idents.pop(self.ident, None)
        if not self.gone:
            self.gone = True  # before the next line, see race 6
            cache._ending.append(self.native_id)
            cache._spare_tallies.append(self.tally)
        cache._workers.pop(self, None)
        for nudge in list(cache._drains.values()):  # listed after the pop: who comes later finds us gone
            nudge.put(None)


def _call_reporting(hook: Callable[[], object]) -> None:
    try:
        hook()
    except BaseException as error:
        report(error)
