"""The mailbox where a process is at stake: 10,000 parked threads, forks and exits while it spins, interpreters."""

from __future__ import annotations

import os
import sys
import sysconfig

import pytest
from conftest import MAILBOXES, child
from test_g15_subinterpreters import PRELUDE, needs_subinterpreters

GIL = not sysconfig.get_config_var("Py_GIL_DISABLED")
native = pytest.mark.skipif("native" not in MAILBOXES, reason="the native mailbox is not built here")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture(params=sorted(MAILBOXES))
def mailbox(request: pytest.FixtureRequest) -> str:
    """Which one a child is to use, by the name that THREADCACHE_MAILBOX knows it by."""
    return str(request.param)


@pytest.mark.timeout(300)
def test_10000_threads_park(mailbox: str) -> None:
    """All are parked at once, and each is woken by its own token."""
    done = child(
        """
        import _thread, os, threading, time
        from threadcache._backend import Mailbox
        NUMBER = 10_000
        threading.stack_size(256 * 1024)
        begun, ended, boxes, refused = [], [], [], None
        def park(box):
            begun.append(box)
            assert box.get(True, -1)
            ended.append(box)
        def until(condition):
            deadline = time.monotonic() + 200
            while not condition():
                assert time.monotonic() < deadline, (len(begun), len(ended))
                time.sleep(0.005)
        for number in range(NUMBER):
            box = Mailbox(25, False)
            try:
                _thread.start_new_thread(park, (box,))
            except RuntimeError as error:
                refused = error
                break
            boxes.append(box)
        until(lambda: len(begun) == len(boxes))
        assert not ended and all(box.is_empty() for box in boxes)
        for box in boxes[::2]:
            box.put()
        until(lambda: len(ended) == len(boxes[::2]))
        assert set(ended) == set(boxes[::2])
        for box in boxes[1::2]:
            box.put()
        until(lambda: len(ended) == len(boxes))
        assert set(ended) == set(boxes) and all(box.is_empty() for box in boxes)
        print("refused" if refused else "all", len(boxes), refused or "", flush=True)
        os._exit(0)  # CPython 3.13 without the GIL may crash if thousands of threads end while it does
        """,
        timeout=250,
        THREADCACHE_MAILBOX=mailbox,
    )
    if done.stdout.startswith("refused"):
        pytest.skip(f"this system has no room for 10,000 threads: {done.stdout}")
    assert done.stdout.split() == ["all", "10000"]


FORK = """
import os, threading, time, warnings, threadcache
warnings.simplefilter("ignore", DeprecationWarning)
def call(cache):
    done = threading.Event()
    cache.start_thread_soon(int, lambda outcome: done.set())
    assert done.wait(30)
def works():
    for cache in list(threadcache._cache._caches):
        for _ in range(20):
            call(cache)
        assert cache.drain(30)
def fork():
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            works()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
cache = threadcache.default_cache
def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)
"""


@forks
@pytest.mark.parametrize("spin", ["0", "1000000"])
def test_fork_while_workers_wait(mailbox: str, spin: str) -> None:
    """One of them spins, for a second, and the others are parked; the child's cache knows neither."""
    child(
        f"""{FORK}
barrier = threading.Barrier(4)
delivered = threading.Semaphore(0)
for _ in range(4):
    for _ in range(4):
        cache.start_thread_soon(lambda: barrier.wait(30), lambda outcome: delivered.release())
    for _ in range(4):
        assert delivered.acquire(timeout=30)
    fork()
    works()
""",
        THREADCACHE_MAILBOX=mailbox,
        THREADCACHE_SPIN=spin,
    )


@forks
def test_fork_in_a_job_while_another_worker_waits(mailbox: str) -> None:
    """The child's only thread is one whose mailbox is to be forgotten, and so is who spins in its parent."""
    child(
        f"""{FORK}
delivered = threading.Semaphore(0)
for _ in range(4):
    barrier = threading.Barrier(2)
    cache.start_thread_soon(lambda: barrier.wait(30), lambda outcome: delivered.release())
    cache.start_thread_soon(lambda: (barrier.wait(30), fork()), lambda outcome: (outcome.unwrap(), delivered.release()))
    for _ in range(2):
        assert delivered.acquire(timeout=30)
works()
""",
        THREADCACHE_MAILBOX=mailbox,
        THREADCACHE_SPIN="1000000",
    )


