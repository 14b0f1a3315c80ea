"""What a forked child has of its parent's executors, and executors in sub-interpreters."""

from __future__ import annotations

import os
import sys

import pytest
from conftest import child
from test_executor_exit import BEGIN, GIL, KINDS
from test_g15_subinterpreters import PRELUDE, needs_subinterpreters

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@needs_fork
@KINDS
@pytest.mark.parametrize("state", ["unused", "warm", "full"])
def test_a_forked_child_has_an_empty_executor_that_works(kind: str, state: str) -> None:
    done = child(
        f"""{BEGIN}
executor = {kind}() if {kind!r} == "SerialExecutor" else {kind}(2)
release = threading.Event()
if {state!r} == "warm":
    executor.submit(int).result(30)
futures = []
if {state!r} == "full":
    ready = threading.Semaphore(0)
    def job():
        ready.release()
        assert release.wait(30)
        return os.getpid()
    futures = [executor.submit(job) for _ in range(5)]
    for _ in range(executor._max_workers):
        assert ready.acquire(timeout=30)
pid = os.fork()
if pid == 0:
    assert executor._work_queue.qsize() == len(executor._threads) == 0
    barrier = threading.Barrier(executor._max_workers)
    for _ in range(3):
        waiting = [executor.submit(barrier.wait, 30) for _ in range(executor._max_workers)]
        assert sorted(future.result(30) for future in waiting) == list(range(executor._max_workers))
    assert not any(future.done() for future in futures)
    executor.shutdown()
    say("child")
    sys.exit()  # its exit has nothing to wait for either
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
release.set()
assert [future.result(30) for future in futures] == [os.getpid()] * len(futures)
assert executor.submit(pow, 2, 3).result(30) == 8
""",
        *("-W", "ignore::DeprecationWarning"),
    )
    assert done.stdout.splitlines() == ["child", "exit goes on", "exit goes on"]
    assert not done.stderr


@needs_fork
@KINDS
def test_a_job_that_forks_is_resolved_in_the_parent_alone(kind: str) -> None:
    done = child(
        f"""{BEGIN}
executor = {kind}() if {kind!r} == "SerialExecutor" else {kind}(2)
parent = os.getpid()
def where():
    return "parent" if os.getpid() == parent else "child"
def job():
    pid = os.fork()
    if pid == 0:
        assert executor.submit(pow, 2, 3).result() == 8
        executor.shutdown()
        assert threadcache.default_cache.drain(30)  # or the process would live as long as an idle worker
        say("job in child")
        return
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return "result"
future = executor.submit(job)
future.add_done_callback(lambda _: say("callback in " + where()))
executor.submit(lambda: say("another in " + where()))
assert future.result(30) == "result"
executor.shutdown()
""",
        *("-W", "ignore::DeprecationWarning"),
    )
    lines = done.stdout.splitlines()
    assert lines.pop() == "exit goes on"
    assert sorted(lines) == ["another in parent", "callback in parent", "job in child"]
    assert not done.stderr


@needs_fork
def test_a_child_that_is_forked_within_a_wait_runs_nothing_of_the_parents() -> None:
    done = child(
        f"""{BEGIN}
executor = SerialExecutor()
parent = os.getpid()
def where():
    return "parent" if os.getpid() == parent else "child"
read, write = os.pipe()
def inner():
    if os.fork():
        os.close(write)
        assert os.read(read, 1) == b""  # the child has gone on, or is gone
        return
    # There is no thread but this one. It must not go on with the parent's line.
    threading.Timer(0.2, os._exit, (0,)).start()
def outer():
    future = executor.submit(inner)
    executor.submit(lambda: say("another in " + where()))
    future.result()
    say("outer in " + where())
executor.submit(outer).result()
""",
        *("-W", "ignore::DeprecationWarning"),
    )
    assert "another in child" not in done.stdout
    assert done.stdout.splitlines()[0] == "outer in parent"


@needs_subinterpreters
@pytest.mark.skipif(sys.version_info < (3, 13), reason="such interpreters can't have threads before Python 3.13")
@pytest.mark.parametrize("shut_down", [False, True])
def test_in_a_subinterpreter_without_daemon_threads(shut_down: bool) -> None:
    """It ends, though nobody shuts the executors down, and jobs that still run are waited for."""
    code = f"""
import os, threading, threadcache
threadcache.default_cache.idle_timeout = 1000
executor, serial = threadcache.CachedThreadPoolExecutor(5), threadcache.SerialExecutor()
barrier = threading.Barrier(5)
assert sorted(executor.map(lambda _: barrier.wait(30), range(5))) == list(range(5))
assert len({{serial.submit(threading.get_ident).result(30) for _ in range(5)}}) == 1
started = threading.Event()
def job(executor, what):
    started.set()
    threading.Event().wait(0.1)
    executor.submit(os.write, 1, what)
future = executor.submit(job, executor, b"cached\\n")
assert started.wait(30)
other = serial.submit(job, serial, b"serial\\n")
if {shut_down}:
    future.result(30)
    other.result(30)
    executor.shutdown()
    serial.shutdown()
"""
    done = child(f"""{PRELUDE}
interpreter = create("isolated")
run(interpreter, {code!r})
interpreters.destroy(interpreter)
print("destroyed")
""")
    assert sorted(done.stdout.splitlines()[:-1]) == ["cached", "serial"]
    assert done.stdout.endswith("destroyed\n")


@needs_subinterpreters
@pytest.mark.skipif(not GIL and sys.version_info < (3, 14), reason="the free-threaded 3.13 has none")
def test_in_a_legacy_subinterpreter_whose_threads_are_drained() -> None:
    code = """
import threading, threadcache
executor, serial = threadcache.CachedThreadPoolExecutor(5), threadcache.SerialExecutor()
barrier = threading.Barrier(5)
assert sorted(executor.map(lambda _: barrier.wait(30), range(5))) == list(range(5))
assert serial.submit(pow, 2, 3).result(30) == 8
executor.shutdown()
serial.shutdown()
assert threadcache.default_cache.drain(30)
"""
    done = child(f"""{PRELUDE}
interpreter = create("legacy")
run(interpreter, {code!r})
interpreters.destroy(interpreter)
print("destroyed")
""")
    assert done.stdout == "destroyed\n"


@needs_fork
def test_a_process_of_multiprocessings_finishes_its_jobs() -> None:
    """It ends without `atexit` where it has been forked."""
    done = child(
        """
import multiprocessing, time
from threadcache import CachedThreadPoolExecutor
executor = CachedThreadPoolExecutor(1)
executor.submit(int).result(30)
def target():
    executor.submit(time.sleep, 0.1)
    executor.submit(print, "done in the child")
process = multiprocessing.get_context("fork").Process(target=target)
process.start()
process.join(30)
assert process.exitcode == 0
""",
        *("-W", "ignore::DeprecationWarning"),
    )
    assert done.stdout.splitlines() == ["done in the child"]
    assert not done.stderr
