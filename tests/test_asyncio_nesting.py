"""`threadcache.asyncio`: a call from inside a job that holds a token of the same limiter borrows that one."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
from contextlib import asynccontextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE
from test_asyncio_calls import PLAIN, Boom, Gate, Loops, boom, let_run, make_loops, reached
from test_asyncio_limiters import Capacity, limiters, taken
from test_executor_cached import Crowd
from test_executor_interrupts import refuse

from threadcache import default_cache
from threadcache._threads import start_thread
from threadcache.asyncio import run_sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@pytest.fixture(params=PLAIN)
def run(request: pytest.FixtureRequest) -> Iterator[Loops]:
    yield from make_loops(request.param)


@asynccontextmanager
async def by_run_coroutine_threadsafe() -> AsyncIterator[Any]:
    loop = asyncio.get_running_loop()
    yield lambda afn: asyncio.run_coroutine_threadsafe(afn(), loop).result(DEADLINE)


@asynccontextmanager
async def by_anyio() -> AsyncIterator[Any]:
    lowlevel, from_thread = pytest.importorskip("anyio.lowlevel"), pytest.importorskip("anyio.from_thread")
    yield partial(from_thread.run, token=lowlevel.current_token())


@asynccontextmanager
async def by_an_anyio_portal() -> AsyncIterator[Any]:
    from_thread = pytest.importorskip("anyio.from_thread")
    async with from_thread.BlockingPortal() as portal:
        yield portal.call


@asynccontextmanager
async def by_trio() -> AsyncIterator[Any]:
    """From the job into Trio, which runs in another thread; from there to one of its threads, and back to the loop."""
    trio = pytest.importorskip("trio")
    unlimited = trio.CapacityLimiter(math.inf)
    loop = asyncio.get_running_loop()
    started: SimpleQueue[Any] = SimpleQueue()

    async def trio_main() -> None:
        end = trio.Event()
        started.put((trio.lowlevel.current_trio_token(), end))
        await end.wait()

    def back(afn: Callable[[], Any]) -> Any:
        def from_trios_thread() -> Any:
            return asyncio.run_coroutine_threadsafe(afn(), loop).result(DEADLINE)

        in_a_thread = partial(trio.to_thread.run_sync, limiter=unlimited)  # Trio's own limit is forty threads
        return trio.from_thread.run(in_a_thread, from_trios_thread, trio_token=token)

    thread = threading.Thread(target=trio.run, args=(trio_main,))
    thread.start()
    await reached(lambda: not started.empty())
    token, end = started.get()
    try:
        yield back
    finally:
        token.run_sync_soon(end.set)
        await run_sync(thread.join)


WAYS = [by_run_coroutine_threadsafe, by_anyio, by_an_anyio_portal, by_trio]
ways = pytest.mark.parametrize("way", WAYS)


@ways
@pytest.mark.parametrize("tokens", [1, 40])
def test_nested_calls_at_exactly_capacity_do_not_deadlock(run: Loops, way: Any, tokens: int) -> None:
    """As many jobs as there are tokens wait for a call each, and that one for another."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def main() -> None:
        limiter = Capacity(tokens)
        barrier = threading.Barrier(tokens)
        crowd = Crowd()

        def outer(back: Any, number: int) -> int:
            barrier.wait(DEADLINE)
            variable.set(number)
            return back(lambda: run_sync(inner, back, limiter=limiter))

        def inner(back: Any) -> int:
            crowd()
            return back(lambda: run_sync(innermost, limiter=limiter))

        def innermost() -> int:
            crowd()
            return variable.get()

        async with way() as back:
            calls = [run_sync(outer, back, number, limiter=limiter) for number in range(tokens)]
            assert await asyncio.gather(*calls) == list(range(tokens))
        assert limiter.semaphore.most == tokens
        assert crowd.most <= tokens
        assert limiter.taken == 0

    run(main)


