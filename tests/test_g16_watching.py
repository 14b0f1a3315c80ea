"""G16: it can be watched, trimmed and drained."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call, until
from steps import MODEL, OPCODES, Injection, at_each_opcode, codes
from test_g4_g5_g6_idle import occupy

import threadcache
from threadcache import JobInfo, Stats
from threadcache._threads import wait_for_end

if TYPE_CHECKING:
    from conftest import Harness

    from threadcache import ThreadCache


def test_g16_stats_are_exact_at_quiet_points(make_cache: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.excepthook", lambda arguments: None)
    cache = make_cache()
    assert cache.stats() == Stats(0, 0, 0, 0, 0, 0, 0, 0, 0)
    events = occupy(cache, 3)
    assert cache.stats() == Stats(3, 0, 3, 3, 3, 0, 0, 0, 0)
    events[0].set()
    until(lambda: cache.stats().idle)
    assert cache.stats() == Stats(3, 1, 2, 3, 3, 0, 1, 0, 0)
    cache.start_thread_soon(int, lambda outcome: 1 // 0)
    until(lambda: cache.stats().deliver_errors)
    assert cache.stats() == Stats(3, 1, 2, 3, 3, 0, 2, 0, 1)
    assert cache.trim() == 1
    until(lambda: cache.stats().workers == 2)
    assert cache.stats() == Stats(2, 0, 2, 3, 3, 1, 2, 0, 1)
    for event in events:
        event.set()
    assert cache.drain(DEADLINE)
    assert cache.stats() == Stats(0, 0, 0, 3, 3, 3, 4, 0, 1)
    call(cache, int)
    assert cache.stats() == Stats(1, 1, 0, 3, 4, 3, 5, 0, 1)
    assert len(cache._tallies) == 3  # counters are passed on, not piled up


def test_g16_jobs(make_cache: Harness) -> None:
    now = 100.0
    cache = make_cache(_clock=lambda: now, name="idle")
    assert cache.jobs() == []
    started, release = threading.Event(), threading.Event()

    def fn() -> None:
        started.set()
        assert release.wait(DEADLINE)

    cache.start_thread_soon(fn, lambda outcome: outcome.unwrap(), "named")
    assert started.wait(DEADLINE)
    now = 102.5
    (second,) = occupy(cache, 1)
    now = 103.0
    first_job, second_job = cache.jobs()
    assert isinstance(first_job, JobInfo)
    assert (first_job.fn, first_job.name, first_job.seconds) == (fn, "named", 3.0)
    assert first_job.thread.name == "named"
    assert (second_job.name, second_job.seconds) == ("idle", 0.5)
    second.set()
    until(lambda: len(cache.jobs()) == 1)
    release.set()
    until(lambda: cache.jobs() == [])


def test_g16_a_job_being_delivered_runs_no_more(cache: ThreadCache) -> None:
    seen: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(int, lambda outcome: seen.put((cache.jobs(), cache.stats())))
    jobs, stats = seen.get(timeout=DEADLINE)
    assert jobs == []
    assert (stats.workers, stats.idle, stats.busy, stats.jobs) == (1, 1, 0, 1)


def test_g16_trim_lets_the_coldest_go(cache: ThreadCache) -> None:
    for number, event in enumerate(occupy(cache, 5), 1):
        event.set()
        until(lambda number=number: cache.stats().idle == number)
    warmest = list(cache._idle)[-2:]
    assert cache.trim(keep=2) == 3
    until(lambda: cache.stats().workers == 2)
    assert list(cache._idle) == warmest
    assert cache.trim(keep=7) == 0
    assert cache.trim() == 2
    until(lambda: cache.stats().workers == 0)


@pytest.mark.parametrize(("keep", "error"), [(-1, ValueError), (1.0, TypeError), (None, TypeError)])
def test_g16_trim_wants_a_natural_number(cache: ThreadCache, keep: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        cache.trim(keep)


def test_g16_drain_waits_for_running_jobs_and_leaves_no_thread(cache: ThreadCache) -> None:
    before = os.listdir("/proc/self/task") if os.path.exists("/proc/self/task") else None
    events = occupy(cache, 3)
    assert not cache.drain(0)
    assert cache.stats().busy == 3
    result: SimpleQueue[bool] = SimpleQueue()
    thread = threading.Thread(target=lambda: result.put(cache.drain()))
    thread.start()
    until(lambda: cache._drains)
    for event in events:
        assert result.empty()
        event.set()
    assert result.get(timeout=DEADLINE)
    thread.join()
    assert cache.stats().workers == 0
    if before is not None:
        until(lambda: thread.native_id not in map(int, os.listdir("/proc/self/task")))
        assert os.listdir("/proc/self/task") == before
    assert call(cache, lambda: 1) == 1
    until(lambda: cache.stats().idle == 1)  # and keeps its worker again
    assert not cache._drains


def test_g16_drain_waits_for_what_is_submitted_meanwhile(cache: ThreadCache) -> None:
    """A chain of jobs, each submitted by the one before."""
    (event,) = occupy(cache, 1)
    ran: list[int] = []

    def deliver(outcome: Any) -> None:
        ran.append(outcome.unwrap())
        if len(ran) < 50:
            cache.start_thread_soon(lambda: len(ran), deliver)

    def submit() -> None:
        until(lambda: cache._drains)
        cache.start_thread_soon(lambda: 0, deliver)
        event.set()

    thread = threading.Thread(target=submit)
    thread.start()
    assert cache.drain(DEADLINE)
    thread.join()
    assert ran == list(range(50))


def test_g16_drain_begins_at_any_point_of_a_workers_life(make_cache: Harness) -> None:
    """It neither misses the worker nor waits for one that is gone."""
    for injection in at_each_opcode(between_calls=OPCODES, where=codes(*MODEL)):
        drain_at(injection, make_cache)
    assert injection.target > 20


def drain_at(injection: Injection, make_cache: Harness) -> None:
    results: SimpleQueue[bool] = SimpleQueue()
    ended = threading.Event()

    def drain() -> None:
        results.put(cache.drain(DEADLINE))
        ended.set()

    def strike() -> None:
        threading.Thread(target=drain).start()
        until(lambda: cache._drains or ended.is_set())

    def start(run: Any, args: tuple[()]) -> None:
        threading.Thread(target=injection, args=(strike, run)).start()

    cache = make_cache(_start_thread=start, idle_timeout=0)
    cache.start_thread_soon(int, print_nothing)
    until(lambda: cache.stats().started and cache.stats().workers == 0)
    if injection.struck:
        assert results.get(timeout=DEADLINE)
    assert cache.stats()[3:7] == (1, 1, 1, 1)


def test_g16_drain_waits_for_the_systems_threads(cache: ThreadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []

    def note(native_id: int, deadline: float) -> bool:
        waited.append(native_id)
        return wait_for_end(native_id, deadline)

    monkeypatch.setattr("threadcache._cache.wait_for_end", note)
    ids = {call(cache, threading.get_native_id)}
    for event in occupy(cache, 3):
        ids |= {job.thread.native_id for job in cache.jobs()}
        event.set()
    assert cache.drain(DEADLINE)
    assert set(waited) == ids


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux shows when a thread has ended")
def test_g16_waiting_for_a_thread_to_end() -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    assert thread.native_id is not None
    assert not wait_for_end(thread.native_id, time.monotonic() + 0.01)
    go_on.set()
    assert wait_for_end(thread.native_id, time.monotonic() + DEADLINE)
    assert str(thread.native_id) not in os.listdir("/proc/self/task")


def test_g16_two_drains_at_once(cache: ThreadCache) -> None:
    (event,) = occupy(cache, 1)
    results: SimpleQueue[bool] = SimpleQueue()
    threads = [threading.Thread(target=lambda: results.put(cache.drain(DEADLINE))) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: len(cache._drains) == 2)
    event.set()
    for thread in threads:
        thread.join()
        assert results.get()


def test_g16_a_drain_that_another_one_is_ahead_of(cache: ThreadCache) -> None:
    """They share the waiting for the system's threads, and which takes the last is decided by its being taken."""

    class Taken(deque[int]):
        def __len__(self) -> int:
            self.clear()
            return 1

    cache._ending = Taken([1])
    assert cache.drain(DEADLINE)
    cache._ending = deque()


