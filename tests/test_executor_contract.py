"""Executors keep the contract of `concurrent.futures`; the standard library's own confirms each expectation."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE

from threadcache import CachedThreadPoolExecutor, SerialExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

WIDE = {"stdlib": ThreadPoolExecutor, "cached": CachedThreadPoolExecutor}
"""Kinds whose jobs may run side by side."""
AFTER_SHUTDOWN = "^cannot schedule new futures after shutdown$"


def make_serial(max_workers: int | None = None, *args: Any, **kwargs: Any) -> SerialExecutor:
    """Make one with the signature of the others; how many workers they have makes no difference to these tests."""
    return SerialExecutor(*args, **kwargs)


@pytest.fixture(params=[*WIDE, "serial"])
def make(request: pytest.FixtureRequest) -> Callable[..., ThreadPoolExecutor]:
    return {**WIDE, "serial": make_serial}[request.param]


@pytest.fixture(params=WIDE)
def make_wide(request: pytest.FixtureRequest) -> Callable[..., ThreadPoolExecutor]:
    return WIDE[request.param]


class Boom(Exception):
    """What a job raises."""


def boom(*args: object) -> None:
    raise Boom(*args)


class Blocked:
    """A job that says when it has begun, and ends when it is told to."""

    def __init__(self, executor: Any) -> None:
        self.started, self.release = threading.Event(), threading.Event()
        self.future = executor.submit(self)
        assert self.started.wait(DEADLINE)

    def __call__(self) -> str:
        self.started.set()
        assert self.release.wait(DEADLINE)
        return "released"


def test_a_future_has_the_result(make: Any) -> None:
    with make() as executor:
        future = executor.submit(divmod, 17, 5)
        assert isinstance(future, Future)
        assert future.result(DEADLINE) == (3, 2)
        assert future.exception(DEADLINE) is None
        assert future.done() and not future.running() and not future.cancelled()
        assert not future.cancel()


def test_a_future_has_the_very_exception_and_where_it_was_raised(make: Any) -> None:
    with make() as executor:
        future = executor.submit(boom, 1)
        error = future.exception(DEADLINE)
        with pytest.raises(Boom) as caught:
            future.result(DEADLINE)
    assert caught.value is error
    assert error.args == (1,)
    assert [entry.name for entry in caught.traceback][-1] == "boom"


def test_any_keyword_goes_to_the_function(make: Any) -> None:
    def record(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    keywords = {"fn": 1, "self": 2, "executor": 3, "args": 4, "kwargs": 5, "context": 6, "timeout": 7}
    with make() as executor:
        assert executor.submit(record, "a", "b", **keywords).result(DEADLINE) == (("a", "b"), keywords)
        with pytest.raises(TypeError):
            executor.submit()
        with pytest.raises(TypeError):
            executor.submit(fn=record)


def test_what_is_not_callable_fails_in_the_future(make: Any) -> None:
    with make() as executor:
        assert isinstance(executor.submit(5).exception(DEADLINE), TypeError)
        assert isinstance(executor.submit(divmod).exception(DEADLINE), TypeError)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError])
def test_whatever_a_job_raises_is_its_outcome(make: Any, kind: type[BaseException]) -> None:
    def job() -> None:
        raise kind("told")

    with make() as executor:
        future = executor.submit(job)
        error = future.exception(DEADLINE)
        assert type(error) is kind and error.args == ("told",)
        with pytest.raises(kind):
            future.result(DEADLINE)
        assert executor.submit(int).result(DEADLINE) == 0


def test_a_result_that_does_not_come_times_out(make: Any) -> None:
    with make() as executor:
        blocked = Blocked(executor)
        with pytest.raises(TimeoutError):
            blocked.future.result(0)
        with pytest.raises(TimeoutError):
            blocked.future.exception(0.001)
        blocked.release.set()
        assert blocked.future.result(DEADLINE) == "released"


def test_map_gives_results_in_order(make: Any) -> None:
    with make() as executor:
        assert list(executor.map(pow, range(100), [2] * 50)) == [number**2 for number in range(50)]
        assert list(executor.map(pow, [])) == []
        assert list(executor.map(pow, (2, 3), iter((3, 4, 5)), [10], chunksize=7)) == [8]


def test_map_gives_results_in_order_though_they_come_in_another(make_wide: Any) -> None:
    second = threading.Event()

    def job(number: int) -> int:
        if number == 0:
            assert second.wait(DEADLINE)
        second.set()
        return number

    with make_wide(2) as executor:
        assert list(executor.map(job, range(5))) == list(range(5))


def test_map_submits_at_the_call(make: Any) -> None:
    ran: SimpleQueue[int] = SimpleQueue()
    with make() as executor:
        executor.map(ran.put, range(3))
        assert {ran.get(timeout=DEADLINE) for _ in range(3)} == {0, 1, 2}


def test_map_raises_what_a_call_has_raised_and_cancels_the_rest(make: Any) -> None:
    started, release = threading.Event(), threading.Event()
    ran = []

    def job(number: int) -> int:
        if number == 1:
            raise Boom
        if number == 2:
            started.set()
            assert release.wait(DEADLINE)
        ran.append(number)
        return number

    with make(1) as executor:
        results = executor.map(job, range(6))
        assert next(results) == 0
        assert started.wait(DEADLINE)
        with pytest.raises(Boom):
            next(results)
        release.set()
        with pytest.raises(StopIteration):
            next(results)
    assert ran == [0, 2]


def test_closing_the_iterator_of_map_cancels_the_rest(make: Any) -> None:
    started, release = threading.Event(), threading.Event()
    ran = []

    def job(number: int) -> int:
        if number == 1:
            started.set()
            assert release.wait(DEADLINE)
        ran.append(number)
        return number

    with make(1) as executor:
        results = executor.map(job, range(6))
        assert next(results) == 0
        assert started.wait(DEADLINE)
        results.close()
        release.set()
    assert ran == [0, 1]


def test_map_times_out(make: Any) -> None:
    release = threading.Event()
    with make() as executor:
        assert list(executor.map(abs, [1, -2], timeout=DEADLINE)) == [1, 2]
        results = executor.map(release.wait, [DEADLINE], timeout=0)
        with pytest.raises(TimeoutError):
            next(results)
        release.set()


def test_a_job_of_map_cannot_end_it(make: Any) -> None:
    """StopIteration from a call is not the iterator's own."""
    with make() as executor, pytest.raises(RuntimeError, match="StopIteration"):
        list(executor.map(next, [iter(())]))


