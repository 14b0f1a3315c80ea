"""G13: jobs don't leak into each other. G14: names. Also hooks and trace functions."""

from __future__ import annotations

import contextvars
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, MAILBOXES, call, child, until

if TYPE_CHECKING:
    from conftest import Harness

    from threadcache import ThreadCache

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
needs_signals = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")


def test_g13_a_fresh_context_for_each_job(cache: ThreadCache) -> None:
    seen: SimpleQueue[Any] = SimpleQueue()

    def fn() -> str:
        before = variable.get()
        variable.set("by fn")
        return before

    def deliver(outcome: Any) -> None:
        variable.set("by deliver")
        seen.put(outcome.unwrap())

    def submit() -> None:
        variable.set("by the submitter")
        for _ in range(3):
            cache.start_thread_soon(fn, deliver)
            assert seen.get(timeout=DEADLINE) == "unset"

    contextvars.copy_context().run(submit)
    assert cache.stats().started == 1


def test_g13_a_worker_started_by_a_worker_has_no_context_of_it(cache: ThreadCache) -> None:
    def outer() -> Any:
        variable.set("by the outer job")
        return call(cache, variable.get)

    assert call(cache, outer) == "unset"
    assert cache.stats().started == 2


def test_g13_thread_locals_stay(cache: ThreadCache) -> None:
    local = threading.local()
    call(cache, lambda: setattr(local, "value", 1))
    assert call(cache, lambda: local.value) == 1


