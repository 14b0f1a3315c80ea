"""G10: KeyboardInterrupt at any bytecode of `start_thread_soon`."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call, until
from steps import OPCODES, at_each_opcode

from threadcache._threads import start_thread

if TYPE_CHECKING:
    from conftest import Harness

    from threadcache import ThreadCache


class Alarm(Exception):
    """What a signal handler may raise besides KeyboardInterrupt."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Alarm])
@pytest.mark.parametrize("state", ["cold", "started", "warm", "delivering"])
def test_g10_interrupted_at_each_opcode(make_cache: Harness, state: str, kind: type[BaseException]) -> None:
    """The job was taken or it was not, the next call works, and all workers come back within their idle timeout."""
    struck = taken = 0
    for inject in at_each_opcode():
        cache = make_cache(idle_timeout=0.02)
        if state == "started":
            cache._start_thread = partial(start_and_wait, cache)
        ready, go_on = threading.Event(), threading.Event()
        if state == "warm":
            until(lambda: call(cache, int) == 0 and cache.stats().idle == 1)  # again if it has already left
        elif state == "delivering":
            cache.start_thread_soon(int, lambda _: (ready.set(), go_on.wait(DEADLINE)))
            assert ready.wait(DEADLINE)
        ran: list[str] = []
        delivered: SimpleQueue[Any] = SimpleQueue()
        raised = inject(
            partial(interrupt, kind),
            lambda ran=ran, delivered=delivered: cache.start_thread_soon(lambda: ran.append("fn"), delivered.put),
        )
        assert inject.struck == isinstance(raised, kind)
        struck += inject.struck
        go_on.set()
        assert call(cache, lambda: "next") == "next"
        assert cache.stats().workers <= 3
        assert set(cache._idle) <= set(cache._workers)
        cache.idle_timeout = 0
        assert cache.drain(DEADLINE)  # which it could not if a worker were stuck, or listed twice
        assert len(ran) == delivered.qsize() <= 1
        taken += len(ran)
        if not inject.struck:
            assert ran
    assert struck > 10
    assert 1 <= taken < struck  # both ends of a call were reached


def start_and_wait(cache: ThreadCache, target: Any, args: tuple[()]) -> None:
    """Start a thread, and come back when it has begun."""
    started = cache.stats().started
    start_thread(target, args)
    until(lambda: cache.stats().started > started)


def interrupt(kind: type[BaseException] = KeyboardInterrupt) -> None:
    raise kind


@pytest.mark.skipif(not OPCODES, reason="needs to know where an interrupt can strike")
def test_g10_interrupted_where_there_is_no_thread(make_cache: Harness) -> None:
    """Wherever an interrupt can strike a call that is refused: nothing is left behind."""

    def refuse(target: Any, args: tuple[()]) -> None:
        raise RuntimeError("can't start new thread")

    for inject in at_each_opcode(between_calls=OPCODES):
        cache = make_cache(_start_thread=refuse)
        raised = inject(interrupt, lambda: cache.start_thread_soon(print, print))
        assert isinstance(raised, KeyboardInterrupt if inject.struck else RuntimeError)
        assert cache.stats()[:3] == (0, 0, 0)
        assert not cache._line


def test_g10_two_submitters_and_one_interrupt_at_each_opcode(make_cache: Harness) -> None:
    """Whoever is not interrupted loses nothing, wherever somebody else was."""
    for inject in at_each_opcode():
        cache = make_cache(idle_timeout=0.02)
        call(cache, int)
        results: SimpleQueue[Any] = SimpleQueue()
        thread = threading.Thread(target=lambda: cache.start_thread_soon(lambda: "other", results.put))
        inject(
            lambda: (thread.start(), interrupt()),
            lambda: cache.start_thread_soon(lambda: "interrupted", lambda outcome: None),
        )
        if inject.struck:
            thread.join()
            assert results.get(timeout=DEADLINE).unwrap() == "other"
        assert cache.drain(DEADLINE)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_g10_real_interrupts() -> None:
    """A child that submits is interrupted again and again; nothing that was accepted is lost."""
    code = r"""
        import itertools, os, signal, time, threadcache
        accepted, delivered = set(), set()
        cache = threadcache.ThreadCache(idle_timeout=0.05)
        interrupts = 0
        deadline = time.monotonic() + 50
        numbers = itertools.count()
        while interrupts < 100:
            try:
                assert time.monotonic() < deadline
                os.write(1, b"strike\n")
                while True:
                    while len(accepted) > len(delivered) + 100:
                        time.sleep(0)  # nobody has any use for a thousand threads here
                    number = next(numbers)
                    cache.start_thread_soon(int, lambda outcome, number=number: delivered.add(number))
                    accepted.add(number)
            except KeyboardInterrupt:
                interrupts += 1
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("done", flush=True)
        assert cache.drain(30)
        lost = accepted - delivered
        assert not lost, lost
        # A job may have been taken and the call interrupted all the same, at most once an interrupt.
        assert len(delivered - accepted) <= interrupts
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "done":
                break
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def test_g10_a_worker_that_has_been_called_again_before_its_starter_is_interrupted_is_not_lost(
    make_cache: Harness,
) -> None:
    """Race 6: the token that its starter looks for is that of its beginning, and not the one that it is called with."""
    delivering, go_on = threading.Event(), threading.Event()
    results: SimpleQueue[Any] = SimpleQueue()

    def start(target: Any, args: Any) -> None:
        start_thread(target, args)
        assert delivering.wait(DEADLINE)  # it has run its job, and listed itself
        cache._start_thread = start_thread
        cache.start_thread_soon(lambda: "second", results.put)
        raise KeyboardInterrupt

    def deliver(outcome: Any) -> None:
        delivering.set()
        assert go_on.wait(DEADLINE)

    cache = make_cache(_start_thread=start)
    with pytest.raises(KeyboardInterrupt):
        cache.start_thread_soon(int, deliver)
    (worker,) = cache._workers
    assert worker.tally not in cache._spare_tallies
    go_on.set()
    assert results.get(timeout=DEADLINE).unwrap() == "second"
    until(lambda: cache.stats().idle == 1)
    assert cache.stats()[:7] == (1, 1, 0, 1, 1, 0, 2)
