"""Debug mode: what a job did that a cached thread should not have to bear."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from ._threads import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from outcome import Outcome

T = TypeVar("T")

SLOW_DELIVER = 0.1
"""Seconds; the same as asyncio's `slow_callback_duration`, which is about the same mistake."""


def enabled() -> bool:
    """Whether ``THREADCACHE_DEBUG`` (neither empty nor 0) or ``-X dev`` asks for debug mode."""
    return os.environ.get("THREADCACHE_DEBUG", "") not in {"", "0"} or sys.flags.dev_mode


def watch(fn: Callable[[], T]) -> T:
    """``fn()``, with a `RuntimeWarning` if it leaves some of its thread's state changed."""
    before = _thread_state()
    try:
        return fn()
    finally:
        after = _thread_state()
        changed = ", ".join(what for what in before if before[what] != after[what])
        if changed:
            warn(f"{_name(fn)} left its thread with another {changed} than it found")


def deliver(call: Callable[[Outcome[Any]], object], result: Outcome[Any]) -> None:
    """``call(result)``, with a `RuntimeWarning` if that takes over `SLOW_DELIVER` seconds."""
    start = time.monotonic()
    try:
        call(result)
    finally:
        seconds = time.monotonic() - start
        if seconds > SLOW_DELIVER:
            warn(f"{_name(call)} took {seconds:.3f} s to deliver, while a job may wait for its thread")


def _name(thing: object) -> str:
    try:
        return repr(thing)
    except Exception:  # it is the user's, and must not take the job's outcome with it
        return object.__repr__(thing)


def _thread_state() -> dict[str, object]:
    return {
        "trace function": sys.gettrace(),
        "profile function": sys.getprofile(),
        "event loop": _event_loop(),
        "signal mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()) if hasattr(signal, "pthread_sigmask") else None,
        "name": threading.current_thread().name,
    }


def _event_loop() -> object:
    """The event loop set for this thread, or None; asyncio is not imported for it."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.get_event_loop()
    except Exception:  # there is none; or a policy of the user's can't tell
        return None
