"""What the interpreter's exit does about the jobs of executors."""

from __future__ import annotations

import signal
import sys
import sysconfig

import pytest
from conftest import child

GIL = not sysconfig.get_config_var("Py_GIL_DISABLED")
KINDS = pytest.mark.parametrize("kind", ["CachedThreadPoolExecutor", "SerialExecutor"])
needs_kill = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")

# The first callback to be registered is the last to be called: after that of executors.
BEGIN = """
import atexit, os, sys, threading, time
def say(what):
    os.write(1, what.encode() + b"\\n")
atexit.register(say, "exit goes on")
import threadcache
from threadcache import CachedThreadPoolExecutor, SerialExecutor
exiting = threading.Event()
atexit.register(exiting.set)  # called just before that of executors
def warm():
    # Have idle workers: Python 3.12 starts no thread at exit any more.
    barrier = threading.Barrier(8)
    for _ in range(8):
        threadcache.start_thread_soon(barrier.wait, lambda _: None)
    while threadcache.default_cache.stats().idle < 8:
        time.sleep(0.001)
def blocked():
    started.set()
    threading.Event().wait()
started = threading.Event()
def exit_waits():
    while True:
        frame = sys._current_frames().get(threading.main_thread().ident)
        while frame is not None:
            if frame.f_code.co_filename.endswith("_exit.py"):
                return
            frame = frame.f_back
        time.sleep(0.001)
"""


def left(running: int, waiting: int, name: str = "an executor") -> str:
    return f"threadcache: exit leaves {running} running and {waiting} waiting jobs of {name} unfinished\n"


@KINDS
def test_exit_waits_for_running_and_waiting_jobs_and_for_what_they_submit(kind: str) -> None:
    done = child(f"""{BEGIN}
warm()
executor = {kind}()
def job(left):
    assert exiting.wait(30)
    if left:
        executor.submit(job, left - 1)
    say(f"job {{left}}")
for left in range(5):
    executor.submit(job, left)
""")
    lines = done.stdout.splitlines()
    assert lines.pop() == "exit goes on"
    assert sorted(lines) == sorted(f"job {left}" for start in range(5) for left in range(start + 1))
    assert not done.stderr


@KINDS
def test_exit_waits_for_callbacks_and_for_what_they_submit(kind: str) -> None:
    done = child(f"""{BEGIN}
warm()
executor = {kind}()
def job():
    exit_waits()
    say("job")
def callback(_):
    # Exit has been told that the job is done, and must not take that for the end.
    time.sleep(0.1)
    say("callback")
    executor.submit(submitted)
def submitted():
    time.sleep(0.2)
    say("submitted")
executor.submit(job).add_done_callback(callback)
""")
    assert sorted(done.stdout.splitlines()[:-1]) == ["callback", "job", "submitted"]
    assert done.stdout.endswith("exit goes on\n")
    assert not done.stderr


def test_exit_waits_for_a_job_that_waits_for_another_one_in_its_thread() -> None:
    done = child(f"""{BEGIN}
executor = SerialExecutor()
def outer():
    executor.submit(inner).result()
    time.sleep(0.2)
    say("outer")
def inner():
    started.set()
    exit_waits()
    say("inner")
executor.submit(outer)
assert started.wait(30)
""")
    assert done.stdout.splitlines() == ["inner", "outer", "exit goes on"]
    assert not done.stderr


def test_exit_waits_for_what_jobs_submit_to_other_executors() -> None:
    """Whichever of them it has waited for first."""
    done = child(f"""{BEGIN}
warm()
executors = [CachedThreadPoolExecutor(2), CachedThreadPoolExecutor(2, at_exit=100)]
def job(left):
    exit_waits()
    time.sleep(0.05)
    say(f"job {{left}}")
    if left:
        executors[left % 2].submit(job, left - 1)
executors[0].submit(job, 6)
""")
    assert done.stdout.splitlines() == [*(f"job {left}" for left in range(6, -1, -1)), "exit goes on"]
    assert not done.stderr


def test_exit_waits_for_what_jobs_submit_to_executors_that_they_make() -> None:
    done = child(f"""{BEGIN}
warm()
def job():
    exit_waits()
    CachedThreadPoolExecutor(2).submit(lambda: (time.sleep(0.2), say("job of a new executor")))
executor = CachedThreadPoolExecutor(2)
executor.submit(job)
""")
    assert done.stdout.splitlines() == ["job of a new executor", "exit goes on"]
    assert not done.stderr


@KINDS
def test_jobs_that_are_submitted_in_atexit_callbacks_run(kind: str) -> None:
    done = child(f"""{BEGIN}
executor = {kind}()
assert executor.submit(pow, 2, 3).result(30) == 8
while {kind!r} != "SerialExecutor" and not threadcache.default_cache.stats().idle:
    time.sleep(0.001)
def late():
    say(str(executor.submit(pow, 2, 4).result(30)))
    executor.submit(say, "not waited for by the callback")
atexit.register(late)
""")
    assert done.stdout.splitlines() == ["16", "not waited for by the callback", "exit goes on"]
    assert not done.stderr


@KINDS
def test_an_executor_that_is_first_used_at_exit_runs_the_job_or_refuses_it(kind: str) -> None:
    """Python 3.12 alone starts no thread any more, and says so."""
    done = child(f"""{BEGIN}
def late():
    executor = {kind}()
    try:
        executor.submit(say, "job")
    except RuntimeError as error:
        say(str(error))
atexit.register(late)
""")
    refused = "can't create new thread at interpreter shutdown"
    assert done.stdout.splitlines() == [refused if sys.version_info[:2] == (3, 12) else "job", "exit goes on"]
    assert not done.stderr


