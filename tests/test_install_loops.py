"""The default executors of event loops, asyncio's and uvloop's, as `threadcache.install` has them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, until
from test_install import leaves_all_as_it_was, uvloop
from test_trio import Gate, is_ours, jobs_of

import threadcache
import threadcache.asyncio
from threadcache import CachedThreadPoolExecutor, default_cache

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["leaves_all_as_it_was"]  # a fixture
LOOPS: dict[str, Any] = {"asyncio": asyncio.SelectorEventLoop}
if uvloop is not None:
    LOOPS["uvloop"] = uvloop.Loop


class Run:
    """Runs coroutines on loops of one kind, with a deadline."""

    def __init__(self, kind: str) -> None:
        self.new_loop = LOOPS[kind]
        self.base = self.new_loop if kind == "uvloop" else asyncio.BaseEventLoop

    def __call__(self, main: Callable[..., Any], *args: Any) -> Any:
        async def before_the_deadline() -> Any:
            async with asyncio.timeout(DEADLINE):
                return await main(*args)

        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(before_the_deadline())


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return Run(request.param)


async def reached(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 (threads set no event of asyncio's)
        await asyncio.sleep(0.0005)


def in_default(fn: Callable[..., Any], *args: Any) -> Any:
    return asyncio.get_running_loop().run_in_executor(None, fn, *args)


async def fifty_at_a_time() -> None:
    """More than any default executor of the standard library's has threads."""
    gates = [Gate() for _ in range(50)]
    calls = [in_default(gate) for gate in gates]
    await reached(lambda: all(gate.begun.is_set() for gate in gates))
    for gate in gates:
        gate.release.set()
    idents = await asyncio.gather(*calls)
    assert idents == [gate.ident for gate in gates]
    assert len(set(idents)) == 50
    assert all(gate.is_ours for gate in gates)


def test_no_call_waits_for_another(run: Run) -> None:
    with threadcache.install("asyncio"):
        run(fifty_at_a_time)


def test_all_that_loops_do_in_threads_is_done_there(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await asyncio.to_thread(is_ours)
        assert await in_default(is_ours)
        assert await loop.run_in_executor(func=is_ours, executor=None)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="shutdown"):
            in_default(int)

    async def look_up() -> None:
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)

    with threadcache.install("asyncio"):
        run(main)
        assert jobs_of(lambda: run(asyncio.to_thread, int)) == 1
        assert jobs_of(lambda: run(look_up)) == (run.base is asyncio.BaseEventLoop)  # uvloop has other threads for it


def test_loops_one_after_another_use_one_thread(run: Run) -> None:
    idents = set()
    with threadcache.install("asyncio"):
        for _ in range(5):
            idents.add(run(asyncio.to_thread, threading.get_ident))
            until(lambda: default_cache.stats().idle == 1)
    assert len(idents) == default_cache.stats().workers == 1


def test_loops_in_several_threads(run: Run) -> None:
    with threadcache.install("asyncio"):
        gates = [Gate() for _ in range(3)]
        loops = [threading.Thread(target=run, args=(asyncio.to_thread, gate)) for gate in gates]
        for loop in loops:
            loop.start()
        for gate in gates:
            assert gate.begun.wait(DEADLINE)
        assert len({gate.ident for gate in gates}) == 3
        assert all(gate.is_ours for gate in gates)
        for gate, loop in zip(gates, loops, strict=True):
            gate.release.set()
            loop.join(DEADLINE)
            assert not loop.is_alive()


def test_an_executor_that_the_program_has_set_is_used(run: Run) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1, "mine") as executor:
            asyncio.get_running_loop().set_default_executor(executor)
            assert await asyncio.to_thread(lambda: threading.current_thread().name) == "mine_0"
            assert not await asyncio.to_thread(is_ours)

    with threadcache.install("asyncio"):
        run(main)


def test_an_executor_that_is_named_is_used(run: Run) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1, "mine") as executor:
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(executor, lambda: threading.current_thread().name) == "mine_0"

    with threadcache.install("asyncio"):
        run(main)


def test_a_loop_that_has_its_executor_already_keeps_it(run: Run) -> None:
    async def main() -> None:
        before = await in_default(threading.get_ident)
        gate = Gate()
        call = in_default(gate)
        await reached(gate.begun.is_set)
        with threadcache.install():
            gate.release.set()
            assert await call == gate.ident
            assert not gate.is_ours
            assert not await in_default(is_ours)
        del before

    run(main)


