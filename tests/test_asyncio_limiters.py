"""`threadcache.asyncio`: the token of a limiter is held until the thread has finished, whatever becomes of the call."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, until
from test_asyncio_calls import KINDS, Boom, Gate, Loops, boom, let_run, make_loops, reached
from test_executor_cached import Crowd
from test_executor_interrupts import refuse

from threadcache import default_cache
from threadcache._threads import start_thread
from threadcache._tokens import Token
from threadcache.asyncio import run_sync

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest) -> Iterator[Loops]:
    yield from make_loops(request.param)


class Semaphore(asyncio.Semaphore):
    """An `asyncio.Semaphore` that knows how many of its tokens are out, and how many were at most."""

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.taken = self.most = 0

    async def acquire(self) -> Any:
        await super().acquire()
        self.taken += 1
        self.most = max(self.most, self.taken)

    def release(self) -> None:
        self.taken -= 1
        super().release()


class Capacity:
    """A limiter of Trio's and AnyIO's kind and our own make, which knows its borrowers."""

    def __init__(self, tokens: int) -> None:
        self.semaphore = Semaphore(tokens)
        self.borrowers: set[Any] = set()

    async def acquire_on_behalf_of(self, borrower: Any) -> None:
        assert borrower not in self.borrowers
        await self.semaphore.acquire()
        self.borrowers.add(borrower)

    def release_on_behalf_of(self, borrower: Any) -> None:
        self.borrowers.remove(borrower)
        self.semaphore.release()

    @property
    def taken(self) -> int:
        return len(self.borrowers)


class FutureSemaphore(Semaphore):
    """Its `acquire` returns a future, which is as good as a coroutine."""

    def acquire(self) -> Any:
        return asyncio.ensure_future(super().acquire())


def anyio_limiter(tokens: int) -> Any:
    return pytest.importorskip("anyio").CapacityLimiter(tokens)


def taken(limiter: Any) -> int:
    return limiter.taken if hasattr(limiter, "taken") else limiter.borrowed_tokens


LIMITERS = [Semaphore, Capacity, FutureSemaphore, anyio_limiter]
limiters = pytest.mark.parametrize("new_limiter", LIMITERS)


# One call


@limiters
def test_no_more_calls_run_than_there_are_tokens(run: Loops, new_limiter: Any) -> None:
    async def main() -> None:
        limiter = new_limiter(2)
        gates = [Gate() for _ in range(5)]
        tasks = [asyncio.create_task(run_sync(gate, limiter=limiter)) for gate in gates]
        for number, gate in enumerate(gates):
            await gate.begun()  # first come, first served
            if number:
                await let_run()
                assert sum(other.started.is_set() for other in gates) == number + 1
                assert taken(limiter) == 2
                gates[number - 1].release.set()
        gates[-1].release.set()
        await asyncio.gather(*tasks)
        assert taken(limiter) == 0
        crowd = Crowd()
        await asyncio.gather(*[run_sync(crowd, limiter=limiter) for _ in range(100)])
        assert 1 <= crowd.most <= 2
        assert taken(limiter) == 0

    run(main)


@limiters
@pytest.mark.parametrize("abandon", [False, True])
def test_the_token_is_held_until_the_thread_has_finished(run: Loops, new_limiter: Any, abandon: bool) -> None:
    """Whatever becomes of the caller; and it is back when the caller goes on."""

    async def main() -> None:
        limiter = new_limiter(1)
        for result in (int, boom):
            gate = Gate(result)
            task = asyncio.create_task(run_sync(gate, limiter=limiter, abandon_on_cancel=abandon))
            await gate.begun()
            task.cancel()
            await let_run()
            assert task.done() == abandon
            assert taken(limiter) == 1
            following = Gate()
            waiting = asyncio.create_task(run_sync(following, limiter=limiter))
            await let_run()
            assert not following.started.is_set()
            gate.release.set()
            await following.begun()
            assert gate.ended.is_set()
            following.release.set()
            await waiting
            assert taken(limiter) == 0
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(Boom):
            await run_sync(boom, limiter=limiter, abandon_on_cancel=abandon)
        assert taken(limiter) == 0

    run(main)


@limiters
def test_who_is_cancelled_while_waiting_for_a_token_runs_nothing(run: Loops, new_limiter: Any) -> None:
    async def main() -> None:
        limiter = new_limiter(1)
        gate, never = Gate(), Gate()
        running = asyncio.create_task(run_sync(gate, limiter=limiter))
        await gate.begun()
        waiting = asyncio.create_task(run_sync(never, limiter=limiter))
        await let_run()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not running.done()
        gate.release.set()
        await running
        assert taken(limiter) == 0
        assert await run_sync(int, limiter=limiter) == 0
        assert not never.started.is_set()

    run(main)


@limiters
def test_without_a_thread_the_token_is_given_back(run: Loops, new_limiter: Any) -> None:
    async def main() -> None:
        limiter = new_limiter(1)
        assert default_cache.drain(DEADLINE)  # or an idle worker would do
        default_cache._start_thread = refuse
        try:
            for _ in range(3):
                with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
                    await run_sync(int, limiter=limiter)
                assert taken(limiter) == 0
        finally:
            default_cache._start_thread = start_thread
        assert await run_sync(int, limiter=limiter) == 0

    run(main)


@limiters
def test_bad_arguments_leave_no_token_behind(run: Loops, new_limiter: Any) -> None:
    async def main() -> None:
        limiter = new_limiter(1)
        for bad in (5, b"name", object()):
            with pytest.raises(TypeError, match="name must be a str"):
                await run_sync(int, limiter=limiter, thread_name=bad)
            assert taken(limiter) == 0
        with pytest.raises(TypeError, match="fn must be callable, not int"):
            await run_sync(5, limiter=limiter)
        assert await run_sync(int, limiter=limiter, thread_name="name") == 0
        assert taken(limiter) == 0

    run(main)


class Half:
    """Something to take and nothing to give back."""

    async def acquire(self) -> None:
        raise AssertionError

    acquire_on_behalf_of = acquire


@pytest.mark.parametrize("bad", [5, "two", object(), Half()], ids=["int", "str", "object", "half"])
def test_what_is_no_limiter_is_refused(run: Loops, bad: Any) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match=f"which {type(bad).__name__} has not"):
            await run_sync(int, limiter=bad)

    jobs = default_cache.stats().jobs
    run(main)
    assert default_cache.stats().jobs == jobs


def test_a_limiter_that_blocks_is_refused_and_gets_its_token_back(run: Loops) -> None:
    async def main() -> None:
        for bad in (threading.Semaphore(1), threading.Lock()):
            with pytest.raises(TypeError, match=f"must be awaited, and {type(bad).__name__} blocks"):
                await run_sync(int, limiter=bad)
            assert bad.acquire(blocking=False)

    run(main)


@pytest.mark.parametrize("fails_at", ["acquire", "await", "release"])
def test_the_error_of_a_limiter_is_its_callers_or_the_loops_to_report(run: Loops, fails_at: str) -> None:
    class Failing(asyncio.Semaphore):
        def acquire(self) -> Any:
            return boom("acquire") if fails_at == "acquire" else self.wait()

        async def wait(self) -> None:
            if fails_at == "await":
                boom("await")

        def release(self) -> None:
            boom("release")

    async def main() -> None:
        call = run_sync(int, limiter=Failing())
        if fails_at == "release":
            assert await call == 0
            (report,) = run.reports
            assert str(report["exception"]) == "release"
            run.reports.clear()
        else:
            with pytest.raises(Boom, match=fails_at):
                await call
        assert await run_sync(int) == 0

    run(main)


# What is kept


def tokens(most: int) -> int:
    """How many there are, once there are less than so many: the loop may be behind, and a thread late to let go."""

    def count() -> int:
        gc.collect()
        return sum(type(thing) is Token for thing in gc.get_objects())

    with suppress(AssertionError):
        until(lambda: count() < most)
    return count()


def test_a_chain_of_jobs_that_each_call_the_next_and_end_keeps_no_tokens(run: Loops) -> None:
    """Each ends as soon as the next one has begun, as those do that have themselves called again, for ever."""
    length = 100 if run.kind == "debug" else sys.getrecursionlimit() + 100  # asyncio's debug mode is slow

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limiter = Semaphore(1)
        begun = [threading.Event() for _ in range(length + 1)]
        kept: SimpleQueue[int] = SimpleQueue()

        def job(number: int) -> None:
            begun[number].set()
            if number == length:
                kept.put(tokens(length // 3))
                return
            future = asyncio.run_coroutine_threadsafe(run_sync(job, number + 1, limiter=limiter), loop)
            while not begun[number + 1].wait(0.01):
                if future.done() and not begun[number + 1].is_set():  # it has failed, and nobody will begin
                    kept.put(length)
                    return

        await run_sync(job, 0, limiter=limiter)
        await reached(kept.qsize)
        assert kept.get() < length // 3
        await reached(lambda: limiter.taken == 0)

    run(main)


def test_a_chain_of_jobs_with_two_limiters_in_turn_keeps_no_tokens(run: Loops) -> None:
    """There a call finds its limiter's token given back, and the other one's held by the job that it is made in."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limits = [Semaphore(1), Semaphore(1)]
        begun = [threading.Event() for _ in range(101)]
        kept: SimpleQueue[int] = SimpleQueue()

        def job(number: int) -> None:
            begun[number].set()
            if number == 100:
                kept.put(tokens(20))
                return
            until(lambda: limits[1 - number % 2].taken == 0)
            call = run_sync(job, number + 1, limiter=limits[1 - number % 2])
            asyncio.run_coroutine_threadsafe(call, loop)
            assert begun[number + 1].wait(DEADLINE)

        await run_sync(job, 0, limiter=limits[0])
        await reached(kept.qsize)
        assert kept.get() < 20
        await reached(lambda: not any(limiter.taken for limiter in limits))
        assert [limiter.most for limiter in limits] == [1, 1]

    run(main)


def test_a_limiter_that_would_block_is_refused_before_it_does(run: Loops) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="must be awaited, and Semaphore blocks"):
            await run_sync(int, limiter=threading.Semaphore(0))  # type: ignore[arg-type]

    run(main)


def test_the_token_of_a_closed_loop_wakes_the_loop_that_waits_for_it(run: Loops) -> None:
    """A limiter that outlives a loop is another loop's to touch: the token is given back in that one's thread."""
    limiter, gate = asyncio.Semaphore(1), Gate()

    async def abandon() -> None:
        task = asyncio.create_task(run_sync(gate, limiter=limiter, abandon_on_cancel=True))
        await gate.begun()
        task.cancel()

    async def wait() -> int:
        task = asyncio.create_task(run_sync(int, limiter=limiter))
        await reached(lambda: limiter._waiters)
        gate.release.set()
        async with asyncio.timeout(DEADLINE):
            return await task

    run(abandon)
    assert run(wait) == 0
