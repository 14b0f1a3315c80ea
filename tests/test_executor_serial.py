"""`SerialExecutor`, and what is the same under another name: `CachedThreadPoolExecutor(1)`."""

from __future__ import annotations

import gc
import threading
from functools import partial
from queue import SimpleQueue
from threading import get_ident
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call, until
from test_executor_contract import Blocked, Boom, boom

from threadcache import CachedThreadPoolExecutor, SerialExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

    from threadcache import ThreadCache


@pytest.fixture(params=["SerialExecutor", "max_workers=1"])
def make(request: pytest.FixtureRequest, cache: ThreadCache) -> Callable[..., CachedThreadPoolExecutor]:
    kind = SerialExecutor if request.param == "SerialExecutor" else partial(CachedThreadPoolExecutor, 1)
    return partial(kind, cache=cache)


def test_all_jobs_run_in_one_thread_in_the_order_of_submission(make: Any) -> None:
    ran: list[tuple[int, int]] = []
    with make() as executor:
        for number in range(200):
            future = executor.submit(lambda number=number: ran.append((number, get_ident())))
            if number % 20 == 0:
                future.result(DEADLINE)
    assert [number for number, _ in ran] == list(range(200))
    assert len({ident for _, ident in ran}) == 1
    assert ran[0][1] != get_ident()


