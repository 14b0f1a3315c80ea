"""Submitting from anywhere: finalizers, signal handlers, at any opcode of `submit` itself; and without threads."""

from __future__ import annotations

import concurrent.futures
import gc
import math
import signal
import threading
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, until
from steps import OPCODES, Injection, at_each_opcode, codes

import threadcache._cache
import threadcache._future
import threadcache._pool
import threadcache._runner
from threadcache import CachedThreadPoolExecutor
from threadcache._threads import start_thread

if TYPE_CHECKING:
    from conftest import Harness

    from threadcache import ThreadCache

LIMITS = [1, 2, 8, math.inf]
POOL = codes(threadcache._pool, threadcache._runner, threadcache._future)
CACHE = codes(threadcache._cache)


def refuse(target: Any, args: tuple[()]) -> None:
    """Start no thread, as a system that has none left."""
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("workers", LIMITS)
def test_without_a_thread_a_call_is_refused_and_the_next_one_taken(make_cache: Harness, workers: float) -> None:
    cache = make_cache(_start_thread=refuse)
    ran: list[int] = []
    with CachedThreadPoolExecutor(workers, cache=cache) as executor:
        for number in range(3):
            with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
                executor.submit(ran.append, number)
            assert executor._work_queue.empty()
        cache._start_thread = start_thread
        assert executor.submit(pow, 2, 3).result(DEADLINE) == 8
        barrier = threading.Barrier(int(min(workers, 5)))
        futures = [executor.submit(barrier.wait, DEADLINE) for _ in range(barrier.parties)]
        assert {future.result(DEADLINE) for future in futures} == set(range(barrier.parties))
    assert not ran


def test_what_was_accepted_runs_though_no_thread_can_be_started(make_cache: Harness) -> None:
    """Of jobs that counted on a thread on its way, shutdown runs itself what no worker can."""
    held: list[Any] = []
    cache = make_cache(_start_thread=lambda *call: held.append(call))
    executor = CachedThreadPoolExecutor(4, cache=cache)
    started, release = threading.Event(), threading.Event()

    def first() -> bool:
        started.set()
        return release.wait(DEADLINE)

    futures = [executor.submit(first), executor.submit(release.set), executor.submit(int)]
    assert len(held) == 1  # the others count on it
    cache._start_thread = refuse
    start_thread(*held.pop())
    assert started.wait(DEADLINE)
    executor.shutdown()
    assert [future.result(0) for future in futures] == [True, None, 0]


def test_submitting_in_finalizers(cache: ThreadCache) -> None:
    results: SimpleQueue[Any] = SimpleQueue()

    class Mortal:
        def __del__(self) -> None:
            executor.submit(results.put, "__del__")

    def make_garbage() -> None:
        mortal = Mortal()
        mortal.itself = mortal  # type: ignore[attr-defined]

    with CachedThreadPoolExecutor(2, cache=cache) as executor:
        for _ in range(100):
            make_garbage()
            executor.submit(make_garbage)
        until(lambda: (gc.collect(), results.qsize() == 200)[1])


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
@pytest.mark.parametrize("workers", LIMITS)
def test_submitting_in_signal_handlers_and_waiting_there(cache: ThreadCache, workers: float) -> None:
    """They strike while the main thread submits; their jobs submit and wait too, where the limit admits that."""
    main = threading.get_ident()
    handled: SimpleQueue[Any] = SimpleQueue()
    stop = threading.Event()

    def nested() -> int:
        return executor.submit(pow, 2, 3).result() if workers != 2 else 8

    def handler(*_: object) -> None:
        handled.put(executor.submit(nested).result())

    def strike() -> None:
        for number in range(100):
            signal.pthread_kill(main, signal.SIGUSR1)
            until(lambda number=number: handled.qsize() > number)
        stop.set()

    old = signal.signal(signal.SIGUSR1, handler)
    try:
        with CachedThreadPoolExecutor(workers, cache=cache) as executor:
            thread = threading.Thread(target=strike)
            thread.start()
            futures = []
            while not stop.is_set():
                # Nothing but that: who is struck in the midst of `result` holds the future's lock, which its job needs.
                futures.append(executor.submit(int))
                while executor._work_queue.qsize() > 50:
                    pass
            thread.join()
            signal.raise_signal(signal.SIGUSR1)
            assert all(future.result(DEADLINE) == 0 for future in futures)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert [handled.get() for _ in range(101)] == [8] * 101


