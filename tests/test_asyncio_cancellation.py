"""`threadcache.asyncio`: who is cancelled waits for the thread, or abandons it and never hears of it again."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE
from test_asyncio_calls import PLAIN, Boom, Gate, Loops, Odd, boom, fail, let_run, make_loops, reached

from threadcache import default_cache
from threadcache._inbox import Inbox
from threadcache.asyncio import run_sync, to_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=PLAIN)
def run(request: pytest.FixtureRequest) -> Iterator[Loops]:
    yield from make_loops(request.param)


OUTCOMES = [int, boom, *(lambda kind=kind: fail(kind("late")) for kind in (SystemExit, KeyboardInterrupt, Odd))]
IDS = ["value", "Boom", "SystemExit", "KeyboardInterrupt", "Odd"]


async def delivered() -> None:
    """Wait until the loop has had all that workers have for it."""
    assert default_cache.drain(DEADLINE)
    inbox = Inbox.of(asyncio.get_running_loop())
    await reached(lambda: not inbox._results)
    await let_run()


# Without abandon_on_cancel


@pytest.mark.parametrize("result", OUTCOMES, ids=IDS)
def test_a_cancelled_call_waits_for_its_thread_and_then_raises(run: Loops, result: Any) -> None:
    """It raises CancelledError, whatever the function returned or raised."""

    async def main() -> None:
        gate = Gate(result)
        task = asyncio.create_task(run_sync(gate))
        await gate.begun()
        assert task.cancel("why")
        await let_run()
        assert not task.done()
        gate.release.set()
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert gate.ended.is_set()
        assert task.cancelled()
        assert await run_sync(int) == 0

    run(main)


def test_cancelling_twice_raises_once_and_waits_as_well(run: Loops) -> None:
    caught = []

    async def caller(gate: Gate) -> int:
        try:
            return await run_sync(gate)
        except asyncio.CancelledError:
            caught.append(asyncio.current_task().cancelling())
        return await run_sync(int)

    async def main() -> None:
        gate = Gate(lambda: 5)
        task = asyncio.create_task(caller(gate))
        await gate.begun()
        for _ in range(3):
            task.cancel()
            await let_run()
            assert not task.done()
        gate.release.set()
        assert await task == 0  # the second call is not cancelled
        assert caught == [3]

    run(main)


def test_taking_the_cancelling_back_is_up_to_asyncio(run: Loops) -> None:
    """Since Python 3.13 a task that is told so in time does not raise any more."""

    async def main() -> Any:
        gate = Gate(lambda: 5)
        task = asyncio.create_task(run_sync(gate))
        await gate.begun()
        task.cancel()
        await let_run()
        task.uncancel()
        gate.release.set()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    result = run(main)
    assert result == 5 if sys.version_info >= (3, 13) else isinstance(result, asyncio.CancelledError)


def test_a_timeout_waits_for_the_thread(run: Loops) -> None:
    async def main() -> None:
        gate = Gate()

        async def caller() -> None:
            timed_out = False
            try:
                async with asyncio.timeout(None) as timeout:
                    timeouts.append(timeout)
                    await run_sync(gate)
            except TimeoutError:
                timed_out = True
            assert timed_out
            assert gate.ended.is_set()
            assert asyncio.current_task().cancelling() == 0

        timeouts: list[Any] = []
        task = asyncio.create_task(caller())
        await gate.begun()
        timeouts[0].reschedule(0)
        await reached(task.cancelling)
        await let_run()
        assert not task.done()
        gate.release.set()
        await task
        assert await run_sync(int) == 0

    run(main)


def test_wait_for_waits_for_the_thread(run: Loops) -> None:
    async def main() -> None:
        gate = Gate()
        task = asyncio.create_task(asyncio.wait_for(run_sync(gate), 0.001))
        await gate.begun()
        await asyncio.sleep(0.002)  # timers go off in order
        await let_run()
        assert not task.done()
        gate.release.set()
        with pytest.raises(TimeoutError):
            await task
        assert gate.ended.is_set()

    run(main)


def test_a_task_group_waits_for_the_threads_of_those_it_cancels(run: Loops) -> None:
    async def main() -> None:
        gate, abandoned = Gate(), Gate()

        async def fail_later() -> None:
            await gate.begun()
            await abandoned.begun()
            asyncio.get_running_loop().call_soon(gate.release.set)
            raise Boom

        async def grouped() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(run_sync(gate))
                group.create_task(run_sync(abandoned, abandon_on_cancel=True))
                group.create_task(fail_later())

        with pytest.raises(ExceptionGroup) as caught:
            await grouped()
        assert [type(error) for error in caught.value.exceptions] == [Boom]
        assert gate.ended.is_set() and not abandoned.ended.is_set()
        abandoned.release.set()

    run(main)


def test_the_end_of_asyncio_run_waits_for_threads_and_not_for_abandoned_ones(run: Loops) -> None:
    gate, abandoned = Gate(), Gate()
    ended = []

    async def caller() -> None:
        try:
            await run_sync(gate)
        finally:
            ended.append(gate.ended.is_set())

    async def last_act() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            gate.release.set()  # so we are told to end, and so is everybody

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(coroutine) for coroutine in (caller(), to_thread(abandoned), last_act())]
        await gate.begun()
        await abandoned.begun()
        return tasks

    tasks = run(main)
    assert ended == [True]
    assert all(task.cancelled() for task in tasks)
    assert not abandoned.ended.is_set()
    abandoned.release.set()


# With abandon_on_cancel


@pytest.mark.parametrize("result", OUTCOMES, ids=IDS)
def test_an_abandoning_call_raises_at_once_and_the_outcome_is_dropped_quietly(run: Loops, result: Any) -> None:
    """Neither the loop's exception handler nor `threading.excepthook` hears of it (the fixture looks)."""

    async def main() -> None:
        for call in (run_sync, to_thread):
            gate = Gate(result)
            abandon = {"abandon_on_cancel": True} if call is run_sync else {}
            task = asyncio.create_task(call(gate, **abandon))
            await gate.begun()
            assert task.cancel("why")
            await let_run()
            with pytest.raises(asyncio.CancelledError, match="why"):
                await task
            assert not gate.ended.is_set()
            gate.release.set()
            await delivered()
            assert gate.ended.is_set()
            assert await run_sync(int) == 0
        del task, gate
        gc.collect()
        await let_run()

    run(main)


