"""`threadcache.asyncio`: results, errors, context variables, names and bad input, on each kind of loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import inspect
import sys
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE
from test_g7_references import REFCOUNTING

from threadcache import default_cache
from threadcache._inbox import Inbox
from threadcache.asyncio import run_sync, to_thread

try:
    import uvloop
except ImportError:
    uvloop = None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STANDARD = asyncio.SelectorEventLoop
PLAIN = ["asyncio", *(["eager"] if sys.version_info >= (3, 12) else []), *(["uvloop"] if uvloop is not None else [])]
KINDS = [*PLAIN, "debug"]
"""Asyncio's debug mode looks who calls what in which thread. It is slow, and so not for the tests that take long."""


class Loops:
    """Runs coroutines on loops of one kind, which count how often they are rung, and keep what they have to report."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.look = True
        """Whether they may look for results themselves. If not, they must be rung for."""
        self.reports: list[dict[str, Any]] = []

    def new(self) -> Any:
        base: Any = uvloop.Loop if self.kind == "uvloop" else STANDARD
        rung: list[None] = []
        called: list[None] = []

        class Loop(base):
            rings, hops = rung, called  # no more than that, or they would keep what the loop was told to call

            def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:
                rung.append(None)
                return super().call_soon_threadsafe(*args, **kwargs)

            def call_soon(self, *args: Any, **kwargs: Any) -> Any:
                called.append(None)
                return super().call_soon(*args, **kwargs)

        loop = Loop()
        if not self.look:
            loop._threadcache_inbox = Inbox()
        loop.set_debug(self.kind == "debug")
        loop.set_exception_handler(lambda loop, context: self.reports.append(context))
        if self.kind == "eager":
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    def __call__(self, main: Callable[[], Any]) -> Any:
        async def before_the_deadline() -> Any:
            async with asyncio.timeout(DEADLINE):
                return await main()

        with asyncio.Runner(loop_factory=self.new) as runner:
            return runner.run(before_the_deadline())


def make_loops(kind: str) -> Iterator[Loops]:
    """What a fixture of a test module gives its tests: quiet loops, and a default cache without a thread."""
    assert default_cache.drain(DEADLINE)
    reported: list[Any] = []
    hook, threading.excepthook = threading.excepthook, reported.append
    loops = Loops(kind)
    try:
        yield loops
        assert default_cache.drain(DEADLINE), "a job is running still"
        gc.collect(0)  # what was never retrieved says so now
        assert not loops.reports
        assert not reported
    finally:
        threading.excepthook = hook


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest) -> Iterator[Loops]:
    yield from make_loops(request.param)


async def reached(condition: Callable[[], object]) -> None:
    """Let the loop run until ``condition()`` holds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the deadline has passed"
        await asyncio.sleep(0.0005)


