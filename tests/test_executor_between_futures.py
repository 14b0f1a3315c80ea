"""Race 8 of `_pool`'s header: between one future and the next its runner is on its way."""

from __future__ import annotations

import math
import threading
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, until

import threadcache._pool
from threadcache import CachedThreadPoolExecutor, default_cache
from threadcache._pool import Pool
from threadcache._runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness


class Stage:
    """An executor in whose runner the test does something before a spinner is told of a result."""

    def __init__(self, make_cache: Harness) -> None:
        self.cache = make_cache()
        self.executor = CachedThreadPoolExecutor(2, cache=self.cache)
        self.submitted: list[Any] = []

    def submit(self, fn: Callable[[], Any]) -> None:
        """Submit in another thread than the runner's."""
        thread = threading.Thread(target=lambda: self.submitted.append(self.executor.submit(fn)))
        thread.start()
        thread.join(DEADLINE)

    def after(self, job: Callable[[], Any], tell: Callable[[], object]) -> Any:
        """Have a job done, and ``tell()`` called when its future is, as if somebody was spinning for it."""
        begin = threading.Event()
        future: Any = self.executor.submit(lambda: [begin.wait(DEADLINE), job()][1])
        future.cached_latch = SimpleNamespace(put=tell)
        begin.set()
        return future


def test_what_is_submitted_when_a_result_is_told_is_left_to_its_runner(make_cache: Harness) -> None:
    stage = Stage(make_cache)
    told = threading.Event()
    stage.after(int, lambda: [stage.submit(int), told.set()])
    assert told.wait(DEADLINE)
    assert stage.submitted[0].result(DEADLINE) == 0
    assert stage.cache.stats().started == 1


def test_what_is_submitted_as_the_next_future_begins_is_not(
    make_cache: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one waits for it."""
    stage = Stage(make_cache)
    done = threading.Event()

    class Begun(list[bool]):
        """Before a runner says that it has begun, something is submitted that counts on it."""

        def __init__(self, plain: list[bool]) -> None:
            self.plain = plain

        def append(self, value: bool) -> None:
            if len(stage.submitted) == 1:
                stage.submit(done.set)
            self.plain.append(value)
            super().append(value)

    class Hesitant(Runner):
        __slots__ = ("hesitates",)
        hesitates: list[bool]

        @property
        def begun(self) -> list[bool]:
            return self.hesitates

        @begun.setter
        def begun(self, plain: list[bool]) -> None:
            self.hesitates = Begun(plain)

    monkeypatch.setattr(threadcache._pool, "Runner", Hesitant)
    stage.after(int, lambda: stage.submit(lambda: done.wait(DEADLINE)))
    until(lambda: len(stage.submitted) == 2)
    assert stage.submitted[0].result(DEADLINE) is True


def test_no_runner_is_sent_for_when_the_future_has_been_claimed_already() -> None:
    sent: list[Any] = []
    pool: Any = Pool(2, "", None, math.inf, default_cache)
    pool.cache = SimpleNamespace(_spins=True, start_thread_soon=lambda *job: sent.append(job))

    class Line(deque[Any]):
        def append(self, future: Any) -> None:
            """A runner takes it before the submitter looks for one."""

    pool.line = Line()
    pool.submit((None, int, (), {}))
    assert not sent
    pool.line = deque()
    pool.submit((None, int, (), {}))
    assert len(sent) == 1


def test_only_a_runner_that_a_worker_was_borrowed_for_is_on_its_way_to_the_next_future() -> None:
    """One within another's job ends after the future that this waits for, and what is submitted later would be lost."""
    pool = Pool(2, "", None, math.inf, default_cache)
    future = pool.new_future(pool, (None, int, (), {}))
    pool.line.append(future)
    Runner(pool).run_until(future, Runner(pool, borrowed=True))
    assert future.result(0) == 0
    assert pool.coming


def test_a_forked_childs_pool_does_not_count_on_its_parents_runner() -> None:
    pool = Pool(2, "", None, math.inf, default_cache)
    runner = Runner(pool, borrowed=True)
    future = pool.new_future(pool, (None, int, (), {}))
    future.add_done_callback(lambda _: pool.reset())  # as if it had forked
    runner.future = future
    runner._run_future()
    assert future.result(0) == 0
    assert pool.coming


def test_a_struck_runner_tells_who_spins() -> None:
    pool = Pool(2, "", None, math.inf, default_cache)
    runner = Runner(pool)
    future: Any = pool.new_future(pool, (None, int, (), {}))
    runner.future = future
    assert future.cached_begin() is not None
    told: list[bool] = []
    future.cached_latch = SimpleNamespace(put=lambda: told.append(future.done()))
    runner._put_right(KeyboardInterrupt())
    assert told == [True]
    with pytest.raises(KeyboardInterrupt):
        future.result(0)
