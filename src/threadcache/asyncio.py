"""Blocking calls from asyncio, in threads of the process-wide cache.

`run_sync` and `to_thread` need nothing installed and no executor; `install` gives a loop's default executor, and with
it `asyncio.to_thread` and ``run_in_executor(None, ...)``, the same threads. All of it works on any event loop that
follows `asyncio`, uvloop included, and with eager tasks. How results come back is told in `_inbox`, how limiters'
tokens are held in `_tokens`.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar, TypeVarTuple, Unpack

from . import default_cache
from ._inbox import Inbox, UncancellableFuture
from ._tokens import holding, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from outcome import Outcome

    from ._tokens import CapacityLimiter, Semaphore

__all__ = ["install", "run_sync", "to_thread"]

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def run_sync(
    fn: Callable[[Unpack[Ts]], T],
    *args: *Ts,
    limiter: Semaphore | CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
    thread_name: str | None = None,
) -> T:
    """Call ``fn(*args)`` in a worker thread, and return or raise what it did.

    The call sees a copy of the caller's context variables; what it sets stays with it.

    Args:
        fn: What to call.
        args: Its arguments.
        limiter: Limits how many calls run at a time: an `asyncio.Semaphore`, or Trio's and AnyIO's protocol
            (``acquire_on_behalf_of``, ``release_on_behalf_of``). A token is taken before the call begins, and is held
            until its thread has finished, whatever becomes of the caller. A call from inside a call that holds a token
            of the same limiter in the same loop uses that one; several of them take turns. None: there is no limit.
        abandon_on_cancel: What cancelling does once the thread is running. True: raise at once, and drop whatever the
            thread will yield. False: wait for the thread, and then raise.
        thread_name: What the thread is called while it runs ``fn``. None: as the cache calls it, which is cheaper.

    Raises:
        TypeError: ``fn`` cannot be called, or ``limiter`` is no limiter.
        RuntimeError: There is no running event loop, no thread could be started, or ``fn`` raised `StopIteration`,
            which no coroutine can raise (PEP 479; it is the ``__cause__``).
        asyncio.CancelledError: The caller was cancelled.
        BaseException: What ``fn`` raised.

    Loops in several threads may call it at the same time.
    """
    if not callable(fn):
        raise TypeError(f"fn must be callable, not {type(fn).__name__}")
    loop = asyncio.get_running_loop()
    inbox = Inbox.of(loop)
    token = None if limiter is None else await take(limiter, loop)
    try:
        inbox.expect(loop)
        context = copy_context()
        if token is not None:
            context.run(holding, token)
        future: asyncio.Future[Outcome[T]]
        future = loop.create_future() if abandon_on_cancel else UncancellableFuture(loop=loop)
        default_cache.start_thread_soon(partial(context.run, fn, *args), partial(inbox.put, future, token), thread_name)
    except BaseException:
        inbox.in_flight -= 1
        if token is not None:
            token.release()
        raise
    outcome = await future
    # An error's traceback has this frame, which must not lead back to the error (G7).
    del fn, args, limiter, token, context, future, inbox
    try:
        return outcome.unwrap()
    finally:
        del outcome


async def to_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``fn(*args, **kwargs)`` in a worker thread, like `asyncio.to_thread`, but without a limit.

    A caller that is cancelled gets its CancelledError at once, and the thread goes on alone; otherwise this is
    `run_sync`, of which see the errors.
    """
    return await run_sync(partial(fn, *args, **kwargs), abandon_on_cancel=True)


def install(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Make an executor of the cache's the default one of ``loop`` (None: the running loop).

    It has no limit, so look-ups of names, say, never wait for other calls. A default executor that the loop has
    already is left to finish what it has. To have this for all loops, see `threadcache.install`.

    Raises:
        RuntimeError: There is no running event loop.
    """
    from ._borrowing import LoopExecutor

    (asyncio.get_running_loop() if loop is None else loop).set_default_executor(LoopExecutor())