def test_a_timeout_abandons_the_thread_if_told_so(run: Loops) -> None:
    async def main() -> None:
        gate = Gate()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await run_sync(gate, abandon_on_cancel=True)
        assert not gate.ended.is_set()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(to_thread(gate), 0.001)
        assert asyncio.current_task().cancelling() == 0
        gate.release.set()
        await delivered()

    run(main)


# At other times


@pytest.mark.parametrize("abandon", [False, True])
def test_who_is_cancelled_before_it_began_runs_nothing(run: Loops, abandon: bool) -> None:
    ran = threading.Event()

    async def main() -> None:
        task = asyncio.Task(run_sync(ran.set, abandon_on_cancel=abandon))  # this is never eager
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        coroutine = run_sync(ran.set, abandon_on_cancel=abandon)
        coroutine.close()

    run(main)
    assert not ran.is_set()


@pytest.mark.parametrize("abandon", [False, True])
def test_who_has_been_told_before_the_call_raises_in_it(run: Loops, abandon: bool) -> None:
    gate = Gate()
    gate.release.set()

    async def main() -> None:
        asyncio.current_task().cancel()
        with pytest.raises(asyncio.CancelledError):
            await run_sync(gate, abandon_on_cancel=abandon)
        assert abandon or gate.ended.is_set()
        asyncio.current_task().uncancel()
        await gate.begun()
        await delivered()

    run(main)


@pytest.mark.parametrize("abandon", [False, True])
def test_who_is_cancelled_when_the_result_is_there_raises_all_the_same(run: Loops, abandon: bool) -> None:
    """The result has been handed to the future, and the task is about to run: it is to asyncio to lose it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        gate = Gate()
        task = asyncio.create_task(run_sync(gate, abandon_on_cancel=abandon))
        await gate.begun()
        gate.release.set()
        assert default_cache.drain(DEADLINE)  # it is in the inbox
        inbox = Inbox.of(loop)
        assert len(inbox._results) == 1
        inbox.answer(loop)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await run_sync(int) == 0

    run(main)


@pytest.mark.parametrize("abandon", [False, True])
def test_a_coroutine_that_is_closed_while_it_waits_leaves_the_thread_alone(run: Loops, abandon: bool) -> None:
    async def main() -> None:
        gate = Gate(boom)
        coroutine = run_sync(gate, abandon_on_cancel=abandon)
        coroutine.send(None)
        await gate.begun()
        coroutine.close()
        gate.release.set()
        await delivered()
        assert await run_sync(int) == 0

    run(main)


def test_a_shielded_call_goes_on(run: Loops) -> None:
    async def main() -> None:
        for abandon in (False, True):
            gate = Gate(lambda: 5)
            call = asyncio.ensure_future(run_sync(gate, abandon_on_cancel=abandon))
            outer = asyncio.shield(call)
            await gate.begun()
            outer.cancel()
            await let_run()
            assert outer.cancelled() and not call.done()
            gate.release.set()
            assert await call == 5

    run(main)


@pytest.mark.parametrize("abandon", [False, True])
def test_a_cancel_scope_of_anyio_is_a_cancelling_like_any_other(run: Loops, abandon: bool) -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        gate = Gate()

        async def end() -> None:
            await gate.begun()
            scope.cancel()
            await let_run()
            assert scope.cancelled_caught == abandon
            gate.release.set()

        with anyio.CancelScope() as scope:
            task = asyncio.create_task(end())
            await run_sync(gate, abandon_on_cancel=abandon)
        assert scope.cancelled_caught
        assert abandon or gate.ended.is_set()
        await task
        await delivered()
        assert await run_sync(int) == 0

    run(main)
