"""Where an event loop's results wait, and how the loop gets to know of them.

A worker puts what it has to deliver into the loop's *inbox*, and rings its *bell* if nobody has. A ring is one call of
``call_soon_threadsafe``, the only way into a loop from another thread. It costs a system call, and wakes the loop if
it sleeps, which takes longer than many jobs do; so one ring serves all results that are there by the time the loop
looks, and where the mailbox spins the loop saves most rings by *looking* itself: as long as calls are in flight, with
everything else that it has to do, and, when there is nothing else, by spinning for a moment before it sleeps.

``results``   a deque of (future, token, outcome), first in, first out. Workers append, the loop alone takes out.
``bell``      a dict with one entry while nobody has seen to it that the loop will look. Who takes the entry out rings,
              or is the loop itself and looks. The loop puts it back.
``spinner``   what the loop spins with, and how it is told meanwhile: see `_spinner`. Who has told it need not ring.
``in_flight`` how many results are to come. The loop's own; after an interrupt it may be wrong, which costs a spin.
``turn``      the number of the look that began last, the loop's own.
``ready``     the callbacks that the loop is to call next, to see whether there is anything else to do. This is
              `asyncio.BaseEventLoop`'s, and private; a loop without it, like uvloop's, does not spin.

Every operation on the first two is one call of a C function, which takes the container's own lock where there is no
GIL; the order of two operations on the same container is therefore an order of everything before and after them.

Races
=====

1. *A result comes as the loop stops looking.* The loop puts the bell's entry back (1), and then takes results out until
   there are none (2). Worker W appends its result (3), and then tries to take the entry (4). If W finds it, W rings.
   If not, (4) came before some later (1), so the (2) after that finds the result. Were (2) before (1), a result that
   comes between them would be taken for announced, and never looked at.

2. *A result comes as the loop begins to spin, or stops.* `_spinner` tells it. The loop has the bell's entry when it
   begins, and goes on as in race 1 when it has stopped; W tells it between (3) and (4) of race 1.

3. *The loop is closed.* The ring may find the loop closed, and asking before would not help: it may be closed between
   the question and the ring. So W rings, and if that fails asks whether the loop was closed. Or the loop is closed
   before it looks, and then it drops what it was to call. Either way nobody will look any more, so whoever drops the
   look, and has the bell's entry still, throws the results away and gives back the limiters' tokens, before it puts
   the entry back.

4. *KeyboardInterrupt in the loop's thread* strikes while it looks. A result is taken out only after its future has it,
   so it is set twice at worst, which does nothing; and the loop is asked to come back for the rest. The bell's entry is
   put back before a look begins, to be taken out by it, and when it is interrupted; so the next result rings, even if
   the look was struck before its first step. And the look counts as dropped: it is rung for again when the exception
   is let go. Before that, in the exception's handler, say, cancelling a call has the loop look.
"""

from __future__ import annotations

import asyncio
import operator
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from . import default_cache
from ._spinner import Spinner

if TYPE_CHECKING:
    from collections.abc import Callable

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
        loop.call_soon(Inbox.of(loop).answer, loop)  # race 4
        return False