@limiters
def test_nested_calls_share_one_token_to_any_depth(run: Loops, new_limiter: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        limiter = new_limiter(1)

        def job(depth: int) -> int:
            if depth == 0:
                return taken(limiter)
            call = run_sync(job, depth - 1, limiter=limiter)
            return asyncio.run_coroutine_threadsafe(call, loop).result(DEADLINE)

        assert await run_sync(job, 50, limiter=limiter) == 1
        assert taken(limiter) == 0

    run(main)


class Nest:
    """Starts calls from inside its one job, without waiting for them, in the loop that it was made in."""

    def __init__(self, limiter: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.limiter = limiter
        self.gate = Gate()
        self.orders: SimpleQueue[Any] = SimpleQueue()
        self.futures: list[Any] = []
        self.task = asyncio.create_task(run_sync(self.work, limiter=limiter))

    def work(self) -> None:
        while (fn := self.orders.get(timeout=DEADLINE)) is not None:
            call = run_sync(fn, limiter=self.limiter)
            self.futures.append(asyncio.run_coroutine_threadsafe(call, self.loop))

    async def start(self, *fns: Any) -> list[Any]:
        """Have the job call ``fns``, each before the next, and return the futures."""
        futures = []
        for fn in fns:
            number = len(self.futures)
            self.orders.put(fn)
            await reached(lambda: len(self.futures) > number)
            futures.append(asyncio.wrap_future(self.futures[number]))
        await let_run()
        return futures

    async def end(self) -> None:
        self.orders.put(None)
        await self.task


@limiters
def test_nested_calls_of_one_job_take_turns(run: Loops, new_limiter: Any) -> None:
    async def main() -> None:
        limiter = new_limiter(3)
        nest = Nest(limiter)
        gates = [Gate() for _ in range(4)]
        futures = await nest.start(*gates)
        for number, gate in enumerate(gates):
            await gate.begun()
            await let_run()
            assert sum(other.started.is_set() for other in gates) == number + 1
            assert taken(limiter) == 1
            gate.release.set()
        await asyncio.gather(*futures)
        await nest.end()
        assert taken(limiter) == 0

    run(main)


def test_nested_calls_of_several_jobs_never_exceed_the_limit(run: Loops) -> None:
    """Their jobs wait for them, so it is they who count."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limiter = Capacity(3)
        crowd = Crowd()

        def outer(depth: int) -> None:
            async def fan_out() -> None:
                fns = [crowd, crowd, *([partial(outer, depth - 1)] if depth else [])]
                await asyncio.gather(*[run_sync(fn, limiter=limiter) for fn in fns])

            asyncio.run_coroutine_threadsafe(fan_out(), loop).result(DEADLINE)

        await asyncio.gather(*[run_sync(outer, 3, limiter=limiter) for _ in range(8)])
        assert 1 <= crowd.most <= 3
        assert limiter.semaphore.most == 3
        assert limiter.taken == 0

    run(main)


@limiters
def test_a_nested_call_that_outlives_its_job_keeps_the_token(run: Loops, new_limiter: Any) -> None:
    async def main() -> None:
        limiter = new_limiter(1)
        nest = Nest(limiter)
        first, second = Gate(), Gate()
        futures = await nest.start(first, second)  # the second one waits for its turn
        await first.begun()
        await nest.end()
        assert taken(limiter) == 1
        other = Gate()
        waiting = asyncio.create_task(run_sync(other, limiter=limiter))
        first.release.set()
        await futures[0]
        await second.begun()
        await let_run()
        assert taken(limiter) == 1
        assert not other.started.is_set()
        second.release.set()
        await other.begun()  # the token has been given back
        other.release.set()
        await asyncio.gather(waiting, *futures)
        assert taken(limiter) == 0

    run(main)


def test_a_nested_call_that_is_cancelled_gives_its_turn_to_the_next(run: Loops) -> None:
    """At once while it waits for it; when its thread has finished if that is running, and abandoned or not."""

    async def main() -> None:
        limiter = Capacity(1)
        nest = Nest(limiter)
        for abandon in (False, True):
            gate, waiter, third = Gate(), Gate(), Gate()
            futures = await nest.start(gate, waiter, third)
            await gate.begun()
            futures[1].cancel()
            if abandon:
                futures[0].cancel()
            await let_run()
            assert not waiter.started.is_set() and not third.started.is_set()
            assert limiter.taken == 1
            gate.release.set()
            await third.begun()
            assert gate.ended.is_set() and not waiter.started.is_set()
            third.release.set()
            await asyncio.wait(futures)
        await nest.end()
        assert limiter.taken == 0

    run(main)


def test_a_nested_call_without_a_thread_gives_its_turn_back(run: Loops) -> None:
    async def main() -> None:
        limiter = Capacity(1)
        nest = Nest(limiter)
        await reached(lambda: default_cache.stats().busy)
        assert default_cache.stats().idle == default_cache.trim()
        await reached(lambda: default_cache.stats().workers == 1)
        default_cache._start_thread = refuse
        try:
            for _ in range(3):
                (future,) = await nest.start(int)
                with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
                    await future
                assert limiter.taken == 1
        finally:
            default_cache._start_thread = start_thread
        (future,) = await nest.start(int)
        assert await future == 0
        (future,) = await nest.start(boom)
        with pytest.raises(Boom):
            await future
        await nest.end()
        assert limiter.taken == 0

    run(main)


def test_what_goes_on_after_its_job_takes_a_token_of_its_own(run: Loops) -> None:
    """A job has started a task, which has its context; its token is no more to be had when the job is done."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limiter = Capacity(1)
        go = asyncio.Event()
        gate = Gate()

        async def later() -> None:
            await go.wait()
            await run_sync(gate, limiter=limiter)

        def job() -> Any:
            return asyncio.run_coroutine_threadsafe(later(), loop)

        future = asyncio.wrap_future(await run_sync(job, limiter=limiter))
        other = Gate()
        running = asyncio.create_task(run_sync(other, limiter=limiter))
        await other.begun()
        go.set()
        await let_run()
        assert not gate.started.is_set()
        other.release.set()
        await gate.begun()
        assert limiter.taken == 1
        gate.release.set()
        await asyncio.gather(future, running)
        assert limiter.taken == 0

    run(main)


def test_other_limiters_are_no_obstacle_and_lend_nothing(run: Loops) -> None:
    """Through a job without a limiter, and one with another, a call finds the token of the job outside of them."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, two = Capacity(1), Capacity(1)

        def job(path: tuple[Any, ...]) -> tuple[int, int]:
            if not path:
                return one.taken, two.taken
            call = run_sync(job, path[1:], limiter=path[0])
            return asyncio.run_coroutine_threadsafe(call, loop).result(DEADLINE)

        assert await run_sync(job, (one, None, two, one, two, None, one, one, two)) == (1, 1)
        assert await run_sync(job, (one, one)) == (1, 0)
        assert await run_sync(job, (None, two)) == (0, 1)
        assert one.taken == two.taken == 0

    run(main)
