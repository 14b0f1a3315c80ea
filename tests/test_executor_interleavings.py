"""The rule and the races of `_pool`'s header, under every schedule that the explorer reaches."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from explorer import Deadlock, Run, VirtualMailbox, explore
from test_interleavings import FULL, everywhere

from threadcache import default_cache
from threadcache._future import LazyFuture, _Condition
from threadcache._pool import Pool
from threadcache._runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable


class VirtualCache:
    """As much of a thread cache as a pool needs: each job gets a thread of the explorer's."""

    def __init__(self, run: Run, threads: int) -> None:
        self.run = run
        self.threads = threads
        self._new_mailbox = self._new_latch = run.mailbox
        self._spins = True

    def start_thread_soon(self, fn: Any, deliver: Any, name: Any) -> None:
        if self.threads == 0:
            raise RuntimeError("can't start new thread")
        self.threads -= 1
        self.run.spawn(fn)


def virtual_future(run: Run) -> type[LazyFuture[Any]]:
    """Futures with locks that the explorer sees."""

    class VirtualFuture(LazyFuture[Any]):
        _condition = _Condition(run.condition)

    return VirtualFuture


class Stage:
    """A pool on virtual threads, and a record of what its jobs did."""

    def __init__(self, run: Run, limit: float, threads: int = 100, initializer: Any = None) -> None:
        self.run = run
        self.limit = limit
        self.pool = Pool(limit, "", initializer, math.inf, VirtualCache(run, threads))  # type: ignore[arg-type]
        self.pool.new_future = virtual_future(run)
        self.threads = threads
        self.began: list[str] = []
        self.idents: set[int] = set()
        self.busy = 0
        self.over = False  # nothing may begin any more
        self.futures: dict[str, Any] = {}

    @property
    def runners(self) -> int:
        """How many have been sent for."""
        cache: Any = self.pool.cache
        return self.threads - int(cache.threads)

    def submit(self, job: str, fn: Callable[[], Any] = lambda: None, then: Callable[[], Any] | None = None) -> Any:
        def run_fn() -> str:
            assert not self.over
            self.began.append(job)
            self.idents.add(threading.get_ident())
            self.busy += 1
            assert self.busy <= self.limit
            self.run.wait(lambda: True)  # a step
            fn()
            self.busy -= 1
            return job

        future = self.futures[job] = self.pool.submit((None, run_fn, (), {}))
        if then is not None:
            future.add_done_callback(lambda _: then())
        return future

    def try_to_submit(self, job: str) -> None:
        try:
            self.submit(job)
        except RuntimeError:
            self.futures.pop(job, None)

    def result(self, job: str) -> None:
        """Wait for a job, as the explorer can see it."""
        self.run.wait(lambda: job in self.futures and self.futures[job].done())

    def close(self) -> None:
        self.pool.close()
        self.pool.wait()
        self.over = True

    def check(self, *jobs: str) -> None:
        """Each job ran once and has its result, and nothing is left of the pool's work."""
        assert sorted(self.began) == sorted(jobs)
        assert {job: future.result(0) for job, future in self.futures.items()} == {job: job for job in jobs}
        assert not self.pool.line and not self.pool.running and not self.pool.waiting and not self.pool.parked
        assert self.limit == math.inf or len(self.pool.numbers) == self.limit


def submitters(run: Run) -> Any:
    """Two threads submit two jobs each, where two may run at a time."""
    stage = Stage(run, 2)
    run.spawn(lambda: [stage.submit("a"), stage.submit("b")])
    run.spawn(lambda: [stage.submit("c"), stage.submit("d")])
    return lambda: stage.check("a", "b", "c", "d")


def limit_reached(run: Run) -> Any:
    """As many jobs as may run wait for each other, behind one that has been there before."""
    stage = Stage(run, 2)

    def main() -> None:
        stage.submit("a")
        stage.submit("b", lambda: run.wait(lambda: "c" in stage.began))
        stage.submit("c", lambda: run.wait(lambda: "b" in stage.began))

    run.spawn(main)
    run.spawn(lambda: stage.submit("d"))
    return lambda: stage.check("a", "b", "c", "d")


def standing_by(run: Run) -> Any:
    """Who has submitted jobs that wait for each other spins for the first, and runners leave the next one to it."""
    stage = Stage(run, 3)

    def main() -> None:
        first = stage.submit("a", lambda: run.wait(lambda: "b" in stage.began))
        stage.submit("b", lambda: run.wait(lambda: "c" in stage.began))
        stage.submit("c")
        first._await(None)

    run.spawn(main)
    run.spawn(lambda: stage.submit("d")._await(None))
    return lambda: stage.check("a", "b", "c", "d")


