"""The mailbox's contract, as `threadcache._mailbox` tells it, over each implementation."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DEADLINE, MAILBOXES, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL = os.environ.get("THREADCACHE_STORM") == "full"
SPINS = {"pure": [0], "native": [0, 20, 1000]}
"""Microseconds: never, about as long as the other thread takes, and longer."""

posix = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
on_the_main_thread = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="only the main thread handles signals"
)


@pytest.fixture(params=[(name, spin) for name in sorted(MAILBOXES) for spin in SPINS[name]], ids=str)
def new(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """What makes mailboxes."""
    name, spin = request.param
    return lambda: MAILBOXES[name](spin, True)


@pytest.fixture
def box(new: Callable[[], Any]) -> Any:
    return new()


@contextlib.contextmanager
def thread(target: Callable[[], object]) -> Iterator[None]:
    """Run ``target`` in another thread meanwhile, and raise what it raises."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    other = threading.Thread(target=run, daemon=True)
    other.start()
    try:
        yield
    finally:
        other.join(DEADLINE)
    assert not other.is_alive(), "the other thread hangs"
    if errors:
        raise errors[0]


def parked(native_id: int) -> bool:
    """Whether a thread of ours waits for the kernel to wake it: it sleeps, and went on sleeping for a while.

    One that waits for the GIL does so in steps of 5 ms, and gets it, for the caller sleeps here.
    """
    if not Path("/proc/self/task").is_dir():
        time.sleep(0.1)  # the best that can be done here; what is tested is the same, and holds if it was too short
        return True
    before, after = (switches(native_id), time.sleep(0.02), switches(native_id))[::2]
    return before == after and "S (sleeping)" in after[0]


def switches(native_id: int) -> list[str]:
    lines = Path(f"/proc/self/task/{native_id}/status").read_text().splitlines()
    return [line for line in lines if line.startswith("State") or "ctxt" in line]


def test_a_new_one_is_empty(box: Any) -> None:
    assert box.is_empty() is True
    assert box.get(False, -1) is False
    assert box.get(True, 0) is False
    assert box.is_empty() is True


@pytest.mark.parametrize("how", [(False, -1), (True, -1), (True, 0), (True, 10), (True, 1e-9), (1, 0.5)])
def test_put_makes_it_full_until_the_token_is_taken(box: Any, how: tuple[bool, float]) -> None:
    for _ in range(3):
        assert box.put() is None
        assert box.is_empty() is False
        assert box.get(*how) is True
        assert box.is_empty() is True
    assert box.get(False, -1) is False


def test_a_second_put_is_an_error_and_changes_nothing(box: Any) -> None:
    box.put()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            box.put()
    assert box.get(False, -1)
    assert not box.get(False, -1)


@pytest.mark.parametrize("seconds", [0, 0.0, 1e-9, 1e-4, 0.01])
def test_a_timeout_passes(box: Any, seconds: float) -> None:
    for _ in range(3):
        start = time.monotonic()
        assert box.get(True, seconds) is False
        assert time.monotonic() - start >= seconds - 1e-6  # the native one counts in whole nanoseconds
        assert box.is_empty()
    box.put()
    assert box.get(True, seconds)


PYPY_ACCEPTS = [(False, -2), (True, math.nan), (True, 2**63 / 1e9)]
"""And then waits for ever, or not at all."""


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ((True, -2), ValueError),
        ((True, -1.5), ValueError),
        ((True, -1e-3), ValueError),
        ((True, math.nan), ValueError),
        ((False, math.nan), ValueError),
        ((False, 1), ValueError),
        ((False, 0), ValueError),
        ((False, -2), ValueError),
        ((True, math.inf), OverflowError),
        ((True, 2**63 / 1e9), OverflowError),  # one that `threading.TIMEOUT_MAX` is rounded down from
        ((True, threading.TIMEOUT_MAX * 2), OverflowError),
        ((True, 10**400), OverflowError),
        ((True, "1"), TypeError),
        ((True, None), TypeError),
    ],
)
def test_impossible_waits(box: Any, how: tuple[bool, Any], error: type[Exception]) -> None:
    """Where `threading.Lock.acquire` raises, all do, and the same; also if there is a token."""
    if sys.implementation.name == "pypy" and how in PYPY_ACCEPTS:
        pytest.skip("PyPy's locks do not mind it")
    with pytest.raises(error):
        box.get(*how)
    box.put()
    with pytest.raises(error):
        box.get(*how)
    assert box.get(False, -1)


@pytest.mark.parametrize("seconds", [-1, threading.TIMEOUT_MAX, math.nextafter(threading.TIMEOUT_MAX, 0), 1e9])
def test_waits_that_are_as_good_as_endless(box: Any, seconds: float) -> None:
    waiter: list[int] = []

    def put() -> None:
        until(lambda: waiter and parked(waiter[0]))
        box.put()

    with thread(put):
        waiter.append(threading.get_native_id())
        assert box.get(True, seconds) is True


def test_operations_are_calls_that_can_be_handed_out(box: Any) -> None:
    """So they are: no KeyboardInterrupt finds a C function half done."""
    put, get, is_empty = box.put, box.get, box.is_empty
    del box
    put()
    assert not is_empty()
    assert get(False, -1)
    for operation in (put, get, is_empty):
        assert not hasattr(operation, "__code__") or sys.implementation.name != "cpython"


