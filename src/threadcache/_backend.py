"""Which mailbox is in use is decided here and nowhere else, and for how long its owner spins."""

from __future__ import annotations

import math
import os
import platform
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

__all__ = ["LONGEST", "MAILBOX", "MOST_SPIN", "SPIN", "WHY", "Mailbox", "name_system_thread", "quick"]

_CHOICE = os.environ.get("THREADCACHE_MAILBOX", "")
if _CHOICE not in {"", "pure", "native"}:
    raise ValueError(f"THREADCACHE_MAILBOX must be pure or native, not {_CHOICE!r}")

MAILBOX = "pure"
"""The name of the implementation, as ``python -m threadcache info`` shows it."""

WHY = ""
"""Why it is the pure one, if it is."""

name_system_thread: Callable[[bytes], object] | None = None
"""Names the calling thread for the operating system; None where it is for others to do."""

quick: types.ModuleType | None = None
"""What submits and runs jobs in C: `bind`, `start` and `run`. None: the mailbox is the pure one."""

if _CHOICE == "pure":
    WHY = "THREADCACHE_MAILBOX says so"
else:
    try:
        from ._native import LONGEST, Mailbox, set_cores
        from ._native import name_thread as name_system_thread
    except ImportError as error:
        if _CHOICE == "native":
            raise ImportError(f"THREADCACHE_MAILBOX asks for the native mailbox, which is not there: {error}") from None
        WHY = "the native one was not built" if platform.python_implementation() == "CPython" else "not CPython"
    else:
        MAILBOX = "native"
        from . import _native

        quick = _native
if MAILBOX == "pure":
    from ._mailbox import Mailbox

    LONGEST = 0

MOST_SPIN = 1_000_000
"""Microseconds. Nobody wants a second, and there it ends."""

_spin = os.environ.get("THREADCACHE_SPIN", "20")
try:
    SPIN = float(_spin)
except ValueError:
    SPIN = -1
if not 0 <= SPIN <= MOST_SPIN:
    raise ValueError(f"THREADCACHE_SPIN must be 0 to {MOST_SPIN:,} microseconds, not {_spin!r}")
"""Microseconds that whoever waits looks for the token before parking.

In docs/spinning.md, 10 was too short for an executor that is closed and the next one that is made; 35 and more cost
more CPU time than the cheapest peer at 20,000 jobs a second, where a spin of 50 finds every job, and 20 cost less. What
a loop and its workers do for each other depends little on it, since they spin for longer then.
"""


def _cores() -> int:
    """How many cores this process may run on at a time, as far as the system tells."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A container's share of the machine: cgroups' version 2, and 1.
    with suppress(OSError, ValueError), open("/sys/fs/cgroup/cpu.max", "rb") as file:
        quota, period = map(int, file.read().split())
        return min(cores, max(1, math.ceil(quota / period)))
    with suppress(OSError, ValueError), open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "rb") as file:
        quota = int(file.read())
        with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "rb") as period_file:
            return min(cores, max(1, math.ceil(quota / int(period_file.read())))) if quota > 0 else cores
    return cores


if MAILBOX == "native":
    _begin = partial(set_cores, _cores())
    _begin()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_begin)