def test_a_loop_that_has_borrowed_goes_on_borrowing_when_it_is_undone(run: Run) -> None:
    async def main() -> None:
        with threadcache.install():
            gate = Gate()
            call = in_default(gate)
            await reached(gate.begun.is_set)
        gate.release.set()
        assert await call == gate.ident
        assert gate.is_ours
        assert await in_default(is_ours)

    run(main)
    assert not run(asyncio.to_thread, is_ours)


def test_executors_that_a_call_makes_by_the_way_are_what_is_asked_for(run: Run) -> None:
    """No loop asks for a number of workers, so what is made with one is none of a loop's."""
    made: list[ThreadPoolExecutor] = []

    class Making(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            made.append(ThreadPoolExecutor(3))
            return super().submit(fn, *args, **kwargs)

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(Making(1))
        await in_default(int)

    with threadcache.install("asyncio"):
        run(main)
    assert [(type(executor), executor._max_workers) for executor in made] == [(ThreadPoolExecutor, 3)]


def test_what_has_been_put_on_top_stays_and_the_threads_are_the_loops(run: Run) -> None:
    with threadcache.install("asyncio"):
        covered = run.base.run_in_executor
        saved = dict(vars(run.base))

        def run_in_executor(self: Any, *args: Any) -> Any:
            return covered(self, *args)

        run.base.run_in_executor = run_in_executor
        assert run(asyncio.to_thread, is_ours)
    try:
        assert run.base.run_in_executor is run_in_executor
        assert not run(asyncio.to_thread, is_ours)
    finally:
        original = saved["run_in_executor"].__wrapped__
        if run.base is asyncio.BaseEventLoop:
            run.base.run_in_executor = original
        else:
            del run.base.run_in_executor


class _Odd(ThreadPoolExecutor):
    pass


def _another_executor(self: Any, executor: Any, func: Any, *args: Any) -> Any:
    return _Odd(1).submit(func, *args)


def _an_error(self: Any, executor: Any, func: Any, *args: Any) -> Any:
    raise NotImplementedError("no threads here")


@pytest.mark.parametrize(
    ("other", "said"),
    [(_another_executor, "makes no ThreadPoolExecutor that is known"), (_an_error, "no threads here")],
)
def test_a_loop_of_another_shape_is_refused(run: Run, other: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "asyncio" if run.base is asyncio.BaseEventLoop else "uvloop"
    with monkeypatch.context() as patch:
        patch.setattr(run.base, "run_in_executor", other)
        with threadcache.install("asyncio") as installation:
            state = installation.report()[name]
            assert state.startswith("refused: threadcache cannot give ")
            assert said in state
            assert run.base.run_in_executor is other


def test_a_loop_that_cannot_be_made_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop:
        run_in_executor = run.base.run_in_executor

        def __init__(self) -> None:
            raise OSError("too many open files")

    before = Loop.run_in_executor
    name = "asyncio" if run.base is asyncio.BaseEventLoop else "uvloop"
    with monkeypatch.context() as patch:
        patch.setattr("asyncio.BaseEventLoop" if name == "asyncio" else "uvloop.Loop", Loop)
        with threadcache.install("asyncio") as installation:
            assert "too many open files" in installation.report()[name]
            assert Loop.run_in_executor is before


def test_one_loop_alone(run: Run) -> None:
    """`threadcache.asyncio.install` changes no class."""

    async def main() -> None:
        threadcache.asyncio.install()
        await fifty_at_a_time()
        threadcache.asyncio.install(asyncio.get_running_loop())
        assert await asyncio.to_thread(is_ours)

    run(main)
    assert not run(asyncio.to_thread, is_ours)
    with pytest.raises(RuntimeError):
        threadcache.asyncio.install()
    loop = run.new_loop()
    try:
        threadcache.asyncio.install(loop)
        assert loop.run_until_complete(loop.run_in_executor(None, is_ours))
    finally:
        loop.close()


def test_both_at_a_time(run: Run) -> None:
    """With the executors on the cache too, those of loops have no limit, and others the one that was asked for."""
    with threadcache.install():
        run(fifty_at_a_time)
        with ThreadPoolExecutor(thread_name_prefix="mine") as executor:
            assert type(executor) is CachedThreadPoolExecutor
            assert executor._max_workers < 50
