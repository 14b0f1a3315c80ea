"""`threadcache.anyio`: AnyIO is with the threads of the cache what it is with its own, on each of its backends."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import weakref
from importlib.util import find_spec
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import anyio
import anyio._backends._asyncio as backend_module
import anyio.from_thread
import anyio.lowlevel
import pytest
import trio
from conftest import DEADLINE, until
from test_trio import CACHE, ORIGINAL, Gate, is_ours, jobs_of

import threadcache.anyio
from threadcache import default_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULE: Any = backend_module
PLACES = {name: vars(MODULE)[name] for name in ("WorkerThread", "_threadpool_idle_workers", "_threadpool_workers")}
# Before 4.15, AnyIO itself keeps them; since then, it takes them out of there.
LETS_LOOPS_GO = getattr(MODULE, "_run_vars", None) is vars(anyio.lowlevel)["_run_vars"]
BACKENDS: dict[str, dict[str, Any]] = {"asyncio": {"backend": "asyncio"}, "trio": {"backend": "trio"}}
if find_spec("uvloop") is not None:
    BACKENDS["uvloop"] = {"backend": "asyncio", "backend_options": {"use_uvloop": True}}


@pytest.fixture(autouse=True)
def leaves_anyio_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert default_cache.drain(DEADLINE)
    reports: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reports.append)
    yield
    threadcache.anyio.uninstall()
    assert {name: vars(MODULE)[name] for name in PLACES} == PLACES
    assert CACHE.THREAD_CACHE is ORIGINAL
    assert default_cache.drain(DEADLINE)
    assert not reports


@pytest.fixture(params=[False, True], ids=["without", "with"])
def ours(request: pytest.FixtureRequest) -> bool:
    """Whether AnyIO is on the cache."""
    if request.param:
        threadcache.anyio.install()
    return bool(request.param)


class Run:
    """Runs coroutines on one backend, with a deadline."""

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def __call__(self, main: Callable[..., Any], *args: Any) -> Any:
        async def before_the_deadline() -> Any:
            with anyio.fail_after(DEADLINE):
                return await main(*args)

        return anyio.run(before_the_deadline, **BACKENDS[self.backend])


@pytest.fixture(params=BACKENDS)
def run(request: pytest.FixtureRequest) -> Run:
    return Run(request.param)


async def reached(condition: Callable[[], object]) -> None:
    """Let the loop run until ``condition()`` holds; `Run` has the deadline."""
    while not condition():  # noqa: ASYNC110 (threads set no event of AnyIO's)
        await anyio.sleep(0.0005)


async def to_thread(fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return await anyio.to_thread.run_sync(fn, *args, **options)


def test_the_threads_are_the_caches(run: Run, ours: bool, tmp_path: Any) -> None:
    async def files() -> None:
        async with await anyio.open_file(tmp_path / "file", "w") as file:
            await file.write("text")
        assert await anyio.Path(tmp_path / "file").read_text() == "text"

    assert run(to_thread, is_ours) is ours
    assert jobs_of(lambda: run(to_thread, int)) == ours
    assert jobs_of(lambda: run(files)) == ours * 4  # open, write, close, read_text


def test_calls_one_after_another_use_one_thread(run: Run, ours: bool) -> None:
    async def main() -> set[int]:
        return {await to_thread(threading.get_ident) for _ in range(50)}

    assert len(run(main)) == 1
    assert default_cache.stats().workers == ours


@pytest.mark.parametrize("ours", [True], ids=["with"], indirect=True)
def test_loops_share_the_threads_of_the_cache(ours: bool) -> None:
    idents = {Run(backend)(to_thread, threading.get_ident) for backend in BACKENDS for _ in range(2)}
    assert len(idents) == 1
    gates = {backend: Gate() for backend in BACKENDS}
    loops = [threading.Thread(target=Run(name), args=(to_thread, gate)) for name, gate in gates.items()]
    for loop in loops:
        loop.start()
    for gate in gates.values():
        assert gate.begun.wait(DEADLINE)
    assert len({gate.ident for gate in gates.values()}) == len(gates)
    assert all(gate.is_ours for gate in gates.values())
    for gate, loop in zip(gates.values(), loops, strict=True):
        gate.release.set()
        loop.join(DEADLINE)
        assert not loop.is_alive()


def test_the_limiter_limits(run: Run, ours: bool) -> None:
    gates = [Gate() for _ in range(5)]

    async def main() -> None:
        limiter = anyio.CapacityLimiter(2)
        async with anyio.create_task_group() as group:
            for gate in gates:
                group.start_soon(lambda gate=gate: to_thread(gate, limiter=limiter))
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


def test_a_call_that_is_not_abandoned_waits_for_its_thread(run: Run, ours: bool) -> None:
    gate = Gate()

    async def main() -> None:
        results = []
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def caller() -> None:
                    results.append(await to_thread(gate))

                group.start_soon(caller)
                await reached(gate.begun.is_set)
                scope.cancel()
                with anyio.CancelScope(shield=True):
                    for _ in range(10):
                        await anyio.lowlevel.checkpoint()
                    assert not results
                    gate.release.set()
        assert gate.ended.is_set()
        assert results == [gate.ident]  # AnyIO returns what the thread yields

    run(main)
    assert gate.is_ours is ours


def test_a_call_that_is_abandoned_ends_at_once(run: Run, ours: bool) -> None:
    gate = Gate()

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: to_thread(gate, abandon_on_cancel=True))
                await reached(gate.begun.is_set)
                scope.cancel()
        assert scope.cancel_called
        assert not gate.ended.is_set()
        assert await to_thread(is_ours) is ours  # while it runs
        gate.release.set()
        await to_thread(gate.ended.wait, DEADLINE)
        for _ in range(3):
            assert await to_thread(is_ours) is ours

    run(main)
    assert gate.is_ours is ours


def test_a_thread_that_outlives_its_loop_is_no_error(run: Run, ours: bool) -> None:
    gate = Gate()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: to_thread(gate, abandon_on_cancel=True))
            await reached(gate.begun.is_set)
            group.cancel_scope.cancel()

    errors = default_cache.stats().deliver_errors
    run(main)
    gate.release.set()
    assert gate.ended.wait(DEADLINE)
    until(lambda: not default_cache.stats().busy)
    assert run(to_thread, is_ours) is ours
    assert default_cache.stats().deliver_errors == errors


def test_threads_are_named_as_anyio_and_trio_name_them(run: Run, ours: bool) -> None:
    def name_of_the_thread() -> str:
        return threading.current_thread().name

    name = run(to_thread, name_of_the_thread)
    assert name.startswith("AnyIO worker thread") or (run.backend == "trio" and " from " in name)


def test_calls_come_back_from_their_thread(run: Run, ours: bool) -> None:
    def job() -> tuple[bool, bool, int, int]:
        async def ident() -> int:
            await anyio.lowlevel.checkpoint()
            return threading.get_ident()

        anyio.from_thread.check_cancelled()
        inner = anyio.from_thread.run(to_thread, is_ours)
        return is_ours(), inner, anyio.from_thread.run(ident), anyio.from_thread.run_sync(threading.get_ident)

    here = threading.get_ident()
    assert run(to_thread, job) == (ours, ours, here, here)


def test_a_thread_sees_that_its_call_is_cancelled(run: Run, ours: bool) -> None:
    begun, seen = threading.Event(), []

    def job() -> None:
        begun.set()
        try:
            until(anyio.from_thread.check_cancelled)
        except BaseException:
            seen.append(is_ours())
            raise

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(to_thread, job)
                await reached(begun.is_set)
                scope.cancel()
        assert scope.cancel_called

    run(main)
    assert seen == [ours]


def test_a_blocking_portal_works_and_its_loop_has_the_threads(run: Run, ours: bool) -> None:
    with anyio.from_thread.start_blocking_portal(**BACKENDS[run.backend]) as portal:
        assert portal.call(to_thread, is_ours) is ours
        gate = Gate()
        future = portal.start_task_soon(to_thread, gate)
        assert gate.begun.wait(DEADLINE)
        assert gate.is_ours is ours
        gate.release.set()
        assert future.result(DEADLINE) == gate.ident


def test_context_variables_travel_in_and_not_out(run: Run, ours: bool) -> None:
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
    default_cache.start_thread_soon(variable.get, results.put)
    assert results.get(timeout=DEADLINE).unwrap() == "default"


@pytest.mark.parametrize("kind", [ValueError, KeyError, BaseException])
def test_the_very_exception_arrives(run: Run, ours: bool, kind: type[BaseException]) -> None:
    error = kind("text")

    def job() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(kind) as caught:
            await to_thread(job)
        assert caught.value is error
        assert await to_thread(is_ours) is ours

    run(main)


def test_stop_iteration_is_the_runtime_error_it_was(run: Run, ours: bool) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration") as caught:
            await to_thread(next, iter(()))
        assert isinstance(caught.value.__cause__, StopIteration)
        assert await to_thread(is_ours) is ours

    run(main)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="tells by reference counts")
def test_nothing_of_a_call_or_of_its_loop_is_kept(run: Run, ours: bool) -> None:
    class Thing:
        pass

    kept: list[Any] = []

    async def main() -> None:
        thing = Thing()
        kept.append(weakref.ref(thing))
        assert await to_thread(lambda thing: thing, thing) is thing
        del thing
        await to_thread(int)  # another round, in which the loop lets its handle go
        if run.backend != "trio" and LETS_LOOPS_GO:
            kept.append(weakref.ref(asyncio.get_running_loop()))

    run(main)
    until(lambda: gc.collect() >= 0 and not any(thing() for thing in kept))  # the worker may be delivering still


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="tells by reference counts")
@pytest.mark.skipif(not LETS_LOOPS_GO, reason="this AnyIO keeps them itself")
def test_a_loop_that_anyio_has_not_made_is_let_go(ours: bool) -> None:
    loops: list[Any] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        assert await to_thread(is_ours) is ours

    for _ in range(2):
        asyncio.run(main())
    until(lambda: gc.collect() >= 0 and not any(loop() for loop in loops))


def test_without_threads_to_be_had_the_call_raises_and_the_next_works(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    threadcache.anyio.install()

    def refuse(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(default_cache, "_start_thread", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await to_thread(int)
        for _ in range(2):
            assert await to_thread(is_ours)

    run(main)
    assert default_cache.stats().start_failures


def test_trios_own_calls_are_on_the_cache_too(ours: bool) -> None:
    async def main() -> bool:
        return bool(await trio.to_thread.run_sync(is_ours))

    assert trio.run(main) is ours
