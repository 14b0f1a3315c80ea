"""`threadcache.trio`: a run that has calls in flight and nothing else to do spins before it sleeps."""

from __future__ import annotations

import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
import trio
from conftest import DEADLINE
from outcome import Value
from test_trio import Gate, leaves_trio_as_it_was, reached, run, to_thread

import threadcache.trio
from threadcache import default_cache
from threadcache.trio import IDLE_TURNS, _spinning, _Waits

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["leaves_trio_as_it_was"]


class Spins:
    """Says what runs' spins do, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.spin: Callable[[Any], bool] = lambda latch: False
        monkeypatch.setattr(default_cache, "_stand_by", self._stand_by)
        monkeypatch.setattr(default_cache, "_spins", True)
        threadcache.trio.install()

    def _stand_by(self, latch: Any) -> bool:
        self.count += 1
        return self.spin(latch)


@pytest.fixture
def spins(monkeypatch: pytest.MonkeyPatch) -> Spins:
    return Spins(monkeypatch)


def instruments() -> list[Any]:
    """Those of ours that the current run has."""
    known: Any = sys.modules["trio._core._run"].GLOBAL_RUN_CONTEXT.runner.instruments
    return [instrument for instrument in known.get("_all", known) if isinstance(instrument, _Waits)]


def test_a_result_ends_the_spin(spins: Spins) -> None:
    gates = [Gate() for _ in range(20)]

    def spin(latch: Any) -> bool:
        gates[spins.count - 1].release.set()
        told: bool = latch.get(True, DEADLINE)
        assert told
        return told

    async def main() -> None:
        spins.spin = spin
        for number, gate in enumerate(gates):
            assert await to_thread(gate) == gate.ident
            assert spins.count == number + 1
            (ours,) = instruments()
            await reached(lambda ours=ours: not ours._calls)  # its worker may not have said so yet
            await trio.lowlevel.checkpoint()

    run(main)


def test_a_spin_in_vain_is_followed_by_sleep(spins: Spins) -> None:
    gate = Gate()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(to_thread, gate)
            await reached(lambda: spins.count)
            gate.release.set()

    run(main)
    assert gate.ended.is_set()


def test_a_run_that_has_something_to_do_or_been_told_does_not_spin(spins: Spins) -> None:
    """It would let a result wait that is there already."""
    first, second = Gate(), Gate()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(to_thread, first)
            nursery.start_soon(to_thread, second)
            await trio.lowlevel.checkpoint()
            for _ in range(50):
                await trio.lowlevel.checkpoint()
            assert not spins.count
            (ours,) = instruments()
            first.release.set()
            while not ours._ended:
                first.ended.wait(DEADLINE)
            ours.before_io_wait(DEADLINE)
            assert not spins.count
            ours.before_io_wait(DEADLINE)  # that was one sleep
            assert spins.count == 1
            ours.before_io_wait(0)
            ours.before_io_wait(default_cache._longest_spin)  # a deadline
            assert spins.count == 1
            second.release.set()

    run(main)


def test_the_instrument_goes_when_there_are_no_calls_and_comes_back(spins: Spins) -> None:
    async def main() -> None:
        for _ in range(2):
            assert not instruments()
            await to_thread(int)
            await to_thread(int)
            (ours,) = instruments()
            await reached(lambda: not ours._calls)
            for _ in range(IDLE_TURNS - 10):
                await trio.lowlevel.checkpoint()
            assert instruments() == [ours]
            await to_thread(int)
            await reached(lambda: not ours._calls)
            for _ in range(IDLE_TURNS - 10):
                await trio.lowlevel.checkpoint()
            assert instruments() == [ours]
            for _ in range(20):
                await trio.lowlevel.checkpoint()

    run(main)


def test_runs_have_one_each(spins: Spins) -> None:
    async def main() -> Any:
        await to_thread(int)
        (ours,) = instruments()
        return ours

    assert run(main) is not run(main)


def test_a_call_that_fails_to_start_is_not_in_flight(spins: Spins) -> None:
    def fails(fn: Any, deliver: Any, name: Any) -> None:
        raise RuntimeError("there is no thread to be had")

    start = _spinning(fails)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="no thread"):
            start(int, print)
        (ours,) = instruments()
        assert not ours._calls

    run(main)


@pytest.mark.parametrize("ended", [False, True])
def test_a_call_whose_start_is_interrupted_may_yet_run(spins: Spins, ended: bool) -> None:
    """The interrupt arrives, the call is not in flight, and if it ends after all that is no error."""
    late: list[Any] = []
    delivered: list[Any] = []

    def struck(fn: Any, deliver: Any, name: Any) -> None:
        late.append(deliver)
        if ended:
            deliver(Value(fn()))
        raise KeyboardInterrupt

    start = _spinning(struck)

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            start(int, delivered.append)
        (ours,) = instruments()
        assert not ours._calls
        if not ended:
            late[0](Value(0))
        assert delivered == [Value(0)]
        assert not ours._calls
        assert ours._ended

    run(main)


@pytest.mark.parametrize("begins_with_a_call", [False, True])
def test_a_guest_does_not_spin(spins: Spins, begins_with_a_call: bool) -> None:
    """Its host has something to do; and that it waits for I/O in a thread is no call."""
    host: SimpleQueue[Callable[[], object]] = SimpleQueue()
    outcomes: list[Any] = []
    seen: list[int] = []

    async def main() -> None:
        for _ in range(0 if begins_with_a_call else 5):
            await trio.sleep(0.001)
            seen.append(len(instruments()))
        for _ in range(5):
            await to_thread(threading.Event().wait, 0.01)
            seen.append(len(instruments()))

    trio.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=host.put,
        done_callback=outcomes.append,
        restrict_keyboard_interrupt_to_checkpoints=True,
    )
    while not outcomes:
        host.get(timeout=DEADLINE)()
    outcomes[0].unwrap()
    assert not any(seen)
    assert spins.count == begins_with_a_call  # before it has waited for anything


def test_what_is_no_call_is_an_error_at_once(spins: Spins) -> None:
    async def main() -> None:
        for bad in (None, print), (int, None):
            with pytest.raises(TypeError, match="must be callable"):
                trio.lowlevel.start_thread_soon(*bad)  # type: ignore[arg-type]
        (ours,) = instruments()
        assert not ours._calls

    run(main)


def test_a_deliver_that_raises_is_reported_and_its_call_has_ended(
    spins: Spins, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reports.append(args.exc_type))

    async def main() -> None:
        trio.lowlevel.start_thread_soon(int, lambda outcome: 1 // 0)
        (ours,) = instruments()
        await reached(lambda: reports and not ours._calls)

    run(main)
    assert reports == [ZeroDivisionError]


def test_where_nobody_spins_there_is_no_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_cache, "_spins", False)
    threadcache.trio.install()

    async def main() -> None:
        await to_thread(int)
        assert not instruments()

    run(main)


def test_outside_of_a_run_the_low_level_call_just_starts(spins: Spins) -> None:
    done = threading.Event()
    trio.lowlevel.start_thread_soon(int, lambda outcome: done.set())
    assert done.wait(DEADLINE)