def after_a_result(run: Run) -> Any:
    """Who has taken a result counts on the runner that had it, whose next job waits for the one behind."""
    stage = Stage(run, 2)

    def main() -> None:
        stage.submit("a").result()
        stage.submit("b", lambda: run.wait(lambda: "c" in stage.began))
        run.wait(lambda: not stage.pool.line)  # it has been claimed, and no more
        stage.submit("c")

    run.spawn(main)
    return lambda: stage.check("a", "b", "c")


def nested(run: Run) -> Any:
    """Jobs that submit and wait, without a limit."""
    stage = Stage(run, math.inf)

    def outer() -> None:
        stage.submit("b", lambda: [stage.submit("c"), stage.result("c")])
        stage.result("b")

    run.spawn(lambda: stage.submit("a", outer))
    run.spawn(lambda: stage.submit("d", lambda: [stage.submit("e"), stage.result("e")]))
    return lambda: stage.check("a", "b", "c", "d", "e")


def from_callbacks(run: Run) -> Any:
    """As many callbacks as jobs may run submit and wait."""
    stage = Stage(run, 2)
    run.spawn(lambda: stage.submit("a", then=lambda: [stage.submit("b"), stage.result("b")]))
    run.spawn(lambda: stage.submit("c", then=lambda: [stage.submit("d"), stage.result("d")]))
    return lambda: stage.check("a", "b", "c", "d")


def leased(run: Run) -> Any:
    """Two threads submit to one leased worker, which the last to be done lets go."""
    stage = Stage(run, 1)
    run.spawn(lambda: [stage.submit("a"), stage.submit("b"), stage.result("b"), stage.result("d"), stage.close()])
    run.spawn(lambda: [stage.submit("c"), stage.result("c"), stage.submit("d")])

    def check() -> None:
        stage.check("a", "b", "c", "d")
        assert len(stage.idents) == 1

    return check


def leased_and_nested(run: Run) -> Any:
    """A callback in the leased worker waits for a job that only it can run."""
    stage = Stage(run, 1)

    def then() -> None:
        future = stage.submit("b")
        if threading.get_ident() in stage.idents:
            assert future.result() == "b"
        else:  # the job was done before the callback was added, and so the submitter calls it
            stage.result("b")

    run.spawn(lambda: [stage.submit("a", then=then), stage.result("b"), stage.close()])
    run.spawn(lambda: stage.try_to_submit("c"))
    return lambda: stage.check(*stage.futures)


def closing(run: Run) -> Any:
    """What is submitted while the executor is shut down is refused, or has run before `shutdown` returns."""
    stage = Stage(run, 2)
    run.spawn(lambda: [stage.try_to_submit("a"), stage.close()])
    run.spawn(lambda: [stage.try_to_submit("b"), stage.try_to_submit("c")])
    return lambda: stage.check(*stage.futures)


def closing_twice(run: Run) -> Any:
    """Two threads shut down, and both return."""
    stage = Stage(run, 1)
    run.spawn(lambda: [stage.try_to_submit("a"), stage.close()])
    run.spawn(lambda: [stage.try_to_submit("b"), stage.close()])
    return lambda: stage.check(*stage.futures)


def cancelling(run: Run) -> Any:
    """`shutdown(cancel_futures=True)`: a future is cancelled, or has run."""
    stage = Stage(run, 1)

    def main() -> None:
        for job in "abc":
            stage.submit(job)
        stage.pool.close()
        stage.pool.drop_line(None)
        stage.close()

    run.spawn(main)

    def check() -> None:
        for job in [job for job in stage.futures if stage.futures[job].cancelled()]:
            del stage.futures[job]
        stage.check(*stage.futures)

    return check


def starved(run: Run) -> Any:
    """One thread is to be had and no more: what is accepted runs, what raises does not."""
    stage = Stage(run, 2, threads=1)
    run.spawn(lambda: [stage.try_to_submit("a"), stage.try_to_submit("b")])
    run.spawn(lambda: [stage.try_to_submit("c"), stage.close()])
    return lambda: stage.check(*stage.futures)


def broken(run: Run) -> Any:
    """The initializer fails: every future has an error, and what is refused does not run."""

    def initializer() -> None:
        raise ValueError

    stage = Stage(run, 2, initializer=initializer)
    run.spawn(lambda: [stage.try_to_submit("a"), stage.try_to_submit("b")])
    run.spawn(lambda: stage.try_to_submit("c"))

    def check() -> None:
        assert not stage.began
        assert all(isinstance(future.exception(0), RuntimeError) for future in stage.futures.values())
        assert stage.futures

    return check


