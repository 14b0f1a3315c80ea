"""Where an event loop's results wait, and how the loop is woken for them.

A worker puts what it has to deliver into the loop's *inbox*, and rings its *bell* if nobody has. A ring is one call of
``call_soon_threadsafe``, the only way into a loop from another thread, and it costs a system call; so one ring serves
all results that are there by the time the loop answers.

``results``  a deque of (future, token, outcome), first in, first out. Workers append, the loop alone takes out.
``bell``     a dict with one entry while nobody has rung, empty from the ring until the loop answers. Who takes the
             entry out is the one who rings.

Every operation on either is one call of a C function, which takes the container's own lock where there is no GIL; the
order of two operations on the same container is therefore an order of everything before and after them.

Races
=====

1. *A result comes as the loop answers.* The loop puts the bell's entry back (1), and then takes results out until
   there are none (2). Worker W appends its result (3), and then tries to take the entry (4). If W finds it, W rings.
   If not, (4) came before some later (1), so the (2) after that finds the result. Were (2) before (1), a result that
   comes between them would be taken for announced, and never looked at.

2. *The loop is closed.* The ring may find the loop closed, and asking before would not help: it may be closed between
   the question and the ring. So W rings, and if that fails asks whether the loop was closed. Or the loop is closed
   after the ring, and then it drops what it was to call. Either way the ring ends unanswered: nobody will answer any
   more, so whoever drops it, and has the bell's entry still, throws the results away and gives back the limiters'
   tokens, before it puts the entry back.

3. *KeyboardInterrupt in the loop's thread* strikes in the middle of (2). A result is taken out only after its future
   has it, so it is set twice at worst, which does nothing; and the loop is asked to come back for the rest. Between
   (1), which is done in C, and (2), the ring ends unanswered too: it is rung again when the exception is dropped.
   Before that, in the exception's handler, say, the next result rings, and cancelling a call has the loop look.
"""

from __future__ import annotations

import asyncio
import operator
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outcome import Outcome

    from ._tokens import Token

__all__ = ["Inbox", "UncancellableFuture"]

_ATTRIBUTE = "_threadcache_inbox"


class UncancellableFuture(asyncio.Future[Any]):
    """A future that a task cannot cancel by being cancelled: the task gets its CancelledError when this is done."""

    __slots__ = ()

    def cancel(self, msg: object = None) -> bool:
        """Do nothing. The task that waits remembers to be cancelled when it is told so (`asyncio.Task.cancel`)."""
        loop = self.get_loop()
        loop.call_soon(Inbox.of(loop).answer, loop)  # race 3
        return False


class Inbox:
    """The inbox of one event loop."""

    __slots__ = ("_results", "bell", "restore")

    def __init__(self) -> None:
        self._results: deque[tuple[asyncio.Future[Any], Token | None, Outcome[Any]]] = deque()
        self.bell = {0: True}
        self.restore = partial(self.bell.setdefault, 0, True)  # put its entry back, and return True

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Inbox:
        """The inbox of ``loop``, which must be the running one. It lives in the loop, and goes with it."""
        try:
            inbox: Inbox = getattr(loop, _ATTRIBUTE)
        except AttributeError:
            inbox = cls()
            setattr(loop, _ATTRIBUTE, inbox)
        return inbox

    def put(self, future: asyncio.Future[Any], token: Token | None, outcome: Outcome[Any]) -> None:
        """Have ``future``, of this inbox's loop, get ``outcome`` as its result. Called in a worker."""
        self._results.append((future, token, outcome))
        if self.bell.pop(0, False):
            _Ring(self, future.get_loop()).ring()

    def answer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand out all results. Called by the loop, which has put the bell's entry back."""
        results = self._results
        try:
            while results:
                future, token, outcome = results[0]
                if token is not None:
                    loop.call_soon(token.release)  # what it raises is the loop's to report
                if not future.done():
                    future.set_result(outcome)
                results.popleft()
        except BaseException:
            loop.call_soon(self.answer, loop)  # race 3
            raise

    def forget(self) -> None:
        """Drop all results, of a loop that has been closed. Called by who has the bell's entry, so by one at a time."""
        mine = True
        while mine:
            while self._results:
                _, token, _ = self._results.popleft()
                if token is not None:
                    with suppress(RuntimeError):  # the limiter's loop is closed
                        token.release_elsewhere()
            self.restore()  # race 1
            mine = bool(self._results) and self.bell.pop(0, False)


class _Ring:
    """A ring, which is answered or dropped."""

    __slots__ = ("_answered", "_first", "_inbox", "_loop")

    def __init__(self, inbox: Inbox, loop: asyncio.AbstractEventLoop, first: bool = True) -> None:
        self._inbox = inbox
        self._loop = loop
        self._first = first  # a loop that is garbage, and was never closed, would drop the next one too, for ever
        self._answered = False

    def ring(self) -> None:
        try:
            # `all` calls both, for the one returns True and the other None: races 1 and 3.
            self._loop.call_soon_threadsafe(all, map(operator.call, (self._inbox.restore, self)))  # type: ignore[arg-type]
        except BaseException as error:
            self._answered = True
            if isinstance(error, RuntimeError) and self._loop.is_closed():
                self._inbox.forget()
            else:
                self._inbox.restore()  # the next result may have better luck
                raise

    def __call__(self) -> None:
        self._inbox.answer(self._loop)
        self._answered = True

    def __del__(self) -> None:
        if not self._answered:
            if self._loop.is_closed():
                self._inbox.bell.pop(0, False)  # it is back if the answer was interrupted
                self._inbox.forget()
            elif self._first:
                _Ring(self._inbox, self._loop, first=False).ring()