def finish(executor: CachedThreadPoolExecutor) -> None:
    """Shut it down, and fail instead of hanging."""
    thread = threading.Thread(target=executor.shutdown, daemon=True)
    thread.start()
    thread.join(DEADLINE / 3)
    assert not thread.is_alive(), "shutdown hangs"


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_submitting_and_waiting_at_every_opcode_of_submit(cache: ThreadCache, workers: int, warm: bool) -> None:
    executors = []
    for inject in at_each_opcode(where=POOL):
        executor = CachedThreadPoolExecutor(workers, at_exit="abandon", cache=cache)
        executors.append(executor)
        if warm:
            executor.submit(int).result(DEADLINE)
        futures: list[Any] = []
        raised = inject(
            lambda executor=executor: executor.submit(int).result(DEADLINE),
            lambda executor=executor, futures=futures: futures.append(executor.submit(pow, 2, 3)),
        )
        assert raised is None
        assert futures[0].result(DEADLINE) == 8
        finish(executor)
    assert len(executors) > 10


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_at_every_opcode_of_submit(cache: ThreadCache, workers: int, warm: bool) -> None:
    """The call was taken or it was not, and the next one works."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    executors = []
    for inject in at_each_opcode(where=POOL):
        executor = CachedThreadPoolExecutor(workers, at_exit="abandon", cache=cache)
        executors.append(executor)
        if warm:
            executor.submit(int).result(DEADLINE)
        ran: list[int] = []
        raised = inject(interrupt, lambda executor=executor, ran=ran: executor.submit(ran.append, 1))
        assert isinstance(raised, KeyboardInterrupt) == inject.struck
        assert executor.submit(pow, 2, 3).result(DEADLINE) == 8
        finish(executor)
        assert len(ran) <= 1
    assert len(executors) > 10
    assert ran


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_shut_down_at_every_opcode_of_submit(cache: ThreadCache, workers: int, wait: bool) -> None:
    """The call is refused and never runs, or it is taken and runs; what is taken is not cancelled unasked."""
    executors = []
    taken = 0
    for inject in at_each_opcode(where=POOL):
        executor = CachedThreadPoolExecutor(workers, at_exit="abandon", cache=cache)
        executors.append(executor)
        executor.submit(int).result(DEADLINE)
        ran: list[int] = []
        futures: list[Any] = []
        raised = inject(
            partial(executor.shutdown, wait),
            lambda executor=executor, ran=ran, futures=futures: futures.append(executor.submit(ran.append, 1)),
        )
        finish(executor)
        if raised is None:
            assert futures[0].done() and not futures[0].cancelled(), f"cancelled by opcode {inject.target}"
            assert ran
            taken += 1
        else:
            assert str(raised) == "cannot schedule new futures after shutdown"
            assert not ran
    assert 1 <= taken < len(executors)


@pytest.mark.parametrize("workers", [1, 2, math.inf])
def test_a_finalizer_that_runs_in_a_runner_may_submit_and_wait(workers: float) -> None:
    """The collector may run it wherever the interpreter looks for something to do, not only in the midst of a job."""
    target = 1
    while finalizer_strikes(workers, target):
        target += 1
    assert target > 10


def finalizer_strikes(workers: float, target: int) -> bool:
    injection = Injection(target, between_calls=OPCODES, where=POOL)
    starts = [injection]
    results: SimpleQueue[Any] = SimpleQueue()

    def finalize() -> None:
        try:
            results.put(executor.submit(int).result())
        except RuntimeError as error:
            results.put(str(error))

    def start(run: Any, args: tuple[()]) -> None:
        if starts:
            threading.Thread(target=starts.pop()._run, args=(finalize, run, []), daemon=True).start()
        else:
            start_thread(run, args)

    cache = threadcache.ThreadCache(idle_timeout=0.02, _start_thread=start)
    executor = CachedThreadPoolExecutor(workers, at_exit="abandon", cache=cache)
    for future in [executor.submit(int) for _ in range(3)]:
        assert future.result(DEADLINE / 3) == 0, (workers, target)
    finish(executor)
    assert cache.drain(DEADLINE)
    if injection.struck:
        assert results.get(timeout=DEADLINE) in {0, "cannot schedule new futures after shutdown"}
    return injection.struck


def test_race_3_a_finalizer_in_a_runner_that_parks_may_submit_and_wait(cache: ThreadCache) -> None:
    """The runner underneath is the one that has parked, and whoever calls it there calls itself."""
    cache._spins = True  # so it lingers, however short
    waited: list[int] = []
    with CachedThreadPoolExecutor(4, cache=cache) as executor:
        pool: Any = executor._CachedThreadPoolExecutor__pool  # type: ignore[attr-defined]

        def finalize() -> None:
            if pool.parked:
                del pool.tell_waiting
                future = executor.submit(int)
                waited.append(len(concurrent.futures.wait([future], DEADLINE / 3).done))

        pool.tell_waiting = finalize
        assert executor.submit(pow, 2, 3).result(DEADLINE) == 8
        until(lambda: waited)
    assert waited == [1]


@pytest.mark.parametrize("limit", [2, None])
def test_whoever_stands_by_is_interrupted_at_each_opcode(make_cache: Harness, limit: int | None) -> None:
    """What a worker or a runner has left to him gets a thread, though nothing is submitted after that."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    left = 0
    for inject in at_each_opcode(where=POOL | CACHE):
        spinning = Spinning(make_cache(), limit)
        try:
            raised = inject(interrupt, spinning.stand_by)
            assert isinstance(raised, KeyboardInterrupt) == inject.struck
            left += spinning.has_left
            if not spinning.has_left:
                spinning.go_on()
            assert spinning.second.wait(DEADLINE / 3), f"nobody comes after an interrupt at opcode {inject.target}"
        finally:
            spinning.release.set()
    assert left > 10


