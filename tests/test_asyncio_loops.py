"""`threadcache.asyncio`: one ring for all results that are there, many loops at a time, and loops that close."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, until
from test_asyncio_calls import PLAIN, Boom, Gate, Loops, boom, let_run, make_loops, reached
from test_asyncio_cancellation import delivered
from test_asyncio_limiters import Capacity
from test_g7_references import BIASED

from threadcache import default_cache
from threadcache._inbox import Inbox
from threadcache.asyncio import run_sync, to_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=PLAIN)
def run(request: pytest.FixtureRequest) -> Iterator[Loops]:
    yield from make_loops(request.param)


kinds_that_look = pytest.mark.parametrize("run", [kind for kind in PLAIN if kind != "uvloop"], indirect=True)
"""uvloop's loops don't look."""


def test_uvloop_is_among_the_loops() -> None:
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    assert "uvloop" in PLAIN


# One ring, one hop


def test_one_call_rings_once_and_hops_once(run: Loops) -> None:
    """The loop hands the result to the future, and the future wakes the task: there is nothing in between."""

    run.look = False

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        for extra, limiter in (0, None), (1, asyncio.Semaphore(1)):  # the token is given back in a callback of its own
            for call in (run_sync(int, limiter=limiter), run_sync(int, limiter=limiter, abandon_on_cancel=True)):
                rings, hops = len(loop.rings), len(loop.hops)
                await call
                assert len(loop.rings) == rings + 1
                assert len(loop.hops) == hops + 1 + extra
        rings, hops = len(loop.rings), len(loop.hops)
        with pytest.raises(Boom):
            await to_thread(boom)
        assert (len(loop.rings), len(loop.hops)) == (rings + 1, hops + 1)

    run(main)


@pytest.mark.parametrize("abandon", [False, True])
def test_the_loop_is_rung_once_for_all_results_that_are_there(run: Loops, abandon: bool) -> None:
    run.look = False

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        for _ in range(2):
            rings = len(loop.rings)
            calls = [asyncio.create_task(run_sync(abs, number, abandon_on_cancel=abandon)) for number in range(50)]
            if run.kind != "eager":
                await asyncio.sleep(0)  # so they begin, each before we go on
            assert default_cache.drain(DEADLINE)  # meanwhile the loop is blocked
            assert len(Inbox.of(loop)._results) == 50
            assert await asyncio.gather(*calls) == list(range(50))
            assert len(loop.rings) == rings + 1

    run(main)


def test_results_that_come_one_by_one_ring_one_by_one(run: Loops) -> None:
    """The bell is there again after each answer."""

    run.look = False

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        gates = [Gate() for _ in range(10)]
        tasks = [asyncio.create_task(run_sync(gate)) for gate in gates]
        for gate in gates:
            await gate.begun()
        for gate, task in zip(gates, tasks, strict=True):
            rings = len(loop.rings)
            gate.release.set()
            await task
            assert len(loop.rings) == rings + 1

    run(main)


def test_results_are_handed_out_in_the_order_in_which_they_came(run: Loops) -> None:
    async def main() -> None:
        order = []

        async def caller(number: int) -> None:
            await run_sync(gates[number])
            order.append(number)

        gates = [Gate() for _ in range(5)]
        tasks = [asyncio.create_task(caller(number)) for number in range(5)]
        for gate in gates:
            await gate.begun()
        inbox = Inbox.of(asyncio.get_running_loop())
        for count, number in enumerate([3, 1, 4, 0, 2]):
            gates[number].release.set()
            until(lambda: len(inbox._results) == count + 1)  # the loop is blocked by that
        await asyncio.gather(*tasks)
        assert order == [3, 1, 4, 0, 2]

    run(main)


# Loops that look themselves


@pytest.fixture
def looking(run: Loops, monkeypatch: pytest.MonkeyPatch) -> Looking:
    if not default_cache._spins:
        pytest.skip("the mailbox does not spin")
    return Looking(run, monkeypatch)


class Looking:
    """Counts how often loops look, and says what their spins do."""

    def __init__(self, run: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = run
        self.looks = self.spins = 0
        self.spin: Any = lambda latch: False
        look = Inbox.look

        def counted(inbox: Inbox, loop: Any) -> bool:
            self.looks += 1
            return look(inbox, loop)

        def stand_by(latch: Any) -> bool:
            self.spins += 1
            return bool(self.spin(latch))

        monkeypatch.setattr(Inbox, "look", counted)
        monkeypatch.setattr(default_cache, "_stand_by", stand_by)


@kinds_that_look
def test_a_result_that_comes_while_the_loop_spins_needs_no_ring(looking: Looking) -> None:
    gates = [Gate(lambda number=number: number) for number in range(20)]

    def spin(latch: Any) -> Any:
        gates[looking.spins - 1].release.set()
        return latch.get(True, DEADLINE)

    async def main() -> None:
        looking.spin = spin
        loop: Any = asyncio.get_running_loop()
        for number, gate in enumerate(gates):
            assert await run_sync(gate) == number
            assert looking.spins == number + 1
        assert not loop.rings

    looking.run(main)


@kinds_that_look
def test_results_that_come_together_while_the_loop_spins_need_no_ring(looking: Looking) -> None:
    gates = [Gate(lambda number=number: number) for number in range(5)]

    def spin(latch: Any) -> Any:
        gates[looking.spins - 1].release.set()
        return latch.get(True, DEADLINE)

    async def main() -> None:
        looking.spin = spin
        loop: Any = asyncio.get_running_loop()
        assert await asyncio.gather(*map(run_sync, gates)) == list(range(5))
        assert looking.spins == 5
        assert not loop.rings

    looking.run(main)


@kinds_that_look
def test_a_loop_that_looks_does_what_else_there_is_to_do(looking: Looking) -> None:
    """Callbacks and timers have their turn between two looks, and while there are any, it does not spin."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        gate = Gate(lambda: 5)
        task = asyncio.create_task(run_sync(gate))
        await asyncio.sleep(0)
        timer = asyncio.Event()
        loop.call_later(0.001, timer.set)
        before, turns = looking.looks, 0
        while turns < 100 or not timer.is_set():
            await asyncio.sleep(0)
            turns += 1
        assert turns - 2 <= looking.looks - before <= turns + 2
        assert not looking.spins
        assert not loop.rings
        gate.release.set()
        assert await task == 5

    looking.run(main)


