"""Debug mode: what a job should not do to a cached thread is said."""

from __future__ import annotations

import pytest
from conftest import child

REPORT = """
import asyncio, signal, sys, threading, time, warnings, threadcache
said = []
warnings.showwarning = lambda message, category, *rest: said.append((category, str(message)))
warnings.simplefilter("always")
def run(fn, deliver=lambda outcome: None):
    done = threading.Event()
    def and_tell(outcome):
        try:
            deliver(outcome)
        finally:
            done.set()
    threadcache.start_thread_soon(fn, and_tell)
    assert done.wait(30)
    assert threadcache.default_cache.drain(30)
"""


def said(code: str, *options: str, **environment: str) -> list[str]:
    done = child(
        REPORT + code + "\nfor category, text in said: print(category.__name__, text)", *options, **environment
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("trace function", "sys.settrace(lambda *_: None)"),
        ("profile function", "sys.setprofile(lambda *_: None)"),
        ("event loop", "asyncio.set_event_loop(asyncio.new_event_loop())"),
        ("signal mask", "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])"),
        ("name", "threading.current_thread().name = 'mine'"),
    ],
)
def test_debug_reports_thread_state_left_behind(what: str, code: str) -> None:
    if what == "signal mask" and not hasattr(__import__("signal"), "pthread_sigmask"):
        pytest.skip("needs POSIX signals")
    lines = said(f"def job(): {code}\nrun(job)", THREADCACHE_DEBUG="1")
    (line,) = [line for line in lines if "ResourceWarning" not in line]  # nobody closes that event loop
    assert line.startswith("RuntimeWarning <function job at")
    assert f"left its thread with another {what} than it found" in line


def test_debug_reports_a_slow_deliver() -> None:
    (line,) = said("run(int, lambda outcome: time.sleep(0.15))", THREADCACHE_DEBUG="1")
    assert "and_tell" in line
    assert "s to deliver, while a job may wait for its thread" in line


def test_debug_is_silent_about_good_jobs() -> None:
    assert said("run(lambda: 1 / 0)\nrun(int)", THREADCACHE_DEBUG="1") == []


@pytest.mark.parametrize(
    ("options", "value", "reports"),
    [((), "", 0), ((), "0", 0), ((), "1", 1), (("-X", "dev"), "", 1)],
)
def test_debug_is_turned_on(options: tuple[str, ...], value: str, reports: int) -> None:
    code = "def job(): threading.current_thread().name = 'mine'\nrun(job)"
    assert len(said(code, *options, THREADCACHE_DEBUG=value)) == reports


def test_debug_leaves_outcomes_alone() -> None:
    """Whatever goes wrong while debug mode looks or speaks is not the job's."""
    code = """
class Odd:
    def __call__(self, *outcome):
        threading.current_thread().name = "mine"
        return 1
    def __repr__(self):
        raise SystemError("no repr")
results = []
run(Odd(), results.append)
print(results)
print(threadcache.default_cache.stats().deliver_errors)
"""
    results, errors, warning = said(code, THREADCACHE_DEBUG="1")
    assert (results, errors) == ("[Value(1)]", "0")
    assert "left its thread with another name" in warning