SCENARIOS = [
    *(
        submitters,
        limit_reached,
        standing_by,
        after_a_result,
        nested,
        from_callbacks,
        leased,
        leased_and_nested,
        closing,
        closing_twice,
    ),
    *(cancelling, starved, broken),
]


@pytest.mark.storm
@pytest.mark.timeout(0 if FULL else 300)
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.usefixtures("_quiet")
def test_every_schedule(scenario: Any) -> None:
    """No schedule loses a future, runs one twice, exceeds the limit or stays below it, or hangs `shutdown`."""
    everywhere(scenario)


@pytest.fixture
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A failing initializer is logged, in each of some thousand schedules."""
    caplog.set_level("CRITICAL", "concurrent.futures")
    caplog.handler.setLevel(100)


def test_a_runner_leaves_the_next_one_to_who_stands_by() -> None:
    """No second runner is sent for, for futures that the first one is done with before the spin ends."""

    def scenario(run: Run) -> Any:
        stage = Stage(run, 3)

        def main() -> None:
            for job in "abc":
                stage.submit(job)
            stage.futures["c"]._await(None)
            assert stage.futures["c"].done()
            assert stage.runners == 1

        run.spawn(main)
        return lambda: stage.check("a", "b", "c")

    explore(scenario, bound=0)


def test_race_8_who_spins_for_its_results_one_by_one_needs_one_runner() -> None:
    """However soon it submits the next future."""

    class Patient(VirtualMailbox):
        def get(self, wait: bool, timeout: float) -> bool:
            return super().get(wait, -1)

    def scenario(run: Run) -> Any:
        stage = Stage(run, 2)
        cache: Any = stage.pool.cache
        cache._new_latch = cache._new_mailbox = lambda: Patient(run)

        def main() -> None:
            for job in "ab":
                before = stage.pool.standby
                stage.submit(job, lambda: run.wait(lambda: stage.pool.standby is not before)).result()
            assert stage.runners == 1
            stage.close()

        run.spawn(main)
        return lambda: stage.check("a", "b")

    explore(scenario, bound=1)


def test_race_5_a_runner_that_was_told_to_go_on_is_counted_on() -> None:
    """It finds all that is submitted before it has woken up, and nobody else is sent for."""

    def scenario(run: Run) -> Any:
        stage = Stage(run, 3)

        def main() -> None:
            stage.submit("a")
            run.wait(lambda: bool(stage.pool.parked))
            for job in "bcd":
                stage.submit(job)
            assert not stage.pool.parked
            assert stage.runners == 1

        run.spawn(main)
        return lambda: stage.check("a", "b", "c", "d")

    explore(scenario, bound=0)


def test_where_nobody_spins_a_runner_gives_its_worker_back_at_once() -> None:
    """To wait for no time in a mailbox that does not spin finds nothing, and is not for free."""

    def scenario(run: Run) -> Any:
        stage = Stage(run, 2)
        cache: Any = stage.pool.cache
        cache._spins = False
        cache._new_mailbox = None
        run.spawn(lambda: [stage.submit("a"), stage.result("a"), stage.submit("b")])
        return lambda: stage.check("a", "b")

    explore(scenario, bound=0)


def test_race_4_a_runner_comes_between_a_submitters_two_looks() -> None:
    """The pool was open at the first one, and done with everything before the append."""
    pool = Pool(2, "", None, math.inf, default_cache)

    class Line(deque[Any]):
        def append(self, future: Any) -> None:
            pool.close()
            pool.wait()
            super().append(future)
            Runner(pool).run_here()

    pool.line = Line()
    ran: list[int] = []
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit((None, ran.append, (1,), {}))
    assert not ran
    assert not pool.line


def test_the_explorer_finds_a_forgotten_look_at_the_line() -> None:
    """The explorer can fail: a runner that gives its number back and does not look again loses a future."""

    class Careless(Pool):
        def is_empty(self) -> bool:
            return True

    def scenario(run: Run) -> Any:
        stage = Stage(run, 1)
        stage.pool.__class__ = Careless
        stage.pool.lease = False
        run.spawn(lambda: [stage.submit("a"), stage.submit("b")])
        return lambda: stage.check("a", "b")

    with pytest.raises((AssertionError, Deadlock)):
        explore(scenario, bound=2)
