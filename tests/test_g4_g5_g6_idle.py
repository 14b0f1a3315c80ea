"""G4: last idle, first used. G5: idle before deliver. G6: idle workers retire by themselves."""

from __future__ import annotations

import math
import os
import sys
import threading
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call, until

if TYPE_CHECKING:
    from conftest import Harness

    from threadcache import ThreadCache


def occupy(cache: ThreadCache, workers: int) -> list[threading.Event]:
    """Make ``workers`` workers busy, one after another; setting the n-th event lets the n-th go."""
    started: SimpleQueue[None] = SimpleQueue()
    events = [threading.Event() for _ in range(workers)]

    def wait(event: threading.Event) -> None:
        started.put(None)
        assert event.wait(DEADLINE)

    for event in events:
        cache.start_thread_soon(lambda event=event: wait(event), lambda outcome: outcome.unwrap())
        started.get(timeout=DEADLINE)
    return events


def test_g4_the_last_idle_is_used_first(cache: ThreadCache) -> None:
    first = occupy(cache, 3)
    idents = [job.thread.ident for job in cache.jobs()]
    for number, event in enumerate(first, 1):
        event.set()
        until(lambda number=number: cache.stats().idle == number)
    assert [worker.thread.ident for worker in cache._idle] == idents
    for _ in range(10):
        assert call(cache, threading.get_ident) == idents[-1]
        until(lambda: cache.stats().idle == 3)
    second = occupy(cache, 1)
    assert call(cache, threading.get_ident) == idents[-2]
    second[0].set()


def test_g5_sequential_jobs_use_one_worker(cache: ThreadCache) -> None:
    for number in range(3000):
        assert call(cache, lambda number=number: number) == number
    assert cache.stats()[3:7] == (1, 1, 0, 3000)


def test_g5_jobs_submitted_from_deliver_use_one_worker(cache: ThreadCache) -> None:
    left = 3000
    done = threading.Event()

    def deliver(outcome: Any) -> None:
        nonlocal left
        left -= 1
        if left:
            cache.start_thread_soon(int, deliver)
        else:
            done.set()

    cache.start_thread_soon(int, deliver)
    assert done.wait(DEADLINE)
    assert (cache.stats().started, cache.stats().jobs) == (1, 3000)


@pytest.mark.parametrize("arguments", [{"idle_timeout": 0}, {"max_idle": 0}])
def test_g5_holds_from_deliver_even_where_no_worker_stays_idle(make_cache: Harness, arguments: Any) -> None:
    test_g5_jobs_submitted_from_deliver_use_one_worker(make_cache(**arguments))


def test_g5_jobs_relayed_through_other_threads_use_one_worker(cache: ThreadCache) -> None:
    """The next job is submitted by another thread each time, as soon as the last one is delivered."""
    delivered: SimpleQueue[Any] = SimpleQueue()

    def relay() -> None:
        for _ in range(250):
            delivered.get(timeout=DEADLINE).unwrap()
            cache.start_thread_soon(int, delivered.put)

    threads = [threading.Thread(target=relay) for _ in range(4)]
    for thread in threads:
        thread.start()
    cache.start_thread_soon(int, delivered.put)
    for thread in threads:
        thread.join()
    delivered.get(timeout=DEADLINE)
    assert cache.stats()[3:7] == (1, 1, 0, 1001)


def test_g5_a_spinner_counts_on_a_worker_that_still_delivers(cache: ThreadCache) -> None:
    """It has listed itself, and has been called for the spinner's own job, but has not been scheduled since."""
    delivering, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def deliver(outcome: Any) -> None:
        delivering.set()
        assert go_on.wait(DEADLINE)

    cache.start_thread_soon(int, deliver)
    assert delivering.wait(DEADLINE)
    cache.start_thread_soon(int, lambda outcome: done.set())
    cache._stand_by(cache._new_latch())
    assert not done.is_set()
    assert cache.stats().workers == 1
    go_on.set()
    assert done.wait(DEADLINE)


