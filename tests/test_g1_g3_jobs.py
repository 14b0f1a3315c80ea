"""G1: exactly once, or not at all. G3: no job waits for another."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call, child, until
from outcome import AlreadyUsedError, Value

import threadcache._worker
from threadcache import ThreadCache
from threadcache._threads import start_thread

if TYPE_CHECKING:
    from conftest import Harness


def test_g1_fn_then_deliver_once_in_the_same_worker(cache: ThreadCache) -> None:
    log: list[tuple[str, int]] = []
    done: SimpleQueue[Any] = SimpleQueue()

    def fn() -> str:
        log.append(("fn", threading.get_ident()))
        return "result"

    def deliver(outcome: Any) -> None:
        log.append(("deliver", threading.get_ident()))
        done.put(outcome.unwrap())

    cache.start_thread_soon(fn, deliver)
    assert done.get(timeout=DEADLINE) == "result"
    until(lambda: cache.stats().idle)
    assert [what for what, _ in log] == ["fn", "deliver"]
    assert len({thread for _, thread in log} - {threading.get_ident()}) == 1


def test_g1_a_result_is_a_value_like_any_other(cache: ThreadCache) -> None:
    """Though it is not made by its constructor, which takes longer than all the rest of a job."""
    results: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(lambda: "result", results.put)
    made = results.get(timeout=DEADLINE)
    assert (type(made), made, hash(made)) == (Value, Value("result"), hash(Value("result")))
    assert made.unwrap() == "result"
    with pytest.raises(AlreadyUsedError):
        made.unwrap()


def test_g1_a_value_of_another_shape_is_made_by_its_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Value[Any]):
        __slots__ = ("more",)

    monkeypatch.setattr(threadcache._worker, "Value", Other)
    assert threadcache._worker._value_maker() is Other
    monkeypatch.undo()
    assert threadcache._worker._value_maker() is not Value or sys.implementation.name != "cpython"


class Peculiar(BaseException):
    """Neither an `Exception` nor anything that Python knows."""


@pytest.mark.parametrize("kind", [ValueError, StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit, Peculiar])
def test_g1_whatever_fn_raises_is_an_outcome(cache: ThreadCache, kind: type[BaseException]) -> None:
    error = kind("x")

    def fn() -> None:
        raise error

    with pytest.raises(kind) as caught:
        call(cache, fn)
    assert caught.value is error
    assert [entry.name for entry in caught.traceback][-1] == "fn"
    assert "_run_job" not in [entry.name for entry in caught.traceback]
    assert call(cache, lambda: 1) == 1
    assert cache.stats().started == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((None, print), "fn must be callable, not NoneType"),
        ((print, "deliver"), "deliver must be callable, not str"),
        ((print, print, b"name"), "name must be a str or None, not bytes"),
        ((print, print, 1), "name must be a str or None, not int"),
    ],
)
def test_g1_bad_arguments_are_refused_at_the_call(cache: ThreadCache, arguments: Any, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        cache.start_thread_soon(*arguments)
    assert cache.stats() == (0,) * 9


def test_g1_a_names_own_methods_are_not_asked(cache: ThreadCache) -> None:
    class Name(str):
        def __str__(self) -> str:
            raise ValueError("no name")

    assert call(cache, lambda: threading.current_thread().name, Name("x")) == "x"


def test_g1_an_exception_with_methods_of_its_own(cache: ThreadCache) -> None:
    class Odd(Exception):
        def with_traceback(self, traceback: Any) -> Any:
            raise ValueError("no")

    with pytest.raises(Odd):
        call(cache, partial(raises, Odd()))


def raises(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_g1_without_a_thread_nothing_is_taken(make_cache: Harness, error: Exception) -> None:
    failing = [error]

    def start(target: Any, args: tuple[()]) -> None:
        if failing:
            raise failing[0]
        start_thread(target, ())

    cache = make_cache(_start_thread=start)
    calls: list[Any] = []
    for _ in range(3):
        with pytest.raises(type(error)) as caught:
            cache.start_thread_soon(lambda: calls.append(1), calls.append)
        assert caught.value is error
        assert caught.value.__context__ is None and caught.value.__cause__ is None
    assert (cache.stats().start_failures, cache.stats().workers) == (3, 0)
    failing.clear()
    assert call(cache, lambda: 2) == 2
    assert not calls
    assert cache.stats()[:5] == (1, 1, 0, 1, 1)


def test_g1_the_systems_own_refusal() -> None:
    """With no thread to be had from the system itself the call raises, unchained, and the next one works."""
    child("""
        import resource, threading, threadcache
        old = resource.getrlimit(resource.RLIMIT_AS)
        threading.stack_size(1 << 30)
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (256 << 20), old[1]))
        calls = []
        try:
            threadcache.start_thread_soon(lambda: calls.append("fn"), calls.append)
        except RuntimeError as error:
            assert error.__context__ is None and error.__cause__ is None
        else:
            raise SystemExit("there was a thread after all")
        assert threadcache.default_cache.stats().start_failures == 1
        resource.setrlimit(resource.RLIMIT_AS, old)
        threading.stack_size(0)
        done = threading.Event()
        threadcache.start_thread_soon(int, lambda outcome: done.set())
        assert done.wait(30) and not calls
    """)


def test_g1_a_job_whose_own_thread_failed_to_start_may_run_all_the_same(make_cache: Harness) -> None:
    """If a worker has claimed the job meanwhile, it has been accepted, and the failure is nobody's business."""
    started, release = threading.Event(), threading.Event()
    first = True

    def start(target: Any, args: tuple[()]) -> None:
        nonlocal first
        if first:
            first = False
            return start_thread(target, ())
        # The second job is in the line now. Before its thread fails to start, the first worker takes it.
        release.set()
        until(lambda: not cache._line)
        raise RuntimeError("can't start new thread")

    cache = make_cache(_start_thread=start)
    results: SimpleQueue[Any] = SimpleQueue()

    def blocks() -> str:
        started.set()
        assert release.wait(DEADLINE)
        until(lambda: cache._line)
        return "first"

    cache.start_thread_soon(blocks, results.put)
    assert started.wait(DEADLINE)
    cache.start_thread_soon(lambda: "second", results.put)
    assert [results.get(timeout=DEADLINE).unwrap() for _ in range(2)] == ["first", "second"]


