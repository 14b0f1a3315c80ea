"""`threadcache.trio`: Trio is with the threads of the cache what it is with its own."""

from __future__ import annotations

import contextvars
import socket
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from conftest import DEADLINE, until

import threadcache.trio
from threadcache import default_cache
from threadcache._worker import worker_idents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CACHE: Any = sys.modules["trio._core._thread_cache"]
ORIGINAL = CACHE.THREAD_CACHE


@pytest.fixture(autouse=True)
def leaves_trio_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert default_cache.drain(DEADLINE)
    reports: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reports.append)
    yield
    threadcache.trio.uninstall()
    assert CACHE.THREAD_CACHE is ORIGINAL
    assert default_cache.drain(DEADLINE)
    assert not reports


@pytest.fixture(params=[False, True], ids=["without", "with"])
def ours(request: pytest.FixtureRequest) -> bool:
    """Whether Trio is on the cache."""
    if request.param:
        threadcache.trio.install()
    return bool(request.param)


class Gate:
    """A job that says where it has begun, and ends when it is told to."""

    def __init__(self) -> None:
        self.begun, self.release, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.ident, self.is_ours = 0, None

    def __call__(self) -> int:
        self.ident, self.is_ours = threading.get_ident(), is_ours()
        self.begun.set()
        assert self.release.wait(DEADLINE)
        self.ended.set()
        return threading.get_ident()


def run(main: Callable[..., Any], *args: Any) -> Any:
    async def before_the_deadline() -> Any:
        with trio.fail_after(DEADLINE):
            return await main(*args)

    return trio.run(before_the_deadline)


async def reached(condition: Callable[[], object]) -> None:
    """Let the loop run until ``condition()`` holds; `run` has the deadline."""
    while not condition():  # noqa: ASYNC110 (threads set no event of Trio's)
        await trio.sleep(0.0005)


def is_ours() -> bool:
    return threading.get_ident() in worker_idents


async def to_thread(fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return await trio.to_thread.run_sync(fn, *args, **options)


def jobs_of(call: Callable[[], object]) -> int:
    """How many jobs of the cache's it makes."""
    before = default_cache.stats().jobs
    call()
    until(lambda: not default_cache.stats().busy)
    return default_cache.stats().jobs - before


def test_the_threads_are_the_caches(ours: bool) -> None:
    assert run(to_thread, is_ours) is ours
    assert jobs_of(lambda: run(to_thread, int)) == ours


def test_files_paths_sockets_and_the_low_level_call_use_them(ours: bool, tmp_path: Any) -> None:
    path = tmp_path / "file"

    async def files() -> None:
        async with await trio.open_file(path, "w") as file:
            await file.write("text")
        assert await trio.Path(path).read_text() == "text"

    async def look_up() -> None:
        assert await trio.socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)

    results: SimpleQueue[Any] = SimpleQueue()
    assert jobs_of(lambda: run(files)) == ours * 4  # open, write, close, read_text
    assert jobs_of(lambda: run(look_up)) == ours
    trio.lowlevel.start_thread_soon(is_ours, results.put)
    assert results.get(timeout=DEADLINE).unwrap() is ours


def test_guest_mode_waits_for_io_in_them(ours: bool) -> None:
    host: SimpleQueue[Callable[[], object]] = SimpleQueue()
    outcomes: list[Any] = []
    gate = Gate()

    def release() -> None:
        """When it waits for nothing but a thread: its call's, and for events."""
        assert gate.begun.wait(DEADLINE)
        if ours:
            until(lambda: len(default_cache.jobs()) == 2)
        gate.release.set()

    async def main() -> int:
        return int(await to_thread(gate))

    def guest() -> None:
        threading.Thread(target=release).start()
        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=host.put,
            done_callback=outcomes.append,
            restrict_keyboard_interrupt_to_checkpoints=True,
        )
        while not outcomes:
            host.get(timeout=DEADLINE)()

    assert (jobs_of(guest) >= 2) is ours
    assert outcomes[0].unwrap() == gate.ident


def test_calls_one_after_another_use_one_thread(ours: bool) -> None:
    async def main() -> set[int]:
        return {await to_thread(threading.get_ident) for _ in range(50)}

    assert len(run(main)) == 1
    assert default_cache.stats().workers == ours


def test_several_runs_share_the_threads(ours: bool) -> None:
    assert len({run(to_thread, threading.get_ident) for _ in range(3)}) == 1
    gates = [Gate() for _ in range(3)]
    loops = [threading.Thread(target=run, args=(to_thread, gate)) for gate in gates]
    for loop in loops:
        loop.start()
    for gate in gates:
        assert gate.begun.wait(DEADLINE)
    assert [gate.is_ours for gate in gates] == [ours] * 3
    assert len({gate.ident for gate in gates}) == 3
    for gate, loop in zip(gates, loops, strict=True):
        gate.release.set()
        loop.join(DEADLINE)
        assert not loop.is_alive()