class Spinning:
    """A latch with two jobs in the line, the first of which begins while it is spun on, and blocks."""

    def __init__(self, cache: ThreadCache, limit: int | None) -> None:
        self.cache = cache
        self.begun, self.release, self.second = threading.Event(), threading.Event(), threading.Event()
        self.spinning = self.has_left = False
        self.held: list[Any] = []
        cache._start_thread = lambda *call: self.held.append(call)
        if limit is None:
            self._stand_by: Any = cache._stand_by
            for job in self.first, self.second.set:
                cache.start_thread_soon(job, lambda outcome: None)
        else:
            executor = CachedThreadPoolExecutor(limit, at_exit="abandon", cache=cache)
            self._stand_by = executor._CachedThreadPoolExecutor__pool.stand_by  # type: ignore[attr-defined]
            self.futures = [executor.submit(job) for job in (self.first, self.second.set)]
        assert len(self.held) == 1  # the second job counts on it
        cache._start_thread = start_thread

    def first(self) -> None:
        self.begun.set()
        assert self.release.wait(DEADLINE)

    def go_on(self) -> None:
        start_thread(*self.held.pop())
        assert self.begun.wait(DEADLINE)

    def stand_by(self) -> None:
        self._stand_by(self)

    def is_spinning(self) -> bool:
        return self.spinning

    def get(self, wait: bool, timeout: float) -> bool:
        self.spinning = True
        self.go_on()
        assert not self.second.is_set()
        self.spinning, self.has_left = False, True
        return False