def test_g1_a_platform_without_threads_has_one_clear_error() -> None:
    done = child("""
        import outcome, signal, sys
        sys.platform = "wasi"
        import threadcache
        for _ in range(2):
            try:
                threadcache.start_thread_soon(print, print)
            except RuntimeError as error:
                print(error)
    """)
    assert done.stdout.splitlines() == ["threadcache needs threads, and wasi has none"] * 2


def test_g3_500_jobs_that_wait_for_each_other(cache: ThreadCache) -> None:
    barrier = threading.Barrier(500)
    results: SimpleQueue[Any] = SimpleQueue()
    for _ in range(500):
        cache.start_thread_soon(lambda: barrier.wait(DEADLINE), results.put)
    assert sorted(results.get(timeout=DEADLINE).unwrap() for _ in range(500)) == list(range(500))
    assert cache.stats().peak == 500


def test_g3_jobs_submitted_by_jobs_that_wait_for_them(cache: ThreadCache) -> None:
    def nested(depth: int) -> int:
        return 1 + call(cache, lambda: nested(depth - 1)) if depth else 0

    assert nested(100) == 100


class Gate:
    """Starts threads for a cache, but those that it is asked for while closed only when opened."""

    def __init__(self) -> None:
        self.closed = True
        self.asked = 0
        self.held: list[Any] = []

    def __call__(self, target: Any, args: tuple[()]) -> None:
        self.asked += 1
        if self.closed:
            self.held.append(target)
        else:
            start_thread(target, ())

    def open(self) -> None:
        self.closed = False
        while self.held:
            start_thread(self.held.pop(), ())


def test_g3_a_burst_needs_one_wake_up(make_cache: Harness) -> None:
    """Jobs wait in line while one worker is on its way: the calls for the others do nothing but queue up."""
    gate = Gate()
    cache = make_cache(_start_thread=gate)
    results: SimpleQueue[Any] = SimpleQueue()
    for number in range(1000):
        cache.start_thread_soon(lambda number=number: number, results.put)
    assert gate.asked == 1
    gate.open()
    assert {results.get(timeout=DEADLINE).unwrap() for _ in range(1000)} == set(range(1000))


