"""An event loop's spin: how it waits a moment, before it sleeps, for what other threads bring.

They put it somewhere, the *results*, and then `tell`; the loop looks there and spins on its latch.

``watching``  a list with one entry while the loop spins, the ``put`` of the latch that it spins on. Who takes it out
              and calls it, in one, has told the loop, which then need not be woken.

*A result comes as the loop begins to spin, or stops.* The loop begins to watch (1), looks whether there are results
(2), spins, and ceases to watch (3). Worker W puts its result there (4), and then tries to take the entry (5). If (5)
was before (1), then (2) finds the result. If W finds the entry, the loop fails to take it back at (3): there is a
result, and the latch has got a put or will get one. Nobody waits for that: the next spin uses another latch. If (5) was
after (3), W knows that it has told nobody.

Each operation on the list is one call of a C function, which takes the list's own lock where there is no GIL; so the
order of two of them is an order of everything before and after them.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from . import default_cache
from ._threads import GIL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sized

__all__ = ["Spinner"]


class Spinner:
    """The spin of one event loop. That loop alone calls its methods, but `tell`."""

    __slots__ = ("_tell", "latch", "watching")

    def __init__(self) -> None:
        self.watching: list[Callable[[], object]] = []
        # `next(tell)` takes the entry out and calls it, or raises IndexError.
        self._tell: Iterator[object] = map(operator.call, iter(self.watching.pop, None))
        self.latch = default_cache._new_latch()

    def tell(self) -> bool:
        """Tell the loop, if it spins, that there is a result; return whether it does. Called in any thread."""
        if self.watching or not GIL:  # without the GIL the attempt is what orders it
            try:
                next(self._tell)
                return True
            except IndexError:
                pass
        return False

    def spin(self, results: Sized) -> bool:
        """Wait a moment for a result, unless there is one, and return whether there is."""
        hit = False
        try:
            self.watching.append(self.latch.put)
            hit = not results and default_cache._stand_by(self.latch)
        finally:
            if not hit:
                try:
                    self.watching.pop()
                except IndexError:
                    self.latch = default_cache._new_latch()  # somebody is about to put into the other one
                    hit = True
        return hit or bool(results)

    def close(self) -> None:
        """Cease to watch, from wherever a spin has been struck."""
        self.latch = default_cache._new_latch()  # for who has been told to put into the other one
        self.watching.clear()
