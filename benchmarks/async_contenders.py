"""Who is compared where calls are awaited: one small adapter each, of the shape `Front`.

What awaits is a coroutine everywhere, so that all of them run the same code: Deferreds can be awaited, and in a
greenlet a coroutine runs to its end without suspending. Everyone has the threads, the limits and the event loop that
the library has by default, since that is what programs use.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from contenders import Contender, both

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
Body = Callable[[], Coroutine[Any, Any, None]]
Call = Callable[[Callable[[], object]], Awaitable[object]]


@dataclass(frozen=True)
class Front:
    """An event loop, and a way to have blocking functions called from it.

    ``run`` runs a body to its end, in the loop, and raises what it raised. It can be called again; the threads stay
    warm in between only where the library keeps them. ``together`` and ``call`` are for bodies: the one runs several
    at the same time until all have ended, the other calls a function in some thread, and returns what it did.
    """

    run: Callable[[Body], None]
    together: Callable[[Iterable[Body]], Coroutine[Any, Any, None]]
    call: Call


def _on_asyncio(get_call: Callable[[asyncio.AbstractEventLoop], Call]) -> Front:
    import asyncio

    runner = asyncio.Runner()

    async def together(bodies: Iterable[Body]) -> None:
        await asyncio.gather(*(body() for body in bodies))

    return Front(lambda main: runner.run(main()), together, get_call(runner.get_loop()))


def _threadcache_to_thread() -> Front:
    from threadcache.asyncio import to_thread

    return _on_asyncio(lambda loop: to_thread)


def _threadcache_run_sync() -> Front:
    from threadcache.asyncio import run_sync

    return _on_asyncio(lambda loop: run_sync)


def _asyncio_to_thread() -> Front:
    from asyncio import to_thread

    return _on_asyncio(lambda loop: to_thread)


def _run_in_executor() -> Front:
    return _on_asyncio(lambda loop: partial(loop.run_in_executor, None))


def _anyio() -> Front:
    from anyio.to_thread import run_sync

    return _on_asyncio(lambda loop: run_sync)


def _anyio_without_limit() -> Front:
    from anyio.to_thread import current_default_thread_limiter

    front = _anyio()

    async def lift() -> None:
        current_default_thread_limiter().total_tokens = math.inf  # the limiter is the loop's, which stays the same

    front.run(lift)
    return front


def _trio() -> Front:
    import trio

    async def together(bodies: Iterable[Body]) -> None:
        async with trio.open_nursery() as nursery:
            for body in bodies:
                nursery.start_soon(body)

    return Front(trio.run, together, trio.to_thread.run_sync)


def _trio_on_the_cache() -> Front:
    from threadcache.trio import install

    install()
    return _trio()


def _twisted() -> Front:
    from twisted.internet import reactor as default_reactor
    from twisted.internet.defer import Deferred, gatherResults
    from twisted.internet.threads import deferToThread
    from twisted.python.failure import Failure

    reactor: Any = default_reactor  # typed as less than it is

    def run(main: Body) -> None:
        ends: list[Failure | None] = []

        def end(result: Failure | None) -> None:
            ends.append(result)
            reactor.crash()  # leaves the loop; unlike after stop(), it can run again, and keeps its threads

        reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addBoth(end))
        reactor.run(installSignalHandlers=False)
        if isinstance(failure := ends[0], Failure):
            failure.raiseException()

    async def together(bodies: Iterable[Body]) -> None:
        await gatherResults([Deferred.fromCoroutine(body()) for body in bodies])

    return Front(run, together, deferToThread)


def _gevent() -> Front:
    import gevent

    apply = gevent.get_hub().threadpool.apply

    def run(main: Body) -> None:
        try:
            main().send(None)
        except StopIteration:
            return
        raise AssertionError("a coroutine that waits for greenlets has nothing to suspend for")

    async def together(bodies: Iterable[Body]) -> None:
        gevent.joinall([gevent.spawn(run, body) for body in bodies], raise_error=True)

    async def call(fn: Callable[[], object]) -> object:
        return apply(fn)

    return Front(run, together, call)


TO_THREAD = both("threadcache to_thread", _threadcache_to_thread)
RUN_SYNC = both("threadcache run_sync", _threadcache_run_sync)
ASYNCIO_TO_THREAD = Contender("asyncio to_thread", _asyncio_to_thread)
RUN_IN_EXECUTOR = Contender("run_in_executor", _run_in_executor)
ANYIO = Contender("anyio", _anyio, modules=("anyio",))
ANYIO_WITHOUT_LIMIT = Contender("anyio (no limit)", _anyio_without_limit, modules=("anyio",))
TWISTED = Contender("twisted", _twisted, modules=("twisted",))
GEVENT = Contender("gevent", _gevent, modules=("gevent",))

TRIO_ON_THE_CACHE = both("trio on the cache", _trio_on_the_cache, "trio")
TRIO_TO_THREAD = Contender("trio to_thread", _trio, modules=("trio",))
