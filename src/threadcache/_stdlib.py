"""The switches for `concurrent.futures` and for the default executors of event loops.

Both work through one hook: ``ThreadPoolExecutor.__new__``, which returns an executor of ours where one of that very
class is asked for. So it does not matter who has imported the class and when, and ``isinstance`` goes on as before, for
ours is a subclass. Subclasses of others keep threads of their own.

Event loops make their default executor at the first ``run_in_executor(None, ...)``. That method is wrapped, so that the
hook knows what is asked for: an executor without a limit. A loop that has its executor already keeps it.

A class that once had a ``__new__`` of its own and lost it refuses all arguments (CPython's issue 5322). So the hook
stays in its place once it is there; while no switch is on, it does what there was to do without it.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import TYPE_CHECKING, Any

from ._switch import Switch, refusal
from .futures import CachedThreadPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._borrowing import Borrowing

__all__ = ["ASYNCIO", "FUTURES", "UVLOOP", "own_threads"]


class _RecognizedError(Exception):
    """Raised by the hook instead of making a default executor: it would have been ours."""


class _Call(threading.local):
    """Whose default executor is being made in this thread."""

    borrowing: Borrowing | None = None
    probing = False


_call = _Call()
_borrowings: list[Borrowing] = []  # one, of `concurrent.futures`, while that switch is on


def _new(cls: type[Any], *args: Any, **kwargs: Any) -> Any:
    if cls is ThreadPoolExecutor:
        if _call.borrowing is not None and not args and kwargs.keys() <= {"thread_name_prefix"}:
            if _call.probing:
                raise _RecognizedError
            return object.__new__(_call.borrowing.loop_executor)
        for borrowing in _borrowings:
            return object.__new__(borrowing.executor)
    # A subclass may have another base after this class, which is next in line.
    new = super(ThreadPoolExecutor, cls).__new__
    return new(cls) if new is object.__new__ else new(cls, *args, **kwargs)


_new.__wrapped__ = ThreadPoolExecutor.__init__  # type: ignore[attr-defined]  # for `inspect.signature`


def _hook() -> None:
    if ThreadPoolExecutor.__new__ is not _new:
        if ThreadPoolExecutor.__new__ is not object.__new__:
            raise refusal("concurrent.futures", "ThreadPoolExecutor has a __new__ already")
        ThreadPoolExecutor.__new__ = staticmethod(_new)  # type: ignore[method-assign]


def _turn_on_futures(borrowing: Borrowing) -> Callable[[], object]:
    _hook()
    _borrowings.append(borrowing)
    return _borrowings.clear


def own_threads() -> list[str]:
    """The names of the executors' classes that keep threads of their own."""
    found: dict[type[Any], None] = {}
    classes: list[type[Any]] = ThreadPoolExecutor.__subclasses__()
    for cls in classes:  # which becomes longer meanwhile
        if not issubclass(cls, CachedThreadPoolExecutor):
            found[cls] = None
            classes += cls.__subclasses__()
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in found]


def _wrap(library: str, loops: type[Any], new_loop: Callable[[], Any], borrowing: Borrowing) -> Callable[[], object]:
    """Have the default executors of all loops of a class be ours; return what undoes it."""
    own = "run_in_executor" in vars(loops)
    inherited: Callable[..., Any] = loops.run_in_executor
    installed = True

    @wraps(inherited)
    def run_in_executor(self: Any, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        if executor is not None or not installed:
            return inherited(self, executor, func, *args)
        _call.borrowing = borrowing
        try:
            return inherited(self, None, func, *args)
        finally:
            _call.borrowing = None

    def undo() -> None:
        nonlocal installed
        installed = False  # if something else has been put on top of ours
        if vars(loops).get("run_in_executor") is run_in_executor:
            if own:
                loops.run_in_executor = inherited
            else:
                del loops.run_in_executor

    _hook()
    loop = new_loop()
    loops.run_in_executor = run_in_executor
    # Whether it works is seen by trying it: a loop that is never run asks for its default executor.
    _call.probing = True
    try:
        loop.run_in_executor(None, int)
        raise refusal(library, "run_in_executor makes no ThreadPoolExecutor that is known for its default executor")
    except _RecognizedError:
        return undo
    except BaseException:
        undo()
        raise
    finally:
        _call.probing = False
        loop.close()


def _turn_on_asyncio(borrowing: Borrowing) -> Callable[[], object]:
    loops = sys.modules["asyncio"].BaseEventLoop
    return _wrap("asyncio", loops, loops, borrowing)


def _turn_on_uvloop(borrowing: Borrowing) -> Callable[[], object]:
    uvloop = sys.modules["uvloop"]
    return _wrap("uvloop", uvloop.Loop, uvloop.Loop, borrowing)


FUTURES = Switch("concurrent.futures", "concurrent.futures.thread", _turn_on_futures)
ASYNCIO = Switch("asyncio", "asyncio", _turn_on_asyncio)
UVLOOP = Switch("uvloop", "uvloop", _turn_on_uvloop)