@needs_signals
def test_g13_the_signal_mask_is_the_main_threads_at_import(cache: ThreadCache) -> None:
    old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        mask = call(cache, lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    assert mask == old


@needs_signals
@pytest.mark.parametrize("where", ["main", "thread"])
def test_g13_the_mask_at_import_whoever_imports(where: str) -> None:
    """A worker has what the main thread blocked when the package was imported, in whatever thread that was."""
    if where == "thread" and not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells one thread of another's mask")
    child(f"""
        import signal, threading
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        def load():
            global threadcache
            if {where == "thread"}:
                signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR2])
            import threadcache
        if {where == "thread"}:
            thread = threading.Thread(target=load)
            thread.start()
            thread.join()
        else:
            load()
        signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGTERM])
        masks = []
        def mask(): return signal.pthread_sigmask(signal.SIG_BLOCK, [])
        threadcache.start_thread_soon(mask, lambda outcome: masks.append(outcome.unwrap()))
        assert threadcache.default_cache.drain(30)
        assert masks == [{{signal.SIGUSR1}}], masks
    """)


def names() -> tuple[str, str | None]:
    """The calling thread's name in Python, and what the operating system shows."""
    comm = Path("/proc/thread-self/comm")
    return threading.current_thread().name, comm.read_text().rstrip("\n") if comm.exists() else None


def shown(name: str) -> tuple[str, str | None]:
    return name, name[:15] if Path("/proc/thread-self/comm").exists() else None


def test_g14_names(make_cache: Harness) -> None:
    cache = make_cache(name="idle name")
    done: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(names, lambda outcome: done.put((outcome.unwrap(), names())), "a job with a long name")
    assert done.get(timeout=DEADLINE) == (shown("a job with a long name"), shown("idle name"))
    assert call(cache, names) == shown("idle name")
    assert cache.stats().started == 1


@pytest.mark.skipif(
    sys.version_info >= (3, 14) or not sys.platform.startswith("linux"), reason="Python tells it itself"
)
@pytest.mark.parametrize("mailbox", sorted(MAILBOXES))
def test_g14_the_system_is_told_by_either_implementation_and_without_ctypes(mailbox: str) -> None:
    child(
        """
        import sys
        import threadcache

        names = []
        deliver = lambda outcome: names.append(outcome.unwrap())
        read = lambda: open("/proc/thread-self/comm").read()
        threadcache.start_thread_soon(read, deliver, "long, \u2026, name and more")
        assert threadcache.default_cache.drain(30)
        assert names == ["long, \u2026, name\\n"], names
        assert "ctypes" not in sys.modules  # it costs more to import than all of threadcache
        """,
        THREADCACHE_MAILBOX=mailbox,
    )


def test_g14_the_default_name(cache: ThreadCache) -> None:
    assert call(cache, names) == shown("threadcache worker")
    assert "threadcache worker" in [thread.name for thread in threading.enumerate()]
    assert call(cache, lambda: threading.current_thread().daemon)


def test_g14_a_failing_job_gives_its_name_back(cache: ThreadCache) -> None:
    with pytest.raises(ZeroDivisionError):
        call(cache, lambda: 1 // 0, "fails")
    assert call(cache, names) == shown("threadcache worker")


def test_g14_subclasses_of_str_are_names(cache: ThreadCache) -> None:
    class Name(str):
        __slots__ = ()

    assert call(cache, lambda: type(threading.current_thread().name), Name("x")) is str


def test_g14_unnamed_jobs_name_nothing(cache: ThreadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    call(cache, int)

    def refuse(*_: object) -> None:
        raise AssertionError("a name was set")

    monkeypatch.setattr("threadcache._worker.name_thread", refuse)
    assert call(cache, lambda: 1) == 1


def test_workers_that_left_are_not_enumerated(cache: ThreadCache) -> None:
    before = set(threading.enumerate())
    barrier = threading.Barrier(5)
    for _ in range(5):
        cache.start_thread_soon(lambda: barrier.wait(DEADLINE), lambda outcome: outcome.unwrap())
    until(lambda: cache.stats().jobs == 5)
    assert len(set(threading.enumerate()) - before) == 5
    assert cache.drain(DEADLINE)
    until(lambda: set(threading.enumerate()) <= before)


def test_hooks_run_in_the_worker_around_its_jobs(make_cache: Harness) -> None:
    log: list[tuple[str, int]] = []

    def note(what: str) -> None:
        log.append((what, threading.get_ident()))

    cache = make_cache(on_worker_start=lambda: note("start"), on_worker_exit=lambda: note("exit"))
    call(cache, lambda: note("job"))
    call(cache, lambda: note("job"))
    assert cache.drain(DEADLINE)
    assert [what for what, _ in log] == ["start", "job", "job", "exit"]
    assert len({ident for _, ident in log}) == 1


def test_a_failing_hook_is_reported_and_costs_nothing(make_cache: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: SimpleQueue[Any] = SimpleQueue()
    monkeypatch.setattr("threading.excepthook", reports.put)

    def fail(what: str) -> None:
        raise SystemExit(what)

    cache = make_cache(on_worker_start=lambda: fail("start"), on_worker_exit=lambda: fail("exit"))
    assert call(cache, lambda: 1) == 1
    assert cache.drain(DEADLINE)
    assert [str(reports.get(timeout=DEADLINE).exc_value) for _ in range(2)] == ["start", "exit"]
    assert cache.stats().deliver_errors == 0


def test_a_slow_start_hook_delays_its_own_job_alone(make_cache: Harness) -> None:
    """G3: the next worker is woken before the hook is called."""
    release = threading.Event()
    hooks = 0

    def hook() -> None:
        nonlocal hooks
        hooks += 1
        if hooks == 1:
            assert release.wait(DEADLINE)

    cache = make_cache(on_worker_start=hook)
    results: SimpleQueue[Any] = SimpleQueue()
    for number in range(3):
        cache.start_thread_soon(lambda number=number: number, results.put)
    numbers = {results.get(timeout=DEADLINE).unwrap() for _ in range(2)}
    release.set()
    assert numbers | {results.get(timeout=DEADLINE).unwrap()} == {0, 1, 2}


@pytest.mark.parametrize("hook", ["on_worker_start", "on_worker_exit"])
def test_a_hook_must_be_callable(make_cache: Harness, hook: str) -> None:
    with pytest.raises(TypeError, match="a hook must be callable, not int"):
        make_cache(**{hook: 1})


@pytest.mark.parametrize("which", ["trace", "profile"])
def test_trace_and_profile_functions_reach_warm_workers(cache: ThreadCache, which: str) -> None:
    """Those of `threading.settrace` and `threading.setprofile`, also if set later, and until they are taken back."""
    current = getattr(sys, f"get{which}")
    install = getattr(threading, f"set{which}")
    old = getattr(threading, f"get{which}")()

    def function(*_: object) -> None:
        return None

    assert call(cache, current) is old
    install(function)
    try:
        assert call(cache, current) is function
    finally:
        install(old)
    assert call(cache, current) is old
    assert cache.stats().started == 1