def test_the_limiter_limits(ours: bool) -> None:
    gates = [Gate() for _ in range(5)]

    async def main() -> None:
        limiter = trio.CapacityLimiter(2)
        async with trio.open_nursery() as nursery:
            for gate in gates:
                nursery.start_soon(lambda gate=gate: to_thread(gate, limiter=limiter))
            await reached(lambda: sum(gate.begun.is_set() for gate in gates) == 2)
            assert (limiter.borrowed_tokens, limiter.statistics().tasks_waiting) == (2, 3)
            next(gate for gate in gates if gate.begun.is_set()).release.set()
            await reached(lambda: sum(gate.begun.is_set() for gate in gates) == 3)
            assert (limiter.borrowed_tokens, limiter.statistics().tasks_waiting) == (2, 2)
            for gate in gates:
                gate.release.set()
        assert limiter.borrowed_tokens == 0

    run(main)
    assert {gate.is_ours for gate in gates} == {ours}


def test_a_call_that_is_not_abandoned_waits_for_its_thread(ours: bool) -> None:
    gate = Gate()

    async def main() -> None:
        results = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def caller() -> None:
                    results.append(await to_thread(gate))

                nursery.start_soon(caller)
                await reached(gate.begun.is_set)
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                    assert not results
                    gate.release.set()
        assert results == [gate.ident]  # Trio returns what the thread yields

    run(main)
    assert gate.is_ours is ours


def test_a_call_that_is_abandoned_ends_at_once_and_its_token_is_held(ours: bool) -> None:
    gate = Gate()

    async def main() -> None:
        limiter = trio.CapacityLimiter(1)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: to_thread(gate, abandon_on_cancel=True, limiter=limiter))
                await reached(gate.begun.is_set)
                scope.cancel()
        assert scope.cancelled_caught
        assert not gate.ended.is_set()
        assert limiter.borrowed_tokens == 1
        gate.release.set()
        await reached(lambda: limiter.borrowed_tokens == 0)

    run(main)
    assert gate.is_ours is ours


def test_a_thread_that_outlives_its_run_is_no_error(ours: bool) -> None:
    gate = Gate()

    async def main() -> None:
        with trio.move_on_after(DEADLINE) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: to_thread(gate, abandon_on_cancel=True))
                await reached(gate.begun.is_set)
                scope.cancel()

    errors = default_cache.stats().deliver_errors
    run(main)
    gate.release.set()
    assert gate.ended.wait(DEADLINE)
    assert run(to_thread, is_ours) is ours
    until(lambda: not default_cache.stats().busy)
    assert default_cache.stats().deliver_errors == errors


def test_threads_are_named_after_their_call_while_it_runs(ours: bool) -> None:
    def name_of_the_thread() -> str:
        return threading.current_thread().name

    async def main() -> None:
        assert await to_thread(name_of_the_thread, thread_name="a name") == "a name"
        task = trio.lowlevel.current_task().name
        assert await to_thread(name_of_the_thread) == f"name_of_the_thread from {task}"

    results: SimpleQueue[Any] = SimpleQueue()
    run(main)
    trio.lowlevel.start_thread_soon(name_of_the_thread, results.put)
    assert results.get(timeout=DEADLINE).unwrap().startswith("threadcache worker" if ours else "Trio thread")


def test_calls_come_back_from_their_thread(ours: bool) -> None:
    def job() -> tuple[bool, str, str, bool]:
        async def name() -> str:
            await trio.lowlevel.checkpoint()
            return threading.current_thread().name

        trio.from_thread.check_cancelled()
        inner = trio.from_thread.run(to_thread, is_ours)
        return is_ours(), trio.from_thread.run(name), trio.from_thread.run_sync(lambda: sys.thread_info.name), inner

    here = threading.current_thread().name
    assert run(to_thread, job) == (ours, here, sys.thread_info.name, ours)


def test_a_thread_sees_that_its_call_is_cancelled(ours: bool) -> None:
    begun, seen = threading.Event(), []

    def job() -> None:
        begun.set()
        try:
            until(trio.from_thread.check_cancelled)
        except trio.Cancelled:
            seen.append(is_ours())
            raise

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(to_thread, job)
                await reached(begun.is_set)
                scope.cancel()
        assert scope.cancelled_caught

    run(main)
    assert seen == [ours]


def test_context_variables_travel_in_and_not_out(ours: bool) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")

    def exchange(value: str) -> str:
        before = variable.get()
        variable.set(value)
        return before

    async def main() -> None:
        variable.set("outer")
        assert await to_thread(exchange, "inner") == "outer"
        assert await to_thread(exchange, "inner") == "outer"
        assert variable.get() == "outer"

    results: SimpleQueue[Any] = SimpleQueue()
    run(main)
    trio.lowlevel.start_thread_soon(variable.get, results.put)
    assert results.get(timeout=DEADLINE).unwrap() == "default"


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, BaseException])
def test_the_very_exception_arrives(ours: bool, kind: type[BaseException]) -> None:
    error = kind("text")

    def job() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(kind) as caught:
            await to_thread(job)
        assert caught.value is error

    run(main)
    assert run(to_thread, is_ours) is ours


def test_stop_iteration_and_coroutines_are_the_errors_they_were(ours: bool) -> None:
    async def coroutine() -> None:
        raise AssertionError("nothing runs this")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            await to_thread(next, iter(()))
        with pytest.raises(TypeError, match="expected a sync function"):
            await to_thread(coroutine)
        assert await to_thread(is_ours) is ours

    run(main)