@pytest.mark.parametrize("where", ["fn", "deliver", "hook"])
def test_g16_drain_from_within_is_refused(make_cache: Harness, where: str) -> None:
    errors: SimpleQueue[Any] = SimpleQueue()

    def drain(*_: object) -> None:
        try:
            cache.drain(1)
        except RuntimeError as error:
            errors.put(str(error))

    cache = make_cache(on_worker_start=drain if where == "hook" else None)
    cache.start_thread_soon(drain if where == "fn" else int, drain if where == "deliver" else print_nothing)
    assert "called in a worker of the cache" in errors.get(timeout=DEADLINE)


def print_nothing(outcome: Any) -> None:
    """A `deliver` that does nothing."""


def test_g16_drain_from_another_caches_job_is_fine(make_cache: Harness) -> None:
    first, second = make_cache(), make_cache()
    call(second, int)
    assert call(first, lambda: second.drain(DEADLINE)) is True


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (math.nan, ValueError), ("1", TypeError)])
def test_g16_drain_wants_seconds(cache: ThreadCache, timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        cache.drain(timeout)
    assert not cache._drains


def test_g16_drain_for_ever(cache: ThreadCache) -> None:
    call(cache, int)
    assert cache.drain(math.inf)


def test_warn_at_warns_once_and_only_warns(make_cache: Harness, recwarn: pytest.WarningsRecorder) -> None:
    cache = make_cache(warn_at=3)
    for event in occupy(cache, 2):
        event.set()
    until(lambda: cache.stats().idle == 2)
    assert not recwarn
    for _ in range(2):
        for event in occupy(cache, 5):
            event.set()
        until(lambda: cache.stats().busy == 0)
        assert cache.drain(DEADLINE)
    (warning,) = recwarn
    assert warning.category is RuntimeWarning
    assert "nothing but the layer above it limits them" in str(warning.message)


def test_warn_at_as_an_error_is_reported_and_costs_nothing(
    make_cache: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: SimpleQueue[Any] = SimpleQueue()
    monkeypatch.setattr("threading.excepthook", reports.put)
    cache = make_cache(warn_at=1)  # and pytest makes an error of each warning
    assert call(cache, lambda: 1) == 1
    assert reports.get(timeout=DEADLINE).exc_type is RuntimeWarning


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (math.nan, ValueError), ("1", TypeError)])
def test_warn_at_wants_a_number(make_cache: Harness, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make_cache(warn_at=value)


def test_the_default_cache_is_the_module_functions(cache: ThreadCache) -> None:
    before = threadcache.default_cache.stats().jobs
    done: SimpleQueue[Any] = SimpleQueue()
    threadcache.start_thread_soon(int, done.put)
    done.get(timeout=DEADLINE)
    assert threadcache.default_cache.stats().jobs == before + 1
    assert repr(threadcache.default_cache).startswith("<ThreadCache 'threadcache worker' workers=")
    assert threadcache.default_cache.drain(DEADLINE)


def test_a_cache_needs_a_name(make_cache: Harness) -> None:
    with pytest.raises(TypeError, match="name must be a str, not bytes"):
        make_cache(name=b"x")
