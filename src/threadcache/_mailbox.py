"""The mailbox: how a parked worker is told to get up.

A mailbox holds one token or none. It is *full* from ``put`` until the ``get`` that takes the token out, and *empty*
otherwise. One thread gets: the worker that owns the mailbox. One thread puts: whoever took the worker off the idle
list, so two puts never meet. ``is_empty`` may be asked by any thread and is the only unlocked look at a mailbox; it
may be stale, and the header of `_cache` says why that does no harm.

Each operation is one call of a C function, so that no KeyboardInterrupt and no asynchronous exception finds it half
done. That is also why there are no Python methods here: the lock's own are handed out under the mailbox's names.

A locked lock means *empty*, an unlocked one *full*; this is the way round in which waiting for a token is acquiring.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class MailboxLike(Protocol):
    """What the cache needs of a mailbox; `Mailbox` is the model that any other implementation follows."""

    put: Callable[[], object]
    """Make the mailbox full and wake its owner. Never blocks, and may be called from any thread."""

    get: Callable[[bool, float], bool]
    """``get(wait, timeout)``: take the token out. False if there was none within ``timeout`` seconds (-1: no limit).

    A timeout of 0 waits for as long as the mailbox spins, which is not at all in this one.
    """

    is_empty: Callable[[], bool]
    """Whether there is no token inside at this moment."""

    is_spinning: Callable[[], bool]
    """Whether the owner looks for the token at this moment, without being parked."""


class Mailbox:
    """The portable mailbox: a `threading.Lock`, which parks in the kernel and does not spin. Starts empty.

    Args:
        spin: Microseconds that the native mailbox's owner looks for the token before it parks.
        shared: With whom it learns from that: with those of workers (False), or with all others (True), whose owner may
            be the main thread, and hears of signals.
    """

    __slots__ = ("get", "is_empty", "is_spinning", "put")

    put: Callable[[], object]
    get: Callable[[bool, float], bool]
    is_empty: Callable[[], bool]
    is_spinning: Callable[[], bool]

    def __init__(self, spin: float = 0, shared: bool = False) -> None:
        lock = Lock()
        lock.acquire()
        self.put = lock.release
        self.get = lock.acquire
        self.is_empty = lock.locked
        self.is_spinning = bool  # False