def test_g5_a_spinner_wakes_nobody_for_a_line_that_has_become_empty(make_cache: Harness) -> None:
    """A worker has left the next job to it, and then come back for that job itself."""
    cache = make_cache()
    assert call(cache, lambda: 1) == 1
    until(lambda: cache.stats().idle == 1)
    listed = list(cache._idle.items())
    cache._left = True
    cache._stand_by(cache._new_latch())
    assert list(cache._idle.items()) == listed
    assert not cache._left


class Spy:
    """A mailbox that notes how long it was asked to wait."""

    def __init__(self, implementation: Any, spin: float, shared: bool) -> None:
        self.real = implementation(spin, shared)
        self.put, self.is_empty = self.real.put, self.real.is_empty
        self.waits: list[float] = []
        spies.append(self)

    def get(self, wait: bool, timeout: float) -> bool:
        if wait:
            self.waits.append(timeout)
        return self.real.get(wait, timeout)


spies: list[Spy] = []


def test_g6_idle_workers_leave_after_the_timeout_without_traffic(make_cache: Harness) -> None:
    spies.clear()
    cache = make_cache(idle_timeout=0.05, _new_mailbox=partial(Spy, make_cache.mailbox))
    for event in occupy(cache, 5):
        event.set()
    until(lambda: cache.stats().workers == 0)
    waits = [spy.waits for spy in spies if spy.waits]
    assert waits == [[0.05]] * 5
    assert cache.stats()[3:6] == (5, 5, 5)
    assert call(cache, lambda: 1) == 1
    assert cache.stats().started == 6


def test_g6_a_new_timeout_holds_for_workers_that_become_idle_afterwards(make_cache: Harness) -> None:
    cache = make_cache()
    (first,) = occupy(cache, 1)
    first.set()
    until(lambda: cache.stats().idle == 1)
    (second,) = occupy(cache, 1)
    (third,) = occupy(cache, 1)
    cache.idle_timeout = 0
    second.set()
    until(lambda: cache.stats().workers == 1)
    assert cache.idle_timeout == 0
    cache.idle_timeout = math.inf
    third.set()
    until(lambda: cache.stats().idle == 1)
    assert cache.idle_timeout == math.inf
    assert cache._keep_alive == -1


def test_g6_a_timeout_beyond_what_the_platform_can_wait_means_for_ever(make_cache: Harness) -> None:
    cache = make_cache(idle_timeout=threading.TIMEOUT_MAX * 2)
    assert call(cache, lambda: 1) == 1
    until(lambda: cache.stats().idle == 1)


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, -math.inf])
def test_g6_impossible_timeouts(make_cache: Harness, seconds: float) -> None:
    with pytest.raises(ValueError, match="idle_timeout must be 0 or more"):
        make_cache(idle_timeout=seconds)
    cache = make_cache(idle_timeout=3)
    with pytest.raises(ValueError, match="idle_timeout must be 0 or more"):
        cache.idle_timeout = seconds
    assert cache.idle_timeout == 3


def test_g6_any_number_is_a_timeout(make_cache: Harness) -> None:
    cache = make_cache(idle_timeout=Decimal(10))
    call(cache, int)
    until(lambda: cache.stats().idle == 1)
    cache.idle_timeout = Fraction(1, 3)
    assert cache.idle_timeout == 1 / 3
    with pytest.raises(ValueError, match="idle_timeout is too large"):
        cache.idle_timeout = 10**400


@pytest.mark.parametrize("seconds", [None, "1", []])
def test_g6_timeouts_that_are_no_numbers(make_cache: Harness, seconds: Any) -> None:
    with pytest.raises(TypeError, match="idle_timeout must be a number, not"):
        make_cache(idle_timeout=seconds)


