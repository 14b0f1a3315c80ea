"""`threadcache.anyio`: putting AnyIO on the cache, taking it off while jobs run, and refusing other shapes."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from conftest import DEADLINE, until
from test_anyio import MODULE, PLACES, Run, leaves_anyio_as_it_was, reached, run, to_thread
from test_trio import CACHE, ORIGINAL, Gate, is_ours

import threadcache.anyio
import threadcache.trio
from threadcache import default_cache

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["leaves_anyio_as_it_was", "run"]  # fixtures
SWITCHES = pytest.mark.parametrize("switch", [threadcache.anyio.install, threadcache.anyio.uninstall])


def is_as_it_was() -> bool:
    return {name: vars(MODULE)[name] for name in PLACES} == PLACES and CACHE.THREAD_CACHE is ORIGINAL


@SWITCHES
def test_running_calls_end_where_they_began(run: Run, switch: Callable[[], None]) -> None:
    installed = switch is threadcache.anyio.uninstall
    if installed:
        threadcache.anyio.install()

    async def main() -> None:
        before, after = Gate(), Gate()
        idents: dict[Gate, int] = {}

        async def call(gate: Gate) -> None:
            idents[gate] = await to_thread(gate)

        assert await to_thread(is_ours) is installed  # and there is an idle thread of the kind
        async with anyio.create_task_group() as group:
            group.start_soon(call, before)
            await reached(before.begun.is_set)
            switch()
            group.start_soon(call, after)
            await reached(after.begun.is_set)
            assert (before.is_ours, after.is_ours) == (installed, not installed)
            for gate in (before, after):
                gate.release.set()
        assert idents == {before: before.ident, after: after.ident}
        for _ in range(3):
            assert await to_thread(is_ours) is not installed

    run(main)


def test_switching_there_and_back_in_one_loop(run: Run) -> None:
    async def main() -> None:
        for _ in range(5):
            assert not await to_thread(is_ours)
            threadcache.anyio.install()
            assert await to_thread(is_ours)
            assert await to_thread(is_ours)
            threadcache.anyio.uninstall()

    run(main)


@SWITCHES
def test_calls_that_wait_for_the_limiter_meanwhile_are_made(run: Run, switch: Callable[[], None]) -> None:
    """Where AnyIO looks for threads it has looked up before; what it starts there is as it is now."""
    installed = switch is threadcache.anyio.uninstall
    if installed:
        threadcache.anyio.install()

    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        before, waiting = Gate(), [Gate() for _ in range(3)]
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: to_thread(before, limiter=limiter))
            await reached(before.begun.is_set)
            for gate in waiting:
                group.start_soon(lambda gate=gate: to_thread(gate, limiter=limiter))
            await reached(lambda: limiter.statistics().tasks_waiting == len(waiting))
            switch()
            for gate in (before, *waiting):
                gate.release.set()
        assert all(gate.ended.is_set() for gate in waiting)
        for _ in range(3):
            assert await to_thread(is_ours) is not installed
        # What was left in the old place is found there again, and does no harm.
        (threadcache.anyio.install if installed else threadcache.anyio.uninstall)()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(to_thread, int)
        for _ in range(3):
            assert await to_thread(is_ours) is installed

    run(main)


def test_what_a_call_that_waited_has_left_in_anyios_place_serves_once() -> None:
    """It looked for idle threads in AnyIO's place, found none, and made what was then to be made: of ours."""

    async def main() -> None:
        limiter = anyio.CapacityLimiter(1)
        await limiter.acquire_on_behalf_of("somebody")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: to_thread(int, limiter=limiter))
            await reached(lambda: limiter.statistics().tasks_waiting == 1)
            threadcache.anyio.install()
            limiter.release_on_behalf_of("somebody")
        threadcache.anyio.uninstall()
        assert [await to_thread(is_ours) for _ in range(3)] == [True, False, False]

    Run("asyncio")(main)


@pytest.mark.parametrize("on", [False, True], ids=["without", "with"])
def test_several_root_tasks_of_one_loop(on: bool) -> None:
    """One after another, and side by side: what ends with its root task is made again for the next."""
    if on:
        threadcache.anyio.install()
    gate = Gate()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        for _ in range(3):
            assert [runner.run(to_thread(is_ours)) for _ in range(2)] == [on, on]
        task = loop.create_task(to_thread(gate))

        async def main() -> bool:
            await reached(gate.begun.is_set)
            return bool(await to_thread(is_ours))

        assert runner.run(main()) is on
        assert runner.run(to_thread(is_ours)) is on  # while a call of another root task runs
        gate.release.set()
        assert loop.run_until_complete(task) == gate.ident
    assert gate.is_ours is on


def test_installing_and_uninstalling_again_does_nothing(run: Run) -> None:
    threadcache.anyio.uninstall()
    for _ in range(3):
        threadcache.anyio.install()
        assert run(to_thread, is_ours)
    threadcache.anyio.uninstall()
    assert is_as_it_was()
    threadcache.anyio.uninstall()
    assert not run(to_thread, is_ours)