@native
@forks
def test_a_forked_child_spins_though_the_spinner_is_its_parents() -> None:
    """What the module remembers of a thread that is not there any more is only compared."""
    child(
        f"""{FORK}
from threadcache._native import Mailbox, set_cores
set_cores(2)
box = Mailbox(1e6)
threading.Thread(target=box.get, args=(True, 30)).start()
until(lambda: threading.active_count() == 2)
time.sleep(0.05)  # it is about to spin, or does
def works():
    assert box.is_empty()
    other = Mailbox(1e6)
    begun = threading.Event()
    results = []
    def get():
        begun.set()
        results.append(other.get(True, 0))
        other.get(False, -1)
    for attempt in range(3000):
        begun.clear()
        thread = threading.Thread(target=get)
        thread.start()
        assert begun.wait(30)
        time.sleep(0.001)
        other.put()
        thread.join(30)
        if True in results:
            break
    else:
        raise AssertionError("it never spins")
    # And what another thread of the parent waited in works, too.
    box.put()
    assert box.get(True, 30) and not box.get(True, 1e-3)
fork()
box.put()
""",
        timeout=90,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mailbox", "spin"),
    [("pure", "0"), *(pytest.param("native", spin, marks=native) for spin in ("0", "100", "3000", "10000", "1000000"))],
)
def test_exit_while_workers_wait(mailbox: str, spin: str) -> None:
    """Workers that spin, come out of it, or are parked when the interpreter goes do not hold it up, nor crash it."""
    for status in range(8):
        done = child(
            f"""
            import sys, threading, threadcache
            barrier = threading.Barrier(4)
            delivered = threading.Semaphore(0)
            for _ in range(2):
                for _ in range(4):
                    threadcache.start_thread_soon(lambda: barrier.wait(30), lambda outcome: delivered.release())
                for _ in range(4):
                    delivered.acquire()
            sys.exit({status})
            """,
            check=False,
            timeout=30,
            THREADCACHE_MAILBOX=mailbox,
            THREADCACHE_SPIN=spin,
        )
        assert done.returncode == status and not done.stderr, done


@native
@pytest.mark.timeout(300)
@pytest.mark.parametrize("shared", [False, True])
def test_exit_while_daemon_threads_spin_or_have_spun(shared: bool) -> None:
    """Without a cache, and with its module gone from `sys.modules`; the spins end all through the exit."""
    for spin in (0, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 1e6):
        done = child(
            f"""
            import _thread, gc, sys, threading, time
            from threadcache._native import Mailbox
            boxes = [Mailbox({spin}, {shared}) for _ in range(8)]
            begun = []
            def wait(box):
                begun.append(None)
                while True:
                    box.get(True, 0.001)
            for box in boxes:
                _thread.start_new_thread(wait, (box,))
            while len(begun) < 8:
                time.sleep(0)
            del boxes, box, Mailbox
            for name in [name for name in sys.modules if name.startswith("threadcache")]:
                del sys.modules[name]
            gc.collect()
            """,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0 and not done.stderr, done


USE = """
import threading
from threadcache._native import Mailbox, set_cores
from threadcache import _native
print("sees", _native.sees_gil, flush=True)
box = Mailbox(25)
for _ in range(100):
    box.put()
    assert box.get(True, -1) and not box.get(True, 0) and not box.get(True, 1e-5)
"""
THREADS = """
ping, pong = Mailbox(25), Mailbox(25, True)
def answer():
    for _ in range(500):
        assert ping.get(True, 30)
        pong.put()
thread = threading.Thread(target=answer)
thread.start()
for _ in range(500):
    ping.put()
    assert pong.get(True, 30)
thread.join()
"""
with_own_gil = pytest.mark.skipif(sys.version_info < (3, 12), reason="they all share a GIL before Python 3.12")


@native
@needs_subinterpreters
@pytest.mark.parametrize("kind", ["legacy", pytest.param("isolated", marks=with_own_gil)])
def test_interpreters_have_it_one_by_one(kind: str) -> None:
    """Each has a module of its own, which sees its own interpreter's GIL, and leaves with it."""
    if not GIL and sys.version_info < (3, 14) and kind == "legacy":
        pytest.skip("the free-threaded 3.13 has no sub-interpreters that share anything")
    use = USE + (THREADS if sys.version_info >= (3, 13) or kind == "legacy" else "")
    done = child(f"""{PRELUDE}
{USE}
others = [create({kind!r}) for _ in range(3)]
for other in others:
    run(other, {use!r})
for other in others:
    run(other, {use!r})
    interpreters.destroy(other)
box.put()
assert box.get(True, -1)
for _ in range(10):
    other = create({kind!r})
    run(other, {use!r})
    interpreters.destroy(other)
{THREADS}
""")
    assert (
        done.stdout.split() == ["sees", str(int(GIL and sys.version_info >= (3, 13) and sys.platform != "win32"))] * 17
    )


@native
@needs_subinterpreters
@pytest.mark.skipif(sys.version_info < (3, 13), reason="such interpreters can't have threads before Python 3.13")
def test_interpreters_use_it_at_the_same_time() -> None:
    """Each with its own GIL, or with none: what one learns, and who spins there, is nothing to the others."""
    done = child(f"""{PRELUDE}
import threading
others = [create("isolated") for _ in range(3)]
threads = [threading.Thread(target=run, args=(other, {USE + THREADS!r})) for other in others]
for thread in threads:
    thread.start()
{USE + THREADS.replace("thread.", "answering.").replace("thread =", "answering =")}
for thread in threads:
    thread.join()
for other in others:
    interpreters.destroy(other)
print("destroyed")
""")
    assert done.stdout.split()[-1] == "destroyed" and done.stdout.count("sees") == 4
