"""The future that waits in a pool's line, and how it is resolved and waited for at little cost.

`concurrent.futures.Future` makes a condition for each future, which is most of what a future costs, and takes its lock
for every step. Few are ever looked at before they are done. So here a condition is made when somebody asks for it, and
what happens to every future goes without: it begins, it ends, and its result is taken.

``call``     a list of one, which is ``(context, fn, args, kwargs)``. Whoever pops it decides: the runner, and then it
             begins, or whoever cancels.
``first``    a list to which everybody appends who asks for the condition: None, and whoever resolves the future: the
             result and the error, if there is nothing in it yet. Its first item decides, and never changes. If that is
             the outcome, the future is done: what other attributes say of it follows, and is written by whoever comes.
``latch``    the mailbox of the thread that waits in `result`, if there is one. It spins there before it waits on the
             condition; whoever has resolved the future puts into it if it sees it. Missing it costs the spin.

Races
=====

1. *Somebody looks as the future ends.* L appends to ``first`` before it looks at the state, under the condition's lock;
   so does the resolver R before it writes the state. If L was first, R takes the lock and notifies, as the standard
   library does: for L may be about to wait or to add a callback, and what has the lock, such as `wait`, looks at the
   state more than once and must not see it change in between. If R was first, L writes the state itself, for R may
   not have got that far, and then finds it. L may not have made the condition yet: `_condition` gives everybody the
   same one.
2. *Cancelled as it begins*: one of the two pops the call. Who cancels, and is interrupted after that, leaves a future
   which neither has begun nor is cancelled: the runner finds it in the line, without a call, and cancels it.

This uses private names of `concurrent.futures`, which have not changed from Python 3.11 to 3.15; nothing else in this
project does. Where they are not what they were, `Future` is used, which does the same with public ones.
"""

from __future__ import annotations

import concurrent.futures
import operator
import threading
import types
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._mailbox import MailboxLike
    from ._pool import Pool

T = TypeVar("T")
Call = tuple[Any, "Callable[..., Any]", tuple[Any, ...], dict[str, Any]]

Base = concurrent.futures.Future


class Future(Base[T]):
    """A future that waits in a pool's line together with what it is to run."""

    cached_accepted = False  # race 4 of the pool's
    cached_latch: MailboxLike | None = None

    def __init__(self, pool: Pool, call: Call) -> None:
        super().__init__()
        self.cached_pool = pool
        self.cached_call = [call]  # until it begins or is cancelled

    def cached_begin(self) -> Call | None:
        """Begin, and return what is to be called; None if the future has been cancelled. Called by its runner."""
        if self.set_running_or_notify_cancel():
            return self.cached_call.pop()
        self.cached_call.clear()  # who has cancelled it may have been interrupted
        return None

    def cached_resolve(self, result: T | None, error: BaseException | None) -> MailboxLike | None:
        """Set the result or, if there is one, the error; then tell everybody, but for who spins. Called by its runner.

        Return the mailbox to put into for that one, if there is one.

        Raises:
            concurrent.futures.InvalidStateError: Somebody else has.
        """
        if error is None:
            self.set_result(result)  # type: ignore[arg-type]
        else:
            self.set_exception(error)
        return self.cached_latch

    def cancel(self) -> bool:
        """Cancel the future if it has not begun, and let go of what it was to run."""
        cancelled = super().cancel()
        if cancelled:
            self.cached_call.clear()
        return cancelled

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, or raise what the call has raised; see `concurrent.futures.Future.result`."""
        try:
            self._await(timeout)
            return super().result(timeout)
        finally:
            del self  # the exception's traceback refers to this frame, which must not lead back to the exception

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for what the call has raised; see `concurrent.futures.Future.exception`."""
        self._await(timeout)
        return super().exception(timeout)

    def _await(self, timeout: float | None) -> None:
        """Run it, where nobody but the calling thread ever could; or spin for it, for a while."""
        pool = self.cached_pool
        if self.done() or (timeout is not None and timeout <= pool.cache._longest_spin):
            return
        if timeout is None and pool.lease:
            pool.help(self)
        self.cached_latch = latch = pool.cache._new_latch()
        if not self.done():
            pool.stand_by(latch)


