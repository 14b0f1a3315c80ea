"""G11: in a forked child every cache is empty and works; what ran in the parent is delivered in the parent alone."""

from __future__ import annotations

import os
import threading
import time
import warnings
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call, child, until

from threadcache import ThreadCache

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
    # Forking a process with threads is what these tests are about.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def in_child(check: Callable[[], object]) -> None:
    """Fork, call ``check`` in the child, and fail if it raises or does not end in time."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            check()
            status = 0
        except BaseException:  # a forked pytest must never go on
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    reap(pid)


def reap(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise AssertionError("the child hangs")
        time.sleep(0.001)
    assert os.waitstatus_to_exitcode(status) == 0


def works(cache: ThreadCache) -> None:
    assert cache.stats() == (0,) * 9
    assert not cache.jobs()
    assert call(cache, lambda: "child") == "child"
    assert cache.stats()[:2] == (1, 1)
    assert cache.drain(DEADLINE)


def test_g11_with_idle_workers(cache: ThreadCache) -> None:
    barrier = threading.Barrier(4)
    done: SimpleQueue[Any] = SimpleQueue()
    for _ in range(4):
        cache.start_thread_soon(lambda: barrier.wait(DEADLINE), done.put)
    for _ in range(4):
        done.get(timeout=DEADLINE).unwrap()
    until(lambda: cache.stats().idle == 4)
    in_child(lambda: works(cache))
    assert cache.stats().idle == 4
    assert call(cache, lambda: "parent") == "parent"
    assert cache.stats().started == 4


def test_g11_with_a_running_job(cache: ThreadCache) -> None:
    release = threading.Event()
    done: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(lambda: release.wait(DEADLINE), done.put)
    in_child(lambda: works(cache))
    release.set()
    assert done.get(timeout=DEADLINE).unwrap()
    assert done.empty()


def test_g11_from_inside_a_job() -> None:
    """The job goes on in the child, but is delivered in the parent alone; its thread ends in the child."""
    done = child("""
        import os, sys, threading, threadcache, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        parent = os.getpid()
        started = []
        cache = threadcache.ThreadCache(on_worker_exit=lambda: started.append(os.getpid()))
        def fn():
            pid = os.fork()
            if pid == 0:
                done = threading.Event()
                cache.start_thread_soon(int, lambda outcome: done.set())
                assert done.wait(30)
                assert cache.drain(30)
                os.write(1, b"child works\\n")
                return 0
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            return pid
        delivered = threading.Event()
        def deliver(outcome):
            os.write(1, b"delivered in parent\\n" if os.getpid() == parent else b"delivered in child\\n")
            delivered.set()
        cache.start_thread_soon(fn, deliver)
        assert delivered.wait(50)
        assert cache.drain(30)
        assert started == [parent]
    """)
    assert done.stdout.splitlines() == ["child works", "delivered in parent"]


def test_g11_from_inside_deliver(cache: ThreadCache) -> None:
    done: SimpleQueue[Any] = SimpleQueue()

    def deliver(outcome: Any) -> None:
        try:
            in_child(lambda: works(cache))
        except BaseException as error:
            done.put(error)
        else:
            done.put("forked")

    cache.start_thread_soon(int, deliver)
    assert done.get(timeout=DEADLINE) == "forked"


def test_g11_from_inside_a_hook() -> None:
    """The job that the new worker has claimed runs in the parent alone."""
    done = child("""
        import os, threading, threadcache, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        def hook():
            pid = os.fork()
            if pid:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        cache = threadcache.ThreadCache(on_worker_start=hook)
        cache.start_thread_soon(lambda: os.write(1, b"fn\\n"), lambda outcome: os.write(1, b"deliver\\n"))
        assert cache.drain(30)
    """)
    assert done.stdout.splitlines() == ["fn", "deliver"]


def test_g11_while_four_threads_submit(cache: ThreadCache) -> None:
    stop = threading.Event()
    counts = [0] * 4
    delivered: SimpleQueue[Any] = SimpleQueue()

    def submit(index: int) -> None:
        while not stop.is_set():
            cache.start_thread_soon(int, delivered.put)
            counts[index] += 1
            if counts[index] % 10 == 0:
                call(cache, int)

    threads = [threading.Thread(target=submit, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            in_child(lambda: works(cache))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for _ in range(sum(counts)):
        delivered.get(timeout=DEADLINE).unwrap()
    assert delivered.empty()


def test_g11_all_caches_and_grandchildren(make_cache: Any) -> None:
    caches = [make_cache() for _ in range(3)]
    for cache in caches:
        call(cache, int)

    def check() -> None:
        for cache in caches:
            works(cache)
            call(cache, int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for cache in caches:
                in_child(lambda cache=cache: works(cache))

    in_child(check)


def test_g11_a_drained_process_has_no_thread_to_fork_away(cache: ThreadCache) -> None:
    """After `drain`, `os.fork` finds a single thread: from Python 3.12 on it warns otherwise."""
    child("""
        import os, threading, warnings, threadcache
        warnings.simplefilter("error")
        for _ in range(20):
            barrier = threading.Barrier(4)
            for _ in range(4):
                threadcache.start_thread_soon(barrier.wait, lambda outcome: outcome.unwrap())
            assert threadcache.default_cache.drain(30)
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
    """)