def test_what_was_accepted_is_finished_at_exit_though_no_thread_can_be_started() -> None:
    done = child(f"""{BEGIN}
from threadcache._threads import start_thread
held = []
cache = threadcache.ThreadCache(_start_thread=lambda *call: held.append(call))
executor = CachedThreadPoolExecutor(4, cache=cache)
release = threading.Event()
def first():
    started.set()
    assert release.wait(30)  # until what no worker is there for has run
    say("first")
executor.submit(first)
executor.submit(lambda: (say("second"), release.set()))
executor.submit(say, "third")
assert len(held) == 1  # the others count on it
def refuse(*call):
    raise RuntimeError("can't start new thread")
cache._start_thread = refuse
start_thread(*held.pop())
assert started.wait(30)
""")
    assert sorted(done.stdout.splitlines()[:-1]) == ["first", "second", "third"]
    assert done.stdout.endswith("exit goes on\n")
    assert not done.stderr


@pytest.mark.parametrize("seconds", ['"abandon"', "0", "0.2"])
@KINDS
def test_exit_says_what_it_leaves(kind: str, seconds: str) -> None:
    done = child(f"""{BEGIN}
executor = {kind}(thread_name_prefix="the prefix", at_exit={seconds})
executor.submit(blocked)
assert started.wait(30)
if {kind!r} == "SerialExecutor":
    futures = [executor.submit(say, "never") for _ in range(3)]
    futures[1].cancel()
""")
    assert done.stdout == "exit goes on\n"
    assert done.stderr == left(1, 2 if kind == "SerialExecutor" else 0, "the prefix")


def test_exit_says_of_each_executor_what_it_leaves() -> None:
    done = child(f"""{BEGIN}
one = CachedThreadPoolExecutor(2, "one", at_exit="abandon")
other = CachedThreadPoolExecutor(2, at_exit=0.1)
waited_for = CachedThreadPoolExecutor(2)
barrier = threading.Barrier(4)
def never_ends():
    barrier.wait(30)
    threading.Event().wait()
for executor in (one, one, other):
    executor.submit(never_ends)
barrier.wait(30)
for executor in (one, one, one):
    executor.submit(say, "never")
waited_for.submit(lambda: (exit_waits(), time.sleep(0.2), say("waited for")))
""")
    assert done.stdout.splitlines() == ["waited for", "exit goes on"]
    assert sorted(done.stderr.splitlines(keepends=True)) == [left(1, 0), left(2, 3, "one")]


@pytest.mark.parametrize(
    ("kind", "at_exit"),
    [
        *[("CachedThreadPoolExecutor", at_exit) for at_exit in ('"abandon"', "0.2", "1e10", "1e300", "float('inf')")],
        *[("SerialExecutor", at_exit) for at_exit in ('"abandon"', "1e10", '"wait"')],
    ],
)
def test_exit_is_silent_where_it_leaves_nothing(kind: str, at_exit: str) -> None:
    done = child(f"""{BEGIN}
executor = {kind}(at_exit={at_exit})
unused = {kind}(at_exit={at_exit})
assert executor.submit(pow, 2, 3).result(30) == 8
if {at_exit} in ("wait", 1e10, 1e300, float("inf")):
    executor.submit(lambda: (exit_waits(), time.sleep(0.1), say("job")))
    executor.submit(say, "another")
del unused
""")
    lines = done.stdout.splitlines()
    assert lines.pop() == "exit goes on"
    assert sorted(lines) == (["another", "job"] if at_exit not in {'"abandon"', "0.2"} else [])
    assert not done.stderr


@KINDS
def test_exit_waits_for_a_number_of_seconds_no_longer_than_needed(kind: str) -> None:
    done = child(
        f"""{BEGIN}
executor = {kind}(at_exit=1000)
executor.submit(lambda: (exit_waits(), say("job")))
""",
        timeout=60,
    )
    assert done.stdout.splitlines() == ["job", "exit goes on"]


@KINDS
def test_what_was_shut_down_without_waiting_is_waited_for_at_exit(kind: str) -> None:
    done = child(f"""{BEGIN}
executor = {kind}()
executor.submit(lambda: (exit_waits(), time.sleep(0.1), say("job")))
executor.submit(say, "another")
executor.shutdown(wait=False)
del executor
""")
    assert sorted(done.stdout.splitlines()[:-1]) == ["another", "job"]
    assert not done.stderr


@needs_kill
@KINDS
def test_an_interrupt_ends_the_wait_at_exit(kind: str) -> None:
    done = child(f"""{BEGIN}
import signal
executor = {kind}(at_exit="wait")
def job():
    exit_waits()
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()
executor.submit(job)
""")
    assert done.stdout == "exit goes on\n"
    assert done.stderr == left(1, 0)


@KINDS
def test_threads_that_go_on_submitting_do_not_keep_the_process_alive(kind: str) -> None:
    """Without the GIL they take it in turns with their jobs, for the reason told in `test_g12_exit`."""
    done = child(
        f"""{BEGIN}
executor = {kind}()
def feed():
    while True:
        try:
            future = executor.submit(int)
            if not {GIL} or executor._work_queue.qsize() > 100:
                future.exception(30)
        except RuntimeError:
            return
for _ in range(3):
    threading.Thread(target=feed, daemon=True).start()
while threadcache.default_cache.stats().started == 0:
    time.sleep(0.001)
executor.submit(say, "waited for")
sys.exit(7)
""",
        check=False,
    )
    assert done.returncode == 7, done
    assert done.stdout.splitlines() == ["waited for", "exit goes on"]
    assert "Traceback" not in done.stderr