@pytest.mark.storm
@pytest.mark.timeout(0 if FULL else 120)
def test_two_threads_play_ping_pong(new: Callable[[], Any]) -> None:
    """Each put comes when the other thread spins, is about to park, or parks; none is lost, and none comes twice."""
    rounds = 2_000_000 if FULL else 10_000
    ping, pong = new(), new()

    def answer() -> None:
        for _ in range(rounds):
            assert ping.get(True, DEADLINE)
            pong.put()  # raises if it is full

    with thread(answer):
        for _ in range(rounds):
            ping.put()
            assert pong.get(True, DEADLINE)
    assert ping.is_empty() and pong.is_empty()


@pytest.mark.storm
@pytest.mark.timeout(0 if FULL else 120)
def test_a_put_at_the_time_out_is_not_lost(new: Callable[[], Any]) -> None:
    """The owner gives up at about the time of the put, and comes back: it finds the token in its first or next get."""
    rounds = 300_000 if FULL else 3_000
    box, ready, chance = new(), new(), random.Random(1)
    given_up = 0

    def put() -> None:
        chance = random.Random(2)
        for _ in range(rounds):
            assert ready.get(True, DEADLINE)
            end = time.perf_counter() + chance.random() * 2e-4
            while time.perf_counter() < end:
                time.sleep(0)  # so that the owner can be about to give up
            box.put()

    with thread(put):
        for _ in range(rounds):
            ready.put()
            if not box.get(True, chance.random() * 2e-4):
                given_up += 1
                assert box.get(True, DEADLINE)
            assert box.get(False, -1) is False
    assert 0 < given_up < rounds, "puts and time-outs do not meet"


@posix
@on_the_main_thread
@pytest.mark.parametrize("seconds", [-1, DEADLINE])
def test_a_signal_handler_that_raises_leaves_the_mailbox_usable(box: Any, seconds: float) -> None:
    """KeyboardInterrupt leaves a get that waits, and a token that comes meanwhile stays where it is."""

    def handler(*_: object) -> None:
        box.put()
        raise KeyboardInterrupt

    with handled(handler), strike(), pytest.raises(KeyboardInterrupt):
        box.get(True, seconds)
    assert not box.is_empty()
    assert box.get(False, -1) is True
    assert box.get(True, 0) is False
    box.put()
    assert box.get(True, seconds)


@posix
@on_the_main_thread
def test_a_signal_handler_that_puts_is_heard(box: Any) -> None:
    with handled(lambda *_: box.put()), strike():
        assert box.get(True, DEADLINE) is True
    assert box.is_empty()


@posix
@on_the_main_thread
def test_a_signal_handler_that_does_nothing_does_not_end_the_wait(box: Any) -> None:
    calls: list[None] = []
    with handled(lambda *_: calls.append(None)):
        with strike():
            start = time.monotonic()
            assert box.get(True, 0.5) is False
            assert time.monotonic() - start >= 0.5 - 1e-6
        assert calls
        with strike(times=3, then=box.put):
            assert box.get(True, -1) is True
        assert len(calls) == 4


@posix
@on_the_main_thread
def test_signals_do_not_prolong_the_wait(box: Any) -> None:
    """Not even if there are always more of them before the time is up."""
    main, ended = threading.get_ident(), threading.Event()

    def send() -> None:
        for _ in range(1000):
            if ended.wait(0.005):
                return
            signal.pthread_kill(main, signal.SIGUSR1)
        raise AssertionError("the wait does not end")

    with handled(lambda *_: None), thread(send):
        assert box.get(True, 0.1) is False
        ended.set()


@posix
@on_the_main_thread
def test_a_signal_handler_that_gets_from_the_same_mailbox(box: Any) -> None:
    """It is the owner's thread, so it may: the token is taken once."""
    results: list[bool] = []

    def handler(*_: object) -> None:
        results.append(box.get(True, 0.01))
        box.put()
        results.append(box.get(True, DEADLINE))

    with handled(handler), strike(then=box.put):
        assert box.get(True, DEADLINE) is True
    assert results == [False, True]
    assert box.is_empty()


@contextlib.contextmanager
def handled(handler: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextlib.contextmanager
def strike(times: int = 1, then: Callable[[], object] | None = None) -> Iterator[None]:
    """Send SIGUSR1 to this thread from another whenever it is parked, and call ``then`` when it is once more.

    Not before it is: a signal that comes between the interpreter's last look and the parking waits for the next one, in
    all of CPython's locks.
    """
    main = threading.get_native_id()
    ident = threading.get_ident()
    begun = threading.Event()

    def send() -> None:
        begun.wait(DEADLINE)
        for _ in range(times):
            until(lambda: parked(main))
            signal.pthread_kill(ident, signal.SIGUSR1)
        if then is not None:
            until(lambda: parked(main))
            then()

    with thread(send):
        begun.set()
        yield


def test_threads_share_their_mailboxes_references(new: Callable[[], Any]) -> None:
    """A mailbox that its owner lets go of at once is not gone before the put into it is over."""
    rounds = 1000
    boxes = [new() for _ in range(rounds)]
    handed: list[Any] = []

    def put() -> None:
        for index in range(rounds):
            until(lambda index=index: len(handed) > index)
            handed[index].put()
            handed[index] = None

    with thread(put):
        while boxes:
            box = boxes.pop()
            handed.append(box)
            assert box.get(True, DEADLINE)
            del box