@kinds_that_look
def test_a_loop_that_has_looked_in_vain_sleeps_until_it_is_rung_for(looking: Looking) -> None:
    """And one that has had its last result sleeps, too: the bell is in its place, and nobody looks."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        inbox = Inbox.of(loop)

        async def sleeping() -> None:
            """Let time pass; what wakes the loop is its clock."""
            before = looking.looks, looking.spins, len(loop.rings)
            for _ in range(20):
                assert inbox.bell and not inbox.spinner.watching
                await asyncio.sleep(0.0005)
            assert (looking.looks, looking.spins, len(loop.rings)) == before

        for spins in 1, 2:
            gate = Gate(lambda: 5)
            task = asyncio.create_task(run_sync(gate))
            await reached(lambda spins=spins: looking.spins == spins)
            await sleeping()
            rings = len(loop.rings)
            gate.release.set()
            assert await task == 5
            assert len(loop.rings) == rings + 1
            assert inbox.in_flight == 0
            await sleeping()

    looking.run(main)


@kinds_that_look
def test_a_loop_that_has_been_interrupted_sleeps(looking: Looking) -> None:
    """The look that makes up for the one that was struck does not keep the next call's, nor that the other."""
    loop = looking.run.new()
    gates = [Gate(lambda: 5), Gate(lambda: 6)]
    caught: list[BaseException] = []

    def strike(latch: Any) -> bool:
        looking.spin = lambda latch: False
        raise KeyboardInterrupt

    async def begin() -> Any:
        return asyncio.create_task(run_sync(gates[0]))

    async def go_on(first: Any) -> None:
        second = asyncio.create_task(run_sync(gates[1]))
        await asyncio.sleep(0)
        caught.clear()
        gc.collect()
        before = looking.looks
        for _ in range(20):
            await asyncio.sleep(0.0005)  # two turns at least
        assert looking.looks - before <= 10, "the loop does not sleep"
        assert Inbox.of(loop).bell
        for gate in gates:
            gate.release.set()
        assert [await first, await second] == [5, 6]

    try:
        looking.spin = strike
        first = loop.run_until_complete(begin())
        try:
            loop.run_until_complete(asyncio.wait_for(first, DEADLINE))
        except KeyboardInterrupt as error:
            caught.append(error)
        assert caught
        loop.run_until_complete(asyncio.wait_for(go_on(first), DEADLINE))
    finally:
        for gate in gates:
            gate.release.set()
        loop.close()