async def let_run(rounds: int = 20) -> None:
    """Let the loop do what it has to do already."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class Gate:
    """A job that says when it has begun, ends when it is told to, and says so."""

    def __init__(self, result: Callable[[], Any] = int) -> None:
        self.started, self.release, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.result = result

    def __call__(self) -> Any:
        self.started.set()
        try:
            assert self.release.wait(DEADLINE)
            return self.result()
        finally:
            self.ended.set()

    async def begun(self) -> None:
        await reached(self.started.is_set)


class Boom(Exception):
    """What a job raises, with a place to hold something."""


class Odd(BaseException):
    """What is no Exception."""


def boom(*args: object) -> None:
    raise Boom(*args)


def fail(error: BaseException | type[BaseException]) -> None:
    raise error


# Results and errors


def test_a_call_returns_what_the_function_did_in_another_thread(run: Loops) -> None:
    async def main() -> None:
        assert await run_sync(divmod, 17, 5) == (3, 2)
        assert await to_thread(divmod, 17, 5) == (3, 2)
        assert await run_sync(threading.get_ident) != threading.get_ident()
        assert await asyncio.gather(*[run_sync(abs, -number) for number in range(100)]) == list(range(100))

    run(main)


def test_a_call_raises_the_very_exception_and_where_it_was_raised(run: Loops) -> None:
    async def main() -> None:
        error = Boom("once")
        with pytest.raises(Boom) as caught:
            await run_sync(fail, error)
        assert caught.value is error
        assert [entry.name for entry in caught.traceback][-1] == "fail"

    run(main)


@pytest.mark.parametrize(
    "kind",
    [
        *(ValueError, TimeoutError, StopAsyncIteration, GeneratorExit, SystemExit, KeyboardInterrupt, Odd),
        *(asyncio.CancelledError, asyncio.InvalidStateError, BaseExceptionGroup),
        pytest.param(concurrent.futures.CancelledError, id="futures.CancelledError"),
    ],
)
def test_exceptions_arrive_as_what_they_are_and_hang_nothing(run: Loops, kind: Any) -> None:
    error = kind("group", [Odd()]) if kind is BaseExceptionGroup else kind("once")

    async def main() -> None:
        for call in (run_sync, to_thread):
            with pytest.raises(kind) as caught:
                await call(fail, error)
            assert caught.value is error
            assert asyncio.current_task().cancelling() == 0
            assert await call(int) == 0

    run(main)


def test_stop_iteration_arrives_as_the_cause_of_a_runtime_error(run: Loops) -> None:
    async def main() -> None:
        for call in (run_sync, to_thread):
            with pytest.raises(RuntimeError, match="StopIteration") as caught:
                await call(next, iter(()))
            assert type(caught.value.__cause__) is StopIteration
            with pytest.raises(RuntimeError) as caught:
                await call(fail, StopIteration(5))
            assert caught.value.__cause__.value == 5

    run(main)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_ends_the_loop_if_nobody_catches_it(run: Loops, kind: type[BaseException]) -> None:
    async def main() -> None:
        await run_sync(fail, kind("once"))

    with pytest.raises(kind, match="once"):
        run(main)


def test_to_thread_passes_on_every_argument(run: Loops) -> None:
    def record(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    keywords = {"fn": 1, "limiter": 2, "abandon_on_cancel": 3, "thread_name": 4, "self": 5, "func": 6, "args": 7}

    async def main() -> None:
        assert await to_thread(record, "a", "b", **keywords) == (("a", "b"), keywords)
        with pytest.raises(TypeError):
            await to_thread(fn=record)

    run(main)


def test_g5_sequential_calls_use_one_worker(run: Loops) -> None:
    async def main() -> None:
        idents = {await run_sync(threading.get_ident) for _ in range(200)}
        idents |= {await to_thread(threading.get_ident) for _ in range(200)}
        assert len(idents) == 1

    started = default_cache.stats().started
    run(main)
    assert default_cache.stats().started == started + 1


def test_no_future_of_concurrent_futures_is_made(run: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        # There is no seam for what must not happen at all.
        monkeypatch.setattr(concurrent.futures.Future, "__init__", lambda self: boom("a chained future"))
        with pytest.raises(Boom):
            asyncio.get_running_loop().run_in_executor(None, int)
        assert await run_sync(int, limiter=asyncio.Semaphore(1)) == await to_thread(int) == 0
        monkeypatch.undo()

    run(main)


def test_without_a_running_loop_a_call_is_refused(run: Loops) -> None:
    jobs = default_cache.stats().jobs
    for call in (run_sync(int), run_sync(int, limiter=asyncio.Semaphore(1)), to_thread(int)):
        with pytest.raises(RuntimeError, match="no running event loop"):
            call.send(None)
    assert default_cache.stats().jobs == jobs


# Names, context variables, references


def test_g14_a_name_lasts_as_long_as_the_function_runs(run: Loops) -> None:
    def name() -> str:
        return threading.current_thread().name

    async def main() -> None:
        assert await run_sync(name, thread_name="look-up") == "look-up"
        assert await run_sync(name) == await to_thread(name) == "threadcache worker"
        gate = Gate(name)
        task = asyncio.create_task(run_sync(gate, thread_name="seen"))
        await gate.begun()
        assert [job.name for job in default_cache.jobs()] == ["seen"]
        gate.release.set()
        assert await task == "seen"

    run(main)


def test_context_variables_travel_in_and_leak_neither_out_nor_into_the_next_call(run: Loops) -> None:
    first: contextvars.ContextVar[str] = contextvars.ContextVar("first", default="unset")
    second: contextvars.ContextVar[str] = contextvars.ContextVar("second", default="unset")

    def exchange(value: str) -> tuple[str, str]:
        seen = first.get(), second.get()
        first.set(value)
        second.set(value)
        return seen

    async def caller(value: str, call: Any) -> None:
        first.set(value)
        for _ in range(10):
            assert await call(exchange, "job's") == (value, "unset")
            assert (first.get(), second.get()) == (value, "unset")

    async def main() -> None:
        await caller("one", run_sync)
        await caller("two", partial(run_sync, limiter=asyncio.Semaphore(1)))
        await caller("three", to_thread)
        await asyncio.gather(*[caller(str(number), run_sync) for number in range(10)])
        assert first.get() == "three"

    run(main)
    assert first.get() == "unset"


class Thing:
    """Something to point at."""


@pytest.mark.parametrize("abandon", [False, True])
def test_g7_nothing_of_a_call_is_kept(run: Loops, abandon: bool) -> None:
    """Neither function, argument, result and context values, nor the error that one raised and its frame's locals."""
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    references: list[weakref.ref[Any]] = []

    def watched(thing: Any) -> Any:
        references.append(weakref.ref(thing))
        return thing

    def job(fails: bool, argument: Any) -> Any:
        local = watched(Thing())
        variable.set(watched(Thing()))
        if fails:
            raise watched(Boom(local))
        return watched(Thing())

    async def call(fails: bool, limiter: Any) -> None:
        fn = watched(partial(job, fails))
        try:
            await run_sync(fn, watched(Thing()), limiter=limiter, abandon_on_cancel=abandon)
        except Boom:
            assert fails

    async def main() -> None:
        for fails in (False, True):
            for limiter in (None, asyncio.Semaphore(1)):
                references.clear()
                await call(fails, limiter)
                assert len(references) == 5
                assert default_cache.drain(DEADLINE)  # or a worker may be on its way out of `put`
                await let_run()  # without the GIL, what this thread made and another let go is gone when this one runs
                if not REFCOUNTING:
                    gc.collect()
                assert [reference() for reference in references] == [None] * 5, (fails, limiter)

    gc.collect()
    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


# Bad input


@pytest.mark.parametrize("fn", [None, 5, "print", object()])
def test_what_cannot_be_called_is_refused(run: Loops, fn: Any) -> None:
    async def main() -> None:
        limiter = asyncio.Semaphore(1)
        for call in (run_sync(fn), run_sync(fn, limiter=limiter), to_thread(fn)):
            with pytest.raises(TypeError, match="callable"):
                await call
        assert not limiter.locked()

    jobs = default_cache.stats().jobs
    run(main)
    assert default_cache.stats().jobs == jobs


def test_wrong_arguments_of_the_function_are_its_own_error(run: Loops) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="abs"):
            await run_sync(abs)
        with pytest.raises(TypeError, match="unexpected keyword"):
            await run_sync(abs, 1, wrong=2)

    run(main)


def test_the_front_ends_signatures_are_those_of_the_specification() -> None:
    parameters = inspect.signature(run_sync).parameters
    assert list(parameters) == ["fn", "args", "limiter", "abandon_on_cancel", "thread_name"]
    assert [parameters[name].default for name in list(parameters)[2:]] == [None, False, None]
    assert inspect.iscoroutinefunction(run_sync) and inspect.iscoroutinefunction(to_thread)