def test_g6_assigned_while_retiring(make_cache: Harness) -> None:
    """Race 3: the worker's time is up, and before it can say so it is claimed and given a job."""
    timed_out, go_on = threading.Event(), threading.Event()
    struck = False

    class Late(Spy):
        def get(self, wait: bool, timeout: float) -> bool:
            nonlocal struck
            if not wait or struck:
                return super().get(wait, timeout)
            struck = True
            timed_out.set()
            assert go_on.wait(DEADLINE)
            return False

    cache = make_cache(_new_mailbox=partial(Late, make_cache.mailbox))
    assert call(cache, lambda: 1) == 1
    assert timed_out.wait(DEADLINE)
    done: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(lambda: 2, done.put)
    assert cache.stats().idle == 0
    go_on.set()
    assert done.get(timeout=DEADLINE).unwrap() == 2
    assert cache.stats().started == 1


def test_g6_claimed_and_never_called(make_cache: Harness) -> None:
    """Race 4: a worker whose claimant was interrupted comes back by itself after its timeout."""
    cache = make_cache(idle_timeout=0.05)
    ident = call(cache, threading.get_ident)
    until(lambda: cache.stats().idle == 1)
    worker, mailbox = cache._idle.popitem()  # what an interrupted claimant has done
    until(lambda: worker.mailbox is not mailbox)
    mailbox.put()  # and a slow one does, at last: nobody looks there any more
    cache.idle_timeout = 10
    until(lambda: cache.stats().idle == 1 or cache.stats().workers == 0)
    if cache.stats().workers:
        assert call(cache, threading.get_ident) == ident
    assert call(cache, lambda: 1) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_g6_idle_workers_do_not_wake_up(cache: ThreadCache) -> None:
    for event in occupy(cache, 3):
        event.set()
    until(lambda: cache.stats().idle == 3)
    workers = [worker.native_id for worker in cache._idle]

    def switches() -> list[str]:
        files = [Path(f"/proc/self/task/{worker}/status") for worker in workers]
        return [line for file in files for line in file.read_text().splitlines() if "ctxt" in line]

    def asleep() -> bool:
        stats = [Path(f"/proc/self/task/{worker}/stat").read_text() for worker in workers]
        return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)

    until(asleep)
    before = switches()
    threading.Event().wait(0.5)  # nothing is to happen in this time; what must not is any wake-up
    assert switches() == before


def test_max_idle_sends_away_what_would_exceed_it(make_cache: Harness) -> None:
    cache = make_cache(max_idle=2, idle_timeout=math.inf)
    events = occupy(cache, 6)
    for event in events:
        event.set()
    until(lambda: cache.stats().workers <= 2 and not cache.stats().busy)
    assert cache.max_idle == 2
    cache.max_idle = None
    for event in occupy(cache, 6):
        event.set()
    until(lambda: cache.stats().idle == 6)
    assert cache.max_idle is None


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_max_idle_wants_a_natural_number(make_cache: Harness, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make_cache(max_idle=value)


@pytest.mark.storm
@pytest.mark.timeout(1200)
def test_g1_g6_storm(make_cache: Harness) -> None:
    """Eight producers, 200,000 jobs, and a timeout so small that retiring and assigning collide all the time."""
    cache = make_cache(idle_timeout=1e-6, warn_at=math.inf)
    total = 5_000_000 if os.environ.get("THREADCACHE_STORM") == "full" else 200_000
    ran: SimpleQueue[int] = SimpleQueue()

    def produce(first: int) -> None:
        for number in range(first, total, 8):
            cache.start_thread_soon(lambda number=number: number, lambda outcome: ran.put(outcome.unwrap()))
            if number % 3 == 0:
                call(cache, int)  # let the workers fall idle now and then

    threads = [threading.Thread(target=produce, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = bytearray(total)
    for _ in range(total):
        seen[ran.get(timeout=DEADLINE)] += 1
    assert seen == b"\x01" * total
    assert ran.empty()
    until(lambda: cache.stats().workers == 0)
    assert cache.stats().jobs == total + len(range(0, total, 3))
    assert cache.stats().started > 100
