"""G8: a failing deliver costs nothing. G9: no worker dies while it is listed."""

from __future__ import annotations

import ctypes
import sys
import threading
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, MAILBOXES, call, child, until
from steps import Injection

from threadcache._worker import Worker

if TYPE_CHECKING:
    from conftest import Harness

    from threadcache import ThreadCache


def failing(error: BaseException) -> Any:
    def deliver(outcome: Any) -> None:
        raise error

    return deliver


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> SimpleQueue[Any]:
    reports: SimpleQueue[Any] = SimpleQueue()
    monkeypatch.setattr("threading.excepthook", reports.put)
    return reports


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_g8_a_failing_deliver_is_reported(cache: ThreadCache, reported: SimpleQueue[Any], error: Any) -> None:
    ident = call(cache, threading.get_ident)
    cache.start_thread_soon(int, failing(error))
    report = reported.get(timeout=DEADLINE)
    assert (report.exc_type, report.exc_value) == (type(error), error)
    assert report.exc_traceback is not None
    assert report.thread.ident == ident
    assert call(cache, threading.get_ident) == ident
    assert cache.stats()[4:] == (1, 0, 3, 0, 1)


def test_g8_a_broken_hook(cache: ThreadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise SystemExit("the hook is broken")

    monkeypatch.setattr("threading.excepthook", broken)
    monkeypatch.setattr("sys.excepthook", broken)
    ident = call(cache, threading.get_ident)
    for number in range(1, 4):
        cache.start_thread_soon(int, failing(ValueError("x")))
        until(lambda number=number: cache.stats().deliver_errors == number)
        assert call(cache, threading.get_ident) == ident
    assert cache.stats().started == 1


def test_g8_a_broken_hook_is_passed_over_for_the_next(cache: ThreadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: SimpleQueue[Any] = SimpleQueue()

    def broken(*_: object) -> None:
        raise RuntimeError("the hook is broken")

    monkeypatch.setattr("threading.excepthook", broken)
    monkeypatch.setattr("sys.excepthook", lambda kind, error, traceback: reports.put(error))
    error = ValueError("x")
    cache.start_thread_soon(int, failing(error))
    assert reports.get(timeout=DEADLINE) is error


@pytest.mark.parametrize("stderr", ["None", "Broken()", "closed"])
def test_g8_without_a_stderr(stderr: str) -> None:
    child(f"""
        import io, sys, threading, threadcache
        class Broken:
            def write(self, text): raise OSError("gone")
            def flush(self): raise OSError("gone")
        closed = io.StringIO(); closed.close()
        def deliver(outcome): raise ValueError("x")
        sys.stderr = {stderr}
        for _ in range(3):
            threadcache.start_thread_soon(int, deliver)
            done = threading.Event()
            threadcache.start_thread_soon(int, lambda outcome: done.set())
            if not done.wait(30): raise SystemExit(1)
        if not threadcache.default_cache.drain(30): raise SystemExit(2)
        if threadcache.default_cache.stats().deliver_errors != 3: raise SystemExit(3)
        sys.stderr = None
    """)


def test_g8_the_default_report_is_the_interpreters_own() -> None:
    done = child("""
        import threading, threadcache
        def deliver(outcome): raise ValueError("what went wrong")
        threadcache.start_thread_soon(int, deliver)
        assert threadcache.default_cache.drain(30)
    """)
    assert "Exception in thread threadcache worker" in done.stderr
    assert "ValueError: what went wrong" in done.stderr


def strike(ident: int, error: type[BaseException]) -> None:
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error)) == 1


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython has asynchronous exceptions")
@pytest.mark.parametrize("error", [SystemExit, ValueError, KeyboardInterrupt])
def test_g9_an_asynchronous_exception_hits_an_idle_worker(
    cache: ThreadCache, reported: SimpleQueue[Any], error: type[BaseException]
) -> None:
    """It is raised when the next job wakes the worker, and neither is lost."""
    ident = call(cache, threading.get_ident)
    for number in range(20):
        until(lambda: cache.stats().idle == 1)
        strike(ident, error)
        assert call(cache, lambda number=number: (threading.get_ident(), number)) == (ident, number)
    assert cache.stats().started == 1
    assert reported.get(timeout=DEADLINE).exc_type is error


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="only CPython has asynchronous exceptions")
def test_g9_an_asynchronous_exception_hits_a_job(cache: ThreadCache) -> None:
    def fn() -> None:
        strike(threading.get_ident(), SystemExit)
        while True:
            pass

    with pytest.raises(SystemExit):
        call(cache, fn)
    assert call(cache, lambda: 1) == 1
    assert cache.stats().started == 1