def test_many_submitters_share_one_thread(make: Any) -> None:
    ran: list[tuple[int, int, int]] = []

    def submit(submitter: int) -> None:
        for number in range(100):
            future = executor.submit(lambda number=number: ran.append((submitter, number, get_ident())))
            if number % 10 == 0:
                future.result(DEADLINE)

    with make() as executor:
        threads = [threading.Thread(target=submit, args=(submitter,)) for submitter in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({ident for *_, ident in ran}) == 1
    for submitter in range(8):
        assert [number for other, number, _ in ran if other == submitter] == list(range(100))


def test_the_thread_stays_the_same_while_others_use_the_cache(cache: ThreadCache, make: Any) -> None:
    """It is leased: though it has nothing to do, nobody else gets it."""
    with make() as executor:
        ident = executor.submit(get_ident).result(DEADLINE)
        for _ in range(5):
            barrier = threading.Barrier(4)
            delivered: SimpleQueue[Any] = SimpleQueue()

            def job(barrier: threading.Barrier = barrier) -> int:
                barrier.wait(DEADLINE)
                return get_ident()

            for _ in range(3):
                cache.start_thread_soon(job, delivered.put)
            barrier.wait(DEADLINE)
            assert ident not in {delivered.get(timeout=DEADLINE).unwrap() for _ in range(3)}
            assert executor.submit(get_ident).result(DEADLINE) == ident


def test_the_thread_survives_what_jobs_and_callbacks_raise(
    cache: ThreadCache, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threading.excepthook", lambda arguments: None)
    with make() as executor:
        idents = set()
        for kind in (Boom, SystemExit, KeyboardInterrupt, StopIteration):

            def job(kind: type[BaseException] = kind) -> None:
                idents.add(get_ident())
                raise kind

            assert isinstance(executor.submit(job).exception(DEADLINE), kind)
        executor.submit(int).add_done_callback(boom)
        idents.add(executor.submit(get_ident).result(DEADLINE))
        assert len(idents) == 1
        assert cache.stats().started == 1


@pytest.mark.parametrize("how", ["shutdown", "garbage collection"])
def test_the_thread_goes_back_to_the_cache(cache: ThreadCache, make: Any, how: str) -> None:
    executor = make()
    ident = executor.submit(get_ident).result(DEADLINE)
    assert cache.stats()[:3] == (1, 0, 1)
    if how == "shutdown":
        executor.shutdown()
    del executor
    until(lambda: (gc.collect(), cache.stats().idle == 1)[1])
    assert call(cache, get_ident) == ident
    assert cache.stats().started == 1


def test_executors_one_after_the_other_use_a_warm_thread(cache: ThreadCache, make: Any) -> None:
    call(cache, int)
    for number in range(20):
        until(lambda: cache.stats().idle == 1)
        with make() as executor:
            assert executor.submit(abs, -number).result(DEADLINE) == number
            assert executor.submit(abs, -number).result(DEADLINE) == number
    assert cache.stats().started == 1


def test_an_executor_without_jobs_borrows_nothing(cache: ThreadCache, make: Any) -> None:
    for _ in range(100):
        make().shutdown()
        make()
    assert cache.stats() == (0,) * 9


def test_shutdown_without_waiting_returns_while_a_job_runs(cache: ThreadCache, make: Any) -> None:
    executor = make()
    blocked = Blocked(executor)
    waiting = executor.submit(int)
    executor.shutdown(wait=False)
    assert not blocked.future.done()
    assert not waiting.done()
    blocked.release.set()
    assert waiting.result(DEADLINE) == 0
    until(lambda: cache.stats().idle == 1)


def test_an_executor_that_is_dropped_in_its_own_job_gives_its_thread_back(cache: ThreadCache, make: Any) -> None:
    executors = [make()]
    future = executors[0].submit(lambda: [executors.clear(), gc.collect()])
    assert future.result(DEADLINE)
    until(lambda: (gc.collect(), cache.stats().idle == 1)[1])


def test_a_job_may_wait_for_jobs_that_it_submits(make: Any) -> None:
    """They run within the wait, in the same thread, after what was in line before them."""
    ran: list[Any] = []

    def outer(left: int) -> int:
        ran.append((left, get_ident()))
        return 1 + executor.submit(outer, left - 1).result() if left else 0

    with make() as executor:
        blocked = Blocked(executor)
        outermost = executor.submit(outer, 20)
        waiting = executor.submit(ran.append, "waiting before")
        blocked.release.set()
        assert outermost.result(DEADLINE) == 20
        assert waiting.done()
        assert executor.submit(lambda: executor.submit(boom).exception()).result(DEADLINE).__class__ is Boom
    assert ran.pop(1) == "waiting before"
    assert [left for left, _ in ran] == list(range(20, -1, -1))
    assert len({ident for _, ident in ran}) == 1


def test_a_job_may_map(make: Any) -> None:
    def job() -> list[int]:
        return list(executor.map(abs, range(-5, 0)))

    with make() as executor:
        assert executor.submit(job).result(DEADLINE) == [5, 4, 3, 2, 1]


def test_a_callback_may_submit_and_wait_within_a_job_that_waits(make: Any) -> None:
    results: SimpleQueue[Any] = SimpleQueue()

    def callback(_: object) -> None:
        results.put(executor.submit(pow, 2, 3).result())

    def job() -> int:
        inner = executor.submit(pow, 2, 4)
        inner.add_done_callback(callback)
        return inner.result()

    with make() as executor:
        outer = executor.submit(job)
        outer.add_done_callback(callback)
        assert outer.result(DEADLINE) == 16
        assert results.get(timeout=DEADLINE) == results.get(timeout=DEADLINE) == 8


def test_what_is_cancelled_meanwhile_does_not_run_within_a_wait(make: Any) -> None:
    ran: list[int] = []

    def job() -> int:
        futures = [executor.submit(ran.append, number) for number in range(3)]
        assert futures[1].cancel()
        return executor.submit(int).result()

    with make() as executor:
        assert executor.submit(job).result(DEADLINE) == 0
    assert ran == [0, 2]


def test_two_of_them_may_wait_for_each_others_jobs(make: Any) -> None:
    with make() as one, make() as other:
        assert one.submit(lambda: other.submit(get_ident).result() != get_ident()).result(DEADLINE)


def test_another_thread_that_waits_does_not_run_the_job(make: Any) -> None:
    with make() as executor:
        blocked = Blocked(executor)
        future = executor.submit(get_ident)
        seen: SimpleQueue[int] = SimpleQueue()
        thread = threading.Thread(target=lambda: seen.put(future.result()))
        thread.start()
        blocked.release.set()
        assert seen.get(timeout=DEADLINE) not in {thread.ident, get_ident()}
        thread.join()


def test_shutdown_within_a_job_that_waits_lets_what_was_submitted_run(make: Any) -> None:
    def job() -> int:
        future = executor.submit(pow, 2, 3)
        executor.shutdown(wait=False)
        return future.result()

    executor = make()
    assert executor.submit(job).result(DEADLINE) == 8
    executor.shutdown()