class Inbox:
    """The inbox of one event loop."""

    __slots__ = ("_ready", "_results", "bell", "in_flight", "restore", "spinner", "turn")

    def __init__(self, ready: deque[Any] | None = None) -> None:
        self._results: deque[tuple[asyncio.Future[Any], Token | None, Outcome[Any]]] = deque()
        self.bell = {0: True}
        self.restore = partial(self.bell.setdefault, 0, True)  # put its entry back, and return True
        self.in_flight = 0
        self.turn = 0
        self._ready = ready
        self.spinner = Spinner()

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Inbox:
        """The inbox of ``loop``, which must be the running one. It lives in the loop, and goes with it."""
        try:
            inbox: Inbox = getattr(loop, _ATTRIBUTE)
        except AttributeError:
            ready = getattr(loop, "_ready", None)
            inbox = cls(ready if isinstance(ready, deque) and default_cache._spins else None)
            setattr(loop, _ATTRIBUTE, inbox)
        return inbox

    def put(self, future: asyncio.Future[Any], token: Token | None, outcome: Outcome[Any]) -> None:
        """Have ``future``, of this inbox's loop, get ``outcome`` as its result. Called in a worker."""
        self._results.append((future, token, outcome))
        if not self.spinner.tell() and self.bell.pop(0, False):
            _Look(self, future.get_loop()).ring()

    def expect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop look for one more result. Called by the loop, before it submits a call."""
        self.in_flight += 1
        if self._ready is not None:
            try:
                if self.bell.pop(0, False):
                    _Look(self, loop).come(loop.call_soon)
            except BaseException:
                self.restore()
                raise

    def look(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Hand out the results, and wait a moment for one if the loop has nothing else to do.

        Called by the loop, which has the bell's entry. Return whether it is to look again before it sleeps.
        """
        self.answer(loop)
        if self._ready is None or self.in_flight <= 0:
            return False
        if not self._ready:
            if not self.spinner.spin(self._results):
                return False
            self.answer(loop)
        return True

    def answer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand out all results. Called by the loop."""
        results = self._results
        try:
            while results:
                future, token, outcome = results[0]
                if token is not None:
                    loop.call_soon(token.release)  # what it raises is the loop's to report
                if not future.done():
                    future.set_result(outcome)
                results.popleft()
                self.in_flight -= 1
        except BaseException:
            loop.call_soon(self.answer, loop)  # race 4
            raise

    def close(self) -> None:
        """Have nobody look any more."""
        self.spinner.close()
        self.restore()

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


class _Look:
    """The loop's next look at its inbox, by who has the bell's entry. It is answered or dropped."""

    __slots__ = ("_answered", "_first", "_inbox", "_loop", "_turn")

    def __init__(self, inbox: Inbox, loop: asyncio.AbstractEventLoop, first: bool = True) -> None:
        self._inbox = inbox
        self._loop = loop
        self._first = first  # a loop that is garbage, and was never closed, would drop the next one too, for ever
        self._answered = False
        self._turn = 0

    def come(self, call_soon: Callable[..., object]) -> None:
        """Be called soon. The bell's entry is put back in the same call, in C: race 4."""
        call_soon(all, map(operator.call, (self._inbox.restore, self)))  # type: ignore[arg-type]

    def ring(self) -> None:
        """Be called soon, though this is another thread."""
        try:
            self.come(self._loop.call_soon_threadsafe)
        except BaseException as error:
            self._answered = True
            if isinstance(error, RuntimeError) and self._loop.is_closed():
                self._inbox.forget()
            else:
                self._inbox.restore()  # the next result may have better luck
                raise

    def __call__(self) -> None:
        inbox, loop = self._inbox, self._loop
        try:
            if not inbox.bell.pop(0, False):
                self._answered = True  # it has been rung again since it was put back, so there will be another look
            elif self._is_last() and inbox.look(loop):
                self.come(loop.call_soon)
            else:
                inbox.restore()
                inbox.answer(loop)  # race 1
                self._answered = True
        except BaseException:
            inbox.close()  # race 4
            raise

    def _is_last(self) -> bool:
        """Whether no look has begun since this one did. Two would keep each other, and so the loop, awake for ever."""
        if self._turn == 0:
            self._first = True  # the loop lives
            self._inbox.turn = self._turn = self._inbox.turn + 1
        return self._turn == self._inbox.turn

    def __del__(self) -> None:
        if not self._answered:
            if self._loop.is_closed():
                self._inbox.bell.pop(0, False)  # it is back if the look was interrupted
                self._inbox.forget()
            elif self._first:
                _Look(self._inbox, self._loop, first=False).ring()