class _Made:
    """An attribute that is made when it is first asked for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, future: LazyFuture[Any] | None, owner: type) -> Any:
        return self if future is None else future.__dict__.setdefault(self._name, self._make())


class _Condition(_Made):
    """The condition, which is only asked for by whoever means to look at the state."""

    def __get__(self, future: LazyFuture[Any] | None, owner: type) -> Any:
        if future is not None:
            future.cached_first.append(None)
            if future.cached_first[0] is not None:  # race 1
                future._settle()
        return super().__get__(future, owner)


class LazyFuture(Future[T]):
    """The same, which makes its condition when it is needed."""

    _condition = _Condition(threading.Condition)
    _state = "PENDING"
    _result: Any = None
    _exception: Any = None
    _waiters = _Made(list)
    _done_callbacks = _Made(list)

    def __init__(self, pool: Pool, call: Call) -> None:
        self.cached_pool = pool
        self.cached_call = [call]
        self.cached_first: list[tuple[Any, BaseException | None] | None] = []

    def cached_begin(self) -> Call | None:
        """Begin, and return what is to be called; None if the future has been cancelled. Called by its runner.

        Raises:
            RuntimeError: It has a result already.
        """
        try:
            call = self.cached_call.pop()
        except IndexError:
            with self._condition:
                left = self._state == "PENDING"  # race 2
                if left:
                    self._end_as("CANCELLED")
            if left:
                self._invoke_callbacks()  # type: ignore[attr-defined]
        else:
            if self._state == "PENDING":
                self._state = "RUNNING"
                return call
        Base.set_running_or_notify_cancel(self)
        return None

    def set_running_or_notify_cancel(self) -> bool:
        """See `concurrent.futures.Future.set_running_or_notify_cancel`."""
        return self.cached_begin() is not None

    def cached_resolve(self, result: T | None, error: BaseException | None) -> MailboxLike | None:
        """Set the result or, if there is one, the error; then tell everybody, but for who spins. Called by its runner.

        Return the mailbox to put into for that one, if there is one.

        Raises:
            concurrent.futures.InvalidStateError: Somebody else has.
        """
        first = self.cached_first
        if not first:
            first.append((result, error))
        outcome = first[0]
        if outcome is not None:
            self._result, self._exception = outcome  # as in `_settle`
            self._state = "FINISHED"
        else:
            with self._condition:  # race 1
                if self.done():
                    raise concurrent.futures.InvalidStateError(f"{self._state}: {self!r}")
                self._result, self._exception = result, error
                self._end_as("FINISHED", "add_result" if error is None else "add_exception")
            self._invoke_callbacks()  # type: ignore[attr-defined]
        del error, outcome  # see `result`
        return self.cached_latch

    def _settle(self) -> None:
        """Write down the outcome that was the first. Whoever comes does, and they all write the same."""
        self._result, self._exception = self.cached_first[0]  # type: ignore[misc]
        self._state = "FINISHED"

    def _end_as(self, state: str, tell: str = "") -> None:
        """Set the last state and wake those who wait for it. Called with the lock."""
        # Nothing strikes between the step of the loop in `_wake` and the call.
        tells = map(operator.attrgetter(tell), self._waiters if tell else ())
        self._state = state
        try:
            self._wake(tells)
        except BaseException:  # struck from outside; but nobody else will
            self._wake(tells)
            raise

    def _wake(self, tells: Iterator[Callable[[LazyFuture[Any]], object]]) -> None:
        self._condition.notify_all()
        for tell in tells:
            tell(self)

    def cancel(self) -> bool:
        """Cancel the future if it has not begun, and let go of what it was to run."""
        if self._state in {"RUNNING", "FINISHED"}:
            return False  # without a look: whoever takes a result cancels afterwards, as `map` does
        with self._condition:
            if self._state != "PENDING":
                return self._state in {"CANCELLED", "CANCELLED_AND_NOTIFIED"}
            try:
                self.cached_call.pop()
            except IndexError:
                return False
            self._end_as("CANCELLED")
        self._invoke_callbacks()  # type: ignore[attr-defined]
        return True

    def done(self) -> bool:
        """See `concurrent.futures.Future.done`."""
        return self._state not in {"PENDING", "RUNNING"}

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, or raise what the call has raised; see `concurrent.futures.Future.result`."""
        try:
            if self._state != "FINISHED":
                self._await(timeout)
            if self._state == "FINISHED" and self._exception is None:
                result: T = self._result
                return result
            return Base.result(self, timeout)
        finally:
            del self


_ATTRIBUTES = {"_condition", "_state", "_result", "_exception", "_waiters", "_done_callbacks"}
_USED = _ATTRIBUTES | {"_invoke_callbacks", "_STATE_TO_DESCRIPTION_MAP"}
_KNOWN = _USED | {"_Future__get_result", "_get_snapshot"}


def has_known_shape(base: type) -> bool:
    """Whether the standard library's future has the private names that `LazyFuture` knows of, and no others."""
    fresh = getattr(base(), "__dict__", {})
    used = {
        name
        for method in vars(base).values()
        if isinstance(method, types.FunctionType)
        for name in method.__code__.co_names
        if name.startswith("_") and not name.endswith("__")
    }
    return (
        set(fresh) == _ATTRIBUTES
        and fresh["_state"] == "PENDING"
        and isinstance(fresh["_condition"], threading.Condition)
        and _USED <= used <= _KNOWN
    )


new_future: type[Future[Any]] = LazyFuture if has_known_shape(Base) else Future
