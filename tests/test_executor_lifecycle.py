"""How executors are made and shut down: the standard library's own confirms each expectation here too."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.thread import BrokenThreadPool
from queue import SimpleQueue
from typing import Any

import pytest
from conftest import DEADLINE, until
from test_executor_contract import AFTER_SHUTDOWN, Blocked, Boom, make, make_wide

__all__ = ["make", "make_wide"]  # fixtures


def test_leaving_with_waits_for_jobs_and_callbacks(make: Any) -> None:
    called: list[int] = []
    left = threading.Event()
    with make() as executor:
        futures = [executor.submit(pow, 2, number) for number in range(20)]
        for future in futures:
            future.add_done_callback(lambda future: called.append(future.result()))
        concurrent.futures.wait(futures, DEADLINE)
        last = Blocked(executor)
        futures.append(last.future)
        last.future.add_done_callback(lambda _: (left.wait(0.1), called.append(0)))  # which nobody is to have left by
        threading.Thread(target=lambda: (until(lambda: executor._shutdown), last.release.set())).start()
    assert all(future.done() for future in futures)
    assert sorted(called) == [0, *(2**number for number in range(20))]


def test_leaving_with_on_an_exception_shuts_down_too(make: Any) -> None:
    executor = make()

    def leave() -> None:
        with executor:
            futures.append(executor.submit(int))
            raise Boom

    futures: list[Any] = []
    with pytest.raises(Boom):
        leave()
    assert futures[0].done()
    with pytest.raises(RuntimeError, match=AFTER_SHUTDOWN):
        executor.submit(int)


@pytest.mark.parametrize("used", [False, True])
def test_nothing_is_accepted_after_shutdown(make: Any, used: bool) -> None:
    executor = make()
    if used:
        executor.submit(int)
    executor.shutdown()
    for call in (executor.submit, lambda fn: executor.map(fn, [1])):
        with pytest.raises(RuntimeError, match=AFTER_SHUTDOWN):
            call(int)
    executor.shutdown()
    executor.shutdown(wait=False, cancel_futures=True)


def test_shutdown_without_waiting_lets_jobs_finish(make: Any) -> None:
    executor = make(1)
    blocked = Blocked(executor)
    futures = [executor.submit(pow, 2, number) for number in range(5)]
    executor.shutdown(wait=False)
    assert not any(future.done() for future in [blocked.future, *futures])
    with pytest.raises(RuntimeError, match=AFTER_SHUTDOWN):
        executor.submit(int)
    blocked.release.set()
    assert [future.result(DEADLINE) for future in futures] == [1, 2, 4, 8, 16]
    executor.shutdown()


def test_shutdown_can_cancel_what_has_not_begun(make: Any) -> None:
    executor = make(1)
    blocked = Blocked(executor)
    ran = []
    futures = [executor.submit(ran.append, number) for number in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    assert not blocked.future.cancelled()
    blocked.release.set()
    executor.shutdown()
    assert blocked.future.result(0) == "released"
    assert not ran


def test_shutdown_waits_in_each_thread_that_calls_it(make: Any) -> None:
    executor = make()
    blocked = Blocked(executor)
    seen: SimpleQueue[bool] = SimpleQueue()
    calling = threading.Barrier(4)

    def shut_down() -> None:
        calling.wait(DEADLINE)
        executor.shutdown()
        seen.put(blocked.future.done())

    threads = [threading.Thread(target=shut_down) for _ in range(3)]
    for thread in threads:
        thread.start()
    calling.wait(DEADLINE)
    assert seen.empty()
    blocked.release.set()
    assert [seen.get(timeout=DEADLINE) for _ in threads] == [True] * 3
    for thread in threads:
        thread.join()


def test_shutdown_in_a_job_does_not_wait_for_itself(make: Any) -> None:
    executor = make(1)
    with pytest.raises(RuntimeError, match=r"^cannot join current thread$"):
        executor.submit(executor.shutdown).result(DEADLINE)
    with pytest.raises(RuntimeError, match=AFTER_SHUTDOWN):
        executor.submit(int)
    executor.shutdown()
    assert make(1).submit(lambda: make(1).shutdown()).result(DEADLINE) is None


def test_an_executor_that_nobody_has_any_more_finishes_its_jobs(make: Any) -> None:
    executor = make(1)
    blocked = Blocked(executor)
    futures = [executor.submit(pow, 2, number) for number in range(5)]
    del executor
    gc.collect()
    blocked.release.set()
    assert [future.result(DEADLINE) for future in futures] == [1, 2, 4, 8, 16]


def test_asyncio_takes_it_as_its_default_executor_and_shuts_it_down(make: Any) -> None:
    executor = make(thread_name_prefix="default")
    called = []

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(executor)
        assert (await asyncio.to_thread(lambda: threading.current_thread().name)).startswith("default_")
        executor.submit(lambda: called.append("at the end"))

    asyncio.run(main())
    assert called == ["at the end"]
    with pytest.raises(RuntimeError, match=AFTER_SHUTDOWN):
        executor.submit(int)


@pytest.mark.parametrize("value", [0, -1, -0.5, "8", [2], 2j])
def test_a_number_of_workers_that_is_none(make_wide: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as expected:
        ThreadPoolExecutor(value)
    with pytest.raises(expected.type, match=f"^{re.escape(str(expected.value))}$"):
        make_wide(value)
    with pytest.raises(expected.type, match=f"^{re.escape(str(expected.value))}$"):
        make_wide(max_workers=value)


def test_the_number_of_workers_can_be_left_out(make_wide: Any) -> None:
    assert make_wide()._max_workers == make_wide(None)._max_workers == ThreadPoolExecutor()._max_workers
    assert make_wide(7)._max_workers == 7


def test_the_initializer_is_called_in_each_thread_before_its_first_job(make: Any) -> None:
    initialized: list[int] = []

    def initialize(number: int, *, base: int = 10) -> None:
        initialized.append(threading.get_ident())
        assert number + base == 15

    def job() -> int:
        assert threading.get_ident() in initialized
        return threading.get_ident()

    with make(3, initializer=initialize, initargs=(5,)) as executor:
        assert not initialized
        for _ in range(10):
            idents = {future.result(DEADLINE) for future in [executor.submit(job) for _ in range(10)]}
            assert idents <= set(initialized)
    assert len(initialized) == len(set(initialized))
    assert threading.get_ident() not in initialized


def test_the_initializer_must_be_callable(make: Any) -> None:
    with pytest.raises(TypeError, match=r"^initializer must be a callable$"):
        make(initializer=5)


@pytest.mark.parametrize("kind", [Boom, SystemExit])
def test_an_initializer_that_fails_breaks_the_executor(
    make: Any, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    release = threading.Event()

    def initialize() -> None:
        assert release.wait(DEADLINE)
        raise kind

    ran: list[int] = []
    with make(2, initializer=initialize) as executor:
        futures = [executor.submit(ran.append, number) for number in range(5)]
        release.set()
        for future in futures:
            assert isinstance(future.exception(DEADLINE), BrokenThreadPool)
        with pytest.raises(BrokenThreadPool, match="A thread initializer failed") as caught:
            executor.submit(int)
        assert str(caught.value) == str(futures[0].exception(0))
        assert isinstance(caught.value, RuntimeError)
    assert not ran
    assert {(record.name, record.levelno) for record in caplog.records} == {("concurrent.futures", logging.CRITICAL)}
    assert {record.exc_info[0] for record in caplog.records if record.exc_info} == {kind}


def test_threads_are_named(make: Any) -> None:
    with make(thread_name_prefix="some prefix") as executor:
        name = executor.submit(lambda: threading.current_thread().name).result(DEADLINE)
    assert re.fullmatch(r"some prefix_\d+", name)


def test_jobs_that_run_side_by_side_have_different_names(make_wide: Any) -> None:
    barrier = threading.Barrier(5)

    def job(_: object) -> str:
        barrier.wait(DEADLINE)
        return threading.current_thread().name

    with make_wide(5, thread_name_prefix="p") as executor:
        for _ in range(3):
            assert set(executor.map(job, range(5))) == {f"p_{number}" for number in range(5)}


def test_it_is_a_thread_pool_executor_that_can_be_subclassed(make: Any) -> None:
    kind = type(make())
    assert issubclass(kind, ThreadPoolExecutor)
    assert issubclass(kind, concurrent.futures.Executor)

    class Doubling(kind):  # type: ignore[misc,valid-type]
        def __init__(self, *args: Any) -> None:
            self.submitted = 0
            super().__init__(*args)

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            self.submitted += 1
            return super().submit(lambda: 2 * fn(*args, **kwargs))

    with Doubling() as executor:
        assert list(executor.map(abs, [-1, -2])) == [2, 4]
        assert executor.submit(abs, -3).result(DEADLINE) == 6
        assert executor.submitted == 3

    class Unfinished(kind):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            raise Boom

    with pytest.raises(Boom):
        Unfinished()
    gc.collect()  # finalizing it raises nothing


@pytest.mark.parametrize("cancel_futures", [False, True])
def test_shutdown_while_a_hundred_threads_submit(make: Any, cancel_futures: bool) -> None:
    """What was accepted is done when it is over, what was refused never runs, and nothing begins after it returned."""
    executor = make(4)
    accepted: SimpleQueue[Any] = SimpleQueue()
    returned = threading.Event()
    refusals: SimpleQueue[str] = SimpleQueue()
    ran: list[bool] = []
    submitters, each = 100, 200

    def submit() -> None:
        for _ in range(each):
            try:
                accepted.put(executor.submit(lambda: ran.append(returned.is_set())))
            except RuntimeError as error:
                refusals.put(str(error))
                return

    threads = [threading.Thread(target=submit) for _ in range(submitters)]
    for thread in threads:
        thread.start()
    until(lambda: accepted.qsize() > 100)
    executor.shutdown(cancel_futures=cancel_futures)
    returned.set()
    for thread in threads:
        thread.join()
    assert {refusals.get() for _ in range(refusals.qsize())} <= {"cannot schedule new futures after shutdown"}
    futures = [accepted.get() for _ in range(accepted.qsize())]
    assert all(future.done() for future in futures)
    assert len(ran) == sum(not future.cancelled() for future in futures)
    assert not any(ran)
    if not cancel_futures:
        assert not any(future.cancelled() for future in futures)
