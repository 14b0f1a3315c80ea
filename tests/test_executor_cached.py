"""What `CachedThreadPoolExecutor` has that the standard library's executor has not."""

from __future__ import annotations

import concurrent.futures
import math
import sysconfig
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, until
from test_executor_contract import Blocked

import threadcache
from threadcache import CachedThreadPoolExecutor, SerialExecutor
from threadcache._threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness

    from threadcache import ThreadCache

GIL = not sysconfig.get_config_var("Py_GIL_DISABLED")
LIMITS = [1, 2, 8, math.inf]
KINDS: list[Callable[..., CachedThreadPoolExecutor]] = [CachedThreadPoolExecutor, SerialExecutor]


class Crowd:
    """A job that knows how many of it have run at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = self.most = 0

    def __call__(self) -> None:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0)
        with self.lock:
            self.running -= 1


def test_the_limit_holds_in_a_storm(cache: ThreadCache) -> None:
    job = Crowd()

    def submit() -> None:
        for number in range(300):
            future = executor.submit(job)
            if number % 10 == 0:
                future.result(DEADLINE)

    with CachedThreadPoolExecutor(3, cache=cache) as executor:
        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert job.running == 0
    assert 1 <= job.most <= 3


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 8, 50])
def test_the_limit_is_reached_by_jobs_submitted_at_a_stroke(cache: ThreadCache, workers: int, warm: bool) -> None:
    barrier = threading.Barrier(workers)
    with CachedThreadPoolExecutor(workers, cache=cache) as executor:
        if warm:
            executor.submit(int).result(DEADLINE)
        for _ in range(3):
            futures = [executor.submit(barrier.wait, DEADLINE) for _ in range(workers)]
            assert {future.result(DEADLINE) for future in futures} == set(range(workers))


@pytest.mark.parametrize("workers", [2, 8, 50])
def test_the_limit_is_reached_by_jobs_submitted_one_by_one(cache: ThreadCache, workers: int) -> None:
    with CachedThreadPoolExecutor(workers, cache=cache) as executor:
        running = [Blocked(executor) for _ in range(workers)]  # each is seen to run before the next is submitted
        assert len(executor._threads) == workers
        waiting = executor.submit(int)
        assert not waiting.running()
        for blocked in running:
            blocked.release.set()
        assert waiting.result(DEADLINE) == 0


@pytest.mark.parametrize("workers", [2, 8, 50])
def test_the_limit_is_reached_by_jobs_that_submit_the_next(cache: ThreadCache, workers: int) -> None:
    barrier = threading.Barrier(workers + 1)

    def job(left: int) -> None:
        if left:
            executor.submit(job, left - 1)
        barrier.wait(DEADLINE)

    with CachedThreadPoolExecutor(workers, cache=cache) as executor:
        executor.submit(job, workers - 1)
        barrier.wait(DEADLINE)


@pytest.mark.parametrize("workers", [2, 3])
def test_a_thread_that_is_slow_to_start_does_not_lower_the_limit(make_cache: Harness, workers: int) -> None:
    """A callback that counts on a runner on its way must not keep the number that its own job has had."""
    held: SimpleQueue[Any] = SimpleQueue()
    cache = make_cache()
    ran = threading.Event()
    with CachedThreadPoolExecutor(workers, at_exit="abandon", cache=cache) as executor:
        blocked = [Blocked(executor) for _ in range(workers - 1)]
        cache._start_thread = lambda *call: held.put(call)
        late = executor.submit(ran.wait, DEADLINE)  # its thread takes its time
        submitted: SimpleQueue[Any] = SimpleQueue()

        def callback(_: object) -> None:
            submitted.put(executor.submit(ran.set))
            assert ran.wait(DEADLINE)

        blocked[0].future.add_done_callback(callback)
        blocked[0].release.set()
        submitted.get(timeout=DEADLINE)
        cache._start_thread = start_thread
        for _ in range(held.qsize()):
            start_thread(*held.get())
        try:
            # The callback's job and `late` may run now, beside the other blocked ones: that many the limit admits.
            assert late.result(DEADLINE / 3)
        finally:
            ran.set()
            for other in blocked:
                other.release.set()


def test_without_a_limit_a_hundred_jobs_wait_for_one_another() -> None:
    def job(left: int) -> int:
        return 1 + executor.submit(job, left - 1).result(DEADLINE) if left else 0

    with CachedThreadPoolExecutor(math.inf) as executor:
        assert executor.submit(job, 100).result(DEADLINE) == 100


def test_without_a_limit_two_hundred_jobs_run_at_a_time() -> None:
    barrier = threading.Barrier(201)
    with CachedThreadPoolExecutor(math.inf) as executor:
        futures = [executor.submit(barrier.wait, DEADLINE) for _ in range(200)]
        barrier.wait(DEADLINE)
        concurrent.futures.wait(futures, DEADLINE)
        assert all(future.done() for future in futures)


@pytest.mark.parametrize("workers", LIMITS)
def test_a_callback_may_submit_and_wait(cache: ThreadCache, workers: float) -> None:
    results: SimpleQueue[Any] = SimpleQueue()

    def callback(future: Any) -> None:
        results.put(executor.submit(pow, 2, 3).result())
        results.put(executor.submit(pow, 2, 4).exception())

    with CachedThreadPoolExecutor(workers, cache=cache) as executor:
        blocked = Blocked(executor)
        blocked.future.add_done_callback(callback)
        blocked.future.add_done_callback(callback)
        blocked.release.set()
        assert [results.get(timeout=DEADLINE) for _ in range(4)] == [8, None, 8, None]


@pytest.mark.parametrize("workers", LIMITS)
def test_all_callbacks_at_a_time_may_submit_and_wait(cache: ThreadCache, workers: float) -> None:
    number = int(min(workers, 10))
    barrier = threading.Barrier(number)
    results: SimpleQueue[Any] = SimpleQueue()

    def callback(future: Any) -> None:
        barrier.wait(DEADLINE)
        results.put(executor.submit(pow, 2, 3).result())

    with CachedThreadPoolExecutor(workers, cache=cache) as executor:
        for _ in range(5):
            running = [Blocked(executor) for _ in range(number)]
            for blocked in running:
                blocked.future.add_done_callback(callback)
            for blocked in running:
                blocked.release.set()
            assert [results.get(timeout=DEADLINE) for _ in running] == [8] * number


def test_the_limit_holds_while_callbacks_submit_and_wait(cache: ThreadCache) -> None:
    job = Crowd()
    with CachedThreadPoolExecutor(2, cache=cache) as executor:
        for _ in range(300):
            executor.submit(job).add_done_callback(lambda _: executor.submit(job).result())
    assert 1 <= job.most <= 2


def test_names_differ_though_callbacks_make_room_for_others(cache: ThreadCache) -> None:
    class Named(Blocked):
        def __call__(self) -> str:
            self.name = threading.current_thread().name
            return super().__call__()

    submitted: SimpleQueue[Any] = SimpleQueue()

    def callback(_: object) -> None:
        within = Named(executor)
        second.release.set()
        second.future.result(DEADLINE)
        until(lambda: len(executor._threads) <= 2)  # so its number is free again
        submitted.put(within)
        submitted.put(executor.submit(lambda: threading.current_thread().name))

    with CachedThreadPoolExecutor(2, "p", cache=cache) as executor:
        first, second = Named(executor), Named(executor)
        assert {first.name, second.name} == {"p_0", "p_1"}
        first.future.add_done_callback(callback)
        first.release.set()
        within = submitted.get(timeout=DEADLINE)
        try:
            assert {within.name, submitted.get(timeout=DEADLINE).result(DEADLINE)} == {"p_0", "p_1"}
        finally:
            within.release.set()


def test_a_callback_that_raises_what_is_no_exception_is_reported(
    cache: ThreadCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: SimpleQueue[Any] = SimpleQueue()
    monkeypatch.setattr("threading.excepthook", lambda arguments: reported.put(arguments.exc_type))

    def callback(_: object) -> None:
        raise SystemExit

    with CachedThreadPoolExecutor(2, cache=cache) as executor:
        blocked = Blocked(executor)
        blocked.future.add_done_callback(callback)
        blocked.release.set()
        assert reported.get(timeout=DEADLINE) is SystemExit
        assert blocked.future.result(DEADLINE) == "released"
        assert [future.result(DEADLINE) for future in [executor.submit(int) for _ in range(9)]] == [0] * 9


def test_one_job_after_the_other_needs_two_workers_at_most(cache: ThreadCache) -> None:
    with CachedThreadPoolExecutor(8, cache=cache) as executor:
        for number in range(300):
            assert executor.submit(abs, -number).result(DEADLINE) == number
    assert cache.stats().started <= (2 if GIL else 4)


def test_a_thousand_executors_need_a_handful_of_threads(cache: ThreadCache) -> None:
    for _ in range(1000):
        with CachedThreadPoolExecutor(8, cache=cache) as executor:
            assert list(executor.map(abs, range(8))) == list(range(8))
    assert cache.stats().started <= (16 if GIL else 64)


def test_threads_go_back_to_the_cache_and_serve_others(cache: ThreadCache) -> None:
    with CachedThreadPoolExecutor(4, cache=cache) as executor:
        running = [Blocked(executor) for _ in range(4)]
        assert cache.stats().busy == len(executor._threads) == 4
        for blocked in running:
            blocked.release.set()
        until(lambda: cache.stats().idle == 4)  # though it has not been shut down
        assert not executor._threads
        with CachedThreadPoolExecutor(4, cache=cache) as other:
            running = [Blocked(other) for _ in range(4)]
            for blocked in running:
                blocked.release.set()
        assert executor.submit(int).result(DEADLINE) == 0
    until(lambda: cache.stats().idle == 4)
    assert cache.stats().started == 4


def test_the_default_cache_is_used_without_another() -> None:
    with CachedThreadPoolExecutor() as executor:
        blocked = Blocked(executor)
        assert any("Blocked" in repr(job.fn) for job in threadcache.default_cache.jobs())
        blocked.release.set()


def test_what_runs_is_seen_in_the_cache(cache: ThreadCache) -> None:
    with CachedThreadPoolExecutor(2, "prefix", cache=cache) as executor:
        blocked = Blocked(executor)
        (job,) = cache.jobs()
        assert repr(blocked) in repr(job.fn)
        assert "prefix" in repr(job.fn)
        assert job.name.startswith("prefix_")
        assert executor._threads == {job.thread}
        blocked.release.set()


def test_what_programs_read_of_the_standard_librarys(cache: ThreadCache) -> None:
    executor = CachedThreadPoolExecutor(1, "prefix", cache=cache)
    assert (executor._max_workers, executor._thread_name_prefix, executor._shutdown) == (1, "prefix", False)
    assert executor._work_queue.empty() and executor._work_queue.qsize() == len(executor._threads) == 0
    blocked = Blocked(executor)
    for number in range(3):
        assert executor._work_queue.qsize() == number
        executor.submit(int)
    assert not executor._work_queue.empty()
    assert len(executor._threads) == 1
    blocked.release.set()
    executor.shutdown()
    assert executor._shutdown and executor._work_queue.empty()
    assert CachedThreadPoolExecutor(math.inf)._max_workers == math.inf
    assert CachedThreadPoolExecutor(2.5)._max_workers == 3


def test_futures_that_shutdown_cancels_are_told_to_wait_and_as_completed(cache: ThreadCache) -> None:
    executor = CachedThreadPoolExecutor(1, cache=cache)
    blocked = Blocked(executor)
    pending = [executor.submit(int) for _ in range(3)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert concurrent.futures.wait(pending, DEADLINE).done == set(pending)
    assert set(concurrent.futures.as_completed(pending, DEADLINE)) == set(pending)
    blocked.release.set()
