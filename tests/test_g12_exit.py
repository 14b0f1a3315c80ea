"""G12: workers never hold up the interpreter's exit; jobs are taken while a worker can run them, then refused."""

from __future__ import annotations

import sys
import sysconfig

import pytest
from conftest import child

GIL = not sysconfig.get_config_var("Py_GIL_DISABLED")


def test_g12_idle_workers_do_not_hold_up_the_exit() -> None:
    done = child(
        """
        import threading, threadcache
        cache = threadcache.ThreadCache(idle_timeout=float("inf"))
        barrier = threading.Barrier(3)
        done = threading.Semaphore(0)
        for _ in range(3):
            cache.start_thread_soon(barrier.wait, lambda outcome: done.release())
        for _ in range(3):
            done.acquire()
        print("main ends")
        """,
        timeout=20,
    )
    assert done.stdout == "main ends\n"
    assert not done.stderr


@pytest.mark.parametrize(
    "job", ["threading.Event().wait", "lambda: [0 for _ in iter(int, 1)]", "lambda: time.sleep(1000)"]
)
def test_g12_jobs_that_never_end_do_not_hold_up_the_exit(job: str) -> None:
    done = child(
        f"""
        import threading, time, threadcache
        started = threading.Event()
        job = {job}
        def fn():
            started.set()
            job()
        threadcache.start_thread_soon(fn, print)
        assert started.wait(30)
        print("main ends")
        """,
        timeout=40,
    )
    assert done.stdout == "main ends\n"
    assert not done.stderr


@pytest.mark.parametrize("warm", [False, True])
def test_g12_jobs_are_taken_in_atexit_callbacks(warm: bool) -> None:
    """There, workers still run. Python 3.12 alone starts no thread any more, and says so."""
    done = child(f"""
        import atexit, threading, threadcache
        def late(what):
            done = threading.Event()
            threadcache.start_thread_soon(int, lambda outcome: done.set())
            assert done.wait(30)
            print(what)
        atexit.register(late, "second")
        atexit.register(late, "first")
        if {warm}:
            late("warm")
    """)
    if sys.version_info[:2] == (3, 12) and not warm:
        assert done.stderr.count("RuntimeError: can't create new thread at interpreter shutdown") == 2
    else:
        assert done.stdout.split() == ["warm"] * warm + ["first", "second"]


@pytest.mark.parametrize("warm", [False, True])
def test_g12_after_that_jobs_are_refused(warm: bool) -> None:
    """When the interpreter takes itself apart no thread runs any more: the call raises, and does not wait."""
    done = child(f"""
        import sys, threading, threadcache
        class Last:
            def __init__(self):
                self.start = threadcache.start_thread_soon
                self.print, self.type, self.error = print, type, RuntimeError
                self.stderr = sys.stderr
            def __del__(self):
                try:
                    self.start(self.print, self.print)
                except self.error as error:
                    self.print(self.type(error).__name__, error, file=self.stderr, flush=True)
        if {warm}:
            done = threading.Event()
            threadcache.start_thread_soon(int, lambda outcome: done.set())
            assert done.wait(30)
        sys.last = Last()  # lives until the interpreter clears sys
        threading.last = Last()
    """)
    if sys.implementation.name == "cpython":  # PyPy does not finalize what is left at exit
        name = "PythonFinalizationError" if sys.version_info >= (3, 13) else "RuntimeError"
        assert done.stderr.count(f"{name} cannot start a job at interpreter shutdown") == 2, done.stderr
    assert not done.stdout


def test_g12_an_exit_with_everything_at_once() -> None:
    """Finished, running and waiting jobs, and other threads that go on submitting: the process ends, with status 7.

    Without the GIL those threads take it in turns with their jobs. A flood starts many threads at a time there, and
    CPython 3.13 then hangs in its own finalization: a thread that it has stopped for good may hold a lock of the
    interpreter's that the main thread needs (`_Py_brc_remove_thread`, `_Py_qsbr_unregister`). The same happens to
    daemon threads of `threading` that start one another, so no thread cache can help it.
    """
    done = child(
        f"""
        import sys, threading, threadcache
        def feed():
            delivered = threading.Semaphore(0)
            while True:
                try:
                    threadcache.start_thread_soon(int, lambda outcome: delivered.release())
                except RuntimeError:
                    return
                if not {GIL}:
                    delivered.acquire()
        for _ in range(2):
            threading.Thread(target=feed, daemon=True).start()
        for _ in range(5):
            threadcache.start_thread_soon(threading.Event().wait, print)
        threading.Event().wait(0.2)
        sys.exit(7)
        """,
        check=False,
        timeout=60,
    )
    assert done.returncode == 7, done
    assert "Traceback" not in done.stderr