def test_only_what_has_not_begun_can_be_cancelled(make: Any) -> None:
    ran: list[str] = []
    called: SimpleQueue[Any] = SimpleQueue()
    with make(1) as executor:
        blocked = Blocked(executor)
        pending = executor.submit(ran.append, "pending")
        last = executor.submit(ran.append, "last")
        pending.add_done_callback(called.put)
        assert blocked.future.running() and not pending.running()
        assert not blocked.future.cancel()
        assert pending.cancel() and pending.cancel()
        assert called.get_nowait() is pending
        assert pending.cancelled() and pending.done()
        with pytest.raises(CancelledError):
            pending.result(0)
        with pytest.raises(CancelledError):
            pending.exception(0)
        blocked.release.set()
        assert last.result(DEADLINE) is None
    assert ran == ["last"]
    assert called.empty()


def test_callbacks_are_called_in_order_and_each_once(make: Any) -> None:
    called: list[Any] = []
    with make() as executor:
        blocked = Blocked(executor)
        for number in range(3):
            blocked.future.add_done_callback(lambda future, number=number: called.append((number, future)))
        blocked.release.set()
    future = blocked.future
    assert called == [(0, future), (1, future), (2, future)]
    future.add_done_callback(lambda future: called.append(threading.current_thread()))
    assert called.pop() is threading.current_thread()  # it is done: so at once, and here


def test_a_callback_that_raises_is_logged_and_the_others_are_called(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[Any] = []
    with make() as executor:
        blocked = Blocked(executor)
        blocked.future.add_done_callback(boom)
        blocked.future.add_done_callback(called.append)
        blocked.release.set()
        assert blocked.future.result(DEADLINE) == "released"
        assert executor.submit(int).result(DEADLINE) == 0
    assert called == [blocked.future]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("concurrent.futures", logging.ERROR)
    assert record.exc_info and record.exc_info[0] is Boom


def test_wait_and_as_completed(make_wide: Any) -> None:
    with make_wide(2) as executor:
        blocked = Blocked(executor)
        quick, failing = executor.submit(int), executor.submit(boom)
        futures = [blocked.future, quick, failing]
        done, rest = concurrent.futures.wait(futures, DEADLINE, concurrent.futures.FIRST_COMPLETED)
        assert done and blocked.future in rest
        done, rest = concurrent.futures.wait(futures, DEADLINE, concurrent.futures.FIRST_EXCEPTION)
        assert failing in done and blocked.future in rest
        done, rest = concurrent.futures.wait(futures, 0)
        assert blocked.future in rest
        completed = concurrent.futures.as_completed(futures, DEADLINE)
        assert {next(completed), next(completed)} == {quick, failing}
        blocked.release.set()
        assert next(completed) is blocked.future
        assert concurrent.futures.wait(futures, DEADLINE) == (set(futures), set())


def test_wait_sees_what_is_cancelled(make: Any) -> None:
    with make(1) as executor:
        blocked = Blocked(executor)
        pending = [executor.submit(int) for _ in range(3)]
        for future in pending:
            future.cancel()
        blocked.release.set()
        assert concurrent.futures.wait(pending, DEADLINE).done == set(pending)


def test_asyncio_waits_for_jobs(make: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with make(1) as executor:
            assert await asyncio.wrap_future(executor.submit(pow, 2, 5)) == 32
            calls = [loop.run_in_executor(executor, pow, 2, number) for number in range(20)]
            assert await asyncio.gather(*calls) == [2**number for number in range(20)]
            with pytest.raises(Boom):
                await loop.run_in_executor(executor, boom)
            blocked = Blocked(executor)
            pending = executor.submit(int)
            asyncio.wrap_future(pending).cancel()
            await asyncio.sleep(0)
            assert pending.cancelled()
            blocked.release.set()
            assert await asyncio.wrap_future(blocked.future) == "released"

    asyncio.run(main())


def test_a_job_may_submit_and_wait_where_the_limit_admits_both(make_wide: Any) -> None:
    with make_wide(2) as executor:
        assert executor.submit(lambda: executor.submit(pow, 2, 3).result(DEADLINE)).result(DEADLINE) == 8
