"""Trio on the process-wide cache: its threads come from there, and everything else stays Trio's.

Trio has a thread cache of its own, one object that `trio.lowlevel.start_thread_soon` and through it
`trio.to_thread.run_sync` and Trio's files, paths and sockets call. `install` puts ours in its place. Jobs that run end
where they began, whichever way it is switched.

Where the mailbox spins, a run that has calls in flight and nothing else to do spins too, before it sleeps: an
instrument of the run's does (`_Waits`), which is there while there are calls.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from . import default_cache
from ._borrowing import FROM_THE_CACHE
from ._spinner import Spinner
from ._switch import Switch, names_in, parameters_of, refusal, turn_off, turn_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from outcome import Outcome

    from ._borrowing import Borrowing

__all__ = ["install", "uninstall"]

IDLE_TURNS = 100
"""Turns of a run without a call in flight, after which its instrument goes.

Being told takes 0.5 us a turn, of Trio's 3, and adding and removing it 8 us (Trio 0.35, Python 3.13).
"""


class _Cache:
    """What stands in for Trio's cache.

    The rest of it is the original's: the idle workers, say, which Trio forgets in forked children. It must, for it may
    use them there, when this has been uninstalled.
    """

    __slots__ = ("_original", "start_thread_soon")

    def __init__(self, original: Any, start_thread_soon: Callable[..., None]) -> None:
        self._original = original
        self.start_thread_soon = start_thread_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Waits:
    """How one run waits for its calls: an instrument, which Trio tells before it sleeps.

    ``_calls`` has an entry for each call in flight, until its worker takes it out. ``_ended`` has one if any has ended
    since the run slept last: Trio has been told of it, and will not sleep. Both are guesses, which cost a spin or a
    sleep if they are wrong.
    """

    __slots__ = ("_calls", "_ended", "_go", "_idle_turns", "_spinner", "_start")

    def __init__(self, start: Callable[..., None], go: Callable[[_Waits], object]) -> None:
        self._start = start
        self._go = go
        self._idle_turns = 0
        self._calls: dict[object, None] = {}
        self._ended: deque[None] = deque(maxlen=1)
        self._spinner = Spinner()

    def start_thread_soon(self, fn: Callable[[], Any], deliver: Callable[..., object], name: str | None) -> None:
        call = object()
        self._idle_turns = 0
        try:
            self._calls[call] = None
            self._start(fn, partial(self._deliver, call, deliver), name)
        except BaseException:
            self._calls.pop(call, None)  # which has nevertheless begun, maybe, and even ended
            raise

    def _deliver(self, call: object, deliver: Callable[[Outcome[Any]], object], outcome: Outcome[Any]) -> None:
        try:
            deliver(outcome)
        finally:
            self._ended.append(None)
            self._calls.pop(call, None)
            self._spinner.tell()

    def before_io_wait(self, timeout: float) -> None:
        """Called by Trio, which is about to sleep for so many seconds if nothing happens."""
        if self._calls:
            if timeout > default_cache._longest_spin:
                self._spinner.spin(self._ended)
        else:
            self._idle_turns += 1
            if self._idle_turns == IDLE_TURNS:
                self._go(self)
        self._ended.clear()


def _spinning(start: Callable[..., None]) -> Callable[..., None]:
    """``start``, a `start_thread_soon`, and the spin of the run that calls it."""
    trio: Any = sys.modules["trio"]
    waits = trio.lowlevel.RunVar("threadcache", default=None)
    instrument = type("Waits", (_Waits, trio.abc.Instrument), {"__slots__": ()})

    def go(ours: _Waits) -> None:
        trio.lowlevel.remove_instrument(ours)
        waits.set(None)

    def waits_of_this_run() -> _Waits | None:
        try:
            ours: Any = waits.get()
        except RuntimeError:
            return None  # no run calls it
        if not trio.lowlevel.in_trio_task():
            # It is a guest that waits for I/O in a thread; and its host has something to do meanwhile.
            if ours:
                with suppress(KeyError):  # Trio has dropped it, because something has struck it
                    trio.lowlevel.remove_instrument(ours)
            waits.set(False)
        elif ours is None:
            ours = instrument(start, go)
            trio.lowlevel.add_instrument(ours)
            waits.set(ours)
        return ours or None

    def start_thread_soon(fn: Callable[[], Any], deliver: Callable[..., object], name: str | None = None) -> None:
        ours = waits_of_this_run()
        if ours is not None and callable(deliver):
            ours.start_thread_soon(fn, deliver, name)
        else:
            start(fn, deliver, name)

    return start_thread_soon


def _turn_on(borrowing: Borrowing) -> Callable[[], object]:
    module: Any = sys.modules.get("trio._core._thread_cache")
    missing = _missing(module)
    if missing:
        raise refusal("trio", missing)
    original = module.THREAD_CACHE
    start = borrowing.start("trio", None)
    module.THREAD_CACHE = ours = _Cache(original, _spinning(start) if default_cache._spins else start)

    def undo() -> None:
        ours.start_thread_soon = original.start_thread_soon  # if something else has been put on top of ours
        if module.THREAD_CACHE is ours:
            module.THREAD_CACHE = original

    return undo


def _missing(module: Any) -> str | None:
    """What is not there of the shape that Trio's cache has had from 0.27 (2024) to 0.35 (2026)."""
    if module is None:
        return "it has no module trio._core._thread_cache"
    if not hasattr(getattr(module, "THREAD_CACHE", None), "start_thread_soon"):
        return "trio._core._thread_cache has no THREAD_CACHE with a method start_thread_soon"
    function = getattr(module, "start_thread_soon", None)
    if not {"THREAD_CACHE", "start_thread_soon"} <= names_in(function):
        return "trio._core._thread_cache.start_thread_soon does not call THREAD_CACHE.start_thread_soon"
    if parameters_of(function) != ("fn", "deliver", "name"):
        return "trio._core._thread_cache.start_thread_soon does not take fn, deliver and name"
    for user in ("trio.lowlevel", "trio._core._run", "trio._threads"):
        if getattr(sys.modules.get(user), "start_thread_soon", None) is not function:
            return f"{user} has another start_thread_soon than trio._core._thread_cache"
    return None


SWITCH = Switch("trio", "trio", _turn_on)


def install() -> None:
    """Have Trio take its threads from the cache, in all runs of this process. Doing it again does nothing.

    Raises:
        ImportError: Trio is not installed.
        RuntimeError: This version of Trio has another shape than those that are known; the text says which version,
            and what was missing.

    May be called from any thread, and while Trio runs.
    """
    import trio  # noqa: F401 (so that it is not waited for)

    turn_on(__name__, FROM_THE_CACHE, SWITCH)


def uninstall() -> None:
    """Have Trio take its threads from its own cache again, unless something else has installed ours as well.

    May be called from any thread, while Trio runs, and if nothing is installed.
    """
    turn_off(__name__, SWITCH)