def test_g3_first_come_first_served(make_cache: Harness) -> None:
    gate = Gate()
    cache = make_cache(_start_thread=gate)
    order: list[int] = []
    done: SimpleQueue[Any] = SimpleQueue()
    for number in range(5):
        cache.start_thread_soon(lambda number=number: order.append(number), done.put)
    start_thread(gate.held.pop(), ())  # its successor is held back, so this worker runs all of them
    for _ in range(5):
        done.get(timeout=DEADLINE)
    assert order == [0, 1, 2, 3, 4]
    gate.open()


def test_g3_a_blocking_deliver_holds_up_one_job_at_most(cache: ThreadCache) -> None:
    """Race 8: `deliver` submits two jobs and waits for the second; the next submission also frees the first."""
    done: SimpleQueue[Any] = SimpleQueue()
    held_up: SimpleQueue[Any] = SimpleQueue()

    def deliver(outcome: Any) -> None:
        cache.start_thread_soon(lambda: "held up", held_up.put)
        assert call(cache, lambda: "second") == "second"
        assert held_up.get(timeout=DEADLINE).unwrap() == "held up"
        done.put(outcome)

    cache.start_thread_soon(lambda: "outer", deliver)
    assert done.get(timeout=DEADLINE).unwrap() == "outer"


def test_g3_a_blocking_deliver_that_somebody_else_called_upon(cache: ThreadCache) -> None:
    """Race 8: its worker is listed, so it is given a job; the one after that must not count on it."""
    delivering, release = threading.Event(), threading.Event()
    results: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(int, lambda outcome: (delivering.set(), release.wait(2 * DEADLINE)))
    assert delivering.wait(DEADLINE)
    cache.start_thread_soon(lambda: "first", results.put)
    cache.start_thread_soon(release.set, results.put)
    assert {results.get(timeout=DEADLINE).unwrap() for _ in range(2)} == {"first", None}


@pytest.mark.filterwarnings("ignore:.*got no thread:RuntimeWarning")
def test_g3_accepted_jobs_outlive_a_lack_of_threads(make_cache: Harness) -> None:
    """Race 5: a worker gets no thread for the job behind its own; that runs when a worker is free, and is not lost."""
    targets: SimpleQueue[Any] = SimpleQueue()
    failing = False

    def start(target: Any, args: tuple[()]) -> None:
        if failing:
            raise RuntimeError("can't start new thread")
        targets.put(target)

    cache = make_cache(_start_thread=start)
    results: SimpleQueue[Any] = SimpleQueue()
    for number in range(10):
        cache.start_thread_soon(lambda number=number: number, results.put)
    failing = True
    start_thread(targets.get(), ())
    assert [results.get(timeout=DEADLINE).unwrap() for _ in range(10)] == list(range(10))
    stats = cache.stats()
    assert stats.started == 1
    assert stats.start_failures == 9


def test_g3_a_lack_of_threads_is_said(make_cache: Harness, recwarn: pytest.WarningsRecorder) -> None:
    targets: SimpleQueue[Any] = SimpleQueue()
    cache = make_cache(_start_thread=lambda target, args: targets.put(target))
    results: SimpleQueue[Any] = SimpleQueue()
    for _ in range(2):
        cache.start_thread_soon(int, results.put)

    def start(target: Any, args: tuple[()]) -> None:
        raise RuntimeError("can't start new thread")

    cache._start_thread = start
    start_thread(targets.get(), ())
    for _ in range(2):
        results.get(timeout=DEADLINE)
    (warning,) = recwarn
    assert warning.category is RuntimeWarning
    assert "got no thread (can't start new thread): 1 jobs wait" in str(warning.message)


def test_g1_g3_many_threads_submit(make_cache: Harness) -> None:
    cache = make_cache()
    seen: SimpleQueue[tuple[int, int]] = SimpleQueue()

    def produce(producer: int) -> None:
        for number in range(1000):
            cache.start_thread_soon(
                lambda number=number: (producer, number), lambda outcome: seen.put(outcome.unwrap())
            )

    threads = [threading.Thread(target=produce, args=(producer,)) for producer in range(8)]
    for thread in threads:
        thread.start()
    counted = Counter(seen.get(timeout=DEADLINE) for _ in range(8000))
    for thread in threads:
        thread.join()
    assert len(counted) == 8000
    until(lambda: cache.stats().busy == 0)
    assert cache.stats().jobs == 8000
