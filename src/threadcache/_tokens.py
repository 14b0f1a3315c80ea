"""Tokens of limiters: taken before a job begins, given back when its thread has finished, lent to jobs within it.

A job that waits for another one is blocked, and so needs its token less than the job that it waits for. If that one
took a token of its own, as many jobs as there are tokens could each wait for one more, for ever. So a call that comes
from inside a job (its context variables say so: they travel with ``run_coroutine_threadsafe`` and ``from_thread``)
borrows the token of that job. There is one token to borrow, so calls from inside the same job take *turns*: whoever has
the turn is, to calls from inside itself, what the job is to it. The number of jobs that run at a time and are not
waiting for one that they lent to stays within the limit. (A job that does not wait for what it has called runs beside
it, on the same token.)

If the job ends first, the last borrower that is left has the token from then on, as if it had never been lent.
Otherwise each of a row of jobs, started in the last before that ended, would keep all the tokens before its own.

Everything here happens in the thread of one event loop, and needs no lock; only tokens of that loop are lent. Tokens of
a closed loop are given back in the loop that has used their limiter last, if that is open, and where they are if not.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["CapacityLimiter", "Semaphore", "Token", "holding", "take"]


class Semaphore(Protocol):
    """A limiter as `asyncio` has them: `asyncio.Semaphore`, and what looks like it."""

    def acquire(self) -> Awaitable[object]: ...
    def release(self) -> object: ...


class CapacityLimiter(Protocol):
    """A limiter as Trio and AnyIO have them."""

    def acquire_on_behalf_of(self, borrower: Any, /) -> Awaitable[object]: ...
    def release_on_behalf_of(self, borrower: Any, /) -> object: ...


class Token:
    """One job's hold on a limiter."""

    __slots__ = ("_borrower", "_ended", "_give_back", "_lender", "_users", "limiter", "loop", "outer", "turn")

    def __init__(
        self,
        limiter: object,
        loop: asyncio.AbstractEventLoop,
        outer: Token | None,
        give_back: Callable[[], object],
        lender: Token | None = None,
    ) -> None:
        self.limiter = limiter
        self.loop = loop
        self.outer = outer  # the token of the job that this one was called in, if it was
        self.turn = asyncio.Semaphore(1)
        self._give_back = give_back
        self._users = 1  # the job, and the calls from inside it that have the turn or wait for it
        self._ended = False
        self._lender = lender
        self._borrower: Token | None = None  # who has the turn
        if lender is not None:
            lender._borrower = self
            lender._pass_on()

    @classmethod
    async def borrowed(cls, lender: Token, outer: Token | None) -> Token:
        """Wait for the turn, and have it."""
        lender._users += 1
        try:
            await lender.turn.acquire()
        except BaseException:
            lender._leave()
            raise
        return cls(lender.limiter, lender.loop, outer, lender._end_turn, lender)

    def release(self) -> None:
        """Say that the job's thread has finished. Saying it again does nothing."""
        if not self._ended:
            self._ended = True
            self._leave()

    def release_elsewhere(self) -> None:
        """The same in another thread, since the loop has been closed."""
        with suppress(TypeError, RuntimeError):  # not one that is referred to weakly; the loop is closed meanwhile
            reference = _last_loops.get(self.limiter)
            loop = None if reference is None else reference()
            if loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self.release)
                return
        self.release()

    def _end_turn(self) -> None:
        self._borrower = None
        try:
            self.turn.release()
        finally:  # whoever waited for it may be in a loop that has been closed
            self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if self._users:
            self._pass_on()
        else:
            self._give_back()

    def _pass_on(self) -> None:
        """If nobody is left but one borrower, let it have what this one has."""
        heir = self._borrower
        if self._ended and self._users == 1 and heir is not None:
            heir._give_back, heir._lender, heir.outer = self._give_back, self._lender, self.outer
            if self._lender is not None:
                self._lender._borrower = heir

    @property
    def running(self) -> Token | None:
        """The innermost token, from this one outwards, whose job has not ended."""
        token: Token | None = self
        while token is not None and token._ended:
            token = token.outer
        if token is not None and token.outer is not None and token.outer._ended:
            token.outer = token.outer.running  # or a row of ended ones would be kept
        return token


_last_loops: weakref.WeakKeyDictionary[Any, weakref.ref[asyncio.AbstractEventLoop]] = weakref.WeakKeyDictionary()
_current: ContextVar[Token | None] = ContextVar("threadcache token", default=None)

holding = _current.set
"""Called in a job's context: calls from inside the job find the job's token."""


async def take(limiter: Semaphore | CapacityLimiter, loop: asyncio.AbstractEventLoop) -> Token:
    """Take a token of ``limiter``, or borrow the one that the job has in which this is called.

    Raises:
        TypeError: ``limiter`` is not a limiter of either kind, or one that blocks.
    """
    current = _current.get()
    outer = lender = current and current.running
    while lender is not None and not (lender.limiter is limiter and lender.loop is loop):
        lender = lender.outer and lender.outer.running
    if lender is None:
        with suppress(TypeError):  # of a limiter that cannot be referred to weakly
            _last_loops[limiter] = weakref.ref(loop)
        return Token(limiter, loop, outer, await _acquire(limiter))
    return await Token.borrowed(lender, outer)


async def _acquire(limiter: Any) -> Callable[[], object]:
    borrower: tuple[object, ...] = ()
    try:
        if hasattr(limiter, "acquire_on_behalf_of"):
            borrower = (object(),)
            acquire, release = limiter.acquire_on_behalf_of, limiter.release_on_behalf_of
        else:
            acquire, release = limiter.acquire, limiter.release
    except AttributeError:
        raise TypeError(
            "limiter must have acquire and release, or acquire_on_behalf_of and release_on_behalf_of, "
            f"which {type(limiter).__name__} has not"
        ) from None
    if type(limiter).__module__ in {"threading", "_thread", "multiprocessing.synchronize"}:
        raise TypeError(f"limiter must be awaited, and {type(limiter).__name__} blocks")
    acquired = acquire(*borrower)
    give_back = partial(release, *borrower)
    if not inspect.isawaitable(acquired):
        give_back()
        raise TypeError(f"limiter must be awaited, and {type(limiter).__name__} blocks")
    await acquired
    return give_back
