"""G2: callable from anywhere, re-entering itself included; no lock is held while a thread is being started."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, call, until
from steps import OPCODES, Injection, at_each_opcode

from threadcache._threads import start_thread

if TYPE_CHECKING:
    from conftest import Harness

    from threadcache import ThreadCache


def test_g2_from_deliver_and_fn(cache: ThreadCache) -> None:
    done: SimpleQueue[Any] = SimpleQueue()
    cache.start_thread_soon(
        lambda: cache.start_thread_soon(lambda: "inner fn", done.put),
        lambda outcome: cache.start_thread_soon(lambda: "inner deliver", done.put),
    )
    assert {done.get(timeout=DEADLINE).unwrap() for _ in range(2)} == {"inner fn", "inner deliver"}


def test_g2_from_finalizers(cache: ThreadCache) -> None:
    done: SimpleQueue[Any] = SimpleQueue()

    class Mortal:
        def __del__(self) -> None:
            cache.start_thread_soon(lambda: "__del__", done.put)

    mortal = Mortal()
    reference = weakref.ref(mortal, lambda _: cache.start_thread_soon(lambda: "weakref", done.put))
    del mortal
    until(lambda: (gc.collect(), done.qsize() == 2)[1])  # PyPy takes more than one collection
    assert {done.get(timeout=DEADLINE).unwrap() for _ in range(2)} == {"__del__", "weakref"}
    assert reference() is None


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_g2_a_call_within_a_call_at_every_opcode(make_cache: Harness, warm: bool) -> None:
    """Whatever interrupts `start_thread_soon` (a signal handler, a finalizer) may submit a job and wait for it."""
    tried = 0
    for inject in at_each_opcode():
        cache = make_cache()
        if warm:
            call(cache, int)
            until(lambda: cache.stats().idle == 1)
        done: SimpleQueue[Any] = SimpleQueue()
        assert not inject(
            lambda: call(cache, lambda: "inner"), lambda: cache.start_thread_soon(lambda: "outer", done.put)
        )
        assert done.get(timeout=DEADLINE).unwrap() == "outer"
        assert cache.drain(DEADLINE)
        assert cache.stats().jobs == warm + 1 + inject.struck
        tried += 1
    assert tried > 10


def test_g2_a_call_within_a_starting_worker(make_cache: Harness) -> None:
    """A finalizer that the collector runs while a worker starts may submit a job and wait for it."""
    tried = target = 0
    while tried == target:
        target += 1
        injection = Injection(target, between_calls=OPCODES)
        submitted = threading.Event()
        begun = threading.Event()  # after that we would be in the midst of `deliver`, where waiting is not allowed
        results: SimpleQueue[Any] = SimpleQueue()
        starts: list[Any] = [injection]

        def finalize() -> None:
            nonlocal tried
            if not begun.is_set():
                tried += 1
                assert submitted.wait(DEADLINE)  # now everybody counts on the new worker
                results.put(call(cache, lambda: "inner"))

        def start(run: Any, args: tuple[()]) -> None:
            if starts:
                threading.Thread(target=starts.pop(), args=(finalize, run)).start()
            else:
                start_thread(run, args)

        cache = make_cache(_start_thread=start)
        cache.start_thread_soon(begun.set, results.put)
        cache.start_thread_soon(int, results.put)
        submitted.set()
        for _ in range(2 + (tried == target)):
            results.get(timeout=DEADLINE)
        assert cache.drain(DEADLINE)
    assert tried > 5


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_g2_from_signal_handlers(cache: ThreadCache) -> None:
    """A timer strikes while the main thread submits; its handler submits too."""
    results: SimpleQueue[Any] = SimpleQueue()
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        cache.start_thread_soon(lambda: "handler", results.put)

    old = signal.signal(signal.SIGVTALRM, handler)
    submitted = 0
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005, 0.0005)
        while handled < 200:
            cache.start_thread_soon(lambda: "main", results.put)
            submitted += 1
            while results.qsize() < submitted - 100:
                pass  # nobody has any use for a thousand threads here
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)
    names = [results.get(timeout=DEADLINE).unwrap() for _ in range(submitted + handled)]
    assert names.count("handler") == handled


def test_g2_nothing_is_held_while_a_thread_is_started(make_cache: Harness) -> None:
    """A thread start that takes as long as it likes does not keep anybody else from submitting."""
    entered, release = threading.Event(), threading.Event()
    slow = True

    def start(target: Any, args: tuple[()]) -> None:
        nonlocal slow
        if slow:
            slow = False
            entered.set()
            assert release.wait(DEADLINE)
        start_thread(target, ())

    cache = make_cache(_start_thread=start)
    done: SimpleQueue[Any] = SimpleQueue()
    thread = threading.Thread(target=lambda: cache.start_thread_soon(lambda: "slow", done.put))
    thread.start()
    assert entered.wait(DEADLINE)
    assert call(cache, lambda: "quick") == "quick"
    release.set()
    thread.join()
    assert done.get(timeout=DEADLINE).unwrap() == "slow"


def test_g2_recursion_depth_does_not_grow(cache: ThreadCache) -> None:
    """A chain of deliveries that submit is no recursion."""
    left = sys.getrecursionlimit() * 3
    done = threading.Event()

    def deliver(outcome: Any) -> None:
        nonlocal left
        outcome.unwrap()
        left -= 1
        if left:
            cache.start_thread_soon(int, deliver)
        else:
            done.set()

    cache.start_thread_soon(int, deliver)
    assert done.wait(DEADLINE)
    assert cache.stats().started == 1