@kinds_that_look
def test_calls_for_which_there_is_no_thread_are_not_in_flight(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        def refuse(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(default_cache, "start_thread_soon", refuse)
            for _ in range(3):
                with pytest.raises(RuntimeError):
                    await run_sync(int)
        inbox = Inbox.of(asyncio.get_running_loop())
        assert inbox.in_flight == 0
        await reached(lambda: inbox.bell)
        assert not looking.spins

    looking.run(main)


# Several loops


def test_loops_in_several_threads_share_one_cache(run: Loops) -> None:
    """Each gets its own results, and one's errors and cancellations are no other's."""
    barrier = threading.Barrier(5)
    failed: SimpleQueue[BaseException] = SimpleQueue()

    async def main() -> None:
        me = threading.get_ident()
        limiter = asyncio.Semaphore(3)

        async def caller(number: int) -> None:
            assert await run_sync(lambda: (me, number), limiter=limiter) == (me, number)
            assert threading.get_ident() == me
            with pytest.raises(Boom):
                await to_thread(boom)

        await run_sync(barrier.wait, DEADLINE)  # all loops have a call running at the same time
        for _ in range(5):
            await asyncio.gather(*[caller(number) for number in range(20)])

    def thread() -> None:
        try:
            run(main)
        except BaseException as error:
            failed.put(error)

    threads = [threading.Thread(target=thread) for _ in range(4)]
    for each in threads:
        each.start()
    run(main)
    for each in threads:
        each.join()
    assert failed.empty(), failed.get()


def test_a_loop_within_a_job_of_another_loop(run: Loops) -> None:
    """A token of the outer one's is not lent in the inner one: it is used in the outer one's thread alone."""

    async def main() -> None:
        limiter = Capacity(2)

        async def inner() -> int:
            return await run_sync(lambda: limiter.taken, limiter=limiter)

        assert await run_sync(run, inner, limiter=limiter) == 2
        assert limiter.taken == 0

    run(main)


def test_a_loop_may_be_run_again_and_again(run: Loops) -> None:
    """What comes while it stands still is handed out when it goes on."""
    loop = run.new()
    gate = Gate(lambda: 5)

    async def begin() -> Any:
        task = asyncio.create_task(run_sync(gate))
        await gate.begun()
        return task

    task = loop.run_until_complete(begin())
    gate.release.set()
    assert default_cache.drain(DEADLINE)
    assert not task.done()
    assert loop.run_until_complete(task) == 5
    assert loop.run_until_complete(run_sync(int)) == 0
    loop.close()


# Loops that close

MOMENTS = ["before the ring", "between ring and answer", "both"]


@pytest.mark.parametrize("abandon", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_loop_that_closes_is_no_error_in_the_worker_and_loses_no_other_job(
    run: Loops, moment: str, abandon: bool
) -> None:
    """The fixture looks whether anybody has reported anything; the loop goes when its last job is done."""
    run.look = False
    loop, other = run.new(), run.new()
    early = [Gate(lambda: 5) for _ in range(3 if moment != "before the ring" else 0)]
    late = [Gate(boom) for _ in range(3 if moment != "between ring and answer" else 0)]
    elsewhere = Gate(lambda: 7)

    async def begin(*gates: Gate) -> list[Any]:
        tasks = [asyncio.create_task(run_sync(gate, abandon_on_cancel=abandon)) for gate in gates]
        for gate in gates:
            await gate.begun()
        return tasks

    tasks = loop.run_until_complete(begin(*early, *late))
    (task,) = other.run_until_complete(begin(elsewhere))
    rings, inbox = len(loop.rings), loop.run_until_complete(inbox_of())
    for gate in early:
        gate.release.set()
    until(lambda: len(inbox._results) == len(early))
    until(lambda: len(loop.rings) == rings + bool(early))
    loop.close()
    for gate in late:
        gate.release.set()
    until(lambda: default_cache.stats().busy == 1)
    elsewhere.release.set()
    assert other.run_until_complete(task) == 7
    assert other.run_until_complete(run_sync(int)) == 0
    other.close()
    assert default_cache.drain(DEADLINE)
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task._log_destroy_pending = False  # asyncio's own complaint, of whoever closes a loop under its tasks
    reference = weakref.ref(loop)
    del loop, tasks, task, inbox
    until(lambda: (gc.collect(), reference() is None)[1])


async def inbox_of() -> Inbox:
    return Inbox.of(asyncio.get_running_loop())


def test_the_end_of_asyncio_run_with_an_abandoned_job_running(run: Loops) -> None:
    """That is how a loop most often closes under a job. Its results are dropped, and so is the loop."""
    gates = [Gate(result) for result in (int, boom, Thing)]
    loops = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        for gate in gates:
            asyncio.create_task(to_thread(gate)).set_name("left alone")
        for gate in gates:
            await gate.begun()

    run(main)
    assert default_cache.stats().busy == 3
    for gate in gates:
        gate.release.set()
    assert default_cache.drain(DEADLINE)
    until(lambda: (gc.collect(), loops[0]() is None)[1])
    assert not any(type(thing) is Thing for thing in gc.get_objects())


class Thing:
    """What a job makes and nobody wants."""


def test_loops_that_close_while_jobs_end(run: Loops) -> None:
    """Whichever comes first: it is left to chance here, and forced above and in `test_asyncio_interleavings`."""
    if run.kind == "uvloop" and BIASED:
        pytest.skip("uvloop itself (0.23) crashes without the GIL if it is closed in the midst of call_soon_threadsafe")
    for number in range(30):
        go = threading.Event()

        async def main(go: threading.Event = go) -> None:
            tasks = [asyncio.create_task(to_thread(go.wait, DEADLINE)) for _ in range(5)]
            await let_run()
            await run_sync(int)
            del tasks

        thread = threading.Thread(target=run, args=(main,))
        thread.start()
        for _ in range(number * 20):
            pass
        until(lambda: default_cache.stats().busy >= 5 or not thread.is_alive())
        go.set()
        thread.join()
    run(lambda: run_sync(int))


def test_the_tokens_of_a_closed_loop_are_given_back(run: Loops) -> None:
    """A limiter may outlive its loop: a semaphore belongs to none until somebody has to wait for it."""
    limiter = asyncio.Semaphore(2)
    gates = [Gate(), Gate()]

    async def main() -> None:
        for gate in gates:
            asyncio.create_task(run_sync(gate, limiter=limiter, abandon_on_cancel=True)).set_name("")
            await gate.begun()

    run(main)
    assert limiter.locked()
    for gate in gates:
        gate.release.set()
    assert default_cache.drain(DEADLINE)
    for _ in range(2):
        run(lambda: run_sync(int, limiter=limiter))
    assert limiter._value == 2


def test_the_tokens_of_a_loop_that_closed_before_it_answered_are_given_back(run: Loops) -> None:
    """Also those of jobs that end after that, and find the bell rung. At the latest, when the loop is collected."""
    limiter = asyncio.Semaphore(3)
    early, late = Gate(), Gate()
    run.look = False
    loop = run.new()

    async def begin() -> list[Any]:
        tasks = [asyncio.create_task(run_sync(gate, limiter=limiter)) for gate in (early, late)]
        for gate in (early, late):
            await gate.begun()
        return tasks

    tasks = loop.run_until_complete(begin())
    rings = len(loop.rings)
    early.release.set()
    until(lambda: len(loop.rings) > rings)
    loop.close()
    late.release.set()
    assert default_cache.drain(DEADLINE)
    for task in tasks:
        task._log_destroy_pending = False
    del loop, tasks, task
    for _ in range(5):  # some collectors take more than one round
        gc.collect()
    assert limiter._value == 3


def test_jobs_of_a_closed_loop_that_hold_one_token_together(run: Loops) -> None:
    """A job and a call from inside it outlive the loop, in two workers; the token comes back with the last of them."""
    limiter = Capacity(1)
    outer, inner = Gate(), Gate()
    run.look = False
    loop = run.new()

    async def begin() -> Any:
        def job() -> None:
            asyncio.run_coroutine_threadsafe(run_sync(inner, limiter=limiter), loop)
            outer()

        task = asyncio.create_task(run_sync(job, limiter=limiter))
        await inner.begun()
        await outer.begun()
        return [other for other in asyncio.all_tasks() if other is not asyncio.current_task()], task

    tasks, _ = loop.run_until_complete(begin())
    loop.close()
    outer.release.set()
    until(lambda: default_cache.stats().busy == 1)
    assert limiter.taken == 1
    inner.release.set()
    assert default_cache.drain(DEADLINE)
    assert limiter.taken == 0
    for task in tasks:
        task._log_destroy_pending = False


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_an_eager_task_calls_before_it_has_been_scheduled(run: Loops) -> None:
    async def main() -> None:
        gate = Gate(lambda: 5)
        task = asyncio.Task(run_sync(gate), loop=asyncio.get_running_loop(), eager_start=True)
        until(gate.started.is_set)  # the loop is blocked by that: it has not run the task
        gate.release.set()
        assert await task == 5
        abandoned = Gate(boom)
        task = asyncio.Task(to_thread(abandoned), loop=asyncio.get_running_loop(), eager_start=True)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        abandoned.release.set()
        await delivered()
        await reached(abandoned.ended.is_set)

    run(main)
