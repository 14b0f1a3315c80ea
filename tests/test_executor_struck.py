"""Executors whose runners are struck from outside, and how many jobs they can run afterwards."""

from __future__ import annotations

import math
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, until
from outcome import Error
from steps import OPCODES, Injection, at_each_opcode, codes

import threadcache._future
import threadcache._pool
import threadcache._runner
from threadcache import CachedThreadPoolExecutor

if TYPE_CHECKING:
    from conftest import Harness

CODES = codes(threadcache._pool, threadcache._runner, threadcache._future)


def interrupt() -> None:
    raise KeyboardInterrupt


def use_up(executor: CachedThreadPoolExecutor, limit: int) -> None:
    """See that as many jobs as may run do run at a time, and that nothing keeps the executor from ending."""
    barrier = threading.Barrier(limit)
    futures = [executor.submit(barrier.wait, DEADLINE) for _ in range(limit)]
    assert sorted(future.result(DEADLINE) for future in futures) == list(range(limit))
    ended = threading.Thread(target=executor.shutdown, daemon=True)
    ended.start()
    ended.join(DEADLINE)
    assert not ended.is_alive()


@pytest.mark.parametrize("limit", [1, 2])
def test_g10_an_interrupted_submit_costs_nothing_of_the_limit(make_cache: Harness, limit: int) -> None:
    struck = 0
    for inject in at_each_opcode(where=CODES):
        executor = CachedThreadPoolExecutor(limit, cache=make_cache())
        raised = inject(interrupt, partial(executor.submit, int))
        assert inject.struck == isinstance(raised, KeyboardInterrupt)
        use_up(executor, limit)
        struck += inject.struck
    assert struck > 10


def test_g10_the_wait_of_shutdown_interrupted_at_each_opcode(make_cache: Harness) -> None:
    """Another call of `shutdown` waits in its stead."""
    struck = 0
    for inject in at_each_opcode(where=CODES):
        executor = CachedThreadPoolExecutor(1, cache=make_cache())
        future = executor.submit(int)
        raised = inject(interrupt, executor.shutdown)
        assert inject.struck == isinstance(raised, KeyboardInterrupt)
        executor.shutdown()
        assert future.done()
        until(lambda: not executor._threads)
        struck += inject.struck
    assert struck > 10


@pytest.mark.parametrize("limit", [2, math.inf])
def test_g2_a_submit_within_a_worker_before_its_runner_has_begun(make_cache: Harness, limit: float) -> None:
    """A finalizer that the collector runs there submits and waits, and must not count on the runner underneath."""
    target = struck = 0
    while struck == target:
        target += 1
        injection = Injection(target, between_calls=OPCODES)
        submit_within_a_worker(make_cache, limit, injection)
        struck += injection.struck
    assert struck > 10


def submit_within_a_worker(make_cache: Harness, limit: float, injection: Injection) -> None:
    results: list[Any] = []
    armed = [injection]

    def inner() -> None:
        results.append(executor.submit(lambda: "inner").result(DEADLINE))

    def start(run: Any, args: Any) -> None:
        inject = partial(armed.pop(), inner) if armed else lambda run: run()
        threading.Thread(target=inject, args=(run,)).start()

    def outer() -> str:
        injection.where = set()  # from here on it may be in `deliver`, where waiting is not allowed
        return "outer"

    executor = CachedThreadPoolExecutor(limit, cache=make_cache(_start_thread=start))
    assert executor.submit(outer).result(DEADLINE) == "outer"
    until(lambda: len(results) == injection.struck)
    executor.shutdown()
    assert results == ["inner"] * injection.struck


class Struck(BaseException):
    """What comes out of nowhere."""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs opcodes")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("limit", [1, 2])
def test_g9_an_exception_at_each_opcode_of_a_runner(make_cache: Harness, limit: int) -> None:
    """Raised in a runner at any point where the interpreter would raise an asynchronous exception.

    Each future is resolved, if with that exception, and the executor can still run as many jobs as it may.
    """

    def strike() -> None:
        raise Struck

    target = struck = 0
    while struck == target:
        target += 1
        injection = Injection(target, between_calls=True, where=CODES)
        armed = [injection]

        def start(run: Any, args: Any) -> None:
            threading.Thread(target=armed.pop() if armed else (lambda _, run: run()), args=(strike, run)).start()

        executor = CachedThreadPoolExecutor(limit, cache=make_cache(_start_thread=start))
        futures = [executor.submit(int) for _ in range(3)]
        errors = [type(future.exception(DEADLINE)) for future in futures]
        assert set(errors) <= {type(None), Struck}
        assert errors.count(Struck) <= 1
        injection.where = set()
        use_up(executor, limit)
        struck += injection.struck
    assert struck > 5  # as many as there are in a runner that comes too late; in one that does not, over 20


def test_g9_a_runner_that_is_struck_before_it_has_begun_is_not_counted_on() -> None:
    with CachedThreadPoolExecutor(2) as executor:
        pool = executor._CachedThreadPoolExecutor__pool
        runner = threadcache._runner.Runner(pool)
        pool.coming = runner.begun
        with pytest.raises(Struck):
            runner.deliver(Error(Struck()))
        assert executor.submit(int).result(DEADLINE) == 0