class Struck(BaseException):
    """What comes out of nowhere."""


def start_thread_that_is_struck(injection: Injection, target: Any, args: tuple[()]) -> None:
    def strike() -> None:
        raise Struck

    threading.Thread(target=injection, args=(strike, target)).start()


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs opcodes")
@pytest.mark.parametrize(("name", "fails"), [(None, False), ("named", False), (None, True)])
def test_g9_an_exception_at_each_opcode_where_one_can_strike(
    make_cache: Harness, reported: SimpleQueue[Any], name: str | None, fails: bool
) -> None:
    """Raised in a worker at any point where the interpreter would raise an asynchronous exception.

    That is after a call, on entering a function and on jumping back. The worker survives, nothing is lost, and each
    `fn` and `deliver` is called at most once: not at all if it was the call of it that was hit.
    """
    target = struck = 0
    while True:
        target += 1
        injection = Injection(target, between_calls=True)
        cache = make_cache(_start_thread=partial(start_thread_that_is_struck, injection))
        calls: list[str] = []
        done: SimpleQueue[Any] = SimpleQueue()
        for number in range(2):
            cache.start_thread_soon(
                lambda number=number: (calls.append(f"fn {number}"), 1 // (not fails)),
                lambda outcome, number=number: (calls.append(f"deliver {number}"), done.put(number)),
                name,
            )
        until(lambda: cache.stats().busy == 0 and not cache._line)
        with suppress(Struck):  # the first two may have left it to this one
            assert call(cache, lambda: "next") == "next"
        assert cache.drain(DEADLINE)
        delivered = [what for what in calls if what.startswith("deliver")]
        assert len(set(calls)) == len(calls)
        if injection.struck:
            struck += 1
            lost = {"deliver 0", "deliver 1"} - set(delivered)
            assert len(lost) <= (cache.stats().deliver_errors > 0), (target, calls)
        else:
            assert sorted(calls) == ["deliver 0", "deliver 1", "fn 0", "fn 1"]
            break
    assert struck > 30


def test_g9_a_name_that_the_system_can_not_take(cache: ThreadCache) -> None:
    for name in ("\udc80", "nul\0nul", "x" * 100_000, "", "\N{SNOWMAN}"):
        assert call(cache, lambda: threading.current_thread().name, name) == name
    assert cache.stats().started == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize("mailbox", sorted(MAILBOXES))
def test_g9_a_name_that_can_not_be_told_to_the_system(mailbox: str) -> None:
    """With no file to be opened any more, a named job runs all the same."""
    code = """
        import resource, threading, threadcache
        done, outcomes = threading.Semaphore(0), []
        def deliver(outcome):
            outcomes.append(outcome)
            done.release()
        threadcache.start_thread_soon(int, deliver)
        assert done.acquire(timeout=30)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        threadcache.start_thread_soon(lambda: threading.current_thread().name, deliver, "named")
        assert done.acquire(timeout=30)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert outcomes[1].unwrap() == "named"
    """
    child(code, THREADCACHE_MAILBOX=mailbox)


def test_g9_a_worker_struck_while_it_is_claimed(cache: ThreadCache) -> None:
    """It recovers with a new mailbox: a put that still comes must not make it look as if it were on its way."""
    worker = Worker(cache)
    assert worker.mailbox.get(False, -1)
    cache._idle[worker] = worker.mailbox
    _, mailbox = cache._idle.popitem()
    worker._recover(Struck())
    mailbox.put()
    assert worker.mailbox.is_empty()