def test_who_else_has_installed_it_keeps_it() -> None:
    threadcache.trio.install()
    threadcache.anyio.install()
    threadcache.anyio.uninstall()
    assert trio.run(trio.to_thread.run_sync, is_ours)
    assert not Run("asyncio")(to_thread, is_ours)
    with threadcache.install("anyio"):
        threadcache.trio.uninstall()
        assert Run("trio")(to_thread, is_ours)
        threadcache.anyio.install()
    assert Run("trio")(to_thread, is_ours)
    assert Run("asyncio")(to_thread, is_ours)


def test_switching_from_other_threads_while_calls_are_made(run: Run) -> None:
    """Every call returns, whatever is switched when."""
    stop = threading.Event()

    def storm() -> None:
        while not stop.is_set():
            threadcache.anyio.install()
            threadcache.anyio.uninstall()

    async def caller(results: list[int]) -> None:
        results += [await to_thread(int, number) for number in range(100)]

    async def main() -> None:
        lists: list[list[int]] = [[] for _ in range(4)]
        async with anyio.create_task_group() as group:
            for results in lists:
                group.start_soon(caller, results)
        assert lists == [list(range(100))] * 4

    threads = [threading.Thread(target=storm) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        run(main)
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE)
    threadcache.anyio.uninstall()
    assert is_as_it_was()


class _Another:
    def __init__(self, root_task: Any, workers: Any, idle_workers: Any) -> None: ...
    def run(self) -> None: ...
    def _report_result(self) -> None: ...


class _Longer(MODULE.WorkerThread):
    def __init__(self, root_task: Any, workers: Any, idle_workers: Any, context: Any) -> None: ...


class _NoReport(MODULE.WorkerThread):
    def _report_result(self, *args: Any) -> None: ...


async def _in_another_way(*args: Any) -> None: ...


SHAPES: dict[str, tuple[str, Any, str]] = {
    "no class": ("WorkerThread", ..., "has no WorkerThread"),
    "no idle workers": ("_threadpool_idle_workers", ..., "has no _threadpool_idle_workers"),
    "no workers": ("_threadpool_workers", ..., "has no _threadpool_workers"),
    "no backend": ("AsyncIOBackend", ..., "AsyncIOBackend.run_sync_in_worker_thread does not use WorkerThread"),
    "another way": (
        "AsyncIOBackend.run_sync_in_worker_thread",
        _in_another_way,
        "does not use WorkerThread, _threadpool",
    ),
    "another run": ("WorkerThread", _Another, "WorkerThread.run does not use _report_result"),
    "another report": ("WorkerThread", _NoReport, "WorkerThread._report_result does not use idle_since, stopping"),
    "more to take": ("WorkerThread", _Longer, "WorkerThread does not take root_task, workers, idle_workers"),
    "other places": ("_threadpool_workers", threading.local(), "TypeError"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_another_shape_is_refused_and_nothing_is_changed(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import version

    place, thing, missing = SHAPES[shape]
    with monkeypatch.context() as broken:
        if thing is ...:
            broken.delattr(MODULE, place)
        else:
            broken.setattr(f"anyio._backends._asyncio.{place}", thing)
        left = dict(vars(MODULE))
        with pytest.raises(RuntimeError) as refused:
            threadcache.anyio.install()
        assert f"anyio {version('anyio')}" in str(refused.value)
        assert missing in str(refused.value)
        assert dict(vars(MODULE)) == left
        assert CACHE.THREAD_CACHE is ORIGINAL
        assert threadcache.anyio.SWITCH.state() == threadcache.trio.SWITCH.state() == "off"
    assert not Run("asyncio")(to_thread, is_ours)
    threadcache.anyio.install()
    assert Run("asyncio")(to_thread, is_ours)


def test_a_trio_of_another_shape_is_refused_and_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.delattr(trio.lowlevel, "start_thread_soon")
        with pytest.raises(RuntimeError, match=rf"trio {trio.__version__}.*trio\.lowlevel"):
            threadcache.anyio.install()
    assert is_as_it_was()


@pytest.mark.parametrize("name", ["anyio", "anyio._backends._asyncio"])
def test_without_anyio_it_is_an_import_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError):
        threadcache.anyio.install()
    assert is_as_it_was()


def test_without_trio_it_is_installed_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "trio", None)
        threadcache.anyio.install()
        assert Run("asyncio")(to_thread, is_ours)
        threadcache.anyio.uninstall()
    assert is_as_it_was()


def test_a_loop_that_is_closed_with_calls_running() -> None:
    threadcache.anyio.install()
    gate = Gate()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # the task below is destroyed while it waits
    task = loop.create_task(to_thread(gate))
    loop.run_until_complete(reached_on(gate))
    task.cancel()
    loop.close()
    gate.release.set()
    assert gate.ended.wait(DEADLINE)
    errors = default_cache.stats().deliver_errors
    until(lambda: not default_cache.stats().busy)
    assert Run("asyncio")(to_thread, is_ours)
    assert default_cache.stats().deliver_errors == errors
    del task


async def reached_on(gate: Gate) -> None:
    await reached(gate.begun.is_set)
